import { defaultClass, defaultClasses, enforcesPolicies, enforcing, nameOf } from "../src/clusters/requirements";
import { liveCluster } from "./cluster";
import { type Codes, type Finding, findings } from "./finding";
import type { Live } from "./live-references";
import type { Check } from "./patient";
import type { Condition } from "./pods";

/** What a cluster can lack that workspaces need of it. */
export const codes = {
  GW701: {
    severity: "error",
    title: "The cluster has no default StorageClass",
    meaning:
      "Every new workspace waits for its volume forever: GitLab lets nobody choose a StorageClass. Those that run go on. " +
      "`pulumi up` refuses such a cluster, too. Where the command says NAME, choose one of several.",
    fix: [
      "kubectl get storageclasses",
      "kubectl annotate storageclass <class> storageclass.kubernetes.io/is-default-class=true --overwrite",
    ],
  },
  GW702: {
    severity: "error",
    title: "The cluster has several default StorageClasses",
    meaning:
      "A workspace's volume gets the newest of them " +
      "(https://kubernetes.io/docs/concepts/storage/storage-classes/#default-storageclass), perhaps by somebody's mistake. " +
      "`pulumi up` refuses such a cluster. The command leaves the newest; if you want another one, annotate the others.",
    fix: ["kubectl annotate storageclass <others> storageclass.kubernetes.io/is-default-class=false --overwrite"],
  },
  GW703: {
    severity: "warning",
    title: "It is not known whether NetworkPolicies are enforced",
    meaning:
      "Without enforcement every workspace reaches every other, and the cluster's own services. No network plugin that is " +
      "known to enforce them was found. Ask who runs the cluster, or try it out: " +
      "https://kubernetes.io/docs/tasks/administer-cluster/declare-network-policy/",
    fix: ["kubectl get daemonsets --all-namespaces"],
  },
  GW704: {
    severity: "error",
    title: "No node is ready",
    meaning: "Nothing can start, and what runs is not reached. The nodes are gone, or do not reach the API server.",
    fix: ["kubectl get nodes --output wide", "kubectl describe nodes"],
  },
  GW705: {
    severity: "error",
    title: "No node can run workspaces: none is amd64",
    meaning:
      "GitLab's editor and tools run on linux/amd64 nodes (https://docs.gitlab.com/user/workspace/). The proxy and the " +
      "agents run anywhere, so nothing else complains. Add a node pool with such machines.",
    fix: ["kubectl get nodes --label-columns kubernetes.io/arch,kubernetes.io/os"],
  },
} satisfies Codes;

const finding = findings(codes);

interface Node extends Live {
  readonly status?: {
    readonly conditions?: readonly Condition[];
    readonly nodeInfo?: { readonly architecture?: string; readonly kubeletVersion?: string };
  };
}

/** What `up` asks of a cluster before it makes anything, and its nodes, which may change any day. */
export const capacity: Check = {
  name: "cluster",
  async run({ cluster }) {
    const live = liveCluster(cluster);
    const [classes, daemonSets, nodes] = await Promise.all([
      live.list("StorageClass"),
      live.list("DaemonSet"),
      live.list<Node>("Node"),
    ]);
    return [...storage(classes), ...policies(daemonSets, nodes), ...machines(nodes)];
  },
};

function storage(classes: readonly Live[]): Finding[] {
  const defaults = defaultClasses(classes);
  if (defaults.length === 1) return [];
  const names = (some: readonly Live[]): string => some.map(nameOf).join(", ");
  if (defaults.length > 1) {
    const [newest, ...others] = newestFirst(defaults);
    const seen = `Default are ${names(defaults)}; the newest is ${names(newest === undefined ? [] : [newest])}.`;
    return [finding("GW702", seen, { others: others.map(nameOf).join(" ") })];
  }
  const seen = `StorageClasses: ${names(classes) || "none at all"}; none has the annotation ${defaultClass}=true.`;
  return [finding("GW701", seen, { class: chosenClass(classes) })];
}

/** The class to make the default: the only one. Otherwise a person chooses; no class can be called NAME, in capitals. */
export function chosenClass(classes: readonly Live[]): string {
  const [only, ...others] = classes;
  return only === undefined || others.length > 0 ? "NAME" : nameOf(only);
}

/** As Kubernetes chooses among several, which takes the first: https://github.com/kubernetes/kubernetes/blob/v1.36.4/pkg/volume/util/storageclass.go */
export function newestFirst(classes: readonly Live[]): Live[] {
  const time = ({ metadata }: Live): number => Date.parse(metadata.creationTimestamp ?? "") || 0;
  return [...classes].sort((a, b) => time(b) - time(a) || (nameOf(a) < nameOf(b) ? -1 : 1));
}

function policies(daemonSets: readonly Live[], nodes: readonly Node[]): Finding[] {
  if (enforcesPolicies(daemonSets, nodes)) return [];
  const found = daemonSets.map(nameOf).join(", ") || "none";
  return [finding("GW703", `DaemonSets: ${found}. Known to enforce them: ${enforcing.join(", ")}.`)];
}

function machines(nodes: readonly Node[]): Finding[] {
  const isReady = ({ status }: Node): boolean =>
    status?.conditions?.some(({ type, status: is }) => type === "Ready" && is === "True") ?? false;
  if (!nodes.some(isReady)) {
    return [
      finding("GW704", `${nodes.length} nodes, of which none is ready: ${nodes.map(nameOf).join(", ") || "none"}.`),
    ];
  }
  const kinds = [...new Set(nodes.map(({ status }) => status?.nodeInfo?.architecture ?? "unknown"))];
  return kinds.includes("amd64") ? [] : [finding("GW705", `${nodes.length} nodes: ${kinds.join(", ")}.`)];
}
