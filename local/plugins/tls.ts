import { webcrypto } from "node:crypto";
import { isIP } from "node:net";
// Before the next line, which does not load without it.
import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import {
  type Change,
  type Checked,
  type CheckFailure,
  type Created,
  isObject,
  type Properties,
  type Provider,
  UNKNOWN,
} from "./provider";
import { propertyChanges } from "./kubernetes/diff";
import { keyOutputs, makeKey, signingKey } from "./tls/keys";

x509.cryptoProvider.set(webcrypto);

const HOUR = 3_600_000;

/** The bits of a key's usage, by the names that `allowedUses` has for them. */
const KEY_USAGES: Readonly<Record<string, x509.KeyUsageFlags>> = {
  digital_signature: x509.KeyUsageFlags.digitalSignature,
  content_commitment: x509.KeyUsageFlags.nonRepudiation,
  key_encipherment: x509.KeyUsageFlags.keyEncipherment,
  data_encipherment: x509.KeyUsageFlags.dataEncipherment,
  key_agreement: x509.KeyUsageFlags.keyAgreement,
  cert_signing: x509.KeyUsageFlags.keyCertSign,
  crl_signing: x509.KeyUsageFlags.cRLSign,
  encipher_only: x509.KeyUsageFlags.encipherOnly,
  decipher_only: x509.KeyUsageFlags.decipherOnly,
};

const EXTENDED_KEY_USAGES: Readonly<Record<string, string>> = {
  any_extended: "2.5.29.37.0",
  server_auth: x509.ExtendedKeyUsage.serverAuth,
  client_auth: x509.ExtendedKeyUsage.clientAuth,
  code_signing: x509.ExtendedKeyUsage.codeSigning,
  email_protection: x509.ExtendedKeyUsage.emailProtection,
  timestamping: x509.ExtendedKeyUsage.timeStamping,
  ocsp_signing: x509.ExtendedKeyUsage.ocspSigning,
};

/** The parts of a subject and their names in X.500. */
const SUBJECT: Readonly<Record<string, string>> = {
  commonName: "CN",
  country: "C",
  emailAddress: "E",
  locality: "L",
  organization: "O",
  organizationalUnit: "OU",
  postalCode: "2.5.4.17",
  province: "ST",
  serialNumber: "2.5.4.5",
  streetAddresses: "2.5.4.9",
};

const CERTIFICATE_DEFAULTS = {
  earlyRenewalHours: 0,
  isCaCertificate: false,
  maxPathLength: -1,
  setSubjectKeyId: false,
};

/** What one type does: the defaults of its inputs, and what it makes of them. */
interface TlsType {
  readonly defaults: Properties;
  readonly make: (inputs: Properties) => Promise<{ id: string; outputs: Properties }>;
}

/** The types that are served, as the terraform provider behind the official plugin defines them. */
const TYPES: Readonly<Record<string, TlsType>> = {
  "tls:index/privateKey:PrivateKey": {
    defaults: { ecdsaCurve: "P224", rsaBits: 2048 },
    make: async (inputs) => keyOutputs(await makeKey(inputs)),
  },
  "tls:index/selfSignedCert:SelfSignedCert": {
    defaults: { ...CERTIFICATE_DEFAULTS, setAuthorityKeyId: false },
    make: selfSigned,
  },
  "tls:index/certRequest:CertRequest": { defaults: {}, make: requested },
  "tls:index/locallySignedCert:LocallySignedCert": { defaults: CERTIFICATE_DEFAULTS, make: locallySigned },
};

/**
 * The stand-in for `pulumi-resource-tls`: PrivateKey, SelfSignedCert, CertRequest and LocallySignedCert, made for real.
 *
 * As in the official plugin every change of an input makes a new one, but for `earlyRenewalHours`, and a certificate
 * that is ready for renewal is replaced by the next update.
 */
