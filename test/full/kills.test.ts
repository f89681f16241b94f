import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import { parse } from "yaml";
import { packageCharts } from "../../local/charts/repository";
import { ensureCluster } from "../../local/cluster/cluster";
import { environment } from "../../local/engine";
import { startEngine, type Started, type TestEngine } from "../support/engine";
import { locks, recoverByThePages, standing, state, whole } from "../support/on-call";
import { helmsOf, settled } from "../support/processes";

const up = ["up", "--yes", "--skip-preview"];

/** A line of `up` about one resource: begun, or ended. */
const event = /(creating|created|updating|updated) \(/;

/** Every chart has another version to go to, of the same content, so that each upgrade has something to do. */
const versions: Readonly<Record<string, readonly [string, string]>> = {
  "ingress-nginx": ["4.15.1", "4.15.2"],
  "gitlab-workspaces-proxy": ["0.1.25", "0.1.26"],
  "gitlab-agent": ["2.26.0", "2.26.1"],
};

/** How long an `up` may go on whose API server is away before it comes back, in milliseconds. */
const patience = 20_000;

describe("Whenever something is killed, the pages in docs/recovery lead back", () => {
  let engine: TestEngine;
  let upgrades = 0;

  before(async () => {
    engine = await startEngine();
    const extraVersions = Object.fromEntries(Object.entries(versions).map(([name, [, other]]) => [name, [other]]));
    await packageCharts({ helm: engine.toolchain.helm, directory: engine.engine.charts, extraVersions });
  });

  after(async () => {
    await engine.stop();
  });

  /** Leaves nothing, so that the next `up` is a first one. */
  async function empty(): Promise<void> {
    const { exitCode, all } = await engine.pulumi(["destroy", "--yes", "--skip-preview"]);
    assert.equal(exitCode, 0, all);
  }

  /** Has the next `up` upgrade all three releases, and change the Secrets of two. */
  async function prepareUpgrade(): Promise<void> {
    await engine.up();
    upgrades += 1;
    const stack = parse(await readFile(engine.engine.stackConfig, "utf8")) as {
      config: { "gitlab-workspaces:charts": Record<string, object> };
    };
    const charts = Object.entries(stack.config["gitlab-workspaces:charts"]).map(([name, chart]) => {
      const version = versions[name]?.[upgrades % 2];
      return [name, version === undefined ? chart : { ...chart, version }] as const;
    });
    await engine.configure({ charts: Object.fromEntries(charts) });
    for (const key of ["oauthClientSecret", "agentToken-local"]) {
      await engine.setSecret(key, `secret-${randomBytes(8).toString("hex")}`);
    }
  }

  const situations = { "a first up": empty, "an upgrade": prepareUpgrade } as const;
  type Situation = keyof typeof situations;

  /** Does harm to an `up`, follows the pages, and expects the stack to be whole and nothing to be lost. */
  function leadsBack(what: string, situation: Situation, harm: (running: Started) => Promise<void>): void {
    it(`${what} of ${situation}`, async () => {
      await situations[situation]();
      const running = engine.start(up);
      await harm(running);
      const { exitCode } = await running.ended;
      await settled(engine.engine);
      const [left, key, begin] = [(await locks(engine)).length, await signingKey(), Date.now()];
      const pages = await recoverByThePages(engine);
      const seconds = Math.round((Date.now() - begin) / 1000);
      assert.deepEqual(await standing(engine), whole);
      if (key !== undefined) assert.equal(await signingKey(), key, "nobody is logged out");
      const told = pages.length > 0 ? pages.join(", ") : "up alone";
      console.log(`      exit ${String(exitCode)}, ${left} locks; ${told}; ${seconds} s`);
    });
  }

  /** The key that the program made, once the state has it. */
  async function signingKey(): Promise<string | undefined> {
    const found = ((await state(engine)).resources ?? []).find(({ urn }) => urn.endsWith("::signing-key"));
    return found && JSON.stringify(found.outputs);
  }

  const killEngine =
    (line: number) =>
    async (running: Started): Promise<void> => {
      await running.printed(event, line);
      running.kill("SIGKILL");
    };

  /** Ends the n-th helm of one of these verbs as soon as it is seen. */
  const killHelm =
    (nth: number, ...verbs: string[]) =>
    async (running: Started): Promise<void> => {
      const seen = new Set<number>();
      let over = false;
      void running.ended.then(() => (over = true));
      for (;;) {
        for (const { pid, line } of await helmsOf(engine.engine)) {
          if (!verbs.some((verb) => line.includes(` ${verb} `)) || seen.has(pid)) continue;
          seen.add(pid);
          if (seen.size === nth) {
            kill(pid);
            return;
          }
        }
        // eslint-disable-next-line @typescript-eslint/no-unnecessary-condition -- it changes while this waits
        if (over) throw new Error(`only ${seen.size} helms were seen`);
      }
    };

  /** Ends the helm that works on the n-th release whose record says that it is under way. */
  const killHelmAtWork =
    (nth: number, status: string) =>
    async (running: Started): Promise<void> => {
      const records = ["get", "secrets", "--all-namespaces", "--selector", `owner=helm,status=${status}`];
      const watch = execa(engine.toolchain.kubectl, [...records, "--watch-only", "--output", "name"], {
        env: environment(engine.engine, engine.toolchain),
        extendEnv: false,
        reject: false,
      });
      const seen = new Set<string>();
      let text = "";
      const found = new Promise<string>((resolve) =>
        watch.stdout?.on("data", (data: Buffer) => {
          text += data.toString();
          for (const [, release = ""] of text.matchAll(/sh\.helm\.release\.v1\.(\S+)\.v\d+\n/g)) {
            seen.add(release);
            if (seen.size === nth) resolve(release);
          }
        }),
      );
      const release = await Promise.race([found, running.ended]);
      watch.kill();
      if (typeof release !== "string") throw new Error(`only ${seen.size} releases were seen ${status}`);
      for (const { pid, line } of await helmsOf(engine.engine)) if (line.includes(` ${release} `)) kill(pid);
    };

  const killApiServer =
    (line: number) =>
    async (running: Started): Promise<void> => {
      await running.printed(event, line);
      const pid = await readFile(join(engine.engine.kwok, "clusters", "local", "pids", "kube-apiserver.pid"), "utf8");
      kill(Number(pid));
      let timer: NodeJS.Timeout | undefined;
      await Promise.race([running.ended, new Promise((resolve) => (timer = setTimeout(resolve, patience)))]);
      clearTimeout(timer);
      await ensureCluster(engine.engine, engine.toolchain);
    };

  /** It may have ended by itself in the moment before. */
  function kill(pid: number): void {
    try {
      process.kill(pid, "SIGKILL");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  }

  // A first `up` prints about fifty of these lines, an upgrade ten.
  for (const line of [1, 5, 9, 13, 17, 21, 25, 29, 33, 37, 41, 45]) {
    leadsBack(`engine, at line ${line}`, "a first up", killEngine(line));
  }
  for (const line of [1, 2, 3, 4, 5, 6, 7, 8]) leadsBack(`engine, at line ${line}`, "an upgrade", killEngine(line));

  for (const nth of [1, 2, 3, 4]) leadsBack(`helm, process ${nth}`, "a first up", killHelm(nth, "show", "install"));
  for (const nth of [1, 2, 3]) leadsBack(`helm, install ${nth}`, "a first up", killHelm(nth, "install"));
  for (const nth of [1, 2, 3]) {
    leadsBack(`helm, at work on release ${nth}`, "a first up", killHelmAtWork(nth, "pending-install"));
  }
  for (const nth of [1, 2, 3, 4]) leadsBack(`helm, process ${nth}`, "an upgrade", killHelm(nth, "show", "upgrade"));
  for (const nth of [1, 2, 3]) leadsBack(`helm, upgrade ${nth}`, "an upgrade", killHelm(nth, "upgrade"));
  for (const nth of [1, 2, 3]) {
    leadsBack(`helm, at work on release ${nth}`, "an upgrade", killHelmAtWork(nth, "pending-upgrade"));
  }

  for (const line of [4, 24, 40]) leadsBack(`API server, at line ${line}`, "a first up", killApiServer(line));
  for (const line of [2, 6]) leadsBack(`API server, at line ${line}`, "an upgrade", killApiServer(line));
});
