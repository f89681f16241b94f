import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, readlink, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { parse } from "yaml";
import { packageCharts } from "../../local/charts/repository";
import type { LocalEngine } from "../../local/engine";
import { brokenReferences } from "../support/live-references";
import { workspace } from "../support/workspace";
import { type Ended, startEngine, type Step, type TestEngine } from "../support/engine";
import { processes, processesOf, settled } from "../support/processes";

interface Live {
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly uid: string };
  readonly type?: string;
  readonly data?: Readonly<Record<string, string>>;
}

const proxy = "gitlab-workspaces";
const domain = "workspaces.example.test";

/** `op name`, the way a person would tell what an `up` did. */
const told = (steps: readonly Step[]): string[] => steps.map(({ op, name }) => `${op} ${name}`).sort();

/** Canaries in every secret that stack config can hold, so that a leak names its source. */
const canaries = {
  oauthClientSecret: "canary-oauth-1d7f3b",
  "agentToken-local": "canary-agent-9c2e4a",
  signingKey: "canary-signing-key-55aa66bb77cc",
} as const;

type Look = (where: string, text: string | Buffer) => void;

/** Shows every file below a directory, unpacked, but not what lies at one of the spared paths. */
async function lookInFiles(directory: string, look: Look, spared: readonly string[] = []): Promise<void> {
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (spared.includes(path)) continue;
    if (entry.isDirectory()) await lookInFiles(path, look, spared);
    else if (entry.isFile()) look(path, unpacked(await readFile(path)));
  }
}

/** What is inside, when it is gzip: the first two bytes tell. */
const unpacked = (content: Buffer): Buffer =>
  content[0] === 0x1f && content[1] === 0x8b ? gunzipSync(content) : content;

/** A line from the middle of a key, because the first one may be the same in all keys of a kind. */
function lineOfKey(pem: string): string {
  const lines = pem.trim().split("\n");
  assert.match(lines[0] ?? "", /PRIVATE KEY/);
  return lines[Math.floor(lines.length / 2)]!;
}

/** How a text looks inside something longer that is base64: three ways, without what depends on its neighbours. */
const insideBase64 = (text: string): string[] =>
  [0, 1, 2].map((shift) =>
    Buffer.from(" ".repeat(shift) + text)
      .toString("base64")
      .slice(shift === 0 ? 0 : 4, -4),
  );

/** Does something over and over, and at least once, while work is under way, and returns what the work returns. */
async function during<T>(work: Promise<T>, something: () => Promise<void>): Promise<T> {
  let working = true;
  const over = async (): Promise<void> => {
    do await something();
    while (working);
  };
  const [result] = await Promise.all([work.finally(() => (working = false)), over()]);
  return result;
}

/** Resolves when this engine's Helm is at work on a release, or rejects when the given process has ended before. */
async function seenHelm(engine: LocalEngine, pid: number): Promise<void> {
  for (;;) {
    const own = await processesOf(engine);
    if (own.some(({ program, line }) => program === "helm" && line.includes("upgrade"))) return;
    if (!own.some((process) => process.pid === pid)) throw new Error("helm was never seen at work");
  }
}

/** How the kernel writes the loopback addresses: https://man7.org/linux/man-pages/man5/proc_pid_net.5.html */
const loopback: Readonly<Record<string, string>> = {
  "0100007F": "127.0.0.1",
  "00000000000000000000000001000000": "::1",
};

/** Where processes of this engine listen for TCP connections, and the command line of each. */
async function listeners(engine: LocalEngine): Promise<{ address: string; line: string }[]> {
  const sockets = new Map<string, string>();
  for (const { pid, line } of await processesOf(engine)) {
    // A process may end, or close a descriptor, while it is looked at.
    for (const descriptor of await readdir(`/proc/${pid}/fd`).catch(() => [])) {
      const target = await readlink(`/proc/${pid}/fd/${descriptor}`).catch(() => "");
      const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1];
      if (inode !== undefined) sockets.set(inode, line);
    }
  }
  const tables = await Promise.all(["/proc/net/tcp", "/proc/net/tcp6"].map((file) => readFile(file, "utf8")));
  return tables
    .flatMap((table) => table.split("\n"))
    .flatMap((row) => {
      const [, local = "", , state, , , , , , inode = ""] = row.trim().split(/\s+/);
      const address = local.split(":")[0] ?? "";
      const line = sockets.get(inode);
      return state === "0A" && line !== undefined ? [{ address: loopback[address] ?? address, line }] : [];
    });
}

