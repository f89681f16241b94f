import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { execa } from "execa";
import { parse, stringify } from "yaml";
import { settings } from "../../local/engine";
import type { TestEngine } from "./engine";
import type { GitLabApi } from "./gitlab-api";

const root = join(__dirname, "..", "..");
const program = join(root, "node_modules", "gitlab-ci-local", "dist", "index.js");

/** Where the project lives on a GitLab that nobody has. */
const server = "https://gitlab.example.test";
const path = "platform/workspaces";
const projectId = "4711";
const forkId = "4712";

/** Folder of gitlab-ci-local in the clone and in its HOME. */
const state = ".gitlab-ci-local";

/** A CI/CD variable as a project's settings have it: its value, or one for each environment scope. */
export type ProjectVariable = string | Readonly<Record<string, string>>;

/** Variables by name, each of them as often as it has been set. */
export type ProjectVariables = Readonly<Record<string, ProjectVariable>>;

/** What starts a pipeline, as the variables that GitLab predefines for it; those of a branch are absent in a merge request's. */
export interface Trigger {
  readonly predefined: Readonly<Record<string, string>>;
  readonly absent: readonly string[];
}

/** A merge request's variables that a test may care about. */
export interface MergeRequest {
  readonly iid?: number;
  readonly branch?: string;
  readonly title?: string;
  /** Whether it comes from a fork; its pipeline then runs in the project, started by one of its members. */
  readonly fork?: boolean;
}

/** What `--list-json` says of a job; one that is not in the pipeline is left out. */
export interface ListedJob {
  readonly name: string;
  readonly stage: string;
  readonly when: string;
  readonly needs?: readonly { readonly job: string }[];
}

/** How a job ended: a warning is a failure that the job is allowed. */
export interface JobRun {
  readonly status: "passed" | "warning" | "failed";
  /** Per cent, as the job's `coverage` finds it in the log of one that passed. */
  readonly coverage?: number;
  /** Everything that it printed. */
  readonly log: string;
  /** What it hands on: the folder with its `artifacts:paths`, which need not exist. */
  readonly artifacts: string;
  /** The folder in which it ran, as it left it. */
  readonly folder: string;
}

/**
 * What `npm ci` is in the jobs: npm's own, half a minute for each of them; or a link to what the tests themselves run
 * with, which is for runs about something else and refuses a lockfile that is not this project's.
 */
export type Install = "npm" | "linked";

/** How a run of gitlab-ci-local ended. */
export interface PipelineRun {
  readonly exitCode: number;
  /** What it printed for all jobs. */
  readonly all: string;
  /** The jobs that ran, by name. */
  readonly jobs: ReadonlyMap<string, JobRun>;
}

/** A project on a GitLab that is not there: a repository with the files of this one, and what runs its pipelines. */
export interface PipelineProject {
  /** Its working tree, on the branch of the merge request. */
  readonly folder: string;
  /** The commit that the default branch is at. */
  readonly base: string;
  /** Changes files and commits everything, on the branch of the merge request. @returns the commit. */
  commit(change: (folder: string) => Promise<void>): Promise<string>;
  mergeRequest(options?: MergeRequest): Promise<Trigger>;
  schedule(): Promise<Trigger>;
  /** A push to the default branch. */
  push(): Promise<Trigger>;
  /** The jobs of a pipeline. @throws with what gitlab-ci-local says of an invalid file. */
  list(trigger: Trigger): Promise<ListedJob[]>;
  /** The configuration with every include, input and `extends` in place. */
  expanded(trigger: Trigger): Promise<Record<string, unknown>>;
  /**
   * Runs jobs by name, each in a folder of its own; never throws for one that fails.
   * @param options variables are those of the project's settings, and never get onto a command line; `ofProtected` are there
   * in pipelines of protected branches alone, which is decided here: gitlab-ci-local knows no protection.
   */
  run(
    trigger: Trigger,
    jobs: readonly string[],
    options?: {
      readonly variables?: ProjectVariables;
      readonly ofProtected?: ProjectVariables;
      readonly install?: Install;
    },
  ): Promise<PipelineRun>;
  remove(): Promise<void>;
}

/**
 * Stand-ins for the templates that come with a GitLab instance, where gitlab-ci-local keeps what it has downloaded. Each
 * has the rules of the real one and a job of its name that says what it is, and scans nothing:
 * https://gitlab.com/gitlab-org/gitlab/-/tree/master/lib/gitlab/ci/templates/Jobs
 */
