import { EventEmitter, once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { execa } from "execa";
import { Failure } from "../local/failure";
import { type EngineEvent, readEvents } from "../local/plan/events";
import { project } from "../local/stack";
import { visible } from "../src/config/faults";
import type { Variables } from "./job";

/** How {@link pulumi} runs the CLI. */
export interface PulumiOptions {
  /** Given as `--stack`. */
  readonly stack?: string;
  /** Variables over those of this process; undefined takes one away. */
  readonly env?: Variables;
  /** Folder to run in; the project unless given. */
  readonly cwd?: string;
  /** Whether to keep the engine's events. */
  readonly events?: boolean;
  /** Gets each line of output as it comes, with nothing in it that a terminal obeys. Standard output unless given. */
  readonly log?: (line: string) => void;
  /** Who tells that the job is cancelled; the signals of this process unless given. */
  readonly cancellation?: Cancellation;
  /** Milliseconds in which the CLI may say that somebody else has told it of the cancellation; a second unless given. */
  readonly patience?: number;
}

/** How the CLI ended, and what it said. */
export interface PulumiRun {
  /** https://github.com/pulumi/pulumi/blob/v3.259.0/sdk/go/common/util/cmdutil/exit_codes.go */
  readonly exitCode: number;
  readonly stdout: string;
  /** Standard output and standard error, in the order in which they came. */
  readonly text: string;
  /** What the engine did, in order; empty unless asked for. */
  readonly events: readonly EngineEvent[];
}

/** The job was cancelled, and what was under way has ended: exit code 130, as a shell has it after SIGINT. */
export class Interrupted extends Failure {
  constructor(doing: string, stack: string | undefined) {
    super(
      [
        `The job was cancelled during \`pulumi ${doing}\`${stack === undefined ? "" : ` of the stack ${visible(stack)}`}.`,
        "What was done until then is written down. To go on from there, run the job again.",
        "If that says that the stack is locked or has pending operations: docs/recovery/README.md",
      ].join("\n"),
    );
  }
}

/** Tells that the job is to end. */
export interface Cancellation {
  /** How often it was told so. */
  readonly times: number;
  /** Calls `listener` each time. @returns what ends that. */
  on(listener: () => void): () => void;
}

/**
 * One Ctrl-C, or one cancelled job, comes more than once: from the terminal or the runner to the whole process group, and
 * handed on by npx and tsx. A second one is meant when it comes this much later, in milliseconds.
 */
const apart = 2000;

/**
 * Listens to SIGINT and SIGTERM from now on: they no longer end this process. GitLab's runner sends SIGTERM to the processes
 * of a cancelled job: https://docs.gitlab.com/runner/executors/
 * @param clock milliseconds of any beginning.
 */
export function cancellation(
  signals: Pick<EventEmitter, "on"> = process,
  clock: () => number = () => performance.now(),
): Cancellation {
  const told = new EventEmitter().setMaxListeners(0);
  let times = 0;
  let last = -Infinity;
  const tell = (): void => {
    const now = clock();
    if (now - last < apart) return;
    last = now;
    times += 1;
    told.emit("told");
  };
  signals.on("SIGINT", tell);
  signals.on("SIGTERM", tell);
  return {
    get times() {
      return times;
    },
    on(listener) {
      told.on("told", listener);
      return () => void told.off("told", listener);
    },
  };
}

let ofThisProcess: Cancellation | undefined;

/**
 * From now on a signal does not end this process, which then removes what it has written, keys among it: {@link pulumi} tells
 * the CLI that runs, or starts none. Without this call that begins with the first one of the CLI.
 */
export function listenForCancellation(): Cancellation {
  return (ofThisProcess ??= cancellation());
}

/**
 * Runs the CLI as `npx pulumi` would, without asking anybody anything. A cancelled job tells it with one SIGINT, unless a
 * runner that signals every process of the job has told it already, and waits until it has written everything down and given
 * its lock back; one that is cancelled again ends it at once.
 * @param arguments_ the command and its own arguments, without `--stack`, `--non-interactive` and `--color`.
 * @throws Interrupted when the job was cancelled, before or meanwhile. A failing command is no error: see {@link failure}.
 */
export async function pulumi(arguments_: readonly string[], options: PulumiOptions = {}): Promise<PulumiRun> {
  const { stack, log = console.log, cancellation: told = listenForCancellation() } = options;
  const doing = arguments_.filter((word) => !word.startsWith("-"))[0] ?? "";
  if (told.times > 0) throw new Interrupted(doing, stack);
  const folder = options.events === true ? await mkdtemp(join(tmpdir(), "gitlab-workspaces-events-")) : undefined;
  try {
    const events = folder === undefined ? undefined : join(folder, "events.jsonl");
    const command = await commandLine();
    // That may have taken a download.
    if (told.times > 0) throw new Interrupted(doing, stack);
    const run = await execute(command, [...arguments_, ...general(stack, events)], { ...options, told, log });
    if (told.times > 0) throw new Interrupted(doing, stack);
    const kept = events === undefined ? "" : await readFile(events, "utf8").catch(() => "");
    return { ...run, events: readEvents(kept) };
  } finally {
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  }
}

function general(stack: string | undefined, events: string | undefined): string[] {
  return [
    ...(stack === undefined ? [] : ["--stack", stack]),
    ...(events === undefined ? [] : ["--event-log", events]),
    "--non-interactive",
    "--color",
    "never",
  ];
}

/**
 * The CLI that npm's package `pulumi` brings, fetched when it is not there yet. The package's own command ends at a signal
 * before the CLI does, and nobody would know when that has.
 * https://github.com/pulumi/pulumi/blob/v3.259.0/npm/run.js
 */
async function commandLine(): Promise<string> {
  const { resolve } = createRequire(__filename)("pulumi/lib/resolve") as { resolve: () => Promise<string> };
  try {
    return await resolve();
  } catch (error) {
    throw new Failure(
      `The Pulumi CLI could not be had: ${visible((error as Error).message)}\n` +
        "It is fetched from get.pulumi.com into PULUMI_HOME. To try again: npx pulumi version",
    );
  }
}

/**
 * What the CLI prints at the first signal. The second one ends it at once, whichever the two are, and GitLab's Docker
 * executor sends SIGTERM to every process of the container.
 * https://github.com/pulumi/pulumi/blob/v3.259.0/pkg/backend/cancellation_scope.go
 */
const cancelling = "received; cancelling";

async function execute(
  command: string,
  arguments_: readonly string[],
  {
    env = {},
    cwd = project,
    events,
    told,
    log,
    patience = 1000,
  }: PulumiOptions & Required<Pick<PulumiOptions, "log">> & { told: Cancellation },
): Promise<Omit<PulumiRun, "events">> {
  const { PATH: path = "", ...variables } = { ...process.env, ...env };
  const child = execa(command, arguments_, {
    cwd,
    env: {
      ...variables,
      // Plugins and language hosts that come with the CLI are beside it.
      PATH: `${dirname(command)}${delimiter}${path}`,
      PULUMI_SKIP_UPDATE_CHECK: "true",
      // The flag for the event log is one of these.
      ...(events === true ? { PULUMI_DEBUG_COMMANDS: "true" } : {}),
    },
    extendEnv: false,
    stdin: "ignore",
    all: true,
    reject: false,
    // In a process group of its own: a signal to that of the job would be a second one to the CLI, which ends it at once.
    detached: true,
  });
  const tell = (): void => void child.kill("SIGINT");
  let knows = false;
  let waiting: NodeJS.Timeout | undefined;
  const stopListening = told.on(() => {
    clearTimeout(waiting);
    if (told.times > 1) tell();
    else
      waiting = setTimeout(() => {
        if (!knows) tell();
      }, patience);
  });
  process.once("exit", tell);
  const look = (line: string): void => {
    knows ||= line.includes(cancelling);
    log(line);
  };
  try {
    // `all` is there: it was asked for.
    const [{ exitCode, stdout, all, failed }] = await Promise.all([child, passedOn(child.all, look)]);
    // Without an exit code a signal of somebody else's has ended it.
    return { exitCode: typeof exitCode === "number" ? exitCode : failed ? 1 : 0, stdout, text: all ?? "" };
  } finally {
    clearTimeout(waiting);
    stopListening();
    process.off("exit", tell);
  }
}

async function passedOn(output: Readable | undefined, log: (line: string) => void): Promise<void> {
  if (output === undefined) return;
  const lines = createInterface({ input: output });
  lines.on("line", (line) => {
    log(line.split("\t").map(visible).join("\t"));
  });
  await once(lines, "close");
}

/** What a command that failed means for whoever reads the log: the CLI's words are there already. */
export function failure(run: PulumiRun, doing: string, stack: string): Failure {
  const known = advice(run.text, stack);
  return new Failure(
    [
      `\`pulumi ${doing}\` of the stack ${visible(stack)} failed with exit code ${run.exitCode}. Its own words stand above.`,
      ...known,
      ...(known.length === 0 ? ["What is printed, and what to do: docs/recovery/README.md"] : []),
    ].join("\n\n"),
  );
}

/** What to do about what the CLI has said, a paragraph for each thing that is known; nothing of a secret. */
export function advice(text: string, stack: string): string[] {
  const shown = visible(stack);
  return [
    locked(text, shown),
    pending(text, shown),
    passphrase(text, shown),
    backend(text),
    missing(text, shown),
  ].filter((paragraph) => paragraph !== undefined);
}

/** https://github.com/pulumi/pulumi/blob/v3.259.0/pkg/backend/diy/lock.go */
function locked(text: string, stack: string): string | undefined {
  if (!text.includes("the stack is currently locked")) return undefined;
  const holders = [...text.matchAll(/: created by (.+)@(.+) \(pid (\d+)\) at (\S+)/g)].map(
    ([, user = "", host = "", pid = "", since = ""]) =>
      `  ${visible(user)} on ${visible(host)}, process ${pid}, since ${visible(since)}`,
  );
  return [
    `Somebody is at work on the stack ${stack}, or was killed at it:`,
    ...holders,
    "Nothing is unlocked by itself: two at work at once damage the state and the cluster.",
    "If it is a job or a person at work, wait for the end and run this job again.",
    "Only when the process is surely gone (its job has ended, its machine is off, or `ps -p <pid>` there shows no pulumi):",
    `  npx pulumi cancel --yes --stack ${stack}`,
    "and run this job again. More of it: docs/recovery/engine-killed.md",
  ].join("\n");
}

/** https://github.com/pulumi/pulumi/blob/v3.259.0/pkg/resource/deploy/deployment_executor.go */
function pending(text: string, stack: string): string | undefined {
  const number = /with (\d+) pending operations? from previous deployment/.exec(text)?.[1];
  return number === undefined
    ? undefined
    : [
        number === "1"
          ? "1 operation was cut off before its end was written down. To find out how it ended:"
          : `${number} operations were cut off before their end was written down. To find out how they ended:`,
        `  npx pulumi refresh --clear-pending-creates --stack ${stack}`,
        "What was being made, and is not known then, may be in the way of the next one: docs/recovery/engine-killed.md",
      ].join("\n");
}

function passphrase(text: string, stack: string): string | undefined {
  if (/passphrase must be set with PULUMI_CONFIG_PASSPHRASE/.test(text))
    return (
      `There is no passphrase for the stack ${stack}. Set PULUMI_CONFIG_PASSPHRASE as a masked CI/CD variable whose ` +
      "environment scope is that of the job: docs/pipeline.md"
    );
  if (/\bincorrect passphrase\b/.test(text))
    return (
      `PULUMI_CONFIG_PASSPHRASE is not the passphrase of the stack ${stack}. Each environment scope has a variable of its ` +
      "own: docs/pipeline.md tells which job gets which."
    );
  return undefined;
}

function backend(text: string): string | undefined {
  if (/PULUMI_ACCESS_TOKEN must be set for login|\bnot logged in\b/.test(text))
    return "PULUMI_BACKEND_URL names no bucket, so Pulumi Cloud was meant. It begins with s3://, gs://, azblob:// or file://: docs/pipeline.md";
  if (
    /unable to open (state directory|bucket)|error: read "\.pulumi\/meta\.yaml"|unable to check if bucket is accessible/.test(
      text,
    )
  )
    return (
      "The backend in PULUMI_BACKEND_URL cannot be read: it is not there, or the job's credentials do not open it. " +
      "To see it by yourself: npx pulumi stack ls"
    );
  return undefined;
}

function missing(text: string, stack: string): string | undefined {
  return /error: no stack named '/.test(text)
    ? `The backend has no stack ${stack}. What it has: npx pulumi stack ls\nTo make it: npx pulumi stack init ${stack}`
    : undefined;
}
