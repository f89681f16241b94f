import { LogGroup } from "@pulumi/aws/cloudwatch/logGroup";
import * as ec2 from "@pulumi/aws/ec2";
import * as eks from "@pulumi/aws/eks";
import { getAvailabilityZones } from "@pulumi/aws/getAvailabilityZones";
import { getCallerIdentity } from "@pulumi/aws/getCallerIdentity";
import * as iam from "@pulumi/aws/iam";
import type * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { RandomId } from "@pulumi/random/randomId";
import { IPv4 } from "ipaddr.js";
import type { Cluster, LoadBalancer } from "../cluster";
import { refusal } from "../config/refusal";
import type { EksConfig, Secret } from "../config/schema";
import { answering } from "./answering";
import { autoNodes, autoscalerUser, managedNodes } from "./eks-nodes";
import { type Endpoint, execKubeconfig } from "./exec-kubeconfig";
import { kubernetesProvider } from "./provider";
import { reason } from "./provider-error";

/** What AWS says of the account and the region before anything is made. */
interface Place {
  /** `aws`, or that of China or the US government. */
  readonly partition: string;
  /** ARN of the role or user that deploys. */
  readonly deployer: string;
  /** The zones that the cluster is in, two or three. */
  readonly zones: readonly string[];
  /** CPUs of one node. */
  readonly cpus: number;
}

/**
 * Annotations of every LoadBalancer Service: without the first it is for the VPC alone. Zones without a pod of the
 * controller are served by the other ones. https://docs.aws.amazon.com/eks/latest/userguide/auto-configure-nlb.html
 */
const loadBalancerAnnotations = {
  "service.beta.kubernetes.io/aws-load-balancer-scheme": "internet-facing",
  "service.beta.kubernetes.io/aws-load-balancer-nlb-target-type": "ip",
  "service.beta.kubernetes.io/aws-load-balancer-attributes": "load_balancing.cross_zone.enabled=true",
};

/**
 * The load balancers of a cluster without Auto Mode, where the controller that every cluster has makes them.
 * https://cloud-provider-aws.sigs.k8s.io/service_controller/
 */
const managedLoadBalancerAnnotations = {
  "service.beta.kubernetes.io/aws-load-balancer-type": "nlb",
  "service.beta.kubernetes.io/aws-load-balancer-scheme": "internet-facing",
  "service.beta.kubernetes.io/aws-load-balancer-cross-zone-load-balancing-enabled": "true",
};

/** Managed policies of the role of the cluster and that of its nodes. */
const rightsOf = {
  auto: {
    // https://docs.aws.amazon.com/eks/latest/userguide/auto-cluster-iam-role.html
    cluster: [
      ...["AmazonEKSClusterPolicy", "AmazonEKSComputePolicy", "AmazonEKSBlockStoragePolicy"],
      ...["AmazonEKSLoadBalancingPolicy", "AmazonEKSNetworkingPolicy"],
    ],
    // https://docs.aws.amazon.com/eks/latest/userguide/auto-create-node-role.html
    nodes: ["AmazonEKSWorkerNodeMinimalPolicy", "AmazonEC2ContainerRegistryPullOnly"],
  },
  managed: {
    cluster: ["AmazonEKSClusterPolicy"],
    // https://docs.aws.amazon.com/eks/latest/userguide/create-node-role.html
    nodes: ["AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly", "AmazonEKS_CNI_Policy"],
  },
} as const;

/** Zones in which EKS cannot be: https://docs.aws.amazon.com/eks/latest/userguide/network-reqs.html */
const zonesWithoutEks = ["use1-az3", "usw1-az2", "cac1-az3"];

/** A cluster on Amazon EKS with a network of its own. */
class EksCluster extends pulumi.ComponentResource implements Cluster {
  readonly provider: k8s.Provider;
  readonly kubeconfig: Secret;
  readonly loadBalancer: LoadBalancer;
  readonly isProtected: boolean;
  readonly autoscalers: readonly string[];

