import { type Change, isObject, type Properties, type Value } from "../provider";

/** What of the provider's configuration decides between update and replacement. */
export interface Mutability {
  readonly secrets: boolean;
  readonly configMaps: boolean;
}

const POD = [
  ...["affinity", "automountServiceAccountToken", "dnsConfig", "dnsPolicy", "enableServiceLinks", "hostAliases"],
  ...["hostIPC", "hostNetwork", "hostPID", "hostname", "imagePullSecrets", "nodeName", "nodeSelector", "overhead"],
  ...["preemptionPolicy", "priority", "priorityClassName", "readinessGates", "restartPolicy", "runtimeClassName"],
  ...["schedulerName", "securityContext", "serviceAccount", "serviceAccountName", "shareProcessNamespace", "subdomain"],
  ...["terminationGracePeriodSeconds", "volumes"],
].map((field) => `spec.${field}`);

const CONTAINER = [
  ...["args", "command", "env", "image", "imagePullPolicy", "lifecycle", "livenessProbe", "ports", "readinessProbe"],
  ...[
    "resources",
    "securityContext",
    "stdin",
    "stdinOnce",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "tty",
  ],
  ...["volumeDevices", "volumeMounts", "workingDir"],
].flatMap((field) => [`spec.containers[*].${field}`, `spec.initContainers[*].${field}`]);

const VOLUME_SOURCES = [
  ...["awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "csi", "fc", "flexVolume", "flocker"],
  ...["gcePersistentDisk", "glusterfs", "hostPath", "iscsi", "local", "nfs", "photonPersistentDisk", "portworxVolume"],
  ...["quobyte", "rbd", "scaleIO", "storageos", "vsphereVolume"],
].map((source) => `spec.${source}`);

/**
 * What the official plugin replaces an object for, beside its name and namespace, by `<group>/<kind>`.
 * https://github.com/pulumi/pulumi-kubernetes/blob/master/provider/pkg/provider/diff.go
 */
const REPLACED_FOR: Readonly<Record<string, readonly string[]>> = {
  "/ConfigMap": ["binaryData", "data"],
  "/PersistentVolume": VOLUME_SOURCES,
  "/PersistentVolumeClaim": [...["spec.accessModes", "spec.selector", "spec.storageClassName", "spec.volumeName"]],
  "/Pod": [...POD, ...CONTAINER],
  "/ResourceQuota": ["spec.scopes"],
  "/Secret": ["type", "stringData", "data"],
  "/Service": ["spec.clusterIP"],
  "apps/DaemonSet": ["spec.selector"],
  "apps/Deployment": ["spec.selector"],
  "apps/StatefulSet": [
    ...["spec.podManagementPolicy", "spec.revisionHistoryLimit", "spec.selector", "spec.serviceName"],
    "spec.volumeClaimTemplates",
  ],
  "batch/Job": ["spec.completions", "spec.parallelism", "spec.selector", "spec.template"],
  "rbac.authorization.k8s.io/ClusterRoleBinding": ["roleRef"],
  "rbac.authorization.k8s.io/RoleBinding": ["roleRef"],
  "storage.k8s.io/StorageClass": ["parameters", "provisioner"],
};

/**
 * Every property that differs between two sets of inputs, and whether it costs the object's replacement.
 *
 * Lists are compared place by place. `ignored` are property paths that must not count.
 */
export function objectChanges(
  olds: Properties,
  news: Properties,
  mutability: Mutability,
  ignored: readonly string[],
): Map<string, Change> {
  const patterns = ["metadata.name", "metadata.namespace", ...replacedFor(olds, news, mutability)];
  const changes = new Map<string, Change>();
  for (const [path, kind] of propertyChanges(olds, news)) {
    if (ignored.some((pattern) => covers(pattern, path))) continue;
    changes.set(path, { kind, replace: patterns.some((pattern) => covers(pattern, path)) });
  }
  return changes;
}

function replacedFor(olds: Properties, news: Properties, mutability: Mutability): readonly string[] {
  const [group, version] = text(news["apiVersion"]).split("/");
  const kind = text(news["kind"]);
  const patterns = REPLACED_FOR[`${version === undefined ? "" : (group ?? "")}/${kind}`] ?? [];
  // An object that forbids its own change can only be replaced, whatever the provider is told.
  const mutable = olds["immutable"] !== true;
  if (kind === "Secret" && mutability.secrets && mutable) return patterns.filter((path) => path === "type");
  if (kind === "ConfigMap" && mutability.configMaps && mutable) return [];
  return patterns;
}

/**
 * Every leaf that differs, by property path as `metadata.annotations["example.com/a"]` or `spec.ports[0].port`; a
 * part that is only on one side is named as a whole.
 */
export function propertyChanges(olds: Properties, news: Properties): Map<string, Change["kind"]> {
  const changes = new Map<string, Change["kind"]>();
  const compare = (path: string, old: Value | undefined, now: Value | undefined): void => {
    if (isNothing(old) && isNothing(now)) return;
    if (isNothing(old)) changes.set(path, "add");
    else if (isNothing(now)) changes.set(path, "delete");
    else if (isObject(old) && isObject(now)) compareMembers(path, old, now);
    else if (Array.isArray(old) && Array.isArray(now)) {
      for (let index = 0; index < Math.max(old.length, now.length); index++) {
        compare(`${path}[${index}]`, old[index], now[index]);
      }
    } else if (old !== now) changes.set(path, "update");
  };
  const compareMembers = (path: string, old: Properties, now: Properties): void => {
    for (const key of new Set([...Object.keys(old), ...Object.keys(now)])) {
      compare(memberPath(path, key), old[key], now[key]);
    }
  };
  compareMembers("", olds, news);
  return changes;
}

/** Whether a path is, or lies within, what a pattern names; `[*]` in a pattern is any place of a list. */
export function covers(pattern: string, path: string): boolean {
  const expected = steps(pattern);
  const actual = steps(path);
  // A change named as a whole, as an added list, covers what the pattern names inside of it.
  const shared = Math.min(expected.length, actual.length);
  for (let index = 0; index < shared; index++) {
    if (expected[index] !== actual[index] && expected[index] !== "*") return false;
  }
  return expected.length <= actual.length || shared === actual.length;
}

/** The parts of a property path, `[*]` as `*`. */
export function steps(path: string): string[] {
  return Array.from(path.matchAll(/\["((?:[^"\\]|\\.)*)"\]|\[([^\]]*)\]|([^.[]+)/g), ([, quoted, index, plain]) =>
    quoted === undefined ? (index ?? plain ?? "") : (JSON.parse(`"${quoted}"`) as string),
  );
}

