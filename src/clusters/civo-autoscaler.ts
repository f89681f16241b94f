import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { sparing } from "./autoscaler";

/** Arguments of {@link CivoAutoscaler}. */
interface CivoAutoscalerArgs {
  readonly min: number;
  readonly max: number;
}

const name = "cluster-autoscaler";
/** Where Civo keeps the Secret that it reads. */
const namespace = "kube-system";

/** The user by which it evicts pods; that of Civo's own application of the same name, too. */
export const autoscalerUser = `system:serviceaccount:${namespace}:${name}`;

/**
 * Its version goes with that of Kubernetes, and is good for others: https://github.com/kubernetes/autoscaler/tree/master/cluster-autoscaler#releases
 */
const image = "registry.k8s.io/autoscaling/cluster-autoscaler:v1.34.3";

/**
 * What Civo puts into every cluster for its own controllers, with an API key in it. The application `civo-cluster-autoscaler`
 * reads the same: https://github.com/civo/kubernetes-marketplace/blob/master/civo-cluster-autoscaler/app.yaml
 */
const access = { secret: "civo-api-access", keys: ["api-url", "api-key", "cluster-id", "region"] } as const;

/** https://github.com/kubernetes/autoscaler/tree/master/charts/cluster-autoscaler/templates, without what Civo has none of */
const clusterRules = [
  { apiGroups: [""], resources: ["events", "endpoints"], verbs: ["create", "patch"] },
  { apiGroups: [""], resources: ["pods/eviction"], verbs: ["create"] },
  { apiGroups: [""], resources: ["pods/status"], verbs: ["update"] },
  { apiGroups: [""], resources: ["nodes"], verbs: ["get", "list", "watch", "update", "delete"] },
  {
    apiGroups: [""],
    resources: [
      ...["namespaces", "pods", "services", "replicationcontrollers"],
      ...["persistentvolumeclaims", "persistentvolumes"],
    ],
    verbs: ["get", "list", "watch"],
  },
  {
    apiGroups: ["apps"],
    resources: ["daemonsets", "replicasets", "statefulsets"],
    verbs: ["get", "list", "watch"],
  },
  { apiGroups: ["batch"], resources: ["jobs", "cronjobs"], verbs: ["get", "list", "watch"] },
  { apiGroups: ["policy"], resources: ["poddisruptionbudgets"], verbs: ["get", "list", "watch"] },
  {
    apiGroups: ["storage.k8s.io"],
    resources: ["csidrivers", "csinodes", "csistoragecapacities", "storageclasses", "volumeattachments"],
    verbs: ["get", "list", "watch"],
  },
];

const rules = [
  { apiGroups: ["coordination.k8s.io"], resources: ["leases"], verbs: ["create"] },
  { apiGroups: ["coordination.k8s.io"], resources: ["leases"], resourceNames: [name], verbs: ["get", "update"] },
  { apiGroups: [""], resources: ["configmaps"], verbs: ["create", "list", "watch"] },
  {
    apiGroups: [""],
    resources: ["configmaps"],
    resourceNames: [`${name}-status`, `${name}-priority-expander`],
    verbs: ["get", "update", "delete", "watch"],
  },
];

/**
 * What adds nodes when pods find no room, and removes those that are hardly used. Civo has none of its own beside the
 * cluster: its application is this one too, with bounds that nobody can set, 3 and 10.
 */
export class CivoAutoscaler extends pulumi.ComponentResource {
  constructor(resourceName: string, { min, max }: CivoAutoscalerArgs, opts: pulumi.ComponentResourceOptions) {
    super("gitlab-workspaces:clusters:CivoAutoscaler", resourceName, {}, opts);
    const own = { parent: this };
    const metadata = { name, labels: { app: name } };
    const local = { ...metadata, namespace };
    const subjects = [{ kind: "ServiceAccount", name, namespace }];
    const apiGroup = "rbac.authorization.k8s.io";

    const account = new k8s.core.v1.ServiceAccount(resourceName, { metadata: local }, own);
    const clusterRole = new k8s.rbac.v1.ClusterRole(resourceName, { metadata, rules: clusterRules }, own);
    const role = new k8s.rbac.v1.Role(resourceName, { metadata: local, rules }, own);
    new k8s.rbac.v1.ClusterRoleBinding(
      resourceName,
      { metadata, subjects, roleRef: { apiGroup, kind: "ClusterRole", name: clusterRole.metadata.name } },
      own,
    );
    new k8s.rbac.v1.RoleBinding(
      resourceName,
      { metadata: local, subjects, roleRef: { apiGroup, kind: "Role", name: role.metadata.name } },
      own,
    );
    new k8s.apps.v1.Deployment(
      resourceName,
      {
        metadata: local,
        spec: {
          replicas: 1,
          selector: { matchLabels: { app: name } },
          template: {
            metadata: { labels: { app: name } },
            spec: {
              serviceAccountName: account.metadata.name,
              priorityClassName: "system-cluster-critical",
              securityContext: { runAsNonRoot: true, runAsUser: 65534, seccompProfile: { type: "RuntimeDefault" } },
              containers: [
                {
                  name,
                  image,
                  command: [
                    "./cluster-autoscaler",
                    "--cloud-provider=civo",
                    `--namespace=${namespace}`,
                    // Every pool goes by this name here, and by the same bounds:
                    // https://github.com/kubernetes/autoscaler/blob/master/cluster-autoscaler/cloudprovider/civo/civo_manager.go
                    `--nodes=${min}:${max}:workers`,
                    "--enforce-node-group-min-size=true",
                    ...Object.entries(sparing).map(([option, value]) => `--${option}=${String(value)}`),
                    "--stderrthreshold=info",
                  ],
                  env: access.keys.map((key) => ({
                    name: `CIVO_${key.replace("-", "_").toUpperCase()}`,
                    valueFrom: { secretKeyRef: { name: access.secret, key } },
                  })),
                  resources: { requests: { cpu: "100m", memory: "300Mi" }, limits: { memory: "600Mi" } },
                  securityContext: {
                    allowPrivilegeEscalation: false,
                    readOnlyRootFilesystem: true,
                    capabilities: { drop: ["ALL"] },
                  },
                },
              ],
            },
          },
        },
      },
      own,
    );
    this.registerOutputs({});
  }
}
