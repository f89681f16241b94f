import { createPrivateKey, X509Certificate } from "node:crypto";
import { liveCluster, type LiveCluster } from "./cluster";
import { type Codes, type Finding, findings } from "./finding";
import { isOf, namespacesOf, releasesOf } from "./installed";
import { type Broken, brokenReferencesOf, type IngressSpec, type Live } from "./live-references";
import type { Check, Patient } from "./patient";

const restoreOwn = ["pulumi up --refresh --stack <stack>"];
const restoreChart = [
  "helm get manifest <release> --namespace <namespace> | kubectl apply --namespace <namespace> -f -",
];
const restoreBoth = [...restoreChart, ...restoreOwn];

/** What can be wrong with what one object on the cluster says of another. */
export const codes = {
  GW401: {
    severity: "error",
    title: "A Secret, a ConfigMap or a key in one is not there",
    meaning:
      "Something names it and does not find it. Pods that run go on; the next one does not start " +
      "(CreateContainerConfigError), and an ingress controller serves its own default certificate instead of a missing " +
      "one. Somebody or something deleted or changed it by hand: the refresh notices, the `up` puts it back.",
    fix: restoreOwn,
  },
  GW402: {
    severity: "error",
    title: "A ServiceAccount, a Service or a Service's port is not there",
    meaning:
      "It belongs to a chart, and something names it. Without its ServiceAccount no new pod is made; without its Service " +
      "or port nobody reaches the pods. It was deleted or changed by hand, and neither `up` nor Helm would notice: what " +
      "Helm installed is applied again, and what the stack itself made is made again. If a chart's values of your own change ports or names, mend them instead.",
    fix: restoreBoth,
  },
  GW403: {
    severity: "error",
    title: "The IngressClass of the program's own controller is not there",
    meaning:
      "The proxy's Ingress names it, so no controller serves the proxy: people get a 404 or a refused connection. It was " +
      "deleted by hand, and neither `up` nor Helm would notice: what Helm installed is applied again.",
    fix: restoreChart,
  },
  GW404: {
    severity: "error",
    title: "No Ingress for the domain or for its wildcard",
    meaning:
      "Nobody reaches the sign-in (the domain) or any workspace (the wildcard). The Ingress was deleted by hand, which the " +
      "first command puts right; or the chart made none, as a proxy chart from 0.1.16 on does with values of an older one, " +
      "without any error: then take your own values for it out of `charts`.",
    fix: [
      ...restoreChart,
      "pulumi config get --path gitlab-workspaces:charts.gitlab-workspaces-proxy --stack <stack>",
      "pulumi up --stack <stack>",
    ],
  },
  GW405: {
    severity: "error",
    title: "An Ingress has no class",
    meaning:
      "Only a controller that is the cluster's default would serve it, and perhaps not the one that the domain points at. " +
      "A chart's value `ingress.className` of your own is empty, or the class was removed by hand.",
    fix: restoreBoth,
  },
  GW406: {
    severity: "error",
    title: "A Service or a disruption budget selects no pods",
    meaning:
      "A Service without pods answers 503; a budget without pods protects nothing when nodes are drained. The labels of " +
      "the pods changed and the selector did not, or the other way round: a `nameOverride` does that, and an upgrade that " +
      "failed half way.",
    fix: restoreBoth,
  },
  GW407: {
    severity: "error",
    title: "Another Ingress claims the same host",
    meaning:
      "Which of the two the controller serves is chance, or the older one: people may land somewhere else, with their " +
      "session cookie. One of them must go, and whose host it is only a person can say: the commands show whose the other " +
      "Ingress is. If that is a second installation, give it a domain of its own.",
    fix: [
      "kubectl describe ingress <name> --namespace <namespace>",
      "kubectl get ingress <name> --namespace <namespace> --output yaml",
    ],
  },
  GW408: {
    severity: "error",
    title: "A certificate does not cover the host that it is for",
    meaning:
      "Browsers refuse the page, and for a workspace there is no way to go on. Usually the two certificates were swapped: " +
      "`*.example.com` does not cover `example.com`. If the Secret was changed by hand, the commands put it back; if " +
      "stack config has the wrong certificate, set the right one (`tls.certificate`, `tls.wildcardCertificate`) first.",
    fix: restoreOwn,
  },
  GW409: {
    severity: "error",
    title: "A certificate and its private key do not belong together",
    meaning:
      "The ingress controller cannot use the pair and serves its own default certificate, which browsers refuse. One of " +
      "the two was renewed without the other.",
    fix: restoreOwn,
  },
  GW410: {
    severity: "error",
    title: "A TLS Secret cannot be read",
    meaning:
      "What stands in it is no certificate or no private key in PEM, so the ingress controller serves its own default " +
      "certificate, which browsers refuse.",
    fix: restoreOwn,
  },
  GW411: {
    severity: "error",
    title: "An Ingress serves a host without TLS, or has TLS for a host that it does not serve",
    meaning:
      "The controller serves its default certificate for that host, or plain HTTP. The Ingress was changed by hand, or a " +
      "chart's values of your own name other hosts under `ingress.hosts` than under `ingress.tls`.",
    fix: restoreBoth,
  },
  GW412: {
    severity: "error",
    title: "The IngressClass of the existing controller is not there",
    meaning:
      "Stack config names a class that the cluster does not have, so no controller serves the proxy: people get a 404 or a " +
      "refused connection. The controller was removed, or its class has another name: set the right one.",
    fix: [
      "kubectl get ingressclasses",
      "pulumi config set --path gitlab-workspaces:ingress.className --stack <stack>",
      "pulumi up --stack <stack>",
    ],
  },
} satisfies Codes;

