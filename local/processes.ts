import { readFile } from "node:fs/promises";

/** Words of the command line of a running process; empty when there is none of that id. */
export async function commandLine(pid: number): Promise<string[]> {
  const text = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
  return text.split("\0");
}
