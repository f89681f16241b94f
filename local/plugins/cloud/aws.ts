import { createHash } from "node:crypto";
import ipaddr from "ipaddr.js";
import type { CloudTable, Context, FunctionCall, Reference, ResourceType } from "../cloud";
import { isObject, isUnknown, type Properties, UNKNOWN, type Value } from "../provider";
import type { CloudObject } from "./account";
import { karpenter } from "./karpenter";
import { part } from "./observation";

/** Regions and the letters of their zones. https://docs.aws.amazon.com/global-infrastructure/latest/regions/aws-availability-zones.html */
const REGIONS: Readonly<Record<string, string>> = {
  "af-south-1": "abc",
  "ap-east-1": "abc",
  "ap-northeast-1": "acd",
  "ap-northeast-2": "abcd",
  "ap-northeast-3": "abc",
  "ap-south-1": "abc",
  "ap-south-2": "abc",
  "ap-southeast-1": "abc",
  "ap-southeast-2": "abc",
  "ap-southeast-3": "abc",
  "ap-southeast-4": "abc",
  "ca-central-1": "abd",
  "ca-west-1": "abc",
  "eu-central-1": "abc",
  "eu-central-2": "abc",
  "eu-north-1": "abc",
  "eu-south-1": "abc",
  "eu-south-2": "abc",
  "eu-west-1": "abc",
  "eu-west-2": "abc",
  "eu-west-3": "abc",
  "il-central-1": "abc",
  "me-central-1": "abc",
  "me-south-1": "abc",
  "mx-central-1": "abc",
  "sa-east-1": "abc",
  "us-east-1": "abcdef",
  "us-east-2": "abc",
  "us-west-1": "ac",
  "us-west-2": "abcd",
};

/** Families of instance types; not all that there are. The last ones are arm64. https://docs.aws.amazon.com/ec2/latest/instancetypes/ */
const FAMILIES = [
  ...[
    "m5",
    "m5a",
    "m6a",
    "m6i",
    "m7a",
    "m7i",
    "m8i",
    "c5",
    "c5a",
    "c6a",
    "c6i",
    "c7a",
    "c7i",
    "c8i",
    "r5",
    "r5a",
    "r6a",
  ],
  ...[
    "r6i",
    "r7a",
    "r7i",
    "r8i",
    "t3",
    "t3a",
    "m6g",
    "m7g",
    "m8g",
    "c6g",
    "c7g",
    "c7gn",
    "c8g",
    "r6g",
    "r7g",
    "r8g",
    "t4g",
  ],
];
const CPUS: Readonly<Record<string, number>> = {
  ...{ medium: 2, large: 2, xlarge: 4, "2xlarge": 8, "4xlarge": 16, "8xlarge": 32, "12xlarge": 48, "16xlarge": 64 },
  "24xlarge": 96,
};

/** What EKS offers; the last is what a new cluster gets. https://docs.aws.amazon.com/eks/latest/userguide/kubernetes-versions.html */
const VERSIONS = ["1.33", "1.34", "1.35", "1.36"];

/** https://docs.aws.amazon.com/aws-managed-policy/latest/reference/policy-list.html; not all that there are. */
const POLICIES = [
  ...[
    "AmazonEKSClusterPolicy",
    "AmazonEKSComputePolicy",
    "AmazonEKSBlockStoragePolicy",
    "AmazonEKSLoadBalancingPolicy",
  ],
  ...["AmazonEKSNetworkingPolicy", "AmazonEKSWorkerNodeMinimalPolicy", "AmazonEC2ContainerRegistryPullOnly"],
  ...["AmazonEKSWorkerNodePolicy", "AmazonEKS_CNI_Policy", "AmazonEBSCSIDriverPolicy"],
];

/** https://docs.aws.amazon.com/eks/latest/userguide/access-policy-permissions.html */
const ACCESS_POLICIES = [
  ...["AmazonEKSAdminPolicy", "AmazonEKSClusterAdminPolicy", "AmazonEKSAdminViewPolicy", "AmazonEKSEditPolicy"],
  ...["AmazonEKSViewPolicy", "AmazonEKSAutoNodePolicy"],
];

const CIDR = /^\d{1,3}(\.\d{1,3}){3}\/\d{1,2}$/;
const ROLE_NAME = /^[\w+=,.@-]{1,64}$/;

const VPC = "aws:ec2/vpc:Vpc";
const SUBNET = "aws:ec2/subnet:Subnet";
const GATEWAY = "aws:ec2/internetGateway:InternetGateway";
const NAT = "aws:ec2/natGateway:NatGateway";
const TABLE = "aws:ec2/routeTable:RouteTable";
const ROUTE = "aws:ec2/route:Route";
const ASSOCIATION = "aws:ec2/routeTableAssociation:RouteTableAssociation";
const ROLE = "aws:iam/role:Role";
const ATTACHMENT = "aws:iam/rolePolicyAttachment:RolePolicyAttachment";
const LOG_GROUP = "aws:cloudwatch/logGroup:LogGroup";
const CLUSTER = "aws:eks/cluster:Cluster";
const ROLE_POLICY = "aws:iam/rolePolicy:RolePolicy";
const TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate";
const NODE_GROUP = "aws:eks/nodeGroup:NodeGroup";
const ADDON = "aws:eks/addon:Addon";
const POD_IDENTITY = "aws:eks/podIdentityAssociation:PodIdentityAssociation";
const ACCESS_ENTRY = "aws:eks/accessEntry:AccessEntry";
const ACCESS_POLICY = "aws:eks/accessPolicyAssociation:AccessPolicyAssociation";

/** The account that the credentials are of: that of the role which is taken on, else the first that is allowed. */
function account(configuration: Properties): string {
  const first = (key: string): Value | undefined => list(configuration[key])[0];
  const role = first("assumeRoles");
  const assumed = isObject(role) ? (text(role["roleArn"]).split(":")[4] ?? "") : "";
  return assumed || text(first("allowedAccountIds")) || "123456789012";
}

