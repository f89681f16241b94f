import assert from "node:assert/strict";
import * as authorization from "@pulumi/azure-native/authorization";
import * as containerservice from "@pulumi/azure-native/containerservice";
import * as managedidentity from "@pulumi/azure-native/managedidentity";
import * as azureNetwork from "@pulumi/azure-native/network";
import * as resources from "@pulumi/azure-native/resources";
import { Ajv } from "ajv";
import { azureNative as table } from "../../../local/plugins/cloud/azure-native";
import type { Properties, Provider } from "../../../local/plugins/provider";
import {
  authority,
  checked,
  compared,
  deleted,
  loadBalancerService,
  type Made,
  made,
  StandInCloud,
  updated,
} from "../../support/cloud";

const subscription = "00000000-0000-0000-0000-000000000000";
const group = "azure-native:resources:ResourceGroup";
const network = "azure-native:network:VirtualNetwork";
const subnet = "azure-native:network:Subnet";
const address = "azure-native:network:PublicIPAddress";
const nat = "azure-native:network:NatGateway";
const identity = "azure-native:managedidentity:UserAssignedIdentity";
const role = "azure-native:authorization:RoleAssignment";
const cluster = "azure-native:containerservice:ManagedCluster";
const pool = "azure-native:containerservice:AgentPool";
const maintenance = "azure-native:containerservice:MaintenanceConfiguration";

const configuration = { subscriptionId: subscription, location: "westeurope" };

let cloud: StandInCloud;
let provider: Provider;
let services: Properties[];
let born: readonly Properties[];
beforeEach(async () => {
  [services, born] = [[], []];
  const furnish = (objects: readonly Properties[]) => {
    born = objects;
    return Promise.resolve();
  };
  cloud = new StandInCloud({ observe: () => Promise.resolve({ services, volumes: [] }), furnish }, undefined, table);
  provider = await cloud.provider(configuration);
});
afterEach(() => {
  cloud.remove();
});

const within = { resourceGroupName: "rg" };
const standard = { ...within, sku: { name: "Standard" }, publicIPAllocationMethod: "Static" };

interface Definition {
  readonly spec: { readonly versions: readonly { readonly schema: { readonly openAPIV3Schema: Properties } }[] };
}

interface Landscape {
  readonly rg: Made;
  readonly net: Made;
  readonly outbound: Made;
  readonly gateway: Made;
  readonly nodes: Made;
  readonly own: Made;
  readonly may: Made;
}

/** Everything before the cluster. */
async function landscape(): Promise<Landscape> {
  const rg = await made(provider, group, within);
  const net = await made(provider, network, {
    ...{ ...within, virtualNetworkName: "net" },
    addressSpace: { addressPrefixes: ["10.0.0.0/20"] },
  });
  const outbound = await made(provider, address, { ...standard, publicIpAddressName: "outbound" });
  const gateway = await made(provider, nat, {
    ...{ ...within, natGatewayName: "nat" },
    publicIpAddresses: [{ id: outbound.id }],
  });
  const nodes = await made(provider, subnet, {
    ...{ ...within, virtualNetworkName: "net", subnetName: "nodes", addressPrefix: "10.0.0.0/20" },
    natGateway: { id: gateway.id },
  });
  const own = await made(provider, identity, { ...within, resourceName: "own" });
  const may = await made(provider, role, {
    ...{ scope: rg.id, roleAssignmentName: subscription, roleDefinitionId: "network-contributor" },
    principalId: own.outputs["principalId"]!,
  });
  return { rg, net, outbound, gateway, nodes, own, may };
}

const clusterInputs = ({ nodes, own }: Landscape, more: Properties = {}, profile: Properties = {}): Properties => ({
  ...{ ...within, resourceName: "ws", dnsPrefix: "ws" },
  identity: { type: "UserAssigned", userAssignedIdentities: [own.id] },
  networkProfile: { outboundType: "userAssignedNATGateway", podCidr: "10.4.0.0/14" },
  agentPoolProfiles: [{ name: "system", count: 1, vmSize: "Standard_D2s_v5", vnetSubnetID: nodes.id, ...profile }],
  ...more,
});

const poolInputs = (more: Properties = {}): Properties => ({
  ...{ ...within, resourceName: "ws", agentPoolName: "workers", vmSize: "Standard_D4s_v5" },
  ...{ enableAutoScaling: true, count: 1, minCount: 1, maxCount: 5 },
  ...more,
});

