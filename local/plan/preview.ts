import { randomBytes } from "node:crypto";
import { rmSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { stringify } from "yaml";
import { environment, layOut, type LocalEngine, pulumiDirectory } from "../engine";
import { interruption } from "../interruption";
import { installPlugins } from "../plugins/install";
import { ensurePulumi } from "../prepare";
import { ensureEncryptionSalt, project } from "../stack";
import { ensurePulumiCli } from "../toolchain/toolchain";
import type { Progress } from "../progress";
import { writeWhole } from "../whole-file";
import { passphraseCipher, type Cipher } from "./cipher";
import { type EngineEvent, readEvents } from "./events";
import type { StackCopy } from "./stack-copy";

/** What the engine has said of a stack. */
export interface Preview {
  /** Whether it came to its end: otherwise the events say what was in the way. */
  readonly succeeded: boolean;
  readonly events: readonly EngineEvent[];
  /** Everything that it would have printed. */
  readonly text: string;
}

/**
 * Previews the stack on the real engine, with stand-in plugins that ask nobody. Whatever that takes stands in a temporary
 * folder, which is gone when this returns or throws, and when the process ends.
 * @throws Failure when the Pulumi CLI cannot be had.
 */
export async function preview(copy: StackCopy, progress: Progress): Promise<Preview> {
  const cli = await ensurePulumiCli(progress);
  const folder = await mkdtemp(join(tmpdir(), "gitlab-workspaces-plan-"));
  const removeNow = (): void => {
    rmSync(folder, { recursive: true, force: true });
  };
  process.once("exit", removeNow);
  try {
    const engine = layOut(copy.stack, folder);
    return await progress.step(`pulumi preview of the stack "${copy.stack}"`, async () => {
      await furnish(engine, cli, copy);
      return await run(engine);
    });
  } finally {
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    process.off("exit", removeNow);
  }
}

async function furnish(engine: LocalEngine, cli: string, { config }: StackCopy): Promise<void> {
  const passphrase = randomBytes(24).toString("base64url");
  await Promise.all([
    ensurePulumi(engine, { pulumi: cli }),
    installPlugins({
      pulumiHome: engine.pulumiHome,
      clusters: engine.clusters,
      kubeconfig: engine.kubeconfig,
      account: engine.account,
      bin: engine.bin,
      planning: true,
    }),
    mkdir(engine.state, { recursive: true }),
    writeWhole(engine.passphrase, passphrase),
  ]);
  const encryptionsalt = await ensureEncryptionSalt(engine, {});
  const cipher = await passphraseCipher(passphrase, encryptionsalt);
  await writeWhole(engine.stackConfig, stringify({ encryptionsalt, config: sealed(config, cipher) }));
}

/** The config with every secret in it encrypted, wherever it stands. */
function sealed(value: unknown, cipher: Cipher): unknown {
  if (Array.isArray(value)) return value.map((entry: unknown) => sealed(entry, cipher));
  if (typeof value !== "object" || value === null) return value;
  if ("secure" in value) return { secure: cipher.seal(String(value.secure)) };
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, sealed(inner, cipher)]));
}

async function run(engine: LocalEngine): Promise<Preview> {
  const log = join(engine.root, "events.jsonl");
  const child = execa(
    join(pulumiDirectory(engine), "pulumi"),
    ["preview", "--diff", "--event-log", log, "--non-interactive", "--color", "never"],
    {
      cwd: project,
      env: {
        ...environment(engine, {}),
        // The flag for the event log is one of these.
        PULUMI_DEBUG_COMMANDS: "true",
        // Nothing of the user's own: neither credentials nor a kubeconfig.
        HOME: engine.root,
      },
      extendEnv: false,
      stdin: "ignore",
      all: true,
      reject: false,
    },
  );
  const end = (): void => void child.kill("SIGINT");
  if (interruption.signal.aborted) end();
  interruption.signal.addEventListener("abort", end);
  const { failed, all } = await child;
  interruption.signal.removeEventListener("abort", end);
  return { succeeded: !failed, events: readEvents(await readFile(log, "utf8").catch(() => "")), text: all ?? "" };
}
