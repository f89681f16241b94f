import { readdir } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { environment, type LocalEngine, npm } from "./engine";
import { Failure } from "./failure";
import { commandLine } from "./processes";
import type { Progress } from "./progress";
import { pulumi } from "./stack";
import type { Toolchain } from "./toolchain/toolchain";
import { readIfThere, writeWhole } from "./whole-file";

/** A lock of Pulumi's file backend: https://github.com/pulumi/pulumi/blob/v3.259.0/pkg/backend/diy/lock.go */
interface Lock {
  readonly pid: number;
  readonly hostname: string;
}

/** An operation whose end Pulumi does not know, in `pulumi stack export`. */
interface PendingOperation {
  readonly type: string;
  readonly resource: {
    readonly type: string;
    readonly inputs?: { readonly name?: string; readonly namespace?: string; readonly metadata?: object };
  };
}

/** A release as `helm list --output json` tells it. */
interface HelmRelease {
  readonly name: string;
  readonly namespace: string;
  readonly revision: string;
  readonly status: string;
}

/**
 * Puts right what an operation left that was killed: the lock of a process that is gone, operations that Pulumi does not
 * know the end of, and releases that Helm believes are under way. Does nothing while a lock's owner lives, or may live, and stops when
 * somebody begins meanwhile.
 * @throws Failure when another `pulumi` is at work on the stack, or was on another machine that shares the folder.
 */
export async function recover(engine: LocalEngine, toolchain: Toolchain, progress: Progress): Promise<void> {
  const locks = await refuseAtWork(engine);
  const pending = await pendingOperations(engine);
  const stuck = await stuckReleases(engine, toolchain);
  if (locks.length + pending.length + stuck.length === 0) return;
  await progress.step("put right what a killed operation left", async () => {
    if (locks.length > 0) await pulumi(engine, toolchain, ["cancel", "--yes"]);
    await refuseLocked(engine);
    await removeUnrecorded(engine, toolchain, pending);
    // An unrecorded release that was stuck is gone by now.
    await healReleases(engine, toolchain, await stuckReleases(engine, toolchain));
    await pulumi(engine, toolchain, ["refresh", "--yes", "--skip-preview", "--clear-pending-creates"]);
  });
}

/**
 * Refuses while somebody is at work on the stack, or may be. Changes nothing, and asks nobody but the lock files.
 * @returns the locks of processes that are gone.
 * @throws Failure when a lock's owner lives, may live on another machine, or cannot be read.
 */
export async function refuseAtWork(engine: LocalEngine): Promise<readonly Lock[]> {
  const locks = await readLocks(engine);
  for (const lock of locks) await refuseLiving(lock, engine);
  return locks;
}

const isPulumi = async (pid: number): Promise<boolean> =>
  (await commandLine(pid)).some((word) => /(^|\/)pulumi$/.test(word));

/** Healing holds no lock of its own: whoever took one since then is at work on what would be healed. */
async function refuseLocked(engine: LocalEngine): Promise<void> {
  for (const { pid, hostname: host } of await readLocks(engine)) {
    throw new Failure(`Process ${pid} on ${host} has begun to work on the stack. Wait until it ends, then try again.`);
  }
}

/** A process id that somebody else has by now is not the owner's; of another machine's processes nothing is known here. */
async function refuseLiving({ pid, hostname: host }: Lock, engine: LocalEngine): Promise<void> {
  if (host !== hostname()) {
    throw new Failure(
      `The stack is locked by process ${pid} on the host ${host}; this is ${hostname()}, and cannot see whether it is still at work.\n` +
        `Look there: ps -p ${pid} -o pid,lstart,args\n` +
        `Only if it is gone: eval "$(${npm(engine, "-s env")})" && npx pulumi cancel --yes\nThen try again.`,
    );
  }
  if (await isPulumi(pid)) {
    throw new Failure(`Process ${pid} is at work on the stack. Wait until it ends, then try again.`);
  }
}

/**
 * Puts the newest whole backup in the place of a checkpoint that was cut off while it was written: Pulumi keeps one beside
 * it, which a full disk cuts off as well, and one of each run.
 * @returns whether that was needed.
 */
export async function restoreCheckpoint(engine: LocalEngine): Promise<boolean> {
  const checkpoint = checkpointFile(engine);
  const present = await readIfThere(checkpoint);
  if (present === undefined || isWhole(present)) return false;
  const history = join(engine.state, ".pulumi", "history", "gitlab-workspaces", engine.stack);
  const runs = (await readdir(history).catch(() => [])).filter((file) => file.endsWith(".checkpoint.json"));
  const newestFirst = runs.sort().reverse();
  for (const file of [`${checkpoint}.bak`, ...newestFirst.map((run) => join(history, run))]) {
    const backup = await readIfThere(file);
    if (backup === undefined || !isWhole(backup)) continue;
    await writeWhole(checkpoint, backup);
    return true;
  }
  return false;
}

