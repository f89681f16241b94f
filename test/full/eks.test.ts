import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { project } from "../../local/stack";
import { type CloudStack, followsItsGuide, recovers, startCloud, told } from "../support/cloud-suite";
import { life } from "../support/lives/eks";
import { brokenReferences } from "../support/live-references";
import { section } from "../support/recovery-pages";

describe("A stack on EKS in every trouble, on a stand-in account", () => {
  let engine: CloudStack;

  before(async function () {
    this.timeout(3_600_000);
    engine = await startCloud(life);
  });

  after(async () => {
    await engine.stop();
  });

  recovers(() => engine, life);

  followsItsGuide(() => engine, life);

  it("lets another stack take its cluster as one that exists, which makes nothing of Amazon's and leaves it as it is", async () => {
    const before = await engine.account.content();
    const { outputs } = before.objects.find(({ type }) => type === "aws:eks/cluster:Cluster")!;
    const tenant = await engine.beside("tenant", {
      ...{ instance: "tenant", domain: "tenant.example.com", production: false, tls: { mode: "self-signed" } },
      cluster: { cloud: "eks", account: "123456789012", name: outputs["name"], existing: true },
    });
    const steps = await tenant.up();
    assert.ok(steps.length > 20);
    assert.deepEqual(
      steps.filter(({ type }) => type.startsWith("aws:")),
      [],
    );
    assert.deepEqual(await tenant.up(), []);
    const destroyed = await tenant.pulumi(["destroy", "--yes", "--skip-preview"]);
    assert.equal(destroyed.exitCode, 0, destroyed.all);
    assert.deepEqual((await engine.account.content()).objects, before.objects);
    assert.deepEqual(told(await engine.up()), []);
  });

  it("does what its guide says of scaling and of upgrades", async () => {
    const before = await readFile(engine.engine.stackConfig, "utf8");
    await engine.does("Scaling");
    await engine.does("Kubernetes upgrades");
    const pool = await engine.get<{ spec: { limits: object } }>("nodepool", "gitlab-workspaces");
    assert.deepEqual(pool.spec.limits, { cpu: "80" });
    const { objects } = await engine.account.content();
    const cluster = objects.find(({ type }) => type === "aws:eks/cluster:Cluster")!;
    assert.equal(cluster.inputs["version"], "1.36");
    await writeFile(engine.engine.stackConfig, before);
  });

  it("has a guide whose commands for permissions name files that are there", async () => {
    const scratch = await mkdtemp(join(tmpdir(), "gitlab-workspaces-aws-"));
    const calls = join(scratch, "calls");
    await writeFile(join(scratch, "aws"), `#!/bin/sh\nprintf '%s\\n' "$*" >> '${calls}'\n`, { mode: 0o755 });
    const { commands } = section("../eks.md", "Permissions");
    assert.equal(commands.length, 1);
    const filled = commands[0]!.replaceAll("<account>", "123456789012").replaceAll("<role>", "deployer");
    await execa("bash", ["-c", `set -euo pipefail\n${filled}`], {
      cwd: project,
      env: { PATH: `${scratch}:${process.env["PATH"] ?? ""}` },
    });
    const said = await readFile(calls, "utf8");
    const [, policy, file] = /iam create-policy --policy-name (\S+) --policy-document file:\/\/(\S+)/.exec(said)!;
    assert.ok(said.includes(`--policy-arn arn:aws:iam::123456789012:policy/${policy!}\n`), "what was made is given");
    JSON.parse(await readFile(join(project, file!), "utf8"));
    await rm(scratch, { recursive: true });
  });

  it("says so when a quota is used up half-way, keeps what is there, and goes on when there is more", async () => {
    const destroyed = await engine.pulumi(["destroy", "--yes", "--skip-preview"]);
    assert.equal(destroyed.exitCode, 0, destroyed.all);
    await engine.account.behave({ quotas: { "aws:ec2/natGateway:NatGateway": 0 } });
    const all = await engine.fails(["up", "--yes", "--skip-preview"]);
    assert.match(all, /NatGatewayLimitExceeded/);
    await engine.account.behave({});
    const again = await engine.up();
    assert.ok(!again.some(({ type }) => type === "aws:ec2/vpc:Vpc"), "the VPC is kept");
    assert.deepEqual(await brokenReferences(engine), []);
  });

  it("is not taken down whole while a load balancer of somebody's is in its network, which is named", async () => {
    await engine.apply({
      ...{ apiVersion: "v1", kind: "Service", metadata: { name: "forgotten", namespace: "default" } },
      spec: { type: "LoadBalancer", ports: [{ port: 80 }] },
    });
    const all = await engine.fails(["destroy", "--yes", "--skip-preview"]);
    assert.match(all, /DependencyViolation[^]*Service 'default\/forgotten'/);
    assert.ok((await engine.inAccount()).includes("load balancer default/forgotten"));
  });
});
