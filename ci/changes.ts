import { aws } from "../local/plugins/cloud/aws";
import { azureNative } from "../local/plugins/cloud/azure-native";
import { civo } from "../local/plugins/cloud/civo";
import { gcp } from "../local/plugins/cloud/gcp";
import { type EngineEvent, isMap, nameOf, stackType, type Step, unknown } from "../local/plan/events";
import { isBoxed, type PlannedInputs } from "./policy/resource-rules";

export type Operation = "create" | "update" | "replace" | "delete" | "import";

type Inputs = Readonly<Record<string, unknown>>;

/** What happens to one resource. */
export interface Change {
  readonly op: Operation;
  /** Type token. */
  readonly type: string;
  /** Name in the program. */
  readonly name: string;
  /** Paths of the inputs that change, as `spec.rules[0].host`. */
  readonly paths: readonly string[];
  /** Those that ask for the replacement. */
  readonly causes: readonly string[];
}

/** What the engine has said of a stack. */
export interface Outlook {
  readonly changes: readonly Change[];
  /** Every resource as it would be, and the stack's outputs as one; components and the engine's own are left out. */
  readonly resources: readonly PlannedInputs[];
  /** Stack outputs before and afterwards, those left out that are secret or not known. */
  readonly outputs: { readonly before: Inputs; readonly after: Inputs };
}

/** What people call the engine's steps. The parts of a replacement are left out: the step `replace` stands for them. */
const operations: Readonly<Record<string, Operation>> = {
  create: "create",
  update: "update",
  replace: "replace",
  delete: "delete",
  import: "import",
};

/** Components hold others together and are nothing by themselves; providers count only where they stand for a cluster. */
function counts(type: string): boolean {
  if (type.startsWith("pulumi:providers:")) return type === "pulumi:providers:kubernetes";
  return type !== stackType && !type.startsWith("gitlab-workspaces:");
}

/** What the events of a preview say. */
export function outlook(events: readonly EngineEvent[]): Outlook {
  const steps = events
    .flatMap(({ resourcePreEvent }) => resourcePreEvent?.metadata ?? [])
    .filter(({ type }) => counts(type));
  const stack = events
    .flatMap(({ resOutputsEvent }) => resOutputsEvent?.metadata ?? [])
    .filter(({ type }) => type === stackType)
    .at(-1);
  const outputs = { before: plain(stack?.old?.outputs), after: plain(stack?.new?.outputs) };
  return {
    changes: steps.flatMap((step): Change[] => {
      const op = operations[step.op];
      if (op === undefined) return [];
      const keys = Object.keys(step.detailedDiff ?? {});
      return [
        {
          op,
          type: step.type,
          name: nameOf(step.urn),
          paths: op === "update" || op === "replace" ? (keys.length > 0 ? keys : [...(step.diffs ?? [])]).sort() : [],
          causes: op === "replace" ? causesOf(step) : [],
        },
      ];
    }),
    resources: [
      { type: stackType, name: "outputs", inputs: outputs.after },
      ...steps.flatMap(({ op, urn, type, new: state }) =>
        // The new half of a replacement is a step of its own.
        ["replace", "delete", "delete-replaced", "discard", "remove-pending-replace", "read"].includes(op)
          ? []
          : [{ type, name: nameOf(urn), inputs: state?.inputs ?? {} }],
      ),
    ],
    outputs,
  };
}

/** Paths of what asks for a replacement, or names where the provider tells no paths. */
function causesOf({ keys, detailedDiff }: Step): string[] {
  const paths = Object.entries(detailedDiff ?? {}).flatMap(([path, { diffKind }]) =>
    diffKind.endsWith("-replace") ? [path] : [],
  );
  return (paths.length > 0 ? paths : [...(keys ?? [])]).sort();
}

/** The outputs that may be shown. */
function plain(outputs: Inputs | null | undefined): Inputs {
  return Object.fromEntries(
    Object.entries(outputs ?? {}).filter(([, value]) => {
      const text = JSON.stringify(value) as string | undefined;
      return !holdsBox(value) && text?.includes(unknown) !== true;
    }),
  );
}

function holdsBox(value: unknown): boolean {
  if (isBoxed(value)) return true;
  return typeof value === "object" && value !== null && Object.values(value).some(holdsBox);
}

/**
 * What leads from one plan to another: both are made on an empty account, where everything is new. Which changes cost a
 * replacement is known from the stand-ins' tables of each cloud, and what only the cloud knows stays unknown in both.
 */
export function compared(base: Outlook, head: Outlook): Outlook {
  const key = ({ type, name }: PlannedInputs): string => `${type} ${name}`;
  const made = ({ resources }: Outlook): PlannedInputs[] => resources.filter(({ type }) => type !== stackType);
  const before = new Map(made(base).map((resource) => [key(resource), resource]));
  const after = new Map(made(head).map((resource) => [key(resource), resource]));
  const [settledBefore, settledAfter] = [settled(base.resources), settled(head.resources)];
  const changes = [
    ...[...before.values()]
      .filter((resource) => !after.has(key(resource)))
      .map(({ type, name }): Change => ({ op: "delete", type, name, paths: [], causes: [] })),
    ...[...after.values()].flatMap(({ type, name, inputs }): Change[] => {
      const old = before.get(key({ type, name, inputs }));
      if (old === undefined) return [{ op: "create", type, name, paths: [], causes: [] }];
      const paths = differences(settledBefore(old), settledAfter({ type, name, inputs }), "")
        .filter((path) => !digest.test(path) && !isWithin(path, programIgnores[type] ?? []))
        .sort();
      if (paths.length === 0) return [];
      const causes = paths.filter((path) => costsReplacement(type, path, old.inputs, inputs));
      const op = causes.length > 0 ? "replace" : "update";
      return [{ op, type, name, paths, causes }];
    }),
  ];
  return { changes, resources: head.resources, outputs: { before: base.outputs.after, after: head.outputs.after } };
}

