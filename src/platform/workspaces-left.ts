import { AppsV1Api, CoreV1Api, NetworkingV1Api, type V1Ingress } from "@kubernetes/client-node";
import type { dynamic } from "@pulumi/pulumi";
import { LiveCluster } from "../live-cluster";
import { workspaceNamespaces } from "./names";

/** A workspace as the cluster shows it. */
interface Workspace {
  readonly namespace: string;
  /** Name of its Deployment, which is its name in GitLab; its namespace's when there is none (yet). */
  readonly name: string;
  readonly running: boolean;
}

/** Annotation of a workspace's Service, `{{.port}}-<workspace>.<domain>`: it tells whose workspace it is. */
const hostTemplate = "workspaces.gitlab.com/host-template";

/**
 * The workspaces on a cluster, running or stopped: a stopped one still holds its volume. Left out are those that say that
 * they belong to another installation which is there; one that does not say, or names a domain that nobody serves, counts.
 * @param served hosts that other installations serve.
 * @throws what the API server's client throws.
 */
async function workspaces(cluster: LiveCluster, domain: string, served: ReadonlySet<string>): Promise<Workspace[]> {
  const core = cluster.config.makeApiClient(CoreV1Api);
  const apps = cluster.config.makeApiClient(AppsV1Api);
  const { items } = await cluster.answer(core.listNamespace());
  const namespaces = items
    .flatMap(({ metadata }) => metadata?.name ?? [])
    .filter((name) => name.startsWith(workspaceNamespaces));
  const found = await Promise.all(
    namespaces.map(async (namespace) => {
      const [services, deployments] = await Promise.all([
        cluster.answer(core.listNamespacedService({ namespace })),
        cluster.answer(apps.listNamespacedDeployment({ namespace })),
      ]);
      const zones = services.items.flatMap(({ metadata }) => metadata?.annotations?.[hostTemplate] ?? []).map(zoneOf);
      if (zones.some((zone) => zone !== domain && served.has(zone)) && !zones.includes(domain)) return [];
      const name = deployments.items[0]?.metadata?.name ?? namespace;
      return [{ namespace, name, running: deployments.items.some(({ spec }) => (spec?.replicas ?? 1) > 0) }];
    }),
  );
  return found.flat();
}

/** The domain in a host template: what follows the first dot that is not the placeholder's. */
function zoneOf(host: string): string {
  return host.replace("{{.port}}", "").split(".").slice(1).join(".");
}

/** What the guard has of its stack, in state. */
interface Guarded {
  readonly stack: string;
  readonly kubeconfig: string;
  readonly domain: string;
  readonly proxyNamespace: string;
  readonly ingressClass?: string;
}

/**
 * Variable in the environment of `pulumi destroy` that lets a stack with workspaces go. Not a key of stack config: what
 * is meant for one command must not be there for the next, and a destroy sees config only as of the last `up`.
 */
const allowance = { variable: "GITLAB_WORKSPACES_ALLOW", value: "destroy-with-workspaces" };

/** Most workspaces that a refusal lists. */
const listed = 20;

/**
 * Why a stack must not be destroyed now, or undefined. What cannot be found out is a reason, too.
 */
export async function objection(guarded: Guarded): Promise<string | undefined> {
  const { stack, domain } = guarded;
  const inSpiteOf = `To destroy it all the same:\n  ${allowance.variable}=${allowance.value} pulumi destroy --stack ${stack}`;
  const cluster = new LiveCluster(guarded.kubeconfig);
  let left: Workspace[];
  let others: string[];
  try {
    const foreign = await foreignIngresses(cluster, guarded);
    const hosts = foreign.flatMap(({ spec }) => spec?.rules ?? []).flatMap(({ host }) => host ?? []);
    left = await workspaces(cluster, domain, new Set(hosts));
    others = foreign
      .filter((ingress) => guarded.ingressClass !== undefined && classOf(ingress) === guarded.ingressClass)
      .map(({ metadata }) => `${metadata?.namespace ?? ""}/${metadata?.name ?? ""}`);
  } catch (error) {
    return [
      "It cannot be told whether anybody's workspaces are on the cluster. Nothing was touched.",
      cluster.reason(error, "list namespaces"),
      "The kubeconfig is the one of the last up. With a new one in stack config:",
      `  pulumi up --stack ${stack}`,
      `  pulumi destroy --stack ${stack}`,
      inSpiteOf,
    ].join("\n");
  }
  const reasons = [
    ...(left.length === 0
      ? []
      : [
          `${left.length === 1 ? "1 workspace is" : `${left.length} workspaces are`} left on ${domain}. Without this ` +
            "stack nobody reaches a workspace and GitLab no longer manages it; with the cluster its files go too.",
          ...left
            .slice(0, listed)
            .map(({ namespace, name, running }) => `  ${name} (${running ? "running" : "stopped"}, ${namespace})`),
          ...(left.length > listed ? [`  and ${left.length - listed} more`] : []),
          "Have them terminated in GitLab first; their namespaces then go by themselves.",
        ]),
    ...(others.length === 0
      ? []
      : [
          `The ingress controller of this stack serves others, who would be cut off: ${others.join(", ")}.`,
          "Give them another ingressClassName first.",
        ]),
  ];
  return reasons.length === 0 ? undefined : ["Nothing was touched.", ...reasons, inSpiteOf].join("\n");
}

/** Ingresses that are not this stack's. */
async function foreignIngresses(cluster: LiveCluster, { proxyNamespace }: Guarded): Promise<V1Ingress[]> {
  const networking = cluster.config.makeApiClient(NetworkingV1Api);
  const { items } = await cluster.answer(networking.listIngressForAllNamespaces());
  return items.filter(({ metadata }) => metadata?.namespace !== proxyNamespace);
}

/** The class, as the field has it or the annotation that came before: controllers serve either. */
function classOf({ metadata, spec }: V1Ingress): string | undefined {
  return spec?.ingressClassName ?? metadata?.annotations?.["kubernetes.io/ingress.class"];
}

/** What the engine calls for the guard: https://www.pulumi.com/docs/iac/concepts/providers/dynamic-providers/ */
class Guard implements dynamic.ResourceProvider<Guarded, Guarded> {
  /** Ends the process with the engine, which holds the other end of its input: nobody else would, once that was killed. */
  configure(): Promise<void> {
    process.stdin.once("end", () => process.exit()).resume();
    return Promise.resolve();
  }

  diff(_: string, olds: Guarded, news: Guarded): Promise<dynamic.DiffResult> {
    const keys = [...new Set([...Object.keys(olds), ...Object.keys(news)])] as (keyof Guarded)[];
    return Promise.resolve({ changes: keys.some((key) => olds[key] !== news[key]) });
  }

  create(guarded: Guarded): Promise<dynamic.CreateResult<Guarded>> {
    return Promise.resolve({ id: "destroy-guard", outs: guarded });
  }

  update(_id: string, _olds: Guarded, guarded: Guarded): Promise<dynamic.UpdateResult<Guarded>> {
    return Promise.resolve({ outs: guarded });
  }

  async delete(_: string, guarded: Guarded): Promise<void> {
    if (process.env[allowance.variable] === allowance.value) return;
    const reason = await objection(guarded);
    if (reason === undefined) return;
    // The message is what the engine shows; the rest, which goes to the log beside it, would only say it again.
    throw Object.assign(new Error(reason), { stack: "see below", toString: () => "The destroy guard refused" });
  }
}

export const guard: dynamic.ResourceProvider = new Guard();
