import assert from "node:assert/strict";
import { startEngine, type TestEngine } from "../support/engine";
import { brokenReferences } from "../support/live-references";
import { makeCertificate } from "../support/certificates";

const domain = "workspaces.example.test";
const day = 86_400_000;

/** Nine of the twenty-seven combinations, chosen so that every pair of settings occurs (an L9 orthogonal array). */
const combinations = [
  ["nginx", "self-signed", "off"],
  ["nginx", "one certificate", "ClusterIP"],
  ["nginx", "two certificates", "LoadBalancer"],
  ["traefik", "self-signed", "ClusterIP"],
  ["traefik", "one certificate", "LoadBalancer"],
  ["traefik", "two certificates", "off"],
  ["existing", "self-signed", "LoadBalancer"],
  ["existing", "one certificate", "off"],
  ["existing", "two certificates", "ClusterIP"],
] as const;

describe("Every pair of ingress controller, certificates and SSH service", () => {
  let engine: TestEngine;

  before(async () => {
    engine = await startEngine();
    const ingressClass = {
      apiVersion: "networking.k8s.io/v1",
      kind: "IngressClass",
      metadata: { name: "corporate" },
      spec: { controller: "example.test/corporate" },
    };
    await engine.apply(ingressClass);
  });

  after(async () => {
    await engine.stop();
  });

  for (const [controller, certificates, service] of combinations) {
    it(`deploys, is complete, stays as it is and goes: ${controller}, ${certificates}, SSH ${service}`, async () => {
      const own = { from: new Date(Date.now() - day), to: new Date(Date.now() + 90 * day) };
      const apex = await makeCertificate({
        name: domain,
        covers: certificates === "one certificate" ? [domain, `*.${domain}`] : [domain],
        ...own,
      });
      const wildcard = await makeCertificate({ name: domain, covers: [`*.${domain}`], algorithm: "RSA", ...own });
      const tls = {
        "self-signed": { mode: "self-signed" },
        "one certificate": { mode: "provided", certificate: apex.certificate },
        "two certificates": {
          mode: "provided",
          certificate: apex.certificate,
          wildcardCertificate: wildcard.certificate,
        },
      }[certificates];
      await engine.configure({
        ingress: controller === "existing" ? { controller, className: "corporate" } : { controller },
        tls,
        proxy: { ssh: { service } },
      });
      await engine.setSecret("tlsKey", certificates === "self-signed" ? undefined : apex.key);
      await engine.setSecret("wildcardTlsKey", certificates === "two certificates" ? wildcard.key : undefined);

      await engine.up();
      assert.deepEqual(await brokenReferences(engine), []);
      const outputs = JSON.parse((await engine.pulumi(["stack", "output", "--json"])).stdout) as {
        dnsRecords: { name: string }[];
      };
      assert.deepEqual(
        outputs.dnsRecords.map(({ name }) => name),
        [domain, `*.${domain}`, ...(service === "LoadBalancer" ? [`ssh.${domain}`] : [])],
      );
      assert.deepEqual(await engine.up(), []);
      const destroyed = await engine.pulumi(["destroy", "--yes", "--skip-preview"]);
      assert.equal(destroyed.exitCode, 0, destroyed.all);
    });
  }
});
