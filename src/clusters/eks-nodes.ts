import * as ec2 from "@pulumi/aws/ec2";
import * as eks from "@pulumi/aws/eks";
import * as iam from "@pulumi/aws/iam";
import { CustomResource } from "@pulumi/kubernetes/apiextensions/customResource";
import { ConfigMap } from "@pulumi/kubernetes/core/v1/configMap";
import { Release } from "@pulumi/kubernetes/helm/v3/release";
import { StorageClass } from "@pulumi/kubernetes/storage/v1/storageClass";
import * as pulumi from "@pulumi/pulumi";
import type { EksConfig } from "../config/schema";
import { sparing } from "./autoscaler";
import { outsideMaintenance } from "./maintenance-window";

/** What nodes of a cluster are made of and with. */
export interface Ground {
  readonly config: EksConfig;
  readonly cluster: eks.Cluster;
  readonly tags: Readonly<Record<string, string>>;
  /** Those that no setting changes. */
  readonly nodeTags: Readonly<Record<string, string>>;
  /** The private subnet of each zone. */
  readonly subnets: readonly pulumi.Output<string>[];
  /** CPUs of one node. */
  readonly cpus: number;
  readonly nodeRole: iam.Role;
  /** What has to be there before nodes: their rights, and their way to image registries. */
  readonly ready: readonly pulumi.Resource[];
  /** Makes a role that a service of AWS takes on, with managed policies. */
  readonly role: (
    what: string,
    service: string,
    actions: readonly string[],
    policies: readonly string[],
  ) => { readonly made: iam.Role; readonly attachments: readonly pulumi.Resource[] };
  readonly own: pulumi.CustomResourceOptions;
  /** With the provider of what belongs to the cluster itself. */
  readonly on: pulumi.CustomResourceOptions;
}

/**
 * A node lives for 21 days at most, draining included; the API server refuses any more, and a day is what draining gets
 * unless it is said: https://docs.aws.amazon.com/eks/latest/userguide/create-node-pool.html
 */
const lifetime = { expireAfter: "480h", terminationGracePeriod: "24h" };

/** The ServiceAccount that the autoscaler runs as, and so the user by which it evicts. */
const autoscaler = { namespace: "kube-system", serviceAccount: "cluster-autoscaler" };

/** https://github.com/kubernetes/autoscaler/releases/tag/cluster-autoscaler-chart-9.52.1 */
const autoscalerChart = { repository: "https://kubernetes.github.io/autoscaler", version: "9.52.1" };

/** The user by which the autoscaler of managed nodes evicts pods. */
export const autoscalerUser = `system:serviceaccount:${autoscaler.namespace}:${autoscaler.serviceAccount}`;

/** Pods take on a role through the agent, by their ServiceAccount: https://docs.aws.amazon.com/eks/latest/userguide/pod-id-role.html */
const podIdentity = ["pods.eks.amazonaws.com", ["sts:AssumeRole", "sts:TagSession"]] as const;

/** Nodes that Auto Mode makes by a pool of ours. @returns what has to be there before workloads. */
export function autoNodes({ config, cluster, subnets, cpus, nodeRole, ready, on }: Ground): pulumi.Resource[] {
  const { name, nodes } = config;
  // https://docs.aws.amazon.com/eks/latest/userguide/auto-net-pol.html. Clusters in Auto Mode are born without it: it
  // comes with the add-on that they do not have.
  const policies = new ConfigMap(
    `${name}-network-policies`,
    {
      metadata: { namespace: "kube-system", name: "amazon-vpc-cni" },
      data: { "enable-network-policy-controller": "true" },
    },
    on,
  );
  // https://docs.aws.amazon.com/eks/latest/userguide/create-node-class.html
  const nodeClass = new CustomResource(
    `${name}-node-class`,
    {
      apiVersion: "eks.amazonaws.com/v1",
      kind: "NodeClass",
      metadata: { name: "gitlab-workspaces" },
      spec: {
        role: nodeRole.name,
        subnetSelectorTerms: subnets.map((id) => ({ id })),
        securityGroupSelectorTerms: [{ id: cluster.vpcConfig.clusterSecurityGroupId }],
        networkPolicy: "DefaultAllow",
        ephemeralStorage: { size: `${nodes.diskGiB}Gi` },
      },
    },
    on,
  );
  const pool = new CustomResource(
    `${name}-node-pool`,
    {
      apiVersion: "karpenter.sh/v1",
      kind: "NodePool",
      metadata: { name: "gitlab-workspaces" },
      spec: {
        template: {
          spec: {
            ...lifetime,
            nodeClassRef: { group: "eks.amazonaws.com", kind: "NodeClass", name: "gitlab-workspaces" },
            requirements: [
              { key: "kubernetes.io/arch", operator: "In", values: ["amd64"] },
              { key: "karpenter.sh/capacity-type", operator: "In", values: ["on-demand"] },
              { key: "node.kubernetes.io/instance-type", operator: "In", values: [nodes.machineType] },
            ],
          },
        },
        disruption: { consolidationPolicy: "WhenEmpty", consolidateAfter: "10m", budgets: budgets(config) },
        limits: { cpu: String(nodes.max * cpus) },
      },
    },
    { ...on, dependsOn: [nodeClass, policies, ...ready] },
  );
  return [pool, defaultStorage(name, "ebs.csi.eks.amazonaws.com", on)];
}

