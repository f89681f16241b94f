import type * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import type { Cluster, LoadBalancer } from "../cluster";
import type { ClusterConfig, Secret } from "../config/schema";
import { kubernetesProvider } from "./provider";

/** Stack config of a cluster that somebody else made. */
type SelfManagedConfig = Extract<ClusterConfig, { cloud: "self-managed" }>;

/** A cluster somebody else made and looks after: all we have of it is a kubeconfig. */
class SelfManagedCluster extends pulumi.ComponentResource implements Cluster {
  readonly provider: k8s.Provider;
  readonly kubeconfig: Secret;
  readonly loadBalancer: LoadBalancer = { annotations: {} };
  readonly isProtected = false;
  readonly autoscalers = [];

  constructor(name: string, config: SelfManagedConfig, opts?: pulumi.ComponentResourceOptions) {
    super("gitlab-workspaces:clusters:SelfManaged", name, {}, opts);
    this.kubeconfig = config.kubeconfig;
    this.provider = kubernetesProvider(config.kubeconfig, config.name, { parent: this });
    this.registerOutputs({});
  }
}

/**
 * Adopts the cluster of the given kubeconfig. During `up`, and before anything is created, the live cluster is asked
 * whether it can carry workspaces; a preview may run where the cluster cannot be reached, and asks nothing.
 * @throws pulumi.RunError when the cluster does not answer or has not exactly one default StorageClass.
 */
export async function createSelfManagedCluster(config: SelfManagedConfig): Promise<Cluster> {
  if (!pulumi.runtime.isDryRun()) {
    const { inspectCluster } = await import("./inspection");
    for (const warning of await inspectCluster(config.kubeconfig)) await pulumi.log.warn(warning);
  }
  return new SelfManagedCluster("cluster", config);
}
