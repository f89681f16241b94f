import assert from "node:assert/strict";
import { type ChildProcess, type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { homedir, hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { environment, localEngine, pulumiDirectory, localStack } from "../../local/engine";
import { progressTo } from "../../local/progress";
import { project } from "../../local/stack";
import { ensureToolchain } from "../../local/toolchain/toolchain";

/** A command under way, and how it ends. */
interface Running {
  readonly child: ChildProcess;
  /** Resolves once the command has printed something that matches. */
  printed(pattern: RegExp): Promise<void>;
  readonly ended: Promise<{ code: number | null; output: string }>;
}

function run(command: string, home: string): Running {
  return observed(
    spawn(process.execPath, ["--import", "tsx", "local/cli.ts", command], {
      cwd: project,
      env: { ...process.env, GITLAB_WORKSPACES_HOME: home },
    }),
  );
}

/** An ordinary `pulumi up` by hand, as in a shell after `eval "$(npm run -s env)"`. */
async function runUp(home: string): Promise<Running> {
  const engine = localEngine({ folder: home });
  const toolchain = await ensureToolchain(progressTo());
  return observed(
    spawn(join(pulumiDirectory(engine), "pulumi"), ["up", "--yes", "--skip-preview", "--color", "never"], {
      cwd: project,
      env: environment(engine, toolchain),
    }),
  );
}

function observed(child: ChildProcessWithoutNullStreams): Running {
  let output = "";
  const listeners = new Set<() => void>();
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (data: Buffer) => {
      output += data.toString();
      for (const listener of listeners) listener();
    });
  }
  return {
    child,
    printed: async (pattern) => {
      await new Promise<void>((resolve) => {
        const look = (): void => {
          if (pattern.test(output)) resolve();
        };
        listeners.add(look);
        look();
      });
    },
    ended: once(child, "close").then(([code]) => ({ code: code as number | null, output })),
  };
}

/** Process ids of those whose program lies below the folder. */
async function processesOf(home: string): Promise<number[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number);
  const lines = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")));
  return pids.filter((_, index) => lines[index]?.includes(`${home}/`));
}

/** Every port of the cluster's. */
async function portsOf(home: string): Promise<number[]> {
  const settings = await readFile(join(home, "kwok", "clusters", "local", "kwok.yaml"), "utf8");
  const ports = [...settings.matchAll(/^ {2}\w+Port: (\d+)$/gm)].map(([, port]) => Number(port));
  assert.ok(ports.length > 0);
  return ports;
}

/** @throws when the port is taken. */
async function listenOnce(port: number): Promise<void> {
  const server = createServer().listen(port, "127.0.0.1");
  await once(server, "listening");
  server.close();
  await once(server, "close");
}

const lockFolder = (home: string): string =>
  join(localEngine({ folder: home }).state, ".pulumi", "locks", "organization", "gitlab-workspaces", localStack);

async function lockFiles(home: string): Promise<string[]> {
  const files = await readdir(lockFolder(home)).catch(() => []);
  return files.filter((file) => file.endsWith(".json")).map((file) => join(lockFolder(home), file));
}

/** Locks the stack as an engine does, and returns the lock's file. */
async function writeLock(home: string, owner: { pid: number; hostname: string }): Promise<string> {
  const lock = join(lockFolder(home), "11111111-2222-4333-8444-555555555555.json");
  await mkdir(lockFolder(home), { recursive: true });
  await writeFile(lock, JSON.stringify({ ...owner, username: "somebody", timestamp: "2026-01-02T03:04:05Z" }));
  return lock;
}

