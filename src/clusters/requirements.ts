/** Annotation that makes a StorageClass the default: https://kubernetes.io/docs/concepts/storage/storage-classes/#default-storageclass */
export const defaultClass = "storageclass.kubernetes.io/is-default-class";

/** DaemonSets of network plugins that enforce NetworkPolicies, each from its project's own manifests. */
export const enforcing: readonly string[] = [
  "anetd", // https://docs.cloud.google.com/kubernetes-engine/docs/concepts/dataplane-v2
  "antrea-agent", // https://antrea.io/docs/main/docs/getting-started/
  "calico-node", // https://docs.tigera.io/calico/latest/getting-started/kubernetes/
  "canal", // https://docs.tigera.io/calico/latest/getting-started/kubernetes/flannel/install-for-flannel
  "cilium", // https://docs.cilium.io/en/stable/installation/k8s-install-helm/
  "kube-router", // https://www.kube-router.io/docs/kubeadm/
  "ovnkube-node", // https://ovn-kubernetes.io/
  "rke2-canal", // https://docs.rke2.io/networking/basic_network_options
  "weave-net", // https://github.com/weaveworks/weave/blob/master/site/kubernetes/kube-addon.md
];

/** As much of any object of a cluster as the requirements are about. */
interface Named {
  readonly metadata?: { readonly name?: string; readonly annotations?: Readonly<Record<string, string>> };
}

/** Name of an object; empty when it has none. */
export function nameOf(item: Named): string {
  return item.metadata?.name ?? "";
}

/** Those of the StorageClasses that are the default. Exactly one has to be: GitLab lets nobody choose another for workspaces. */
export function defaultClasses<T extends Named>(classes: readonly T[]): T[] {
  return classes.filter((item) => item.metadata?.annotations?.[defaultClass] === "true");
}

/** Whether anything on the cluster is known to enforce NetworkPolicies. */
export function enforcesPolicies(
  daemonSets: readonly Named[],
  nodes: readonly { readonly status?: { readonly nodeInfo?: { readonly kubeletVersion?: string } } }[],
): boolean {
  if (daemonSets.some((item) => enforcing.includes(nameOf(item)))) return true;
  // k3s carries kube-router's controller inside its own process: https://docs.k3s.io/networking/networking-services
  return nodes.some((node) => /\+k3s/.test(node.status?.nodeInfo?.kubeletVersion ?? ""));
}