const invoke = (token: string, args: Properties): Promise<Properties> => provider.invoke!(token, args);

describe("the stand-in Azure", () => {
  it("knows every type by the name that the SDK has for it", () => {
    const sdk = [
      ...[resources.ResourceGroup, azureNetwork.VirtualNetwork, azureNetwork.Subnet, azureNetwork.NatGateway],
      ...[azureNetwork.PublicIPAddress, managedidentity.UserAssignedIdentity, authorization.RoleAssignment],
      ...[containerservice.ManagedCluster, containerservice.AgentPool, containerservice.MaintenanceConfiguration],
    ] as unknown as { readonly __pulumiType: string }[];
    assert.deepEqual(Object.keys(table.types).sort(), sdk.map(({ __pulumiType }) => __pulumiType).sort());
  });

  it("names things as Azure does", async () => {
    const all = await landscape();
    const ws = await made(provider, cluster, clusterInputs(all));
    const workers = await made(provider, pool, poolInputs());
    const at = `/subscriptions/${subscription}/resourceGroups/rg`;
    const ids = [...Object.values(all as unknown as Record<string, Made>), ws, workers].map(({ id }) => id);
    assert.deepEqual(ids, [
      at,
      `${at}/providers/Microsoft.Network/virtualNetworks/net`,
      `${at}/providers/Microsoft.Network/publicIPAddresses/outbound`,
      `${at}/providers/Microsoft.Network/natGateways/nat`,
      `${at}/providers/Microsoft.Network/virtualNetworks/net/subnets/nodes`,
      `${at}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/own`,
      `${at}/providers/Microsoft.Authorization/roleAssignments/${subscription}`,
      `${at}/providers/Microsoft.ContainerService/managedClusters/ws`,
      `${at}/providers/Microsoft.ContainerService/managedClusters/ws/agentPools/workers`,
    ]);
  });

  it("gives names without a separator, and lets nobody see one before the thing is there", async () => {
    const { inputs } = await checked(provider, group, {}, { name: "workspaces" });
    assert.match(JSON.stringify(inputs["resourceGroupName"]), /^"workspaces[0-9a-f]{7}"$/);
    const preview = await provider.create({ urn: "urn", type: group, name: "workspaces", inputs, preview: true });
    assert.notEqual(preview.properties["name"], inputs["resourceGroupName"]);
  });

  it("makes nothing without a subscription or a location, or where there is none", async () => {
    provider = await cloud.provider({ location: "westeurope" });
    assert.match(JSON.stringify((await checked(provider, group, within)).failures), /subscription ID is not set/);
    provider = await cloud.provider({ subscriptionId: subscription });
    assert.match(JSON.stringify((await checked(provider, group, within)).failures), /location: required field/);
    provider = await cloud.provider({ ...configuration, location: "atlantis" });
    await assert.rejects(made(provider, group, within), /LocationNotAvailableForResourceGroup/);
  });

  it("makes nothing in a group that is not there, and takes no group away that is not empty", async () => {
    await assert.rejects(made(provider, address, standard), /ResourceGroupNotFound/);
    const { rg, outbound, gateway, nodes } = await landscape();
    await assert.rejects(deleted(provider, rg), /InUseResourceCannotBeDeleted/);
    await assert.rejects(deleted(provider, outbound), /in use by .*natGateways\/nat/);
    await assert.rejects(deleted(provider, gateway), /in use by .*subnets\/nodes/);
    await deleted(provider, nodes);
    await deleted(provider, gateway);
    await deleted(provider, outbound);
  });

  it("gives rights to nobody who is not there, over nothing that is not there, and once", async () => {
    const { rg, own } = await landscape();
    const grant = (more: Properties): Promise<Made> =>
      made(provider, role, {
        ...{ scope: rg.id, roleAssignmentName: subscription.replace("0", "1"), roleDefinitionId: "reader" },
        ...{ principalId: own.outputs["principalId"]!, ...more },
      });
    await assert.rejects(grant({ principalId: subscription }), /PrincipalNotFound/);
    await assert.rejects(grant({ scope: `${rg.id}x` }), /ResourceNotFound/);
    await assert.rejects(grant({ roleAssignmentName: subscription }), /RoleAssignmentExists/);
    const { objectId } = await invoke("azure-native:authorization:getClientConfig", {});
    const given = await grant({ principalId: objectId! });
    const changed = await compared(provider, given, { ...given.inputs, principalId: "somebody" });
    assert.equal(changed.changes.get("principalId")?.replace, true);
  });

  it("tells of a subscription that only the credentials name", async () => {
    provider = await cloud.provider({});
    cloud.behave({ projects: ["elsewhere"] });
    assert.equal((await invoke("azure-native:authorization:getClientConfig", {}))["subscriptionId"], "elsewhere");
  });

  it("deletes no address that a load balancer has", async () => {
    const all = await landscape();
    const kept = await made(provider, address, { ...standard, publicIpAddressName: "kept" });
    await made(provider, cluster, clusterInputs(all));
    await made(provider, pool, poolInputs());
    services = [
      loadBalancerService(
        "traefik",
        {},
        {
          "service.beta.kubernetes.io/azure-load-balancer-ipv4": kept.outputs["ipAddress"]!,
        },
      ),
    ];
    await assert.rejects(deleted(provider, kept), /in use by .*of Service 'ingress\/traefik'/);
    services = [];
    await deleted(provider, kept);
  });
});

