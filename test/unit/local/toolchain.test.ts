import assert from "node:assert/strict";
import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";

const project = join(__dirname, "..", "..", "..");

/** A `go` that does what the script says: building for real takes minutes, and how we drive it is what is tested. */
async function fakeGo(directory: string, script: string): Promise<string> {
  const bin = join(directory, "bin");
  await mkdir(bin, { recursive: true });
  await writeFile(join(bin, "go"), `#!/bin/sh\n${script}\n`);
  await chmod(join(bin, "go"), 0o755);
  return bin;
}

const version = 'if [ "$1" = env ]; then echo go1.26.8; exit; fi';
/** Writes what it was asked to build, and answers where a module is. */
const builds = `${version}
if [ "$1" = list ]; then echo "$FAKE/module"; exit; fi
echo "example.com/package" >&2
while [ $# -gt 0 ]; do if [ "$1" = -o ]; then echo built > "$2"; fi; shift; done`;

describe("The tool chain build", () => {
  let scratch: string;
  const running = new Set<ChildProcess>();

  beforeEach(async () => {
    scratch = await mkdtemp(join(tmpdir(), "gitlab-workspaces-toolchain-"));
    await mkdir(join(scratch, "module", "kustomize", "stage"), { recursive: true });
  });
  afterEach(async () => {
    for (const child of running) if (child.pid) process.kill(-child.pid, "SIGKILL");
    running.clear();
    await rm(scratch, { recursive: true, force: true });
  });

  function tools(path: string): { child: ChildProcess; ended: Promise<{ code: number | null; output: string }> } {
    const child = spawn(process.execPath, ["--import", "tsx", "local/cli.ts", "tools"], {
      cwd: project,
      // A group of its own, as a terminal gives a command: Ctrl-C reaches all of it.
      detached: true,
      env: { PATH: path, HOME: scratch, XDG_CACHE_HOME: join(scratch, "cache"), FAKE: scratch },
    });
    running.add(child);
    let output = "";
    child.stdout.on("data", (data: Buffer) => (output += data.toString()));
    child.stderr.on("data", (data: Buffer) => (output += data.toString()));
    const ended = once(child, "close").then(([code]) => {
      running.delete(child);
      return { code: code as number | null, output };
    });
    return { child, ended };
  }

  const cached = async (): Promise<string[]> => await readdir(join(scratch, "cache", "gitlab-workspaces", "toolchain"));
  /** Resolves when the command has printed `text` to standard error. */
  const saying = async (child: ChildProcess, text: string): Promise<void> => {
    let heard = "";
    await new Promise<void>((resolve) => {
      child.stderr?.on("data", (data: Buffer) => {
        heard += data.toString();
        if (heard.includes(text)) resolve();
      });
    });
  };

  it("says that Go is missing, what for, and how to get it", async () => {
    const { code, output } = await tools(join(scratch, "empty")).ended;
    assert.equal(code, 1);
    assert.match(output, /error: Go is not on PATH/);
    assert.match(output, /Install Go 1\.26\.0 or later from https:\/\/go\.dev\/dl\//);
    assert.doesNotMatch(output, /\n\s+at /);
  });

  it("says which Go it found when that one is too old", async () => {
    const bin = await fakeGo(scratch, "echo go1.25.3");
    const { code, output } = await tools(`${bin}:/usr/bin:/bin`).ended;
    assert.equal(code, 1);
    assert.match(output, /Go on PATH is go1\.25\.3; 1\.26\.0 or later is needed/);
  });

  it("shows what Go said last when there is no network, and what to check", async () => {
    const fails = `${version}\necho 'go: example.com/x@v1: dial tcp: connection refused' >&2; exit 1`;
    const bin = await fakeGo(scratch, fails);
    const { code, output } = await tools(`${bin}:/usr/bin:/bin`).ended;
    assert.equal(code, 1);
    assert.match(output, /Building etcd failed \(go exited with 1\):\n.*connection refused/);
    assert.match(output, /go env GOPROXY/);
    assert.match(output, /Try again with: npm start/);
  });

  it("leaves nothing half-built after Ctrl-C, and goes on where it was", async () => {
    const waits = `${builds}\ncase "$PWD" in */helm) exec sleep 600;; esac`;
    const bin = await fakeGo(scratch, waits);
    const first = tools(`${bin}:/usr/bin:/bin`);
    await saying(first.child, "> build helm");
    process.kill(-(first.child.pid ?? 0), "SIGINT");
    const { code, output } = await first.ended;
    assert.equal(code, 130, output);
    assert.match(output, /Interrupted\. What is whole is kept/);
    const whole = (await cached()).filter((name) => !name.startsWith("unfinished-"));
    assert.deepEqual(
      whole.map((name) => name.split("-")[0]),
      ["etcd", "kwok"],
    );

    await fakeGo(scratch, builds);
    const second = await tools(`${bin}:/usr/bin:/bin`).ended;
    assert.equal(second.code, 0, second.output);
    assert.doesNotMatch(second.output, /build etcd|build kwok/);
    assert.deepEqual((await cached()).map((name) => name.split("-")[0]).sort(), [
      "etcd",
      "helm",
      "kubernetes",
      "kwok",
      "pulumi",
    ]);
  });

  it("makes the second of two starts wait for the first, and build nothing again", async () => {
    const once = `${builds}\nmkdir "$FAKE/built-$(basename "$PWD")-$$" 2>/dev/null\nwhile [ ! -e "$FAKE/go-on" ]; do sleep 0.05; done`;
    const bin = await fakeGo(scratch, once);
    const first = tools(`${bin}:/usr/bin:/bin`);
    await saying(first.child, "> build etcd");
    const second = tools(`${bin}:/usr/bin:/bin`);
    await saying(second.child, "waiting for it to end");
    await writeFile(join(scratch, "go-on"), "");
    const ends = await Promise.all([first.ended, second.ended]);
    assert.deepEqual(
      ends.map(({ code }) => code),
      [0, 0],
    );
    assert.match(ends[1].output, new RegExp(`Process ${String(first.child.pid)} is already working`));
    assert.doesNotMatch(ends[1].output, /> build/);
  });
});
