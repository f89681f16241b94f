import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import { Failure } from "../local/failure";
import { visible } from "../src/config/faults";
import { identity } from "./identity";
import type { Variables } from "./job";
import { failure, pulumi, type PulumiRun } from "./pulumi";
import type { StackConfig } from "./review-settings";

/** A stack as the backend lists it. */
export interface ListedStack {
  readonly name: string;
  /** When it was last written to, as ISO 8601 has it; absent when never. */
  readonly lastUpdate?: string;
}

/** What the state of a stack says, as far as it is looked at: `pulumi stack export`. */
export interface StackState {
  readonly resources?: readonly { readonly urn: string; readonly type: string; readonly id?: string }[];
  readonly pending_operations?: readonly { readonly type: string; readonly resource: { readonly urn: string } }[];
  readonly secrets_providers?: {
    readonly type: string;
    readonly state?: { readonly salt?: string; readonly url?: string; readonly encryptedkey?: string };
  };
}

/** A folder outside the working tree for what a command needs, until it ends. */
export interface Scratch {
  readonly folder: string;
  /** A job's variables for the CLI and what it starts. */
  readonly env: Variables;
  /** Writes a stack's config and returns its file. */
  config(stack: string, config: StackConfig): Promise<string>;
}

/**
 * Does `work` with a folder of its own, a project to the CLI, which is gone afterwards: `stack init`, `stack rm` and others
 * know no `--config-file` and write beside the stack config of the project that they run in.
 */
