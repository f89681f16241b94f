import { readdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parseDocument } from "yaml";
import { Refused } from "../local/failure";
import { passphraseOpens } from "../local/plan/cipher";
import { project } from "../local/stack";
import { visible } from "../src/config/faults";
import { type Base, stacksOf } from "./affected";
import { isProduction, readConfig } from "./config-changes";
import type { Variables } from "./job";

/**
 * Refuses to go on in a job that holds a passphrase which opens a production stack, of the branch or of where it began: the
 * job runs what the merge request's author wrote.
 * @throws Refused that names the stacks, never the passphrase.
 */
export async function refuseProductionKeys(variables: Variables, base: Base | undefined): Promise<void> {
  const held = await passphrases(variables);
  if (held.length === 0) return;
  const here = readdirSync(join(project, "stacks")).filter((file) => /^Pulumi\..+\.yaml$/.test(file));
  const texts = [
    ...(await Promise.all(
      here.map(async (file) => [file, await readFile(join(project, "stacks", file), "utf8")] as const),
    )),
    ...(base === undefined ? [] : await stacksOf(base)),
  ];
  const production = texts.filter(([, text]) => isProduction(readConfig(text)));
  const names = new Set(production.map(([file]) => file));
  // A merge request may have taken the mark or the salt away on one side: both sides of such a file count.
  const salts = texts
    .filter(([file]) => names.has(file))
    .flatMap(([file, text]) => saltOf(text).map((salt) => [file, salt] as const));
  const opened = new Set<string>();
  for (const [file, salt] of new Map(salts.map((entry) => [entry.join(" "), entry])).values())
    for (const passphrase of held) if (await passphraseOpens(passphrase, salt)) opened.add(file);
  if (opened.size === 0) return;
  throw new Refused(
    `This job holds the passphrase of a production stack (${[...opened].map((file) => visible(`stacks/${file}`)).join(", ")}), and ` +
      "runs what the merge request's author wrote: whoever may push a branch can read every secret of the stack.\n" +
      "Give production a passphrase of its own in a protected CI/CD variable with the environment scope production, and " +
      "exchange the secrets that this one opened: docs/pipeline.md",
  );
}

/** What the job may open stacks with. */
async function passphrases(variables: Variables): Promise<string[]> {
  const file = variables["PULUMI_CONFIG_PASSPHRASE_FILE"] ?? "";
  const inFile = file === "" ? "" : await readFile(file, "utf8").catch(() => "");
  // Pulumi takes the file's text without the white space around it.
  return [variables["PULUMI_CONFIG_PASSPHRASE"] ?? "", inFile.trim()].filter((passphrase) => passphrase !== "");
}

function saltOf(text: string): string[] {
  try {
    const { encryptionsalt } = parseDocument(text, { logLevel: "silent", merge: true }).toJS() as {
      encryptionsalt?: unknown;
    };
    return typeof encryptionsalt === "string" ? [encryptionsalt.trim()] : [];
  } catch {
    return [];
  }
}
