import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { execa } from "execa";
import { parse, parseAllDocuments, stringify } from "yaml";
import { type LocalEngine, npm } from "../engine";
import { Failure } from "../failure";
import { withLock } from "../lock";
import { allEnded, commandLine, isEnding } from "../processes";
import type { Toolchain } from "../toolchain/toolchain";
import { writeWhole } from "../whole-file";

/** kwok's name of the one cluster below an engine's root. */
const name = "local";

/** Number of simulated nodes. */
const nodes = 3;

/** How a new cluster behaves. */
export interface ClusterOptions {
  /** Seconds from a pod's scheduling until it is ready; at once when absent. */
  readonly podReadySeconds?: number;
  /** Seconds until the load balancer of a Service has an address; at once when absent. */
  readonly loadBalancerSeconds?: number;
  /** Whether a new cluster has no StorageClass, because a cloud is to bring its own. */
  readonly withoutStorageClass?: boolean;
}

/** What `status` says of the cluster. */
export type ClusterState = "absent" | "stopped" | "running";

/**
 * Returns when the engine's Kubernetes API answers, its nodes are registered and its default StorageClass is there,
 * unless it is to have none: a real API server, etcd, controller manager and scheduler, with nodes and pods played by kwok. Starts the cluster again
 * when it was stopped, or what of it has ended; makes it when there is none. Every listener is on 127.0.0.1.
 * @throws Failure with kwokctl's last lines when the control plane does not come up.
 */
export async function ensureCluster(
  engine: LocalEngine,
  toolchain: Toolchain,
  options: ClusterOptions = {},
): Promise<void> {
  const state = await clusterState(engine, toolchain);
  if (state === "absent") await alone(() => create(engine, toolchain, options));
  if (state === "stopped") await alone(() => start(engine, toolchain));
  if (state === "running") await startMissing(engine, toolchain);
  await writeKubeconfig(engine, toolchain);
  const furnished = join(engine.kwok, "furnished");
  if (!existsSync(furnished)) {
    if (options.withoutStorageClass !== true)
      await kubectl(engine, toolchain, ["apply", "-f", join(__dirname, "storage-class.yaml")]);
    await kwokctl(engine, toolchain, ["scale", "node", "--replicas", String(nodes)]);
    // The default namespace's account appears last of what a new cluster needs before the first pod can be made.
    await waitFor("the cluster's default ServiceAccount", async () => {
      await kubectl(engine, toolchain, ["get", "serviceaccount", "default", "--namespace", "default"]);
    });
    await writeFile(furnished, "");
  }
}

/** Whether the engine's cluster exists and answers. */
export async function clusterState(engine: LocalEngine, toolchain: Toolchain): Promise<ClusterState> {
  if (!existsSync(join(directory(engine), "kwok.yaml"))) return "absent";
  const probe = await run(engine, toolchain, toolchain.kwokctl, ["--name", name, "kubectl", "get", "--raw", "/readyz"]);
  return probe.failed ? "stopped" : "running";
}

/**
 * Ends the cluster's processes and keeps its data, so that the next start brings back the same cluster. Returns when its
 * ports are free.
 */
export async function stopCluster(engine: LocalEngine, toolchain: Toolchain): Promise<void> {
  if ((await clusterState(engine, toolchain)) === "absent") return;
  await endProcesses(engine, toolchain);
}

/** Ends the cluster's processes and removes its data. Nothing to do is not an error. */
export async function destroyCluster(engine: LocalEngine, toolchain: Toolchain): Promise<void> {
  if ((await clusterState(engine, toolchain)) === "absent") return;
  await endProcesses(engine, toolchain);
  await kwokctl(engine, toolchain, ["delete", "cluster"]);
}

/** kwokctl looks for free ports, and only much later does anybody listen there: two at once would choose the same. */
const alone = (work: () => Promise<void>): Promise<void> =>
  // Each takes seconds, and none may take longer than the limit of `run`.
  withLock("the ports of local clusters", { say: () => undefined }, work);