describe("the stand-in AKS", () => {
  it("makes no cluster in a network that it may not use, or without the way out that it is told of", async () => {
    const all = await landscape();
    await deleted(provider, all.may);
    await assert.rejects(made(provider, cluster, clusterInputs(all)), /CustomVnetPermissionMissing/);
    const { own } = all;
    await made(provider, role, { ...all.may.inputs, principalId: own.outputs["principalId"]! });
    await updated(provider, all.nodes, { ...all.nodes.inputs, natGateway: null });
    await assert.rejects(made(provider, cluster, clusterInputs(all)), /needs a subnet with a NAT gateway/);
  });

  it("has machines that it has, where it has them, and no others", async () => {
    const all = await landscape();
    await assert.rejects(
      made(provider, cluster, clusterInputs(all, {}, { vmSize: "Standard_Z4s_v9" })),
      /The VM size of Standard_Z4s_v9 is not allowed in your subscription in location 'westeurope'/,
    );
    await assert.rejects(made(provider, cluster, clusterInputs(all, { location: "westindia" })), /'westindia'/);
    await made(provider, cluster, clusterInputs(all));
    await assert.rejects(made(provider, pool, poolInputs({ vmSize: "large" })), /The VM size of large/);
    await assert.rejects(made(provider, pool, poolInputs({ count: 6 })), /is not between minCount 1 and maxCount 5/);
  });

  it("gives the version that is asked for, raises it in place, and never lowers it", async () => {
    const all = await landscape();
    const ws = await made(provider, cluster, clusterInputs(all));
    assert.equal(ws.outputs["currentKubernetesVersion"], "1.35.4");
    const raised = await updated(provider, ws, clusterInputs(all, { kubernetesVersion: "1.36" }));
    assert.equal(raised.outputs["currentKubernetesVersion"], "1.36.1");
    await assert.rejects(
      updated(provider, raised, clusterInputs(all, { kubernetesVersion: "1.35" })),
      /Downgrading the control plane from 1\.36\.1 to 1\.35/,
    );
    await assert.rejects(
      updated(provider, raised, clusterInputs(all, { kubernetesVersion: "1.20" })),
      /K8sVersionNotSupported/,
    );
    await made(provider, pool, poolInputs({ orchestratorVersion: "1.36" }));
    await assert.rejects(
      made(provider, pool, poolInputs({ agentPoolName: "newer", orchestratorVersion: "1.37" })),
      /NodePoolMcVersionIncompatible/,
    );
  });

  it("replaces a cluster for its place and name, refuses what it never changes, and changes the rest", async () => {
    const all = await landscape();
    const ws = await made(provider, cluster, clusterInputs(all));
    const { changes } = await compared(provider, ws, clusterInputs(all, { location: "northeurope", dnsPrefix: "b" }));
    assert.deepEqual(
      [...changes.values()].map(({ replace }) => replace),
      [true, true],
    );
    const other = { outboundType: "userAssignedNATGateway", podCidr: "10.12.0.0/14" };
    await assert.rejects(
      updated(provider, ws, clusterInputs(all, { networkProfile: other })),
      /Changing property 'networkProfile.podCidr' is not allowed/,
    );
    await assert.rejects(
      updated(provider, ws, clusterInputs(all, {}, { vmSize: "Standard_D4s_v5" })),
      /Changing property 'properties.vmSize' is not allowed/,
    );
    const tagged = await compared(provider, ws, clusterInputs(all, { tags: { team: "a" } }));
    assert.deepEqual(
      [...tagged.changes.values()].map(({ replace }) => replace),
      [false],
    );
  });

  it("replaces a pool for other machines, and changes their number in place", async () => {
    const all = await landscape();
    await made(provider, cluster, clusterInputs(all));
    const workers = await made(provider, pool, poolInputs());
    const replaced = async (more: Properties): Promise<unknown> =>
      [...(await compared(provider, workers, poolInputs(more))).changes.values()].map(({ replace }) => replace);
    assert.deepEqual(await replaced({ vmSize: "Standard_D8s_v5" }), [true]);
    assert.deepEqual(await replaced({ osDiskSizeGB: 256 }), [true]);
    assert.deepEqual(await replaced({ maxCount: 9 }), [false]);
  });

  it("takes maintenance windows by the names that it knows, of four hours or more", async () => {
    await made(provider, cluster, clusterInputs(await landscape()));
    const window = (configName: string, durationHours: number) =>
      made(provider, maintenance, {
        ...{ ...within, resourceName: "ws", configName },
        maintenanceWindow: { durationHours, startTime: "01:00" },
      });
    await assert.rejects(window("mine", 8), /expected configName to be one of/);
    await assert.rejects(window("aksManagedAutoUpgradeSchedule", 3), /must be between 4 and 24/);
    await window("aksManagedAutoUpgradeSchedule", 8);
  });

  it("has a policy of Cilium's lose every word that is none, and refuses values that are none", async () => {
    await made(provider, cluster, clusterInputs(await landscape()));
    const { spec } = born.find(({ kind }) => kind === "CustomResourceDefinition") as unknown as Definition;
    // As an API server prunes.
    const isValid = new Ajv({ strict: false, removeAdditional: "all" }).compile(
      spec.versions[0]!.schema.openAPIV3Schema,
    );
    const taken = (egressDeny: object, expression: object = {}, enableDefaultDeny: object = {}) => {
      const matchExpressions = [{ key: "a", operator: "NotIn", values: ["b"], ...expression }];
      const policy = { spec: { endpointSelector: { matchExpressions }, enableDefaultDeny, egressDeny: [egressDeny] } };
      return isValid(policy) && policy.spec;
    };
    const denied = { toCIDR: ["169.254.169.254/32", "fd00:ec2::254/128"] };
    const whole = taken(denied, {}, { egress: false, ingress: false });
    assert.deepEqual(whole, {
      endpointSelector: { matchExpressions: [{ key: "a", operator: "NotIn", values: ["b"] }] },
      enableDefaultDeny: { egress: false, ingress: false },
      egressDeny: [denied],
    });
    assert.deepEqual(taken({ ...denied, toCidr: ["x"] }, { value: ["x"] }, { egres: false }), {
      ...whole,
      enableDefaultDeny: {},
    });
    assert.equal(taken({ toCIDR: ["169.254.169.254"] }), false);
    assert.equal(taken(denied, { operator: "NotInn" }), false);
    assert.equal(taken(denied, {}, { egress: "false" }), false);
    assert.equal(isValid({ spec: { endpointSelectr: {}, egressDeny: [denied] } }), false);
  });

  it("hands out a kubeconfig with the authority of the local control plane, of a cluster that is there", async () => {
    const token = "azure-native:containerservice:listManagedClusterUserCredentials";
    await assert.rejects(invoke(token, { ...within, resourceName: "ws" }), /ResourceNotFound/);
    await made(provider, cluster, clusterInputs(await landscape()));
    const { kubeconfigs } = await invoke(token, { ...within, resourceName: "ws" });
    const [{ value }] = kubeconfigs as [{ value: string }];
    const text = Buffer.from(value, "base64").toString();
    assert.ok(text.includes(`certificate-authority-data: ${Buffer.from(authority).toString("base64")}`));
    assert.doesNotMatch(text, /client-key|token:/);
  });
});
