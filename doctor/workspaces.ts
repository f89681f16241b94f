import { chosenClass } from "./capacity";
import { liveCluster } from "./cluster";
import { type Codes, type Finding, findings } from "./finding";
import { harmless } from "./harmless";
import type { IngressSpec, Live } from "./live-references";
import type { Check } from "./patient";
import { type Condition, type Pod, trouble } from "./pods";
import { workspaceNamespaces } from "../src/platform/names";

/** What can be wrong with the workspaces of people. */
export const codes = {
  GW801: {
    severity: "error",
    title: "Workspaces have another DNS zone than the domain",
    meaning:
      "Their hosts are not below the domain, so no browser reaches them: `dns_zone` in the agent's configuration in GitLab " +
      "is another one, or was when they were made. Commit what the command prints in the agent's project; workspaces that " +
      "are there already have to be made anew.",
    fix: ["pulumi stack output --json agentConfig --stack <stack>"],
  },
  GW802: {
    severity: "error",
    title: "A workspace does not start: an image cannot be pulled",
    meaning:
      "The image is named by the workspace's devfile, or is GitLab's own from registry.gitlab.com. The registry's answer is " +
      "in the message. For a private one the agent's configuration has `image_pull_secrets`. Its owner ends the workspace " +
      "in GitLab once the devfile is mended.",
    fix: ["kubectl describe pod <pod> --namespace <namespace>", "kubectl delete pod <pod> --namespace <namespace>"],
  },
  GW803: {
    severity: "error",
    title: "A workspace does not start: no node takes it",
    meaning:
      "The scheduler says what every node lacks: CPU or memory, amd64, a volume in the node's zone. Add nodes, or ask for " +
      "less in the devfile or in `default_resources_per_workspace_container` of the agent's configuration.",
    fix: ["kubectl describe pod <pod> --namespace <namespace>", "kubectl get nodes"],
  },
  GW804: {
    severity: "error",
    title: "A workspace gets no volume",
    meaning:
      "Its claim names no StorageClass, because the cluster had no default one when it was made. A default one that comes " +
      "later is given to such claims, too. Where the command says NAME, choose one of several.",
    fix: [
      "kubectl get storageclasses",
      "kubectl annotate storageclass <class> storageclass.kubernetes.io/is-default-class=true --overwrite",
    ],
  },
  GW805: {
    severity: "error",
    title: "A workspace does not start: its pod is refused",
    meaning:
      "The message says why: `max_resources_per_workspace` of the agent's configuration becomes a ResourceQuota, and the " +
      "containers together may not ask for more; or Pod Security or an admission webhook refuses the pod.",
    fix: [
      "kubectl get resourcequota,limitrange --namespace <namespace>",
      "kubectl get events --namespace <namespace> --field-selector reason=FailedCreate",
      "kubectl rollout restart <workload> --namespace <namespace>",
    ],
  },
  GW806: {
    severity: "error",
    title: "A workspace does not start",
    meaning:
      "Its pod waits for longer than ten minutes, or ends again and again. The reason is above or in its events.",
    fix: [
      "kubectl describe pod <pod> --namespace <namespace>",
      "kubectl logs <pod> --namespace <namespace> --all-containers --tail 50",
      "kubectl delete pod <pod> --namespace <namespace>",
    ],
  },
  GW807: {
    severity: "warning",
    title: "A workspace's namespace is stuck in its deletion",
    meaning:
      "It was deleted more than ten minutes ago, and something in it does not go: the message says what, mostly an object " +
      "with a finalizer whose controller is gone, or an API service that does not answer. GitLab shows the workspace as " +
      "terminating for as long.",
    fix: [
      "kubectl get namespace <namespace> --output jsonpath='{.status.conditions[*].message}'",
      "kubectl get apiservices",
      "kubectl api-resources --verbs list --namespaced --output name | xargs -n 1 kubectl get --namespace <namespace> --ignore-not-found --show-kind",
    ],
  },
} satisfies Codes;

const finding = findings(codes);

/** How long a workspace or the end of one may take, in minutes. Images of several GB come over the network first. */
const patience = 10;

interface Claim extends Live {
  readonly spec?: { readonly storageClassName?: string };
  readonly status?: { readonly phase?: string };
}
interface Namespace extends Live {
  readonly status?: { readonly conditions?: readonly Condition[] };
}
interface Deployment extends Live {
  readonly status?: { readonly conditions?: readonly Condition[] };
}

/** GitLab names a workspace's namespace so: https://docs.gitlab.com/user/workspace/ */
const isWorkspace = (name = ""): boolean => name.startsWith(workspaceNamespaces);

/** Label of everything that an agent makes for a workspace, with the agent's id in GitLab. */
const agentLabel = "agent.gitlab.com/id";

/** DNS zone in the template of a workspace's hosts; undefined when it is none that is known. */
export function zoneOf(template: string): string | undefined {
  return /^\{\{\s*\.port\s*\}\}-[^.]+\.(.+)$/.exec(template)?.[1];
}

