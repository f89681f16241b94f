import { createHash } from "node:crypto";
import type { CloudTable, Context, Reference, ResourceType } from "../cloud";
import { isObject, type Properties, type Value } from "../provider";
import type { CloudObject } from "./account";
import { part } from "./observation";

/** Regions that AKS is in, not all that there are. https://learn.microsoft.com/en-us/azure/reliability/regions-list */
const REGIONS = [
  ...["australiaeast", "brazilsouth", "canadacentral", "centralindia", "centralus", "eastasia", "eastus", "eastus2"],
  ...["francecentral", "germanywestcentral", "israelcentral", "italynorth", "japaneast", "japanwest", "koreacentral"],
  ...["mexicocentral", "northcentralus", "northeurope", "norwayeast", "polandcentral", "qatarcentral"],
  ...["southafricanorth", "southcentralus", "southeastasia", "spaincentral", "swedencentral", "switzerlandnorth"],
  ...["uaenorth", "uksouth", "ukwest", "westcentralus", "westeurope", "westindia", "westus", "westus2", "westus3"],
];

/** Families and numbers of CPUs, not all that there are: https://learn.microsoft.com/en-us/azure/virtual-machines/sizes/overview */
const MACHINE = /^Standard_([BDEF])(2|4|8|16|32|48|64|96)([adlpst]*)_(v2|v3|v4|v5|v6)$/;

/** What is not to be had everywhere. Which it is changes all the time; this is made up. */
const SCARCE: Readonly<Record<string, RegExp>> = { westindia: /_v[56]$/ };

/** What AKS offers; the first is what a new cluster gets. Of the same form as Azure's, but made up. */
const VERSIONS = ["1.35.4", "1.36.1", "1.34.8", "1.33.12"];

/** Whose the credentials are, and where, when nothing says so. */
const TENANT = "7e000000-0000-0000-0000-000000000000";
const DEPLOYER = "de000000-0000-0000-0000-000000000000";
const DEFAULT_SUBSCRIPTION = "5b000000-0000-0000-0000-000000000000";

const GROUP = "azure-native:resources:ResourceGroup";
const NETWORK = "azure-native:network:VirtualNetwork";
const SUBNET = "azure-native:network:Subnet";
const ADDRESS = "azure-native:network:PublicIPAddress";
const NAT = "azure-native:network:NatGateway";
const IDENTITY = "azure-native:managedidentity:UserAssignedIdentity";
const ROLE_ASSIGNMENT = "azure-native:authorization:RoleAssignment";
const CLUSTER = "azure-native:containerservice:ManagedCluster";
const POOL = "azure-native:containerservice:AgentPool";
const MAINTENANCE = "azure-native:containerservice:MaintenanceConfiguration";

const subscription = (configuration: Properties): string => text(configuration["subscriptionId"]);
const location = ({ configuration, inputs }: Context): string =>
  text(inputs["location"]) || text(configuration["location"]);
const groupId = ({ configuration }: Pick<Context, "configuration">, group: Value | undefined): string =>
  `/subscriptions/${subscription(configuration)}/resourceGroups/${text(group)}`;

/** The id of what is in a resource group, from pairs of its kind and the input that names it. */
const within =
  (provider: string, ...path: readonly (readonly [kind: string, input: string])[]) =>
  (context: Context): string =>
    [
      ...[groupId(context, context.inputs["resourceGroupName"]), "providers", provider],
      ...path.flatMap(([kind, input]) => [kind, text(context.inputs[input])]),
    ].join("/");

const networkId = within("Microsoft.Network", ["virtualNetworks", "virtualNetworkName"]);
const subnetId = within("Microsoft.Network", ["virtualNetworks", "virtualNetworkName"], ["subnets", "subnetName"]);
const clusterId = within("Microsoft.ContainerService", ["managedClusters", "resourceName"]);
const poolId = within(
  "Microsoft.ContainerService",
  ["managedClusters", "resourceName"],
  ["agentPools", "agentPoolName"],
);

/** What Azure Resource Manager says is wrong. */
const error = (status: number, code: string, message: string): string =>
  `autorest/azure: Service returned an error. Status=${status} Code="${code}" Message="${message}"`;

const exists = (id: string): string =>
  `cannot create already existing resource '${id}': Azure has it, and nothing of this stack is known of it`;