const checkpointFile = (engine: LocalEngine): string =>
  join(engine.state, ".pulumi", "stacks", "gitlab-workspaces", `${engine.stack}.json`);

function isWhole(json: string): boolean {
  try {
    JSON.parse(json);
    return true;
  } catch {
    return false;
  }
}

async function readLocks(engine: LocalEngine): Promise<Lock[]> {
  const directory = join(engine.state, ".pulumi", "locks", "organization", "gitlab-workspaces", engine.stack);
  const files = (await readdirIfThere(directory)).filter((file) => file.endsWith(".json"));
  const texts = files.map(async (name) => {
    const file = join(directory, name);
    const text = await readIfThere(file);
    // Unlocked since the folder was read.
    return text === undefined ? [] : [lockIn(text, file)];
  });
  return (await Promise.all(texts)).flat();
}

function lockIn(text: string, file: string): Lock {
  const lock = (isWhole(text) ? JSON.parse(text) : undefined) as Partial<Lock> | null | undefined;
  if (typeof lock?.pid === "number" && typeof lock.hostname === "string") {
    return { pid: lock.pid, hostname: lock.hostname };
  }
  throw new Failure(
    `The stack is locked, and by whom cannot be read: ${file} was cut off while it was written.\n` +
      "Look for a pulumi at work, on every machine that has this folder: ps -C pulumi -o pid,lstart,args\n" +
      `Only if there is none: rm '${file}'\nThen try again.`,
  );
}

async function readdirIfThere(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

/**
 * Removes what the killed operation may have created without writing it down: the next one makes it, and would find it
 * in its way. Only on this cluster, which holds nothing that anybody needs.
 */
async function removeUnrecorded(
  engine: LocalEngine,
  toolchain: Toolchain,
  pending: readonly PendingOperation[],
): Promise<void> {
  for (const { type, resource } of pending) {
    const [provider, group = "", kind = ""] = resource.type.split(":");
    if (type !== "creating" || provider !== "kubernetes") continue;
    const { name, namespace, metadata } = resource.inputs ?? {};
    if (kind === "Release") {
      await command(toolchain.helm, ["uninstall", name ?? "", "--namespace", namespace ?? "", "--ignore-not-found"]);
    } else {
      const object = { apiVersion: group.replace(/^core\//, ""), kind, metadata };
      await command(toolchain.kubectl, ["delete", "--ignore-not-found", "-f", "-"], JSON.stringify(object));
    }
  }

  async function command(file: string, arguments_: readonly string[], input = ""): Promise<void> {
    await execa(file, arguments_, { env: environment(engine, toolchain), extendEnv: false, input });
  }
}

/** What the checkpoint says was begun and has no end. Reading the file costs nothing; asking the CLI would, at every start. */
async function pendingOperations(engine: LocalEngine): Promise<PendingOperation[]> {
  const text = await readIfThere(checkpointFile(engine));
  if (text === undefined) return [];
  const { checkpoint } = JSON.parse(text) as {
    checkpoint?: { latest?: { pending_operations?: PendingOperation[] } | null };
  };
  return checkpoint?.latest?.pending_operations ?? [];
}

/** Releases that Helm believes are under way. */
async function stuckReleases(engine: LocalEngine, toolchain: Toolchain): Promise<HelmRelease[]> {
  const listed = ["list", "--pending", "--uninstalling", "--all-namespaces", "--output", "json"];
  return JSON.parse(await helm(engine, toolchain, listed)) as HelmRelease[];
}

/** A first installation that was cut off is removed, an upgrade taken back: what Helm itself asks for. */
async function healReleases(engine: LocalEngine, toolchain: Toolchain, stuck: readonly HelmRelease[]): Promise<void> {
  for (const { name, namespace, revision, status } of stuck) {
    await refuseLocked(engine);
    const first = revision === "1" || status === "uninstalling";
    await helm(engine, toolchain, [first ? "uninstall" : "rollback", name, "--namespace", namespace, "--wait"]);
  }
}

async function helm(engine: LocalEngine, toolchain: Toolchain, arguments_: readonly string[]): Promise<string> {
  const { stdout } = await execa(toolchain.helm, arguments_, {
    env: environment(engine, toolchain),
    extendEnv: false,
  });
  return stdout;
}
