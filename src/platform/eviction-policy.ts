import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { workspaceNamespaces } from "./names";

/** Arguments of {@link EvictionPolicy}. */
export interface EvictionPolicyArgs {
  /** Name of the policy and its binding, which are cluster-wide. */
  readonly name: string;
  /** Users by which the cluster's autoscaler evicts pods, at least one. */
  readonly autoscalers: readonly string[];
}

/**
 * Keeps the autoscaler from ending a running workspace so as to save a node: the API server refuses its evictions in the
 * namespaces of workspaces, and those of nobody else. A node without workspaces goes as before; of one with some, the
 * autoscaler may move the other pods before it learns. GitLab can put neither the
 * annotation that autoscalers look for nor a disruption budget beside a workspace
 * (https://docs.gitlab.com/user/workspace/settings/#annotations), so it has to be said here, and by a policy that the API
 * server checks itself: no webhook that could be away.
 * https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/
 */
export class EvictionPolicy extends pulumi.ComponentResource {
  constructor(
    name: string,
    { name: policyName, autoscalers }: EvictionPolicyArgs,
    opts: pulumi.ComponentResourceOptions,
  ) {
    super("gitlab-workspaces:platform:EvictionPolicy", name, {}, opts);
    const policy = new k8s.admissionregistration.v1.ValidatingAdmissionPolicy(
      name,
      {
        metadata: { name: policyName },
        spec: {
          failurePolicy: "Fail",
          matchConstraints: {
            resourceRules: [
              { apiGroups: [""], apiVersions: ["v1"], operations: ["CREATE"], resources: ["pods/eviction"] },
            ],
          },
          matchConditions: [
            { name: "workspaces", expression: `request.namespace.startsWith('${workspaceNamespaces}')` },
            { name: "autoscaler", expression: `request.userInfo.username in ${JSON.stringify(autoscalers)}` },
          ],
          validations: [
            {
              expression: "false",
              message: "a running workspace is not ended to save a node: it stops when its owner, or GitLab, stops it",
            },
          ],
        },
      },
      { parent: this },
    );
    new k8s.admissionregistration.v1.ValidatingAdmissionPolicyBinding(
      name,
      {
        metadata: { name: policyName },
        spec: { policyName: policy.metadata.name, validationActions: ["Deny"] },
      },
      { parent: this },
    );
    this.registerOutputs({});
  }
}
