import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { stringify } from "yaml";
import { chartRepositoryUrl, stopChartRepository } from "../local/chart-repository";
import { type ClusterOptions, destroyCluster } from "../local/cluster/cluster";
import { environment, type LocalEngine, localEngine, pulumiDirectory } from "../local/engine";
import { prepare } from "../local/prepare";
import { progressTo } from "../local/progress";
import { project } from "../local/stack";
import type { Toolchain } from "../local/toolchain/toolchain";
import { charts } from "../src/charts";
import { clouds } from "../test/support/clouds";

/**
 * `npm run bench`: what the program costs beside its floor and beside the commands it replaces. Machines and days differ, so
 * each figure is a ratio of two things measured alternately in one run, of medians. Prints a table, then the same as JSON;
 * exit code 1 when a target is missed.
 */

/** One line of the table. */
interface Measured {
  readonly what: string;
  /** Of ours and of what it is compared with, in seconds, or in MiB. */
  readonly ours: number;
  readonly other?: number;
  readonly unit: "s" | "MiB";
  /** What the ratio, or our figure where there is nothing to compare with, may be at most. */
  readonly atMost: number;
}

const progress = progressTo();
const tsx = ["--import", "tsx"];

/** Seconds that a pod of the modelled cluster takes to become ready: pulling an image and starting takes about that. */
const podReadySeconds = 20;

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await work();
  return (performance.now() - begin) / 1000;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

/** Runs the two alternately, so that a slow minute of the machine hits both. */
async function alternately(
  rounds: number,
  ours: () => Promise<unknown>,
  other: () => Promise<unknown>,
): Promise<{ ours: number; other: number }> {
  const times: { ours: number[]; other: number[] } = { ours: [], other: [] };
  for (let round = 0; round < rounds; round += 1) {
    times.ours.push(await seconds(ours));
    times.other.push(await seconds(other));
  }
  return { ours: median(times.ours), other: median(times.other) };
}

async function withEngine<T>(
  { stack, ...options }: ClusterOptions & { readonly stack?: string },
  work: (engine: LocalEngine, toolchain: Toolchain) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "gitlab-workspaces-bench-"));
  const engine = localEngine({ folder, ...(stack === undefined ? {} : { stack }) });
  const toolchain = await prepare(engine, progress, options);
  try {
    return await work(engine, toolchain);
  } finally {
    await stopChartRepository(engine);
    await destroyCluster(engine, toolchain);
    await rm(engine.root, { recursive: true, force: true });
  }
}

function pulumi(
  engine: LocalEngine,
  toolchain: Toolchain,
  arguments_: readonly string[],
  { cwd = project, env = {} }: { readonly cwd?: string; readonly env?: Record<string, string> } = {},
) {
  return execa(join(pulumiDirectory(engine), "pulumi"), [...arguments_, "--non-interactive", "--color", "never"], {
    cwd,
    env: { ...environment(engine, toolchain), ...env },
    extendEnv: false,
  });
}

async function programStart(cloud: "self-managed" | keyof typeof clouds): Promise<Measured> {
  const run = (file: string) => execa(process.execPath, [...tsx, join(__dirname, file), cloud], { cwd: project });
  const times = await alternately(
    9,
    () => run("start-program.ts"),
    () => run("import-sdks.ts"),
  );
  return { what: `(a) program start / import of the same SDKs, ${cloud}`, ...times, unit: "s", atMost: 1.3 };
}

/** What a cloud takes, in seconds, a tenth of what it is in life; pods and the load balancer are waited for together. */
const modelled = { cluster: 30, nodePool: 12, pods: 2, loadBalancer: 6 };

/** What of each cloud takes its time, and what pods the platform waits for before its own. */
const slowTypes: Readonly<Record<keyof typeof clouds, Slow>> = {
  gke: { account: "gcp", cluster: "gcp:container/cluster:Cluster", nodePool: "gcp:container/nodePool:NodePool" },
  eks: { account: "aws", cluster: "aws:eks/cluster:Cluster" },
  aks: {
    account: "azure-native",
    cluster: "azure-native:containerservice:ManagedCluster",
    nodePool: "azure-native:containerservice:AgentPool",
  },
  civo: { account: "civo", cluster: "civo:index/kubernetesCluster:KubernetesCluster", autoscaler: true },
};

