import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, readdir, rename, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import { join, relative, sep } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** What {@link packageCharts} needs to know. */
export interface PackageOptions {
  /** Path of the helm binary. */
  readonly helm: string;
  /** Directory the packages and their index go to. It is made if missing and belongs to the repository alone. */
  readonly directory: string;
  /** Further versions of single charts, with the same content, for tests that upgrade one chart. */
  readonly extraVersions?: Readonly<Record<string, readonly string[]>>;
}

/** A running chart repository. */
export interface ChartServer {
  /** Port on 127.0.0.1 that it listens on. */
  readonly port: number;
  /** Ends it, and every connection to it. */
  close(): Promise<void>;
}

/** One chart of this directory. */
interface SourceChart {
  readonly name: string;
  readonly path: string;
}

/** Holds the fingerprint of what the repository was packaged from. */
const stampFile = "charts.sha256";
const indexFile = "index.yaml";

/**
 * Packages the stand-in charts beside this file as an ordinary Helm repository. Does nothing when the directory already
 * holds packages of the same content. A reader sees either the old index or the new one, each with all its packages.
 * @throws Error when helm refuses a chart, or `extraVersions` names one that does not exist.
 */
export async function packageCharts(options: PackageOptions): Promise<void> {
  const charts = await sourceCharts();
  const extraVersions = Object.entries(options.extraVersions ?? {}).sort(([a], [b]) => a.localeCompare(b));
  for (const [name] of extraVersions) {
    if (!charts.some((chart) => chart.name === name)) throw new Error(`there is no stand-in chart named ${name}`);
  }
  const fingerprint = await fingerprintOf(charts, extraVersions);
  await mkdir(options.directory, { recursive: true });
  if (await isCurrent(options.directory, fingerprint)) return;

  // Inside the target directory, so that every rename below stays on one file system.
  const work = await mkdtemp(join(options.directory, ".packaging-"));
  try {
    const packages = join(work, "packages");
    await mkdir(packages);
    for (const { name, path } of charts) {
      const more = options.extraVersions?.[name] ?? [];
      await helm(options.helm, work, ["package", path, "--destination", packages]);
      for (const version of more) {
        await helm(options.helm, work, ["package", path, "--version", version, "--destination", packages]);
      }
    }
    await helm(options.helm, work, ["repo", "index", packages]);

    await rm(join(options.directory, stampFile), { force: true });
    const fresh = await readdir(packages);
    for (const name of fresh.filter((file) => file !== indexFile)) {
      await rename(join(packages, name), join(options.directory, name));
    }
    await rename(join(packages, indexFile), join(options.directory, indexFile));
    for (const name of await readdir(options.directory)) {
      if (name.endsWith(".tgz") && !fresh.includes(name)) await rm(join(options.directory, name), { force: true });
    }
    await writeFile(join(work, stampFile), fingerprint);
    await rename(join(work, stampFile), join(options.directory, stampFile));
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/**
 * Serves a packaged repository on 127.0.0.1.
 * @param options `port` 0 takes any free port.
 * @throws Error when the port is taken.
 */
export async function serveCharts(options: { directory: string; port: number }): Promise<ChartServer> {
  const server = createServer((request, response) => {
    void answer(options.directory, request, response);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port, "127.0.0.1", resolve);
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the chart repository listens on no port");
  return {
    port: address.port,
    close: () =>
      new Promise<void>((resolve, reject) => {
        server.close((error) => {
          if (error) reject(error);
          else resolve();
        });
        server.closeAllConnections();
      }),
  };
}

async function sourceCharts(): Promise<readonly SourceChart[]> {
  const entries = await readdir(__dirname, { withFileTypes: true });
  return entries
    .filter((entry) => entry.isDirectory())
    .map((entry) => ({ name: entry.name, path: join(__dirname, entry.name) }))
    .sort((a, b) => a.name.localeCompare(b.name));
}

async function fingerprintOf(
  charts: readonly SourceChart[],
  extraVersions: readonly (readonly [string, readonly string[]])[],
): Promise<string> {
  const hash = createHash("sha256").update(JSON.stringify(extraVersions));
  for (const chart of charts) {
    const entries = await readdir(chart.path, { recursive: true, withFileTypes: true });
    const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
    for (const file of files.sort()) {
      const content = await readFile(file);
      const name = relative(__dirname, file).split(sep).join("/");
      hash.update(`\n${name} ${content.length}\n`).update(content);
    }
  }
  return hash.digest("hex");
}

async function isCurrent(directory: string, fingerprint: string): Promise<boolean> {
  const stamp = await readFile(join(directory, stampFile), "utf8").catch(() => "");
  if (stamp !== fingerprint) return false;
  const index = await readFile(join(directory, indexFile), "utf8").catch(() => "");
  const packages = [...index.matchAll(/^\s*- (\S+\.tgz)$/gm)].map(([, name]) => name);
  const present = await readdir(directory);
  return packages.length > 0 && packages.every((name) => name !== undefined && present.includes(name));
}

/** Runs helm with a home of its own: neither the user's repositories nor their plugins play a part. */
async function helm(binary: string, work: string, args: readonly string[]): Promise<void> {
  const home = join(work, "helm");
  const environment = { HOME: home, HELM_CACHE_HOME: home, HELM_CONFIG_HOME: home, HELM_DATA_HOME: home };
  await run(binary, [...args], { env: { PATH: process.env["PATH"] ?? "", ...environment } });
}

/** The repository is flat, so only a plain file name can be asked for, and only an index or a package. */
const servable = /^\/(index\.yaml|[A-Za-z0-9][A-Za-z0-9._+-]*\.tgz)$/;

async function answer(directory: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method !== "GET" && request.method !== "HEAD") {
    response.writeHead(405, { allow: "GET, HEAD" }).end();
    return;
  }
  const [path = ""] = (request.url ?? "").split("?");
  const name = servable.exec(path)?.[1];
  const content = name === undefined ? undefined : await readFile(join(directory, name)).catch(() => undefined);
  if (name === undefined || content === undefined) {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, {
    "content-type": name === indexFile ? "application/yaml" : "application/gzip",
    "content-length": content.length,
    "cache-control": "no-store",
  });
  response.end(request.method === "HEAD" ? undefined : content);
}
