/**
 * How the namespaces begin that the agent makes, one for each workspace:
 * https://docs.gitlab.com/user/workspace/configuration/
 */
export const workspaceNamespaces = "gl-rd-ns-";

/** What things are called on the cluster. */
export interface Names {
  /** Namespace of the proxy: what the agents' configuration calls `gitlab_workspaces_proxy.namespace`. */
  readonly proxyNamespace: string;
  readonly proxyRelease: string;
  readonly ingressNamespace: string;
  /** Release of the ingress controller's chart, and how its cluster-wide objects begin. */
  readonly ingressRelease: (chart: string) => string;
  /** IngressClass of a controller that the program installs. */
  readonly ingressClass: (controller: string) => string;
  readonly agentNamespace: (agent: string) => string;
  readonly agentRelease: (agent: string) => string;
  /** Policy that keeps the autoscaler from evicting workspaces. */
  readonly evictionPolicy: string;
}

/**
 * The first instance on a cluster has the names of GitLab's documentation
 * (https://docs.gitlab.com/user/workspace/set_up_gitlab_agent_and_proxies/); a named instance adds its name, so that
 * two of them share a cluster. Release names keep the chart's name inside: the charts derive object names from it, and
 * every workspace's NetworkPolicy matches the label that goes with it.
 */
export function names(instance?: string): Names {
  const own = (name: string): string => (instance === undefined ? name : `${name}-${instance}`);
  return {
    proxyNamespace: own("gitlab-workspaces"),
    proxyRelease: own("gitlab-workspaces-proxy"),
    ingressNamespace: own("gitlab-ingress-controller"),
    ingressRelease: own,
    ingressClass: own,
    agentNamespace: (agent) => own(`gitlab-agent-${agent}`),
    agentRelease: (agent) => own(`gitlab-agent-${agent}`),
    evictionPolicy: own("gitlab-workspaces-evictions"),
  };
}
