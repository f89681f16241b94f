import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import { environment } from "../../local/engine";
import type { Ended, TestEngine } from "./engine";
import { brokenReferences } from "./live-references";
import { follow, section } from "./recovery-pages";

/** A release as `helm list --output json` tells it. */
export interface HelmRelease {
  readonly name: string;
  readonly namespace: string;
  readonly revision: string;
  readonly status: string;
}

/** Everything that has to be right before one goes back to bed. */
export interface Standing {
  /** What the next `up` would still change. */
  readonly changes: readonly string[];
  readonly broken: readonly string[];
  /** `namespace/name status` of every release. */
  readonly releases: readonly string[];
  /** Every namespace but Kubernetes' own. */
  readonly namespaces: readonly string[];
  readonly locks: readonly string[];
  readonly pendingOperations: readonly string[];
}

/** How the stack of `stacks/Pulumi.local.yaml` stands when nothing is wrong with it. */
export const whole: Standing = {
  changes: [],
  broken: [],
  releases: [
    "gitlab-agent-local/gitlab-agent-local deployed",
    "gitlab-ingress-controller/ingress-nginx deployed",
    "gitlab-workspaces/gitlab-workspaces-proxy deployed",
  ],
  namespaces: ["gitlab-agent-local", "gitlab-ingress-controller", "gitlab-workspaces"],
  locks: [],
  pendingOperations: [],
};

/** Finds out how a stack stands; runs `up` once. */
export async function standing(engine: TestEngine): Promise<Standing> {
  const changes = (await engine.up()).map(({ op, name }) => `${op} ${name}`);
  const namespaces = await engine.get<{ metadata: { name: string } }[]>("namespaces");
  return {
    changes,
    broken: await brokenReferences(engine),
    releases: (await releases(engine)).map(({ name, namespace, status }) => `${namespace}/${name} ${status}`).sort(),
    namespaces: namespaces.map(({ metadata }) => metadata.name).filter((name) => !/^(default|kube-.*)$/.test(name)),
    locks: await locks(engine),
    pendingOperations: ((await state(engine)).pending_operations ?? []).map(
      ({ type, resource }) => `${type} ${resource.urn}`,
    ),
  };
}

/** What `pulumi stack export` tells of a stack. */
interface State {
  readonly resources?: readonly { readonly urn: string; readonly type: string; readonly outputs?: object }[];
  readonly pending_operations?: readonly { readonly type: string; readonly resource: { readonly urn: string } }[];
}

/** The stack's state, secrets in plain. */
export async function state(engine: TestEngine): Promise<State> {
  const { exitCode, stdout, all } = await engine.pulumi(["stack", "export", "--show-secrets"]);
  if (exitCode !== 0) throw new Error(all);
  return (JSON.parse(stdout) as { deployment: State }).deployment;
}

/** Every release in whatever status; `filters` are further flags of `helm list`. */
export async function releases(engine: TestEngine, ...filters: readonly string[]): Promise<HelmRelease[]> {
  const listed = await helm(
    engine,
    "list",
    "--all-namespaces",
    ...(filters.length > 0 ? filters : ["--all"]),
    "--output",
    "json",
  );
  return JSON.parse(listed) as HelmRelease[];
}

/** Runs helm on the engine's cluster and returns what it printed. @throws when it fails. */
export async function helm(engine: TestEngine, ...arguments_: readonly string[]): Promise<string> {
  const { stdout } = await execa(engine.toolchain.helm, arguments_, {
    env: environment(engine.engine, engine.toolchain),
    extendEnv: false,
  });
  return stdout;
}

/** Names of the lock files of the engine's stack. */
export async function locks({ engine }: TestEngine): Promise<string[]> {
  const folder = join(engine.state, ".pulumi", "locks", "organization", "gitlab-workspaces", engine.stack);
  return (await readdir(folder).catch(() => [])).filter((file) => file.endsWith(".json"));
}

/** The process that the lock's message names. */
export function lockOwner(printed: string): string {
  const [, pid] = /created by \S+ \(pid (\d+)\) at/.exec(printed) ?? [];
  if (pid === undefined) throw new Error(`no lock is named in:\n${printed}`);
  return pid;
}

