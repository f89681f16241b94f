import { charts } from "../src/charts";
import { checkCertificate } from "../src/config/certificate";
import { certificateHosts, neededSecrets, type Settings } from "./placeholders";

/** A stack's config as its file has it and as the local engine has to run it. */
export interface ThrownAwayConfig {
  /** By key with its namespace. Without secrets, and without the certificates whose keys are secret. */
  readonly config: Readonly<Record<string, unknown>>;
  /** The program's part of it, without the namespace. */
  readonly settings: Settings;
  /** What is not as it stands in the file, for people. */
  readonly differences: readonly string[];
}

const namespace = "gitlab-workspaces";

/** The setting by which a provider knows whose account it works in, as `cluster.account` has it to be. */
const accountSettings: Readonly<Record<string, (account: unknown) => readonly [key: string, value: unknown]>> = {
  eks: (account) => ["aws:allowedAccountIds", [account]],
  gke: (account) => ["gcp:project", account],
  aks: (account) => ["azure-native:subscriptionId", account],
};

/** Secrets of providers, by cloud, without which the stand-in works as little as the cloud would. */
const providerSecrets: Readonly<Record<string, readonly string[]>> = { civo: ["civo:token"] };

/** Keys of the secrets that a stack's cloud takes from its provider's own settings. */
export function secretsOfProvider(config: Readonly<Record<string, unknown>>): readonly string[] {
  const cluster = config[`${namespace}:cluster`] as Readonly<Record<string, unknown>> | undefined;
  return providerSecrets[String(cluster?.["cloud"])] ?? [];
}

/** The clouds whose credentials may say by themselves whose account it is. */
const toldByCredentials = ["aks", "eks"];

/** What of a stack's config its credentials would say, where there are none: that they are the account's that it names. */
export function asItsCredentials(config: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const cluster = config[`${namespace}:cluster`] as Readonly<Record<string, unknown>> | undefined;
  const cloud = String(cluster?.["cloud"]);
  const account = cluster?.["account"];
  const [key, value] = accountSettings[cloud]?.(account) ?? [];
  if (key === undefined || !toldByCredentials.includes(cloud) || typeof account !== "string") return {};
  const said = config[key];
  const other = Array.isArray(said) ? !said.includes(account) : said !== undefined;
  return other ? {} : { [key]: value };
}

/** Whether a stack of this config makes its cluster. */
export function isMade(config: Readonly<Record<string, unknown>>): boolean {
  const cluster = config[`${namespace}:cluster`] as Readonly<Record<string, unknown>> | undefined;
  return cluster !== undefined && cluster["cloud"] !== "self-managed" && cluster["existing"] !== true;
}

/**
 * What runs on this machine, where everything is thrown away, of the config of a stack that is meant for elsewhere.
 * @param chartRepository URL of the local chart repository.
 */
export function thrownAway(file: Readonly<Record<string, unknown>>, chartRepository: string): ThrownAwayConfig {
  const differences = ["the charts come from this machine", "GitLab's secrets are generated"];
  const config: Record<string, unknown> = {
    ...file,
    [`${namespace}:charts`]: localCharts(file[`${namespace}:charts`], chartRepository),
  };
  const cluster = file[`${namespace}:cluster`] as Readonly<Record<string, unknown>> | undefined;
  if (isMade(file) && cluster?.["protect"] !== false) {
    config[`${namespace}:cluster`] = { ...cluster, protect: false };
    differences.push("cluster.protect is false");
  }
  const [key, value] = accountSettings[String(cluster?.["cloud"])]?.(cluster?.["account"]) ?? [];
  if (key !== undefined && JSON.stringify(value) !== JSON.stringify(file[key])) {
    config[key] = value;
    differences.push(`${key} is cluster.account`);
  }
  differences.push(...secretsOfProvider(file).map((secret) => `${secret} is generated`));
  if ((file[`${namespace}:tls`] as { mode?: unknown } | undefined)?.mode === "provided") {
    differences.push("the certificate in tls is generated, with its key");
  }
  const own = Object.entries(config).filter(([key]) => key.startsWith(`${namespace}:`));
  return {
    config,
    settings: Object.fromEntries(own.map(([key, value]) => [key.slice(namespace.length + 1), value])),
    differences,
  };
}

/**
 * Those certificates of the last start that are as good for the next one: valid for a while, and with their key.
 * @param had the secrets of the last start, by key.
 */
export function keptCertificates(
  settings: Settings,
  last: Readonly<Record<string, unknown>>,
  had: readonly string[],
): Readonly<Partial<Record<string, string>>> {
  const tls = (last[`${namespace}:tls`] ?? {}) as Readonly<Record<string, unknown>>;
  const kept = Object.entries(certificateHosts(settings)).flatMap(([name, hosts]) => {
    const certificate = tls[name];
    if (typeof certificate !== "string" || !had.includes(keyOf(name))) return [];
    const { problems, warnings } = checkCertificate(certificate, hosts, new Date());
    return problems.length + warnings.length > 0 ? [] : [[name, certificate] as const];
  });
  return Object.fromEntries(kept);
}

/** Secrets of the last start that the next one needs, too. One that it does not need would be refused. */
export function keptSecrets(
  settings: Settings,
  had: readonly string[],
  certificates: Readonly<Partial<Record<string, string>>>,
): string[] {
  const needed = neededSecrets(settings).map(({ key }) => key);
  const stale = ["certificate", "wildcardCertificate"].filter((name) => certificates[name] === undefined).map(keyOf);
  return had.filter((key) => [...needed, "signingKey", "sshHostKey"].includes(key) && !stale.includes(key));
}

/** The secret that is the key of a certificate. */
function keyOf(certificate: string): string {
  return certificate === "certificate" ? "tlsKey" : "wildcardTlsKey";
}

/** Repository on loopback for every chart, under whatever the stack config says itself. */
function localCharts(configured: unknown, repository: string): Record<string, unknown> {
  const own = (configured ?? {}) as Record<string, object>;
  return Object.fromEntries(Object.keys(charts).map((name) => [name, { repository, ...own[name] }]));
}
