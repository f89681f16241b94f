import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { project } from "../../local/stack";
import type { CloudAccount } from "../support/cloud-account";
import { asksForNoMore, type CloudStack, comesToLife, isTakenDown, startCloud, told } from "../support/cloud-suite";
import { life } from "../support/lives/aks";

const network = "Microsoft.Network";
const aks = "Microsoft.ContainerService";
const operations = (provider: string) => [
  `${provider}/locations/operations/read`,
  `${provider}/locations/operation${provider === network ? "R" : "r"}esults/read`,
];

/** What each call that changes a type takes, beside what its kind has for itself. */
const beside: Readonly<Record<string, readonly string[]>> = {
  "azure-native:authorization:RoleAssignment": [],
  "azure-native:containerservice:AgentPool": [`${network}/virtualNetworks/subnets/join/action`, ...operations(aks)],
  "azure-native:containerservice:MaintenanceConfiguration": [],
  "azure-native:containerservice:ManagedCluster": [
    ...[`${network}/virtualNetworks/subnets/join/action`, ...operations(aks)],
    "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action",
  ],
  "azure-native:managedidentity:UserAssignedIdentity": [],
  "azure-native:network:NatGateway": [`${network}/publicIPAddresses/join/action`, ...operations(network)],
  "azure-native:network:PublicIPAddress": operations(network),
  "azure-native:network:Subnet": [`${network}/natGateways/join/action`, ...operations(network)],
  "azure-native:network:VirtualNetwork": operations(network),
  "azure-native:resources:ResourceGroup": ["Microsoft.Resources/subscriptions/operationresults/read"],
};

const kinds: Readonly<Record<string, string>> = {
  "azure-native:authorization:RoleAssignment": "Microsoft.Authorization/roleAssignments",
  "azure-native:containerservice:AgentPool": `${aks}/managedClusters/agentPools`,
  "azure-native:containerservice:MaintenanceConfiguration": `${aks}/managedClusters/maintenanceConfigurations`,
  "azure-native:containerservice:ManagedCluster": `${aks}/managedClusters`,
  "azure-native:managedidentity:UserAssignedIdentity": "Microsoft.ManagedIdentity/userAssignedIdentities",
  "azure-native:network:NatGateway": `${network}/natGateways`,
  "azure-native:network:PublicIPAddress": `${network}/publicIPAddresses`,
  "azure-native:network:Subnet": `${network}/virtualNetworks/subnets`,
  "azure-native:network:VirtualNetwork": `${network}/virtualNetworks`,
  "azure-native:resources:ResourceGroup": "Microsoft.Resources/subscriptions/resourceGroups",
};

/** Azure's API is asked alike for everything: https://learn.microsoft.com/en-us/azure/role-based-access-control/resource-provider-operations */
const permissions: Readonly<Record<string, readonly string[]>> = {
  "invoke azure-native:authorization:getClientConfig": [],
  "invoke azure-native:containerservice:listManagedClusterUserCredentials": [
    `${aks}/managedClusters/listClusterUserCredential/action`,
  ],
  ...Object.fromEntries(
    Object.entries(kinds).flatMap(([type, kind]) => [
      [`create ${type}`, [`${kind}/read`, `${kind}/write`, ...(beside[type] ?? [])]],
      [`update ${type}`, [`${kind}/read`, `${kind}/write`, ...(beside[type] ?? [])]],
      [`read ${type}`, [`${kind}/read`]],
      [`delete ${type}`, [`${kind}/read`, `${kind}/delete`]],
    ]),
  ),
};

