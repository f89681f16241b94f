import * as pulumi from "@pulumi/pulumi";
import { type Cluster, createCluster } from "./cluster";
import type { Config, Secret, TlsConfig } from "./config/schema";
import { agentConfig } from "./platform/agent-config";
import { DestroyGuard } from "./platform/destroy-guard";
import { type DnsRecord, dnsRecords } from "./platform/dns-records";
import { EvictionPolicy } from "./platform/eviction-policy";
import { GeneratedSecrets } from "./platform/generated-secrets";
import type { InstalledRelease } from "./platform/chart-release";
import { GitLabAgent, type InstalledAgent } from "./platform/gitlab-agent";
import { createIngressController } from "./platform/ingress";
import { names, type Names } from "./platform/names";
import { type InstalledProxy, WorkspacesProxy } from "./platform/workspaces-proxy";

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
  /** What was installed under which names: what `npm run doctor` goes by. */
  readonly installation: Installation;
}

/** What one stack has on its cluster, and what it is meant to be. Nothing in it is secret. */
export interface Installation {
  readonly domain: string;
  /** Without trailing slash. */
  readonly gitlabUrl: string;
  readonly kasAddress: string;
  readonly oauthClientId: string;
  /** Whether browsers can be expected to trust the certificate. */
  readonly tlsMode: TlsConfig["mode"];
  readonly proxy: InstalledProxy;
  readonly ingress: {
    readonly className: string;
    /** The program's own controller; absent when somebody else installed it. */
    readonly release?: InstalledRelease;
  };
  readonly agents: readonly InstalledAgent[];
}

/** What has resources imported that are there already. Its code, with a client of Kubernetes' API, is loaded for that alone. */
async function adopting(
  { kubeconfig }: Cluster,
  config: Config,
  own: Names,
): Promise<{ transforms?: pulumi.ResourceTransform[] }> {
  const { LiveCluster } = await import("./live-cluster");
  const live = await LiveCluster.of(kubeconfig);
  if (live === undefined) return {};
  const { adoption } = await import("./platform/adoption");
  return { transforms: [await adoption(live, config, own)] };
}

/** Reads top to bottom: a cluster, an ingress controller, the proxy and the agents on it, and what the operator needs to know. */
export async function deploy(config: Config): Promise<Outputs> {
  for (const warning of config.warnings) await pulumi.log.warn(warning);

  const cluster = await createCluster(config.cluster);
  const { charts, domain } = config;
  const loadBalancerAnnotations = cluster.loadBalancer.annotations;
  const own = names(config.instance);
  const on = { provider: cluster.provider, ...(config.adopt ? await adopting(cluster, config, own) : {}) };
  const { autoscalers } = cluster;
  const evictionPolicies =
    autoscalers.length === 0
      ? []
      : [new EvictionPolicy("eviction-policy", { name: own.evictionPolicy, autoscalers }, on)];
  const { signingKey, sshHostKey } = new GeneratedSecrets("generated-secrets", config);

  const ingress = createIngressController(
    { config: config.ingress, charts, names: own, loadBalancer: cluster.loadBalancer },
    on,
  );
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
  const { kasAddress } = config.gitlab;
  const agents = config.agents.map(
    (agent) =>
      new GitLabAgent(
        `gitlab-agent-${agent.name}`,
        { agent, kasAddress, chart: charts["gitlab-agent"], names: own },
        on,
      ),
  );

  new DestroyGuard(
    "destroy-guard",
    {
      kubeconfig: cluster.kubeconfig,
      domain,
      proxyNamespace: own.proxyNamespace,
      ...(ingress.installed === undefined ? {} : { ingressClass: ingress.className }),
    },
    [cluster.provider, ...evictionPolicies, ...ingress.resources, proxy, ...agents],
    cluster.isProtected,
  );

  const toCommit = agentConfig({ domain, proxyNamespace: own.proxyNamespace });
  return {
    workspacesUrl: proxy.url,
    oauthRedirectUri: proxy.redirectUri,
    ingressAddress: proxy.address,
    dnsRecords: dnsRecords({ domain, address: proxy.address, sshAddress: proxy.sshAddress }),
    agentConfig: Object.fromEntries(config.agents.map(({ name }) => [`.gitlab/agents/${name}/config.yaml`, toCommit])),
    kubeconfig: cluster.kubeconfig,
    installation: {
      domain,
      gitlabUrl: config.gitlab.url,
      kasAddress,
      oauthClientId: config.oauthClientId,
      tlsMode: config.tls.mode,
      proxy: proxy.installed,
      ingress: {
        className: ingress.className,
        ...(ingress.installed === undefined ? {} : { release: ingress.installed }),
      },
      agents: agents.map(({ installed }) => installed),
    },
  };
}
