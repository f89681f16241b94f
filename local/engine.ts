import { homedir } from "node:os";
import { delimiter, dirname, join, resolve } from "node:path";
import { fromEnvironment } from "./environment";
import { Failure, Refused } from "./failure";
import type { Toolchain } from "./toolchain/toolchain";
import { versions } from "./toolchain/toolchain";

/** Where one local engine keeps everything it makes. All of it lies below `root`, outside the working tree. */
export interface LocalEngine {
  /** Name of the one stack that it runs, that of the file in `stacks/`. */
  readonly stack: string;
  /** Everything below here belongs to this engine and goes with `destroy`. */
  readonly root: string;
  /** File that says that the folder is a local engine's: without it nothing in the folder is touched. */
  readonly marker: string;
  /** PULUMI_HOME of this engine: never the user's own. */
  readonly pulumiHome: string;
  /** Directory of the file backend: the state of the stack. */
  readonly state: string;
  /** File with the passphrase that encrypts the stack's secrets. */
  readonly passphrase: string;
  /** The stack config that runs: `stacks/Pulumi.<stack>.yaml` with generated secrets and local chart repositories. */
  readonly stackConfig: string;
  /** Admin kubeconfig of the local cluster. */
  readonly kubeconfig: string;
  /** JSON list of the API servers this engine started; the stand-in plugins talk to no other. */
  readonly clusters: string;
  /** Directory of the simulated cluster (KWOK_WORKDIR). */
  readonly kwok: string;
  /** Directory of the stand-in clouds' accounts: what is in them, how they behave, what was asked of them. */
  readonly account: string;
  /** Directory of stand-ins for commands that a cloud's kubeconfig runs, on the PATH of everything run on this engine. */
  readonly bin: string;
  /** Logs of the simulated containers, `<container>.log`. */
  readonly logs: string;
  /** Packaged charts and their index, as the chart repository serves them. */
  readonly charts: string;
  /** Port and process id of the chart repository. */
  readonly chartRepository: string;
  /** Scratch for Helm's cache and config. */
  readonly helm: string;
}

/** The stack of an engine for which nobody names one. */
export const localStack = "local";

/** An engine for one stack, below `folder`. Creates nothing. @throws Failure when the folder cannot be one of ours. */
export function localEngine({
  stack = localStack,
  folder = defaultRoot(stack),
}: { readonly stack?: string; readonly folder?: string } = {}): LocalEngine {
  const root = resolve(folder);
  refuseFolder(root);
  return layOut(stack, root);
}

/** The stacks that run on this machine: those whose cloud is stood in for. */
export const servedStacks = [localStack, "gke", "eks", "aks", "civo"] as const;

/** The engine of a stack that a person names. @throws Refused for one that does not run here. */
export function engineOf(stack: string = localStack): LocalEngine {
  if (servedStacks.some((served) => served === stack)) return localEngine({ stack });
  throw new Refused(
    `${JSON.stringify(stack)} does not run on this machine: there are stand-ins for the clouds of ${servedStacks.join(", ").replace(/, (?=[^,]*$)/, " and ")}.\n` +
      `What any stack would make: npm run plan -- <stack>`,
  );
}

/** The npm command for an engine, as a person types it: `npm start`, `npm run destroy -- gke --tools`. */
export function npm({ stack }: Pick<LocalEngine, "stack">, script: string, option?: string): string {
  const words = [stack, option].filter((word) => word !== undefined && word !== localStack);
  return [`npm ${script === "start" ? "" : "run "}${script}`, ...(words.length === 0 ? [] : ["--", ...words])].join(
    " ",
  );
}

/** Lays out an engine in a folder that nobody else has. */
export function layOut(stack: string, root: string): LocalEngine {
  return {
    stack,
    root,
    marker: join(root, "local-engine"),
    pulumiHome: join(root, "pulumi"),
    state: join(root, "state"),
    passphrase: join(root, "passphrase"),
    stackConfig: join(root, `Pulumi.${stack}.yaml`),
    kubeconfig: join(root, "kubeconfig"),
    clusters: join(root, "clusters.json"),
    kwok: join(root, "kwok"),
    account: join(root, "account"),
    bin: join(root, "bin"),
    logs: join(root, "logs"),
    charts: join(root, "charts"),
    chartRepository: join(root, "chart-repository.json"),
    helm: join(root, "helm"),
  };
}

