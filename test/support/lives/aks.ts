import type { CloudLife } from "../cloud-suite";

/** What a stack on AKS is and makes. Written out by hand. */
export const life: CloudLife = {
  ...{ stack: "aks", cloud: "azure-native" },
  made: [
    "azure-native:authorization:RoleAssignment workspaces-admin",
    "azure-native:authorization:RoleAssignment workspaces-network",
    "azure-native:containerservice:AgentPool workspaces",
    "azure-native:containerservice:MaintenanceConfiguration workspaces-aksManagedAutoUpgradeSchedule",
    "azure-native:containerservice:MaintenanceConfiguration workspaces-aksManagedNodeOSUpgradeSchedule",
    "azure-native:containerservice:ManagedCluster workspaces",
    "azure-native:managedidentity:UserAssignedIdentity workspaces",
    "azure-native:network:NatGateway workspaces",
    "azure-native:network:PublicIPAddress workspaces",
    "azure-native:network:PublicIPAddress workspaces-outbound",
    "azure-native:network:Subnet workspaces",
    "azure-native:network:VirtualNetwork workspaces",
    "azure-native:resources:ResourceGroup workspaces",
    "gitlab-workspaces:clusters:Aks cluster",
    "gitlab-workspaces:platform:EvictionPolicy eviction-policy",
    "gitlab-workspaces:platform:GeneratedSecrets generated-secrets",
    "gitlab-workspaces:platform:GitLabAgent gitlab-agent-team-a",
    "gitlab-workspaces:platform:TlsSecrets workspaces-proxy-tls",
    "gitlab-workspaces:platform:Traefik traefik",
    "gitlab-workspaces:platform:WorkspacesProxy workspaces-proxy",
    "kubernetes:admissionregistration.k8s.io/v1:ValidatingAdmissionPolicy eviction-policy",
    "kubernetes:admissionregistration.k8s.io/v1:ValidatingAdmissionPolicyBinding eviction-policy",
    "kubernetes:cilium.io/v2:CiliumClusterwideNetworkPolicy metadata-service",
    "kubernetes:core/v1:Namespace gitlab-agent-team-a-namespace",
    "kubernetes:core/v1:Namespace traefik-namespace",
    "kubernetes:core/v1:Namespace workspaces-proxy-namespace",
    "kubernetes:core/v1:Secret gitlab-agent-team-a-token",
    "kubernetes:core/v1:Secret workspaces-proxy-config",
    "kubernetes:core/v1:Secret workspaces-proxy-tls-domain",
    "kubernetes:core/v1:Secret workspaces-proxy-tls-wildcard",
    "kubernetes:core/v1:Service workspaces-proxy-metrics-closed",
    "kubernetes:helm.sh/v3:Release gitlab-agent-team-a",
    "kubernetes:helm.sh/v3:Release traefik",
    "kubernetes:helm.sh/v3:Release workspaces-proxy",
    "kubernetes:networking.k8s.io/v1:Ingress workspaces-proxy-metrics-closed",
    "kubernetes:policy/v1:PodDisruptionBudget gitlab-agent-team-a-disruption-budget",
    "kubernetes:policy/v1:PodDisruptionBudget workspaces-proxy-disruption-budget",
    "pulumi-nodejs:dynamic/gitlab-workspaces:DestroyGuard destroy-guard",
    "pulumi:pulumi:Stack gitlab-workspaces-aks",
    "random:index/randomPassword:RandomPassword signing-key",
    "tls:index/privateKey:PrivateKey ssh-host-key",
  ],
  chain: [
    ...[
      "ResourceGroup",
      "PublicIPAddress",
      "NatGateway",
      "Subnet",
      "ManagedCluster",
      "AgentPool",
      "cluster-kubernetes",
    ],
    ...["CiliumClusterwideNetworkPolicy", "kubernetes", "Namespace", "Secret", "Release", "DestroyGuard"],
  ],
  records: async (account) => {
    const { objects } = await account.content();
    const addresses = objects.filter(({ type }) => type === "azure-native:network:PublicIPAddress");
    const kept = addresses.find(({ id }) => !id.includes("/workspaces-outbound"));
    return { type: "A", value: kept?.outputs["ipAddress"] };
  },
};
