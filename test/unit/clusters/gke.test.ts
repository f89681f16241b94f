import assert from "node:assert/strict";
import * as pulumi from "@pulumi/pulumi";
import { withCommands } from "../../support/commands";
import { bridgeFails, find, inClear, refused, sdkFolders } from "../../support/cluster-runs";
import { exampleOf } from "../../support/examples";
import { type Run, runProgram, value } from "../../support/program";
import { cloudStack } from "../../support/stacks";

const clusterType = "gcp:container/cluster:Cluster";
const poolType = "gcp:container/nodePool:NodePool";
const project = "gcp:organizations/getProject:getProject";
const existing = {
  ...{ existing: true, name: "shared-1", apiCidrs: undefined },
};

describe("A cluster on GKE", () => {
  withCommands("gke-gcloud-auth-plugin");
  let run: Run;
  before(async () => {
    run = await runProgram(cloudStack("gke"));
  });

  it("makes exactly these resources for the example stack", async () => {
    const example = await runProgram(await exampleOf("gke"));
    assert.deepEqual(example.resources.map(({ type, name }) => `${type} ${name}`).sort(), [
      "gcp:compute/address:Address workspaces",
      "gcp:compute/network:Network workspaces",
      "gcp:compute/router:Router workspaces",
      "gcp:compute/routerNat:RouterNat workspaces",
      "gcp:compute/subnetwork:Subnetwork workspaces",
      "gcp:container/cluster:Cluster workspaces",
      "gcp:container/nodePool:NodePool workspaces",
      "gcp:projects/iAMMember:IAMMember workspaces",
      "gcp:serviceaccount/account:Account workspaces",
      "gitlab-workspaces:clusters:Gke cluster",
      "gitlab-workspaces:platform:EvictionPolicy eviction-policy",
      "gitlab-workspaces:platform:GeneratedSecrets generated-secrets",
      "gitlab-workspaces:platform:GitLabAgent gitlab-agent-team-a",
      "gitlab-workspaces:platform:TlsSecrets workspaces-proxy-tls",
      "gitlab-workspaces:platform:Traefik traefik",
      "gitlab-workspaces:platform:WorkspacesProxy workspaces-proxy",
      "kubernetes:admissionregistration.k8s.io/v1:ValidatingAdmissionPolicy eviction-policy",
      "kubernetes:admissionregistration.k8s.io/v1:ValidatingAdmissionPolicyBinding eviction-policy",
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
      "pulumi:providers:kubernetes kubernetes",
      "pulumi:providers:pulumi-nodejs destroy-guard",
      "random:index/randomPassword:RandomPassword signing-key",
      "tls:index/privateKey:PrivateKey ssh-host-key",
    ]);
  });

  it("is standard, VPC-native, private, and enforces NetworkPolicies", () => {
    const { inputs } = find(run, clusterType);
    assert.equal(inputs["enableAutopilot"], undefined);
    assert.equal(inputs["networkingMode"], "VPC_NATIVE");
    assert.equal(inputs["datapathProvider"], "ADVANCED_DATAPATH");
    assert.equal(inputs["enableShieldedNodes"], true);
    assert.deepEqual(inputs["privateClusterConfig"], { enablePrivateNodes: true, enablePrivateEndpoint: false });
    assert.deepEqual(inputs["workloadIdentityConfig"], { workloadPool: "my-project.svc.id.goog" });
    assert.deepEqual(inputs["releaseChannel"], { channel: "REGULAR" });
  });

  it("leaves the version to the release channel unless one is named", async () => {
    assert.equal(find(run, clusterType).inputs["minMasterVersion"], undefined);
    assert.equal(find(run, poolType).inputs["version"], undefined);
    const named = await runProgram(cloudStack("gke", { kubernetesVersion: "1.35" }));
    assert.equal(find(named, clusterType).inputs["minMasterVersion"], "1.35");
  });

  it("can be reached from the configured ranges alone", () => {
    assert.deepEqual(find(run, clusterType).inputs["masterAuthorizedNetworksConfig"], {
      cidrBlocks: [{ cidrBlock: "192.0.2.0/24" }],
      gcpPublicCidrsAccessEnabled: false,
    });
  });

  it("keeps pods from the credentials of their node", () => {
    const { nodeConfig } = find(run, poolType).inputs as { nodeConfig: Record<string, unknown> };
    assert.deepEqual(nodeConfig["workloadMetadataConfig"], { mode: "GKE_METADATA" });
    assert.deepEqual(nodeConfig["metadata"], { "disable-legacy-endpoints": "true" });
    assert.equal(nodeConfig["serviceAccount"], "nodes@my-project.iam");
  });

  it("counts its nodes over all zones, and scales them between the two bounds", async () => {
    const scaled = await runProgram(cloudStack("gke", { nodes: { min: 2, max: 9 } }));
    assert.deepEqual(find(scaled, poolType).inputs["autoscaling"], {
      totalMinNodeCount: 2,
      totalMaxNodeCount: 9,
      locationPolicy: "BALANCED",
    });
    assert.equal(find(scaled, poolType).inputs["nodeCount"], undefined);
  });

  it("is maintained on weekends unless told otherwise, and never without a window", async () => {
    const window = (from: Run) => find(from, clusterType).inputs["maintenancePolicy"];
    assert.deepEqual(window(run), {
      recurringWindow: {
        startTime: "2026-01-10T01:00:00Z",
        endTime: "2026-01-10T07:00:00Z",
        recurrence: "FREQ=WEEKLY;BYDAY=SA,SU",
      },
    });
    const told = await runProgram(cloudStack("gke", { maintenance: { days: ["wednesday"], hour: 20, hours: 12 } }));
    assert.deepEqual(window(told), {
      recurringWindow: {
        startTime: "2026-01-07T20:00:00Z",
        endTime: "2026-01-08T08:00:00Z",
        recurrence: "FREQ=WEEKLY;BYDAY=WE",
      },
    });
  });

  it("labels what can be labelled with project, stack and the user's own", async () => {
    const labelled = await runProgram(cloudStack("gke", { labels: { team: "a" } }));
    const labels = { team: "a", project: "gitlab-workspaces", stack: "test" };
    assert.deepEqual(find(labelled, clusterType).inputs["resourceLabels"], labels);
    assert.deepEqual(find(labelled, "gcp:compute/address:Address").inputs["labels"], labels);
    assert.deepEqual(
      (find(labelled, poolType).inputs["nodeConfig"] as Record<string, unknown>)["resourceLabels"],
      labels,
    );
  });

  it("keeps one address, for the ingress controller and for no other Service", async () => {
    for (const [controller, path] of [
      ["nginx", ["controller", "service", "loadBalancerIP"]],
      ["traefik", ["service", "spec", "loadBalancerIP"]],
    ] as const) {
      const { config, secretKeys } = cloudStack("gke");
      const of = await runProgram({
        config: {
          ...config,
          "gitlab-workspaces:ingress": JSON.stringify({ controller }),
          "gitlab-workspaces:proxy": JSON.stringify({ ssh: { service: "LoadBalancer" } }),
        },
        secretKeys,
      });
      const releases = of.resources.filter(({ type }) => type === "kubernetes:helm.sh/v3:Release");
      const with_ = releases.filter(({ inputs }) => JSON.stringify(inputs["values"]).includes("198.51.100.8"));
      assert.equal(with_.length, 1);
      assert.equal(
        path.reduce<unknown>((found, key) => (found as Record<string, unknown>)[key], with_[0]!.inputs["values"]),
        "198.51.100.8",
      );
    }
  });

  it("has a kubeconfig without credentials, files or paths, that is marked secret all the same", async () => {
    assert.ok(await pulumi.isSecret(run.outputs.kubeconfig));
    const kubeconfig = await value(run.outputs.kubeconfig);
    assert.deepEqual(JSON.parse(kubeconfig), {
      apiVersion: "v1",
      kind: "Config",
      "current-context": "workspaces-1a2b3c4",
      clusters: [
        {
          name: "workspaces-1a2b3c4",
          cluster: { server: "https://198.51.100.7", "certificate-authority-data": "Q0E=" },
        },
      ],
      contexts: [
        { name: "workspaces-1a2b3c4", context: { cluster: "workspaces-1a2b3c4", user: "workspaces-1a2b3c4" } },
      ],
      users: [
        {
          name: "workspaces-1a2b3c4",
          user: {
            exec: {
              apiVersion: "client.authentication.k8s.io/v1beta1",
              command: "gke-gcloud-auth-plugin",
              args: ["--use_application_default_credentials"],
              installHint: "gcloud components install gke-gcloud-auth-plugin",
              provideClusterInfo: true,
              interactiveMode: "Never",
            },
          },
        },
      ],
    });
  });

  it("is told by its id in the provider, so that a new endpoint of a living cluster replaces nothing", () => {
    const { inputs } = find(run, "pulumi:providers:kubernetes");
    assert.equal(inputs["clusterIdentifier"], "workspaces-id");
    assert.equal(String(inputs["enableSecretMutable"]), "true");
    assert.equal(String(inputs["enablePatchForce"]), "true");
  });

  it("has the autoscaler's evictions of workspaces refused, and those of nobody else", () => {
    const { inputs } = find(run, "kubernetes:admissionregistration.k8s.io/v1:ValidatingAdmissionPolicy");
    const { matchConditions } = inputs["spec"] as { matchConditions: { expression: string }[] };
    assert.deepEqual(
      matchConditions.map(({ expression }) => expression),
      ["request.namespace.startsWith('gl-rd-ns-')", `request.userInfo.username in ["cluster-autoscaler"]`],
    );
  });

  it("encrypts Kubernetes Secrets with a key that is named", async () => {
    const encryptionKey = "projects/p/locations/europe-west1/keyRings/r/cryptoKeys/k";
    const encrypted = await runProgram(cloudStack("gke", { encryptionKey }));
    assert.deepEqual(find(encrypted, clusterType).inputs["databaseEncryption"], {
      state: "ENCRYPTED",
      keyName: encryptionKey,
    });
  });

  it("shows no secret of the stack outside a secret wrapper", () => {
    assert.deepEqual(inClear(run, /canary/), []);
  });

  it("loads no other cloud's SDK", () => {
    const modules = sdkFolders("gke");
    assert.ok(modules.includes("gcp/container"));
    assert.deepEqual(
      modules.filter(
        (module) =>
          !/^gcp\/(compute|config|container|index|organizations|package|projects|provider|serviceaccount|types|utilities)$/.test(
            module,
          ),
      ),
      [],
    );
  });

  describe("that exists", () => {
    it("is taken as it is: nothing of Google's is made", async () => {
      const adopted = await runProgram(cloudStack("gke", existing));
      assert.deepEqual(
        adopted.resources.filter(({ type }) => type.startsWith("gcp:")),
        [],
      );
      const { inputs } = find(adopted, "pulumi:providers:kubernetes");
      assert.equal(inputs["clusterIdentifier"], "projects/my-project/locations/europe-west1/clusters/shared-1");
    });

    it("is refused when it is not there", async () => {
      const answers = bridgeFails("gcp:container/getCluster:getCluster", "Error 404: Not found: clusters/shared-1");
      const message = await refused("gke", existing, answers);
      assert.match(message, /no cluster shared-1 in europe-west1 of the project my-project: Error 404/);
      assert.match(message, /gcloud container clusters list --project my-project/);
    });

    it("is refused when it enforces no NetworkPolicies", async () => {
      const unenforced = { id: "id", endpoint: "e", masterAuths: [], datapathProvider: "LEGACY_DATAPATH" };
      const answers = {
        "gcp:container/getCluster:getCluster": () => ({ ...unenforced, networkPolicies: [{ enabled: false }] }),
      };
      assert.match(await refused("gke", existing, answers), /enforces no NetworkPolicies/);
    });

    it("is refused when it is an Autopilot cluster", async () => {
      const autopilot = { ...{ datapathProvider: "ADVANCED_DATAPATH", enableAutopilot: true }, networkPolicies: [] };
      const answers = { "gcp:container/getCluster:getCluster": () => autopilot };
      assert.match(await refused("gke", existing, answers), /is an Autopilot cluster/);
    });

    it("is warned of when its pods get at the credentials of their nodes", async () => {
      assert.doesNotMatch((await runProgram(cloudStack("gke", existing))).warnings.join(), /Workload Identity/);
      const bare = {
        ...{ id: "id", endpoint: "e", masterAuths: [], workloadIdentityConfigs: [] },
        networkPolicies: [],
      };
      const answers = {
        "gcp:container/getCluster:getCluster": () => ({ ...bare, datapathProvider: "ADVANCED_DATAPATH" }),
      };
      assert.match(
        (await runProgram(cloudStack("gke", existing), answers)).warnings.join(),
        /has no Workload Identity/,
      );
    });
  });

  describe("is refused before anything is made", () => {
    it("when the credentials do not reach the project", async () => {
      const message = await refused("gke", {}, bridgeFails(project, "could not find default credentials."));
      assert.match(
        message,
        /my-project cannot be reached with the credentials here: could not find default credentials\.$/m,
      );
      assert.match(message, /gcloud auth application-default login/);
    });

    it("when the provider works in another project", async () => {
      const message = await refused("gke", {}, { [project]: () => ({ projectId: "somebody-elses" }) });
      assert.match(message, /works in the Google Cloud project somebody-elses, and cluster.account says my-project/);
    });

    it("when there is no such region", async () => {
      const message = await refused(
        "gke",
        { location: "europe-west99" },
        { "gcp:compute/getZones:getZones": () => ({ names: [] }) },
      );
      assert.match(message, /cluster.location is europe-west99, and Google Cloud has no such region/);
    });

    it("when there is no such zone, naming those that are there", async () => {
      assert.match(
        await refused("gke", { location: "europe-west1-a" }),
        /has no such zone\. In europe-west1 there are europe-west1-b, europe-west1-c, europe-west1-d\./,
      );
    });
  });
});
