import type { ChartName } from "../charts";
import type { SecretName } from "./schema";

/** A secret that stands in plain text in the values of a chart. */
export interface PlainSecret {
  /** Steps from the top of `charts` to it. */
  readonly path: readonly PropertyKey[];
  /** The secret of stack config that it was meant to be. Absent when it is none that the program knows. */
  readonly name?: SecretName;
}

/** https://docs.gitlab.com/security/tokens/#token-prefixes, without the `gl` that they begin with. */
const tokenKinds = "agent|cbt|dt|ffct|ft|imt|oas|pat|ptt|rt|rtr|soat";

/** Something that begins like a secret: nothing to be shown. */
const beginsLikeSecret = new RegExp(String.raw`-----BEGIN|\bgl(${tokenKinds})-|\beyJ[\w-]{10}`);

const privateKey = /-----BEGIN [A-Z0-9 ]*PRIVATE KEY/;

/** A whole token, of random characters: the name of a Secret such as `glagent-token-production` is none. */
const token = new RegExp(String.raw`\bgl(${tokenKinds})-(?=[\w-]*[A-Z0-9_])[\w-]{16,}`);

/** Kinds of token that the program has a key for. */
const nameByKind: Readonly<Partial<Record<string, SecretName>>> = { agent: "agentToken", oas: "oauthClientSecret" };

/**
 * Where the charts take secrets by value, whatever these look like:
 * https://docs.gitlab.com/user/clusters/agent/install/, and how GitLab had the proxy installed while its chart was 0.1.13.
 */
const nameByPlace: Readonly<Partial<Record<string, SecretName>>> = {
  "gitlab-agent.values.config.token": "agentToken",
  "gitlab-workspaces-proxy.values.auth.client_secret": "oauthClientSecret",
  "gitlab-workspaces-proxy.values.auth.signing_key": "signingKey",
  "gitlab-workspaces-proxy.values.ssh.host_key": "sshHostKey",
  "gitlab-workspaces-proxy.values.ingress.tls.workspaceDomainKey": "tlsKey",
  "gitlab-workspaces-proxy.values.ingress.tls.wildcardDomainKey": "wildcardTlsKey",
} satisfies Readonly<Record<`${ChartName}.values.${string}`, SecretName>>;

/** Whether a text may be a secret, so that no message shows it. */
export function looksSecret(text: string): boolean {
  return beginsLikeSecret.test(text);
}

/** The secrets in plain text in what stack config has under `charts`, which may be anything at all. */
export function plainSecrets(charts: unknown): PlainSecret[] {
  return leaves(charts, []).flatMap(([path, value]) => {
    if (path[1] !== "values" || value === "" || typeof value === "boolean") return [];
    const text = String(value);
    const kind = token.exec(text)?.[1];
    const name = nameByPlace[path.join(".")] ?? (kind === undefined ? undefined : nameByKind[kind]);
    if (name !== undefined) return [{ path, name }];
    return kind !== undefined || privateKey.test(text) ? [{ path }] : [];
  });
}

/** Keys under which people keep secrets, in charts that the program knows nothing of. */
const secretKeys =
  /(token|secret|passw(or)?d|passphrase|credential|api_?key|signing_?key|private_?key|host_?key|headers?)s?$/i;

/**
 * Where in a chart's values a secret stands, or something that may be one: text under a name that speaks of secrets, or of
 * an environment variable. The name of a Secret is none.
 * @param values what somebody once told Helm.
 * @returns paths joined by dots, never a value.
 */
export function doubtfulValues(chart: string, values: unknown): string[] {
  const known = plainSecrets({ [chart]: { values } }).map(({ path }) => path.slice(2).join("."));
  const doubtful = leaves(values, []).flatMap(([path, value]) => {
    if (typeof value !== "string" || value === "") return [];
    // A checksum is made to stand in the open: the program's own restart pods by it.
    const names = path.filter((step) => typeof step === "string" && !step.startsWith("checksum/")) as string[];
    const variable = names.some((name) => /^(extra)?envs?$/i.test(name)) && names.at(-1) === "value";
    return variable || names.some((name) => secretKeys.test(name)) ? [path.join(".")] : [];
  });
  return [...new Set([...known, ...doubtful])].sort();
}

type Leaf = readonly [path: readonly PropertyKey[], value: string | number | boolean];

function leaves(value: unknown, path: readonly PropertyKey[]): Leaf[] {
  if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") return [[path, value]];
  if (typeof value !== "object" || value === null) return [];
  return Array.isArray(value)
    ? value.flatMap((entry: unknown, index) => leaves(entry, [...path, index]))
    : Object.entries(value).flatMap(([key, entry]) => leaves(entry, [...path, key]));
}
