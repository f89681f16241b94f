import { spawn } from "node:child_process";
import { openSync } from "node:fs";
import { basename, join } from "node:path";
import { createInterface } from "node:readline";
import { packageCharts } from "./charts/repository";
import { type LocalEngine, npm } from "./engine";
import { Failure } from "./failure";
import { allEnded, commandLine } from "./processes";
import type { Toolchain } from "./toolchain/toolchain";
import { readIfThere, writeWhole } from "./whole-file";

/** The running chart repository, as remembered between commands. */
interface Running {
  readonly pid: number;
  readonly port: number;
}

const server = join(__dirname, "charts", "serve.ts");

/**
 * Returns the URL of a Helm repository on 127.0.0.1 that serves the stand-in charts. It runs on by itself until
 * {@link stopChartRepository}, on the same port every time it can, so that the stack's config stays the same.
 * @throws Failure when it does not start.
 */
export async function ensureChartRepository(engine: LocalEngine, toolchain: Toolchain): Promise<string> {
  await packageCharts({ helm: toolchain.helm, directory: engine.charts });
  const remembered = await running(engine);
  if (remembered && (await isOurs(engine, remembered))) return url(remembered.port);
  const started = (await start(engine, remembered?.port ?? 0)) ?? (await start(engine, 0));
  if (!started) {
    throw new Failure(
      `The chart repository did not start. See ${logFile(engine)}, then try again: ${npm(engine, "start")}`,
    );
  }
  await writeWhole(engine.chartRepository, JSON.stringify(started));
  return url(started.port);
}

/** URL of the chart repository when it runs. */
export async function chartRepositoryUrl(engine: LocalEngine): Promise<string | undefined> {
  const remembered = await running(engine);
  return remembered && (await isOurs(engine, remembered)) ? url(remembered.port) : undefined;
}

/** Ends the chart repository if it runs. Its port stays remembered, and is free then. */
export async function stopChartRepository(engine: LocalEngine): Promise<void> {
  const remembered = await running(engine);
  if (!remembered || !(await isOurs(engine, remembered))) return;
  process.kill(remembered.pid);
  await allEnded([remembered.pid], () => isOurs(engine, remembered));
}

/** What was remembered; undefined when there is nothing, or nothing that can be read. */
async function running(engine: LocalEngine): Promise<Running | undefined> {
  try {
    const text = await readIfThere(engine.chartRepository);
    return text === undefined ? undefined : (JSON.parse(text) as Running);
  } catch {
    return undefined;
  }
}

/** A process id may have been given to somebody else since: only a process that serves our directory is ours. */
async function isOurs(engine: LocalEngine, { pid }: Running): Promise<boolean> {
  const words = await commandLine(pid);
  return words.some((word) => basename(word) === basename(server)) && words.includes(engine.charts);
}

/** Starts the server; undefined when it ends before it says its port, as it does when the port is taken. */
async function start(engine: LocalEngine, port: number): Promise<Running | undefined> {
  const log = openSync(logFile(engine), "a", 0o600);
  const child = spawn(process.execPath, ["--import", "tsx", server, engine.charts, String(port)], {
    cwd: join(__dirname, ".."),
    detached: true,
    stdio: ["ignore", "pipe", log],
    // It outlives this command, and needs nothing of the user's environment.
    env: { PATH: process.env["PATH"] },
  });
  const { pid, stdout } = child;
  if (!stdout) return undefined;
  const said = await new Promise<string | undefined>((resolve) => {
    child.once("error", () => {
      resolve(undefined);
    });
    const lines = createInterface({ input: stdout });
    lines.once("line", resolve);
    lines.once("close", () => {
      resolve(undefined);
    });
  });
  child.unref();
  stdout.destroy();
  return said === undefined || pid === undefined ? undefined : { pid, port: Number(said) };
}

const url = (port: number): string => `http://127.0.0.1:${port}`;
const logFile = (engine: LocalEngine): string => join(engine.root, "chart-repository.log");
