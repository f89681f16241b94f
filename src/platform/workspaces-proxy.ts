import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import type { ChartConfig, Config, Secret, TlsConfig } from "../config/schema";
import { chartRelease, type InstalledRelease, type Values } from "./chart-release";
import { type IngressController, loadBalancerAddress, serviceAddress, spread } from "./ingress";
import type { Names } from "./names";
import { createNamespace } from "./namespace";
import { createSecret, digest } from "./secret";
import { TlsSecrets } from "./tls";

/** Arguments of {@link WorkspacesProxy}. */
export interface WorkspacesProxyArgs {
  readonly domain: string;
  /** URL of GitLab, with scheme and without a trailing slash. */
  readonly gitlabUrl: string;
  readonly oauthClientId: string;
  readonly oauthClientSecret: Secret;
  /** Signs the session cookies. */
  readonly signingKey: Secret;
  /** PEM private key without passphrase. */
  readonly sshHostKey: Secret;
  readonly tls: TlsConfig;
  readonly ssh: Config["proxy"]["ssh"];
  readonly ingress: IngressController;
  readonly chart: ChartConfig;
  readonly names: Names;
  /** Annotations that a LoadBalancer Service needs on this cluster. */
  readonly loadBalancerAnnotations: Readonly<Record<string, string>>;
}

/** Ports the proxy listens on inside its pods: https://docs.gitlab.com/user/workspace/configuration/, and one that needs no root. */
const httpPort = 9876;
const sshPort = 2222;

const replicas = 2;

/** Name of the Secret the proxy reads its settings from, as GitLab's documentation has it. */
const configSecret = "gitlab-workspaces-proxy-config";

/** What the proxy is called on the cluster. */
export interface InstalledProxy extends InstalledRelease {
  /** Secret that it reads its settings from. */
  readonly configSecret: string;
}

/**
 * GitLab Workspaces proxy: the way from a browser or an SSH client to a workspace. Its own namespace, the three Secrets
 * it needs (https://docs.gitlab.com/user/workspace/set_up_gitlab_agent_and_proxies/), the chart, and a disruption budget.
 */
export class WorkspacesProxy extends pulumi.ComponentResource {
  /** `https://<domain>`. */
  readonly url: string;
  /** What the OAuth application in GitLab must have as redirect URI, to the letter. */
  readonly redirectUri: string;
  /** Address under which the ingress serves the proxy; undefined until it is assigned. */
  readonly address: pulumi.Output<string | undefined>;
  /** Address of the SSH load balancer; absent without one. */
  readonly sshAddress?: pulumi.Output<string | undefined>;
  readonly installed: InstalledProxy;

  constructor(name: string, args: WorkspacesProxyArgs, opts: pulumi.ComponentResourceOptions) {
    super("gitlab-workspaces:platform:WorkspacesProxy", name, {}, opts);
    const { domain, names, ingress, ssh } = args;
    this.url = `https://${domain}`;
    this.redirectUri = `${this.url}/auth/callback`;
    this.installed = { namespace: names.proxyNamespace, release: names.proxyRelease, configSecret };

    const namespace = createNamespace(`${name}-namespace`, names.proxyNamespace, { parent: this }).metadata.name;
    const certificates = new TlsSecrets(`${name}-tls`, { config: args.tls, domain, namespace }, { parent: this });

    // Keys: https://docs.gitlab.com/user/workspace/set_up_gitlab_agent_and_proxies/
    const settings = {
      "auth.client_id": args.oauthClientId,
      "auth.client_secret": args.oauthClientSecret,
      "auth.host": args.gitlabUrl,
      "auth.redirect_uri": this.redirectUri,
      "auth.signing_key": args.signingKey,
      "ssh.host_key": args.sshHostKey,
    };
    const secret = createSecret(
      `${name}-config`,
      { name: configSecret, namespace, type: "Opaque", values: settings },
      { parent: this },
    );

    const ingressTls = [
      { secretName: certificates.domainSecret, hosts: [domain] },
      { secretName: certificates.wildcardSecret, hosts: [`*.${domain}`] },
    ];
    const podLabels = {
      "app.kubernetes.io/name": "gitlab-workspaces-proxy",
      "app.kubernetes.io/instance": names.proxyRelease,
    };
    const release = chartRelease(
      name,
      {
        chart: "gitlab-workspaces-proxy",
        config: args.chart,
        release: names.proxyRelease,
        namespace,
        values: this.values(args, ingressTls, podLabels, settings),
      },
      { parent: this, dependsOn: [secret, ...certificates.secrets] },
    );

    new k8s.policy.v1.PodDisruptionBudget(
      `${name}-disruption-budget`,
      {
        metadata: { name: names.proxyRelease, namespace },
        spec: { minAvailable: 1, selector: { matchLabels: podLabels } },
      },
      { parent: this },
    );
    this.closeMetrics(name, args, namespace, ingressTls);

    this.address =
      ingress.address ??
      loadBalancerAddress(
        k8s.networking.v1.Ingress.get(
          `${name}-ingress`,
          pulumi.interpolate`${release.status.namespace}/${names.proxyRelease}`,
          { parent: this },
        ).status,
      );
    if (ssh.service === "LoadBalancer") {
      this.sshAddress = serviceAddress(`${name}-ssh`, release, `${names.proxyRelease}-ssh`, this);
    }
    this.registerOutputs({});
  }

