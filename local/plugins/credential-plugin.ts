import { readFileSync } from "node:fs";
import { parseKubeconfig, knownClusters, refuseForeign } from "./kubernetes/kubeconfig";

/**
 * The commands that kubeconfigs of clouds run for credentials, and the arguments with which they are asked for them.
 * Anything else that such a command can do in life is refused.
 */
export const CREDENTIAL_PLUGINS: Readonly<Record<string, readonly string[]>> = {
  // https://docs.aws.amazon.com/cli/latest/reference/eks/get-token.html
  aws: ["eks", "get-token", "--cluster-name"],
  // https://cloud.google.com/kubernetes-engine/docs/how-to/cluster-access-for-kubectl
  "gke-gcloud-auth-plugin": ["--use_application_default_credentials"],
  // https://azure.github.io/kubelogin/concepts/login-modes/chained.html, for the API servers of AKS
  kubelogin: ["get-token", "--login", "chained", "--server-id", "6dae42f8-4368-4678-94ff-3960e28e3630"],
};

/** How long what is handed out is said to be good for, in milliseconds, as GKE's tokens are. */
const LIFETIME = 3_600_000;

/** What a stand-in for a credential plugin is told by whoever runs it. */
export interface Asked {
  readonly arguments: readonly string[];
  /** What the caller says of itself and, with `provideClusterInfo`, of the cluster; some callers say nothing. */
  readonly execInfo: string | undefined;
}

/** Where a stand-in for a credential plugin finds what it needs. All paths are absolute. */
export interface CredentialPlugin {
  readonly command: string;
  /** The JSON file that names every API server the local engine started. */
  readonly clusters: string;
  /** The admin kubeconfig of the local control plane. */
  readonly kubeconfig: string;
}

/**
 * What the stand-in answers: its version, or credentials of the local control plane's admin. The client certificate is
 * worth nothing anywhere else; still, whoever says that it is for another cluster gets none.
 *
 * https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
 *
 * @throws for a cluster that the local engine did not start, and when that has none.
 */
export function answer({ command, clusters, kubeconfig: file }: CredentialPlugin, asked: Asked): string {
  if (asked.arguments.includes("--version")) return `${command} of the local engine (stand-in)`;
  const prefix = CREDENTIAL_PLUGINS[command] ?? [];
  if (prefix.some((argument, index) => asked.arguments[index] !== argument)) {
    throw new Error(`this stand-in for ${command} serves "${[command, ...prefix].join(" ")}" and nothing else`);
  }
  const info = JSON.parse(asked.execInfo ?? "{}") as {
    apiVersion?: string;
    spec?: { cluster?: { server?: string; "certificate-authority-data"?: string } };
  };
  const cluster = info.spec?.cluster;
  if (cluster) {
    const ca = Buffer.from(cluster["certificate-authority-data"] ?? "", "base64").toString("utf8");
    refuseForeign({ server: cluster.server ?? "", ca, user: {} }, knownClusters(clusters));
  }
  const local = parseKubeconfig(file);
  refuseForeign(local, knownClusters(clusters));
  return JSON.stringify({
    kind: "ExecCredential",
    apiVersion: info.apiVersion ?? "client.authentication.k8s.io/v1beta1",
    status: {
      expirationTimestamp: new Date(Date.now() + LIFETIME).toISOString().replace(/\.\d+Z$/, "Z"),
      clientCertificateData: pem(local.user, "client-certificate"),
      clientKeyData: pem(local.user, "client-key"),
    },
  });
}

/** Answers on standard output, once; what it is, and what is wrong, goes to standard error. */
export function main(plugin: CredentialPlugin): void {
  process.stderr.write(`stand-in for ${plugin.command}: part of the local engine, for this machine's cluster only\n`);
  try {
    const asked = { arguments: process.argv.slice(2), execInfo: process.env["KUBERNETES_EXEC_INFO"] };
    process.stdout.write(`${answer(plugin, asked)}\n`);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}

/** PEM from `<key>-data`, base64, or from the file that `<key>` names. */
function pem(user: Readonly<Record<string, unknown>>, key: string): string {
  const data = user[`${key}-data`];
  if (typeof data === "string") return Buffer.from(data, "base64").toString("utf8");
  return readFileSync(String(user[key]), "utf8");
}
