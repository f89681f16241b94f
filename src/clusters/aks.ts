import { createHash } from "node:crypto";
import * as authorization from "@pulumi/azure-native/authorization";
import * as containerservice from "@pulumi/azure-native/containerservice";
import * as managedidentity from "@pulumi/azure-native/managedidentity";
import * as network from "@pulumi/azure-native/network";
import * as resources from "@pulumi/azure-native/resources";
import { CustomResource } from "@pulumi/kubernetes/apiextensions/customResource";
import type * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import type { Cluster, LoadBalancer } from "../cluster";
import { refusal } from "../config/refusal";
import type { AksConfig, Secret } from "../config/schema";
import { answering } from "./answering";
import { type Endpoint, execKubeconfig } from "./exec-kubeconfig";
import { kubernetesProvider } from "./provider";
import { reason } from "./provider-error";

/** Whose credentials these are. */
interface Deployer {
  /** Object ID in Entra. */
  readonly objectId: string;
  readonly tenantId: string;
}

/**
 * Annotations of every LoadBalancer Service: without it Azure asks for /, where an ingress controller knows nothing.
 * https://learn.microsoft.com/en-us/azure/aks/configure-load-balancer-standard#customizations-via-kubernetes-annotations
 */
const loadBalancerAnnotations = {
  "service.beta.kubernetes.io/azure-load-balancer-health-probe-request-path": "/healthz",
  // Minutes, the most that there is: after four Azure would cut a connection on which nothing moves.
  "service.beta.kubernetes.io/azure-load-balancer-tcp-idle-timeout": "30",
};

/**
 * AKS runs the autoscaler out of sight and documents no name for it. These are upstream's: that of the addon, and that of the
 * deployment on Azure.
 * https://github.com/kubernetes/kubernetes/blob/v1.36.0/cluster/addons/rbac/cluster-autoscaler/cluster-autoscaler-rbac.yaml
 * https://github.com/kubernetes/autoscaler/blob/cluster-autoscaler-1.35.0/cluster-autoscaler/cloudprovider/azure/examples/cluster-autoscaler-autodiscover.yaml
 */
const autoscalers = ["cluster-autoscaler", "system:serviceaccount:kube-system:cluster-autoscaler"];

/** Built-in roles: https://learn.microsoft.com/en-us/azure/role-based-access-control/built-in-roles */
const roles = {
  networkContributor: "4d97b98b-1d4f-4787-a291-c67834d212e7",
  clusterAdmin: "b1ff04bb-8a4e-4dc4-8eb5-8693973ce19b",
};

/** The application in Entra for which the API servers of AKS take tokens: https://azure.github.io/kubelogin/concepts/aks.html */
const aksServer = "6dae42f8-4368-4678-94ff-3960e28e3630";

/** A cluster on Azure Kubernetes Service with a network of its own. */
class AksCluster extends pulumi.ComponentResource implements Cluster {
  readonly provider: k8s.Provider;
  readonly kubeconfig: Secret;
  readonly loadBalancer: LoadBalancer;
  readonly isProtected: boolean;
  readonly autoscalers = autoscalers;

