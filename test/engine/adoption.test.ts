import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import { environment } from "../../local/engine";
import { chartRepositoryUrl } from "../../local/chart-repository";
import { charts } from "../../src/charts";
import { makeCertificate } from "../support/certificates";
import { startEngine, type TestEngine } from "../support/engine";
import { brokenReferences } from "../support/live-references";

const proxy = "gitlab-workspaces";
const domain = "workspaces.example.test";

/** What people have from GitLab, from their certificate authority, or made up when they followed the tutorial. */
const secrets = {
  token: "canary-tutorial-agent-token",
  clientSecret: "canary,tutorial-client-secret",
  signingKey: "canary-tutorial-signing-key",
} as const;

interface Live {
  readonly metadata: { readonly name: string; readonly uid: string };
  readonly data?: Readonly<Record<string, string>>;
}

/** A cluster on which somebody went through GitLab's tutorial, with helm and kubectl and no Pulumi. */
class Tutorial {
  constructor(
    private readonly engine: TestEngine,
    readonly certificate: { readonly certificate: string; readonly key: string },
    readonly hostKey: string,
  ) {}

  async run(file: string, arguments_: readonly string[], input = ""): Promise<string> {
    const { engine, toolchain } = this.engine;
    const env = environment(engine, toolchain);
    return (await execa(file, arguments_, { env, extendEnv: false, input })).stdout;
  }

  /** The simulated cluster can hold no admission webhook, so the controller comes without its own. */
  async ingressController(): Promise<void> {
    await this.helm("ingress-nginx", "gitlab-ingress-controller", "ingress-nginx", {
      controller: { admissionWebhooks: { enabled: false } },
    });
  }

  /** As https://docs.gitlab.com/user/workspace/set_up_gitlab_agent_and_proxies/ has it. */
  async proxy(): Promise<void> {
    await this.run("kubectl", ["create", "namespace", proxy]);
    const settings = {
      "auth.client_id": "local-engine",
      "auth.client_secret": secrets.clientSecret,
      "auth.host": "https://gitlab.com",
      "auth.redirect_uri": `https://${domain}/auth/callback`,
      "auth.signing_key": secrets.signingKey,
      "ssh.host_key": this.hostKey,
    };
    await this.secret("gitlab-workspaces-proxy-config", "Opaque", settings);
    const pair = { "tls.crt": this.certificate.certificate, "tls.key": this.certificate.key };
    await this.secret("gitlab-workspace-proxy-tls", "kubernetes.io/tls", pair);
    await this.secret("gitlab-workspace-proxy-wildcard-tls", "kubernetes.io/tls", pair);
    const paths = [{ path: "/", pathType: "ImplementationSpecific" }];
    await this.helm("gitlab-workspaces-proxy", proxy, "gitlab-workspaces-proxy", {
      ingress: {
        enabled: true,
        className: "nginx",
        hosts: [
          { host: domain, paths },
          { host: `*.${domain}`, paths },
        ],
        tls: [
          { secretName: "gitlab-workspace-proxy-tls", hosts: [domain] },
          { secretName: "gitlab-workspace-proxy-wildcard-tls", hosts: [`*.${domain}`] },
        ],
      },
    });
  }

  /** The proxy as it was installed up to chart 0.1.12: all secrets by value. */
  async oldProxy(): Promise<void> {
    const chart = join(__dirname, "..", "support", "gitlab-workspaces-proxy-0.1.12");
    const values = {
      auth: {
        client_id: "local-engine",
        client_secret: secrets.clientSecret,
        host: "https://gitlab.com",
        redirect_uri: `https://${domain}/auth/callback`,
        signing_key: secrets.signingKey,
      },
      ssh: { host_key: this.hostKey },
      ingress: {
        host: { workspaceDomain: domain, wildcardDomain: `*.${domain}` },
        tls: {
          workspaceDomainCert: this.certificate.certificate,
          workspaceDomainKey: this.certificate.key,
          wildcardDomainCert: this.certificate.certificate,
          wildcardDomainKey: this.certificate.key,
        },
      },
    };
    const where = ["--namespace", proxy, "--create-namespace", "--wait", "--values", "-"];
    await this.run("helm", ["install", "gitlab-workspaces-proxy", chart, ...where], JSON.stringify(values));
  }

  /** The command that GitLab shows when an agent is registered. */
  async agent(release: string, namespace: string): Promise<void> {
    await this.helm(release, namespace, "gitlab-agent", {
      config: { token: secrets.token, kasAddress: "wss://kas.gitlab.com" },
    });
  }