const directory = (engine: LocalEngine): string => join(engine.kwok, "clusters", name);

/** Starts a stopped cluster. Its ports were chosen when it was made; somebody else may have them by now. */
async function start(engine: LocalEngine, toolchain: Toolchain): Promise<void> {
  // What still runs of a cluster that does not answer would hold the ports itself.
  await endProcesses(engine, toolchain);
  const settings = await readFile(join(directory(engine), "kwok.yaml"), "utf8");
  const ports = [...settings.matchAll(/^ {2}(\w+)Port: (\d+)$/gm)].map(([, of = "", port]) => ({
    of,
    port: Number(port),
  }));
  for (const { of, port } of ports) {
    if (await isFree(port)) continue;
    throw new Failure(
      `Port ${port} on 127.0.0.1, which the local cluster's ${of} had, is taken by another process.\n` +
        `End that process (ss -ltnp 'sport = :${port}' names it), or begin with a new cluster: ${npm(engine, "destroy")} && ${npm(engine, "start")}`,
    );
  }
  await kwokctlStart(engine, toolchain);
}

/** Starts what has ended of a cluster whose API server answers: without the rest of it no pod comes. */
async function startMissing(engine: LocalEngine, toolchain: Toolchain): Promise<void> {
  const { own, ending } = await forgetForeignProcesses(engine);
  const settings = await readFile(join(directory(engine), "kwok.yaml"), "utf8");
  if (own.length === [...settings.matchAll(/^ {2}binary: /gm)].length) return;
  await allEnded(ending, (pid) => isOwn(engine, pid));
  await kwokctlStart(engine, toolchain);
}

async function kwokctlStart(engine: LocalEngine, toolchain: Toolchain): Promise<void> {
  await kwokctl(engine, toolchain, ["start", "cluster", "--wait", "60s"]);
  await refuseSilent(engine, toolchain);
}

/** kwokctl's exit code tells nothing of what it waited for. */
async function refuseSilent(engine: LocalEngine, toolchain: Toolchain): Promise<void> {
  if ((await clusterState(engine, toolchain)) === "running") return;
  throw new Failure(
    `The local cluster was started and does not answer. Its logs are in ${join(directory(engine), "logs")}.\n` +
      "To try again: npm start\n" +
      "To begin again with an empty cluster: npm run destroy && npm start",
  );
}

async function isFree(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const probe = createServer()
      .once("error", () => {
        resolve(false);
      })
      .listen(port, "127.0.0.1", () => {
        probe.close(() => {
          resolve(true);
        });
      });
  });
}

/** Ends what still runs of the cluster, and waits for what is ending already: kwokctl does not. */
async function endProcesses(engine: LocalEngine, toolchain: Toolchain): Promise<void> {
  const { own, ending } = await forgetForeignProcesses(engine);
  if (own.length > 0) await kwokctl(engine, toolchain, ["stop", "cluster"]);
  await allEnded([...own, ...ending], (pid) => isOwn(engine, pid));
}

/**
 * kwokctl ends whatever process has an id it once wrote down; after a restart of the machine that may be anybody's.
 * @returns those of the ids that are the cluster's own processes, and those whose process is just ending: whose that was
 * cannot be seen any more.
 */
async function forgetForeignProcesses(engine: LocalEngine): Promise<{ own: number[]; ending: number[] }> {
  const pids = join(directory(engine), "pids");
  const own: number[] = [];
  const ending: number[] = [];
  for (const file of existsSync(pids) ? await readdir(pids) : []) {
    const pid = Number(await readFile(join(pids, file), "utf8"));
    if (await isOwn(engine, pid)) {
      own.push(pid);
      continue;
    }
    if (await isEnding(pid)) ending.push(pid);
    await rm(join(pids, file));
  }
  return { own, ending };
}