  constructor(name: string, config: AksConfig, deployer: Deployer, opts?: pulumi.ComponentResourceOptions) {
    super("gitlab-workspaces:clusters:Aks", name, {}, opts);
    const { nodes, systemNodes, network: ranges, protect } = config;
    this.isProtected = protect;
    const tags = tagsOf(config);
    const own = { parent: this };

    const group = new resources.ResourceGroup(config.name, { tags }, own);
    const within = { resourceGroupName: group.name };
    const virtualNetwork = new network.VirtualNetwork(
      config.name,
      { ...within, addressSpace: { addressPrefixes: [ranges.nodes] }, tags },
      // Subnets are resources of their own; what the provider reads back would be taken away again.
      { ...own, ignoreChanges: ["subnets"] },
    );
    const outbound = new network.PublicIPAddress(
      `${config.name}-outbound`,
      { ...within, sku: { name: "Standard" }, publicIPAllocationMethod: "Static", tags },
      own,
    );
    // Nodes have no addresses of their own, and have to reach image registries and GitLab.
    const nat = new network.NatGateway(
      config.name,
      { ...within, sku: { name: "Standard" }, publicIpAddresses: [{ id: outbound.id }], idleTimeoutInMinutes: 4, tags },
      own,
    );
    const subnet = new network.Subnet(
      config.name,
      {
        ...within,
        virtualNetworkName: virtualNetwork.name,
        subnetName: "nodes",
        addressPrefix: ranges.nodes,
        natGateway: { id: nat.id },
        defaultOutboundAccess: false,
      },
      own,
    );

    const identity = new managedidentity.UserAssignedIdentity(config.name, { ...within, tags }, own);
    // The cluster puts nodes into the subnet, and the address that is kept before its load balancer.
    const networkRole = roleAssignment(`${config.name}-network`, {
      scope: group.id,
      role: roles.networkContributor,
      description: `Network Contributor, for the cluster ${config.name} itself`,
      principal: identity.principalId,
      account: config.account,
      // Entra may not know the identity everywhere yet; told what it is, Azure does not look.
      principalType: "ServicePrincipal",
      parent: this,
    });

    const version = config.kubernetesVersion;
    const cluster = new containerservice.ManagedCluster(
      config.name,
      {
        ...within,
        dnsPrefix: config.name,
        // Azure's own name for it holds those of group and cluster, and has room for neither.
        nodeResourceGroup: pulumi.interpolate`${group.name}-nodes`,
        sku: { name: "Base", tier: "Standard" },
        identity: { type: "UserAssigned", userAssignedIdentities: [identity.id] },
        ...(version === undefined ? {} : { kubernetesVersion: version }),
        autoUpgradeProfile: { upgradeChannel: config.upgradeChannel, nodeOSUpgradeChannel: "NodeImage" },
        enableRBAC: true,
        // Nobody gets in without Entra: https://learn.microsoft.com/en-us/azure/aks/manage-local-accounts-managed-azure-ad
        disableLocalAccounts: true,
        aadProfile: {
          managed: true,
          enableAzureRBAC: true,
          adminGroupObjectIDs: [...config.admins],
          tenantID: deployer.tenantId,
        },
        apiServerAccessProfile: {
          authorizedIPRanges: authorizedRanges(config, outbound),
          disableRunCommand: true,
        },
        // Cilium enforces NetworkPolicies: https://learn.microsoft.com/en-us/azure/aks/azure-cni-powered-by-cilium
        networkProfile: {
          networkPlugin: "azure",
          networkPluginMode: "overlay",
          networkDataplane: "cilium",
          networkPolicy: "cilium",
          loadBalancerSku: "standard",
          outboundType: "userAssignedNATGateway",
          podCidr: ranges.pods,
          serviceCidr: ranges.services,
          dnsServiceIP: dnsAddress(ranges.services),
        },
        oidcIssuerProfile: { enabled: true },
        securityProfile: { workloadIdentity: { enabled: true } },
        storageProfile: { diskCSIDriver: { enabled: true }, snapshotController: { enabled: true } },
        nodeResourceGroupProfile: { restrictionLevel: "ReadOnly" },
        autoScalerProfile,
        agentPoolProfiles: [
          {
            name: "system",
            mode: "System",
            type: "VirtualMachineScaleSets",
            ...linux,
            vmSize: systemNodes.machineType,
            enableAutoScaling: true,
            count: systemNodes.min,
            minCount: systemNodes.min,
            maxCount: systemNodes.max,
            vnetSubnetID: subnet.id,
            nodeTaints: ["CriticalAddonsOnly=true:NoSchedule"],
            upgradeSettings: { maxSurge: "1" },
            ...(version === undefined ? {} : { orchestratorVersion: version }),
            tags,
          },
        ],
        tags,
      },
      {
        ...own,
        protect,
        dependsOn: [networkRole],
        hooks: { onError: [failedNodes("systemNodes", systemNodes.machineType)] },
        // Only the beginning: the autoscaler changes the one, and the upgrade channel the others.
        ignoreChanges: [
          "agentPoolProfiles[0].count",
          ...(version === undefined ? ["kubernetesVersion", "agentPoolProfiles[0].orchestratorVersion"] : []),
        ],
      },
    );
    const ofCluster = { ...within, resourceName: cluster.name };
    const adminRole = roleAssignment(`${config.name}-admin`, {
      scope: cluster.id,
      role: roles.clusterAdmin,
      description: `Azure Kubernetes Service RBAC Cluster Admin, for who deploys ${config.name}`,
      principal: deployer.objectId,
      account: config.account,
      parent: this,
    });
    const windows = ["aksManagedAutoUpgradeSchedule", "aksManagedNodeOSUpgradeSchedule"].map(
      (configName) =>
        new containerservice.MaintenanceConfiguration(
          `${config.name}-${configName}`,
          { ...ofCluster, configName, maintenanceWindow: maintenanceWindow(config.maintenance) },
          own,
        ),
    );
    const pool = new containerservice.AgentPool(
      config.name,
      {
        ...ofCluster,
        // What cannot be changed makes a new pool beside the old one, and both cannot have one name.
        agentPoolName: `w${hash(nodes.machineType, nodes.diskGiB).slice(0, 8)}`,
        mode: "User",
        type: "VirtualMachineScaleSets",
        ...linux,
        vmSize: nodes.machineType,
        osDiskSizeGB: nodes.diskGiB,
        enableAutoScaling: true,
        count: nodes.min,
        minCount: nodes.min,
        maxCount: nodes.max,
        vnetSubnetID: subnet.id,
        upgradeSettings: { maxSurge: "1" },
        ...(version === undefined ? {} : { orchestratorVersion: version }),
        tags,
      },
      {
        ...own,
        hooks: { onError: [failedNodes("nodes", nodes.machineType)] },
        ignoreChanges: ["count", ...(version === undefined ? ["orchestratorVersion"] : [])],
      },
    );
    const address = new network.PublicIPAddress(
      config.name,
      { ...within, sku: { name: "Standard" }, publicIPAllocationMethod: "Static", tags },
      // DNS points at it, and Azure would give it to somebody else.
      { ...own, protect },
    );

    const { kubeconfigs } = containerservice.listManagedClusterUserCredentialsOutput(
      { resourceGroupName: group.name, resourceName: cluster.name, format: "exec" },
      { parent: this },
    );
    this.kubeconfig = kubeconfigOf({
      name: cluster.name,
      server: pulumi.interpolate`https://${cluster.fqdn}`,
      authority: kubeconfigs.apply((found) => authorityIn(found)),
    });
    // The right to do anything is no part of the cluster here, and comes after it.
    const ready = answering(pulumi.secret(pulumi.all([this.kubeconfig, adminRole.id]).apply(([text]) => text)));
    const metadata = new CustomResource("metadata-service", metadataPolicy, {
      ...own,
      provider: kubernetesProvider(ready, cluster.id, { ...own, dependsOn: [pool] }, "cluster-kubernetes"),
    });
    this.loadBalancer = {
      annotations: loadBalancerAnnotations,
      ingress: {
        annotations: {
          "service.beta.kubernetes.io/azure-load-balancer-ipv4": address.ipAddress.apply((ip) => ip ?? ""),
          "service.beta.kubernetes.io/azure-load-balancer-resource-group": group.name,
        },
      },
    };
    this.provider = kubernetesProvider(ready, cluster.id, {
      ...own,
      dependsOn: [pool, address, adminRole, metadata, ...windows],
    });
    this.registerOutputs({});
  }
}

