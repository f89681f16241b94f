import { join } from "node:path";
import type { Command } from "commander";
import { Failure, Refused } from "../local/failure";
import { project } from "../local/stack";
import { writeWhole } from "../local/whole-file";
import { namespace, show, visible } from "../src/config/faults";
import { proxyNamespaceOf } from "../src/config/schema";
import { type Base, baseOf } from "./affected";
import { required, type Variables } from "./job";
import { refuseProductionKeys } from "./production-keys";
import { Interrupted } from "./pulumi";
import {
  aloud,
  isCutOff,
  quietly,
  remove,
  type Scratch,
  settle,
  StackFailure,
  stateOf,
  type StackState,
  tagsOf,
  withScratch,
} from "./review-backend";
import { type Review, reviewOfJob, reviewStack, reviewTags, type StackConfig } from "./review-settings";
import { sweep } from "./review-sweep";

/** What a job hands on: https://docs.gitlab.com/ci/environments/#set-a-dynamic-environment-url */
const dotenv = "review.env";

/** Adds `review deploy`, `review stop` and `review sweep`. */
export function reviewCommands(cli: Command): void {
  const review = cli.command("review").description("A review environment of each merge request.");
  review
    .command("deploy")
    .description("makes the review environment of this job's merge request, or brings it up to date")
    .action(async () => {
      await refuseProductionKeys(process.env, await targetOf(process.env));
      await deploy(process.env);
    });
  review
    .command("stop")
    .description("removes the review environment of this job's merge request, and all that it has")
    .action(async () => {
      await refuseProductionKeys(process.env, undefined);
      await stop(process.env);
    });
  review
    .command("sweep")
    .description("removes review environments whose merge requests are not open, or that are too old")
    .action(async () => {
      await refuseProductionKeys(process.env, undefined);
      await sweep(process.env);
    });
}

/** Where the merge request begins, as far as the clone reaches: a review job need not have the whole history. */
async function targetOf(variables: Variables): Promise<Base | undefined> {
  const sha = variables["CI_MERGE_REQUEST_DIFF_BASE_SHA"];
  if (sha === undefined) return undefined;
  return await baseOf(sha, project).catch((error: unknown) => {
    if (error instanceof Refused) return undefined;
    throw error;
  });
}

/**
 * Makes the review environment of a merge request, or brings it up to date, and writes its address for GitLab.
 * @throws Refused when the job's variables or the template are not fit for one; Failure when it cannot be made.
 */
export async function deploy(variables: Variables): Promise<void> {
  const review = await reviewOfJob(variables, new Date());
  const { stack } = review;
  await withScratch(variables, async (scratch) => {
    const state = await stateOf(scratch, stack);
    const config = await scratch.config(stack, review.config);
    if (state === undefined) {
      console.log(`The stack ${stack} is made, for ${review.domain}.`);
      await quietly(scratch, ["stack", "init", stack, "--no-select"]);
    } else {
      await refuseForeign(scratch, stack, review.tags[reviewTags.project] ?? "");
      console.log(`The stack ${stack} is there, and is brought up to date.`);
    }
    for (const [tag, value] of Object.entries(review.tags))
      await quietly(scratch, ["stack", "tag", "set", tag, value], stack);
    await up(scratch, review, config, state ?? {}, variables["REVIEW_STACK"] ?? "");
    await writeWhole(join(process.cwd(), dotenv), `REVIEW_URL=https://${review.domain}\n`, 0o644);
    await explain(scratch, review, variables);
  });
}

/** Two GitLab projects may have one backend, and merge requests of one number. */
async function refuseForeign(scratch: Scratch, stack: string, projectId: string): Promise<void> {
  const owner = (await tagsOf(scratch, stack))[reviewTags.project];
  if (owner === undefined || owner === projectId) return;
  throw new Refused(
    `The stack ${stack} in the backend belongs to the GitLab project ${show(owner)}, and this is project ${show(projectId)}. ` +
      "Each project needs a backend of its own: set PULUMI_BACKEND_URL to another bucket, or to another folder of it.",
  );
}

async function up(
  scratch: Scratch,
  review: Review,
  config: string,
  before: StackState,
  template: string,
): Promise<void> {
  const { stack } = review;
  if (isCutOff(before)) {
    await settle(scratch, stack, config, before);
    if (isItsOwn(before, review)) {
      console.log(
        "What was being created may be there: this time, up takes over what stands under the environment's own names.",
      );
      await scratch.config(stack, adopting(review.config));
    }
  }
  const pack = join(project, "ci", "policy", "pack");
  try {
    await aloud(scratch, ["up", "--yes", "--skip-preview", "--policy-pack", pack], stack, config);
  } catch (error) {
    const why = error instanceof StackFailure ? namespaceInTheWay(error.run.text, review, template) : undefined;
    throw why === undefined ? error : new Failure(`${(error as Failure).message}\n\n${why}`);
  }
}

/**
 * What to do when the proxy's namespace is on the cluster and not in the stack; undefined when that was not it. A job that was
 * killed while making it cannot be told from another stack of the same instance, so a person has to look.
 * @param template name of the stack that review environments are made after.
 */
