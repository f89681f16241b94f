import assert from "node:assert/strict";
import { parse } from "yaml";
import { doubtfulValues } from "../../src/config/plain-secrets";
import { filledExample } from "../support/examples";
import { type Recorded, type Run, runProgram, secretSignature, value } from "../support/program";
import { secrets, signingKey, stack } from "../support/stacks";

const release = "kubernetes:helm.sh/v3:Release";
const secret = "kubernetes:core/v1:Secret";
const ingress = "kubernetes:networking.k8s.io/v1:Ingress";

/** Looks into plain data: `at(x, "a.b.0.c")`, with dots inside a key written as `\.`. */
function at(data: unknown, path: string): unknown {
  const keys = path.split(/(?<!\\)\./).map((key) => key.replaceAll("\\.", "."));
  return keys.reduce<unknown>((found, key) => (found as Record<string, unknown> | undefined)?.[key], data);
}

/** What a Secret holds, decoded; it has to be in a secret wrapper as a whole. */
function held({ inputs }: Recorded): Record<string, string> {
  const { data } = inputs as { data: { value: Record<string, string> } };
  assert.ok(secretSignature in data, "the data of a Secret is marked secret");
  return Object.fromEntries(
    Object.entries(data.value).map(([key, value]) => [key, Buffer.from(value, "base64").toString()]),
  );
}

function find(run: Run, type: string, name: string): Recorded {
  const found = run.resources.find((resource) => resource.type === type && resource.name === name);
  assert.ok(found, `${type} ${name} is made; there are: ${run.resources.map((r) => r.name).join(", ")}`);
  return found;
}

