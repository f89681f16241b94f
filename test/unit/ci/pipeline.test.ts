import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseAllDocuments, stringify } from "yaml";
import { filesBelow, type ListedJob, type PipelineProject, pipelineProject, scanners } from "../../support/pipeline";

const root = join(__dirname, "..", "..", "..");

/** Header and content of a file with inputs. */
const documents = (file: string): [Record<string, unknown>, Record<string, unknown>] => {
  const reference = { tag: "!reference", collection: "seq", resolve: () => undefined } as const;
  const parsed = parseAllDocuments(readFileSync(join(root, file), "utf8"), { merge: true, customTags: [reference] });
  return parsed.map((document) => document.toJS() as unknown) as never;
};

interface Job {
  stage?: string;
  script?: string[];
  rules?: { if?: string; when?: string; allow_failure?: boolean }[];
  needs?: { job: string }[];
  interruptible?: boolean;
  timeout?: string;
  retry?: unknown;
  resource_group?: string;
  allow_failure?: unknown;
  environment?: Record<string, string>;
  id_tokens?: Record<string, { aud: string }>;
  variables?: Record<string, string>;
  cache?: { paths: string[]; policy: string; key: unknown }[];
  artifacts?: { paths?: string[]; reports?: Record<string, unknown>; [key: string]: unknown };
  before_script?: string[];
  parallel?: unknown;
}

/** What .gitlab-ci.yml of a user's project is. */
const including = (inputs: Record<string, unknown>) => ({
  ".gitlab-ci.yml": stringify({ include: [{ local: "/ci/pipeline.yml", inputs }] }),
});

const reviewed = { stacks: ["staging", "production"], "review-domain": "review.example.com" };

const checks = ["check", "test", "dependencies"];
const names = (jobs: readonly ListedJob[]): string[] => jobs.map(({ name }) => name);

