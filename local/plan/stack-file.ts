import { existsSync } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { parseDocument } from "yaml";
import { visible } from "../../src/config/faults";
import { Refused } from "../failure";
import { project } from "../stack";

/** A stack's config as a file holds it. Read, but not checked: that is for the program. */
export interface StackFile {
  /** Name of the stack. */
  readonly stack: string;
  /** Where the file is: relative to the project for one of its own stacks. */
  readonly file: string;
  /** `config`, by key with its namespace. Whole numbers are bigints, so that long ones stay what they are. */
  readonly config: Readonly<Record<string, unknown>>;
  /** What else stands beside `config`. */
  readonly others: readonly string[];
}

/** Largest file that is looked at: a stack with a hundred agents has some 50 kB. */
const largest = 1_000_000;

/**
 * Reads the stack config that a person names: `stacks/Pulumi.<name>.yaml`, or the path of a file.
 * @throws Refused when there is none, or it is no stack config, with what to do.
 */
export async function readStackFile(named: string | undefined): Promise<StackFile> {
  const { stack, file } = await locate(named);
  const path = resolve(project, file);
  const shown = visible(file);
  const text = await readText(path, shown);
  const document = parse(text, shown);
  if (!isMap(document))
    throw new Refused(`${shown} is no stack config: it has to be a map with a key config.\n${example}`);
  const { config, ...others } = document;
  if (config === undefined || config === null) {
    throw new Refused(`${shown} has no config: there is nothing in it to plan.\n${example}`);
  }
  if (!isMap(config)) throw new Refused(`config in ${shown} has to be a map of keys and values.\n${example}`);
  return { stack, file, config: canonical(config, shown), others: Object.keys(others) };
}

const example = "To begin from an example: cp stacks/Pulumi.self-managed.yaml stacks/Pulumi.<your stack>.yaml";

async function locate(named: string | undefined): Promise<{ stack: string; file: string }> {
  if (named === undefined || named === "") {
    throw new Refused(`Which stack? ${await existing()}\nFor example: npm run plan -- self-managed`);
  }
  if (/[/\\]|\.ya?ml$/i.test(named)) return { stack: stackOf(named), file: fromWhereOneStands(named) };
  const file = join("stacks", `Pulumi.${named}.yaml`);
  // What Pulumi takes as a stack's name; anything else could lead out of the folder.
  if (/^[A-Za-z0-9_.-]{1,100}$/.test(named) && existsSync(join(project, file))) return { stack: named, file };
  const { suggestion } = await import("../../src/config/faults");
  throw new Refused(
    `There is no stack config ${visible(file)}.${suggestion(named, await stackNames())}\n${await existing()}\n` +
      "A file that is elsewhere is named by its path: npm run plan -- ./path/to/Pulumi.production.yaml",
  );
}

/** npm runs scripts in the project, wherever the person stands. */
function fromWhereOneStands(named: string): string {
  const here = resolve(named);
  return existsSync(here) ? here : resolve(process.env["INIT_CWD"] ?? ".", named);
}

function stackOf(path: string): string {
  const file = basename(path).replace(/\.ya?ml$/i, "");
  return (
    file
      .replace(/^Pulumi\./, "")
      .replaceAll(/[^A-Za-z0-9_.-]+/g, "-")
      .replace(/^[-.]+/, "")
      .slice(0, 100) || "plan"
  );
}

async function stackNames(): Promise<string[]> {
  const files = await readdir(join(project, "stacks"));
  return files.flatMap((file) => /^Pulumi\.(.+)\.yaml$/.exec(file)?.[1] ?? []).sort();
}

async function existing(): Promise<string> {
  return `In stacks/ there are: ${(await stackNames()).map(visible).join(", ")}.`;
}

async function readText(path: string, file: string): Promise<string> {
  try {
    const found = await stat(path);
    if (!found.isFile()) throw new Refused(`${file} is no file. Name the stack config itself.`);
    if (found.size > largest) {
      throw new Refused(
        `${file} has ${(found.size / 1e6).toFixed(1)} MB; a stack config has a few kilobytes, and ` +
          `${largest / 1e6} MB at most is looked at. Is it the right file?`,
      );
    }
    return await readFile(path, "utf8");
  } catch (error) {
    if (error instanceof Refused) throw error;
    const { code } = error as NodeJS.ErrnoException;
    const reason = code === "ENOENT" ? "It is not there." : `It cannot be read (${code ?? "unknown"}).`;
    throw new Refused(`${file}: ${reason}\n${await existing()}`);
  }
}

/** The parser's own messages quote the file, and so perhaps a secret in plain text. */
function parse(text: string, file: string): unknown {
  if (text.trim() === "") throw new Refused(`${file} is empty.\n${example}`);
  let place = "";
  try {
    const document = parseDocument(text, { prettyErrors: true, intAsBigInt: true, logLevel: "silent" });
    const [error] = document.errors;
    if (error === undefined) return document.toJS() as unknown;
    const at = error.linePos?.[0];
    if (at) place = `, from line ${at.line}, column ${at.col} on`;
  } catch {
    // An alias that leads nowhere, or more aliases than anybody writes.
  }
  throw new Refused(`${file} is not YAML${place}. Your editor shows where; or: npx prettier --check ${file}`);
}

/** `<namespace>:config:<name>` is an older way to write `<namespace>:<name>`. */
function canonical(config: Readonly<Record<string, unknown>>, file: string): Record<string, unknown> {
  const strange = Object.keys(config).find((key) => !/^[^:]+:.+$/.test(key));
  if (strange !== undefined) {
    throw new Refused(
      `${visible(strange)} in ${file} is no key of stack config: each begins with its namespace, as in ` +
        "gitlab-workspaces:domain or gcp:project.",
    );
  }
  return Object.fromEntries(
    Object.entries(config).map(([key, value]) => [key.replace(/^([^:]+):config:/, "$1:"), value]),
  );
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