const region = ({ configuration }: Pick<Context, "configuration">): string => text(configuration["region"]);
const name = ({ inputs }: Context): string => text(inputs["name"]);
const arn = (service: string, resource: (context: Context) => string) => (context: Context) =>
  `arn:aws:${service}:${service === "iam" ? "" : region(context)}:${account(context.configuration)}:${resource(context)}`;

/** An id as EC2 gives them out. */
const ec2Id =
  (prefix: string) =>
  ({ serial }: Context): string =>
    `${prefix}-0${digest(`${prefix} ${serial}`).slice(0, 16)}`;

const failed = (operation: string, status: number, code: string, message: string): string =>
  `operation error ${operation}, https response error StatusCode: ${status}, api error ${code}: ${message}`;

const reference = (type: string, code: string, noun: string, by: readonly string[] = ["id"]): Reference => ({
  type,
  by,
  missing: (value) => failed("EC2", 400, code, `The ${noun} ID '${value}' does not exist`),
});

const ofRole = (by: "arn" | "name"): Reference => ({
  type: ROLE,
  by: [by],
  missing: (value) => failed("IAM", 404, "NoSuchEntity", `The role with name ${value} cannot be found.`),
});

const ofCluster: Reference = {
  type: CLUSTER,
  by: ["name"],
  missing: (value) => failed("EKS", 404, "ResourceNotFoundException", `No cluster found for name: ${value}.`),
};

/** Tags of a resource: its own, over the provider's default ones. */
const tagged: NonNullable<ResourceType["settled"]> = {
  tagsAll: ({ configuration, inputs }) => {
    const own = inputs["tags"];
    if (isUnknown(own)) return UNKNOWN;
    return { ...part(part(configuration, "defaultTags"), "tags"), ...(isObject(own) ? own : {}) };
  },
};
const located = { ...tagged, region };

/**
 * Types as the Terraform provider that the official plugin is made of defines them: what is required, what forces a new
 * resource, what is computed. https://github.com/hashicorp/terraform-provider-aws (internal/service)
 */
