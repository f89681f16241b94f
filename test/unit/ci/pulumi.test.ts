import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { chmod, mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { advice, cancellation, failure, Interrupted, pulumi, type PulumiOptions } from "../../../ci/pulumi";
import { versions } from "../../../local/toolchain/toolchain";

describe("The CLI in a job", () => {
  let home: string;
  let lines: string[];
  const before_ = process.env["PULUMI_HOME"];

  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), "gitlab-workspaces-ci-"));
    process.env["PULUMI_HOME"] = home;
    lines = [];
  });

  afterEach(async () => {
    if (before_ === undefined) delete process.env["PULUMI_HOME"];
    else process.env["PULUMI_HOME"] = before_;
    await rm(home, { recursive: true, force: true });
  });

  /** Puts a program in the place of the CLI. */
  async function cli(code: string): Promise<void> {
    const folder = join(home, "versions", versions.pulumi, "bin");
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, "pulumi"), `#!${process.execPath}\n${code}`);
    await chmod(join(folder, "pulumi"), 0o755);
  }

  const quiet = (options: PulumiOptions = {}): PulumiOptions => ({
    cancellation: cancellation(new EventEmitter()),
    log: (line) => lines.push(line),
    ...options,
  });

  it("asks nobody, says the stack, passes every line on and keeps it", async () => {
    await cli(
      'console.log(process.argv.slice(2).join(" ")); process.stdout.write("no end of line"); process.exitCode = 4;',
    );
    const run = await pulumi(["up", "--yes"], quiet({ stack: "dev" }));
    assert.equal(run.exitCode, 4);
    assert.deepEqual(run.stdout.split("\n"), [
      "up --yes --stack dev --non-interactive --color never",
      "no end of line",
    ]);
    assert.deepEqual(lines, ["up --yes --stack dev --non-interactive --color never", "no end of line"]);
    assert.deepEqual(run.events, []);
  });

  it("passes on and keeps what the CLI says of errors, which is no output", async () => {
    await cli('console.error("error: it failed"); process.exitCode = 1;');
    const run = await pulumi(["up"], quiet());
    assert.deepEqual([run.stdout, run.text.trim(), lines], ["", "error: it failed", ["error: it failed"]]);
  });

  it("lets no line through that a terminal or the log of a job would obey", async () => {
    await cli('console.log("a\\tb \\u001b[31mred \\u001b]0;x\\u0007 section_start:1:x\\r\\u001b[0K")');
    const run = await pulumi(["up"], quiet());
    assert.deepEqual(lines, ["a\tb \\u{1b}[31mred \\u{1b}]0;x\\u{7} section_start:1:x", "\\u{1b}[0K"]);
    assert.ok(run.text.includes("\u001b"), "what is kept is what came");
  });

  it("hands the variables over, those given over its own, and takes away those that are undefined", async () => {
    await cli('console.log(JSON.stringify([process.env.GIVEN, process.env.HOME ?? "none", process.cwd()]))');
    await pulumi(["up"], quiet({ env: { GIVEN: "1", HOME: undefined }, cwd: home }));
    assert.deepEqual(lines, [JSON.stringify(["1", "none", home])]);
  });

  it("keeps the engine's events, and nothing is left of their file", async () => {
    await cli(`
      const log = process.argv[process.argv.indexOf("--event-log") + 1];
      const step = { op: "update", urn: "urn:x", type: "t", old: { id: "1" }, new: {}, diffs: ["a"], detailedDiff: { a: { diffKind: "update" } } };
      require("node:fs").writeFileSync(log, JSON.stringify({ resourcePreEvent: { metadata: step } }) + "\\n{cut of");
      console.log(process.env.PULUMI_DEBUG_COMMANDS, log);
    `);
    const { events, stdout } = await pulumi(["preview"], quiet({ events: true }));
    const [debug, log = ""] = stdout.split(" ");
    assert.equal(debug, "true");
    assert.deepEqual(
      events.map(({ resourcePreEvent }) => resourcePreEvent?.metadata.detailedDiff),
      [{ a: { diffKind: "update" } }],
    );
    await assert.rejects(rm(join(log, "..")), /ENOENT/);
  });

  describe("of a job that is cancelled", () => {
    /** Counts SIGINT, ends in order after the first, at once after the second. */
    const patient = (orderly: boolean) => `
      let times = 0;
      process.on("SIGTERM", () => console.log("SIGTERM"));
      process.on("SIGINT", () => {
        console.log("SIGINT", ++times);
        if (times === 2) process.exit(1);
        if (${orderly}) setImmediate(() => { console.log("written down"); process.exit(255); });
      });
      setInterval(() => {}, 1000);
      console.log("ready");
    `;

    async function cancelled(orderly: boolean, tell: (signals: EventEmitter, pass: () => void) => void) {
      await cli(patient(orderly));
      const signals = new EventEmitter();
      let now = 0;
      const seen: string[] = [];
      const running = pulumi(["up", "--yes"], {
        stack: "dev",
        cancellation: cancellation(signals, () => now),
        patience: 0,
        log: (line) => {
          seen.push(line);
          if (line === "ready") tell(signals, () => void (now += 3000));
          if (line === "SIGINT 1" && !orderly) {
            now += 3000;
            signals.emit("SIGTERM");
          }
        },
      });
      const error = await running.then(
        () => undefined,
        (reason: unknown) => reason,
      );
      assert.ok(error instanceof Interrupted);
      return { seen, message: error.message };
    }

    it("is told by one SIGINT however often the signal arrives, and is waited for", async () => {
      const { seen, message } = await cancelled(true, (signals) => {
        for (const signal of ["SIGTERM", "SIGTERM", "SIGINT"]) signals.emit(signal);
      });
      assert.deepEqual(seen, ["ready", "SIGINT 1", "written down"]);
      assert.match(message, /cancelled during `pulumi up` of the stack dev[^]*run the job again[^]*docs\/recovery/);
    });

    it("is ended at once when it is cancelled again", async () => {
      const { seen } = await cancelled(false, (signals) => signals.emit("SIGTERM"));
      assert.deepEqual(seen, ["ready", "SIGINT 1", "SIGINT 2"]);
    });

    /** Any first signal is the orderly end, which takes a while; any second one the end at once, as the CLI has it. */
    const signalled = `
      let times = 0;
      for (const signal of ["SIGINT", "SIGTERM"])
        process.on(signal, () => {
          if (++times === 2) { console.log("terminated"); process.exit(1); }
          console.log(signal + " received; cancelling. If you would like to terminate immediately, ...");
          setTimeout(() => { console.log("written down"); process.exit(255); }, 500);
        });
      setInterval(() => {}, 1000);
      console.log("ready", process.pid);
    `;

    /** A runner that signals every process of the job, the CLI among them. */
    async function cancelledByAll(patience: number, again: boolean): Promise<string[]> {
      await cli(signalled);
      const signals = new EventEmitter();
      let now = 0;
      const seen: string[] = [];
      const running = pulumi(["up"], {
        cancellation: cancellation(signals, () => now),
        patience,
        log: (line) => {
          const [word = "", pid] = line.split(" ");
          seen.push(word);
          if (word === "ready") {
            signals.emit("SIGTERM");
            process.kill(Number(pid), "SIGTERM");
          } else if (word === "SIGTERM" && again) {
            now += 3000;
            signals.emit("SIGTERM");
          }
        },
      });
      await assert.rejects(running, Interrupted);
      return seen;
    }

    it("is not told a second time when the runner has signalled the CLI as well", async () => {
      assert.deepEqual(await cancelledByAll(200, false), ["ready", "SIGTERM", "written"]);
    });

    it("is ended at once by a second cancellation when the runner has signalled the CLI as well", async () => {
      assert.deepEqual(await cancelledByAll(200, true), ["ready", "SIGTERM", "terminated"]);
    });

    it("is not even started, and what was written is removed, when the signal is there before the first command", async () => {
      const pulumiModule = join(__dirname, "../../../ci/pulumi.ts");
      const backend = join(__dirname, "../../../ci/review-backend.ts");
      const code = `
        const { listenForCancellation, pulumi } = require(${JSON.stringify(pulumiModule)});
        const { withScratch } = require(${JSON.stringify(backend)});
        listenForCancellation();
        withScratch({ AWS_ROLE_ARN: "arn:aws:iam::123456789012:role/preview", GITLAB_OIDC_TOKEN: "t" }, async ({ folder }) => {
          // Listening for a signal alone keeps no process alive.
          const alive = setInterval(() => {}, 1000);
          await new Promise((resolve) => {
            process.once("SIGTERM", resolve);
            process.kill(process.pid, "SIGTERM");
          });
          clearInterval(alive);
          console.log(require("node:fs").readdirSync(folder).join(" "));
          await pulumi(["up"]);
        }).catch((error) => console.log(error.constructor.name));
      `;
      const temporary = join(home, "temporary");
      await mkdir(temporary);
      const { stdout } = await execa(process.execPath, ["--import", "tsx", "--eval", code], {
        env: { TMPDIR: temporary },
      });
      assert.deepEqual(stdout.split("\n"), ["Pulumi.yaml gitlab-token", "Interrupted"]);
      assert.deepEqual(
        (await readdir(temporary)).filter((name) => name.startsWith("gitlab-workspaces-")),
        [],
      );
    });

    it("is not even started when that was before", async () => {
      await cli('console.log("started")');
      const signals = new EventEmitter();
      const told = cancellation(signals);
      signals.emit("SIGTERM");
      await assert.rejects(pulumi(["up"], quiet({ cancellation: told })), Interrupted);
      assert.deepEqual(lines, []);
    });
  });

  it("says who holds a lock and since when, that nothing is unlocked by itself, and what to type", () => {
    const [told = "", ...others] = advice(
      "error: the stack is currently locked by 1 lock(s). Either wait for the other process(es) to end or delete the lock file with `pulumi cancel`.\n" +
        "  s3://bucket/.pulumi/locks/organization/p/dev/1.json: created by root@runner-1 (pid 4711) at 2026-11-26T09:00:00Z",
      "dev",
    );
    assert.deepEqual(others, []);
    assert.match(told, /root on runner-1, process 4711, since 2026-11-26T09:00:00Z/);
    assert.match(told, /Nothing is unlocked by itself/);
    assert.match(told, /^ {2}npx pulumi cancel --yes --stack dev$/m);
  });

  for (const { of, text, says } of [
    {
      of: "pending operations",
      text: "warning: Attempting to deploy or update resources with 2 pending operations from previous deployment.",
      says: /^2 operations were cut off[^]*npx pulumi refresh --clear-pending-creates --stack dev/,
    },
    {
      of: "one pending operation",
      text: "warning: Attempting to deploy or update resources with 1 pending operations from previous deployment.",
      says: /^1 operation was cut off before its end/,
    },
    {
      of: "a missing passphrase",
      text: "error: getting stack configuration: get stack secrets manager: passphrase must be set with PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE environment variables",
      says: /no passphrase for the stack dev[^]*masked CI\/CD variable/,
    },
    {
      of: "a wrong passphrase",
      text: "error: getting stack configuration: get stack secrets manager: incorrect passphrase",
      says: /is not the passphrase of the stack dev/,
    },
    {
      of: "a backend that is none",
      text: "error: PULUMI_ACCESS_TOKEN must be set for login during non-interactive CLI sessions",
      says: /PULUMI_BACKEND_URL names no bucket/,
    },
    {
      of: "a backend that is not there",
      text: 'error: unable to open state directory "file:///x": stat /x: no such file or directory',
      says: /cannot be read[^]*npx pulumi stack ls/,
    },
    { of: "a stack that is not there", text: "error: no stack named 'dev' found", says: /npx pulumi stack init dev/ },
  ])
    it(`says what to do about ${of}`, () => {
      const told = advice(text, "dev");
      assert.equal(told.length, 1);
      assert.match(told[0] ?? "", says);
    });

  it("leads to the recovery pages for what it does not know, and repeats no output", () => {
    const { message } = failure({ exitCode: 1, stdout: "", text: "error: canary", events: [] }, "up", "dev\u001b");
    assert.match(
      message,
      /^`pulumi up` of the stack dev\\u\{1b\} failed with exit code 1[^]*docs\/recovery\/README\.md$/,
    );
    assert.doesNotMatch(message, /canary/);
  });
});
