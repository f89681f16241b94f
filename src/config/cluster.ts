import { accessSync, constants } from "node:fs";
import { delimiter, isAbsolute, join } from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { onlyOfMadeClusters } from "./made-cluster";
import { keyText, member, removeCommand, secretCommand, setCommand, show } from "./faults";
import { checkKubeconfig } from "./kubeconfig";
import { settings, type ClusterConfig, type EksConfig } from "./schema";
import type { StackConfig } from "./stack-config";

/**
 * Reads what the stack says of its cluster, and refuses what its cloud would refuse or never read.
 * Undefined when there are faults.
 */
export function readCluster(stack: StackConfig): ClusterConfig | undefined {
  const cluster = stack.setting("cluster", settings.cluster);
  // With faults in it, it may name no cloud at all.
  const cloud = (cluster?.cloud ?? member(stack.raw["cluster"], "cloud")) as ClusterConfig["cloud"] | undefined;
  switch (cloud) {
    case "eks": {
      const provider = readAmazonProvider(stack);
      requireCommand(
        stack,
        "aws",
        "Install the AWS CLI: https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html",
      );
      requireApiCidrs(stack);
      refuseOfMadeClusters(stack);
      return cluster?.cloud === "eks" && provider ? { ...cluster, ...provider } : undefined;
    }
    case "gke":
      requireSame(stack, "gcp:project", "project");
      requireCommand(stack, "gke-gcloud-auth-plugin", "gcloud components install gke-gcloud-auth-plugin");
      requireApiCidrs(stack);
      refuseOfMadeClusters(stack);
      return cluster?.cloud === "gke" ? cluster : undefined;
    case "civo": {
      const region = readCivoRegion(stack);
      refusePlainText(stack, "civo:token", "civo-token.txt");
      requireApiCidrs(stack);
      refuseOfMadeClusters(stack);
      return cluster?.cloud === "civo" && region !== undefined ? { ...cluster, region } : undefined;
    }
    case "aks":
      if (isSet("azure-native:subscriptionId")) requireSame(stack, "azure-native:subscriptionId", "subscription");
      requireDefaultAzureCredential(stack);
      refuseCredentials(stack, azureCredentials, {
        why: "The kubeconfig gets its tokens from kubelogin, which never sees it: log in, or use the environment for both.",
        remedy: "az login",
      });
      if (member(stack.raw["cluster"], "existing") !== true) requireAzureLocation(stack);
      requireCommand(stack, "kubelogin", "az aks install-cli");
      requireApiCidrs(stack);
      refuseOfMadeClusters(stack);
      return cluster?.cloud === "aks" ? cluster : undefined;
    case "self-managed":
    case undefined:
      return readSelfManagedCluster(stack, cluster?.cloud === "self-managed" ? cluster : undefined);
  }
  return readSelfManagedCluster(stack, undefined);
}

/** A setting of the provider that decides where things are made has to be what the stack says. @param is what it stands for. */
function requireSame(stack: StackConfig, key: string, is: string): void {
  const account = member(stack.raw["cluster"], "account");
  const set = pulumi.runtime.allConfig()[key];
  if (typeof account !== "string" || set === account) return;
  stack.faults.push({
    subject: `${key} is ${set === undefined ? "not set" : show(set)}`,
    rule: `It must be the ${is} that ${keyText(["cluster", "account"])} names, ${show(account)}: that is where everything is made.`,
    remedy: [setCommand([key], account)],
  });
}

/**
 * The settings of the provider that decide where everything is made and with whose credentials. The kubeconfig has to lead
 * to the same, so what it cannot say is refused.
 */
