import { isIP } from "node:net";
import { domainToASCII } from "node:url";
import type * as pulumi from "@pulumi/pulumi";
import { z } from "zod";
import { type AksConfig, aks } from "./aks";
import { type CivoConfig, civo } from "./civo";
import { type EksConfig, eks } from "./eks";
import { type GkeConfig, gke } from "./gke";
import { label, longestLabel, type Objection, objectToLabel, text } from "./text";
import { charts, oldestProxyChart, type ChartName } from "../charts";

/** Helm takes no longer name for a release: https://github.com/helm/helm/blob/v3.19.0/pkg/chartutil/validate_name.go */
const longestRelease = 53;

export type { AksConfig, CivoConfig, EksConfig, GkeConfig };

/** Text that the engine encrypts in state and hides in every output: marked so where it is born. */
export type Secret = pulumi.Output<string>;

/** RFC 1123 subdomain: what Kubernetes allows as the name of most other objects. */
const objectName = text((value) =>
  value.length <= 253 && /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(value)
    ? undefined
    : "must be 1 to 253 characters of a-z, 0-9, '-' and '.', beginning and ending with a letter or digit",
);

/** The secret of an application begins with `gloas-`: https://gitlab.com/gitlab-org/gitlab/-/merge_requests/131601 */
const applicationId = text((value) => {
  if (value.startsWith("gloas-"))
    return "must be the ID of the application, and this is its secret: it is in git and its history already, so renew it";
  return /^\S+$/.test(value) ? undefined : "must be one word, without spaces";
});

/**
 * A workspace answers at `<port>-<name>.<domain>`. Its first label may take 63 characters and a dot of the 253 that a
 * DNS name may have (RFC 1035, 2.3.4).
 */
const longestDomain = 253 - 63 - 1;

