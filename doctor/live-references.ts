/** An object as the API server has it. */
export interface Live {
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly creationTimestamp?: string;
    readonly deletionTimestamp?: string;
  };
  readonly data?: Readonly<Record<string, string>>;
  readonly binaryData?: Readonly<Record<string, string>>;
  readonly spec?: Readonly<Record<string, unknown>>;
}

/** A reference that leads nowhere. */
export interface Broken {
  /** What it starts from. */
  readonly from: Live;
  /** Kind of what is not there or not right: `Port` of a Service, `Pods` that a selector selects, a `Host` of an Ingress. */
  readonly missing: "Secret" | "ConfigMap" | "ServiceAccount" | "IngressClass" | "Service" | "Port" | "Pods" | "Host";
  /** The reference and what is wrong with it, as a line. */
  readonly line: string;
}

const workloads: readonly string[] = ["Deployment", "StatefulSet", "DaemonSet"];

/**
 * Follows every reference of the objects to what it names; whatever is not among them is not there.
 * @returns one line per reference that leads nowhere.
 */
export function brokenAmong(all: readonly Live[]): string[] {
  return brokenReferencesOf(all, all).map(({ line }) => line);
}

/** The same for references that start from some of the objects only, each with what is missing. */
export function brokenReferencesOf(some: readonly Live[], all: readonly Live[]): Broken[] {
  const broken = new Map<string, Broken>();
  for (const object of some) {
    const say: Say = (missing, line) => void broken.set(line, { from: object, missing, line });
    const find: Find = (kind, namespace, name) =>
      all.find((o) => o.kind === kind && o.metadata.name === name && o.metadata.namespace === namespace);
    const expect: Expect = (kind, name, key) => {
      const found = find(kind, kind === "IngressClass" ? undefined : object.metadata.namespace, name);
      const what = `${object.kind} ${object.metadata.name} -> ${kind} ${name ?? "(none)"}`;
      if (!found) say(kind, `${what}: not there`);
      else if (key !== undefined && { ...found.data, ...found.binaryData }[key] === undefined) {
        say(kind, `${what}: no key ${key}`);
      }
    };
    if (workloads.includes(object.kind)) followPods(object, expect);
    if (object.kind === "Ingress") followIngress(object, find, expect, say);
    if (object.kind === "Service") followService(object, all, say);
    if (object.kind === "PodDisruptionBudget") followBudget(object, all, say);
  }
  return [...broken.values()];
}

type Say = (missing: Broken["missing"], line: string) => void;
type Find = (kind: string, namespace: string | undefined, name: string | undefined) => Live | undefined;
type Expect = (
  kind: Exclude<Broken["missing"], "Port" | "Pods" | "Host">,
  name: string | undefined,
  key?: string,
) => void;

interface Reference {
  readonly name?: string;
  readonly key?: string;
  readonly optional?: boolean;
}
/** A Secret or a ConfigMap as a volume: all of it, or some of its keys. */
interface Mounted extends Reference {
  readonly secretName?: string;
  readonly items?: readonly { readonly key: string }[];
}
interface Container {
  readonly env?: readonly { valueFrom?: { secretKeyRef?: Reference; configMapKeyRef?: Reference } }[];
  readonly envFrom?: readonly { secretRef?: Reference; configMapRef?: Reference }[];
  readonly ports?: readonly { containerPort: number; name?: string; protocol?: string }[];
  readonly restartPolicy?: string;
}
interface Volume {
  readonly secret?: Mounted;
  readonly configMap?: Mounted;
  readonly projected?: { readonly sources?: readonly Omit<Volume, "projected">[] };
}
interface PodSpec {
  readonly serviceAccountName?: string;
  readonly imagePullSecrets?: readonly Reference[];
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly volumes?: readonly Volume[];
}
interface PodTemplate {
  readonly metadata?: { readonly labels?: Readonly<Record<string, string>> };
  readonly spec: PodSpec;
}

const template = (workload: Live): PodTemplate => workload.spec?.["template"] as PodTemplate;

function followPods(workload: Live, expect: Expect): void {
  const {
    serviceAccountName,
    imagePullSecrets = [],
    containers,
    initContainers = [],
    volumes = [],
  } = template(workload).spec;
  const follow = (kind: "Secret" | "ConfigMap", reference: Mounted | undefined): void => {
    if (!reference || reference.optional) return;
    const { name = reference.secretName, key, items } = reference;
    expect(kind, name, key);
    for (const item of items ?? []) expect(kind, name, item.key);
  };
  if (serviceAccountName) expect("ServiceAccount", serviceAccountName);
  for (const secret of imagePullSecrets) follow("Secret", secret);
  for (const { env = [], envFrom = [] } of [...initContainers, ...containers]) {
    for (const { valueFrom } of env) {
      follow("Secret", valueFrom?.secretKeyRef);
      follow("ConfigMap", valueFrom?.configMapKeyRef);
    }
    for (const { secretRef, configMapRef } of envFrom) {
      follow("Secret", secretRef);
      follow("ConfigMap", configMapRef);
    }
  }
  for (const { projected, ...volume } of volumes) {
    for (const { secret, configMap } of [volume, ...(projected?.sources ?? [])]) {
      follow("Secret", secret);
      follow("ConfigMap", configMap);
    }
  }
}

