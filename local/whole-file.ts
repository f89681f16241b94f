import { readFile, rename, writeFile } from "node:fs/promises";
import { randomUUID } from "node:crypto";

/** Writes a file as a whole or not at all, so that an interruption leaves the old one or the new one. */
export async function writeWhole(file: string, content: string, mode = 0o600): Promise<void> {
  const temporary = `${file}.${randomUUID()}.tmp`;
  await writeFile(temporary, content, { mode });
  await rename(temporary, file);
}

/** Content of a file; undefined when there is none. */
export async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
