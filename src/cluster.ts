import type * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";
import type { ClusterConfig, Secret } from "./config/schema";

/** What the platform may know about a cluster. Every cloud yields exactly this; nothing cloud-specific passes this line. */
export interface Cluster {
  /**
   * Provider for everything on the cluster. It depends on all that must outlive workloads, and once it is ready exactly
   * one StorageClass is the default: GitLab cannot choose another for workspaces.
   */
  readonly provider: k8s.Provider;
  /** Kubeconfig with one context. Secret from birth. */
  readonly kubeconfig: Secret;
  /** What a Service of type LoadBalancer needs here. */
  readonly loadBalancer: LoadBalancer;
  /** Whether the cluster is to be kept from deletion. What is on it must not go either then: `destroy` begins there. */
  readonly isProtected: boolean;
  /** Users by which an autoscaler that is known here evicts pods: it must not end running workspaces. */
  readonly autoscalers: readonly string[];
}

/** What a Service of type LoadBalancer needs on a cluster. */
export interface LoadBalancer {
  /** Annotations for every such Service. */
  readonly annotations: Readonly<Record<string, string>>;
  /** What only the ingress controller's Service asks for, because there is one of it: an address that is kept. */
  readonly ingress?: {
    readonly annotations?: Readonly<Record<string, pulumi.Input<string>>>;
    /** IP address for `spec.loadBalancerIP`. */
    readonly loadBalancerIP?: pulumi.Output<string>;
  };
}

/**
 * Makes or adopts the cluster that stack config describes. Only that cloud's code is loaded.
 * @throws pulumi.RunError when the cluster cannot carry workspaces; nothing has been created then.
 */
export async function createCluster(config: ClusterConfig): Promise<Cluster> {
  switch (config.cloud) {
    case "eks":
      return await (await import("./clusters/eks")).createEksCluster(config);
    case "civo":
      return await (await import("./clusters/civo")).createCivoCluster(config);
    case "gke":
      return await (await import("./clusters/gke")).createGkeCluster(config);
    case "aks":
      return await (await import("./clusters/aks")).createAksCluster(config);
    case "self-managed":
      return await (await import("./clusters/self-managed")).createSelfManagedCluster(config);
  }
}
