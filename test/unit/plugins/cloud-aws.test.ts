import assert from "node:assert/strict";
import {
  AccessEntry,
  AccessPolicyAssociation,
  Addon,
  Cluster,
  NodeGroup,
  PodIdentityAssociation,
} from "@pulumi/aws/eks";
import { LogGroup } from "@pulumi/aws/cloudwatch/logGroup";
import {
  InternetGateway,
  LaunchTemplate,
  NatGateway,
  Route,
  RouteTable,
  RouteTableAssociation,
  Subnet,
  Vpc,
} from "@pulumi/aws/ec2";
import { Role, RolePolicy, RolePolicyAttachment } from "@pulumi/aws/iam";
import { aws as table } from "../../../local/plugins/cloud/aws";
import type { Properties, Provider } from "../../../local/plugins/provider";
import {
  compared,
  deleted,
  loadBalancerService,
  type Made,
  made,
  refreshed,
  StandInCloud,
  updated,
} from "../../support/cloud";

const region = "eu-central-1";
const vpcType = "aws:ec2/vpc:Vpc";
const subnetType = "aws:ec2/subnet:Subnet";
const gatewayType = "aws:ec2/internetGateway:InternetGateway";
const natType = "aws:ec2/natGateway:NatGateway";
const roleType = "aws:iam/role:Role";
const attachmentType = "aws:iam/rolePolicyAttachment:RolePolicyAttachment";
const clusterType = "aws:eks/cluster:Cluster";
const entryType = "aws:eks/accessEntry:AccessEntry";
const policyType = "aws:eks/accessPolicyAssociation:AccessPolicyAssociation";

let cloud: StandInCloud;
let provider: Provider;
/** What the controllers of the cluster see in it. */
let services: Properties[];
beforeEach(async () => {
  services = [];
  cloud = new StandInCloud({ observe: () => Promise.resolve({ services, volumes: [] }) }, undefined, table);
  provider = await cloud.provider({ region });
});
afterEach(() => {
  cloud.remove();
});

const invoke = (token: string, args: Properties): Promise<Properties> => provider.invoke!(token, args);

const trust = (...actions: string[]): string =>
  JSON.stringify({ Statement: [{ Effect: "Allow", Principal: { Service: "eks.amazonaws.com" }, Action: actions }] });

interface Landscape {
  readonly vpc: Made;
  readonly subnets: readonly Made[];
  readonly role: Made;
  /** What gives the role its rights. */
  readonly right: Made;
  readonly inputs: Properties;
}

/** A VPC with two private subnets and a public one, and a role with its rights: what a cluster takes. */
async function landscape(): Promise<Landscape> {
  const vpc = await made(provider, vpcType, { cidrBlock: "10.0.0.0/16" });
  const subnet = (zone: string, third: number, tags: Properties = {}) =>
    made(provider, subnetType, {
      ...{ vpcId: vpc.id, cidrBlock: `10.0.${third}.0/24`, availabilityZone: region + zone, tags },
    });
  const subnets = [await subnet("a", 1), await subnet("b", 2), await subnet("a", 3, { "kubernetes.io/role/elb": "1" })];
  const role = await made(provider, roleType, {
    ...{ name: "cluster", assumeRolePolicy: trust("sts:AssumeRole", "sts:TagSession") },
  });
  const right = await made(provider, attachmentType, {
    ...{ role: "cluster", policyArn: "arn:aws:iam::aws:policy/AmazonEKSClusterPolicy" },
  });
  const inputs = {
    ...{ name: "ws", roleArn: role.outputs["arn"]!, bootstrapSelfManagedAddons: false },
    vpcConfig: { subnetIds: subnets.slice(0, 2).map(({ id }) => id) },
    computeConfig: { enabled: true },
    storageConfig: { blockStorage: { enabled: true } },
    kubernetesNetworkConfig: { elasticLoadBalancing: { enabled: true }, serviceIpv4Cidr: "172.20.0.0/16" },
  };
  return { vpc, subnets, role, right, inputs };
}

