import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { Command, CommanderError } from "commander";
import { execa } from "execa";
import { chartRepositoryUrl, stopChartRepository } from "./chart-repository";
import { clusterState, destroyCluster, stopCluster } from "./cluster/cluster";
import {
  engineOf,
  environment,
  type LocalEngine,
  localStack,
  npm,
  pulumiDirectory,
  servedStacks,
  settings,
} from "./engine";
import { Failure, Refused } from "./failure";
import { claimFolder, isClaimed } from "./folder";
import { interruption } from "./interruption";
import { withLock } from "./lock";
import { plan, type PlanOptions } from "./plan";
import { progressTo } from "./progress";
import { prepare } from "./prepare";
import { recover, refuseAtWork } from "./recovery";
import { configInFile, project, pulumi, stackExists } from "./stack";
import { thrownAway } from "./thrown-away";
import { ensureToolchain, missingParts, type Toolchain, toolchainCache } from "./toolchain/toolchain";

const progress = progressTo();

/** What an interruption says; set by each command. */
let whereThingsStand = "\nInterrupted. What is whole is kept; the rest is made by: npm start";

/** `npm start`: everything, up to a deployed platform. Again: whatever is missing, which usually is nothing. */
async function start(engine: LocalEngine): Promise<void> {
  await announce(engine);
  await claimFolder(engine);
  await withLock(engine.root, progress, async () => {
    const toolchain = await prepare(engine, progress);
    await recover(engine, toolchain, progress);
    await progress.step(`pulumi up of the stack "${engine.stack}"`, () =>
      stream(engine, toolchain, ["up", "--yes", "--skip-preview"]),
    );
    progress.say(`
Deployed. What to try next:
  ${npm(engine, "status").padEnd(38)}  what runs, and where
  ${`eval "$(${npm(engine, "-s env")})"`.padEnd(38)}  then the ordinary commands, on this engine alone:
    npx pulumi preview                      nothing to change
    npx pulumi stack output dnsRecords      what to create at a DNS host
    kubectl get pods,ingress --all-namespaces
  edit stacks/Pulumi.${engine.stack}.yaml && ${npm(engine, "start")}
  ${npm(engine, "stop").padEnd(38)}  end it and keep it
  ${npm(engine, "destroy").padEnd(38)}  leave nothing of it`);
  });
}

/** Says what is about to be made and what it costs, before the first download, build or process. */
async function announce(engine: LocalEngine): Promise<void> {
  const missing = await missingParts();
  const { differences } = thrownAway(await configInFile(engine.stack), "");
  const cloud = engine.stack === localStack ? "" : "the cloud itself, ";
  const lines = [
    "GitLab Workspaces on this machine, without any account: the real Pulumi engine, a real Kubernetes API and real Helm.",
    "Simulated or stood in for, and no proof of the official ones: nodes and pods (kwok), the provider plugins, the charts,",
    `the language host, ${cloud}GitLab itself.`,
    `  stack     stacks/Pulumi.${engine.stack}.yaml, but here ${differences.join("; ")}`,
    `  folder    ${engine.root} (state, secrets, cluster; \`${npm(engine, "destroy")}\` removes it)`,
    `  tools     ${toolchainCache()}` +
      (missing.length === 0
        ? " (built)"
        : `\n            to build once with Go, about 20 min on 2 cores: ${missing.join(", ")}`),
    "  listens   on 127.0.0.1 only",
  ];
  progress.say(lines.join("\n"));
}

/** Runs the CLI with its output going straight through, and ends as it ends. */
async function stream(engine: LocalEngine, toolchain: Toolchain, arguments_: readonly string[]): Promise<void> {
  const child = execa(
    join(pulumiDirectory(engine), "pulumi"),
    [...arguments_, "--non-interactive", "--color", process.stdout.isTTY ? "auto" : "never"],
    { cwd: project, env: environment(engine, toolchain), extendEnv: false, stdio: "inherit", reject: false },
  );
  if (interruption.signal.aborted) child.kill("SIGINT");
  // Whoever ends us by name does not reach the child, which has to end in good order.
  const pass = (signal: NodeJS.Signals): void => void child.kill(signal);
  process.on("SIGTERM", pass).on("SIGHUP", pass);
  const { failed, exitCode, signal } = await child;
  process.off("SIGTERM", pass).off("SIGHUP", pass);
  if (!failed) return;
  throw new Failure(
    `\`pulumi ${arguments_[0] ?? ""}\` ${signal ? `was ended by ${signal}` : `ended with exit code ${exitCode}`}; what it printed above says why.\n` +
      `What was made so far is kept. When the cause is mended: ${npm(engine, "start")}\n` +
      `To begin again with nothing: ${npm(engine, "destroy")} && ${npm(engine, "start")}`,
  );
}