const finding = findings(codes);

const kinds = [
  "ConfigMap",
  "DaemonSet",
  "Deployment",
  "Ingress",
  "PodDisruptionBudget",
  "Service",
  "ServiceAccount",
  "StatefulSet",
] as const;

/** Everything that references can lead to, in the namespaces of the installation. */
async function objects(cluster: LiveCluster, namespaces: readonly string[]): Promise<Live[]> {
  const lists = namespaces.flatMap((namespace) => [
    ...kinds.map((kind) => cluster.list(kind, { namespace })),
    secrets(cluster, namespace),
  ]);
  return (await Promise.all([...lists, cluster.list("IngressClass")])).flat();
}

/** Secrets that something can name: what Helm keeps there is large, and nothing but Helm's. */
async function secrets(cluster: LiveCluster, namespace: string): Promise<Live[]> {
  return await cluster.list("Secret", { namespace, fields: "type!=helm.sh/release.v1" });
}

/** Whether everything that the installation's objects name is there. An agent's namespace may hold what is none of ours. */
export const references: Check = {
  name: "references",
  async run({ stack, installation, cluster }) {
    const all = await objects(liveCluster(cluster), namespacesOf(installation));
    const own = releasesOf(installation);
    const ours = all.filter(
      (object) =>
        own.some((release) => isOf(release, object) || object.metadata.name === release.release) ||
        object.metadata.namespace === installation.proxy.namespace,
    );
    return brokenReferencesOf(ours, all).map((broken) => {
      const { namespace = "" } = broken.from.metadata;
      const code = codeOf(broken, installation.ingress.release !== undefined);
      const { release } = own.find((one) => isOf(one, broken.from)) ?? installation.proxy;
      const maker = code === "GW403" ? installation.ingress.release : { namespace, release };
      return finding(code, `${broken.line} (namespace ${namespace})`, { stack, ...maker });
    });
  },
};

function codeOf({ missing, from }: Broken, ownController: boolean): keyof typeof codes {
  switch (missing) {
    case "Secret":
    case "ConfigMap":
      return "GW401";
    case "ServiceAccount":
    case "Service":
    case "Port":
      return "GW402";
    case "IngressClass":
      if ((from.spec as IngressSpec).ingressClassName === undefined) return "GW405";
      return ownController ? "GW403" : "GW412";
    case "Pods":
      return "GW406";
    case "Host":
      return "GW411";
  }
}

const hostsOf = (ingress: Live): string[] =>
  ((ingress.spec as IngressSpec).rules ?? []).flatMap(({ host }) => (host === undefined ? [] : [host]));

