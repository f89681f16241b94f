import assert from "node:assert/strict";
import * as pulumi from "@pulumi/pulumi";
import type { Answers } from "../../support/clouds";
import { aks } from "../../support/clouds/aks";
import { withCommands } from "../../support/commands";
import { find, inClear, refused, sdkFolders } from "../../support/cluster-runs";
import { exampleOf } from "../../support/examples";
import { type Run, runProgram, value } from "../../support/program";
import { cloudStack } from "../../support/stacks";

const account = "00000000-0000-0000-0000-000000000000";
const clusterType = "azure-native:containerservice:ManagedCluster";
const poolType = "azure-native:containerservice:AgentPool";
const clientConfig = "azure-native:authorization:getClientConfig";
const getCluster = "azure-native:containerservice:getManagedCluster";
const existing = {
  ...{ existing: true, name: "shared-1", resourceGroup: "shared", apiCidrs: undefined },
};

const fails = (token: string, message: string): Answers => ({
  [token]: () => {
    throw Object.assign(new Error(), { details: `invocation of ${token} returned an error: ${message}\n\n` });
  },
});

/** The existing cluster, with some of it otherwise. */
const found = (more: Record<string, unknown>): Answers => ({
  [getCluster]: (args) => ({ ...aks.answers[getCluster]!(args), ...more }),
});