describe("The program", () => {
  let run: Run;
  before(async () => {
    run = await runProgram(stack());
  });

  it("makes exactly these resources for a small self-managed stack", () => {
    assert.deepEqual(run.resources.map(({ type, name }) => `${type} ${name}`).sort(), [
      "gitlab-workspaces:clusters:SelfManaged cluster",
      "gitlab-workspaces:platform:GeneratedSecrets generated-secrets",
      "gitlab-workspaces:platform:GitLabAgent gitlab-agent-main",
      "gitlab-workspaces:platform:IngressNginx ingress-nginx",
      "gitlab-workspaces:platform:TlsSecrets workspaces-proxy-tls",
      "gitlab-workspaces:platform:WorkspacesProxy workspaces-proxy",
      "kubernetes:core/v1:Namespace gitlab-agent-main-namespace",
      "kubernetes:core/v1:Namespace ingress-nginx-namespace",
      "kubernetes:core/v1:Namespace workspaces-proxy-namespace",
      "kubernetes:core/v1:Secret gitlab-agent-main-token",
      "kubernetes:core/v1:Secret workspaces-proxy-config",
      "kubernetes:core/v1:Secret workspaces-proxy-tls-domain",
      "kubernetes:core/v1:Secret workspaces-proxy-tls-wildcard",
      "kubernetes:core/v1:Service ingress-nginx-controller",
      "kubernetes:core/v1:Service workspaces-proxy-metrics-closed",
      "kubernetes:helm.sh/v3:Release gitlab-agent-main",
      "kubernetes:helm.sh/v3:Release ingress-nginx",
      "kubernetes:helm.sh/v3:Release workspaces-proxy",
      "kubernetes:networking.k8s.io/v1:Ingress workspaces-proxy-metrics-closed",
      "kubernetes:policy/v1:PodDisruptionBudget gitlab-agent-main-disruption-budget",
      "kubernetes:policy/v1:PodDisruptionBudget workspaces-proxy-disruption-budget",
      "pulumi-nodejs:dynamic/gitlab-workspaces:DestroyGuard destroy-guard",
      "pulumi:providers:kubernetes kubernetes",
      "pulumi:providers:pulumi-nodejs destroy-guard",
      "random:index/randomPassword:RandomPassword signing-key",
      "tls:index/privateKey:PrivateKey ssh-host-key",
      "tls:index/privateKey:PrivateKey workspaces-proxy-tls-key",
      "tls:index/selfSignedCert:SelfSignedCert workspaces-proxy-tls-certificate",
    ]);
  });

  it("reaches Kubernetes through the cluster's provider alone", () => {
    const onKubernetes = run.resources.filter(({ type }) => type.startsWith("kubernetes:"));
    assert.equal(onKubernetes.length, 15);
    for (const { name, provider } of onKubernetes) {
      assert.match(provider, /pulumi:providers:kubernetes::kubernetes::kubernetes-id$/, name);
    }
  });

  it("names the cluster in its provider, so that a new kubeconfig replaces nothing", () => {
    const provider = find(run, "pulumi:providers:kubernetes", "kubernetes").inputs;
    assert.equal(provider["clusterIdentifier"], "metal");
    assert.equal(String(provider["enableSecretMutable"]), "true");
  });

  it("pins every release to one version under a fixed name", () => {
    const releases = run.resources.filter(({ type }) => type === release);
    assert.deepEqual(releases.map(({ inputs }) => [inputs["name"], inputs["chart"], inputs["version"]]).sort(), [
      ["gitlab-agent-main", "gitlab-agent", "2.26.0"],
      ["gitlab-workspaces-proxy", "gitlab-workspaces-proxy", "0.1.25"],
      ["ingress-nginx", "ingress-nginx", "4.15.1"],
    ]);
  });

  it("gives the proxy the three Secrets under the names and keys that it reads", () => {
    const keys = (name: string): [unknown, unknown, string[]] => {
      const found = find(run, secret, name);
      return [at(found.inputs, "metadata.name"), found.inputs["type"], Object.keys(held(found)).sort()];
    };
    assert.deepEqual(keys("workspaces-proxy-config"), [
      "gitlab-workspaces-proxy-config",
      "Opaque",
      ["auth.client_id", "auth.client_secret", "auth.host", "auth.redirect_uri", "auth.signing_key", "ssh.host_key"],
    ]);
    const pem = ["tls.crt", "tls.key"];
    assert.deepEqual(keys("workspaces-proxy-tls-domain"), ["gitlab-workspace-proxy-tls", "kubernetes.io/tls", pem]);
    assert.deepEqual(keys("workspaces-proxy-tls-wildcard"), [
      "gitlab-workspace-proxy-wildcard-tls",
      "kubernetes.io/tls",
      pem,
    ]);
  });

  it("tells the proxy where GitLab is and where GitLab sends people back to, to the letter", () => {
    const settings = held(find(run, secret, "workspaces-proxy-config"));
    assert.equal(at(settings, "auth\\.host"), "https://gitlab.com");
    assert.equal(at(settings, "auth\\.redirect_uri"), "https://workspaces.example.test/auth/callback");
    assert.equal(at(settings, "auth\\.client_id"), "oauth-client-id");
  });

  it("takes hosts, redirect URI, certificate names, records and the agents' zone from one domain", async () => {
    const other = await runProgram(stack({ domain: "ws.other.test" }));
    const everything = JSON.stringify([
      other.resources,
      await value(other.outputs.dnsRecords),
      other.outputs.agentConfig,
    ]);
    assert.doesNotMatch(everything, /workspaces\.example\.test/);
    const values = find(other, release, "workspaces-proxy").inputs["values"];
    assert.deepEqual(at(values, "ingress.hosts.0.host"), "ws.other.test");
    assert.deepEqual(at(values, "ingress.hosts.1.host"), "*.ws.other.test");
    assert.deepEqual(at(values, "ingress.tls"), [
      { secretName: "gitlab-workspace-proxy-tls", hosts: ["ws.other.test"] },
      { secretName: "gitlab-workspace-proxy-wildcard-tls", hosts: ["*.ws.other.test"] },
    ]);
    assert.deepEqual(
      find(other, "tls:index/selfSignedCert:SelfSignedCert", "workspaces-proxy-tls-certificate").inputs["dnsNames"],
      ["ws.other.test", "*.ws.other.test"],
    );
    const committed = parse(other.outputs.agentConfig[".gitlab/agents/main/config.yaml"] ?? "") as unknown;
    assert.equal(at(committed, "remote_development.dns_zone"), "ws.other.test");
  });

  it("keeps workspaces away from private networks and from the cloud's metadata service", () => {
    const committed = parse(run.outputs.agentConfig[".gitlab/agents/main/config.yaml"] ?? "") as unknown;
    assert.deepEqual(at(committed, "remote_development.network_policy"), {
      enabled: true,
      egress: [{ allow: "0.0.0.0/0", except: ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.169.254/32"] }],
    });
    assert.equal(at(committed, "remote_development.gitlab_workspaces_proxy.namespace"), "gitlab-workspaces");
  });

  it("gives the agent's chart its token by the name of a Secret", () => {
    const { inputs } = find(run, secret, "gitlab-agent-main-token");
    const values = find(run, release, "gitlab-agent-main").inputs["values"];
    assert.equal(at(values, "config.secretName"), at(inputs, "metadata.name"));
    assert.equal(at(values, "config.token"), undefined);
    assert.equal(at(values, "config.kasAddress"), "wss://kas.gitlab.com");
  });

  it("marks its own namespaces with the Pod Security level they run at", () => {
    const namespaces = run.resources.filter(({ type }) => type === "kubernetes:core/v1:Namespace");
    assert.equal(namespaces.length, 3);
    for (const { inputs } of namespaces) {
      assert.equal(at(inputs, "metadata.labels.pod-security\\.kubernetes\\.io/enforce"), "baseline");
    }
  });

  it("keeps two replicas of everything people work through, one of them safe from node drains", () => {
    assert.equal(at(find(run, release, "workspaces-proxy").inputs["values"], "replicaCount"), 2);
    assert.equal(at(find(run, release, "gitlab-agent-main").inputs["values"], "replicas"), 2);
    assert.equal(at(find(run, release, "ingress-nginx").inputs["values"], "controller.replicaCount"), 2);
    assert.equal(at(find(run, release, "ingress-nginx").inputs["values"], "controller.minAvailable"), 1);
    for (const budget of run.resources.filter(({ type }) => type === "kubernetes:policy/v1:PodDisruptionBudget")) {
      assert.equal(at(budget.inputs, "spec.minAvailable"), 1);
    }
  });

  it("names two instances on one cluster so that they share nothing", async () => {
    const second = await runProgram(stack({ instance: "blue", domain: "blue.example.test" }));
    const named = (from: Run): string[] =>
      from.resources
        .filter(({ type, inputs }) => type.startsWith("kubernetes:") && inputs["metadata"] !== undefined)
        .map(({ type, inputs }) => [type, at(inputs, "metadata.namespace"), at(inputs, "metadata.name")].join(" "))
        .concat(from.resources.filter(({ type }) => type === release).map(({ inputs }) => String(inputs["name"])));
    const first = new Set(named(run));
    assert.ok(first.size > 10);
    assert.deepEqual(
      named(second).filter((name) => first.has(name)),
      [],
    );
    const nginx = find(second, release, "ingress-nginx").inputs["values"];
    assert.equal(at(nginx, "controller.ingressClassResource.name"), "nginx-blue");
    assert.equal(at(nginx, "controller.ingressClassResource.controllerValue"), "k8s.io/ingress-nginx-blue");
    const committed = parse(second.outputs.agentConfig[".gitlab/agents/main/config.yaml"] ?? "") as unknown;
    assert.equal(at(committed, "remote_development.gitlab_workspaces_proxy.namespace"), "gitlab-workspaces-blue");
  });

  it("restarts the proxy when its settings change, and the agent when its token does, and nothing else", async () => {
    const rotated = await runProgram(stack({}, { oauthClientSecret: "another-secret" }));
    const changed = (before: Run, after: Run): string[] =>
      before.resources
        .filter(({ type, name, inputs }) => JSON.stringify(find(after, type, name).inputs) !== JSON.stringify(inputs))
        .map(({ name }) => name)
        .sort();
    assert.deepEqual(changed(run, rotated), ["workspaces-proxy", "workspaces-proxy-config"]);
    const token = await runProgram(stack({}, { "agentToken-main": "another-token" }));
    assert.deepEqual(changed(run, token), ["gitlab-agent-main", "gitlab-agent-main-token"]);
  });

  it("uses the signing key and the SSH host key it is given, and makes those it is not", async () => {
    const given = await runProgram(stack({}, { signingKey }));
    const settings = held(find(given, secret, "workspaces-proxy-config"));
    assert.equal(at(settings, "auth\\.signing_key"), signingKey);
    assert.ok(!given.resources.some(({ name }) => name === "signing-key"));
    assert.ok(given.resources.some(({ name }) => name === "ssh-host-key"));
  });

  it("lists the records to create for the domain and its wildcard", async () => {
    assert.deepEqual(await value(run.outputs.dnsRecords), [
      { name: "workspaces.example.test", type: "A", value: "203.0.113.7" },
      { name: "*.workspaces.example.test", type: "A", value: "203.0.113.7" },
    ]);
  });

  it("opens SSH as told: not at all, inside the cluster, or on an address of its own", async () => {
    const service = (from: Run): unknown => at(find(from, release, "workspaces-proxy").inputs["values"], "sshService");
    assert.deepEqual(service(run), { enabled: false });
    const inside = await runProgram(stack({ proxy: { ssh: { service: "ClusterIP", port: 2022 } } }));
    assert.deepEqual(service(inside), { enabled: true, type: "ClusterIP", port: 2022, annotations: {} });
    const outside = await runProgram(stack({ proxy: { ssh: { service: "LoadBalancer" } } }));
    assert.deepEqual(service(outside), { enabled: true, type: "LoadBalancer", port: 22, annotations: {} });
    const records = await value(outside.outputs.dnsRecords);
    assert.deepEqual(records.at(-1), { name: "ssh.workspaces.example.test", type: "A", value: "203.0.113.7" });
    const ports = at(find(outside, release, "workspaces-proxy").inputs["values"], "sshPort");
    assert.ok(Number(ports) >= 1024, "the port inside the container needs no privilege");
  });

  it("installs an agent without cluster-admin where it is given a ServiceAccount", async () => {
    const restricted = await runProgram(
      stack({ agents: [{ name: "main", namespace: "agents", serviceAccount: "workspaces-agent" }] }),
    );
    const values = find(restricted, release, "gitlab-agent-main").inputs["values"];
    assert.deepEqual(at(values, "serviceAccount"), { create: false, name: "workspaces-agent" });
    assert.deepEqual(at(values, "rbac"), { create: false });
    const namespaces = restricted.resources.filter(({ type }) => type === "kubernetes:core/v1:Namespace");
    assert.ok(
      !namespaces.some(({ inputs }) => at(inputs, "metadata.name") === "agents"),
      "its namespace is the user's",
    );
  });

  it("installs one release per agent, each in its own namespace", async () => {
    const two = await runProgram(
      stack({ agents: [{ name: "main" }, { name: "data", namespace: "data-agent" }] }, { "agentToken-data": "second" }),
    );
    const namespaces = two.resources
      .filter(({ type }) => type === "kubernetes:core/v1:Namespace")
      .map(({ inputs }) => at(inputs, "metadata.name"));
    assert.ok(namespaces.includes("gitlab-agent-main") && namespaces.includes("data-agent"));
    assert.deepEqual(Object.keys(two.outputs.agentConfig), [
      ".gitlab/agents/main/config.yaml",
      ".gitlab/agents/data/config.yaml",
    ]);
  });

  it("lets the user's chart values have the last word, deep inside and without losing the rest", async () => {
    const own = await runProgram(
      stack({
        charts: {
          "gitlab-workspaces-proxy": {
            version: "0.1.26",
            values: { replicaCount: 3, resources: { limits: { memory: "1Gi" } } },
          },
        },
      }),
    );
    const { inputs } = find(own, release, "workspaces-proxy");
    assert.equal(inputs["version"], "0.1.26");
    assert.equal(at(inputs["values"], "replicaCount"), 3);
    assert.deepEqual(at(inputs["values"], "resources"), {
      requests: { cpu: "50m", memory: "64Mi" },
      limits: { memory: "1Gi" },
    });
  });

  it("takes a chart from an OCI registry as well as from a Helm repository", async () => {
    const mirrored = await runProgram(
      stack({ charts: { "gitlab-agent": { repository: "oci://mirror.example.test/charts" } } }),
    );
    const { inputs } = find(mirrored, release, "gitlab-agent-main");
    assert.equal(inputs["chart"], "oci://mirror.example.test/charts/gitlab-agent");
    assert.equal(inputs["repositoryOpts"], undefined);
    assert.deepEqual(find(run, release, "gitlab-agent-main").inputs["repositoryOpts"], {
      repo: "https://charts.gitlab.io",
    });
  });
});

describe("The example of a self-managed cluster", () => {
  it("makes exactly these resources", async () => {
    const own = { from: new Date(Date.now() - 86_400_000), to: new Date(Date.now() + 90 * 86_400_000) };
    const { settings, secrets: given } = await filledExample("Pulumi.self-managed.yaml", own);
    const run = await runProgram(stack({ ...settings }, { ...given, "agentToken-main": undefined }));
    assert.deepEqual(run.resources.map(({ type, name }) => `${type} ${name}`).sort(), [
      "gitlab-workspaces:clusters:SelfManaged cluster",
      "gitlab-workspaces:platform:GeneratedSecrets generated-secrets",
      "gitlab-workspaces:platform:GitLabAgent gitlab-agent-team-a",
      "gitlab-workspaces:platform:TlsSecrets workspaces-proxy-tls",
      "gitlab-workspaces:platform:Traefik traefik",
      "gitlab-workspaces:platform:WorkspacesProxy workspaces-proxy",
      "kubernetes:core/v1:Namespace gitlab-agent-team-a-namespace",
      "kubernetes:core/v1:Namespace traefik-namespace",
      "kubernetes:core/v1:Namespace workspaces-proxy-namespace",
      "kubernetes:core/v1:Secret gitlab-agent-team-a-token",
      "kubernetes:core/v1:Secret workspaces-proxy-config",
      "kubernetes:core/v1:Secret workspaces-proxy-tls-domain",
      "kubernetes:core/v1:Secret workspaces-proxy-tls-wildcard",
      "kubernetes:core/v1:Service traefik-service",
      "kubernetes:core/v1:Service workspaces-proxy-metrics-closed",
      "kubernetes:core/v1:Service workspaces-proxy-ssh",
      "kubernetes:helm.sh/v3:Release gitlab-agent-team-a",
      "kubernetes:helm.sh/v3:Release traefik",
      "kubernetes:helm.sh/v3:Release workspaces-proxy",
      "kubernetes:networking.k8s.io/v1:Ingress workspaces-proxy-metrics-closed",
      "kubernetes:policy/v1:PodDisruptionBudget gitlab-agent-team-a-disruption-budget",
      "kubernetes:policy/v1:PodDisruptionBudget workspaces-proxy-disruption-budget",
      "pulumi-nodejs:dynamic/gitlab-workspaces:DestroyGuard destroy-guard",
      "pulumi:providers:kubernetes kubernetes",
      "pulumi:providers:pulumi-nodejs destroy-guard",
      "random:index/randomPassword:RandomPassword signing-key",
      "tls:index/privateKey:PrivateKey ssh-host-key",
    ]);
  });
});

describe("Every preview", () => {
  const warnings = async (settings: Record<string, unknown>): Promise<string> =>
    (await runProgram(stack(settings))).warnings.join("\n");

  it("says that ingress-nginx is retired, and is silent about traefik", async () => {
    assert.match(await warnings({}), /retired ingress-nginx in March 2026/);
    assert.doesNotMatch(await warnings({ ingress: { controller: "traefik" } }), /retired/);
  });

  it("names the agents that are cluster-admin", async () => {
    assert.match(await warnings({}), /main, runs as cluster-admin/);
    assert.doesNotMatch(
      await warnings({ agents: [{ name: "main", namespace: "agents", serviceAccount: "own" }] }),
      /cluster-admin/,
    );
  });

  it("says what must hold of a controller that somebody else installed", async () => {
    const said = await warnings({ ingress: { controller: "existing", className: "corporate" } });
    assert.match(said, /WebSocket/);
    assert.match(said, /\/metrics/);
  });
});

describe("Ingress", () => {
  const values = (run: Run, name: string): unknown => find(run, release, name).inputs["values"];

  it("keeps WebSockets of nginx open for a day, unbuffered, through reloads", async () => {
    const run = await runProgram(stack());
    assert.deepEqual(at(values(run, "workspaces-proxy"), "ingress.annotations"), {
      "nginx.ingress.kubernetes.io/proxy-read-timeout": "86400",
      "nginx.ingress.kubernetes.io/proxy-send-timeout": "86400",
      "nginx.ingress.kubernetes.io/proxy-buffering": "off",
      "nginx.ingress.kubernetes.io/proxy-request-buffering": "off",
      "nginx.ingress.kubernetes.io/proxy-body-size": "0",
    });
    assert.equal(at(values(run, "ingress-nginx"), "controller.config.worker-shutdown-timeout"), "86400s");
    assert.equal(at(values(run, "ingress-nginx"), "controller.admissionWebhooks.enabled"), false);
  });

  it("keeps WebSockets of traefik open for a day", async () => {
    const run = await runProgram(stack({ ingress: { controller: "traefik" } }));
    assert.deepEqual(at(values(run, "traefik"), "ports.websecure.transport.respondingTimeouts"), {
      readTimeout: "0s",
      writeTimeout: "0s",
      idleTimeout: "86400s",
    });
    assert.equal(at(values(run, "workspaces-proxy"), "ingress.className"), "traefik");
    assert.ok(!run.resources.some(({ name }) => name === "ingress-nginx"));
  });

  it("closes the proxy's /metrics on every host, whatever the controller", async () => {
    for (const config of [
      { controller: "nginx" },
      { controller: "traefik" },
      { controller: "existing", className: "own" },
    ]) {
      const run = await runProgram(stack({ ingress: config }));
      const { inputs } = find(run, ingress, "workspaces-proxy-metrics-closed");
      const nobody = find(run, "kubernetes:core/v1:Service", "workspaces-proxy-metrics-closed").inputs;
      assert.equal(at(nobody, "spec.selector"), undefined);
      assert.deepEqual(
        [0, 1].map((rule) => {
          const path = `spec.rules.${rule}.http.paths.0`;
          const service = at(inputs, `${path}.backend.service.name`);
          return [
            at(inputs, `spec.rules.${rule}.host`),
            at(inputs, `${path}.path`),
            at(inputs, `${path}.pathType`),
            service,
          ];
        }),
        ["workspaces.example.test", "*.workspaces.example.test"].map((host) => [
          ...[host, "/metrics", "Exact"],
          at(nobody, "metadata.name"),
        ]),
      );
      assert.equal(
        at(inputs, "spec.ingressClassName"),
        at(values(run, "workspaces-proxy"), "ingress.className"),
        "the same controller serves both",
      );
    }
  });

  it("installs no controller where there is one, and reads the address from the proxy's Ingress", async () => {
    const run = await runProgram(
      stack({
        ingress: { controller: "existing", className: "corporate", annotations: { "corporate/timeout": "1d" } },
      }),
    );
    assert.equal(at(values(run, "workspaces-proxy"), "ingress.className"), "corporate");
    assert.deepEqual(at(values(run, "workspaces-proxy"), "ingress.annotations"), { "corporate/timeout": "1d" });
    assert.equal(run.resources.filter(({ type }) => type === release).length, 2);
    assert.equal(await value(run.outputs.ingressAddress), "203.0.113.7");
  });
});

describe("Secrets of stack config", () => {
  // What a reader of state, of a preview or of Helm's own records could see.
  it("appear in nothing that is recorded outside a secret wrapper", async () => {
    const run = await runProgram(stack({}, { signingKey }));
    const canaries = Object.entries({ ...secrets, kubeconfig: "canary-kubeconfig-token", signingKey });
    const leaks: string[] = [];
    const walk = (data: unknown, path: string): void => {
      if (typeof data === "string") {
        for (const [key, canary] of canaries) if (data.includes(canary)) leaks.push(`${key} at ${path}`);
      } else if (typeof data === "object" && data !== null && !(secretSignature in data)) {
        for (const [key, child] of Object.entries(data)) walk(child, `${path}.${key}`);
      }
    };
    for (const { type, name, inputs } of run.resources) walk({ type, name, inputs }, name);
    walk(await value(run.outputs.dnsRecords), "dnsRecords");
    walk(run.outputs.agentConfig, "agentConfig");
    walk([run.outputs.workspacesUrl, run.outputs.oauthRedirectUri], "outputs");
    assert.deepEqual(leaks, []);
  });

  it("are not taken to stand in the program's own values, which a stack that lost its state takes over", async () => {
    const { resources } = await runProgram(stack({ proxy: { ssh: { service: "LoadBalancer", port: 22 } } }));
    const releases = resources.filter(({ type }) => type === "kubernetes:helm.sh/v3:Release");
    assert.equal(releases.length, 3);
    for (const { inputs } of releases)
      assert.deepEqual(doubtfulValues(String(inputs["chart"]), await value(inputs["values"])), []);
  });

  it("reach charts by the name of a Secret and never as a value", async () => {
    const run = await runProgram(stack());
    for (const { name, inputs } of run.resources.filter(({ type }) => type === release)) {
      assert.ok(!JSON.stringify(inputs["values"]).includes(secretSignature), `${name} has a secret among its values`);
    }
  });
});