describe("The pipeline of a project with review environments", function () {
  this.timeout(60_000);
  let project: PipelineProject;
  let jobs: Record<string, Job>;

  const job = (name: string): Job => {
    const found = jobs[name];
    assert.ok(found, `${name} is a job`);
    return found;
  };

  before(async () => {
    project = await pipelineProject(including(reviewed));
    const { stages, workflow, variables, ...rest } = await project.expanded(await project.mergeRequest());
    assert.deepEqual(stages, [".pre", "test", "preview", "review", ".post"]);
    assert.deepEqual(variables, { AST_ENABLE_MR_PIPELINES: "true" });
    assert.deepEqual(workflow, {
      auto_cancel: { on_new_commit: "interruptible" },
      rules: [
        { if: '$CI_PIPELINE_SOURCE == "merge_request_event"' },
        { if: '$CI_PIPELINE_SOURCE == "schedule"' },
        { if: "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH" },
      ],
    });
    jobs = rest as Record<string, Job>;
  });

  after(() => project.remove());

  it("checks, previews each stack and deploys a review environment in a merge request", async () => {
    const listed = await project.list(await project.mergeRequest());
    assert.deepEqual(
      listed.map(({ name, when }) => `${name} ${when}`),
      [
        ...scanners.map((name) => `${name} on_success`),
        "check on_success",
        "test on_success",
        "dependencies on_success",
        "preview: [staging] on_success",
        "preview: [production] on_success",
        "review on_success",
        "review:stop manual",
      ],
    );
  });

  it("checks and previews a fork's merge request, and deploys nothing for it", async () => {
    assert.deepEqual(names(await project.list(await project.mergeRequest({ fork: true }))), [
      ...scanners,
      ...checks,
      "preview: [staging]",
      "preview: [production]",
    ]);
  });

  it("only sweeps when a schedule starts it", async () => {
    assert.deepEqual(names(await project.list(await project.schedule())), ["review:sweep"]);
  });

  it("only checks the default branch", async () => {
    assert.deepEqual(names(await project.list(await project.push())), [...scanners, ...checks]);
  });

  it("runs a command of this project in each job, after an install that goes by the lockfile", () => {
    const junit = (suite: string) =>
      `npm run -s test:${suite} -- --reporter ./ci/checks/mocha-reporter.ts --reporter-option output=reports/${suite}.xml`;
    const scripts = Object.entries(jobs).filter(([name]) => !scanners.includes(name));
    assert.deepEqual(Object.fromEntries(scripts.map(([name, { script }]) => [name, script])), {
      check: ["node --import tsx ci/cli.ts check"],
      test: [junit("unit")],
      "test:engine": ["node --import tsx local/cli.ts tools", junit("engine")],
      dependencies: ["node --import tsx ci/cli.ts dependencies"],
      preview: ['node --import tsx ci/cli.ts preview "$STACK"'],
      review: ["node --import tsx ci/cli.ts review deploy"],
      "review:stop": ["node --import tsx ci/cli.ts review stop"],
      "review:sweep": ["node --import tsx ci/cli.ts review sweep"],
    });
    for (const [name, { before_script }] of scripts)
      assert.deepEqual(before_script, ["npm ci --no-audit --no-fund"], name);
  });

  it("caches what npm downloads, which only one job writes, and never what is installed", () => {
    const caches = Object.entries(jobs).flatMap(([name, { cache = [] }]) => cache.map((one) => ({ name, ...one })));
    assert.equal(caches.length, Object.keys(jobs).length - scanners.length);
    for (const { paths, key } of caches) {
      assert.deepEqual(paths, [".npm/"]);
      assert.deepEqual(key, { files: ["package-lock.json"] });
    }
    assert.deepEqual(
      caches.filter(({ policy }) => policy !== "pull").map(({ name }) => name),
      ["check"],
    );
  });

  it("has nothing in the lockfile that npm would not check after a download", async () => {
    const { packages } = JSON.parse(await readFile(join(root, "package-lock.json"), "utf8")) as {
      packages: Record<string, { integrity?: string; resolved?: string }>;
    };
    const unchecked = Object.entries(packages).filter(([place, { integrity }]) => place !== "" && !integrity);
    assert.deepEqual(unchecked, []);
  });

  /** What each job of this project's own says of something; the scanners' have what GitLab gave them. */
  const own = (key: "interruptible" | "retry" | "timeout") =>
    Object.fromEntries(
      Object.entries(jobs)
        .filter(([name]) => !scanners.includes(name))
        .map(([name, one]) => [name, one[key]]),
    );

  it("can be cancelled by a new commit everywhere but where it deploys, and says nothing of other people's jobs", () => {
    const [, pipeline] = documents("ci/pipeline.yml");
    assert.ok(!("default" in pipeline));
    const { review, "review:stop": stop, "review:sweep": sweep, ...others } = own("interruptible");
    assert.deepEqual([review, stop, sweep], [false, false, false]);
    assert.deepEqual(new Set(Object.values(others)), new Set([true]));
  });

  it("tries again only what the runner broke, and ends what hangs", () => {
    for (const retry of Object.values(own("retry"))) assert.deepEqual(retry, { max: 1, when: "runner_system_failure" });
    const { "test:engine": engine, review, "review:stop": stop, "review:sweep": sweep, ...others } = own("timeout");
    assert.deepEqual([engine, review, stop, sweep], ["2 hours", "1 hour", "1 hour", "2 hours"]);
    assert.deepEqual(new Set(Object.values(others)), new Set(["30 minutes"]));
  });

  it("stops a review environment by a job that GitLab can start", () => {
    const deploy = job("review");
    const stop = job("review:stop");
    assert.deepEqual(deploy.environment, {
      name: "review/mr-$CI_MERGE_REQUEST_IID",
      url: "$REVIEW_URL",
      deployment_tier: "development",
      on_stop: "review:stop",
      auto_stop_in: "2 days",
    });
    assert.deepEqual(stop.environment, { name: "review/mr-$CI_MERGE_REQUEST_IID", action: "stop" });
    assert.equal(stop.stage, deploy.stage);
    assert.deepEqual(stop.needs, []);
    const conditions = ({ rules = [] }: Job) => rules.map(({ if: condition }) => condition);
    assert.deepEqual(conditions(deploy), [
      '"review.example.com" == ""',
      '$CI_PIPELINE_SOURCE == "merge_request_event" && $CI_MERGE_REQUEST_SOURCE_PROJECT_ID == $CI_MERGE_REQUEST_PROJECT_ID',
    ]);
    assert.deepEqual(conditions(stop), conditions(deploy));
    assert.deepEqual(
      stop.rules?.map(({ when, allow_failure }) => [when, allow_failure]),
      [
        ["never", undefined],
        ["manual", true],
      ],
    );
  });

  it("deploys to one review environment at a time, and to two side by side", () => {
    assert.equal(job("review").resource_group, "review-mr-$CI_MERGE_REQUEST_IID");
    assert.equal(job("review:stop").resource_group, "review-mr-$CI_MERGE_REQUEST_IID");
    assert.equal(job("review:sweep").resource_group, "review-sweep");
  });

  it("gives the variables of an environment to no job that does not need them, and none of production's to any", () => {
    const environments = Object.entries(jobs).filter(([, { environment }]) => environment !== undefined);
    assert.deepEqual(Object.fromEntries(environments.map(([name, { environment }]) => [name, environment?.["name"]])), {
      preview: "preview/$STACK",
      review: "review/mr-$CI_MERGE_REQUEST_IID",
      "review:stop": "review/mr-$CI_MERGE_REQUEST_IID",
      "review:sweep": "review/sweep",
    });
    for (const name of ["preview", "review:sweep"]) assert.equal(job(name).environment?.["action"], "access");
  });

  it("gives a token for the clouds to the jobs with an environment, for the audience of the input", () => {
    for (const [name, { id_tokens, environment }] of Object.entries(jobs))
      assert.deepEqual(
        id_tokens,
        environment === undefined ? undefined : { GITLAB_OIDC_TOKEN: { aud: "$CI_SERVER_URL" } },
        name,
      );
  });

  it("hands on reports and nothing else, to developers, for a week", () => {
    const kept = Object.entries(jobs).filter(([, { artifacts }]) => artifacts !== undefined);
    const reports = { access: "developer", expire_in: "1 week", when: "always", paths: ["reports/"] };
    assert.deepEqual(Object.fromEntries(kept.map(([name, { artifacts }]) => [name, artifacts])), {
      check: { ...reports, reports: { codequality: "reports/check.json" } },
      test: {
        ...reports,
        reports: {
          junit: "reports/unit.xml",
          coverage_report: { coverage_format: "cobertura", path: "coverage/cobertura-coverage.xml" },
        },
      },
      "test:engine": { ...reports, reports: { junit: "reports/engine.xml" } },
      dependencies: { ...reports, reports: { codequality: "reports/dependencies.json" } },
      preview: {
        access: "developer",
        expire_in: "1 week",
        when: "always",
        name: "$STACK",
        paths: ["preview/$STACK/"],
        reports: { terraform: "preview/$STACK/report.json", codequality: "preview/$STACK/code-quality.json" },
      },
      review: { access: "developer", expire_in: "1 week", reports: { dotenv: "review.env" } },
    });
  });

  it("previews with the history that says what has changed, and fails on all but a comment that could not be posted", () => {
    const { variables, allow_failure, needs, parallel } = job("preview");
    assert.equal(variables?.["GIT_DEPTH"], "0");
    assert.deepEqual(allow_failure, { exit_codes: 75 });
    assert.deepEqual(needs, []);
    assert.deepEqual(parallel, { matrix: [{ STACK: ["staging", "production"] }] });
  });

  it("tells the review commands the inputs, after the checks have passed", () => {
    const told = (name: string) =>
      Object.fromEntries(Object.entries(job(name).variables ?? {}).filter(([key]) => key.startsWith("REVIEW_")));
    for (const name of ["review", "review:stop", "review:sweep"])
      assert.deepEqual(told(name), {
        REVIEW_STACK: "review",
        REVIEW_DOMAIN: "review.example.com",
        REVIEW_AUTO_STOP_IN: "2 days",
        REVIEW_MAX_AGE: "1 week",
      });
    assert.deepEqual(
      job("review").needs?.map(({ job: needed }) => needed),
      ["check", "test"],
    );
  });

  it("names the same jobs whatever a branch is called", async () => {
    const expected = names(await project.list(await project.mergeRequest()));
    for (const branch of [`función/ñandú-日本-${"x".repeat(200)}`, 'a"b;$(exit 1)'])
      assert.deepEqual(names(await project.list(await project.mergeRequest({ branch, title: branch }))), expected);
  });
});

