import { createPrivateKey, type KeyObject, type X509Certificate } from "node:crypto";
import { dnsNames } from "./certificate";
import { longestPem, readPem, writePem, type PemBlock, type Problem } from "./pem";

/** What a look at a private key has shown. */
export interface PrivateKeyCheck {
  /** The key alone, with LF line ends and a final newline. Absent when there is a problem. */
  readonly key?: string;
  readonly problems: readonly Problem[];
}

const refused = (rule: string, preparation?: string): PrivateKeyCheck => ({
  problems: [preparation === undefined ? { rule } : { rule, preparation }],
});

/** Checks that a PEM text is an RSA or EC private key without passphrase, and that of `leaf` if there is one. */
export function checkTlsKey(text: string, leaf: X509Certificate | undefined): PrivateKeyCheck {
  const block = onlyKey(text, "openssl pkey -in encrypted.pem -out privkey.pem");
  if ("problems" in block) return block;
  if (block.label === "OPENSSH PRIVATE KEY")
    return refused("It is an SSH key. TLS needs the PEM private key that the certificate was requested with.");
  const key = parse(block);
  if (key === undefined) return refused("It is no readable private key.");
  if (key.asymmetricKeyType !== "rsa" && key.asymmetricKeyType !== "ec")
    return refused(`It is a key of type ${key.asymmetricKeyType ?? "unknown"}; browsers take RSA and EC.`);
  if (leaf && !leaf.checkPrivateKey(key))
    return refused(`It is not the key of the certificate for ${dnsNames(leaf).slice(0, 10).join(", ")}.`);
  return { key: writePem(block.label, block.der), problems: [] };
}

/**
 * Checks that a PEM text is a host key that the proxy can load: OpenSSH, PKCS#1, SEC 1 or PKCS#8; RSA, ECDSA or
 * ed25519; no passphrase. The proxy itself starts with a bad one and only leaves the SSH port closed.
 */
export function checkSshHostKey(text: string): PrivateKeyCheck {
  const block = onlyKey(text, "ssh-keygen -p -N '' -f ssh-host-key.pem");
  if ("problems" in block) return block;
  const type = block.label === "OPENSSH PRIVATE KEY" ? openSshType(block.der) : sshType(parse(block));
  if (type === "encrypted") return refused(passphrase, "ssh-keygen -p -N '' -f ssh-host-key.pem");
  if (type === undefined)
    return refused("It is no private key that SSH can use: RSA, ECDSA (P-256, P-384, P-521) or ed25519.");
  return { key: writePem(block.label, block.der), problems: [] };
}

const passphrase = "It needs a passphrase, and nobody is there to type it.";

/** The one private key in a PEM text; `decrypt` is the command that takes a passphrase away. */
function onlyKey(text: string, decrypt: string): PemBlock | PrivateKeyCheck {
  if (text.length > longestPem)
    return refused(`It has ${text.length} characters; a private key has at most ${longestPem}.`);
  const blocks = readPem(text);
  if (blocks === undefined) return refused("It is cut off: a PEM block has no END line of its own.");
  const keys = blocks.filter(({ label }) => label.endsWith("PRIVATE KEY"));
  const [key] = keys;
  if (key === undefined)
    return refused(
      blocks.some(({ label }) => label.includes("CERTIFICATE"))
        ? "It is a certificate where the private key belongs."
        : "It is not a PEM private key: it has no line -----BEGIN ... PRIVATE KEY-----.",
    );
  if (keys.length > 1) return refused("It holds more than one private key.");
  return key.encrypted ? refused(passphrase, decrypt) : key;
}

function parse({ label, der }: PemBlock): KeyObject | undefined {
  try {
    return createPrivateKey(writePem(label, der));
  } catch {
    return undefined;
  }
}

function sshType(key: KeyObject | undefined): string | undefined {
  const type = key?.asymmetricKeyType;
  if (type === "ec")
    return ["prime256v1", "secp384r1", "secp521r1"].find((curve) => curve === key?.asymmetricKeyDetails?.namedCurve);
  return type === "rsa" || type === "ed25519" ? type : undefined;
}

/**
 * Type of the key in an OpenSSH file, which node:crypto does not read: magic, cipher, KDF, KDF options, number of keys,
 * public key (https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.key).
 */
function openSshType(der: Buffer): string | undefined {
  const magic = "openssh-key-v1\0";
  if (der.subarray(0, magic.length).toString("latin1") !== magic) return undefined;
  try {
    const [cipher, afterCipher] = sshString(der, magic.length);
    if (cipher.toString() !== "none") return "encrypted";
    const [, afterKdf] = sshString(der, afterCipher);
    const [, afterOptions] = sshString(der, afterKdf);
    const [publicKey, afterPublicKey] = sshString(der, afterOptions + 4);
    sshString(der, afterPublicKey);
    const type = sshString(publicKey, 0)[0].toString();
    return /^(ssh-rsa|ssh-ed25519|ecdsa-sha2-nistp(256|384|521))$/.test(type) ? type : undefined;
  } catch {
    return undefined;
  }
}

/** A string of the SSH wire format (RFC 4251, 5) and where it ends. Throws when the bytes are not all there. */
function sshString(bytes: Buffer, at: number): [Buffer, number] {
  const end = at + 4 + bytes.readUInt32BE(at);
  if (end > bytes.length) throw new RangeError("cut off");
  return [bytes.subarray(at + 4, end), end];
}