/** A cluster on Azure Kubernetes Service that somebody else made and looks after. */
class ExistingAksCluster extends pulumi.ComponentResource implements Cluster {
  readonly provider: k8s.Provider;
  readonly kubeconfig: Secret;
  readonly loadBalancer: LoadBalancer = { annotations: loadBalancerAnnotations };
  readonly isProtected = false;
  readonly autoscalers = autoscalers;

  /** @param id of the cluster, as Azure has it. */
  constructor(name: string, id: string, kubeconfig: Secret, opts?: pulumi.ComponentResourceOptions) {
    super("gitlab-workspaces:clusters:ExistingAks", name, {}, opts);
    this.kubeconfig = kubeconfig;
    this.provider = kubernetesProvider(kubeconfig, id, { parent: this });
    this.registerOutputs({});
  }
}

/** What all nodes have in common. */
const linux = { osType: "Linux", osSKU: "Ubuntu", osDiskType: "Managed", enableNodePublicIP: false };

/**
 * A node is a candidate for removal when what its pods request is less than the threshold: next to nothing, so that one with
 * a workspace that requests anything is none. DaemonSets are on every node and say nothing.
 * https://learn.microsoft.com/en-us/azure/aks/cluster-autoscaler#cluster-autoscaler-profile-settings
 */
const autoScalerProfile = {
  scaleDownUtilizationThreshold: "0.01",
  ignoreDaemonsetsUtilization: true,
  skipNodesWithLocalStorage: "true",
  skipNodesWithSystemPods: "true",
  expander: "least-waste",
};

/**
 * Pods reach no metadata service, which would hand them tokens of their node's identity; those of AKS itself may need it. The
 * restriction that AKS has for this is a preview, and not in the provider's version of the API. A deny goes before whatever
 * another policy allows, and takes nothing else away: https://docs.cilium.io/en/stable/security/policy/intro/
 */
