import { X509Certificate } from "node:crypto";
import { parseDocument } from "yaml";
import { member } from "../src/config/faults";

/** What a merge request changes in a stack's config. */
export interface ConfigChanges {
  /** Keys that are added, changed or removed, in plain text. */
  readonly settings: readonly string[];
  /** Keys of secrets that are set, exchanged or removed. Their values are nobody's business here. */
  readonly secrets: readonly string[];
  /** Certificates that are exchanged: what the old and the new one say of themselves. */
  readonly certificates: readonly { readonly key: string; readonly before: string; readonly after: string }[];
}

type Config = Readonly<Record<string, unknown>>;

/** @param before text of the file, undefined when there was none. */
export function configChanges(before: string | undefined, after: string): ConfigChanges {
  const [old, now] = [before ?? "", after].map(readConfig) as [Config, Config];
  const keys = [...new Set([...Object.keys(old), ...Object.keys(now)])].sort();
  const changed = keys.filter((key) => JSON.stringify(old[key]) !== JSON.stringify(now[key]));
  const isSecret = (key: string): boolean =>
    [old[key], now[key]].some((value) => member(value, "secure") !== undefined);
  const [tlsBefore, tlsAfter] = [old, now].map((config) => config["gitlab-workspaces:tls"]);
  return {
    settings: changed.filter((key) => !isSecret(key)),
    secrets: changed.filter(isSecret),
    certificates: ["certificate", "wildcardCertificate"].flatMap((key) => {
      const [one, other] = [member(tlsBefore, key), member(tlsAfter, key)];
      return one === other ? [] : [{ key: `tls.${key}`, before: told(one), after: told(other) }];
    }),
  };
}

/**
 * The `config` of a stack config file; empty where there is none. `<namespace>:config:<name>` is an older way to write
 * `<namespace>:<name>`, which Pulumi still takes.
 */
export function readConfig(text: string): Config {
  try {
    const { config } = parseDocument(text, { logLevel: "silent", merge: true }).toJS() as { config?: Config };
    return Object.fromEntries(
      Object.entries(config ?? {}).map(([key, value]) => [key.replace(/^([^:]+):config:/, "$1:"), value]),
    );
  } catch {
    return {};
  }
}

/** Whether a setting that is on or off is on. What can be read as nothing else counts as that, too. */
export function isOn(value: unknown): boolean {
  return ![undefined, null, false, "", "false"].some((off) => off === value);
}

/** Whether a stack config says that the stack is in production. */
export function isProduction(config: Config): boolean {
  return isOn(config["gitlab-workspaces:production"]);
}

/** What a certificate says of itself. */
function told(pem: unknown): string {
  if (typeof pem !== "string") return "none";
  try {
    const { subjectAltName = "no names", validTo } = new X509Certificate(pem);
    return `${subjectAltName.replaceAll("DNS:", "")}, valid until ${new Date(validTo).toISOString().slice(0, 10)}`;
  } catch {
    return "no certificate";
  }
}