export function standIn(): Provider {
  const served = (type: string): TlsType => {
    const found = TYPES[type];
    if (!found) throw new Error(`the stand-in for the tls plugin does not serve ${type}`);
    return found;
  };
  return {
    configure: () => Promise.resolve(),
    check: ({ type, news }) => Promise.resolve(checked(served(type), news)),
    diff: ({ oldInputs, olds, news }) => {
      const changes = new Map<string, Change>();
      for (const [path, kind] of propertyChanges(oldInputs, news)) {
        changes.set(path, { kind, replace: path !== "earlyRenewalHours" });
      }
      if (isReadyForRenewal(olds)) changes.set("readyForRenewal", { kind: "update", replace: true });
      return { changes };
    },
    create: async ({ type, inputs, preview }): Promise<Created> => {
      if (preview) return { id: "", properties: inputs };
      const { id, outputs } = await served(type).make(inputs);
      return { id, properties: { ...inputs, ...outputs } };
    },
    read: ({ id, inputs, properties }) => {
      if (!inputs || !properties) throw new Error("resources of the tls plugin cannot be imported");
      const renewal =
        properties["validityEndTime"] === undefined ? {} : { readyForRenewal: isReadyForRenewal(properties) };
      // Nothing outside the state knows the keys, so a refresh can only repeat them.
      return Promise.resolve({ id, inputs, properties: { ...properties, ...renewal } });
    },
    update: ({ olds, news }) => Promise.resolve({ ...olds, ...news }),
    delete: () => Promise.resolve(),
  };
}

function checked({ defaults }: TlsType, news: Properties): Checked {
  const inputs = { ...defaults, ...news };
  const failures: CheckFailure[] = [];
  const { algorithm, allowedUses } = inputs;
  if (algorithm !== undefined && !["RSA", "ECDSA", "ED25519"].includes(text(algorithm)) && algorithm !== UNKNOWN) {
    failures.push({ property: "algorithm", reason: 'value must be one of: ["RSA" "ECDSA" "ED25519"]' });
  }
  for (const use of texts(allowedUses)) {
    if (KEY_USAGES[use] === undefined && EXTENDED_KEY_USAGES[use] === undefined && use !== UNKNOWN) {
      failures.push({ property: "allowedUses", reason: `this stand-in does not know the use "${use}"` });
    }
  }
  return { inputs, failures };
}

async function selfSigned(inputs: Properties): Promise<{ id: string; outputs: Properties }> {
  const { keys, algorithm, keyAlgorithm } = await signingKey(text(inputs["privateKeyPem"]));
  const name = distinguishedName(inputs["subject"]);
  const extensions = [...certificateExtensions(inputs), ...alternativeNames(inputs)];
  if (inputs["setSubjectKeyId"] === true || inputs["isCaCertificate"] === true) {
    extensions.push(await x509.SubjectKeyIdentifierExtension.create(keys.publicKey));
  }
  if (inputs["setAuthorityKeyId"] === true) {
    extensions.push(await x509.AuthorityKeyIdentifierExtension.create(keys.publicKey));
  }
  const { notBefore, notAfter } = validity(inputs);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name,
    notBefore,
    notAfter,
    keys,
    signingAlgorithm: algorithm,
    extensions,
  });
  return certificateOutputs(certificate, { keyAlgorithm });
}

async function requested(inputs: Properties): Promise<{ id: string; outputs: Properties }> {
  const { keys, algorithm, keyAlgorithm } = await signingKey(text(inputs["privateKeyPem"]));
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: distinguishedName(inputs["subject"]),
    keys,
    signingAlgorithm: algorithm,
    extensions: alternativeNames(inputs),
  });
  const id = Buffer.from(await webcrypto.subtle.digest("SHA-1", request.rawData)).toString("hex");
  return { id, outputs: { keyAlgorithm, certRequestPem: pem(request.toString("pem")) } };
}

async function locallySigned(inputs: Properties): Promise<{ id: string; outputs: Properties }> {
  const { keys, algorithm, keyAlgorithm } = await signingKey(text(inputs["caPrivateKeyPem"]));
  const authority = new x509.X509Certificate(text(inputs["caCertPem"]));
  const request = new x509.Pkcs10CertificateRequest(text(inputs["certRequestPem"]));
  const extensions = certificateExtensions(inputs);
  const names = request.extensions.find((extension) => extension instanceof x509.SubjectAlternativeNameExtension);
  if (names) extensions.push(names);
  if (inputs["setSubjectKeyId"] === true) {
    extensions.push(await x509.SubjectKeyIdentifierExtension.create(request.publicKey));
  }
  extensions.push(await x509.AuthorityKeyIdentifierExtension.create(authority.publicKey));
  const { notBefore, notAfter } = validity(inputs);
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: request.subjectName,
    issuer: authority.subjectName,
    notBefore,
    notAfter,
    publicKey: request.publicKey,
    signingKey: keys.privateKey,
    signingAlgorithm: algorithm,
    extensions,
  });
  return certificateOutputs(certificate, { caKeyAlgorithm: keyAlgorithm });
}

