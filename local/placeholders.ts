import "reflect-metadata";
import { createPrivateKey, generateKeyPairSync, randomBytes, webcrypto } from "node:crypto";
import * as x509 from "@peculiar/x509";
import { stringify } from "yaml";
import { agentTokenKey, type SecretName, secretNames } from "../src/config/schema";

/** The program's settings, by their keys in stack config without the namespace. Unchecked: a person wrote them. */
export type Settings = Readonly<Record<string, unknown>>;

/** A secret that a stack has to have. */
export interface NeededSecret {
  readonly name: SecretName;
  /** Its key in stack config: the name, and for an agent's token the agent's name too. */
  readonly key: string;
}

/** Values that are as good to the program as the real ones, and open nothing. */
export interface Placeholders {
  /** By key. */
  readonly secrets: Readonly<Record<string, string>>;
  /** The certificates whose keys are among the secrets: they take the place of those in `tls`. */
  readonly certificates: { readonly certificate?: string; readonly wildcardCertificate?: string };
}

/** How long a generated certificate is valid: days. */
const validDays = 90;

/** The secrets that a stack of these settings cannot do without. */
export function neededSecrets(settings: Settings): NeededSecret[] {
  const provided = member(settings["tls"], "mode") === "provided";
  const plain = (name: SecretName, needed: boolean): NeededSecret[] => (needed ? [{ name, key: name }] : []);
  return [
    ...plain("kubeconfig", member(settings["cluster"], "cloud") === "self-managed"),
    ...plain("oauthClientSecret", true),
    ...agentNames(settings).map((agent): NeededSecret => ({ name: "agentToken", key: agentTokenKey(agent) })),
    ...plain("tlsKey", provided),
    ...plain("wildcardTlsKey", provided && member(settings["tls"], "wildcardCertificate") !== undefined),
  ];
}

/** The names that each certificate of the stack has to cover. */
export function certificateHosts(settings: Settings): Record<"certificate" | "wildcardCertificate", string[]> {
  const domain = domainOf(settings);
  const apart = member(settings["tls"], "wildcardCertificate") !== undefined;
  return { certificate: apart ? [domain] : [domain, `*.${domain}`], wildcardCertificate: [`*.${domain}`] };
}

/** Which secret a key holds; undefined for a key that is none of the program's. */
export function secretName(key: string): SecretName | undefined {
  return key.startsWith(agentTokenKey("")) ? "agentToken" : secretNames.find((name) => name === key);
}

/**
 * Makes a valid value for each of `keys`, and the certificates that go with the TLS keys among them.
 * @param settings the stack's: the certificates are for its domain, the kubeconfig has its context.
 */
export async function generate(settings: Settings, keys: readonly string[]): Promise<Placeholders> {
  const hosts = certificateHosts(settings);
  const secrets: Record<string, string> = {};
  const certificates: { certificate?: string; wildcardCertificate?: string } = {};
  for (const key of keys) {
    switch (secretName(key)) {
      case "kubeconfig":
        secrets[key] = await kubeconfig(settings);
        break;
      case "tlsKey": {
        const pair = await certified(hosts.certificate);
        secrets[key] = pair.key;
        certificates.certificate = pair.certificate;
        break;
      }
      case "wildcardTlsKey": {
        const pair = await certified(hosts.wildcardCertificate);
        secrets[key] = pair.key;
        certificates.wildcardCertificate = pair.certificate;
        break;
      }
      case "sshHostKey":
        secrets[key] = generateKeyPairSync("ec", { namedCurve: "P-256" })
          .privateKey.export({ format: "pem", type: "sec1" })
          .toString();
        break;
      case "agentToken":
      case "oauthClientSecret":
      case "signingKey":
      case undefined:
        secrets[key] = token();
        break;
    }
  }
  return { secrets, certificates };
}

function token(): string {
  return `stand-in-${randomBytes(24).toString("base64url")}`;
}

/** Whole, and leading nowhere: nothing listens on port 1. */
async function kubeconfig(settings: Settings): Promise<string> {
  const context = member(settings["cluster"], "context");
  const name = typeof context === "string" && context !== "" ? context : "nowhere";
  const { certificate } = await certified(["nowhere.invalid"]);
  const cluster = {
    server: "https://127.0.0.1:1",
    "certificate-authority-data": Buffer.from(certificate).toString("base64"),
  };
  return stringify({
    apiVersion: "v1",
    kind: "Config",
    "current-context": name,
    clusters: [{ name, cluster }],
    contexts: [{ name, context: { cluster: name, user: name } }],
    users: [{ name, user: { token: token() } }],
  });
}

/** A self-signed certificate for the names, and its key. Both PEM. */
async function certified(names: readonly string[]): Promise<{ certificate: string; key: string }> {
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const now = Date.now();
  const hour = 60 * 60 * 1000;
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    // A common name has 64 characters at most, and a domain may have more.
    name: "CN=stand-in for a certificate",
    notBefore: new Date(now - hour),
    notAfter: new Date(now + validDays * 24 * hour),
    keys,
    signingAlgorithm: algorithm,
    extensions: [new x509.SubjectAlternativeNameExtension(names.map((value) => ({ type: "dns", value })))],
  });
  const der = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey));
  const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  return {
    certificate: `${certificate.toString("pem")}\n`,
    key: key.export({ format: "pem", type: "pkcs8" }).toString(),
  };
}

/** The stack's domain; that of the examples where it has none, or one that the program refuses and no certificate can name. */
function domainOf({ domain }: Settings): string {
  return typeof domain === "string" && /^[a-z0-9.-]{1,253}$/.test(domain) ? domain : "workspaces.example.com";
}

function agentNames({ agents }: Settings): string[] {
  const names = (Array.isArray(agents) ? agents : []).map((entry: unknown) => member(entry, "name"));
  return [...new Set(names.filter((name) => typeof name === "string").filter((name) => /^[a-z0-9-]+$/.test(name)))];
}

function member(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>)[key] : undefined;
}
