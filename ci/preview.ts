import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Command } from "commander";
import { execa } from "execa";
import { Failure, Refused } from "../local/failure";
import type { EngineEvent } from "../local/plan/events";
import { preview as planPreview, type Preview } from "../local/plan/preview";
import { stackCopy } from "../local/plan/stack-copy";
import { readStackFile, type StackFile } from "../local/plan/stack-file";
import { said } from "../local/plan/summary";
import { interruption } from "../local/interruption";
import { progressTo } from "../local/progress";
import { project } from "../local/stack";
import { visible } from "../src/config/faults";
import { type Base, baseOf, isAffected } from "./affected";
import { readAllowances } from "./allowances";
import { compared, outlook, type Outlook } from "./changes";
import { type Finding, findings, writeReport } from "./checks/code-quality";
import { comment, counts, failedComment, type Origin, type Source, unaffectedComment } from "./comment";
import { configChanges, isProduction, readConfig } from "./config-changes";
import { gitlabOfJob, previewMarker } from "./gitlab";
import { identity } from "./identity";
import { isFork, required, type Variables } from "./job";
import { violations, type Violation } from "./policy/violations";
import { refuseProductionKeys } from "./production-keys";
import { advice, Interrupted, listenForCancellation, pulumi } from "./pulumi";

/** Exit code of a job whose preview is fine and whose comment could not be posted: the pipeline lets it pass, with a warning. */
const commentMissing = 75;

/** Adds the commands that preview stacks. */
export function previewCommands(cli: Command): void {
  cli
    .command("preview")
    .description("what the merge request changes for a stack: report, comment and policies")
    .argument("<stack>", "stacks/Pulumi.<stack>.yaml")
    .addHelpText(
      "after",
      "\nWrites preview/<stack>/: report.json (Terraform report), comment.md, code-quality.json." +
        `\nExit code: 0 fine, 1 the preview failed or a policy refuses it, 2 something is missing, ${commentMissing} fine but the comment`,
    )
    .allowExcessArguments(false)
    .action(async (stack: string) => {
      process.exitCode = await preview(stack, process.env);
    });
  cli
    .command("plan-events", { hidden: true })
    .argument("<stack>")
    .action(async (stack: string) => {
      const { succeeded, events } = (await planned(await readStackFile(stack))).plan;
      process.stdout.write(JSON.stringify({ succeeded, events }));
    });
}

/** What became of a preview, by whichever way. */
interface Result {
  readonly source: Source;
  /** What changes; absent when the preview failed. */
  readonly outlook?: Outlook;
  readonly errors: readonly string[];
  readonly warnings: readonly string[];
}

/**
 * Previews a stack as a merge request's job may: with its key where the stack is not production's, and by plans alone
 * where it is, or where the merge request comes from a fork.
 * @returns the exit code.
 * @throws Refused when something is missing.
 */
async function preview(stack: string, variables: Variables): Promise<number> {
  if (!/^[A-Za-z0-9_.-]{1,100}$/.test(stack) || /^\.+$/.test(stack))
    throw new Refused(`${visible(stack)} is no name of a stack: it has up to 100 letters, digits, '-', '_' and '.'.`);
  const folder = join(project, "preview", stack);
  const file = await readStackFile(stack);
  const job = required(variables, "CI_MERGE_REQUEST_IID", "CI_MERGE_REQUEST_DIFF_BASE_SHA", "CI_COMMIT_SHA");
  const url = variables["CI_JOB_URL"];
  const origin: Origin = { stack, commit: job.CI_COMMIT_SHA, ...(url === undefined ? {} : { job: url }) };
  // In pipelines for merged results the commit before is the target branch's: https://docs.gitlab.com/ci/pipelines/merged_results_pipelines/
  const target = variables["CI_MERGE_REQUEST_TARGET_BRANCH_SHA"] ?? "";
  const base = await baseOf(target === "" ? job.CI_MERGE_REQUEST_DIFF_BASE_SHA : target, project);
  await mkdir(folder, { recursive: true });
  try {
    return await previewFrom(base, { origin, file, folder, variables });
  } catch (error) {
    // Otherwise the comment on an earlier commit would go on being read.
    if (error instanceof Refused) await fail(origin, folder, variables, undefined, [error.message]);
    throw error;
  }
}

/** What a preview is of, and where it goes. */
interface Task {
  readonly origin: Origin;
  readonly file: StackFile;
  /** Where the reports are written. */
  readonly folder: string;
  readonly variables: Variables;
}

