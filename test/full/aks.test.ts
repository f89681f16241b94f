import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { project } from "../../local/stack";
import type { CloudAccount } from "../support/cloud-account";
import { type CloudStack, followsItsGuide, recovers, startCloud, told } from "../support/cloud-suite";
import { brokenReferences } from "../support/live-references";
import { life } from "../support/lives/aks";
import { section } from "../support/recovery-pages";

const clusterType = "azure-native:containerservice:ManagedCluster";
const poolType = "azure-native:containerservice:AgentPool";

describe("A stack on AKS, from its guide and through failures", () => {
  let engine: CloudStack;
  let account: CloudAccount;

  before(async function () {
    this.timeout(3_600_000);
    engine = await startCloud(life);
    ({ account } = engine);
    await engine.up();
  });

  after(async () => {
    await engine.stop();
  });

  followsItsGuide(() => engine, life);

  it("has a guide whose commands for permissions name the file and the role that are there", async () => {
    const scratch = await mkdtemp(join(tmpdir(), "gitlab-workspaces-az-"));
    const calls = join(scratch, "calls");
    await writeFile(join(scratch, "az"), `#!/bin/sh\nprintf '%s\\n' "$*" >> '${calls}'\n`, { mode: 0o755 });
    const { commands } = section("../aks.md", "Permissions");
    assert.equal(commands.length, 1);
    const subscription = "00000000-0000-0000-0000-000000000000";
    const filled = commands[0]!.replaceAll("<subscription>", subscription).replaceAll("<deployer>", "somebody");
    await execa("bash", ["-c", `set -euo pipefail\n${filled}`], {
      cwd: project,
      env: { PATH: `${scratch}:${process.env["PATH"] ?? ""}` },
    });
    const said = await readFile(calls, "utf8");
    const [, definition] = /role definition create .* --role-definition (\{[^]*?\n\})\n/.exec(said)!;
    const role = JSON.parse(definition!) as { Name: string; AssignableScopes: string[] };
    assert.deepEqual(role.AssignableScopes, [`/subscriptions/${subscription}`]);
    assert.ok(
      said.includes(`--role ${role.Name} --scope ${role.AssignableScopes[0]!}\n`),
      "the role that was made is given",
    );
    await rm(scratch, { recursive: true });
  });

  it("does what its guide says of scaling and of upgrades", async () => {
    const before = await readFile(engine.engine.stackConfig, "utf8");
    await engine.does("Scaling");
    await engine.does("Kubernetes upgrades");
    const { objects } = await account.content();
    assert.equal(objects.find(({ type }) => type === poolType)?.inputs["maxCount"], 20);
    assert.equal(objects.find(({ type }) => type === clusterType)?.outputs["currentKubernetesVersion"], "1.36.1");
    await writeFile(engine.engine.stackConfig, before);
    await engine.up();
  });

  it("makes the new pool before the old one goes when its machines are to be others", async () => {
    const { objects } = await account.content();
    const nodes = { machineType: "Standard_D8s_v5", min: 1, max: 5, diskGiB: 128 };
    const done = await engine.withCluster({ nodes }, () => engine.up());
    assert.deepEqual([...new Set(done.map(({ type }) => type))], [poolType]);
    const after_ = (await account.content()).objects;
    const [old, now] = [objects, after_].map((all) => all.filter(({ type }) => type === poolType));
    assert.equal(now!.length, 1);
    assert.notEqual(now![0]!.id, old![0]!.id);
    assert.ok(now![0]!.serial > old![0]!.serial);
    assert.deepEqual(await brokenReferences(engine), []);
    await engine.up();
  });

  it("lets another stack take its cluster as one that exists, which makes nothing of Azure's and leaves it as it is", async () => {
    const before = await account.content();
    const { inputs, outputs } = before.objects.find(({ type }) => type === clusterType)!;
    const tenant = await engine.beside("tenant", {
      ...{ instance: "tenant", domain: "tenant.example.com", production: false, tls: { mode: "self-signed" } },
      cluster: {
        ...{ cloud: "aks", account: "00000000-0000-0000-0000-000000000000", existing: true },
        ...{ name: outputs["name"], resourceGroup: inputs["resourceGroupName"] },
      },
    });
    const steps = await tenant.up();
    assert.ok(steps.length > 20);
    assert.deepEqual(
      steps.filter(({ type }) => type.startsWith("azure-native:")),
      [],
    );
    assert.deepEqual(await tenant.up(), []);
    const destroyed = await tenant.pulumi(["destroy", "--yes", "--skip-preview"]);
    assert.equal(destroyed.exitCode, 0, destroyed.all);
    assert.deepEqual((await account.content()).objects, before.objects);
    assert.deepEqual(told(await engine.up()), []);
  });

  describe("when something fails", () => {
    before(async () => {
      const destroyed = await engine.pulumi(["destroy", "--yes", "--skip-preview"]);
      assert.equal(destroyed.exitCode, 0, destroyed.all);
    });

    recovers(() => engine, life);

    it("says so when a quota is used up half-way, names the key, and goes on when there is more", async () => {
      const destroyed = await engine.pulumi(["destroy", "--yes", "--skip-preview"]);
      assert.equal(destroyed.exitCode, 0, destroyed.all);
      await account.behave({ quotas: { [poolType]: 0 } });
      const all = await engine.fails(["up", "--yes", "--skip-preview"]);
      assert.match(all, /QuotaExceeded/);
      assert.match(all, /no machines of cluster.nodes.machineType, Standard_D4s_v5, in westeurope, or not so many/);
      assert.ok((await engine.inAccount()).includes(clusterType));
      await account.behave({});
      const again = await engine.up();
      assert.ok(!again.some(({ type }) => type === clusterType), "the cluster is kept");
    });
  });
});
