import assert from "node:assert/strict";
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { project } from "../../local/stack";
import { type CloudStack, followsItsGuide, recovers, startCloud, told } from "../support/cloud-suite";
import { life } from "../support/eks-life";
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

  describe("destroyed in the wrong order", () => {
    it("is caught by the stand-in", async () => {
      const cleared = await engine.pulumi(["destroy", "--yes", "--skip-preview"]);
      assert.equal(cleared.exitCode, 0, cleared.all);
      const scratch = await mkdtemp(join(tmpdir(), "gitlab-workspaces-order-"));
      for (const part of ["src", "Pulumi.yaml", "package.json", "tsconfig.json", "stacks"])
        await cp(join(project, part), join(scratch, part), { recursive: true });
      await symlink(join(project, "node_modules"), join(scratch, "node_modules"));
      const without = async (file: string, ...cuts: readonly (readonly [RegExp, string])[]): Promise<void> => {
        let text = await readFile(join(scratch, file), "utf8");
        for (const [cut, left] of cuts) {
          assert.ok(cut.test(text), `${file} has ${String(cut)}`);
          text = text.replace(cut, left);
        }
        await writeFile(join(scratch, file), text);
      };
      // A provider that waits for the cluster alone, as a kubeconfig that somebody wrote down does for nothing.
      const kubeconfig = JSON.stringify(await readFile(engine.engine.kubeconfig, "utf8"));
      await without(
        "src/clusters/eks.ts",
        [/dependsOn: \[\.\.\.ready, \.\.\.outside\.ready\],/, ""],
        [
          /this\.provider = kubernetesProvider\(answered, identity,/,
          'this.provider = kubernetesProvider(pulumi.secret(WRITTEN), "cluster",',
        ],
        [/\/\*\* Where a cluster answers/, `const WRITTEN = ${kubeconfig};\n\n/** Where a cluster answers`],
      );
      await without("src/deploy.ts", [/new DestroyGuard\([^]*?\n {2}\);/, ""]);
      const there = (...arguments_: string[]) => engine.pulumi([...arguments_, "--cwd", scratch]);
      const up = await there("up", "--yes", "--skip-preview");
      assert.equal(up.exitCode, 0, up.all);
      const destroyed = await there("destroy", "--yes", "--skip-preview");
      assert.notEqual(destroyed.exitCode, 0, destroyed.all);
      assert.match(destroyed.all, /DependencyViolation/);
      await rm(scratch, { recursive: true });
    });
  });
});