async function previewFrom(base: Base, { origin, file, folder, variables }: Task): Promise<number> {
  const { stack } = origin;
  const before = await base.file(`stacks/Pulumi.${stack}.yaml`);
  const text = await readFile(join(project, "stacks", `Pulumi.${stack}.yaml`), "utf8");
  // A merge request that takes the mark away has not been merged yet.
  const production = [before ?? "", text].some((each) => isProduction(readConfig(each)));
  await refuseProductionKeys(variables, base);
  const allowances = readAllowances();
  if (!isAffected(stack, base.changed)) {
    console.log(
      `The stack ${visible(stack)} is not affected: no file that it is made from differs from the target branch.`,
    );
    await write(folder, { create: 0, update: 0, delete: 0 }, "", []);
    return await post(origin, variables, unaffectedComment(origin), true);
  }
  const result =
    production || isFork(variables)
      ? await byPlans(stack, file, base, production ? "production" : "fork")
      : await byPreview(stack, file, variables);
  if (result.outlook === undefined) {
    await fail(origin, folder, variables, result.source, result.errors);
    throw new Failure(
      [`The stack ${visible(stack)} cannot be previewed.`, ...advice(result.errors.join("\n"), stack)].join("\n\n"),
    );
  }
  const { source } = result;
  // A stack that is new has nothing to lose.
  const uncompared = before !== undefined && source.kind === "plan" ? source.alone : undefined;
  const context = { stack, production, ...(uncompared === undefined ? {} : { uncompared }) };
  const found = violations(result.outlook, context, allowances, new Date());
  const config = configChanges(before, text);
  const body = comment(origin, { ...result, outlook: result.outlook, config, violations: found });
  await write(folder, counts(result.outlook.changes), body, codeQuality(stack, found));
  console.log(body);
  const posted = await post(origin, variables, body);
  const broken = found.filter(({ allowance }) => allowance === undefined);
  if (broken.length === 0) return posted;
  throw new Failure(
    [
      ...broken.map(({ policy, name, message }) => `${policy}: ${visible(name)}: ${visible(message)}`),
      "To allow one for a while, with a reason that people review: an entry in ci/allowances.yaml",
    ].join("\n"),
  );
}

/** Says in the log, in the job's files and on the merge request that there is no preview. */
async function fail(
  origin: Origin,
  folder: string,
  variables: Variables,
  source: Source | undefined,
  errors: readonly string[],
): Promise<void> {
  const body = failedComment(origin, source, errors);
  await write(folder, undefined, body, []);
  console.log(body);
  await post(origin, variables, body);
}

/** What the engine says of a stack on an empty account, and what would be in the way of the real one. */
async function planned(file: StackFile): Promise<{ plan: Preview; warnings: readonly string[] }> {
  const copy = await stackCopy(file, new Date());
  const missing = copy.missing.map(
    ({ key, command }) => `${key} is not set, and up refuses the stack until it is: ${command}`,
  );
  return { plan: await planPreview(copy, progressTo()), warnings: [...copy.warnings, ...missing] };
}

/** Plans of the stack before and after the merge request, on an empty account and with placeholders. */
async function byPlans(stack: string, file: StackFile, base: Base, why: "production" | "fork"): Promise<Result> {
  // A cancelled job ends the engines of both plans in good order, and leaves none of their folders.
  const cancel = (): void => {
    interruption.abort();
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, cancel);
  const [head, old] = await Promise.all([planned(file), plannedAt(base, stack)]);
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.off(signal, cancel);
  if (interruption.signal.aborted) throw new Interrupted("preview", stack);
  const source: Source = { kind: "plan", why, ...(typeof old === "string" ? { alone: old } : {}) };
  const { succeeded, events, text } = head.plan;
  const errors = said(events, "error");
  if (!succeeded) return { source, errors: errors.length > 0 ? errors : [text], warnings: [] };
  const after = outlook(events);
  return {
    source,
    outlook: typeof old === "string" ? after : compared(outlook(old), after),
    errors: [],
    warnings: [...said(events, "warning"), ...head.warnings],
  };
}

