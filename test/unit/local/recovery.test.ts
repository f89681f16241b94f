import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { type LocalEngine, localEngine } from "../../../local/engine";
import { Failure } from "../../../local/failure";
import { prepare } from "../../../local/prepare";
import { progressTo } from "../../../local/progress";
import { refuseAtWork } from "../../../local/recovery";

describe("Whoever is at work on the local stack", () => {
  let engine: LocalEngine;
  let lock: string;

  beforeEach(async () => {
    engine = localEngine({ folder: await mkdtemp(join(tmpdir(), "gitlab-workspaces-locks-")) });
    const folder = join(engine.state, ".pulumi", "locks", "organization", "gitlab-workspaces", "local");
    lock = join(folder, "11111111-2222-4333-8444-555555555555.json");
  });
  afterEach(async () => {
    await rm(engine.root, { recursive: true });
  });

  async function locked(content: string): Promise<void> {
    await mkdir(join(lock, ".."), { recursive: true });
    await writeFile(lock, content);
  }

  /** Runs `work` while a process of this host that is called pulumi holds the lock. */
  async function whileAtWork(work: (pid: number) => Promise<void>): Promise<void> {
    const pulumi = spawn("bash", ["-c", "echo; exec -a /somewhere/pulumi sleep 600"]);
    const { pid } = pulumi;
    assert.ok(pid !== undefined);
    await once(pulumi.stdout, "data");
    while (!(await readFile(`/proc/${pid}/cmdline`, "utf8")).startsWith("/somewhere/pulumi")) {
      await new Promise(setImmediate);
    }
    try {
      await locked(JSON.stringify({ pid, hostname: hostname() }));
      await work(pid);
    } finally {
      pulumi.kill("SIGKILL");
      await once(pulumi, "close");
    }
  }

  it("is nobody without a lock, and before there is a state", async () => {
    assert.deepEqual(await refuseAtWork(engine), []);
    await mkdir(join(lock, ".."), { recursive: true });
    assert.deepEqual(await refuseAtWork(engine), []);
  });

  it("is nobody when the lock's process is gone, or somebody else's by now", async () => {
    const owner = { pid: process.pid, hostname: hostname() };
    await locked(JSON.stringify({ ...owner, username: "somebody" }));
    assert.deepEqual(await refuseAtWork(engine), [owner]);
  });

  it("is left alone on this host: nothing is prepared, and a checkpoint that is cut off stays as it is", async () => {
    const stacks = join(engine.state, ".pulumi", "stacks", "gitlab-workspaces");
    await mkdir(stacks, { recursive: true });
    await writeFile(join(stacks, "local.json"), '{"version":3,"checkp');
    await writeFile(join(stacks, "local.json.bak"), "{}");
    await whileAtWork(async (pid) => {
      const refused = { constructor: Failure, message: new RegExp(`^Process ${pid} is at work on the stack\\. Wait`) };
      await assert.rejects(refuseAtWork(engine), refused);
      await assert.rejects(prepare(engine, progressTo()), refused);
    });
    assert.equal(await readFile(join(stacks, "local.json"), "utf8"), '{"version":3,"checkp');
    assert.ok(!existsSync(engine.marker) && !existsSync(engine.kwok));
  });

  it("may live on another host: it is named, with where to look", async () => {
    await locked(JSON.stringify({ pid: 7, hostname: "elsewhere.example.test" }));
    await assert.rejects(refuseAtWork(engine), {
      constructor: Failure,
      message: /by process 7 on the host elsewhere\.example\.test[^]*ps -p 7[^]*npx pulumi cancel --yes\n/,
    });
  });

  for (const content of ["", '{"pid":12', "null", "{}", '{"pid":"12","hostname":"here"}']) {
    it(`cannot be told from a lock that reads ${content || "nothing"}: the file is named, and what to do`, async () => {
      await locked(content);
      await assert.rejects(refuseAtWork(engine), (error: Error) => {
        assert.ok(error instanceof Failure);
        assert.match(error.message, /cannot be read[^]*\n.*ps -C pulumi/);
        assert.ok(error.message.includes(`\nOnly if there is none: rm '${lock}'\n`));
        return true;
      });
      assert.equal(await readFile(lock, "utf8"), content);
    });
  }
});