export function namespaceInTheWay(
  text: string,
  { stack, domain, instance }: Pick<Review, "stack" | "domain" | "instance">,
  template: string,
): string | undefined {
  const name = proxyNamespaceOf(instance);
  const isThere = text
    .split("\n")
    .some((line) => /already exists|is on the cluster already/.test(line) && line.split(/[^\w.-]+/).includes(name));
  if (!isThere) return undefined;
  const shown = visible(stack);
  const set = `npx pulumi config set --stack ${shown} ${namespace}:`;
  return [
    `The namespace ${name} is on the cluster and not in the stack ${shown}: every job fails at it until a person has looked.`,
    "Nothing of it was changed. How old it is:",
    `  kubectl get namespace ${name}`,
    "If it is as young as a job of this merge request that was killed, and no other stack on the cluster has the instance",
    `${visible(instance)}, it is taken over by hand, once, with the backend and the passphrase of review environments. In a clone:`,
    `  cp stacks/Pulumi.${visible(template)}.yaml stacks/Pulumi.${shown}.yaml`,
    `  ${set}domain ${visible(domain)}`,
    `  ${set}instance ${visible(instance)}`,
    `  ${set}adopt true`,
    `  npx pulumi up --stack ${shown}`,
    `  rm stacks/Pulumi.${shown}.yaml`,
    "If it is older, it is another stack's, perhaps that of another project with the same review cluster. Never delete it to",
    "make room (docs/instances.md). Give the review environments of this project names of their own, in a merge request:",
    `  npx pulumi config set --config-file stacks/Pulumi.${visible(template)}.yaml ${namespace}:instance <name>`,
  ].join("\n");
}

/**
 * Whether what stands on the cluster under the environment's names is its own. All of them carry the instance, and only one
 * stack can have made the proxy's namespace of that instance.
 */
function isItsOwn({ resources = [] }: StackState, { instance }: Review): boolean {
  return resources.some(({ type, id }) => type === "kubernetes:core/v1:Namespace" && id === proxyNamespaceOf(instance));
}

function adopting(config: StackConfig): StackConfig {
  return { ...config, config: { ...config.config, [`${namespace}:adopt`]: true } };
}

/** A record as the stack's output has it. */
interface DnsRecord {
  readonly name: string;
  readonly type: string;
  readonly value: string;
}

/** The DNS records of a stack; undefined when they cannot be read: what has been deployed is there all the same. */
export async function dnsRecords(scratch: Scratch, stack: string): Promise<readonly DnsRecord[] | undefined> {
  try {
    const { stdout } = await quietly(scratch, ["stack", "output", "dnsRecords", "--json"], stack);
    const records: unknown = JSON.parse(stdout);
    return Array.isArray(records) ? (records as DnsRecord[]) : undefined;
  } catch (error) {
    if (error instanceof Interrupted) throw error;
    return undefined;
  }
}

/** What a person wants to know at the end of the log. */
async function explain(scratch: Scratch, { stack, domain, config }: Review, variables: Variables): Promise<void> {
  const records = await dnsRecords(scratch, stack);
  const ingress = config.config[`${namespace}:ingress`] as { controller?: string } | undefined;
  const costs =
    ingress?.controller === "existing"
      ? "with one agent four pods with requests of 0.3 CPU and 384 Mi, and no load balancer"
      : "with one agent ten pods with requests of 0.8 CPU and 1 Gi, and a load balancer; with ingress.controller: existing in the template, four and none";
  const auto = variables["REVIEW_AUTO_STOP_IN"];
  const most = variables["REVIEW_MAX_AGE"];
  console.log(
    [
      "",
      `Review environment: https://${domain}`,
      "",
      "DNS records that it needs; one wildcard for the review domain suffices for all:",
      ...(records === undefined
        ? [`  they could not be read. To read them: npx pulumi stack output dnsRecords --stack ${stack}`]
        : records.length === 0
          ? ["  none yet: the load balancer has no address. Run the job again in a minute."]
          : records.map(({ name, type, value }) => `  ${visible(name)} ${visible(type)} ${visible(value)}`)),
      `Sign-in needs the redirect URI https://${domain}/auth/callback in the OAuth application of the template.`,
      "",
      "It is stopped when the merge request is merged or closed" +
        (auto === undefined
          ? ", and some time after its last deployment"
          : `, and ${visible(auto)} after its last deployment`) +
        (most === undefined
          ? "."
          : `; the sweeper removes it ${visible(most)} after its last deployment, whatever happens.`),
      `It costs, until then: ${costs}. docs/instances.md has the figures.`,
      "To stop it now: the job review:stop of this pipeline, or Stop on the environment's page.",
    ].join("\n"),
  );
}

/**
 * Removes the review environment of a merge request with all that it has; fine when there is none.
 * @throws Failure when something is left, among others because people's workspaces are in it.
 */
export async function stop(variables: Variables): Promise<void> {
  const { CI_MERGE_REQUEST_IID, CI_PROJECT_ID } = required(
    variables,
    "CI_MERGE_REQUEST_IID",
    "CI_PROJECT_ID",
    "PULUMI_BACKEND_URL",
  );
  const stack = reviewStack(CI_MERGE_REQUEST_IID);
  await withScratch(variables, async (scratch) => {
    if ((await stateOf(scratch, stack)) === undefined) {
      console.log(`There is no stack ${stack}: there is nothing to stop.`);
      return;
    }
    await refuseForeign(scratch, stack, CI_PROJECT_ID);
    await remove(scratch, stack, { evenWithWorkspaces: false });
    console.log(`The stack ${stack} is gone from the cluster and from the backend.`);
  });
}
