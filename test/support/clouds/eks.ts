import type { MockedCloud } from "../clouds";

const id = "0123456789ABCDEF0123456789ABCDEF";
const issuer = `https://oidc.eks.eu-central-1.amazonaws.com/id/${id}`;

export const eks: MockedCloud = {
  cluster: {
    ...{ cloud: "eks", name: "workspaces", account: "123456789012" },
    apiCidrs: ["192.0.2.0/24"],
  },
  others: { "aws:region": "eu-central-1" },
  commands: ["aws"],
  answers: {
    "aws:index/getCallerIdentity:getCallerIdentity": () => ({
      accountId: "123456789012",
      arn: "arn:aws:sts::123456789012:assumed-role/deployer/session",
      userId: "AROA:session",
    }),
    "aws:iam/getSessionContext:getSessionContext": () => ({ issuerArn: "arn:aws:iam::123456789012:role/deployer" }),
    "aws:index/getAvailabilityZones:getAvailabilityZones": () => ({
      names: ["eu-central-1c", "eu-central-1a", "eu-central-1b"],
    }),
    "aws:ec2/getInstanceTypeOfferings:getInstanceTypeOfferings": () => ({
      locations: ["eu-central-1a", "eu-central-1b", "eu-central-1c"],
    }),
    "aws:ec2/getInstanceType:getInstanceType": ({ instanceType }) => ({
      ...{ instanceType, defaultVcpus: 4 },
      supportedArchitectures: ["x86_64"],
    }),
    "aws:eks/getCluster:getCluster": ({ name }) => ({
      arn: `arn:aws:eks:eu-central-1:123456789012:cluster/${String(name)}`,
      endpoint: `https://${id}.gr7.eu-central-1.eks.amazonaws.com`,
      certificateAuthorities: [{ data: "Q0E=" }],
      identities: [{ oidcs: [{ issuer }] }],
      computeConfigs: [{ enabled: true }],
      status: "ACTIVE",
    }),
  },
  computed: {
    "aws:eks/cluster:Cluster": (inputs) => ({
      arn: "arn:aws:eks:eu-central-1:123456789012:cluster/workspaces-1a2b3c4d",
      endpoint: `https://${id}.gr7.eu-central-1.eks.amazonaws.com`,
      certificateAuthority: { data: "Q0E=" },
      identities: [{ oidcs: [{ issuer }] }],
      version: "1.36",
      vpcConfig: { ...(inputs["vpcConfig"] as object), clusterSecurityGroupId: "sg-0123" },
    }),
    "aws:ec2/launchTemplate:LaunchTemplate": () => ({ latestVersion: 1 }),
    "aws:iam/role:Role": () => ({ name: "role-1a2b3c4", arn: "arn:aws:iam::123456789012:role/role-1a2b3c4" }),
    "random:index/randomId:RandomId": ({ prefix }) => ({ hex: `${String(prefix)}1a2b3c4d` }),
  },
};
