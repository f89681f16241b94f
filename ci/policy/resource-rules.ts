import { isMap, signature, unknown } from "../../local/plan/events";

/** A resource as the engine is about to have it. */
export interface PlannedInputs {
  /** Type token. */
  readonly type: string;
  /** Name in the program. */
  readonly name: string;
  /** Inputs; a secret among them is whatever {@link isBoxed} tells, or is not there. */
  readonly inputs: Readonly<Record<string, unknown>>;
}

/** What a rule may know beside the resource. */
export interface Context {
  readonly stack: string;
  /** Whether the stack is marked `production`. */
  readonly production: boolean;
}

/** A policy on one resource as it would be, whatever it was before. */
export interface ResourceRule {
  /** By this name it is allowed, in ci/allowances.yaml. */
  readonly name: string;
  /** What it asks for, in one sentence. */
  readonly description: string;
  /** What is wrong with a resource; nothing when nothing is. Never holds a value that may be secret. */
  readonly violations: (resource: PlannedInputs, context: Context) => string[];
}

/** Whether a value is one that the engine keeps secret. */
export function isBoxed(value: unknown): boolean {
  return isMap(value) && signature in value;
}

/** Types of clusters, by their tokens. Whoever loses one loses every workspace on it. */
export const clusterTypes: readonly string[] = [
  "gcp:container/cluster:Cluster",
  "aws:eks/cluster:Cluster",
  "azure-native:containerservice:ManagedCluster",
  "civo:index/kubernetesCluster:KubernetesCluster",
];

/**
 * Types that carry labels or tags, and where. Other resources of the clouds have no place for any:
 * https://docs.cloud.google.com/resource-manager/docs/labels-overview
 * https://docs.aws.amazon.com/resourcegroupstagging/latest/APIReference/supported-services.html
 * https://learn.microsoft.com/en-us/azure/azure-resource-manager/management/tag-support
 */
const labelled: Readonly<Record<string, readonly string[]>> = {
  "gcp:compute/address:Address": ["labels"],
  "gcp:container/cluster:Cluster": ["resourceLabels"],
  "gcp:container/nodePool:NodePool": ["nodeConfig", "resourceLabels"],
  "aws:ec2/vpc:Vpc": ["tags"],
  "aws:ec2/subnet:Subnet": ["tags"],
  "aws:ec2/internetGateway:InternetGateway": ["tags"],
  "aws:ec2/natGateway:NatGateway": ["tags"],
  "aws:ec2/routeTable:RouteTable": ["tags"],
  "aws:iam/role:Role": ["tags"],
  "aws:cloudwatch/logGroup:LogGroup": ["tags"],
  "aws:eks/cluster:Cluster": ["tags"],
  "aws:eks/accessEntry:AccessEntry": ["tags"],
  "aws:eks/nodeGroup:NodeGroup": ["tags"],
  "azure-native:resources:ResourceGroup": ["tags"],
  "azure-native:network:VirtualNetwork": ["tags"],
  "azure-native:network:PublicIPAddress": ["tags"],
  "azure-native:network:NatGateway": ["tags"],
  "azure-native:managedidentity:UserAssignedIdentity": ["tags"],
  "azure-native:containerservice:ManagedCluster": ["tags"],
  "azure-native:containerservice:AgentPool": ["tags"],
  "civo:index/kubernetesCluster:KubernetesCluster": ["tags"],
};

/** What every labelled resource says, so that a bill and a stray resource can be traced to its stack. */
const labels = ["project", "stack"];

/** Where the address ranges stand that may reach a cluster's API. */
function apiRanges({ type, inputs }: PlannedInputs): unknown[] | undefined {
  switch (type) {
    case "gcp:container/cluster:Cluster": {
      const ranges = at(inputs, "masterAuthorizedNetworksConfig", "cidrBlocks");
      // Without the block everybody may: https://docs.cloud.google.com/kubernetes-engine/docs/how-to/latest/network-isolation
      if (at(inputs, "privateClusterConfig", "enablePrivateEndpoint") === true) return [];
      return ranges === undefined ? undefined : list(ranges).map((range) => at(range, "cidrBlock"));
    }
    case "aws:eks/cluster:Cluster":
      if (at(inputs, "vpcConfig", "endpointPublicAccess") === false) return [];
      return named(at(inputs, "vpcConfig", "publicAccessCidrs"));
    case "azure-native:containerservice:ManagedCluster":
      if (at(inputs, "apiServerAccessProfile", "enablePrivateCluster") === true) return [];
      return named(at(inputs, "apiServerAccessProfile", "authorizedIPRanges"));
    case "civo:index/firewall:Firewall":
      // The rules that Civo makes itself let everybody in.
      if (inputs["createDefaultRules"] !== false) return undefined;
      return list(inputs["ingressRules"])
        .filter((rule) => opens(at(rule, "portRange"), 6443) && at(rule, "action") !== "deny")
        .flatMap((rule) => list(at(rule, "cidrs")));
    default:
      return [];
  }
}