  constructor(name: string, config: EksConfig, place: Place, opts?: pulumi.ComponentResourceOptions) {
    super("gitlab-workspaces:clusters:Eks", name, {}, opts);
    const { protect } = config;
    const { mode } = config.nodes;
    this.isProtected = protect;
    this.loadBalancer = { annotations: mode === "auto" ? loadBalancerAnnotations : managedLoadBalancerAnnotations };
    // By which user Auto Mode evicts is not documented; the settings of its pool keep it from running workspaces.
    this.autoscalers = mode === "auto" ? [] : [autoscalerUser];
    const tags = tagsOf(config);
    const named = (what: string) => ({ ...tags, Name: what });
    const own = { parent: this };

    // Ranges of a VPC cannot be changed: another one is another VPC, and with it another cluster.
    const vpc = new ec2.Vpc(
      config.name,
      {
        cidrBlock: config.network.vpc,
        enableDnsHostnames: true,
        enableDnsSupport: true,
        tags: named(config.name),
      },
      { ...own, protect },
    );
    const gateway = new ec2.InternetGateway(config.name, { vpcId: vpc.id, tags: named(config.name) }, own);
    // One for all zones. https://docs.aws.amazon.com/vpc/latest/userguide/nat-gateways-regional.html
    const nat = new ec2.NatGateway(
      config.name,
      { vpcId: vpc.id, availabilityMode: "regional", connectivityType: "public", tags: named(config.name) },
      { ...own, dependsOn: [gateway] },
    );
    const routed = (kind: "private" | "public", target: Partial<ec2.RouteArgs>, role: string, first: number) => {
      const called = `${config.name}-${kind}`;
      const table = new ec2.RouteTable(called, { vpcId: vpc.id, tags: named(called) }, own);
      const route = new ec2.Route(
        called,
        { routeTableId: table.id, destinationCidrBlock: "0.0.0.0/0", ...target },
        own,
      );
      const subnets = place.zones.map((availabilityZone, index) => {
        const zonal = `${called}-${availabilityZone}`;
        const [bits, at] = kind === "private" ? [2, index] : [6, first + index];
        const subnet = new ec2.Subnet(
          zonal,
          {
            vpcId: vpc.id,
            availabilityZone,
            cidrBlock: subrange(config.network.vpc, bits, at),
            mapPublicIpOnLaunch: false,
            // What load balancers are put by: https://docs.aws.amazon.com/eks/latest/userguide/tag-subnets-auto.html
            tags: { ...named(zonal), [role]: "1" },
          },
          own,
        );
        const association = new ec2.RouteTableAssociation(zonal, { subnetId: subnet.id, routeTableId: table.id }, own);
        return { subnet, association };
      });
      return {
        ids: subnets.map(({ subnet }) => subnet.id),
        ready: [route, ...subnets.map((each) => each.association)],
      };
    };
    const inside = routed("private", { natGatewayId: nat.id }, "kubernetes.io/role/internal-elb", 0);
    // The last quarter of the VPC, in sixteenths.
    const outside = routed("public", { gatewayId: gateway.id }, "kubernetes.io/role/elb", 48);

    const role = (what: string, service: string, actions: readonly string[], policies: readonly string[]) => {
      const called = `${config.name}-${what}`;
      const made = new iam.Role(called, { assumeRolePolicy: trust(service, actions), tags }, own);
      const attachments = policies.map(
        (policy) =>
          new iam.RolePolicyAttachment(
            `${called}-${policy.replace(/^.*\//, "")}`,
            { role: made.name, policyArn: `arn:${place.partition}:iam::aws:policy/${policy}` },
            own,
          ),
      );
      return { made, attachments };
    };
    const { made: clusterRole, attachments: clusterRights } = role(
      ...(["cluster", "eks.amazonaws.com", ["sts:AssumeRole", "sts:TagSession"], rightsOf[mode].cluster] as const),
    );
    const { made: nodeRole, attachments: nodeRights } = role(
      ...(["nodes", "ec2.amazonaws.com", ["sts:AssumeRole"], rightsOf[mode].nodes] as const),
    );

    // EKS makes the group of the logs itself unless it is there, without an end to what is kept.
    const suffix = new RandomId(config.name, { byteLength: 4, prefix: `${config.name}-` }, own);
    const logs = new LogGroup(
      config.name,
      { name: pulumi.interpolate`/aws/eks/${suffix.hex}/cluster`, retentionInDays: config.logDays, tags },
      own,
    );
    const cluster = new eks.Cluster(
      config.name,
      {
        name: suffix.hex,
        roleArn: clusterRole.arn,
        ...(config.kubernetesVersion === undefined ? {} : { version: config.kubernetesVersion }),
        upgradePolicy: { supportType: "STANDARD" },
        vpcConfig: {
          subnetIds: inside.ids,
          endpointPrivateAccess: true,
          endpointPublicAccess: true,
          publicAccessCidrs: [...(config.apiCidrs ?? [])],
        },
        accessConfig: { authenticationMode: "API", bootstrapClusterCreatorAdminPermissions: false },
        // The add-ons are in Auto Mode itself, or ours.
        bootstrapSelfManagedAddons: false,
        // Auto Mode is these three together. Its built-in pools take workspaces away from nodes to save some, and cannot
        // be changed; without them there is ours alone.
        ...(mode === "auto"
          ? { computeConfig: { enabled: true }, storageConfig: { blockStorage: { enabled: true } } }
          : {}),
        kubernetesNetworkConfig: {
          ...(mode === "auto" ? { elasticLoadBalancing: { enabled: true } } : {}),
          serviceIpv4Cidr: config.network.services,
        },
        ...(config.encryptionKey === undefined
          ? {}
          : { encryptionConfig: { provider: { keyArn: config.encryptionKey }, resources: ["secrets"] } }),
        enabledClusterLogTypes: ["api", "audit", "authenticator"],
        deletionProtection: protect,
        tags,
      },
      {
        ...own,
        protect,
        // Auto Mode on or off takes all nodes away, and everything that runs on them.
        replaceOnChanges: ["computeConfig"],
        // What EKS has made in the VPC, it gives back with the rights of this role.
        dependsOn: [...clusterRights, logs],
      },
    );

    const access = (what: string, principalArn: pulumi.Input<string>, type: string, policy: string) => {
      const entry = new eks.AccessEntry(what, { clusterName: cluster.name, principalArn, type, tags }, own);
      return new eks.AccessPolicyAssociation(
        what,
        {
          clusterName: cluster.name,
          principalArn: entry.principalArn,
          policyArn: `arn:${place.partition}:eks::aws:cluster-access-policy/${policy}`,
          accessScope: { type: "cluster" },
        },
        own,
      );
    };
    // By name, so that whoever deploys next takes nothing from who is in the list.
    const administers = (arn: string) =>
      access(`${config.name}-${nameOf(arn)}`, arn, "STANDARD", "AmazonEKSClusterAdminPolicy");
    const deployer = administers(place.deployer);
    const admins = [...new Set(config.admins)].filter((arn) => arn !== place.deployer).map(administers);
    // Managed groups bring an entry for their nodes themselves.
    const joining =
      mode === "auto" ? [access(`${config.name}-nodes`, nodeRole.arn, "EC2", "AmazonEKSAutoNodePolicy")] : [];

    this.kubeconfig = kubeconfigOf(
      {
        name: cluster.name,
        server: cluster.endpoint,
        authority: cluster.certificateAuthority.data,
      },
      config,
    );
    const answered = answering(pulumi.all([this.kubeconfig, deployer.id]).apply(([text]) => text));
    // No two clusters have the same issuer, and a cluster keeps its own.
    const identity = cluster.identities.apply((all) => all[0]?.oidcs[0]?.issuer ?? "");
    const ownProvider = kubernetesProvider(answered, identity, { ...own, dependsOn: [deployer] }, "cluster-kubernetes");
    const ready = (mode === "auto" ? autoNodes : managedNodes)({
      ...{
        config,
        cluster,
        tags,
        nodeTags: tagsOf({ labels: {} }),
        subnets: inside.ids,
        cpus: place.cpus,
        nodeRole,
        role,
        own,
      },
      ready: [...joining, ...nodeRights, ...inside.ready],
      on: { ...own, provider: ownProvider },
    });
    this.provider = kubernetesProvider(answered, identity, {
      ...own,
      // Admins keep their access for as long as there is anything to look after.
      dependsOn: [...ready, ...outside.ready, ...admins],
    });
    this.registerOutputs({});
  }
}