const metadataPolicy = {
  apiVersion: "cilium.io/v2",
  kind: "CiliumClusterwideNetworkPolicy",
  metadata: { name: "gitlab-workspaces-metadata-service" },
  spec: {
    endpointSelector: {
      matchExpressions: [
        { key: "k8s:io.kubernetes.pod.namespace", operator: "NotIn", values: ["kube-system", "gatekeeper-system"] },
      ],
    },
    enableDefaultDeny: { egress: false, ingress: false },
    egressDeny: [{ toCIDR: ["169.254.169.254/32"] }],
  },
};

/**
 * Makes the cluster, or takes the one that is there, once the credentials were found to work in the subscription.
 * @throws pulumi.RunError when they do not, or when an existing cluster cannot carry workspaces. Nothing has been created
 * then.
 */
export async function createAksCluster(config: AksConfig): Promise<Cluster> {
  const deployer = await requireSubscription(config);
  return config.existing ? await adoptCluster(config) : new AksCluster("cluster", config, deployer);
}

/** Asks the provider whose credentials it has, and where it works. */
async function requireSubscription({ account }: AksConfig): Promise<Deployer> {
  const { subscriptionId, objectId, tenantId } = await authorization.getClientConfig().catch((error: unknown) => {
    throw refusal(
      `The Azure subscription ${account} cannot be reached with the credentials here: ${reason(error)}\n` +
        `Log in: az login\nTry: az account show --subscription ${account}\nNothing was created.`,
    );
  });
  if (subscriptionId === account) return { objectId, tenantId };
  throw refusal(
    `The provider works in the Azure subscription ${subscriptionId === "" ? "(none)" : subscriptionId}, and ` +
      `cluster.account says ${account}.\n` +
      `Set the one that is meant: pulumi config set --stack ${pulumi.getStack()} azure-native:subscriptionId ${account}\nNothing was created.`,
  );
}

async function adoptCluster({ account, name, resourceGroup = "" }: AksConfig): Promise<Cluster> {
  const place = { resourceGroupName: resourceGroup, resourceName: name };
  const at = `--resource-group ${resourceGroup} --name ${name}`;
  const found = await containerservice.getManagedCluster(place).catch((error: unknown) => {
    throw refusal(
      `There is no cluster ${name} in the resource group ${resourceGroup} of the subscription ${account}: ${reason(error)}\n` +
        `List them: az aks list --subscription ${account} --output table\n` +
        `To have one made: pulumi config rm --stack ${pulumi.getStack()} --path gitlab-workspaces:cluster.existing\nNothing was created.`,
    );
  });
  // https://learn.microsoft.com/en-us/azure/aks/use-network-policies
  if (["none", ""].includes(found.networkProfile?.networkPolicy ?? "")) {
    throw refusal(
      `The cluster ${name} enforces no NetworkPolicies, and they are what keeps workspaces apart.\n` +
        `Turn them on, which replaces its nodes: az aks update ${at} --network-dataplane cilium\nNothing was created.`,
    );
  }
  if (found.sku?.name === "Automatic") {
    throw refusal(
      `The cluster ${name} is an AKS Automatic cluster: what it allows pods to do, and how it moves them, is not made for ` +
        `workspaces.\nName a standard one: az aks list --query "[?sku.name=='Base'].name" --subscription ${account}\n` +
        "Nothing was created.",
    );
  }
  if (found.aadProfile?.managed !== true) {
    throw refusal(
      `The cluster ${name} lets nobody in by Entra, and a kubeconfig with credentials of its own is not handed on.\n` +
        `Turn it on: az aks update ${at} --enable-aad --enable-azure-rbac\nNothing was created.`,
    );
  }
  const { kubeconfigs } = await containerservice
    .listManagedClusterUserCredentials({ ...place, format: "exec" })
    .catch((error: unknown) => {
      throw refusal(
        `The cluster ${name} is there, and where it answers cannot be read: ${reason(error)}\n` +
          `It takes the role Azure Kubernetes Service Cluster User Role: az aks get-credentials ${at} --file -\n` +
          "Nothing was created.",
      );
    });
  const kubeconfig = kubeconfigOf({
    name,
    // A private cluster may have the one alone, whatever the types say.
    server: `https://${found.fqdn || found.privateFQDN}`,
    authority: authorityIn(kubeconfigs),
  });
  if (!pulumi.runtime.isDryRun()) {
    const { inspectCluster } = await import("./inspection");
    for (const warning of await inspectCluster(kubeconfig)) await pulumi.log.warn(warning);
  }
  return new ExistingAksCluster("cluster", found.id, kubeconfig);
}

