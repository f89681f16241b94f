import { type EngineEvent, isMap, nameOf, signature, stackType, type Step, unknown } from "./events";
import type { LeftOut, MissingSecret, StackCopy } from "./stack-copy";

/** One resource that would be made. */
export interface PlannedResource {
  /** `create`, or `read` for what something else makes and the program looks at. */
  readonly op: string;
  /** Type token. */
  readonly type: string;
  /** Name in the program. */
  readonly name: string;
  /** The type as people say it. */
  readonly kind: string;
  /** Name where it is made, with its namespace; absent while it is not known. */
  readonly as?: string;
  /** What else matters, by name: a chart, a version, a machine type. */
  readonly facts: Readonly<Record<string, string>>;
}

/** What belongs together: a component of the program with everything in it. */
export interface Part {
  /** What it is to the reader: `cluster`, `proxy`. */
  readonly part: string;
  readonly resources: readonly PlannedResource[];
}

/** A plan, as `--json` prints it. */
export interface Summary {
  readonly stack: string;
  readonly file: string;
  /** Always so: the plan is made on an account in which there is nothing. */
  readonly account: "empty stand-in";
  /** Always so: what only a cluster or a cloud knows is not in the plan. */
  readonly asked: "no cluster and no cloud";
  /** Keys whose values were generated in place of the file's. */
  readonly placeholders: readonly string[];
  /** What the file lacks for `pulumi up`. */
  readonly missing: readonly MissingSecret[];
  readonly leftOut: readonly LeftOut[];
  /** What the program warns of, and what is wrong with what was replaced. */
  readonly warnings: readonly string[];
  readonly parts: readonly Part[];
  /** How many resources there are of each kind. */
  readonly counts: Readonly<Record<string, number>>;
  /** Those that are known before anything is made, and not secret. */
  readonly outputs: Readonly<Record<string, unknown>>;
  /** Names of the outputs that an `up` would find out. */
  readonly unknownOutputs: readonly string[];
  readonly secretOutputs: readonly string[];
}

/** What the parts are to a reader, by the type of their component. Any other goes by its name in the program. */
const partNames: Readonly<Record<string, string>> = {
  "gitlab-workspaces:platform:IngressNginx": "ingress controller",
  "gitlab-workspaces:platform:Traefik": "ingress controller",
  "gitlab-workspaces:platform:WorkspacesProxy": "proxy",
  "gitlab-workspaces:platform:GitLabAgent": "agents",
  "gitlab-workspaces:platform:GeneratedSecrets": "secrets",
  "pulumi-nodejs:dynamic/gitlab-workspaces:DestroyGuard": "guard",
};

/** In this order; every other part comes after the cluster. */
const partOrder = ["cluster", undefined, "ingress controller", "secrets", "proxy", "agents", "guard"] as const;

/** What a reviewer wants to know of a cloud's resource, by the path of the input. */
const cloudFacts: Readonly<Record<string, readonly string[]>> = {
  location: ["location"],
  region: ["region"],
  zone: ["zone"],
  "machine type": ["machineType"],
  "node machine type": ["nodeConfig", "machineType"],
  "instance types": ["instanceTypes"],
  "size of nodes": ["pools", "size"],
  "nodes at first": ["pools", "nodeCount"],
  "network plugin": ["cni"],
  "VM size": ["vmSize"],
  "smallest number of nodes": ["autoscaling", "totalMinNodeCount"],
  "largest number of nodes": ["autoscaling", "totalMaxNodeCount"],
  "smallest count": ["minCount"],
  "largest count": ["maxCount"],
  "Kubernetes version": ["minMasterVersion"],
  "AKS version": ["kubernetesVersion"],
  "release channel": ["releaseChannel", "channel"],
  "upgrade channel": ["autoUpgradeProfile", "upgradeChannel"],
  range: ["ipCidrRange"],
  "address range": ["cidrBlock"],
  "availability zone": ["availabilityZone"],
  "address ranges of the API": ["vpcConfig", "publicAccessCidrs"],
  policy: ["policyArn"],
  principal: ["principalArn"],
  "days kept": ["retentionInDays"],
  "address prefix": ["addressPrefix"],
  description: ["description"],
  role: ["role"],
};

/** Puts together what the engine said of a stack that came to its end. */
export function summary(copy: StackCopy, events: readonly EngineEvent[]): Summary {
  const parts = partsOf(events);
  const counts: Record<string, number> = {};
  for (const { op, kind } of parts.flatMap(({ resources }) => resources)) {
    if (op !== "read") counts[kind] = (counts[kind] ?? 0) + 1;
  }
  const outputs = Object.entries(stackOutputs(events));
  const isSecret = (value: unknown): boolean => isMap(value) && signature in value;
  return {
    stack: copy.stack,
    file: copy.file,
    account: "empty stand-in",
    asked: "no cluster and no cloud",
    placeholders: copy.placeholders,
    missing: copy.missing,
    leftOut: copy.leftOut,
    warnings: [...said(events, "warning"), ...copy.warnings],
    parts,
    counts,
    outputs: Object.fromEntries(outputs.filter(([, value]) => !isSecret(value) && !holds(value, unknown, signature))),
    unknownOutputs: outputs.filter(([, value]) => !isSecret(value) && holds(value, unknown)).map(([name]) => name),
    secretOutputs: outputs.filter(([, value]) => holds(value, signature)).map(([name]) => name),
  };
}