/** A cluster on Amazon EKS that somebody else made and looks after. */
class ExistingEksCluster extends pulumi.ComponentResource implements Cluster {
  readonly provider: k8s.Provider;
  readonly kubeconfig: Secret;
  readonly loadBalancer: LoadBalancer;
  readonly isProtected = false;
  // As the autoscaler's own chart has it; who has another one is not harmed by it.
  readonly autoscalers = [autoscalerUser];

  /** @param identity that no other cluster has. */
  constructor(
    name: string,
    identity: string,
    kubeconfig: Secret,
    annotations: Readonly<Record<string, string>>,
    opts?: pulumi.ComponentResourceOptions,
  ) {
    super("gitlab-workspaces:clusters:ExistingEks", name, {}, opts);
    this.kubeconfig = kubeconfig;
    this.loadBalancer = { annotations };
    this.provider = kubernetesProvider(kubeconfig, identity, { parent: this });
    this.registerOutputs({});
  }
}

/**
 * Makes the cluster, or takes the one that is there, once the credentials were found to be of the account and the region to
 * have what it takes.
 * @throws pulumi.RunError when they are not, or when an existing cluster cannot carry workspaces. Nothing has been created
 * then.
 */
export async function createEksCluster(config: EksConfig): Promise<Cluster> {
  const caller = await requireAccount(config);
  return config.existing
    ? await adoptCluster(config)
    : new EksCluster("cluster", config, await requirePlace(config, caller));
}