/** See {@link slowTypes}. */
interface Slow {
  readonly account: string;
  readonly cluster: string;
  /** Absent where nodes come with the cluster, or when there is something to run. */
  readonly nodePool?: string;
  readonly autoscaler?: boolean;
}

/** How much longer an `up` takes on a cloud that takes its time, beside the longest way through what waits for each other. */
async function criticalPath(cloud: keyof typeof clouds): Promise<Measured> {
  const slowest = slowTypes[cloud];
  const up = (options: ClusterOptions, latency: object): Promise<number> =>
    withEngine({ stack: cloud, ...options }, async (engine, toolchain) => {
      await mkdir(engine.account, { recursive: true });
      await writeFile(join(engine.account, `${slowest.account}-behaviour.json`), JSON.stringify({ latency }));
      return await seconds(() => pulumi(engine, toolchain, ["up", "--yes", "--skip-preview"]));
    });
  const { cluster, nodePool, pods, loadBalancer } = modelled;
  const slow = await up(
    { podReadySeconds: pods, loadBalancerSeconds: loadBalancer },
    {
      [slowest.cluster]: { create: cluster },
      ...(slowest.nodePool === undefined ? {} : { [slowest.nodePool]: { create: nodePool } }),
    },
  );
  const ours = slow - (await up({}, {}));
  const other =
    cluster +
    (slowest.nodePool === undefined ? 0 : nodePool) +
    (slowest.autoscaler === true ? pods : 0) +
    Math.max(pods, loadBalancer);
  return {
    what: `(f) what a cloud's time adds to up on ${cloud} / its critical path`,
    ours,
    other,
    unit: "s",
    atMost: 1.05,
  };
}

async function preview(engine: LocalEngine, toolchain: Toolchain): Promise<Measured> {
  // `stack init` writes into the project it runs in: a scratch copy, so that the working tree stays as it is.
  const scratch = join(engine.root, "empty-program");
  await mkdir(scratch);
  await writeFile(join(scratch, "Pulumi.yaml"), "name: empty-program\nruntime: nodejs\n");
  const env = { PULUMI_STACK: "empty", PULUMI_OPTION_CONFIG_FILE: join(scratch, "Pulumi.empty.yaml") };
  await pulumi(engine, toolchain, ["stack", "init", "empty"], { cwd: scratch, env });
  const empty = { cwd: join(__dirname, "empty-program"), env };
  const times = await alternately(
    5,
    () => pulumi(engine, toolchain, ["preview"]),
    () => pulumi(engine, toolchain, ["preview"], empty),
  );
  return { what: "(b) preview of the platform / of an empty program", ...times, unit: "s", atMost: 1.5 };
}

async function peakMemory(engine: LocalEngine, toolchain: Toolchain): Promise<Measured> {
  const file = join(engine.root, "peak-memory");
  await writeFile(file, "");
  const env = { NODE_OPTIONS: `--import ${join(__dirname, "peak-memory.mjs")}`, BENCH_PEAK_MEMORY: file };
  for (let round = 0; round < 3; round += 1) await pulumi(engine, toolchain, ["preview"], { env });
  const peaks = (await readFile(file, "utf8")).trim().split("\n").map(Number);
  return { what: "(d) peak memory of the program in a preview", ours: median(peaks) / 1024, unit: "MiB", atMost: 300 };
}

