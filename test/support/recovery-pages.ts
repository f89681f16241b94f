import { readFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { environment } from "../../local/engine";
import { project } from "../../local/stack";
import type { Ended, TestEngine } from "./engine";

/** Where the pages are that somebody reads when something broke. */
export const recoveryPages = join(__dirname, "..", "..", "docs", "recovery");

/** One section of a page, as somebody at a keyboard uses it. */
export interface Section {
  /** Lines that the page says are printed, with `<placeholders>` for what differs from case to case. */
  readonly symptom: readonly string[];
  /** Blocks of commands, in the order of the page. */
  readonly commands: readonly string[];
}

/** A word of a command or a symptom that the reader replaces, as `<release>`; a redirection has a space after its sign. */
const placeholder = /<([a-z][a-z-]*)>/g;

/**
 * Reads one page, or its part below the given heading.
 * @throws when there is no such page or heading.
 */
export function section(page: string, heading?: string): Section {
  const text = readFileSync(join(recoveryPages, page), "utf8");
  const parts = text.split(/^## /m);
  const part = heading === undefined ? text : parts.find((candidate) => candidate.startsWith(`${heading}\n`));
  if (part === undefined) throw new Error(`docs/recovery/${page} has no section "${heading ?? ""}"`);
  const blocks = (language: string): string[] =>
    [...part.matchAll(new RegExp(`^( *)\`\`\`${language}\\n([^]*?)^ *\`\`\`$`, "gm"))].map(
      ([, indent = "", body = ""]) => body.replace(new RegExp(`^${indent}`, "gm"), "").trimEnd(),
    );
  return {
    symptom: blocks("text")
      .flatMap((block) => block.split("\n"))
      .filter((line) => line.trim() !== ""),
    commands: blocks("sh"),
  };
}

/** Lines of the symptom that do not occur in what was printed. */
export function missingFrom(printed: string, { symptom }: Section): string[] {
  return symptom.filter((line) => {
    const pattern = line
      .trim()
      .split(placeholder)
      .map((part, index) => (index % 2 === 1 ? ".+?" : part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")));
    return !new RegExp(pattern.join("")).test(printed);
  });
}

/**
 * Does what a section says: runs its commands in bash on the engine's stack, where the page says `production`. The
 * questions that Pulumi asks are answered with yes.
 * @param values what the reader puts in place of the placeholders. @param input standard input of the commands.
 * @throws when a placeholder is left, or a command of Pulumi's names no stack.
 */
export async function follow(
  engine: TestEngine,
  { commands }: Section,
  values: Readonly<Record<string, string>> = {},
  input = "",
): Promise<Ended> {
  if (commands.length === 0) throw new Error("the section has no commands");
  const script = commands
    .join("\n")
    .replaceAll(placeholder, (_, name: string) => {
      const value = values[name];
      if (value === undefined) throw new Error(`no value for <${name}>`);
      return value;
    })
    .replaceAll(/\bproduction\b/g, engine.engine.stack);
  const { exitCode, stdout, all } = await execa("bash", ["-c", `set -euo pipefail\n${script}`], {
    cwd: project,
    env: { ...environment(engine.engine, engine.toolchain), ...answers },
    extendEnv: false,
    input,
    reject: false,
    all: true,
  });
  return { exitCode, stdout, all: all ?? "" };
}

/** A person is asked before anything happens, and looks at the preview first. */
const answers = { PULUMI_OPTION_YES: "true", PULUMI_OPTION_SKIP_PREVIEW: "true", PULUMI_OPTION_COLOR: "never" };
