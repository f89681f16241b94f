import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CoreV1Api, KubeConfig, NetworkingV1Api } from "@kubernetes/client-node";
import { execa } from "execa";
import { certificateCheck } from "../../doctor/certificate";
import { dnsCheck } from "../../doctor/dns";
import type { Finding } from "../../doctor/finding";
import type { Patient, Surroundings } from "../../doctor/patient";
import { proxyConfigCheck } from "../../doctor/proxy-config";
import { gitlabCheck, redirectCheck } from "../../doctor/sign-in";
import { environment } from "../../local/engine";
import { project } from "../../local/stack";
import { makeCertificate, type TestCertificate } from "../support/certificates";
import { type DnsServer, type ServedRecord, startDnsServer } from "../support/dns-server";
import { startEngine, type TestEngine } from "../support/engine";
import { type GitLabServer, startGitLab } from "../support/gitlab-server";
import { type IngressServer, type LiveObjects, startIngress } from "../support/ingress-server";

const domain = "workspaces.example.test";
const redirectUri = `https://${domain}/auth/callback`;
const proxy = "gitlab-workspaces";
const configSecret = "gitlab-workspaces-proxy-config";
const day = 86_400_000;
const checks = [dnsCheck, certificateCheck, redirectCheck, gitlabCheck, proxyConfigCheck];

/** A mistake, made in what is live. */
interface Mistake {
  readonly what: string;
  readonly codes: readonly string[];
  readonly make: () => unknown;
  /**
   * What mends it: the commands of the finding with the first of the codes, as they are printed. Where another party has
   * to act, what that party does.
   */
  readonly mend?: () => void;
  /** What a person types when one of those commands asks, by a word of the command. */
  readonly answers?: Readonly<Record<string, string>>;
}