const types: Readonly<Record<string, ResourceType>> = {
  [VPC]: {
    noun: "vpc",
    match: { cidrBlock: CIDR },
    defaults: { instanceTenancy: "default", enableDnsSupport: true },
    id: ec2Id("vpc"),
    quota: "VpcLimitExceeded",
    replace: ["cidrBlock", "ipv4IpamPoolId", "ipv4NetmaskLength", "region"],
    settled: located,
    refuse: ({ inputs }) => {
      const bits = Number(text(inputs["cidrBlock"]).split("/")[1]);
      return bits >= 16 && bits <= 28
        ? undefined
        : failed("EC2: CreateVpc", 400, "InvalidVpc.Range", `The CIDR '${text(inputs["cidrBlock"])}' is invalid.`);
    },
    computed: {
      arn: (context) => arn("ec2", () => `vpc/${ec2Id("vpc")(context)}`)(context),
      enableDnsHostnames: () => false,
      mainRouteTableId: ec2Id("rtb"),
      defaultRouteTableId: ec2Id("rtb"),
      defaultSecurityGroupId: ec2Id("sg"),
      defaultNetworkAclId: ec2Id("acl"),
      dhcpOptionsId: () => "dopt-0123456789abcdef0",
      ownerId: ({ configuration }) => account(configuration),
    },
  },
  [SUBNET]: {
    noun: "subnet",
    required: ["vpcId"],
    match: { cidrBlock: CIDR },
    defaults: { mapPublicIpOnLaunch: false, assignIpv6AddressOnCreation: false },
    id: ec2Id("subnet"),
    replace: ["vpcId", "cidrBlock", "availabilityZone", "availabilityZoneId", "outpostArn", "region"],
    settled: located,
    refs: { vpcId: reference(VPC, "InvalidVpcID.NotFound", "vpc") },
    refuse: subnetRefused,
    computed: {
      arn: (context) => arn("ec2", () => `subnet/${ec2Id("subnet")(context)}`)(context),
      availabilityZone: (context) => zones(region(context))[0],
      ownerId: ({ configuration }) => account(configuration),
    },
  },
  [GATEWAY]: {
    noun: "internetGateway",
    id: ec2Id("igw"),
    replace: ["region"],
    settled: located,
    refs: { vpcId: reference(VPC, "InvalidVpcID.NotFound", "vpc") },
    refuse: ({ inputs, objects, serial }) =>
      objects.some(
        ({ type, serial: other, inputs: { vpcId } }) =>
          type === GATEWAY && other !== serial && vpcId === inputs["vpcId"],
      )
        ? failed("EC2: AttachInternetGateway", 400, "Resource.AlreadyAssociated", "network already has one attached")
        : undefined,
    // https://docs.aws.amazon.com/vpc/latest/userguide/working-with-igw.html
    denyDelete: ({ inputs }, objects) => {
      const user = objects.find(({ type, inputs: { vpcId } }) => type === NAT && vpcId === inputs["vpcId"]);
      return user
        ? failed(
            ...(["EC2: DetachInternetGateway", 400, "DependencyViolation"] as const),
            `Network ${text(inputs["vpcId"])} has some mapped public address(es): those of ${user.id}`,
          )
        : undefined;
    },
    computed: {
      arn: (context) => arn("ec2", () => `internet-gateway/${ec2Id("igw")(context)}`)(context),
      ownerId: ({ configuration }) => account(configuration),
    },
  },
  [NAT]: {
    noun: "natGateway",
    oneOf: { availabilityMode: ["zonal", "regional"], connectivityType: ["public", "private"] },
    defaults: { connectivityType: "public" },
    id: ec2Id("nat"),
    quota: "NatGatewayLimitExceeded",
    replace: ["allocationId", "availabilityMode", "connectivityType", "privateIp", "subnetId", "vpcId", "region"],
    settled: located,
    refs: {
      subnetId: reference(SUBNET, "InvalidSubnetID.NotFound", "subnet"),
      vpcId: reference(VPC, "InvalidVpcID.NotFound", "vpc"),
    },
    refuse: natRefused,
    computed: {
      publicIp: ({ serial }) => `198.51.100.${serial % 250}`,
      privateIp: () => "",
      associationId: ({ serial }) => `eipassoc-0${digest(`association ${serial}`).slice(0, 16)}`,
      networkInterfaceId: ec2Id("eni"),
      autoProvisionZones: () => "enabled",
      regionalNatGatewayAddresses: () => [],
    },
  },
  [TABLE]: {
    noun: "routeTable",
    required: ["vpcId"],
    id: ec2Id("rtb"),
    replace: ["vpcId", "region"],
    settled: located,
    refs: { vpcId: reference(VPC, "InvalidVpcID.NotFound", "vpc") },
    computed: {
      arn: (context) => arn("ec2", () => `route-table/${ec2Id("rtb")(context)}`)(context),
      ownerId: ({ configuration }) => account(configuration),
      propagatingVgws: () => [],
    },
  },
  [ROUTE]: {
    noun: "route",
    required: ["routeTableId"],
    match: { destinationCidrBlock: CIDR },
    id: ({ inputs }) => `r-${text(inputs["routeTableId"])}${digest(text(inputs["destinationCidrBlock"])).slice(0, 8)}`,
    exists: (_, { inputs }) =>
      failed(
        ...(["EC2: CreateRoute", 400, "RouteAlreadyExists"] as const),
        `The route identified by ${text(inputs["destinationCidrBlock"])} already exists.`,
      ),
    replace: ["routeTableId", "destinationCidrBlock", "region"],
    settled: { region },
    refs: {
      routeTableId: reference(TABLE, "InvalidRouteTableID.NotFound", "routeTable"),
      gatewayId: reference(GATEWAY, "InvalidInternetGatewayID.NotFound", "internetGateway"),
      natGatewayId: reference(NAT, "InvalidNatGatewayID.NotFound", "natGateway"),
    },
    refuse: ({ inputs }) =>
      ["gatewayId", "natGatewayId"].filter((target) => inputs[target] !== undefined).length === 1
        ? undefined
        : failed("EC2: CreateRoute", 400, "InvalidParameterCombination", "exactly one target must be specified"),
    computed: { origin: () => "CreateRoute", state: () => "active" },
  },
  [ASSOCIATION]: {
    noun: "association",
    required: ["routeTableId"],
    id: ec2Id("rtbassoc"),
    replace: ["subnetId", "gatewayId", "region"],
    settled: { region },
    refs: {
      routeTableId: reference(TABLE, "InvalidRouteTableID.NotFound", "routeTable"),
      subnetId: reference(SUBNET, "InvalidSubnetID.NotFound", "subnet"),
    },
    refuse: ({ inputs, objects, serial }) =>
      objects.some(
        ({ type, serial: other, inputs: { subnetId } }) =>
          type === ASSOCIATION && other !== serial && subnetId === inputs["subnetId"],
      )
        ? failed(
            ...(["EC2: AssociateRouteTable", 400, "Resource.AlreadyAssociated"] as const),
            `the subnet ${text(inputs["subnetId"])} has a route table already`,
          )
        : undefined,
  },
  [ROLE]: {
    noun: "role",
    autoname: { property: "name", longest: 64 },
    required: ["assumeRolePolicy"],
    match: { name: ROLE_NAME },
    defaults: { forceDetachPolicies: false, maxSessionDuration: 3600, path: "/" },
    id: name,
    exists: (id) => failed("IAM: CreateRole", 409, "EntityAlreadyExists", `Role with name ${id} already exists.`),
    quota: "RolesPerAccount",
    replace: ["name", "namePrefix", "path"],
    settled: { ...tagged },
    refuse: ({ inputs }) =>
      statements(inputs["assumeRolePolicy"]).length > 0
        ? undefined
        : failed("IAM: CreateRole", 400, "MalformedPolicyDocument", "This policy contains invalid Json"),
    computed: {
      arn: arn("iam", (context) => `role/${name(context)}`),
      createDate: timestamp,
      uniqueId: ({ serial }) => `AROA${digest(`role ${serial}`).slice(0, 17).toUpperCase()}`,
      managedPolicyArns: () => [],
      inlinePolicies: () => [],
    },
  },
  [ATTACHMENT]: {
    noun: "attachment",
    required: ["role", "policyArn"],
    id: ({ inputs }) => `${text(inputs["role"])}/${text(inputs["policyArn"])}`,
    replace: ["role", "policyArn"],
    refs: { role: ofRole("name") },
    refuse: ({ inputs }) => {
      const [, managed] =
        /^arn:[a-z-]+:iam::aws:policy\/(?:service-role\/)?(.+)$/.exec(text(inputs["policyArn"])) ?? [];
      return managed !== undefined && !POLICIES.includes(managed)
        ? failed(
            ...(["IAM: AttachRolePolicy", 404, "NoSuchEntity"] as const),
            `Policy ${text(inputs["policyArn"])} does not exist or is not attachable.`,
          )
        : undefined;
    },
  },
  [LOG_GROUP]: {
    noun: "log group",
    autoname: { property: "name", longest: 512 },
    match: { name: /^[.\-_/#A-Za-z0-9]{1,512}$/ },
    defaults: { skipDestroy: false },
    id: name,
    exists: () =>
      failed(
        ...(["CloudWatch Logs: CreateLogGroup", 400, "ResourceAlreadyExistsException"] as const),
        "The specified log group already exists",
      ),
    replace: ["name", "namePrefix", "logGroupClass", "region"],
    settled: located,
    refuse: ({ inputs }) =>
      [0, 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731].includes(
        Number(inputs["retentionInDays"] ?? 0),
      )
        ? undefined
        : failed(
            ...(["CloudWatch Logs: PutRetentionPolicy", 400, "InvalidParameterException"] as const),
            "retentionInDays is none of those that are allowed",
          ),
    computed: {
      arn: arn("logs", (context) => `log-group:${name(context)}`),
      logGroupClass: () => "STANDARD",
      deletionProtectionEnabled: () => false,
    },
  },
  [CLUSTER]: {
    noun: "cluster",
    autoname: { property: "name", longest: 100 },
    required: ["roleArn", "vpcConfig", "vpcConfig.subnetIds"],
    match: { name: /^[0-9A-Za-z][A-Za-z0-9_-]{0,99}$/, "vpcConfig.publicAccessCidrs[*]": CIDR },
    oneOf: {
      "accessConfig.authenticationMode": ["API", "API_AND_CONFIG_MAP", "CONFIG_MAP"],
      "upgradePolicy.supportType": ["STANDARD", "EXTENDED"],
      "computeConfig.nodePools[*]": ["general-purpose", "system"],
      "enabledClusterLogTypes[*]": ["api", "audit", "authenticator", "controllerManager", "scheduler"],
    },
    defaults: { bootstrapSelfManagedAddons: true },
    id: name,
    exists: (id) =>
      failed("EKS: CreateCluster", 409, "ResourceInUseException", `Cluster already exists with name: ${id}`),
    quota: "ClustersPerRegion",
    replace: [
      ...["name", "roleArn", "bootstrapSelfManagedAddons", "accessConfig.bootstrapClusterCreatorAdminPermissions"],
      ...["kubernetesNetworkConfig.serviceIpv4Cidr", "kubernetesNetworkConfig.ipFamily", "outpostConfig", "region"],
    ],
    // A key can be given to a cluster once, and not be taken away.
    replaceWhen: { encryptionConfig: (_, now) => now === null },
    settled: located,
    refs: {
      // AWS lets the role go, and the cluster can then no more give back what it has made.
      roleArn: ofRole("arn"),
      "vpcConfig.subnetIds[*]": reference(SUBNET, "InvalidSubnetID.NotFound", "subnet"),
    },
    refuse: clusterRefused,
    denyDelete: ({ id, inputs }) =>
      inputs["deletionProtection"] === true
        ? failed(
            ...(["EKS: DeleteCluster", 400, "InvalidRequestException"] as const),
            `Cannot delete cluster ${id} because deletion protection is enabled`,
          )
        : undefined,
    computed: {
      arn: arn("eks", (context) => `cluster/${name(context)}`),
      endpoint: ({ controlPlane }) => controlPlane().server,
      certificateAuthority: ({ controlPlane }) => ({ data: Buffer.from(controlPlane().ca).toString("base64") }),
      createdAt: timestamp,
      identities: (context) => [
        {
          oidcs: [
            {
              issuer:
                `https://oidc.eks.${region(context)}.amazonaws.com/id/` +
                digest(`issuer ${context.serial}`).slice(0, 32).toUpperCase(),
            },
          ],
        },
      ],
      platformVersion: () => "eks.1",
      status: () => "ACTIVE",
      clusterId: () => "",
    },
    derived: {
      vpcConfig: (context) => ({
        ...{ endpointPrivateAccess: false, endpointPublicAccess: true, publicAccessCidrs: ["0.0.0.0/0"] },
        ...part(context.inputs, "vpcConfig"),
        clusterSecurityGroupId: `sg-0${digest(`cluster ${context.serial}`).slice(0, 16)}`,
        vpcId: text(subnets(context)[0]?.inputs["vpcId"]),
      }),
      version: ({ inputs, outputs }) => text(inputs["version"]) || text(outputs["version"]) || (VERSIONS.at(-1) ?? ""),
    },
  },
  [ROLE_POLICY]: {
    noun: "role policy",
    autoname: { property: "name", longest: 128 },
    required: ["role", "policy"],
    id: ({ inputs }) => `${text(inputs["role"])}:${text(inputs["name"])}`,
    replace: ["name", "namePrefix", "role"],
    refs: { role: ofRole("name") },
    refuse: ({ inputs }) =>
      statements(inputs["policy"]).length > 0
        ? undefined
        : failed("IAM: PutRolePolicy", 400, "MalformedPolicyDocument", "This policy contains invalid Json"),
  },
  [TEMPLATE]: {
    noun: "launch template",
    autoname: { property: "name", longest: 125 },
    oneOf: {
      "metadataOptions.httpTokens": ["optional", "required"],
      "metadataOptions.httpEndpoint": ["enabled", "disabled"],
    },
    id: ec2Id("lt"),
    replace: ["name", "namePrefix", "region"],
    settled: located,
    computed: { arn: (context) => arn("ec2", () => `launch-template/${ec2Id("lt")(context)}`)(context) },
    // Each change makes another version.
    derived: {
      latestVersion: ({ outputs }) => Number(outputs["latestVersion"] ?? 0) + 1,
      defaultVersion: () => 1,
    },
  },
  [NODE_GROUP]: {
    noun: "node group",
    autoname: { property: "nodeGroupName", longest: 63 },
    required: [
      ...["clusterName", "nodeRoleArn", "subnetIds", "scalingConfig"],
      ...["scalingConfig.minSize", "scalingConfig.maxSize", "scalingConfig.desiredSize"],
    ],
    oneOf: { capacityType: ["ON_DEMAND", "SPOT", "CAPACITY_BLOCK"] },
    id: ({ inputs }) => `${text(inputs["clusterName"])}:${text(inputs["nodeGroupName"])}`,
    quota: "NodegroupsPerCluster",
    replace: [
      ...["amiType", "capacityType", "clusterName", "diskSize", "instanceTypes", "launchTemplate.id", "nodeGroupName"],
      ...["nodeRoleArn", "remoteAccess", "subnetIds", "region"],
    ],
    settled: located,
    refs: {
      clusterName: ofCluster,
      nodeRoleArn: ofRole("arn"),
      "subnetIds[*]": reference(SUBNET, "InvalidSubnetID.NotFound", "subnet"),
      "launchTemplate.id": reference(TEMPLATE, "InvalidLaunchTemplateId.NotFound", "launch template"),
    },
    refuse: ({ inputs }) => {
      const { minSize, maxSize, desiredSize } = part(inputs, "scalingConfig");
      return Number(minSize) <= Number(desiredSize) && Number(desiredSize) <= Number(maxSize) && Number(maxSize) > 0
        ? undefined
        : failed("EKS: CreateNodegroup", 400, "InvalidParameterException", "desired capacity is not between the sizes");
    },
    computed: { arn: arn("eks", ({ inputs }) => `nodegroup/${text(inputs["nodeGroupName"])}`), status: () => "ACTIVE" },
  },
  [ADDON]: {
    noun: "add-on",
    required: ["addonName", "clusterName"],
    oneOf: {
      addonName: ["aws-ebs-csi-driver", "coredns", "eks-pod-identity-agent", "kube-proxy", "vpc-cni"],
      resolveConflictsOnCreate: ["NONE", "OVERWRITE"],
    },
    id: ({ inputs }) => `${text(inputs["clusterName"])}:${text(inputs["addonName"])}`,
    exists: () => failed("EKS: CreateAddon", 409, "ResourceInUseException", "Addon already exists."),
    replace: ["addonName", "clusterName", "region"],
    settled: located,
    refs: { clusterName: ofCluster, "podIdentityAssociations[*].roleArn": ofRole("arn") },
    computed: {
      arn: arn("eks", ({ inputs }) => `addon/${text(inputs["addonName"])}`),
      addonVersion: () => "v1.0.0-eksbuild.1",
      createdAt: timestamp,
      modifiedAt: timestamp,
    },
  },
  [POD_IDENTITY]: {
    noun: "pod identity association",
    required: ["clusterName", "namespace", "serviceAccount", "roleArn"],
    id: ({ serial }) => `a-${digest(`association ${serial}`).slice(0, 17)}`,
    replace: ["clusterName", "namespace", "serviceAccount", "region"],
    settled: located,
    refs: { clusterName: ofCluster, roleArn: ofRole("arn") },
    computed: {
      associationArn: arn(
        "eks",
        ({ serial }) => `podidentityassociation/a-${digest(`association ${serial}`).slice(0, 17)}`,
      ),
      associationId: ({ serial }) => `a-${digest(`association ${serial}`).slice(0, 17)}`,
    },
  },
  [ACCESS_ENTRY]: {
    noun: "access entry",
    required: ["clusterName", "principalArn"],
    match: { principalArn: /^arn:aws[a-z-]*:iam::\d{12}:(role|user)\/.+$/ },
    oneOf: { type: ["STANDARD", "EC2_LINUX", "EC2_WINDOWS", "EC2", "FARGATE_LINUX", "HYBRID_LINUX"] },
    defaults: { type: "STANDARD" },
    id: ({ inputs }) => `${text(inputs["clusterName"])}:${text(inputs["principalArn"])}`,
    exists: () =>
      failed(
        ...(["EKS: CreateAccessEntry", 409, "ResourceInUseException"] as const),
        "The specified access entry resource is already in use on this cluster.",
      ),
    replace: ["clusterName", "principalArn", "type", "region"],
    settled: located,
    refs: { clusterName: ofCluster },
    computed: {
      accessEntryArn: arn("eks", ({ inputs }) => `access-entry/${text(inputs["clusterName"])}`),
      createdAt: timestamp,
      modifiedAt: timestamp,
      kubernetesGroups: () => [],
      userName: ({ inputs }) => text(inputs["principalArn"]),
    },
  },
  [ACCESS_POLICY]: {
    noun: "access policy",
    required: ["clusterName", "principalArn", "policyArn", "accessScope", "accessScope.type"],
    oneOf: { "accessScope.type": ["cluster", "namespace"] },
    id: ({ inputs }) => `${text(inputs["clusterName"])}#${text(inputs["principalArn"])}#${text(inputs["policyArn"])}`,
    replace: ["clusterName", "principalArn", "policyArn", "accessScope", "region"],
    settled: { region },
    refs: {
      clusterName: ofCluster,
      principalArn: {
        type: ACCESS_ENTRY,
        by: ["principalArn"],
        missing: (value) =>
          failed(
            ...(["EKS: AssociateAccessPolicy", 404, "ResourceNotFoundException"] as const),
            `The specified principalArn could not be found: ${value}.`,
          ),
      },
    },
    refuse: ({ inputs, objects }) => {
      const policy = text(inputs["policyArn"]).split("/").at(-1) ?? "";
      if (!ACCESS_POLICIES.includes(policy))
        return failed("EKS: AssociateAccessPolicy", 400, "InvalidParameterException", "The policyArn is not valid");
      const entry = objects.find(
        ({ type, inputs: { principalArn } }) => type === ACCESS_ENTRY && principalArn === inputs["principalArn"],
      );
      // https://docs.aws.amazon.com/eks/latest/userguide/creating-access-entries.html
      return (policy === "AmazonEKSAutoNodePolicy") === (entry?.inputs["type"] === "EC2")
        ? undefined
        : failed(
            ...(["EKS: AssociateAccessPolicy", 400, "InvalidRequestException"] as const),
            `${policy} is not for access entries of type ${text(entry?.inputs["type"])}`,
          );
    },
    computed: { associatedAt: timestamp, modifiedAt: timestamp },
  },
};

const functions: CloudTable["functions"] = {
  "aws:index/getCallerIdentity:getCallerIdentity": (_, { configuration, visible }) => {
    const accountId = account(configuration);
    const allowed = list(configuration["allowedAccountIds"]);
    if (allowed.length > 0 && !allowed.includes(accountId)) throw new Error(`AWS account ID not allowed: ${accountId}`);
    if (visible && !visible.includes(accountId)) {
      throw new Error(
        failed("STS: GetCallerIdentity", 403, "ExpiredToken", "The security token included in the request is expired"),
      );
    }
    const role = list(configuration["assumeRoles"])[0];
    const called = isObject(role) ? (text(role["roleArn"]).split("/").at(-1) ?? "") : "deployer";
    return {
      id: accountId,
      accountId,
      arn: `arn:aws:sts::${accountId}:assumed-role/${called}/session`,
      userId: "AROA",
    };
  },
  "aws:iam/getSessionContext:getSessionContext": (args) => {
    const given = text(args["arn"]);
    const [, owner, called] = /^arn:aws[a-z-]*:sts::(\d+):assumed-role\/([^/]+)\//.exec(given) ?? [];
    const issuerArn = owner === undefined ? given : `arn:aws:iam::${owner}:role/${called ?? ""}`;
    return { id: given, arn: given, issuerArn, issuerId: "AROA", issuerName: called ?? "", sessionName: "session" };
  },
  "aws:index/getAvailabilityZones:getAvailabilityZones": (args, call) => {
    const found = placed(call)
      .filter((zone) => isAsked(zone, args, call))
      .filter(
        (zone) => !list(args["excludeNames"]).includes(zone) && !list(args["excludeZoneIds"]).includes(zoneId(zone)),
      );
    const zoneIds = found.map(zoneId);
    return { ...args, id: region(call), names: found, zoneIds, groupNames: [region(call)], region: region(call) };
  },
  "aws:ec2/getInstanceTypeOfferings:getInstanceTypeOfferings": (args, call) => {
    const [filter] = list(args["filters"]);
    const wanted = list(isObject(filter) ? filter["values"] : undefined).map(text);
    const there = wanted.filter((type) => cpusOf(type, call) !== undefined);
    const locations = there.flatMap(() => placed(call));
    return { ...args, id: region(call), instanceTypes: there, locations, locationTypes: [], region: region(call) };
  },
  "aws:ec2/getInstanceType:getInstanceType": (args, call) => {
    const instanceType = text(args["instanceType"]);
    const defaultVcpus = cpusOf(instanceType, call);
    if (defaultVcpus === undefined) {
      throw new Error(
        failed(
          ...(["EC2: DescribeInstanceTypes", 400, "InvalidInstanceType"] as const),
          `The following supplied instance types do not exist: [${instanceType}]`,
        ),
      );
    }
    // https://docs.aws.amazon.com/ec2/latest/instancetypes/instance-type-names.html
    const supportedArchitectures = [/^(a1|[a-z]+\d+g)/.test(instanceType) ? "arm64" : "x86_64"];
    return { ...args, id: instanceType, defaultVcpus, supportedArchitectures, region: region(call) };
  },
  "aws:eks/getCluster:getCluster": (args, call) => {
    const called = text(args["name"]);
    const blocks = { computeConfigs: [], accessConfigs: [], storageConfigs: [], kubernetesNetworkConfigs: [] };
    if (call.planning) {
      // As a cluster would be that can carry workspaces, at an address of nobody's (RFC 5737).
      return {
        ...{ ...args, ...blocks, id: called, status: "ACTIVE", endpoint: "https://192.0.2.1" },
        arn: `arn:aws:eks:${region(call)}:${account(call.configuration)}:cluster/${called}`,
        certificateAuthorities: [{ data: "" }],
        computeConfigs: [{ enabled: true, nodePools: [], nodeRoleArn: "" }],
        identities: [{ oidcs: [{ issuer: `https://oidc.example.com/id/${called}` }] }],
      };
    }
    const found = call.objects.find(({ type, id, partition }) => {
      return type === CLUSTER && id === called && partition === call.partition;
    });
    if (!found) {
      throw new Error(
        failed("EKS: DescribeCluster", 404, "ResourceNotFoundException", `No cluster found for name: ${called}.`),
      );
    }
    const { outputs } = found;
    return {
      ...{ ...outputs, ...blocks, ...args, id: called },
      certificateAuthorities: [outputs["certificateAuthority"] ?? {}],
      computeConfigs: [{ nodePools: [], nodeRoleArn: "", ...part(outputs, "computeConfig") }],
    };
  },
};

/** Zones of the region; a region that came after this table is nothing to refuse where nobody asks AWS. */
function placed({ configuration, planning }: Pick<FunctionCall, "configuration" | "planning">): string[] {
  const of = region({ configuration });
  return planning && !(of in REGIONS) ? ["a", "b", "c"].map((letter) => of + letter) : zones(of);
}

/** Whether a zone passes the filters. https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeAvailabilityZones.html */
function isAsked(zone: string, { filters }: Properties, call: Pick<FunctionCall, "configuration">): boolean {
  const known: Properties = {
    ...{ "zone-name": zone, "zone-id": zoneId(zone), "region-name": region(call), "group-name": region(call) },
    ...{ "zone-type": "availability-zone", "opt-in-status": "opt-in-not-required", state: "available" },
  };
  return list(filters)
    .filter(isObject)
    .every(({ name: filter, values }) => {
      const value = known[text(filter)];
      if (value !== undefined) return list(values).includes(value);
      const message = `The filter '${text(filter)}' is invalid`;
      throw new Error(failed("EC2: DescribeAvailabilityZones", 400, "InvalidParameterValue", message));
    });
}

function cpusOf(instanceType: string, { planning }: Pick<FunctionCall, "planning">): number | undefined {
  const [family = "", size = ""] = instanceType.split(".");
  if (FAMILIES.includes(family) && size in CPUS) return CPUS[size];
  return planning ? 4 : undefined;
}

/** The one that EKS brings, the default of nobody: https://docs.aws.amazon.com/eks/latest/userguide/kubernetes-versions-standard.html */
const storageClass: Properties = {
  apiVersion: "storage.k8s.io/v1",
  kind: "StorageClass",
  metadata: { name: "gp2" },
  provisioner: "kubernetes.io/aws-ebs",
  parameters: { type: "gp2", fsType: "ext4" },
  reclaimPolicy: "Delete",
  volumeBindingMode: "WaitForFirstConsumer",
};

/** AWS. */
export const aws: CloudTable = {
  name: "aws",
  types,
  functions,
  partition: (configuration) => (region({ configuration }) === "" ? "" : account(configuration)),
  noPartition: {
    property: "region",
    reason: "Missing region configuration. Set it with `pulumi config set aws:region <region>`",
  },
  forbidden: (partition) =>
    failed("EC2", 403, "UnauthorizedOperation", `You are not authorized to do this in the account ${partition}.`),
  inUse: (noun, id, user) =>
    failed(
      ...(["EC2", 400, "DependencyViolation"] as const),
      `The ${noun} '${id}' has dependencies and cannot be deleted: ${user}`,
    ),
  quotaExceeded: (quota, limit) =>
    failed("Service Quotas", 400, quota, `The quota of ${limit} is used up: its limit has been exceeded.`),
  notFound: (id) => failed("EC2", 404, "NotFound", `'${id}' does not exist`),
  cluster: {
    type: CLUSTER,
    // In public subnets, with addresses and security groups in the VPC; and the gateway is not detached from those.
    loadBalancersHold: (cluster, objects) => {
      const vpcId = part(cluster.outputs, "vpcConfig")["vpcId"];
      return objects
        .filter(
          ({ type, id, inputs }) =>
            (type === VPC && id === vpcId) ||
            (inputs["vpcId"] === vpcId &&
              (type === GATEWAY || (type === SUBNET && part(inputs, "tags")["kubernetes.io/role/elb"] === "1"))),
        )
        .map(({ id }) => id);
    },
    born: ({ inputs }) => [storageClass, ...(part(inputs, "computeConfig")["enabled"] === true ? karpenter : [])],
  },
  addresses: { type: "aws:ec2/eip:Eip", by: ["allocationId"], asked: () => [] },
  loadBalancerName: ({ namespace, name: service, uid }) =>
    `the network load balancer k8s-${namespace.slice(0, 8)}-${service.slice(0, 8)}-${uid.slice(0, 10)} of Service '${namespace}/${service}'`,
};

function subnetRefused({ inputs, objects, serial, configuration }: Context): string | undefined {
  const refused = (code: string, message: string) => failed("EC2: CreateSubnet", 400, code, message);
  const cidr = text(inputs["cidrBlock"]);
  const zone = text(inputs["availabilityZone"]);
  if (zone !== "" && !zones(region({ configuration })).includes(zone)) {
    return refused("InvalidParameterValue", `Value (${zone}) for parameter availabilityZone is invalid.`);
  }
  const vpc = objects.find(({ type, id }) => type === VPC && id === inputs["vpcId"]);
  if (!holds(text(vpc?.inputs["cidrBlock"]), cidr)) {
    return refused("InvalidSubnet.Range", `The CIDR '${cidr}' is invalid.`);
  }
  const other = objects.find(
    (object) =>
      object.type === SUBNET &&
      object.serial !== serial &&
      object.inputs["vpcId"] === inputs["vpcId"] &&
      overlaps(text(object.inputs["cidrBlock"]), cidr),
  );
  return other
    ? refused("InvalidSubnet.Conflict", `The CIDR '${cidr}' conflicts with another subnet, ${other.id}`)
    : undefined;
}

/** https://docs.aws.amazon.com/vpc/latest/userguide/nat-gateways-regional.html */
function natRefused({ inputs, objects }: Context): string | undefined {
  const refused = (code: string, message: string) => failed("EC2: CreateNatGateway", 400, code, message);
  const isRegional = inputs["availabilityMode"] === "regional";
  if (isRegional !== (inputs["vpcId"] !== undefined) || isRegional === (inputs["subnetId"] !== undefined)) {
    return refused("InvalidParameterCombination", "a regional NAT gateway takes a vpcId, a zonal one a subnetId");
  }
  const subnet = objects.find(({ type, id }) => type === SUBNET && id === inputs["subnetId"]);
  const vpcId = inputs["vpcId"] ?? subnet?.inputs["vpcId"];
  return objects.some(({ type, inputs: { vpcId: attached } }) => type === GATEWAY && attached === vpcId)
    ? undefined
    : refused("Gateway.NotAttached", `Network ${text(vpcId)} has no Internet gateway attached`);
}

function clusterRefused(context: Context): string | undefined {
  const { inputs, outputs, objects, serial } = context;
  const refused = (message: string, code = "InvalidParameterException") =>
    failed(outputs["arn"] === undefined ? "EKS: CreateCluster" : "EKS: UpdateCluster", 400, code, message);
  const other = objects.find((object) => object.type === CLUSTER && object.serial !== serial);
  if (other) {
    return (
      `the stand-in cloud has one control plane to hand out, the local engine's, and ${other.id} has it: ` +
      "this is a limit of the stand-in, not of AWS"
    );
  }
  const used = subnets(context);
  if (new Set(used.map(({ inputs: { availabilityZone } }) => availabilityZone)).size < 2) {
    return refused("Subnets specified must be in at least two different AZs");
  }
  const vpcs = new Set(used.map(({ inputs: { vpcId } }) => text(vpcId)));
  const had = text(part(outputs, "vpcConfig")["vpcId"]);
  if (vpcs.size > 1 || (had !== "" && !vpcs.has(had))) return refused("Provided subnets belong to different VPCs");
  const role = objects.find(({ type, outputs: { arn: own } }) => type === ROLE && own === inputs["roleArn"]);
  const trusted = statements(role?.inputs["assumeRolePolicy"]).filter(
    ({ Principal }) => isObject(Principal) && Principal["Service"] === "eks.amazonaws.com",
  );
  const actions = trusted.flatMap(({ Action }) => (Array.isArray(Action) ? Action : [Action ?? null]));
  if (!actions.includes("sts:AssumeRole"))
    return refused(
      `Role with arn: ${text(inputs["roleArn"])}, could not be assumed because it does not exist or the trusted entity is not correct`,
    );
  const modes = [
    part(inputs, "computeConfig")["enabled"],
    part(part(inputs, "kubernetesNetworkConfig"), "elasticLoadBalancing")["enabled"],
    part(part(inputs, "storageConfig"), "blockStorage")["enabled"],
  ].map((enabled) => enabled === true);
  if (new Set(modes).size > 1) {
    return refused(
      "For EKS Auto Mode, please ensure that all required configs, including computeConfig, " +
        "kubernetesNetworkConfig, and blockStorage are all either fully enabled or fully disabled.",
      "InvalidRequestException",
    );
  }
  if (modes[0] === true && inputs["bootstrapSelfManagedAddons"] !== false) {
    return refused("bootstrapSelfManagedAddons must be false when EKS Auto Mode is enabled");
  }
  if (modes[0] === true && !actions.includes("sts:TagSession")) {
    return refused("The trust policy of the cluster role lacks sts:TagSession, which EKS Auto Mode requires");
  }
  const rights = objects.filter(({ type, inputs: { role: of } }) => type === ATTACHMENT && of === role?.id);
  // Asked only when it is made: AWS lets the policy be taken away from the role of a cluster that is there.
  if (
    modes[0] === true &&
    outputs["arn"] === undefined &&
    !rights.some(({ inputs: { policyArn } }) => /::aws:policy\/AmazonEKSClusterPolicy$/.test(text(policyArn)))
  ) {
    return refused(
      "The provided role doesn't have the Amazon EKS Managed Policies associated with it. Please ensure the following " +
        "policies [arn:aws:iam::aws:policy/AmazonEKSClusterPolicy] are attached",
    );
  }
  const pools = list(part(inputs, "computeConfig")["nodePools"]);
  if (pools.length > 0 !== (part(inputs, "computeConfig")["nodeRoleArn"] !== undefined)) {
    return refused("nodePools and nodeRoleArn must be given both or not at all");
  }
  const services = text(part(inputs, "kubernetesNetworkConfig")["serviceIpv4Cidr"]);
  const vpc = objects.find(({ type, id }) => type === VPC && vpcs.has(id));
  if (services !== "" && overlaps(services, text(vpc?.inputs["cidrBlock"]))) {
    return refused("The specified service CIDR overlaps with the CIDR of the VPC");
  }
  return versionRefused(text(inputs["version"]), text(outputs["version"]), refused);
}

function versionRefused(wanted: string, had: string, refused: (message: string) => string): string | undefined {
  if (wanted === "" || wanted === had) return undefined;
  if (!VERSIONS.includes(wanted)) return refused(`unsupported Kubernetes version ${wanted}`);
  if (had === "") return undefined;
  const step = VERSIONS.indexOf(wanted) - VERSIONS.indexOf(had);
  return step === 1 ? undefined : refused(`Unsupported Kubernetes minor version update from ${had} to ${wanted}`);
}

/** The subnets of a cluster. */
function subnets({ inputs, objects }: Pick<Context, "inputs" | "objects">): CloudObject[] {
  const ids = list(part(inputs, "vpcConfig")["subnetIds"]);
  return objects.filter(({ type, id }) => type === SUBNET && ids.includes(id));
}

/** Statements of a policy document; none when it is no document. */
function statements(document: Value | undefined): Properties[] {
  try {
    const { Statement } = JSON.parse(text(document)) as { Statement?: Value };
    return list(Statement).filter(isObject);
  } catch {
    return [];
  }
}

/** Whether one range holds the whole of another. */
function holds(range: string, other: string): boolean {
  if (!ipaddr.IPv4.isValidCIDR(range) || !ipaddr.IPv4.isValidCIDR(other)) return false;
  const [[network, length], [start, otherLength]] = [ipaddr.IPv4.parseCIDR(range), ipaddr.IPv4.parseCIDR(other)];
  return length <= otherLength && start.match([network, length]);
}

function overlaps(one: string, other: string): boolean {
  return holds(one, other) || holds(other, one);
}

function zones(of: string): string[] {
  return Array.from(REGIONS[of] ?? "", (letter) => of + letter);
}

/**
 * `use1-az4` of `us-east-1d`. Here the number goes by the letter; in the oldest regions it differs from account to account.
 * https://docs.aws.amazon.com/global-infrastructure/latest/regions/az-ids.html
 */
function zoneId(zone: string): string {
  const short = zone.slice(0, -1).replace(/north|south|east|west|central|gov/g, (word) => word.charAt(0));
  return `${short.replaceAll("-", "")}-az${zone.charCodeAt(zone.length - 1) - "a".charCodeAt(0) + 1}`;
}

function timestamp(): string {
  return new Date().toISOString();
}

function list(value: Value | undefined): readonly Value[] {
  return Array.isArray(value) ? value : [];
}

function digest(of: string): string {
  return createHash("sha256").update(of).digest("hex");
}

function text(value: Value | undefined): string {
  return typeof value === "string" ? value : "";
}
