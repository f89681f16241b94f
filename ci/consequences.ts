import type { Operation, Outlook } from "./changes";
import { clusterTypes } from "./policy/resource-rules";

/** What changes mean for people. */
export interface Consequence {
  /** `danger` for what cannot be taken back or cuts people off, `notice` for what they will see. */
  readonly level: "danger" | "notice";
  /** One sentence or two, whose values, if any, stand in `values`. */
  readonly text: string;
  /** Values of the program or the stack config that belong to it, in order. Not secret, but written by anybody. */
  readonly values: readonly string[];
}

interface Rule {
  readonly types: RegExp;
  readonly names?: RegExp;
  readonly ops: readonly Operation[];
  readonly level: Consequence["level"];
  readonly text: string;
}

const gone: readonly Operation[] = ["replace", "delete"];
const changed: readonly Operation[] = ["update", "replace", "delete"];

const clusters = new RegExp(`^(${clusterTypes.map((type) => type.replaceAll("/", "\\/")).join("|")})$`);

/** The gravest first: a comment is read from its beginning. */
const rules: readonly Rule[] = [
  {
    types: clusters,
    ops: gone,
    level: "danger",
    text:
      "The cluster is taken away: all workspaces on it are lost, with every file in them that was not pushed. " +
      "Have people push their work and terminate their workspaces first.",
  },
  {
    types: /^pulumi:providers:kubernetes$/,
    ops: gone,
    level: "danger",
    text: "It is another cluster from here on: everything is made anew there, and the workspaces of the one before are cut off.",
  },
  {
    types:
      /^(gcp:compute\/(network:Network|subnetwork:Subnetwork)|aws:ec2\/(vpc:Vpc|subnet:Subnet)|azure-native:network:(VirtualNetwork|Subnet)|civo:index\/network:Network|azure-native:resources:ResourceGroup)$/,
    ops: gone,
    level: "danger",
    text: "The network below the cluster is taken away, and the cluster may have to go with it, and every workspace with the cluster.",
  },
  {
    types:
      /^(gcp:container\/nodePool:NodePool|aws:eks\/nodeGroup:NodeGroup|azure-native:containerservice:AgentPool|kubernetes:karpenter\.sh\/v1:NodePool)$/,
    ops: gone,
    level: "danger",
    text: "Nodes are taken away: workspaces on them are restarted elsewhere, and what runs in them ends.",
  },
  {
    types: /^kubernetes:core\/v1:Namespace$/,
    ops: gone,
    level: "danger",
    text: "A namespace is taken away with everything in it; nobody reaches a workspace until it is whole again.",
  },
  {
    types: /^kubernetes:helm\.sh\/v3:Release$/,
    names: /^(traefik|ingress-nginx)$/,
    ops: gone,
    level: "danger",
    text:
      "The ingress controller is taken away: nobody reaches a workspace until its successor runs, and unless the cloud keeps " +
      "the address, until DNS leads to the new one.",
  },
  {
    types: /^kubernetes:helm\.sh\/v3:Release$/,
    names: /^workspaces-proxy$/,
    ops: gone,
    level: "danger",
    text: "The proxy is taken away: nobody reaches a workspace until its successor runs.",
  },
  {
    types: /^kubernetes:helm\.sh\/v3:Release$/,
    names: /^gitlab-agent-/,
    ops: gone,
    level: "danger",
    text: "An agent is taken away: its workspaces can be neither started nor stopped while it is not there.",
  },
  {
    types: /^(gcp:compute\/address:Address|azure-native:network:PublicIPAddress|civo:index\/reservedIp:ReservedIp)$/,
    ops: gone,
    level: "danger",
    text: "A public address changes: nobody finds the proxy until the DNS records are changed.",
  },
  {
    types: /^random:index\/randomPassword:RandomPassword$/,
    names: /^signing-key$/,
    ops: gone,
    level: "notice",
    text: "Everybody is signed out of their workspaces and has to sign in again.",
  },
  {
    types: /^tls:index\/privateKey:PrivateKey$/,
    names: /^ssh-host-key$/,
    ops: gone,
    level: "notice",
    text: "The SSH host key changes: every SSH client warns of it and refuses.",
  },
  {
    types: /^kubernetes:core\/v1:Secret$/,
    names: /-tls-(domain|wildcard)$/,
    ops: ["create", ...changed],
    level: "notice",
    text: "The certificate in the cluster changes.",
  },
  {
    types: /^kubernetes:core\/v1:Secret$/,
    names: /^workspaces-proxy-config$/,
    ops: changed,
    level: "notice",
    text: "The proxy's settings change: its pods restart one after the other, and open connections to workspaces are cut once.",
  },
  {
    types: /^kubernetes:helm\.sh\/v3:Release$/,
    names: /^(workspaces-proxy|traefik|ingress-nginx)$/,
    ops: ["update"],
    level: "notice",
    text: "Proxy or ingress controller are upgraded in place: open connections to workspaces are cut once.",
  },
];

/** What people have to know of changes, the gravest first. */
export function consequences({ changes, resources, outputs }: Outlook): Consequence[] {
  // Of what is all new nobody loses anything: the outputs are the one that nothing makes.
  const created = changes.filter(({ op }) => op === "create").length;
  const first = created === changes.length && created >= resources.length - 1;
  const found = first
    ? []
    : rules.flatMap(({ types, names, ops, level, text }): Consequence[] => {
        const about = changes.filter(
          ({ op, type, name }) => ops.includes(op) && types.test(type) && (names?.test(name) ?? true),
        );
        return about.length === 0 ? [] : [{ level, text, values: about.map(({ name }) => name) }];
      });
  return [...found, ...addresses(outputs)];
}

/** What the stack's outputs say of where it is found. */
function addresses({ before, after }: Outlook["outputs"]): Consequence[] {
  const differs = (name: string): boolean =>
    before[name] !== undefined &&
    after[name] !== undefined &&
    JSON.stringify(before[name]) !== JSON.stringify(after[name]);
  const shown = (name: string): string[] => [before, after].map((outputs) => text(outputs[name]));
  return [
    ...(differs("workspacesUrl")
      ? [
          {
            level: "danger" as const,
            text:
              "The proxy moves to another domain: every workspace has another URL, and nobody can sign in before the OAuth " +
              "application has the new redirect URI, the certificate the new names and DNS the new records.",
            values: shown("workspacesUrl"),
          },
        ]
      : []),
    ...(differs("ingressAddress")
      ? [
          {
            level: "danger" as const,
            text: "The address of the ingress changes: DNS has to lead to the new one.",
            values: shown("ingressAddress"),
          },
        ]
      : []),
    ...(before["ingressAddress"] !== undefined && after["ingressAddress"] === undefined
      ? [
          {
            level: "notice" as const,
            text: "The address of the ingress may change: nobody knows it before the deployment. It is",
            values: [text(before["ingressAddress"])],
          },
        ]
      : []),
    ...(differs("dnsRecords")
      ? [{ level: "notice" as const, text: "The DNS records change: see the stack's output dnsRecords.", values: [] }]
      : []),
  ];
}

function text(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}
