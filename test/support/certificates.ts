import "reflect-metadata";
import { createPrivateKey, type webcrypto } from "node:crypto";
import * as x509 from "@peculiar/x509";

/** A certificate made for a test, with what is needed to issue others by it. */
export interface TestCertificate {
  /** This certificate alone, PEM. */
  readonly certificate: string;
  /** Its private key, PEM, PKCS#8. */
  readonly key: string;
  readonly subject: string;
  readonly keys: webcrypto.CryptoKeyPair;
}

/** What kind of certificate to make. */
export interface Wish {
  /** Common name. */
  readonly name: string;
  /** DNS names it covers; a certificate authority when absent. */
  readonly covers?: readonly string[];
  /** Itself when absent. */
  readonly issuer?: TestCertificate;
  readonly from?: Date;
  readonly to?: Date;
  readonly algorithm?: "EC" | "RSA";
}

/** The day on which the tests take place. */
export const today = new Date("2026-11-21T12:00:00Z");

/** The moment `days` after `today`, or before it. */
export function inDays(days: number): Date {
  return new Date(today.getTime() + days * 24 * 60 * 60 * 1000);
}

/** Makes a certificate that is valid from 30 days ago until 90 days ahead unless wished otherwise. */
export async function makeCertificate(wish: Wish): Promise<TestCertificate> {
  const algorithm =
    wish.algorithm === "RSA"
      ? { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256", publicExponent: new Uint8Array([1, 0, 1]), modulusLength: 2048 }
      : { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const keys = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const subject = `CN=${wish.name}`;
  const certificate = await x509.X509CertificateGenerator.create({
    subject,
    issuer: wish.issuer?.subject ?? subject,
    notBefore: wish.from ?? inDays(-30),
    notAfter: wish.to ?? inDays(90),
    publicKey: keys.publicKey,
    signingKey: (wish.issuer?.keys ?? keys).privateKey,
    signingAlgorithm: {
      name: wish.issuer ? wish.issuer.keys.privateKey.algorithm.name : algorithm.name,
      hash: "SHA-256",
    },
    extensions: wish.covers
      ? [new x509.SubjectAlternativeNameExtension(wish.covers.map((value) => ({ type: "dns", value })))]
      : [new x509.BasicConstraintsExtension(true, undefined, true)],
  });
  const der = Buffer.from(await crypto.subtle.exportKey("pkcs8", keys.privateKey));
  const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  return {
    certificate: `${certificate.toString("pem")}\n`,
    key: key.export({ format: "pem", type: "pkcs8" }).toString(),
    subject,
    keys,
  };
}
