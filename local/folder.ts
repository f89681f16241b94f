import { existsSync } from "node:fs";
import { chmod, mkdir, readdir } from "node:fs/promises";
import { type LocalEngine, npm } from "./engine";
import { Failure } from "./failure";
import { writeWhole } from "./whole-file";

/**
 * Makes the engine's folder, readable by its owner alone, and marks it as one.
 * @throws Failure when there is something in it and no mark: it is somebody else's.
 */
export async function claimFolder(engine: LocalEngine): Promise<void> {
  await mkdir(engine.root, { recursive: true, mode: 0o700 });
  if (!existsSync(engine.marker)) {
    if ((await readdir(engine.root)).length > 0) throw foreign(engine);
    await writeWhole(
      engine.marker,
      `A local engine of gitlab-workspaces. \`${npm(engine, "destroy")}\` removes this folder.\n`,
    );
  }
  await chmod(engine.root, 0o700);
}

/**
 * Whether there is an engine in the folder.
 * @throws Failure when there is something else: nothing of it may be ended or removed.
 */
export async function isClaimed(engine: LocalEngine): Promise<boolean> {
  if (existsSync(engine.marker)) return true;
  if (existsSync(engine.root) && (await readdir(engine.root)).length > 0) throw foreign(engine);
  return false;
}

function foreign(engine: LocalEngine): Failure {
  return new Failure(
    `${engine.root} is not empty and not a local engine's: the file ${engine.marker} is not there. Nothing was touched.\n` +
      `Name another folder: GITLAB_WORKSPACES_HOME=/path/to/an/empty/folder ${npm(engine, "start")}`,
  );
}