describe("The pipeline's inputs", function () {
  this.timeout(60_000);

  let project: PipelineProject;

  before(async () => {
    project = await pipelineProject();
  });

  after(() => project.remove());

  /** The jobs, or what is wrong with the file. */
  const listed = async (
    files: Readonly<Record<string, string>>,
    triggered: "mergeRequest" | "schedule" = "mergeRequest",
  ): Promise<string[] | string> => {
    const now = await project.commit(async (folder) => {
      for (const [file, content] of Object.entries(files)) await writeFile(join(folder, file), content);
    });
    assert.notEqual(now, project.base);
    return await project[triggered]()
      .then((trigger) => project.list(trigger))
      .then(names, (error: unknown) => (error as Error).message);
  };

  it("make no review job without a review domain", async () => {
    const stacks = ["staging"];
    assert.deepEqual(await listed(including({ stacks })), [...scanners, ...checks, "preview: [staging]"]);
    assert.deepEqual(await listed(including({ stacks }), "schedule"), []);
  });

  it("take GitLab's scanners out and the engine tests in", async () => {
    assert.deepEqual(await listed(including({ stacks: ["staging"], scanning: false, "engine-tests": true })), [
      "check",
      "test",
      "test:engine",
      "dependencies",
      "preview: [staging]",
    ]);
  });

  it("are refused when they are missing or of another form", async () => {
    assert.match((await listed(including({}))) as string, /stacks.*required value has not been provided/);
    assert.match((await listed(including({ stacks: "staging" }))) as string, /stacks.*not a array/);
    const wrong = {
      "review-domain": ["review.example.com/", "example", '" == "'],
      "review-stack": ["../production", "a b"],
      "auto-stop-in": ["soon", "0 days"],
      "review-max-age": ["never"],
    };
    for (const [input, values] of Object.entries(wrong))
      for (const value of values)
        assert.match(
          (await listed(including({ ...reviewed, [input]: value }))) as string,
          new RegExp(`${input}.*does not match required regex`),
          `${input}: ${value}`,
        );
  });

  it("are those of the component, which passes each one on", async () => {
    const [header] = documents("ci/pipeline.yml");
    const [componentHeader, component] = documents("templates/pipeline.yml");
    assert.deepEqual(componentHeader, header);
    const inputs = Object.keys((header["spec"] as { inputs: Record<string, unknown> }).inputs);
    assert.deepEqual(component, {
      include: [
        {
          local: "/ci/pipeline.yml",
          inputs: Object.fromEntries(inputs.map((input) => [input, `$[[ inputs.${input} ]]`])),
        },
      ],
    });
    const included = await listed(including(reviewed));
    const asComponent = stringify({
      include: [{ component: "$CI_SERVER_FQDN/$CI_PROJECT_PATH/pipeline@$CI_COMMIT_SHA", inputs: reviewed }],
    });
    assert.deepEqual(await listed({ ".gitlab-ci.yml": asComponent }), included);
  });

  it("of this project preview every cloud's example, and no review environment", async () => {
    const own = readFileSync(join(root, ".gitlab-ci.yml"), "utf8");
    assert.deepEqual(await listed({ ".gitlab-ci.yml": own }), [
      ...scanners,
      ...checks,
      ...["self-managed", "gke", "eks", "aks", "civo"].map((stack) => `preview: [${stack}]`),
    ]);
  });

  it("are validated with all the rest against GitLab's schema", async () => {
    const pipeline = readFileSync(join(root, "ci", "pipeline.yml"), "utf8");
    const misspelled = pipeline.replaceAll("resource_group:", "resorce_group:");
    const said = await listed({ ...including(reviewed), "ci/pipeline.yml": misspelled });
    assert.match(said as string, /resorce_group/);
  });
});

