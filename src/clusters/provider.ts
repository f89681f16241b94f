import * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";
import type { Secret } from "../config/schema";

/**
 * A Kubernetes provider of any cluster: `kubernetes` for what the platform puts there, under other names for what belongs to
 * the cluster itself.
 * @param identifier tells the cluster, and not its address: a new kubeconfig for a living cluster must replace nothing.
 */
export function kubernetesProvider(
  kubeconfig: Secret,
  identifier: pulumi.Input<string>,
  opts: pulumi.ResourceOptions,
  name = "kubernetes",
): k8s.Provider {
  return new k8s.Provider(
    name,
    {
      kubeconfig,
      clusterIdentifier: identifier,
      // A Secret whose value changes is updated where it stands; replacing it would leave a gap without it.
      enableSecretMutable: true,
      // The objects are wholly this stack's. Without this, what a person changed by hand, or the stack itself before it
      // lost its state, stays the writer's for ever, and every update of it ends in a conflict.
      // https://www.pulumi.com/registry/packages/kubernetes/how-to-guides/managing-resources-with-server-side-apply/#handle-field-conflicts-on-existing-resources
      enablePatchForce: true,
    },
    opts,
  );
}
