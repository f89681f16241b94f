/** A Helm chart as the program installs it unless stack config says otherwise. */
export interface Chart {
  /** URL of the Helm repository that holds it. */
  readonly repository: string;
  /** Exact version: a preview today and one next month install the same chart. */
  readonly version: string;
}

/**
 * Every chart the program can install. The key is the name of the chart in its repository, and under `charts` in stack config, where repository,
 * version and values can be overridden.
 */
export const charts = {
  /** Last release before upstream was archived in March 2026: https://github.com/kubernetes/ingress-nginx */
  "ingress-nginx": {
    repository: "https://kubernetes.github.io/ingress-nginx",
    version: "4.15.1",
  },
  /** Earlier ones bring a proxy with published advisories: https://github.com/traefik/traefik-helm-chart/releases/tag/v41.7.1 */
  traefik: { repository: "https://traefik.github.io/charts", version: "41.7.1" },
  /** https://docs.gitlab.com/user/workspace/set_up_gitlab_agent_and_proxies/ installs this version. */
  "gitlab-workspaces-proxy": {
    repository:
      "https://gitlab.com/api/v4/projects/gitlab-org%2fworkspaces%2fgitlab-workspaces-proxy/packages/helm/devel",
    version: "0.1.25",
  },
  /** https://docs.gitlab.com/user/clusters/agent/install/ */
  "gitlab-agent": { repository: "https://charts.gitlab.io", version: "2.26.0" },
} as const satisfies Record<string, Chart>;

/** Name of a chart in stack config. */
export type ChartName = keyof typeof charts;

/** The oldest workspaces proxy chart that GitLab calls safe: older ones leak secrets or cookies. */
export const oldestProxyChart = "0.1.23";
