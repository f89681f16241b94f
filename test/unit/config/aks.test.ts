import assert from "node:assert/strict";
import { withCommands } from "../../support/commands";
import { faultsOf, load, smallestOn, useStack, withCluster, withSecrets } from "./stack";

const smallestAks = smallestOn("aks");
const account = "00000000-0000-0000-0000-000000000000";

/** One fault and no other. */
function fault(changes: Readonly<Record<string, unknown>>): string {
  const message = faultsOf(withCluster(changes, smallestAks));
  assert.match(message, /^1 fault /);
  return message.replaceAll(/\s+/g, " ");
}

/** What is wrong with other settings of the provider. */
function faultOf(others: Readonly<Record<string, string | undefined>>): string {
  const all = Object.entries({ ...smallestAks.others, ...others }).filter(
    (entry): entry is [string, string] => entry[1] !== undefined,
  );
  return faultsOf({ ...smallestAks, others: Object.fromEntries(all) }).replaceAll(/\s+/g, " ");
}

describe("the config of a cluster on AKS", () => {
  before(useStack);

  describe("with kubelogin on the PATH", () => {
    withCommands("kubelogin");

    it("is read with every default in its place", () => {
      assert.deepEqual(load(smallestAks).cluster, {
        ...{ cloud: "aks", name: "workspaces", account, existing: false, apiCidrs: ["192.0.2.0/24"] },
        ...{ allowPublicApi: false, admins: [], upgradeChannel: "stable", protect: true, labels: {} },
        nodes: { machineType: "Standard_D4s_v5", min: 1, max: 5, diskGiB: 128 },
        systemNodes: { machineType: "Standard_D2s_v5", min: 1, max: 3 },
        network: { nodes: "10.0.0.0/20", pods: "10.4.0.0/14", services: "10.8.0.0/20" },
        maintenance: { day: "saturday", hour: 1, hours: 8 },
      });
    });

    it("needs no kubeconfig, and refuses one that would never be read", () => {
      const message = faultsOf(withSecrets({ kubeconfig: "canary-kubeconfig" }, smallestAks));
      assert.match(message, /gitlab-workspaces:kubeconfig is set and not needed/);
    });

    it("refuses other clouds' keys by name", () => {
      for (const changes of [{ location: "westeurope" }, { releaseChannel: "REGULAR" }, { context: "a" }])
        assert.match(fault(changes), /gitlab-workspaces:cluster\.\w+ is not a key of this program/);
      assert.match(fault({ maintenance: { days: ["saturday"] } }), /cluster.maintenance.days is not a key/);
    });

    it("refuses a provider without a location, or with one by its display name", () => {
      assert.match(faultOf({ "azure-native:location": undefined }), /^1 fault .*azure-native:location is not set/);
      const named = faultOf({ "azure-native:location": "West Europe" });
      assert.match(named, /azure-native:location is "West Europe" It must be the name of an Azure region/);
      assert.match(named, /pulumi config set --stack dev azure-native:location westeurope/);
    });

    it("refuses a provider that takes its credentials from elsewhere than the kubeconfig's plugin", () => {
      for (const set of [undefined, "false"]) {
        const message = faultOf({ "azure-native:useDefaultAzureCredential": set });
        assert.match(message, /^1 fault .*It must be true: the provider then takes the same credentials/);
        assert.match(message, /pulumi config set --stack dev azure-native:useDefaultAzureCredential true/);
      }
    });

    it("refuses a provider that works in another subscription, and needs not be told of one", () => {
      const message = faultOf({ "azure-native:subscriptionId": "22222222-2222-3333-4444-555555555555" });
      assert.match(message, /azure-native:subscriptionId is "22222222-/);
      assert.match(message, /pulumi config set --stack dev azure-native:subscriptionId 00000000-/);
      load({ ...smallestAks, others: { ...smallestAks.others, "azure-native:subscriptionId": account } });
    });

    it("refuses a subscription that cannot be one, or none", () => {
      for (const other of ["my-subscription", "1111", ""])
        assert.match(fault({ account: other }), /must be the ID of an Azure subscription/);
      const upper = fault({ account: "AAAAAAAA-2222-3333-4444-555555555555" });
      assert.match(upper, /'gitlab-workspaces:cluster.account' aaaaaaaa-2222-3333-4444-555555555555/);
      assert.match(fault({ account: undefined }), /cluster.account is not set/);
    });

    it("refuses a range that is malformed, overlaps, or that AKS keeps", () => {
      assert.match(
        fault({ network: { pods: "10.4.0.0" } }),
        /network.pods is "10.4.0.0" It must be an IPv4 address range/,
      );
      assert.match(fault({ network: { pods: "10.0.0.0/14" } }), /It must not overlap with nodes, 10.0.0.0\/20/);
      assert.match(
        fault({ network: { services: "172.30.0.0/16" } }),
        /must not overlap with 172.30.0.0\/16, which AKS/,
      );
      assert.match(fault({ network: { services: "11.0.0.0/8" } }), /must have a prefix between \/12 and \/27/);
      assert.match(fault({ apiCidrs: ["192.0.2.7"] }), /cluster.apiCidrs\[0\] is "192.0.2.7" It must be an IPv4/);
    });

    it("refuses ranges that are too small for all nodes, with one more of each pool while nodes are replaced", () => {
      assert.match(
        fault({ network: { nodes: "10.0.0.0/28" }, nodes: { max: 7 } }),
        /network.nodes .*has room for 11 nodes, and nodes.max and systemNodes.max are 10 together, with two more/,
      );
      load(withCluster({ network: { nodes: "10.0.0.0/28" }, nodes: { max: 6 } }, smallestAks));
      assert.match(fault({ network: { pods: "10.4.0.0/21" }, nodes: { max: 4 } }), /network.pods .*room for 8 nodes/);
    });

    it("refuses fewer nodes at most than at least, in either pool", () => {
      for (const pool of ["nodes", "systemNodes"]) {
        assert.match(
          fault({ [pool]: { min: 6, max: 4 } }),
          new RegExp(`cluster.${pool}.max is 4 It must not be less than min, which is 6`),
        );
        assert.match(fault({ [pool]: { min: 0 } }), new RegExp(`cluster.${pool}.min is 0`));
      }
    });

    it("refuses arm64 machines with the reason, in either pool", () => {
      for (const machineType of ["Standard_D4ps_v5", "Standard_E8pds_v6", "Standard_B2pls_v2"])
        for (const pool of ["nodes", "systemNodes"])
          assert.match(
            fault({ [pool]: { machineType } }),
            /must not be an arm64 machine type, .* the tools that GitLab puts into every workspace are for amd64/,
          );
      assert.match(fault({ nodes: { machineType: "Standard_D4ps_v5" } }), /nodes.machineType' Standard_D4s_v5/);
      for (const machineType of ["D4s_v5", "e2-standard-4", "large"])
        assert.match(fault({ nodes: { machineType } }), /must be a machine type, such as Standard_D4s_v5/);
      for (const machineType of [
        "Standard_D4ds_v5",
        "Standard_E4-2s_v5",
        "Standard_NC24ads_A100_v4",
        "Standard_DS2_v2",
      ])
        load(withCluster({ nodes: { machineType } }, smallestAks));
    });

    it("refuses an API open to everybody unless that is allowed by name, and asks from where it can be reached", () => {
      assert.match(fault({ apiCidrs: ["0.0.0.0/0"] }), /opens the Kubernetes API to the internet: .*allowPublicApi/);
      load(withCluster({ apiCidrs: ["0.0.0.0/0"], allowPublicApi: true }, smallestAks));
      assert.match(fault({ apiCidrs: undefined }), /gitlab-workspaces:cluster.apiCidrs is not set/);
    });

    it("refuses maintenance that is shorter than AKS takes, and groups that are none", () => {
      assert.match(fault({ maintenance: { hours: 3 } }), /cluster.maintenance.hours is 3/);
      assert.match(fault({ maintenance: { day: "someday" } }), /cluster.maintenance.day /);
      assert.match(fault({ admins: ["platform-team"] }), /admins\[0\] .*must be the object ID of a group in Entra/);
    });

    it("refuses credentials in the provider's own settings, and says of a plain one that it must be rotated", () => {
      const others = { ...smallestAks.others, "azure-native:clientSecret": "canary" };
      const message = faultsOf({ ...smallestAks, others }).replaceAll(/\s+/g, " ");
      assert.match(message, /azure-native:clientSecret is set .*kubelogin, which never sees it.* rotate it/);
    });

    it("refuses tags that Azure would refuse, and those of the program", () => {
      assert.match(fault({ labels: { "a/b": "a" } }), /must have a key of up to 128 characters/);
      assert.match(fault({ labels: { team: "a".repeat(257) } }), /must be up to 256 characters/);
      assert.match(fault({ labels: { Stack: "x" } }), /is a tag that the program sets itself/);
    });

    it("refuses a name that leaves no room for what the plugin adds, unless the cluster has it already", () => {
      const name = "a".repeat(41);
      assert.match(fault({ name }), /cluster.name is .* must be 1 to 40 characters/);
      assert.match(fault({ name: "My_Cluster" }), /cluster.name' my-cluster/);
      for (const there of [name, "My_Cluster"])
        load(withCluster({ name: there, existing: true, resourceGroup: "shared", apiCidrs: undefined }, smallestAks));
    });

    it("takes the resource group of a cluster that exists, and of no other", () => {
      assert.match(
        fault({ resourceGroup: "shared" }),
        /cluster.resourceGroup .* must be left out unless the cluster exists/,
      );
      assert.match(
        fault({ existing: true, apiCidrs: undefined }),
        /cluster.resourceGroup .* must be the resource group that the cluster is in/,
      );
      const there = withCluster({ existing: true, resourceGroup: "shared", apiCidrs: undefined }, smallestAks);
      load({ ...there, others: { "azure-native:useDefaultAzureCredential": "true" } });
    });

    it("refuses, for a cluster that exists, everything that says how to make one", () => {
      const message = faultsOf(
        withCluster(
          { existing: true, resourceGroup: "shared", systemNodes: { max: 3 }, upgradeChannel: "patch", admins: [] },
          smallestAks,
        ),
      );
      assert.match(message, /^4 faults/);
      for (const key of ["apiCidrs", "systemNodes", "upgradeChannel", "admins"])
        assert.match(message, new RegExp(`gitlab-workspaces:cluster.${key} is set`));
    });
  });

  it("is refused where kubelogin is not on the PATH, before anything is made", () => {
    const path = process.env["PATH"];
    process.env["PATH"] = __dirname;
    const message = faultsOf(smallestAks);
    process.env["PATH"] = path;
    assert.match(message, /The command kubelogin is not on the PATH here/);
    assert.match(message, /\$ az aks install-cli/);
  });
});
