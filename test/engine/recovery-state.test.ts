import assert from "node:assert/strict";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { packageCharts } from "../../local/charts/repository";
import { startEngine, type TestEngine } from "../support/engine";
import { standing, whole } from "../support/on-call";
import { follow, section } from "../support/recovery-pages";

const proxy = "gitlab-workspaces";
const page = "state-lost.md";

interface Live {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly uid: string };
  readonly data?: Readonly<Record<string, string>>;
}

describe("docs/recovery/state-lost.md, done as it stands there", () => {
  let engine: TestEngine;

  before(async function () {
    this.timeout(3_600_000);
    engine = await startEngine();
    await engine.up();
  });

  after(async () => {
    await engine.stop();
  });

  /** What must stay as it is, or somebody notices: every object's identity, and the keys that the program made. */
  async function identities(): Promise<string[]> {
    const objects = await engine.get<Live[]>("namespaces,secrets,services,deployments,ingresses", "--all-namespaces");
    return objects
      .filter(({ metadata }) => !metadata.name.startsWith("sh.helm.release."))
      .map(({ kind, metadata }) => `${kind} ${metadata.namespace ?? ""}/${metadata.name} ${metadata.uid}`)
      .sort();
  }

  const keys = async (): Promise<(string | undefined)[]> => {
    const { data } = await engine.get<Live>("secret", "gitlab-workspaces-proxy-config", "--namespace", proxy);
    return [data?.["auth.signing_key"], data?.["ssh.host_key"]];
  };

  async function does(heading: string): Promise<void> {
    const described = section(page, heading);
    // The local engine's stack config is not where `stack init` looks for it; its salt is, in this folder.
    const scratch = join(engine.engine.root, "project");
    const commands = described.commands.map((block) => block.replace("stack init production", `$& --cwd ${scratch}`));
    const { exitCode, all } = await follow(engine, { ...described, commands });
    assert.equal(exitCode, 0, all);
  }

  /** The keys come from the config now, so the next stack begins as this one did. */
  async function forgetKeys(): Promise<void> {
    await engine.setSecret("signingKey", undefined);
    await engine.setSecret("sshHostKey", undefined);
  }

  it("has everything back after the state was lost, and nobody is logged out", async () => {
    const before = { identities: await identities(), keys: await keys() };
    await rm(join(engine.engine.state, ".pulumi"), { recursive: true });
    const { all } = await engine.pulumi(["preview", "--stack", "local"]);
    assert.match(all, /no stack named 'local' found/);
    await does("Lost altogether");
    assert.deepEqual(await standing(engine), whole);
    assert.deepEqual({ identities: await identities(), keys: await keys() }, before);
    assert.doesNotMatch(await readFile(engine.engine.stackConfig, "utf8"), /adopt/, "the switch is gone");
  });

  it("takes over what came since yesterday, and replaces nothing", async () => {
    await forgetKeys();
    await engine.up();
    const { stdout: yesterday } = await engine.pulumi(["stack", "export"]);
    // Since then: an agent more, another chart version and a rotated secret.
    const extraVersions = { "gitlab-workspaces-proxy": ["0.1.26"] };
    await packageCharts({ helm: engine.toolchain.helm, directory: engine.engine.charts, extraVersions });
    const version = "gitlab-workspaces:charts.gitlab-workspaces-proxy.version";
    assert.equal((await engine.pulumi(["config", "set", "--path", version, "0.1.26"])).exitCode, 0);
    await engine.configure({ agents: [{ name: "local" }, { name: "second" }] });
    await engine.setSecret("agentToken-second", "token-of-the-second-agent");
    await engine.setSecret("oauthClientSecret", "another-oauth-secret");
    await engine.up();
    const before = { identities: await identities(), keys: await keys() };

    const { exitCode, all } = await engine.pulumi(["stack", "import"], { input: yesterday });
    assert.equal(exitCode, 0, all);
    await does("Restored from yesterday");
    assert.deepEqual(await standing(engine), {
      ...whole,
      releases: [
        "gitlab-agent-local/gitlab-agent-local deployed",
        "gitlab-agent-second/gitlab-agent-second deployed",
        "gitlab-ingress-controller/ingress-nginx deployed",
        "gitlab-workspaces/gitlab-workspaces-proxy deployed",
      ],
      namespaces: ["gitlab-agent-local", "gitlab-agent-second", "gitlab-ingress-controller", "gitlab-workspaces"],
    });
    assert.deepEqual({ identities: await identities(), keys: await keys() }, before);
  });
});