  private values(
    args: WorkspacesProxyArgs,
    ingressTls: readonly { secretName: string; hosts: string[] }[],
    podLabels: Readonly<Record<string, string>>,
    settings: Readonly<Record<string, pulumi.Input<string>>>,
  ): Values {
    const paths = [{ path: "/", pathType: "ImplementationSpecific" }];
    return {
      replicaCount: replicas,
      port: httpPort,
      sshPort,
      configSecretName: configSecret,
      podAnnotations: { "checksum/config": digest(settings) },
      podSecurityContext: { runAsNonRoot: true, runAsUser: 65532, seccompProfile: { type: "RuntimeDefault" } },
      securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } },
      resources: { requests: { cpu: "50m", memory: "64Mi" }, limits: { memory: "512Mi" } },
      affinity: spread(podLabels),
      // Given whole: Helm replaces lists, and the chart's own hosts are placeholders.
      ingress: {
        enabled: true,
        className: args.ingress.className,
        annotations: args.ingress.annotations,
        hosts: [
          { host: args.domain, paths },
          { host: `*.${args.domain}`, paths },
        ],
        tls: ingressTls,
      },
      sshService:
        args.ssh.service === "off"
          ? { enabled: false }
          : {
              enabled: true,
              type: args.ssh.service,
              port: args.ssh.port,
              annotations: args.ssh.service === "LoadBalancer" ? args.loadBalancerAnnotations : {},
            },
    };
  }

  /**
   * The proxy answers /metrics on every workspace's host before it asks who is there. An Ingress for exactly that path
   * wins over the chart's, and leads to a Service that nobody is behind: 503. Prometheus reads the pods themselves.
   */
  private closeMetrics(
    name: string,
    { domain, names, ingress }: WorkspacesProxyArgs,
    namespace: pulumi.Input<string>,
    ingressTls: { secretName: string; hosts: string[] }[],
  ): void {
    // Neither will ever be what readiness means for its kind: no endpoints, and an address that nobody needs.
    const skipAwait = { "pulumi.com/skipAwait": "true" };
    const closed = `${names.proxyRelease}-metrics-closed`;
    const port = 80;
    const service = new k8s.core.v1.Service(
      `${name}-metrics-closed`,
      { metadata: { name: closed, namespace, annotations: skipAwait }, spec: { ports: [{ port }] } },
      { parent: this },
    );
    const backend = { service: { name: closed, port: { number: port } } };
    const http = { paths: [{ path: "/metrics", pathType: "Exact", backend }] };
    new k8s.networking.v1.Ingress(
      `${name}-metrics-closed`,
      {
        metadata: { name: closed, namespace, annotations: { ...ingress.annotations, ...skipAwait } },
        spec: {
          ingressClassName: ingress.className,
          rules: [domain, `*.${domain}`].map((host) => ({ host, http })),
          tls: ingressTls,
        },
      },
      { parent: this, dependsOn: [service] },
    );
  }
}
