import assert from "node:assert/strict";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { makeCertificate } from "../support/certificates";
import { startEngine, type TestEngine } from "../support/engine";
import { brokenReferences } from "../support/live-references";

const domain = "blue.example.test";
const day = 86_400_000;

describe("Another instance with traefik, provided certificates, SSH and two agents", () => {
  let engine: TestEngine;

  before(async function () {
    this.timeout(3_600_000);
    engine = await startEngine();
    await engine.kubectl("create", "namespace", "data-agent");
    await engine.kubectl("create", "serviceaccount", "workspaces", "--namespace", "data-agent");
    const own = { from: new Date(Date.now() - day), to: new Date(Date.now() + 90 * day) };
    const apex = await makeCertificate({ name: domain, covers: [domain], algorithm: "RSA", ...own });
    const wildcard = await makeCertificate({ name: domain, covers: [`*.${domain}`], algorithm: "EC", ...own });
    await engine.configure({
      domain,
      instance: "blue",
      production: true,
      ingress: { controller: "traefik" },
      tls: { mode: "provided", certificate: apex.certificate, wildcardCertificate: wildcard.certificate },
      proxy: { ssh: { service: "LoadBalancer", port: 2222 } },
      agents: [{ name: "local" }, { name: "data", namespace: "data-agent", serviceAccount: "workspaces" }],
    });
    await engine.setSecret("tlsKey", apex.key.replaceAll("\n", "\r\n"));
    await engine.setSecret("wildcardTlsKey", wildcard.key);
    await engine.setSecret("agentToken-data", "agent-token-of-data");
    await engine.up();
  });

  after(async () => {
    await engine.stop();
  });

  it("leaves no reference that leads nowhere", async () => {
    assert.deepEqual(await brokenReferences(engine), []);
  });

  it("has every namespace, release and IngressClass under its own name", async () => {
    const names = async (kind: string): Promise<string[]> =>
      (await engine.get<{ metadata: { name: string } }[]>(kind)).map(({ metadata }) => metadata.name);
    const namespaces = (await names("namespaces")).filter((name) => !/^(default|kube-)/.test(name));
    assert.deepEqual(namespaces, [
      "data-agent",
      "gitlab-agent-local-blue",
      "gitlab-ingress-controller-blue",
      "gitlab-workspaces-blue",
    ]);
    assert.deepEqual(await names("ingressclasses"), ["traefik-blue"]);
  });

  it("gives SSH an address and a record of its own", async () => {
    const { stdout } = await engine.pulumi(["stack", "output", "dnsRecords", "--json"]);
    const records = JSON.parse(stdout) as { name: string; type: string; value: string }[];
    assert.deepEqual(
      records.map(({ name }) => name),
      [domain, `*.${domain}`, `ssh.${domain}`],
    );
    assert.equal(records[0]?.value, records[1]?.value);
    assert.notEqual(records[0]?.value, records[2]?.value);
    const service = await engine.get<{ spec: { ports: { port: number; targetPort: unknown }[] } }>(
      ...["service", "gitlab-workspaces-proxy-blue-ssh", "--namespace", "gitlab-workspaces-blue"],
    );
    assert.deepEqual(
      service.spec.ports.map(({ port }) => port),
      [2222],
    );
  });

  it("serves the certificates that it was given", async () => {
    for (const [name, host] of [
      ["gitlab-workspace-proxy-tls", domain],
      ["gitlab-workspace-proxy-wildcard-tls", `8080-mine.${domain}`],
    ] as const) {
      const { data } = await engine.get<{ data: Record<string, string> }>(
        ...["secret", name, "--namespace", "gitlab-workspaces-blue"],
      );
      const [certificate = "", key = ""] = ["tls.crt", "tls.key"].map((entry) =>
        Buffer.from(data[entry] ?? "", "base64").toString(),
      );
      const served = new X509Certificate(certificate);
      assert.equal(served.checkHost(host), host.startsWith("8080") ? `*.${domain}` : domain);
      assert.ok(served.checkPrivateKey(createPrivateKey(key)));
      assert.doesNotMatch(key, /\r/, "line ends of another system are mended");
    }
  });

  it("binds no cluster role to an agent that was given a ServiceAccount", async () => {
    const bindings =
      await engine.get<{ roleRef: { name: string }; subjects?: { namespace?: string }[] }[]>("clusterrolebindings");
    const bound = bindings.flatMap(({ roleRef, subjects = [] }) =>
      subjects.map(({ namespace }) => `${namespace ?? ""} ${roleRef.name}`),
    );
    assert.ok(bound.includes("gitlab-agent-local-blue cluster-admin"));
    assert.deepEqual(
      bound.filter((binding) => binding.startsWith("data-agent ")),
      [],
    );
  });

  it("changes nothing the second time, and nothing is left of it after destroy", async () => {
    assert.deepEqual(await engine.up(), []);
    const ended = await engine.pulumi(["destroy", "--yes", "--skip-preview"]);
    assert.equal(ended.exitCode, 0, ended.all);
    assert.deepEqual(await engine.get("ingressclasses"), []);
    await engine.kubectl("get", "serviceaccount", "workspaces", "--namespace", "data-agent");
  });
});