/** Asks AWS whose credentials these are. @returns their ARN. */
async function requireAccount({ account, profile }: EksConfig): Promise<string> {
  const { accountId, arn } = await getCallerIdentity({}).catch((error: unknown) => {
    throw refusal(
      `AWS does not take the credentials here: ${reason(error)}\n` +
        `Log in: aws sso login${profile === undefined ? "" : ` --profile ${profile}`}\n` +
        `Try: aws sts get-caller-identity${profile === undefined ? "" : ` --profile ${profile}`}\nNothing was created.`,
    );
  });
  if (accountId === account) return arn;
  throw refusal(
    `The credentials here are of the AWS account ${accountId}, and cluster.account says ${account}.\n` +
      `Use those that are meant: pulumi config set --stack ${pulumi.getStack()} aws:profile '<profile>'\nNothing was created.`,
  );
}

/** Asks AWS for the zones of the region, and whether nodes can be there. */
async function requirePlace({ region, nodes: { machineType, mode } }: EksConfig, caller: string): Promise<Place> {
  const list = `aws ec2 describe-availability-zones --region ${region}`;
  const [{ issuerArn }, { names }] = await Promise.all([
    // Access is given to a role, not to a session in it.
    iam.getSessionContext({ arn: caller }).catch((error: unknown) => {
      throw refusal(`The role of ${caller} cannot be looked up: ${reason(error)}\nNothing was created.`);
    }),
    // In whatever state they are: a zone that is away for an hour must not have its subnets replaced.
    getAvailabilityZones({
      filters: [{ name: "opt-in-status", values: ["opt-in-not-required"] }],
      excludeZoneIds: [...zonesWithoutEks],
    }).catch((error: unknown) => {
      throw refusal(`The zones of ${region} cannot be read: ${reason(error)}\nTry: ${list}\nNothing was created.`);
    }),
  ]);
  // Always the same ones, whatever order they come in: a subnet of another zone is another subnet.
  const zones = [...names].sort().slice(0, 3);
  if (zones.length < 2)
    throw refusal(
      `aws:region is ${region}, which has ${zones.length === 0 ? "no zone" : `one zone, ${zones.join()},`} for this ` +
        `account, and EKS takes two.\nList them: ${list}\nNothing was created.`,
    );
  const [{ locations }, { defaultVcpus, supportedArchitectures }] = await Promise.all([
    ec2.getInstanceTypeOfferings({
      locationType: "availability-zone",
      filters: [{ name: "instance-type", values: [machineType] }],
    }),
    ec2.getInstanceType({ instanceType: machineType }),
  ]).catch((error: unknown) => {
    throw noSuchMachine(machineType, region, reason(error));
  });
  const without = zones.filter((zone) => !locations.includes(zone));
  // Managed groups are one for each zone.
  if (without.length > (mode === "managed" ? 0 : zones.length - 1))
    throw noSuchMachine(machineType, region, `${without.join(", ")} ${without.length > 1 ? "have" : "has"} none.`);
  if (!supportedArchitectures.includes("x86_64"))
    throw noSuchMachine(
      ...([machineType, region] as const),
      `it is for ${supportedArchitectures.join(", ")}, and the tools that GitLab puts into every workspace are for amd64.`,
    );
  return { partition: caller.split(":")[1] ?? "aws", deployer: issuerArn, zones, cpus: defaultVcpus };
}