const inGroup: Reference = {
  type: GROUP,
  by: ["name"],
  missing: (value) => error(404, "ResourceGroupNotFound", `Resource group '${value}' could not be found.`),
};

const notFound = (id: string): string => error(404, "ResourceNotFound", `The Resource '${id}' was not found.`);

const byId = (type: string): Reference => ({
  type,
  by: ["id"],
  missing: (value) =>
    error(400, "InvalidResourceReference", `Resource ${value} referenced by this resource was not found.`),
});

const inCluster: Reference = {
  type: CLUSTER,
  by: ["name"],
  missing: (value, { inputs }) =>
    error(
      404,
      "ParentResourceNotFound",
      `Failed to perform 'write' on resource of type under 'Microsoft.ContainerService/managedClusters/${value}', because ` +
        `the parent resource could not be found in the resource group '${text(inputs["resourceGroupName"])}'.`,
    ),
};

const named = (input: string): NonNullable<ResourceType["computed"]> => ({
  name: ({ inputs }) => text(inputs[input]),
  provisioningState: () => "Succeeded",
});

/**
 * Types as Azure's own API definitions have them: what is required, and what cannot be changed.
 * https://github.com/Azure/azure-rest-api-specs
 */
const types: Readonly<Record<string, ResourceType>> = {
  [GROUP]: {
    noun: "resource group",
    autoname: { property: "resourceGroupName", longest: 90, separator: "" },
    match: { resourceGroupName: /^[\w().-]{0,89}[\w()-]$/ },
    id: (context) => groupId(context, context.inputs["resourceGroupName"]),
    exists,
    quota: "ResourceGroups",
    replace: ["resourceGroupName", "location"],
    settled: { location },
    refuse: (context) =>
      REGIONS.includes(location(context))
        ? undefined
        : error(
            400,
            "LocationNotAvailableForResourceGroup",
            `The provided location '${location(context)}' is not available for resource group.`,
          ),
    computed: named("resourceGroupName"),
  },
  [NETWORK]: {
    noun: "virtual network",
    autoname: { property: "virtualNetworkName", longest: 64, separator: "" },
    required: ["resourceGroupName"],
    id: networkId,
    exists,
    quota: "VirtualNetworks",
    replace: ["resourceGroupName", "virtualNetworkName", "location", "extendedLocation"],
    settled: { location },
    refs: { resourceGroupName: inGroup },
    refuse: ({ inputs, outputs, objects }) => {
      const kept = objects.some(
        ({ type, inputs: subnet }) => type === SUBNET && subnet["virtualNetworkName"] === outputs["name"],
      );
      const [had, now] = [outputs, inputs].map((of) => JSON.stringify(part(of, "addressSpace")["addressPrefixes"]));
      return kept && had !== now
        ? error(
            400,
            "InUsePrefixCannotBeDeleted",
            `IpPrefix ${had ?? ""} of the virtual network is in use and cannot be deleted.`,
          )
        : undefined;
    },
    computed: named("virtualNetworkName"),
  },
  [SUBNET]: {
    noun: "subnet",
    autoname: { property: "subnetName", longest: 80, separator: "" },
    required: ["resourceGroupName", "virtualNetworkName"],
    match: { addressPrefix: /^\d{1,3}(\.\d{1,3}){3}\/\d{1,2}$/ },
    id: subnetId,
    exists,
    replace: ["resourceGroupName", "virtualNetworkName", "subnetName"],
    refs: {
      resourceGroupName: inGroup,
      virtualNetworkName: { ...byId(NETWORK), by: ["name"], missing: (value) => notFound(value) },
      "natGateway.id": byId(NAT),
    },
    refuse: (context) => {
      const had = context.outputs["addressPrefix"];
      const used = context.objects.some(({ inputs }) =>
        poolProfiles(inputs).some(({ vnetSubnetID }) => vnetSubnetID === subnetId(context)),
      );
      return used && had !== context.inputs["addressPrefix"]
        ? error(400, "InUseSubnetCannotBeUpdated", `Subnet nodes is in use and cannot be updated from ${text(had)}.`)
        : undefined;
    },
    computed: { ...named("subnetName"), privateEndpointNetworkPolicies: () => "Disabled" },
  },
  [ADDRESS]: {
    noun: "public IP address",
    autoname: { property: "publicIpAddressName", longest: 80, separator: "" },
    required: ["resourceGroupName"],
    oneOf: { publicIPAllocationMethod: ["Static", "Dynamic"], "sku.name": ["Basic", "Standard", "StandardV2"] },
    id: within("Microsoft.Network", ["publicIPAddresses", "publicIpAddressName"]),
    exists,
    quota: "PublicIPAddresses",
    replace: ["resourceGroupName", "publicIpAddressName", "location", "sku", "zones", "extendedLocation"],
    settled: { location },
    refs: { resourceGroupName: inGroup },
    refuse: ({ inputs }) =>
      text(part(inputs, "sku")["name"]) === "Standard" && inputs["publicIPAllocationMethod"] !== "Static"
        ? error(
            400,
            "StandardSkuPublicIPAddressesMustBeStatic",
            "Standard sku publicIp must have AllocationMethod set to Static.",
          )
        : undefined,
    computed: {
      ...named("publicIpAddressName"),
      ipAddress: freeAddress,
      publicIPAddressVersion: () => "IPv4",
      idleTimeoutInMinutes: () => 4,
    },
  },
  [NAT]: {
    noun: "NAT gateway",
    autoname: { property: "natGatewayName", longest: 80, separator: "" },
    required: ["resourceGroupName"],
    oneOf: { "sku.name": ["Standard", "StandardV2"] },
    id: within("Microsoft.Network", ["natGateways", "natGatewayName"]),
    exists,
    replace: ["resourceGroupName", "natGatewayName", "location", "sku", "zones"],
    settled: { location },
    refs: { resourceGroupName: inGroup, "publicIpAddresses[*].id": byId(ADDRESS) },
    computed: named("natGatewayName"),
  },
  [IDENTITY]: {
    noun: "identity",
    autoname: { property: "resourceName", longest: 128, separator: "" },
    required: ["resourceGroupName"],
    id: within("Microsoft.ManagedIdentity", ["userAssignedIdentities", "resourceName"]),
    exists,
    replace: ["resourceGroupName", "resourceName", "location"],
    settled: { location },
    refs: { resourceGroupName: inGroup },
    computed: {
      ...named("resourceName"),
      principalId: ({ serial }) => uuid(`principal ${serial}`),
      clientId: ({ serial }) => uuid(`client ${serial}`),
      tenantId: () => TENANT,
    },
  },
  [ROLE_ASSIGNMENT]: {
    noun: "role assignment",
    required: ["scope", "roleAssignmentName", "roleDefinitionId", "principalId"],
    match: { roleAssignmentName: /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/ },
    oneOf: { principalType: ["User", "Group", "ServicePrincipal", "ForeignGroup", "Device"] },
    id: ({ inputs }) =>
      `${text(inputs["scope"])}/providers/Microsoft.Authorization/roleAssignments/${text(inputs["roleAssignmentName"])}`,
    exists: () => error(409, "RoleAssignmentExists", "The role assignment already exists."),
    replace: ["scope", "roleAssignmentName", "roleDefinitionId", "principalId", "principalType", "condition"],
    refs: {
      principalId: {
        type: IDENTITY,
        by: ["principalId"],
        only: (value) => value !== DEPLOYER,
        missing: (value) =>
          error(
            400,
            "PrincipalNotFound",
            `Principal ${value.replaceAll("-", "")} does not exist in the directory ${TENANT}.`,
          ),
        // Azure deletes an identity that roles are granted to without a word.
        mayGo: true,
      },
    },
    refuse: ({ inputs, objects }) => {
      const scope = text(inputs["scope"]);
      return /^\/subscriptions\/[^/]+$/.test(scope) || objects.some(({ id }) => id === scope)
        ? undefined
        : notFound(scope);
    },
    computed: { name: ({ inputs }) => text(inputs["roleAssignmentName"]) },
  },
  [CLUSTER]: {
    noun: "managed cluster",
    autoname: { property: "resourceName", longest: 63, separator: "" },
    required: ["resourceGroupName", "agentPoolProfiles", "agentPoolProfiles[*].name", "agentPoolProfiles[*].count"],
    match: {
      resourceName: /^[a-zA-Z0-9](?:[-_a-zA-Z0-9]{0,61}[a-zA-Z0-9])?$/,
      dnsPrefix: /^[a-zA-Z0-9](?:[-a-zA-Z0-9]{0,52}[a-zA-Z0-9])?$/,
      "agentPoolProfiles[*].name": /^[a-z][a-z0-9]{0,11}$/,
    },
    oneOf: {
      "sku.name": ["Base", "Automatic"],
      "sku.tier": ["Free", "Standard", "Premium"],
      "networkProfile.networkPlugin": ["azure", "kubenet", "none"],
      "networkProfile.networkPluginMode": ["overlay"],
      "networkProfile.networkDataplane": ["azure", "cilium"],
      "networkProfile.networkPolicy": ["none", "azure", "calico", "cilium"],
      "networkProfile.loadBalancerSku": ["standard", "basic"],
      "networkProfile.outboundType": [
        ...["loadBalancer", "userDefinedRouting", "managedNATGateway", "userAssignedNATGateway", "none"],
      ],
      "autoUpgradeProfile.upgradeChannel": ["rapid", "stable", "patch", "node-image", "none"],
      "autoUpgradeProfile.nodeOSUpgradeChannel": ["None", "Unmanaged", "NodeImage", "SecurityPatch"],
      "autoScalerProfile.expander": ["least-waste", "most-pods", "priority", "random"],
      "nodeResourceGroupProfile.restrictionLevel": ["Unrestricted", "ReadOnly"],
    },
    id: clusterId,
    exists,
    quota: "ManagedClusters",
    replace: [
      ...["resourceGroupName", "resourceName", "location", "dnsPrefix", "fqdnSubdomain", "nodeResourceGroup"],
      ...["diskEncryptionSetID", "extendedLocation"],
    ],
    settled: { location },
    refs: {
      resourceGroupName: inGroup,
      "agentPoolProfiles[*].vnetSubnetID": {
        ...byId(SUBNET),
        missing: (value) => error(400, "InvalidParameter", `VnetSubnetID '${value}' does not exist.`),
      },
      "identity.userAssignedIdentities[*]": {
        ...byId(IDENTITY),
        missing: (value) =>
          error(400, "FailedIdentityOperation", `The user assigned identity '${value}' does not exist.`),
      },
    },
    refuse: clusterRefused,
    computed: {
      ...named("resourceName"),
      fqdn: ({ controlPlane }) => new URL(controlPlane().server).host,
      privateFQDN: () => "",
      nodeResourceGroup: (context) =>
        `MC_${text(context.inputs["resourceGroupName"])}_${text(context.inputs["resourceName"])}_${location(context)}`,
      resourceUID: ({ serial }) => digest(`cluster ${serial}`).slice(0, 24),
      maxAgentPools: () => 100,
    },
    derived: { currentKubernetesVersion: clusterVersion, powerState: () => ({ code: "Running" }) },
  },
  [POOL]: {
    noun: "agent pool",
    autoname: { property: "agentPoolName", longest: 12, separator: "" },
    required: ["resourceGroupName", "resourceName", "count"],
    match: { agentPoolName: /^[a-z][a-z0-9]{0,11}$/ },
    oneOf: {
      mode: ["System", "User", "Gateway"],
      osSKU: ["Ubuntu", "AzureLinux", "Ubuntu2204", "Ubuntu2404"],
      osDiskType: ["Managed", "Ephemeral"],
    },
    id: poolId,
    exists,
    quota: "AgentPools",
    replace: [
      ...["resourceGroupName", "resourceName", "agentPoolName", "vmSize", "osDiskSizeGB", "osDiskType", "osType"],
      ...["availabilityZones", "vnetSubnetID", "podSubnetID", "maxPods", "type", "enableFIPS", "scaleSetPriority"],
    ],
    refs: {
      resourceGroupName: inGroup,
      resourceName: inCluster,
      vnetSubnetID: {
        ...byId(SUBNET),
        missing: (value) => error(400, "InvalidParameter", `VnetSubnetID '${value}' does not exist.`),
      },
    },
    refuse: (context) => poolRefused(context.inputs, clusterOf(context), context.outputs["name"] === undefined),
    computed: { ...named("agentPoolName"), maxPods: () => 250 },
    derived: {
      currentOrchestratorVersion: (context) =>
        offered(text(context.inputs["orchestratorVersion"])) ??
        text(clusterOf(context)?.outputs["currentKubernetesVersion"]),
    },
  },
  [MAINTENANCE]: {
    noun: "maintenance configuration",
    required: [
      "resourceGroupName",
      "resourceName",
      "configName",
      "maintenanceWindow.durationHours",
      "maintenanceWindow.startTime",
    ],
    match: {
      "maintenanceWindow.startTime": /^([01]\d|2[0-3]):[0-5]\d$/,
      "maintenanceWindow.utcOffset": /^[+-]\d\d:\d\d$/,
    },
    oneOf: {
      configName: ["default", "aksManagedAutoUpgradeSchedule", "aksManagedNodeOSUpgradeSchedule"],
      "maintenanceWindow.schedule.weekly.dayOfWeek": [
        ...["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"],
      ],
    },
    id: within(
      "Microsoft.ContainerService",
      ["managedClusters", "resourceName"],
      ["maintenanceConfigurations", "configName"],
    ),
    exists,
    replace: ["resourceGroupName", "resourceName", "configName"],
    refs: { resourceGroupName: inGroup, resourceName: inCluster },
    refuse: ({ inputs }) => {
      const hours = part(inputs, "maintenanceWindow")["durationHours"];
      return typeof hours === "number" && (hours < 4 || hours > 24)
        ? error(400, "InvalidParameter", "The value of durationHours must be between 4 and 24.")
        : undefined;
    },
    computed: named("configName"),
  },
};

