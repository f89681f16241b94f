import * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";
import { failedNamespace } from "./failure-advice";

/**
 * A namespace of ours. Pods that could take over a node are refused (Pod Security `baseline`), pods that fall short of
 * `restricted` are reported (https://kubernetes.io/docs/concepts/security/pod-security-standards/).
 */
export function createNamespace(
  name: string,
  namespace: string,
  opts: pulumi.CustomResourceOptions,
): k8s.core.v1.Namespace {
  return new k8s.core.v1.Namespace(
    name,
    {
      metadata: {
        name: namespace,
        labels: {
          "app.kubernetes.io/managed-by": "pulumi",
          "pod-security.kubernetes.io/enforce": "baseline",
          "pod-security.kubernetes.io/warn": "restricted",
          "pod-security.kubernetes.io/audit": "restricted",
        },
      },
    },
    { ...opts, hooks: { onError: [failedNamespace(namespace)] } },
  );
}
