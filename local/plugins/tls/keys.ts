import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPair,
  type KeyObject,
  randomBytes,
  webcrypto,
} from "node:crypto";
import { promisify } from "node:util";
import { type Properties, secret } from "../provider";

const generate = promisify(generateKeyPair) as (
  type: string,
  options: Readonly<Record<string, unknown>>,
) => Promise<{ privateKey: KeyObject }>;

/** The curves by the names of the resource's `ecdsaCurve`, as OpenSSL, WebCrypto and OpenSSH call them. */
const CURVES: Readonly<Record<string, { openssl: string; hash: string; ssh?: string }>> = {
  P224: { openssl: "secp224r1", hash: "SHA-256" },
  P256: { openssl: "prime256v1", hash: "SHA-256", ssh: "nistp256" },
  P384: { openssl: "secp384r1", hash: "SHA-384", ssh: "nistp384" },
  P521: { openssl: "secp521r1", hash: "SHA-512", ssh: "nistp521" },
};

/**
 * Makes the key that a PrivateKey's inputs ask for.
 *
 * @throws for an algorithm or a curve that there is not.
 */
export async function makeKey(inputs: Properties): Promise<KeyObject> {
  const { algorithm, ecdsaCurve, rsaBits } = inputs;
  if (algorithm === "RSA") return (await generate("rsa", { modulusLength: Number(rsaBits) })).privateKey;
  if (algorithm === "ED25519") return (await generate("ed25519", {})).privateKey;
  if (algorithm !== "ECDSA") throw new Error(`there is no algorithm ${JSON.stringify(algorithm)}`);
  const curve = typeof ecdsaCurve === "string" ? CURVES[ecdsaCurve] : undefined;
  if (!curve) throw new Error(`there is no curve ${JSON.stringify(ecdsaCurve)}`);
  return (await generate("ec", { namedCurve: curve.openssl })).privateKey;
}

/** Everything that a PrivateKey puts out for a key, the private forms marked as secret. */
export function keyOutputs(key: KeyObject): { id: string; outputs: Properties } {
  const publicKey = createPublicKey(key);
  const der = publicKey.export({ type: "spki", format: "der" });
  const ssh = sshPublicKey(key);
  const written = (type: "pkcs1" | "pkcs8" | "sec1"): string => key.export({ type, format: "pem" }).toString();
  const traditional = key.asymmetricKeyType === "rsa" ? "pkcs1" : key.asymmetricKeyType === "ec" ? "sec1" : "pkcs8";
  return {
    id: createHash("sha1").update(der).digest("hex"),
    outputs: {
      privateKeyPem: secret(written(traditional)),
      privateKeyPemPkcs8: secret(written("pkcs8")),
      privateKeyOpenssh: secret(ssh ? sshPrivateKey(key, ssh) : ""),
      publicKeyPem: publicKey.export({ type: "spki", format: "pem" }).toString(),
      publicKeyOpenssh: ssh ? `${ssh.type} ${ssh.blob.toString("base64")}\n` : "",
      publicKeyFingerprintMd5: ssh
        ? (createHash("md5").update(ssh.blob).digest("hex").match(/../g)?.join(":") ?? "")
        : "",
      publicKeyFingerprintSha256: ssh
        ? `SHA256:${createHash("sha256").update(ssh.blob).digest("base64").replace(/=+$/, "")}`
        : "",
    },
  };
}

/** How WebCrypto imports a key and signs with it. */
type SigningAlgorithm = webcrypto.Algorithm & { readonly hash?: string; readonly namedCurve?: string };

/** A key pair with which certificates are signed. */
export interface SigningKey {
  readonly keys: { readonly privateKey: webcrypto.CryptoKey; readonly publicKey: webcrypto.CryptoKey };
  readonly algorithm: SigningAlgorithm;
  /** As the resources' `keyAlgorithm`. */
  readonly keyAlgorithm: string;
}

/**
 * Reads a PEM private key for signing.
 *
 * @throws when it is none, or of the curve P224, with which this stand-in cannot sign.
 */
export async function signingKey(pem: string): Promise<SigningKey> {
  const key = createPrivateKey(pem);
  const { algorithm, keyAlgorithm } = signingAlgorithm(key);
  const { subtle } = webcrypto;
  const privateDer = key.export({ type: "pkcs8", format: "der" });
  const publicDer = createPublicKey(key).export({ type: "spki", format: "der" });
  return {
    keys: {
      privateKey: await subtle.importKey("pkcs8", privateDer, algorithm, true, ["sign"]),
      publicKey: await subtle.importKey("spki", publicDer, algorithm, true, ["verify"]),
    },
    algorithm,
    keyAlgorithm,
  };
}