/** How many nodes of the pool may be replaced at a time, for which reason and when: https://karpenter.sh/docs/concepts/disruption/ */
function budgets({ maintenance }: EksConfig): object[] {
  return [
    { nodes: "100%", reasons: ["Empty"] },
    { nodes: "0", reasons: ["Underutilized"] },
    { nodes: "1", reasons: ["Drifted"] },
    ...outsideMaintenance(maintenance).map((weekly) => ({ nodes: "0", reasons: ["Drifted"], ...weekly })),
  ];
}

/** Groups of nodes with the cluster autoscaler. @returns what has to be there before workloads. */
export function managedNodes(ground: Ground): pulumi.Resource[] {
  const { config, cluster, tags, nodeTags, subnets, nodeRole, ready, role, own, on } = ground;
  const { name, nodes } = config;
  const clusterName = cluster.name;
  const addon = (
    addonName: string,
    dependsOn: readonly pulumi.Resource[],
    more: Partial<eks.AddonArgs> = {},
  ): eks.Addon =>
    new eks.Addon(
      `${name}-${addonName}`,
      { clusterName, addonName, resolveConflictsOnCreate: "OVERWRITE", tags, ...more },
      { ...own, dependsOn: [...dependsOn] },
    );
  // Nodes do not get ready without a network.
  const before = [
    addon("eks-pod-identity-agent", []),
    addon("kube-proxy", []),
    // https://docs.aws.amazon.com/eks/latest/userguide/cni-network-policy-configure.html
    addon("vpc-cni", [], { configurationValues: JSON.stringify({ enableNetworkPolicy: "true" }) }),
  ];
  const template = new ec2.LaunchTemplate(
    name,
    {
      // Pods are two hops from the metadata service, and do not get at the credentials of the node.
      metadataOptions: { httpEndpoint: "enabled", httpTokens: "required", httpPutResponseHopLimit: 1 },
      blockDeviceMappings: [
        {
          deviceName: "/dev/xvda",
          ebs: { volumeSize: nodes.diskGiB, volumeType: "gp3", encrypted: "true", deleteOnTermination: "true" },
        },
      ],
      // Not the user's own: a change here replaces every node.
      tagSpecifications: ["instance", "volume"].map((resourceType) => ({ resourceType, tags: nodeTags })),
      tags,
    },
    own,
  );
  // One for each zone: a volume is in one, and the autoscaler has to make a node there.
  // https://github.com/kubernetes/autoscaler/blob/master/cluster-autoscaler/cloudprovider/aws/README.md#common-notes-and-gotchas
  const least = nodes.min ?? 1;
  const groups = subnets.map((subnet, index) => {
    const minSize = Math.floor(least / subnets.length) + (index < least % subnets.length ? 1 : 0);
    return new eks.NodeGroup(
      `${name}-${index}`,
      {
        clusterName,
        nodeRoleArn: nodeRole.arn,
        subnetIds: [subnet],
        amiType: "AL2023_x86_64_STANDARD",
        instanceTypes: [nodes.machineType],
        capacityType: "ON_DEMAND",
        scalingConfig: { minSize, desiredSize: minSize, maxSize: nodes.max },
        version: cluster.version,
        launchTemplate: { id: template.id, version: template.latestVersion.apply(String) },
        updateConfig: { maxUnavailable: 1 },
        nodeRepairConfig: { enabled: true },
        tags,
      },
      // The autoscaler changes it.
      { ...own, ignoreChanges: ["scalingConfig.desiredSize"], dependsOn: [...ready, ...before] },
    );
  });
  const disks = role("disks", ...podIdentity, ["service-role/AmazonEBSCSIDriverPolicy"]);
  const after = [
    addon("coredns", groups),
    addon("aws-ebs-csi-driver", [...groups, ...disks.attachments], {
      podIdentityAssociations: [{ serviceAccount: "ebs-csi-controller-sa", roleArn: disks.made.arn }],
    }),
  ];
  return [
    ...[...groups, ...after, clusterAutoscaler(ground, [...groups, ...before])],
    defaultStorage(name, "ebs.csi.aws.com", { ...on, dependsOn: after }),
  ];
}

