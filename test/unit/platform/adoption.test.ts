import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import * as pulumi from "@pulumi/pulumi";
import { stringify } from "yaml";
import type { Config } from "../../../src/config/schema";
import { LiveCluster } from "../../../src/live-cluster";
import { adoption } from "../../../src/platform/adoption";
import { names } from "../../../src/platform/names";

const canary = "canary-in-the-values";
const domain = "workspaces.example.test";

/** A release as Helm records it: https://helm.sh/docs/topics/advanced/#storage-backends */
interface Release {
  readonly namespace: string;
  readonly name: string;
  readonly chart: string;
  readonly revision?: number;
  readonly values?: object;
  /** What the Secret holds instead of a record, base64. */
  readonly record?: string;
}

const recordOf = ({ namespace, name, chart, revision = 1, values = {}, record: instead }: Release) => {
  const record = { chart: { metadata: { name: chart } }, config: values };
  const packed = gzipSync(JSON.stringify(record)).toString("base64");
  return {
    metadata: {
      name: `sh.helm.release.v1.${name}.v${revision}`,
      namespace,
      labels: { owner: "helm", name, version: String(revision) },
    },
    data: { release: instead ?? Buffer.from(packed).toString("base64") },
  };
};

/** As much of a config as adoption looks at. */
const config = (over: object = {}): Config =>
  ({
    domain,
    ingress: { controller: "nginx" },
    proxy: { ssh: { service: "off", port: 22 } },
    agents: [{ name: "team-a" }],
    ...over,
  }) as unknown as Config;

