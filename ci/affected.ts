import { execa } from "execa";
import { Refused } from "../local/failure";
import { visible } from "../src/config/faults";

/** What every stack is made by. */
const program = [
  /^src\//,
  /^Pulumi\.yaml$/,
  /^package(-lock)?\.json$/,
  /^\.npmrc$/,
  /^tsconfig\.json$/,
  /^ci\/(policy\/|allowances\.yaml$)/,
];

/** A merge request's own side of the history. */
export interface Base {
  /** The commit that the merge request left the target branch at: CI_MERGE_REQUEST_DIFF_BASE_SHA. */
  readonly sha: string;
  /** Paths that changed since, relative to the project. */
  readonly changed: readonly string[];
  /** The text of a file as it was there; undefined when there was none. */
  file(path: string): Promise<string | undefined>;
  /** Names of the files that were in a folder there. */
  folder(path: string): Promise<readonly string[]>;
}

/** The stack config files as they were where the merge request began: names and texts. */
export async function stacksOf(base: Base): Promise<(readonly [file: string, text: string])[]> {
  const files = (await base.folder("stacks")).filter((file) => /^Pulumi\..+\.yaml$/.test(file));
  return Promise.all(files.map(async (file) => [file, (await base.file(`stacks/${file}`)) ?? ""] as const));
}

/**
 * Reads what a merge request changes from the clone that the job has.
 * @throws Refused when the clone does not reach back to where the merge request begins.
 */
export async function baseOf(sha: string, project: string): Promise<Base> {
  if (!/^[0-9a-f]{40,64}$/.test(sha))
    throw new Refused("CI_MERGE_REQUEST_DIFF_BASE_SHA is no commit: it has to be its 40 hexadecimal digits.");
  const git = (...arguments_: string[]) =>
    execa("git", arguments_, { cwd: project, reject: false, stripFinalNewline: false });
  const { exitCode, stdout, stderr } = await git("diff", "--name-only", "--no-renames", "-z", sha, "HEAD", "--");
  if (exitCode !== 0) {
    throw new Refused(
      `git cannot compare this clone with ${sha}, the commit that the merge request begins at: ` +
        `${visible(stderr.split("\n")[0] ?? "")}\n` +
        'When the clone does not reach back so far, the job needs the whole history: GIT_DEPTH: "0" among its variables.',
    );
  }
  return {
    sha,
    changed: stdout.split("\0").filter((path) => path !== ""),
    async file(path) {
      const found = await git("show", `${sha}:${path}`);
      return found.exitCode === 0 ? found.stdout : undefined;
    },
    async folder(path) {
      const { stdout: names } = await git("ls-tree", "--name-only", "-z", sha, `${path}/`);
      return names.split("\0").flatMap((name) => name.split("/").at(-1) || []);
    },
  };
}

/** Whether any of the changed files makes a difference to a stack. */
export function isAffected(stack: string, changed: readonly string[]): boolean {
  return changed.some(
    (path) => path === `stacks/Pulumi.${stack}.yaml` || program.some((pattern) => pattern.test(path)),
  );
}
