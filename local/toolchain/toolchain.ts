import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { chmod, cp, mkdir, mkdtemp, readdir, readFile, rename, rm, statfs, symlink } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { execa } from "execa";
import { fromEnvironment } from "../environment";
import { Failure } from "../failure";
import { interruption } from "../interruption";
import { withLock } from "../lock";
import type { Progress } from "../progress";

/** The tools of the local engine, ready to run. */
export interface Toolchain {
  /** The Pulumi CLI, with the engine inside. */
  readonly pulumi: string;
  readonly helm: string;
  readonly kubectl: string;
  readonly kwokctl: string;
  readonly kwok: string;
  readonly etcd: string;
  readonly apiserver: string;
  readonly controllerManager: string;
  readonly scheduler: string;
  /** Directory of kwok's own stage files: how simulated nodes and pods behave. */
  readonly stages: string;
}

/** Exact versions of what gets built, as their Go modules pin them. */
export const versions = {
  pulumi: "3.259.0",
  kubernetes: "1.36.4",
  etcd: "3.6.14",
  kwok: "0.8.0",
  helm: "3.20.2",
} as const;

/** The oldest Go that builds all of it: https://github.com/kubernetes-sigs/kwok/blob/v0.8.0/go.mod */
export const oldestGo = "1.26.0";

/** Free space that a build needs, Go's module and build caches included: of everything, and of one part. */
const neededGiB = { everything: 12, onePart: 6 } as const;

/** One Go module under `local/toolchain`, and the binaries it is built for. */
interface Part {
  readonly name: keyof typeof versions;
  /** Package path -> name of the binary. */
  readonly binaries: Readonly<Record<string, string>>;
  /** `-X` settings: without them the tools do not know their own version, and refuse to work together. */
  readonly stamps: Readonly<Record<string, string>>;
  /** Names the first binary goes by: it acts as the tool it is called as. */
  readonly links?: readonly string[];
}

const kubernetesStamp = {
  gitVersion: `v${versions.kubernetes}`,
  gitMajor: "1",
  gitMinor: versions.kubernetes.split(".")[1] ?? "",
  gitTreeState: "clean",
  gitCommit: "unknown",
  buildDate: "2026-01-01T00:00:00Z",
};

const parts: readonly Part[] = [
  { name: "etcd", binaries: { "go.etcd.io/etcd/server/v3": "etcd" }, stamps: {} },
  {
    name: "kwok",
    binaries: { "sigs.k8s.io/kwok/cmd/kwok": "kwok", "sigs.k8s.io/kwok/cmd/kwokctl": "kwokctl" },
    stamps: {},
  },
  {
    name: "helm",
    binaries: { "helm.sh/helm/v3/cmd/helm": "helm" },
    stamps: { "helm.sh/helm/v3/internal/version.version": `v${versions.helm}` },
  },
  {
    name: "kubernetes",
    binaries: { ".": "kubernetes" },
    stamps: Object.fromEntries(
      ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"].flatMap((path) =>
        Object.entries(kubernetesStamp).map(([key, value]) => [`${path}.${key}`, value]),
      ),
    ),
    links: ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl"],
  },
  {
    name: "pulumi",
    binaries: { "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi": "pulumi" },
    stamps: { "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version": `v${versions.pulumi}` },
  },
];

/** Where built tools are kept between runs: `$XDG_CACHE_HOME/gitlab-workspaces/toolchain`. */
export function toolchainCache(): string {
  return join(fromEnvironment("XDG_CACHE_HOME") ?? join(homedir(), ".cache"), "gitlab-workspaces", "toolchain");
}

/** The parts that a run would have to build now, by name and version. Empty when all are cached. */
export async function missingParts(cache = toolchainCache(), wanted = parts): Promise<string[]> {
  const missing: string[] = [];
  for (const part of wanted) {
    if (!existsSync(await partDirectory(cache, part))) missing.push(`${part.name} ${versions[part.name]}`);
  }
  return missing;
}