describe("The platform on a real engine and a real Kubernetes API", () => {
  let engine: TestEngine;

  before(async function () {
    // Building the tools, where they are not built yet, takes most of an hour on a slow machine.
    this.timeout(3_600_000);
    engine = await startEngine();
    for (const [key, input] of Object.entries(canaries)) await engine.setSecret(key, input);
    assert.deepEqual(new Set((await engine.up()).map(({ op }) => op)), new Set(["create"]));
  });

  after(async () => {
    await engine.stop();
  });

  /**
   * Looks for every secret that this engine knows, as it is and inside base64, and remembers where it was found. The one
   * exception are the two files whose purpose it is to hold secrets.
   */
  async function watchForSecrets(): Promise<{ leaks: string[]; look: Look; lookInFolder: () => Promise<void> }> {
    const { kubeconfig, passphrase, root, kwok } = engine.engine;
    const { users } = parse(await readFile(kubeconfig, "utf8")) as {
      users: [{ user: { "client-key-data": string } }];
    };
    const { data } = await engine.get<Live>("secret", "gitlab-workspaces-proxy-config", "--namespace", proxy);
    const decoded = (text: string | undefined): string => Buffer.from(text ?? "", "base64").toString();
    const [clientKey, hostKey] = [decoded(users[0].user["client-key-data"]), decoded(data?.["ssh.host_key"])];
    const secrets = {
      ...canaries,
      passphrase: await readFile(passphrase, "utf8"),
      clientKey: lineOfKey(clientKey),
      hostKey: lineOfKey(hostKey),
    };
    const needles = Object.entries(secrets).flatMap(([name, secret]) =>
      [secret, ...insideBase64(secret)].map((needle) => ({ name, needle })),
    );
    const leaks: string[] = [];
    const look: Look = (where, text) => {
      for (const { name, needle } of needles) if (text.includes(needle)) leaks.push(`${name} in ${where}`);
    };
    const lookInFolder = async (): Promise<void> => {
      await settled(engine.engine);
      await lookInFiles(root, look, [kwok, kubeconfig, passphrase]);
    };
    return { leaks, look, lookInFolder };
  }

  it("puts the three Secrets there, with the type and the keys that the proxy reads", async () => {
    const secrets = await engine.get<Live[]>("secrets", "--namespace", proxy);
    const found = secrets
      .filter(({ metadata }) => !metadata.name.startsWith("sh.helm."))
      .map(({ metadata, type, data }) => [metadata.name, type, Object.keys(data ?? {}).sort()]);
    assert.deepEqual(found, [
      ["gitlab-workspace-proxy-tls", "kubernetes.io/tls", ["tls.crt", "tls.key"]],
      ["gitlab-workspace-proxy-wildcard-tls", "kubernetes.io/tls", ["tls.crt", "tls.key"]],
      [
        "gitlab-workspaces-proxy-config",
        "Opaque",
        ["auth.client_id", "auth.client_secret", "auth.host", "auth.redirect_uri", "auth.signing_key", "ssh.host_key"],
      ],
    ]);
  });

  it("serves the domain and its wildcard, each with a certificate that covers it", async () => {
    const { spec } = await engine.get<{ spec: { rules: { host: string }[]; tls: { hosts: string[] }[] } }>(
      ...["ingress", "gitlab-workspaces-proxy", "--namespace", proxy],
    );
    assert.deepEqual(
      spec.rules.map(({ host }) => host),
      [domain, `*.${domain}`],
    );
    assert.deepEqual(
      spec.tls.map(({ hosts }) => hosts),
      [[domain], [`*.${domain}`]],
    );
  });

  it("gives out the load balancer's address and the records for it", async () => {
    const service = await engine.get<{ status: { loadBalancer: { ingress: { ip: string }[] } } }>(
      ...["service", "ingress-nginx-controller", "--namespace", "gitlab-ingress-controller"],
    );
    const address = service.status.loadBalancer.ingress[0]?.ip;
    assert.match(address ?? "", /^203\.0\.113\./);
    const outputs = JSON.parse((await engine.pulumi(["stack", "output", "--json"])).stdout) as Record<string, unknown>;
    assert.equal(outputs["ingressAddress"], address);
    assert.deepEqual(outputs["dnsRecords"], [
      { name: domain, type: "A", value: address },
      { name: `*.${domain}`, type: "A", value: address },
    ]);
    assert.equal(outputs["kubeconfig"], "[secret]");
  });

  it("leaves no reference that leads nowhere, and would notice one renamed key", async () => {
    assert.deepEqual(await brokenReferences(engine), []);
    const rename = [{ op: "move", from: "/data/auth.signing_key", path: "/data/auth.signingkey" }];
    const patch = [
      "patch",
      "secret",
      "gitlab-workspaces-proxy-config",
      "--namespace",
      proxy,
      "--type",
      "json",
      "--patch",
    ];
    await engine.kubectl(...patch, JSON.stringify(rename));
    assert.deepEqual(await brokenReferences(engine), [
      "Deployment gitlab-workspaces-proxy -> Secret gitlab-workspaces-proxy-config: no key auth.signing_key",
    ]);
    const back = rename.map(({ op, from, path }) => ({ op, from: path, path: from }));
    await engine.kubectl(...patch, JSON.stringify(back));
    assert.deepEqual(await brokenReferences(engine), []);
  });

  it("changes nothing the second time", async () => {
    assert.deepEqual(told(await engine.up()), []);
    const preview = await engine.pulumi(["preview", "--expect-no-changes"]);
    assert.equal(preview.exitCode, 0, preview.all);
  });

  it("restarts only the proxy when the OAuth secret changes, and replaces no Secret", async () => {
    const pods = async (namespace: string): Promise<string[]> =>
      (await engine.get<Live[]>("pods", "--namespace", namespace)).map(({ metadata }) => metadata.uid).sort();
    const uid = async (): Promise<string> =>
      (await engine.get<Live>("secret", "gitlab-workspaces-proxy-config", "--namespace", proxy)).metadata.uid;
    const before = { proxy: await pods(proxy), agent: await pods("gitlab-agent-local"), secret: await uid() };

    await engine.setSecret("oauthClientSecret", `${canaries.oauthClientSecret}-rotated`);
    assert.deepEqual(told(await engine.up()), ["update workspaces-proxy", "update workspaces-proxy-config"]);

    const after = await pods(proxy);
    assert.deepEqual(
      after.filter((pod) => before.proxy.includes(pod)),
      [],
      "the proxy's pods are new",
    );
    assert.deepEqual(await pods("gitlab-agent-local"), before.agent, "the agent's are not");
    assert.equal(await uid(), before.secret, "the Secret was updated where it stands");
  });

  it("updates one release when one chart version changes", async () => {
    const { charts } = engine.engine;
    await packageCharts({
      helm: engine.toolchain.helm,
      directory: charts,
      extraVersions: { "gitlab-workspaces-proxy": ["0.1.26"] },
    });
    const key = "gitlab-workspaces:charts.gitlab-workspaces-proxy.version";
    assert.equal((await engine.pulumi(["config", "set", "--path", key, "0.1.26"])).exitCode, 0);
    assert.deepEqual(told(await engine.up()), ["update workspaces-proxy"]);
  });

  it("puts back what somebody deleted by hand, after a refresh", async () => {
    await engine.kubectl("delete", "secret", "gitlab-agent-local-token", "--namespace", "gitlab-agent-local");
    assert.equal((await engine.pulumi(["refresh", "--yes", "--skip-preview"])).exitCode, 0);
    assert.deepEqual(told(await engine.up()), ["create gitlab-agent-local-token"]);
    assert.deepEqual(await brokenReferences(engine), []);
  });

  it("keeps every secret inside encrypted values and the Secrets it made", async () => {
    const { leaks, look, lookInFolder } = await watchForSecrets();
    // In its debug log Pulumi itself prints what crosses the wire, secret or not: the SDK from -v=3 on, the engine from
    // -v=9 on (SECURITY.md says so). Nothing else may.
    const wire =
      /"msg":"((Unm|M)arshaling property for RPC\[|(eventSink::Debug\(<\{%reset%\}>)?RegisterResource RPC finished)/;
    const withoutWire = ({ all }: Ended): string =>
      all
        .split("\n")
        .filter((line) => !wire.test(line))
        .join("\n");

    // A change under way shows old and new values in every form of output there is.
    await engine.setSecret("agentToken-local", `${canaries["agentToken-local"]}-rotated`);
    for (const form of [["--diff"], ["--json"], ["--logtostderr", "-v=2"]]) {
      look(`preview ${form.join(" ")}`, (await engine.pulumi(["preview", ...form])).all);
    }
    look("preview -v=9", withoutWire(await engine.pulumi(["preview", "--logtostderr", "-v=9"])));
    const programs = new Set<string>();
    const up = engine.pulumi(["up", "--yes", "--diff", "--logtostderr", "-v=9"]);
    const ended = await during(up, async () => {
      for (const { program, line } of await processes()) {
        programs.add(program);
        look(`arguments of ${program}`, line);
      }
    });
    look("up --diff -v=9", withoutWire(ended));
    assert.ok(programs.has("helm"), "helm was seen at work");
    look("stack export", (await engine.pulumi(["stack", "export"])).all);
    look("stack output", (await engine.pulumi(["stack", "output", "--json"])).all);
    await lookInFolder();
    const releases = (await engine.get<Live[]>("secrets", "--all-namespaces")).filter(({ metadata }) =>
      metadata.name.startsWith("sh.helm.release."),
    );
    assert.ok(releases.length >= 3);
    for (const { metadata, data } of releases) {
      const record = Buffer.from(Buffer.from(data?.["release"] ?? "", "base64").toString(), "base64");
      look(`Helm record ${metadata.name}`, gunzipSync(record).toString());
    }
    assert.deepEqual(leaks, []);
  });

  it("tells a user's mistakes all at once, without a stack trace, before anything is touched", async () => {
    const good = await readFile(engine.engine.stackConfig, "utf8");
    await engine.configure({ domain: "https://workspaces.example.test", clustr: { cloud: "self-managed" } });
    const ended = await engine.pulumi(["up", "--yes", "--skip-preview"]);
    await writeFile(engine.engine.stackConfig, good);
    assert.notEqual(ended.exitCode, 0);
    assert.match(ended.all, /gitlab-workspaces:domain/);
    assert.match(ended.all, /clustr.*cluster/s);
    assert.doesNotMatch(ended.all, /\n\s+at |unhandled/);
    assert.deepEqual(told(await engine.up()), []);
  });

  it("refuses a cluster with no default StorageClass or with two, and says which there are", async () => {
    const annotation = "storageclass.kubernetes.io/is-default-class";
    await engine.kubectl("annotate", "storageclass", "kwok-volume", `${annotation}=false`, "--overwrite");
    const none = await engine.pulumi(["up", "--yes", "--skip-preview"]);
    assert.notEqual(none.exitCode, 0);
    assert.match(none.all, /no default StorageClass.*Found: kwok-volume/);
    await engine.kubectl("annotate", "storageclass", "kwok-volume", `${annotation}=true`, "--overwrite");
    const second = { name: "second", annotations: { [annotation]: "true" } };
    await engine.apply({
      apiVersion: "storage.k8s.io/v1",
      kind: "StorageClass",
      metadata: second,
      provisioner: "x.test/y",
    });
    const two = await engine.pulumi(["up", "--yes", "--skip-preview"]);
    assert.notEqual(two.exitCode, 0);
    assert.match(two.all, /2 default StorageClasses: kwok-volume, second\./);
    await engine.kubectl("delete", "storageclass", "second");
    assert.deepEqual(told(await engine.up()), []);
  });

  it("warns that nothing is known to enforce NetworkPolicies, and that ingress-nginx is retired", async () => {
    const { all } = await engine.pulumi(["up", "--yes", "--skip-preview"]);
    assert.match(all, /cannot be known whether the cluster .* enforces NetworkPolicies/);
    assert.match(all, /retired/);
    assert.match(all, /stand-in/, "and the stand-ins say what they are");
  });

  it("listens on loopback only, at rest and while it works", async () => {
    const seen: Awaited<ReturnType<typeof listeners>> = [];
    await engine.setSecret("oauthClientSecret", `${canaries.oauthClientSecret}-again`);
    await during(engine.up(), async () => {
      seen.push(...(await listeners(engine.engine)));
    });
    const elsewhere = seen.filter(({ address }) => !Object.values(loopback).includes(address));
    assert.deepEqual([...new Set(elsewhere.map(({ address, line }) => `${address}: ${line}`))], []);
    const listening = ["/etcd ", "/kube-apiserver ", "/kube-scheduler ", "/kube-controller-manager ", "serve.ts "];
    for (const part of [...listening, "/pulumi up", "/pulumi-language-nodejs", "/resource-kubernetes-"]) {
      assert.ok(
        seen.some(({ line }) => line.includes(part)),
        `${part} was seen listening`,
      );
    }
  });

  it("leaves no secret in a file when it is killed while Helm works", async () => {
    const { leaks, look, lookInFolder } = await watchForSecrets();
    const scratch = await mkdtemp(join(tmpdir(), "gitlab-workspaces-killed-"));
    await engine.setSecret("oauthClientSecret", `${canaries.oauthClientSecret}-killed`);
    const running = engine.start(["up", "--yes", "--skip-preview"], { TMPDIR: scratch });
    await seenHelm(engine.engine, running.pid);
    running.kill("SIGKILL");
    await running.ended;
    await lookInFolder();
    await lookInFiles(scratch, look);
    await rm(scratch, { recursive: true });
    assert.deepEqual(leaks, []);
    assert.equal((await engine.pulumi(["cancel", "--yes"])).exitCode, 0);
  });

  it("refuses to be destroyed while workspaces are there, names them, and touches nothing", async () => {
    const live = async (): Promise<unknown> =>
      (await engine.get<Live[]>("deployments,services,secrets,ingresses", "--all-namespaces")).map(
        ({ metadata: { name, uid } }) => ({ name, uid }),
      );
    for (const object of [
      ...workspace({ id: "7-42-running", domain }),
      ...workspace({ id: "7-43-stopped", domain, running: false }),
      ...workspace({ id: "9-1-elsewhere", domain: "workspaces.example.com" }),
      {
        apiVersion: "networking.k8s.io/v1",
        kind: "Ingress",
        metadata: { name: "elsewhere", namespace: "default" },
        spec: {
          ingressClassName: "another",
          rules: [
            {
              host: "workspaces.example.com",
              http: {
                paths: [
                  { path: "/", pathType: "Prefix", backend: { service: { name: "elsewhere", port: { number: 80 } } } },
                ],
              },
            },
          ],
        },
      },
    ])
      await engine.apply(object);
    const recorded = async (): Promise<string[]> => {
      const { stdout } = await engine.pulumi(["stack", "export"]);
      const { deployment } = JSON.parse(stdout) as { deployment: { resources: { urn: string }[] } };
      return deployment.resources.map(({ urn }) => urn).sort();
    };
    const [before, state] = [await live(), await recorded()];
    assert.ok(state.some((urn) => urn.endsWith("::destroy-guard")));
    const ended = await engine.pulumi(["destroy", "--yes", "--skip-preview"]);
    assert.notEqual(ended.exitCode, 0);
    assert.match(ended.all, /2 workspaces are left on workspaces\.example\.test/);
    assert.match(ended.all, /workspace-7-42-running \(running, gl-rd-ns-7-42-running\)/);
    assert.match(ended.all, /workspace-7-43-stopped \(stopped, gl-rd-ns-7-43-stopped\)/);
    assert.match(ended.all, /GITLAB_WORKSPACES_ALLOW=destroy-with-workspaces pulumi destroy --stack local/);
    assert.ok(!ended.all.includes("9-1-elsewhere"), "another installation's workspace is not ours");
    assert.ok(!/\bat .*:\d+:\d+/.test(ended.all), "no stack trace");
    assert.deepEqual(await live(), before);
    assert.deepEqual(await recorded(), state);
    await engine.kubectl("delete", "ingress", "elsewhere", "--namespace", "default");
  });

  it("goes in order when told so, and leaves nothing on the cluster and nothing in the state", async () => {
    const ended = await engine.pulumi(["destroy", "--yes", "--skip-preview"], {
      env: { GITLAB_WORKSPACES_ALLOW: "destroy-with-workspaces" },
    });
    assert.equal(ended.exitCode, 0, ended.all);
    const deleted = [...ended.all.matchAll(/ - +(\S+) (\S+) deleted/g)].map(([, type = "", name = ""]) => ({
      type,
      name,
    }));
    assert.equal(deleted[0]?.name, "destroy-guard");
    const position = (type: RegExp): number[] =>
      deleted.flatMap((step, index) => (type.test(step.type) ? [index] : []));
    assert.ok(Math.max(...position(/Release$/)) < Math.min(...position(/Namespace$/)), "releases before namespaces");
    assert.ok(Math.max(...position(/Namespace$/)) < Math.min(...position(/^pulumi:providers:kubernetes$/)));
    const kinds = "namespaces,ingressclasses,clusterroles,clusterrolebindings,persistentvolumes";
    const left = (await engine.get<Live[]>(kinds)).map(({ metadata }) => metadata.name);
    assert.deepEqual(left.filter((name) => /gitlab|nginx|traefik|workspace/.test(name)).sort(), []);
    const { deployment } = JSON.parse((await engine.pulumi(["stack", "export"])).stdout) as {
      deployment: { resources?: unknown[] };
    };
    assert.deepEqual(deployment.resources ?? [], []);
  });
});
