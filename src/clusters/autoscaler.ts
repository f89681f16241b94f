/**
 * Options of the cluster autoscaler with which a node is a candidate for removal only when its pods request next to nothing,
 * DaemonSets aside. By default half is too little: it would try nodes with workspaces again and again, and move their other
 * pods, the ingress controller's among them, before it learns that workspaces stay.
 * https://github.com/kubernetes/autoscaler/blob/cluster-autoscaler-1.34.3/cluster-autoscaler/FAQ.md#what-are-the-parameters-to-ca
 */
export const sparing = { "scale-down-utilization-threshold": 0.01, "ignore-daemonsets-utilization": true } as const;
