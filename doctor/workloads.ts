import { liveCluster, type LiveCluster } from "./cluster";
import { type Codes, type Finding, findings } from "./finding";
import { harmless } from "./harmless";
import { isOf, type OwnRelease, releasesOf } from "./installed";
import type { Live } from "./live-references";
import type { Check } from "./patient";
import { type Condition, type LiveEvent, type Pod, trouble } from "./pods";

/** What can keep the pods of the proxy, the agents and the ingress controller from their work. */
export const codes = {
  GW511: {
    severity: "error",
    title: "An image cannot be pulled",
    meaning:
      "The pod does not start. The registry's answer is in the message: no such tag, no permission, a limit, or no way " +
      "there from the nodes. Without a registry of your own the images come from registry.gitlab.com and registry.k8s.io " +
      "or docker.io; another one is set by a chart's own values under `charts`. Deleting the pod tries again at once.",
    fix: [
      "kubectl describe pod <pod> --namespace <namespace>",
      "kubectl get deployment --namespace <namespace> --output wide",
      "kubectl delete pod <pod> --namespace <namespace>",
    ],
  },
  GW512: {
    severity: "error",
    title: "A pod names a Secret, a ConfigMap or a key that is not there",
    meaning:
      "It waits for it and does not start. The stack makes the Secrets: the refresh notices what was deleted or changed by " +
      "hand, the `up` puts it back.",
    fix: ["pulumi up --refresh --stack <stack>", "kubectl delete pod <pod> --namespace <namespace>"],
  },
  GW513: {
    severity: "error",
    title: "A container ends again and again",
    meaning:
      "Kubernetes starts it anew, ever more slowly. Its log has the reason. The proxy ends with 255 before it listens when " +
      "a key of its Secret is empty (`auth config invalid`, `auth client id is required`) or the SSH host key is; 137 with " +
      "OOMKilled is a memory limit. The agent ends on an address without scheme (`unsupported scheme`) and on an empty token.",
    fix: [
      "kubectl logs <pod> --namespace <namespace> --container <container> --previous",
      "kubectl describe pod <pod> --namespace <namespace>",
      "pulumi up --refresh --stack <stack>",
      "kubectl delete pod <pod> --namespace <namespace>",
    ],
  },
  GW514: {
    severity: "error",
    title: "No node takes a pod",
    meaning:
      "The scheduler says what every node lacks: CPU or memory, a taint that is not tolerated, a node that is not ready " +
      "or cordoned (`kubectl uncordon` ends that). Add nodes, or make room.",
    fix: [
      "kubectl describe pod <pod> --namespace <namespace>",
      "kubectl get nodes",
      "kubectl get nodes --field-selector spec.unschedulable=true",
    ],
  },
  GW515: {
    severity: "error",
    title: "Pods cannot be created",
    meaning:
      "The API server refuses them, and the message says why: a ResourceQuota or LimitRange of the namespace, Pod Security " +
      "(the namespaces of the program enforce `baseline`), an admission webhook, a ServiceAccount that is not there.",
    fix: [
      "kubectl get resourcequota,limitrange --namespace <namespace>",
      "kubectl get events --namespace <namespace> --field-selector reason=FailedCreate",
      "kubectl rollout restart <workload> --namespace <namespace>",
    ],
  },
  GW516: {
    severity: "error",
    title: "A pod is not ready",
    meaning:
      "It runs, or is about to, and its readiness probe does not pass; its newest events are above. A proxy that may not " +
      "list Services never listens, and an agent that does not reach GitLab is not ready.",
    fix: [
      "kubectl describe pod <pod> --namespace <namespace>",
      "kubectl logs <pod> --namespace <namespace> --all-containers --tail 100",
      "kubectl delete pod <pod> --namespace <namespace>",
    ],
  },
  GW517: {
    severity: "error",
    title: "Somebody scaled a workload to zero",
    meaning: "It is wanted that no pod runs, so nothing else complains, and neither `up` nor Helm changes it back.",
    fix: ["kubectl scale <workload> --namespace <namespace> --replicas 2"],
  },
  GW518: {
    severity: "error",
    title: "A release has no workload",
    meaning:
      "Helm says that it is deployed, but there is no Deployment, DaemonSet or StatefulSet of it: it was deleted by hand. " +
      "Neither `up` nor Helm would notice. What Helm installed is applied again.",
    fix: ["helm get manifest <release> --namespace <namespace> | kubectl apply --namespace <namespace> -f -"],
  },
  GW519: {
    severity: "error",
    title: "The proxy may not list Services",
    meaning:
      "It finds workspaces by their Services and listens only once it knows them: without this right it never does. Its " +
      "ClusterRole or the binding was deleted, or the chart's value `rbac.enabled` of your own is false.",
    fix: [
      "kubectl auth can-i list services --all-namespaces --as system:serviceaccount:<namespace>:<account>",
      "helm get manifest <release> --namespace <namespace> | kubectl apply --namespace <namespace> -f -",
      "kubectl rollout restart deployment --namespace <namespace> --selector app.kubernetes.io/instance=<release>",
    ],
  },
} satisfies Codes;

const finding = findings(codes);

/** A Deployment, DaemonSet or StatefulSet. */
interface Workload extends Live {
  readonly spec: {
    readonly replicas?: number;
    readonly selector: { readonly matchLabels?: Readonly<Record<string, string>> };
    readonly template: { readonly spec: { readonly serviceAccountName?: string } };
  };
  readonly status?: { readonly conditions?: readonly Condition[]; readonly replicas?: number };
}

