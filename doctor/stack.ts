import { delimiter, join } from "node:path";
import { KubeConfig } from "@kubernetes/client-node";
import { execa } from "execa";
import type { Installation } from "../src/deploy";
import type { DnsRecord } from "../src/platform/dns-records";
import { type Codes, type Finding, findings } from "./finding";
import type { Patient } from "./patient";

/** Where Pulumi.yaml is. */
const project = join(__dirname, "..");

/** What can keep the doctor from the stack. */
export const codes = {
  GW001: {
    severity: "error",
    title: "Pulumi does not give the stack's outputs",
    meaning:
      "Nothing could be looked at. Pulumi's own words say why: the stack has another name, it is in another backend " +
      "(PULUMI_BACKEND_URL, `pulumi login`), or the passphrase is not that of the stack (PULUMI_CONFIG_PASSPHRASE, " +
      "PULUMI_CONFIG_PASSPHRASE_FILE). For the local engine name the stack `local`.",
    fix: ["pulumi whoami --verbose", "pulumi stack ls --all"],
  },
  GW002: {
    severity: "error",
    title: "The stack was never deployed",
    meaning: "It has no outputs: no `up` came to its end so far, or the stack was destroyed.",
    fix: ["pulumi up --stack <stack>"],
  },
  GW003: {
    severity: "error",
    title: "The stack was last deployed by an older program",
    meaning:
      "It does not say what is installed where (output `installation`), which is what the doctor goes by. The next `up` " +
      "adds it and changes nothing else for that.",
    fix: ["pulumi up --stack <stack>"],
  },
  GW004: {
    severity: "error",
    title: "The cluster refuses the stack's kubeconfig",
    meaning:
      "The API server answers and does not know the user (HTTP 401): the token or certificate has expired or was " +
      "revoked. `pulumi up` fails for the same reason. What runs on the cluster goes on running. The commands give the " +
      "stack the kubeconfig of your shell: the first one must print the address that the doctor names, or it is another " +
      "cluster's.",
    fix: [
      "kubectl config view --minify --output jsonpath='{.clusters[0].cluster.server}'",
      "kubectl config view --raw --flatten --minify > kubeconfig.yaml",
      "pulumi config set --secret gitlab-workspaces:kubeconfig --stack <stack> < kubeconfig.yaml",
      "pulumi up --stack <stack>",
      "rm kubeconfig.yaml",
    ],
  },
  GW005: {
    severity: "error",
    title: "The cluster's API server does not answer",
    meaning:
      "Nothing on the cluster could be looked at; what does not need its API was. The cluster is down, its address is " +
      "wrong or a network is in between (VPN, firewall, API CIDRs). The local engine's is started by `npm start`.",
    fix: ["kubectl get --raw /readyz --server <server> --request-timeout 10s", "npm run doctor -- <stack>"],
  },
  GW006: {
    severity: "warning",
    title: "An operation on the stack was interrupted",
    meaning:
      "Pulumi wrote down that it began something and does not know how it ended. What was being created may be there " +
      "without being in the state. If an `up` is running right now, that is so: wait for it. Where the first command finds " +
      "a lock, it says whose: how to tell whether its owner lives, and what to do step by step: " +
      "docs/recovery/engine-killed.md.",
    fix: ["pulumi refresh --clear-pending-creates --stack <stack>", "pulumi up --stack <stack>"],
  },
  GW007: {
    severity: "warning",
    title: "Something on the cluster may not be looked at",
    meaning:
      "The stack's kubeconfig is not allowed to read it, so the checks that are named were left out; all others were " +
      "made. Nothing may be wrong. With the kubeconfig of an administrator everything is looked at.",
    fix: ["kubectl auth can-i <verb> <resource> <scope>"],
  },
  GW008: {
    severity: "warning",
    title: "A check could not be made",
    meaning:
      "That is a fault of the doctor's own, or something that it did not reckon with. All other checks were made.",
    fix: ["npm run doctor -- <stack> --json"],
  },
} satisfies Codes;

const finding = findings(codes);