function memberPath(path: string, key: string): string {
  if (!/^[A-Za-z_][\w$-]*$/.test(key)) return `${path}[${JSON.stringify(key)}]`;
  return path === "" ? key : `${path}.${key}`;
}

/**
 * What of a live object answers to recorded inputs: the same shape, with live values. What only the server set is left
 * out, so that defaults do not look like drift; what the server dropped because it was empty stays.
 */
export function projected(
  live: Value | undefined,
  input: Value | undefined,
  path: readonly string[] = [],
): Value | undefined {
  if (live === undefined || live === null) return isEmpty(input) ? input : undefined;
  if (isObject(input) && isObject(live)) {
    const members = Object.keys(input).map((key) => [key, projected(live[key], input[key], [...path, key])] as const);
    return Object.fromEntries(members.filter(([, value]) => value !== undefined));
  }
  if (Array.isArray(input) && Array.isArray(live)) return projectedList(live, input, path);
  if (typeof input === "string" && typeof live === "string" && isQuantityPath(path)) {
    return sameQuantity(input, live) ? input : live;
  }
  return live;
}

function projectedList(live: Value[], input: Value[], path: readonly string[]): Value[] {
  const named = (list: Value[]): Properties[] | undefined =>
    list.every((item): item is Properties => isObject(item) && typeof item["name"] === "string") ? list : undefined;
  const inputs = named(input);
  const lives = named(live);
  if (inputs && lives && inputs.length > 0) {
    // Others may add containers, variables or ports of their own; the official three-way comparison leaves them be.
    return inputs.flatMap((item) => {
      const match = projected(
        lives.find((candidate) => candidate["name"] === item["name"]),
        item,
        path,
      );
      return match === undefined ? [] : [match];
    });
  }
  if (live.length !== input.length) return live;
  return live.map((item, index) => projected(item, input[index], path) ?? null);
}

/** The maps whose values the API server writes in its own way, as `1000m` of CPU becomes `1`. */
const QUANTITIES = new Set(["limits", "requests", "hard", "capacity", "min", "max", "default", "defaultRequest"]);

function isQuantityPath(path: readonly string[]): boolean {
  return path.some((step) => QUANTITIES.has(step));
}

/** https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/ */
function sameQuantity(a: string, b: string): boolean {
  const units: Readonly<Record<string, number>> = {
    ...{ n: 1e-9, u: 1e-6, m: 1e-3, "": 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15, E: 1e18 },
    ...{ Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40, Pi: 2 ** 50, Ei: 2 ** 60 },
  };
  const amount = (quantity: string): number => {
    const [, digits, unit = ""] = /^([+-]?[\d.]+(?:[eE][+-]?\d+)?)([A-Za-z]{0,2})$/.exec(quantity) ?? [];
    return digits === undefined ? NaN : Number(digits) * (units[unit] ?? NaN);
  };
  const difference = Math.abs(amount(a) - amount(b));
  return difference <= Math.abs(amount(a)) * 1e-12;
}

function isEmpty(value: Value | undefined): boolean {
  if (isObject(value)) return Object.values(value).every((member) => member === undefined);
  return value === null || value === "" || value === false || value === 0 || (Array.isArray(value) && !value.length);
}

function isNothing(value: Value | undefined): value is null | undefined {
  return value === undefined || value === null;
}

function text(value: Value | undefined): string {
  return typeof value === "string" ? value : "";
}