const templates = {
  "Secret-Detection": "secret_detection",
  SAST: "semgrep-sast",
  "SAST-IaC": "kics-iac-sast",
  "Dependency-Scanning": "gemnasium-dependency_scanning",
} as const;

/** The jobs of the stand-ins, which are those of GitLab's templates. */
export const scanners: readonly string[] = Object.values(templates);

/**
 * Makes a project with the current files of this one, committed or not, that runs its pipelines by gitlab-ci-local:
 * no container, so that images are not pulled, and neither resource groups nor environments are anything.
 * @param files written over this project's, as path and content.
 */
export async function pipelineProject(files: Readonly<Record<string, string>> = {}): Promise<PipelineProject> {
  const top = await mkdtemp(join(tmpdir(), "gitlab-workspaces-pipeline-"));
  const folder = join(top, "project");
  const home = join(top, "home");
  const bin = join(top, "bin");
  await mkdir(join(home, state), { recursive: true });
  await mkdir(bin);
  const { stdout: listed } = await execa("git", ["ls-files", "-z", "-co", "--exclude-standard"], { cwd: root });
  for (const file of listed.split("\0").filter((name) => name !== "")) {
    const target = join(folder, file);
    await mkdir(dirname(target), { recursive: true });
    // One that git knows and that is gone is gone in the copy, too.
    await copyFile(join(root, file), target).catch(ignoreMissing);
  }
  for (const [file, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, file)), { recursive: true });
    await writeFile(join(folder, file), content);
  }
  for (const [template, job] of Object.entries(templates)) {
    const name = join(folder, state, "includes", "gitlab.com", "gitlab-org", "gitlab", "-", "raw", "HEAD");
    const file = join(name, "lib", "gitlab", "ci", "templates", "Jobs", `${template}.gitlab-ci.yml`);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, stringify(standIn(template, job)));
  }

  // Neither the config of whoever runs the tests nor a commit's signature.
  const own = ownEnvironment(home);
  const env = { ...own, PATH: `${bin}:${own["PATH"] ?? ""}`, GIT_CONFIG_NOSYSTEM: "1" };
  const git = async (...arguments_: string[]): Promise<string> =>
    (await execa("git", arguments_, { cwd: folder, env, extendEnv: false })).stdout;
  await git("init", "--quiet", "--initial-branch", "main");
  await git("config", "user.name", "A Person");
  await git("config", "user.email", "person@example.test");
  await git("remote", "add", "origin", `${server}/${path}.git`);
  await git("add", "--all");
  await git("commit", "--quiet", "--message", "What is on the default branch");
  const base = await git("rev-parse", "HEAD");
  await git("update-ref", "refs/remotes/origin/main", base);
  await git("symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main");
  await git("checkout", "--quiet", "-b", "change");

  const always = async (branch: string): Promise<Record<string, string>> => ({
    CI_COMMIT_SHA: await git("rev-parse", "HEAD"),
    CI_COMMIT_REF_NAME: branch,
    CI_COMMIT_REF_SLUG: slug(branch),
    CI_PROJECT_ID: projectId,
    CI_API_V4_URL: `${server}/api/v4`,
    CI_DEFAULT_BRANCH: "main",
  });
  const ofBranch = async (source: string): Promise<Trigger> => ({
    predefined: { ...(await always("main")), CI_PIPELINE_SOURCE: source, CI_COMMIT_BRANCH: "main" },
    absent: [],
  });

  const gitlabCiLocal = async (
    { predefined, absent }: Trigger,
    variables: Readonly<Record<string, ProjectVariable>>,
    ...arguments_: string[]
  ) => {
    const settings = Object.entries({ ...predefined, ...variables }).map(([name, value]) => [
      name,
      // Without a type, one that begins with a slash would be a file's name.
      {
        type: "variable",
        values: Object.fromEntries(
          // What GitLab calls raw: a dollar sign is one.
          Object.entries(typeof value === "string" ? { "*": value } : value).map(([scope, content]) => [
            scope,
            content.replaceAll("$", "$$$$"),
          ]),
        ),
      },
    ]);
    await writeFile(
      join(home, state, "variables.yml"),
      stringify({ global: Object.fromEntries(settings) as unknown }, { defaultStringType: "QUOTE_DOUBLE" }),
      { mode: 0o600 },
    );
    const { exitCode, stdout, all } = await execa(
      process.execPath,
      [
        program,
        ...["--home", home, "--no-color", "--max-job-name-padding", "0"],
        ...["--shell-isolation", "--force-shell-executor", "--artifacts-to-source=false"],
        ...["--ignore-predefined-vars", Object.keys(predefined).join(",")],
        ...absent.flatMap((name) => ["--unset-variable", name]),
        ...arguments_,
      ],
      { cwd: folder, env, extendEnv: false, all: true, reject: false, stdin: "ignore", maxBuffer: 1e9 },
    );
    return { exitCode, stdout, all: all ?? "" };
  };

  return {
    folder,
    base,
    async commit(change) {
      await change(folder);
      await git("add", "--all");
      await git("commit", "--quiet", "--allow-empty", "--message", "What the merge request changes");
      return await git("rev-parse", "HEAD");
    },
    // https://docs.gitlab.com/ci/variables/predefined_variables/#predefined-variables-for-merge-request-pipelines
    mergeRequest: async ({ iid = 7, branch = "change", title = "A change", fork = false } = {}) => ({
      predefined: {
        ...(await always(branch)),
        CI_PIPELINE_SOURCE: "merge_request_event",
        CI_MERGE_REQUEST_ID: String(9000 + iid),
        CI_MERGE_REQUEST_IID: String(iid),
        CI_MERGE_REQUEST_TITLE: title,
        CI_MERGE_REQUEST_EVENT_TYPE: "detached",
        CI_MERGE_REQUEST_DIFF_BASE_SHA: base,
        CI_MERGE_REQUEST_PROJECT_ID: projectId,
        CI_MERGE_REQUEST_PROJECT_PATH: path,
        CI_MERGE_REQUEST_PROJECT_URL: `${server}/${path}`,
        CI_MERGE_REQUEST_SOURCE_PROJECT_ID: fork ? forkId : projectId,
        CI_MERGE_REQUEST_SOURCE_PROJECT_PATH: fork ? "somebody/workspaces" : path,
        CI_MERGE_REQUEST_SOURCE_BRANCH_NAME: branch,
        CI_MERGE_REQUEST_TARGET_BRANCH_NAME: "main",
      },
      absent: ["CI_COMMIT_BRANCH"],
    }),
    schedule: () => ofBranch("schedule"),
    push: () => ofBranch("push"),
    async list(trigger) {
      const { exitCode, stdout, all } = await gitlabCiLocal(trigger, {}, "--list-json");
      if (exitCode !== 0) throw new Error(all);
      return (JSON.parse(stdout) as ListedJob[]).filter(({ when }) => when !== "never");
    },
    async expanded(trigger) {
      const { exitCode, stdout, all } = await gitlabCiLocal(trigger, {}, "--preview");
      if (exitCode !== 0) throw new Error(all);
      return parse(stdout) as Record<string, unknown>;
    },
    async run(trigger, jobs, { variables = {}, ofProtected = {}, install = "linked" } = {}) {
      for (const left of ["artifacts", "builds", "output"])
        await rm(join(folder, state, left), { recursive: true, force: true });
      const settings = {
        // What npm has downloaded on this machine; a variable of the project's goes before one of the file's.
        NPM_CONFIG_CACHE: process.env["npm_config_cache"] ?? join(homedir(), ".npm"),
        ...variables,
        ...(trigger.predefined["CI_COMMIT_BRANCH"] === "main" ? ofProtected : {}),
      };
      if (install === "linked") await writeFile(join(bin, "npm"), linkingNpm, { mode: 0o755 });
      else await rm(join(bin, "npm"), { force: true });
      const { exitCode, all } = await gitlabCiLocal(trigger, settings, ...jobs);
      return { exitCode, all, jobs: await ended(join(folder, state), all) };
    },
    remove: () => rm(top, { recursive: true, force: true }),
  };
}

