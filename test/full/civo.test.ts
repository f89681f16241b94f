import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import type { CloudAccount } from "../support/cloud-account";
import { life } from "../support/lives/civo";
import { type CloudStack, followsItsGuide, recovers, startCloud, told } from "../support/cloud-suite";
import { brokenReferences } from "../support/live-references";

const cluster = "civo:index/kubernetesCluster:KubernetesCluster";

describe("A stack on Civo, at length", () => {
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

  recovers(() => engine, life);

  followsItsGuide(() => engine, life);

  it("lets another stack take its cluster as one that exists, which makes nothing of Civo's and leaves it as it is", async () => {
    await engine.up();
    const before = await account.content();
    const { name } = before.objects.find(({ type }) => type === cluster)!.outputs;
    const tenant = await engine.beside("tenant", {
      ...{ instance: "tenant", domain: "tenant.example.com", production: false, tls: { mode: "self-signed" } },
      cluster: { cloud: "civo", name, existing: true },
    });
    await tenant.pulumi(["config", "set", "--secret", "civo:token", "another-token-of-the-same-account"]);
    const steps = await tenant.up();
    assert.ok(steps.length > 20);
    assert.deepEqual(
      steps.filter(({ type, name }) => type.startsWith("civo:") || name === "cluster-autoscaler"),
      [],
    );
    assert.deepEqual(await tenant.up(), []);
    assert.deepEqual(await brokenReferences(engine), []);
    const destroyed = await tenant.pulumi(["destroy", "--yes", "--skip-preview"]);
    assert.equal(destroyed.exitCode, 0, destroyed.all);
    assert.deepEqual((await account.content()).objects, before.objects);
    assert.deepEqual(told(await engine.up()), []);
  });

  it("leaves alone what the autoscaler has made of the number of nodes", async () => {
    const { objects } = await account.content();
    const found = objects.find(({ type }) => type === cluster)!;
    assert.equal((found.inputs["pools"] as { nodeCount: number }).nodeCount, 1);
    const changes = { nodes: { machineType: "g4s.kube.large", min: 3, max: 5 } };
    const done = await engine.withCluster(changes, () => engine.up());
    assert.deepEqual(told(done), ["update kubernetes:apps/v1:Deployment cluster-autoscaler"]);
    await engine.up();
  });

  it("does what its guide says of scaling and of upgrades", async () => {
    const before = await readFile(engine.engine.stackConfig, "utf8");
    await engine.does("Scaling");
    await engine.does("Kubernetes upgrades");
    const { objects } = await account.content();
    assert.equal(objects.find(({ type }) => type === cluster)!.outputs["kubernetesVersion"], "1.36.2-k3s1");
    const deployment = await engine.get(...["deployment", "cluster-autoscaler", "--namespace", "kube-system"]);
    assert.match(JSON.stringify(deployment), /--nodes=1:20:workers/);
    await writeFile(engine.engine.stackConfig, before);
  });

  it("would make another size of nodes beside what is there, under another name, and loses nothing when that fails", async () => {
    const { objects } = await account.content();
    const changes = { nodes: { machineType: "g4s.kube.medium", min: 1, max: 5 } };
    const said = await engine.withCluster(changes, () => engine.fails(["up", "--yes", "--skip-preview"]));
    assert.match(said, /one control plane to hand out, the local engine's, and workspaces-g4s-kube-large has it/);
    assert.deepEqual((await account.content()).objects, objects);
    assert.deepEqual(await brokenReferences(engine), []);
  });
});
