import * as pulumi from "@pulumi/pulumi";
import { createCluster } from "./cluster";
import type { Config, Secret } from "./config/schema";
import { agentConfig } from "./platform/agent-config";
import { type DnsRecord, dnsRecords } from "./platform/dns-records";
import { GeneratedSecrets } from "./platform/generated-secrets";
import { GitLabAgent } from "./platform/gitlab-agent";
import { createIngressController } from "./platform/ingress";
import { names } from "./platform/names";
import { WorkspacesProxy } from "./platform/workspaces-proxy";

/** What a stack hands to people and to other stacks. An API: renaming one is a breaking change. */
export interface Outputs {
  /** Where the proxy answers, `https://<domain>`. */
  readonly workspacesUrl: string;
  /** Redirect URI to enter, to the letter, in the OAuth application in GitLab. */
  readonly oauthRedirectUri: string;
  /** IP address or host name that the domain must resolve to; undefined until the load balancer has one. */
  readonly ingressAddress: pulumi.Output<string | undefined>;
  /** Records to create at the DNS host, until then nobody finds the proxy. */
  readonly dnsRecords: pulumi.Output<DnsRecord[]>;
  /** File in the agent's project -> what to commit there. */
  readonly agentConfig: Readonly<Record<string, string>>;
  /** Kubeconfig of the cluster. Secret. */
  readonly kubeconfig: Secret;
}

/** Reads top to bottom: a cluster, an ingress controller, the proxy and the agents on it, and what the operator needs to know. */
export async function deploy(config: Config): Promise<Outputs> {
  for (const warning of config.warnings) await pulumi.log.warn(warning);

  const cluster = await createCluster(config.cluster);
  const on = { provider: cluster.provider };
  const { charts, domain } = config;
  const loadBalancerAnnotations = cluster.loadBalancer.annotations;
  const own = names(config.instance);
  const { signingKey, sshHostKey } = new GeneratedSecrets("generated-secrets", config);

  const ingress = createIngressController({ config: config.ingress, charts, names: own, loadBalancerAnnotations }, on);
  const proxy = new WorkspacesProxy(
    "workspaces-proxy",
    {
      domain,
      gitlabUrl: config.gitlab.url,
      oauthClientId: config.oauthClientId,
      oauthClientSecret: config.oauthClientSecret,
      signingKey,
      sshHostKey,
      tls: config.tls,
      ssh: config.proxy.ssh,
      ingress,
      chart: charts["gitlab-workspaces-proxy"],
      names: own,
      loadBalancerAnnotations,
    },
    on,
  );
  for (const agent of config.agents) {
    const { kasAddress } = config.gitlab;
    new GitLabAgent(`gitlab-agent-${agent.name}`, { agent, kasAddress, chart: charts["gitlab-agent"], names: own }, on);
  }

  const toCommit = agentConfig({ domain, proxyNamespace: own.proxyNamespace });
  return {
    workspacesUrl: proxy.url,
    oauthRedirectUri: proxy.redirectUri,
    ingressAddress: proxy.address,
    dnsRecords: dnsRecords({ domain, address: proxy.address, sshAddress: proxy.sshAddress }),
    agentConfig: Object.fromEntries(config.agents.map(({ name }) => [`.gitlab/agents/${name}/config.yaml`, toCommit])),
    kubeconfig: cluster.kubeconfig,
  };
}
