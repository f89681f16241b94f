import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { settings } from "../../local/engine";
import { passphraseCipher } from "../../local/plan/cipher";
import { filledExample } from "../support/examples";
import { startEngine, type TestEngine } from "../support/engine";
import { type GitLabApi, startGitLabApi } from "../support/gitlab-api";
import { filesBelow, type JobRun, type PipelineProject, pipelineProject, type PipelineRun } from "../support/pipeline";

const token = "glpat-canary-merge-request-token";
const productionPassphrase = "canary-production-passphrase";

/** An example stack in production, its secrets encrypted with a passphrase that no merge request's job has. */
async function production(example: string): Promise<{ file: string; secrets: readonly string[] }> {
  const day = 86_400_000;
  const {
    config,
    settings: filled,
    secrets,
  } = await filledExample(example, {
    from: new Date(Date.now() - day),
    to: new Date(Date.now() + 60 * day),
  });
  const salt = randomBytes(8).toString("base64");
  const cipher = await passphraseCipher(productionPassphrase, `v1:${salt}:`);
  const marked = Object.fromEntries(
    Object.entries(secrets).map(([key, value]) => [key, value.includes("\n") ? value : `canary-production-${key}`]),
  );
  return {
    file: stringify({
      encryptionsalt: `v1:${salt}:${cipher.seal("pulumi")}`,
      config: {
        ...config,
        "gitlab-workspaces:tls": filled["tls"],
        "gitlab-workspaces:production": true,
        ...Object.fromEntries(
          Object.entries(marked).map(([key, value]) => [`gitlab-workspaces:${key}`, { secure: cipher.seal(value) }]),
        ),
      },
    }),
    secrets: Object.values(marked).flatMap((value) =>
      value.split("\n").filter((line) => line.length > 16 && !line.startsWith("-----")),
    ),
  };
}

describe("The pipeline of a merge request, on a real engine", () => {
  let engine: TestEngine;
  let api: GitLabApi;
  let project: PipelineProject;
  let home: string;
  /** Whatever must be seen nowhere. */
  let canaries: string[];
  let passphrase: string;

  before(async function () {
    this.timeout(3_600_000);
    [engine, api, home] = await Promise.all([
      startEngine(),
      startGitLabApi(),
      mkdtemp(join(tmpdir(), "gitlab-workspaces-pipeline-test-")),
    ]);
    await engine.up();
    passphrase = (await readFile(engine.engine.passphrase, "utf8")).trim();
    const [metal, google] = await Promise.all([production("Pulumi.self-managed.yaml"), production("Pulumi.gke.yaml")]);
    project = await pipelineProject({
      "stacks/Pulumi.local.yaml": await readFile(engine.engine.stackConfig, "utf8"),
      "stacks/Pulumi.metal.yaml": metal.file,
      "stacks/Pulumi.google.yaml": google.file,
      ".gitlab-ci.yml": stringify({
        include: [{ local: "/ci/pipeline.yml", inputs: { stacks: ["local", "metal", "google"] } }],
      }),
    });
    api.open(7);
    api.tokens.push({ value: token, user: 99, scopes: ["api"], role: "reporter" });
    canaries = [token, productionPassphrase, passphrase, ...metal.secrets, ...google.secrets];
  });

  after(async () => {
    await project.remove();
    await engine.stop();
    await api.stop();
    await rm(home, { recursive: true, force: true });
  });

  /** The variables of the project's settings: those of production are for its environment alone. */
  function variables(more: Readonly<Record<string, string>> = {}): Record<string, string | Record<string, string>> {
    const {
      PULUMI_STACK: _,
      PULUMI_OPTION_CONFIG_FILE: __,
      PULUMI_CONFIG_PASSPHRASE_FILE: ___,
      PATH: ____,
      ...own
    } = settings(engine.engine, engine.toolchain);
    return {
      ...own,
      // The state of the stack is that of the engine's own.
      PULUMI_CONFIG_PASSPHRASE: { "preview/local": passphrase, production: productionPassphrase },
      MERGE_REQUEST_TOKEN: token,
      CI_API_V4_URL: api.url,
      CI_PROJECT_ID: String(api.project),
      XDG_CACHE_HOME: process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"),
      ...more,
    };
  }

  function job(run: PipelineRun, name: string): JobRun {
    const found = run.jobs.get(name);
    assert.ok(found, run.all);
    return found;
  }

  /** Nothing that a job printed, kept or posted holds a secret. */
  async function assertNoSecret(run: PipelineRun): Promise<void> {
    const told = [run.all, ...api.asked.map(({ body }) => JSON.stringify(body))];
    for (const { log, artifacts } of run.jobs.values()) {
      told.push(log, ...(await filesBelow(artifacts)).values());
    }
    for (const canary of canaries)
      for (const form of [canary, Buffer.from(canary).toString("base64"), encodeURIComponent(canary)])
        assert.ok(!told.some((text) => text.includes(form)), `${form.slice(0, 20)}... is told`);
  }

  it("tries", async () => {
    await project.commit(async (folder) => {
      const file = join(folder, "stacks", "Pulumi.google.yaml");
      await writeFile(file, (await readFile(file, "utf8")).replace("europe-west1", "europe-west4"));
      const local = join(folder, "stacks", "Pulumi.local.yaml");
      const config = parse(await readFile(local, "utf8")) as { config: Record<string, unknown> };
      config.config["gitlab-workspaces:domain"] = "moved.example.test";
      await writeFile(local, stringify(config));
    });
    const run = await project.run(
      await project.mergeRequest(),
      ["preview: [local]", "preview: [metal]", "preview: [google]"],
      { variables: variables() },
    );
    console.log(run.all);
    for (const name of ["preview: [local]", "preview: [metal]", "preview: [google]"]) {
      const { artifacts, status } = job(run, name);
      console.log(name, status, await filesBelow(artifacts));
    }
    console.log(api.notes.get(7));
    await assertNoSecret(run);
  });
});