/** Whether the domain and its wildcard have an Ingress, and nobody else's. */
export const hosts: Check = {
  name: "hosts",
  async run({ stack, installation: { domain, proxy }, cluster }) {
    const live = liveCluster(cluster);
    const { namespace, release } = proxy;
    const own = await live.list("Ingress", { namespace });
    // The Ingress that closes /metrics has the same hosts and leads nowhere.
    const serving = own.filter((ingress) => isOf(proxy, ingress)).flatMap(hostsOf);
    const wanted = [domain, `*.${domain}`];
    const missing = wanted.filter((host) => !serving.includes(host));
    const found: Finding[] = missing.map((host) =>
      finding("GW404", `No Ingress of ${release} in namespace ${namespace} for ${host}.`, {
        stack,
        namespace,
        release,
      }),
    );
    for (const other of await live.list("Ingress")) {
      const { name, namespace: elsewhere = "" } = other.metadata;
      const claimed = elsewhere === namespace ? [] : hostsOf(other).filter((host) => wanted.includes(host));
      if (claimed.length === 0) continue;
      const seen = `Ingress ${name} in namespace ${elsewhere} claims ${[...new Set(claimed)].join(" and ")} too.`;
      found.push(finding("GW407", seen, { name, namespace: elsewhere }));
    }
    return found;
  },
};

/** Whether the TLS Secrets of the proxy's Ingresses can serve the hosts that name them. */
export const certificates: Check = {
  name: "TLS Secrets",
  async run({ stack, installation: { proxy }, cluster }: Patient) {
    const live = liveCluster(cluster);
    const { namespace } = proxy;
    const [ingresses, all] = await Promise.all([live.list("Ingress", { namespace }), secrets(live, namespace)]);
    const hostsBySecret = new Map<string, Set<string>>();
    for (const { secretName, hosts: named = [] } of ingresses.flatMap(({ spec }) => (spec as IngressSpec).tls ?? [])) {
      if (secretName === undefined) continue;
      hostsBySecret.set(secretName, new Set([...(hostsBySecret.get(secretName) ?? []), ...named]));
    }
    return [...hostsBySecret].flatMap(([name, named]) => {
      const data = all.find(({ metadata }) => metadata.name === name)?.data;
      // A Secret or key that is not there is a reference that leads nowhere.
      if (data?.["tls.crt"] === undefined || data["tls.key"] === undefined) return [];
      const decoded = (key: string): string => Buffer.from(data[key] ?? "", "base64").toString();
      return pairFaults(decoded("tls.crt"), decoded("tls.key"), [...named]).map(({ code, seen }) =>
        finding(code, `Secret ${name} in namespace ${namespace}: ${seen}`, { stack }),
      );
    });
  },
};

/**
 * What keeps a certificate and its key from serving hosts.
 * @param certificate PEM, the server's own first.
 * @param key PEM. Nothing of it is in what is returned.
 */
export function pairFaults(
  certificate: string,
  key: string,
  hosts: readonly string[],
): { code: "GW408" | "GW409" | "GW410"; seen: string }[] {
  let parsed: X509Certificate;
  try {
    parsed = new X509Certificate(certificate);
  } catch {
    return [{ code: "GW410", seen: "tls.crt is no certificate in PEM." }];
  }
  const covered = parsed.subjectAltName ?? "no DNS names at all";
  const uncovered = hosts.filter((host) => !covers(parsed, host));
  const faults: ReturnType<typeof pairFaults> = uncovered.map((host) => ({
    code: "GW408",
    seen: `the certificate is for ${covered}, not for ${host}.`,
  }));
  try {
    if (!parsed.checkPrivateKey(createPrivateKey(key)))
      faults.push({ code: "GW409", seen: "tls.key is not the key of tls.crt." });
  } catch {
    faults.push({ code: "GW410", seen: "tls.key is no private key in PEM." });
  }
  return faults;
}

/** A wildcard is covered by the very same wildcard alone; any host below it stands for all of them. */
function covers(certificate: X509Certificate, host: string): boolean {
  const name = host.startsWith("*.") ? `any-workspace${host.slice(1)}` : host;
  return certificate.checkHost(name, { subject: "never" }) !== undefined;
}