function clusterRefused(context: Context): string | undefined {
  const { inputs, outputs, objects, serial } = context;
  const other = objects.find((object) => object.type === CLUSTER && object.serial !== serial);
  if (other) {
    return (
      `the stand-in cloud has one control plane to hand out, the local engine's, and ${other.id} has it: ` +
      `this is a limit of the stand-in, not of Azure`
    );
  }
  const wanted = text(inputs["kubernetesVersion"]);
  if (wanted !== "" && offered(wanted) === undefined) {
    const message = `Managed cluster ${text(inputs["resourceName"])} is on version ${wanted}, which is not supported in this region.`;
    return error(400, "K8sVersionNotSupported", message);
  }
  const had = text(outputs["currentKubernetesVersion"]);
  if (had !== "" && wanted !== "" && minor(wanted) < minor(had)) {
    return error(400, "OperationNotAllowed", `Downgrading the control plane from ${had} to ${wanted} is not allowed.`);
  }
  const [now, before] = [part(inputs, "networkProfile"), part(outputs, "networkProfile")];
  for (const key of ["podCidr", "serviceCidr", "dnsServiceIP", "networkPlugin", "loadBalancerSku"])
    if (before[key] !== undefined && before[key] !== now[key])
      return error(400, "PropertyChangeNotAllowed", `Changing property 'networkProfile.${key}' is not allowed.`);
  const former = poolProfiles(outputs);
  for (const profile of poolProfiles(inputs)) {
    const same = former.find(({ name }) => name === profile["name"]);
    for (const key of ["vmSize", "osDiskSizeGB", "osDiskType", "availabilityZones", "vnetSubnetID"])
      if (same && JSON.stringify(same[key]) !== JSON.stringify(profile[key]))
        return error(400, "PropertyChangeNotAllowed", `Changing property 'properties.${key}' is not allowed.`);
    const refused = poolRefused(profile, { inputs, outputs: { ...outputs, location: location(context) } }, !same);
    if (refused !== undefined) return refused;
  }
  return networkRefused(context);
}