/**
 * Returns the tools, building those that are not in the cache yet: about 20 minutes for all of them on two cores, then
 * seconds. A part appears in the cache only when it is whole, so an interrupted build loses that part at most; two
 * processes that need the same tools wait for one another.
 * @throws Failure when Go is missing or too old, when space is short, or when a build fails, with what to do.
 */
export async function ensureToolchain(progress: Progress, cache = toolchainCache()): Promise<Toolchain> {
  const directories = await ensureParts(parts, progress, cache);
  const path = (part: keyof typeof versions, file: string): string => join(directories[part] ?? "", file);
  return {
    pulumi: path("pulumi", "pulumi"),
    helm: path("helm", "helm"),
    kubectl: path("kubernetes", "kubectl"),
    apiserver: path("kubernetes", "kube-apiserver"),
    controllerManager: path("kubernetes", "kube-controller-manager"),
    scheduler: path("kubernetes", "kube-scheduler"),
    kwokctl: path("kwok", "kwokctl"),
    kwok: path("kwok", "kwok"),
    stages: path("kwok", "stages"),
    etcd: path("etcd", "etcd"),
  };
}

/**
 * Returns the Pulumi CLI alone, the one tool that a preview needs.
 * @throws Failure as {@link ensureToolchain} does.
 */
export async function ensurePulumiCli(progress: Progress, cache = toolchainCache()): Promise<Toolchain["pulumi"]> {
  const { pulumi = "" } = await ensureParts(
    parts.filter(({ name }) => name === "pulumi"),
    progress,
    cache,
  );
  return join(pulumi, "pulumi");
}

/** Builds those of the parts that are missing, and returns the directory of each. */
async function ensureParts(
  wanted: readonly Part[],
  progress: Progress,
  cache: string,
): Promise<Readonly<Partial<Record<string, string>>>> {
  if ((await missingParts(cache, wanted)).length > 0) {
    await mkdir(cache, { recursive: true });
    await withLock(cache, progress, async () => {
      const missing = await missingParts(cache, wanted);
      if (missing.length === 0) return;
      await requireGo();
      await requireSpace(cache, missing.length === 1 ? neededGiB.onePart : neededGiB.everything);
      await sweep(cache);
      for (const part of wanted) {
        const directory = await partDirectory(cache, part);
        if (!existsSync(directory)) await build(part, directory, cache, progress);
      }
    });
  }
  return Object.fromEntries(
    await Promise.all(wanted.map(async (part) => [part.name, await partDirectory(cache, part)] as const)),
  );
}

/** Named by everything that decides what comes out of the build, so a changed pin is a new directory. */
async function partDirectory(cache: string, part: Part): Promise<string> {
  const hash = createHash("sha256").update(JSON.stringify([part, process.platform, process.arch]));
  const source = join(__dirname, part.name);
  for (const file of (await readdir(source)).sort()) hash.update(await readFile(join(source, file)));
  return join(cache, `${part.name}-${versions[part.name]}-${hash.digest("hex").slice(0, 12)}`);
}

async function build(part: Part, directory: string, cache: string, progress: Progress): Promise<void> {
  const source = join(__dirname, part.name);
  const output = await mkdtemp(join(cache, "unfinished-"));
  const stamps = Object.entries(part.stamps).map(([name, value]) => `-X ${name}=${value}`);
  const arguments_ = ["build", "-v", "-trimpath", "-ldflags", ["-s -w", ...stamps].join(" ")];
  await progress.step(`build ${part.name} ${versions[part.name]}`, async (detail) => {
    for (const [package_, binary] of Object.entries(part.binaries)) {
      await go([...arguments_, "-o", join(output, binary), package_], source, part.name, detail);
    }
    for (const link of part.links ?? []) await symlink(Object.values(part.binaries)[0] ?? "", join(output, link));
    if (part.name === "kwok") await copyStages(source, join(output, "stages"));
    await rename(output, directory);
  });
}