/** Whether a running process is one of the cluster's. */
async function isOwn(engine: LocalEngine, pid: number): Promise<boolean> {
  const [program = ""] = await commandLine(pid);
  return program.startsWith(join(directory(engine), "bin"));
}

async function create(engine: LocalEngine, toolchain: Toolchain, options: ClusterOptions): Promise<void> {
  const stages = join(engine.kwok, "stages.yaml");
  const logs = join(engine.kwok, "logs.yaml");
  await writeFile(stages, await allStages(toolchain, options));
  await writeFile(logs, await containerLogs(engine));
  await kwokctl(engine, toolchain, [
    ...["create", "cluster", "--runtime", "binary", "--wait", "60s", "--kubeconfig", engine.kubeconfig],
    ...["--config", join(__dirname, "kwokctl.yaml"), "--config", stages, "--config", logs],
    ...["--kube-apiserver-binary", toolchain.apiserver],
    ...["--kube-controller-manager-binary", toolchain.controllerManager],
    ...["--kube-scheduler-binary", toolchain.scheduler],
    ...["--kwok-controller-binary", toolchain.kwok],
    ...["--etcd-binary", toolchain.etcd],
    // With a loopback bind the API server finds no address to advertise by itself.
    ...["--extra-args", "kube-apiserver=advertise-address=127.0.0.1"],
    ...["--extra-args", "kube-apiserver=endpoint-reconciler-type=none"],
    // There is one of each: a lease would only end it when etcd hangs for ten seconds, and hold up the next one for fifteen.
    ...["--extra-args", "kube-controller-manager=leader-elect=false"],
    ...["--extra-args", "kube-scheduler=leader-elect=false"],
    // After a restart kwok leaves nodes and their pods alone until the leases of its former self run out: 200 s at first.
    ...["--heartbeat-factor", "1", "--node-lease-duration-seconds", "10"],
  ]);
  await refuseSilent(engine, toolchain);
}

/** kwok's stock behaviour of nodes, pods and volumes, and ours for load balancers: giving one Stage replaces all. */
async function allStages(
  toolchain: Toolchain,
  { podReadySeconds = 0, loadBalancerSeconds = 0 }: ClusterOptions,
): Promise<string> {
  const delays = new Map([
    ["pod-ready", podReadySeconds],
    ["load-balancer-address", loadBalancerSeconds],
  ]);
  const stock = [
    "node/fast/node-initialize.yaml",
    "node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
    ...(await readdir(join(toolchain.stages, "pod", "fast"))).filter(isStage).map((file) => `pod/fast/${file}`),
    ...(await readdir(join(toolchain.stages, "volume", "fast"))).filter(isStage).map((file) => `volume/fast/${file}`),
  ].map((file) => join(toolchain.stages, file));
  const documents = await Promise.all([...stock, join(__dirname, "stages.yaml")].map((f) => readFile(f, "utf8")));
  return (
    documents
      // kwok provisions claims of its own StorageClass alone, and clouds bring others.
      .map((text) => text.replaceAll("self.spec.storageClassName == 'kwok-volume'", "has(self.spec.storageClassName)"))
      .flatMap((text) => parseAllDocuments(text))
      .map((document) => {
        const seconds = delays.get(String(document.getIn(["metadata", "name"]))) ?? 0;
        if (seconds > 0) document.setIn(["spec", "delay"], { durationMilliseconds: seconds * 1000 });
        return document.toString({ directives: false });
      })
      .join("\n---\n")
  );
}

/** Containers of the charts, each with a log of its own. */
const containers = ["gitlab-agent", "gitlab-workspaces-proxy", "controller", "traefik"];

/**
 * Logs for pods in which nothing runs: a file for each kind of container, empty until somebody writes into it, and one
 * for all others. Its lines are `2026-11-21T12:00:00.000000000Z stdout F text`, as on a node
 * (https://kwok.sigs.k8s.io/docs/user/kwokctl-logs/).
 */
