import { readdir, readFile } from "node:fs/promises";
import { Failure } from "./failure";

/** Words of the command line of a running process; empty when there is none of that id. */
export async function commandLine(pid: number): Promise<string[]> {
  const text = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
  return text.split("\0");
}

/**
 * Whether a process has no command line any more and still holds what it had open, its ports above all. The last of its
 * threads lets go of that, which on a busy machine comes a good while after the kill. What only its parent has not asked
 * for yet holds nothing.
 */
export async function isEnding(pid: number): Promise<boolean> {
  const one = await stat(`/proc/${pid}`);
  if (one === undefined || (one.flags & PF_EXITING) === 0) return false;
  const threads = await readdir(`/proc/${pid}/task`).catch(() => []);
  const states = await Promise.all(threads.map(async (id) => (await stat(`/proc/${pid}/task/${id}`))?.state));
  return states.some((state) => state !== undefined && state !== "Z" && state !== "X");
}

/**
 * Returns when the processes have ended and hold nothing any more, no port either.
 * @param isOne whether a process is still the one that has to end, and not somebody else's who has its id by now.
 * @throws Failure when one has not ended after a minute.
 */
export async function allEnded(pids: readonly number[], isOne: (pid: number) => Promise<boolean>): Promise<void> {
  const end = Date.now() + 60_000;
  for (const pid of pids) {
    while ((await isOne(pid)) || (await isEnding(pid))) {
      if (Date.now() > end)
        throw new Failure(`Process ${pid} was told to end and has not, for a minute: ps -fp ${pid}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

/** https://github.com/torvalds/linux/blob/v6.12/include/linux/sched.h: "Getting shut down". */
const PF_EXITING = 0x4;

/** State and flags of a process or a thread (https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html); undefined when it is gone. */
async function stat(directory: string): Promise<{ readonly state: string; readonly flags: number } | undefined> {
  const text = await readFile(`${directory}/stat`, "utf8").catch(() => undefined);
  // The program's name may have spaces and brackets of its own.
  const [state = "", , , , , , flags] = text?.slice(text.lastIndexOf(")") + 2).split(" ") ?? [];
  return text === undefined ? undefined : { state, flags: Number(flags) };
}
