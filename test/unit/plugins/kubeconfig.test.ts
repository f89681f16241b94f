import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import {
  credentials,
  inlineKubeconfig,
  knownClusters,
  parseKubeconfig,
  refuseForeign,
} from "../../../local/plugins/kubernetes/kubeconfig";

const CA = "-----BEGIN CERTIFICATE-----\nours\n-----END CERTIFICATE-----\n";
const SERVER = "https://127.0.0.1:6443";
const base64 = (text: string): string => Buffer.from(text).toString("base64");
const known = (server = SERVER, ca = CA) => [{ server, caSha256: createHash("sha256").update(ca).digest("hex") }];

interface Parts {
  readonly server?: string;
  readonly ca?: string;
  readonly user?: object;
}

const kubeconfig = ({ server = SERVER, ca = CA, user = { token: "t" } }: Parts = {}): string =>
  JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    "current-context": "one",
    contexts: [
      { name: "one", context: { cluster: "one", user: "u" } },
      { name: "two", context: { cluster: "two", user: "u", namespace: "here" } },
    ],
    clusters: [
      { name: "one", cluster: { server, "certificate-authority-data": base64(ca) } },
      { name: "two", cluster: { server: "https://192.0.2.1", "certificate-authority-data": base64(CA) } },
    ],
    users: [{ name: "u", user }],
  });

describe("the kubernetes stand-in and clusters it must not touch", () => {
  it("serves an API server that the local engine started", () => {
    assert.doesNotThrow(() => {
      refuseForeign(parseKubeconfig(kubeconfig()), known());
    });
  });

  it("refuses an API server that is not on loopback, even one that is named as started", () => {
    for (const server of ["https://192.0.2.1", "https://example.test", "https://localhost:6443", "http://127.0.0.1"]) {
      assert.throws(() => {
        refuseForeign(parseKubeconfig(kubeconfig({ server })), known(server));
      }, /not an API server that the local engine started/);
    }
  });

  it("refuses a loopback port that another cluster answers on", () => {
    assert.throws(() => {
      refuseForeign(parseKubeconfig(kubeconfig({ ca: "theirs" })), known());
    }, /stand-in for the official kubernetes plugin.*ordinary "pulumi up"/);
  });

  it("refuses a kubeconfig that names no certificate authority", () => {
    assert.throws(() => {
      refuseForeign(parseKubeconfig(kubeconfig({ ca: "" })), known(SERVER, ""));
    }, /refused/);
  });

  it("judges by the context that is asked for, not by the current one", () => {
    const chosen = parseKubeconfig(kubeconfig(), "two");
    assert.equal(chosen.namespace, "here");
    assert.throws(() => {
      refuseForeign(chosen, known());
    }, /192\.0\.2\.1/);
  });

  it("knows no cluster when the local engine has started none", () => {
    assert.deepEqual(knownClusters("/nowhere/clusters.json"), []);
  });
});

describe("the kubernetes stand-in and kubeconfigs", () => {
  it("says which part of a kubeconfig is missing", () => {
    assert.throws(() => parseKubeconfig(kubeconfig(), "three"), /no context named "three"/);
    assert.throws(() => parseKubeconfig("just text"), /neither a kubeconfig nor the path of one/);
  });

  it("asks an exec plugin for credentials and hands helm its answer instead of the plugin", async () => {
    const answer = JSON.stringify({ status: { token: "from-plugin" } });
    const exec = { command: process.execPath, args: ["-e", `process.stdout.write(${JSON.stringify(answer)})`] };
    const parsed = parseKubeconfig(kubeconfig({ user: { exec } }));
    const found = await credentials(parsed);
    assert.deepEqual(found, { token: "from-plugin" });
    const inline = parseKubeconfig(inlineKubeconfig(parsed, found, "n"));
    assert.deepEqual(
      [inline.server, inline.ca, inline.namespace, inline.user],
      [SERVER, CA, "n", { token: "from-plugin" }],
    );
  });

  it("takes a client certificate that stands inline", async () => {
    const user = { "client-certificate-data": base64("cert"), "client-key-data": base64("key") };
    assert.deepEqual(await credentials(parseKubeconfig(kubeconfig({ user }))), {
      certificate: { cert: "cert", key: "key" },
    });
  });
});