/** A cluster in somebody's network needs the rights to that, and the way out that it is told of. */
function networkRefused({ inputs, objects, configuration }: Context): string | undefined {
  const identities = part(inputs, "identity")["userAssignedIdentities"];
  const own = objects.find(({ type, id }) => type === IDENTITY && Array.isArray(identities) && identities.includes(id));
  const group = groupId({ configuration }, inputs["resourceGroupName"]);
  const may = objects.some(
    ({ type, inputs: role }) =>
      type === ROLE_ASSIGNMENT && role["principalId"] === own?.outputs["principalId"] && role["scope"] === group,
  );
  const [{ vnetSubnetID } = {}] = poolProfiles(inputs);
  if (vnetSubnetID !== undefined && !may) {
    const message = `The identity of the cluster lacks Microsoft.Network/virtualNetworks/subnets/join/action over ${text(vnetSubnetID)}.`;
    return error(400, "CustomVnetPermissionMissing", message);
  }
  const subnet = objects.find(({ type, id }) => type === SUBNET && id === vnetSubnetID);
  const outbound = part(inputs, "networkProfile")["outboundType"];
  return outbound === "userAssignedNATGateway" && !subnet?.inputs["natGateway"]
    ? error(400, "InvalidParameter", "OutboundType userAssignedNATGateway needs a subnet with a NAT gateway.")
    : undefined;
}

