import assert from "node:assert/strict";
import type { Change } from "../../../ci/changes";
import { resourceRules } from "../../../ci/policy/resource-rules";
import { type Violation, violations } from "../../../ci/policy/violations";

const secret = { "4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", ciphertext: "[secret]" };
const pem = "-----BEGIN PRIVATE KEY-----\nMIIabc\n-----END PRIVATE KEY-----\n";
const today = new Date("2026-11-21T12:00:00Z");

function found(
  type: string,
  inputs: Record<string, unknown>,
  {
    production = false,
    changes = [] as Change[],
    allowed = [] as { policy: string; name: string; until: string }[],
  } = {},
): Violation[] {
  const allowances = allowed.map((each) => ({ ...each, reason: "written down in a test" }));
  const outlook = { changes, resources: [{ type, name: "workspaces", inputs }], outputs: { before: {}, after: {} } };
  return violations(outlook, { stack: "staging", production }, allowances, today);
}

const names = (all: readonly Violation[]): string[] => all.map(({ policy }) => policy);

const labels = { project: "gitlab-workspaces", stack: "staging" };

describe("Policies of a merge request", () => {
  describe("no-public-api", () => {
    const open: readonly (readonly [string, Record<string, unknown>])[] = [
      [
        "gcp:container/cluster:Cluster",
        { resourceLabels: labels, masterAuthorizedNetworksConfig: { cidrBlocks: [{ cidrBlock: "0.0.0.0/0" }] } },
      ],
      ["gcp:container/cluster:Cluster", { resourceLabels: labels }],
      ["aws:eks/cluster:Cluster", { tags: labels, vpcConfig: { publicAccessCidrs: ["192.0.2.0/24", "::/0"] } }],
      ["aws:eks/cluster:Cluster", { tags: labels, vpcConfig: { subnetIds: [] } }],
      [
        "azure-native:containerservice:ManagedCluster",
        { tags: labels, apiServerAccessProfile: { authorizedIPRanges: ["0.0.0.0/0"] } },
      ],
      ["azure-native:containerservice:ManagedCluster", { tags: labels }],
      [
        "azure-native:containerservice:ManagedCluster",
        { tags: labels, apiServerAccessProfile: { authorizedIPRanges: [] } },
      ],
      ["aws:eks/cluster:Cluster", { tags: labels, vpcConfig: { publicAccessCidrs: ["128.0.0.0/1", "0.0.0.0/1"] } }],
      ["civo:index/firewall:Firewall", { createDefaultRules: true }],
      [
        "civo:index/firewall:Firewall",
        {
          createDefaultRules: false,
          ingressRules: [{ action: "allow", portRange: "1-65535", cidrs: ["0.0.0.0/0"] }],
        },
      ],
    ];
    for (const [type, inputs] of open)
      it(`refuses ${type} of ${JSON.stringify(inputs)}`, () => {
        const [violation, ...others] = found(type, inputs);
        assert.equal(violation?.policy, "no-public-api");
        assert.match(violation.message, /open to every address on the internet.*cluster\.apiCidrs/);
        assert.deepEqual(others, []);
      });

    it("lets an API pass that is not reachable from the internet, and one that names ranges", () => {
      const passing: readonly (readonly [string, Record<string, unknown>])[] = [
        [
          "gcp:container/cluster:Cluster",
          { resourceLabels: labels, privateClusterConfig: { enablePrivateEndpoint: true } },
        ],
        ["aws:eks/cluster:Cluster", { tags: labels, vpcConfig: { endpointPublicAccess: false } }],
        ["aws:eks/cluster:Cluster", { tags: labels, vpcConfig: { publicAccessCidrs: ["192.0.2.0/24"] } }],
        [
          "azure-native:containerservice:ManagedCluster",
          { tags: labels, apiServerAccessProfile: { enablePrivateCluster: true } },
        ],
        [
          "civo:index/firewall:Firewall",
          {
            createDefaultRules: false,
            ingressRules: [
              { action: "allow", portRange: "443", cidrs: ["0.0.0.0/0"] },
              { action: "allow", portRange: "6443", cidrs: ["192.0.2.0/24"] },
            ],
          },
        ],
      ];
      for (const [type, inputs] of passing) assert.deepEqual(found(type, inputs), [], type);
    });
  });

  describe("no-arm64-nodes", () => {
    const machines: readonly (readonly [string, Record<string, unknown>, string])[] = [
      [
        "gcp:container/nodePool:NodePool",
        { nodeConfig: { machineType: "c4a-standard-4", resourceLabels: labels } },
        "c4a-standard-4",
      ],
      ["aws:eks/nodeGroup:NodeGroup", { instanceTypes: ["m7i.large", "m7g.large"], tags: labels }, "m7g.large"],
      ["aws:eks/nodeGroup:NodeGroup", { amiType: "AL2023_ARM_64_STANDARD", tags: labels }, "AL2023_ARM_64_STANDARD"],
      ["azure-native:containerservice:AgentPool", { vmSize: "Standard_D4ps_v6", tags: labels }, "Standard_D4ps_v6"],
      [
        "kubernetes:karpenter.sh/v1:NodePool",
        {
          spec: {
            template: { spec: { requirements: [{ key: "kubernetes.io/arch", operator: "In", values: ["arm64"] }] } },
          },
        },
        "A NodePool without the requirement kubernetes.io/arch In [amd64]",
      ],
      [
        "azure-native:containerservice:AgentPool",
        { vmSize: "Standard_ND128isr_GB200_v6", tags: labels },
        "Standard_ND128isr_GB200_v6",
      ],
    ];
    for (const [type, inputs, machine] of machines)
      it(`refuses ${machine} in ${type}`, () => {
        const [violation, ...others] = found(type, inputs);
        assert.equal(violation?.policy, "no-arm64-nodes");
        assert.ok(violation.message.startsWith(`${machine} is or may be arm64`), violation.message);
        assert.deepEqual(others, []);
      });

    it("lets amd64 pass", () => {
      assert.deepEqual(
        found("aws:eks/nodeGroup:NodeGroup", { instanceTypes: ["m7i.xlarge", "g5.xlarge"], tags: labels }),
        [],
      );
      assert.deepEqual(
        found("azure-native:containerservice:AgentPool", { vmSize: "Standard_D4s_v5", tags: labels }),
        [],
      );
    });
  });

  describe("labels-present", () => {
    it("refuses a resource that could carry labels and lacks one, and names which", () => {
      const [violation] = found("aws:ec2/vpc:Vpc", { tags: { project: "gitlab-workspaces" } });
      assert.equal(violation?.policy, "labels-present");
      assert.match(violation.message, /^tags lacks stack:/);
      assert.match(found("gcp:compute/address:Address", {})[0]?.message ?? "", /lacks project and stack/);
      assert.deepEqual(names(found("civo:index/kubernetesCluster:KubernetesCluster", { tags: "project:x" })), [
        "labels-present",
      ]);
    });

    it("asks nothing of what has no place for labels", () => {
      assert.deepEqual(found("gcp:compute/network:Network", {}), []);
      assert.deepEqual(found("civo:index/kubernetesCluster:KubernetesCluster", { tags: "project:x stack:y" }), []);
    });
  });

  describe("no-plaintext-secret", () => {
    const plain: readonly (readonly [string, Record<string, unknown>, string])[] = [
      ["kubernetes:core/v1:ConfigMap", { data: { "key.pem": pem } }, "data.key.pem"],
      [
        "kubernetes:helm.sh/v3:Release",
        { values: { config: { clientSecret: "hunter2hunter2" } } },
        "values.config.clientSecret",
      ],
      ["kubernetes:helm.sh/v3:Release", { values: { args: ["--token", `glpat-${"x".repeat(20)}`] } }, "values.args[1]"],
      ["kubernetes:core/v1:Secret", { stringData: { any: "text" } }, "stringData"],
    ];
    for (const [type, inputs, path] of plain)
      it(`refuses ${path} of ${type}, and does not repeat it`, () => {
        const [violation] = found(type, inputs);
        assert.equal(violation?.policy, "no-plaintext-secret");
        assert.ok(violation.message.startsWith(path), violation.message);
        assert.doesNotMatch(violation.message, /hunter2|glpat-|PRIVATE|MIIabc/);
      });

    it("lets the engine's own secrets pass, and names of Secrets", () => {
      assert.deepEqual(found("kubernetes:core/v1:Secret", { data: secret }), []);
      assert.deepEqual(found("kubernetes:core/v1:Secret", { data: { any: secret } }), []);
      assert.deepEqual(
        found("kubernetes:helm.sh/v3:Release", { values: { token: { secretName: "gitlab-agent-token" } } }),
        [],
      );
    });
  });

  describe("no-retired-ingress", () => {
    const release = { chart: "ingress-nginx" };
    it("refuses ingress-nginx in production alone", () => {
      const [violation] = found("kubernetes:helm.sh/v3:Release", release, { production: true });
      assert.equal(violation?.policy, "no-retired-ingress");
      assert.match(violation.message, /retirement.*ingress\.controller/);
      assert.deepEqual(found("kubernetes:helm.sh/v3:Release", release), []);
      assert.deepEqual(found("kubernetes:helm.sh/v3:Release", { chart: "traefik" }, { production: true }), []);
    });
  });

  describe("no-cluster-replacement", () => {
    const cluster: Change = {
      op: "replace",
      type: "aws:eks/cluster:Cluster",
      name: "workspaces",
      paths: ["name"],
      causes: ["name"],
    };
    const inputs = { tags: labels, vpcConfig: { publicAccessCidrs: ["192.0.2.0/24"] } };
    for (const type of [
      "gcp:container/cluster:Cluster",
      "aws:eks/cluster:Cluster",
      "azure-native:containerservice:ManagedCluster",
      "civo:index/kubernetesCluster:KubernetesCluster",
      "pulumi:providers:kubernetes",
    ])
      for (const op of ["replace", "delete"] as const)
        it(`refuses to ${op} a ${type} in production`, () => {
          const changes = [{ ...cluster, op, type }];
          const [violation] = found("aws:eks/cluster:Cluster", inputs, { production: true, changes });
          assert.equal(violation?.policy, "no-cluster-replacement");
          assert.match(violation.message, /every workspace on it would be lost/);
          assert.equal(violation.allowance, undefined);
        });

    it("says nothing of a stack that is not in production, or of a cluster that stays", () => {
      assert.deepEqual(found("aws:eks/cluster:Cluster", inputs, { changes: [cluster] }), []);
      const changes: Change[] = [{ ...cluster, op: "update" }];
      assert.deepEqual(found("aws:eks/cluster:Cluster", inputs, { production: true, changes }), []);
    });

    it("refuses what nobody can compare, in production alone", () => {
      const uncompared = "the target branch itself gives no plan for it";
      const of = (production: boolean): Violation[] =>
        violations(
          { changes: [], resources: [], outputs: { before: {}, after: {} } },
          { stack: "live", production, uncompared },
          [],
          today,
        );
      assert.deepEqual(
        of(true).map(({ policy, name }) => `${policy} ${name}`),
        ["no-cluster-replacement comparison"],
      );
      assert.match(of(true)[0]?.message ?? "", /target branch itself gives no plan/);
      assert.deepEqual(of(false), []);
    });

    it("is allowed by name until a day, and by nothing else", () => {
      const allowance = { policy: "no-cluster-replacement", name: "workspaces", until: "2026-11-21" };
      const is = (change: Partial<typeof allowance>): boolean =>
        found("aws:eks/cluster:Cluster", inputs, {
          production: true,
          changes: [cluster],
          allowed: [{ ...allowance, ...change }],
        })[0]?.allowance !== undefined;
      assert.equal(is({}), true);
      assert.equal(is({ until: "2026-11-20" }), false);
      assert.equal(is({ name: "another" }), false);
      assert.equal(is({ policy: "no-public-api" }), false);
    });
  });

  it("each have a name of their own and say what they ask for", () => {
    const all = resourceRules.map(({ name }) => name);
    assert.deepEqual(all, [
      "no-public-api",
      "no-arm64-nodes",
      "labels-present",
      "no-plaintext-secret",
      "no-retired-ingress",
    ]);
    for (const { description } of resourceRules) assert.match(description, /\.$/);
  });
});