/** As much of an Ingress's spec as references are in. */
export interface IngressSpec {
  readonly ingressClassName?: string;
  readonly rules?: readonly {
    readonly host?: string;
    readonly http?: { readonly paths: readonly { readonly backend: Backend }[] };
  }[];
  readonly tls?: readonly { readonly secretName?: string; readonly hosts?: readonly string[] }[];
}
interface Backend {
  readonly service?: { readonly name: string; readonly port: { readonly number?: number; readonly name?: string } };
}

function followIngress(ingress: Live, find: Find, expect: Expect, say: Say): void {
  const { ingressClassName, rules = [], tls = [] } = ingress.spec as IngressSpec;
  const { name: own, namespace } = ingress.metadata;
  expect("IngressClass", ingressClassName);
  for (const { secretName, hosts = [] } of tls) {
    expect("Secret", secretName, "tls.crt");
    expect("Secret", secretName, "tls.key");
    for (const host of hosts) {
      if (!rules.some((rule) => rule.host === host)) say("Host", `${own}: TLS for ${host}, no rule`);
    }
  }
  for (const { host = "*", http } of rules) {
    if (!tls.some(({ hosts = [] }) => hosts.includes(host))) say("Host", `${own}: ${host} has no TLS`);
    for (const { backend } of http?.paths ?? []) {
      if (!backend.service) continue;
      expect("Service", backend.service.name);
      const service = find("Service", namespace, backend.service.name);
      const ports = (service?.spec?.["ports"] ?? []) as { port: number; name?: string }[];
      const { number, name } = backend.service.port;
      if (service && !ports.some((port) => port.port === number || (name !== undefined && port.name === name))) {
        say("Port", `Ingress ${own} -> Service ${backend.service.name}: no port ${String(number ?? name)}`);
      }
    }
  }
}

type Labels = Readonly<Record<string, string>>;

/** Workloads of the object's namespace whose pods carry the labels. */
function selected(object: Live, labels: Labels, all: readonly Live[]): Live[] {
  return all.filter((other) => {
    if (!workloads.includes(other.kind) || other.metadata.namespace !== object.metadata.namespace) return false;
    const own = template(other).metadata?.labels ?? {};
    return Object.entries(labels).every(([key, value]) => own[key] === value);
  });
}

function followBudget(budget: Live, all: readonly Live[], say: Say): void {
  const { matchLabels = {} } = (budget.spec?.["selector"] ?? {}) as { matchLabels?: Labels };
  if (selected(budget, matchLabels, all).length === 0) {
    say("Pods", `PodDisruptionBudget ${budget.metadata.name}: selects no workload's pods`);
  }
}

interface ServiceSpec {
  readonly selector?: Labels;
  readonly ports?: readonly { port: number; targetPort?: number | string; protocol?: string }[];
}

/** A Service that selects no pod template, and a port of it that the selected pods do not open. */
function followService(service: Live, all: readonly Live[], say: Say): void {
  const { selector, ports = [] } = (service.spec ?? {}) as ServiceSpec;
  // Without a selector somebody else says where it leads.
  if (!selector) return;
  const targets = selected(service, selector, all);
  if (targets.length === 0) say("Pods", `Service ${service.metadata.name}: selects no workload's pods`);
  for (const workload of targets) {
    const opened = openPorts(template(workload).spec);
    for (const { port, targetPort = port, protocol = "TCP" } of ports) {
      const open = opened.some(
        (own) =>
          (typeof targetPort === "number" ? own.containerPort === targetPort : own.name === targetPort) &&
          (own.protocol ?? "TCP") === protocol,
      );
      if (open) continue;
      const what = `Service ${service.metadata.name} -> ${workload.kind} ${workload.metadata.name}`;
      say("Port", `${what}: no container port ${targetPort} (${protocol})`);
    }
  }
}

/** Ports of the containers that keep running: an init container does when it is a sidecar. */
function openPorts({ containers, initContainers = [] }: PodSpec): NonNullable<Container["ports"]> {
  const sidecars = initContainers.filter(({ restartPolicy }) => restartPolicy === "Always");
  return [...containers, ...sidecars].flatMap(({ ports = [] }) => ports);
}
