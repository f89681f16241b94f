import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { project } from "../../local/stack";
import type { CloudAccount } from "../support/cloud-account";
import {
  asksForNoMore,
  type CloudStack,
  comesToLife,
  isTakenDown,
  startCloud,
  told,
  unguarded,
} from "../support/cloud-suite";
import { life } from "../support/lives/eks";

const read = {
  network: [
    ...["ec2:DescribeVpcs", "ec2:DescribeVpcAttribute", "ec2:DescribeNetworkAcls", "ec2:DescribeRouteTables"],
    "ec2:DescribeSecurityGroups",
  ],
  role: ["iam:GetRole", "iam:ListRolePolicies", "iam:ListAttachedRolePolicies"],
  logs: ["logs:DescribeLogGroups", "logs:ListTagsForResource"],
};
const retag = ["ec2:CreateTags", "ec2:DeleteTags"];

/** The actions that a resource of the provider takes: https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html */
const permissions: Readonly<Record<string, readonly string[]>> = {
  // https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html: it needs none.
  "invoke aws:index/getCallerIdentity:getCallerIdentity": [],
  "invoke aws:iam/getSessionContext:getSessionContext": ["iam:GetRole"],
  "invoke aws:index/getAvailabilityZones:getAvailabilityZones": ["ec2:DescribeAvailabilityZones"],
  "invoke aws:ec2/getInstanceTypeOfferings:getInstanceTypeOfferings": ["ec2:DescribeInstanceTypeOfferings"],
  "invoke aws:ec2/getInstanceType:getInstanceType": ["ec2:DescribeInstanceTypes"],
  "invoke aws:eks/getCluster:getCluster": ["eks:DescribeCluster"],
  "create aws:ec2/vpc:Vpc": ["ec2:CreateVpc", "ec2:CreateTags", "ec2:ModifyVpcAttribute", ...read.network],
  "read aws:ec2/vpc:Vpc": read.network,
  "update aws:ec2/vpc:Vpc": [...retag, ...read.network],
  "delete aws:ec2/vpc:Vpc": ["ec2:DeleteVpc", "ec2:DescribeVpcs"],
  "create aws:ec2/subnet:Subnet": ["ec2:CreateSubnet", "ec2:CreateTags", "ec2:DescribeSubnets"],
  "read aws:ec2/subnet:Subnet": ["ec2:DescribeSubnets"],
  "update aws:ec2/subnet:Subnet": [...retag, "ec2:DescribeSubnets"],
  "delete aws:ec2/subnet:Subnet": ["ec2:DeleteSubnet", "ec2:DescribeSubnets", "ec2:DescribeNetworkInterfaces"],
  "create aws:ec2/internetGateway:InternetGateway": [
    ...["ec2:CreateInternetGateway", "ec2:AttachInternetGateway", "ec2:CreateTags", "ec2:DescribeInternetGateways"],
  ],
  "read aws:ec2/internetGateway:InternetGateway": ["ec2:DescribeInternetGateways"],
  "update aws:ec2/internetGateway:InternetGateway": [...retag, "ec2:DescribeInternetGateways"],
  "delete aws:ec2/internetGateway:InternetGateway": [
    ...["ec2:DetachInternetGateway", "ec2:DeleteInternetGateway", "ec2:DescribeInternetGateways"],
  ],
  "create aws:ec2/natGateway:NatGateway": ["ec2:CreateNatGateway", "ec2:CreateTags", "ec2:DescribeNatGateways"],
  "read aws:ec2/natGateway:NatGateway": ["ec2:DescribeNatGateways"],
  "update aws:ec2/natGateway:NatGateway": [...retag, "ec2:DescribeNatGateways"],
  "delete aws:ec2/natGateway:NatGateway": ["ec2:DeleteNatGateway", "ec2:DescribeNatGateways"],
  "create aws:ec2/routeTable:RouteTable": ["ec2:CreateRouteTable", "ec2:CreateTags", "ec2:DescribeRouteTables"],
  "read aws:ec2/routeTable:RouteTable": ["ec2:DescribeRouteTables"],
  "update aws:ec2/routeTable:RouteTable": [...retag, "ec2:DescribeRouteTables"],
  "delete aws:ec2/routeTable:RouteTable": ["ec2:DeleteRouteTable", "ec2:DescribeRouteTables"],
  "create aws:ec2/route:Route": ["ec2:CreateRoute", "ec2:DescribeRouteTables"],
  "read aws:ec2/route:Route": ["ec2:DescribeRouteTables"],
  "delete aws:ec2/route:Route": ["ec2:DeleteRoute", "ec2:DescribeRouteTables"],
  "create aws:ec2/routeTableAssociation:RouteTableAssociation": [
    ...["ec2:AssociateRouteTable", "ec2:DescribeRouteTables"],
  ],
  "read aws:ec2/routeTableAssociation:RouteTableAssociation": ["ec2:DescribeRouteTables"],
  "delete aws:ec2/routeTableAssociation:RouteTableAssociation": [
    ...["ec2:DisassociateRouteTable", "ec2:DescribeRouteTables"],
  ],
  "create aws:iam/role:Role": ["iam:CreateRole", "iam:TagRole", ...read.role],
  "read aws:iam/role:Role": read.role,
  "update aws:iam/role:Role": ["iam:TagRole", "iam:UntagRole", ...read.role],
  "delete aws:iam/role:Role": ["iam:DeleteRole", "iam:ListInstanceProfilesForRole", ...read.role],
  "create aws:iam/rolePolicyAttachment:RolePolicyAttachment": [
    ...["iam:AttachRolePolicy", "iam:ListAttachedRolePolicies"],
  ],
  "read aws:iam/rolePolicyAttachment:RolePolicyAttachment": ["iam:ListAttachedRolePolicies"],
  "delete aws:iam/rolePolicyAttachment:RolePolicyAttachment": ["iam:DetachRolePolicy"],
  "create aws:cloudwatch/logGroup:LogGroup": [
    ...["logs:CreateLogGroup", "logs:PutRetentionPolicy", "logs:TagResource", ...read.logs],
  ],
  "read aws:cloudwatch/logGroup:LogGroup": read.logs,
  "update aws:cloudwatch/logGroup:LogGroup": [
    ...["logs:PutRetentionPolicy", "logs:TagResource", "logs:UntagResource", ...read.logs],
  ],
  "delete aws:cloudwatch/logGroup:LogGroup": ["logs:DeleteLogGroup"],
  "create aws:eks/cluster:Cluster": [
    ...["eks:CreateCluster", "eks:DescribeCluster", "eks:TagResource", "iam:PassRole", "iam:CreateServiceLinkedRole"],
  ],
  "read aws:eks/cluster:Cluster": ["eks:DescribeCluster"],
  "update aws:eks/cluster:Cluster": [
    ...["eks:UpdateClusterConfig", "eks:UpdateClusterVersion", "eks:DescribeUpdate", "eks:DescribeCluster"],
    ...["eks:TagResource", "eks:UntagResource"],
  ],
  "delete aws:eks/cluster:Cluster": ["eks:DeleteCluster", "eks:DescribeCluster"],
  "create aws:eks/accessEntry:AccessEntry": ["eks:CreateAccessEntry", "eks:DescribeAccessEntry", "eks:TagResource"],
  "read aws:eks/accessEntry:AccessEntry": ["eks:DescribeAccessEntry"],
  "update aws:eks/accessEntry:AccessEntry": ["eks:TagResource", "eks:UntagResource", "eks:DescribeAccessEntry"],
  "delete aws:eks/accessEntry:AccessEntry": ["eks:DeleteAccessEntry"],
  "create aws:eks/accessPolicyAssociation:AccessPolicyAssociation": [
    ...["eks:AssociateAccessPolicy", "eks:ListAssociatedAccessPolicies"],
  ],
  "read aws:eks/accessPolicyAssociation:AccessPolicyAssociation": ["eks:ListAssociatedAccessPolicies"],
  "delete aws:eks/accessPolicyAssociation:AccessPolicyAssociation": ["eks:DisassociateAccessPolicy"],
};

