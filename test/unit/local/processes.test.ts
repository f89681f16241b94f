import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { allEnded, commandLine, isEnding } from "../../../local/processes";

const nobodys = (): Promise<boolean> => Promise.resolve(false);

describe("The end of a process", () => {
  it("has not begun while it runs, and is waited for from the signal on", async () => {
    const child = spawn("sleep", ["600"]);
    await once(child, "spawn");
    const pid = child.pid!;
    const runs = async (): Promise<boolean> => (await commandLine(pid))[0] === "sleep";
    while (!(await runs()));
    assert.equal(await isEnding(pid), false);
    child.kill("SIGKILL");
    await allEnded([pid], runs);
    assert.deepEqual([await runs(), await isEnding(pid)], [false, false]);
  });

  it("is over once only its parent has not asked for it", async () => {
    // `sleep` does not ask for the end of the child that it has from the shell.
    const parent = spawn("bash", ["-c", "cat <&0 & echo $!; exec sleep 600"]);
    const [line] = (await once(createInterface({ input: parent.stdout }), "line")) as [string];
    const pid = Number(line);
    const becomes = async (id: number, command: string): Promise<void> => {
      while ((await commandLine(id))[0] !== command);
    };
    try {
      await Promise.all([becomes(parent.pid!, "sleep"), becomes(pid, "cat")]);
      parent.stdin.end();
      await allEnded([pid], async () => (await commandLine(pid))[0] !== "");
      assert.match(await readFile(`/proc/${pid}/stat`, "utf8"), /^\d+ \(cat\) Z /);
      assert.equal(await isEnding(pid), false);
    } finally {
      parent.kill("SIGKILL");
      await once(parent, "close");
    }
  });

  it("is not that of a process that has its id by now, and none of a process that is gone", async () => {
    await allEnded([process.pid], nobodys);
    const child = spawn("true");
    await once(child, "close");
    assert.equal(await isEnding(child.pid!), false);
  });
});
