import assert from "node:assert/strict";
import { createHash, generateKeyPairSync } from "node:crypto";
import type { Finding } from "../../doctor/finding";
import type { Check, Patient, Surroundings } from "../../doctor/patient";
import { type ApiServer, startApiServer } from "./api-server";
import { makeCertificate, type TestCertificate, type Wish } from "./certificates";
import { type DnsServer, type ServedRecord, startDnsServer } from "./dns-server";
import { type GitLabServer, startGitLab } from "./gitlab-server";
import { type IngressServer, type LiveObjects, startIngress } from "./ingress-server";

/** A stack in hand-made objects and everything that its doctor talks to, all of it stood in for on 127.0.0.1. */
export interface World {
  patient: Patient;
  surroundings: Surroundings;
  /** What the cluster has now. */
  live: LiveObjects;
  /** What the ingress goes by, where that is not what the cluster has. */
  stale: LiveObjects | undefined;
  readonly authority: TestCertificate;
  readonly dns: DnsServer;
  readonly gitlab: GitLabServer;
  readonly api: ApiServer;
  readonly ingress: IngressServer;
  /** Makes everything healthy again. */
  heal(): void;
  /** Puts a certificate chain into a TLS Secret. */
  serve(secret: string, leaf: TestCertificate, ...issuers: readonly TestCertificate[]): void;
  /** Sets, or removes, a key of the proxy's Secret. */
  set(key: string, value: string | undefined): void;
  /** Runs a check. @throws when anything secret is in a finding. */
  run(check: Check): Promise<readonly Finding[]>;
  stop(): Promise<void>;
}

const day = 86_400_000;
export const domain = "workspaces.example.test";
/** The name of the only workspace. */
export const workspaceHost = `8080-mine.${domain}`;
export const address = "203.0.113.7";
export const namespace = "gitlab-workspaces";
const release = "gitlab-workspaces-proxy";
const className = "nginx";

/** Each unlike all others, so that a leak says which one leaked. */
export const canaries = {
  clientSecret: "gloas-canary-client-secret-0123456789",
  signingKey: "canary-signing-key-0123456789abcdef",
} as const;

/** A certificate of a validity counted in days from now; 30 days ago until 90 days ahead when not said. */
export async function certificate(
  wish: Omit<Wish, "from" | "to">,
  [from, to]: readonly [number, number] = [-30, 90],
): Promise<TestCertificate> {
  return await makeCertificate({
    ...wish,
    from: new Date(Date.now() + from * day),
    to: new Date(Date.now() + to * day),
  });
}

/** The records that the stack wants. */
export const records: readonly ServedRecord[] = [
  { name: domain, type: "A", value: address },
  { name: `*.${domain}`, type: "A", value: address },
  { name: `ssh.${domain}`, type: "A", value: "203.0.113.8" },
];