/** That there is no engine, and how to make one. */
function nothingDeployed(engine: LocalEngine): string {
  const what = engine.stack === localStack ? "Nothing" : `Nothing of the stack ${engine.stack}`;
  return `${what} is deployed on this machine. To begin: ${npm(engine, "start")}`;
}

/** `npm run status`: what runs and where, without changing anything. */
async function status(engine: LocalEngine): Promise<void> {
  if (!(await isClaimed(engine))) {
    console.log(nothingDeployed(engine));
    return;
  }
  const missing = await missingParts();
  if (missing.length > 0) {
    console.log(`Tools still to build: ${missing.join(", ")}. To go on: ${npm(engine, "start")}`);
    return;
  }
  const toolchain = await ensureToolchain(progress);
  const cluster = await clusterState(engine, toolchain);
  console.log(`folder            ${engine.root}`);
  console.log(`cluster           ${cluster}`);
  console.log(`chart repository  ${(await chartRepositoryUrl(engine)) ?? "stopped"}`);
  if (!(await stackExists(engine, toolchain))) {
    console.log(`stack             not there yet: ${npm(engine, "start")}`);
    return;
  }
  const { stdout } = await pulumi(engine, toolchain, ["stack", "output", "--json"]);
  const outputs = JSON.parse(stdout) as { workspacesUrl?: string; ingressAddress?: string };
  console.log(`workspaces URL    ${outputs.workspacesUrl ?? `not deployed yet: ${npm(engine, "start")}`}`);
  console.log(`ingress address   ${outputs.ingressAddress ?? "none"}`);
  if (cluster === "running") {
    const kubectl = await execa(toolchain.kubectl, ["get", "pods", "--all-namespaces"], {
      env: environment(engine, toolchain),
      extendEnv: false,
      reject: false,
    });
    console.log(`\n${kubectl.stdout || kubectl.stderr}`);
  } else {
    console.log(`\nTo bring it back: ${npm(engine, "start")}`);
  }
}

/** `npm run stop`: ends every process and keeps everything on disk. */
async function stop(engine: LocalEngine): Promise<void> {
  if (!(await isClaimed(engine))) {
    progress.say(nothingDeployed(engine));
    return;
  }
  await withLock(engine.root, progress, async () => {
    const toolchain = await ensureToolchain(progress);
    await stopChartRepository(engine);
    await stopCluster(engine, toolchain);
  });
  progress.say(`Stopped. State and cluster data stay in ${engine.root}. To bring it back: ${npm(engine, "start")}`);
}

/** `npm run destroy`: `pulumi destroy`, then the cluster, then the folder. */
async function destroy(engine: LocalEngine, options: { readonly tools?: boolean }): Promise<void> {
  if (await isClaimed(engine)) {
    await withLock(engine.root, progress, async () => {
      await refuseAtWork(engine);
      const toolchain = await ensureToolchain(progress);
      await destroyStack(engine, toolchain);
      await stopChartRepository(engine);
      await destroyCluster(engine, toolchain);
      await rm(engine.root, { recursive: true, force: true });
    });
    progress.say(`Destroyed; ${engine.root} is gone.`);
  } else {
    progress.say(nothingDeployed(engine));
  }
  if (options.tools) {
    await rm(toolchainCache(), { recursive: true, force: true });
    progress.say(`The tools in ${toolchainCache()} are gone too.`);
  } else if ((await missingParts()).length === 0) {
    progress.say(`The built tools stay in ${toolchainCache()}. To remove them: ${npm(engine, "destroy", "--tools")}`);
  }
}

/** `pulumi destroy`, as long as it can be done: cluster and state go together, so nothing is lost where it cannot. */
async function destroyStack(engine: LocalEngine, toolchain: Toolchain): Promise<void> {
  if (!existsSync(engine.stackConfig)) return;
  try {
    await prepare(engine, progress);
    await recover(engine, toolchain, progress);
    await progress.step(`pulumi destroy of the stack "${engine.stack}"`, () =>
      stream(engine, toolchain, ["destroy", "--yes", "--skip-preview"]),
    );
  } catch (error) {
    if (!(error instanceof Failure) || interruption.signal.aborted) throw error;
    // Somebody may have begun since this command did; that is no reason to go on, but to end.
    await refuseAtWork(engine);
    progress.say(
      `\n${error.message}\n\nGoing on without it: the whole cluster and its state are removed. ` +
        "Pods are simulated here, so no workspace that a refusal may name is anybody's work.",
    );
  }
}

