import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { parse, parseAllDocuments, stringify } from "yaml";
import { progressTo } from "../../local/progress";
import { ensureToolchain } from "../../local/toolchain/toolchain";
import { packageCharts, serveCharts } from "../../local/charts/repository";
import type { ChartServer } from "../../local/charts/repository";

const run = promisify(execFile);

/** A rendered Kubernetes object, as far as these tests look into it. */
interface Rendered {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly labels: Readonly<Record<string, string>> };
  readonly spec?: Readonly<Record<string, unknown>>;
  readonly data?: Readonly<Record<string, string>>;
}

interface PodSpec {
  readonly serviceAccountName: string;
  readonly containers: readonly {
    readonly image: string;
    readonly args?: readonly string[];
    readonly env?: readonly {
      readonly name: string;
      readonly valueFrom?: { readonly secretKeyRef?: { readonly name: string; readonly key: string } };
    }[];
  }[];
  readonly volumes?: readonly Readonly<Record<string, unknown>>[];
}

const proxy = "gitlab-workspaces-proxy";
const agent = "gitlab-agent";
const nginx = "ingress-nginx";
const agentValues = { config: { kasAddress: "wss://kas.example.com", secretName: "agent-token" } };

describe("stand-in chart repository", () => {
  let helm: string;
  let scratch: string;
  let directory: string;
  let server: ChartServer;
  const cleanUp: (() => Promise<void>)[] = [];

  before(async function () {
    this.timeout(3_600_000);
    ({ helm } = await ensureToolchain(progressTo()));
    scratch = await mkdtemp(join(tmpdir(), "charts-"));
    cleanUp.unshift(() => rm(scratch, { recursive: true, force: true }));
    directory = join(scratch, "repository");
    await packageCharts({ helm, directory });
    server = await serveCharts({ directory, port: 0 });
    cleanUp.unshift(() => server.close());
  });

  after(async () => {
    for (const step of cleanUp) await step();
  });

  /** Renders a chart out of the served repository, as helm would install it. */
  async function render(chart: string, values: unknown = {}, release = chart): Promise<readonly Rendered[]> {
    const file = join(scratch, "values.yaml");
    await writeFile(file, stringify(values));
    const flags = ["--namespace", "here", "--kube-version", "1.36.4", "--repo", url(server), "--values", file];
    const home = join(scratch, "helm");
    const env = { HOME: home, HELM_CACHE_HOME: home, HELM_CONFIG_HOME: home, HELM_DATA_HOME: home };
    const { stdout } = await run(helm, ["template", release, chart, ...flags], { env });
    return parseAllDocuments(stdout)
      .map((document) => document.toJS() as Rendered | null)
      .filter((object): object is Rendered => object !== null);
  }

  async function refused(chart: string, values: unknown, reason: RegExp): Promise<void> {
    await assert.rejects(render(chart, values), reason);
  }

  function named(objects: readonly Rendered[], kind: string): readonly string[] {
    return objects
      .filter((object) => object.kind === kind)
      .map(({ metadata }) => metadata.name)
      .sort();
  }

  function only(objects: readonly Rendered[], kind: string): Rendered {
    const [object, ...others] = objects.filter((candidate) => candidate.kind === kind);
    assert.ok(object, `no ${kind}`);
    assert.deepEqual(others, []);
    return object;
  }

  function podOf(objects: readonly Rendered[]): PodSpec {
    const { template } = only(objects, "Deployment").spec as { template: { spec: PodSpec } };
    return template.spec;
  }

  describe("as a Helm repository", () => {
    it("lists every chart under a relative address, so that any port works", async () => {
      const index = parse(await readFile(join(directory, "index.yaml"), "utf8")) as {
        entries: Record<string, { version: string; urls: string[] }[]>;
      };
      assert.deepEqual(
        Object.entries(index.entries).map(([name, [chart]]) => [
          name,
          chart?.urls[0] === `${name}-${chart?.version}.tgz`,
        ]),
        [agent, proxy, nginx, "traefik"].map((name) => [name, true]),
      );
    });

    it("is left alone when nothing changed", async () => {
      const before = await stat(join(directory, "index.yaml"));
      await packageCharts({ helm, directory });
      assert.equal((await stat(join(directory, "index.yaml"))).mtimeMs, before.mtimeMs);
    });

    it("is packaged again when a package is gone", async () => {
      const other = join(scratch, "damaged");
      await packageCharts({ helm, directory: other });
      const all = await readdir(other);
      await rm(join(other, all.find((file) => file.endsWith(".tgz")) ?? ""));
      await packageCharts({ helm, directory: other });
      assert.deepEqual(await readdir(other), all);
    });

    it("holds further versions of one chart when asked, and drops them when no longer asked", async () => {
      const other = join(scratch, "upgrade");
      await packageCharts({ helm, directory: other, extraVersions: { [proxy]: ["0.1.26"] } });
      const both = (await readdir(other)).filter((file) => file.startsWith(proxy));
      assert.deepEqual(both, [`${proxy}-0.1.25.tgz`, `${proxy}-0.1.26.tgz`]);
      await packageCharts({ helm, directory: other });
      assert.deepEqual(
        (await readdir(other)).filter((file) => file.startsWith(proxy)),
        [`${proxy}-0.1.25.tgz`],
      );
    });

    it("refuses a further version of a chart it does not have", async () => {
      const extraVersions = { nginx: ["1.0.0"] };
      await assert.rejects(packageCharts({ helm, directory, extraVersions }), /no stand-in chart named nginx/);
    });

    it("serves its files and nothing else, to readers only", async () => {
      const answers = [];
      for (const [method, path] of [
        ["GET", "/index.yaml"],
        ["HEAD", "/index.yaml"],
        ["GET", "/index.yaml?query"],
        ["GET", "/missing-1.0.0.tgz"],
        ["GET", "/charts.sha256"],
        ["GET", "/../repository/index.yaml"],
        ["GET", "/..%2frepository%2findex.yaml"],
        ["GET", "/"],
        ["PUT", "/index.yaml"],
      ] as const) {
        answers.push([method, path, await status(server, method, path)]);
      }
      assert.deepEqual(answers, [
        ["GET", "/index.yaml", 200],
        ["HEAD", "/index.yaml", 200],
        ["GET", "/index.yaml?query", 200],
        ["GET", "/missing-1.0.0.tgz", 404],
        ["GET", "/charts.sha256", 404],
        ["GET", "/../repository/index.yaml", 404],
        ["GET", "/..%2frepository%2findex.yaml", 404],
        ["GET", "/", 404],
        ["PUT", "/index.yaml", 405],
      ]);
    });

    it("runs as a process of its own that says its port first and ends when told", async () => {
      const child = execFile(process.execPath, ["--import", "tsx", join(charts, "serve.ts"), directory, "0"]);
      assert.ok(child.stdout);
      const [line] = (await once(child.stdout, "data")) as [string];
      assert.equal(await status({ port: Number(line) }, "GET", "/index.yaml"), 200);
      child.kill("SIGTERM");
      assert.deepEqual(await once(child, "exit"), [0, null]);
    });

    it("ends without a port when the one asked for is taken", async () => {
      const serve = [join(charts, "serve.ts"), directory, String(server.port)];
      await assert.rejects(run(process.execPath, ["--import", "tsx", ...serve]), /EADDRINUSE/);
    });
  });

  describe("every chart", () => {
    for (const [chart, values] of [
      [proxy, {}],
      [agent, agentValues],
      [nginx, {}],
      ["traefik", {}],
    ] as const) {
      it(`refuses an unknown value: ${chart}`, async () => {
        await refused(chart, { ...values, unknownValue: true }, /unknownValue/);
      });

      it(`is named after the release alone when that holds the chart's name: ${chart}`, async () => {
        const pods = ["Deployment"];
        const suffix = { [agent]: "-v2", [nginx]: "-controller" }[chart as string] ?? "";
        for (const [release, name] of [
          [chart, chart],
          [`team-${chart}`, `team-${chart}`],
          ["team", `team-${chart}`],
        ] as const) {
          const objects = await render(chart, values, release);
          assert.deepEqual(
            pods.map((kind) => only(objects, kind).metadata.name),
            [`${name}${suffix}`],
          );
          assert.equal(only(objects, "Deployment").metadata.labels["app.kubernetes.io/name"], chart);
        }
      });
    }
  });

  describe("the proxy's chart", () => {
    const ingress = {
      enabled: true,
      className: "nginx",
      hosts: [{ host: "*.d.example.com", paths: [{ path: "/", pathType: "Prefix" }] }],
      tls: [{ secretName: "wildcard", hosts: ["*.d.example.com"] }],
    };

    it("reads exactly the six keys of its Secret", async () => {
      const references = podOf(await render(proxy, { configSecretName: "settings" }))
        .containers.flatMap(({ env }) => env ?? [])
        .flatMap(({ name, valueFrom }) => (valueFrom?.secretKeyRef ? [[name, valueFrom.secretKeyRef]] : []));
      assert.deepEqual(references, [
        ["AUTH_CLIENT_ID", { name: "settings", key: "auth.client_id" }],
        ["AUTH_CLIENT_SECRET", { name: "settings", key: "auth.client_secret" }],
        ["AUTH_HOST", { name: "settings", key: "auth.host" }],
        ["AUTH_REDIRECT_URI", { name: "settings", key: "auth.redirect_uri" }],
        ["AUTH_SIGNING_KEY", { name: "settings", key: "auth.signing_key" }],
        ["SSH_HOST_KEY", { name: "settings", key: "ssh.host_key" }],
      ]);
    });

    it("makes one Service for HTTP and one for SSH", async () => {
      const objects = await render(proxy);
      assert.deepEqual(named(objects, "Service"), [proxy, `${proxy}-ssh`]);
      const ports = objects.flatMap(({ kind, spec }) => (kind === "Service" ? [spec?.["type"], spec?.["ports"]] : []));
      assert.deepEqual(ports, [
        "ClusterIP",
        [{ name: "http", port: 80, targetPort: "http", protocol: "TCP" }],
        "LoadBalancer",
        [{ name: "ssh", port: 22, targetPort: "ssh", protocol: "TCP" }],
      ]);
    });

    it("makes no Ingress unless it is enabled", async () => {
      assert.deepEqual(named(await render(proxy, { ingress: { ...ingress, enabled: false } }), "Ingress"), []);
      assert.deepEqual(named(await render(proxy, { ingress }), "Ingress"), [proxy]);
    });

    it("makes an Ingress without a class when the class is empty", async () => {
      const classes = [];
      for (const className of ["nginx", ""]) {
        classes.push(only(await render(proxy, { ingress: { ...ingress, className } }), "Ingress").spec);
      }
      assert.deepEqual(
        classes.map((spec) => spec?.["ingressClassName"]),
        ["nginx", undefined],
      );
    });

    it("refuses a number as an annotation of its pods", async () => {
      await refused(proxy, { podAnnotations: { checksum: 1 } }, /podAnnotations\/checksum.*want string/s);
    });

    it("refuses the values of charts before 0.1.16", async () => {
      await refused(proxy, { auth: { client_id: "id" } }, /auth/);
      await refused(proxy, { ingress: { host: { workspaceDomain: "d.example.com" } } }, /host/);
    });

    it("may watch Services everywhere, or only in the namespaces it is given", async () => {
      const everywhere = await render(proxy);
      assert.deepEqual(named(everywhere, "ClusterRole"), [proxy]);
      assert.deepEqual(named(everywhere, "Role"), []);
      const some = await render(proxy, { watchNamespaces: ["one", "two"] });
      assert.deepEqual(named(some, "ClusterRole"), []);
      assert.deepEqual(named(some, "RoleBinding"), [proxy, proxy]);
      assert.deepEqual(named(await render(proxy, { rbac: { enabled: false } }), "ClusterRoleBinding"), []);
    });
  });

  describe("the agent's chart", () => {
    it("is refused without an address, and with one that has no scheme", async () => {
      await refused(agent, { config: { secretName: "token" } }, /config\.kasAddress is required/);
      await refused(agent, { config: { secretName: "token", kasAddress: "kas.example.com" } }, /unsupported scheme/);
    });

    it("is refused without a token", async () => {
      await refused(agent, { config: { kasAddress: "wss://kas.example.com" } }, /config\.token or config\.secretName/);
    });

    it("reads the token from the Secret it is given and makes none itself", async () => {
      const objects = await render(agent, agentValues);
      const secret = { secretName: "agent-token", defaultMode: 0o444, items: [{ key: "token", path: "token" }] };
      assert.deepEqual(podOf(objects).volumes?.find(({ name }) => name === "secret-volume")?.["secret"], secret);
      assert.deepEqual(named(objects, "Secret"), []);
    });

    it("runs two replicas of the chart's agent version as cluster-admin by default", async () => {
      const objects = await render(agent, agentValues);
      assert.equal(only(objects, "Deployment").spec?.["replicas"], 2);
      assert.match(podOf(objects).containers[0]?.image ?? "", /agentk:v\d+\.\d+\.\d+$/);
      assert.deepEqual(named(objects, "ClusterRoleBinding"), [`here:${agent}-cluster-admin`, `here:${agent}:ocs`]);
    });

    it("uses an existing account and binds it to nothing when told so", async () => {
      const objects = await render(agent, {
        config: { ...agentValues.config, operational_container_scanning: { enabled: false } },
        rbac: { create: false },
        serviceAccount: { create: false, name: "own" },
      });
      assert.equal(podOf(objects).serviceAccountName, "own");
      assert.deepEqual([...new Set(objects.map(({ kind }) => kind))].sort(), ["Deployment", "Service"]);
    });
  });

  describe("the nginx chart", () => {
    it("makes a disruption budget only for more than one replica", async () => {
      for (const [replicaCount, budgets] of [
        [1, []],
        [2, [`${nginx}-controller`]],
      ] as const) {
        assert.deepEqual(named(await render(nginx, { controller: { replicaCount } }), "PodDisruptionBudget"), budgets);
      }
    });

    it("makes its admission webhook unless that is switched off", async () => {
      for (const [enabled, webhooks] of [
        [true, [`${nginx}-admission`]],
        [false, []],
      ] as const) {
        const objects = await render(nginx, { controller: { admissionWebhooks: { enabled } } });
        assert.deepEqual(named(objects, "ValidatingWebhookConfiguration"), webhooks);
        assert.deepEqual(named(objects, "Job").length, enabled ? 2 : 0);
      }
    });

    it("writes its settings into one ConfigMap and refuses numbers among them", async () => {
      const objects = await render(nginx, { controller: { config: { "proxy-read-timeout": "3600" } } });
      const settings = only(objects, "ConfigMap");
      assert.equal(settings.metadata.name, `${nginx}-controller`);
      assert.deepEqual(settings.data, { "proxy-read-timeout": "3600" });
      await refused(nginx, { controller: { config: { "proxy-read-timeout": 3600 } } }, /want string/);
    });

    it("lets a second controller have a class of its own", async () => {
      const ingressClassResource = { name: "second", controllerValue: "k8s.io/second" };
      const objects = await render(nginx, { controller: { ingressClass: "second", ingressClassResource } });
      assert.equal(only(objects, "IngressClass").metadata.name, "second");
      assert.deepEqual(only(objects, "IngressClass").spec, { controller: "k8s.io/second" });
      const flags = podOf(objects).containers[0]?.args?.filter((flag) => flag.includes("-class="));
      assert.deepEqual(flags, ["--controller-class=k8s.io/second", "--ingress-class=second"]);
    });
  });

  describe("the traefik chart", () => {
    it("takes the Service's type and address where Kubernetes has them, and refuses the old places", async () => {
      const spec = { type: "LoadBalancer", loadBalancerIP: "203.0.113.7", externalTrafficPolicy: "Local" };
      const service = only(await render("traefik", { service: { annotations: { a: "b" }, spec } }), "Service");
      assert.equal(service.metadata.name, "traefik");
      assert.equal(service.spec?.["loadBalancerIP"], "203.0.113.7");
      await refused("traefik", { service: { type: "LoadBalancer" } }, /service.*type/s);
      await refused(
        "traefik",
        { ports: { web: { redirections: { entryPoint: { to: "websecure" } } } } },
        /redirections/,
      );
    });

    it("hands middlewares of the file provider to its pods through one ConfigMap", async () => {
      const content = { http: { middlewares: { closed: { ipAllowList: { sourceRange: ["127.0.0.1/32"] } } } } };
      const objects = await render("traefik", { providers: { file: { enabled: true, content } } });
      const settings = only(objects, "ConfigMap");
      assert.deepEqual(parse(settings.data?.["config.yml"] ?? ""), content);
      assert.deepEqual(podOf(objects).volumes?.find(({ name }) => name === "traefik-extra-config")?.["configMap"], {
        name: settings.metadata.name,
      });
    });

    it("serves one class only when told so, and makes a disruption budget when asked", async () => {
      const objects = await render("traefik", {
        deployment: { replicas: 2 },
        podDisruptionBudget: { enabled: true, minAvailable: 1 },
        ingressClass: { name: "second", isDefaultClass: false },
        providers: { kubernetesIngress: { ingressClass: "second" } },
      });
      assert.equal(only(objects, "IngressClass").metadata.name, "second");
      assert.deepEqual(named(objects, "PodDisruptionBudget"), ["traefik"]);
      assert.ok(podOf(objects).containers[0]?.args?.includes("--providers.kubernetesingress.ingressClass=second"));
    });
  });
});

const charts = join(__dirname, "..", "..", "local", "charts");

function url({ port }: { readonly port: number }): string {
  return `http://127.0.0.1:${port}`;
}

/** Asks for a path as it is: fetch would tidy up the dots of a traversal. */
async function status({ port }: { readonly port: number }, method: string, path: string): Promise<number | undefined> {
  const asked = request({ host: "127.0.0.1", port, method, path, agent: false });
  asked.end();
  const [response] = (await once(asked, "response")) as [{ statusCode?: number; resume(): void }];
  response.resume();
  return response.statusCode;
}