/** What AKS has against a pool, of a cluster or of its own. */
function poolRefused(
  pool: Properties,
  cluster: Pick<CloudObject, "inputs" | "outputs"> | undefined,
  isNew: boolean,
): string | undefined {
  const number = (key: string): number => Number(pool[key]);
  const isWithin = number("minCount") <= number("count") && number("count") <= number("maxCount");
  // Of a pool that is there the count is not asked again: https://github.com/Azure/AKS/issues/1758
  if (pool["enableAutoScaling"] === true && isNew && !isWithin) {
    const bounds = `minCount ${number("minCount")} and maxCount ${number("maxCount")}`;
    return error(400, "InvalidParameter", `The count ${number("count")} of the agent pool is not between ${bounds}.`);
  }
  const wanted = text(pool["orchestratorVersion"]);
  const master =
    offered(text(cluster?.inputs["kubernetesVersion"])) ?? text(cluster?.outputs["currentKubernetesVersion"]);
  if (wanted !== "" && master !== "" && minor(wanted) > minor(master)) {
    const message = `Node pool version ${wanted} and control plane version ${master} are incompatible.`;
    return error(400, "NodePoolMcVersionIncompatible", message);
  }
  const [machine, at] = [text(pool["vmSize"]), text(cluster?.outputs["location"])];
  if (machine === "" || (MACHINE.test(machine) && SCARCE[at]?.test(machine) !== true)) return undefined;
  const message = `The VM size of ${machine} is not allowed in your subscription in location '${at}'.`;
  return error(400, "BadRequest", message);
}

