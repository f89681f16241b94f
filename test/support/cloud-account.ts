import { readFile, writeFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { Account, type AccountContent, type Behaviour, type Call } from "../../local/plugins/cloud/account";
import type { TestEngine } from "./engine";

/** The account of a stand-in cloud, as a test looks at it and steers it. */
export interface CloudAccount {
  /** What is in it now. */
  content(): Promise<AccountContent>;
  /** Has the cloud behave so from here on; `{}` is as usual. */
  behave(behaviour: Behaviour): Promise<void>;
  /** How many failures are still to come. */
  failuresLeft(): Promise<number>;
  /** Everything that was asked of the cloud so far. */
  calls(): Promise<Call[]>;
}

/** The account that an engine's stack has in one cloud, by the name of its Pulumi package. */
export function cloudAccount({ engine }: TestEngine, cloud: string): CloudAccount {
  const account = new Account(engine.account, cloud);
  return {
    content: () => account.read(),
    async behave(behaviour) {
      await mkdir(engine.account, { recursive: true });
      await writeFile(join(engine.account, `${cloud}-behaviour.json`), JSON.stringify(behaviour));
    },
    async failuresLeft() {
      const { faults = [] } = await account.behaviour();
      return faults.reduce((sum, { times }) => sum + times, 0);
    },
    async calls() {
      const lines = (await readFile(join(engine.account, `${cloud}-calls.jsonl`), "utf8")).trim().split("\n");
      return lines.map((line) => JSON.parse(line) as Call);
    },
  };
}