  private async helm(release: string, namespace: string, chart: keyof typeof charts, values: object): Promise<void> {
    const repository = await chartRepositoryUrl(this.engine.engine);
    assert.ok(repository !== undefined);
    const source = ["--repo", repository, "--version", charts[chart].version];
    const where = ["--namespace", namespace, "--create-namespace", "--wait", "--values", "-"];
    await this.run("helm", ["upgrade", "--install", release, chart, ...source, ...where], JSON.stringify(values));
  }

  private async secret(name: string, type: string, stringData: Readonly<Record<string, string>>): Promise<void> {
    const metadata = { name, namespace: proxy };
    await this.engine.apply({ apiVersion: "v1", kind: "Secret", metadata, type, stringData });
  }
}

/** The indented commands of a message. */
const commandsOf = (message: string): string[] => message.match(/(?<=^ {2,})(kubectl|pulumi) .*$/gm) ?? [];

/** `op name` of everything that a preview would do. */
async function preview(engine: TestEngine): Promise<string[]> {
  const { exitCode, stdout, all } = await engine.pulumi(["preview", "--json"]);
  assert.equal(exitCode, 0, all);
  const { steps } = JSON.parse(stdout) as { steps: { op: string; urn: string }[] };
  return (
    steps
      .filter(({ op }) => op !== "same" && op !== "read")
      // Components and providers are nothing on the cluster.
      .filter(({ urn }) => /::(.*\$)?(kubernetes:|tls:|random:|pulumi-nodejs:)[^:]*:[^:]*::[^:]*$/.test(urn))
      .map(({ op, urn }) => `${op} ${urn.split("::").at(-1) ?? ""}`)
      .sort()
  );
}

/** Looks at the proxy's available pods over and over while work is under way. @returns the fewest there were. */
async function fewestPods(engine: TestEngine, work: Promise<unknown>): Promise<number> {
  let working = true;
  let fewest = Number.POSITIVE_INFINITY;
  const watch = async (): Promise<void> => {
    while (working) {
      const { status } = await engine.get<{ status: { availableReplicas?: number } }>(
        ...["deployment", "gitlab-workspaces-proxy", "--namespace", proxy],
      );
      fewest = Math.min(fewest, status.availableReplicas ?? 0);
    }
  };
  await Promise.all([work.finally(() => (working = false)), watch()]);
  return fewest;
}

const settingsOf = async (engine: TestEngine): Promise<Record<string, string>> => {
  const { data = {} } = await engine.get<Live>("secret", "gitlab-workspaces-proxy-config", "--namespace", proxy);
  return Object.fromEntries(Object.entries(data).map(([key, value]) => [key, Buffer.from(value, "base64").toString()]));
};

