import assert from "node:assert/strict";
import { chmod, cp, link, copyFile, mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, delimiter, dirname, join } from "node:path";
import { execa } from "execa";
import { parse } from "yaml";
import { connect } from "../../ci/gitlab";
import { progressTo } from "../../local/progress";
import { project } from "../../local/stack";
import { ensurePulumiCli, toolchainCache, versions } from "../../local/toolchain/toolchain";
import { startGitLabApi, type GitLabApi } from "../support/gitlab-api";
import { section } from "../support/recovery-pages";

/** What the reader has in files, each with a mark by which it is found again. */
const readersSecrets = {
  "personal-access-token.txt": "glpat-canary-personal",
  "kubeconfig.yaml": "canary-kubeconfig-staging",
  "review-kubeconfig.yaml": "canary-kubeconfig-review",
  "oauth-client-secret.txt": "canary-oauth-secret-staging",
  "review-oauth-client-secret.txt": "canary-oauth-secret-review",
  "agent-token.txt": "canary-agent-token-staging",
  "review-agent-token.txt": "canary-agent-token-review",
  "privkey.pem": "canary-tls-key",
} as const;

/** A year from now at most: GitLab takes nothing later. */
const expiry = new Date(Date.now() + 90 * 24 * 3600 * 1000).toISOString().slice(0, 10);