describe("the stand-in AWS", () => {
  it("knows every type by the name that the SDK has for it", () => {
    const sdk = [
      ...[AccessEntry, AccessPolicyAssociation, Cluster, LogGroup, InternetGateway, NatGateway, Route, RouteTable],
      ...[RouteTableAssociation, Subnet, Vpc, Role, RolePolicyAttachment],
      ...[Addon, LaunchTemplate, NodeGroup, PodIdentityAssociation, RolePolicy],
    ] as unknown as { readonly __pulumiType: string }[];
    assert.deepEqual(Object.keys(table.types).sort(), sdk.map(({ __pulumiType }) => __pulumiType).sort());
  });

  it("works in no region but the one that is set", async () => {
    provider = await cloud.provider({});
    await assert.rejects(made(provider, vpcType, { cidrBlock: "10.0.0.0/16" }), /Missing region configuration/);
  });

  it("is in the account of the role that is taken on, or the one that is allowed, and in no other", async () => {
    const identity = async (configuration: Properties) => {
      provider = await cloud.provider({ region, ...configuration });
      return (await invoke("aws:index/getCallerIdentity:getCallerIdentity", {}))["accountId"];
    };
    const assumeRoles = [{ roleArn: "arn:aws:iam::210987654321:role/other" }];
    assert.equal(await identity({}), "123456789012");
    assert.equal(await identity({ allowedAccountIds: ["111111111111"] }), "111111111111");
    assert.equal(await identity({ assumeRoles }), "210987654321");
    await assert.rejects(
      identity({ assumeRoles, allowedAccountIds: ["111111111111"] }),
      /AWS account ID not allowed: 210987654321/,
    );
    cloud.behave({ projects: ["111111111111"] });
    await assert.rejects(identity({}), /ExpiredToken/);
  });

  it("tells of zones by name and by id, and of none that is excluded or filtered out", async () => {
    const zones = async (of: string, args: Properties) => {
      provider = await cloud.provider({ region: of });
      const { names, zoneIds } = await invoke("aws:index/getAvailabilityZones:getAvailabilityZones", args);
      return { names, zoneIds };
    };
    assert.deepEqual(await zones("ap-northeast-1", { excludeNames: ["ap-northeast-1c"] }), {
      names: ["ap-northeast-1a", "ap-northeast-1d"],
      zoneIds: ["apne1-az1", "apne1-az4"],
    });
    const excludeZoneIds = ["use1-az3", "cac1-az3"];
    assert.deepEqual(
      (await zones("us-east-1", { excludeZoneIds })).names,
      ["a", "b", "d", "e", "f"].map((zone) => `us-east-1${zone}`),
    );
    const optedIn = (status: string) => ({ filters: [{ name: "opt-in-status", values: [status] }] });
    assert.deepEqual((await zones(region, optedIn("opt-in-not-required"))).zoneIds, [
      "euc1-az1",
      "euc1-az2",
      "euc1-az3",
    ]);
    assert.deepEqual((await zones(region, optedIn("opted-in"))).zoneIds, []);
    await assert.rejects(zones(region, { filters: [{ name: "colour", values: [] }] }), /InvalidParameterValue/);
  });

  it("refuses subnets that overlap, leave their VPC, or are in no zone", async () => {
    const { vpc } = await landscape();
    const subnet = (cidrBlock: string, availabilityZone = `${region}a`) =>
      made(provider, subnetType, { vpcId: vpc.id, cidrBlock, availabilityZone });
    await assert.rejects(subnet("10.0.1.128/25"), /InvalidSubnet\.Conflict/);
    await assert.rejects(subnet("10.1.0.0/24"), /InvalidSubnet\.Range/);
    await assert.rejects(subnet("10.0.9.0/24", "eu-central-1z"), /InvalidParameterValue/);
  });

  it("has NAT only behind an internet gateway, which stays for as long as there is NAT", async () => {
    const { vpc } = await landscape();
    const inputs = { vpcId: vpc.id, availabilityMode: "regional" };
    await assert.rejects(made(provider, natType, inputs), /Gateway\.NotAttached/);
    const gateway = await made(provider, gatewayType, { vpcId: vpc.id });
    const nat = await made(provider, natType, inputs);
    await assert.rejects(deleted(provider, gateway), /has some mapped public address/);
    await deleted(provider, nat);
    await deleted(provider, gateway);
  });
});

