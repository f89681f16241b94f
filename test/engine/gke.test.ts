import assert from "node:assert/strict";
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { parse } from "yaml";
import { ensureCluster } from "../../local/cluster/cluster";
import { project } from "../../local/stack";
import type { CloudAccount } from "../support/cloud-account";
import {
  asksForNoMore,
  type CloudLife,
  type CloudStack,
  comesToLife,
  domain,
  isTakenDown,
  recovers,
  startCloud,
  told,
} from "../support/cloud-suite";
import { brokenReferences } from "../support/live-references";
import { section } from "../support/recovery-pages";
import { workspace } from "../support/workspace";

const guide = "../gke.md";

/** Everything that the example stack makes, but for providers. */
const made = [
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
  "kubernetes:core/v1:Service workspaces-proxy-metrics-closed",
  "kubernetes:helm.sh/v3:Release gitlab-agent-team-a",
  "kubernetes:helm.sh/v3:Release traefik",
  "kubernetes:helm.sh/v3:Release workspaces-proxy",
  "kubernetes:networking.k8s.io/v1:Ingress workspaces-proxy-metrics-closed",
  "kubernetes:policy/v1:PodDisruptionBudget gitlab-agent-team-a-disruption-budget",
  "kubernetes:policy/v1:PodDisruptionBudget workspaces-proxy-disruption-budget",
  "pulumi-nodejs:dynamic/gitlab-workspaces:DestroyGuard destroy-guard",
  "pulumi:pulumi:Stack gitlab-workspaces-gke",
  "random:index/randomPassword:RandomPassword signing-key",
  "tls:index/privateKey:PrivateKey ssh-host-key",
];

/** The calls of Google's APIs that a resource of the provider makes: https://cloud.google.com/compute/docs/reference/rest/v1 and
 * https://cloud.google.com/iam/docs/permissions-reference. What is of `container` is in the role container.admin. */
const permissions: Readonly<Record<string, readonly string[]>> = {
  "invoke gcp:organizations/getProject:getProject": ["resourcemanager.projects.get"],
  "invoke gcp:compute/getZones:getZones": ["compute.zones.list"],
  "invoke gcp:container/getCluster:getCluster": ["compute.instanceGroupManagers.get"],
  "create gcp:compute/network:Network": [
    "compute.networks.create",
    "compute.networks.get",
    "compute.globalOperations.get",
  ],
  "read gcp:compute/network:Network": ["compute.networks.get"],
  "delete gcp:compute/network:Network": ["compute.networks.delete", "compute.globalOperations.get"],
  "create gcp:compute/subnetwork:Subnetwork": [
    ...["compute.subnetworks.create", "compute.subnetworks.get", "compute.networks.updatePolicy"],
    "compute.regionOperations.get",
  ],
  "update gcp:compute/subnetwork:Subnetwork": ["compute.subnetworks.expandIpCidrRange", "compute.subnetworks.get"],
  "read gcp:compute/subnetwork:Subnetwork": ["compute.subnetworks.get"],
  "delete gcp:compute/subnetwork:Subnetwork": ["compute.subnetworks.delete", "compute.networks.updatePolicy"],
  "create gcp:compute/router:Router": [
    "compute.routers.create",
    "compute.routers.get",
    "compute.networks.updatePolicy",
  ],
  "read gcp:compute/router:Router": ["compute.routers.get"],
  "delete gcp:compute/router:Router": ["compute.routers.delete", "compute.networks.updatePolicy"],
  "create gcp:compute/routerNat:RouterNat": ["compute.routers.get", "compute.routers.update"],
  "read gcp:compute/routerNat:RouterNat": ["compute.routers.get"],
  "delete gcp:compute/routerNat:RouterNat": ["compute.routers.get", "compute.routers.update"],
  "create gcp:compute/address:Address": [
    "compute.addresses.create",
    "compute.addresses.get",
    "compute.addresses.setLabels",
  ],
  "read gcp:compute/address:Address": ["compute.addresses.get"],
  "update gcp:compute/address:Address": ["compute.addresses.setLabels"],
  "delete gcp:compute/address:Address": ["compute.addresses.delete"],
  "create gcp:serviceaccount/account:Account": ["iam.serviceAccounts.create", "iam.serviceAccounts.get"],
  "read gcp:serviceaccount/account:Account": ["iam.serviceAccounts.get"],
  "delete gcp:serviceaccount/account:Account": ["iam.serviceAccounts.delete"],
  "create gcp:projects/iAMMember:IAMMember": [
    "resourcemanager.projects.getIamPolicy",
    "resourcemanager.projects.setIamPolicy",
  ],
  "read gcp:projects/iAMMember:IAMMember": ["resourcemanager.projects.getIamPolicy"],
  "delete gcp:projects/iAMMember:IAMMember": [
    "resourcemanager.projects.getIamPolicy",
    "resourcemanager.projects.setIamPolicy",
  ],
  "create gcp:container/cluster:Cluster": ["iam.serviceAccounts.actAs", "compute.instanceGroupManagers.get"],
  "read gcp:container/cluster:Cluster": ["compute.instanceGroupManagers.get"],
  "update gcp:container/cluster:Cluster": ["compute.instanceGroupManagers.get"],
  "delete gcp:container/cluster:Cluster": [],
  "create gcp:container/nodePool:NodePool": ["iam.serviceAccounts.actAs", "compute.instanceGroupManagers.get"],
  "read gcp:container/nodePool:NodePool": ["compute.instanceGroupManagers.get"],
  "update gcp:container/nodePool:NodePool": ["compute.instanceGroupManagers.get"],
  "delete gcp:container/nodePool:NodePool": [],
};

