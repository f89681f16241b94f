import { createCipheriv, createDecipheriv, pbkdf2, randomBytes } from "node:crypto";
import { promisify } from "node:util";

/** Encrypts for a stack the way its passphrase does: one by one, the CLI would take a second for each secret. */
export interface Cipher {
  /** The text as it stands after `secure:` in stack config. */
  seal(text: string): string;
}

/**
 * https://github.com/pulumi/pulumi/blob/v3.259.0/sdk/go/common/resource/config/crypt.go
 * @param salt the `encryptionsalt` of the stack config, `v1:<salt>:<test text>`.
 */
export async function passphraseCipher(passphrase: string, salt: string): Promise<Cipher> {
  const bytes = Buffer.from(salt.split(":")[1] ?? "", "base64");
  const key = await promisify(pbkdf2)(passphrase, bytes, 1_000_000, 32, "sha256");
  return {
    seal(text) {
      const nonce = randomBytes(12);
      const cipher = createCipheriv("aes-256-gcm", key, nonce);
      const sealed = Buffer.concat([cipher.update(text, "utf8"), cipher.final(), cipher.getAuthTag()]);
      return `v1:${nonce.toString("base64")}:${sealed.toString("base64")}`;
    },
  };
}

/** Whether a passphrase is that of a stack. @param salt the `encryptionsalt` of the stack config. */
export async function passphraseOpens(passphrase: string, salt: string): Promise<boolean> {
  const [, bytes = "", , nonce = "", sealed = ""] = salt.split(":");
  const key = await promisify(pbkdf2)(passphrase, Buffer.from(bytes, "base64"), 1_000_000, 32, "sha256");
  const text = Buffer.from(sealed, "base64");
  try {
    const decipher = createDecipheriv("aes-256-gcm", key, Buffer.from(nonce, "base64"), { authTagLength: 16 });
    decipher.setAuthTag(text.subarray(-16));
    return Buffer.concat([decipher.update(text.subarray(0, -16)), decipher.final()]).length > 0;
  } catch {
    return false;
  }
}
