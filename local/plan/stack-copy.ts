import { relative } from "node:path";
import { checkCertificate } from "../../src/config/certificate";
import { secrets as knownSecrets } from "../../src/config/schema";
import { certificateHosts, generate, neededSecrets, type Settings } from "../placeholders";
import { asItsCredentials } from "../thrown-away";
import type { StackFile } from "./stack-file";

/** A secret that `pulumi up` needs and the file does not have. */
export interface MissingSecret {
  readonly key: string;
  /** What sets it. */
  readonly command: string;
}

/** Something of the file that a plan does without. */
export interface LeftOut {
  readonly key: string;
  readonly why: string;
}

/** A stack config that can be planned with by anybody: every secret in it opens nothing. */
export interface StackCopy {
  readonly stack: string;
  readonly file: string;
  /** By key with its namespace. A secret is `{ secure: <text> }`, the text still to be encrypted. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Keys of the file's secrets that were replaced, and of the certificates that go with them. */
  readonly placeholders: readonly string[];
  readonly missing: readonly MissingSecret[];
  readonly leftOut: readonly LeftOut[];
  /** What is wrong with what was replaced, as far as that can be seen. */
  readonly warnings: readonly string[];
}

const namespace = "gitlab-workspaces";
const prefix = `${namespace}:`;

/** Stands for a secret inside an object, which the program refuses: it has to find it there. */
const nested = { secure: "stand-in" };

/**
 * Makes a copy of a stack config that needs neither passphrase nor credentials.
 * @param now decides which certificates have expired.
 */
export async function stackCopy({ stack, file, config, others }: StackFile, now: Date): Promise<StackCopy> {
  const own = Object.entries(config).filter(([key]) => key.startsWith(prefix));
  const foreign = Object.entries(config).filter(([key]) => !key.startsWith(prefix));
  const settings: Record<string, unknown> = Object.fromEntries(
    own.filter(([, value]) => !isSecure(value)).map(([key, value]) => [key.slice(prefix.length), value]),
  );
  const given = own.filter(([, value]) => isSecure(value)).map(([key]) => key.slice(prefix.length));
  // One in plain text stays where it is: the program refuses it.
  const missing = neededSecrets(settings).filter(({ key }) => !given.includes(key) && !(key in settings));
  const { secrets, certificates } = await generate(settings, [...given, ...missing.map(({ key }) => key)]);
  const exchanged = exchangedCertificates(settings, certificates, now);
  const leftOut = [
    ...others.filter((key) => !secretsOfTheFile.includes(key)).map((key) => ({ key, why: otherKeys(key) })),
    ...(settings["adopt"] === undefined
      ? []
      : [{ key: `${prefix}adopt`, why: "whatever there is to take over is on a cluster, and none is asked" }]),
    ...foreign.flatMap(([key, value]) => foreignSecret(key, value)),
  ];
  const out = new Set(leftOut.map(({ key }) => key));
  const kept = { ...settings, ...exchanged.settings };
  return {
    stack,
    file,
    config: Object.fromEntries(
      [
        ...foreign,
        ...Object.entries(asItsCredentials(config)),
        ...Object.entries(kept).map(([key, value]) => [prefix + key, hidden(value)] as const),
        ...Object.entries(secrets).map(([key, secure]) => [prefix + key, { secure }] as const),
      ].filter(([key]) => !out.has(key)),
    ),
    placeholders: [...given.map((key) => prefix + key), ...exchanged.keys],
    missing: missing.map(({ key, name }) => ({
      key: prefix + key,
      command: `npx pulumi config set ${ofStack(stack, file)} --secret ${prefix}${key} < ${knownSecrets[name].file}`,
    })),
    leftOut,
    warnings: exchanged.warnings,
  };
}

/** What Pulumi itself keeps in the file for its secrets: a plan has a passphrase of its own. */
const secretsOfTheFile = ["encryptionsalt", "encryptedkey", "secretsprovider"];

function otherKeys(key: string): string {
  return key === "environment"
    ? "Pulumi ESC would have to be asked, with credentials; what the program needs of it is missing here"
    : "a plan knows nothing of it";
}

/** Credentials of clouds and services have no use on a stand-in account. */
function foreignSecret(key: string, value: unknown): LeftOut[] {
  if (holdsSecure(value)) return [{ key, why: "a secret of another namespace: nothing here needs it" }];
  if (
    typeof value !== "string" ||
    !/(credentials|secret|token|password|(secret|access|api|private)_?key)$/i.test(key)
  ) {
    return [];
  }
  return [{ key, why: "it looks like a secret in plain text: rotate it, it is in git and its history already" }];
}

/**
 * The certificates with those in their place whose keys are known, and what is wrong with the real ones. One that is not
 * there or holds a private key stays as it is, for the program to refuse.
 */
function exchangedCertificates(
  settings: Settings,
  generated: Readonly<Partial<Record<string, string>>>,
  now: Date,
): { settings: Settings; keys: string[]; warnings: string[] } {
  const { tls } = settings;
  if (typeof tls !== "object" || tls === null) return { settings: {}, keys: [], warnings: [] };
  const exchanged: Record<string, unknown> = { ...tls };
  const keys: string[] = [];
  const warnings: string[] = [];
  for (const [name, hosts] of Object.entries(certificateHosts(settings))) {
    const replacement = generated[name];
    const original = exchanged[name];
    if (replacement === undefined || typeof original !== "string" || original.includes("PRIVATE KEY")) continue;
    exchanged[name] = replacement;
    keys.push(`${prefix}tls.${name}`);
    const { problems, warnings: soon } = checkCertificate(original, hosts, now);
    warnings.push(
      ...problems.map(({ rule }) => `tls.${name} of the file: ${rule} \`pulumi up\` would refuse it.`),
      ...soon.map((warning) => `tls.${name} of the file: ${warning}`),
    );
  }
  return { settings: { tls: exchanged }, keys, warnings };
}

function ofStack(stack: string, file: string): string {
  const ordinary = relative("stacks", file) === `Pulumi.${stack}.yaml`;
  return `--stack ${stack}${ordinary ? "" : ` --config-file '${file.replaceAll("'", `'\\''`)}'`}`;
}

function isSecure(value: unknown): boolean {
  return typeof value === "object" && value !== null && "secure" in value && Object.keys(value).length === 1;
}

function holdsSecure(value: unknown): boolean {
  if (isSecure(value)) return true;
  return typeof value === "object" && value !== null && Object.values(value).some(holdsSecure);
}

/** The value with none of the secrets that somebody has put inside it. */
function hidden(value: unknown): unknown {
  if (isSecure(value)) return nested;
  if (Array.isArray(value)) return value.map(hidden);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, hidden(inner)]));
}
