import { AppsV1Api, CoreV1Api, KubeConfig, StorageV1Api } from "@kubernetes/client-node";
import { refusal } from "../config/refusal";
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
  "rke2-canal", // https://docs.rke2.io/networking/basic_network_options
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
  const plugin = config.getCurrentUser()?.exec !== undefined;
  const classes = await answer(config.makeApiClient(StorageV1Api).listStorageClass()).catch((error: unknown) => {
    throw refusal(unreachable(server, plugin, error));
  });

  const defaults = classes.items.filter((item) => item.metadata?.annotations?.[defaultClass] === "true");
  const name = (item: { metadata?: { name?: string } }): string => item.metadata?.name ?? "";
  if (defaults.length !== 1) {
    const found = classes.items.map(name).join(", ") || "no StorageClass at all";
    throw refusal(
      defaults.length === 0
        ? `The cluster at ${server} has no default StorageClass; workspaces could get no volume. Found: ${found}.\n` +
            `Make one the default: kubectl annotate storageclass <name> ${defaultClass}=true`
        : `The cluster at ${server} has ${defaults.length} default StorageClasses: ${defaults.map(name).join(", ")}. ` +
            "Which one workspaces get would be chance.\n" +
            `Leave one: kubectl annotate storageclass <name> ${defaultClass}=false --overwrite`,
    );
  }

  // Not allowed to look is the same as not found: nothing is known then.
  const [daemonSets, nodes] = await Promise.all([
    answer(config.makeApiClient(AppsV1Api).listDaemonSetForAllNamespaces()).catch(() => ({ items: [] })),
    answer(config.makeApiClient(CoreV1Api).listNode()).catch(() => ({ items: [] })),
  ]);
  const enforced = daemonSets.items.some((item) => enforcing.includes(name(item)));
  // k3s carries kube-router's controller inside its own process: https://docs.k3s.io/networking/networking-services
  const embedded = nodes.items.some((node) => /\+k3s/.test(node.status?.nodeInfo?.kubeletVersion ?? ""));
  if (enforced || embedded) return [];
  return [
    `It cannot be known whether the cluster at ${server} enforces NetworkPolicies: no network plugin known to do so ` +
      `was found (${enforcing.join(", ")}). Without enforcement every workspace reaches every other, and the cluster's ` +
      "own services. Ask who runs the cluster, or try: https://kubernetes.io/docs/tasks/administer-cluster/declare-network-policy/",
  ];
}

/** How long the API server may take to answer, in seconds. */
const patience = 30;

/** What was asked for, or an error when the API server takes the connection and then says nothing. */
async function answer<T>(request: Promise<T>): Promise<T> {
  return await new Promise<T>((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(Object.assign(new Error("timeout"), { code: `no answer within ${patience} s` }));
    }, patience * 1000);
    request.then(resolve, reject).finally(() => {
      clearTimeout(timer);
    });
  });
}

/** The reason, without bodies, headers or what a credential plugin printed: each may repeat credentials. */
function unreachable(server: string, plugin: boolean, error: unknown): string {
  const { code, cause } = error as { code?: unknown; cause?: { code?: unknown } };
  if (code === 401 || code === 403) {
    return (
      `The cluster at ${server} refused the kubeconfig's user (HTTP ${code}); listing StorageClasses must be allowed.\n` +
      "Try the same kubeconfig by hand: kubectl auth can-i list storageclasses"
    );
  }
  const words = [cause?.code, code].find((word) => typeof word === "string");
  const silent = plugin ? "its credential plugin failed" : "no answer";
  const reason = typeof code === "number" ? `HTTP ${code}` : (words ?? silent);
  return (
    `The cluster at ${server} does not answer (${reason}); nothing was created.\n` +
    "Check the address, the network and the credentials with the same kubeconfig: kubectl get --raw /readyz"
  );
}
