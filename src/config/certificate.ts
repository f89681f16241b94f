import { X509Certificate } from "node:crypto";
import { longestPem, readPem, writePem, type Problem } from "./pem";

/** What a look at a certificate chain has shown. */
export interface CertificateCheck {
  /** The chain with LF line ends and a final newline, and nothing but certificates. */
  readonly chain: string;
  /** The certificate that the server shows. Absent when the text holds none. */
  readonly leaf?: X509Certificate;
  readonly problems: readonly Problem[];
  /** Sentences on what is fine today and will not be for long. */
  readonly warnings: readonly string[];
}

const millisecondsPerDay = 24 * 60 * 60 * 1000;

/** A certificate with fewer days left is worth a warning in every preview. */
const daysOfWarning = 14;

/** Checks that a PEM text is a chain, leaf first, which is valid at `now` and covers all of `hosts`. */
export function checkCertificate(text: string, hosts: readonly string[], now: Date): CertificateCheck {
  const refused = (rule: string): CertificateCheck => ({ chain: "", problems: [{ rule }], warnings: [] });
  if (text.length > longestPem)
    return refused(`It has ${text.length} characters; a certificate chain has at most ${longestPem}.`);
  const blocks = readPem(text);
  if (blocks === undefined) return refused("It is cut off: a PEM block has no END line of its own.");
  if (blocks.some(({ label }) => label.endsWith("PRIVATE KEY")))
    return refused(
      "It holds a private key, which belongs in the secret of its own. Stored here it is in git and its history " +
        "already: have a certificate issued for a new key.",
    );
  const other = blocks.find(({ label }) => label !== "CERTIFICATE");
  if (other) return refused(`It holds a ${other.label} where only certificates belong.`);
  const [leaf, ...issuers] = blocks.map(({ der }) => parse(der));
  if (leaf === undefined && blocks.length === 0)
    return refused("It is not a PEM certificate: it has no line -----BEGIN CERTIFICATE-----.");
  const certificates = [leaf, ...issuers].filter((certificate) => certificate !== undefined);
  if (leaf === undefined || certificates.length < blocks.length)
    return refused("It holds a PEM block that is no readable certificate.");

  const expiry = certificates.map((certificate) => checkDates(certificate, now));
  return {
    chain: blocks.map(({ label, der }) => writePem(label, der)).join(""),
    leaf,
    problems: [
      ...checkNames(leaf, hosts),
      ...checkOrder(certificates),
      ...expiry.flatMap(({ problem }) => (problem === undefined ? [] : [{ rule: problem }])),
    ],
    warnings: expiry.flatMap(({ warning }) => warning ?? []),
  };
}

/** DNS names that a certificate is valid for. Browsers read the subject alternative names only (RFC 9110, 4.3.4). */
export function dnsNames(certificate: X509Certificate): string[] {
  return (certificate.subjectAltName ?? "")
    .split(", ")
    .filter((name) => name.startsWith("DNS:"))
    .map((name) => name.slice("DNS:".length).toLowerCase());
}

function parse(der: Buffer): X509Certificate | undefined {
  try {
    return new X509Certificate(der);
  } catch {
    return undefined;
  }
}

/** A wildcard stands for exactly one label (RFC 6125, 6.4.3), so `*.a.b` is covered by that very name only. */
function covers(names: readonly string[], host: string): boolean {
  return names.includes(host) || names.includes(host.replace(/^[^.]+/, "*"));
}

function checkNames(leaf: X509Certificate, hosts: readonly string[]): Problem[] {
  const names = dnsNames(leaf);
  const missing = hosts.filter((host) => !covers(names, host));
  if (missing.length === 0) return [];
  const covered = names.length === 0 ? "no DNS name at all" : `${names.slice(0, 10).join(", ")} only`;
  return [{ rule: `It does not cover ${missing.join(" and ")}: it is for ${covered}.` }];
}

function checkOrder(certificates: readonly X509Certificate[]): Problem[] {
  const prints = certificates.map(({ fingerprint256 }) => fingerprint256);
  for (const [index, certificate] of certificates.entries())
    if (prints.indexOf(certificate.fingerprint256) < index)
      return [{ rule: `Certificate ${index + 1} (${subject(certificate)}) is in it twice.` }];
  for (const [index, certificate] of certificates.entries()) {
    const issuer = certificates[index + 1];
    if (issuer && !isIssuedBy(certificate, issuer))
      return [
        {
          rule:
            `Certificate ${index + 2} (${subject(issuer)}) did not issue certificate ${index + 1} ` +
            `(${subject(certificate)}): the order is your own certificate first, then the issuer of each.`,
        },
      ];
  }
  return [];
}

function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  try {
    return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
  } catch {
    return false;
  }
}

function checkDates(certificate: X509Certificate, now: Date): { problem?: string; warning?: string } {
  const from = new Date(certificate.validFrom);
  const to = new Date(certificate.validTo);
  const days = (later: Date, earlier: Date) => Math.floor((later.getTime() - earlier.getTime()) / millisecondsPerDay);
  const who = `The certificate of ${subject(certificate)}`;
  if (now < from)
    return { problem: `${who} is valid from ${day(from)} on, in ${count(days(from, now))}. Is the clock right?` };
  if (now > to) return { problem: `${who} expired on ${day(to)}, ${count(days(now, to))} ago.` };
  const left = days(to, now);
  return left < daysOfWarning ? { warning: `${who} expires on ${day(to)}, in ${count(left)}.` } : {};
}

function count(days: number): string {
  return days === 1 ? "1 day" : `${days} days`;
}

function day(date: Date): string {
  return date.toISOString().slice(0, 10);
}

function subject(certificate: X509Certificate): string {
  const name = certificate.subject as string | undefined;
  return name?.replaceAll("\n", ", ") ?? dnsNames(certificate)[0] ?? `serial ${certificate.serialNumber}`;
}
