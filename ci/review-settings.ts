import { readdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parse } from "yaml";
import { Refused } from "../local/failure";
import { readStackFile } from "../local/plan/stack-file";
import { project } from "../local/stack";
import { member, namespace, show, visible } from "../src/config/faults";
import { settings } from "../src/config/schema";
import { isOn, isProduction } from "./config-changes";
import { isFork, required, type Variables } from "./job";

/** One merge request's review environment: what it is called and what it is made of. */
export interface Review {
  /** Its stack, `review-mr-<iid>`: the branch's name plays no part in it. */
  readonly stack: string;
  readonly domain: string;
  /** What the names of all its objects on the cluster end with. */
  readonly instance: string;
  /** Its stack config, whole: the template with what differs. Secrets are as encrypted as in the template. */
  readonly config: StackConfig;
  /** What the sweeper and people want to know of the stack in the backend. Nothing in it is secret. */
  readonly tags: Readonly<Record<string, string>>;
}

/** Stack config as Pulumi writes it: `config`, and what the secrets in it are encrypted with. */
export interface StackConfig {
  readonly config: Readonly<Record<string, unknown>>;
  readonly [beside: string]: unknown;
}

/** A stack config file that is there. */
export interface StackConfigFile extends StackConfig {
  readonly file: string;
}

/** The name of the stack of a merge request's review environment. @throws Refused when `iid` is no such number. */
export function reviewStack(iid: string): string {
  const fault = iidFault(iid);
  if (fault !== undefined) throw new Refused(fault);
  return `review-mr-${iid}`;
}

/** The IID in the name of a review environment's stack; undefined for every other name. */
export function iidOf(stack: string): number | undefined {
  const iid = /^review-mr-([1-9]\d{0,8})$/.exec(stack)?.[1];
  return iid === undefined ? undefined : Number(iid);
}

function iidFault(iid: string): string | undefined {
  return iidOf(`review-mr-${iid}`) === undefined
    ? `CI_MERGE_REQUEST_IID is ${show(iid)}. It must be the number of a merge request; GitLab sets it in a merge request pipeline.`
    : undefined;
}

/** Tags of a stack in the backend: at most 40 characters of name and 256 of value. */
export const reviewTags = {
  /** Number of the GitLab project that the stack belongs to. */
  project: "gitlab-project-id",
  mergeRequest: "merge-request",
  /** When the last deployment began, as ISO 8601 has it. */
  deployed: "deployed",
} as const;

/**
 * The review environment of a job's merge request.
 * @throws Refused with all faults at once.
 */
export async function reviewOfJob(variables: Variables, now: Date): Promise<Review> {
  const name = variables["REVIEW_STACK"] ?? "";
  const template = name === "" ? undefined : await readTemplate(name);
  const values = required(
    variables,
    "CI_MERGE_REQUEST_IID",
    "CI_PROJECT_ID",
    "PULUMI_BACKEND_URL",
    "REVIEW_STACK",
    "REVIEW_DOMAIN",
    ...(needsPassphrase(template, variables) ? (["PULUMI_CONFIG_PASSPHRASE"] as const) : []),
  );
  if (template === undefined) throw new Error("a template without a name");
  if (isFork(variables))
    throw new Refused(
      "The merge request comes from a fork: it gets plans, and no review environment, which would hold this project's credentials.",
    );
  return reviewOf(
    {
      iid: values.CI_MERGE_REQUEST_IID,
      domain: values.REVIEW_DOMAIN,
      projectId: values.CI_PROJECT_ID,
      url: `${variables["CI_MERGE_REQUEST_PROJECT_URL"] ?? variables["CI_PROJECT_URL"] ?? ""}/-/merge_requests/${values.CI_MERGE_REQUEST_IID}`,
    },
    template,
    await otherStacks(template.file),
    now,
  );
}

function needsPassphrase(template: StackConfig | undefined, variables: Variables): boolean {
  const provider = template?.["secretsprovider"];
  const byPassphrase = typeof provider !== "string" || provider === "" || provider === "passphrase";
  return byPassphrase && (variables["PULUMI_CONFIG_PASSPHRASE_FILE"] ?? "") === "";
}

/** What a job knows of its merge request. */
export interface MergeRequest {
  readonly iid: string;
  /** The domain under which each review environment has a label. */
  readonly domain: string;
  readonly projectId: string;
  readonly url: string;
}

/**
 * What the review environment of a merge request is to be.
 * @param others the stacks whose clusters it must not be on, if they are marked `production`.
 * @throws Refused with all faults at once.
 */
export function reviewOf(
  { iid, domain: below, projectId, url }: MergeRequest,
  { file, ...template }: StackConfigFile,
  others: readonly StackConfigFile[],
  now: Date,
): Review {
  const label = `mr-${iid}`;
  const domain = `${label}.${below}`;
  const own = setting(template, "instance");
  const instance = typeof own === "string" && own !== "" ? `${own}-${label}` : label;
  const iidWrong = iidFault(iid);
  const faults = [
    ...(iidWrong === undefined ? domainFaults(below, domain) : [iidWrong]),
    ...(iidWrong === undefined ? instanceFaults(instance, file) : []),
    ...templateFaults(template, file, others),
    ...sameNameFaults(template, file),
  ];
  if (faults.length > 0) throw new Refused(faults.join("\n\n"));
  return {
    stack: reviewStack(iid),
    domain,
    instance,
    config: {
      ...template,
      config: { ...template.config, [`${namespace}:domain`]: domain, [`${namespace}:instance`]: instance },
    },
    tags: {
      [reviewTags.project]: projectId.slice(0, 256),
      [reviewTags.mergeRequest]: url.slice(0, 256),
      [reviewTags.deployed]: now.toISOString(),
    },
  };
}

