import { gunzipSync } from "node:zlib";
import {
  AppsV1Api,
  CoreV1Api,
  KubernetesObjectApi,
  NetworkingV1Api,
  type V1Ingress,
  type V1Secret,
} from "@kubernetes/client-node";
import * as pulumi from "@pulumi/pulumi";
import type { ChartName } from "../charts";
import { doubtfulValues } from "../config/plain-secrets";
import { refusal } from "../config/refusal";
import type { Config } from "../config/schema";
import type { LiveCluster } from "../live-cluster";
import type { Names } from "./names";

/** A Helm release that the program is about to have, in a namespace that goes with it unless it is the user's. */
interface WantedRelease {
  readonly chart: ChartName;
  readonly namespace: string;
  readonly release: string;
  readonly ownNamespace: boolean;
  /** Key of stack config that gives the release another name; absent where there is none. */
  readonly releaseKey?: string;
}

/** The releases of a stack. */
function wantedReleases({ ingress, agents }: Config, own: Names): WantedRelease[] {
  const controllers = { nginx: "ingress-nginx", traefik: "traefik" } as const;
  return [
    ...(ingress.controller === "existing"
      ? []
      : [
          {
            chart: controllers[ingress.controller],
            namespace: ingress.namespace ?? own.ingressNamespace,
            release: own.ingressRelease(controllers[ingress.controller]),
            ownNamespace: true,
          },
        ]),
    { chart: "gitlab-workspaces-proxy", namespace: own.proxyNamespace, release: own.proxyRelease, ownNamespace: true },
    ...agents.map(({ name, namespace, release, serviceAccount }, index): WantedRelease => ({
      chart: "gitlab-agent",
      namespace: namespace ?? own.agentNamespace(name),
      release: release ?? own.agentRelease(name),
      ownNamespace: serviceAccount === undefined,
      releaseKey: `agents[${index}].release`,
    })),
  ];
}

/** What Helm has recorded of a release, without its values. */
interface RecordedRelease {
  readonly namespace: string;
  readonly release: string;
  /** Name of its chart; undefined when the record cannot be read. */
  readonly chart: string | undefined;
  /** Where secrets stand, or may stand, in its values. */
  readonly secretPaths: readonly string[];
}

/** What is looked at before anything is taken over. */
interface Survey {
  readonly recorded: readonly RecordedRelease[];
  readonly ingresses: readonly V1Ingress[];
  readonly classes: readonly { readonly metadata?: Named }[];
  readonly services: readonly string[];
  /** Workloads of the namespaces that would be this stack's. */
  readonly workloads: readonly { readonly metadata?: Named }[];
}

