import { execa } from "execa";
import { Refused } from "../local/failure";

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
  const { exitCode, stdout } = await git("diff", "--name-only", "--no-renames", "-z", sha, "HEAD", "--");
  if (exitCode !== 0) {
    throw new Refused(
      `The clone of this job does not hold ${sha}, the commit that the merge request begins at.\n` +
        'It needs the whole history: GIT_DEPTH: "0" among the variables of the job.',
    );
  }
  return {
    sha,
    changed: stdout.split("\0").filter((path) => path !== ""),
    async file(path) {
      const found = await git("show", `${sha}:${path}`);
      return found.exitCode === 0 ? found.stdout : undefined;
    },
  };
}

/** Whether any of the changed files makes a difference to a stack. */
export function isAffected(stack: string, changed: readonly string[]): boolean {
  return changed.some(
    (path) => path === `stacks/Pulumi.${stack}.yaml` || program.some((pattern) => pattern.test(path)),
  );
}
