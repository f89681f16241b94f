import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { promisify } from "node:util";
import { parse } from "yaml";

/**
 * The one cluster and user that a kubeconfig's context names, with every file it points at read.
 * https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
 */
export interface Kubeconfig {
  readonly server: string;
  /** PEM. */
  readonly ca: string;
  readonly tlsServerName?: string;
  /** The context's namespace. */
  readonly namespace?: string;
  readonly user: Readonly<Record<string, unknown>>;
}

/** What identifies this client to the API server; at most one of the two ways. */
export interface Credentials {
  readonly token?: string;
  readonly certificate?: { readonly cert: string; readonly key: string };
  /** Milliseconds since the epoch from which they are not to be used any more. */
  readonly expires?: number;
}

/** An API server that the local engine started, as its `clusters` file names it. */
export interface KnownCluster {
  readonly server: string;
  /** Hex SHA-256 of the decoded certificate-authority-data. */
  readonly caSha256: string;
}

interface Named {
  readonly name?: unknown;
  readonly [section: string]: unknown;
}

/**
 * Reads a kubeconfig given as text, or as the path of a file, as the official plugin does. Nothing ambient is ever
 * looked at: neither `$KUBECONFIG` nor `~/.kube/config`.
 *
 * @param context the context to use instead of the current one.
 * @throws when it is no kubeconfig, or names a context, cluster or user that it does not hold.
 */
export function parseKubeconfig(textOrPath: string, context?: string): Kubeconfig {
  const text = isFile(textOrPath) ? readFileSync(textOrPath, "utf8") : textOrPath;
  const config: unknown = parse(text);
  if (!isRecord(config)) throw new Error("kubeconfig is neither a kubeconfig nor the path of one");
  const contextName = context ?? config["current-context"];
  const chosen = section(config, "contexts", "context", contextName);
  const cluster = section(config, "clusters", "cluster", chosen["cluster"]);
  const user = chosen["user"] === undefined ? {} : section(config, "users", "user", chosen["user"]);
  const server = cluster["server"];
  if (typeof server !== "string") throw new Error("kubeconfig names no server");
  const tlsServerName = cluster["tls-server-name"];
  const namespace = chosen["namespace"];
  return {
    server,
    ca: material(cluster, "certificate-authority") ?? "",
    ...(typeof tlsServerName === "string" ? { tlsServerName } : {}),
    ...(typeof namespace === "string" && namespace ? { namespace } : {}),
    user,
  };
}

/**
 * Lets through only an API server on this machine that the local engine itself started, told by its address together
 * with its certificate authority, so that no stand-in ever touches anybody's real cluster.
 *
 * @throws for any other, saying what this is and what to use instead.
 */
export function refuseForeign(kubeconfig: Kubeconfig, known: readonly KnownCluster[]): void {
  const caSha256 = createHash("sha256").update(kubeconfig.ca).digest("hex");
  const ours = known.some((cluster) => cluster.server === kubeconfig.server && cluster.caSha256 === caSha256);
  if (onLoopback(kubeconfig.server) && kubeconfig.ca !== "" && ours) return;
  throw new Error(
    `refused: ${kubeconfig.server} is not an API server that the local engine started. This is the stand-in for the ` +
      `official kubernetes plugin, and it touches no other cluster. An ordinary "pulumi up", outside the local ` +
      `engine's PULUMI_HOME, uses the official plugin.`,
  );
}

/**
 * Reads the file that names the API servers the local engine started. A file that is not there names none.
 *
 * @throws when it is not a JSON list of `{"server", "caSha256"}`.
 */
export function knownClusters(file: string): KnownCluster[] {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
  const list: unknown = JSON.parse(text);
  if (!Array.isArray(list)) throw new Error(`${file} is not a list of clusters`);
  return list.map((entry: unknown) => {
    if (isRecord(entry) && typeof entry["server"] === "string" && typeof entry["caSha256"] === "string") {
      return { server: entry["server"], caSha256: entry["caSha256"] };
    }
    throw new Error(`${file} holds an entry without server or caSha256`);
  });
}

/**
 * Finds what identifies the kubeconfig's user, running its exec plugin if it has one, with this process's environment.
 * https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
 *
 * @throws when the exec plugin fails, answers with nothing usable, or a named file cannot be read.
 */