describe("A cluster that was set up by GitLab's tutorial", () => {
  let engine: TestEngine;
  let tutorial: Tutorial;

  beforeEach(async function () {
    this.timeout(3_600_000);
    engine = await startEngine();
    const issued = await makeCertificate({
      name: domain,
      covers: [domain, `*.${domain}`],
      from: new Date(0),
      to: inTenYears(),
    });
    const hostKey = await makeCertificate({ name: "ssh" });
    tutorial = new Tutorial(engine, issued, hostKey.key);
    await engine.configure({ adopt: true, tls: { mode: "provided", certificate: issued.certificate } });
    await engine.setSecret("tlsKey", issued.key);
    await engine.setSecret("oauthClientSecret", secrets.clientSecret);
    await engine.setSecret("agentToken-local", secrets.token);
    await engine.setSecret("signingKey", secrets.signingKey);
    await engine.setSecret("sshHostKey", hostKey.key);
  });

  afterEach(async () => {
    await engine.stop();
  });

  it("is taken over by one switch: imports, no replacement, no moment without a proxy, nothing left to change", async () => {
    await tutorial.ingressController();
    await tutorial.proxy();
    await tutorial.agent("gitlab-agent", "gitlab-agent-local");
    const before = await engine.get<Live[]>("namespaces,secrets,deployments,services", "--all-namespaces");

    const first = await engine.pulumi(["preview"]);
    assert.notEqual(first.exitCode, 0);
    assert.match(first.all, /installed in namespace gitlab-agent-local as release gitlab-agent,/);
    assert.match(first.all, /reach their workspaces by SSH, and proxy\.ssh\.service is off/);
    assert.ok(!first.all.includes("others work there"));
    await tutorial.run("bash", ["-ec", commandsOf(first.all).join("\n")]);
    const second = await engine.pulumi(["preview"]);
    assert.notEqual(second.exitCode, 0);
    assert.match(second.all, /secret in its values: config\.token\./);
    assert.ok(!second.all.includes(secrets.token), "no secret in the message");
    await tutorial.run("bash", ["-ec", commandsOf(second.all).join("\n")]);

    assert.deepEqual(await preview(engine), [
      "create destroy-guard",
      "create gitlab-agent-local",
      "create gitlab-agent-local-disruption-budget",
      "create workspaces-proxy-disruption-budget",
      "create workspaces-proxy-metrics-closed",
      "create workspaces-proxy-metrics-closed",
      "import gitlab-agent-local-namespace",
      "import gitlab-agent-local-token",
      "import ingress-nginx",
      "import ingress-nginx-namespace",
      "import workspaces-proxy",
      "import workspaces-proxy-config",
      "import workspaces-proxy-namespace",
      "import workspaces-proxy-tls-domain",
      "import workspaces-proxy-tls-wildcard",
      "update gitlab-agent-local-namespace",
      "update ingress-nginx",
      "update ingress-nginx-namespace",
      "update workspaces-proxy",
      "update workspaces-proxy-namespace",
    ]);
    const fewest = await fewestPods(engine, engine.up());
    assert.ok(fewest >= 1, "a proxy was there all the time");
    assert.deepEqual(await engine.up(), []);
    await engine.configure({ adopt: false });
    assert.deepEqual(await engine.up(), []);

    const after = await engine.get<Live[]>("namespaces,secrets,deployments,services", "--all-namespaces");
    const uids = new Set(after.map(({ metadata }) => metadata.uid));
    const gone = before.filter(({ metadata }) => !uids.has(metadata.uid)).map(({ metadata }) => metadata.name);
    assert.deepEqual(
      gone.filter((name) => !name.startsWith("sh.helm.release.v1.gitlab-agent.")),
      [],
    );
    assert.deepEqual(await brokenReferences(engine), []);
    assert.equal((await settingsOf(engine))["auth.signing_key"], secrets.signingKey);
    assert.equal((await settingsOf(engine))["ssh.host_key"], tutorial.hostKey);
    const { stdout: state } = await engine.pulumi(["stack", "export"]);
    for (const secret of Object.values(secrets)) assert.ok(!state.includes(secret), "no secret in the open in state");
  });

  it("with the proxy chart of 0.1.12 is migrated: pods stay, nobody is logged out, the old chart's own things can go", async () => {
    await tutorial.ingressController();
    await tutorial.oldProxy();
    await tutorial.agent("gitlab-agent-local", "gitlab-agent-local");

    const refused = await engine.pulumi(["preview"]);
    assert.notEqual(refused.exitCode, 0);
    assert.match(
      refused.all.replaceAll(/\s+/g, " "),
      /secret in its values: auth\.client_secret, auth\.signing_key, ingress\.tls\.wildcardDomainKey, ingress\.tls\.workspaceDomainKey, ssh\.host_key\./,
    );
    assert.match(refused.all, /secret in its values: config\.token\./);
    assert.match(refused.all, /reach their workspaces by SSH/);
    for (const secret of Object.values(secrets)) assert.ok(!refused.all.includes(secret), "no secret in the message");
    await tutorial.run("bash", ["-ec", commandsOf(refused.all).join("\n")]);

    const fewest = await fewestPods(engine, engine.up());
    assert.ok(fewest >= 1, "a proxy was there all the time");
    assert.deepEqual(await engine.up(), []);
    assert.deepEqual(await brokenReferences(engine), []);
    assert.equal((await settingsOf(engine))["auth.signing_key"], secrets.signingKey);
    const guide = await readFile(join(__dirname, "..", "..", "docs", "adoption.md"), "utf8");
    const [cleaning = ""] = /(?<=```sh\n)kubectl delete[^`]*gitlab-workspaces-proxy-http[^`]*/.exec(guide) ?? [];
    await tutorial.run("bash", ["-ec", cleaning]);
    const left = await engine.get<Live[]>("services,secrets,deployments,ingresses", "--namespace", proxy);
    assert.deepEqual(left.map(({ metadata }) => metadata.name).sort(), [
      "gitlab-workspace-proxy-tls",
      "gitlab-workspace-proxy-wildcard-tls",
      "gitlab-workspaces-proxy",
      "gitlab-workspaces-proxy",
      "gitlab-workspaces-proxy",
      "gitlab-workspaces-proxy-config",
      "gitlab-workspaces-proxy-metrics-closed",
      "gitlab-workspaces-proxy-metrics-closed",
      "gitlab-workspaces-proxy-ssh",
      "sh.helm.release.v1.gitlab-workspaces-proxy.v1",
    ]);
    assert.deepEqual(await engine.up(), []);
  });
});

/** The engine's clock is that of the machine, not the tests'. */
function inTenYears(): Date {
  return new Date(Date.now() + 10 * 365 * 24 * 3600 * 1000);
}