describe("Adoption", () => {
  let server: Server | undefined;

  afterEach(async () => {
    const open = server;
    server = undefined;
    if (open) await new Promise((resolve) => open.close(resolve));
  });

  interface Live {
    readonly services?: readonly string[];
    /** Ingresses: namespace, then hosts. */
    readonly ingresses?: readonly (readonly [namespace: string, ...hosts: string[]])[];
    /** IngressClasses: name, and the release that brought them. */
    readonly classes?: readonly (readonly [name: string, namespace?: string, release?: string])[];
    /** Deployments: namespace, name, and the release that brought them. */
    readonly deployments?: readonly (readonly [namespace: string, name: string, release?: string])[];
    readonly status?: number;
    readonly instance?: string;
  }

  const helmed = (release?: string, namespace?: string) =>
    release === undefined
      ? {}
      : { "meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": namespace ?? "" };

  async function adopt(releases: readonly Release[], over: object = {}, live: Live = {}) {
    const { services = [], ingresses = [], classes = [], deployments = [], status = 200, instance } = live;
    server = createServer((request, response) => {
      const parts = new URL(request.url ?? "/", "http://127.0.0.1").pathname.split("/");
      const [, namespace] = /namespaces\/([^/]+)\//.exec(parts.join("/")) ?? [];
      const lists: Record<string, unknown[]> = {
        secrets: releases.map(recordOf),
        services: services.map((name) => ({ metadata: { name } })),
        ingresses: ingresses.map(([of, ...hosts]) => ({
          metadata: { name: "proxy", namespace: of },
          spec: { rules: hosts.map((host) => ({ host })) },
        })),
        ingressclasses: classes.map(([name, of, release]) => ({
          metadata: { name, annotations: helmed(release, of) },
        })),
        deployments: deployments
          .filter(([of]) => of === namespace)
          .map(([of, name, release]) => ({ metadata: { name, namespace: of, annotations: helmed(release, of) } })),
        daemonsets: [],
        statefulsets: [],
      };
      const items = lists[parts.at(-1) ?? ""];
      response.writeHead(items ? status : 404, { "content-type": "application/json", connection: "close" });
      response.end(JSON.stringify(status === 200 ? { items } : { kind: "Status", message: "no" }));
    });
    const listening = server;
    await new Promise<void>((resolve) => listening.listen(0, "127.0.0.1", resolve));
    const address = `http://127.0.0.1:${(listening.address() as AddressInfo).port}`;
    const kubeconfig = stringify({
      apiVersion: "v1",
      kind: "Config",
      "current-context": "admin",
      clusters: [{ name: "metal", cluster: { server: address, "insecure-skip-tls-verify": true } }],
      contexts: [{ name: "admin", context: { cluster: "metal", user: "admin" } }],
      users: [{ name: "admin", user: { token: "token" } }],
    });
    return await adoption(new LiveCluster(kubeconfig), config(over), names(instance));
  }

  const refused = async (attempt: Promise<unknown>): Promise<string> => {
    const error: unknown = await attempt.then(
      () => assert.fail("it was accepted"),
      (reason: unknown) => reason,
    );
    assert.ok(pulumi.RunError.isInstance(error), String(error));
    assert.ok(!error.message.includes(canary), "no value in the message");
    return error.message;
  };

  const imported = async (transform: pulumi.ResourceTransform, type: string, props: pulumi.Inputs) => {
    const result = await transform({ custom: true, type, name: "x", props, opts: {} });
    return (result?.opts as pulumi.CustomResourceOptions | undefined)?.import;
  };

  const release = "kubernetes:helm.sh/v3:Release";

  it("imports a release that is there under its name, and makes one that is not", async () => {
    const there = { namespace: "gitlab-workspaces", name: "gitlab-workspaces-proxy", chart: "gitlab-workspaces-proxy" };
    const transform = await adopt([there]);
    const { namespace, name } = there;
    assert.equal(await imported(transform, release, { name, namespace }), `${namespace}/${name}`);
    assert.equal(await imported(transform, release, { name, namespace: "elsewhere" }), undefined);
  });

  it("judges a release by its newest revision, whatever older ones held", async () => {
    const agent = { namespace: "gitlab-agent-team-a", name: "gitlab-agent-team-a", chart: "gitlab-agent" };
    const old = { ...agent, revision: 9, values: { config: { token: canary } } };
    await adopt([old, { ...agent, revision: 10, values: { config: { secretName: "mine" } } }]);
    await new Promise((resolve) => server?.close(resolve));
    const message = await refused(adopt([{ ...agent, revision: 8 }, old]));
    assert.match(message, /secret in its values: config\.token\./);
    assert.match(
      message,
      /kubectl delete secret --namespace gitlab-agent-team-a --selector owner=helm,name=gitlab-agent-team-a/,
    );
  });

  it("refuses a name that belongs to a release of another chart", async () => {
    const message = await refused(
      adopt([{ namespace: "gitlab-workspaces", name: "gitlab-workspaces-proxy", chart: "wordpress" }]),
    );
    assert.match(message, /is of chart wordpress, and this stack needs gitlab-workspaces-proxy/);
  });

  it("tells the key for a controller in another namespace and for an agent under another name, all at once", async () => {
    const message = await refused(
      adopt(
        [
          { namespace: "ingress-nginx", name: "ingress-nginx", chart: "ingress-nginx" },
          { namespace: "gitlab-agent-team-a", name: "team-a", chart: "gitlab-agent" },
        ],
        {},
        { classes: [["nginx", "ingress-nginx", "ingress-nginx"]] },
      ),
    );
    assert.match(message, /--path 'gitlab-workspaces:ingress\.namespace' ingress-nginx/);
    assert.match(message, /--path 'gitlab-workspaces:agents\[0\]\.release' team-a/);
  });

  it("leaves a controller under another name, or without Helm, to its owner, and says how to use it", async () => {
    for (const classes of [[["nginx", "infra", "edge"]], [["nginx"]]] as const) {
      const message = await refused(adopt([], {}, { classes }));
      assert.match(
        message,
        /belongs to somebody else's controller[^]*ingress\.controller' existing\n.*className' nginx/,
      );
      assert.doesNotMatch(message, /uninstall/);
      await new Promise((resolve) => server?.close(resolve));
    }
  });

  it("has nothing to say of a first installation beside which a named one takes itself over", async () => {
    await adopt(
      [
        { namespace: "gitlab-ingress-controller", name: "ingress-nginx", chart: "ingress-nginx" },
        { namespace: "gitlab-workspaces", name: "gitlab-workspaces-proxy", chart: "gitlab-workspaces-proxy" },
      ],
      {},
      {
        instance: "team-b",
        classes: [["nginx", "gitlab-ingress-controller", "ingress-nginx"]],
        ingresses: [["gitlab-workspaces", "first.example.test", "*.first.example.test"]],
      },
    );
  });

  it("refuses the proxy of another installation, and a domain that another one serves", async () => {
    const theirs = await refused(adopt([], {}, { ingresses: [["gitlab-workspaces", "other.example.test"]] }));
    assert.match(theirs, /serves other\.example\.test, and this stack is for workspaces\.example\.test/);
    await new Promise((resolve) => server?.close(resolve));
    const twice = await refused(adopt([], {}, { ingresses: [["elsewhere", `*.${domain}`]] }));
    assert.match(twice, /Ingress proxy in namespace elsewhere serves workspaces\.example\.test already/);
  });

  it("takes no namespace in which others work", async () => {
    const deployments = [
      ["infra", "ingress-nginx-controller", "ingress-nginx"],
      ["infra", "billing"],
    ] as const;
    const message = await refused(adopt([], { ingress: { controller: "nginx", namespace: "infra" } }, { deployments }));
    assert.match(message, /Namespace infra would become this stack's .* others work there: billing\./);
  });

  it("is not held up by a Secret that merely looks like one of Helm's, unless it bears a name that is needed", async () => {
    const broken = { namespace: "tenant", name: "broken", chart: "x", record: "bm90IGd6aXA=" };
    await adopt([broken]);
    await new Promise((resolve) => server?.close(resolve));
    const needed = { ...broken, namespace: "gitlab-workspaces", name: "gitlab-workspaces-proxy" };
    assert.match(await refused(adopt([needed])), /record of release gitlab-workspaces-proxy .* cannot be read/);
  });

  it("takes text under a name that speaks of secrets for one, wherever it stands", async () => {
    const values = {
      controller: { extraEnvs: [{ name: "CF_DNS_API_TOKEN", value: canary }], config: { ssl: "on" } },
      defaultBackend: { secretName: "mine" },
      kasHeaders: [`Authorization: ${canary}`],
    };
    const message = await refused(
      adopt([{ namespace: "gitlab-ingress-controller", name: "ingress-nginx", chart: "ingress-nginx", values }]),
    );
    assert.match(message, /in its values: controller\.extraEnvs\.0\.value, kasHeaders\.0\./);
  });

  it("leaves an agent of another namespace alone: it may be somebody else's", async () => {
    await adopt([{ namespace: "gitlab-agent-flux", name: "gitlab-agent", chart: "gitlab-agent" }]);
  });

  it("refuses a proxy under another name, which no key can be set to", async () => {
    const message = await refused(
      adopt([{ namespace: "gitlab-workspaces", name: "workspaces", chart: "gitlab-workspaces-proxy" }]),
    );
    assert.match(message, /It cannot be taken over under that name: docs\/adoption\.md says why/);
  });

  it("refuses to take an SSH address away without a word, and only then", async () => {
    const services = ["gitlab-workspaces-proxy", "gitlab-workspaces-proxy-ssh"];
    assert.match(await refused(adopt([], {}, { services })), /proxy\.ssh\.service' LoadBalancer/);
    await new Promise((resolve) => server?.close(resolve));
    await adopt([], { proxy: { ssh: { service: "LoadBalancer", port: 22 } } }, { services });
  });

  it("says that it may not look, and what must be allowed", async () => {
    assert.match(await refused(adopt([], {}, { status: 403 })), /refused the kubeconfig's user \(HTTP 403\)/);
  });
});
