import assert from "node:assert/strict";
import { KubeConfig } from "@kubernetes/client-node";
import { faultsOf, kubeconfig, kubeconfigOf, load, secretText, useStack, withSecrets, withSettings } from "./stack";

const contextOf = (context: string | undefined) =>
  withSettings({ cluster: { cloud: "self-managed", name: "metal", context } });

describe("a kubeconfig from config", () => {
  before(useStack);
  const fault = (text: string) => faultsOf(withSecrets({ kubeconfig: text }));
  const changed = (from: string, to: string) => {
    assert.ok(kubeconfig.includes(from));
    return kubeconfig.replace(from, to);
  };

  it("is reduced to the chosen context, and read by Kubernetes' own client", async () => {
    const chosen = new KubeConfig();
    chosen.loadFromString(await secretText(kubeconfigOf(load(contextOf("other")))));
    assert.deepEqual(
      chosen.getContexts().map(({ name }) => name),
      ["other"],
    );
    assert.equal(chosen.getCurrentContext(), "other");
    assert.equal(chosen.getCurrentUser()?.token, "canary-kubernetes-token");
    assert.equal(chosen.getCurrentCluster()?.server, "https://canary-server.example.org:6443");
    assert.match(await secretText(kubeconfigOf(load(contextOf(undefined)))), /^current-context: admin@metal$/m);
  });

  // kubectl reads YAML 1.1, where a bare yes is a boolean.
  it("keeps its names text for readers of YAML 1.1", async () => {
    const text = changed("current-context: admin@metal", 'current-context: "yes"').replace(
      "name: other",
      'name: "yes"',
    );
    assert.match(await secretText(kubeconfigOf(load(withSecrets({ kubeconfig: text })))), /^current-context: "yes"$/m);
  });

  it("may be JSON", () => {
    const config = new KubeConfig();
    config.loadFromString(kubeconfig);
    load(withSecrets({ kubeconfig: config.exportConfig() }));
  });

  it("that is not YAML, or no kubeconfig, is refused and never quoted", () => {
    assert.match(fault("canary: [canary"), /kubeconfig \(secret, not shown\)\n {4}It is not YAML\./);
    for (const text of [
      "canary",
      "",
      "apiVersion: v1\nkind: Secret\ndata: {canary: canary}",
      "kind: Config\nclusters: canary",
    ])
      assert.match(fault(text), /It is not a kubeconfig: kind Config with lists of clusters, contexts and users/);
    assert.match(fault(`a: &a [canary]\n${"b: [*a, *a]\n".repeat(2)}c: !!canary x`), /It is not (YAML|a kubeconfig)/);
  });

  it("without the context that was asked for is refused with those it has", () => {
    assert.equal(
      faultsOf(contextOf("amdin@metal")),
      `1 fault in the config of stack dev:

  gitlab-workspaces:cluster.context is "amdin@metal"
    The kubeconfig has no context "amdin@metal". It has admin@metal, other. Did you mean admin@metal?
    $ pulumi config set --stack dev --path 'gitlab-workspaces:cluster.context' admin@metal`,
    );
  });

  it("without any current context needs to be told one", () => {
    const message = fault(changed("current-context: admin@metal", 'current-context: ""'));
    assert.match(
      message,
      /cluster\.context is not set\n {4}The kubeconfig has no current context\. It has admin@metal, other\./,
    );
    const empty = fault("kind: Config\nclusters: []\nusers: []\ncontexts: []");
    assert.match(
      empty,
      /It has none at all\.\n {4}\$ pulumi config set --stack dev --secret gitlab-workspaces:kubeconfig </,
    );
  });

  it("whose context leads nowhere is refused", () => {
    assert.match(
      fault(changed("{ name: metal,", "{ name: steel,")),
      /Its context "admin@metal" names a cluster that is not in it/,
    );
    assert.match(
      fault(changed("{ name: admin,", "{ name: root,")),
      /Its context "admin@metal" names a user that is not in it/,
    );
    assert.match(fault(changed("https://canary-server.example.org:6443", "canary")), /Its cluster has no server/);
  });

  it("that points to files is refused with the command that makes it whole", () => {
    const files = changed("certificate-authority-data: Y2FuYXJ5LWNh", "certificate-authority: /canary/ca.crt");
    assert.match(
      fault(files.replace("token: canary-kubernetes-token", "client-key: canary.key, client-certificate: canary.crt")),
      /It must be whole, and its certificate-authority, client-certificate, client-key are paths to files elsewhere: make it self-contained\.\n {4}\$ kubectl config view --raw --flatten --minify > kubeconfig\.yaml\n {4}\$ pulumi config set --stack dev --secret gitlab-workspaces:kubeconfig < kubeconfig\.yaml/,
    );
    assert.match(
      fault(changed("token: canary-kubernetes-token", "tokenFile: canary")),
      /its tokenFile is a path to a file elsewhere/,
    );
  });

  it("that needs a command which is not here is refused with its name", () => {
    const exec = (command: string) =>
      changed("token: canary-kubernetes-token", `exec: { command: ${command}, args: [canary] }`);
    assert.match(
      fault(exec("no-such-login")),
      /Its user gets credentials by the command "no-such-login", which is not on the PATH here: install it/,
    );
    assert.match(fault(exec("/no/such/login")), /by the command "\/no\/such\/login"/);
    assert.match(fault(changed("token: canary-kubernetes-token", "exec: {}")), /an exec plugin without a command/);
    load(withSecrets({ kubeconfig: exec("sh") }));
    load(withSecrets({ kubeconfig: exec(process.execPath) }));
  });

  it("of a context that is not chosen may be as it likes", () => {
    const text = `${kubeconfig}  - { name: other, user: { client-key: canary } }\n`;
    load(withSecrets({ kubeconfig: text }));
  });

  it("that trusts any server is accepted with a warning", () => {
    const text = changed("certificate-authority-data: Y2FuYXJ5LWNh", "insecure-skip-tls-verify: true");
    const { warnings } = load(withSecrets({ kubeconfig: text }));
    assert.ok(warnings.some((warning) => warning.startsWith("kubeconfig has insecure-skip-tls-verify")));
  });

  it("of megabytes is refused at once", () => {
    const start = Date.now();
    assert.match(
      fault(`a: ${"canary ".repeat(300_000)}`),
      /It has 2100003 characters; a kubeconfig of one cluster has a few thousand/,
    );
    assert.ok(Date.now() - start < 1000);
  });

  it("is checked against the context even when the rest of the cluster is wrong", () => {
    const message = faultsOf(withSettings({ cluster: { cloud: "self-managed", name: "A B", context: "none" } }));
    assert.match(message, /cluster\.name is "A B"[^]*cluster\.context is "none"/);
  });
});
