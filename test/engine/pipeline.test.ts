import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { passphraseCipher, passphraseOpens } from "../../local/plan/cipher";
import { kubeconfig } from "../support/stacks";
import { filledExample } from "../support/examples";
import { startEngine, type TestEngine } from "../support/engine";
import { type GitLabApi, startGitLabApi } from "../support/gitlab-api";
import {
  filesBelow,
  type JobRun,
  type PipelineProject,
  pipelineProject,
  type PipelineRun,
  type ProjectVariable,
  projectVariables,
  without,
} from "../support/pipeline";

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
  const mark = (key: string, value: string): string =>
    key === "kubeconfig"
      ? kubeconfig(`canary-production-${key}`)
      : value.includes("\n")
        ? value
        : `canary-production-${key}`;
  const marked = Object.fromEntries(Object.entries(secrets).map(([key, value]) => [key, mark(key, value)]));
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
    secrets: Object.entries(marked).flatMap(([key, value]) =>
      // The last line is the public key, which is in the certificate too.
      value.startsWith("-----") ? value.split("\n").slice(1, 3) : [`canary-production-${key}`],
    ),
  };
}

describe("The pipeline of a merge request, on a real engine", () => {
  let engine: TestEngine;
  let api: GitLabApi;
  let project: PipelineProject;
  /** Whatever must be seen nowhere. */
  let canaries: string[];
  let passphrase: string;

  before(async function () {
    this.timeout(3_600_000);
    [engine, api] = await Promise.all([startEngine(), startGitLabApi()]);
    await engine.up();
    passphrase = (await readFile(engine.engine.passphrase, "utf8")).trim();
    const [metal, google] = await Promise.all([production("Pulumi.self-managed.yaml"), production("Pulumi.gke.yaml")]);
    project = await pipelineProject({
      "stacks/Pulumi.local.yaml": await readFile(engine.engine.stackConfig, "utf8"),
      "stacks/Pulumi.metal.yaml": metal.file,
      "stacks/Pulumi.google.yaml": google.file,
      ".gitlab-ci.yml": stringify({
        include: [{ local: "/ci/pipeline.yml", inputs: { stacks: ["local", "metal", "google", "nowhere"] } }],
      }),
    });
    api.open(7);
    api.tokens.push({ value: token, user: 99, scopes: ["api"], role: "reporter" });
    canaries = [
      token,
      "glpat-canary-revoked-token",
      productionPassphrase,
      passphrase,
      ...metal.secrets,
      ...google.secrets,
    ];
  });

  after(async () => {
    await project.remove();
    await engine.stop();
    await api.stop();
  });

  /** The variables of the project's settings, but for production's, which are protected. */
  const variables = (more: Readonly<Record<string, string>> = {}): Record<string, ProjectVariable> => ({
    ...projectVariables(engine, api, token),
    PULUMI_CONFIG_PASSPHRASE: { "preview/local": passphrase },
    ...more,
  });

  function job(run: PipelineRun, name: string): JobRun {
    const found = run.jobs.get(name);
    assert.ok(found, run.all);
    return found;
  }

  /** Nothing that a job printed, kept or posted holds a secret. */
  async function assertNoSecret(run: PipelineRun, but: readonly string[] = []): Promise<void> {
    const told = [run.all, ...api.asked.map(({ body }) => JSON.stringify(body))];
    for (const { log, artifacts } of run.jobs.values()) {
      told.push(log, ...(await filesBelow(artifacts)).values());
    }
    for (const canary of canaries.filter((each) => !but.includes(each)))
      for (const form of [canary, Buffer.from(canary).toString("base64"), encodeURIComponent(canary)])
        assert.ok(!told.some((text) => text.includes(form)), `${form.slice(0, 20)}... is told`);
  }

  const previews = ["preview: [local]", "preview: [metal]", "preview: [google]"];

  /** What a job keeps for GitLab to show. */
  async function kept(run: PipelineRun, stack: string): Promise<Map<string, string>> {
    const files = await filesBelow(job(run, `preview: [${stack}]`).artifacts);
    return new Map([...files].map(([file, text]) => [file.replace(`preview/${stack}/`, ""), text]));
  }

  /** Changes a setting of a stack in the merge request. */
  async function set(folder: string, stack: string, key: string, value: unknown): Promise<void> {
    const file = join(folder, "stacks", `Pulumi.${stack}.yaml`);
    const config = parse(await readFile(file, "utf8")) as { config: Record<string, unknown> };
    config.config[key] = value;
    await writeFile(file, stringify(config));
  }

  const comments = (): string[] => (api.notes.get(7) ?? []).map(({ body }) => body);

  it("previews each stack as it may, and shows first what people lose", async () => {
    await project.commit(async (folder) => {
      await set(folder, "local", "gitlab-workspaces:domain", "moved.example.test");
      await set(folder, "metal", "gitlab-workspaces:ingress", { controller: "nginx" });
      const file = join(folder, "stacks", "Pulumi.google.yaml");
      const text = await readFile(file, "utf8");
      const { config } = parse(text) as { config: Record<string, object> };
      await writeFile(file, text.replaceAll("europe-west1", "europe-west4"));
      const open = { apiCidrs: ["0.0.0.0/0"], allowPublicApi: true, location: "europe-west4" };
      await set(folder, "google", "gitlab-workspaces:cluster", { ...config["gitlab-workspaces:cluster"], ...open });
    });
    const run = await project.run(await project.mergeRequest(), previews, { variables: variables() });
    await assertNoSecret(run);
    assert.deepEqual(
      previews.map((name) => job(run, name).status),
      ["passed", "failed", "failed"],
      run.all,
    );
    const [local, metal, google] = await Promise.all(["local", "metal", "google"].map((stack) => kept(run, stack)));

    // With the stack's own key and state: what would really happen.
    assert.deepEqual(JSON.parse(local!.get("report.json") ?? ""), { create: 1, update: 6, delete: 1 });
    const lines = (local!.get("comment.md") ?? "").split("\n");
    assert.equal(lines[0], "### Stack `local`: **1 replaced**, 6 changed");
    assert.equal(lines[4], "> [!caution] What people lose");
    assert.match(
      lines[5] ?? "",
      /moves to another domain.*\(`https:\/\/workspaces\.example\.test`, `https:\/\/moved\.example\.test`\)/,
    );
    assert.match(lines.join("\n"), /update `kubernetes:helm\.sh\/v3:Release` `workspaces-proxy`: .*`values\.ingress/);
    assert.match(lines.join("\n"), /Previewed with `pulumi preview` against the stack's state/);
    assert.deepEqual(JSON.parse(local!.get("code-quality.json") ?? ""), []);

    // By placeholders alone.
    assert.match(
      metal!.get("comment.md") ?? "",
      /policies refuse this\n> - \*\*no-retired-ingress\*\*, `ingress-nginx`/i,
    );
    assert.match(metal!.get("comment.md") ?? "", /The ingress controller is taken away/);
    assert.match(metal!.get("comment.md") ?? "", /This is a production stack: its job holds nothing that opens/);
    assert.deepEqual(
      (JSON.parse(metal!.get("code-quality.json") ?? "") as { check_name: string; severity: string }[]).map(
        ({ check_name, severity }) => `${check_name} ${severity}`,
      ),
      ["no-retired-ingress blocker"],
    );
    assert.deepEqual(JSON.parse(google!.get("report.json") ?? ""), { create: 6, update: 0, delete: 6 });
    assert.match(
      google!.get("comment.md") ?? "",
      /^### Stack `google`: \*\*6 replaced\*\*\n\n<sub>.*<\/sub>\n\n> \[!caution\] What people lose\n> - The cluster/,
    );
    assert.match(
      google!.get("comment.md") ?? "",
      /> - \*\*no-public-api\*\*, `workspaces`: `The Kubernetes API is open to every/,
    );
    assert.match(
      job(run, "preview: [google]").log,
      /error: no-cluster-replacement: workspaces: .*location.*\n(.*\n)?.*ci\/allowances\.yaml/,
    );

    assert.deepEqual(
      comments()
        .map((body) => body.split("\n")[0])
        .sort(),
      ["google", "local", "metal"].map((stack) => `<!-- gitlab-workspaces preview: ${stack} -->`),
    );
    for (const [index, found] of [local, metal, google].entries())
      assert.ok(
        comments().some((body) => body.includes((found?.get("comment.md") ?? "?").trim())),
        `comment ${index} is what the job kept`,
      );
  });

  it("brings its comments up to date at the next push, and passes what is allowed by name", async () => {
    await project.commit(async (folder) => {
      await set(folder, "local", "gitlab-workspaces:domain", "workspaces.example.test");
      await writeFile(
        join(folder, "ci", "allowances.yaml"),
        stringify([
          {
            policy: "no-retired-ingress",
            stack: "metal",
            name: "ingress-nginx",
            reason: "until the load balancer is moved",
            until: new Date(Date.now() + 86_400_000).toISOString().slice(0, 10),
          },
        ]),
      );
    });
    const run = await project.run(await project.mergeRequest(), previews.slice(0, 2), { variables: variables() });
    await assertNoSecret(run);
    assert.deepEqual(
      previews.slice(0, 2).map((name) => job(run, name).status),
      ["passed", "passed"],
      run.all,
    );
    assert.equal(comments().length, 3);
    const [local, metal] = ["local", "metal"].map((stack) =>
      comments().find((body) => body.includes(`preview: ${stack} `)),
    );
    assert.match(local ?? "", /### Stack `local`: no changes/);
    assert.match(metal ?? "", /\*\*Allowed for now, by ci\/allowances\.yaml\*\*/);
    assert.doesNotMatch(metal ?? "", /Policies refuse/);
  });

  it("gives placeholders to a merge request that prints what it can of production, by its program and by its pipeline", async () => {
    await project.commit(async (folder) => {
      const program = join(folder, "src", "deploy.ts");
      const text = await readFile(program, "utf8");
      const prints = [
        "  process.stderr.write(`STOLEN ${JSON.stringify(pulumi.runtime.allConfig())}\\n`);",
        "  process.stderr.write(`STOLEN ${JSON.stringify(process.env)}\\n`);",
        "  pulumi.output(config.oauthClientSecret).apply((it) => process.stderr.write(`STOLEN ${it}\\n`));",
      ];
      const changed = text.replace(
        "  for (const warning of config.warnings)",
        `${prints.join("\n")}\n  for (const warning of config.warnings)`,
      );
      assert.notEqual(changed, text);
      await writeFile(program, changed);
      const pipeline = join(folder, "ci", "pipeline.yml");
      const yaml = await readFile(pipeline, "utf8");
      // An environment of its own choice, too: a scope is no wall.
      const edited = yaml
        .replace("    name: preview/$STACK\n    action: access", "    name: production\n    action: access")
        .replace(
          '    - node --import tsx ci/cli.ts preview "$STACK"\n',
          '    - env | grep -v MERGE_REQUEST_TOKEN\n    - cat stacks/*.yaml\n    - node --import tsx local/cli.ts plan "$STACK" --full\n    - node --import tsx ci/cli.ts preview "$STACK"\n',
        );
      assert.match(edited, /name: production\n/);
      assert.match(edited, /cat stacks/);
      await writeFile(pipeline, edited);
    });
    const run = await project.run(await project.mergeRequest(), ["preview: [metal]"], {
      variables: variables(),
      ofProtected: { PULUMI_CONFIG_PASSPHRASE: { production: productionPassphrase } },
    });
    // It does hold that token, as every job does.
    await assertNoSecret(run, [token]);
    const { log } = job(run, "preview: [metal]");
    assert.match(log, /STOLEN .*stand-in-/, "the program has printed what it was given");
    assert.match(log, /^.*GITLAB_OIDC|CI_JOB_ID=/m, "so has the pipeline");
  });

  it("refuses to run where a production stack's passphrase is in the job", async () => {
    const run = await project.run(await project.mergeRequest(), ["preview: [metal]"], {
      variables: variables({ PULUMI_CONFIG_PASSPHRASE: productionPassphrase }),
    });
    const { encryptionsalt } = parse(await readFile(engine.engine.stackConfig, "utf8")) as { encryptionsalt: string };
    assert.ok(await passphraseOpens(passphrase, encryptionsalt), "it is known by what the CLI writes");
    assert.equal(job(run, "preview: [metal]").status, "failed");
    assert.match(job(run, "preview: [metal]").log, /error: This job holds the passphrase of a production stack/);
  });

  it("plans for a fork without any variable of the project, and posts nothing", async () => {
    const asked = api.asked.length;
    await project.commit(async (folder) => {
      await cp(join(__dirname, "..", "..", "src"), join(folder, "src"), { recursive: true });
      await cp(join(__dirname, "..", "..", "ci"), join(folder, "ci"), { recursive: true });
      await set(folder, "local", "gitlab-workspaces:gitlab", { url: "https://gitlab.example.test" });
    });
    const run = await project.run(await project.mergeRequest({ fork: true }), ["preview: [local]"], {
      variables: { XDG_CACHE_HOME: variables()["XDG_CACHE_HOME"] ?? "" },
    });
    const { status, log } = job(run, "preview: [local]");
    assert.equal(status, "passed", log);
    assert.match(log, /This merge request comes from a fork: its job holds nothing/);
    assert.match(log, /No comment: a merge request from a fork gets no token/);
    assert.equal(api.asked.length, asked);
  });

  it("names every variable that is missing, and a stack that is not there", async () => {
    const rest = without(variables(), "PULUMI_BACKEND_URL", "PULUMI_CONFIG_PASSPHRASE");
    const jobs = ["preview: [local]", "preview: [nowhere]"];
    const run = await project.run(await project.mergeRequest(), jobs, { variables: rest });
    assert.match(
      job(run, "preview: [nowhere]").log,
      /error: There is no stack config stacks\/Pulumi\.nowhere\.yaml\..*\n.*In stacks\/ there are: /,
    );
    assert.equal(job(run, "preview: [local]").status, "failed");
    assert.match(
      job(run, "preview: [local]").log,
      /The variable PULUMI_BACKEND_URL is missing: .*\n.*The variable PULUMI_CONFIG_PASSPHRASE is missing: /,
    );
  });

  it("fails with a comment when the preview does, and only warns when GitLab takes no comment", async () => {
    await project.commit((folder) => set(folder, "local", "gitlab-workspaces:domian", "misspelt.example.test"));
    const failed = await project.run(await project.mergeRequest(), ["preview: [local]"], { variables: variables() });
    await assertNoSecret(failed);
    assert.equal(job(failed, "preview: [local]").status, "failed");
    assert.match(
      comments().find((body) => body.includes("preview: local ")) ?? "",
      /the preview failed[\s\S]*domian[\s\S]*domain/,
    );

    await project.commit(async (folder) => {
      const file = join(folder, "stacks", "Pulumi.local.yaml");
      const config = parse(await readFile(file, "utf8")) as { config: Record<string, unknown> };
      delete config.config["gitlab-workspaces:domian"];
      await writeFile(file, stringify(config));
    });
    const refused = await project.run(await project.mergeRequest(), ["preview: [local]"], {
      variables: variables({ MERGE_REQUEST_TOKEN: "glpat-canary-revoked-token" }),
    });
    assert.equal(job(refused, "preview: [local]").status, "warning", refused.all);
    assert.match(
      job(refused, "preview: [local]").log,
      /warning: the comment on the merge request is missing or out of date\.[\s\S]*401/,
    );
  });
});