function certificateOutputs(
  certificate: x509.X509Certificate,
  algorithm: Properties,
): { id: string; outputs: Properties } {
  return {
    id: BigInt(`0x${certificate.serialNumber}`).toString(),
    outputs: {
      ...algorithm,
      certPem: pem(certificate.toString("pem")),
      readyForRenewal: false,
      validityStartTime: timestamp(certificate.notBefore),
      validityEndTime: timestamp(certificate.notAfter),
    },
  };
}

function certificateExtensions(inputs: Properties): x509.Extension[] {
  const uses = texts(inputs["allowedUses"]);
  const usage = uses.reduce<number>((bits, use) => bits | (KEY_USAGES[use] ?? 0), 0);
  const extended = uses.flatMap((use) => EXTENDED_KEY_USAGES[use] ?? []);
  const authority = inputs["isCaCertificate"] === true;
  const length = inputs["maxPathLength"];
  return [
    new x509.BasicConstraintsExtension(
      authority,
      authority && typeof length === "number" && length >= 0 ? length : undefined,
      true,
    ),
    // eslint-disable-next-line @typescript-eslint/no-unsafe-enum-assignment -- flags combined are no member of the enum
    ...(usage ? [new x509.KeyUsagesExtension(usage, true)] : []),
    ...(extended.length > 0 ? [new x509.ExtendedKeyUsageExtension(extended)] : []),
  ];
}

function alternativeNames(inputs: Properties): x509.Extension[] {
  const addresses = texts(inputs["ipAddresses"]);
  const wrong = addresses.find((address) => isIP(address) === 0);
  if (wrong !== undefined) throw new Error(`failed to parse IP address "${wrong}"`);
  const names = [
    ...texts(inputs["dnsNames"]).map((value) => ({ type: "dns" as const, value })),
    ...addresses.map((value) => ({ type: "ip" as const, value })),
    ...texts(inputs["uris"]).map((value) => ({ type: "url" as const, value })),
  ];
  return names.length > 0 ? [new x509.SubjectAlternativeNameExtension(names)] : [];
}

function distinguishedName(subject: unknown): x509.JsonName {
  if (!isObject(subject)) return [];
  return Object.entries(SUBJECT).flatMap(([field, attribute]) => {
    const value = subject[field];
    const parts = Array.isArray(value) ? texts(value) : [text(value)];
    return parts.flatMap((part) => (part === "" ? [] : [{ [attribute]: [part] }]));
  });
}

function validity(inputs: Properties): { notBefore: Date; notAfter: Date } {
  // Certificates count whole seconds.
  const start = Math.floor(Date.now() / 1000) * 1000;
  const hours = Number(inputs["validityPeriodHours"]);
  return { notBefore: new Date(start), notAfter: new Date(start + hours * HOUR) };
}

/** As of now, however long ago the state was written. */
function isReadyForRenewal(outputs: Properties): boolean {
  const end = Date.parse(text(outputs["validityEndTime"]));
  const early = typeof outputs["earlyRenewalHours"] === "number" ? outputs["earlyRenewalHours"] : 0;
  return Date.now() >= end - early * HOUR;
}

/** Positive, as the standard wants it. */
function serialNumber(): string {
  const bytes = webcrypto.getRandomValues(new Uint8Array(16));
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return Buffer.from(bytes).toString("hex");
}

function timestamp(date: Date): string {
  return date.toISOString().replace(/\.\d+Z$/, "Z");
}

function pem(body: string): string {
  return body.endsWith("\n") ? body : `${body}\n`;
}

function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item): item is string => typeof item === "string") : [];
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