function poolProfiles(properties: Properties): Properties[] {
  const profiles = properties["agentPoolProfiles"];
  return Array.isArray(profiles) ? profiles.filter(isObject) : [];
}

function clusterOf({ inputs, objects }: Pick<Context, "inputs" | "objects">): CloudObject | undefined {
  return objects.find(({ type, outputs }) => type === CLUSTER && outputs["name"] === inputs["resourceName"]);
}

/** The version of the control plane: what is asked for, what it was, or what AKS gives. */
function clusterVersion({ inputs, outputs }: Context): string {
  return offered(text(inputs["kubernetesVersion"])) ?? (text(outputs["currentKubernetesVersion"]) || VERSIONS[0] || "");
}

/** The version that a whole or shortened one, as `1.35`, stands for. */
function offered(wanted: string): string | undefined {
  return wanted === "" ? undefined : VERSIONS.find((version) => version === wanted || version.startsWith(`${wanted}.`));
}

function minor(version: string): number {
  return Number(/^\d+\.(\d+)/.exec(version)?.[1] ?? 0);
}

/** The lowest address that nobody has, of the range that RFC 5737 keeps for documentation. */
function freeAddress({ objects }: Context): string {
  const taken = new Set(objects.map(({ outputs }) => outputs["ipAddress"]));
  for (let last = 1; last < 255; last++) {
    if (!taken.has(`192.0.2.${last}`)) return `192.0.2.${last}`;
  }
  throw new Error("the stand-in cloud has no address left of 192.0.2.0/24");
}