/** The jobs that gitlab-ci-local reports at the end of a run. */
async function ended(folder: string, all: string): Promise<Map<string, JobRun>> {
  const words = { PASS: "passed", WARN: "warning", FAIL: "failed" } as const;
  const jobs = new Map<string, JobRun>();
  for (const [, word, name = "", coverage] of all.matchAll(
    /^ (PASS|WARN|FAIL) {2}(\S.*?) *(?: ([\d.]+)% coverage)?(?: {2}pre_script)?$/gm,
  )) {
    const file = fileName(name);
    jobs.set(name, {
      status: words[word as keyof typeof words],
      ...(coverage === undefined ? {} : { coverage: Number(coverage) }),
      log: await readFile(join(folder, "output", `${file}.log`), "utf8"),
      artifacts: join(folder, "artifacts", file),
      folder: join(folder, "builds", file),
    });
  }
  return jobs;
}

/** In place of npm; what is not an install is for the real one. */
const linkingNpm = `#!/bin/sh
if [ "$1" != ci ]; then
  PATH=\${PATH#*:}
  exec npm "$@"
fi
echo "This is a stand-in for npm ci: a link to the modules that the tests run with."
cmp package-lock.json ${quoted(join(root, "package-lock.json"))} || exit 1
exec ln -sfn ${quoted(join(root, "node_modules"))} node_modules
`;

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** Name of a job's files: https://github.com/firecow/gitlab-ci-local/blob/4.73.0/src/utils.ts `safeDockerString`. */
function fileName(job: string): string {
  return job.replaceAll(/[^\w-]+/g, (characters) => Buffer.from(characters).toString("base64url"));
}