/** Whether a range is so wide that it parts nobody from anybody: shorter than the largest that anyone owns, a /8. */
function isEverybody(range: unknown): boolean {
  if (typeof range !== "string" || range.includes(unknown)) return false;
  const length = Number(range.split("/")[1] ?? Number.NaN);
  return range.includes("/") && length < 8;
}

/** Whether a range of ports, as `6443` or `1-65535`, has a port in it. */
function opens(range: unknown, port: number): boolean {
  if (typeof range !== "string" || range === "") return true;
  const [first = Number.NaN, last = first] = range.split("-").map(Number);
  return first <= port && port <= last;
}

/** The machine types that a resource asks for, and processor architectures. */
function machines({ type, inputs }: PlannedInputs): unknown[] {
  switch (type) {
    case "gcp:container/nodePool:NodePool":
    case "gcp:container/cluster:Cluster":
      return [at(inputs, "nodeConfig", "machineType")];
    case "aws:eks/nodeGroup:NodeGroup":
      return [...list(inputs["instanceTypes"]), inputs["amiType"]];
    case "azure-native:containerservice:AgentPool":
      return [inputs["vmSize"]];
    case "azure-native:containerservice:ManagedCluster":
      return list(inputs["agentPoolProfiles"]).map((pool) => at(pool, "vmSize"));
    case "kubernetes:karpenter.sh/v1:NodePool": {
      const requirements = list(at(inputs, "spec", "template", "spec", "requirements"));
      const isAmd64 = requirements.some(
        (requirement) =>
          at(requirement, "key") === "kubernetes.io/arch" &&
          at(requirement, "operator") === "In" &&
          list(at(requirement, "values")).every((value) => value === "amd64"),
      );
      // What does not ask for amd64 gets whatever is cheapest.
      return isAmd64 ? [] : ["A NodePool without the requirement kubernetes.io/arch In [amd64]"];
    }
    default:
      return [];
  }
}

/**
 * Families with arm64 processors. Google: https://docs.cloud.google.com/compute/docs/machine-resource; Amazon has a `g` after the
 * generation: https://docs.aws.amazon.com/ec2/latest/instancetypes/instance-type-names.html; Azure a `p` among the features:
 * https://learn.microsoft.com/en-us/azure/virtual-machines/vm-naming-conventions
 */
const arm64 = [
  /^(t2a|c4a|n4a|a4x)-/,
  /^(a1\.|[a-z]+\d+g[a-z]*\.)/,
  /^Standard_[A-Z]{1,2}\d+(-\d+)?[a-z]*p[a-z]*(_|$)/,
  /_ARM_64/,
  // NVIDIA's Grace.
  /gb[23]00/i,
  /^A NodePool without/,
];

/**
 * What only a secret looks like: a private key, and tokens by the prefixes that their issuers give them.
 * https://docs.gitlab.com/security/tokens/#token-prefixes
 * https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids
 */
const looksSecret = [
  /-----BEGIN [A-Z ]*PRIVATE KEY-----/,
  /\bgl(pat|agent|dt|rt|rtr|cbt|ptt|ft|imt|soat|oas|ffct)-[0-9A-Za-z_-]{20,}/,
  /\b(AKIA|ASIA)[A-Z2-7]{16}\b/,
  /"private_key"\s*:\s*"-----BEGIN/,
  /\beyJ[0-9A-Za-z_-]{10,}\.eyJ[0-9A-Za-z_-]{10,}\./,
  /^\s*client-key-data:/m,
];

/** Names under which nothing but a secret stands. */
const namesSecret =
  /(^|[._-]|[a-z])(password|passphrase|api_?key|client_?secret|secret_?key|private_?key|signing_?key|host_?key|access_?token)$/i;

