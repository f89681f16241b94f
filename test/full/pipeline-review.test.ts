import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { startEngine, type TestEngine } from "../support/engine";
import { type GitLabApi, startGitLabApi } from "../support/gitlab-api";
import { type JobRun, type PipelineProject, pipelineProject, projectVariables } from "../support/pipeline";
import { snapshotOf, touched, without } from "../support/snapshot";

const token = "glpat-canary-merge-request-token";

describe("Review environments, by the jobs of the pipeline", () => {
  let engine: TestEngine;
  let api: GitLabApi;
  let project: PipelineProject;

  before(async function () {
    this.timeout(3_600_000);
    [engine, api] = await Promise.all([startEngine(), startGitLabApi()]);
    await engine.up();
    await engine.beside("review", {
      domain: "replaced.example.test",
      ingress: { controller: "existing", className: "nginx" },
      agents: [{ name: "local" }],
    });
    api.open(7, 8);
    api.tokens.push({ value: token, user: 99, scopes: ["api"], role: "reporter" });
    project = await pipelineProject({
      "stacks/Pulumi.review.yaml": await readFile(join(engine.engine.root, "Pulumi.review.yaml"), "utf8"),
      ".gitlab-ci.yml":
        "include: [{ local: /ci/pipeline.yml, inputs: { stacks: [local], review-domain: review.example.test } }]\n",
    });
  });

  after(async () => {
    await project.remove();
    await engine.stop();
    await api.stop();
  });

  /** Runs one job and returns how it ended. @param iid of the merge request; a schedule when absent. */
  async function run(name: string, iid?: number): Promise<JobRun> {
    const trigger = iid === undefined ? await project.schedule() : await project.mergeRequest({ iid });
    const passphrase = (await readFile(engine.engine.passphrase, "utf8")).trim();
    const variables = { ...projectVariables(engine, api, token), PULUMI_CONFIG_PASSPHRASE: { "review/*": passphrase } };
    const { jobs, all } = await project.run(trigger, [name], { variables });
    const job = jobs.get(name);
    assert.equal(job?.status, "passed", all);
    assert.ok(![passphrase, token, "oauth-client-secret-of-review"].some((secret) => all.includes(secret)));
    return job;
  }

  const stacks = async (): Promise<string[]> =>
    (JSON.parse((await engine.pulumi(["stack", "ls", "--json"])).stdout) as { name: string }[]).map(({ name }) => name);

  it("are made, brought up to date and stopped, each by itself, and swept when they are forgotten", async () => {
    const before = await snapshotOf(engine);
    const made = await run("review", 7);
    assert.match(made.log, /Review environment: https:\/\/mr-7\.review\.example\.test/);
    assert.match(
      made.log,
      /It is stopped when the merge request is merged or closed, and 2 days after its last deployment/,
    );
    await run("review", 8);
    assert.deepEqual((await stacks()).sort(), ["local", "review", "review-mr-7", "review-mr-8"]);
    const both = await snapshotOf(engine);
    assert.deepEqual(touched(before, both), []);

    assert.match((await run("review", 7)).log, /The stack review-mr-7 is there, and is brought up to date/);
    assert.deepEqual(touched(both, await snapshotOf(engine)), []);

    assert.match((await run("review:stop", 7)).log, /The stack review-mr-7 is gone/);
    assert.deepEqual([...(await snapshotOf(engine))], [...without(both, "mr-7")]);
    assert.match((await run("review:stop", 7)).log, /there is nothing to stop/);

    assert.match((await run("review:sweep")).log, /review-mr-8: stays, because merge request !8 is open/);
    api.mergeRequests.set(8, "merged");
    assert.match((await run("review:sweep")).log, /review-mr-8: goes, because merge request !8 is not open/);
    assert.deepEqual((await stacks()).sort(), ["local", "review"]);
    assert.deepEqual([...(await snapshotOf(engine))], [...before]);
  });
});
