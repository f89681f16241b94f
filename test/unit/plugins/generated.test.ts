import assert from "node:assert/strict";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { type Properties, type Provider, revealedProperties } from "../../../local/plugins/provider";
import { standIn as randomStandIn } from "../../../local/plugins/random";
import { standIn as tlsStandIn } from "../../../local/plugins/tls";

const text = (value: unknown): string => (typeof value === "string" ? value : "");

async function made(provider: Provider, type: string, news: Properties): Promise<{ id: string; outputs: Properties }> {
  const resource = { urn: "urn", type, name: "r" };
  const { inputs, failures = [] } = await provider.check({ ...resource, olds: {}, news });
  assert.deepEqual(failures, []);
  const { id, properties } = await provider.create({ ...resource, inputs, preview: false });
  return { id, outputs: revealedProperties(properties) };
}

describe("the random stand-in", () => {
  const password = "random:index/randomPassword:RandomPassword";

  it("makes passwords of the asked length from the asked classes, with the asked minimums", async () => {
    const news = { length: 40, special: false, upper: false, minNumeric: 30 };
    const { id, outputs } = await made(randomStandIn(), password, news);
    assert.match(text(outputs["result"]), /^[a-z0-9]{40}$/);
    assert.ok(text(outputs["result"]).replace(/\D/g, "").length >= 30);
    assert.equal(id, "none");
  });

  it("never makes the same twice", async () => {
    const results = await Promise.all([1, 2].map(() => made(randomStandIn(), password, { length: 20 })));
    assert.notEqual(results[0]!.outputs["result"], results[1]!.outputs["result"]);
  });

  it("puts out one id in every notation, each behind the prefix", async () => {
    const { id, outputs } = await made(randomStandIn(), "random:index/randomId:RandomId", {
      byteLength: 6,
      prefix: "p-",
    });
    const bytes = Buffer.from(id, "base64url");
    assert.equal(outputs["hex"], `p-${bytes.toString("hex")}`);
    assert.equal(outputs["dec"], `p-${BigInt(`0x${bytes.toString("hex")}`).toString()}`);
  });
});

describe("the tls stand-in", () => {
  const privateKey = "tls:index/privateKey:PrivateKey";
  const selfSigned = "tls:index/selfSignedCert:SelfSignedCert";

  for (const inputs of [{ algorithm: "RSA" }, { algorithm: "ECDSA", ecdsaCurve: "P256" }, { algorithm: "ED25519" }]) {
    it(`signs a certificate for the asked names with its own ${inputs.algorithm} key`, async () => {
      const { outputs: key } = await made(tlsStandIn(), privateKey, inputs);
      const { outputs } = await made(tlsStandIn(), selfSigned, {
        privateKeyPem: key["privateKeyPem"]!,
        subject: { commonName: "ws.test" },
        dnsNames: ["ws.test", "*.ws.test"],
        validityPeriodHours: 12,
        allowedUses: ["server_auth", "digital_signature"],
      });
      const certificate = new X509Certificate(text(outputs["certPem"]));
      assert.ok(certificate.checkPrivateKey(createPrivateKey(text(key["privateKeyPemPkcs8"]))));
      assert.equal(certificate.subjectAltName, "DNS:ws.test, DNS:*.ws.test");
      assert.equal(certificate.ca, false);
      assert.equal(Date.parse(certificate.validTo), Date.parse(text(outputs["validityEndTime"])));
      assert.equal(
        Date.parse(text(outputs["validityEndTime"])) - Date.parse(text(outputs["validityStartTime"])),
        43_200_000,
      );
    });
  }

  it("puts out no private key in the clear", async () => {
    const provider = tlsStandIn();
    const resource = { urn: "urn", type: privateKey, name: "r" };
    const { properties } = await provider.create({ ...resource, inputs: { algorithm: "ED25519" }, preview: false });
    for (const output of ["privateKeyPem", "privateKeyPemPkcs8", "privateKeyOpenssh"]) {
      assert.equal(typeof properties[output], "object", output);
    }
  });

  it("wants a certificate replaced that is ready for renewal", async () => {
    const diff = async (validityEndTime: string) => {
      const { changes } = await tlsStandIn().diff({
        ...{ urn: "urn", type: selfSigned, name: "r", id: "1", ignoreChanges: [] },
        ...{ oldInputs: { earlyRenewalHours: 24 }, news: { earlyRenewalHours: 24 } },
        olds: { earlyRenewalHours: 24, validityEndTime },
      });
      return changes;
    };
    const hours = (count: number): string => new Date(Date.now() + count * 3_600_000).toISOString();
    assert.equal((await diff(hours(25))).size, 0);
    assert.equal((await diff(hours(23))).get("readyForRenewal")?.replace, true);
  });
});
