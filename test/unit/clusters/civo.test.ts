import assert from "node:assert/strict";
import * as pulumi from "@pulumi/pulumi";
import { civoKubeconfig } from "../../support/clouds/civo";
import { bridgeFails, find, inClear, refused, sdkFolders } from "../../support/cluster-runs";
import { exampleOf } from "../../support/examples";
import { type Run, runProgram, value } from "../../support/program";
import { cloudStack } from "../../support/stacks";

const clusterType = "civo:index/kubernetesCluster:KubernetesCluster";
const instances = "civo:index/getInstances:getInstances";
const found = "civo:index/getKubernetesCluster:getKubernetesCluster";
const existing = { existing: true, name: "shared-1", apiCidrs: undefined };

describe("A cluster on Civo", () => {
  let run: Run;
  before(async () => {
    run = await runProgram(cloudStack("civo"));
  });

  it("makes exactly these resources for the example stack", async () => {
    const example = await runProgram(await exampleOf("civo"));
    assert.deepEqual(example.resources.map(({ type, name }) => `${type} ${name}`).sort(), [
      "civo:index/firewall:Firewall workspaces",
      "civo:index/kubernetesCluster:KubernetesCluster workspaces",
      "civo:index/network:Network workspaces",
      "civo:index/reservedIp:ReservedIp workspaces",
      "gitlab-workspaces:clusters:Civo cluster",
      "gitlab-workspaces:clusters:CivoAutoscaler cluster-autoscaler",
      "gitlab-workspaces:platform:EvictionPolicy eviction-policy",
      "gitlab-workspaces:platform:GeneratedSecrets generated-secrets",
      "gitlab-workspaces:platform:GitLabAgent gitlab-agent-team-a",
      "gitlab-workspaces:platform:TlsSecrets workspaces-proxy-tls",
      "gitlab-workspaces:platform:Traefik traefik",
      "gitlab-workspaces:platform:WorkspacesProxy workspaces-proxy",
      "kubernetes:admissionregistration.k8s.io/v1:ValidatingAdmissionPolicy eviction-policy",
      "kubernetes:admissionregistration.k8s.io/v1:ValidatingAdmissionPolicyBinding eviction-policy",
      "kubernetes:apps/v1:Deployment cluster-autoscaler",
      "kubernetes:core/v1:Namespace gitlab-agent-team-a-namespace",
      "kubernetes:core/v1:Namespace traefik-namespace",
      "kubernetes:core/v1:Namespace workspaces-proxy-namespace",
      "kubernetes:core/v1:Secret gitlab-agent-team-a-token",
      "kubernetes:core/v1:Secret workspaces-proxy-config",
      "kubernetes:core/v1:Secret workspaces-proxy-tls-domain",
      "kubernetes:core/v1:Secret workspaces-proxy-tls-wildcard",
      "kubernetes:core/v1:Service traefik-service",
      "kubernetes:core/v1:Service workspaces-proxy-metrics-closed",
      "kubernetes:core/v1:ServiceAccount cluster-autoscaler",
      "kubernetes:helm.sh/v3:Release gitlab-agent-team-a",
      "kubernetes:helm.sh/v3:Release traefik",
      "kubernetes:helm.sh/v3:Release workspaces-proxy",
      "kubernetes:networking.k8s.io/v1:Ingress workspaces-proxy-metrics-closed",
      "kubernetes:policy/v1:PodDisruptionBudget gitlab-agent-team-a-disruption-budget",
      "kubernetes:policy/v1:PodDisruptionBudget workspaces-proxy-disruption-budget",
      "kubernetes:rbac.authorization.k8s.io/v1:ClusterRole cluster-autoscaler",
      "kubernetes:rbac.authorization.k8s.io/v1:ClusterRoleBinding cluster-autoscaler",
      "kubernetes:rbac.authorization.k8s.io/v1:Role cluster-autoscaler",
      "kubernetes:rbac.authorization.k8s.io/v1:RoleBinding cluster-autoscaler",
      "pulumi-nodejs:dynamic/gitlab-workspaces:DestroyGuard destroy-guard",
      "pulumi:providers:kubernetes cluster-kubernetes",
      "pulumi:providers:kubernetes kubernetes",
      "pulumi:providers:pulumi-nodejs destroy-guard",
      "random:index/randomPassword:RandomPassword signing-key",
      "tls:index/privateKey:PrivateKey ssh-host-key",
    ]);
  });

  it("is k3s with cilium, which enforces NetworkPolicies, and without Civo's own Traefik", () => {
    const { inputs } = find(run, clusterType);
    assert.deepEqual([inputs["clusterType"], inputs["cni"]], ["k3s", "cilium"]);
    assert.equal(inputs["applications"], "-Traefik-v2-nodeport");
  });

  it("has its size of nodes in its name, so that one of another size can stand beside it", async () => {
    assert.equal(find(run, clusterType).inputs["name"], "workspaces-g4s-kube-large");
    const medium = await runProgram(cloudStack("civo", { nodes: { machineType: "g4s.kube.medium" } }));
    assert.equal(find(medium, clusterType).inputs["name"], "workspaces-g4s-kube-medium");
  });

  it("leaves the version to Civo unless one is named", async () => {
    assert.equal(find(run, clusterType).inputs["kubernetesVersion"], undefined);
    const named = await runProgram(cloudStack("civo", { kubernetesVersion: "1.35.4-k3s1" }));
    assert.equal(find(named, clusterType).inputs["kubernetesVersion"], "1.35.4-k3s1");
  });

  it("can be reached from the configured ranges alone, and by everybody on the ports of the ingress", () => {
    const { inputs } = find(run, "civo:index/firewall:Firewall");
    assert.equal(inputs["createDefaultRules"], false);
    const rules = inputs["ingressRules"] as { portRange: string; cidrs: string[]; action: string }[];
    assert.deepEqual(
      rules.map(({ portRange, cidrs, action }) => [portRange, cidrs, action]),
      [
        ["6443", ["192.0.2.0/24"], "allow"],
        ["80", ["0.0.0.0/0"], "allow"],
        ["443", ["0.0.0.0/0"], "allow"],
      ],
    );
  });

  it("begins with the fewest nodes, and scales them between the two bounds", async () => {
    const scaled = await runProgram(cloudStack("civo", { nodes: { min: 2, max: 9 } }));
    assert.deepEqual(find(scaled, clusterType).inputs["pools"], {
      ...{ label: "workers", size: "g4s.kube.large", nodeCount: 2 },
    });
    const { inputs } = find(scaled, "kubernetes:apps/v1:Deployment", "cluster-autoscaler");
    const { spec } = (inputs["spec"] as { template: { spec: Record<string, unknown> } }).template;
    const [container] = spec["containers"] as { command: string[]; env: { name: string; valueFrom: unknown }[] }[];
    assert.ok(container!.command.includes("--nodes=2:9:workers"));
    assert.equal(spec["serviceAccountName"], "cluster-autoscaler");
  });

  it("has its autoscaler read Civo's own Secret, so that no API key is in the state", () => {
    const { inputs } = find(run, "kubernetes:apps/v1:Deployment", "cluster-autoscaler");
    const { template } = inputs["spec"] as { template: { spec: { containers: { env: unknown[] }[] } } };
    assert.deepEqual(
      template.spec.containers[0]!.env,
      [
        ["CIVO_API_URL", "api-url"],
        ["CIVO_API_KEY", "api-key"],
        ["CIVO_CLUSTER_ID", "cluster-id"],
        ["CIVO_REGION", "region"],
      ].map(([name, key]) => ({ name, valueFrom: { secretKeyRef: { name: "civo-api-access", key } } })),
    );
  });

  it("has the autoscaler before what is on the cluster, by a provider of its own", () => {
    const own = run.resources.filter(({ provider }) => provider.includes("::cluster-kubernetes::"));
    assert.deepEqual([...new Set(own.map(({ name }) => name))], ["cluster-autoscaler"]);
    assert.equal(own.length, 6);
  });

  it("has the autoscaler's evictions of workspaces refused, and those of nobody else", () => {
    const { inputs } = find(run, "kubernetes:admissionregistration.k8s.io/v1:ValidatingAdmissionPolicy");
    const { matchConditions } = inputs["spec"] as { matchConditions: { expression: string }[] };
    assert.deepEqual(
      matchConditions.map(({ expression }) => expression),
      [
        "request.namespace.startsWith('gl-rd-ns-')",
        `request.userInfo.username in ["system:serviceaccount:kube-system:cluster-autoscaler"]`,
      ],
    );
  });

  it("tags the cluster with project, stack and the user's own labels", async () => {
    const labelled = await runProgram(cloudStack("civo", { labels: { team: "a" } }));
    assert.equal(find(labelled, clusterType).inputs["tags"], "project:gitlab-workspaces stack:test team:a");
  });

  it("says in which region everything is", () => {
    const regions = run.resources.filter(({ type }) => type.startsWith("civo:")).map(({ inputs }) => inputs["region"]);
    assert.deepEqual(regions, ["LON1", "LON1", "LON1", "LON1"]);
  });

  it("keeps one address, for the ingress controller and for no other Service", async () => {
    const { config, secretKeys } = cloudStack("civo");
    for (const controller of ["nginx", "traefik"]) {
      const of = await runProgram({
        config: {
          ...config,
          "gitlab-workspaces:ingress": JSON.stringify({ controller }),
          "gitlab-workspaces:proxy": JSON.stringify({ ssh: { service: "LoadBalancer" } }),
        },
        secretKeys,
      });
      const values = of.resources
        .filter(({ type }) => type === "kubernetes:helm.sh/v3:Release")
        .map(({ inputs }) => JSON.stringify(inputs["values"]));
      assert.equal(values.filter((text) => text.includes('ipv4-address":"198.51.100.8"')).length, 1);
      assert.equal(values.filter((text) => text.includes('firewall-id":"workspaces-id"')).length, 1);
      assert.equal(values.filter((text) => text.includes('server-timeout":"120m"')).length, 2);
    }
  });

  it("hands out Civo's kubeconfig, which is in the state only as a secret", async () => {
    assert.equal(find(run, clusterType).inputs["writeKubeconfig"], true);
    assert.ok(await pulumi.isSecret(run.outputs.kubeconfig));
    assert.equal(await value(run.outputs.kubeconfig), civoKubeconfig);
    assert.deepEqual(inClear(run, /canary-civo-client-key/), []);
  });

  it("shows no secret of the stack outside a secret wrapper", () => {
    assert.deepEqual(inClear(run, /canary/), []);
  });

  it("is told by its id in both providers, so that a new kubeconfig of a living cluster replaces nothing", () => {
    for (const name of ["kubernetes", "cluster-kubernetes"])
      assert.equal(find(run, "pulumi:providers:kubernetes", name).inputs["clusterIdentifier"], "workspaces-id");
  });

  it("says in the preview what Civo cannot do, each once", () => {
    for (const what of [/nobody can revoke/, /no cluster\.account/, /no audit log/, /no NAT/])
      assert.equal(run.warnings.filter((line) => what.test(line)).length, 1, String(what));
  });

  it("loads no other cloud's SDK", () => {
    assert.deepEqual(sdkFolders("civo"), []);
  });

  describe("that exists", () => {
    it("is taken as it is: nothing of Civo's is made, and no autoscaler", async () => {
      const adopted = await runProgram(cloudStack("civo", existing));
      assert.deepEqual(
        adopted.resources.filter(({ type, name }) => type.startsWith("civo:") || name === "cluster-autoscaler"),
        [],
      );
      const { inputs } = find(adopted, "pulumi:providers:kubernetes");
      assert.equal(inputs["clusterIdentifier"], "id-of-shared-1");
      assert.ok(await pulumi.isSecret(adopted.outputs.kubeconfig));
      assert.deepEqual(inClear(adopted, /canary/), []);
    });

    it("is refused when it is not there", async () => {
      const message = await refused(
        "civo",
        existing,
        bridgeFails(found, "[ERR] failed to retrive kubernetes cluster: ZeroMatchesError"),
      );
      assert.match(message, /no cluster shared-1 in LON1: failed to retrive kubernetes cluster: ZeroMatchesError/);
      assert.match(message, /civo kubernetes ls --region LON1/);
    });

    it("is refused while it has no kubeconfig", async () => {
      const answers = { [found]: () => ({ id: "id", cni: "cilium", kubeconfig: "" }) };
      assert.match(await refused("civo", existing, answers), /is not ready/);
    });

    it("is warned of when nobody knows whether it enforces NetworkPolicies", async () => {
      assert.doesNotMatch((await runProgram(cloudStack("civo", existing))).warnings.join(), /has flannel/);
      const answers = { [found]: () => ({ id: "id", cni: "flannel", kubeconfig: civoKubeconfig }) };
      assert.match((await runProgram(cloudStack("civo", existing), answers)).warnings.join(), /shared-1 has flannel/);
    });
  });

  describe("is refused before anything is made", () => {
    it("when Civo refuses the token", async () => {
      const message = await refused(
        "civo",
        {},
        bridgeFails(instances, "[ERR] error retrieving instances: AuthenticationInvalidKeyError"),
      );
      assert.match(
        message,
        /^Civo cannot be reached with the credentials here: error retrieving instances: AuthenticationInvalidKeyError$/m,
      );
      assert.match(message, /pulumi config set --stack test --secret civo:token < civo-token\.txt/);
    });

    it("when there is no such region, naming those that are there", async () => {
      const message = await refused(
        "civo",
        {},
        { "civo:index/getRegion:getRegion": () => ({ regions: [{ code: "NYC1" }] }) },
      );
      assert.match(message, /civo:region is LON1, and Civo has no such region\. There are NYC1\./);
    });

    it("when there is no such size, naming those that are there", async () => {
      const message = await refused("civo", { nodes: { machineType: "g4s.kube.gigantic" } });
      assert.match(
        message,
        /is g4s.kube.gigantic, and Civo has no such size\. There are g4s.kube.medium, g4s.kube.large\./,
      );
    });
  });
});