describe("A pipeline that runs here", function () {
  this.timeout(60_000);
  const passphrase = "a passphrase, with 'quotes' and $DOLLARS";
  let project: PipelineProject;

  before(async () => {
    const show = ["npm ci", 'echo "$CI_MERGE_REQUEST_IID $CI_COMMIT_BRANCH| $PASSPHRASE"', "ls -a > out/list"];
    const script = ["mkdir out", ...show];
    const artifacts = { paths: ["out/"] };
    project = await pipelineProject({
      ".gitlab-ci.yml": stringify({
        preview: {
          script,
          artifacts,
          environment: { name: "preview/$STACK" },
          parallel: { matrix: [{ STACK: ["a"] }] },
        },
        production: { script, artifacts, environment: { name: "production" }, needs: [] },
        failing: { script: ["exit 75"], allow_failure: { exit_codes: 75 }, needs: [] },
        broken: { script: ["exit 1"], needs: [] },
      }),
    });
  });

  after(() => project.remove());

  it("gives a job the variables of its scope, a folder of its own, and what it hands on", async () => {
    await project.commit((folder) => writeFile(join(folder, "changed"), ""));
    const variables = { PASSPHRASE: { "preview/*": passphrase } };
    const trigger = await project.mergeRequest({ iid: 12 });
    const { exitCode, jobs, all } = await project.run(trigger, ["preview", "production", "failing"], { variables });
    assert.equal(exitCode, 0, all);
    assert.deepEqual(
      [...jobs].map(([name, { status }]) => [name, status]),
      [
        ["preview: [a]", "passed"],
        ["production", "passed"],
        ["failing", "warning"],
      ],
    );
    const preview = jobs.get("preview: [a]")!;
    const production = jobs.get("production")!;
    assert.ok(preview.log.includes(`12 | ${passphrase}`), preview.log);
    assert.match(production.log, /^12 \| $/m);
    assert.notEqual(preview.folder, production.folder);
    const [[file, list] = []] = [...(await filesBelow(preview.artifacts))];
    assert.equal(file, "out/list");
    assert.deepEqual(
      ["changed", "node_modules", "package.json"].filter((name) => !list?.split("\n").includes(name)),
      [],
    );
    assert.deepEqual(await filesBelow(join(project.folder, "nowhere")), new Map());
  });

  it("says which job failed", async () => {
    const { exitCode, jobs } = await project.run(await project.push(), ["broken"]);
    assert.equal(exitCode, 1);
    assert.equal(jobs.get("broken")?.status, "failed");
  });
});