/** All but the given variables. */
export function without<Value>(
  variables: Readonly<Record<string, Value>>,
  ...names: readonly string[]
): Record<string, Value> {
  return Object.fromEntries(Object.entries(variables).filter(([name]) => !names.includes(name)));
}

/**
 * Variables by which the jobs of a project work on a local engine, its state and its cluster, and ask a stand-in for GitLab.
 * The passphrases of stacks are not among them.
 */
export function projectVariables(
  { engine, toolchain }: Pick<TestEngine, "engine" | "toolchain">,
  { url, project }: GitLabApi,
  token: string,
): Record<string, string> {
  return {
    ...without(
      settings(engine, toolchain),
      ...["PULUMI_STACK", "PULUMI_OPTION_CONFIG_FILE", "PULUMI_CONFIG_PASSPHRASE_FILE", "PATH"],
    ),
    MERGE_REQUEST_TOKEN: token,
    CI_API_V4_URL: url,
    CI_PROJECT_ID: String(project),
    // Where the tools are built that a job would build for itself.
    XDG_CACHE_HOME: process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"),
  };
}

/** Every file below a folder, as path inside it and content; none when there is no folder. */
export async function filesBelow(folder: string): Promise<Map<string, string>> {
  const found = await readdir(folder, { recursive: true, withFileTypes: true }).catch(ignoreMissing);
  const files = new Map<string, string>();
  for (const entry of found ?? []) {
    if (!entry.isFile()) continue;
    const file = join(entry.parentPath, entry.name);
    files.set(file.slice(folder.length + 1), await readFile(file, "utf8"));
  }
  return files;
}

function standIn(template: string, job: string): Record<string, unknown> {
  return {
    [job]: {
      stage: "test",
      script: [`echo "This is a stand-in for GitLab's template Jobs/${template}.gitlab-ci.yml: it scans nothing."`],
      rules: [
        { if: '$AST_ENABLE_MR_PIPELINES == "true" && $CI_PIPELINE_SOURCE == "merge_request_event"' },
        { if: "$CI_COMMIT_BRANCH" },
      ],
    },
  };
}

/** What a job may have of the machine: how to reach npm's registry, and nobody's credentials. */
function ownEnvironment(home: string): Record<string, string> {
  const passed = Object.entries(process.env).filter(
    ([name]) => ["PATH", "LANG", "TMPDIR", "NODE_EXTRA_CA_CERTS"].includes(name) || /^(https?|no)_proxy$/i.test(name),
  ) as [string, string][];
  return {
    ...Object.fromEntries(passed),
    HOME: home,
    NPM_CONFIG_USERCONFIG: process.env["npm_config_userconfig"] ?? join(homedir(), ".npmrc"),
  };
}

/** https://docs.gitlab.com/ci/variables/predefined_variables/ `CI_COMMIT_REF_SLUG`. */
function slug(branch: string): string {
  return branch
    .toLowerCase()
    .replaceAll(/[^a-z0-9]/g, "-")
    .slice(0, 63)
    .replaceAll(/^-+|-+$/g, "");
}

function ignoreMissing(error: unknown): undefined {
  if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
}
