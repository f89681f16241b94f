import assert from "node:assert/strict";
import { copyFile, cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { execa } from "execa";
import { parse, stringify } from "yaml";
import { environment } from "../../local/engine";
import { project } from "../../local/stack";
import { startEngine, type TestEngine } from "../support/engine";
import { type GitLabApi, startGitLabApi } from "../support/gitlab-api";
import { settled } from "../support/processes";
import { type Snapshot, snapshotOf, touched, without } from "../support/snapshot";
import { workspace } from "../support/workspace";

const token = "glpat-canary-of-the-merge-request-token";

/** What the secrets of the template have in them: see `beside` of the engine. */
const canaries = ["oauth-client-secret-of-review", "local-token-of-review", token];

/** How a job ended. */
interface Job {
  readonly exitCode: number;
  readonly log: string;
}

/** A resource in a checkpoint. */
interface Resource {
  readonly urn: string;
  readonly dependencies?: readonly string[];
}

/** The newest state in a checkpoint. */
interface Latest {
  readonly resources: readonly Resource[];
  readonly pending_operations?: readonly object[];
}

describe("Review environments of merge requests", () => {
  let engine: TestEngine;
  /** Where two jobs at once have the project, each in a folder of its own, as runners do. */
  let first: string;
  let second: string;
  let gitlab: GitLabApi;
  const logs: string[] = [];

  before(async function () {
    this.timeout(3_600_000);
    gitlab = await startGitLabApi({ value: token, user: 1, scopes: ["api"], role: "reporter" });
    engine = await startEngine();
    await engine.up();
    await engine.beside("review", {
      domain: "replaced.example.test",
      ingress: { controller: "existing", className: "nginx" },
      agents: [{ name: "local" }],
    });
    first = await checkout();
    second = await checkout();
  });

  after(async () => {
    await gitlab.stop();
    await engine.stop();
    await Promise.all([first, second].map((folder) => rm(dirname(folder), { recursive: true })));
  });

  /** The project as a job has it, with the template of the review environments. */
  async function checkout(): Promise<string> {
    const folder = join(await mkdtemp(join(tmpdir(), "gitlab-workspaces-review-test-")), "project");
    const { stdout } = await execa("git", ["ls-files", "--cached", "--others", "--exclude-standard"], { cwd: project });
    for (const file of stdout.split("\n").filter((name) => !/^(test|docs|bench)\//.test(name))) {
      await mkdir(dirname(join(folder, file)), { recursive: true });
      await cp(join(project, file), join(folder, file));
    }
    await symlink(join(project, "node_modules"), join(folder, "node_modules"));
    await mkdir(temporary(folder));
    await copyFile(join(engine.engine.root, "Pulumi.review.yaml"), template(folder));
    return folder;
  }

  /** Where the jobs of a checkout have their temporary files. */
  const temporary = (folder: string): string => join(dirname(folder), "tmp");

  const template = (folder: string): string => join(folder, "stacks", "Pulumi.review.yaml");

  /**
   * Starts a job of the pipeline, with the variables that it has there. Node itself and no npx: npx ends at a signal at
   * once, and a runner would take the job for ended while the CLI still writes down what is there.
   */
  function start(folder: string, command: string, iid: number | undefined, more: Record<string, string> = {}) {
    const variables = Object.fromEntries(
      Object.entries(environment(engine.engine, engine.toolchain)).filter(
        ([name]) => name !== "PULUMI_STACK" && name !== "PULUMI_OPTION_CONFIG_FILE",
      ),
    );
    const ofMergeRequest = {
      CI_MERGE_REQUEST_IID: String(iid),
      CI_MERGE_REQUEST_PROJECT_ID: String(gitlab.project),
      CI_MERGE_REQUEST_SOURCE_PROJECT_ID: String(gitlab.project),
      CI_MERGE_REQUEST_PROJECT_URL: "https://gitlab.example.test/group/project",
    };
    const child = execa(process.execPath, ["--import", "tsx", "ci/cli.ts", "review", command], {
      cwd: folder,
      env: {
        ...variables,
        CI: "true",
        TMPDIR: temporary(folder),
        CI_PROJECT_ID: String(gitlab.project),
        CI_API_V4_URL: gitlab.url,
        ...(iid === undefined ? { MERGE_REQUEST_TOKEN: token } : ofMergeRequest),
        REVIEW_STACK: "review",
        REVIEW_DOMAIN: "review.example.test",
        REVIEW_MAX_AGE: "1 week",
        ...more,
      },
      extendEnv: false,
      stdin: "ignore",
      all: true,
      reject: false,
      detached: true,
    });
    const ended = child.then(({ exitCode, all = "" }): Job => {
      logs.push(all);
      return { exitCode, log: all };
    });
    return { child, ended };
  }

  const run = async (folder: string, command: string, iid?: number, more?: Record<string, string>): Promise<Job> =>
    await start(folder, command, iid, more).ended;

  async function succeeds(folder: string, command: string, iid?: number): Promise<string> {
    const { exitCode, log } = await run(folder, command, iid);
    assert.equal(exitCode, 0, log);
    return log;
  }

  /** A job that is cancelled when its log has a line like that. */
  async function cancelled(folder: string, command: string, iid: number, line: RegExp): Promise<Job> {
    const { child, ended } = start(folder, command, iid);
    let printed = "";
    const seen = new Promise<void>((resolve) => {
      child.all?.on("data", (data: Buffer) => {
        printed += data.toString();
        if (line.test(printed)) resolve();
      });
    });
    const early = ended.then(({ log }) => {
      throw new Error(`the job ended before it was cancelled:\n${log}`);
    });
    await Promise.race([seen, early]);
    early.catch(() => undefined);
    // GitLab's runner tells all processes of the job.
    process.kill(-child.pid!, "SIGTERM");
    return await ended;
  }

  const snapshot = (): Promise<Snapshot> => snapshotOf(engine);

  /** Every file of the backend that has to do with a stack. */
  async function inBackend(stack: string): Promise<string[]> {
    const entries = await readdir(engine.engine.state, { recursive: true, withFileTypes: true });
    return entries
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => join(parentPath, name).slice(engine.engine.state.length))
      .filter((file) => file.includes(stack));
  }

  async function stacks(): Promise<string[]> {
    const { stdout } = await engine.pulumi(["stack", "ls", "--json"]);
    return (JSON.parse(stdout) as { name: string }[]).map(({ name }) => name).sort();
  }

  async function tag(stack: string, ...words: string[]): Promise<string> {
    const { exitCode, stdout, all } = await engine.pulumi(["stack", "tag", ...words, "--stack", stack]);
    assert.equal(exitCode, 0, all);
    return stdout.trim();
  }

  it("are made two at once, each with names of its own, and nothing that is there is touched", async () => {
    const before = await snapshot();
    const [seventh, eighth] = await Promise.all([run(first, "deploy", 7), run(second, "deploy", 8)]);
    assert.deepEqual([seventh.exitCode, eighth.exitCode], [0, 0], `${seventh.log}\n${eighth.log}`);
    const after = await snapshot();
    assert.deepEqual(touched(before, after), []);
    assert.deepEqual([...without(without(after, "mr-7"), "mr-8").keys()], [...before.keys()]);
    assert.ok(after.has("Namespace /gitlab-workspaces-mr-7") && after.has("Namespace /gitlab-workspaces-mr-8"));
    assert.deepEqual(await stacks(), ["local", "review", "review-mr-7", "review-mr-8"]);
    assert.equal(await readFile(join(first, "review.env"), "utf8"), "REVIEW_URL=https://mr-7.review.example.test\n");
    assert.equal(await readFile(join(second, "review.env"), "utf8"), "REVIEW_URL=https://mr-8.review.example.test\n");
  });

  it("say at the end of the log where they are, what they need, what they cost and when they end", () => {
    const end = logs.find((log) => log.includes("https://mr-7."))?.split("Review environment:")[1] ?? "";
    assert.match(end, /^ https:\/\/mr-7\.review\.example\.test$/m);
    assert.match(end, /^ {2}\*\.mr-7\.review\.example\.test A \S+$/m);
    assert.match(end, /four pods with requests of 0\.3 CPU and 384 Mi/);
    assert.match(end, /removes it 1 week after its last deployment/);
    assert.match(end, /review:stop/);
  });

  it("leave the working tree as it was, but for what GitLab is told", async () => {
    const left = (await readdir(join(first, "stacks"))).filter((file) => file.includes("mr-7"));
    assert.deepEqual(left, []);
    for (const folder of [first, second])
      assert.deepEqual(
        (await readdir(temporary(folder))).filter((name) => name.startsWith("gitlab-workspaces-")),
        [],
      );
  });

  it("are tagged in the backend with whose they are", async () => {
    const tags = JSON.parse(await tag("review-mr-7", "ls", "--json")) as Record<string, string>;
    assert.deepEqual(Object.keys(tags).sort(), ["deployed", "gitlab-project-id", "merge-request"]);
    assert.equal(tags["merge-request"], "https://gitlab.example.test/group/project/-/merge_requests/7");
  });

  it("are brought up to date one by one", async () => {
    const before = await snapshot();
    const config = parse(await readFile(template(first), "utf8")) as { config: Record<string, unknown> };
    config.config["gitlab-workspaces:oauthClientId"] = "another-application";
    await writeFile(template(first), stringify(config));
    assert.match(await succeeds(first, "deploy", 7), /review-mr-7 is there, and is brought up to date/);
    const changed = touched(before, await snapshot());
    assert.ok(changed.includes("Secret gitlab-workspaces-mr-7/gitlab-workspaces-proxy-config"));
    assert.deepEqual(
      changed.filter((object) => !object.includes("mr-7")),
      [],
    );
  });

  it("survive a job that is cancelled in `up`: nothing is locked, and the next job makes the rest", async () => {
    const { exitCode, log: said } = await cancelled(first, "deploy", 9, /Namespace \S+ created/);
    assert.equal(exitCode, 130, said);
    assert.match(said, /The job was cancelled during `pulumi up` of the stack review-mr-9\.[^]*run the job again/);
    await settled(engine.engine);
    assert.deepEqual(
      (await inBackend("review-mr-9")).filter((file) => file.includes("locks")),
      [],
    );
    const log = await succeeds(first, "deploy", 9);
    assert.match(log, /review-mr-9 is there/);
    assert.match(log, /https:\/\/mr-9\.review\.example\.test/);
  });

  it("take over what a killed job was making, once nobody holds the lock any more", async () => {
    const file = join(engine.engine.state, ".pulumi/stacks/gitlab-workspaces/review-mr-8.json");
    const state = JSON.parse(await readFile(file, "utf8")) as { checkpoint: { latest: Latest } };
    const { latest } = state.checkpoint;
    const isUnrecorded = ({ urn }: Resource): boolean => urn.includes("Release::gitlab-agent-local");
    const [unrecorded] = latest.resources.filter(isUnrecorded);
    assert.ok(unrecorded !== undefined, "the release of the agent is in the state");
    // What a killed engine leaves: the creation begun, and the guard that depends on it not there yet.
    const recorded = latest.resources.filter((each) => !isUnrecorded(each) && !each.urn.endsWith("::destroy-guard"));
    state.checkpoint.latest = {
      ...latest,
      resources: recorded.filter(({ dependencies = [] }) => !dependencies.includes(unrecorded.urn)),
      pending_operations: [{ type: "creating", resource: { ...unrecorded, id: undefined, outputs: undefined } }],
    };
    await writeFile(file, JSON.stringify(state));
    const before = await snapshot();
    const log = await succeeds(second, "deploy", 8);
    assert.match(log, /cut off in the middle of 1 operation:\n {2}creating \S+gitlab-agent-local/);
    assert.match(log, /takes over what stands under the environment's own names/);
    const after = await snapshot();
    assert.deepEqual(
      touched(before, after).filter((object) => !object.includes("mr-8")),
      [],
    );
    const replaced = [...before].filter(
      ([object, version]) => after.get(object)?.split(" ")[0] !== version.split(" ")[0],
    );
    assert.deepEqual(
      replaced.map(([object]) => object).filter((object) => !/^(Pod|Secret \S+sh\.helm)/.test(object)),
      [],
    );
  });

  it("are not touched while somebody holds the stack's lock, and the log says who and what to type", async () => {
    const folder = join(engine.engine.state, ".pulumi/locks/organization/gitlab-workspaces/review-mr-8");
    const lock = { pid: process.pid, username: "root", hostname: hostname(), timestamp: new Date().toISOString() };
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, "held.json"), JSON.stringify(lock));
    const before = await snapshot();
    const { exitCode, log } = await run(second, "deploy", 8);
    const held = await readdir(folder);
    await rm(folder, { recursive: true });
    assert.equal(exitCode, 1, log);
    assert.match(log, new RegExp(`root on ${hostname()}, process ${process.pid}, since`));
    assert.match(log, /npx pulumi cancel --yes --stack review-mr-8/);
    assert.deepEqual(touched(before, await snapshot()), []);
    assert.ok(held.includes("held.json"), "nothing is unlocked by itself");
  });

  it("are not stopped while people's workspaces are in them, loudly", async () => {
    for (const object of workspace({ id: "4711", domain: "mr-8.review.example.test" })) await engine.apply(object);
    const before = await snapshot();
    const { exitCode, log } = await run(second, "stop", 8);
    assert.equal(exitCode, 1, log);
    assert.match(log, /workspace-4711 \(running, gl-rd-ns-4711\)/);
    assert.match(log, /THE REVIEW ENVIRONMENT review-mr-8 RUNS ON, AND COSTS/);
    assert.deepEqual(touched(before, await snapshot()), []);
  });

  it("are stopped whole from state alone, after a stop that was cancelled too, leave nothing, and can be stopped again", async () => {
    await rm(template(first));
    const before = await snapshot();
    const { exitCode, log } = await cancelled(first, "stop", 7, /Release \S+ deleted/);
    assert.equal(exitCode, 130, log);
    assert.notDeepEqual(await inBackend("review-mr-7"), []);
    assert.match(await succeeds(first, "stop", 7), /review-mr-7 is gone from the cluster and from the backend/);
    assert.deepEqual([...(await snapshot())], [...without(before, "mr-7")]);
    assert.deepEqual(await inBackend("review-mr-7"), []);
    assert.match(await succeeds(first, "stop", 7), /There is no stack review-mr-7/);
  });

  it("of another project in the same backend are left alone", async () => {
    await tag("review-mr-9", "set", "gitlab-project-id", "42");
    for (const command of ["deploy", "stop"]) {
      const { exitCode, log } = await run(second, command, 9);
      assert.equal(exitCode, 2, log);
      assert.match(log, /belongs to the GitLab project "42", and this is project "4711"/);
    }
    await tag("review-mr-9", "set", "gitlab-project-id", String(gitlab.project));
  });

  it("are not taken for orphans when GitLab does not answer", async () => {
    gitlab.trouble({ times: 1, status: 401, body: JSON.stringify({ message: "401 Unauthorized" }) });
    const before = await snapshot();
    const { exitCode, log } = await run(second, "sweep");
    assert.equal(exitCode, 1, log);
    assert.match(log, /Only age counted, because GitLab did not tell[^]*401/);
    assert.deepEqual(touched(before, await snapshot()), []);
    assert.deepEqual(await stacks(), ["local", "review", "review-mr-8", "review-mr-9"]);
  });

  it("are swept when their merge requests are not open, and nothing else is", async () => {
    gitlab.open(8);
    const before = await snapshot();
    const log = await succeeds(second, "sweep");
    assert.match(log, /review-mr-8: stays, because merge request !8 is open/);
    assert.match(log, /review-mr-9: goes, because merge request !9 is not open/);
    assert.deepEqual([...(await snapshot())], [...without(before, "mr-9")]);
    assert.deepEqual(await inBackend("review-mr-9"), []);
    assert.deepEqual(await stacks(), ["local", "review", "review-mr-8"]);
  });

  it("are swept when they are too old, even with workspaces, whose namespaces stay", async () => {
    await tag("review-mr-8", "set", "deployed", "2026-01-01T00:00:00.000Z");
    const before = await snapshot();
    assert.match(await succeeds(second, "sweep"), /review-mr-8: goes, because its last deployment began \d+ d ago/);
    assert.deepEqual([...(await snapshot())], [...without(before, "mr-8")]);
    assert.deepEqual(await stacks(), ["local", "review"]);
  });

  it("print and write none of the template's secrets, nor the token", async () => {
    const passphrase = await readFile(engine.engine.passphrase, "utf8");
    // Without a key it would be the empty text, which is in everything.
    const [, clientKey = ""] = /client-key-data: (\S+)/.exec(await readFile(engine.engine.kubeconfig, "utf8")) ?? [];
    const written = [...logs, await readFile(join(first, "review.env"), "utf8")].join("\n");
    assert.ok(logs.length > 10);
    assert.deepEqual(
      [...canaries, passphrase.trim(), clientKey].filter((secret) => written.includes(secret)),
      [],
    );
  });
});
