import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse } from "yaml";
import type { CloudAccount } from "../support/cloud-account";
import { life } from "../support/lives/civo";
import { type CloudStack, comesToLife, domain, isTakenDown, startCloud, told } from "../support/cloud-suite";
import { workspace } from "../support/workspace";

const cluster = "civo:index/kubernetesCluster:KubernetesCluster";

describe("A stack on Civo, on a stand-in account", () => {
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

  describe("is refused before anything is made", () => {
    const nothing = async (arguments_ = ["up", "--yes", "--skip-preview"]): Promise<string> => {
      const said = await engine.fails(arguments_);
      assert.match(said, /Nothing was created\./);
      assert.deepEqual(await engine.inAccount(), []);
      return said;
    };

    it("when Civo refuses the token", async () => {
      await account.behave({ projects: [] });
      assert.match(await nothing(), /cannot be reached with the credentials here: AuthenticationInvalidKeyError/);
      await account.behave({});
    });

    it("when there is no such size of nodes", async () => {
      const said = await engine.withCluster({ nodes: { machineType: "g4s.kube.gigantic" } }, () =>
        nothing(["preview"]),
      );
      assert.match(said, /is g4s\.kube\.gigantic, and Civo has no such size\. There are g4s\.kube\.xsmall/);
    });
  });

  comesToLife(() => engine, life);

  it("has the kubeconfig of an admin in its state as a secret alone", async () => {
    const { stdout: state } = await engine.pulumi(["stack", "export"]);
    const { stdout: kubeconfig } = await engine.pulumi(["stack", "output", "--show-secrets", "kubeconfig"]);
    const { users } = parse(kubeconfig) as { users: { user: Record<string, string> }[] };
    const key = users[0]!.user["client-key-data"]!;
    assert.ok(key.length > 100);
    const { stdout: apiKey } = await engine.pulumi(["config", "get", "civo:token"]);
    assert.ok(apiKey.trim().length > 40);
    const { "civo:token": token } = (
      parse(await readFile(engine.engine.stackConfig, "utf8")) as { config: Record<string, object> }
    ).config;
    assert.deepEqual(Object.keys(token!), ["secure"]);
    for (const part of [
      "client-key-data",
      apiKey.trim(),
      key.slice(0, 40),
      Buffer.from(key, "base64").toString().slice(28, 60),
    ])
      assert.ok(!state.includes(part));
  });

  it("has the autoscaler's evictions of workspaces refused by the API server, and not by its rights", async () => {
    for (const object of workspace({ id: "1-2-evicted", domain })) await engine.apply(object);
    const namespace = "gl-rd-ns-1-2-evicted";
    await engine.kubectl(
      ...["rollout", "status", "deployment/workspace-1-2-evicted", "--namespace", namespace, "--timeout=60s"],
    );
    const [pod] = await engine.get<{ metadata: { name: string } }[]>("pods", "--namespace", namespace);
    const { name } = pod!.metadata;
    const scratch = await mkdtemp(join(tmpdir(), "gitlab-workspaces-eviction-"));
    const file = join(scratch, "eviction.json");
    await writeFile(file, JSON.stringify({ apiVersion: "policy/v1", kind: "Eviction", metadata: { name, namespace } }));
    const evict = ["create", "--raw", `/api/v1/namespaces/${namespace}/pods/${name}/eviction`, "--filename", file];
    await assert.rejects(
      engine.kubectl(...evict, "--as", "system:serviceaccount:kube-system:cluster-autoscaler"),
      /a running workspace is not ended to save a node/,
    );
    await engine.kubectl("delete", "namespace", namespace);
    await rm(scratch, { recursive: true });
  });

  it("takes the bounds of its nodes, labels, version and ranges of the API in place, and leaves the number of nodes", async () => {
    const { objects } = await account.content();
    const before = objects.find(({ type }) => type === cluster)!.outputs;
    const changes = {
      nodes: { machineType: "g4s.kube.large", min: 2, max: 9 },
      labels: { team: "other" },
      kubernetesVersion: "1.36.2-k3s1",
      apiCidrs: ["198.51.100.0/24"],
    };
    const done = await engine.withCluster(changes, () => engine.up());
    assert.deepEqual(told(done), [
      "update civo:index/firewall:Firewall workspaces",
      "update civo:index/kubernetesCluster:KubernetesCluster workspaces",
      "update kubernetes:apps/v1:Deployment cluster-autoscaler",
    ]);
    const after = await account.content();
    const now = after.objects.find(({ type }) => type === cluster)!.outputs;
    assert.deepEqual(now["pools"], before["pools"]);
    assert.equal(now["tags"], "project:gitlab-workspaces stack:civo team:other");
    const { id } = after.objects.find(({ type }) => type === "civo:index/reservedIp:ReservedIp")!;
    assert.deepEqual(
      after.loadBalancers.map(({ namespace, name }) => `${namespace}/${name}`),
      ["gitlab-ingress-controller/traefik"],
    );
    assert.ok(after.loadBalancers[0]!.holds.includes(id), "it keeps the address in use");
  });

  it("is replaced by what its guide names, and protection stops that in the preview", async () => {
    await engine.withCluster({ protect: true }, () => engine.up());
    const before = (await account.content()).objects;
    const stopped = async (what: string): Promise<void> => {
      const said = await engine.fails(["preview"]);
      assert.match(said, /(unable to replace|cannot be deleted)[^]*protect/, what);
      assert.deepEqual((await account.content()).objects, before, what);
    };
    const size = { machineType: "g4s.kube.medium", min: 1, max: 5 };
    await engine.withCluster({ protect: true, nodes: size }, () => stopped("size of nodes"));
    await engine.withCluster({ protect: true }, async () => {
      const file = engine.engine.stackConfig;
      await writeFile(file, (await readFile(file, "utf8")).replace("civo:region: LON1", "civo:region: FRA1"));
      await stopped("region");
    });
  });

  isTakenDown(() => engine, life, cluster);
});
