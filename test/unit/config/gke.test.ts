import assert from "node:assert/strict";
import { withCommands } from "../../support/commands";
import { faultsOf, load, smallestOn, useStack, withCluster, withSecrets } from "./stack";

const smallestGke = smallestOn("gke");

/** One fault and no other. */
function fault(changes: Readonly<Record<string, unknown>>): string {
  const message = faultsOf(withCluster(changes, smallestGke));
  assert.match(message, /^1 fault /);
  return message.replaceAll(/\s+/g, " ");
}

describe("the config of a cluster on GKE", () => {
  before(useStack);

  describe("with Google's credential plugin on the PATH", () => {
    withCommands("gke-gcloud-auth-plugin");

    it("is read with every default in its place", () => {
      assert.deepEqual(load(smallestGke).cluster, {
        ...{ cloud: "gke", name: "workspaces", account: "my-project", location: "europe-west1", existing: false },
        ...{ apiCidrs: ["192.0.2.0/24"], allowPublicApi: false, releaseChannel: "REGULAR", protect: true, labels: {} },
        nodes: { machineType: "e2-standard-4", min: 1, max: 5, diskGiB: 100 },
        network: { nodes: "10.0.0.0/20", pods: "10.4.0.0/14", services: "10.8.0.0/20" },
        maintenance: { days: ["saturday", "sunday"], hour: 1, hours: 6 },
      });
    });

    it("needs no kubeconfig, and refuses one that would never be read", () => {
      const message = faultsOf(withSecrets({ kubeconfig: "canary-kubeconfig" }, smallestGke));
      assert.match(message, /gitlab-workspaces:kubeconfig is set and not needed/);
      assert.match(message, /pulumi config rm --stack dev gitlab-workspaces:kubeconfig/);
    });

    it("refuses another cloud's keys by name", () => {
      assert.match(fault({ context: "admin@metal" }), /gitlab-workspaces:cluster.context is not a key of this program/);
    });

    it("refuses a location that is neither a region nor a zone", () => {
      for (const location of ["Frankfurt", "eu-central-1a", "europe-west1-b-c", "", "europe_west1"])
        assert.match(fault({ location }), /cluster.location is .*must be a region such as europe-west1, or a zone/);
    });

    it("refuses a range that is malformed, with the range that is meant where that can be told", () => {
      assert.match(
        fault({ network: { pods: "10.4.0.0" } }),
        /network.pods is "10.4.0.0" It must be an IPv4 address range/,
      );
      assert.match(fault({ network: { pods: "10.4.0.300/14" } }), /must be an IPv4 address range/);
      assert.match(fault({ network: { pods: "2001:db8::/32" } }), /must be an IPv4 address range/);
      const inside = fault({ network: { nodes: "10.0.0.77/20" } });
      assert.match(inside, /must begin with the first address of its range/);
      assert.match(
        inside,
        /pulumi config set --stack dev --path 'gitlab-workspaces:cluster.network.nodes' 10.0.0.0\/20/,
      );
      assert.match(
        fault({ apiCidrs: ["192.0.2.7"] }),
        /cluster.apiCidrs\[0\] is "192.0.2.7" It must be an IPv4 address range/,
      );
    });

    it("refuses ranges that overlap", () => {
      assert.match(
        fault({ network: { pods: "10.0.0.0/14" } }),
        /cluster.network.pods is "10.0.0.0\/14" It must not overlap with nodes, 10.0.0.0\/20/,
      );
      assert.match(fault({ network: { services: "10.7.240.0/20" } }), /It must not overlap with pods, 10.4.0.0\/14/);
    });

    it("refuses ranges that are too small for the nodes, with one more while nodes are replaced", () => {
      assert.match(
        faultsOf(withCluster({ network: { pods: "10.4.0.0/22" } }, smallestGke)),
        /must have a prefix between \/8 and \/21/,
      );
      assert.match(
        fault({ network: { pods: "10.4.0.0/21" }, nodes: { max: 8 } }),
        /network.pods is .*is too small: it has room for 8 nodes, and nodes.max is 8, with one more during upgrades/,
      );
      load(withCluster({ network: { pods: "10.4.0.0/21" }, nodes: { max: 7 } }, smallestGke));
      assert.match(
        fault({ network: { nodes: "10.0.0.0/26" }, nodes: { max: 60 } }),
        /network.nodes .*is too small: it has room for 60 nodes/,
      );
    });

    it("refuses ranges that no network can have", () => {
      for (const nodes of ["127.0.0.0/20", "169.254.0.0/20", "224.0.0.0/20"])
        assert.match(fault({ network: { nodes } }), /must be addresses that a network can have/);
    });

    it("refuses fewer nodes than a region begins with, and takes one in a zone", () => {
      assert.match(fault({ nodes: { max: 2 } }), /cluster.nodes.max is 2 It must be 3 or more in a region/);
      load(withCluster({ location: "europe-west1-b", nodes: { max: 1 } }, smallestGke));
    });

    it("refuses a key of another region", () => {
      const encryptionKey = "projects/p/locations/us-east1/keyRings/r/cryptoKeys/k";
      assert.match(fault({ encryptionKey }), /cluster.encryptionKey .*must be a key in europe-west1/);
      assert.match(fault({ encryptionKey: "k" }), /must be projects\/<project>\/locations/);
    });

    it("refuses fewer nodes at most than at least", () => {
      assert.match(
        fault({ nodes: { min: 6, max: 4 } }),
        /cluster.nodes.max is 4 It must not be less than min, which is 6/,
      );
      assert.match(fault({ nodes: { min: 0 } }), /cluster.nodes.min is 0/);
    });

    it("refuses arm64 machines with the reason", () => {
      for (const machineType of ["t2a-standard-4", "c4a-highmem-8", "n4a-standard-2"])
        assert.match(
          fault({ nodes: { machineType } }),
          /must not be an arm64 machine type: the tools that GitLab puts into every workspace are for amd64/,
        );
      assert.match(
        fault({ nodes: { machineType: "n4-standard-4" } }),
        /must be of a family that takes Persistent Disk/,
      );
      assert.match(fault({ nodes: { machineType: "large" } }), /must be a machine type, such as e2-standard-4/);
    });

    it("refuses an API open to everybody unless that is allowed by name", () => {
      assert.match(
        fault({ apiCidrs: ["192.0.2.0/24", "0.0.0.0/0"] }),
        /cluster.apiCidrs\[1\] is "0.0.0.0\/0" It opens the Kubernetes API to the internet: .*allowPublicApi/,
      );
      assert.match(fault({ apiCidrs: ["0.0.0.0/1", "192.0.2.0/24"] }), /apiCidrs\[0\] .*opens the Kubernetes API/);
      load(withCluster({ apiCidrs: ["0.0.0.0/0"], allowPublicApi: true }, smallestGke));
    });

    it("asks from where the API can be reached", () => {
      const message = faultsOf(withCluster({ apiCidrs: undefined, account: undefined }, smallestGke));
      assert.match(message, /gitlab-workspaces:cluster.account is not set/, "all at once");
      assert.match(message, /gitlab-workspaces:cluster.apiCidrs is not set/);
      assert.match(
        message,
        /pulumi config set --stack dev --path 'gitlab-workspaces:cluster.apiCidrs\[0\]' 192.0.2.0\/24/,
      );
    });

    it("refuses maintenance that is less than the cloud asks for", () => {
      assert.match(
        fault({ maintenance: { days: ["sunday"], hours: 6 } }),
        /cluster.maintenance.hours is 6 It must give 12 hours a week or more together with days, and gives 6/,
      );
      assert.match(fault({ maintenance: { days: ["someday"] } }), /cluster.maintenance.days\[0\]/);
    });

    it("refuses labels that Google would refuse, and those of the program", () => {
      assert.match(fault({ labels: { Team: "a" } }), /must have a key of up to 63 characters/);
      assert.match(fault({ labels: { team: "Ä" } }), /must be up to 63 characters of a-z/);
      assert.match(fault({ labels: { stack: "x" } }), /is a label that the program sets itself/);
    });

    it("refuses a name that leaves no room for what Google adds, unless the cluster has it already", () => {
      const name = "a-name-of-twenty-five-cha";
      assert.match(fault({ name }), /cluster.name is .* must be at most 22 characters/);
      load(withCluster({ name, existing: true, apiCidrs: undefined }, smallestGke));
    });

    it("refuses, for a cluster that exists, everything that says how to make one", () => {
      const message = faultsOf(withCluster({ existing: true, nodes: { max: 3 }, protect: false }, smallestGke));
      assert.match(message, /^3 faults/);
      for (const key of ["apiCidrs", "nodes", "protect"])
        assert.match(message, new RegExp(`gitlab-workspaces:cluster.${key} is set`));
    });

    it("refuses a provider that works in another project, or in none", () => {
      const other = faultsOf({ ...smallestGke, others: { "gcp:project": "other-project" } });
      assert.match(other, /gcp:project is "other-project"/);
      assert.match(other, /pulumi config set --stack dev gcp:project my-project/);
      assert.match(faultsOf({ ...smallestGke, others: {} }), /gcp:project is not set/);
    });

    it("refuses a project that cannot be one", () => {
      for (const account of ["My Project", "123456", "pr", "проект"])
        assert.match(
          faultsOf(withCluster({ account }, { ...smallestGke, others: { "gcp:project": account } })),
          /must be the ID of a Google Cloud project/,
        );
    });
  });

  it("is refused where Google's credential plugin is not on the PATH, before anything is made", () => {
    const path = process.env["PATH"];
    process.env["PATH"] = __dirname;
    const message = faultsOf(smallestGke);
    process.env["PATH"] = path;
    assert.match(message, /The command gke-gcloud-auth-plugin is not on the PATH here/);
    assert.match(message, /\$ gcloud components install gke-gcloud-auth-plugin/);
  });
});
