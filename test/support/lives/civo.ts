import type { CloudLife } from "../cloud-suite";

/** What the example stack of Civo makes, and what of it waits for what. */
export const life: CloudLife = {
  ...{ stack: "civo", cloud: "civo" },
  made: [
    "civo:index/firewall:Firewall workspaces",
    "civo:index/kubernetesCluster:KubernetesCluster workspaces",
    "civo:index/network:Network workspaces",
    "civo:index/reservedIp:ReservedIp workspaces",
    "gitlab-workspaces:clusters:Civo cluster",
    "gitlab-workspaces:clusters:CivoAutoscaler cluster-autoscaler",
    "gitlab-workspaces:platform:EvictionPolicy eviction-policy",
    "gitlab-workspaces:platform:GeneratedSecrets generated-secrets",
    "gitlab-workspaces:platform:GitLabAgent gitlab-agent-team-a",
    "gitlab-workspaces:platform:TlsSecrets workspaces-proxy-tls",
    "gitlab-workspaces:platform:Traefik traefik",
    "gitlab-workspaces:platform:WorkspacesProxy workspaces-proxy",
    "kubernetes:admissionregistration.k8s.io/v1:ValidatingAdmissionPolicy eviction-policy",
    "kubernetes:admissionregistration.k8s.io/v1:ValidatingAdmissionPolicyBinding eviction-policy",
    "kubernetes:apps/v1:Deployment cluster-autoscaler",
    "kubernetes:core/v1:Namespace gitlab-agent-team-a-namespace",
    "kubernetes:core/v1:Namespace traefik-namespace",
    "kubernetes:core/v1:Namespace workspaces-proxy-namespace",
    "kubernetes:core/v1:Secret gitlab-agent-team-a-token",
    "kubernetes:core/v1:Secret workspaces-proxy-config",
    "kubernetes:core/v1:Secret workspaces-proxy-tls-domain",
    "kubernetes:core/v1:Secret workspaces-proxy-tls-wildcard",
    "kubernetes:core/v1:Service workspaces-proxy-metrics-closed",
    "kubernetes:core/v1:ServiceAccount cluster-autoscaler",
    "kubernetes:helm.sh/v3:Release gitlab-agent-team-a",
    "kubernetes:helm.sh/v3:Release traefik",
    "kubernetes:helm.sh/v3:Release workspaces-proxy",
    "kubernetes:networking.k8s.io/v1:Ingress workspaces-proxy-metrics-closed",
    "kubernetes:policy/v1:PodDisruptionBudget gitlab-agent-team-a-disruption-budget",
    "kubernetes:policy/v1:PodDisruptionBudget workspaces-proxy-disruption-budget",
    "kubernetes:rbac.authorization.k8s.io/v1:ClusterRole cluster-autoscaler",
    "kubernetes:rbac.authorization.k8s.io/v1:ClusterRoleBinding cluster-autoscaler",
    "kubernetes:rbac.authorization.k8s.io/v1:Role cluster-autoscaler",
    "kubernetes:rbac.authorization.k8s.io/v1:RoleBinding cluster-autoscaler",
    "pulumi-nodejs:dynamic/gitlab-workspaces:DestroyGuard destroy-guard",
    "pulumi:pulumi:Stack gitlab-workspaces-civo",
    "random:index/randomPassword:RandomPassword signing-key",
    "tls:index/privateKey:PrivateKey ssh-host-key",
  ],
  chain: [
    ...["Network", "Firewall", "KubernetesCluster", "kubernetes", "ServiceAccount", "Deployment", "kubernetes"],
    ...["Namespace", "Secret", "Release", "DestroyGuard"],
  ],
  records: async (account) => {
    const { objects } = await account.content();
    const address = objects.find(({ type }) => type === "civo:index/reservedIp:ReservedIp");
    return { type: "A", value: address?.outputs["ip"] };
  },
};