/** The tutorial's commands, one after another as a person runs them: https://docs.gitlab.com/user/workspace/set_up_gitlab_agent_and_proxies/ */
async function tutorial(engine: LocalEngine, toolchain: Toolchain): Promise<void> {
  const env = environment(engine, toolchain);
  const repository = await chartRepositoryUrl(engine);
  const run = (file: string, arguments_: readonly string[], input = "") =>
    execa(file, arguments_, { env, extendEnv: false, input });
  const helm = async (release: string, namespace: string, chart: keyof typeof charts, values: unknown) => {
    await run(
      toolchain.helm,
      [
        ...["upgrade", "--install", release, chart, "--repo", repository ?? "", "--version", charts[chart].version],
        ...["--namespace", namespace, "--create-namespace", "--wait", "--timeout", "10m", "--values", "-"],
      ],
      stringify(values),
    );
  };
  const apply = (object: unknown) => run(toolchain.kubectl, ["apply", "-f", "-"], stringify(object));

  await helm("ingress-nginx", "gitlab-ingress-controller", "ingress-nginx", {
    controller: { admissionWebhooks: { enabled: false } },
  });
  await apply({ apiVersion: "v1", kind: "Namespace", metadata: { name: "gitlab-workspaces" } });
  const stringData = Object.fromEntries(
    ["client_id", "client_secret", "host", "redirect_uri", "signing_key"].map((key) => [`auth.${key}`, "x"]),
  );
  await apply({
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: "gitlab-workspaces-proxy-config", namespace: "gitlab-workspaces" },
    stringData: { ...stringData, "ssh.host_key": "x" },
  });
  await helm("gitlab-workspaces-proxy", "gitlab-workspaces", "gitlab-workspaces-proxy", {
    ingress: {
      enabled: true,
      className: "nginx",
      hosts: [{ host: "w.example.test", paths: [{ path: "/", pathType: "Prefix" }] }],
      tls: [{ secretName: "gitlab-workspace-proxy-tls", hosts: ["w.example.test"] }],
    },
  });
  await helm("gitlab-agent-local", "gitlab-agent-local", "gitlab-agent", {
    config: { kasAddress: "wss://kas.gitlab.com", token: "x" },
  });
}

async function platformUp(): Promise<Measured> {
  const options = { podReadySeconds };
  const ours = await withEngine(options, (engine, toolchain) =>
    seconds(() => pulumi(engine, toolchain, ["up", "--yes", "--skip-preview"])),
  );
  const other = await withEngine(options, (engine, toolchain) => seconds(() => tutorial(engine, toolchain)));
  return {
    what: `(c) up / the tutorial's commands, pods ready after ${podReadySeconds} s`,
    ours,
    other,
    unit: "s",
    atMost: 0.6,
  };
}

async function warmStart(engine: LocalEngine, toolchain: Toolchain): Promise<Measured> {
  const start = () =>
    execa("npm", ["start"], { cwd: project, env: { GITLAB_WORKSPACES_HOME: engine.root }, stdin: "ignore" });
  await start();
  const times = await alternately(5, start, () => pulumi(engine, toolchain, ["up", "--yes", "--skip-preview"]));
  return { what: "(e) warm npm start / the engine's own up", ...times, unit: "s", atMost: 2 };
}

function report(lines: readonly Measured[]): boolean {
  const rows = lines.map(({ what, ours, other, unit, atMost }) => {
    const compared = other === undefined ? ours : ours / other;
    return { what, ours, other, unit, compared, atMost, met: compared <= atMost };
  });
  const figure = (value: number | undefined, digits = 2): string => (value === undefined ? "-" : value.toFixed(digits));
  const table = [
    ["", "ours", "other", "unit", "ratio", "at most", "met"],
    ...rows.map((row) => [
      row.what,
      figure(row.ours),
      figure(row.other),
      row.unit,
      row.other === undefined ? "-" : figure(row.compared),
      String(row.atMost),
      row.met ? "yes" : "NO",
    ]),
  ];
  const widths = (table[0] ?? []).map((_, column) => Math.max(...table.map((row) => (row[column] ?? "").length)));
  for (const row of table) console.log(row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  "));
  console.log(`\n${JSON.stringify(rows)}`);
  return rows.every(({ met }) => met);
}

async function main(): Promise<void> {
  const starts: Measured[] = [];
  for (const cloud of ["self-managed", ...(Object.keys(clouds) as (keyof typeof clouds)[])] as const)
    starts.push(await progress.step(`(a) program start, ${cloud}`, () => programStart(cloud)));
  const { previewed, memory, warm } = await withEngine({}, async (engine, toolchain) => ({
    previewed: await progress.step("(b) preview", () => preview(engine, toolchain)),
    memory: await progress.step("(d) peak memory", () => peakMemory(engine, toolchain)),
    warm: await progress.step("(e) warm start", () => warmStart(engine, toolchain)),
  }));
  const up = await progress.step("(c) up beside the tutorial", platformUp);
  const paths: Measured[] = [];
  for (const cloud of Object.keys(clouds) as (keyof typeof clouds)[])
    paths.push(await progress.step(`(f) critical path on ${cloud}`, () => criticalPath(cloud)));
  if (!report([...starts, previewed, up, memory, warm, ...paths])) process.exitCode = 1;
}

void main();
