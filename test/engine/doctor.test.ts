import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { appendFile, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import { parse, stringify } from "yaml";
import { KubeConfig } from "@kubernetes/client-node";
import { clusterChecks, type Diagnosis, examine, look } from "../../doctor/doctor";
import type { Finding } from "../../doctor/finding";
import type { Live } from "../../doctor/live-references";
import type { Patient, Surroundings } from "../../doctor/patient";
import { exitCode } from "../../doctor/report";
import { admit } from "../../doctor/stack";
import { environment } from "../../local/engine";
import { project } from "../../local/stack";
import { makeCertificate } from "../support/certificates";
import { startEngine, type TestEngine } from "../support/engine";

const domain = "workspaces.example.test";
const proxy = "gitlab-workspaces";
const proxyRelease = "gitlab-workspaces-proxy";
const agent = "gitlab-agent-local";
const controller = "gitlab-ingress-controller";
const workspace = "gl-rd-ns-7-3-x1y2z3";

/** Canaries in every secret that stack config can hold, so that a leak names its source. */
const canaries = {
  oauthClientSecret: "canary-oauth-1d7f3b",
  "agentToken-local": "canary-agent-9c2e4a",
  signingKey: "canary-signing-key-55aa66bb77cc",
} as const;

/** A mistake, and the code that the doctor has for it. */
interface Mistake {
  readonly code: string;
  readonly mistake: string;
  readonly make: () => Promise<unknown>;
}

/** Mistakes that are made together and undone together, because every `up` takes seconds. */
interface Round {
  readonly mistakes: readonly Mistake[];
  /** Undoes what the findings' own commands cannot know of. Runs before them. */
  readonly undo?: () => Promise<unknown>;
  /** Whether the findings' own commands are run; they are unless they need a person or the undoing is all there is. */
  readonly commands?: false;
  /** Minutes that have passed, for what is normal for a while. */
  readonly later?: number;
}

describe("The doctor on a real cluster", () => {
  let engine: TestEngine;
  let patient: Patient;

  const kubectl = async (line: string): Promise<string> => await engine.kubectl(...line.split(" "));

  const patch = async (what: string, namespace: string, patch: object | object[], ...more: string[]): Promise<void> => {
    const type = Array.isArray(patch) ? "json" : "merge";
    const place = namespace === "" ? [] : ["--namespace", namespace];
    await engine.kubectl(
      "patch",
      ...what.split(" "),
      ...place,
      "--type",
      type,
      "--patch",
      JSON.stringify(patch),
      ...more,
    );
  };

  const helm = async (...arguments_: string[]): Promise<void> => {
    await execa(engine.toolchain.helm, arguments_, {
      env: environment(engine.engine, engine.toolchain),
      extendEnv: false,
      reject: false,
    });
  };

  const chart = (file: string): string => join(engine.engine.charts, file);

  const surroundings = (later = 0): Surroundings => ({
    dnsServers: [],
    now: new Date(Date.now() + later * 60_000),
  });

  /** The whole examination, from the stack's outputs on. */
  async function diagnose(stack = "local"): Promise<Diagnosis> {
    return await examine({
      stack,
      environment: environment(engine.engine, engine.toolchain),
      surroundings: surroundings(),
      checks: clusterChecks,
    });
  }

  /** The same without asking Pulumi again, once the cluster's controllers have said what they cannot do. */
  async function eventually(
    good: (findings: readonly Finding[]) => boolean,
    later?: number,
  ): Promise<readonly Finding[]> {
    const end = Date.now() + 60_000;
    for (;;) {
      const cluster = new KubeConfig();
      cluster.loadFromString(patient.kubeconfig);
      const findings = await look({ ...patient, cluster }, surroundings(later), clusterChecks);
      if (good(findings) || Date.now() > end) return findings;
    }
  }

  const told = (findings: readonly Finding[]): string =>
    findings.map(({ code, seen }) => `${code} ${seen}`).join("\n") || "(nothing)";

  /** Runs those of the commands that change something, as a shell does, and each once. */
  async function obey(fix: readonly string[]): Promise<void> {
    const changing = /^(pulumi (up|refresh)|kubectl (delete|rollout|scale|annotate)|helm (get manifest|rollback)) /;
    for (const command of new Set(fix.filter((line) => changing.test(line)))) {
      const type = async (): Promise<{ failed: boolean; all?: string }> =>
        await execa("bash", ["-c", `set -o pipefail; ${command}`], {
          cwd: project,
          env: {
            ...environment(engine.engine, engine.toolchain),
            // What a person at a terminal is asked.
            PULUMI_OPTION_YES: "true",
            PULUMI_OPTION_SKIP_PREVIEW: "true",
            PULUMI_OPTION_NON_INTERACTIVE: "true",
          },
          extendEnv: false,
          stdin: "ignore",
          reject: false,
          all: true,
        });
      let { failed, all } = await type();
      // Two findings may want the same pods restarted, and kubectl does that once a second.
      while (failed && all?.includes("already been triggered within the past second")) ({ failed, all } = await type());
      assert.ok(!failed, `${command}\n${all ?? ""}`);
    }
  }

  /** Name of one pod of a release. */
  async function podOf(release: string, namespace: string): Promise<string> {
    const pods = await engine.get<Live[]>(
      "pods",
      "--namespace",
      namespace,
      "--selector",
      `app.kubernetes.io/instance=${release}`,
    );
    return pods.find(({ metadata }) => metadata.deletionTimestamp === undefined)?.metadata.name ?? "";
  }

  /** What a kubelet would write for a container that does not run: simulated nodes call every pod ready. */
  async function fail(pod: string, namespace: string, container: object): Promise<void> {
    const status = {
      conditions: [{ type: "Ready", status: "False" }],
      containerStatuses: [
        { name: "main", image: "image.example.test/main:1", imageID: "", ready: false, restartCount: 3, ...container },
      ],
    };
    await patch(`pod ${pod}`, namespace, { status }, "--subresource=status");
  }

  const waiting = (reason: string, message = ""): object => ({ state: { waiting: { reason, message } } });

  const crashed = {
    ...waiting("CrashLoopBackOff"),
    lastState: { terminated: { exitCode: 255, reason: "Error", startedAt: null, finishedAt: null } },
  };

  /** Lets a container of the given name say something, now. */
  async function log(container: string, text: string): Promise<void> {
    await appendFile(logFile(container), `${new Date().toISOString().replace("Z", "000000Z")} stderr F ${text}\n`);
  }

  const logFile = (container: string): string => join(engine.engine.logs, `${container}.log`);

  const silence = async (): Promise<void> => {
    for (const container of ["gitlab-agent", proxyRelease]) await writeFile(logFile(container), "");
  };

  const noPods = (namespace: string): Promise<string> =>
    kubectl(`create quota nothing --hard=pods=0 --namespace ${namespace}`);
  const podsAgain = (namespace: string): Promise<string> => kubectl(`delete quota nothing --namespace ${namespace}`);

  /** Helm, killed while it waits for pods that a quota keeps away. */
  async function killedHelm(...arguments_: string[]): Promise<void> {
    await noPods(agent);
    await kubectl(`delete pods --all --namespace ${agent} --wait=false`);
    const child = spawn(engine.toolchain.helm, [...arguments_, "--namespace", agent, "--wait"], {
      env: environment(engine.engine, engine.toolchain),
      stdio: "ignore",
    });
    const ended = new Promise((resolve) => child.once("exit", resolve));
    const pending = [
      "get",
      "secrets",
      "--namespace",
      agent,
      "--selector",
      "owner=helm",
      "--output",
      "jsonpath={..labels.status}",
    ];
    while (child.exitCode === null && !(await engine.kubectl(...pending)).includes("pending"));
    child.kill("SIGKILL");
    await ended;
    await podsAgain(agent);
  }

  /** A workspace as an agent makes one, in a zone, with more objects of it. */
  async function makeWorkspace(zone = domain, ...more: object[]): Promise<void> {
    await engine.apply({ apiVersion: "v1", kind: "Namespace", metadata: { name: workspace } });
    const labels = { "agent.gitlab.com/id": "7" };
    const service = {
      apiVersion: "v1",
      kind: "Service",
      metadata: {
        name: "workspace-7-3-x1y2z3",
        annotations: { "workspaces.gitlab.com/host-template": `{{.port}}-workspace-7-3-x1y2z3.${zone}` },
      },
      spec: { ports: [{ port: 60001 }] },
    };
    for (const object of [service, ...more] as { metadata: object }[]) {
      await engine.apply({ ...object, metadata: { ...object.metadata, namespace: workspace, labels } });
    }
  }

  const endWorkspace = (): Promise<string> => kubectl(`delete namespace ${workspace}`);

  const workspacePod = (name: string, spec: object = {}) => ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name },
    spec: { containers: [{ name: "main", image: "image.example.test/main:1" }], ...spec },
  });

  /** Changes the outputs in the stack's state. What Pulumi encrypted stays as it is unless it is replaced. */
  async function changeState(change: (deployment: Deployment) => void): Promise<void> {
    const { stdout } = await engine.pulumi(["stack", "export", "--show-secrets"]);
    const state = JSON.parse(stdout) as { deployment: Deployment };
    change(state.deployment);
    const { exitCode: code, all } = await engine.pulumi(["stack", "import"], { input: JSON.stringify(state) });
    assert.equal(code, 0, all);
  }

  /** Runs something while the stack's kubeconfig is another one. */
  async function withKubeconfig(change: (kubeconfig: Kubeconfig) => void, work: () => Promise<void>): Promise<void> {
    const good = await readFile(engine.engine.kubeconfig, "utf8");
    const other = parse(good) as Kubeconfig;
    change(other);
    const put = async (text: string): Promise<void> => {
      await changeState(({ resources }) => {
        const stack = resources.find(({ type }) => type === "pulumi:pulumi:Stack");
        const output = stack?.outputs?.["kubeconfig"] as { plaintext: string };
        output.plaintext = JSON.stringify(text);
      });
    };
    await put(stringify(other));
    try {
      await work();
    } finally {
      await put(good);
    }
  }

  /** Runs the command as a person does. */
  async function run(...arguments_: string[]): Promise<{ exitCode: number; stdout: string; stderr: string }> {
    const {
      exitCode: code,
      stdout,
      stderr,
    } = await execa(process.execPath, ["--import", "tsx", "doctor/cli.ts", ...arguments_], {
      cwd: project,
      env: environment(engine.engine, engine.toolchain),
      extendEnv: false,
      reject: false,
    });
    return { exitCode: code, stdout, stderr };
  }

  const networkPlugin = {
    apiVersion: "apps/v1",
    kind: "DaemonSet",
    metadata: { name: "calico-node", namespace: "kube-system" },
    spec: {
      selector: { matchLabels: { app: "calico-node" } },
      template: {
        metadata: { labels: { app: "calico-node" } },
        spec: { containers: [{ name: "main", image: "image.example.test/calico:1" }] },
      },
    },
  };

  before(async function () {
    this.timeout(3_600_000);
    engine = await startEngine();
    for (const [key, input] of Object.entries(canaries)) await engine.setSecret(key, input);
    await engine.up();
    // Stands for a network plugin: the simulated nodes have none.
    await engine.apply(networkPlugin);
    const admission = await admit("local", environment(engine.engine, engine.toolchain));
    assert.ok(admission.patient);
    patient = admission.patient;
  });

  after(async () => {
    await engine.stop();
  });

  it("finds nothing on a healthy one, shows no secret, and ends with 0", async () => {
    assert.equal(told((await diagnose()).findings), "(nothing)");
    await log(
      "gitlab-agent",
      `{"level":"error","error":"code = Unauthenticated, token ${canaries["agentToken-local"]}-0123456789"}`,
    );
    const { users } = parse(await readFile(engine.engine.kubeconfig, "utf8")) as Kubeconfig;
    const clientKey = String(users[0]?.user["client-key-data"]);
    const { data } = await engine.get<Live>("secret", "gitlab-workspaces-proxy-config", "--namespace", proxy);
    const hostKey =
      Buffer.from(data?.["ssh.host_key"] ?? "", "base64")
        .toString()
        .split("\n")[1] ?? "";
    assert.ok(clientKey.length > 100 && hostKey.length > 20);
    for (const arguments_ of [[], ["local", "--json"]]) {
      const { stdout, stderr, exitCode: code } = await run(...arguments_);
      for (const secret of [...Object.values(canaries), clientKey, clientKey.slice(100, 160), hostKey]) {
        assert.ok(!`${stdout}${stderr}`.includes(secret), "no secret in the output");
      }
      assert.match(stdout, /GW601/);
      assert.equal(code, 2);
      assert.doesNotMatch(stderr, /\n\s+at /);
    }
    await silence();
    const { stdout, exitCode: code } = await run("local", "--json");
    const diagnosis = JSON.parse(stdout) as Diagnosis;
    assert.deepEqual(Object.keys(diagnosis), ["stack", "checks", "leftOut", "findings"]);
    assert.match(diagnosis.leftOut ?? "", /is an address that nobody has.*GitLab were not looked at\.$/);
    assert.equal(diagnosis.stack, "local");
    assert.equal(told(diagnosis.findings), "(nothing)");
    assert.equal(code, exitCode(diagnosis.findings));
  });

  /** Puts another text into a TLS Secret. */
  async function put(name: string, entry: "tls.crt" | "tls.key", text: string): Promise<void> {
    await patch(`secret ${name}`, proxy, { data: { [entry]: Buffer.from(text).toString("base64") } });
  }

  const otherPair = async (): Promise<{ certificate: string; key: string }> =>
    await makeCertificate({ name: "elsewhere", covers: ["elsewhere.example.test"] });

  const agentTimeout = "gitlab-workspaces:charts.gitlab-agent.timeout";

  const agentValues = ["--set", "config.kasAddress=wss://kas.example.test,config.secretName=gitlab-agent-local-token"];

  /** Three nodes of one architecture, played by kwok as the first ones are. */
  async function makeNodes(architecture: string): Promise<void> {
    for (const number of [0, 1, 2]) {
      await engine.apply({
        apiVersion: "v1",
        kind: "Node",
        metadata: {
          name: `${architecture}-${number}`,
          annotations: { "kwok.x-k8s.io/node": "fake" },
          labels: { type: "kwok", "kubernetes.io/arch": architecture, "kubernetes.io/os": "linux" },
        },
        status: {
          nodeInfo: { architecture },
          allocatable: { cpu: "32", memory: "256Gi", pods: "110" },
          capacity: { cpu: "32", memory: "256Gi", pods: "110" },
        },
      });
    }
    await kubectl("wait nodes --all --for condition=Ready --timeout 60s");
    // Pods of nodes that are gone would be collected after a minute, in the midst of another test.
    await kubectl("delete pods --all --all-namespaces --force --grace-period 0");
  }

  const rounds: readonly Round[] = [
    {
      mistakes: [
        {
          code: "GW401",
          mistake: "a key of a Secret is renamed",
          make: () =>
            patch("secret gitlab-workspaces-proxy-config", proxy, [
              { op: "move", from: "/data/auth.signing_key", path: "/data/auth.signingkey" },
            ]),
        },
        {
          code: "GW408",
          mistake: "the domain's Secret holds another host's certificate",
          make: async () => {
            const { certificate, key } = await otherPair();
            await put("gitlab-workspace-proxy-tls", "tls.crt", certificate);
            await put("gitlab-workspace-proxy-tls", "tls.key", key);
          },
        },
        {
          code: "GW409",
          mistake: "the wildcard's Secret holds another certificate's key",
          make: async () => put("gitlab-workspace-proxy-wildcard-tls", "tls.key", (await otherPair()).key),
        },
        {
          code: "GW402",
          mistake: "the proxy's ServiceAccount is deleted",
          make: () => kubectl(`delete serviceaccount ${proxyRelease} --namespace ${proxy}`),
        },
        { code: "GW403", mistake: "the IngressClass is deleted", make: () => kubectl("delete ingressclass nginx") },
        {
          code: "GW405",
          mistake: "the Ingress loses its class",
          make: () => patch(`ingress ${proxyRelease}`, proxy, [{ op: "remove", path: "/spec/ingressClassName" }]),
        },
        {
          code: "GW406",
          mistake: "the proxy's Service selects other pods",
          make: () =>
            patch(`service ${proxyRelease}`, proxy, { spec: { selector: { "app.kubernetes.io/name": "x" } } }),
        },
        {
          code: "GW407",
          mistake: "somebody else's Ingress claims the domain",
          make: () => kubectl(`create ingress rival --namespace default --class nginx --rule ${domain}/*=rival:80`),
        },
        {
          code: "GW411",
          mistake: "the Ingress loses the TLS of the wildcard",
          make: () => patch(`ingress ${proxyRelease}`, proxy, [{ op: "remove", path: "/spec/tls/1" }]),
        },
        {
          code: "GW517",
          mistake: "the agent is scaled to zero",
          make: () => kubectl(`scale deployment gitlab-agent-local-v2 --namespace ${agent} --replicas 0`),
        },
        {
          code: "GW519",
          mistake: "the proxy's ClusterRoleBinding is deleted",
          make: () => kubectl(`delete clusterrolebinding ${proxyRelease}`),
        },
        {
          code: "GW702",
          mistake: "a second StorageClass is made the default",
          make: () =>
            engine.apply({
              apiVersion: "storage.k8s.io/v1",
              kind: "StorageClass",
              metadata: { name: "second", annotations: { "storageclass.kubernetes.io/is-default-class": "true" } },
              provisioner: "example.test/none",
            }),
        },
      ],
      undo: () => kubectl("delete ingress rival --namespace default"),
    },
    {
      mistakes: [
        {
          code: "GW401",
          mistake: "the agent's token Secret is deleted",
          make: () => kubectl(`delete secret gitlab-agent-local-token --namespace ${agent}`),
        },
        {
          code: "GW402",
          mistake: "the Service that closes /metrics is deleted, which is the stack's own",
          make: () => kubectl(`delete service ${proxyRelease}-metrics-closed --namespace ${proxy}`),
        },
        {
          code: "GW404",
          mistake: "the proxy's Ingress is deleted",
          make: () => kubectl(`delete ingress ${proxyRelease} --namespace ${proxy}`),
        },
        {
          code: "GW410",
          mistake: "the domain's Secret holds no certificate",
          make: () => put("gitlab-workspace-proxy-tls", "tls.crt", "certificate"),
        },
        {
          code: "GW518",
          mistake: "the proxy's Deployment is deleted",
          make: () => kubectl(`delete deployment ${proxyRelease} --namespace ${proxy}`),
        },
        {
          code: "GW511",
          mistake: "the registry has no such image (status as a kubelet writes it)",
          make: async () =>
            fail(await podOf(agent, agent), agent, waiting("ImagePullBackOff", "Back-off pulling image")),
        },
        {
          code: "GW516",
          mistake: "a pod of the ingress controller is not ready (status as a kubelet writes it)",
          make: async () => fail(await podOf("ingress-nginx", controller), controller, { state: { running: {} } }),
        },
      ],
    },
    {
      mistakes: [
        {
          code: "GW501",
          mistake: "the agent's release is uninstalled by hand",
          make: () => helm("uninstall", agent, "--namespace", agent, "--wait"),
        },
        {
          code: "GW503",
          mistake: "an upgrade of the proxy changes what is immutable (nameOverride)",
          make: () =>
            helm(
              ...["upgrade", proxyRelease, chart("gitlab-workspaces-proxy-0.1.25.tgz"), "--namespace", proxy],
              ...["--reuse-values", "--set", "nameOverride=proxy"],
            ),
        },
      ],
    },
    {
      mistakes: [
        {
          code: "GW502",
          mistake: "the first installation of the agent fails at a quota",
          make: async () => {
            await helm("uninstall", agent, "--namespace", agent, "--wait");
            await noPods(agent);
            const timeout = await engine.pulumi(["config", "set", "--path", agentTimeout, "10"]);
            assert.equal(timeout.exitCode, 0, timeout.all);
            const ended = await engine.pulumi(["up", "--refresh", "--yes", "--skip-preview"]);
            assert.notEqual(ended.exitCode, 0, ended.all);
          },
        },
        {
          code: "GW512",
          mistake: "a container lacks a Secret's key (status as a kubelet writes it)",
          make: async () => {
            const message = 'couldn\'t find key auth.host in Secret "gitlab-workspaces-proxy-config"';
            await fail(await podOf(proxyRelease, proxy), proxy, waiting("CreateContainerConfigError", message));
          },
        },
      ],
      undo: async () => {
        await podsAgain(agent);
        const { exitCode: code, all } = await engine.pulumi(["config", "rm", "--path", agentTimeout]);
        assert.equal(code, 0, all);
      },
    },
    {
      mistakes: [
        {
          code: "GW504",
          mistake: "Helm is killed during a first installation",
          make: async () => {
            await helm("uninstall", agent, "--namespace", agent, "--wait");
            await killedHelm("install", agent, chart("gitlab-agent-2.26.0.tgz"), ...agentValues);
          },
        },
        {
          code: "GW513",
          mistake: "the proxy ends with 255 again and again (status as a kubelet writes it)",
          make: async () => fail(await podOf(proxyRelease, proxy), proxy, crashed),
        },
      ],
    },
    {
      mistakes: [
        {
          code: "GW505",
          mistake: "Helm is killed during an upgrade",
          make: () =>
            killedHelm("upgrade", agent, chart("gitlab-agent-2.26.0.tgz"), "--reuse-values", "--set", "replicas=3"),
        },
      ],
    },
    {
      mistakes: [
        {
          code: "GW514",
          mistake: "every node is cordoned and a pod is deleted",
          make: async () => {
            await kubectl("cordon --selector type=kwok");
            await kubectl(`delete pod ${await podOf(proxyRelease, proxy)} --namespace ${proxy}`);
          },
        },
      ],
      undo: () => kubectl("uncordon --selector type=kwok"),
      commands: false,
    },
    {
      mistakes: [
        {
          code: "GW515",
          mistake: "a quota forbids new pods, and one is deleted",
          make: async () => {
            await noPods(proxy);
            await kubectl(`delete pod ${await podOf(proxyRelease, proxy)} --namespace ${proxy}`);
          },
        },
        {
          code: "GW608",
          mistake: "the proxy is refused the list of Services (a line in its log)",
          make: () =>
            log(
              proxyRelease,
              'services is forbidden: User "system:serviceaccount:a:b" cannot list resource "services"',
            ),
        },
      ],
      undo: async () => {
        await podsAgain(proxy);
        await silence();
      },
    },
    {
      mistakes: (
        [
          ["GW601", "GitLab revokes the token", "rpc error: code = Unauthenticated desc = unauthenticated"],
          [
            "GW602",
            "the agent server is not there",
            "failed to WebSocket dial: dial tcp: lookup kas.example.test: no such host",
          ],
          ["GW603", "the agent server's authority is unknown", "tls: x509: certificate signed by unknown authority"],
          ["GW604", "the address has no scheme", "unsupported scheme in GitLab Kubernetes Agent Server address"],
          [
            "GW605",
            "the configuration has a key too many",
            'failed to parse agent configuration: unknown field "dns_zome"',
          ],
          [
            "GW606",
            "the pod that leads loses its lease",
            "Failed to renew lease gitlab-agent/lock: context deadline exceeded",
          ],
          [
            "GW609",
            "the agent may not make namespaces",
            'namespaces is forbidden: User "system:serviceaccount:a:b" cannot create',
          ],
        ] as const
      ).map(([code, mistake, line]): Mistake => ({
        code,
        mistake: `${mistake} (a line in the agent's log)`,
        make: () => log("gitlab-agent", line),
      })),
      undo: silence,
      commands: false,
    },
    {
      mistakes: [
        { code: "GW607", mistake: "a node does not hand out logs", make: () => rm(logFile("gitlab-agent")) },
        {
          code: "GW703",
          mistake: "there is no network plugin that is known",
          make: () => kubectl("delete daemonset calico-node --namespace kube-system"),
        },
      ],
      undo: async () => {
        await silence();
        await engine.apply(networkPlugin);
      },
      commands: false,
    },
    {
      mistakes: [
        {
          code: "GW701",
          mistake: "no StorageClass is the default",
          make: async () => {
            // Left of an earlier round. With two of them the choice is a person's.
            await kubectl("delete storageclass second --ignore-not-found");
            await kubectl(
              "annotate storageclass kwok-volume storageclass.kubernetes.io/is-default-class=false --overwrite",
            );
          },
        },
        {
          code: "GW804",
          mistake: "a workspace is made meanwhile",
          make: () =>
            makeWorkspace(domain, {
              apiVersion: "v1",
              kind: "PersistentVolumeClaim",
              metadata: { name: "gl-workspace-data" },
              spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } },
            }),
        },
      ],
    },
    {
      mistakes: [
        {
          code: "GW802",
          mistake: "a devfile names an image that is not there (status as a kubelet writes it)",
          make: async () => {
            await makeWorkspace(domain, workspacePod("image"));
            await kubectl(`wait pod image --namespace ${workspace} --for condition=Ready --timeout 60s`);
            await fail("image", workspace, waiting("ErrImagePull", "not found"));
          },
        },
        {
          code: "GW806",
          mistake: "a workspace's container ends again and again (status as a kubelet writes it)",
          make: async () => {
            await makeWorkspace(domain, workspacePod("crash"));
            await kubectl(`wait pod crash --namespace ${workspace} --for condition=Ready --timeout 60s`);
            await fail("crash", workspace, crashed);
          },
        },
        {
          code: "GW805",
          mistake: "a workspace asks for more than its quota",
          make: async () => {
            await noPods(workspace);
            const labels = { app: "workspace" };
            const { spec } = workspacePod("quota");
            await makeWorkspace(domain, {
              apiVersion: "apps/v1",
              kind: "Deployment",
              metadata: { name: "workspace" },
              spec: { selector: { matchLabels: labels }, template: { metadata: { labels }, spec } },
            });
          },
        },
      ],
      undo: () => podsAgain(workspace),
      later: 11,
    },
    {
      mistakes: [
        {
          code: "GW801",
          mistake: "the agent's configuration has another dns_zone",
          make: () => makeWorkspace("workspaces.example.org"),
        },
        {
          code: "GW803",
          mistake: "a workspace asks for a node that is not there",
          make: () =>
            makeWorkspace(
              "workspaces.example.org",
              workspacePod("homeless", { nodeSelector: { "kubernetes.io/hostname": "nowhere" } }),
            ),
        },
      ],
      undo: endWorkspace,
      commands: false,
      later: 11,
    },
    {
      mistakes: [
        {
          code: "GW807",
          mistake: "an object of a deleted workspace has a finalizer that nobody removes",
          make: async () => {
            const metadata = { name: "stuck", finalizers: ["example.test/never"] };
            await makeWorkspace(domain, { apiVersion: "v1", kind: "ConfigMap", metadata });
            await kubectl(`delete namespace ${workspace} --wait=false`);
          },
        },
      ],
      undo: async () => {
        await patch("configmap stuck", workspace, { metadata: { finalizers: [] } });
        await kubectl(`wait namespace ${workspace} --for delete --timeout 60s`);
      },
      commands: false,
      later: 11,
    },
    {
      mistakes: [{ code: "GW704", mistake: "every node is gone", make: () => kubectl("delete nodes --all") }],
      undo: () => makeNodes("amd64"),
      commands: false,
    },
    {
      mistakes: [
        {
          code: "GW705",
          mistake: "every node is arm64",
          make: async () => {
            await kubectl("delete nodes --all");
            await makeNodes("arm64");
          },
        },
      ],
      undo: async () => {
        await kubectl("delete nodes --all");
        await makeNodes("amd64");
      },
      commands: false,
    },
  ];

  for (const { mistakes, undo, commands = true, later = 0 } of rounds) {
    it(`finds and mends: ${mistakes.map(({ code, mistake }) => `${code}, ${mistake}`).join("; ")}`, async () => {
      for (const { make } of mistakes) await make();
      const codes = [...new Set(mistakes.map(({ code }) => code))];
      const has = (some: readonly Finding[]) => codes.every((code) => some.some((one) => one.code === code));
      const findings = await eventually(has, later);
      assert.ok(has(findings), `${codes.join(", ")} were to be found, not\n${told(findings)}`);
      const found = findings.filter(({ code }) => codes.includes(code));
      await undo?.();
      if (commands) await obey(found.flatMap(({ fix }) => fix));
      const left = await eventually((some) => some.length === 0, later);
      assert.equal(told(left), "(nothing)");
      await kubectl(`delete namespace ${workspace} --ignore-not-found`);
    });
  }

  it("finds GW006 after Pulumi was killed while it created something, and mends it", async () => {
    // `stack import` takes no operations in: what a kill leaves stands in the file of the backend.
    const file = join(engine.engine.state, ".pulumi", "stacks", "gitlab-workspaces", "local.json");
    const state = JSON.parse(await readFile(file, "utf8")) as { checkpoint: { latest: Record<string, unknown> } };
    const urn = "urn:pulumi:local::gitlab-workspaces::kubernetes:core/v1:ConfigMap::lost";
    const resource = { urn, custom: true, type: "kubernetes:core/v1:ConfigMap" };
    state.checkpoint.latest["pending_operations"] = [{ resource, type: "creating" }];
    await writeFile(file, JSON.stringify(state));
    const { findings } = await diagnose();
    assert.match(told(findings), /^GW006 creating urn:pulumi:local::.*::lost$/);
    // What the person does who knows that nobody is at work.
    const { exitCode: code, all } = await engine.pulumi(["cancel", "--yes"]);
    assert.equal(code, 0, all);
    await obey(findings[0]!.fix);
    assert.equal(told((await diagnose()).findings), "(nothing)");
  });

  it("finds GW003 where the last `up` was an older program's, and mends it", async () => {
    await changeState(({ resources }) => {
      delete resources.find(({ type }) => type === "pulumi:pulumi:Stack")?.outputs?.["installation"];
    });
    const { findings } = await diagnose();
    assert.match(told(findings), /^GW003 Its outputs are agentConfig, dnsRecords, /);
    await obey(findings[0]!.fix);
    assert.equal(told((await diagnose()).findings), "(nothing)");
  });

  it("says why a release did not get ready, where `up` says which and to ask the doctor", async () => {
    const key = "gitlab-workspaces:charts.gitlab-agent";
    for (const [path, input] of [
      ["timeout", "10"],
      ["values.nodeSelector.disk", "none-has-this"],
    ] as const)
      assert.equal((await engine.pulumi(["config", "set", "--path", `${key}.${path}`, input])).exitCode, 0);
    const ended = await engine.pulumi(["up", "--yes", "--skip-preview"]);
    assert.notEqual(ended.exitCode, 0);
    assert.match(ended.all, /The update of Helm release gitlab-agent-local in namespace gitlab-agent-local failed/);
    assert.match(ended.all, /Why its pods are not ready: npm run doctor -- local/);
    const findings = await eventually((found) =>
      ["GW503", "GW514"].every((one) => found.some(({ code }) => code === one)),
    );
    assert.match(told(findings), /GW503 [^\n]*gitlab-agent-local/);
    assert.match(told(findings), /GW514 [^\n]*node/);

    for (const path of ["timeout", "values"])
      assert.equal((await engine.pulumi(["config", "rm", "--path", `${key}.${path}`])).exitCode, 0);
    const [rollback = ""] = /helm rollback \S+ --namespace \S+/.exec(ended.all) ?? [];
    assert.equal(rollback, "helm rollback gitlab-agent-local --namespace gitlab-agent-local");
    await obey([rollback]);
    await engine.up();
    assert.equal(told(await eventually((found) => found.length === 0)), "(nothing)");
  });

  it("leaves the workspaces of a second installation to that one", async () => {
    await makeWorkspace("blue.example.test");
    assert.match(
      told((await diagnose()).findings),
      /^GW801 Zone blue\.example\.test instead of workspaces\.example\.test/,
    );
    const rules = ["--rule", "blue.example.test/*=proxy:80", "--rule", "*.blue.example.test/*=proxy:80"];
    await engine.kubectl("create", "ingress", "blue", "--namespace", "default", "--class", "nginx", ...rules);
    assert.equal(told((await diagnose()).findings), "(nothing)");
    await kubectl("delete ingress blue --namespace default");
    await endWorkspace();
  });

  it("says in Pulumi's words why it gives no outputs, and GW002 of a stack that was never deployed", async () => {
    const { findings } = await diagnose("nonesuch");
    assert.equal(told(findings), "GW001 no stack named 'nonesuch' found");
    const wrong = { ...environment(engine.engine, engine.toolchain), PULUMI_CONFIG_PASSPHRASE: "wrong" };
    const locked = await examine({
      stack: "local",
      environment: { ...wrong, PULUMI_CONFIG_PASSPHRASE_FILE: undefined },
      surroundings: surroundings(),
    });
    assert.match(told(locked.findings), /^GW001 .*incorrect passphrase/);
    const scratch = join(engine.engine.root, "project");
    assert.equal((await engine.pulumi(["stack", "init", "empty", "--cwd", scratch])).exitCode, 0);
    const { exitCode: code, stdout } = await run("empty");
    assert.equal(code, 2);
    assert.match(stdout, /^GW002 error: The stack was never deployed\n/);
  });

  it("says GW004 of a kubeconfig that the API server refuses, and says it once", async () => {
    await withKubeconfig(
      (kubeconfig) => (kubeconfig.users = [{ ...kubeconfig.users[0]!, user: { token: "canary-expired" } }]),
      async () => {
        const { findings } = await diagnose();
        assert.match(told(findings), /^GW004 https:\/\/127\.0\.0\.1:\d+ answers HTTP 401\.$/);
      },
    );
  });

  it("says GW005 of an API server that does not answer, with its address and the cause, and says it once", async () => {
    await withKubeconfig(
      (kubeconfig) => (kubeconfig.clusters[0]!.cluster.server = "https://127.0.0.1:1"),
      async () => {
        const { findings, checks } = await diagnose();
        assert.match(told(findings), /^GW005 https:\/\/127\.0\.0\.1:1: ECONNREFUSED\. Left out: [^\n]*$/);
        assert.ok(checks.length > 5);
        const { exitCode: code, stdout } = await run("local");
        assert.equal(code, 2);
        assert.match(stdout, /GW005 error: .*\n.*127\.0\.0\.1:1/);
      },
    );
  });

  it("warns with GW007 of what it may not look at, and makes all other checks", async () => {
    await kubectl("create serviceaccount onlooker --namespace default");
    await kubectl(
      "create clusterrole onlooker --verb get,list --resource secrets,configmaps,serviceaccounts,services,ingresses.networking.k8s.io,ingressclasses.networking.k8s.io,deployments.apps,daemonsets.apps,statefulsets.apps,poddisruptionbudgets.policy,nodes,namespaces,storageclasses.storage.k8s.io,persistentvolumeclaims,events",
    );
    await kubectl("create clusterrolebinding onlooker --clusterrole onlooker --serviceaccount default:onlooker");
    const token = await kubectl("create token onlooker --namespace default");
    await kubectl("delete ingressclass nginx");
    await withKubeconfig(
      (kubeconfig) => (kubeconfig.users = [{ ...kubeconfig.users[0]!, user: { token } }]),
      async () => {
        const { findings } = await diagnose();
        const words = told(findings);
        assert.match(words, /GW007 Not allowed to list pods in namespace [^\n]*Left out: [^\n]*\bpods\b/);
        assert.match(
          words,
          /GW007 Not allowed to list pods in namespace gitlab-workspaces\. Left out: [^\n]*logs of the proxy/,
        );
        assert.match(words, /GW007 Not allowed to create subjectaccessreviews\.authorization\.k8s\.io on the cluster/);
        assert.match(words, /GW403 Ingress gitlab-workspaces-proxy -> IngressClass nginx: not there/);
        assert.deepEqual(new Set(findings.map(({ code }) => code)), new Set(["GW007", "GW403"]));
        const fix = findings.find(({ seen }) => seen.includes("pods in namespace gitlab-workspaces."))?.fix[0];
        assert.equal(fix, "kubectl auth can-i list pods --namespace gitlab-workspaces");
        assert.ok(!(await run("local")).stdout.includes(token));
        const found = findings.find(({ code }) => code === "GW403");
        await obey(found!.fix);
      },
    );
    assert.equal(told((await diagnose()).findings), "(nothing)");
  });

  it("refuses what it cannot make sense of with a message, exit code 2 and no stack trace", async () => {
    for (const [arguments_, complaint] of [
      [["--dns", "not a server"], /"not a server" is no host with a port/],
      [["--dns", "127.0.0.1:99999"], /is no host with a port/],
      [["--connect", "127.0.0.1"], /"127\.0\.0\.1" has no port/],
      [["--connect"], /argument missing/],
      [["--verbose"], /unknown option/],
      [["local", "another"], /too many arguments/],
    ] as const) {
      const { exitCode: code, stdout, stderr } = await run(...arguments_);
      assert.equal(code, 2, arguments_.join(" "));
      assert.equal(stdout, "");
      assert.match(stderr, complaint);
      assert.doesNotMatch(stderr, /\n\s+at /);
    }
    assert.equal((await run("--help")).exitCode, 0);
  });
});

interface Deployment {
  readonly resources: { readonly type: string; readonly outputs?: Record<string, unknown> }[];
}

interface Kubeconfig {
  readonly clusters: { readonly cluster: { server: string } }[];
  users: { readonly name: string; readonly user: Readonly<Record<string, unknown>> }[];
}