/** Digests of placeholder secrets, which restart pods when a secret changes. */
const digest = /\.checksum\/[^.]+$/;

/** Inputs by resource, in which names with a random end that plugins make up have none, wherever they are told again. */
function settled(resources: readonly PlannedInputs[]): (resource: PlannedInputs) => unknown {
  const made = new Map(
    resources.flatMap(({ inputs: { __defaults, ...inputs } }) =>
      Object.entries(inputs).flatMap(([name, value]) =>
        Array.isArray(__defaults) &&
        __defaults.includes(name) &&
        typeof value === "string" &&
        /[0-9a-f]{7}$/.test(value)
          ? [[value, `${value.slice(0, -7)}*`] as const]
          : [],
      ),
    ),
  );
  const told = (value: unknown): unknown => {
    if (typeof value === "string") return made.get(value) ?? value;
    if (Array.isArray(value)) return value.map(told);
    return isMap(value) ? Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, told(inner)])) : value;
  };
  return ({ inputs }) => told(inputs);
}

/** Paths at which two values differ. Two secrets never do: nobody here knows them. */
function differences(one: unknown, other: unknown, path: string): string[] {
  if (isBoxed(one) && isBoxed(other)) return [];
  if (Array.isArray(one) && Array.isArray(other))
    return Array.from({ length: Math.max(one.length, other.length) }, (_, index) =>
      differences(one[index], other[index], `${path}[${index}]`),
    ).flat();
  if (isMap(one) && isMap(other))
    return [...new Set([...Object.keys(one), ...Object.keys(other)])].flatMap((name) =>
      differences(one[name], other[name], path === "" ? name : `${path}.${name}`),
    );
  return one === other ? [] : [path];
}

const clouds = [aws, azureNative, civo, gcp];

/** Paths by type. */
type Paths = Readonly<Record<string, readonly string[]>>;

/** What the program itself has replaced, beside what the providers replace: `replaceOnChanges` in src/clusters. */
export const programReplaces: Paths = {
  "aws:eks/cluster:Cluster": ["computeConfig"],
  "civo:index/firewall:Firewall": ["region"],
  "civo:index/kubernetesCluster:KubernetesCluster": ["region", "networkId", "clusterType", "cni", "pools.size"],
  "civo:index/network:Network": ["region"],
  "civo:index/reservedIp:ReservedIp": ["region"],
};

/** What the program leaves as it is on a living resource, whatever is set: `ignoreChanges` in src/clusters. */
export const programIgnores: Paths = {
  "aws:eks/nodeGroup:NodeGroup": ["scalingConfig.desiredSize"],
  "azure-native:containerservice:AgentPool": ["count"],
  "azure-native:containerservice:ManagedCluster": ["agentPoolProfiles[*].count"],
  "azure-native:network:VirtualNetwork": ["subnets"],
  "civo:index/kubernetesCluster:KubernetesCluster": ["pools.nodeCount", "applications"],
  "gcp:container/cluster:Cluster": ["nodeConfig"],
  "gcp:container/nodePool:NodePool": ["initialNodeCount"],
};

/** What a change of costs a replacement on a cluster and at the SDK's own resources. */
const otherReplacements: readonly (readonly [type: RegExp, path: RegExp])[] = [
  [/^kubernetes:helm\.sh\/v3:Release$/, /^(name|namespace)$/],
  [/^kubernetes:/, /^(apiVersion|kind|metadata\.(name|namespace))$/],
  [/^pulumi:providers:kubernetes$/, /^clusterIdentifier$/],
  [/^(random|tls):/, /./],
];

function costsReplacement(type: string, path: string, before: Inputs, after: Inputs): boolean {
  if (otherReplacements.some(([types, paths]) => types.test(type) && paths.test(path))) return true;
  const tables = clouds.flatMap(({ types }) => types[type] ?? []);
  if (isWithin(path, [...tables.flatMap(({ replace }) => replace), ...(programReplaces[type] ?? [])])) return true;
  const [name = ""] = path.split(/[.[]/);
  const decide = tables.map(({ replaceWhen }) => replaceWhen?.[name]).find((found) => found !== undefined);
  // The tables' values are those of inputs, which these are.
  return decide?.(before[name] as never, after[name] as never) ?? false;
}

/** Whether a path is one of `paths` or below one. Those have `[*]` for any place of a list. */
function isWithin(path: string, paths: readonly string[]): boolean {
  const anywhere = path.replaceAll(/\[\d+\]/g, "[*]");
  return paths.some((one) => anywhere === one || anywhere.startsWith(`${one}.`) || anywhere.startsWith(`${one}[`));
}