function readAmazonProvider(stack: StackConfig): Pick<EksConfig, "region" | "profile" | "role"> | undefined {
  const set = pulumi.runtime.allConfig();
  const { faults } = stack;
  const before = faults.length;
  const region = set["aws:region"] ?? "";
  if (!/^[a-z]{2}(-[a-z]+)+-\d+$/.test(region))
    faults.push({
      subject: `aws:region is ${region === "" ? "not set" : show(region)}`,
      rule: "It must be the region that everything is made in, such as eu-central-1.",
      remedy: [setCommand(["aws:region"], "eu-central-1")],
    });
  const account = member(stack.raw["cluster"], "account");
  const allowed = listOf(set["aws:allowedAccountIds"]);
  if (typeof account === "string" && allowed !== undefined && !allowed.includes(account))
    faults.push({
      subject: `aws:allowedAccountIds is ${show(set["aws:allowedAccountIds"])}`,
      rule: `It must hold the account that ${keyText(["cluster", "account"])} names, ${show(account)}: that is where everything is made.`,
      remedy: [
        `pulumi config set --stack ${pulumi.getStack()} --path --type string 'aws:allowedAccountIds[0]' ${account}`,
      ],
    });
  refuseCredentials(stack, amazonCredentials, {
    why: "The kubeconfig gets its tokens from the AWS CLI, which never sees it: use a profile or the environment for both.",
    remedy: setCommand(["aws:profile"], "<profile>"),
  });
  const assumed = set["aws:assumeRoles"];
  const roles = assumed === undefined ? [] : listOf(assumed);
  const role = member(roles?.[0], "roleArn");
  const said = Object.keys((roles?.[0] as object | undefined) ?? {});
  if (
    roles === undefined ||
    roles.length > 1 ||
    (roles.length === 1 && typeof role !== "string") ||
    said.some((key) => !["roleArn", "sessionName", "duration"].includes(key))
  )
    faults.push({
      subject: "aws:assumeRoles is not a list of one role by its roleArn, with at most a sessionName and a duration",
      rule: "The kubeconfig gets its tokens from the AWS CLI, which takes on one role by its ARN alone: put all else into a profile.",
      remedy: [removeCommand(["aws:assumeRoles"]), setCommand(["aws:profile"], "<profile>")],
    });
  const cluster = stack.raw["cluster"];
  if (member(member(cluster, "nodes"), "mode") === "managed" && member(cluster, "maintenance") !== undefined)
    faults.push({
      subject: `${keyText(["cluster", "maintenance"])} is set`,
      rule: "It is for Auto Mode: managed nodes are replaced by pulumi up alone, when their version or machines change.",
      remedy: [removeCommand(["cluster", "maintenance"])],
    });
  if (faults.length > before) return undefined;
  const profile = set["aws:profile"];
  return {
    region,
    ...(profile === undefined ? {} : { profile }),
    ...(typeof role === "string" ? { role } : {}),
  };
}

const amazonCredentials = [
  ...["aws:accessKey", "aws:secretKey", "aws:token", "aws:assumeRoleWithWebIdentity"],
  ...["aws:sharedCredentialsFiles", "aws:sharedConfigFiles"],
];

const azureCredentials = [
  ...["azure-native:clientSecret", "azure-native:clientCertificatePassword", "azure-native:clientCertificatePath"],
  ...["azure-native:oidcToken", "azure-native:oidcTokenFilePath"],
];

/** Credentials in the provider's own settings, which the kubeconfig's plugin does not get, and which may be in git. */
function refuseCredentials(
  { faults }: StackConfig,
  keys: readonly string[],
  { why, remedy }: { readonly why: string; readonly remedy: string },
): void {
  for (const key of keys.filter((name) => pulumi.runtime.allConfig()[name] !== undefined))
    faults.push({
      subject: `${key} is set`,
      rule:
        pulumi.runtime.isConfigSecret(key) || !/secret|token$|key$|password/i.test(key)
          ? why
          : `${why} It is a secret in plain text, and in git and its history already: rotate it.`,
      remedy: [removeCommand([key]), remedy],
    });
}

