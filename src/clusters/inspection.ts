import { AppsV1Api, CoreV1Api, KubeConfig, StorageV1Api } from "@kubernetes/client-node";
import * as pulumi from "@pulumi/pulumi";
import type { Secret } from "../config/schema";

const defaultClass = "storageclass.kubernetes.io/is-default-class";

/** DaemonSets of network plugins that enforce NetworkPolicies, each from its project's own manifests. */
const enforcing: readonly string[] = [
  "antrea-agent", // https://antrea.io/docs/main/docs/getting-started/
  "calico-node", // https://docs.tigera.io/calico/latest/getting-started/kubernetes/
  "canal", // https://docs.tigera.io/calico/latest/getting-started/kubernetes/flannel/install-for-flannel
  "cilium", // https://docs.cilium.io/en/stable/installation/k8s-install-helm/
  "kube-router", // https://www.kube-router.io/docs/kubeadm/
  "ovnkube-node", // https://ovn-kubernetes.io/
  "weave-net", // https://github.com/weaveworks/weave/blob/master/site/kubernetes/kube-addon.md
];

/**
 * Asks a live cluster what workspaces need of it: exactly one default StorageClass, because GitLab lets nobody choose
 * another, and a network plugin that enforces NetworkPolicies, because they are what isolates one workspace from another
 * (https://docs.gitlab.com/user/workspace/settings/#network_policy).
 * @param kubeconfig with one context, certificates inline; its value must be known.
 * @returns warnings: what could not be established.
 * @throws pulumi.RunError when the API server does not answer or the StorageClasses are wrong.
 */
export async function inspectCluster(kubeconfig: Secret): Promise<string[]> {
  const config = new KubeConfig();
  await new Promise<void>((resolve) => {
    kubeconfig.apply((text) => {
      config.loadFromString(text);
      resolve();
    });
  });
  const server = config.getCurrentCluster()?.server ?? "(no server)";
  const [classes, daemonSets, nodes] = await Promise.all([
    config.makeApiClient(StorageV1Api).listStorageClass(),
    config.makeApiClient(AppsV1Api).listDaemonSetForAllNamespaces(),
    config.makeApiClient(CoreV1Api).listNode(),
  ]).catch((error: unknown) => {
    throw new pulumi.RunError(unreachable(server, error));
  });

  const defaults = classes.items.filter((item) => item.metadata?.annotations?.[defaultClass] === "true");
  const name = (item: { metadata?: { name?: string } }): string => item.metadata?.name ?? "";
  if (defaults.length !== 1) {
    const found = classes.items.map(name).join(", ") || "no StorageClass at all";
    throw new pulumi.RunError(
      defaults.length === 0
        ? `The cluster at ${server} has no default StorageClass; workspaces could get no volume. Found: ${found}.\n` +
            `Make one the default: kubectl annotate storageclass <name> ${defaultClass}=true`
        : `The cluster at ${server} has ${defaults.length} default StorageClasses: ${defaults.map(name).join(", ")}. ` +
            "Which one workspaces get would be chance.\n" +
            `Leave one: kubectl annotate storageclass <name> ${defaultClass}=false --overwrite`,
    );
  }

  const enforced = daemonSets.items.some((item) => enforcing.includes(name(item)));
  // k3s and RKE2 carry kube-router's controller inside their own process: https://docs.k3s.io/networking/networking-services
  const embedded = nodes.items.some((node) => /\+(k3s|rke2)/.test(node.status?.nodeInfo?.kubeletVersion ?? ""));
  if (enforced || embedded) return [];
  return [
    `It cannot be known whether the cluster at ${server} enforces NetworkPolicies: no network plugin known to do so ` +
      `was found (${enforcing.join(", ")}). Without enforcement every workspace reaches every other, and the cluster's ` +
      "own services. Ask who runs the cluster, or try: https://kubernetes.io/docs/tasks/administer-cluster/declare-network-policy/",
  ];
}

/** The reason without response bodies or headers, which may repeat credentials. */
function unreachable(server: string, error: unknown): string {
  const { code, cause, message } = error as { code?: unknown; cause?: { code?: unknown }; message?: unknown };
  const status = typeof code === "number" ? code : undefined;
  if (status === 401 || status === 403) {
    return (
      `The cluster at ${server} refused the kubeconfig's user (HTTP ${status}); listing StorageClasses, DaemonSets and nodes ` +
      "must be allowed.\nTry the same kubeconfig by hand: kubectl auth can-i list storageclasses"
    );
  }
  // An error without a code is the client's own, or what a credential plugin said: its first line is what helps.
  const told = typeof message === "string" ? message.split("\n")[0]?.slice(0, 200) : undefined;
  const words = [cause?.code, code, told].find((word) => typeof word === "string");
  const reason = status === undefined ? (words ?? "no answer") : `HTTP ${status}`;
  return (
    `The cluster at ${server} does not answer (${reason}); nothing was created.\n` +
    "Check the address and the network with the same kubeconfig: kubectl get --raw /readyz"
  );
}
