import type { TestEngine } from "./engine";

/** An object as the API server has it. */
export interface Live {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly labels?: Record<string, string> };
  readonly data?: Readonly<Record<string, string>>;
  readonly binaryData?: Readonly<Record<string, string>>;
  readonly spec?: Readonly<Record<string, unknown>>;
}

const workloads: readonly string[] = ["Deployment", "StatefulSet", "DaemonSet"];

const kinds =
  "secrets,configmaps,serviceaccounts,services,deployments,statefulsets,daemonsets,ingresses,ingressclasses,poddisruptionbudgets";

/**
 * Follows every reference of what is live to what it names. The nodes are simulated, so a pod that names a Secret key
 * which is not there would still be called ready; here it is called broken.
 * @returns one line per reference that leads nowhere.
 */
export async function brokenReferences(engine: TestEngine): Promise<string[]> {
  return brokenAmong(await engine.get<Live[]>(kinds, "--all-namespaces"));
}

/** The same, for objects in hand: whatever is not among them is not there. */
export function brokenAmong(all: readonly Live[]): string[] {
  const broken = new Set<string>();
  const say: Say = (line) => void broken.add(line);
  const find: Find = (kind, namespace, name) =>
    all.find((o) => o.kind === kind && o.metadata.name === name && o.metadata.namespace === namespace);

  const expect: Expect = (from, kind, name, key) => {
    const namespace = kind === "IngressClass" ? undefined : from.metadata.namespace;
    const found = find(kind, namespace, name);
    const what = `${from.kind} ${from.metadata.name} -> ${kind} ${name ?? "(none)"}`;
    if (!found) say(`${what}: not there`);
    else if (key !== undefined && { ...found.data, ...found.binaryData }[key] === undefined) {
      say(`${what}: no key ${key}`);
    }
  };

  for (const object of all) {
    if (workloads.includes(object.kind)) followPods(object, expect);
    if (object.kind === "Ingress") followIngress(object, find, expect, say);
    if (object.kind === "Service") followService(object, all, say);
    if (object.kind === "PodDisruptionBudget") followBudget(object, all, say);
  }
  return [...broken];
}

type Say = (line: string) => void;
type Find = (kind: string, namespace: string | undefined, name: string | undefined) => Live | undefined;
type Expect = (from: Live, kind: string, name: string | undefined, key?: string) => void;

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
    expect(workload, kind, name, key);
    for (const item of items ?? []) expect(workload, kind, name, item.key);
  };
  if (serviceAccountName) expect(workload, "ServiceAccount", serviceAccountName);
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

interface IngressSpec {
  readonly ingressClassName?: string;
  readonly rules: readonly {
    host: string;
    http: { paths: readonly { backend: { service: { name: string; port: { number?: number; name?: string } } } }[] };
  }[];
  readonly tls?: readonly { secretName: string; hosts: readonly string[] }[];
}

function followIngress(ingress: Live, find: Find, expect: Expect, say: Say): void {
  const { ingressClassName, rules, tls = [] } = ingress.spec as unknown as IngressSpec;
  expect(ingress, "IngressClass", ingressClassName);
  for (const { secretName, hosts } of tls) {
    expect(ingress, "Secret", secretName, "tls.crt");
    expect(ingress, "Secret", secretName, "tls.key");
    for (const host of hosts) {
      if (!rules.some((rule) => rule.host === host)) say(`${ingress.metadata.name}: TLS for ${host}, no rule`);
    }
  }
  for (const { host, http } of rules) {
    if (!tls.some(({ hosts }) => hosts.includes(host))) say(`${ingress.metadata.name}: ${host} has no TLS`);
    for (const { backend } of http.paths) {
      expect(ingress, "Service", backend.service.name);
      const service = find("Service", ingress.metadata.namespace, backend.service.name);
      const ports = (service?.spec?.["ports"] ?? []) as { port: number; name?: string }[];
      const { number, name } = backend.service.port;
      if (service && !ports.some((port) => port.port === number || (name !== undefined && port.name === name))) {
        say(`Ingress ${ingress.metadata.name} -> Service ${backend.service.name}: no port ${String(number ?? name)}`);
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
    say(`PodDisruptionBudget ${budget.metadata.name}: selects no workload's pods`);
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
  if (targets.length === 0) say(`Service ${service.metadata.name}: selects no workload's pods`);
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
      say(`${what}: no container port ${targetPort} (${protocol})`);
    }
  }
}

/** Ports of the containers that keep running: an init container does when it is a sidecar. */
function openPorts({ containers, initContainers = [] }: PodSpec): NonNullable<Container["ports"]> {
  const sidecars = initContainers.filter(({ restartPolicy }) => restartPolicy === "Always");
  return [...containers, ...sidecars].flatMap(({ ports = [] }) => ports);
}
