import { AppsV1Api, CoreV1Api, StorageV1Api } from "@kubernetes/client-node";
import { refusal } from "../config/refusal";
import type { Secret } from "../config/schema";
import { LiveCluster } from "../live-cluster";
import { defaultClass, defaultClasses, enforcesPolicies, enforcing, nameOf } from "./requirements";

/**
 * Asks a live cluster what workspaces need of it: exactly one default StorageClass, because GitLab lets nobody choose
 * another, and a network plugin that enforces NetworkPolicies, because they are what isolates one workspace from another
 * (https://docs.gitlab.com/user/workspace/settings/#network_policy).
 * @param kubeconfig with one context, certificates inline; its value must be known.
 * @returns warnings: what could not be established.
 * @throws pulumi.RunError when the API server does not answer or the StorageClasses are wrong.
 */
export async function inspectCluster(kubeconfig: Secret): Promise<string[]> {
  const cluster = await LiveCluster.of(kubeconfig);
  if (cluster === undefined) throw new Error("a cluster is inspected before it is there");
  const { config, server } = cluster;
  const classes = await cluster
    .answer(config.makeApiClient(StorageV1Api).listStorageClass())
    .catch((error: unknown) => {
      throw refusal(`${cluster.reason(error, "list storageclasses")}\nNothing was created.`);
    });

  const defaults = defaultClasses(classes.items);
  if (defaults.length !== 1) {
    const found = classes.items.map(nameOf).join(", ") || "no StorageClass at all";
    throw refusal(
      defaults.length === 0
        ? `The cluster at ${server} has no default StorageClass; workspaces could get no volume. Found: ${found}.\n` +
            `Make one the default: kubectl annotate storageclass <name> ${defaultClass}=true`
        : `The cluster at ${server} has ${defaults.length} default StorageClasses: ${defaults.map(nameOf).join(", ")}. ` +
            "Which one workspaces get would be chance.\n" +
            `Leave one: kubectl annotate storageclass <name> ${defaultClass}=false --overwrite`,
    );
  }

  // Not allowed to look is the same as not found: nothing is known then.
  const [daemonSets, nodes] = await Promise.all([
    cluster.answer(config.makeApiClient(AppsV1Api).listDaemonSetForAllNamespaces()).catch(() => ({ items: [] })),
    cluster.answer(config.makeApiClient(CoreV1Api).listNode()).catch(() => ({ items: [] })),
  ]);
  if (enforcesPolicies(daemonSets.items, nodes.items)) return [];
  return [
    `It cannot be known whether the cluster at ${server} enforces NetworkPolicies: no network plugin known to do so ` +
      `was found (${enforcing.join(", ")}). Without enforcement every workspace reaches every other, and the cluster's ` +
      "own services. Ask who runs the cluster, or try: https://kubernetes.io/docs/tasks/administer-cluster/declare-network-policy/",
  ];
}
