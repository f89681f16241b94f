import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { parse, stringify } from "yaml";
import { stopChartRepository } from "../../local/chart-repository";
import { type ClusterOptions, destroyCluster } from "../../local/cluster/cluster";
import { environment, type LocalEngine, localEngine, pulumiDirectory } from "../../local/engine";
import { claimFolder } from "../../local/folder";
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

/** A command under way, in a process group of its own, as a shell starts it. */
export interface Started {
  readonly pid: number;
  readonly ended: Promise<Ended>;
  /** Resolves when so many lines were printed that match. @throws with the output when it ends before. */
  printed(pattern: RegExp, times?: number): Promise<void>;
  kill(signal: NodeJS.Signals): void;
  /** What Ctrl-C does: SIGINT to the whole group. */
  interrupt(): void;
}

/** A stack on the cluster of a local engine. */
export interface TestStack {
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
}

/** A local engine in a folder of its own, for one test suite, and its stack. */
export interface TestEngine extends TestStack {
  readonly engine: LocalEngine;
  readonly toolchain: Toolchain;
  /**
   * Makes another stack in the same state directory, for the same cluster, with secrets of its own; deploys nothing.
   * @param settings non-secret keys over those of the engine's stack.
   */
  beside(name: string, settings: Readonly<Record<string, unknown>>): Promise<TestStack>;
  /** Applies one object to the cluster. */
  apply(object: object): Promise<void>;
  /** Runs kubectl and returns what it printed. @throws when it fails. */
  kubectl(...arguments_: string[]): Promise<string>;
  /** `kubectl get -o json` of the given kinds or names: the items, or the one object. */
  get<T>(...arguments_: string[]): Promise<T>;
  /** Ends what `start` began and nobody ended, even where it was stopped, and waits for it. */
  endStarted(): Promise<void>;
  /** Ends every process and removes the folder. */
  stop(): Promise<void>;
}

/** What kind of engine {@link startEngine} starts. */
interface EngineOptions {
  /** Its stack, that of the local engine unless named. */
  readonly stack?: string;
  /** Writes into the engine's folder before anything else does. */
  readonly prefill?: (engine: LocalEngine) => Promise<void>;
  readonly cluster?: ClusterOptions;
}

/** Starts a whole local engine: cluster, chart repository, plugins, and the stack with its config; deploys nothing. */
export async function startEngine({ stack, prefill, cluster }: EngineOptions = {}): Promise<TestEngine> {
  const engine = localEngine({
    ...(stack === undefined ? {} : { stack }),
    folder: await mkdtemp(join(tmpdir(), "gitlab-workspaces-test-")),
  });
  await claimFolder(engine);
  await prefill?.(engine);
  const toolchain = await prepare(engine, progressTo(), cluster);

  const kubectl: TestEngine["kubectl"] = async (...arguments_) => {
    const { stdout } = await execa(toolchain.kubectl, arguments_, {
      env: environment(engine, toolchain),
      extendEnv: false,
    });
    return stdout;
  };

  const underWay = new Set<Started>();
  const endStarted: TestEngine["endStarted"] = async () => {
    for (const started of underWay) {
      started.kill("SIGKILL");
      await started.ended;
    }
  };

  return {
    ...testStack(engine, toolchain, engine.stack, engine.stackConfig, underWay),
    engine,
    toolchain,
    kubectl,
    async beside(name, settings) {
      const scratch = join(engine.root, "project");
      const config = join(engine.root, `Pulumi.${name}.yaml`);
      const stack = testStack(engine, toolchain, name, config, underWay);
      // It knows no --config-file, and writes the salt into the project that it runs in.
      await succeed(stack, ["stack", "init", name, "--cwd", scratch]);
      const { encryptionsalt } = await readConfig(join(scratch, `Pulumi.${name}.yaml`));
      const shared = Object.entries((await readConfig(engine.stackConfig)).config).filter(
        ([, value]) => !(typeof value === "object" && value !== null && "secure" in value),
      );
      await writeFile(config, stringify({ encryptionsalt, config: Object.fromEntries(shared) }));
      await stack.configure(settings);
      const { config: own } = await readConfig(config);
      if ((own["gitlab-workspaces:cluster"] as { cloud: string }).cloud === "self-managed")
        await stack.setSecret("kubeconfig", await readFile(engine.kubeconfig, "utf8"));
      await stack.setSecret("oauthClientSecret", `oauth-client-secret-of-${name}`);
      const agents = own["gitlab-workspaces:agents"] as { name: string }[];
      for (const agent of agents) await stack.setSecret(`agentToken-${agent.name}`, `${agent.name}-token-of-${name}`);
      return stack;
    },
    async apply(object) {
      await execa(toolchain.kubectl, ["apply", "-f", "-"], {
        env: environment(engine, toolchain),
        extendEnv: false,
        input: JSON.stringify(object),
      });
    },
    async get(...arguments_) {
      const found = JSON.parse(await kubectl("get", ...arguments_, "--output", "json")) as { items?: unknown };
      return (found.items ?? found) as never;
    },
    endStarted,
    async stop() {
      await endStarted();
      await stopChartRepository(engine);
      await destroyCluster(engine, toolchain);
      await rm(engine.root, { recursive: true, force: true });
    },
  };
}

