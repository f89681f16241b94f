import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import type { AgentConfig, ChartConfig } from "../config/schema";
import { chartRelease, type InstalledRelease } from "./chart-release";
import { spread } from "./ingress";
import type { Names } from "./names";
import { createNamespace } from "./namespace";
import { createSecret, digest } from "./secret";

/** Arguments of {@link GitLabAgent}. */
export interface GitLabAgentArgs {
  readonly agent: AgentConfig;
  /** Address of the agent server, with scheme. */
  readonly kasAddress: string;
  readonly chart: ChartConfig;
  readonly names: Names;
}

/** What an agent is called on the cluster. */
export interface InstalledAgent extends InstalledRelease {
  /** Its name in GitLab. */
  readonly name: string;
  /** Secret with its token, under the key `token`. */
  readonly tokenSecret: string;
}

const replicas = 2;

/**
 * One GitLab agent for Kubernetes in its own namespace, or in the one where its ServiceAccount is. Its token stands in a Secret that the chart is given by name
 * (https://docs.gitlab.com/user/clusters/agent/install/).
 */
export class GitLabAgent extends pulumi.ComponentResource {
  readonly installed: InstalledAgent;

  constructor(name: string, args: GitLabAgentArgs, opts: pulumi.ComponentResourceOptions) {
    super("gitlab-workspaces:platform:GitLabAgent", name, {}, opts);
    const { agent, names } = args;
    const releaseName = agent.release ?? names.agentRelease(agent.name);
    const namespaceName = agent.namespace ?? names.agentNamespace(agent.name);
    // A given account stands in a namespace that is the user's: it was there before, and stays.
    const namespace =
      agent.serviceAccount === undefined
        ? createNamespace(`${name}-namespace`, namespaceName, { parent: this }).metadata.name
        : namespaceName;
    const secretName = `${releaseName}-token`;
    this.installed = {
      name: agent.name,
      namespace: namespaceName,
      release: releaseName,
      tokenSecret: secretName,
    };
    const secret = createSecret(
      `${name}-token`,
      { name: secretName, namespace, type: "Opaque", values: { token: agent.token } },
      { parent: this },
    );
    const podLabels = { "app.kubernetes.io/name": "gitlab-agent", "app.kubernetes.io/instance": releaseName };
    chartRelease(
      name,
      {
        chart: "gitlab-agent",
        config: args.chart,
        release: releaseName,
        namespace,
        // Values: https://docs.gitlab.com/user/clusters/agent/install/ and https://gitlab.com/gitlab-org/charts/gitlab-agent
        values: {
          replicas,
          config: {
            kasAddress: args.kasAddress,
            secretName,
            // It would add an account that reads every Secret of the cluster, for scans that nobody asked for.
            operational_container_scanning: { enabled: false },
          },
          podAnnotations: { "checksum/token": digest({ token: agent.token }) },
          resources: { requests: { cpu: "100m", memory: "128Mi" }, limits: { memory: "1Gi" } },
          affinity: spread(podLabels),
          ...(agent.serviceAccount === undefined
            ? {}
            : { serviceAccount: { create: false, name: agent.serviceAccount }, rbac: { create: false } }),
        },
      },
      { parent: this, dependsOn: [secret] },
    );
    new k8s.policy.v1.PodDisruptionBudget(
      `${name}-disruption-budget`,
      { metadata: { name: releaseName, namespace }, spec: { minAvailable: 1, selector: { matchLabels: podLabels } } },
      { parent: this },
    );
    this.registerOutputs({});
  }
}