/** `npm run -s env`: exports for a shell, so that ordinary commands work on this engine. */
async function env(engine: LocalEngine): Promise<void> {
  if (!existsSync(engine.stackConfig)) throw new Failure(nothingDeployed(engine));
  const toolchain = await ensureToolchain(progress);
  const quoted = (value: string): string => `'${value.replaceAll("'", `'\\''`)}'`;
  console.log(
    `# The stack's settings come from stacks/Pulumi.${engine.stack}.yaml at every \`${npm(engine, "start")}\`: edit them there.`,
  );
  // It would be taken before the file that PULUMI_CONFIG_PASSPHRASE_FILE names.
  console.log("unset PULUMI_CONFIG_PASSPHRASE");
  for (const [key, value] of Object.entries(settings(engine, toolchain))) {
    console.log(`export ${key}=${quoted(value)}`);
  }
}

function requirePlatform(): void {
  if (process.platform === "linux" && (process.arch === "x64" || process.arch === "arm64")) return;
  throw new Failure(
    `The local engine runs on Linux x86-64 and arm64; this is ${process.platform} ${process.arch}.\n` +
      "Run it in a Linux virtual machine or container (on Windows: WSL2). The program itself runs wherever Pulumi does:\n" +
      "  npx pulumi stack init dev && npx pulumi up",
  );
}

const cli = new Command("local")
  .description("Runs the whole program on this machine: real engine, real Kubernetes API, no account.")
  .exitOverride()
  .hook("preAction", requirePlatform);

/** A command on the engine of one stack. */
function onEngine(name: string, description: string): Command {
  return cli
    .command(name)
    .description(description)
    .argument("[stack]", `${servedStacks.join(" or ")}; ${localStack} when left out`)
    .allowExcessArguments(false);
}

/** Work that is under way on an engine, which an interruption speaks of. */
function at(stack: string | undefined): LocalEngine {
  const engine = engineOf(stack);
  whereThingsStand = `\nInterrupted. What is whole is kept; the rest is made by: ${npm(engine, "start")}`;
  return engine;
}

onEngine("start", "make or repair everything, then pulumi up").action((stack?: string) => start(at(stack)));
onEngine("status", "what runs, and where").action((stack?: string) => status(at(stack)));
onEngine("stop", "end every process, keep all data").action((stack?: string) => stop(at(stack)));
onEngine("destroy", "pulumi destroy, then remove the cluster and the folder")
  .option("--tools", "remove the built tools as well")
  .action((stack: string | undefined, options: { tools?: boolean }) => destroy(at(stack), options));
onEngine("env", "print exports for pulumi, kubectl and helm").action((stack?: string) => env(at(stack)));
cli
  .command("tools")
  .description("build the tools, and nothing else")
  .action(async () => {
    await ensureToolchain(progress);
  });
cli
  .command("plan")
  .description("preview a stack on an empty stand-in account: no credentials, no passphrase, no cluster")
  .argument("[stack]", "stacks/Pulumi.<stack>.yaml, or the path of a stack config")
  .option("--json", "one object on standard output")
  .option("--full", "the engine's own text, with every input of every resource")
  .addHelpText("after", "\nExit code: 0 planned, 2 the file or what it says is refused, 1 anything else")
  .allowExcessArguments(false)
  .action(async (stack: string | undefined, options: PlanOptions) => {
    whereThingsStand = "\nInterrupted. Nothing is left of it.";
    // Nobody else would remove what it stands in: whoever ends us by name gets the same end as Ctrl-C.
    for (const signal of ["SIGTERM", "SIGHUP"] as const) process.on(signal, () => void process.emit("SIGINT"));
    const text = await plan(stack, options, progress);
    if (text !== "") process.stdout.write(`${text}\n`);
  });

// `npm run status | head` closes the pipe before everything is said.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});

// A terminal sends Ctrl-C to the children as well. They end in good order, pulumi above all, and only then do we.
process.on("SIGINT", () => {
  if (interruption.signal.aborted || !progress.busy()) {
    progress.say(whereThingsStand);
    process.exit(130);
  }
  interruption.abort();
});

cli
  .parseAsync()
  .catch((error: unknown) => {
    // Commander has said already what is wrong with the arguments; code 0 is --help.
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode === 0 ? 0 : 2;
      return;
    }
    process.exitCode = error instanceof Refused ? 2 : 1;
    if (interruption.signal.aborted) return;
    const text = error instanceof Failure ? error.message : String((error as Error).stack ?? error);
    progress.say(`\nerror: ${text}`);
  })
  .finally(() => {
    if (!interruption.signal.aborted) return;
    progress.say(whereThingsStand);
    process.exitCode = 130;
  });