export async function withScratch<Result>(
  env: Variables,
  work: (scratch: Scratch) => Promise<Result>,
): Promise<Result> {
  const folder = await mkdtemp(join(tmpdir(), "gitlab-workspaces-review-"));
  try {
    await writeFile(join(folder, "Pulumi.yaml"), "name: gitlab-workspaces\nruntime: nodejs\n");
    return await work({
      folder,
      // The token opens GitLab, and none of what runs below has to do with that.
      env: { ...env, ...(await identity(env, folder)), MERGE_REQUEST_TOKEN: undefined, GITLAB_OIDC_TOKEN: undefined },
      async config(stack, config) {
        const file = join(folder, `Pulumi.${stack}.yaml`);
        await writeFile(file, stringify(config), { mode: 0o600 });
        return file;
      },
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * Runs the CLI beside the working tree, without a word in the log unless it fails.
 * @throws Failure when it fails.
 */
export async function quietly(scratch: Scratch, doing: readonly string[], stack?: string): Promise<PulumiRun> {
  const run = await attempt(scratch, doing, stack);
  if (run.exitCode === 0) return run;
  throw told(run, doing, stack);
}

async function attempt({ folder, env }: Scratch, doing: readonly string[], stack?: string): Promise<PulumiRun> {
  return await pulumi(doing, { cwd: folder, env, log: () => undefined, ...(stack === undefined ? {} : { stack }) });
}

/** What failed, with the CLI's words, which stand nowhere else. */
function told(run: PulumiRun, doing: readonly string[], stack = ""): Failure {
  for (const line of run.text.split("\n")) console.log(visible(line));
  return failure(
    run,
    doing
      .filter((word) => !word.startsWith("-"))
      .slice(0, 2)
      .join(" "),
    stack,
  );
}

/** All stacks of the project in the backend. @throws Failure when the backend does not answer. */
export async function stacks(scratch: Scratch): Promise<ListedStack[]> {
  const { stdout } = await quietly(scratch, ["stack", "ls", "--json"]);
  return JSON.parse(stdout) as ListedStack[];
}

/** Exit code of a command on a stack that is not there. */
const stackNotFound = 6;

/** The state of a stack, secrets encrypted as they are; undefined when there is no such stack. @throws Failure for any other reason. */
export async function stateOf(scratch: Scratch, stack: string): Promise<StackState | undefined> {
  const doing = ["stack", "export"];
  const run = await attempt(scratch, doing, stack);
  if (run.exitCode === stackNotFound) return undefined;
  if (run.exitCode !== 0) throw told(run, doing, stack);
  return (JSON.parse(run.stdout) as { deployment: StackState | null }).deployment ?? {};
}

/** Tags of a stack; none when the backend keeps none for it. @throws Failure when the backend does not answer. */
export async function tagsOf(scratch: Scratch, stack: string): Promise<Readonly<Record<string, string>>> {
  const { stdout } = await quietly(scratch, ["stack", "tag", "ls", "--json"], stack);
  return (JSON.parse(stdout === "" ? "{}" : stdout) ?? {}) as Record<string, string>;
}

/** Whether anything was cut off before its end was written down. */
export function isCutOff({ pending_operations: pending = [] }: StackState): boolean {
  return pending.length > 0;
}

/**
 * Finds out what became of operations that were cut off, and forgets the creations among them, which have no id to ask for.
 * @throws Failure when the cluster does not answer.
 */
export async function settle(scratch: Scratch, stack: string, config: string, state: StackState): Promise<void> {
  const pending = state.pending_operations ?? [];
  console.log(
    [
      `A job before this one was cut off in the middle of ${pending.length === 1 ? "1 operation" : `${pending.length} operations`}:`,
      ...pending.map(({ type, resource }) => `  ${visible(type)} ${visible(resource.urn)}`),
      "Finding out how they ended, and forgetting what was being created: pulumi refresh --clear-pending-creates",
    ].join("\n"),
  );
  await aloud(scratch, ["refresh", "--yes", "--skip-preview", "--clear-pending-creates"], stack, config);
}

/** Runs the CLI on the program, its words in the log. @param config the stack's config file. @throws Failure when it fails. */
export async function aloud(
  { env }: Scratch,
  doing: readonly string[],
  stack: string,
  config: string,
  more: Variables = {},
): Promise<PulumiRun> {
  const run = await pulumi([...doing, "--config-file", config], { stack, env: { ...env, ...more } });
  if (run.exitCode === 0) return run;
  throw new StackFailure(failure(run, doing[0] ?? "", stack).message, run);
}

/** A command on a stack that failed, with what it said. */
export class StackFailure extends Failure {
  constructor(
    message: string,
    readonly run: PulumiRun,
  ) {
    super(message);
  }
}

/** How {@link remove} treats people's work. */
export interface RemoveOptions {
  /** Whether to go on although there are workspaces, which then are cut off, or it cannot be told. */
  readonly evenWithWorkspaces: boolean;
}

/** The command, in the form of a log, that lists the namespaces of workspaces. */
export const listWorkspaces = "  kubectl get namespaces --output name | grep gl-rd-ns-";

/**
 * Destroys all that a stack has made and removes it from the backend, with its history and backups. Needs nothing but the
 * backend and what the secrets in it are encrypted with: neither the branch nor the template. One that was interrupted is
 * gone on with; one that is gone is fine.
 * @throws Failure when something is left, among others because people's workspaces are in it; the stack then stays in the backend. Failure too when something may be left that no
 * stack knows of, because a job was killed while it was being made; all the rest and the stack then are gone.
 */
export async function remove(scratch: Scratch, stack: string, { evenWithWorkspaces }: RemoveOptions): Promise<void> {
  const state = await stateOf(scratch, stack);
  if (state === undefined) return;
  const config = await scratch.config(stack, ofState(state));
  const unknown = perhapsLeft(stack, state);
  // Also here: the job may be killed as well before it comes to the end.
  if (unknown !== undefined) console.log(unknown);
  if (isCutOff(state)) await settle(scratch, stack, config, state);
  if (isCutOff(state) || (state.resources ?? []).length > 0) {
    try {
      await aloud(scratch, ["destroy", "--yes", "--skip-preview"], stack, config, {
        GITLAB_WORKSPACES_ALLOW: evenWithWorkspaces ? "destroy-with-workspaces" : undefined,
      });
    } catch (error) {
      throw error instanceof StackFailure && isGuarded(error) ? workspacesLeft(stack) : error;
    }
  }
  await quietly(scratch, ["stack", "rm", "--yes", "--preserve-config", "--remove-backups"], stack);
  if (unknown !== undefined)
    throw new Failure(`The stack ${visible(stack)} is gone with all that it knew of. ${unknown}`);
}

/**
 * What a killed job was making and no destroy knows of, and how to find it; undefined when there is nothing of the kind.
 * Everything on the cluster whose name is not inside a namespace of its own carries the instance: docs/instances.md
 */
function perhapsLeft(stack: string, { pending_operations: pending = [] }: StackState): string | undefined {
  const creations = pending.filter(({ type }) => type === "creating");
  if (creations.length === 0) return undefined;
  // The end of every instance of a review environment: see reviewOf.
  const label = stack.replace(/^review-/, "");
  return [
    "POSSIBLY LEFT ON THE CLUSTER, because a job was killed while it was being made:",
    ...creations.map(({ resource: { urn } }) => {
      const [, , types = "", ...name] = urn.split("::");
      return `  ${visible(types.split("$").at(-1) ?? "")} ${visible(name.join("::"))}`;
    }),
    "What carries the instance of this environment:",
    `  kubectl get namespaces,ingressclasses,clusterroles,clusterrolebindings --output name | grep -w ${label}`,
    `  helm list --all --all-namespaces | grep -w ${label}`,
    "When the environment is stopped that should print nothing. What it does print belongs to this environment only if it is as",
    "young as the killed job, and no other stack on the cluster has this instance: docs/instances.md",
  ].join("\n");
}

/** Whether the destroy guard was it: `src/platform/workspaces-left.ts` has its words. */
function isGuarded({ run }: StackFailure): boolean {
  return run.text.includes("destroy-with-workspaces");
}

function workspacesLeft(stack: string): Failure {
  return new Failure(
    [
      `THE REVIEW ENVIRONMENT ${stack} RUNS ON, AND COSTS: people's workspaces are in it, or it cannot be told. Who has them`,
      "stands above. Have them terminated in GitLab, then run the job review:stop again.",
      "If nobody does, the scheduled sweep removes the environment at the end of its longest time all the same. What it does",
      "not remove are the workspaces' own namespaces, which are the agent's. To see them:",
      listWorkspaces,
    ].join("\n"),
  );
}

/** The stack config with which the CLI reads the secrets of a state: https://github.com/pulumi/pulumi/blob/v3.259.0/sdk/go/common/apitype/core.go */
function ofState({ secrets_providers: provider }: StackState): StackConfig {
  const { salt, url, encryptedkey } = provider?.state ?? {};
  return {
    ...(salt === undefined ? {} : { encryptionsalt: salt }),
    ...(url === undefined ? {} : { secretsprovider: url }),
    ...(encryptedkey === undefined ? {} : { encryptedkey }),
    config: {},
  };
}
