import type { TestEngine } from "./engine";

interface Live {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly labels?: Record<string, string> };
  readonly data?: Readonly<Record<string, string>>;
  readonly spec?: Readonly<Record<string, unknown>>;
}

const kinds = "secrets,configmaps,serviceaccounts,services,deployments,ingresses,ingressclasses,poddisruptionbudgets";

/**
 * Follows every reference of what is live to what it names. The nodes are simulated, so a pod that names a Secret key
 * which is not there would still be called ready; here it is called broken.
 * @returns one line per reference that leads nowhere.
 */
export async function brokenReferences(engine: TestEngine): Promise<string[]> {
  const all = await engine.get<Live[]>(kinds, "--all-namespaces");
  const broken: string[] = [];
  const find = (kind: string, namespace: string | undefined, name: unknown): Live | undefined =>
    all.find((o) => o.kind === kind && o.metadata.name === name && o.metadata.namespace === namespace);

  const expect = (from: Live, kind: string, name: string | undefined, key?: string): void => {
    const namespace = kind === "IngressClass" ? undefined : from.metadata.namespace;
    const found = find(kind, namespace, name);
    const what = `${from.kind} ${from.metadata.name} -> ${kind} ${name ?? "(none)"}`;
    if (!found) broken.push(`${what}: not there`);
    else if (key !== undefined && found.data?.[key] === undefined) broken.push(`${what}: no key ${key}`);
  };

  for (const object of all) {
    if (object.kind === "Deployment") followDeployment(object, expect);
    if (object.kind === "Ingress") followIngress(object, all, expect, broken);
    if (object.kind === "Service" || object.kind === "PodDisruptionBudget") followSelector(object, all, broken);
  }
  return broken;
}

type Expect = (from: Live, kind: string, name: string | undefined, key?: string) => void;
interface Reference {
  readonly name?: string;
  readonly key?: string;
  readonly optional?: boolean;
}
interface PodSpec {
  readonly serviceAccountName?: string;
  readonly containers: readonly {
    readonly env?: readonly { valueFrom?: { secretKeyRef?: Reference; configMapKeyRef?: Reference } }[];
    readonly envFrom?: readonly { secretRef?: Reference; configMapRef?: Reference }[];
  }[];
  readonly volumes?: readonly {
    secret?: { secretName: string; items?: readonly { key: string }[]; optional?: boolean };
    configMap?: Reference & { items?: readonly { key: string }[] };
  }[];
}

function podSpec(deployment: Live): PodSpec {
  return (deployment.spec?.["template"] as { spec: PodSpec }).spec;
}

function followDeployment(deployment: Live, expect: Expect): void {
  const { serviceAccountName, containers, volumes = [] } = podSpec(deployment);
  if (serviceAccountName) expect(deployment, "ServiceAccount", serviceAccountName);
  for (const { env = [], envFrom = [] } of containers) {
    for (const { valueFrom } of env) {
      const { secretKeyRef, configMapKeyRef } = valueFrom ?? {};
      if (secretKeyRef && !secretKeyRef.optional) expect(deployment, "Secret", secretKeyRef.name, secretKeyRef.key);
      if (configMapKeyRef && !configMapKeyRef.optional) {
        expect(deployment, "ConfigMap", configMapKeyRef.name, configMapKeyRef.key);
      }
    }
    for (const { secretRef, configMapRef } of envFrom) {
      if (secretRef) expect(deployment, "Secret", secretRef.name);
      if (configMapRef) expect(deployment, "ConfigMap", configMapRef.name);
    }
  }
  for (const { secret, configMap } of volumes) {
    if (secret && !secret.optional) {
      expect(deployment, "Secret", secret.secretName);
      for (const { key } of secret.items ?? []) expect(deployment, "Secret", secret.secretName, key);
    }
    if (configMap && !configMap.optional) {
      expect(deployment, "ConfigMap", configMap.name);
      for (const { key } of configMap.items ?? []) expect(deployment, "ConfigMap", configMap.name, key);
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

function followIngress(ingress: Live, all: readonly Live[], expect: Expect, broken: string[]): void {
  const { ingressClassName, rules, tls = [] } = ingress.spec as unknown as IngressSpec;
  expect(ingress, "IngressClass", ingressClassName);
  for (const { secretName, hosts } of tls) {
    expect(ingress, "Secret", secretName, "tls.crt");
    expect(ingress, "Secret", secretName, "tls.key");
    for (const host of hosts) {
      if (!rules.some((rule) => rule.host === host)) broken.push(`${ingress.metadata.name}: TLS for ${host}, no rule`);
    }
  }
  for (const { host, http } of rules) {
    if (!tls.some(({ hosts }) => hosts.includes(host))) broken.push(`${ingress.metadata.name}: ${host} has no TLS`);
    for (const { backend } of http.paths) {
      expect(ingress, "Service", backend.service.name);
      const service = all.find(
        (o) =>
          o.kind === "Service" &&
          o.metadata.name === backend.service.name &&
          o.metadata.namespace === ingress.metadata.namespace,
      );
      const ports = (service?.spec?.["ports"] ?? []) as { port: number; name?: string }[];
      const { number, name } = backend.service.port;
      if (service && !ports.some((port) => port.port === number || (name !== undefined && port.name === name))) {
        broken.push(
          `Ingress ${ingress.metadata.name} -> Service ${backend.service.name}: no port ${String(number ?? name)}`,
        );
      }
    }
  }
}

/** A Service or a disruption budget that selects no pod template, and a port that no container opens. */
function followSelector(object: Live, all: readonly Live[], broken: string[]): void {
  const selector =
    object.kind === "Service"
      ? (object.spec?.["selector"] as Record<string, string> | undefined)
      : (object.spec?.["selector"] as { matchLabels: Record<string, string> }).matchLabels;
  if (!selector) return;
  const selected = all.filter((other) => {
    if (other.kind !== "Deployment" || other.metadata.namespace !== object.metadata.namespace) return false;
    const template = other.spec?.["template"] as { metadata: { labels: Record<string, string> } };
    return Object.entries(selector).every(([key, value]) => template.metadata.labels[key] === value);
  });
  if (selected.length === 0) broken.push(`${object.kind} ${object.metadata.name}: selects no Deployment's pods`);
}