describe("The doctor's look from outside, at a stack that runs", () => {
  let engine: TestEngine;
  let dns: DnsServer;
  let gitlab: GitLabServer;
  let ingress: IngressServer;
  let authority: TestCertificate;
  let cluster: KubeConfig;
  let patient: Patient;
  let hostKey: string;
  let records: readonly ServedRecord[];
  let folder: string;
  let trusted: readonly string[];
  let stale: LiveObjects | undefined;
  let reading: Promise<LiveObjects> | undefined;
  let clientSecret = "gloas-canary-client-secret";
  const seconds: Record<string, number> = {};

  const leaf = async (
    covers: readonly string[],
    [from, to]: readonly [number, number] = [-1, 90],
  ): Promise<TestCertificate> =>
    await makeCertificate({
      name: covers[0] ?? "",
      covers,
      issuer: authority,
      from: new Date(Date.now() + from * day),
      to: new Date(Date.now() + to * day),
    });

  async function readLive(): Promise<LiveObjects> {
    const core = cluster.makeApiClient(CoreV1Api);
    const [ingresses, secrets, services, pods] = await Promise.all([
      cluster.makeApiClient(NetworkingV1Api).listIngressForAllNamespaces(),
      core.listSecretForAllNamespaces(),
      core.listServiceForAllNamespaces(),
      core.listPodForAllNamespaces(),
    ]);
    return { ingresses: ingresses.items, secrets: secrets.items, services: services.items, pods: pods.items };
  }

  /** The same for all who ask at one time: a look asks a dozen times at once. */
  async function readOnce(): Promise<LiveObjects> {
    reading ??= readLive().finally(() => (reading = undefined));
    return await reading;
  }

  /** The proxy's settings as they are in its Secret. */
  async function settings(): Promise<Readonly<Record<string, string>>> {
    const { secrets } = await readLive();
    const data = secrets.find(({ metadata }) => metadata?.name === configSecret)?.data ?? {};
    return Object.fromEntries(
      Object.entries(data).map(([key, value]) => [key, Buffer.from(value, "base64").toString()]),
    );
  }

  /** Runs every check and makes sure that nothing the proxy keeps secret is in any finding. */
  async function findings(): Promise<readonly Finding[]> {
    const surroundings: Surroundings = {
      dnsServers: [dns.address],
      connect: { host: ingress.host, port: ingress.port },
      trusted,
      now: new Date(),
    };
    const found: Finding[] = [];
    for (const check of checks) {
      const start = performance.now();
      found.push(...(await check.run(patient, surroundings)));
      seconds[check.name] = (performance.now() - start) / 1000;
    }
    const told = JSON.stringify(found);
    const live = await settings();
    const secret = [
      clientSecret,
      ...["auth.client_secret", "auth.signing_key", "ssh.host_key"].map((key) => live[key] ?? ""),
    ];
    for (const line of secret.flatMap((value) => value.split("\n")).filter((each) => each !== ""))
      assert.ok(!told.includes(line), "a finding holds a secret");
    return found;
  }

  const codes = (found: readonly Finding[]): string[] => [...new Set(found.map(({ code }) => code))].sort();

  /** Types a command as a finding prints it. */
  async function type(command: string, answers: Mistake["answers"] = {}): Promise<void> {
    const input = Object.entries(answers).find(([word]) => command.includes(word))?.[1] ?? "";
    const { exitCode, all } = await execa("bash", ["-o", "pipefail", "-c", command.replace("< ", `< ${folder}/`)], {
      cwd: project,
      env: { ...environment(engine.engine, engine.toolchain), PULUMI_SKIP_CONFIRMATIONS: "true" },
      extendEnv: false,
      input,
      reject: false,
      all: true,
    });
    assert.equal(exitCode, 0, `${command}\n${all}`);
  }

  async function set(values: Readonly<Record<string, string | null>>, secret = configSecret): Promise<void> {
    const data = Object.fromEntries(
      Object.entries(values).map(([key, value]) => [
        key,
        value === null ? null : Buffer.from(value).toString("base64"),
      ]),
    );
    await patch("secret", secret, { data });
  }

  async function patch(kind: string, name: string, change: unknown, as = "merge"): Promise<void> {
    await engine.kubectl("patch", kind, name, "--namespace", proxy, "--type", as, "--patch", JSON.stringify(change));
  }

  /** The API server writes times in whole seconds: waits until its next write is of a later one. */
  async function laterThan(time: Date): Promise<void> {
    const next = Math.floor(time.getTime() / 1000) * 1000 + 1000;
    while (Date.now() < next) await new Promise((resolve) => setTimeout(resolve, next - Date.now()));
  }

  before(async function () {
    this.timeout(3_600_000);
    folder = await mkdtemp(join(tmpdir(), "doctor-test-"));
    [dns, gitlab, engine] = await Promise.all([startDnsServer(), startGitLab(), startEngine()]);
    authority = await makeCertificate({ name: "Test CA", from: new Date(Date.now() - day) });
    trusted = [authority.certificate];
    const [apex, wildcard] = await Promise.all([leaf([domain]), leaf([`*.${domain}`])]);
    gitlab.know({ id: "application-id", secret: clientSecret, redirectUri });
    await engine.configure({
      domain,
      oauthClientId: "application-id",
      gitlab: { url: gitlab.url },
      tls: { mode: "provided", certificate: apex.certificate, wildcardCertificate: wildcard.certificate },
      proxy: { ssh: { service: "LoadBalancer", port: 22 } },
    });
    await engine.setSecret("oauthClientSecret", clientSecret);
    await engine.setSecret("tlsKey", apex.key);
    await engine.setSecret("wildcardTlsKey", wildcard.key);
    await engine.up();

    cluster = new KubeConfig();
    cluster.loadFromFile(engine.engine.kubeconfig);
    const { stdout } = await engine.pulumi(["stack", "output", "--json", "--show-secrets"]);
    const outputs = JSON.parse(stdout) as Omit<Patient, "stack" | "cluster">;
    patient = { ...outputs, stack: "local", cluster };
    const { dnsRecords, installation } = patient;
    records = dnsRecords;
    hostKey = (await settings())["ssh.host_key"] ?? "";
    dns.serve(records);
    ingress = await startIngress({
      className: installation.ingress.className,
      configSecret: { namespace: installation.proxy.namespace, name: installation.proxy.configSecret },
      read: async () => stale ?? (await readOnce()),
    });
    // What the agent makes for a workspace, as far as the proxy looks at it.
    await engine.apply({ apiVersion: "v1", kind: "Namespace", metadata: { name: "gl-rd-ns-1" } });
    await engine.apply({
      apiVersion: "v1",
      kind: "Service",
      metadata: {
        name: "mine",
        namespace: "gl-rd-ns-1",
        labels: { "agent.gitlab.com/id": "1" },
        annotations: {
          "workspaces.gitlab.com/host-template": `{{.port}}-mine.${domain}`,
          "workspaces.gitlab.com/id": "1",
        },
      },
      spec: { ports: [{ port: 80, targetPort: 8080 }] },
    });
  });

  after(async () => {
    await ingress.stop();
    await engine.stop();
    await Promise.all([dns.stop(), gitlab.stop(), rm(folder, { recursive: true })]);
  });

  it("finds nothing when all is well", async () => {
    assert.deepEqual(await findings(), []);
    assert.equal(Object.keys(seconds).length, checks.length);
    console.log(
      Object.entries(seconds)
        .map(([name, taken]) => `      ${taken.toFixed(2)} s  ${name}`)
        .join("\n"),
    );
  });

  it("finds nothing as a command either, in words and as JSON, and shows no secret of the stack", async () => {
    // Stands for a network plugin that enforces NetworkPolicies: the simulated cluster has none.
    const labels = { app: "calico-node" };
    const calico = {
      apiVersion: "apps/v1",
      kind: "DaemonSet",
      metadata: { name: "calico-node", namespace: "kube-system" },
    };
    const template = { metadata: { labels }, spec: { containers: [{ name: "node", image: "example.test/node:1" }] } };
    await engine.apply({ ...calico, spec: { selector: { matchLabels: labels }, template } });
    await writeFile(join(folder, "authority.pem"), authority.certificate);
    const doctor = async (...more: string[]) => {
      const reach = ["--dns", dns.address, "--connect", `${ingress.host}:${ingress.port}`];
      return await execa(process.execPath, ["--import", "tsx", "doctor/cli.ts", "local", ...reach, ...more], {
        cwd: project,
        env: {
          ...environment(engine.engine, engine.toolchain),
          NODE_EXTRA_CA_CERTS: join(folder, "authority.pem"),
        },
        extendEnv: false,
        reject: false,
        all: true,
      });
    };
    const [words, json] = [await doctor(), await doctor("--json")];
    assert.equal(words.exitCode, 0, words.all);
    assert.match(words.stdout, /^Nothing found: 16 checks in \d+ s\.$/m);
    console.log(`      ${words.stdout}`);
    const { checks: made, findings: found } = JSON.parse(json.stdout) as { checks: string[]; findings: unknown[] };
    assert.equal(made.length, 16);
    assert.deepEqual(found, []);
    const live = await settings();
    const token = await engine.get<{ data: { token: string } }>(
      ...["secret", "gitlab-agent-local-token", "--namespace", "gitlab-agent-local"],
    );
    const secrets = [
      clientSecret,
      live["auth.signing_key"] ?? "",
      Buffer.from(token.data.token, "base64").toString(),
      ...(live["ssh.host_key"] ?? "").split("\n").filter((line) => line.length > 40),
      cluster.getCurrentUser()?.keyData ?? "",
    ];
    for (const secret of secrets) {
      assert.ok(secret.length > 8);
      for (const { all = "" } of [words, json]) assert.ok(!all.includes(secret), "the doctor shows a secret");
    }
  });

  /** Mistakes in a value of the proxy's Secret, each with what it makes people meet. */
  const values: readonly (readonly [string, readonly string[], () => Readonly<Record<string, string | null>>])[] = [
    ["a slash at the end of auth.host", ["GW302", "GW322"], () => ({ "auth.host": `${gitlab.url}/` })],
    ["auth.host without a scheme", ["GW302", "GW322"], () => ({ "auth.host": gitlab.url.replace("http://", "") })],
    ["a newline at the end of auth.host", ["GW302", "GW322"], () => ({ "auth.host": `${gitlab.url}\n` })],
    ["another GitLab", ["GW301", "GW323"], () => ({ "auth.host": "https://gitlab.example.test" })],
    ["http in the redirect URI", ["GW304", "GW324"], () => ({ "auth.redirect_uri": redirectUri.replace("s:", ":") })],
    ["a slash at the end of the redirect URI", ["GW304", "GW324"], () => ({ "auth.redirect_uri": `${redirectUri}/` })],
    [
      "a newline at the end of the redirect URI",
      ["GW304", "GW324"],
      () => ({ "auth.redirect_uri": `${redirectUri}\n` }),
    ],
    [
      "another host in the redirect URI",
      ["GW304", "GW324"],
      () => ({ "auth.redirect_uri": "https://other.test/auth/callback" }),
    ],
    ["another client id", ["GW303", "GW310", "GW325"], () => ({ "auth.client_id": "another-application" })],
    [
      "a newline at the end of the client secret",
      ["GW310", "GW326"],
      () => ({ "auth.client_secret": `${clientSecret}\n` }),
    ],
    ["another client secret", ["GW310"], () => ({ "auth.client_secret": "gloas-canary-another" })],
    ["an empty client secret", ["GW306", "GW321"], () => ({ "auth.client_secret": "" })],
    ["a signing key that was removed", ["GW306", "GW321"], () => ({ "auth.signing_key": null })],
    ["a short signing key", ["GW328"], () => ({ "auth.signing_key": "canary-short" })],
    ["an empty host key", ["GW306", "GW321"], () => ({ "ssh.host_key": "" })],
    ["a host key on one line", ["GW327"], () => ({ "ssh.host_key": hostKey.replaceAll("\n", " ") })],
    ["a host key in base64 twice", ["GW327"], () => ({ "ssh.host_key": Buffer.from(hostKey).toString("base64") })],
  ];
  for (const [what, expected, make] of values) {
    it(`finds ${expected.join(", ")} for ${what}, and GW329 until it is put back`, async () => {
      const original = await settings();
      const wrong = make();
      try {
        await set(wrong);
        assert.deepEqual(codes(await findings()), [...expected, "GW329"].sort());
      } finally {
        await set(Object.fromEntries(Object.keys(wrong).map((key) => [key, original[key] ?? null])));
      }
      assert.deepEqual(codes(await findings()), []);
    });
  }

  const without = (name: string): readonly ServedRecord[] => records.filter((record) => record.name !== name);
  const mistakes: readonly Mistake[] = [
    {
      what: "a wildcard that nobody created",
      codes: ["GW104"],
      make: () => {
        dns.serve(without(`*.${domain}`));
      },
      mend: () => {
        dns.serve(records);
      },
    },
    {
      what: "a domain that leads to an earlier load balancer",
      codes: ["GW103"],
      make: () => {
        dns.serve([...without(domain), { name: domain, type: "A", value: "198.51.100.1" }]);
      },
      mend: () => {
        dns.serve(records);
      },
    },
    {
      what: "a controller that has not taken up a new certificate",
      codes: ["GW209"],
      make: async () => {
        stale = await readLive();
        const fresh = await leaf([domain]);
        await set({ "tls.crt": fresh.certificate, "tls.key": fresh.key }, "gitlab-workspace-proxy-tls");
      },
      mend: () => {
        stale = undefined;
      },
    },
    {
      what: "an authority that this machine does not know",
      codes: ["GW207"],
      make: () => {
        trusted = [];
      },
      mend: () => {
        trusted = [authority.certificate];
      },
    },
    {
      what: "a certificate that has expired",
      codes: ["GW204"],
      make: async () => {
        const [old, fresh] = await Promise.all([leaf([domain], [-90, -1]), leaf([domain])]);
        await set({ "tls.crt": old.certificate, "tls.key": old.key }, "gitlab-workspace-proxy-tls");
        await writeFile(join(folder, "fullchain.pem"), fresh.certificate);
        await writeFile(join(folder, "privkey.pem"), fresh.key);
      },
    },
    {
      what: "one TLS Secret that was deleted and one that the Ingress misspells",
      codes: ["GW203"],
      make: async () => {
        const change = [{ op: "replace", path: "/spec/tls/0/secretName", value: "gitlab-workspaces-proxy-tls" }];
        await patch("ingress", "gitlab-workspaces-proxy", change, "json");
        await patch("ingress", "gitlab-workspaces-proxy-metrics-closed", change, "json");
        await engine.kubectl("delete", "secret", "gitlab-workspace-proxy-wildcard-tls", "--namespace", proxy);
      },
    },
    {
      what: "a client secret that was renewed in GitLab",
      codes: ["GW310"],
      make: () => {
        clientSecret = "gloas-canary-renewed";
        gitlab.know({ id: "application-id", secret: clientSecret, redirectUri });
      },
      answers: { oauthClientId: "application-id", oauthClientSecret: "gloas-canary-renewed" },
    },
    {
      what: "everything in the Secret that can be wrong at once",
      codes: "GW322 GW302 GW303 GW304 GW310 GW324 GW325 GW326 GW327 GW328 GW329".split(" "),
      make: () =>
        set({
          "auth.client_id": "another-application",
          "auth.client_secret": `${clientSecret}\n`,
          "auth.host": `${gitlab.url}/`,
          "auth.redirect_uri": `${redirectUri}/`,
          "auth.signing_key": "canary-short",
          "ssh.host_key": "garbage",
        }),
    },
    {
      what: "pods that were restarted while a mistake was in the Secret, which was put back since",
      codes: ["GW329"],
      make: async () => {
        const { "auth.host": host } = await settings();
        await set({ "auth.host": `${gitlab.url}/` });
        // kubectl refuses a second restart within the second of the one before, which mended the last mistake.
        await laterThan(new Date());
        await type(`kubectl rollout restart deployment/gitlab-workspaces-proxy --namespace ${proxy}`);
        await type(`kubectl rollout status deployment/gitlab-workspaces-proxy --namespace ${proxy}`);
        await laterThan(new Date());
        await set({ "auth.host": host ?? "" });
      },
    },
    {
      what: "no proxy pod, no settings and nothing that closes the metrics",
      codes: ["GW306", "GW320"],
      make: async () => {
        await patch("deployment", "gitlab-workspaces-proxy", { spec: { replicas: 0 } });
        await engine.kubectl("delete", "secret", configSecret, "--namespace", proxy);
        await engine.kubectl("delete", "ingress", "gitlab-workspaces-proxy-metrics-closed", "--namespace", proxy);
      },
    },
    {
      what: "metrics that are not closed any more",
      codes: ["GW308"],
      make: () => engine.kubectl("delete", "ingress", "gitlab-workspaces-proxy-metrics-closed", "--namespace", proxy),
    },
    {
      what: "an Ingress of a class that nobody serves",
      codes: ["GW305", "GW203"],
      make: async () => {
        const change = { spec: { ingressClassName: "another" } };
        await patch("ingress", "gitlab-workspaces-proxy", change);
        await patch("ingress", "gitlab-workspaces-proxy-metrics-closed", change);
      },
    },
  ];
  for (const { what, codes: expected, make, mend, answers } of mistakes) {
    it(`finds ${expected.join(", ")} for ${what}, until it is mended`, async () => {
      await make();
      const found = await findings();
      const first = found.find(({ code }) => code === expected[0]);
      if (mend) mend();
      else for (const command of first?.fix ?? []) await type(command, answers);
      assert.deepEqual(codes(found), [...expected].sort(), JSON.stringify(found, null, 2));
      assert.deepEqual(codes(await findings()), [], first?.fix.join("\n"));
    });
  }
});