const functions: CloudTable["functions"] = {
  "azure-native:authorization:getClientConfig": (_, { configuration, visible }) => ({
    clientId: "c1000000-0000-0000-0000-000000000000",
    objectId: DEPLOYER,
    tenantId: TENANT,
    subscriptionId: subscription(configuration) || (visible?.[0] ?? DEFAULT_SUBSCRIPTION),
  }),
  "azure-native:containerservice:getManagedCluster": (args, call) => {
    const id = `${groupId(call, args["resourceGroupName"])}/providers/Microsoft.ContainerService/managedClusters/${text(args["resourceName"])}`;
    if (call.planning) {
      // As a cluster would be that can carry workspaces, at an address of nobody's (RFC 5737).
      const there = { fqdn: "192.0.2.1", privateFQDN: "", networkProfile: { networkPolicy: "cilium" } };
      return { id, name: text(args["resourceName"]), ...there, aadProfile: { managed: true }, sku: { name: "Base" } };
    }
    const found = call.objects.find((object) => object.type === CLUSTER && object.id === id);
    if (!found) throw new Error(notFound(id));
    return { ...found.outputs, id };
  },
  "azure-native:containerservice:listManagedClusterUserCredentials": (args, call) => {
    const id = `${groupId(call, args["resourceGroupName"])}/providers/Microsoft.ContainerService/managedClusters/${text(args["resourceName"])}`;
    const found = call.objects.find((object) => object.type === CLUSTER && object.id === id);
    if (!found && !call.planning) throw new Error(notFound(id));
    const { server, ca } = call.planning ? { server: "https://192.0.2.1", ca: "" } : call.controlPlane();
    const authority = Buffer.from(ca).toString("base64");
    const user = { exec: { command: "kubelogin", args: ["get-token", "--login", "devicecode"] } };
    const kubeconfig = [
      ...["apiVersion: v1", "kind: Config", "clusters:", "- name: cluster", "  cluster:"],
      ...[`    certificate-authority-data: ${authority}`, `    server: ${server}`],
      ...["users:", `- name: clusterUser`, `  user: ${JSON.stringify(user)}`, ""],
    ].join("\n");
    return { kubeconfigs: [{ name: "clusterUser", value: Buffer.from(kubeconfig).toString("base64") }] };
  },
};

/** https://learn.microsoft.com/en-us/azure/aks/concepts-storage#storage-classes */
const storageClasses = [
  storageClass("default", "disk.csi.azure.com", "StandardSSD_LRS", true),
  storageClass("managed-csi", "disk.csi.azure.com", "StandardSSD_LRS"),
  storageClass("managed-csi-premium", "disk.csi.azure.com", "Premium_LRS"),
  storageClass("azurefile-csi", "file.csi.azure.com", "Standard_LRS"),
  storageClass("azurefile-csi-premium", "file.csi.azure.com", "Premium_LRS"),
];

function storageClass(called: string, provisioner: string, skuName: string, isDefault = false): Properties {
  return {
    apiVersion: "storage.k8s.io/v1",
    kind: "StorageClass",
    metadata: {
      name: called,
      ...(isDefault ? { annotations: { "storageclass.kubernetes.io/is-default-class": "true" } } : {}),
    },
    provisioner,
    parameters: { skuName },
    reclaimPolicy: "Delete",
    volumeBindingMode: provisioner.startsWith("disk") ? "WaitForFirstConsumer" : "Immediate",
    allowVolumeExpansion: true,
  };
}

const anything = { type: "object", "x-kubernetes-preserve-unknown-fields": true };
const rules = { type: "array", items: anything };
const strings = { type: "array", items: { type: "string" } };

/** Without `x-kubernetes-preserve-unknown-fields`: the API server drops a word that is none. */
const endpointSelector = {
  type: "object",
  properties: {
    matchExpressions: {
      type: "array",
      items: {
        type: "object",
        required: ["key", "operator"],
        properties: {
          key: { type: "string" },
          operator: { type: "string", enum: ["In", "NotIn", "Exists", "DoesNotExist"] },
          values: strings,
        },
      },
    },
    matchLabels: { type: "object", additionalProperties: { type: "string", maxLength: 63 } },
  },
};

const egressDeny = {
  type: "array",
  items: {
    type: "object",
    properties: {
      toCIDR: {
        type: "array",
        items: {
          type: "string",
          pattern: "^([0-9]{1,3}([.][0-9]{1,3}){3}/([12]?[0-9]|3[0-2])|[0-9A-Fa-f]*:[0-9A-Fa-f:.]*/[0-9]{1,3})$",
        },
      },
      ...{ toCIDRSet: rules, toEndpoints: rules, toEntities: strings, toGroups: rules, toNodes: rules },
      ...{ toPorts: rules, toRequires: rules, toServices: rules, icmps: rules },
    },
  },
};