const life: CloudLife = {
  ...{ stack: "gke", cloud: "gcp", made },
  chain: [
    "Network",
    "Subnetwork",
    "Cluster",
    "NodePool",
    "kubernetes",
    "Namespace",
    "Secret",
    "Release",
    "DestroyGuard",
  ],
  records: async (account) => {
    const { objects } = await account.content();
    const address = objects.find(({ type }) => type === "gcp:compute/address:Address");
    return { type: "A", value: address?.outputs["address"] };
  },
};

describe("A stack on GKE, on a stand-in account", () => {
  let engine: CloudStack;
  let account: CloudAccount;

  before(async function () {
    this.timeout(3_600_000);
    engine = await startCloud(life);
    ({ account } = engine);
  });

  after(async () => {
    await engine.stop();
  });

  comesToLife(() => engine, life);

  it("has the autoscaler's evictions of workspaces refused by the API server, and a person's not", async () => {
    for (const object of workspace({ id: "1-2-evicted", domain })) await engine.apply(object);
    await engine.apply({
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRoleBinding",
      metadata: { name: "test-autoscaler" },
      subjects: [{ kind: "User", name: "cluster-autoscaler", apiGroup: "rbac.authorization.k8s.io" }],
      roleRef: { kind: "ClusterRole", name: "cluster-admin", apiGroup: "rbac.authorization.k8s.io" },
    });
    const namespace = "gl-rd-ns-1-2-evicted";
    await engine
      .kubectl("wait", "--for=create", "pod", "--all", "--namespace", namespace, "--timeout=60s")
      .catch(() => "");
    await engine.kubectl(
      "rollout",
      "status",
      "deployment/workspace-1-2-evicted",
      "--namespace",
      namespace,
      "--timeout=60s",
    );
    const [pod] = await engine.get<{ metadata: { name: string } }[]>("pods", "--namespace", namespace);
    const { name } = pod!.metadata;
    const scratch = await mkdtemp(join(tmpdir(), "gitlab-workspaces-eviction-"));
    const file = join(scratch, "eviction.json");
    await writeFile(file, JSON.stringify({ apiVersion: "policy/v1", kind: "Eviction", metadata: { name, namespace } }));
    const evict = ["create", "--raw", `/api/v1/namespaces/${namespace}/pods/${name}/eviction`, "--filename", file];
    await assert.rejects(
      engine.kubectl(...evict, "--as", "cluster-autoscaler"),
      /a running workspace is not ended to save a node/,
    );
    await engine.kubectl(...evict);
    await engine.kubectl("delete", "namespace", namespace);
    await engine.kubectl("delete", "clusterrolebinding", "test-autoscaler");
    await rm(scratch, { recursive: true });
  });

  it("has a guide whose commands for permissions name files and roles that are there", async () => {
    const scratch = await mkdtemp(join(tmpdir(), "gitlab-workspaces-gcloud-"));
    const calls = join(scratch, "calls");
    await writeFile(join(scratch, "gcloud"), `#!/bin/sh\nprintf '%s\\n' "$*" >> '${calls}'\n`, { mode: 0o755 });
    const { commands } = section(guide, "Permissions");
    assert.equal(commands.length, 1);
    const filled = commands[0]!
      .replaceAll("<project>", "my-project")
      .replaceAll("<deployer>", "user:somebody@example.com");
    await execa("bash", ["-c", `set -euo pipefail\n${filled}`], {
      cwd: project,
      env: { PATH: `${scratch}:${process.env["PATH"] ?? ""}` },
    });
    const said = await readFile(calls, "utf8");
    const [, role, file] = /iam roles create (\S+) --project my-project --file (\S+)/.exec(said)!;
    assert.ok(said.includes(`--role projects/my-project/roles/${role!}\n`), "the role that was made is given");
    await readFile(join(project, file!));
    await rm(scratch, { recursive: true });
  });

  it("takes the number of nodes, labels, version and channel in place", async () => {
    const changes = {
      nodes: { machineType: "e2-standard-4", min: 2, max: 9, diskGiB: 100 },
      labels: { team: "other" },
      kubernetesVersion: "1.36",
      apiCidrs: ["198.51.100.0/24"],
      network: { nodes: "10.0.0.0/19", pods: "10.4.0.0/14", services: "10.8.0.0/20" },
      maintenance: { days: ["sunday"], hour: 3, hours: 12 },
    };
    const done = await engine.withCluster(changes, () => engine.up());
    assert.deepEqual(told(done), [
      "update gcp:compute/address:Address workspaces",
      "update gcp:compute/subnetwork:Subnetwork workspaces",
      "update gcp:container/cluster:Cluster workspaces",
      "update gcp:container/nodePool:NodePool workspaces",
    ]);
    const { objects, loadBalancers } = await account.content();
    const { id } = objects.find(({ type }) => type === "gcp:compute/address:Address")!;
    assert.deepEqual(
      loadBalancers.map(({ namespace, name }) => `${namespace}/${name}`),
      ["gitlab-ingress-controller/traefik"],
    );
    assert.ok(loadBalancers[0]!.holds.includes(id), "it keeps the address in use");
    // A range that has grown does not shrink again.
    await engine.configure({ cluster: { ...(await engine.clusterConfig()), network: changes.network } });
    assert.deepEqual([...new Set((await engine.up()).map(({ op }) => op))], ["update"], "and back again");
  });

  it("is replaced by what its guide names, and protection stops that in the preview", async () => {
    await engine.withCluster({ protect: true }, () => engine.up());
    const before = (await account.content()).objects;
    for (const change of [{ location: "europe-west4" }, { name: "another" }]) {
      const protect = await engine.withCluster({ ...change, protect: true }, () => engine.fails(["up", "--yes"]));
      assert.match(protect, /(unable to replace|cannot be deleted)[^]*protect/, JSON.stringify(change));
      assert.deepEqual((await account.content()).objects, before, JSON.stringify(change));
    }
    const pods = { network: { nodes: "10.0.0.0/19", pods: "10.12.0.0/14", services: "10.8.0.0/20" } };
    const inUse = await engine.withCluster({ ...pods, protect: true }, () =>
      engine.fails(["up", "--yes", "--skip-preview"]),
    );
    assert.match(inUse, /the secondary range 'pods' is already being used/);
    assert.deepEqual((await account.content()).objects, before);
  });

  isTakenDown(() => engine, life, "gcp:container/cluster:Cluster");

  asksForNoMore(
    () => engine,
    "docs/permissions/gke.yaml",
    permissions,
    async () => {
      const role = parse(await readFile(join(project, "docs", "permissions", "gke.yaml"), "utf8")) as {
        includedPermissions: string[];
      };
      return role.includedPermissions;
    },
  );

  describe("when something fails", () => {
    recovers(() => engine, life);

    it("says so when a quota is used up half-way, keeps what is there, and goes on when there is more", async () => {
      const destroyed = await engine.pulumi(["destroy", "--yes", "--skip-preview"]);
      assert.equal(destroyed.exitCode, 0, destroyed.all);
      await account.behave({ quotas: { "gcp:container/nodePool:NodePool": 0 } });
      const all = await engine.fails(["up", "--yes", "--skip-preview"]);
      assert.match(all, /quota/i);
      assert.ok((await engine.inAccount()).includes("gcp:container/cluster:Cluster"));
      await account.behave({});
      const again = await engine.up();
      assert.ok(!again.some(({ type }) => type === "gcp:container/cluster:Cluster"), "the cluster is kept");
    });

    it("names what could not be made, and asks to look, when the cluster is there and its API never answers", async () => {
      const destroyed = await engine.pulumi(["destroy", "--yes", "--skip-preview"]);
      assert.equal(destroyed.exitCode, 0, destroyed.all);
      const pid = await readFile(join(engine.engine.kwok, "clusters", "local", "pids", "kube-apiserver.pid"), "utf8");
      process.kill(Number(pid), "SIGKILL");
      const all = await engine.fails(["up", "--yes", "--skip-preview"]);
      assert.match(
        all,
        /The cluster at https:\S+ does not answer \(ECONNREFUSED\)[^]* none of the ranges of cluster.apiCidrs/,
      );
      assert.ok((await engine.inAccount()).includes("gcp:container/cluster:Cluster"));
      await ensureCluster(engine.engine, engine.toolchain);
      const again = await engine.up();
      assert.ok(!again.some(({ type }) => type === "gcp:container/cluster:Cluster"), "the cluster is kept");
      assert.deepEqual(await brokenReferences(engine), []);
    });

    it("is told in one paragraph when the credentials reach another project", async () => {
      await account.behave({ projects: ["somebody-elses"] });
      const before = await account.content();
      const all = await engine.fails(["preview"]);
      assert.match(all, /The Google Cloud project my-project cannot be reached with the credentials here: .*403/);
      assert.match(all, /gcloud auth application-default login/);
      assert.doesNotMatch(all, /^\s+at /m);
      assert.deepEqual(await account.content(), before);
      await account.behave({});
    });

    it("is told that there is no such location", async () => {
      const all = await engine.withCluster({ location: "europe-west99" }, () => engine.fails(["preview"]));
      assert.match(all, /cluster.location is europe-west99, and Google Cloud has no such region/);
    });
  });

  describe("destroyed in the wrong order", () => {
    it("is caught by the stand-in", async () => {
      const cleared = await engine.pulumi(["destroy", "--yes", "--skip-preview"]);
      assert.equal(cleared.exitCode, 0, cleared.all);
      const scratch = await mkdtemp(join(tmpdir(), "gitlab-workspaces-order-"));
      for (const part of ["src", "Pulumi.yaml", "package.json", "tsconfig.json", "stacks"])
        await cp(join(project, part), join(scratch, part), { recursive: true });
      await symlink(join(project, "node_modules"), join(scratch, "node_modules"));
      const without = async (file: string, ...cuts: readonly (readonly [string | RegExp, string])[]): Promise<void> => {
        let text = await readFile(join(scratch, file), "utf8");
        for (const [cut, left] of cuts) {
          assert.ok(typeof cut === "string" ? text.includes(cut) : cut.test(text), `${file} has ${String(cut)}`);
          text = text.replace(cut, left);
        }
        await writeFile(join(scratch, file), text);
      };
      // A kubeconfig that somebody wrote down leads to the cluster, and waits neither for it nor for its nodes.
      const kubeconfig = JSON.stringify(await readFile(engine.engine.kubeconfig, "utf8"));
      await without(
        "src/clusters/gke.ts",
        ["dependsOn: [pool, address]", ""],
        [/this\.kubeconfig = kubeconfigOf\(\{[^]*?\}\);/, `this.kubeconfig = pulumi.secret(${kubeconfig});`],
        [
          "kubernetesProvider(answering(this.kubeconfig), cluster.id,",
          'kubernetesProvider(this.kubeconfig, "cluster",',
        ],
      );
      await without("src/deploy.ts", [/new DestroyGuard\([^]*?\n {2}\);/, ""]);
      const there = (...arguments_: string[]) => engine.pulumi([...arguments_, "--cwd", scratch]);
      const up = await there("up", "--yes", "--skip-preview");
      assert.equal(up.exitCode, 0, up.all);
      const destroyed = await there("destroy", "--yes", "--skip-preview");
      assert.notEqual(destroyed.exitCode, 0, destroyed.all);
      assert.match(destroyed.all, /already being used by/);
      assert.ok((await engine.inAccount()).some((what) => what.startsWith("load balancer gitlab-ingress-controller/")));
      await rm(scratch, { recursive: true });
    });
  });
});