/** Paths of the texts in a value that look like secrets and are none to the engine. */
function plainSecrets(value: unknown, path: string, name = ""): string[] {
  if (isBoxed(value)) return [];
  if (typeof value === "string") {
    if (value === "" || value.includes(unknown) || value === "[secret]") return [];
    const isSecret =
      looksSecret.some((pattern) => pattern.test(value)) || (namesSecret.test(name) && value.length >= 8);
    return isSecret ? [path] : [];
  }
  if (Array.isArray(value)) return value.flatMap((entry, index) => plainSecrets(entry, `${path}[${index}]`));
  if (!isMap(value)) return [];
  return Object.entries(value).flatMap(([key, inner]) =>
    plainSecrets(inner, path === "" ? key : `${path}.${key}`, key),
  );
}

/** The policies on a resource as it would be. */
export const resourceRules: readonly ResourceRule[] = [
  {
    name: "no-public-api",
    description: "No Kubernetes API is open to every address on the internet.",
    violations: (resource) => {
      const ranges = apiRanges(resource);
      const open = ranges === undefined || ranges.some(isEverybody);
      return open
        ? [
            "The Kubernetes API is open to every address on the internet. Name the ranges it is reached from in cluster.apiCidrs.",
          ]
        : [];
    },
  },
  {
    name: "no-arm64-nodes",
    description: "No node has an arm64 processor: the tools that GitLab puts into workspaces are for amd64.",
    violations: (resource) =>
      machines(resource)
        .filter((machine) => typeof machine === "string")
        .filter((machine) => arm64.some((pattern) => pattern.test(machine)))
        .map(
          (machine) =>
            `${machine} is or may be arm64, and the tools that GitLab puts into workspaces are for amd64. Choose an amd64 type in cluster.nodes.machineType.`,
        ),
  },
  {
    name: "labels-present",
    description: `What carries labels or tags names its ${labels.join(" and ")}, so that a bill can be traced.`,
    violations: ({ type, inputs }) => {
      const path = labelled[type];
      if (path === undefined) return [];
      const found = at(inputs, ...path);
      // Civo takes one text, `key:value key:value`.
      const keys =
        typeof found === "string"
          ? found.split(" ").map((tag) => tag.split(":")[0] ?? "")
          : Object.keys(isMap(found) ? found : {});
      if (found === unknown) return [];
      const missing = labels.filter((label) => !keys.includes(label));
      return missing.length === 0
        ? []
        : [`${path.join(".")} lacks ${missing.join(" and ")}: nobody can tell from a bill whose it is.`];
    },
  },
  {
    name: "no-plaintext-secret",
    description: "No secret stands in plain text in what the engine keeps in state.",
    violations: ({ type, inputs }) => [
      ...plainSecrets(inputs, "").map(
        (path) =>
          `${path} looks like a secret in plain text: it would stand in state, in previews and in Helm's history. Mark it secret, and exchange it.`,
      ),
      ...(type === "kubernetes:core/v1:Secret"
        ? ["data", "stringData"].flatMap((key) =>
            isMap(inputs[key]) &&
            !isBoxed(inputs[key]) &&
            Object.values(inputs[key]).some(
              (value) => typeof value === "string" && !isBoxed(value) && !value.includes(unknown),
            )
              ? [`${key} of this Secret is not secret to the engine: wrap what it is made of in pulumi.secret.`]
              : [],
          )
        : []),
    ],
  },
  {
    name: "no-retired-ingress",
    description: "No production stack runs ingress-nginx, which upstream retired in March 2026.",
    violations: ({ type, inputs }, { production }) =>
      production && type === "kubernetes:helm.sh/v3:Release" && inputs["chart"] === "ingress-nginx"
        ? [
            "ingress-nginx has had no security fixes since March 2026 (https://kubernetes.io/blog/2025/11/11/ingress-nginx-retirement/). Set ingress.controller to traefik or existing.",
          ]
        : [],
  },
];

function at(value: unknown, ...path: readonly string[]): unknown {
  return path.reduce<unknown>((holder, key) => (isMap(holder) ? holder[key] : undefined), value);
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

/** Ranges; undefined when there are none, which to Amazon and Azure means everybody. */
function named(ranges: unknown): unknown[] | undefined {
  return list(ranges).length === 0 ? undefined : list(ranges);
}