/** Starts the world, healthy. */
export async function startWorld(): Promise<World> {
  const [dns, gitlab, api] = await Promise.all([startDnsServer(), startGitLab(), startApiServer()]);
  const authority = await certificate({ name: "Test CA" });
  const apex = await certificate({ name: domain, covers: [domain], issuer: authority });
  const wildcard = await certificate({ name: `*.${domain}`, covers: [`*.${domain}`], issuer: authority });
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const hostKey = privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  const redirectUri = `https://${domain}/auth/callback`;
  const settings = {
    "auth.client_id": "application-id",
    "auth.client_secret": canaries.clientSecret,
    "auth.host": gitlab.url,
    "auth.redirect_uri": redirectUri,
    "auth.signing_key": canaries.signingKey,
    "ssh.host_key": hostKey,
  };
  const box: { world?: World } = {};
  const current = (): World => {
    assert.ok(box.world);
    return box.world;
  };
  const ingress = await startIngress({
    className,
    configSecret: { namespace, name: "gitlab-workspaces-proxy-config" },
    read: () => Promise.resolve(current().stale ?? current().live),
  });
  const world: World = {
    patient: {
      stack: "production",
      installation: {
        domain,
        gitlabUrl: gitlab.url,
        kasAddress: "wss://kas.example.test",
        oauthClientId: "application-id",
        tlsMode: "provided",
        proxy: { namespace, release, configSecret: "gitlab-workspaces-proxy-config" },
        ingress: { className, release: { namespace: "gitlab-ingress-controller", release: "ingress-nginx" } },
        agents: [],
      },
      oauthRedirectUri: redirectUri,
      ingressAddress: address,
      dnsRecords: [],
      cluster: api.cluster,
      kubeconfig: "canary-kubeconfig",
    },
    surroundings: { dnsServers: [], now: new Date() },
    live: { ingresses: [], secrets: [], services: [], pods: [] },
    stale: undefined,
    authority,
    dns,
    gitlab,
    api,
    ingress,
    heal() {
      world.stale = undefined;
      world.live = healthy(settings);
      api.serve(world.live);
      dns.serve(records);
      gitlab.know({ id: "application-id", secret: canaries.clientSecret, redirectUri });
      world.patient = { ...world.patient, ...start.patient };
      world.surroundings = start.surroundings;
      world.serve("gitlab-workspace-proxy-tls", apex);
      world.serve("gitlab-workspace-proxy-wildcard-tls", wildcard);
    },
    serve(secret, leaf, ...issuers) {
      const chain = [leaf, ...issuers].map((each) => each.certificate).join("");
      replace(world.live.secrets, secret, encoded({ "tls.crt": chain, "tls.key": leaf.key }));
    },
    set(key, value) {
      const secret = world.live.secrets.find(({ metadata }) => metadata?.name === "gitlab-workspaces-proxy-config");
      assert.ok(secret?.data);
      if (value === undefined) secret.data = Object.fromEntries(Object.entries(secret.data).filter(([k]) => k !== key));
      else secret.data[key] = Buffer.from(value).toString("base64");
    },
    async run(check) {
      const found = await check.run(world.patient, world.surroundings);
      const told = JSON.stringify(found);
      const secrets = [...Object.values(canaries), "canary-kubeconfig", hostKey.split("\n")[1] ?? ""];
      for (const secret of secrets) assert.ok(!told.includes(secret), "a finding holds a secret");
      return found;
    },
    async stop() {
      await Promise.all([dns.stop(), gitlab.stop(), api.stop(), ingress.stop()]);
    },
  };
  const start = {
    patient: { ...world.patient, dnsRecords: records.slice(0) },
    surroundings: {
      dnsServers: [dns.address],
      connect: { host: ingress.host, port: ingress.port },
      trusted: [authority.certificate],
      now: new Date(),
    },
  };
  box.world = world;
  world.heal();
  return world;
}

const encoded = (plain: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(plain).map(([key, value]) => [key, Buffer.from(value).toString("base64")]));

function replace(secrets: LiveObjects["secrets"], name: string, data: Record<string, string>): void {
  const secret = secrets.find(({ metadata }) => metadata?.name === name);
  if (secret) secret.data = data;
  else secrets.push({ metadata: { name, namespace }, data });
}

/** What the program installs, as far as anybody here looks at it. */
function healthy(settings: Readonly<Record<string, string>>): LiveObjects {
  const labels = { "app.kubernetes.io/name": "gitlab-workspaces-proxy", "app.kubernetes.io/instance": release };
  const hosts = [domain, `*.${domain}`];
  const tls = [
    { secretName: "gitlab-workspace-proxy-tls", hosts: [domain] },
    { secretName: "gitlab-workspace-proxy-wildcard-tls", hosts: [`*.${domain}`] },
  ];
  const ingress = (name: string, path: string, pathType: string): LiveObjects["ingresses"][number] => {
    const backend = { service: { name, port: { number: 80 } } };
    const rules = hosts.map((host) => ({ host, http: { paths: [{ path, pathType, backend }] } }));
    return { metadata: { name, namespace }, spec: { ingressClassName: className, rules, tls } };
  };
  const digest = createHash("sha256").update(JSON.stringify(settings)).digest("hex");
  return {
    ingresses: [ingress(release, "/", "ImplementationSpecific"), ingress("closed", "/metrics", "Exact")],
    secrets: [
      {
        metadata: {
          name: "gitlab-workspaces-proxy-config",
          namespace,
          managedFields: [{ manager: "pulumi", time: new Date("2026-11-20T08:00:00Z") }],
        },
        data: encoded(settings),
      },
    ],
    services: [
      { metadata: { name: release, namespace }, spec: { selector: labels, ports: [{ port: 80 }] } },
      { metadata: { name: "closed", namespace }, spec: { ports: [{ port: 80 }] } },
      {
        metadata: {
          name: "mine",
          namespace: "gl-rd-ns-1",
          labels: { "agent.gitlab.com/id": "1" },
          annotations: { "workspaces.gitlab.com/host-template": `{{.port}}-mine.${domain}` },
        },
        spec: { ports: [{ port: 80, targetPort: 8080 }] },
      },
    ],
    pods: [
      {
        metadata: { name: `${release}-1`, namespace, labels, annotations: { "checksum/config": digest } },
        status: {
          startTime: new Date("2026-11-20T08:00:05Z"),
          conditions: [{ type: "Ready", status: "True" }],
        },
      },
    ],
  };
}
