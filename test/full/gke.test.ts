import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { type CloudStack, followsItsGuide, startCloud, told } from "../support/cloud-suite";
import { brokenReferences } from "../support/live-references";

describe("A stack on GKE, by its guide and beside others", () => {
  let engine: CloudStack;

  before(async () => {
    engine = await startCloud({ stack: "gke", cloud: "gcp" });
  });

  after(async () => {
    await engine.stop();
  });

  followsItsGuide(() => engine, { stack: "gke" });

  it("lets another stack take its cluster as one that exists, which makes nothing of Google's and leaves it as it is", async () => {
    const before = await engine.account.content();
    const { outputs } = before.objects.find(({ type }) => type === "gcp:container/cluster:Cluster")!;
    const tenant = await engine.beside("tenant", {
      ...{ instance: "tenant", domain: "tenant.example.com", production: false, tls: { mode: "self-signed" } },
      cluster: {
        ...{ cloud: "gke", account: "my-project", location: "europe-west1" },
        ...{ name: outputs["name"], existing: true },
      },
    });
    const steps = await tenant.up();
    assert.ok(steps.length > 20);
    assert.deepEqual(
      steps.filter(({ type }) => type.startsWith("gcp:")),
      [],
    );
    assert.deepEqual(await tenant.up(), []);
    assert.deepEqual(await brokenReferences(engine), []);
    const destroyed = await tenant.pulumi(["destroy", "--yes", "--skip-preview"]);
    assert.equal(destroyed.exitCode, 0, destroyed.all);
    assert.deepEqual((await engine.account.content()).objects, before.objects);
    assert.deepEqual(told(await engine.up()), []);
  });

  it("does what its guide says of scaling and of upgrades", async () => {
    const before = await readFile(engine.engine.stackConfig, "utf8");
    await engine.does("Scaling");
    await engine.does("Kubernetes upgrades");
    const { objects } = await engine.account.content();
    const pool = objects.find(({ type }) => type === "gcp:container/nodePool:NodePool")!;
    assert.equal((pool.inputs["autoscaling"] as { totalMaxNodeCount: number }).totalMaxNodeCount, 20);
    const cluster = objects.find(({ type }) => type === "gcp:container/cluster:Cluster")!;
    assert.equal(cluster.inputs["minMasterVersion"], "1.36");
    await writeFile(engine.engine.stackConfig, before);
  });
});