function signingAlgorithm(key: KeyObject): Pick<SigningKey, "algorithm" | "keyAlgorithm"> {
  const type = key.asymmetricKeyType;
  if (type === "rsa") return { algorithm: { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" }, keyAlgorithm: "RSA" };
  if (type === "ed25519") return { algorithm: { name: "Ed25519" }, keyAlgorithm: "ED25519" };
  const [name = "", curve] =
    Object.entries(CURVES).find(([, { openssl }]) => openssl === key.asymmetricKeyDetails?.namedCurve) ?? [];
  if (type !== "ec" || !curve || name === "P224") {
    throw new Error(`this stand-in cannot sign with a key of type ${type ?? "unknown"} ${name}`);
  }
  const algorithm = { name: "ECDSA", hash: curve.hash, namedCurve: name.replace("P", "P-") };
  return { algorithm, keyAlgorithm: "ECDSA" };
}

/** One public key as OpenSSH writes it: https://www.rfc-editor.org/rfc/rfc4253#section-6.6 */
interface SshPublicKey {
  readonly type: string;
  readonly blob: Buffer;
}

/** Undefined for a key that OpenSSH does not know. */
function sshPublicKey(key: KeyObject): SshPublicKey | undefined {
  if (key.asymmetricKeyDetails?.namedCurve === CURVES["P224"]?.openssl) return undefined;
  const jwk = key.export({ format: "jwk" });
  const field = (name: "n" | "e" | "x" | "y"): Buffer => Buffer.from(jwk[name] ?? "", "base64url");
  if (key.asymmetricKeyType === "rsa") {
    const type = "ssh-rsa";
    return { type, blob: Buffer.concat([sshString(type), sshNumber(field("e")), sshNumber(field("n"))]) };
  }
  if (key.asymmetricKeyType === "ed25519") {
    const type = "ssh-ed25519";
    return { type, blob: Buffer.concat([sshString(type), sshString(field("x"))]) };
  }
  const ssh = CURVES[(jwk.crv ?? "").replace("P-", "P")]?.ssh;
  if (ssh === undefined) return undefined;
  const type = `ecdsa-sha2-${ssh}`;
  const point = Buffer.concat([Buffer.from([4]), field("x"), field("y")]);
  return { type, blob: Buffer.concat([sshString(type), sshString(ssh), sshString(point)]) };
}

/** https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.key */
function sshPrivateKey(key: KeyObject, { type, blob }: SshPublicKey): string {
  const jwk = key.export({ format: "jwk" });
  const field = (name: "n" | "e" | "d" | "p" | "q" | "qi" | "x"): Buffer => Buffer.from(jwk[name] ?? "", "base64url");
  const publicPart = blob.subarray(sshString(type).length);
  const secretPart = {
    rsa: () => Buffer.concat((["n", "e", "d", "qi", "p", "q"] as const).map((name) => sshNumber(field(name)))),
    ed25519: () => Buffer.concat([publicPart, sshString(Buffer.concat([field("d"), field("x")]))]),
    ec: () => Buffer.concat([publicPart, sshNumber(field("d"))]),
  }[String(key.asymmetricKeyType) as "rsa" | "ed25519" | "ec"]();
  const check = randomBytes(4);
  const unpadded = Buffer.concat([check, check, sshString(type), secretPart, sshString("")]);
  const padding = Buffer.from(Array.from({ length: (8 - (unpadded.length % 8)) % 8 }, (_, index) => index + 1));
  const file = Buffer.concat([
    Buffer.from("openssh-key-v1\0"),
    ...["none", "none", ""].map(sshString),
    Buffer.from([0, 0, 0, 1]),
    sshString(blob),
    sshString(Buffer.concat([unpadded, padding])),
  ]);
  const lines = file.toString("base64").match(/.{1,70}/g) ?? [];
  return ["-----BEGIN OPENSSH PRIVATE KEY-----", ...lines, "-----END OPENSSH PRIVATE KEY-----", ""].join("\n");
}

function sshString(content: string | Buffer): Buffer {
  const bytes = Buffer.from(content);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

/** A positive number: no leading zeros, but one where the first bit would make it negative. */
function sshNumber(bytes: Buffer): Buffer {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start++;
  const trimmed = bytes.subarray(start);
  return sshString((trimmed[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.from([0]), trimmed]) : trimmed);
}