/** What a command of the doctor's runs with: a whole environment. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** The stack, or what keeps the doctor from it. */
export interface Admission {
  /** Name of the stack; empty when not even that is known. */
  readonly stack: string;
  /** Absent when the findings say why there is none. */
  readonly patient?: Patient;
  readonly findings: readonly Finding[];
}

/**
 * Reads the outputs of a stack. Its secrets are asked for and pass through standard output alone.
 * @param named name of the stack; the one that is selected when absent.
 * @throws Error when the pulumi command is not there.
 */
export async function admit(named: string | undefined, environment: Environment): Promise<Admission> {
  const pulumi = async (...arguments_: readonly string[]): Promise<{ stdout: string; failure?: string }> => {
    const result = await execa("pulumi", [...arguments_, "--non-interactive", "--color", "never"], {
      cwd: project,
      // npm's pulumi package stands in for one that nobody installed.
      env: { ...environment, PATH: [environment["PATH"], join(project, "node_modules", ".bin")].join(delimiter) },
      extendEnv: false,
      stdin: "ignore",
      reject: false,
    });
    if (!result.failed) return { stdout: result.stdout };
    // Contrary to its type, a command that did not start has no exit code.
    const exitCode = result.exitCode as number | undefined;
    if (exitCode === undefined) throw new Error("The pulumi command was not found. To install it: npm ci");
    return { stdout: "", failure: words(result.stderr) };
  };

  const selected = named === undefined ? await pulumi("stack", "--show-name") : { stdout: named };
  const stack = selected.stdout.trim();
  if (selected.failure !== undefined) {
    return { stack, findings: [finding("GW001", selected.failure)] };
  }

  const [output, exported] = await Promise.all([
    pulumi("stack", "output", "--json", "--show-secrets", "--stack", stack),
    pulumi("stack", "export", "--stack", stack),
  ]);
  if (output.failure !== undefined) return { stack, findings: [finding("GW001", output.failure)] };
  const outputs = JSON.parse(output.stdout) as Outputs;
  const interrupted = exported.failure === undefined ? pending(exported.stdout) : [];
  const found = interrupted.length === 0 ? [] : [finding("GW006", interrupted.join("\n"), { stack })];

  const names = Object.keys(outputs);
  if (names.length === 0)
    return { stack, findings: [finding("GW002", `${stack} has no outputs.`, { stack }), ...found] };
  const { installation, kubeconfig, oauthRedirectUri } = outputs;
  if (installation?.proxy === undefined || kubeconfig === undefined || oauthRedirectUri === undefined) {
    return { stack, findings: [finding("GW003", `Its outputs are ${names.join(", ")}.`, { stack }), ...found] };
  }
  const cluster = new KubeConfig();
  try {
    cluster.loadFromString(kubeconfig);
  } catch {
    // What it holds must not be repeated. Without a cluster in it no server can be named either.
    cluster.loadFromOptions({ clusters: [], contexts: [], users: [] });
  }
  const { ingressAddress, dnsRecords = [] } = outputs;
  return {
    stack,
    findings: found,
    patient: { stack, installation, oauthRedirectUri, ingressAddress, dnsRecords, cluster, kubeconfig },
  };
}

/** Outputs of a stack, by whichever program made them. */
interface Outputs {
  readonly installation?: Installation & { readonly proxy?: Installation["proxy"] };
  readonly oauthRedirectUri?: string;
  readonly ingressAddress?: string;
  readonly dnsRecords?: readonly DnsRecord[];
  readonly kubeconfig?: string;
}

/** What a command of Pulumi's says on standard error, short. */
function words(stderr: string): string {
  const text = stderr.trim().replace(/^error: /, "");
  return (text.length > 500 ? `${text.slice(0, 497)}...` : text) || "pulumi said nothing.";
}

/** `creating <name>` for each operation that Pulumi does not know the end of. */
function pending(exported: string): string[] {
  const { deployment } = JSON.parse(exported) as {
    deployment?: { pending_operations?: readonly { type: string; resource: { urn: string } }[] };
  };
  return (deployment?.pending_operations ?? []).map(({ type, resource }) => `${type} ${resource.urn}`);
}
