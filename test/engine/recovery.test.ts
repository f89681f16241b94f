import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { ensureChartRepository, stopChartRepository } from "../../local/chart-repository";
import { ensureCluster } from "../../local/cluster/cluster";
import { makeCertificate } from "../support/certificates";
import { type Ended, type Started, startEngine, type TestEngine } from "../support/engine";
import { healReleases, helm, lockOwner, locks, recoverByThePages, releases, standing, whole } from "../support/on-call";
import { helmsOf, settled } from "../support/processes";
import { follow, missingFrom, section } from "../support/recovery-pages";

const up = ["up", "--yes", "--skip-preview"];
const proxy = { release: "gitlab-workspaces-proxy", namespace: "gitlab-workspaces" };
const agent = { release: "gitlab-agent-local", namespace: "gitlab-agent-local" };
const day = 86_400_000;

/** Key of a taint of the nodes. */
const hold = "gitlab-workspaces-recovery-test";

describe("The pages in docs/recovery, done as they stand there", () => {
  let engine: TestEngine;
  let scratch: string;

  before(async function () {
    this.timeout(3_600_000);
    engine = await startEngine();
    scratch = await mkdtemp(join(tmpdir(), "gitlab-workspaces-recovery-"));
  });

  after(async () => {
    await engine.stop();
    await rm(scratch, { recursive: true });
  });

  /** What a test that failed has left is not for the next one to mend. */
  afterEach(async function () {
    if (this.currentTest?.state !== "failed") return;
    await engine.endStarted();
    await settled(engine.engine);
    await ensureCluster(engine.engine, engine.toolchain);
    await letPodsGo();
    await ensureChartRepository(engine.engine, engine.toolchain);
    await recoverByThePages(engine);
  });

  /** The symptom is what was printed, all of it. */
  function shows(printed: string, page: string, heading?: string): void {
    const described = section(page, heading);
    assert.notDeepEqual(described.symptom, [], `${page} tells a symptom`);
    assert.deepEqual(missingFrom(printed, described), [], `what ${page} says is printed, and was not, in:\n${printed}`);
  }

  /** Does what the page says, and expects it to work. */
  async function does(page: string, heading?: string, values: Record<string, string> = {}, input = ""): Promise<Ended> {
    const ended = await follow(engine, section(page, heading), values, input);
    assert.equal(ended.exitCode, 0, ended.all);
    return ended;
  }

  async function fails(arguments_: readonly string[] = up): Promise<string> {
    const { exitCode, all } = await engine.pulumi(arguments_);
    assert.notEqual(exitCode, 0, all);
    return all;
  }

  async function isWhole(): Promise<void> {
    assert.deepEqual(await standing(engine), whole);
  }

  /** What is in the way is what the page shows one line of, and stays as it is while the state learns of it. */
  async function takesOver(line: string): Promise<void> {
    const heading = "When something is in the way";
    const { symptom } = section("engine-killed.md", heading);
    const ofThis = symptom.filter((one) => one.includes(line));
    assert.equal(ofThis.length, 1);
    const printed = await fails();
    assert.deepEqual(missingFrom(printed, { symptom: ofThis, commands: [] }), [], printed);
    const before = await running();
    await does("engine-killed.md", heading);
    assert.deepEqual(await running(), before, "nothing is made anew");
    await isWhole();
  }

  /** Every object of the agent's that somebody could miss. */
  const running = async (): Promise<string[]> =>
    (
      await engine.get<{ metadata: { uid: string } }[]>(
        "deployments,pods,poddisruptionbudgets,secrets",
        "--namespace",
        agent.namespace,
        "--selector",
        "owner!=helm",
      )
    ).map(({ metadata }) => metadata.uid);

  const pods = async (namespace: string): Promise<string[]> =>
    (await engine.get<{ metadata: { uid: string } }[]>("pods", "--namespace", namespace)).map(
      ({ metadata }) => metadata.uid,
    );

  let held = false;

  /** From now on no new pod finds a node: a Helm that waits for one goes on waiting. */
  async function holdPods(): Promise<void> {
    await engine.kubectl("taint", "nodes", "--all", `${hold}:NoSchedule`);
    held = true;
  }

  async function letPodsGo(): Promise<void> {
    if (held) await engine.kubectl("taint", "nodes", "--all", `${hold}-`);
    held = false;
  }

  /** Resolves when something has come about while `up` runs. @throws with what it printed when it ends before. */
  async function comesAbout(running: Started, something: () => Promise<boolean>): Promise<void> {
    const up: { ended?: Ended } = {};
    void running.ended.then((ended) => (up.ended = ended));
    while (!(await something())) {
      if (up.ended) throw new Error(`pulumi ended before:\n${up.ended.all}`);
    }
  }

  /** Tells whether Helm has given a record the status since: what was healed may keep a record that has it for ever. */
  async function newRecord(status: string): Promise<() => Promise<boolean>> {
    const records = async (): Promise<string[]> => {
      const ofStatus = ["--all-namespaces", "--selector", `owner=helm,status=${status}`];
      return (await engine.kubectl("get", "secrets", ...ofStatus, "--output", "name")).split("\n");
    };
    const before = new Set(["", ...(await records())]);
    return async () => (await records()).some((record) => !before.has(record));
  }

  /** Every helm that installs or upgrades, which none ends while pods are held. */
  async function helmsAtWork(): Promise<number[]> {
    const atWork = (await helmsOf(engine.engine)).filter(({ line }) => / (install|upgrade) /.test(line));
    assert.notDeepEqual(atWork, []);
    return atWork.map(({ pid }) => pid);
  }

  /** Ends the helm that works on a release while it waits for pods. @param something has to have come about before. */
  async function killHelm(something: () => Promise<boolean>): Promise<void> {
    await holdPods();
    const running = engine.start(up);
    await comesAbout(running, something);
    for (const pid of await helmsAtWork()) process.kill(pid, "SIGKILL");
    const { exitCode, all } = await running.ended;
    assert.notEqual(exitCode, 0, all);
    await letPodsGo();
  }

  async function killApiServer(): Promise<void> {
    const pid = await readFile(join(engine.engine.kwok, "clusters", "local", "pids", "kube-apiserver.pid"), "utf8");
    process.kill(Number(pid), "SIGKILL");
  }

  it("engine-killed.md: after kill -9 in the first `up`", async () => {
    await holdPods();
    const running = engine.start(up);
    await running.printed(/Release \S+ creating/);
    running.kill("SIGKILL");
    await running.ended;
    await settled(engine.engine);
    await letPodsGo();

    const refused = await fails();
    const unlock = "1. Make sure that nobody is at work, and unlock";
    shows(refused, "engine-killed.md", unlock);
    const { all } = await does("engine-killed.md", unlock, { pid: lockOwner(refused) });
    assert.match(all, new RegExp(`process ${lockOwner(refused)} is gone`));
    await does("engine-killed.md", "2. Look for releases under way");
    await healReleases(engine);
    const { exitCode, all: said } = await follow(engine, section("engine-killed.md", "3. Go on"));
    if (exitCode !== 0) {
      assert.match(said, /cannot re-use a name that is still in use|already exists/, "the page speaks of nothing else");
      await recoverByThePages(engine);
    }
    await isWhole();
  });

  it("README.md: kubectl and helm reach the stack's own cluster", async () => {
    const { stdout } = await does("README.md", "Before you type anything");
    assert.equal(stdout, "ok");
  });

  it("engine-killed.md: the owner of the lock lives, and the page shows it", async () => {
    await engine.setSecret("oauthClientSecret", "another-oauth-secret");
    await holdPods();
    const running = engine.start(up);
    await running.printed(/Release \S+ updating/);
    running.kill("SIGSTOP");
    const refused = await fails();
    assert.equal(lockOwner(refused), String(running.pid));
    const { stdout } = await execa("bash", [
      "-c",
      section("engine-killed.md").commands[0]!.replace("<pid>", lockOwner(refused)),
    ]);
    assert.match(stdout, /pulumi up/);
    running.kill("SIGCONT");
    await letPodsGo();
    assert.equal((await running.ended).exitCode, 0);
    await isWhole();
  });

  it("engine-killed.md: a release that nobody wrote down is in the way", async () => {
    await forget("kubernetes:helm.sh/v3:Release", "gitlab-agent-local");
    await takesOver("cannot re-use a name that is still in use");
  });

  it("engine-killed.md: an object that nobody wrote down is in the way", async () => {
    await forget("kubernetes:policy/v1:PodDisruptionBudget", "gitlab-agent-local-disruption-budget");
    await takesOver("already exists");
  });

  it("helm-release-pending.md: pending-install", async () => {
    await helm(engine, "uninstall", agent.release, "--namespace", agent.namespace, "--wait");
    assert.equal((await engine.pulumi(["refresh", "--yes", "--skip-preview"])).exitCode, 0);
    const began = await newRecord("pending-install");
    await killHelm(async () => (await began()) && (await pods(agent.namespace)).length > 0);
    await engine.kubectl("wait", "--for=condition=Available", "deployments", "--all", "--namespace", agent.namespace);
    shows(await fails(), "helm-release-pending.md", "Which release");
    const { stdout } = await does("helm-release-pending.md", "Which release");
    assert.match(stdout, /gitlab-agent-local\s.*\s1\s.*pending-install/);
    const before = await pods(agent.namespace);
    assert.notDeepEqual(before, [], "Helm had made the pods");
    await does("helm-release-pending.md", "pending-install", agent);
    await does("helm-release-pending.md", "Then");
    assert.deepEqual(await pods(agent.namespace), before, "what runs stays");
    await isWhole();
  });

  it("helm-release-pending.md: pending-upgrade", async () => {
    await engine.setSecret("oauthClientSecret", "yet-another-oauth-secret");
    await killHelm(await newRecord("pending-upgrade"));
    shows(await fails(), "helm-release-pending.md", "Which release");
    const { stdout } = await does("helm-release-pending.md", "Which release");
    assert.match(stdout, /gitlab-workspaces-proxy\s.*pending-upgrade/);
    const before = await pods(proxy.namespace);
    await does("helm-release-pending.md", "pending-upgrade, pending-rollback", proxy);
    await does("helm-release-pending.md", "Then");
    assert.deepEqual(
      (await pods(proxy.namespace)).filter((pod) => before.includes(pod)),
      [],
      "the new secret is read",
    );
    await isWhole();
  });

  it("api-server-gone.md: before anything, and half-way", async () => {
    await engine.setSecret("oauthClientSecret", "a-third-oauth-secret");
    await holdPods();
    const running = engine.start(up);
    await running.printed(/Release \S+ updating/);
    await killApiServer();
    const { exitCode, all } = await running.ended;
    assert.notEqual(exitCode, 0);
    shows(all, "api-server-gone.md", "Half-way");

    shows(await fails(), "api-server-gone.md", "Before anything was made");
    assert.notEqual((await follow(engine, section("api-server-gone.md", "Before anything was made"))).exitCode, 0);
    await ensureCluster(engine.engine, engine.toolchain);
    await letPodsGo();
    await healReleases(engine);
    await does("api-server-gone.md", "Half-way");
    await isWhole();
  });

  it("interrupted.md: Ctrl-C once", async () => {
    await engine.setSecret("oauthClientSecret", "a-fourth-oauth-secret");
    await holdPods();
    const began = await newRecord("pending-upgrade");
    const running = engine.start(up);
    await comesAbout(running, began);
    running.interrupt();
    const { exitCode, all } = await running.ended;
    await letPodsGo();
    assert.notEqual(exitCode, 0, all);
    shows(all, "interrupted.md", "Once");
    assert.deepEqual(await locks(engine), []);
    await does("interrupted.md", "Once");
    await isWhole();
  });

  it("interrupted.md: Ctrl-C twice", async () => {
    await engine.setSecret("oauthClientSecret", "a-fifth-oauth-secret");
    await holdPods();
    const began = await newRecord("pending-upgrade");
    const running = engine.start(up);
    await comesAbout(running, began);
    // It would end at the first one, and with it perhaps all that the second one could interrupt.
    for (const pid of await helmsAtWork()) process.kill(pid, "SIGSTOP");
    running.interrupt();
    await running.printed(/\^C received; cancelling/);
    running.interrupt();
    const { all } = await running.ended;
    await settled(engine.engine);
    await letPodsGo();
    shows(all, "interrupted.md", "Twice");
    assert.deepEqual(await locks(engine), []);
    await healReleases(engine);
    await does("interrupted.md", "Twice");
    await isWhole();
  });

  it("resource-deleted.md: a Secret", async () => {
    const name = "gitlab-agent-local-token";
    await engine.kubectl("delete", "secret", name, "--namespace", agent.namespace);
    const told = await engine.kubectl("get", "secret", name, "--namespace", agent.namespace).catch(String);
    shows(told, "resource-deleted.md", "A Secret, or any other object");
    await does("resource-deleted.md", "A Secret, or any other object");
    await isWhole();
  });

  it("resource-deleted.md: a namespace", async () => {
    const before = await signingKey();
    assert.notEqual(before, undefined);
    await engine.kubectl("delete", "namespace", proxy.namespace, "--wait=false");
    await does("resource-deleted.md", "A namespace", proxy);
    await isWhole();
    assert.equal(await signingKey(), before, "nobody is logged out");
  });

  it("resource-deleted.md: a release", async () => {
    await helm(engine, "uninstall", agent.release, "--namespace", agent.namespace, "--wait");
    await engine.setSecret("agentToken-local", "a-second-agent-token");
    shows(await fails(), "resource-deleted.md", "A Helm release");
    await does("resource-deleted.md", "A Helm release");
    await isWhole();
  });

  it("token-revoked.md: the agent's token replaces the agent's pods and no others", async () => {
    const before = { agent: await pods(agent.namespace), proxy: await pods(proxy.namespace) };
    const page = section("token-revoked.md", "The agent's token");
    // The first command shows the agent's log, and a simulated pod has none.
    const commands = page.commands.slice(1);
    const { exitCode, all } = await follow(engine, { ...page, commands }, { agent: "local" }, "a-third-agent-token");
    assert.equal(exitCode, 0, all);
    const after = { agent: await pods(agent.namespace), proxy: await pods(proxy.namespace) };
    assert.deepEqual(
      after.agent.filter((pod) => before.agent.includes(pod)),
      [],
    );
    assert.deepEqual(after.proxy, before.proxy);
    await isWhole();
  });

  it("token-revoked.md: the OAuth secret replaces the proxy's pods and no others", async () => {
    const before = { agent: await pods(agent.namespace), proxy: await pods(proxy.namespace) };
    await does("token-revoked.md", "The OAuth application's secret", {}, "a-sixth-oauth-secret");
    const after = { agent: await pods(agent.namespace), proxy: await pods(proxy.namespace) };
    assert.deepEqual(
      after.proxy.filter((pod) => before.proxy.includes(pod)),
      [],
    );
    assert.deepEqual(after.agent, before.agent);
    await isWhole();
  });

  it("chart-repository-unreachable.md", async () => {
    const repository = await ensureChartRepository(engine.engine, engine.toolchain);
    await stopChartRepository(engine.engine);
    const printed = await fails();
    shows(printed, "chart-repository-unreachable.md", "Wait, or take a mirror");
    assert.ok(printed.includes(repository), "the repository is named");
    const page = section("chart-repository-unreachable.md", "Wait, or take a mirror");
    assert.notEqual((await follow(engine, page, { repository })).exitCode, 0, "the page's first command tells");
    assert.equal(await ensureChartRepository(engine.engine, engine.toolchain), repository);
    await does("chart-repository-unreachable.md", "Wait, or take a mirror", { repository });
    await isWhole();
  });

  it("certificate-expired.md", async () => {
    const domain = "workspaces.example.test";
    const wish = { name: domain, covers: [domain, `*.${domain}`] };
    const expired = await makeCertificate({
      ...wish,
      from: new Date(Date.now() - 90 * day),
      to: new Date(Date.now() - 3 * day),
    });
    await engine.configure({ tls: { mode: "provided", certificate: expired.certificate } });
    await engine.setSecret("tlsKey", expired.key);
    shows(await fails(), "certificate-expired.md", "Renew it");

    const renewed = await makeCertificate({
      ...wish,
      from: new Date(Date.now() - day),
      to: new Date(Date.now() + 90 * day),
    });
    await writeFile(join(scratch, "fullchain.pem"), renewed.certificate);
    await writeFile(join(scratch, "privkey.pem"), renewed.key, { mode: 0o600 });
    const before = await pods(proxy.namespace);
    await does("certificate-expired.md", "Renew it", { folder: scratch });
    const { data } = await engine.get<{ data: Record<string, string> }>(
      "secret",
      "gitlab-workspace-proxy-tls",
      "--namespace",
      proxy.namespace,
    );
    assert.equal(Buffer.from(data["tls.crt"] ?? "", "base64").toString(), renewed.certificate);
    assert.deepEqual(await pods(proxy.namespace), before);
    await isWhole();
  });

  it("resource-deleted.md: a release, before a destroy", async () => {
    await helm(engine, "uninstall", agent.release, "--namespace", agent.namespace, "--wait");
    shows(
      await fails(["destroy", "--yes", "--skip-preview"]),
      "resource-deleted.md",
      "A Helm release, before a destroy",
    );
    await does("resource-deleted.md", "A Helm release, before a destroy");
    assert.deepEqual(await releases(engine), []);
  });

  /** Has the state forget a resource that is there, as a killed engine does in the moment before it writes it down. */
  async function forget(type: string, name: string): Promise<void> {
    const { stdout } = await engine.pulumi(["stack", "export"]);
    const exported = JSON.parse(stdout) as { deployment: { resources: { urn: string; type: string }[] } };
    const { urn } = exported.deployment.resources.find((one) => one.type === type && one.urn.endsWith(`::${name}`))!;
    const { exitCode, all } = await engine.pulumi(["state", "delete", urn, "--yes", "--target-dependents"]);
    assert.equal(exitCode, 0, all);
  }

  async function signingKey(): Promise<string | undefined> {
    const secret = ["secret", "gitlab-workspaces-proxy-config", "--namespace", proxy.namespace];
    const { data } = await engine.get<{ data: Record<string, string> }>(...secret);
    return data["auth.signing_key"];
  }
});