describe("A stack on AKS, on a stand-in account", () => {
  let engine: CloudStack;
  let account: CloudAccount;

  before(async function () {
    this.timeout(3_600_000);
    engine = await startCloud(life);
    ({ account } = engine);
  });

  after(async () => {
    await engine.stop();
  });

  comesToLife(() => engine, life);

  it("denies pods the metadata service by a policy that the cluster has taken", async () => {
    const [policy] = await engine.get<{ spec: { egressDeny: unknown } }[]>("ciliumclusterwidenetworkpolicies");
    assert.deepEqual(policy!.spec.egressDeny, [{ toCIDR: ["169.254.169.254/32"] }]);
  });

  it("takes the number of nodes, version, tags, ranges of the API, administrators and windows in place", async () => {
    const changes = {
      nodes: { machineType: "Standard_D4s_v5", min: 2, max: 9, diskGiB: 128 },
      labels: { team: "other" },
      kubernetesVersion: "1.36",
      apiCidrs: ["198.51.100.0/24"],
      admins: ["aaaaaaaa-0000-0000-0000-000000000000"],
      maintenance: { day: "sunday", hour: 3, hours: 12 },
    };
    const done = await engine.withCluster(changes, () => engine.up());
    assert.deepEqual(told(done), [
      "update azure-native:containerservice:AgentPool workspaces",
      "update azure-native:containerservice:MaintenanceConfiguration workspaces-aksManagedAutoUpgradeSchedule",
      "update azure-native:containerservice:MaintenanceConfiguration workspaces-aksManagedNodeOSUpgradeSchedule",
      "update azure-native:containerservice:ManagedCluster workspaces",
      "update azure-native:managedidentity:UserAssignedIdentity workspaces",
      "update azure-native:network:NatGateway workspaces",
      "update azure-native:network:PublicIPAddress workspaces",
      "update azure-native:network:PublicIPAddress workspaces-outbound",
      "update azure-native:network:VirtualNetwork workspaces",
      "update azure-native:resources:ResourceGroup workspaces",
    ]);
    const { objects, loadBalancers } = await account.content();
    const { outputs } = objects.find(({ type }) => type === "azure-native:containerservice:ManagedCluster")!;
    assert.equal(outputs["currentKubernetesVersion"], "1.36.1");
    assert.equal(loadBalancers.length, 1);
    const kept = objects.find(({ id }) => loadBalancers[0]!.holds.includes(id));
    assert.match(kept?.id ?? "", /\/publicIPAddresses\/workspaces(?!-outbound)/, "it keeps the address in use");
    // Whoever takes the version out again leaves it to the channel.
    assert.deepEqual([...new Set((await engine.up()).map(({ op }) => op))], ["update"], "and back again");
    const after_ = (await account.content()).objects;
    const same = after_.find(({ type }) => type === "azure-native:containerservice:ManagedCluster")!;
    assert.equal(same.outputs["currentKubernetesVersion"], "1.36.1");
  });

  it("is replaced by what its guide names, and protection stops that in the preview; Azure refuses other ranges", async () => {
    await engine.withCluster({ protect: true }, () => engine.up());
    const before = (await account.content()).objects;
    const protect = await engine.withCluster({ name: "another", protect: true }, () => engine.fails(["up", "--yes"]));
    assert.match(protect, /(unable to replace|cannot be deleted)[^]*protect/);
    assert.deepEqual((await account.content()).objects, before);
    const pods = { network: { nodes: "10.0.0.0/20", pods: "10.12.0.0/14", services: "10.8.0.0/20" } };
    const refused = await engine.withCluster({ ...pods, protect: true }, () =>
      engine.fails(["up", "--yes", "--skip-preview"]),
    );
    assert.match(refused, /Changing property 'networkProfile.podCidr' is not allowed/);
    assert.deepEqual((await account.content()).objects, before);
  });

  it("is told that the subscription of its credentials is another one, before anything is asked for", async () => {
    const before = await account.content();
    const config = await readFile(engine.engine.stackConfig, "utf8");
    await engine.pulumi(["config", "rm", "azure-native:subscriptionId"]);
    await account.behave({ projects: ["11111111-0000-0000-0000-000000000000"] });
    const all = await engine.fails(["preview"]);
    assert.match(all, /works in the Azure subscription 11111111-\S+, and cluster.account says 00000000-/);
    assert.match(all, /Nothing was created\./);
    assert.doesNotMatch(all, /^\s+at /m);
    assert.deepEqual(await account.content(), before);
    await account.behave({});
    await writeFile(engine.engine.stackConfig, config);
  });

  it("is told which key it was when the region has no machines of a type, and keeps what is there", async () => {
    const nodes = { machineType: "Standard_Z4s_v9", min: 1, max: 5, diskGiB: 128 };
    const before = await engine.inAccount();
    const all = await engine.withCluster({ nodes }, () => engine.fails(["up", "--yes", "--skip-preview"]));
    assert.match(all, /The VM size of Standard_Z4s_v9 is not allowed in your subscription in location 'westeurope'/);
    assert.match(all, /no machines of cluster.nodes.machineType, Standard_Z4s_v9, in westeurope/);
    assert.match(all, /az vm list-skus --location westeurope/);
    assert.deepEqual(await engine.inAccount(), before);
  });

  isTakenDown(() => engine, life, "azure-native:containerservice:ManagedCluster");

  asksForNoMore(
    () => engine,
    "docs/permissions/aks.json",
    permissions,
    async () => {
      const text = await readFile(join(project, "docs", "permissions", "aks.json"), "utf8");
      return (JSON.parse(text) as { Actions: string[] }).Actions;
    },
  );
});
