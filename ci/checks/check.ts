import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import { execa } from "execa";
import { Failure } from "../../local/failure";
import { type Finding, findings, type Found, writeReport } from "./code-quality";

/** What `npm run check` runs, each with how it says what it has found to a program. */
const tools = {
  types: ["tsc", "--noEmit", "--pretty", "false"],
  lint: ["eslint", ".", "--format", "gitlab"],
  format: ["prettier", ".", "--list-different"],
} as const;

/** Where the report goes. */
export const checkReport = "reports/check.json";

/**
 * Types, lint and format of a folder, all three of them whatever the first one says: what each prints, and one Code
 * Quality report.
 * @throws Failure that names those that have found something.
 */
export async function check(folder: string, say: (text: string) => void): Promise<void> {
  const scratch = await mkdtemp(join(tmpdir(), "gitlab-workspaces-check-"));
  try {
    const lintReport = join(scratch, "lint.json");
    const run = async (name: keyof typeof tools): Promise<{ failed: boolean; output: string }> => {
      const [program, ...arguments_] = tools[name];
      say(`== ${name}`);
      const { exitCode, stdout, stderr, all } = await execa(program, arguments_, {
        cwd: folder,
        // https://gitlab.com/remcohaszing/eslint-formatter-gitlab: the report's paths are relative to CI_PROJECT_DIR.
        // Some print in colour wherever CI is set, and what is in colour is not found below.
        env: { ESLINT_CODE_QUALITY_REPORT: lintReport, CI_PROJECT_DIR: folder, NO_COLOR: "1", FORCE_COLOR: undefined },
        preferLocal: true,
        localDir: folder,
        all: true,
        reject: false,
        stdin: "ignore",
      });
      if (all) say(all);
      // One after the other: together, a line of one may stand within a line of the other.
      return { failed: exitCode !== 0, output: `${stdout}\n${stderr}` };
    };
    const types = await run("types");
    const lint = await run("lint");
    const format = await run("format");
    await writeReport(join(folder, checkReport), [
      ...findings([...typeFaults(types.output, folder), ...formatFaults(format.output)]),
      ...(await lintFaults(lintReport)),
    ]);
    const failed = Object.entries({ types, lint, format }).filter(([, { failed }]) => failed);
    if (failed.length === 0) return;
    const commands = failed.map(([name]) => `  $ npm run check:${name}`);
    throw new Failure(`Not everything is as it should be. The same where you write it:\n${commands.join("\n")}`);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** Faults in what `tsc --pretty false` prints: `src/a.ts(3,7): error TS2322: Type ...`, further lines indented. */
export function typeFaults(output: string, folder: string): Found[] {
  return [...output.matchAll(/^(\S.*?)\((\d+),\d+\): error (TS\d+): (.*)$/gm)].map(
    ([, file = "", line, code = "", description = ""]) => ({
      check: code,
      description,
      severity: "critical",
      path: relative(folder, resolve(folder, file)),
      line: Number(line),
    }),
  );
}

/** Faults in what `prettier --list-different` prints: a file per line, or what it cannot read, after `[error]`. */
export function formatFaults(output: string): Found[] {
  const lines = output.split("\n").filter((line) => line !== "");
  const broken = lines.flatMap((line) => {
    const [, path = "", description = "", row] =
      /^\[error\] (.+?): (\w*Error: .*?)(?: \((\d+):\d+\))?$/.exec(line) ?? [];
    if (path === "") return [];
    return [{ check: "prettier", description, severity: "major" as const, path, line: Number(row ?? 1) }];
  });
  const unlike = lines
    .filter((line) => !line.startsWith("["))
    .map((path) => ({
      check: "prettier",
      description: `Not formatted: npx prettier --write ${path}`,
      severity: "minor" as const,
      path,
      line: 1,
    }));
  return [...broken, ...unlike];
}

/** None when there is no report, which is when eslint could not even begin: it has said why. */
async function lintFaults(file: string): Promise<Finding[]> {
  const report = await readFile(file, "utf8").catch(() => "[]");
  return JSON.parse(report) as Finding[];
}
