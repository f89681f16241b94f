import assert from "node:assert/strict";
import { withCommands } from "../../support/commands";
import { faultsOf, load, smallestOn, useStack, withCluster, withSecrets } from "./stack";

const smallestEks = smallestOn("eks");
const region = { "aws:region": "eu-central-1" };

/** One fault and no other. */
function fault(changes: Readonly<Record<string, unknown>>): string {
  const message = faultsOf(withCluster(changes, smallestEks));
  assert.match(message, /^1 fault /);
  return message.replaceAll(/\s+/g, " ");
}

describe("the config of a cluster on EKS", () => {
  before(useStack);

  describe("with the AWS CLI on the PATH", () => {
    withCommands("aws");

    it("is read with every default in its place", () => {
      assert.deepEqual(load(smallestEks).cluster, {
        ...{ cloud: "eks", name: "workspaces", account: "123456789012", region: "eu-central-1", existing: false },
        ...{ apiCidrs: ["192.0.2.0/24"], allowPublicApi: false, protect: true, labels: {}, admins: [], logDays: 90 },
        nodes: { mode: "auto", machineType: "m7i.xlarge", max: 5, diskGiB: 100 },
        network: { vpc: "10.0.0.0/16", services: "172.20.0.0/16" },
        maintenance: { days: ["saturday", "sunday"], hour: 1, hours: 6 },
      });
    });

    it("takes on the provider's profile and role, which the kubeconfig needs too", () => {
      const roleArn = "arn:aws:iam::123456789012:role/deployer";
      const others = { ...region, "aws:profile": "production", "aws:assumeRoles": JSON.stringify([{ roleArn }]) };
      const { cluster } = load({ ...smallestEks, others });
      assert.equal(cluster.cloud, "eks");
      assert.deepEqual([cluster.profile, cluster.role], ["production", roleArn]);
    });

    it("refuses settings of the provider that the kubeconfig could not follow", () => {
      const faults = (others: Record<string, string>) =>
        faultsOf({ ...smallestEks, others: { ...region, ...others } }).replaceAll(/\s+/g, " ");
      assert.match(faults({ "aws:accessKey": "AKIA" }), /aws:accessKey is set .*AWS CLI, which never sees it/);
      assert.match(
        faults({ "aws:secretKey": "canary" }),
        /in plain text, and in git and its history already: rotate it/,
      );
      assert.match(faults({ "aws:sharedCredentialsFiles": "[]" }), /aws:sharedCredentialsFiles is set/);
      const roleArn = "arn:aws:iam::1:role/a";
      for (const roles of [
        [{ roleArn }, { roleArn: "arn:aws:iam::1:role/b" }],
        [{ roleArn, externalId: "x" }],
        [{ sessionName: "x" }],
        [7],
        { roleArn },
        "role",
      ])
        assert.match(
          faults({ "aws:assumeRoles": JSON.stringify(roles) }),
          /aws:assumeRoles is not a list of one role by its roleArn/,
          JSON.stringify(roles),
        );
    });

    it("refuses a window of maintenance that managed nodes would never look at", () => {
      const nodes = { mode: "managed" };
      assert.match(
        fault({ nodes, maintenance: { hour: 3 } }),
        /cluster.maintenance is set It is for Auto Mode: .*pulumi config rm --stack dev --path 'gitlab-workspaces:cluster.maintenance'/,
      );
      load(withCluster({ nodes }, smallestEks));
    });

    it("refuses a provider without a region, or one that is kept to other accounts", () => {
      const none = faultsOf({ ...smallestEks, others: {} });
      assert.match(none, /aws:region is not set/);
      assert.match(none, /pulumi config set --stack dev aws:region eu-central-1/);
      assert.match(faultsOf({ ...smallestEks, others: { "aws:region": "Frankfurt" } }), /aws:region is "Frankfurt"/);
      const others = { ...region, "aws:allowedAccountIds": JSON.stringify(["210987654321"]) };
      assert.match(
        faultsOf({ ...smallestEks, others }).replaceAll(/\s+/g, " "),
        /aws:allowedAccountIds is .* It must hold the account that gitlab-workspaces:cluster.account names, "123456789012"/,
      );
    });

    it("refuses an account that cannot be one", () => {
      for (const account of ["1234", "my-project", "12345678901a"])
        assert.match(fault({ account }), /must be an AWS account ID: 12 digits/);
      const message = faultsOf(withCluster({ apiCidrs: undefined, account: undefined }, smallestEks));
      assert.match(message, /gitlab-workspaces:cluster.account is not set/, "all at once");
      assert.match(message, /gitlab-workspaces:cluster.apiCidrs is not set/);
    });

    it("needs no kubeconfig, and refuses one that would never be read", () => {
      const message = faultsOf(withSecrets({ kubeconfig: "canary-kubeconfig" }, smallestEks));
      assert.match(message, /gitlab-workspaces:kubeconfig is set and not needed/);
    });

    it("refuses another cloud's keys by name", () => {
      assert.match(fault({ location: "eu-central-1" }), /gitlab-workspaces:cluster.location is not a key/);
      assert.match(fault({ releaseChannel: "REGULAR" }), /gitlab-workspaces:cluster.releaseChannel is not a key/);
    });

    it("has a least number of nodes in managed groups alone, and not above the most", () => {
      assert.match(fault({ nodes: { min: 1 } }), /cluster.nodes.min is 1 It must not be set with mode auto/);
      const inverted = fault({ nodes: { mode: "managed", min: 6, max: 4 } });
      assert.match(inverted, /cluster.nodes.max is 4 It must not be less than min, which is 6/);
      assert.match(fault({ nodes: { mode: "fargate" } }), /cluster.nodes.mode is "fargate"/);
      load(withCluster({ nodes: { mode: "managed", min: 2 } }, smallestEks));
    });

    it("refuses ranges that are malformed, overlap, are too small, or that EKS does not take", () => {
      assert.match(
        fault({ network: { vpc: "10.0.0.0" } }),
        /network.vpc is "10.0.0.0" It must be an IPv4 address range/,
      );
      assert.match(fault({ network: { vpc: "10.0.7.0/16" } }), /must begin with the first address of its range/);
      assert.match(fault({ network: { vpc: "10.0.0.0/8" } }), /must have a prefix between \/16 and \/20/);
      assert.match(fault({ network: { services: "10.0.128.0/20" } }), /It must not overlap with vpc, 10.0.0.0\/16/);
      assert.match(
        fault({ network: { vpc: "10.0.0.0/20" }, nodes: { max: 16 } }),
        /network.vpc .*is too small: it has room for 15 nodes, and nodes.max is 16, with one more while nodes are replaced/,
      );
      load(withCluster({ network: { vpc: "10.0.0.0/20" }, nodes: { max: 15 } }, smallestEks));
      assert.match(fault({ network: { services: "100.64.0.0/16" } }), /network.services .*EKS takes no other/);
    });

    it("refuses arm64 machines with the reason, and what is no machine or too small a one", () => {
      for (const machineType of ["m7g.xlarge", "t4g.large", "c7gn.2xlarge", "a1.xlarge", "im4gn.large", "m6gd.large"])
        assert.match(
          fault({ nodes: { machineType } }),
          /must not be an arm64 instance type: the tools that GitLab puts into every workspace are for amd64/,
        );
      for (const machineType of ["m7i.xlarge", "g4dn.xlarge", "m7i-flex.2xlarge", "c6in.large", "u7i-6tb.112xlarge"])
        load(withCluster({ nodes: { machineType } }, smallestEks));
      assert.match(fault({ nodes: { machineType: "t3.micro" } }), /must be medium or larger/);
      assert.match(fault({ nodes: { machineType: "e2-standard-4" } }), /must be an instance type, such as m7i.xlarge/);
      assert.match(fault({ nodes: { max: 0 } }), /cluster.nodes.max is 0/);
    });

    it("refuses an API open to everybody unless that is allowed by name", () => {
      assert.match(fault({ apiCidrs: ["192.0.2.0/24", "0.0.0.0/0"] }), /apiCidrs\[1\] .*opens the Kubernetes API/);
      load(withCluster({ apiCidrs: ["0.0.0.0/0"], allowPublicApi: true }, smallestEks));
    });

    it("refuses keys and admins that are none, and a key of another account", () => {
      assert.match(fault({ encryptionKey: "alias/key" }), /must be the ARN of a key/);
      assert.match(
        fault({ encryptionKey: "arn:aws:kms:eu-central-1:210987654321:key/1" }),
        /must be a key of the account 123456789012/,
      );
      assert.match(fault({ admins: ["platform"] }), /must be the ARN of an IAM role or user/);
      const session = "arn:aws:sts::123456789012:assumed-role/platform/ann";
      assert.match(fault({ admins: [session] }), /admins\[0\] .*must be the ARN of an IAM role or user/);
    });

    it("refuses tags that AWS would refuse, and those of the program", () => {
      assert.match(fault({ labels: { "aws:team": "a" } }), /not beginning with aws:/);
      assert.match(fault({ labels: { team: "a\tb" } }), /must be up to 256 letters, digits, spaces/);
      assert.match(fault({ labels: { stack: "x" } }), /is a tag that the program sets itself/);
      assert.match(fault({ labels: { "kubernetes.io/role/elb": "1" } }), /is a tag that Kubernetes on AWS goes by/);
    });

    it("refuses a name that leaves no room for what is added to it, unless the cluster has it already", () => {
      assert.match(fault({ name: "My_Cluster" }), /cluster.name is .* must be 1 to 40 characters of a-z/);
      load(withCluster({ name: "My_Cluster", existing: true, apiCidrs: undefined }, smallestEks));
      assert.match(fault({ kubernetesVersion: "1.36.2" }), /must be a version such as 1.36/);
    });

    it("refuses, for a cluster that exists, everything that says how to make one", () => {
      const made = { existing: true, nodes: { max: 3 }, protect: false, admins: [], logDays: 30 };
      const message = faultsOf(withCluster(made, smallestEks));
      for (const key of ["apiCidrs", "nodes", "protect", "admins", "logDays"])
        assert.match(message, new RegExp(`gitlab-workspaces:cluster.${key} is set`));
    });
  });

  it("is refused where the AWS CLI is not on the PATH, before anything is made", () => {
    const path = process.env["PATH"];
    process.env["PATH"] = __dirname;
    const message = faultsOf(smallestEks);
    process.env["PATH"] = path;
    assert.match(message, /The command aws is not on the PATH here/);
    assert.match(message, /getting-started-install/);
  });
});