/** The bare DNS name inside what people paste: a URL, a wildcard, a name in Unicode. */
function bareDomain(value: string): string {
  const host = value
    .trim()
    .replace(/^[a-z][a-z0-9+.-]*:\/\//i, "")
    .replace(/[/?#:].*$/s, "")
    .replace(/^(\*?\.)+/, "")
    .replace(/\.+$/, "");
  return domainToASCII(host);
}

function objectToDomain(value: string): string | undefined {
  if (value === "") return "must not be empty";
  if (value.includes("://")) return "must be a bare DNS name, without a scheme";
  if (/\s/.test(value)) return "must not hold spaces or line breaks";
  if (isIP(value) !== 0) return "must be a DNS name: nothing can be named below an IP address";
  if (/[/?#]/.test(value)) return "must be a bare DNS name, without a path";
  if (value.includes(":")) return "must be a bare DNS name, without a port";
  if (value.includes("*")) return "must be the parent name, without '*': the wildcard below it is added by the program";
  if (value.endsWith(".")) return "must not end with a dot";
  if (/[^\p{ASCII}]/u.test(value)) return "must be in its ASCII form (punycode), as DNS and certificates have it";
  if (value !== value.toLowerCase()) return "must be lower case";
  const labels = value.split(".");
  if (labels.some((part) => part.length > 63)) return "has a label of more than 63 characters (RFC 1035)";
  if (labels.length < 2) return "must have at least two labels, such as workspaces.example.com";
  if (!labels.every((part) => /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/.test(part)))
    return "must be labels of a-z, 0-9 and '-', joined by single dots, each beginning and ending with a letter or digit";
  if (/^\d+$/.test(labels.at(-1) ?? "")) return "must not end with a number";
  if (value.length > longestDomain)
    return `must be at most ${longestDomain} characters: a workspace puts its own label before it, and 253 is all DNS allows`;
  return undefined;
}

const domain = text((value) => {
  const rule = objectToDomain(value);
  if (rule === undefined) return undefined;
  const corrected = bareDomain(value);
  return objectToDomain(corrected) === undefined ? { rule, corrected } : { rule };
});

/** What is wrong with `value` as an address of one of `schemes`. */
function objectToUrl(value: string, schemes: readonly string[]): string | undefined {
  const allowed = schemes.map((scheme) => `${scheme}://`).join(", ");
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (!url || !schemes.includes(url.protocol.slice(0, -1)) || url.hostname === "")
    return `must be an address beginning with one of ${allowed}`;
  if (/\s/.test(value)) return "must not hold spaces or line breaks";
  if (url.username !== "" || url.password !== "")
    return "must not hold credentials: it is stored and shown in plain text";
  if (url.search !== "" || url.hash !== "") return "must not have a query or a fragment";
  return undefined;
}

const url = (...schemes: [string, ...string[]]) => text((value) => objectToUrl(value, schemes));

/** https://semver.org, item 2 on; Helm's own tolerance of a leading `v`. */
const exactVersion = /^v?(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$/;

function objectToVersion(value: string): string | undefined {
  return exactVersion.test(value)
    ? undefined
    : "must be one exact version such as 1.2.3: a range would install something else tomorrow";
}

/** True when `version` comes before `release`, a version without pre-release part. Both exact. */
function isOlder(version: string, release: string): boolean {
  const [, ...wanted] = exactVersion.exec(release) ?? [];
  const [, ...given] = exactVersion.exec(version) ?? [];
  for (const part of [0, 1, 2]) {
    const difference = Number(given[part]) - Number(wanted[part]);
    if (difference !== 0) return difference < 0;
  }
  return given[3] !== undefined;
}

/** https://docs.gitlab.com/user/workspace/set_up_gitlab_agent_and_proxies/ names the versions not to use. */
function objectToProxyVersion(value: string): Objection | string | undefined {
  const rule = objectToVersion(value);
  if (rule !== undefined) return rule;
  if (!isOlder(value, oldestProxyChart)) return undefined;
  return {
    rule:
      `must be ${oldestProxyChart} or newer: older proxies leak secrets or session cookies, see ` +
      "https://docs.gitlab.com/user/workspace/set_up_gitlab_agent_and_proxies/",
    corrected: charts["gitlab-workspaces-proxy"].version,
  };
}

/** How long Helm waits for a release's pods and load balancer, in seconds: clouds take minutes for the latter. */
export const releaseTimeout = 900;

function chartOverride(name: ChartName, object: (value: string) => Objection | string | undefined = objectToVersion) {
  const chart = charts[name];
  return z
    .strictObject({
      repository: url("https", "http", "oci")
        .exactOptional()
        .meta({
          description: `Helm repository to take the chart from instead of ${chart.repository}.`,
          examples: ["https://charts.example.com"],
        }),
      version: text(object)
        .exactOptional()
        .meta({ description: `Exact version instead of ${chart.version}.`, examples: [chart.version] }),
      timeout: z
        .int()
        .min(1)
        .exactOptional()
        .meta({
          description: `Seconds that Helm waits for its pods and its load balancer, instead of ${releaseTimeout}.`,
          examples: [releaseTimeout],
        }),
      values: z
        .record(z.string(), z.unknown())
        .exactOptional()
        .meta({
          description: "Chart values, merged over the program's own. Never secrets: these are stored in plain text.",
          examples: [{}],
        }),
    })
    .exactOptional()
    .meta({ description: `Overrides for the chart ${name}.` });
}

const certificate = z.string().meta({
  description:
    "PEM certificate chain: the certificate first, then each issuer. Covers the domain and, without " +
    "wildcardCertificate, `*.<domain>` too.",
  examples: ["-----BEGIN CERTIFICATE-----\n...\n-----END CERTIFICATE-----\n"],
});

/** One member for each `cluster.cloud`. */
const cluster = z.discriminatedUnion("cloud", [
  z.strictObject({
    cloud: z
      .literal("self-managed")
      .meta({ description: "A cluster that exists already, reached by its kubeconfig.", examples: ["self-managed"] }),
    name: label(longestLabel).meta({
      description:
        "Name of the cluster, yours to choose. Never change it while the cluster lives: it is how the " +
        "program knows that a new kubeconfig still means the same cluster.",
      examples: ["production-1"],
    }),
    context: z
      .string()
      .min(1)
      .exactOptional()
      .meta({
        description: "Context of the kubeconfig to use, instead of its current one.",
        examples: ["admin@production-1"],
      }),
  }),
  gke,
  eks,
  aks,
  civo,
]);

/** https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/ keeps both for other things. */
const ownNamespace = (whose: "agent" | "controller") =>
  text((value) =>
    value === "default" || value.startsWith("kube-")
      ? `must be a namespace for this ${whose} alone: default is everybody's, and kube-* is for Kubernetes itself`
      : objectToLabel(value, longestLabel),
  );

const controllerNamespace = ownNamespace("controller")
  .exactOptional()
  .meta({
    description:
      "Namespace to install it in, one of its own: gitlab-ingress-controller, or gitlab-ingress-controller-<instance>, " +
      "unless set. For a controller that is taken over where it is.",
    examples: ["ingress-nginx"],
  });

/** One member for each `ingress.controller`. */
const ingress = z.discriminatedUnion("controller", [
  z.strictObject({
    controller: z
      .literal("nginx")
      .meta({ description: "Install ingress-nginx. Upstream retired it in March 2026.", examples: ["nginx"] }),
    namespace: controllerNamespace,
  }),
  z.strictObject({
    controller: z.literal("traefik").meta({ description: "Install Traefik.", examples: ["traefik"] }),
    namespace: controllerNamespace,
  }),
  z.strictObject({
    controller: z.literal("existing").meta({
      description: "Use a controller that is in the cluster already. It must pass WebSockets.",
      examples: ["existing"],
    }),
    className: objectName.meta({ description: "Name of its IngressClass.", examples: ["nginx"] }),
    annotations: z
      .record(z.string(), z.string())
      .default({})
      .meta({ description: "Annotations that this controller needs on the Ingress.", examples: [{}] }),
  }),
]);

/** One member for each `tls.mode`. */
const tls = z.discriminatedUnion("mode", [
  z.strictObject({
    mode: z.literal("provided").meta({
      description: "Certificates of yours; their keys are the secrets tlsKey and wildcardTlsKey.",
      examples: ["provided"],
    }),
    certificate,
    wildcardCertificate: z
      .string()
      .exactOptional()
      .meta({
        description: "PEM certificate chain for `*.<domain>`, when certificate covers the domain alone.",
        examples: ["-----BEGIN CERTIFICATE-----\n...\n-----END CERTIFICATE-----\n"],
      }),
  }),
  z.strictObject({
    mode: z.literal("self-signed").meta({
      description: "A certificate made by the program, which no browser trusts: for trials. Refused in production.",
      examples: ["self-signed"],
    }),
  }),
]);

const ssh = z
  .strictObject({
    service: z
      .enum(["off", "ClusterIP", "LoadBalancer"])
      .default("off")
      .meta({
        description: "How workspaces are reached by SSH. LoadBalancer is a second public address.",
        examples: ["ClusterIP"],
      }),
    port: z
      .int()
      .min(1)
      .max(65535)
      .default(22)
      .meta({ description: "Port of that Service.", examples: [22] }),
  })
  .prefault({});

const agent = z
  .strictObject({
    name: label(longestLabel).meta({
      description:
        "Name of the agent in GitLab: the directory .gitlab/agents/<name> in its project. Its token is the secret " +
        "agentToken-<name>. With an instance, both names have at most 39 characters together; without, this one has " +
        "at most 40.",
      examples: ["team-a"],
    }),
    namespace: ownNamespace("agent")
      .exactOptional()
      .meta({
        description:
          "Namespace to install it in, one that nothing else is in: gitlab-agent-<name>, or " +
          "gitlab-agent-<name>-<instance>, unless set. With serviceAccount it is yours to make, otherwise the program's.",
        examples: ["gitlab-agent-team-a"],
      }),
    release: label(longestRelease)
      .exactOptional()
      .meta({
        description:
          "Name of its Helm release: gitlab-agent-<name>, or gitlab-agent-<name>-<instance>, unless set. For an agent that " +
          "is taken over under another.",
        examples: ["gitlab-agent"],
      }),
    serviceAccount: objectName.exactOptional().meta({
      description:
        "ServiceAccount of yours to run it as, in a namespace of yours that must be set as namespace; the program makes " +
        "neither. Without it the chart makes an account that is cluster-admin.",
      examples: ["gitlab-agent"],
    }),
  })
  .superRefine(({ name, namespace, serviceAccount }, context) => {
    if (serviceAccount !== undefined && namespace === undefined)
      context.addIssue({
        code: "custom",
        path: ["namespace"],
        message:
          "must name the namespace of serviceAccount: the account is yours, in a namespace of yours, and the program " +
          "makes neither",
        params: { corrected: `gitlab-agent-${name}` },
      });
  })
  .meta({ dependencies: { serviceAccount: ["namespace"] } });

const agents = z
  .array(agent)
  .min(1)
  .superRefine((list, context) => {
    list.forEach(({ name }, index) => {
      if (list.findIndex((other) => other.name === name) < index)
        context.addIssue({
          code: "custom",
          path: [index, "name"],
          message: "is the name of an earlier agent too: each must be unique",
        });
    });
  });

/** Namespace of the proxy, which nothing else may be in. */
export function proxyNamespaceOf(instance: string | undefined): string {
  return instance === undefined ? "gitlab-workspaces" : `gitlab-workspaces-${instance}`;
}

/**
 * The schema of `agents` in an installation whose `instance` is known, and the namespace of its controller, if it is set: what they are called on the cluster depends on it,
 * and a name that cannot be has to be refused before half of the installation is there.
 */
export function agentsOf(instance: string | undefined, controllerNamespace?: string) {
  const own = (name: string) => (instance === undefined ? name : `${name}-${instance}`);
  const namespaceOf = (name: string) => own(`gitlab-agent-${name}`);
  const programs = [proxyNamespaceOf(instance), controllerNamespace ?? own("gitlab-ingress-controller")];
  return settings.agents.superRefine((list, context) => {
    const refuse = (path: readonly PropertyKey[], message: string, corrected: string) => {
      context.addIssue({ code: "custom", path: [...path], message, params: { corrected } });
    };
    for (const [index, { name, namespace, release }] of list.entries()) {
      const longest = longestRelease - namespaceOf("").length;
      if (release === undefined && name.length > longest && name.length <= longestLabel)
        refuse(
          [index, "name"],
          `must be at most ${longest} characters: the agent's Helm release is ${namespaceOf("<name>")}, and Helm takes ` +
            `${longestRelease} (https://github.com/helm/helm/blob/v3.19.0/pkg/chartutil/validate_name.go). Register it ` +
            "in GitLab under a shorter name",
          name.slice(0, longest).replace(/-+$/, ""),
        );
      if (namespace === undefined) continue;
      const other = list.findIndex((each, at) =>
        each.namespace === undefined
          ? namespace === namespaceOf(each.name)
          : at < index && namespace === each.namespace,
      );
      const holder = programs.includes(namespace) ? "the program itself" : other >= 0 ? `agents[${other}]` : undefined;
      if (holder !== undefined)
        refuse(
          [index, "namespace"],
          `must be a namespace for this agent alone, and this is the one of ${holder}`,
          namespaceOf(name),
        );
    }
  });
}

/** Every setting that is not a secret, as stack config holds it. */
export const settings = {
  domain: domain.meta({
    description: "DNS name of the workspaces proxy. Workspaces get names right below it.",
    examples: ["workspaces.example.com"],
  }),
  instance: label(20)
    .optional()
    .meta({
      description:
        "Name of this installation when it is not the first on its cluster; becomes part of the names of everything in it.",
      examples: ["team-a"],
    }),
  production: z
    .boolean()
    .default(false)
    .meta({
      description: "Refuse what is fit for trials only: self-signed certificates, an ingress controller nobody chose.",
      examples: [true],
    }),
  adopt: z
    .boolean()
    .default(false)
    .meta({
      description:
        "Take over what is on the cluster already under the names of this stack, instead of stopping at it: for one " +
        "`pulumi up`, see docs/adoption.md.",
      examples: [true],
    }),
  oauthClientId: applicationId.meta({
    description:
      "Application ID of the OAuth application in GitLab whose redirect URI is https://<domain>/auth/callback.",
    examples: ["5f0e0c0d9a1b"],
  }),
  cluster: cluster.meta({ description: "The Kubernetes cluster." }),
  ingress: ingress
    .default({ controller: "nginx" })
    .meta({ description: "The ingress controller. To be said explicitly in production." }),
  tls: tls.meta({ description: "Where the certificates for the domain and `*.<domain>` come from." }),
  proxy: z
    .strictObject({ ssh: ssh.meta({ description: "SSH into workspaces." }) })
    .prefault({})
    .meta({ description: "The workspaces proxy." }),
  agents: agents.meta({ description: "The GitLab agents to install, at least one." }),
  gitlab: z
    .strictObject({
      url: url("https", "http")
        .default("https://gitlab.com")
        .meta({ description: "Address of GitLab.", examples: ["https://gitlab.com"] }),
      kasAddress: url("wss", "ws", "grpcs", "grpc")
        .exactOptional()
        .meta({
          description:
            "Address of GitLab's agent server. Without it, derived from url: wss://kas.gitlab.com for " +
            "gitlab.com, wss://<host>/-/kubernetes-agent/ for any other.",
          examples: ["wss://kas.gitlab.com"],
        }),
    })
    .prefault({})
    .meta({ description: "The GitLab that the workspaces belong to." }),
  charts: z
    .strictObject({
      "ingress-nginx": chartOverride("ingress-nginx"),
      traefik: chartOverride("traefik"),
      "gitlab-workspaces-proxy": chartOverride("gitlab-workspaces-proxy", objectToProxyVersion),
      "gitlab-agent": chartOverride("gitlab-agent"),
    } satisfies Record<ChartName, z.ZodType>)
    .prefault({})
    .meta({ description: "Overrides per chart, for an air-gapped mirror or another version." }),
} as const;

/** Name of a setting at the top level of stack config. */
export type SettingName = keyof typeof settings;

/** The settings as JSON Schema: what editors, the reference and the remedies in messages are made from. */
export function settingsSchema() {
  return z.toJSONSchema(z.strictObject(settings), { io: "input", target: "draft-7" });
}

/** A secret key of stack config. `<agent>` in a key stands for the name of an entry of `agents`. */
export interface SecretKey {
  readonly description: string;
  /** When a stack must have it. */
  readonly required: string;
  /** File that people usually have it in: what the remedies say to read. */
  readonly file: string;
}

/**
 * Every secret of stack config. The key of `agentToken` carries the agent's name: see `agentTokenKey`. A nested `key`,
 * `token` or `secret` is taken to be the first here that ends so.
 */
export const secrets = {
  kubeconfig: {
    description: "Kubeconfig of the cluster, whole: certificates and tokens inside, no paths to files.",
    required: "cluster.cloud is self-managed",
    file: "kubeconfig.yaml",
  },
  oauthClientSecret: {
    description: "Secret of the OAuth application named by oauthClientId.",
    required: "always",
    file: "oauth-client-secret.txt",
  },
  agentToken: {
    description: "Token of the agent of that name, from GitLab.",
    required: "always, one for each entry of agents",
    file: "agent-token.txt",
  },
  tlsKey: {
    description: "PEM private key of tls.certificate, RSA or EC, without passphrase.",
    required: "tls.mode is provided",
    file: "privkey.pem",
  },
  wildcardTlsKey: {
    description: "PEM private key of tls.wildcardCertificate.",
    required: "tls.wildcardCertificate is set",
    file: "wildcard-privkey.pem",
  },
  signingKey: {
    description:
      "Key that signs the proxy's session cookies, at least 16 characters. Made by the program unless set. A change logs everybody out.",
    required: "never",
    file: "signing-key.txt",
  },
  sshHostKey: {
    description:
      "PEM private key that the proxy shows to SSH clients: RSA, ECDSA or ed25519, without passphrase. Made by the program unless set.",
    required: "never",
    file: "ssh-host-key.pem",
  },
} as const satisfies Record<string, SecretKey>;

/** Name of a secret, without the agent's name in the case of `agentToken`. */
export type SecretName = keyof typeof secrets;

/** The names of {@link secrets}, in the same order. */
export const secretNames = Object.keys(secrets) as readonly SecretName[];

/** Key of the token of one agent. */
export function agentTokenKey(agentName: string): string {
  return `agentToken-${agentName}`;
}

/** A PEM certificate chain, leaf first, with the private key of its leaf. */
export interface KeyPair {
  readonly certificate: string;
  readonly key: Secret;
}

/** The cluster to install on: the text of one cloud's settings and the secrets that only this cloud has. */
export type ClusterConfig =
  | AksConfig
  | CivoConfig
  | EksConfig
  | GkeConfig
  | (Readonly<Extract<z.output<typeof cluster>, { cloud: "self-managed" }>> & { readonly kubeconfig: Secret });

/** The ingress controller to install or to use. */
export type IngressConfig = Readonly<z.output<typeof ingress>>;

/** Where the certificates come from. `wildcard` is `domain`'s own pair when one certificate covers both names. */
export type TlsConfig =
  | { readonly mode: "self-signed" }
  | { readonly mode: "provided"; readonly domain: KeyPair; readonly wildcard: KeyPair };

/**
 * One GitLab agent. Without `serviceAccount` the chart makes one that is cluster-admin; with it, there is a `namespace`,
 * and that is the user's.
 */
export type AgentConfig = Readonly<z.output<typeof agent>> & { readonly token: Secret };

/** Where a chart comes from and what is merged over the program's own values. */
export interface ChartConfig {
  readonly repository: string;
  readonly version: string;
  /** Seconds. */
  readonly timeout: number;
  readonly values: Record<string, unknown>;
}

/** All that a stack says, checked. */
export interface Config {
  /** Absent for the first installation on a cluster, which has the names of GitLab's documentation. */
  readonly instance?: string;
  readonly production: boolean;
  /** Import what is there already under the names of this stack. */
  readonly adopt: boolean;
  /** DNS name of the proxy; a workspace is `<port>-<name>.<domain>`. */
  readonly domain: string;
  readonly oauthClientId: string;
  readonly cluster: ClusterConfig;
  readonly ingress: IngressConfig;
  readonly tls: TlsConfig;
  readonly proxy: Readonly<z.output<typeof settings.proxy>>;
  /** At least one, of unique names. */
  readonly agents: readonly AgentConfig[];
  readonly gitlab: {
    /** Without trailing slash. */
    readonly url: string;
    readonly kasAddress: string;
  };
  readonly charts: { readonly [name in ChartName]: ChartConfig };
  readonly oauthClientSecret: Secret;
  readonly signingKey?: Secret;
  readonly sshHostKey?: Secret;
  /** What every preview must say: legal, but to be known. */
  readonly warnings: readonly string[];
}