/** The CLI on one stack. @param config its config file. @param underWay holds what `start` began, until it ends. */
function testStack(
  engine: LocalEngine,
  toolchain: Toolchain,
  name: string,
  config: string,
  underWay: Set<Started>,
): TestStack {
  const run = (arguments_: readonly string[], input: string, env: Record<string, string>, detached = false) =>
    execa(join(pulumiDirectory(engine), "pulumi"), [...arguments_, "--non-interactive", "--color", "never"], {
      cwd: project,
      env: {
        ...environment(engine, toolchain),
        PULUMI_STACK: name,
        PULUMI_OPTION_CONFIG_FILE: config,
        ...env,
      },
      extendEnv: false,
      input,
      detached,
      reject: false,
      all: true,
    });

  const stack: TestStack = {
    async pulumi(arguments_, { input = "", env = {} } = {}) {
      const { exitCode, stdout, all } = await run(arguments_, input, env);
      return { exitCode, stdout, all: all ?? "" };
    },
    start(arguments_, env = {}) {
      const child = run(arguments_, "", env, true);
      const { pid } = child;
      if (pid === undefined) throw new Error("pulumi did not start");
      let output = "";
      const listeners = new Set<() => void>();
      child.all?.on("data", (data: Buffer) => {
        output += data.toString();
        for (const listener of listeners) listener();
      });
      const ended = child.then(({ exitCode, stdout, all }) => ({ exitCode, stdout, all: all ?? "" }));
      const printed: Started["printed"] = async (pattern, times = 1) => {
        const seen = new Promise<void>((resolve) => {
          const look = (): void => {
            if (output.split("\n").filter((line) => pattern.test(line)).length >= times) resolve();
          };
          listeners.add(look);
          look();
        });
        const early = ended.then(({ all }) => {
          throw new Error(`pulumi ended before it printed ${String(pattern)} ${times} times:\n${all}`);
        });
        await Promise.race([seen, early]);
      };
      const started: Started = {
        pid,
        ended,
        printed,
        kill: (signal) => void child.kill(signal),
        interrupt: () => process.kill(-pid, "SIGINT"),
      };
      underWay.add(started);
      void ended.then(() => underWay.delete(started));
      return started;
    },
    async up(arguments_ = []) {
      const ended = await stack.pulumi(["up", "--yes", "--skip-preview", "--output", "json", ...arguments_]);
      if (ended.exitCode !== 0) {
        // The JSON form leaves out why.
        const again = await stack.pulumi(["up", "--yes", "--skip-preview", ...arguments_]);
        throw new Error(`pulumi up failed:\n${ended.all}\nand then:\n${again.all}`);
      }
      const summary = JSON.parse(ended.stdout.trim().split("\n").at(-1) ?? "") as { resources: Step[] };
      return summary.resources.filter(({ op }) => op !== "same" && op !== "read");
    },
    async configure(settings) {
      const present = await readConfig(config);
      for (const [key, setting] of Object.entries(settings)) present.config[`gitlab-workspaces:${key}`] = setting;
      await writeFile(config, stringify(present));
    },
    async setSecret(key, value) {
      const secret = `gitlab-workspaces:${key}`;
      await succeed(
        stack,
        value === undefined ? ["config", "rm", secret] : ["config", "set", "--secret", secret],
        value,
      );
    },
  };
  return stack;
}

async function succeed(stack: TestStack, arguments_: readonly string[], input = ""): Promise<void> {
  const { exitCode, all } = await stack.pulumi(arguments_, { input });
  if (exitCode !== 0) throw new Error(`pulumi ${arguments_.join(" ")} failed:\n${all}`);
}

/** A stack's config file, as Pulumi writes it. */
async function readConfig(file: string): Promise<{ encryptionsalt?: string; config: Record<string, unknown> }> {
  return parse(await readFile(file, "utf8")) as { encryptionsalt?: string; config: Record<string, unknown> };
}