/** Whether workspaces are where the domain is, start, and go when they are to go. */
export const workspaces: Check = {
  name: "workspaces",
  async run({ stack, installation: { domain, proxy }, cluster }, { now }) {
    const live = liveCluster(cluster);
    const [namespaces, services, ingresses, pods, deployments, claims, classes] = await Promise.all([
      live.list<Namespace>("Namespace"),
      live.list("Service", { labels: agentLabel }),
      live.list("Ingress"),
      live.list<Pod>("Pod", { labels: agentLabel }),
      live.list<Deployment>("Deployment", { labels: agentLabel }),
      live.list<Claim>("PersistentVolumeClaim", { labels: agentLabel }),
      live.list("StorageClass"),
    ]);
    const old = (time: string | undefined): boolean => now.getTime() - Date.parse(time ?? "") > patience * 60_000;

    const zones = services.flatMap(({ metadata: { name, namespace = "", annotations } }) => {
      const zone = zoneOf(annotations?.["workspaces.gitlab.com/host-template"] ?? "");
      return zone === undefined || !isWorkspace(namespace) ? [] : [{ name, namespace, zone }];
    });
    // What another installation on this cluster serves is its business.
    const foreign = ingresses
      .filter(({ metadata }) => metadata.namespace !== proxy.namespace)
      .flatMap(({ spec }) => (spec as IngressSpec).rules ?? [])
      .flatMap(({ host }) => (host === undefined || host === domain ? [] : [host.replace(/^\*\./, "")]));
    const elsewhere = new Set(
      zones.filter(({ zone }) => zone !== domain && foreign.includes(zone)).map(({ namespace }) => namespace),
    );
    const own = namespaces.filter(({ metadata: { name } }) => isWorkspace(name) && !elsewhere.has(name));
    const inNamespace = <T extends Live>(objects: readonly T[], name: string): T[] =>
      objects.filter(({ metadata }) => metadata.namespace === name);

    const strays = zones.filter(({ namespace, zone }) => zone !== domain && !elsewhere.has(namespace));
    const troubles = own.flatMap((namespace): Finding[] => {
      const { name, deletionTimestamp } = namespace.metadata;
      if (deletionTimestamp !== undefined) return old(deletionTimestamp) ? [stuck(namespace)] : [];
      const claim = inNamespace(claims, name).find(
        ({ spec, status }) => status?.phase === "Pending" && spec?.storageClassName === undefined,
      );
      if (claim !== undefined) return [unclaimed(claim, classes)];
      return [
        ...inNamespace(deployments, name).flatMap(refused),
        ...inNamespace(pods, name).flatMap((pod) => waiting(pod, old(pod.metadata.creationTimestamp))),
      ];
    });
    return [...straying(strays, domain, stack), ...troubles];
  },
};

/** One finding for each zone, however many workspaces have it. */
function straying(
  strays: readonly { readonly name: string; readonly zone: string }[],
  domain: string,
  stack: string,
): Finding[] {
  return [...new Set(strays.map(({ zone }) => zone))].map((zone) => {
    const names = strays.filter((one) => one.zone === zone).map(({ name }) => name);
    const some = `${names.slice(0, 3).join(", ")}${names.length > 3 ? ` and ${names.length - 3} more` : ""}`;
    return finding("GW801", `Zone ${zone} instead of ${domain}: ${some}.`, { stack });
  });
}

function stuck({ metadata: { name, deletionTimestamp = "" }, status }: Namespace): Finding {
  const reasons = (status?.conditions ?? [])
    .filter((condition) => condition.status === "True")
    .map(({ message = "" }) => harmless(message, 300));
  const seen = [`Namespace ${name} has been going since ${deletionTimestamp}.`, ...reasons].join("\n");
  return finding("GW807", seen, { namespace: name });
}

function unclaimed({ metadata: { name, namespace = "" } }: Claim, classes: readonly Live[]): Finding {
  const seen = `PersistentVolumeClaim ${name} in namespace ${namespace} waits and has no StorageClass.`;
  return finding("GW804", seen, { class: chosenClass(classes) });
}

function refused({ metadata: { name, namespace = "" }, status }: Deployment): Finding[] {
  const condition = status?.conditions?.find((one) => one.type === "ReplicaFailure" && one.status === "True");
  if (condition === undefined) return [];
  const seen = `Deployment ${name} in namespace ${namespace}: ${harmless(condition.message ?? "", 500)}`;
  return [finding("GW805", seen, { workload: `deployment/${name}`, namespace })];
}

/** A cluster that grows by itself takes minutes for a node, so only what will not change by waiting is said at once. */
function waiting(pod: Pod, isOld: boolean): Finding[] {
  const found = trouble(pod, []);
  if (found === undefined) return [];
  const { name, namespace = "" } = pod.metadata;
  const seen = `Pod ${name} in namespace ${namespace}: ${found.seen}`;
  switch (found.kind) {
    case "image":
      return [finding("GW802", seen, { pod: name, namespace })];
    case "unschedulable":
      return isOld ? [finding("GW803", seen, { pod: name, namespace })] : [];
    case "reference":
    case "crash":
    case "other":
      return isOld ? [finding("GW806", seen, { pod: name, namespace })] : [];
  }
}
