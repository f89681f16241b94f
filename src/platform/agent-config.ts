import { stringify } from "yaml";

/** Arguments of {@link agentConfig}. */
export interface AgentConfigArgs {
  readonly domain: string;
  readonly proxyNamespace: string;
}

/**
 * What to commit in the agent's project as `.gitlab/agents/<agent>/config.yaml`
 * (https://docs.gitlab.com/user/workspace/settings/). Workspaces reach the internet, but neither private networks nor the
 * cloud's metadata service, whose address GitLab's own default leaves open.
 */
export function agentConfig({ domain, proxyNamespace }: AgentConfigArgs): string {
  return stringify({
    remote_development: {
      enabled: true,
      dns_zone: domain,
      gitlab_workspaces_proxy: { namespace: proxyNamespace },
      network_policy: {
        enabled: true,
        egress: [
          {
            allow: "0.0.0.0/0",
            except: ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.169.254/32"],
          },
        ],
      },
    },
  });
}
