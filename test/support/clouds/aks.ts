import type { MockedCloud } from "../clouds";

const account = "00000000-0000-0000-0000-000000000000";
const userKubeconfig = Buffer.from("clusters:\n- cluster:\n    certificate-authority-data: Q0E=\n").toString("base64");

export const aks: MockedCloud = {
  cluster: { ...{ cloud: "aks", name: "workspaces", account }, apiCidrs: ["192.0.2.0/24"] },
  others: { "azure-native:location": "westeurope", "azure-native:useDefaultAzureCredential": "true" },
  commands: ["kubelogin"],
  answers: {
    "azure-native:authorization:getClientConfig": () => ({
      ...{ clientId: "client", objectId: "99999999-8888-7777-6666-555555555555" },
      ...{ subscriptionId: account, tenantId: "77777777-7777-7777-7777-777777777777" },
    }),
    "azure-native:containerservice:listManagedClusterUserCredentials": () => ({
      kubeconfigs: [{ name: "clusterUser", value: userKubeconfig }],
    }),
    "azure-native:containerservice:getManagedCluster": ({ resourceGroupName, resourceName }) => ({
      id: `/subscriptions/${account}/resourceGroups/${String(resourceGroupName)}/providers/Microsoft.ContainerService/managedClusters/${String(resourceName)}`,
      ...{ name: resourceName, fqdn: "shared-1.hcp.westeurope.azmk8s.io", privateFQDN: "" },
      ...{ networkProfile: { networkPolicy: "cilium" }, aadProfile: { managed: true } },
      sku: { name: "Base", tier: "Standard" },
    }),
  },
  computed: {
    "azure-native:resources:ResourceGroup": () => ({ name: "workspaces1a2b3c4d" }),
    "azure-native:network:VirtualNetwork": () => ({ name: "workspaces1a2b3c4d" }),
    "azure-native:network:PublicIPAddress": () => ({ ipAddress: "198.51.100.8" }),
    "azure-native:managedidentity:UserAssignedIdentity": () => ({
      principalId: "33333333-3333-3333-3333-333333333333",
    }),
    "azure-native:containerservice:ManagedCluster": () => ({
      name: "workspaces1a2b3c4d",
      fqdn: "workspaces-1a2b3c4d.hcp.westeurope.azmk8s.io",
    }),
  },
};