describe("the stand-in EKS", () => {
  it("refuses a cluster in one zone, one that is half in Auto Mode, and one with a role that it cannot take on", async () => {
    const { inputs, subnets, role } = await landscape();
    const cluster = (changes: Properties) => made(provider, clusterType, { ...inputs, ...changes });
    await assert.rejects(cluster({ vpcConfig: { subnetIds: [subnets[0]!.id] } }), /at least two different AZs/);
    await assert.rejects(cluster({ storageConfig: {} }), /all either fully enabled or fully disabled/);
    await assert.rejects(cluster({ bootstrapSelfManagedAddons: true }), /bootstrapSelfManagedAddons must be false/);
    await assert.rejects(
      cluster({ kubernetesNetworkConfig: { elasticLoadBalancing: { enabled: true }, serviceIpv4Cidr: "10.0.0.0/16" } }),
      /overlaps with the CIDR of the VPC/,
    );
    await updated(provider, role, { name: "cluster", assumeRolePolicy: trust("sts:AssumeRole") });
    await assert.rejects(cluster({}), /lacks sts:TagSession/);
  });

  it("makes no cluster with a role without rights, and leaves those to whoever takes them away later", async () => {
    const { inputs, right } = await landscape();
    await deleted(provider, right);
    await assert.rejects(made(provider, clusterType, inputs), /\[arn:aws:iam::aws:policy\/AmazonEKSClusterPolicy\]/);
    const again = await made(provider, attachmentType, right.inputs);
    const ws = await made(provider, clusterType, inputs);
    await deleted(provider, again);
    await updated(provider, ws, { ...inputs, tags: { team: "a" } });
  });

  it("goes up by one version at a time, and never down", async () => {
    const { inputs } = await landscape();
    const ws = await made(provider, clusterType, { ...inputs, version: "1.34" });
    await assert.rejects(updated(provider, ws, { ...inputs, version: "1.36" }), /update from 1\.34 to 1\.36/);
    await assert.rejects(updated(provider, ws, { ...inputs, version: "1.33" }), /update from 1\.34 to 1\.33/);
    await updated(provider, ws, { ...inputs, version: "1.35" });
  });

  it("has a new issuer for every cluster, also for one of the same name", async () => {
    const { inputs } = await landscape();
    const one = await made(provider, clusterType, inputs);
    await deleted(provider, one);
    const other = await made(provider, clusterType, inputs);
    assert.equal(one.id, other.id);
    assert.notDeepEqual(one.outputs["identities"], other.outputs["identities"]);
    assert.deepEqual((await refreshed(provider, other))?.properties["identities"], other.properties["identities"]);
  });

  it("is replaced for its role, its range of Services and a key that is taken away, and for nothing else of ours", async () => {
    const { inputs } = await landscape();
    const key = { provider: { keyArn: "arn" }, resources: ["secrets"] };
    const ws = await made(provider, clusterType, { ...inputs, encryptionConfig: key });
    const replaces = async (news: Properties) =>
      [...(await compared(provider, ws, { ...inputs, encryptionConfig: key, ...news })).changes.values()].some(
        ({ replace }) => replace,
      );
    assert.ok(await replaces({ roleArn: "arn:aws:iam::1:role/other" }));
    assert.ok(await replaces({ kubernetesNetworkConfig: { serviceIpv4Cidr: "172.21.0.0/16" } }));
    assert.ok(await replaces({ encryptionConfig: null }));
    assert.ok(!(await replaces({ version: "1.36", deletionProtection: true, tags: { a: "b" } })));
  });

  it("lets nodes join by the policy for nodes, and people do things by the others", async () => {
    const { inputs } = await landscape();
    await made(provider, clusterType, inputs);
    const entry = async (name: string, type: string) => {
      const principalArn = `arn:aws:iam::123456789012:role/${name}`;
      await made(provider, entryType, { clusterName: "ws", principalArn, type });
      return principalArn;
    };
    const give = (principalArn: string, policy: string) =>
      made(provider, policyType, {
        ...{ clusterName: "ws", principalArn, accessScope: { type: "cluster" } },
        policyArn: `arn:aws:eks::aws:cluster-access-policy/${policy}`,
      });
    const [nodes, person] = [await entry("nodes", "EC2"), await entry("person", "STANDARD")];
    await assert.rejects(give(nodes, "AmazonEKSClusterAdminPolicy"), /is not for access entries of type EC2/);
    await assert.rejects(give(person, "AmazonEKSAutoNodePolicy"), /is not for access entries of type STANDARD/);
    await assert.rejects(give(person, "AmazonEKSEverythingPolicy"), /policyArn is not valid/);
    await assert.rejects(give("arn:aws:iam::123456789012:role/gone", "AmazonEKSViewPolicy"), /could not be found/);
    await give(nodes, "AmazonEKSAutoNodePolicy");
    await give(person, "AmazonEKSClusterAdminPolicy");
  });

  it("keeps its network in use by a load balancer that its controllers can no more give back", async () => {
    const { vpc, subnets, inputs } = await landscape();
    const gateway = await made(provider, gatewayType, { vpcId: vpc.id });
    const ws = await made(provider, clusterType, inputs);
    services = [loadBalancerService("traefik")];
    await deleted(provider, ws);
    services = [];
    for (const held of [vpc, gateway, subnets[2]!])
      await assert.rejects(
        deleted(provider, held),
        /DependencyViolation.*Service 'ingress\/traefik'|DependencyViolation/,
      );
    assert.equal(cloud.content().loadBalancers.length, 1);
    await deleted(provider, subnets[0]!);
  });

  it("brings a StorageClass that is the default of nobody, and in Auto Mode what it knows of nodes", async () => {
    const { inputs } = await landscape();
    const born: string[] = [];
    const furnish = (objects: readonly Properties[]) => {
      for (const { kind, metadata } of objects as { kind: string; metadata: { name: string } }[])
        born.push(`${kind} ${metadata.name}`);
      return Promise.resolve();
    };
    cloud = new StandInCloud(
      { observe: () => Promise.resolve({ services: [], volumes: [] }), furnish },
      cloud.folder,
      table,
    );
    provider = await cloud.provider({ region });
    await made(provider, clusterType, inputs);
    assert.deepEqual(born, [
      "StorageClass gp2",
      "CustomResourceDefinition nodeclasses.eks.amazonaws.com",
      "CustomResourceDefinition nodepools.karpenter.sh",
    ]);
  });

  it("is not deleted while it is protected", async () => {
    const { inputs } = await landscape();
    const ws = await made(provider, clusterType, { ...inputs, deletionProtection: true });
    await assert.rejects(deleted(provider, ws), /deletion protection is enabled/);
    await deleted(provider, await updated(provider, ws, { ...inputs, deletionProtection: false }));
  });
});