export async function credentials(kubeconfig: Kubeconfig): Promise<Credentials> {
  const { user } = kubeconfig;
  const cert = material(user, "client-certificate");
  const key = material(user, "client-key");
  if (cert !== undefined && key !== undefined) return { certificate: { cert, key } };
  if (typeof user["token"] === "string") return { token: user["token"] };
  if (typeof user["tokenFile"] === "string") return { token: readFileSync(user["tokenFile"], "utf8").trim() };
  if (isRecord(user["exec"])) return runExecPlugin(kubeconfig, user["exec"]);
  return {};
}

async function runExecPlugin(kubeconfig: Kubeconfig, exec: Record<string, unknown>): Promise<Credentials> {
  const command = String(exec["command"]);
  const args = Array.isArray(exec["args"]) ? exec["args"].map(String) : [];
  const variables = Array.isArray(exec["env"]) ? exec["env"].filter(isRecord) : [];
  const info = {
    apiVersion: exec["apiVersion"],
    kind: "ExecCredential",
    spec: {
      interactive: false,
      ...(exec["provideClusterInfo"] === true
        ? {
            cluster: {
              server: kubeconfig.server,
              "certificate-authority-data": Buffer.from(kubeconfig.ca).toString("base64"),
            },
          }
        : {}),
    },
  };
  const { stdout } = await promisify(execFile)(command, args, {
    env: {
      ...process.env,
      ...Object.fromEntries(variables.map((variable) => [String(variable["name"]), String(variable["value"])])),
      KUBERNETES_EXEC_INFO: JSON.stringify(info),
    },
  }).catch((error: unknown) => {
    throw new Error(`getting credentials: exec: ${error instanceof Error ? error.message : String(error)}`);
  });
  const answer: unknown = JSON.parse(stdout);
  const status = isRecord(answer) && isRecord(answer["status"]) ? answer["status"] : {};
  const { token, clientCertificateData, clientKeyData, expirationTimestamp } = status;
  const expires = typeof expirationTimestamp === "string" ? { expires: Date.parse(expirationTimestamp) } : {};
  if (typeof clientCertificateData === "string" && typeof clientKeyData === "string") {
    return { certificate: { cert: clientCertificateData, key: clientKeyData }, ...expires };
  }
  if (typeof token === "string") return { token, ...expires };
  throw new Error(`getting credentials: ${command} answered with neither a token nor a client certificate`);
}

/**
 * Writes a kubeconfig for a helm process: one context, everything inline, an exec plugin's answer instead of the plugin,
 * because helm runs without the environment that the plugin may need.
 */
export function inlineKubeconfig(
  kubeconfig: Kubeconfig,
  { token, certificate }: Credentials,
  namespace: string,
): string {
  const base64 = (text: string): string => Buffer.from(text).toString("base64");
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    "current-context": "this",
    contexts: [{ name: "this", context: { cluster: "this", user: "this", namespace } }],
    clusters: [
      {
        name: "this",
        cluster: {
          server: kubeconfig.server,
          "certificate-authority-data": base64(kubeconfig.ca),
          ...(kubeconfig.tlsServerName ? { "tls-server-name": kubeconfig.tlsServerName } : {}),
        },
      },
    ],
    users: [
      {
        name: "this",
        user: certificate
          ? { "client-certificate-data": base64(certificate.cert), "client-key-data": base64(certificate.key) }
          : { token },
      },
    ],
  });
}

function section(config: Record<string, unknown>, list: string, key: string, name: unknown): Record<string, unknown> {
  const entries = Array.isArray(config[list]) ? (config[list] as unknown[]).filter(isRecord) : [];
  const entry: Named | undefined = entries.find((candidate) => candidate["name"] === name);
  const found = entry?.[key];
  if (!isRecord(found)) throw new Error(`kubeconfig has no ${key} named ${JSON.stringify(name)}`);
  return found;
}

/** PEM from `<key>-data`, base64, or from the file that `<key>` names. */
function material(holder: Readonly<Record<string, unknown>>, key: string): string | undefined {
  const data = holder[`${key}-data`];
  if (typeof data === "string") return Buffer.from(data, "base64").toString("utf8");
  const file = holder[key];
  return typeof file === "string" ? readFileSync(file, "utf8") : undefined;
}

function onLoopback(server: string): boolean {
  // A name could resolve to anywhere, so only addresses count.
  const { hostname, protocol } = new URL(server);
  return protocol === "https:" && (/^127(\.\d{1,3}){3}$/.test(hostname) || hostname === "[::1]");
}

function isFile(textOrPath: string): boolean {
  try {
    return statSync(textOrPath).isFile();
  } catch {
    // Too long for a path, or none: then it is the content.
    return false;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