async function workloadsOf(live: LiveCluster, release: OwnRelease): Promise<Workload[]> {
  const { namespace } = release;
  const lists = (["Deployment", "DaemonSet", "StatefulSet"] as const).map((kind) =>
    live.list<Workload>(kind, { namespace }),
  );
  return (await Promise.all(lists)).flat().filter((workload) => isOf(release, workload));
}

/** Whether a workload's selector selects a pod of its namespace. */
function selects({ spec: { selector } }: Workload, { metadata }: Live): boolean {
  return Object.entries(selector.matchLabels ?? {}).every(([key, value]) => metadata.labels?.[key] === value);
}

/** The pods of a release. @throws Unanswered */
export async function podsOf(live: LiveCluster, release: OwnRelease): Promise<Pod[]> {
  const [own, pods] = await Promise.all([
    workloadsOf(live, release),
    live.list<Pod>("Pod", { namespace: release.namespace }),
  ]);
  return pods.filter((pod) => own.some((workload) => selects(workload, pod)));
}

/** Whether the pods of each release are there and ready. */
export const workloads: Check = {
  name: "pods",
  async run({ stack, installation, cluster }) {
    const live = liveCluster(cluster);
    const found = await Promise.all(
      releasesOf(installation).map(async (release): Promise<Finding[]> => {
        const { namespace } = release;
        const [own, pods, events] = await Promise.all([
          workloadsOf(live, release),
          live.list<Pod>("Pod", { namespace }),
          live.list<LiveEvent>("Event", { namespace }),
        ]);
        if (own.length === 0) {
          const seen = `Release ${release.release} in namespace ${namespace}: no Deployment, DaemonSet or StatefulSet.`;
          // Without a record of Helm's it is the release that is missing.
          const records = await live.list("Secret", { namespace, labels: `owner=helm,name=${release.release}` });
          return records.length === 0 ? [] : [finding("GW518", seen, { namespace, release: release.release })];
        }
        return own.flatMap((workload) => [
          ...faultsOf(workload),
          ...podFaults(
            stack,
            pods.filter((pod) => selects(workload, pod)),
            events,
          ),
        ]);
      }),
    );
    return found.flat();
  },
};

/** What is wrong with a workload itself. */
function faultsOf({ kind, metadata, spec, status }: Workload): Finding[] {
  const { name, namespace = "" } = metadata;
  const workload = `${kind.toLowerCase()}/${name}`;
  if (spec.replicas === 0) {
    return [finding("GW517", `${kind} ${name} in namespace ${namespace} wants 0 pods.`, { workload, namespace })];
  }
  const refused = status?.conditions?.find((one) => one.type === "ReplicaFailure" && one.status === "True");
  if (refused === undefined) return [];
  const seen = `${kind} ${name} in namespace ${namespace}: ${harmless(refused.message ?? "", 500)}`;
  return [finding("GW515", seen, { workload, namespace })];
}

const codeOf = {
  image: "GW511",
  reference: "GW512",
  crash: "GW513",
  unschedulable: "GW514",
  other: "GW516",
} as const;

/** One finding for each reason, however many pods have it. */
function podFaults(stack: string, pods: readonly Pod[], events: readonly LiveEvent[]): Finding[] {
  const byReason = new Map<string, Finding>();
  for (const pod of pods) {
    const found = trouble(pod, events);
    if (found === undefined) continue;
    const { name, namespace = "" } = pod.metadata;
    const { kind, seen, container } = found;
    const place = `Pod ${name} in namespace ${namespace}${container === "" ? "" : `, container ${container}`}`;
    const values = { stack, pod: name, namespace, container };
    const reason = kind === "other" ? name : `${kind} ${container}`;
    if (!byReason.has(reason)) byReason.set(reason, finding(codeOf[kind], `${place}: ${seen}`, values));
  }
  return [...byReason.values()];
}

/** Whether the proxy may do the one thing that it needs the API for. With Roles in single namespaces it may there alone. */
export const proxyRights: Check = {
  name: "rights of the proxy",
  async run({ installation, cluster }) {
    const live = liveCluster(cluster);
    const proxy = releasesOf(installation).filter(({ part }) => part === "gitlab-workspaces-proxy");
    const own = (await Promise.all(proxy.map((release) => workloadsOf(live, release)))).flat();
    const found = await Promise.all(
      own.map(async ({ metadata, spec }): Promise<Finding[]> => {
        const { namespace = "" } = metadata;
        const account = spec.template.spec.serviceAccountName ?? "default";
        const missing: string[] = [];
        for (const verb of ["list", "watch"] as const) {
          const scopes = watched(spec.template.spec);
          const may = await Promise.all(
            scopes.map((scope) =>
              live.may({ namespace, name: account }, { verb, resource: "services", namespace: scope }),
            ),
          );
          if (may.includes(false)) missing.push(verb);
        }
        if (missing.length === 0) return [];
        const seen = `ServiceAccount ${account} in namespace ${namespace} may not ${missing.join(" and ")} services.`;
        return [finding("GW519", seen, { namespace, account, release: installation.proxy.release })];
      }),
    );
    return found.flat();
  },
};

/** Namespaces that the proxy watches, by its variable WATCH_NAMESPACES; undefined stands for all of them. */
function watched(pods: object): (string | undefined)[] {
  const { containers = [] } = pods as { containers?: { env?: { name: string; value?: string }[] }[] };
  const value = containers.flatMap(({ env = [] }) => env).find(({ name }) => name === "WATCH_NAMESPACES")?.value;
  const names = (value ?? "").split(",").filter((name) => name !== "");
  return names.length === 0 ? [undefined] : names;
}