describe("A cluster on AKS", () => {
  withCommands("kubelogin");
  let run: Run;
  before(async () => {
    run = await runProgram(cloudStack("aks"));
  });

  it("makes exactly these resources for the example stack", async () => {
    const example = await runProgram(await exampleOf("aks"));
    assert.deepEqual(example.resources.map(({ type, name }) => `${type} ${name}`).sort(), [
      "azure-native:authorization:RoleAssignment workspaces-admin",
      "azure-native:authorization:RoleAssignment workspaces-network",
      "azure-native:containerservice:AgentPool workspaces",
      "azure-native:containerservice:MaintenanceConfiguration workspaces-aksManagedAutoUpgradeSchedule",
      "azure-native:containerservice:MaintenanceConfiguration workspaces-aksManagedNodeOSUpgradeSchedule",
      "azure-native:containerservice:ManagedCluster workspaces",
      "azure-native:managedidentity:UserAssignedIdentity workspaces",
      "azure-native:network:NatGateway workspaces",
      "azure-native:network:PublicIPAddress workspaces",
      "azure-native:network:PublicIPAddress workspaces-outbound",
      "azure-native:network:Subnet workspaces",
      "azure-native:network:VirtualNetwork workspaces",
      "azure-native:resources:ResourceGroup workspaces",
      "gitlab-workspaces:clusters:Aks cluster",
      "gitlab-workspaces:platform:EvictionPolicy eviction-policy",
      "gitlab-workspaces:platform:GeneratedSecrets generated-secrets",
      "gitlab-workspaces:platform:GitLabAgent gitlab-agent-team-a",
      "gitlab-workspaces:platform:TlsSecrets workspaces-proxy-tls",
      "gitlab-workspaces:platform:Traefik traefik",
      "gitlab-workspaces:platform:WorkspacesProxy workspaces-proxy",
      "kubernetes:admissionregistration.k8s.io/v1:ValidatingAdmissionPolicy eviction-policy",
      "kubernetes:admissionregistration.k8s.io/v1:ValidatingAdmissionPolicyBinding eviction-policy",
      "kubernetes:cilium.io/v2:CiliumClusterwideNetworkPolicy metadata-service",
      "kubernetes:core/v1:Namespace gitlab-agent-team-a-namespace",
      "kubernetes:core/v1:Namespace traefik-namespace",
      "kubernetes:core/v1:Namespace workspaces-proxy-namespace",
      "kubernetes:core/v1:Secret gitlab-agent-team-a-token",
      "kubernetes:core/v1:Secret workspaces-proxy-config",
      "kubernetes:core/v1:Secret workspaces-proxy-tls-domain",
      "kubernetes:core/v1:Secret workspaces-proxy-tls-wildcard",
      "kubernetes:core/v1:Service traefik-service",
      "kubernetes:core/v1:Service workspaces-proxy-metrics-closed",
      "kubernetes:helm.sh/v3:Release gitlab-agent-team-a",
      "kubernetes:helm.sh/v3:Release traefik",
      "kubernetes:helm.sh/v3:Release workspaces-proxy",
      "kubernetes:networking.k8s.io/v1:Ingress workspaces-proxy-metrics-closed",
      "kubernetes:policy/v1:PodDisruptionBudget gitlab-agent-team-a-disruption-budget",
      "kubernetes:policy/v1:PodDisruptionBudget workspaces-proxy-disruption-budget",
      "pulumi-nodejs:dynamic/gitlab-workspaces:DestroyGuard destroy-guard",
      "pulumi:providers:kubernetes cluster-kubernetes",
      "pulumi:providers:kubernetes kubernetes",
      "pulumi:providers:pulumi-nodejs destroy-guard",
      "random:index/randomPassword:RandomPassword signing-key",
      "tls:index/privateKey:PrivateKey ssh-host-key",
    ]);
  });

  it("has private nodes behind a NAT gateway, and enforces NetworkPolicies with Cilium", () => {
    const subnet = find(run, "azure-native:network:Subnet").inputs;
    assert.equal(subnet["defaultOutboundAccess"], false);
    assert.deepEqual(subnet["natGateway"], { id: "workspaces-id" });
    assert.deepEqual(find(run, clusterType).inputs["networkProfile"], {
      ...{ networkPlugin: "azure", networkPluginMode: "overlay", networkDataplane: "cilium", networkPolicy: "cilium" },
      ...{ loadBalancerSku: "standard", outboundType: "userAssignedNATGateway" },
      ...{ podCidr: "10.4.0.0/14", serviceCidr: "10.8.0.0/20", dnsServiceIP: "10.8.0.10" },
    });
    assert.equal(find(run, poolType).inputs["enableNodePublicIP"], false);
  });

  it("lets nobody in but by Entra: the deployer, and the groups that are named", async () => {
    const admins = ["aaaaaaaa-0000-0000-0000-000000000001"];
    const administered = await runProgram(cloudStack("aks", { admins }));
    const { inputs } = find(administered, clusterType);
    assert.equal(inputs["disableLocalAccounts"], true);
    const tenantID = "77777777-7777-7777-7777-777777777777";
    assert.deepEqual(inputs["aadProfile"], {
      managed: true,
      enableAzureRBAC: true,
      adminGroupObjectIDs: admins,
      tenantID,
    });
    const role = find(administered, "azure-native:authorization:RoleAssignment", "workspaces-admin").inputs;
    assert.equal(role["principalId"], "99999999-8888-7777-6666-555555555555");
    assert.equal(role["scope"], "workspaces-id");
    assert.match(String(role["roleDefinitionId"]), /b1ff04bb-8a4e-4dc4-8eb5-8693973ce19b$/);
  });

  it("names a role assignment by who may do what where, because Azure changes none of these in one that is there", async () => {
    const nameOf = (from: Run) =>
      String(find(from, "azure-native:authorization:RoleAssignment", "workspaces-admin").inputs["roleAssignmentName"]);
    assert.match(nameOf(run), /^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/);
    assert.equal(nameOf(await runProgram(cloudStack("aks"))), nameOf(run));
    const somebody = { objectId: "99999999-0000-0000-0000-000000000000", subscriptionId: account, tenantId: "t" };
    const other = await runProgram(cloudStack("aks"), { [clientConfig]: () => somebody });
    assert.notEqual(nameOf(other), nameOf(run));
  });

  it("gives its identity the network of its own resource group and nothing else", () => {
    const { inputs } = find(run, "azure-native:authorization:RoleAssignment", "workspaces-network");
    assert.match(String(inputs["roleDefinitionId"]), /4d97b98b-1d4f-4787-a291-c67834d212e7$/);
    assert.equal(inputs["scope"], "workspaces-id");
    assert.equal(inputs["principalId"], "33333333-3333-3333-3333-333333333333");
    assert.equal(inputs["principalType"], "ServicePrincipal");
  });

  it("can be reached from the configured ranges and its own nodes alone, or openly when that is what is said", async () => {
    const ranges = (from: Run) =>
      (find(from, clusterType).inputs["apiServerAccessProfile"] as Record<string, unknown>)["authorizedIPRanges"];
    assert.deepEqual(ranges(run), ["192.0.2.0/24", "198.51.100.8/32"]);
    const open = await runProgram(cloudStack("aks", { apiCidrs: ["0.0.0.0/0"], allowPublicApi: true }));
    assert.deepEqual(ranges(open), []);
  });

  it("keeps pods from the metadata service by a denial that takes nothing else away", () => {
    const { inputs, provider } = find(run, "kubernetes:cilium.io/v2:CiliumClusterwideNetworkPolicy");
    const spec = inputs["spec"] as Record<string, unknown>;
    assert.deepEqual(spec["egressDeny"], [{ toCIDR: ["169.254.169.254/32"] }]);
    assert.deepEqual(spec["enableDefaultDeny"], { egress: false, ingress: false });
    assert.equal(spec["egress"], undefined, "an allowance would undo every other policy");
    assert.match(provider, /::cluster-kubernetes::/);
  });

  it("takes no node with pods that request anything for one that can go", () => {
    assert.deepEqual(find(run, clusterType).inputs["autoScalerProfile"], {
      ...{ scaleDownUtilizationThreshold: "0.01", ignoreDaemonsetsUtilization: true },
      ...{ skipNodesWithLocalStorage: "true", skipNodesWithSystemPods: "true", expander: "least-waste" },
    });
  });

  it("scales the nodes for workspaces between the two bounds, apart from those of the cluster's own pods", async () => {
    const scaled = await runProgram(cloudStack("aks", { nodes: { min: 2, max: 9 } }));
    const { inputs } = find(scaled, poolType);
    assert.deepEqual([inputs["minCount"], inputs["maxCount"], inputs["count"]], [2, 9, 2]);
    assert.equal(inputs["enableAutoScaling"], true);
    const [system] = find(scaled, clusterType).inputs["agentPoolProfiles"] as Record<string, unknown>[];
    assert.deepEqual([system!["minCount"], system!["maxCount"]], [1, 3]);
    assert.deepEqual(system!["nodeTaints"], ["CriticalAddonsOnly=true:NoSchedule"]);
  });

  it("has another pool for machines that cannot be changed, so that the new one is there before the old one goes", async () => {
    const nameOf = (from: Run) => String(find(from, poolType).inputs["agentPoolName"]);
    assert.match(nameOf(run), /^w[0-9a-f]{8}$/);
    assert.equal(nameOf(await runProgram(cloudStack("aks", { nodes: { max: 9 } }))), nameOf(run));
    assert.notEqual(
      nameOf(await runProgram(cloudStack("aks", { nodes: { machineType: "Standard_D8s_v5" } }))),
      nameOf(run),
    );
  });

  it("leaves the version to AKS and its channel unless one is named, for nodes too", async () => {
    assert.equal(find(run, clusterType).inputs["kubernetesVersion"], undefined);
    assert.equal(find(run, poolType).inputs["orchestratorVersion"], undefined);
    const named = await runProgram(cloudStack("aks", { kubernetesVersion: "1.35" }));
    assert.equal(find(named, clusterType).inputs["kubernetesVersion"], "1.35");
    assert.equal(find(named, poolType).inputs["orchestratorVersion"], "1.35");
  });

  it("is maintained on Saturdays unless told otherwise, and never without a window", async () => {
    const windows = (from: Run) =>
      ["aksManagedAutoUpgradeSchedule", "aksManagedNodeOSUpgradeSchedule"].map((name) => {
        const { inputs } = find(from, "azure-native:containerservice:MaintenanceConfiguration", `workspaces-${name}`);
        assert.equal(inputs["configName"], name);
        return inputs["maintenanceWindow"];
      });
    const saturday = {
      ...{ durationHours: 8, startTime: "01:00", utcOffset: "+00:00" },
      schedule: { weekly: { intervalWeeks: 1, dayOfWeek: "Saturday" } },
    };
    assert.deepEqual(windows(run), [saturday, saturday]);
    const told = await runProgram(cloudStack("aks", { maintenance: { day: "wednesday", hour: 20, hours: 5 } }));
    const wednesday = {
      ...{ durationHours: 5, startTime: "20:00", utcOffset: "+00:00" },
      schedule: { weekly: { intervalWeeks: 1, dayOfWeek: "Wednesday" } },
    };
    assert.deepEqual(windows(told), [wednesday, wednesday]);
  });

  it("tags everything that can be tagged with project, stack and the user's own", async () => {
    const labelled = await runProgram(cloudStack("aks", { labels: { team: "a" } }));
    const tags = { team: "a", project: "gitlab-workspaces", stack: "test" };
    const tagged = labelled.resources.filter(
      ({ type }) => type.startsWith("azure-native:") && !/RoleAssignment|MaintenanceConfiguration|:Subnet$/.test(type),
    );
    assert.equal(tagged.length, 8);
    for (const { name, inputs } of tagged) assert.deepEqual(inputs["tags"], tags, name);
    const [system] = find(labelled, clusterType).inputs["agentPoolProfiles"] as Record<string, unknown>[];
    assert.deepEqual(system!["tags"], tags);
  });

  it("keeps one address, for the ingress controller and for no other Service", async () => {
    for (const controller of ["nginx", "traefik"]) {
      const { config, secretKeys } = cloudStack("aks");
      const of = await runProgram({
        config: {
          ...config,
          "gitlab-workspaces:ingress": JSON.stringify({ controller }),
          "gitlab-workspaces:proxy": JSON.stringify({ ssh: { service: "LoadBalancer" } }),
        },
        secretKeys,
      });
      const releases = of.resources.filter(({ type }) => type === "kubernetes:helm.sh/v3:Release");
      const values = releases.map(({ inputs }) => JSON.stringify(inputs["values"]));
      assert.equal(values.filter((text) => text.includes('azure-load-balancer-ipv4":"198.51.100.8"')).length, 1);
      assert.equal(
        values.filter((text) => text.includes('azure-load-balancer-resource-group":"workspaces1a2b3c4d"')).length,
        1,
      );
      assert.equal(
        values.filter((text) => text.includes('health-probe-request-path":"/healthz"')).length,
        2,
        "the probe is every load balancer's",
      );
    }
  });

  it("has a kubeconfig without credentials, files or paths, that is marked secret all the same", async () => {
    assert.ok(await pulumi.isSecret(run.outputs.kubeconfig));
    const kubeconfig = await value(run.outputs.kubeconfig);
    const name = "workspaces1a2b3c4d";
    assert.deepEqual(JSON.parse(kubeconfig), {
      apiVersion: "v1",
      kind: "Config",
      "current-context": name,
      clusters: [
        {
          name,
          cluster: {
            server: "https://workspaces-1a2b3c4d.hcp.westeurope.azmk8s.io",
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
              command: "kubelogin",
              args: ["get-token", "--login", "chained", "--server-id", "6dae42f8-4368-4678-94ff-3960e28e3630"],
              installHint: "az aks install-cli",
              provideClusterInfo: false,
              interactiveMode: "Never",
            },
          },
        },
      ],
    });
  });

  it("is told by its id in the provider, so that a new endpoint of a living cluster replaces nothing", () => {
    const providers = run.resources.filter(({ type }) => type === "pulumi:providers:kubernetes");
    assert.deepEqual(
      providers.map(({ inputs }) => inputs["clusterIdentifier"]),
      ["workspaces-id", "workspaces-id"],
    );
  });

  it("has evictions by the autoscaler of upstream refused, and those of nobody else", () => {
    const { inputs } = find(run, "kubernetes:admissionregistration.k8s.io/v1:ValidatingAdmissionPolicy");
    const { matchConditions } = inputs["spec"] as { matchConditions: { expression: string }[] };
    assert.deepEqual(
      matchConditions.map(({ expression }) => expression),
      [
        "request.namespace.startsWith('gl-rd-ns-')",
        `request.userInfo.username in ["cluster-autoscaler","system:serviceaccount:kube-system:cluster-autoscaler"]`,
      ],
    );
  });

  it("shows no secret of the stack outside a secret wrapper", () => {
    assert.deepEqual(inClear(run, /canary/), []);
  });

  it("loads no other cloud's SDK", () => {
    assert.deepEqual(sdkFolders("aks"), [
      "azure-native/authorization",
      "azure-native/containerservice",
      "azure-native/managedidentity",
      "azure-native/network",
      "azure-native/package",
      "azure-native/resources",
      "azure-native/types",
      "azure-native/utilities",
    ]);
  });

  describe("that exists", () => {
    it("is taken as it is: nothing of Azure's is made", async () => {
      const adopted = await runProgram(cloudStack("aks", existing));
      assert.deepEqual(
        adopted.resources.filter(({ type }) => type.startsWith("azure-native:") || type.includes("cilium")),
        [],
      );
      const { inputs } = find(adopted, "pulumi:providers:kubernetes");
      assert.equal(
        inputs["clusterIdentifier"],
        `/subscriptions/${account}/resourceGroups/shared/providers/Microsoft.ContainerService/managedClusters/shared-1`,
      );
      assert.match(await value(adopted.outputs.kubeconfig), /https:\/\/shared-1\.hcp\.westeurope\.azmk8s\.io"/);
    });

    it("is reached by its private name when it has no other", async () => {
      const answers = found({ fqdn: "", privateFQDN: "shared-1.privatelink.westeurope.azmk8s.io" });
      const adopted = await runProgram(cloudStack("aks", existing), answers);
      assert.match(await value(adopted.outputs.kubeconfig), /https:\/\/shared-1\.privatelink\.westeurope/);
    });

    it("is refused when it is not there", async () => {
      const message = await refused("aks", existing, fails(getCluster, 'Status=404 Code="ResourceNotFound"'));
      assert.match(message, /no cluster shared-1 in the resource group shared of the subscription 0{8}-.*: Status=404/);
      assert.match(message, /az aks list --subscription 0{8}-/);
    });

    it("is refused when it enforces no NetworkPolicies", async () => {
      for (const networkProfile of [{}, { networkPolicy: "none" }, undefined])
        assert.match(await refused("aks", existing, found({ networkProfile })), /enforces no NetworkPolicies/);
    });

    it("is refused when it is an AKS Automatic cluster", async () => {
      assert.match(
        await refused("aks", existing, found({ sku: { name: "Automatic" } })),
        /is an AKS Automatic cluster/,
      );
    });

    it("is refused when it lets nobody in by Entra", async () => {
      assert.match(await refused("aks", existing, found({ aadProfile: undefined })), /az aks update .* --enable-aad/);
    });

    it("is refused when its certificate authority cannot be read", async () => {
      const token = "azure-native:containerservice:listManagedClusterUserCredentials";
      assert.match(
        await refused("aks", existing, fails(token, "AuthorizationFailed")),
        /where it answers cannot be read: AuthorizationFailed\nIt takes the role Azure Kubernetes Service Cluster User Role/,
      );
    });
  });

  describe("is refused before anything is made", () => {
    it("when the credentials do not reach Azure", async () => {
      const message = await refused(
        "aks",
        {},
        fails(clientConfig, "DefaultAzureCredential: failed to acquire a token."),
      );
      assert.match(
        message,
        /subscription 0{8}-\S+ cannot be reached with the credentials here: DefaultAzureCredential: /,
      );
      assert.match(message, /^Log in: az login$/m);
    });

    it("when the provider works in another subscription", async () => {
      const other = "22222222-2222-3333-4444-555555555555";
      const message = await refused(
        "aks",
        {},
        { [clientConfig]: () => ({ subscriptionId: other, objectId: "", tenantId: "" }) },
      );
      assert.match(message, /works in the Azure subscription 22222222-\S+, and cluster.account says 00000000-/);
      assert.match(message, /pulumi config set --stack test azure-native:subscriptionId 00000000-/);
    });
  });
});
