import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { stringify } from "yaml";
import { objection } from "../../../src/platform/workspaces-left";
import { workspace } from "../../support/workspace";

const domain = "workspaces.example.test";
const token = "canary-kubeconfig-token";

interface Listed {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
}

/** An Ingress of the given class. */
const ingress = (namespace: string, name: string, ingressClassName: string, host = "shop.example.test") => ({
  kind: "Ingress",
  metadata: { name, namespace },
  spec: { ingressClassName, rules: [{ host }] },
});

describe("The destroy guard", () => {
  let server: Server | undefined;

  afterEach(async () => {
    const open = server;
    server = undefined;
    if (open) await new Promise((resolve) => open.close(resolve));
  });

  /** What the guard says of a cluster with these objects. */
  async function ask(objects: readonly object[], { ingressClass }: { ingressClass?: string } = {}, status = 200) {
    const listed = objects as readonly Listed[];
    const kinds: Record<string, string> = {
      namespaces: "Namespace",
      services: "Service",
      deployments: "Deployment",
      ingresses: "Ingress",
    };
    server = createServer((request, response) => {
      const parts = new URL(request.url ?? "/", "http://127.0.0.1").pathname.split("/");
      const namespace =
        parts.length > parts.indexOf("namespaces") + 1 ? parts[parts.indexOf("namespaces") + 1] : undefined;
      const kind = kinds[parts.at(-1) ?? ""];
      const items = listed.filter(
        (object) =>
          object.kind === kind &&
          (kind === "Namespace" || !parts.includes("namespaces") || object.metadata.namespace === namespace),
      );
      response.writeHead(status, { "content-type": "application/json", connection: "close" });
      response.end(JSON.stringify(status === 200 ? { items } : { kind: "Status", message: `no ${token}` }));
    });
    const listening = server;
    await new Promise<void>((resolve) => listening.listen(0, "127.0.0.1", resolve));
    return await askAt((listening.address() as AddressInfo).port, ingressClass);
  }

  const askAt = async (port: number, ingressClass?: string): Promise<string | undefined> =>
    await objection({
      stack: "production",
      domain,
      proxyNamespace: "gitlab-workspaces",
      ...(ingressClass === undefined ? {} : { ingressClass }),
      kubeconfig: stringify({
        apiVersion: "v1",
        kind: "Config",
        "current-context": "admin",
        clusters: [
          { name: "metal", cluster: { server: `http://127.0.0.1:${port}`, "insecure-skip-tls-verify": true } },
        ],
        contexts: [{ name: "admin", context: { cluster: "metal", user: "admin" } }],
        users: [{ name: "admin", user: { token } }],
      }),
    });

  it("has no objection where no workspace is, nor to those of another installation on the cluster", async () => {
    assert.equal(await ask([{ kind: "Namespace", metadata: { name: "gitlab-workspaces" } }]), undefined);
    // One whose domain merely ends alike, or lies below, is another one.
    for (const other of ["other.example.test", `my${domain}`, `team-b.${domain}`]) {
      await new Promise((resolve) => server?.close(resolve));
      const theirs = ingress("gitlab-workspaces-b", "gitlab-workspaces-proxy-b", "nginx-b", other);
      assert.equal(await ask([...workspace({ id: "7-1-a", domain: other }), theirs]), undefined);
    }
  });

  it("counts a workspace of a domain that nobody serves: it is ours, and GitLab was told another domain", async () => {
    assert.match((await ask(workspace({ id: "7-1-a", domain: "typo.example.test" }))) ?? "", /1 workspace is left/);
  });

  it("counts a workspace that does not say whose it is, because it may be ours", async () => {
    const [namespace] = workspace({ id: "7-1-half-made", domain });
    assert.match((await ask([namespace ?? {}])) ?? "", /1 workspace is left.*[^]*gl-rd-ns-7-1-half-made \(stopped/);
  });

  it("names twenty workspaces and counts the rest", async () => {
    const all = Array.from({ length: 23 }, (_, index) => workspace({ id: `7-${index}-x`, domain })).flat();
    const said = (await ask(all)) ?? "";
    assert.match(said, /23 workspaces are left/);
    assert.equal(said.match(/^ {2}workspace-/gm)?.length, 20);
    assert.match(said, /and 3 more/);
  });

  it("names whom else the stack's ingress controller serves, and only where the controller is the stack's", async () => {
    const objects = [
      ingress("gitlab-workspaces", "gitlab-workspaces-proxy", "nginx"),
      ingress("shop", "checkout", "nginx"),
      ingress("shop", "internal", "traefik"),
    ];
    const said = (await ask(objects, { ingressClass: "nginx" })) ?? "";
    assert.match(said, /serves others, who would be cut off: shop\/checkout\./);
    await new Promise((resolve) => server?.close(resolve));
    assert.equal(await ask(objects), undefined);
  });

  it("objects when it cannot look, and says how to go on without it", async () => {
    for (const said of [await ask([], {}, 403), await askAt(1)]) {
      assert.match(said ?? "", /cannot be told whether anybody's workspaces are on the cluster\. Nothing was touched/);
      assert.match(said ?? "", /GITLAB_WORKSPACES_ALLOW=destroy-with-workspaces pulumi destroy --stack production/);
      assert.ok(!said?.includes(token), "no credentials in the message");
    }
  });
});
