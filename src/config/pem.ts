/** One block of a PEM text: `label` is CERTIFICATE, EC PRIVATE KEY and so on. */
export interface PemBlock {
  readonly label: string;
  readonly der: Buffer;
  /** True when it needs a passphrase by its PEM headers (RFC 1421) or its label (RFC 5958). */
  readonly encrypted: boolean;
}

/** What is wrong with a text that stack config holds, and what to run before storing it anew. */
export interface Problem {
  /** A sentence. Never holds any part of a secret. */
  readonly rule: string;
  /** Command that makes a better text of the same thing. */
  readonly preparation?: string;
}

/** Longest PEM text that is looked at, in characters: a chain of ten certificates has about 20,000. */
export const longestPem = 100_000;

/**
 * The blocks of a PEM text (RFC 7468), whatever its line ends, indents and text in between.
 * Undefined when a block is cut off.
 */
export function readPem(text: string): PemBlock[] | undefined {
  const blocks: PemBlock[] = [];
  let open: { label: string; headers: string[]; body: string[] } | undefined;
  for (const line of text.split(/[\r\n]+/).map((each) => each.trim())) {
    const label = /^-----BEGIN ([A-Z0-9 ]+)-----$/.exec(line)?.[1];
    if (label !== undefined) {
      if (open) return undefined;
      open = { label, headers: [], body: [] };
    } else if (open && line === `-----END ${open.label}-----`) {
      blocks.push({
        label: open.label,
        der: Buffer.from(open.body.join(""), "base64"),
        encrypted: open.label.startsWith("ENCRYPTED") || open.headers.some((header) => header.includes("ENCRYPTED")),
      });
      open = undefined;
    } else if (open) {
      (line.includes(":") ? open.headers : open.body).push(line);
    }
  }
  return open ? undefined : blocks;
}

/** A PEM block with LF line ends and a final newline. */
export function writePem(label: string, der: Buffer): string {
  const lines = der.toString("base64").match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ""].join("\n");
}