/** How the program calls the releases that Helm calls otherwise. */
const releaseNames: Readonly<Record<string, string>> = { "gitlab-workspaces-proxy": "workspaces-proxy" };

/** What `up` prints about a release or an object that stands in its way. */
const inTheWay = /Release \((?<release>\S+)\):\s+error: cannot re-use a name that is still in use/g;
const objectInTheWay =
  /error: resource "(?<object>[^"]+)" was not successfully created[^\n]*: (?<kind>[a-z.]+[a-z0-9.]*) "[^"]+" already exists/g;

/** Heals every release that Helm holds for under way, as `helm-release-pending.md` says for its status. */
export async function healReleases(engine: TestEngine): Promise<string[]> {
  const stuck = await releases(engine, "--pending", "--uninstalling");
  for (const { name, namespace, status } of stuck) {
    const heading =
      status.startsWith("pending-") && status !== "pending-install" ? "pending-upgrade, pending-rollback" : status;
    await succeed(engine, "helm-release-pending.md", heading, { release: name, namespace });
  }
  return stuck.map(({ name, status }) => `${name} ${status}`);
}

async function succeed(
  engine: TestEngine,
  page: string,
  heading: string,
  values: Readonly<Record<string, string>> = {},
): Promise<Ended> {
  const ended = await follow(engine, section(page, heading), values);
  if (ended.exitCode !== 0) throw new Error(`docs/recovery/${page}, "${heading}", failed:\n${ended.all}`);
  return ended;
}

/**
 * Does what somebody on call does: runs `up`, and follows the page for what it prints, until it goes through.
 * @returns the pages that were needed.
 * @throws when a page fails, when there is none for what was printed, and when it takes more than eight turns.
 */
export async function recoverByThePages(engine: TestEngine): Promise<string[]> {
  const pages: string[] = [];
  let ended = await engine.pulumi(["up", "--yes", "--skip-preview"]);
  for (let turn = 1; ended.exitCode !== 0; turn++) {
    if (turn > 8) throw new Error(`the pages lead in a circle (${pages.join(", ")}):\n${ended.all}`);
    const { all } = ended;
    if (all.includes("the stack is currently locked")) {
      pages.push("lock");
      await succeed(engine, "engine-killed.md", "1. Make sure that nobody is at work, and unlock", {
        pid: lockOwner(all),
      });
      pages.push(...(await healReleases(engine)));
      ended = await follow(engine, section("engine-killed.md", "3. Go on"));
    } else if (all.includes("another operation (install/upgrade/rollback) is in progress")) {
      pages.push(...(await healReleases(engine)));
      ended = await follow(engine, section("helm-release-pending.md", "Then"));
    } else if (/cannot re-use a name that is still in use|already exists/.test(all)) {
      const found = [
        ...[...all.matchAll(inTheWay)].map(({ groups }) => `release ${groups?.["release"] ?? ""}`),
        ...[...all.matchAll(objectInTheWay)].map(
          ({ groups }) => `${groups?.["kind"] ?? ""} ${groups?.["object"] ?? ""}`,
        ),
      ];
      pages.push(...[...new Set(found)].map((thing) => `${thing} in the way`));
      // Which of them never came to an end, only Helm knows.
      for (const { name, namespace, revision } of await releases(engine, "--failed")) {
        if (revision !== "1" || !found.includes(`release ${releaseNames[name] ?? name}`)) continue;
        await succeed(engine, "helm-release-pending.md", "pending-install", { release: name, namespace });
      }
      ended = await follow(engine, section("engine-killed.md", "When something is in the way"));
    } else if (/does not answer|unreachable/.test(all)) {
      pages.push("api server");
      pages.push(...(await healReleases(engine)));
      ended = await follow(engine, section("api-server-gone.md", "Half-way"));
    } else {
      throw new Error(`no page speaks of this:\n${all}`);
    }
  }
  // What an interrupted run left unsaid goes only with a refresh; every page ends with one but this shortest way.
  if (((await state(engine)).pending_operations ?? []).length > 0) {
    pages.push("pending operations");
    await succeed(engine, "engine-killed.md", "3. Go on");
  }
  return pages;
}