function noSuchMachine(machineType: string, region: string, why: string): pulumi.RunError {
  return refusal(
    `cluster.nodes.machineType is ${machineType}, which cannot be had in ${region}: ${why}\n` +
      `List what can: aws ec2 describe-instance-type-offerings --region ${region} --location-type availability-zone\n` +
      "Nothing was created.",
  );
}

async function adoptCluster(config: EksConfig): Promise<Cluster> {
  const { account, name, region } = config;
  const found = await eks.getCluster({ name }).catch((error: unknown) => {
    throw refusal(
      `There is no cluster ${name} in ${region} of the account ${account}: ${reason(error)}\n` +
        `List them: aws eks list-clusters --region ${region}\n` +
        `To have one made: pulumi config rm --stack ${pulumi.getStack()} --path gitlab-workspaces:cluster.existing\nNothing was created.`,
    );
  });
  if (found.status !== "ACTIVE" && found.status !== "UPDATING")
    throw refusal(
      `The cluster ${name} is ${found.status}.\nSee: aws eks describe-cluster --name ${name} --region ${region}\n` +
        "Nothing was created.",
    );
  const isAuto = found.computeConfigs.some(({ enabled }) => enabled);
  if (!isAuto)
    await pulumi.log.warn(
      `The cluster ${name} is not in Auto Mode. Its load balancers are asked of the AWS Load Balancer Controller, which ` +
        "must be there; nodes must keep pods from the metadata service by a hop limit of 1: " +
        "https://docs.aws.amazon.com/eks/latest/best-practices/identity-and-access-management.html",
    );
  const kubeconfig = kubeconfigOf(
    { name, server: found.endpoint, authority: found.certificateAuthorities[0]?.data ?? "" },
    config,
  );
  if (!pulumi.runtime.isDryRun()) {
    const { inspectCluster } = await import("./inspection");
    for (const warning of await inspectCluster(kubeconfig)) await pulumi.log.warn(warning);
  }
  return new ExistingEksCluster("cluster", found.identities[0]?.oidcs[0]?.issuer ?? found.arn, kubeconfig, {
    ...loadBalancerAnnotations,
    ...(isAuto ? {} : { "service.beta.kubernetes.io/aws-load-balancer-type": "external" }),
  });
}

/**
 * A kubeconfig that works on any machine with the AWS CLI, and holds no credentials itself.
 * https://docs.aws.amazon.com/cli/latest/reference/eks/get-token.html
 */
function kubeconfigOf(endpoint: Endpoint, { region, profile, role }: EksConfig): Secret {
  return execKubeconfig(endpoint, {
    command: "aws",
    args: [
      ...["eks", "get-token", "--cluster-name", endpoint.name, "--region", region, "--output", "json"],
      ...(role === undefined ? [] : ["--role-arn", role]),
    ],
    // The credentials that the provider has, and that were found to be of the account.
    ...(profile === undefined ? {} : { env: [{ name: "AWS_PROFILE", value: profile }] }),
    installHint: "https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html",
  });
}

/** One of the equal parts of a range. @param bits how much longer their prefix is. */
function subrange(range: string, bits: number, index: number): string {
  const [first, prefix] = IPv4.parseCIDR(range);
  const length = prefix + bits;
  const number = first.octets.reduce((sum, octet) => sum * 256 + octet, 0) + index * 2 ** (32 - length);
  return `${[24, 16, 8, 0].map((shift) => Math.floor(number / 2 ** shift) % 256).join(".")}/${length}`;
}

/** Who may take on a role. */
function trust(service: string, actions: readonly string[]): string {
  const statement = { Effect: "Allow", Principal: { Service: service }, Action: actions };
  return JSON.stringify({ Version: "2012-10-17", Statement: [statement] });
}

/** `123456789012-role-platform` of `arn:aws:iam::123456789012:role/platform`. */
function nameOf(arn: string): string {
  return arn.split(":").slice(4).join("-").replaceAll("/", "-");
}

/** AWS allows fewer characters in a tag than Pulumi in the name of a stack. */
function tagsOf({ labels }: Pick<EksConfig, "labels">): Record<string, string> {
  const value = (text: string) => text.replaceAll(/[^\p{L}\p{Z}\p{N}_.:/=+\-@]/gu, "-").slice(0, 256);
  return { ...labels, project: value(pulumi.getProject()), stack: value(pulumi.getStack()) };
}