interface Named {
  readonly name?: string;
  readonly namespace?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

/**
 * Takes over what stands on the cluster under the names that the program would use: whatever is there is imported, and
 * then changed in place like anything else of the stack. What is not there is made.
 * @returns a transform for every resource on the cluster.
 * @throws pulumi.RunError when something cannot be taken over as it is: all reasons at once, nothing touched.
 */
export async function adoption(cluster: LiveCluster, config: Config, own: Names): Promise<pulumi.ResourceTransform> {
  const wanted = wantedReleases(config, own);
  let survey: Survey;
  try {
    survey = await look(cluster, wanted, own);
  } catch (error) {
    throw refusal(`adopt is on. ${cluster.reason(error, "list secrets --all-namespaces")}`);
  }
  const objections = [
    ...wanted.flatMap((release) => releaseObjection(release, survey)),
    ...wanted.flatMap((release) => namespaceObjection(release, wanted, survey)),
    ...domainObjections(config.domain, own, survey),
    ...classObjection(config, own, survey),
    ...sshObjection(config, own, survey),
  ];
  if (objections.length > 0) {
    throw refusal(["adopt is on, and this is in its way. Nothing was touched.", ...objections].join("\n\n"));
  }
  return importing(cluster, survey.recorded);
}

async function look(cluster: LiveCluster, wanted: readonly WantedRelease[], own: Names): Promise<Survey> {
  const { config } = cluster;
  const [core, networking, apps] = [
    config.makeApiClient(CoreV1Api),
    config.makeApiClient(NetworkingV1Api),
    config.makeApiClient(AppsV1Api),
  ];
  const namespaces = [...new Set(wanted.filter(({ ownNamespace }) => ownNamespace).map(({ namespace }) => namespace))];
  const [secrets, ingresses, classes, services, ...workloads] = await Promise.all([
    cluster.answer(
      core.listSecretForAllNamespaces({ labelSelector: "owner=helm", fieldSelector: "type=helm.sh/release.v1" }),
    ),
    cluster.answer(networking.listIngressForAllNamespaces()),
    cluster.answer(networking.listIngressClass()),
    cluster.answer(core.listNamespacedService({ namespace: own.proxyNamespace })),
    ...namespaces.flatMap((namespace) => [
      cluster.answer(apps.listNamespacedDeployment({ namespace })),
      cluster.answer(apps.listNamespacedDaemonSet({ namespace })),
      cluster.answer(apps.listNamespacedStatefulSet({ namespace })),
    ]),
  ]);
  return {
    recorded: newest(secrets.items).map(recordOf),
    ingresses: ingresses.items,
    classes: classes.items,
    services: services.items.flatMap(({ metadata }) => metadata?.name ?? []),
    workloads: workloads.flatMap(({ items }) => items as { metadata?: Named }[]),
  };
}

/** Why a release cannot be taken over as it is. */
function releaseObjection(wanted: WantedRelease, { recorded }: Survey): string[] {
  const { chart, namespace, release, releaseKey } = wanted;
  const there = recorded.filter((one) => one.namespace === namespace);
  const same = there.find((one) => one.release === release);
  const forget =
    "Have Helm forget the release; what it installed stays as it is, and the next up takes it over:\n" +
    `  kubectl delete secret --namespace ${namespace} --selector owner=helm,name=${release}`;
  if (same) {
    if (same.chart === undefined)
      return [`Helm's record of release ${release} in namespace ${namespace} cannot be read.\n${forget}`];
    if (same.chart !== chart)
      return [`Release ${release} in namespace ${namespace} is of chart ${same.chart}, and this stack needs ${chart}.`];
    if (same.secretPaths.length === 0) return [];
    return [
      `Release ${release} in namespace ${namespace} was installed with what is or may be a secret in its values: ` +
        `${same.secretPaths.join(", ")}. An import would put them into the stack's state in plain text, and Helm keeps ` +
        `them in every revision.\n${forget}`,
    ];
  }
  const other = there.find((one) => one.chart === chart);
  if (!other) return [];
  const what = `Chart ${chart} is installed in namespace ${namespace} as release ${other.release}, and this stack would install ${release} beside it.\n`;
  return [
    releaseKey === undefined
      ? `${what}It cannot be taken over under that name: docs/adoption.md says why.`
      : `${what}To take over the one that is there:\n  ${setCommand(releaseKey, other.release)}`,
  ];
}

/** A namespace that is taken over goes with the stack, and all that is in it. */
function namespaceObjection(
  { namespace, ownNamespace, chart }: WantedRelease,
  wanted: readonly WantedRelease[],
  { workloads, recorded }: Survey,
): string[] {
  if (!ownNamespace) return [];
  const releases = [
    ...wanted.filter((one) => one.namespace === namespace),
    // Of the same chart under another name, another objection speaks.
    ...recorded.filter((one) => one.namespace === namespace && one.chart === chart),
  ].map(({ release }) => release);
  const strangers = workloads.filter(({ metadata }) => {
    const release = metadata?.annotations?.["meta.helm.sh/release-name"];
    return metadata?.namespace === namespace && (release === undefined || !releases.includes(release));
  });
  if (strangers.length === 0) return [];
  return [
    `Namespace ${namespace} would become this stack's and go with it when it is destroyed, and others work there: ` +
      `${strangers.map(({ metadata }) => metadata?.name ?? "").join(", ")}. Move them, or leave the release to its owner ` +
      "(ingress.controller existing).",
  ];
}

/** The domain tells whose proxy it is: a stack must not take over another one's, nor stand beside one of its own. */
function domainObjections(domain: string, own: Names, { ingresses }: Survey): string[] {
  const hosts = [domain, `*.${domain}`];
  return ingresses.flatMap(({ metadata, spec }) => {
    const [namespace, name] = [metadata?.namespace ?? "", metadata?.name ?? ""];
    const served = (spec?.rules ?? []).flatMap(({ host }) => host ?? []);
    const ours = namespace === own.proxyNamespace;
    if (!ours && served.some((host) => hosts.includes(host)))
      return [
        `Ingress ${name} in namespace ${namespace} serves ${domain} already. Whose it is: kubectl describe ingress ${name} ` +
          `--namespace ${namespace}. An installation whose proxy is not release ${own.proxyRelease} in namespace ` +
          `${own.proxyNamespace} cannot be taken over.`,
      ];
    const others = ours ? served.filter((host) => !hosts.includes(host)) : [];
    if (others.length === 0) return [];
    return [
      `The proxy in namespace ${namespace} serves ${others.join(", ")}, and this stack is for ${domain}: it is another ` +
        `installation. This one needs a name of its own:\n  pulumi config set --stack ${pulumi.getStack()} gitlab-workspaces:instance <name>`,
    ];
  });
}

/** Two controllers cannot have one IngressClass. */
function classObjection({ ingress }: Config, own: Names, { classes }: Survey): string[] {
  if (ingress.controller === "existing") return [];
  const className = own.ingressClass(ingress.controller);
  const { annotations } = classes.find(({ metadata }) => metadata?.name === className)?.metadata ?? {};
  if (annotations === undefined) return [];
  const [release, namespace] = [
    annotations["meta.helm.sh/release-name"],
    annotations["meta.helm.sh/release-namespace"],
  ];
  const chart = { nginx: "ingress-nginx", traefik: "traefik" }[ingress.controller];
  if (release === own.ingressRelease(chart) && namespace === (ingress.namespace ?? own.ingressNamespace)) return [];
  const asIs = `  ${setCommand("ingress.controller", "existing")}\n  ${setCommand("ingress.className", className)}`;
  return [
    release === own.ingressRelease(chart) && namespace !== undefined
      ? `IngressClass ${className} belongs to release ${release} in namespace ${namespace}. To take that controller over:\n` +
        `  ${setCommand("ingress.namespace", namespace)}\nOr use it and leave it whose it is:\n${asIs.replaceAll(/^ {2}/gm, "    ")}`
      : `IngressClass ${className} belongs to somebody else's controller. Use it and leave it whose it is:\n${asIs}`,
  ];
}

/** The tutorial gives the proxy a public SSH address, and this program only when told to. */
function sshObjection({ proxy }: Config, own: Names, { services }: Survey): string[] {
  const name = `${own.proxyRelease}-ssh`;
  if (proxy.ssh.service !== "off" || !services.includes(name)) return [];
  return [
    `Service ${name} in namespace ${own.proxyNamespace} is how people reach their workspaces by SSH, and ` +
      "proxy.ssh.service is off: it would be removed, and with it its address. To keep it:\n" +
      `  ${setCommand("proxy.ssh.service", "LoadBalancer")}\n` +
      `If nobody uses it, remove it first: kubectl delete service ${name} --namespace ${own.proxyNamespace}`,
  ];
}

function setCommand(key: string, value: string): string {
  return `pulumi config set --stack ${pulumi.getStack()} --path 'gitlab-workspaces:${key}' ${value}`;
}

/** Imports what is there. The engine compares it with what the program wants and shows the difference as an update. */
function importing(cluster: LiveCluster, recorded: readonly RecordedRelease[]): pulumi.ResourceTransform {
  const objects = KubernetesObjectApi.makeApiClient(cluster.config);
  return async ({ type, props, opts }) => {
    const id = type.startsWith("kubernetes:") ? await liveId(type, props) : undefined;
    return id === undefined ? undefined : { props, opts: { ...opts, import: id } };
  };

  async function liveId(type: string, props: pulumi.Inputs): Promise<string | undefined> {
    if (type === "kubernetes:helm.sh/v3:Release") {
      const { name, namespace } = props as { name: string; namespace: string };
      const there = recorded.some((one) => one.release === name && one.namespace === namespace);
      return there ? `${namespace}/${name}` : undefined;
    }
    const [, group = "", kind = ""] = type.split(":");
    const { name, namespace } = props["metadata"] as { name: string; namespace?: string };
    const metadata = { name, ...(namespace === undefined ? {} : { namespace }) };
    try {
      await cluster.answer(objects.read({ apiVersion: group.replace(/^core\//, ""), kind, metadata }));
    } catch (error) {
      if ((error as { code?: unknown }).code === 404) return undefined;
      throw refusal(`adopt is on. ${cluster.reason(error, `get ${kind.toLowerCase()}s`)}`);
    }
    return namespace === undefined ? name : `${namespace}/${name}`;
  }
}

/** The newest revision of every release: https://helm.sh/docs/topics/advanced/#storage-backends */
function newest(secrets: readonly V1Secret[]): V1Secret[] {
  const byRelease = new Map<string, V1Secret>();
  const revision = (secret: V1Secret): number => Number(secret.metadata?.labels?.["version"]);
  for (const secret of secrets) {
    const key = `${secret.metadata?.namespace ?? ""}/${secret.metadata?.labels?.["name"] ?? ""}`;
    const known = byRelease.get(key);
    if (!known || revision(known) < revision(secret)) byRelease.set(key, secret);
  }
  return [...byRelease.values()];
}

function recordOf({ metadata, data }: V1Secret): RecordedRelease {
  const where = { namespace: metadata?.namespace ?? "", release: metadata?.labels?.["name"] ?? "" };
  try {
    const packed = Buffer.from(Buffer.from(data?.["release"] ?? "", "base64").toString("utf8"), "base64");
    const { chart, config } = JSON.parse(gunzipSync(packed).toString("utf8")) as {
      chart: { metadata: { name: string } };
      config?: unknown;
    };
    const { name } = chart.metadata;
    // Whoever may write Secrets chose this text.
    return { ...where, chart: name.replaceAll(/[^\w.-]/g, "?"), secretPaths: doubtfulValues(name, config ?? {}) };
  } catch {
    // Anybody may label a Secret like one of Helm's; it matters only where it bears a name that this stack needs.
    return { ...where, chart: undefined, secretPaths: [] };
  }
}
