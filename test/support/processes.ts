import { readdir, readFile } from "node:fs/promises";
import { basename } from "node:path";
import type { LocalEngine } from "../../local/engine";

/** One process of this machine. */
export interface Process {
  readonly pid: number;
  /** Name of its program, without the folder. */
  readonly program: string;
  /** Command line and environment, the way `/proc` has them but with spaces. */
  readonly line: string;
  readonly environment: string;
}

/** Process ids of this machine. */
const ids = async (): Promise<string[]> => (await readdir("/proc")).filter((name) => /^\d+$/.test(name));

const read = async (pid: string, file: string): Promise<string> =>
  (await readFile(`/proc/${pid}/${file}`, "utf8").catch(() => "")).replaceAll("\0", " ");

/** Every helm that works for the engine, and what it was told. Looks at little, because it is asked over and over. */
export async function helmsOf({ root }: LocalEngine): Promise<{ pid: number; line: string }[]> {
  const found: { pid: number; line: string }[] = [];
  for (const pid of await ids()) {
    const line = await read(pid, "cmdline");
    if (basename(line.split(" ")[0] ?? "") !== "helm") continue;
    if (`${line} ${await read(pid, "environ")}`.includes(root)) found.push({ pid: Number(pid), line });
  }
  return found;
}

/** The processes of this machine that may be looked at. */
export async function processes(): Promise<Process[]> {
  return await Promise.all(
    (await ids()).map(async (pid) => {
      const line = await read(pid, "cmdline");
      const program = basename(line.split(" ")[0] ?? "");
      return { pid: Number(pid), program, line, environment: await read(pid, "environ") };
    }),
  );
}

/** The processes of one engine: each of them is told where it works, in its arguments or in its environment. */
export const processesOf = async ({ root }: LocalEngine): Promise<Process[]> =>
  (await processes()).filter(({ line, environment }) => line.includes(root) || environment.includes(root));

/**
 * Resolves when nothing of this engine runs but its cluster and its chart repository, which run on by themselves.
 * @throws with what still runs after a minute.
 */
export async function settled(engine: LocalEngine): Promise<void> {
  const end = Date.now() + 60_000;
  for (;;) {
    const others = (await processesOf(engine)).filter(
      ({ line }) => !line.startsWith(engine.kwok) && !(line.includes("serve.ts") && line.includes(engine.charts)),
    );
    if (others.length === 0) return;
    if (Date.now() > end) throw new Error(`still running: ${others.map(({ line }) => line).join("\n")}`);
  }
}