describe("The commands of the local engine", () => {
  let scratch: string;
  let home: string;

  before(async function () {
    this.timeout(3_600_000);
    await ensureToolchain(progressTo());
    scratch = await mkdtemp(join(tmpdir(), "gitlab-workspaces-commands-"));
    home = join(scratch, "home");
  });

  after(async () => {
    if (existsSync(home)) await run("destroy", home).ended;
    await rm(scratch, { recursive: true, force: true });
  });

  it("go on after the engine was killed while Helm worked: lock, pending operations and releases", async () => {
    const first = run("start", home);
    await first.printed(/Release \S+ creating/);
    for (const pid of await processesOf(join(home, "pulumi", "versions"))) {
      const [program = ""] = (await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")).split("\0");
      if (program.endsWith("/pulumi")) process.kill(pid, "SIGKILL");
    }
    const { code, output } = await first.ended;
    assert.equal(code, 1);
    assert.match(output, /was ended by SIGKILL/);
    const second = await run("start", home).ended;
    assert.equal(second.code, 0, second.output);
    assert.match(second.output, /put right what a killed operation left: done/);
  });

  it("leave the stack alone while a `pulumi up` is at work on it, even one that stands still", async () => {
    const other = await runUp(home);
    // Said by the program, which Pulumi runs once it has the lock.
    await other.printed(/warning: tls\.mode/);
    other.child.kill("SIGSTOP");
    const [lock = ""] = await lockFiles(home);
    const content = await readFile(lock, "utf8");
    const refused = await run("start", home).ended;
    assert.equal(refused.code, 1, refused.output);
    assert.match(refused.output, new RegExp(`Process ${String(other.child.pid)} is at work on the stack`));
    assert.deepEqual(await lockFiles(home), [lock]);
    assert.equal(await readFile(lock, "utf8"), content);
    other.child.kill("SIGKILL");
    await other.ended;
    const { code, output } = await run("start", home).ended;
    assert.equal(code, 0, output);
    assert.match(output, /put right what a killed operation left: done/);
    assert.deepEqual(await lockFiles(home), []);
  });

  it("take no lock of another machine for dead, and say where to look", async () => {
    const lock = await writeLock(home, { pid: 1, hostname: "elsewhere.example.test" });
    const { code, output } = await run("start", home).ended;
    assert.equal(code, 1, output);
    assert.match(output, /locked by process 1 on the host elsewhere\.example\.test/);
    assert.match(output, /npx pulumi cancel --yes/);
    assert.deepEqual(await lockFiles(home), [lock]);
    await rm(lock);
  });

  it("take a lock for dead whose process id is somebody else's by now, and leave that one alone", async () => {
    const bystander = spawn("sleep", ["600"]);
    await writeLock(home, { pid: bystander.pid!, hostname: hostname() });
    const { code, output } = await run("start", home).ended;
    assert.equal(code, 0, output);
    assert.match(output, /28 unchanged/);
    assert.deepEqual(await lockFiles(home), []);
    assert.equal(bystander.exitCode ?? bystander.signalCode, null, "the bystander lives");
    bystander.kill();
  });

  it("let the second of two starts wait for the first, and change nothing", async () => {
    const first = run("start", home);
    await first.printed(/> Kubernetes control plane/);
    const second = run("start", home);
    await second.printed(new RegExp(`Process ${String(first.child.pid)} is already working`));
    for (const { code, output } of await Promise.all([first.ended, second.ended])) {
      assert.equal(code, 0, output);
      assert.match(output, /28 unchanged/);
    }
  });

  it("end every process on stop and bring the same cluster back, and never end a process that is not theirs", async () => {
    assert.equal((await run("stop", home).ended).code, 0);
    assert.deepEqual(await processesOf(home), []);
    for (const port of await portsOf(home)) await listenOnce(port);
    const bystander = spawn("sleep", ["600"]);
    await writeFile(join(home, "kwok", "clusters", "local", "pids", "etcd.pid"), String(bystander.pid));
    const { code, output } = await run("start", home).ended;
    assert.equal(code, 0, output);
    assert.match(output, /28 unchanged/);
    assert.equal(bystander.exitCode ?? bystander.signalCode, null, "the bystander lives");
    bystander.kill();
  });

  it("say what runs, without changing anything", async () => {
    const { code, output } = await run("status", home).ended;
    assert.equal(code, 0);
    assert.match(output, /cluster +running/);
    assert.match(output, /workspaces URL +https:\/\/workspaces\.example\.test/);
    assert.match(output, /gitlab-workspaces-proxy-\S+ +1\/1 +Running/);
  });

  it("leave neither a process nor a file after destroy", async () => {
    const { code, output } = await run("destroy", home).ended;
    assert.equal(code, 0, output);
    assert.deepEqual(await processesOf(home), []);
    assert.ok(!existsSync(home));
    assert.match((await run("status", home).ended).output, /Nothing is deployed on this machine/);
  });

  it("touch no folder that is not theirs", async () => {
    const foreign = join(scratch, "documents");
    await mkdir(foreign);
    await writeFile(join(foreign, "thesis.txt"), "years of work");
    for (const [folder, complaint] of [
      [foreign, /not a local engine's/],
      [homedir(), /holds or belongs to your home directory/],
      [project, /holds or belongs to your home directory or this project/],
      ["/", /holds or belongs to/],
      [join(scratch, "with a space"), /without white space/],
    ] as const) {
      for (const command of ["start", "destroy"]) {
        const { code, output } = await run(command, folder).ended;
        assert.equal(code, 1, `${command} ${folder}`);
        assert.match(output, complaint);
      }
    }
    assert.equal(await readFile(join(foreign, "thesis.txt"), "utf8"), "years of work");
  });
});