/** What the engine or the program has said at one severity, each once. */
export function said(events: readonly EngineEvent[], severity: "warning" | "error"): string[] {
  const messages = events.flatMap(({ diagnosticEvent }) =>
    diagnosticEvent?.severity === severity ? [diagnosticEvent.message.trim()] : [],
  );
  return [...new Set(messages)].filter((message) => message !== "");
}

function partsOf(events: readonly EngineEvent[]): Part[] {
  const steps = events.flatMap(({ resourcePreEvent }) => resourcePreEvent?.metadata ?? []);
  const byUrn = new Map(steps.map((step) => [step.urn, step]));
  /** The ancestor right below the stack. */
  const top = (urn: string): string => {
    const parent = byUrn.get(urn)?.new?.parent ?? "";
    return parent === "" || byUrn.get(parent)?.type === stackType ? urn : top(parent);
  };
  const told = withoutMadeUpEnds(steps);
  const parts = new Map<string, PlannedResource[]>();
  for (const { op, urn, type, new: state } of steps) {
    if (type === stackType || type.startsWith("pulumi:providers:")) continue;
    const own = top(urn);
    const part = partName(byUrn.get(own)?.type ?? type, nameOf(own));
    const resources = parts.get(part) ?? [];
    parts.set(part, resources);
    // A component is only what its children are called together.
    if (isComponent(type)) continue;
    resources.push({ op, type, name: nameOf(urn), ...described(type, nameOf(urn), state?.inputs ?? {}, told) });
  }
  const rank = (part: string): number => {
    const index = partOrder.findIndex((name) => name === part);
    return index < 0 ? 1 : index;
  };
  return [...parts]
    .map(([part, resources]) => ({ part, resources: resources.sort(byKindAndName) }))
    .sort((one, other) => rank(one.part) - rank(other.part) || one.part.localeCompare(other.part));
}

const isComponent = (type: string): boolean => type.startsWith("gitlab-workspaces:");

/** The engine tells of resources in whatever order they are ready. */
function byKindAndName(one: PlannedResource, other: PlannedResource): number {
  return one.kind.localeCompare(other.kind) || (one.as ?? one.name).localeCompare(other.as ?? other.name);
}

function partName(type: string, name: string): string {
  return type.startsWith("gitlab-workspaces:clusters:") ? "cluster" : (partNames[type] ?? name);
}

/**
 * Where the engine makes up the end of a name, it is another one each time: it is left out wherever the whole name is told, and
 * of nothing else that only looks alike, as a version.
 */
function withoutMadeUpEnds(steps: readonly Step[]): (text: string) => string {
  const made = new Map<unknown, string>();
  for (const { urn, new: state } of steps) {
    const [name, given] = [nameOf(urn), known(state?.inputs?.["name"])];
    if (given?.startsWith(`${name}-`) === true && /^-[0-9a-f]{7}$/.test(given.slice(name.length)))
      made.set(given, `${name}-*`);
  }
  return (text) => made.get(text) ?? text;
}

function described(
  type: string,
  name: string,
  inputs: Readonly<Record<string, unknown>>,
  told: (text: string) => string,
): Pick<PlannedResource, "kind" | "as" | "facts"> {
  const [package_ = "", module = "", kind = ""] = type.split(":");
  if (package_ === "pulumi-nodejs") return { kind, facts: {} };
  if (package_ !== "kubernetes") {
    const middle = module.split("/")[0] ?? "";
    const given = known(inputs["name"]);
    const as = given === undefined ? undefined : told(given);
    return {
      kind: [package_, ...(middle === "" || middle === "index" ? [] : [middle]), kind].join("."),
      ...(as === undefined || as === name ? {} : { as }),
      facts: factsAt(inputs, cloudFacts, told),
    };
  }
  const metadata = kind === "Release" ? inputs : isMap(inputs["metadata"]) ? inputs["metadata"] : {};
  const as = [known(metadata["namespace"]), known(metadata["name"])].filter((text) => text !== undefined).join("/");
  return {
    kind,
    ...(known(metadata["name"]) === undefined ? {} : { as }),
    facts:
      kind === "Release"
        ? factsAt(inputs, { chart: ["chart"], version: ["version"], repository: ["repositoryOpts", "repo"] })
        : kind === "NodePool"
          ? factsAt(inputs, { "CPUs at most": ["spec", "limits", "cpu"] })
          : {},
  };
}

function factsAt(
  inputs: Readonly<Record<string, unknown>>,
  paths: Readonly<Record<string, readonly string[]>>,
  told: (text: string) => string = (text) => text,
): Record<string, string> {
  const found = Object.entries(paths).map(([name, path]) => {
    const value = path.reduce<unknown>((holder, key) => (isMap(holder) ? holder[key] : undefined), inputs);
    const text = known(Array.isArray(value) ? value.join(", ") : value);
    return [name, text === undefined ? undefined : told(text)] as const;
  });
  return Object.fromEntries(found.filter((fact): fact is [string, string] => fact[1] !== undefined));
}

/** A plain value as text; undefined when it is none, or not known yet. */
function known(value: unknown): string | undefined {
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  return typeof value === "string" && value !== "" && !value.includes(unknown) ? value : undefined;
}

function stackOutputs(events: readonly EngineEvent[]): Readonly<Record<string, unknown>> {
  const found = events
    .flatMap(({ resOutputsEvent }) => resOutputsEvent?.metadata ?? [])
    .filter(({ type }) => type === stackType);
  return found.at(-1)?.new?.outputs ?? {};
}

/** Whether any of the marks stands anywhere in a value. */
function holds(value: unknown, ...marks: readonly string[]): boolean {
  const text = JSON.stringify(value) as string | undefined;
  return marks.some((mark) => text?.includes(mark) ?? false);
}
