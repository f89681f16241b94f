import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createPrivateKey, generateKeyPairSync } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inDays, makeCertificate, today, type TestCertificate } from "../../support/certificates";
import { faultsOf, load, secretText, smallest, useStack, withSecrets, withSettings, type Stack } from "./stack";

const domain = "workspaces.example.com";
const wildcard = `*.${domain}`;

/** A stack with these certificates. Without a key of its own the wildcard certificate is absent. */
function provided(certificate: string, tlsKey: string, wildcardCertificate?: string, wildcardTlsKey?: string): Stack {
  return withSecrets(
    { tlsKey, wildcardTlsKey },
    withSettings({ tls: { mode: "provided", certificate, wildcardCertificate } }),
  );
}

function pem(key: ReturnType<typeof createPrivateKey>, type: "pkcs1" | "sec1" | "pkcs8" = "pkcs8"): string {
  return key.export({ format: "pem", type }).toString();
}

describe("a certificate from config", () => {
  let root: TestCertificate;
  let middle: TestCertificate;
  let leaf: TestCertificate;
  let both: TestCertificate;
  let otherName: TestCertificate;
  let rsa: TestCertificate;
  before(async () => {
    await useStack();
    root = await makeCertificate({ name: "Root" });
    middle = await makeCertificate({ name: "Middle", issuer: root });
    leaf = await makeCertificate({ name: "leaf", covers: [domain, wildcard], issuer: middle });
    both = await makeCertificate({ name: "both", covers: [domain, wildcard] });
    otherName = await makeCertificate({ name: domain, covers: ["other.example.com", "*.other.example.com"] });
    rsa = await makeCertificate({ name: "rsa", covers: [domain, wildcard], algorithm: "RSA" });
  });

  it("that covers both names serves both", async () => {
    const { tls } = load(provided(both.certificate, both.key));
    assert.ok(tls.mode === "provided");
    assert.equal(tls.domain, tls.wildcard);
    assert.equal(tls.domain.certificate, both.certificate);
    assert.equal(await secretText(tls.domain.key), both.key);
  });

  it("may be RSA, with a key in any of the usual forms", () => {
    const key = createPrivateKey(rsa.key);
    for (const text of [rsa.key, pem(key, "pkcs1")]) load(provided(rsa.certificate, text));
    load(provided(both.certificate, pem(createPrivateKey(both.key), "sec1")));
  });

  it("may be two, one for the domain and one for what is below it", async () => {
    const one = await makeCertificate({ name: "one", covers: [domain] });
    const two = await makeCertificate({ name: "two", covers: [wildcard] });
    const { tls } = load(provided(one.certificate, one.key, two.certificate, two.key));
    assert.ok(tls.mode === "provided");
    assert.equal(tls.domain.certificate, one.certificate);
    assert.equal(tls.wildcard.certificate, two.certificate);
    assert.equal(await secretText(tls.wildcard.key), two.key);
    const message = faultsOf(
      withSecrets({ wildcardTlsKey: undefined }, provided(one.certificate, one.key, two.certificate)),
    );
    assert.match(message, /^1 fault.*\n\n {2}gitlab-workspaces:wildcardTlsKey is not set/);
  });

  it("may come with its issuers, with the root or without", () => {
    load(provided(leaf.certificate + middle.certificate, leaf.key));
    load(provided(leaf.certificate + middle.certificate + root.certificate, leaf.key));
  });

  it("may have been through Windows, an editor, and no final newline: it is put in order", async () => {
    const mangled = (text: string) => `\ufeffsubject=CN\r\n${text.trimEnd().split("\n").join("  \r\n\r\n  ")}`;
    const { tls } = load(provided(mangled(leaf.certificate + middle.certificate), mangled(leaf.key)));
    assert.ok(tls.mode === "provided");
    assert.equal(tls.domain.certificate, leaf.certificate + middle.certificate);
    assert.equal(await secretText(tls.domain.key), leaf.key);
  });

  it("for another name is refused with the names it is for", () => {
    const message = faultsOf(provided(otherName.certificate, otherName.key));
    assert.ok(
      message.includes(`gitlab-workspaces:tls.certificate (not shown)
    It does not cover workspaces.example.com and *.workspaces.example.com: it is for other.example.com, *.other.example.com only.
    $ pulumi config set --stack dev --path 'gitlab-workspaces:tls.certificate' < certificate.pem`),
      message,
    );
  });

  it("for one of the two names is refused with the other, wherever it belongs", async () => {
    const one = await makeCertificate({ name: "one", covers: [domain] });
    const two = await makeCertificate({ name: "two", covers: [wildcard] });
    assert.match(
      faultsOf(provided(one.certificate, one.key)),
      /does not cover \*\.workspaces\.example\.com: it is for workspaces\.example\.com only/,
    );
    const swapped = faultsOf(provided(two.certificate, two.key, one.certificate, one.key));
    assert.match(swapped, /tls\.certificate \(not shown\)\n {4}It does not cover workspaces\.example\.com:/);
    assert.match(
      swapped,
      /tls\.wildcardCertificate \(not shown\)\n {4}It does not cover \*\.workspaces\.example\.com:/,
    );
  });

  it("with the name in its subject only is refused, as browsers do", async () => {
    const old = await makeCertificate({ name: domain, covers: [] });
    assert.match(faultsOf(provided(old.certificate, old.key)), /it is for no DNS name at all/);
  });

  it("of a parent zone covers the domain and not what is below it", async () => {
    const parent = await makeCertificate({ name: "parent", covers: ["*.example.com"] });
    assert.match(
      faultsOf(provided(parent.certificate, parent.key)),
      /does not cover \*\.workspaces\.example\.com: it is for \*\.example\.com only/,
    );
  });

  it("is refused with the key of another one", () => {
    const message = faultsOf(provided(both.certificate, otherName.key));
    assert.ok(
      message.endsWith(`gitlab-workspaces:tlsKey (secret, not shown)
    It is not the key of the certificate for workspaces.example.com, *.workspaces.example.com.
    $ pulumi config set --stack dev --secret gitlab-workspaces:tlsKey < privkey.pem`),
      message,
    );
  });

  it("that has expired, is not valid yet or is about to expire is told by its dates", async () => {
    const at = async (from: number, to: number) =>
      makeCertificate({ name: "dated", covers: [domain, wildcard], from: inDays(from), to: inDays(to) });
    const expired = await at(-90, -20);
    assert.match(
      faultsOf(provided(expired.certificate, expired.key)),
      /The certificate of CN=dated expired on 2026-11-01, 20 days ago\./,
    );
    const early = await at(3, 90);
    assert.match(
      faultsOf(provided(early.certificate, early.key)),
      /valid from 2026-11-24 on, in 3 days\. Is the clock right\?/,
    );
    const late = await at(-80, 13);
    const { warnings } = load(provided(late.certificate, late.key));
    assert.ok(warnings.includes("tls.certificate: The certificate of CN=dated expires on 2026-12-04, in 13 days."));
    const fine = await at(-80, 14);
    assert.ok(!load(provided(fine.certificate, fine.key)).warnings.some((warning) => warning.includes("expires")));
  });

  it("is refused when one of its issuers has expired", async () => {
    const old = await makeCertificate({ name: "Old", from: inDays(-90), to: inDays(-1) });
    const young = await makeCertificate({ name: "young", covers: [domain, wildcard], issuer: old });
    assert.match(
      faultsOf(provided(young.certificate + old.certificate, young.key)),
      /CN=Old expired on 2026-11-20, 1 day ago/,
    );
  });

  it("in a chain out of order, twice in it, or of strangers is refused", () => {
    const chain = (...certificates: TestCertificate[]) =>
      faultsOf(provided(certificates.map(({ certificate }) => certificate).join(""), leaf.key));
    assert.match(
      chain(leaf, root, middle),
      /Certificate 2 \(CN=Root\) did not issue certificate 1 \(CN=leaf\): the order is your own/,
    );
    assert.match(chain(leaf, otherName), /Certificate 2 \(CN=workspaces\.example\.com\) did not issue certificate 1/);
    assert.match(chain(leaf, leaf), /Certificate 2 \(CN=leaf\) is in it twice/);
    assert.match(chain(leaf, middle, root, root), /Certificate 4 \(CN=Root\) is in it twice/);
    assert.match(chain(middle, leaf), /It does not cover/);
  });

  it("that is none is told what it is", () => {
    const fault = (certificate: string) => faultsOf(provided(certificate, both.key));
    assert.match(
      fault("hello"),
      /tls\.certificate \(not shown\)\n {4}It is not a PEM certificate: it has no line -----BEGIN CERTIFICATE-----/,
    );
    assert.match(
      fault("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
      /It holds a PEM block that is no readable certificate/,
    );
    assert.match(fault(both.certificate.slice(0, 200)), /It is cut off/);
    assert.match(fault(both.certificate.replace(/-----END.*/s, both.certificate)), /It is cut off/);
    assert.match(
      fault(both.key),
      /It holds a private key, which belongs in the secret of its own\. .* in git and its history/,
    );
    assert.match(fault(both.certificate + both.key), /It holds a private key/);
    assert.match(
      fault(both.certificate.replaceAll("CERTIFICATE", "CERTIFICATE REQUEST")),
      /It holds a CERTIFICATE REQUEST where only certificates belong/,
    );
  });

  it("of megabytes is refused at once", () => {
    const start = Date.now();
    const huge = both.certificate.repeat(10_000);
    assert.match(faultsOf(provided(huge, huge)), /It has \d{7} characters; a certificate chain has at most 100000/);
    assert.ok(Date.now() - start < 1000);
  });

  it("waits for nothing when the domain itself is wrong", () => {
    const message = faultsOf(withSettings({ domain: "x" }, provided(both.certificate, "hello")));
    assert.match(message, /^2 faults/);
    assert.match(message, /tlsKey \(secret, not shown\)/);
  });

  describe("has a key that", () => {
    const fault = (key: string) => faultsOf(provided(both.certificate, key));

    it("is refused with a passphrase, with the command that takes it off", () => {
      const encrypted = createPrivateKey(both.key)
        .export({ format: "pem", type: "pkcs8", cipher: "aes-256-cbc", passphrase: "p" })
        .toString();
      const legacy = both.key.replace("KEY-----\n", "KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n");
      for (const key of [encrypted, legacy])
        assert.match(
          fault(key),
          /It needs a passphrase, and nobody is there to type it\.\n {4}\$ openssl pkey -in encrypted\.pem -out privkey\.pem\n {4}\$ pulumi config set/,
        );
    });

    it("is told what it is when it is no key", () => {
      assert.match(fault(both.certificate), /It is a certificate where the private key belongs/);
      assert.match(fault("canary"), /It is not a PEM private key/);
      assert.match(
        fault("-----BEGIN PRIVATE KEY-----\nY2FuYXJ5\n-----END PRIVATE KEY-----"),
        /It is no readable private key/,
      );
      assert.match(fault(both.key.slice(0, 100)), /It is cut off/);
      assert.match(fault(both.key + otherName.key), /It holds more than one private key/);
      assert.match(
        fault(pem(generateKeyPairSync("ed25519").privateKey)),
        /It is a key of type ed25519; browsers take RSA and EC/,
      );
      assert.match(
        fault("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----"),
        /It is an SSH key/,
      );
      assert.match(fault("a".repeat(200_000)), /It has 200000 characters/);
    });

    it("may follow the curve parameters that openssl writes before it", () => {
      const parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
      load(provided(both.certificate, parameters + pem(createPrivateKey(both.key), "sec1")));
    });

    it("is asked for even when the certificate is missing", () => {
      const message = faultsOf(withSettings({ tls: { mode: "provided" } }));
      assert.match(message, /tls\.certificate is not set[^]*tlsKey is not set/);
    });
  });

  it("takes the place of the self-signed one in production", () => {
    const stack = withSettings(
      { production: "true", ingress: { controller: "traefik" } },
      provided(both.certificate, both.key),
    );
    assert.equal(load(stack, today).production, true);
  });
});

describe("an SSH host key from config", () => {
  before(useStack);
  const fault = (sshHostKey: string) => faultsOf(withSecrets({ sshHostKey }));

  it("may have any form that the proxy can load, and is put in order", async () => {
    const folder = mkdtempSync(join(tmpdir(), "host-key-"));
    try {
      const openSsh = (...options: string[]) => {
        const file = join(folder, options.join(""));
        execFileSync("ssh-keygen", ["-q", "-N", "", "-f", file, ...options]);
        return readFileSync(file, "utf8");
      };
      const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey;
      const ec = generateKeyPairSync("ec", { namedCurve: "P-384" }).privateKey;
      for (const key of [
        openSsh("-t", "rsa", "-b", "2048"),
        openSsh("-t", "ecdsa"),
        openSsh("-t", "ed25519"),
        pem(rsa, "pkcs1"),
        pem(rsa),
        pem(ec, "sec1"),
        pem(generateKeyPairSync("ed25519").privateKey),
      ]) {
        const config = load(withSecrets({ sshHostKey: key.trimEnd().replaceAll("\n", "\r\n") }));
        assert.equal((await secretText(config.sshHostKey)).replaceAll(/\s/g, ""), key.replaceAll(/\s/g, ""));
        assert.ok(!(await secretText(config.sshHostKey)).includes("\r"));
      }
      const locked = join(folder, "locked");
      execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "passphrase", "-f", locked]);
      assert.match(
        fault(readFileSync(locked, "utf8")),
        /It needs a passphrase.*\n {4}\$ ssh-keygen -p -N '' -f ssh-host-key\.pem/,
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  // The proxy starts with any of these, says it is ready, and only never opens the port.
  it("that the proxy could not load is refused", () => {
    const none = /sshHostKey \(secret, not shown\)\n {4}It is no private key that SSH can use/;
    const openSsh = (body: Buffer) =>
      `-----BEGIN OPENSSH PRIVATE KEY-----\n${body.toString("base64")}\n-----END OPENSSH PRIVATE KEY-----\n`;
    assert.match(fault(pem(generateKeyPairSync("ec", { namedCurve: "secp256k1" }).privateKey)), none);
    assert.match(fault(pem(generateKeyPairSync("x25519").privateKey)), none);
    assert.match(fault(openSsh(Buffer.from("canary"))), none);
    assert.match(fault(openSsh(Buffer.from("openssh-key-v1\0\0\0\0\xffcanary", "latin1"))), none);
    assert.match(fault("canary"), /It is not a PEM private key/);
  });

  it("is made by the program when there is none", () => {
    assert.equal(load(smallest).sshHostKey, undefined);
  });
});
