import assert from "node:assert/strict";
import * as pulumi from "@pulumi/pulumi";
import { withCommands } from "../../support/commands";
import { bridgeFails, find, inClear, refused, sdkFolders } from "../../support/cluster-runs";
import { exampleOf } from "../../support/examples";
import { type Run, runProgram, value } from "../../support/program";
import { cloudStack } from "../../support/stacks";

const clusterType = "aws:eks/cluster:Cluster";
const poolType = "kubernetes:karpenter.sh/v1:NodePool";
const identity = "aws:index/getCallerIdentity:getCallerIdentity";
const zonesOf = "aws:index/getAvailabilityZones:getAvailabilityZones";
const offerings = "aws:ec2/getInstanceTypeOfferings:getInstanceTypeOfferings";
const clusterOf = "aws:eks/getCluster:getCluster";
const existing = { existing: true, name: "Shared_1", apiCidrs: undefined };

interface NodePool {
  readonly template: { readonly spec: Record<string, unknown> };
  readonly disruption: { readonly budgets: readonly object[] } & Record<string, unknown>;
  readonly limits: object;
}

const poolOf = (run: Run) => find(run, poolType).inputs["spec"] as NodePool;

describe("A cluster on EKS", () => {
  withCommands("aws");
  let run: Run;
  before(async () => {
    run = await runProgram(cloudStack("eks"));
  });

  it("makes exactly these resources for the example stack", async () => {
    const example = await runProgram(await exampleOf("eks"));
    assert.deepEqual(example.resources.map(({ type, name }) => `${type} ${name}`).sort(), [
      "aws:cloudwatch/logGroup:LogGroup workspaces",
      "aws:ec2/internetGateway:InternetGateway workspaces",
      "aws:ec2/natGateway:NatGateway workspaces",
      "aws:ec2/route:Route workspaces-private",
      "aws:ec2/route:Route workspaces-public",
      "aws:ec2/routeTable:RouteTable workspaces-private",
      "aws:ec2/routeTable:RouteTable workspaces-public",
      "aws:ec2/routeTableAssociation:RouteTableAssociation workspaces-private-eu-central-1a",
      "aws:ec2/routeTableAssociation:RouteTableAssociation workspaces-private-eu-central-1b",
      "aws:ec2/routeTableAssociation:RouteTableAssociation workspaces-private-eu-central-1c",
      "aws:ec2/routeTableAssociation:RouteTableAssociation workspaces-public-eu-central-1a",
      "aws:ec2/routeTableAssociation:RouteTableAssociation workspaces-public-eu-central-1b",
      "aws:ec2/routeTableAssociation:RouteTableAssociation workspaces-public-eu-central-1c",
      "aws:ec2/subnet:Subnet workspaces-private-eu-central-1a",
      "aws:ec2/subnet:Subnet workspaces-private-eu-central-1b",
      "aws:ec2/subnet:Subnet workspaces-private-eu-central-1c",
      "aws:ec2/subnet:Subnet workspaces-public-eu-central-1a",
      "aws:ec2/subnet:Subnet workspaces-public-eu-central-1b",
      "aws:ec2/subnet:Subnet workspaces-public-eu-central-1c",
      "aws:ec2/vpc:Vpc workspaces",
      "aws:eks/accessEntry:AccessEntry workspaces-123456789012-role-deployer",
      "aws:eks/accessEntry:AccessEntry workspaces-nodes",
      "aws:eks/accessPolicyAssociation:AccessPolicyAssociation workspaces-123456789012-role-deployer",
      "aws:eks/accessPolicyAssociation:AccessPolicyAssociation workspaces-nodes",
      "aws:eks/cluster:Cluster workspaces",
      "aws:iam/role:Role workspaces-cluster",
      "aws:iam/role:Role workspaces-nodes",
      "aws:iam/rolePolicyAttachment:RolePolicyAttachment workspaces-cluster-AmazonEKSBlockStoragePolicy",
      "aws:iam/rolePolicyAttachment:RolePolicyAttachment workspaces-cluster-AmazonEKSClusterPolicy",
      "aws:iam/rolePolicyAttachment:RolePolicyAttachment workspaces-cluster-AmazonEKSComputePolicy",
      "aws:iam/rolePolicyAttachment:RolePolicyAttachment workspaces-cluster-AmazonEKSLoadBalancingPolicy",
      "aws:iam/rolePolicyAttachment:RolePolicyAttachment workspaces-cluster-AmazonEKSNetworkingPolicy",
      "aws:iam/rolePolicyAttachment:RolePolicyAttachment workspaces-nodes-AmazonEC2ContainerRegistryPullOnly",
      "aws:iam/rolePolicyAttachment:RolePolicyAttachment workspaces-nodes-AmazonEKSWorkerNodeMinimalPolicy",
      "gitlab-workspaces:clusters:Eks cluster",
      "gitlab-workspaces:platform:GeneratedSecrets generated-secrets",
      "gitlab-workspaces:platform:GitLabAgent gitlab-agent-team-a",
      "gitlab-workspaces:platform:TlsSecrets workspaces-proxy-tls",
      "gitlab-workspaces:platform:Traefik traefik",
      "gitlab-workspaces:platform:WorkspacesProxy workspaces-proxy",
      "kubernetes:core/v1:ConfigMap workspaces-network-policies",
      "kubernetes:core/v1:Namespace gitlab-agent-team-a-namespace",
      "kubernetes:core/v1:Namespace traefik-namespace",
      "kubernetes:core/v1:Namespace workspaces-proxy-namespace",
      "kubernetes:core/v1:Secret gitlab-agent-team-a-token",
      "kubernetes:core/v1:Secret workspaces-proxy-config",
      "kubernetes:core/v1:Secret workspaces-proxy-tls-domain",
      "kubernetes:core/v1:Secret workspaces-proxy-tls-wildcard",
      "kubernetes:core/v1:Service traefik-service",
      "kubernetes:core/v1:Service workspaces-proxy-metrics-closed",
      "kubernetes:eks.amazonaws.com/v1:NodeClass workspaces-node-class",
      "kubernetes:helm.sh/v3:Release gitlab-agent-team-a",
      "kubernetes:helm.sh/v3:Release traefik",
      "kubernetes:helm.sh/v3:Release workspaces-proxy",
      "kubernetes:karpenter.sh/v1:NodePool workspaces-node-pool",
      "kubernetes:networking.k8s.io/v1:Ingress workspaces-proxy-metrics-closed",
      "kubernetes:policy/v1:PodDisruptionBudget gitlab-agent-team-a-disruption-budget",
      "kubernetes:policy/v1:PodDisruptionBudget workspaces-proxy-disruption-budget",
      "kubernetes:storage.k8s.io/v1:StorageClass workspaces-gp3",
      "pulumi-nodejs:dynamic/gitlab-workspaces:DestroyGuard destroy-guard",
      "pulumi:providers:kubernetes cluster-kubernetes",
      "pulumi:providers:kubernetes kubernetes",
      "pulumi:providers:pulumi-nodejs destroy-guard",
      "random:index/randomId:RandomId workspaces",
      "random:index/randomPassword:RandomPassword signing-key",
      "tls:index/privateKey:PrivateKey ssh-host-key",
    ]);
  });

  it("is in Auto Mode whole, without pools whose nodes are taken away from workspaces", () => {
    const { inputs } = find(run, clusterType);
    assert.deepEqual(inputs["computeConfig"], { enabled: true });
    assert.deepEqual(inputs["storageConfig"], { blockStorage: { enabled: true } });
    assert.deepEqual(inputs["kubernetesNetworkConfig"], {
      elasticLoadBalancing: { enabled: true },
      serviceIpv4Cidr: "172.20.0.0/16",
    });
    assert.equal(inputs["bootstrapSelfManagedAddons"], false);
  });

  it("ends no workspace to save a node, replaces nodes in the maintenance window alone, and always lets empty ones go", () => {
    const { disruption } = poolOf(run);
    assert.equal(disruption["consolidationPolicy"], "WhenEmpty");
    assert.deepEqual(disruption.budgets, [
      { nodes: "100%", reasons: ["Empty"] },
      { nodes: "0", reasons: ["Underutilized"] },
      { nodes: "1", reasons: ["Drifted"] },
      { nodes: "0", reasons: ["Drifted"], schedule: "0 7 * * 6", duration: "18h" },
      { nodes: "0", reasons: ["Drifted"], schedule: "0 7 * * 0", duration: "138h" },
    ]);
  });

  it("keeps nodes for as long as AWS does: 21 days with their draining", () => {
    const { expireAfter, terminationGracePeriod } = poolOf(run).template.spec;
    const hours = (text: unknown) => Number(/^(\d+)h$/.exec(String(text))?.[1]);
    assert.equal(hours(expireAfter) + hours(terminationGracePeriod), 21 * 24);
  });

  it("has amd64 nodes of the one instance type, as many as max has CPUs", async () => {
    const scaled = poolOf(await runProgram(cloudStack("eks", { nodes: { max: 9, machineType: "c7i.xlarge" } })));
    assert.deepEqual(scaled.limits, { cpu: "36" });
    assert.deepEqual(scaled.template.spec["requirements"], [
      { key: "kubernetes.io/arch", operator: "In", values: ["amd64"] },
      { key: "karpenter.sh/capacity-type", operator: "In", values: ["on-demand"] },
      { key: "node.kubernetes.io/instance-type", operator: "In", values: ["c7i.xlarge"] },
    ]);
  });

  it("enforces NetworkPolicies, on nodes of a class of its own in the private subnets", () => {
    const { inputs } = find(run, "kubernetes:core/v1:ConfigMap");
    assert.deepEqual(inputs["data"], { "enable-network-policy-controller": "true" });
    const { namespace, name } = inputs["metadata"] as { namespace: string; name: string };
    assert.equal(`${namespace}/${name}`, "kube-system/amazon-vpc-cni");
    const nodeClass = find(run, "kubernetes:eks.amazonaws.com/v1:NodeClass").inputs;
    assert.deepEqual(nodeClass["spec"], {
      role: "role-1a2b3c4",
      subnetSelectorTerms: ["a", "b", "c"].map((zone) => ({ id: `workspaces-private-eu-central-1${zone}-id` })),
      securityGroupSelectorTerms: [{ id: "sg-0123" }],
      networkPolicy: "DefaultAllow",
      ephemeralStorage: { size: "100Gi" },
    });
    const { name: called } = nodeClass["metadata"] as { name: string };
    assert.equal((poolOf(run).template.spec["nodeClassRef"] as { name: string }).name, called);
  });

  it("has one default StorageClass, encrypted, of the driver that Auto Mode has", () => {
    const { inputs } = find(run, "kubernetes:storage.k8s.io/v1:StorageClass");
    assert.equal(inputs["provisioner"], "ebs.csi.eks.amazonaws.com");
    assert.deepEqual(inputs["parameters"], { type: "gp3", encrypted: "true" });
    const { annotations } = inputs["metadata"] as { annotations: object };
    assert.deepEqual(annotations, { "storageclass.kubernetes.io/is-default-class": "true" });
  });

  it("can be reached from the configured ranges alone, and from its own network", () => {
    const { subnetIds, ...rest } = find(run, clusterType).inputs["vpcConfig"] as Record<string, unknown>;
    assert.equal((subnetIds as string[]).length, 3);
    assert.deepEqual(rest, {
      endpointPrivateAccess: true,
      endpointPublicAccess: true,
      publicAccessCidrs: ["192.0.2.0/24"],
    });
  });

  it("is the deploying role's and the admins', each once, and of nobody because they made it", async () => {
    const admins = ["arn:aws:iam::123456789012:role/deployer", "arn:aws:iam::123456789012:user/team/ann"];
    const shared = await runProgram(cloudStack("eks", { admins }));
    const entries = shared.resources.filter(({ type }) => type === "aws:eks/accessEntry:AccessEntry");
    assert.deepEqual(entries.map(({ name, inputs }) => [name, inputs["principalArn"], inputs["type"]]).sort(), [
      ["workspaces-123456789012-role-deployer", admins[0], "STANDARD"],
      ["workspaces-123456789012-user-team-ann", admins[1], "STANDARD"],
      ["workspaces-nodes", "arn:aws:iam::123456789012:role/role-1a2b3c4", "EC2"],
    ]);
    assert.deepEqual(find(run, clusterType).inputs["accessConfig"], {
      authenticationMode: "API",
      bootstrapClusterCreatorAdminPermissions: false,
    });
  });

  it("has subnets in three zones, always the same ones, that overlap nowhere and say what they are for", () => {
    const subnets = run.resources.filter(({ type }) => type === "aws:ec2/subnet:Subnet");
    assert.deepEqual(
      subnets.map(({ inputs }) => `${String(inputs["availabilityZone"])} ${String(inputs["cidrBlock"])}`).sort(),
      [
        "eu-central-1a 10.0.0.0/18",
        "eu-central-1a 10.0.192.0/22",
        "eu-central-1b 10.0.196.0/22",
        "eu-central-1b 10.0.64.0/18",
        "eu-central-1c 10.0.128.0/18",
        "eu-central-1c 10.0.200.0/22",
      ],
    );
    for (const { name, inputs } of subnets) {
      const tags = inputs["tags"] as Record<string, string>;
      const roles = Object.keys(tags).filter((key) => key.startsWith("kubernetes.io/role/"));
      assert.deepEqual(roles, [
        name.includes("private") ? "kubernetes.io/role/internal-elb" : "kubernetes.io/role/elb",
      ]);
    }
  });

  it("asks for no Local Zones, and for none of the zones that EKS cannot be in", async () => {
    const asked: Readonly<Record<string, unknown>>[] = [];
    const names = ["eu-central-1a", "eu-central-1b"];
    await runProgram(cloudStack("eks"), {
      [zonesOf]: (args) => {
        asked.push(args);
        return { names };
      },
    });
    assert.deepEqual(asked, [
      {
        filters: [{ name: "opt-in-status", values: ["opt-in-not-required"] }],
        excludeZoneIds: ["use1-az3", "usw1-az2", "cac1-az3"],
      },
    ]);
  });

  it("has logs that end, under the name that EKS will write to", () => {
    const { inputs } = find(run, "aws:cloudwatch/logGroup:LogGroup");
    assert.equal(inputs["name"], "/aws/eks/workspaces-1a2b3c4d/cluster");
    assert.equal(inputs["retentionInDays"], 90);
    assert.equal(find(run, clusterType).inputs["name"], "workspaces-1a2b3c4d");
  });

  it("leaves the version to EKS unless one is named, and to no version that costs extra", async () => {
    assert.equal(find(run, clusterType).inputs["version"], undefined);
    assert.deepEqual(find(run, clusterType).inputs["upgradePolicy"], { supportType: "STANDARD" });
    const named = await runProgram(cloudStack("eks", { kubernetesVersion: "1.35" }));
    assert.equal(find(named, clusterType).inputs["version"], "1.35");
  });

  it("encrypts with a key that is named", async () => {
    assert.equal(find(run, clusterType).inputs["encryptionConfig"], undefined);
    const encryptionKey = "arn:aws:kms:eu-central-1:123456789012:key/1111";
    const encrypted = await runProgram(cloudStack("eks", { encryptionKey }));
    assert.deepEqual(find(encrypted, clusterType).inputs["encryptionConfig"], {
      provider: { keyArn: encryptionKey },
      resources: ["secrets"],
    });
  });

  it("tags what can be tagged with project, stack and the user's own", async () => {
    const tagged = await runProgram(cloudStack("eks", { labels: { team: "a" } }));
    const untagged = ["route:Route", "routeTableAssociation", "rolePolicyAttachment", "accessPolicyAssociation"];
    for (const { type, name, inputs } of tagged.resources) {
      if (!type.startsWith("aws:") || untagged.some((each) => type.includes(each))) continue;
      const { team, project, stack } = (inputs["tags"] ?? {}) as Record<string, string>;
      assert.deepEqual([team, project, stack], ["a", "gitlab-workspaces", "test"], `${type} ${name}`);
    }
  });

  it("has a kubeconfig without credentials, files or paths, that is marked secret all the same", async () => {
    assert.ok(await pulumi.isSecret(run.outputs.kubeconfig));
    const name = "workspaces-1a2b3c4d";
    const id = "0123456789ABCDEF0123456789ABCDEF";
    assert.deepEqual(JSON.parse(await value(run.outputs.kubeconfig)), {
      apiVersion: "v1",
      kind: "Config",
      "current-context": name,
      clusters: [
        {
          name,
          cluster: {
            server: `https://${id}.gr7.eu-central-1.eks.amazonaws.com`,
            "certificate-authority-data": "Q0E=",
          },
        },
      ],
      contexts: [{ name, context: { cluster: name, user: name } }],
      users: [
        {
          name,
          user: {
            exec: {
              apiVersion: "client.authentication.k8s.io/v1beta1",
              command: "aws",
              args: [
                ...["eks", "get-token", "--cluster-name", name, "--region", "eu-central-1"],
                ...["--output", "json"],
              ],
              installHint: "https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html",
              interactiveMode: "Never",
            },
          },
        },
      ],
    });
  });

  it("has a kubeconfig whose credentials are the provider's: its profile, and the role that it takes on", async () => {
    const { config, secretKeys } = cloudStack("eks");
    const roleArn = "arn:aws:iam::123456789012:role/other";
    const other = await runProgram({
      config: { ...config, "aws:profile": "production", "aws:assumeRoles": JSON.stringify([{ roleArn }]) },
      secretKeys,
    });
    const { users } = JSON.parse(await value(other.outputs.kubeconfig)) as {
      users: { user: { exec: { args: string[]; env: object[] } } }[];
    };
    const { args, env } = users[0]!.user.exec;
    assert.deepEqual(args.slice(-2), ["--role-arn", roleArn]);
    assert.deepEqual(env, [{ name: "AWS_PROFILE", value: "production" }]);
  });

  it("is told by its issuer in the provider, so that a new cluster of the same name is another one", () => {
    for (const name of ["kubernetes", "cluster-kubernetes"])
      assert.equal(
        find(run, "pulumi:providers:kubernetes", name).inputs["clusterIdentifier"],
        "https://oidc.eks.eu-central-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF",
      );
  });

  it("has load balancers that the internet reaches", async () => {
    const { config, secretKeys } = cloudStack("eks");
    const of = await runProgram({
      config: { ...config, "gitlab-workspaces:proxy": JSON.stringify({ ssh: { service: "LoadBalancer" } }) },
      secretKeys,
    });
    const releases = of.resources.filter(({ type }) => type === "kubernetes:helm.sh/v3:Release");
    const public_ = releases.filter(({ inputs }) =>
      JSON.stringify(inputs["values"]).includes(
        '"service.beta.kubernetes.io/aws-load-balancer-scheme":"internet-facing"',
      ),
    );
    assert.equal(public_.length, 2, "the controller's and the one for SSH");
  });

  it("shows no secret of the stack outside a secret wrapper", () => {
    assert.deepEqual(inClear(run, /canary/), []);
  });

  it("loads no other cloud's SDK", () => {
    const modules = sdkFolders("eks");
    assert.ok(modules.includes("aws/eks"));
    assert.deepEqual(
      modules.filter(
        (module) =>
          !/^aws\/(cloudwatch|config|ec2|eks|iam|getAvailabilityZones|getCallerIdentity|package|types|utilities|utils)$/.test(
            module,
          ),
      ),
      [],
    );
  });

  describe("of managed node groups", () => {
    let managed: Run;
    before(async () => {
      managed = await runProgram(cloudStack("eks", { nodes: { mode: "managed", min: 4, max: 9 } }));
    });

    const all = (type: string) => managed.resources.filter((each) => each.type === type);

    it("has nothing of Auto Mode", () => {
      const { inputs } = find(managed, clusterType);
      assert.deepEqual([inputs["computeConfig"], inputs["storageConfig"]], [undefined, undefined]);
      assert.deepEqual(inputs["kubernetesNetworkConfig"], { serviceIpv4Cidr: "172.20.0.0/16" });
      assert.deepEqual([...all(poolType), ...all("kubernetes:eks.amazonaws.com/v1:NodeClass")], []);
    });

    it("has one group for each zone, which together begin with the fewest nodes and are all for the autoscaler to change", () => {
      const groups = all("aws:eks/nodeGroup:NodeGroup").map(({ inputs }) => inputs);
      assert.deepEqual(
        groups.map((each) => each["scalingConfig"]),
        [
          { minSize: 2, desiredSize: 2, maxSize: 9 },
          { minSize: 1, desiredSize: 1, maxSize: 9 },
          { minSize: 1, desiredSize: 1, maxSize: 9 },
        ],
      );
      assert.equal(new Set(groups.map((each) => JSON.stringify(each["subnetIds"]))).size, 3);
      for (const each of groups) assert.equal(each["amiType"], "AL2023_x86_64_STANDARD");
    });

    it("keeps pods from the credentials of their node, and encrypts its disks", () => {
      const { inputs } = find(managed, "aws:ec2/launchTemplate:LaunchTemplate");
      const { httpTokens, httpPutResponseHopLimit } = inputs["metadataOptions"] as Record<string, unknown>;
      assert.deepEqual([httpTokens, httpPutResponseHopLimit], ["required", 1]);
      assert.match(JSON.stringify(inputs["blockDeviceMappings"]), /"encrypted":"true"/);
    });

    it("has the add-ons that Auto Mode has built in, and NetworkPolicies enforced", () => {
      const addons = all("aws:eks/addon:Addon").map(({ inputs }) => inputs);
      assert.deepEqual(addons.map((each) => each["addonName"]).sort(), [
        ...["aws-ebs-csi-driver", "coredns", "eks-pod-identity-agent", "kube-proxy", "vpc-cni"],
      ]);
      const network = addons.find((each) => each["addonName"] === "vpc-cni");
      assert.deepEqual(JSON.parse(String(network?.["configurationValues"])), { enableNetworkPolicy: "true" });
      const disks = addons.find((each) => each["addonName"] === "aws-ebs-csi-driver");
      assert.deepEqual(disks?.["podIdentityAssociations"], [
        {
          serviceAccount: "ebs-csi-controller-sa",
          roleArn: "arn:aws:iam::123456789012:role/role-1a2b3c4",
        },
      ]);
      const { inputs } = find(managed, "kubernetes:storage.k8s.io/v1:StorageClass");
      assert.equal(inputs["provisioner"], "ebs.csi.aws.com");
    });

    it("has an autoscaler of one exact version that runs as the account whose evictions of workspaces are refused", () => {
      const { inputs, provider } = find(managed, "kubernetes:helm.sh/v3:Release", "workspaces-autoscaler");
      assert.match(provider, /::cluster-kubernetes::/);
      assert.match(String(inputs["version"]), /^\d+\.\d+\.\d+$/);
      assert.deepEqual(inputs["repositoryOpts"], { repo: "https://kubernetes.github.io/autoscaler" });
      const { rbac, extraArgs } = inputs["values"] as Record<string, Record<string, unknown>>;
      assert.deepEqual(rbac!["serviceAccount"], { create: true, name: "cluster-autoscaler" });
      assert.equal(extraArgs!["max-nodes-total"], 9);
      const { inputs: association } = find(managed, "aws:eks/podIdentityAssociation:PodIdentityAssociation");
      assert.equal(
        `${String(association["namespace"])}/${String(association["serviceAccount"])}`,
        "kube-system/cluster-autoscaler",
      );
      const policy = find(managed, "kubernetes:admissionregistration.k8s.io/v1:ValidatingAdmissionPolicy");
      assert.match(JSON.stringify(policy.inputs), /system:serviceaccount:kube-system:cluster-autoscaler/);
    });

    it("lets the autoscaler change its own groups alone", () => {
      const { policy } = find(managed, "aws:iam/rolePolicy:RolePolicy").inputs;
      const { Statement } = JSON.parse(String(policy)) as { Statement: { Action: string[]; Condition?: object }[] };
      const changing = Statement.filter(({ Action }) => Action.some((action) => !/:(Describe|Get)/.test(action)));
      assert.deepEqual(
        changing.map(({ Condition }) => Condition),
        [{ StringEquals: { "aws:ResourceTag/eks:cluster-name": "workspaces-1a2b3c4d" } }],
      );
    });
  });

  describe("that exists", () => {
    it("is taken as it is: nothing of Amazon's is made", async () => {
      const adopted = await runProgram(cloudStack("eks", existing));
      assert.deepEqual(
        adopted.resources.filter(({ type }) => type.startsWith("aws:")),
        [],
      );
      assert.deepEqual(adopted.warnings.join().match(/Auto Mode/), null);
      assert.equal(
        find(adopted, "pulumi:providers:kubernetes").inputs["clusterIdentifier"],
        "https://oidc.eks.eu-central-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF",
      );
    });

    it("is refused when it is not there, or not there yet", async () => {
      const message = await refused("eks", existing, bridgeFails(clusterOf, "No cluster found for name: Shared_1."));
      assert.match(message, /no cluster Shared_1 in eu-central-1 of the account 123456789012: No cluster found/);
      assert.match(message, /aws eks list-clusters --region eu-central-1/);
      const creating = { status: "CREATING", computeConfigs: [] };
      assert.match(await refused("eks", existing, { [clusterOf]: () => creating }), /The cluster Shared_1 is CREATING/);
    });

    it("is warned of when it is not in Auto Mode, where load balancers take a controller", async () => {
      const bare = { arn: "arn", endpoint: "https://e", certificateAuthorities: [], identities: [], status: "ACTIVE" };
      const other = await runProgram(cloudStack("eks", existing), {
        [clusterOf]: () => ({ ...bare, computeConfigs: [] }),
      });
      assert.match(other.warnings.join(), /is not in Auto Mode.*AWS Load Balancer Controller/);
      const policy = find(other, "kubernetes:admissionregistration.k8s.io/v1:ValidatingAdmissionPolicy");
      assert.match(JSON.stringify(policy.inputs), /system:serviceaccount:kube-system:cluster-autoscaler/);
    });
  });

  describe("is refused before anything is made", () => {
    it("when AWS does not take the credentials", async () => {
      const message = await refused("eks", {}, bridgeFails(identity, "ExpiredToken: The security token is expired"));
      assert.match(message, /AWS does not take the credentials here: ExpiredToken: The security token is expired$/m);
      assert.match(message, /aws sso login/);
    });

    it("when the credentials are of another account", async () => {
      const answers = { [identity]: () => ({ accountId: "210987654321", arn: "arn:aws:iam::210987654321:user/x" }) };
      assert.match(
        await refused("eks", {}, answers),
        /are of the AWS account 210987654321, and cluster\.account says 123456789012/,
      );
    });

    it("when the region has one zone, or is none", async () => {
      const one = await refused("eks", {}, { [zonesOf]: () => ({ names: ["eu-central-1a"] }) });
      assert.match(one, /aws:region is eu-central-1, which has one zone, eu-central-1a, for this account/);
      assert.match(await refused("eks", {}, { [zonesOf]: () => ({ names: [] }) }), /which has no zone/);
    });

    it("when the region has no such instance type, or has it in other zones", async () => {
      const nowhere = await refused(
        "eks",
        { nodes: { machineType: "m7i.huge" } },
        { [offerings]: () => ({ locations: [] }) },
      );
      assert.match(nowhere, /cluster\.nodes\.machineType is m7i\.huge, which cannot be had in eu-central-1/);
      const elsewhere = await refused("eks", {}, { [offerings]: () => ({ locations: ["eu-central-1d"] }) });
      assert.match(elsewhere, /eu-central-1a, eu-central-1b, eu-central-1c have none/);
      const some = { [offerings]: () => ({ locations: ["eu-central-1a", "eu-central-1c"] }) };
      assert.match(await refused("eks", { nodes: { mode: "managed" } }, some), /eu-central-1b has none/);
      await runProgram(cloudStack("eks"), some);
      const message = await refused(
        "eks",
        {},
        bridgeFails("aws:ec2/getInstanceType:getInstanceType", "InvalidInstanceType"),
      );
      assert.match(message, /cannot be had in eu-central-1: InvalidInstanceType/);
    });

    it("when the instance type is for arm64, whatever its name", async () => {
      const arm = { defaultVcpus: 12, supportedArchitectures: ["arm64_mac"] };
      const message = await refused(
        "eks",
        { nodes: { machineType: "mac2.metal" } },
        { "aws:ec2/getInstanceType:getInstanceType": () => arm },
      );
      assert.match(message, /it is for arm64_mac, and the tools that GitLab puts into every workspace are for amd64/);
    });
  });
});