async function containerLogs(engine: LocalEngine): Promise<string> {
  const entries = await Promise.all(
    [...containers, "other"].map(async (container) => {
      const logsFile = join(engine.logs, `${container}.log`);
      await mkdir(engine.logs, { recursive: true });
      await writeFile(logsFile, "", { flag: "a" });
      return container === "other" ? { logsFile } : { containers: [container], logsFile };
    }),
  );
  return stringify({
    apiVersion: "kwok.x-k8s.io/v1alpha1",
    kind: "ClusterLogs",
    metadata: { name: "containers" },
    spec: { logs: entries },
  });
}

const isStage = (file: string): boolean => file.endsWith(".yaml") && file !== "kustomization.yaml";

/** Writes the admin kubeconfig, whole in one file, and registers its API server as one of ours. */
async function writeKubeconfig(engine: LocalEngine, toolchain: Toolchain): Promise<void> {
  const { stdout } = await kwokctl(engine, toolchain, ["kubectl", "config", "view", "--raw", "--flatten", "--minify"]);
  const kubeconfig = parse(stdout) as {
    clusters: [{ cluster: { server: string; "certificate-authority-data": string } }];
  };
  const { server, "certificate-authority-data": authority } = kubeconfig.clusters[0].cluster;
  const caSha256 = createHash("sha256").update(Buffer.from(authority, "base64")).digest("hex");
  await writeWhole(engine.kubeconfig, stdout);
  await writeWhole(engine.clusters, `${JSON.stringify([{ server, caSha256 }], null, 2)}\n`);
}

async function kubectl(engine: LocalEngine, toolchain: Toolchain, arguments_: string[]): Promise<{ stdout: string }> {
  return await checked(engine, toolchain, toolchain.kubectl, ["--kubeconfig", engine.kubeconfig, ...arguments_]);
}

async function kwokctl(engine: LocalEngine, toolchain: Toolchain, arguments_: string[]): Promise<{ stdout: string }> {
  return await checked(engine, toolchain, toolchain.kwokctl, ["--name", name, ...arguments_]);
}

async function checked(
  engine: LocalEngine,
  toolchain: Toolchain,
  file: string,
  arguments_: string[],
): Promise<{ stdout: string }> {
  const result = await run(engine, toolchain, file, arguments_);
  if (!result.failed) return result;
  const said = result.stderr.split("\n").slice(-12).join("\n");
  throw new Failure(
    `The local cluster did not do \`${arguments_.slice(0, 4).join(" ")}\`:\n${said}\n` +
      `Its logs are in ${join(directory(engine), "logs")}.\n` +
      `To begin again with an empty cluster: ${npm(engine, "destroy")} && ${npm(engine, "start")}`,
  );
}

async function run(
  engine: LocalEngine,
  toolchain: Toolchain,
  file: string,
  arguments_: string[],
): Promise<{ stdout: string; stderr: string; failed: boolean }> {
  const { stdout, stderr, failed } = await execa(file, arguments_, {
    reject: false,
    stdin: "ignore",
    // The control plane keeps what it is started with for as long as it runs: nothing of the user's goes in.
    extendEnv: false,
    env: {
      HOME: engine.root,
      KWOK_WORKDIR: engine.kwok,
      KUBECONFIG: engine.kubeconfig,
      PATH: `${dirname(toolchain.kubectl)}:${process.env["PATH"] ?? ""}`,
    },
    // kwokctl's own --wait does not bound a component that cannot start.
    timeout: 120_000,
  });
  return { stdout, stderr, failed };
}

/** Tries until it works, for one minute. */
async function waitFor(what: string, attempt: () => Promise<void>): Promise<void> {
  const end = Date.now() + 60_000;
  for (;;) {
    try {
      await attempt();
      return;
    } catch (error) {
      if (Date.now() > end) throw new Failure(`${what} did not come within a minute.`, { cause: error });
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
}