/** `$GITLAB_WORKSPACES_HOME`, or `gitlab-workspaces` in the user's state directory; each further stack has one beside it. */
function defaultRoot(stack: string): string {
  const root =
    fromEnvironment("GITLAB_WORKSPACES_HOME") ??
    join(fromEnvironment("XDG_STATE_HOME") ?? join(homedir(), ".local", "state"), "gitlab-workspaces");
  return stack === localStack ? root : `${resolve(root)}-${stack}`;
}

/** kwok splits what it is told at spaces, and `destroy` removes the folder as a whole. */
function refuseFolder(root: string): void {
  const remedy = "Name a folder of its own for it, or none: unset GITLAB_WORKSPACES_HOME";
  if (/\s/.test(root)) {
    throw new Failure(`GITLAB_WORKSPACES_HOME is "${root}"; it must be a path without white space.\n${remedy}`);
  }
  const precious = [homedir(), join(__dirname, "..")];
  const within = (inner: string, outer: string): boolean => `${inner}/`.startsWith(`${outer.replace(/\/$/, "")}/`);
  if (precious.some((folder) => within(folder, root)) || within(root, join(__dirname, ".."))) {
    throw new Failure(
      `GITLAB_WORKSPACES_HOME is ${root}, which holds or belongs to your home directory or this project.\n${remedy}`,
    );
  }
}

/** Where `npx pulumi` of npm's `pulumi` package looks for the CLI of its own version below PULUMI_HOME. */
export function pulumiDirectory(engine: LocalEngine): string {
  return join(engine.pulumiHome, "versions", versions.pulumi, "bin");
}

/** The tools that commands on an engine are to find; a preview needs none of them. */
export type OnPath = Partial<Pick<Toolchain, "kubectl" | "helm">>;

/** The settings that make ordinary `pulumi`, `kubectl` and `helm` commands work on this engine, and on nothing else. */
export function settings(engine: LocalEngine, { kubectl, helm }: OnPath): Record<string, string> {
  return {
    PULUMI_HOME: engine.pulumiHome,
    PULUMI_BACKEND_URL: `file://${engine.state}`,
    PULUMI_CONFIG_PASSPHRASE_FILE: engine.passphrase,
    PULUMI_STACK: engine.stack,
    PULUMI_OPTION_CONFIG_FILE: engine.stackConfig,
    PULUMI_SKIP_UPDATE_CHECK: "true",
    PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION: "true",
    PULUMI_OPTION_SKIP_PLUGIN_PRE_INSTALL: "true",
    PULUMI_DISABLE_REGISTRY_RESOLVE: "true",
    KUBECONFIG: engine.kubeconfig,
    HELM_CACHE_HOME: join(engine.helm, "cache"),
    HELM_CONFIG_HOME: join(engine.helm, "config"),
    HELM_DATA_HOME: join(engine.helm, "data"),
    PATH: [
      ...new Set([
        engine.bin,
        pulumiDirectory(engine),
        ...[kubectl, helm].filter((tool) => tool !== undefined).map((tool) => dirname(tool)),
      ]),
      process.env["PATH"] ?? "",
    ].join(delimiter),
  };
}

/** Variables of the user's own clouds and stacks, which nothing run on the local engine may see. */
const foreign =
  /^(AWS_|AZURE_|ARM_|GOOGLE_|GCLOUD_|GCP_|CLOUDSDK_|CIVO_|CLOUDFLARE_|GITLAB_TOKEN|PULUMI_|KUBECONFIG$|KUBE_|HELM_)/;

/** A whole process environment for a command on this engine: the user's, without other clouds' or stacks' variables. */
export function environment(engine: LocalEngine, toolchain: OnPath): Record<string, string> {
  const inherited = Object.entries(process.env).filter(
    (entry): entry is [string, string] => entry[1] !== undefined && !foreign.test(entry[0]),
  );
  return { ...Object.fromEntries(inherited), ...settings(engine, toolchain) };
}
