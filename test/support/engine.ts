import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { parse, stringify } from "yaml";
import { stopChartRepository } from "../../local/chart-repository";
import { destroyCluster } from "../../local/cluster/cluster";
import { environment, type LocalEngine, localEngine, pulumiDirectory } from "../../local/engine";
import { prepare } from "../../local/prepare";
import { progressTo } from "../../local/progress";
import { project } from "../../local/stack";
import type { Toolchain } from "../../local/toolchain/toolchain";

/** How a command ended and what it printed. */
export interface Ended {
  readonly exitCode: number;
  readonly stdout: string;
  /** Standard output and standard error, in the order they came. */
  readonly all: string;
}

/** One resource in the summary of an operation: https://github.com/pulumi/pulumi/blob/v3.259.0/CHANGELOG.md `--output json`. */
export interface Step {
  readonly urn: string;
  readonly type: string;
  readonly name: string;
  readonly op: string;
}

/** A command under way. */
export interface Started {
  readonly pid: number;
  readonly ended: Promise<unknown>;
  kill(signal: NodeJS.Signals): void;
}

/** A local engine in a folder of its own, for one test suite. */
export interface TestEngine {
  readonly engine: LocalEngine;
  readonly toolchain: Toolchain;
  /** Runs the CLI on the stack; never throws for a failing command. */
  pulumi(arguments_: readonly string[], options?: { input?: string; env?: Record<string, string> }): Promise<Ended>;
  /** Runs `up` without asking and returns what it changed; resources left alone or only read are not listed. */
  up(arguments_?: readonly string[]): Promise<Step[]>;
  /** Starts the CLI on the stack and does not wait for it. */
  start(arguments_: readonly string[], env?: Record<string, string>): Started;
  /** Sets non-secret keys of the stack's config, without the program's namespace. */
  configure(settings: Readonly<Record<string, unknown>>): Promise<void>;
  /** Encrypts a secret key of the stack's config, or removes it. */
  setSecret(key: string, value: string | undefined): Promise<void>;
  /** Applies one object to the cluster. */
  apply(object: object): Promise<void>;
  /** Runs kubectl and returns what it printed. @throws when it fails. */
  kubectl(...arguments_: string[]): Promise<string>;
  /** `kubectl get -o json` of the given kinds or names: the items, or the one object. */
  get<T>(...arguments_: string[]): Promise<T>;
  /** Ends every process and removes the folder. */
  stop(): Promise<void>;
}

/** Starts a whole local engine: cluster, chart repository, plugins, and the stack with its config; deploys nothing. */
export async function startEngine(): Promise<TestEngine> {
  const engine = localEngine(await mkdtemp(join(tmpdir(), "gitlab-workspaces-test-")));
  const toolchain = await prepare(engine, progressTo());

  const run = (arguments_: readonly string[], input: string, env: Record<string, string>) =>
    execa(join(pulumiDirectory(engine), "pulumi"), [...arguments_, "--non-interactive", "--color", "never"], {
      cwd: project,
      env: { ...environment(engine, toolchain), ...env },
      extendEnv: false,
      input,
      reject: false,
      all: true,
    });

  const pulumi: TestEngine["pulumi"] = async (arguments_, { input = "", env = {} } = {}) => {
    const { exitCode, stdout, all } = await run(arguments_, input, env);
    return { exitCode, stdout, all: all ?? "" };
  };

  const kubectl: TestEngine["kubectl"] = async (...arguments_) => {
    const { stdout } = await execa(toolchain.kubectl, arguments_, {
      env: environment(engine, toolchain),
      extendEnv: false,
    });
    return stdout;
  };

  const succeed = async (arguments_: readonly string[], input = ""): Promise<void> => {
    const { exitCode, all } = await pulumi(arguments_, { input });
    if (exitCode !== 0) throw new Error(`pulumi ${arguments_.join(" ")} failed:\n${all}`);
  };

  return {
    engine,
    toolchain,
    pulumi,
    kubectl,
    async configure(settings) {
      const stack = parse(await readFile(engine.stackConfig, "utf8")) as { config: Record<string, unknown> };
      for (const [key, setting] of Object.entries(settings)) stack.config[`gitlab-workspaces:${key}`] = setting;
      await writeFile(engine.stackConfig, stringify(stack));
    },
    async setSecret(key, value) {
      const name = `gitlab-workspaces:${key}`;
      await succeed(value === undefined ? ["config", "rm", name] : ["config", "set", "--secret", name], value);
    },
    async apply(object) {
      await execa(toolchain.kubectl, ["apply", "-f", "-"], {
        env: environment(engine, toolchain),
        extendEnv: false,
        input: JSON.stringify(object),
      });
    },
    start(arguments_, env = {}) {
      const child = run(arguments_, "", env);
      if (child.pid === undefined) throw new Error("pulumi did not start");
      return { pid: child.pid, ended: child, kill: (signal) => void child.kill(signal) };
    },
    async up(arguments_ = []) {
      const ended = await pulumi(["up", "--yes", "--skip-preview", "--output", "json", ...arguments_]);
      if (ended.exitCode !== 0) {
        // The JSON form leaves out why.
        const again = await pulumi(["up", "--yes", "--skip-preview", ...arguments_]);
        throw new Error(`pulumi up failed:\n${ended.all}\nand then:\n${again.all}`);
      }
      const summary = JSON.parse(ended.stdout.trim().split("\n").at(-1) ?? "") as { resources: Step[] };
      return summary.resources.filter(({ op }) => op !== "same" && op !== "read");
    },
    async get(...arguments_) {
      const found = JSON.parse(await kubectl("get", ...arguments_, "--output", "json")) as { items?: unknown };
      return (found.items ?? found) as never;
    },
    async stop() {
      await stopChartRepository(engine);
      await destroyCluster(engine, toolchain);
      await rm(engine.root, { recursive: true, force: true });
    },
  };
}