/** What the program of the target branch plans for the stack of the target branch, or why it does not. */
async function plannedAt(base: Base, stack: string): Promise<readonly EngineEvent[] | string> {
  if ((await base.file(`stacks/Pulumi.${stack}.yaml`)) === undefined)
    return "the stack is not on the target branch yet";
  const top = await mkdtemp(join(tmpdir(), "gitlab-workspaces-base-"));
  const tree = join(top, "tree");
  const git = (...arguments_: string[]) => execa("git", arguments_, { cwd: project, reject: false });
  try {
    // What a job that was killed has left in a clone that is used again.
    await git("worktree", "prune");
    const { exitCode } = await git("worktree", "add", "--detach", "--force", tree, base.sha);
    if (exitCode !== 0) return "git could not check the target branch out";
    // The modules of the merge request: a change of theirs shows in both plans, and in the lockfile.
    await symlink(join(project, "node_modules"), join(tree, "node_modules"));
    const child = await execa(process.execPath, ["--import", "tsx", "ci/cli.ts", "plan-events", stack], {
      cwd: tree,
      reject: false,
      maxBuffer: 1e9,
      signal: interruption.signal,
    });
    const { succeeded, events } = JSON.parse(child.stdout || "{}") as { succeeded?: boolean; events?: EngineEvent[] };
    return succeeded === true && events !== undefined ? events : "the target branch itself gives no plan for it";
  } catch {
    return "the target branch itself gives no plan for it";
  } finally {
    await git("worktree", "remove", "--force", tree);
    await rm(top, { recursive: true, force: true });
  }
}

/** `pulumi preview` against the stack's state, with the key of the stack and whatever the job may read in the cloud. */
async function byPreview(stack: string, { others }: StackFile, variables: Variables): Promise<Result> {
  const withPassphrase =
    !others.includes("secretsprovider") && (variables["PULUMI_CONFIG_PASSPHRASE_FILE"] ?? "") === "";
  required(variables, "PULUMI_BACKEND_URL", ...(withPassphrase ? (["PULUMI_CONFIG_PASSPHRASE"] as const) : []));
  // Before the token is written, which must be gone at whatever end.
  listenForCancellation();
  const credentials = await mkdtemp(join(tmpdir(), "gitlab-workspaces-identity-"));
  try {
    const run = await pulumi(["preview", "--suppress-outputs"], {
      stack,
      env: {
        ...(await identity(variables, credentials)),
        GITLAB_OIDC_TOKEN: undefined,
        MERGE_REQUEST_TOKEN: undefined,
      },
      events: true,
    });
    const source: Source = { kind: "preview" };
    const errors = said(run.events, "error");
    if (run.exitCode !== 0) return { source, errors: errors.length > 0 ? errors : [run.text], warnings: [] };
    return { source, outlook: outlook(run.events), errors: [], warnings: said(run.events, "warning") };
  } finally {
    await rm(credentials, { recursive: true, force: true });
  }
}

function codeQuality(stack: string, found: readonly Violation[]): Finding[] {
  return findings(
    found.map(({ policy, name, message, allowance }) => ({
      check: policy,
      description: `${policy}: ${visible(name)}: ${visible(message)}`,
      severity: allowance === undefined ? "blocker" : "info",
      path: `stacks/Pulumi.${stack}.yaml`,
      line: 1,
    })),
  );
}

async function write(
  folder: string,
  report: object | undefined,
  body: string,
  quality: readonly Finding[],
): Promise<void> {
  await Promise.all([
    ...(report === undefined ? [] : [writeFile(join(folder, "report.json"), `${JSON.stringify(report)}\n`)]),
    writeFile(join(folder, "comment.md"), body),
    writeReport(join(folder, "code-quality.json"), quality),
  ]);
}

/**
 * Posts the comment, or says why there is none.
 * @param onlyExisting leaves a merge request alone that has no comment about the stack.
 * @returns 0, or what tells the pipeline that a comment is missing or stale.
 */
async function post(origin: Origin, variables: Variables, body: string, onlyExisting = false): Promise<number> {
  if (isFork(variables)) {
    console.log("No comment: a merge request from a fork gets no token. The same stands in this job's artifacts.");
    return 0;
  }
  try {
    const iid = Number(required(variables, "CI_MERGE_REQUEST_IID").CI_MERGE_REQUEST_IID);
    console.log(
      `Comment: ${await gitlabOfJob(variables).comment(iid, previewMarker(origin.stack), body, { onlyExisting })}.`,
    );
    return 0;
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    console.error(`\nwarning: the comment on the merge request is missing or out of date.\n${error.message}`);
    return commentMissing;
  }
}