/**
 * As much of Cilium's definition as sees a word that is none in a policy that denies pods what they may reach: one in
 * `endpointSelector`, `egressDeny` or `enableDefaultDeny` is dropped, a value that is none is refused. The other rules, and
 * what is in `egressDeny` beside `toCIDR`, are whatever they are.
 * https://github.com/cilium/cilium/blob/v1.18.6/pkg/k8s/apis/cilium.io/client/crds/v2/ciliumclusterwidenetworkpolicies.yaml
 */
const clusterwidePolicies: Properties = {
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: "ciliumclusterwidenetworkpolicies.cilium.io" },
  spec: {
    group: "cilium.io",
    scope: "Cluster",
    names: {
      kind: "CiliumClusterwideNetworkPolicy",
      listKind: "CiliumClusterwideNetworkPolicyList",
      plural: "ciliumclusterwidenetworkpolicies",
      singular: "ciliumclusterwidenetworkpolicy",
      shortNames: ["ccnp"],
    },
    versions: [
      {
        ...{ name: "v2", served: true, storage: true },
        schema: {
          openAPIV3Schema: {
            type: "object",
            properties: {
              spec: {
                type: "object",
                oneOf: [{ required: ["endpointSelector"] }, { required: ["nodeSelector"] }],
                properties: {
                  ...{ description: { type: "string" }, endpointSelector, nodeSelector: anything },
                  ...{ ingress: rules, ingressDeny: rules, egress: rules, egressDeny },
                  enableDefaultDeny: {
                    type: "object",
                    properties: { ingress: { type: "boolean" }, egress: { type: "boolean" } },
                  },
                },
              },
            },
          },
        },
      },
    ],
  },
};

/** Azure, as far as the program needs it. */
export const azureNative: CloudTable = {
  name: "azure-native",
  types,
  functions,
  partition: (configuration) => subscription(configuration),
  noPartition: {
    property: "subscriptionId",
    reason: "subscription ID is not set. Set it with `pulumi config set azure-native:subscriptionId <id>`",
  },
  forbidden: (partition) =>
    error(
      403,
      "AuthorizationFailed",
      `The client with object id '${DEPLOYER}' does not have authorization over scope '/subscriptions/${partition}'.`,
    ),
  inUse: (noun, id, user) =>
    error(409, "InUseResourceCannotBeDeleted", `The ${noun} ${id} is in use by ${user}, and cannot be deleted.`),
  quotaExceeded: (quota, limit) =>
    error(
      409,
      "QuotaExceeded",
      `Operation could not be completed as it exceeds the quota of ${quota}. Current limit: ${limit}.`,
    ),
  notFound,
  cluster: {
    type: CLUSTER,
    nodes: POOL,
    loadBalancersHold: [],
    born: () => [...storageClasses, clusterwidePolicies],
  },
  addresses: {
    type: ADDRESS,
    by: ["ipAddress", "name"],
    // https://cloud-provider-azure.sigs.k8s.io/topics/loadbalancer/#loadbalancer-annotations
    asked: (service) => {
      const annotations = part(part(service, "metadata"), "annotations");
      return [
        text(annotations["service.beta.kubernetes.io/azure-load-balancer-ipv4"]),
        text(annotations["service.beta.kubernetes.io/azure-pip-name"]),
        text(part(service, "spec")["loadBalancerIP"]),
      ].filter((value) => value !== "");
    },
  },
  loadBalancerName: ({ partition, namespace, name, uid }) =>
    `/subscriptions/${partition}/resourceGroups/MC/providers/Microsoft.Network/loadBalancers/kubernetes/` +
    `frontendIPConfigurations/a${uid.replaceAll("-", "")} of Service '${namespace}/${name}'`,
};

function digest(of: string): string {
  return createHash("sha256").update(of).digest("hex");
}

/** Always the same for the same text. */
function uuid(of: string): string {
  return digest(of).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12}).*$/, "$1-$2-$3-$4-$5");
}

function text(value: Value | undefined): string {
  return typeof value === "string" ? value : "";
}