/** A setting of a stack. Pulumi takes what is made of parts as JSON in one text, too. */
function setting(stack: StackConfig, key: string): unknown {
  const value = stack.config[`${namespace}:${key}`];
  if (typeof value !== "string" || !/^\s*[[{]/.test(value)) return value;
  try {
    return JSON.parse(value) as unknown;
  } catch {
    return value;
  }
}

function domainFaults(below: string, domain: string): string[] {
  const checked = settings.domain.safeParse(below);
  const rule = checked.success ? settings.domain.safeParse(domain) : checked;
  if (rule.success) return [];
  return [
    `The review domain is ${show(below)}${checked.success ? `, and an environment's ${show(domain)}` : ""}. It ` +
      `${visible(rule.error.issues[0]?.message ?? "must be a DNS name")}.\n` +
      "Set the input review-domain of the pipeline, for example to review.example.com",
  ];
}

function instanceFaults(instance: string, file: string): string[] {
  return settings.instance.safeParse(instance).success
    ? []
    : [
        `The instance would be ${show(instance)}. It must be 1 to 20 characters of a-z, 0-9 and '-': what the template has ` +
          `in front of it is too long, or none.\nGive ${visible(file)} a shorter one, or none: ` +
          remove(file, "instance"),
      ];
}

function remove(file: string, key: string): string {
  return `npx pulumi config rm --config-file ${visible(file)} ${namespace}:${key}`;
}

function templateFaults(template: StackConfig, file: string, others: readonly StackConfigFile[]): string[] {
  const shown = visible(file);
  const cluster = setting(template, "cluster");
  const faults: string[] = [];
  if (isProduction(template.config))
    faults.push(
      `${shown} is marked production. Review environments run the code of merge requests with the credentials of their ` +
        "template: give them one with a key, credentials and a cluster of its own: docs/pipeline.md",
    );
  if (isOn(setting(template, "adopt")))
    faults.push(
      `adopt is on in ${shown}. A review environment takes nothing over that is not its own: ${remove(file, "adopt")}`,
    );
  if (member(cluster, "cloud") !== "self-managed" && member(cluster, "existing") !== true)
    faults.push(
      `cluster in ${shown} does not name a cluster that is there. Review environments share one: make it with a stack of ` +
        `its own, then: npx pulumi config set --config-file ${shown} --path '${namespace}:cluster.existing' true`,
    );
  const taken = others.filter(
    (other) => isProduction(other.config) && isSameCluster(setting(other, "cluster"), cluster),
  );
  for (const other of taken)
    faults.push(
      `${shown} is on the cluster ${show(member(cluster, "name"))} (${show(member(cluster, "cloud"))}), which is that of ` +
        `${visible(other.file)}, and that one is marked production. Whoever can push a branch holds what review jobs hold: ` +
        "take another cluster for them.",
    );
  return faults;
}

/** Names that are written down in the template would be those of every environment, and two would claim one object. */
function sameNameFaults(template: StackConfig, file: string): string[] {
  const shown = visible(file);
  const instance = setting(template, "instance");
  const agents = setting(template, "agents");
  const fixed = [
    ...(Array.isArray(agents) ? (agents as unknown[]) : []).flatMap((agent, index) => [
      ...(member(agent, "release") === undefined ? [] : [`agents[${index}].release`]),
      ...(member(agent, "namespace") === undefined || member(agent, "serviceAccount") !== undefined
        ? []
        : [`agents[${index}].namespace`]),
    ]),
    ...(member(setting(template, "ingress"), "namespace") === undefined ? [] : ["ingress.namespace"]),
  ];
  return [
    ...(instance === undefined || typeof instance === "string"
      ? []
      : [`instance in ${shown} is ${show(instance)}. It must be text: ${remove(file, "instance")}`]),
    ...fixed.map(
      (key) =>
        `${key} in ${shown} gives every review environment the same name for one object on their cluster. Without it the ` +
        `name ends with the instance, as all others do: npx pulumi config rm --config-file ${shown} --path '${namespace}:${key}'`,
    ),
  ];
}

function isSameCluster(one: unknown, other: unknown): boolean {
  return member(one, "cloud") === member(other, "cloud") && member(one, "name") === member(other, "name");
}

async function readTemplate(name: string): Promise<StackConfigFile> {
  // What Pulumi takes as a stack's name; anything else could lead out of the folder.
  if (!/^[A-Za-z0-9_.-]{1,100}$/.test(name))
    throw new Refused(
      `REVIEW_STACK is ${show(name)}. It must be the name of a stack in stacks/: set the input review-stack of the pipeline.`,
    );
  return await read(join("stacks", `Pulumi.${name}.yaml`));
}

async function read(file: string): Promise<StackConfigFile> {
  const path = join(project, file);
  const { config } = await readStackFile(file);
  const whole = parse(await readFile(path, "utf8"), { intAsBigInt: true, logLevel: "silent" }) as object;
  return { ...whole, config, file };
}

/** The other stacks of the project, without those that have no config yet. */
async function otherStacks(template: string): Promise<StackConfigFile[]> {
  const files = readdirSync(join(project, "stacks"))
    .filter((file) => /^Pulumi\..+\.yaml$/.test(file))
    .map((file) => join("stacks", file))
    .filter((file) => file !== template);
  const found = await Promise.all(files.map(async (file) => ((await hasConfig(file)) ? [await read(file)] : [])));
  return found.flat();
}

async function hasConfig(file: string): Promise<boolean> {
  try {
    const content: unknown = parse(await readFile(join(project, file), "utf8"), { logLevel: "silent" });
    return (member(content, "config") ?? undefined) !== undefined;
  } catch {
    return true;
  }
}