async function go(
  arguments_: string[],
  cwd: string,
  part: string,
  detail: (text: string) => void,
): Promise<{ stdout: string }> {
  const child = execa("go", arguments_, {
    cwd,
    env: { GOTOOLCHAIN: "local", CGO_ENABLED: "0", GOFLAGS: "-mod=readonly -buildvcs=false", GOWORK: "off" },
    reject: false,
  });
  const end = (): void => void child.kill();
  if (interruption.signal.aborted) end();
  interruption.signal.addEventListener("abort", end);
  const lines: string[] = [];
  let downloaded = 0;
  let compiled = 0;
  for await (const line of createInterface({ input: child.stderr ?? Readable.from([]) })) {
    if (line.startsWith("go: downloading ")) downloaded += 1;
    else if (/^[\w.-]+(\/[\w.@~+-]+)*$/.test(line)) compiled += 1;
    else lines.push(line);
    detail(`${downloaded} modules downloaded, ${compiled} packages compiled`);
  }
  const result = await child;
  interruption.signal.removeEventListener("abort", end);
  if (result.failed) {
    const said = lines.slice(-8).join("\n");
    throw new Failure(
      `Building ${part} failed (go exited with ${result.exitCode}):\n${said}\n` +
        "If the lines above speak of a connection: the first build needs a Go module proxy (see `go env GOPROXY`).\n" +
        "What was built so far is kept. Try again with: npm start",
    );
  }
  return { stdout: result.stdout };
}

/** kwok's stock stage files are in its module, and go with the binary so that the module cache may be emptied. */
async function copyStages(source: string, destination: string): Promise<void> {
  const { stdout } = await go(["list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kwok"], source, "kwok", () => undefined);
  await cp(join(stdout.trim(), "kustomize", "stage"), destination, { recursive: true });
  // Files of the module cache are read-only, which would keep an owner from removing the copy.
  for (const entry of await readdir(destination, { recursive: true, withFileTypes: true })) {
    await chmod(join(entry.parentPath, entry.name), entry.isDirectory() ? 0o755 : 0o644);
  }
}

async function requireGo(): Promise<void> {
  const { stdout, failed } = await execa("go", ["env", "GOVERSION"], { reject: false, env: { GOTOOLCHAIN: "local" } });
  const remedy = `Install Go ${oldestGo} or later from https://go.dev/dl/, put it on PATH, then: npm start`;
  const building = "The local engine builds its tools once, with Go";
  if (failed) throw new Failure(`Go is not on PATH. ${building}.\n${remedy}`);
  const found = /^go(\d+)\.(\d+)/.exec(stdout);
  const [major = 0, minor = 0] = found?.slice(1).map(Number) ?? [];
  const [needMajor = 0, needMinor = 0] = oldestGo.split(".").map(Number);
  if (major > needMajor || (major === needMajor && minor >= needMinor)) return;
  throw new Failure(`Go on PATH is ${stdout}; ${oldestGo} or later is needed. ${building}.\n${remedy}`);
}

async function requireSpace(cache: string, needed: number): Promise<void> {
  const { bavail, bsize } = await statfs(cache);
  const free = (bavail * bsize) / 2 ** 30;
  if (free >= needed) return;
  throw new Failure(
    `${cache} has ${free.toFixed(1)} GiB free; building the tools needs about ${needed} GiB, Go's caches included.\n` +
      "Free some space, or put the cache elsewhere: XDG_CACHE_HOME=/somewhere/large npm start",
  );
}

/** Removes what interrupted builds left; only called while holding the lock. */
async function sweep(cache: string): Promise<void> {
  for (const name of await readdir(cache)) {
    if (name.startsWith("unfinished-")) await rm(join(cache, name), { recursive: true, force: true });
  }
}
