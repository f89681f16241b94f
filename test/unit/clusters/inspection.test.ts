import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import * as pulumi from "@pulumi/pulumi";
import { stringify } from "yaml";
import { inspectCluster } from "../../../src/clusters/inspection";

const token = "canary-kubeconfig-token";

/** What the API server answers: a status for everything, or these objects. */
interface Cluster {
  readonly status?: number;
  readonly storageClasses?: readonly { name: string; isDefault: boolean }[];
  readonly daemonSets?: readonly string[];
  readonly kubeletVersion?: string;
}

describe("The inspection of a live cluster", () => {
  let server: Server | undefined;

  afterEach(async () => {
    const open = server;
    server = undefined;
    if (open) await new Promise((resolve) => open.close(resolve));
  });

  async function inspect({ status = 200, storageClasses, daemonSets = [], kubeletVersion = "v1.36.4" }: Cluster) {
    const classes = storageClasses ?? [{ name: "standard", isDefault: true }];
    const lists: Record<string, unknown[]> = {
      "/apis/storage.k8s.io/v1/storageclasses": classes.map(({ name, isDefault }) => ({
        metadata: { name, annotations: { "storageclass.kubernetes.io/is-default-class": String(isDefault) } },
        provisioner: "example.test",
      })),
      "/apis/apps/v1/daemonsets": daemonSets.map((name) => ({ metadata: { name, namespace: "kube-system" } })),
      "/api/v1/nodes": [{ metadata: { name: "node" }, status: { nodeInfo: { kubeletVersion } } }],
    };
    server = createServer((request, response) => {
      const items = lists[new URL(request.url ?? "/", "http://127.0.0.1").pathname];
      response.writeHead(items ? status : 404, { "content-type": "application/json", connection: "close" });
      response.end(JSON.stringify(status === 200 ? { items } : { kind: "Status", message: `no ${token}` }));
    });
    const listening = server;
    await new Promise<void>((resolve) => listening.listen(0, "127.0.0.1", resolve));
    return await inspectAt((listening.address() as AddressInfo).port);
  }

  const inspectAt = async (port: number): Promise<string[]> =>
    await inspectCluster(
      pulumi.secret(
        stringify({
          apiVersion: "v1",
          kind: "Config",
          "current-context": "admin",
          clusters: [
            { name: "metal", cluster: { server: `http://127.0.0.1:${port}`, "insecure-skip-tls-verify": true } },
          ],
          contexts: [{ name: "admin", context: { cluster: "metal", user: "admin" } }],
          users: [{ name: "admin", user: { token } }],
        }),
      ),
    );

  const refused = async (attempt: Promise<unknown>): Promise<string> => {
    const error: unknown = await attempt.then(
      () => assert.fail("it was accepted"),
      (reason: unknown) => reason,
    );
    assert.ok(pulumi.RunError.isInstance(error), String(error));
    assert.ok(!error.message.includes(token), "no credentials in the message");
    return error.message;
  };

  it("finds nothing to say of one default StorageClass and a network plugin that enforces policies", async () => {
    assert.deepEqual(await inspect({ daemonSets: ["kube-proxy", "calico-node"] }), []);
    await new Promise((resolve) => server?.close(resolve));
    assert.deepEqual(await inspect({ kubeletVersion: "v1.35.2+k3s1" }), []);
    await new Promise((resolve) => server?.close(resolve));
    assert.deepEqual(await inspect({ daemonSets: ["rke2-canal"] }), []);
  });

  it("warns when nothing shows that NetworkPolicies are enforced", async () => {
    const warnings = await inspect({ daemonSets: ["kube-flannel-ds"] });
    assert.equal(warnings.length, 1);
    assert.match(warnings[0] ?? "", /cannot be known whether the cluster at http:\/\/127.* enforces NetworkPolicies/);
  });

  it("refuses a cluster without a default StorageClass, and tells which there are", async () => {
    const message = await refused(inspect({ storageClasses: [{ name: "slow", isDefault: false }] }));
    assert.match(message, /no default StorageClass; .* Found: slow\.\n.*kubectl annotate storageclass/);
    await new Promise((resolve) => server?.close(resolve));
    assert.match(await refused(inspect({ storageClasses: [] })), /Found: no StorageClass at all/);
  });

  it("refuses a cluster with two default StorageClasses, and names both", async () => {
    const two = ["fast", "slow"].map((name) => ({ name, isDefault: true }));
    assert.match(await refused(inspect({ storageClasses: two })), /has 2 default StorageClasses: fast, slow\./);
  });

  it("says that the kubeconfig's user was refused, and how to try it", async () => {
    assert.match(
      await refused(inspect({ status: 403 })),
      /refused the kubeconfig's user \(HTTP 403\).*\n.*kubectl auth can-i/,
    );
  });

  it("says that the cluster does not answer, and that nothing was created", async () => {
    const message = await refused(inspectAt(1));
    assert.match(message, /127\.0\.0\.1:1 does not answer \(ECONNREFUSED\)\.[^]*Nothing was created/);
  });
});
