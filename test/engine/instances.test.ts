import assert from "node:assert/strict";
import { brokenReferences } from "../support/live-references";
import { startEngine, type TestEngine, type TestStack } from "../support/engine";
import { type Live, snapshotOf, touched, without } from "../support/snapshot";

/** A resource as `pulumi stack export` has it. */
interface InState {
  readonly type: string;
  readonly id?: string;
  /** Only read, and somebody else's. */
  readonly external?: boolean;
  readonly outputs?: { readonly resourceNames?: Readonly<Record<string, readonly string[]>> };
}

/** What is shared by two lists. */
const shared = (some: readonly string[], others: readonly string[]): string[] =>
  some.filter((object) => others.includes(object));

describe("Several instances on one cluster", () => {
  let engine: TestEngine;
  let teamB: TestStack;
  let teamC: TestStack;

  before(async function () {
    this.timeout(3_600_000);
    engine = await startEngine();
    await engine.up();
    teamB = await engine.beside("team-b", {
      instance: "team-b",
      domain: "team-b.example.test",
      agents: [{ name: "blue" }],
    });
    teamC = await engine.beside("team-c", {
      instance: "team-c",
      domain: "team-c.example.test",
      ingress: { controller: "existing", className: "nginx" },
      agents: [{ name: "local" }],
    });
  });

  after(async () => {
    await engine.stop();
  });

  const snapshot = () => snapshotOf(engine);

  /** Every object that a stack's state calls its own, those of its releases included. */
  async function objectsOf(stack: TestStack): Promise<string[]> {
    const { deployment } = JSON.parse((await stack.pulumi(["stack", "export"])).stdout) as {
      deployment: { resources?: InState[] };
    };
    return (deployment.resources ?? [])
      .filter(({ type, external }) => type.startsWith("kubernetes:") && external !== true)
      .flatMap(({ type, id = "", outputs: { resourceNames = {} } = {} }) => [
        `${type.split(":").at(-1) ?? ""} ${id}`,
        ...Object.entries(resourceNames).flatMap(([kind, names]) =>
          names.map((name) => `${kind.split("/")[0] ?? ""} ${name}`),
        ),
      ]);
  }

  async function destroy(stack: TestStack): Promise<void> {
    const ended = await stack.pulumi(["destroy", "--yes", "--skip-preview"]);
    assert.equal(ended.exitCode, 0, ended.all);
  }

  /** Names of the cluster-wide objects that no Kubernetes comes with. */
  async function clusterWide(kind: string): Promise<string[]> {
    const all = await engine.get<Live[]>(kind);
    const builtIn = /^(system:|kube|default$|(cluster-)?admin$|edit$|view$|kwok)/;
    return all.map(({ metadata }) => metadata.name).filter((name) => !builtIn.test(name));
  }

  it("takes one with a controller of its own, and nothing that is there is touched", async () => {
    const before = await snapshot();
    const steps = await teamB.up();
    const after = await snapshot();
    assert.deepEqual(new Set(steps.map(({ op }) => op)), new Set(["create"]));
    assert.deepEqual(touched(before, after), []);
    assert.deepEqual([...without(after, "team-b").keys()], [...before.keys()], "all that is new carries its name");
  });

  it("takes one behind the first one's controller, and nothing that is there is touched", async () => {
    const before = await snapshot();
    await teamC.up();
    const after = await snapshot();
    assert.deepEqual(touched(before, after), []);
    assert.deepEqual([...without(after, "team-c").keys()], [...before.keys()], "all that is new carries its name");
  });

  it("leaves no reference that leads nowhere", async () => {
    assert.deepEqual(await brokenReferences(engine), []);
  });

  it("has no object in two states, and nothing cluster-wide in common", async () => {
    const [first, b, c] = await Promise.all([engine, teamB, teamC].map(objectsOf));
    assert.ok(b!.includes("ClusterRole gitlab-workspaces-proxy-team-b"), "objects of releases are among them");
    assert.deepEqual([...shared(first!, b!), ...shared(first!, c!), ...shared(b!, c!)], []);
    assert.deepEqual(await clusterWide("ingressclasses"), ["nginx", "nginx-team-b"]);
    assert.deepEqual(await clusterWide("clusterroles"), [
      "gitlab-workspaces-proxy",
      "gitlab-workspaces-proxy-team-b",
      "gitlab-workspaces-proxy-team-c",
      "ingress-nginx",
      "ingress-nginx-team-b",
    ]);
  });

  it("touches nothing when nothing has changed, and only its own pods and objects when a secret has", async () => {
    const before = await snapshot();
    for (const stack of [engine, teamB, teamC]) assert.deepEqual(await stack.up(), []);
    const same = await snapshot();
    assert.deepEqual(touched(before, same), []);

    await teamB.setSecret("oauthClientSecret", "another-one-of-team-b");
    await teamB.up();
    const rotated = await snapshot();
    assert.deepEqual(touched(without(same, "team-b"), rotated), []);
    assert.ok(touched(same, rotated).includes("Secret gitlab-workspaces-team-b/gitlab-workspaces-proxy-config"));

    await engine.setSecret("oauthClientSecret", "another-one-of-the-first");
    await engine.up();
    const changed = touched(rotated, await snapshot());
    assert.ok(changed.includes("Secret gitlab-workspaces/gitlab-workspaces-proxy-config"));
    assert.deepEqual(
      changed.filter((object) => /team-[bc]/.test(object)),
      [],
    );
  });

  for (const { instance, agent } of [
    { instance: "team-b", agent: "blue" },
    { instance: undefined, agent: "local" },
  ]) {
    const whose = instance === undefined ? "a second one without a name" : "a second one of the same name";
    it(`stops ${whose} at its namespaces, and its destroy takes away nothing of the first`, async () => {
      const before = await snapshot();
      const again = await engine.beside(`again-${instance ?? "without-name"}`, {
        instance,
        domain: "again.example.test",
        agents: [{ name: agent }],
      });
      const ended = await again.pulumi(["up", "--yes", "--skip-preview"]);
      assert.notEqual(ended.exitCode, 0);
      assert.match(ended.all, /Namespace gitlab-\S+ is on the cluster already and not in this stack/);
      assert.deepEqual(await objectsOf(again), [], "its state holds nothing of the cluster");
      await destroy(again);
      assert.deepEqual([...(await snapshot())], [...before]);
    });
  }

  it("takes one with the longest name there can be, with Traefik", async () => {
    const before = await snapshot();
    const longest = await engine.beside("longest", {
      instance: "twenty-characters-ab",
      domain: "longest.example.test",
      ingress: { controller: "traefik" },
      agents: [{ name: "agent-of-19-letters" }],
    });
    await longest.up();
    assert.deepEqual(await brokenReferences(engine), []);
    await destroy(longest);
    assert.deepEqual([...(await snapshot())], [...before]);
  });

  it("leaves the others as they are, and nothing of its own, when one is destroyed", async () => {
    const before = await snapshot();
    await destroy(teamB);
    assert.deepEqual([...(await snapshot())], [...without(before, "team-b")]);
    assert.deepEqual(await clusterWide("namespaces"), [
      "gitlab-agent-local",
      "gitlab-agent-local-team-c",
      "gitlab-ingress-controller",
      "gitlab-workspaces",
      "gitlab-workspaces-team-c",
    ]);
    assert.deepEqual(await clusterWide("ingressclasses"), ["nginx"]);
    assert.deepEqual(await clusterWide("clusterroles"), [
      "gitlab-workspaces-proxy",
      "gitlab-workspaces-proxy-team-c",
      "ingress-nginx",
    ]);
    assert.deepEqual(await clusterWide("clusterrolebindings"), [
      "gitlab-agent-local-team-c:gitlab-agent-local-team-c-cluster-admin",
      "gitlab-agent-local:gitlab-agent-local-cluster-admin",
      "gitlab-workspaces-proxy",
      "gitlab-workspaces-proxy-team-c",
      "ingress-nginx",
    ]);
  });

  it("is not destroyed while others share its controller, and cuts them off when it is all the same", async () => {
    const before = await snapshot();
    const refused = await engine.pulumi(["destroy", "--yes", "--skip-preview"]);
    assert.notEqual(refused.exitCode, 0, refused.all);
    assert.match(
      refused.all.replaceAll(/\s+/g, " "),
      /serves others, who would be cut off: (\S+, )?gitlab-workspaces-team-c\/gitlab-workspaces-proxy-team-c\b/,
    );
    assert.deepEqual([...(await snapshot())], [...before], "nothing was touched");

    const env = { GITLAB_WORKSPACES_ALLOW: "destroy-with-workspaces" };
    const ended = await engine.pulumi(["destroy", "--yes", "--skip-preview"], { env });
    assert.equal(ended.exitCode, 0, ended.all);
    assert.deepEqual(await brokenReferences(engine), [
      "Ingress gitlab-workspaces-proxy-team-c -> IngressClass nginx: not there",
      "Ingress gitlab-workspaces-proxy-team-c-metrics-closed -> IngressClass nginx: not there",
    ]);
  });
});
