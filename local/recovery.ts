import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { environment, type LocalEngine, stackName } from "./engine";
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
 * know the end of, and releases that Helm believes are under way. Does nothing while the lock's owner lives.
 * @throws Failure when another `pulumi` is at work on the stack.
 */
export async function recover(engine: LocalEngine, toolchain: Toolchain, progress: Progress): Promise<void> {
  const locks = await readLocks(engine);
  if (locks.length === 0) return;
  for (const { pid, hostname: host } of locks) {
    if (host === hostname() && (await commandLine(pid)).some((word) => /(^|\/)pulumi$/.test(word))) {
      throw new Failure(`Process ${pid} is at work on the stack. Wait until it ends, then try again.`);
    }
  }
  await progress.step("put right what a killed operation left", async () => {
    await pulumi(engine, toolchain, ["cancel", "--yes"]);
    await removeUnrecorded(engine, toolchain);
    await healReleases(engine, toolchain);
    await pulumi(engine, toolchain, ["refresh", "--yes", "--skip-preview", "--clear-pending-creates"]);
  });
}

/**
 * Puts the backup that Pulumi keeps in the place of a checkpoint that was cut off while it was written.
 * @returns whether that was needed.
 */
export async function restoreCheckpoint(engine: LocalEngine): Promise<boolean> {
  const checkpoint = join(engine.state, ".pulumi", "stacks", "gitlab-workspaces", `${stackName}.json`);
  const [present, backup] = [await readIfThere(checkpoint), await readIfThere(`${checkpoint}.bak`)];
  if (present === undefined || isWhole(present) || backup === undefined || !isWhole(backup)) return false;
  await writeWhole(checkpoint, backup);
  return true;
}

function isWhole(json: string): boolean {
  try {
    JSON.parse(json);
    return true;
  } catch {
    return false;
  }
}

async function readLocks(engine: LocalEngine): Promise<Lock[]> {
  const directory = join(engine.state, ".pulumi", "locks", "organization", "gitlab-workspaces", stackName);
  if (!existsSync(directory)) return [];
  const files = (await readdir(directory)).filter((file) => file.endsWith(".json"));
  return await Promise.all(
    files.map(async (file) => JSON.parse(await readFile(join(directory, file), "utf8")) as Lock),
  );
}

/**
 * Removes what the killed operation may have created without writing it down: the next one makes it, and would find it
 * in its way. Only on this cluster, which holds nothing that anybody needs.
 */
async function removeUnrecorded(engine: LocalEngine, toolchain: Toolchain): Promise<void> {
  const { stdout } = await pulumi(engine, toolchain, ["stack", "export"]);
  const { deployment } = JSON.parse(stdout) as { deployment: { pending_operations?: PendingOperation[] } };
  for (const { type, resource } of deployment.pending_operations ?? []) {
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

/** A first installation that was cut off is removed, an upgrade taken back: what Helm itself asks for. */
async function healReleases(engine: LocalEngine, toolchain: Toolchain): Promise<void> {
  const helm = async (...arguments_: string[]): Promise<string> =>
    (await execa(toolchain.helm, arguments_, { env: environment(engine, toolchain), extendEnv: false })).stdout;
  const releases = JSON.parse(await helm("list", "--all", "--all-namespaces", "--output", "json")) as HelmRelease[];
  for (const { name, namespace, revision, status } of releases) {
    if (!/^(pending-|uninstalling)/.test(status)) continue;
    const first = revision === "1" || status === "uninstalling";
    await helm(first ? "uninstall" : "rollback", name, "--namespace", namespace, "--wait");
  }
}