describe("A stack on EKS, on a stand-in account", () => {
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

  it("takes nodes, tags, logs, admins and ranges of the API in place", async () => {
    const changes = {
      nodes: { machineType: "m7i.2xlarge", max: 9, diskGiB: 200 },
      labels: { team: "other" },
      kubernetesVersion: "1.36",
      apiCidrs: ["198.51.100.0/24"],
      maintenance: { days: ["sunday"], hour: 3, hours: 12 },
      admins: ["arn:aws:iam::123456789012:role/platform"],
      logDays: 30,
    };
    const done = await engine.withCluster(changes, () => engine.up());
    const zones = ["a", "b", "c"].map((letter) => `eu-central-1${letter}`);
    assert.deepEqual(told(done), [
      "create aws:eks/accessEntry:AccessEntry workspaces-123456789012-role-platform",
      "create aws:eks/accessPolicyAssociation:AccessPolicyAssociation workspaces-123456789012-role-platform",
      "update aws:cloudwatch/logGroup:LogGroup workspaces",
      "update aws:ec2/internetGateway:InternetGateway workspaces",
      "update aws:ec2/natGateway:NatGateway workspaces",
      "update aws:ec2/routeTable:RouteTable workspaces-private",
      "update aws:ec2/routeTable:RouteTable workspaces-public",
      ...zones.map((zone) => `update aws:ec2/subnet:Subnet workspaces-private-${zone}`),
      ...zones.map((zone) => `update aws:ec2/subnet:Subnet workspaces-public-${zone}`),
      "update aws:ec2/vpc:Vpc workspaces",
      "update aws:eks/accessEntry:AccessEntry workspaces-123456789012-role-deployer",
      "update aws:eks/accessEntry:AccessEntry workspaces-nodes",
      "update aws:eks/cluster:Cluster workspaces",
      "update aws:iam/role:Role workspaces-cluster",
      "update aws:iam/role:Role workspaces-nodes",
      "update kubernetes:eks.amazonaws.com/v1:NodeClass workspaces-node-class",
      "update kubernetes:karpenter.sh/v1:NodePool workspaces-node-pool",
    ]);
    assert.deepEqual(unguarded(await engine.state(), "aws"), [], "admins keep their access, too");
    const pool = await engine.get<{ spec: { limits: object; disruption: { budgets: object[] } } }>(
      ...["nodepool", "gitlab-workspaces"],
    );
    assert.deepEqual(pool.spec.limits, { cpu: "72" });
    assert.deepEqual(pool.spec.disruption.budgets.at(-1), {
      ...{ nodes: "0", reasons: ["Drifted"], schedule: "0 15 * * 0", duration: "156h" },
    });
    const back = new Set((await engine.up()).map(({ op }) => op));
    assert.deepEqual([...back].sort(), ["delete", "update"], "and back again");
  });

  it("has nodes that live for no longer than the API server lets them", async () => {
    const pool = await engine.get<{ spec: { template: { spec: Record<string, unknown> } } }>(
      ...["nodepool", "gitlab-workspaces"],
    );
    const longer = structuredClone(pool) as unknown as { metadata: object; spec: typeof pool.spec };
    longer.metadata = { name: "longer" };
    longer.spec.template.spec["expireAfter"] = "481h";
    await assert.rejects(
      engine.apply({ ...longer, apiVersion: "karpenter.sh/v1", kind: "NodePool" }),
      /the sum of expireAfter and terminationGracePeriod .* may not exceed 21 days/,
    );
  });

  it("is replaced by what its guide names, and protection stops that in the preview", async () => {
    await engine.withCluster({ protect: true }, () => engine.up());
    const before = (await account.content()).objects;
    const managed = { mode: "managed", machineType: "m7i.xlarge", max: 5, diskGiB: 100 };
    const changes = [
      { name: "another" },
      { network: { vpc: "10.1.0.0/16" } },
      { nodes: managed, maintenance: undefined },
    ];
    for (const change of changes) {
      const protect = await engine.withCluster({ ...change, protect: true }, () => engine.fails(["up", "--yes"]));
      assert.match(protect, /(unable to replace|cannot be deleted)[^]*protect/, JSON.stringify(change));
      assert.deepEqual((await account.content()).objects, before, JSON.stringify(change));
    }
  });

  isTakenDown(() => engine, life, "aws:eks/cluster:Cluster");

  describe("when it is told something that AWS does not have", () => {
    const set = (...words: string[]) => engine.pulumi(["config", "set", ...words]);

    it("is refused with credentials of another account, in one paragraph", async () => {
      await engine.pulumi(["config", "rm", "aws:allowedAccountIds"]);
      await set("--path", "aws:assumeRoles[0].roleArn", "arn:aws:iam::210987654321:role/other");
      const all = await engine.fails(["preview"]);
      assert.match(all, /are of the AWS account 210987654321, and cluster\.account says 123456789012/);
      assert.match(all, /Nothing was created\./);
      assert.doesNotMatch(all, /^\s+at /m);
      await engine.pulumi(["config", "rm", "aws:assumeRoles"]);
    });

    it("is refused in a region without two zones, and with machines that the region does not have", async () => {
      const machine = await engine.withCluster({ nodes: { machineType: "m99i.xlarge" } }, () =>
        engine.fails(["preview"]),
      );
      assert.match(machine, /cluster\.nodes\.machineType is m99i\.xlarge, which cannot be had in eu-central-1/);
      await set("aws:region", "eu-nowhere-1");
      assert.match(await engine.fails(["preview"]), /aws:region is eu-nowhere-1, which has no zone/);
      assert.deepEqual(await engine.inAccount(), []);
      await set("aws:region", "eu-central-1");
    });
  });

  asksForNoMore(
    () => engine,
    "docs/permissions/eks.json",
    permissions,
    async () => {
      const policy = JSON.parse(await readFile(join(project, "docs", "permissions", "eks.json"), "utf8")) as {
        Statement: { Action: string | string[] }[];
      };
      return policy.Statement.flatMap(({ Action }) => Action);
    },
  );
});