/** Who may do what where. Its name is another one with any of these, because Azure lets none of them be changed. */
function roleAssignment(
  name: string,
  {
    scope,
    role,
    description,
    principal,
    account,
    principalType,
    parent,
  }: {
    readonly scope: pulumi.Output<string>;
    readonly role: string;
    readonly description: string;
    readonly principal: pulumi.Input<string>;
    readonly account: string;
    readonly principalType?: string;
    readonly parent: pulumi.Resource;
  },
): authorization.RoleAssignment {
  const told = pulumi.all([scope, principal]).apply((both) => hash(role, ...both));
  return new authorization.RoleAssignment(
    name,
    {
      roleAssignmentName: told.apply((digits) =>
        digits.replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12}).*$/, "$1-$2-5$3-8$4-$5"),
      ),
      scope,
      roleDefinitionId: `/subscriptions/${account}/providers/Microsoft.Authorization/roleDefinitions/${role}`,
      principalId: principal,
      description,
      ...(principalType === undefined ? {} : { principalType }),
    },
    { parent },
  );
}

/**
 * From where the API can be reached; from everywhere when that is what is said. Nodes come from the NAT gateway.
 * https://learn.microsoft.com/en-us/azure/aks/api-server-authorized-ip-ranges
 */
function authorizedRanges({ apiCidrs = [] }: AksConfig, nat: network.PublicIPAddress): pulumi.Input<string>[] {
  return apiCidrs.includes("0.0.0.0/0") ? [] : [...apiCidrs, pulumi.interpolate`${nat.ipAddress}/32`];
}

/** The tenth address of the Services' range: https://learn.microsoft.com/en-us/azure/aks/configure-azure-cni */
function dnsAddress(services: string): string {
  return services.replace(/(\d+)\/\d+$/, (_, last: string) => String(Number(last) + 10));
}

/** https://learn.microsoft.com/en-us/azure/aks/planned-maintenance */
function maintenanceWindow({ day, hour, hours }: AksConfig["maintenance"]) {
  return {
    durationHours: hours,
    startTime: `${String(hour).padStart(2, "0")}:00`,
    utcOffset: "+00:00",
    schedule: { weekly: { intervalWeeks: 1, dayOfWeek: `${day.slice(0, 1).toUpperCase()}${day.slice(1)}` } },
  };
}

/** Azure knows which machines there are where only when it is asked for some; then the key is ours to name. Nothing is tried again. */
function failedNodes(key: "nodes" | "systemNodes", machineType: string): pulumi.ErrorHook {
  return new pulumi.ErrorHook(`failed-${key}`, async ({ errors }) => {
    if (!errors.some((error) => /VM ?size|vm ?size|SKU|Sku|[Qq]uota/.test(error))) return false;
    const location = pulumi.runtime.allConfig()["azure-native:location"] ?? "there";
    await pulumi.log.error(
      `Azure gives this subscription no machines of cluster.${key}.machineType, ${machineType}, in ${location}, or not so many.\n` +
        `List them: az vm list-skus --location ${location} --resource-type virtualMachines --output table\n` +
        `Set another: pulumi config set --stack ${pulumi.getStack()} --path 'gitlab-workspaces:cluster.${key}.machineType' '<machine type>'\n` +
        "What was made is kept; the next up goes on from there.",
    );
    return false;
  });
}

/** The certificate authority that a kubeconfig of Azure's names; nothing else in it is used. */
function authorityIn(kubeconfigs: readonly { readonly value: string }[]): string {
  const text = Buffer.from(kubeconfigs[0]?.value ?? "", "base64").toString("utf8");
  return /certificate-authority-data"?:\s*"?([A-Za-z0-9+/=]+)/.exec(text)?.[1] ?? "";
}

/**
 * A kubeconfig that works on any machine with kubelogin, and holds no credentials itself. `chained` looks for them where the
 * provider does with `useDefaultAzureCredential`.
 * https://azure.github.io/kubelogin/concepts/login-modes/chained.html
 */
function kubeconfigOf(endpoint: Endpoint): Secret {
  return execKubeconfig(endpoint, {
    command: "kubelogin",
    args: ["get-token", "--login", "chained", "--server-id", aksServer],
    installHint: "az aks install-cli",
    provideClusterInfo: false,
  });
}

/** Tags of everything. */
function tagsOf({ labels }: AksConfig): Record<string, string> {
  return { ...labels, project: pulumi.getProject(), stack: pulumi.getStack() };
}

/** The same for the same values, in hexadecimal. */
function hash(...values: readonly (string | number)[]): string {
  return createHash("sha256").update(values.join(" ")).digest("hex");
}