describe("The guide of the pipeline", () => {
  let scratch: string;
  let clone: string;
  let api: GitLabApi;
  let environment: NodeJS.ProcessEnv;
  let printed: string;
  let values: Record<string, string>;

  const git = (...arguments_: readonly string[]) => execa("git", arguments_, { env: environment, extendEnv: false });

  /** The repository on GitLab, as far as git sees it: this project, and push options. */
  async function remote(): Promise<string> {
    const tree = join(scratch, "tree");
    const not = ["node_modules", ".git", "coverage"];
    await cp(project, tree, { recursive: true, filter: (path) => !not.includes(basename(path)) });
    const bare = join(scratch, "remote.git");
    await git("init", "--quiet", "--initial-branch", "main", tree);
    await git("-C", tree, "add", "--all");
    await git("-C", tree, "commit", "--quiet", "--message", "The project");
    await git("clone", "--quiet", "--bare", tree, bare);
    await git("-C", bare, "config", "receive.advertisePushOptions", "true");
    const hook = join(bare, "hooks", "pre-receive");
    const to = join(scratch, "push-options");
    await writeFile(
      hook,
      `#!/bin/sh\nread -r _ _ ref\nenv | grep ^GIT_PUSH_OPTION_ | sort > '${to}'-"\${ref#refs/heads/}"\n`,
    );
    await chmod(hook, 0o755);
    return bare;
  }

  /** Commands that write down how they were called before they do what they do. */
  async function recorded(bin: string): Promise<void> {
    for (const command of ["curl", "git", "node", "openssl", "sed", "tr", "rm"]) {
      const { stdout: real } = await execa("which", [command]);
      await writeFile(
        join(bin, command),
        `#!/bin/sh\nprintf '%s\\n' "${command} $*" >> '${join(scratch, "called")}'\nexec '${real}' "$@"\n`,
        { mode: 0o755 },
      );
    }
  }

  const page = (heading: string): readonly string[] => section("../pipeline.md", heading).commands;
  const guide = () => page("From clone to the first green merge request pipeline");
  const step = (words: string): string =>
    guide().find((block) => block.includes(words)) ?? assert.fail(`no step of the guide has ${words}`);

  /** Does what stands on the page, with everything that the reader replaces. */
  async function shell(blocks: readonly string[], cwd = clone): Promise<{ all: string; exitCode: number | undefined }> {
    const script = blocks.join("\n").replaceAll(/<([a-z][a-z-]*)>/g, (placeholder, name: string) => {
      const value = values[name];
      return value ?? assert.fail(`nothing is said about ${placeholder}`);
    });
    const { all, exitCode } = await execa("bash", ["-c", script], {
      cwd,
      env: environment,
      extendEnv: false,
      stdin: "ignore",
      reject: false,
      all: true,
    });
    return { all: all ?? "", exitCode };
  }

  before(async function () {
    this.timeout(3_600_000);
    const pulumi = await ensurePulumiCli(progressTo());
    scratch = await mkdtemp(join(tmpdir(), "gitlab-workspaces-pipeline-guide-"));
    const folders = {
      bin: "bin",
      home: "home",
      state: "state",
      reviews: "reviews",
      cli: join("pulumi", "versions", versions.pulumi, "bin"),
    };
    for (const folder of Object.values(folders)) await mkdir(join(scratch, folder), { recursive: true });
    const cli = join(scratch, folders.cli, "pulumi");
    await link(pulumi, cli).catch(() => copyFile(pulumi, cli));
    environment = {
      PATH: [join(scratch, folders.bin), process.env["PATH"] ?? ""].join(delimiter),
      HOME: join(scratch, folders.home),
      TMPDIR: tmpdir(),
      XDG_CACHE_HOME: dirname(dirname(toolchainCache())),
      PULUMI_HOME: join(scratch, "pulumi"),
      PULUMI_SKIP_UPDATE_CHECK: "true",
      PULUMI_OPTION_COLOR: "never",
      ...Object.fromEntries(["AUTHOR", "COMMITTER"].map((who) => [`GIT_${who}_NAME`, "A platform engineer"])),
      ...Object.fromEntries(["AUTHOR", "COMMITTER"].map((who) => [`GIT_${who}_EMAIL`, "engineer@example.test"])),
    };
    api = await startGitLabApi({
      value: readersSecrets["personal-access-token.txt"],
      user: 1,
      scopes: ["api"],
      role: "maintainer",
      personal: true,
    });
    api.open(7);
    for (const [name, content] of Object.entries(readersSecrets)) await writeFile(join(scratch, name), `${content}\n`);
    const repository = await remote();
    await recorded(join(scratch, folders.bin));

    values = {
      repository,
      backend: `file://${join(scratch, folders.state)}`,
      "review-backend": `file://${join(scratch, folders.reviews)}`,
      "preview-role": "arn:aws:iam::123456789012:role/preview",
      "review-role": "arn:aws:iam::123456789012:role/review",
      api: api.url,
      project: "platform%2Fworkspaces",
      expiry,
    };
    clone = join(scratch, "gitlab-workspaces");
    const commands = guide();
    assert.equal(commands[1], "npm ci", "the packages of the clone are those of this project");
    const done = await shell(
      ["set -euo pipefail", ...commands.with(1, `ln -s '${join(project, "node_modules")}' node_modules`)],
      scratch,
    );
    printed = done.all;
    assert.equal(done.exitCode, 0, printed);
  });

  after(async () => {
    await api.stop();
    await rm(scratch, { recursive: true, force: true });
  });

  const passphrase = (scope: string): string =>
    api.variables.find(
      ({ key, environment_scope }) => key === "PULUMI_CONFIG_PASSPHRASE" && environment_scope === scope,
    )!.value;

  it("sets the variables that it lists, each in its scope, and none that opens production", () => {
    const { value: token } = api.tokens.find(({ personal }) => personal !== true)!;
    const common = { variable_type: "env_var", hidden: false, protected: false };
    assert.deepEqual(
      api.variables.map(({ value, ...rest }) => ({ ...rest, long: value.length >= 20 })),
      [
        { key: "PULUMI_BACKEND_URL", environment_scope: "*", masked: false, raw: false },
        { key: "PULUMI_BACKEND_URL", environment_scope: "review/*", masked: false, raw: false },
        { key: "PULUMI_CONFIG_PASSPHRASE", environment_scope: "preview/staging", masked: true, raw: true },
        { key: "PULUMI_CONFIG_PASSPHRASE", environment_scope: "review/*", masked: true, raw: true },
        { key: "AWS_ROLE_ARN", environment_scope: "preview/staging", masked: false, raw: false },
        { key: "AWS_ROLE_ARN", environment_scope: "review/*", masked: false, raw: false },
        { key: "MERGE_REQUEST_TOKEN", environment_scope: "*", masked: true, raw: true },
      ].map((variable) => ({ ...common, ...variable, long: true })),
    );
    assert.equal(api.variables.at(-1)!.value, token);
    for (const key of ["PULUMI_BACKEND_URL", "AWS_ROLE_ARN"]) {
      const set = api.variables.filter((variable) => variable.key === key).map(({ value }) => value);
      assert.equal(new Set(set).size, 2, `review environments have a ${key} of their own`);
    }
    assert.notEqual(passphrase("preview/staging"), passphrase("review/*"));
  });

  it("makes a token with which the jobs write comments and see what is open, and nothing else", async () => {
    const token = api.tokens.find(({ personal }) => personal !== true)!;
    assert.deepEqual([token.scopes, token.role, token.expires], [["api"], "reporter", expiry]);
    const client = connect({ url: api.url, project: String(api.project), token: token.value });
    assert.deepEqual(await client.openMergeRequests(), [7]);
    assert.equal(await client.comment(7, "<!-- gitlab-workspaces preview: staging -->", "hello"), "posted");
    const response = await fetch(`${api.url}/projects/${api.project}/variables`, {
      headers: { "PRIVATE-TOKEN": token.value },
    });
    assert.equal(response.status, 403);
  });

  it("keeps the project's variables from forks, and protected ones from merge requests", () => {
    assert.deepEqual(api.settings, {
      ci_allow_fork_pipelines_to_run_in_parent_project: false,
      protect_merge_request_pipelines: false,
    });
  });

  it("has the sweeper run each hour on a branch of its own, which has the pipeline", async () => {
    assert.deepEqual(
      api.schedules.map(({ cron, ref, active }) => ({ cron, ref, active })),
      [{ cron: "17 * * * *", ref: "refs/heads/sweeper", active: true }],
    );
    const bare = join(scratch, "remote.git");
    const { stdout } = await git("-C", bare, "show", "sweeper:.gitlab-ci.yml");
    assert.match(stdout, /review-domain: review\.example\.com/);
    const { stdout: heads } = await git("-C", bare, "rev-parse", "sweeper", "merge-request-pipeline");
    assert.equal(new Set(heads.split("\n")).size, 1);
  });

  it("pushes a branch and opens its merge request with that", async () => {
    assert.deepEqual(
      (await readFile(join(scratch, "push-options-merge-request-pipeline"), "utf8")).trim().split("\n"),
      [
        "GIT_PUSH_OPTION_0=merge_request.create",
        "GIT_PUSH_OPTION_1=merge_request.target=main",
        "GIT_PUSH_OPTION_COUNT=2",
      ],
    );
    const { stdout } = await git(
      ...["-C", join(scratch, "remote.git"), "diff", "--name-only", "main", "merge-request-pipeline"],
    );
    assert.deepEqual(stdout.split("\n"), [".gitlab-ci.yml", "stacks/Pulumi.review.yaml", "stacks/Pulumi.staging.yaml"]);
    assert.equal((await git("-C", clone, "status", "--porcelain", "--", ":!node_modules")).stdout, "");
  });

  it("encrypts each stack to a passphrase of its own, which opens no other, and has nothing of staging in the template", async () => {
    const read = (stack: string, scope: string, state: string) =>
      execa("npx", ["pulumi", "config", "--stack", stack, "--show-secrets", "--json"], {
        cwd: clone,
        env: {
          ...environment,
          PULUMI_BACKEND_URL: values[state],
          PULUMI_CONFIG_PASSPHRASE: passphrase(scope),
        },
        extendEnv: false,
        reject: false,
        all: true,
      });
    const secrets = async (stack: string, scope: string, state: string) =>
      Object.values(
        JSON.parse((await read(stack, scope, state)).stdout) as Record<string, { value: string; secret: boolean }>,
      )
        .filter(({ secret }) => secret)
        .map(({ value }) => value.trim())
        .sort();
    const ofReviews = Object.entries(readersSecrets).filter(([file]) => file.startsWith("review-"));
    assert.deepEqual(await secrets("review", "review/*", "review-backend"), ofReviews.map(([, value]) => value).sort());
    const staging = await secrets("staging", "preview/staging", "backend");
    assert.ok(staging.includes("canary-oauth-secret-staging"), "the secrets of staging can be read");
    for (const [, value] of ofReviews) assert.ok(!staging.includes(value), `${value} is staging's too`);
    const refused = await read("staging", "review/*", "backend");
    assert.notEqual(refused.exitCode, 0);
    assert.match(refused.all ?? "", /incorrect passphrase/);
    const { config } = parse(await readFile(join(clone, "stacks", "Pulumi.review.yaml"), "utf8")) as {
      config: Record<string, unknown>;
    };
    assert.deepEqual(
      Object.keys(config).filter((key) => JSON.stringify(config[key]).includes('"secure"')),
      ["kubeconfig", "oauthClientSecret", "agentToken-review"].map((key) => `gitlab-workspaces:${key}`),
    );
  });

  it("ends with a template of review environments that the program takes", async () => {
    const { all, exitCode } = await execa("node", ["--import", "tsx", "local/cli.ts", "plan", "review"], {
      cwd: clone,
      env: environment,
      extendEnv: false,
      reject: false,
      all: true,
    });
    assert.equal(exitCode, 0, all);
    assert.match(all ?? "", /review\.example\.com/);
  });

  it("shows no secret on the screen, in a command line or in what is pushed, and leaves none in a file", async () => {
    const made = api.variables.filter(({ masked }) => masked).map(({ value }) => value);
    assert.equal(made.length, 3);
    const { stdout: pushed } = await git("-C", clone, "show", "--text", "HEAD");
    const called = await readFile(join(scratch, "called"), "utf8");
    assert.match(called, /^curl .*--header @\.\.\/pipeline-secrets\/header/m, "calls were written down");
    for (const secret of [...made, ...Object.values(readersSecrets)])
      for (const [where, text] of Object.entries({ printed, called, pushed }))
        assert.ok(!text.includes(secret), `${secret} is in what was ${where}`);
    await assert.rejects(stat(join(scratch, "pipeline-secrets")));
  });

  describe("afterwards", () => {
    const again = () => ["set -u", page("Renewing the merge request token")[0]!, step("api=<api>")];
    const tokenVariable = () => api.variables.filter(({ key }) => key === "MERGE_REQUEST_TOKEN");

    it("sets no variable when no token could be made, and says why", async () => {
      const before = tokenVariable();
      api.trouble({ times: 1, method: "POST", status: 500 });
      const { all, exitCode } = await shell([...again(), step("/access_tokens"), "exit $?"]);
      assert.notEqual(exitCode, 0);
      assert.match(all, /500 Internal Server Error/);
      assert.deepEqual(tokenVariable(), before);
      await rm(join(scratch, "pipeline-secrets"), { recursive: true });
    });

    it("renews the token, and the old one opens nothing any more", async () => {
      const [, away, revoke] = page("Renewing the merge request token");
      const old = api.tokens.findIndex(({ personal }) => personal !== true);
      values["old-token"] = String(api.tokens[old]!.user);
      const { all, exitCode } = await shell(["set -e", ...again(), away!, step("/access_tokens"), revoke!]);
      assert.equal(exitCode, 0, all);
      assert.match(all, new RegExp(`\\bid: ${values["old-token"]}\\b`), "the old one is listed");
      const renewed = api.tokens.filter(({ personal, revoked }) => personal !== true && revoked !== true);
      assert.deepEqual(
        tokenVariable().map(({ value }) => value),
        renewed.map(({ value }) => value),
      );
      assert.equal(renewed.length, 1);
      assert.equal(api.tokens[old]!.revoked, true);
      assert.ok(!all.includes(renewed[0]!.value));
      await assert.rejects(stat(join(scratch, "pipeline-secrets")));
    });

    it("puts the jobs of a review environment in the order in which they came", async () => {
      api.resourceGroups.set("review-mr-7", "unordered");
      values["iid"] = "7";
      const { all, exitCode } = await shell([...again(), ...page("Interrupted, and at once")]);
      assert.equal(exitCode, 0, all);
      assert.equal(api.resourceGroups.get("review-mr-7"), "oldest_first");
    });

    it("finishes a review environment by hand, from its bucket and its passphrase alone", async () => {
      const file = join(scratch, "old-passphrase");
      await writeFile(file, passphrase("review/*"));
      Object.assign(values, { iid: "7", "old-passphrase-file": file, "project-number": String(api.project) });
      const { all, exitCode } = await shell(["set -eu", ...page("Review environments")]);
      assert.equal(exitCode, 0, all);
      assert.match(all, /no stack review-mr-7: there is nothing to stop/);
    });
  });
});
