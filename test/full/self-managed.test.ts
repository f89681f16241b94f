import assert from "node:assert/strict";
import { copyFile, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { followsItsGuide } from "../support/cloud-suite";
import { startEngine, type TestEngine } from "../support/engine";
import { follow, section } from "../support/recovery-pages";

const guide = "../self-managed.md";

describe("A stack on a cluster of somebody's own", () => {
  let engine: TestEngine;

  before(async () => {
    engine = await startEngine({ stack: "self-managed" });
  });

  after(async () => {
    await engine.stop();
  });

  followsItsGuide(() => engine, { stack: "self-managed" });

  it("takes a new kubeconfig as its guide says, and replaces nothing", async () => {
    const scratch = await mkdtemp(join(tmpdir(), "gitlab-workspaces-guide-"));
    await copyFile(engine.engine.kubeconfig, join(scratch, "kubeconfig.yaml"));
    const { commands } = section(guide, "Credentials that end");
    const { exitCode, all } = await follow(engine, {
      symptom: [],
      commands: commands.map((block) => block.replace("< kubeconfig.yaml", `< '${join(scratch, "kubeconfig.yaml")}'`)),
    });
    assert.equal(exitCode, 0, all);
    assert.doesNotMatch(all, /\d+ (created|replaced|deleted)/);
    await rm(scratch, { recursive: true });
  });

  it("gets a deployer of its own by the commands of its guide", async () => {
    const scratch = await mkdtemp(join(tmpdir(), "gitlab-workspaces-guide-"));
    const { commands } = section(guide, "Permissions");
    const { exitCode, all } = await follow(engine, { symptom: [], commands: [`cd '${scratch}'`, ...commands] });
    assert.equal(exitCode, 0, all);
    assert.deepEqual(await readdir(scratch), ["kubeconfig.yaml"]);
    const kubeconfig = join(scratch, "kubeconfig.yaml");
    assert.doesNotMatch(await readFile(kubeconfig, "utf8"), /client-key/);
    const who = await engine.kubectl("--kubeconfig", kubeconfig, "auth", "whoami", "--output", "json");
    assert.match(who, /system:serviceaccount:kube-system:gitlab-workspaces-deployer/);
    assert.equal((await engine.kubectl("--kubeconfig", kubeconfig, "auth", "can-i", "*", "*")).trim(), "yes");
    await rm(scratch, { recursive: true });
  });

  it("is destroyed as its guide says", async () => {
    const [commands = ""] = section(guide, "Teardown").commands;
    const { exitCode, all } = await follow(engine, { symptom: [], commands: [commands.split("\n")[0]!] });
    assert.equal(exitCode, 0, all);
    const { stdout } = await engine.pulumi(["stack", "export"]);
    assert.doesNotMatch(stdout, /helm\.sh/);
  });
});