/** The cluster autoscaler, which may change these groups and no others. */
function clusterAutoscaler(
  { config, cluster, tags, role, own, on }: Ground,
  dependsOn: readonly pulumi.Resource[],
): pulumi.Resource {
  const { name, region, nodes } = config;
  const scaler = role("autoscaler", ...podIdentity, []);
  // https://github.com/kubernetes/autoscaler/blob/master/cluster-autoscaler/cloudprovider/aws/README.md#iam-policy
  const rights = new iam.RolePolicy(
    `${name}-autoscaler`,
    {
      role: scaler.made.name,
      policy: pulumi.jsonStringify({
        Version: "2012-10-17",
        Statement: [
          {
            Effect: "Allow",
            Action: [
              ...["autoscaling:DescribeAutoScalingGroups", "autoscaling:DescribeAutoScalingInstances"],
              ...["autoscaling:DescribeLaunchConfigurations", "autoscaling:DescribeScalingActivities"],
              ...["ec2:DescribeImages", "ec2:DescribeInstanceTypes", "ec2:DescribeLaunchTemplateVersions"],
              ...["ec2:GetInstanceTypesFromInstanceRequirements", "eks:DescribeNodegroup"],
            ],
            Resource: "*",
          },
          {
            Effect: "Allow",
            Action: ["autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"],
            Resource: "*",
            Condition: { StringEquals: { "aws:ResourceTag/eks:cluster-name": cluster.name } },
          },
        ],
      }),
    },
    own,
  );
  const association = new eks.PodIdentityAssociation(
    `${name}-autoscaler`,
    { clusterName: cluster.name, ...autoscaler, roleArn: scaler.made.arn, tags },
    { ...own, dependsOn: [rights] },
  );
  return new Release(
    `${name}-autoscaler`,
    {
      chart: "cluster-autoscaler",
      version: autoscalerChart.version,
      repositoryOpts: { repo: autoscalerChart.repository },
      name: "cluster-autoscaler",
      namespace: autoscaler.namespace,
      timeout: 900,
      // https://github.com/kubernetes/autoscaler/blob/cluster-autoscaler-chart-9.52.1/charts/cluster-autoscaler/values.yaml
      values: {
        autoDiscovery: { clusterName: cluster.name },
        awsRegion: region,
        rbac: { serviceAccount: { create: true, name: autoscaler.serviceAccount } },
        extraArgs: {
          // Each group could grow to the most that all of them may have.
          "max-nodes-total": nodes.max,
          "balance-similar-node-groups": true,
          "skip-nodes-with-local-storage": false,
          ...sparing,
        },
      },
    },
    { ...on, dependsOn: [...dependsOn, association] },
  );
}

/** EKS makes none the default: https://docs.aws.amazon.com/eks/latest/userguide/create-storage-class.html */
function defaultStorage(name: string, provisioner: string, opts: pulumi.CustomResourceOptions): StorageClass {
  return new StorageClass(
    `${name}-gp3`,
    {
      metadata: { name: "gp3", annotations: { "storageclass.kubernetes.io/is-default-class": "true" } },
      provisioner,
      parameters: { type: "gp3", encrypted: "true" },
      reclaimPolicy: "Delete",
      volumeBindingMode: "WaitForFirstConsumer",
      allowVolumeExpansion: true,
    },
    opts,
  );
}
