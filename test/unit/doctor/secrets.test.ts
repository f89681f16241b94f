import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { pairFaults } from "../../../doctor/references";
import { revision } from "../../../doctor/releases";
import { zoneOf } from "../../../doctor/workspaces";
import { makeCertificate } from "../../support/certificates";

describe("A TLS Secret", () => {
  const codes = (certificate: string, key: string, hosts: string[]): string[] =>
    pairFaults(certificate, key, hosts).map(({ code }) => code);

  it("serves the hosts that its certificate names, with the key that belongs to it", async () => {
    const both = await makeCertificate({ name: "both", covers: ["a.test", "*.a.test"] });
    assert.deepEqual(codes(both.certificate, both.key, ["a.test", "*.a.test"]), []);
    const rsa = await makeCertificate({ name: "rsa", covers: ["a.test"], algorithm: "RSA" });
    assert.deepEqual(codes(rsa.certificate, rsa.key, ["a.test"]), []);
  });

  it("does not serve the domain by the wildcard's certificate, nor the wildcard by the domain's", async () => {
    const apex = await makeCertificate({ name: "apex", covers: ["a.test"] });
    const wildcard = await makeCertificate({ name: "wildcard", covers: ["*.a.test"] });
    assert.deepEqual(codes(apex.certificate, apex.key, ["*.a.test"]), ["GW408"]);
    assert.deepEqual(codes(wildcard.certificate, wildcard.key, ["a.test"]), ["GW408"]);
    const [fault] = pairFaults(apex.certificate, apex.key, ["*.a.test"]);
    assert.equal(fault?.seen, "the certificate is for DNS:a.test, not for *.a.test.");
  });

  it("needs its own key, and both in PEM; nothing of a key is repeated", async () => {
    const one = await makeCertificate({ name: "one", covers: ["a.test"] });
    const other = await makeCertificate({ name: "other", covers: ["a.test"] });
    assert.deepEqual(codes(one.certificate, other.key, ["a.test"]), ["GW409"]);
    assert.deepEqual(codes(one.certificate, "canary", ["a.test"]), ["GW410"]);
    assert.deepEqual(codes("canary", one.key, ["a.test"]), ["GW410"]);
    assert.doesNotMatch(JSON.stringify(pairFaults("canary", "canary", ["a.test"])), /canary/);
  });
});

describe("A record of Helm's", () => {
  const record = (info: object, config: object = {}): string =>
    Buffer.from(gzipSync(JSON.stringify({ info, config })).toString("base64")).toString("base64");

  it("is read for its status and its description, and for nothing else", () => {
    const info = { status: "failed", description: "Upgrade failed: field is immutable", notes: "canary" };
    assert.deepEqual(revision(record(info, { password: "canary" })), {
      status: "failed",
      description: "Upgrade failed: field is immutable",
    });
  });

  it("is cut where it is long, and kept back where it looks like a secret", () => {
    assert.equal(revision(record({ status: "failed", description: "x".repeat(501) })).description.length, 503);
    const description = "cannot parse glpat-0123456789ABCDEFGHIJ";
    assert.doesNotMatch(revision(record({ status: "failed", description })).description, /glpat/);
  });

  it("may be anything at all without harm", () => {
    for (const data of ["", "?", Buffer.from("{}").toString("base64")]) {
      assert.equal(revision(data).status, "unknown");
    }
  });
});

describe("The template of a workspace's hosts", () => {
  for (const [template, zone] of [
    ["{{.port}}-workspace-1-2-abc.workspaces.example.test", "workspaces.example.test"],
    ["{{ .port }}-mine.example.test", "example.test"],
    ["", undefined],
    ["workspace.example.test", undefined],
  ] as const) {
    it(`has the zone ${String(zone)} in "${template}"`, () => {
      assert.equal(zoneOf(template), zone);
    });
  }
});