/** A setting of a provider that is a list; undefined when it is none. */
function listOf(text: string | undefined): readonly unknown[] | undefined {
  try {
    const value: unknown = JSON.parse(text ?? "");
    return Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Where on Civo everything is made. The provider would take whatever region the person's own command line has last used.
 * https://github.com/civo/terraform-provider-civo/blob/master/docs/index.md
 */
function readCivoRegion(stack: StackConfig): string | undefined {
  const set = pulumi.runtime.allConfig()["civo:region"];
  if (set !== undefined && /^[A-Z]+\d+$/.test(set)) return set;
  const meant = set?.toUpperCase() ?? "";
  stack.faults.push({
    subject: `civo:region is ${set === undefined ? "not set" : show(set)}`,
    rule: "It must be the code of the region in which everything is made, in capital letters, such as LON1.",
    remedy: ["civo region ls", setCommand(["civo:region"], /^[A-Z]+\d+$/.test(meant) ? meant : "LON1")],
  });
  return undefined;
}

/** A credential of a provider in its own namespace, which nobody else looks at. */
function refusePlainText(stack: StackConfig, key: string, file: string): void {
  if (pulumi.runtime.allConfig()[key] === undefined || pulumi.runtime.isConfigSecret(key)) return;
  stack.faults.push({
    subject: `${key} is stored in plain text`,
    rule: "It is a secret, and in git and its history already: rotate it, then store the new one encrypted.",
    remedy: [`pulumi config set --stack ${pulumi.getStack()} --secret ${key} < ${file}`],
  });
}

function isSet(key: string): boolean {
  return pulumi.runtime.allConfig()[key] !== undefined;
}

/** The provider and the kubeconfig's plugin look for credentials in the same places only when both are told to. */
function requireDefaultAzureCredential(stack: StackConfig): void {
  const key = "azure-native:useDefaultAzureCredential";
  const set = pulumi.runtime.allConfig()[key];
  if (set === "true") return;
  stack.faults.push({
    subject: `${key} is ${set === undefined ? "not set" : show(set)}`,
    rule: "It must be true: the provider then takes the same credentials as the kubeconfig's plugin, kubelogin.",
    remedy: [setCommand([key], "true")],
  });
}

/** The provider would say no more than that a location is missing, after it has begun. */
function requireAzureLocation(stack: StackConfig): void {
  const key = "azure-native:location";
  const set = pulumi.runtime.allConfig()[key];
  if (set !== undefined && /^[a-z]+[a-z0-9]*$/.test(set)) return;
  const corrected = set?.toLowerCase().replaceAll(/[^a-z0-9]/g, "") ?? "";
  stack.faults.push({
    subject: `${key} is ${set === undefined ? "not set" : show(set)}`,
    rule: "It must be the name of an Azure region, such as westeurope: everything is made there. To list them: az account list-locations --query '[].name'",
    remedy: [setCommand([key], /^[a-z]/.test(corrected) ? corrected : "westeurope")],
  });
}

/** @param remedy what installs the command. */
function requireCommand(stack: StackConfig, command: string, remedy: string): void {
  if (isOnPath(command)) return;
  stack.faults.push({
    subject: `The command ${command} is not on the PATH here`,
    rule: "It gives the kubeconfig's user its credentials; without it nothing can be installed on the cluster.",
    remedy: [remedy],
  });
}

/** From where the API of a cluster can be reached is nothing to guess. */
function requireApiCidrs(stack: StackConfig): void {
  const raw = stack.raw["cluster"];
  if (member(raw, "existing") === true || member(raw, "apiCidrs") !== undefined) return;
  stack.faults.push({
    subject: `${keyText(["cluster", "apiCidrs"])} is not set`,
    rule: "Address ranges from which the Kubernetes API can be reached: where people, and the runners of the pipelines, come from.",
    remedy: [setCommand(["cluster", "apiCidrs", 0], "192.0.2.0/24")],
  });
}

/** A setting that cannot have an effect is a misunderstanding, and better known at once. */
function refuseOfMadeClusters(stack: StackConfig): void {
  const raw = stack.raw["cluster"];
  if (member(raw, "existing") !== true) return;
  for (const key of onlyOfMadeClusters.filter((name) => member(raw, name) !== undefined))
    stack.faults.push({
      subject: `${keyText(["cluster", key])} is set`,
      rule: "It says how to make a cluster, and cluster.existing says that there is one: the program changes nothing of that.",
      remedy: [removeCommand(["cluster", key])],
    });
}

type SelfManagedConfig = Extract<ClusterConfig, { cloud: "self-managed" }>;

function readSelfManagedCluster(
  stack: StackConfig,
  cluster: Omit<SelfManagedConfig, "kubeconfig"> | undefined,
): SelfManagedConfig | undefined {
  const text = stack.secret("kubeconfig");
  if (text === undefined) return undefined;
  const path = ["cluster", "context"];
  const context = path.reduce<unknown>(member, stack.raw);
  const checked = checkKubeconfig(text, typeof context === "string" && context !== "" ? context : undefined, isOnPath);
  for (const problem of checked.problems) stack.refuseSecret("kubeconfig", problem);
  if (checked.wrongContext) {
    const { rule, existing } = checked.wrongContext;
    stack.faults.push({
      subject: `${keyText(path)} is ${context === undefined ? "not set" : show(context)}`,
      rule,
      remedy: [existing[0] === undefined ? secretCommand("kubeconfig") : setCommand(path, existing[0])],
    });
  }
  stack.warnings.push(...checked.warnings);
  if (cluster === undefined || checked.kubeconfig === undefined) return undefined;
  return { ...cluster, kubeconfig: pulumi.secret(checked.kubeconfig) };
}

/** On Windows a command is found by any of the endings in PATHEXT. */
function isOnPath(command: string): boolean {
  const directories = isAbsolute(command) ? [""] : (process.env["PATH"] ?? "").split(delimiter);
  const endings = ["", ...(process.env["PATHEXT"] ?? "").split(";")];
  return directories.some((directory) =>
    endings.some((ending) => {
      try {
        accessSync(join(directory, command + ending), constants.X_OK);
        return true;
      } catch {
        return false;
      }
    }),
  );
}
