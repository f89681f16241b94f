import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import type { ChartConfig, IngressConfig } from "../config/schema";
import { chartRelease, type InstalledRelease, type Values } from "./chart-release";
import type { Names } from "./names";
import { createNamespace } from "./namespace";

/** What the rest of the platform may know about the ingress controller. */
export interface IngressController {
  /** Class that the proxy's Ingress names. */
  readonly className: string;
  /** Annotations of the proxy's Ingress that let a WebSocket stay open all day and pass unbuffered. */
  readonly annotations: Readonly<Record<string, string>>;
  /** IP address or host name of the controller's load balancer; absent when somebody else installed the controller. */
  readonly address?: pulumi.Output<string | undefined>;
  /** What the program made for it. */
  readonly resources: readonly pulumi.Resource[];
  /** The controller's release; absent when somebody else installed the controller. */
  readonly installed?: InstalledRelease;
}

/** Arguments of {@link createIngressController}. */
export interface IngressArgs {
  readonly config: IngressConfig;
  readonly charts: Readonly<Record<"ingress-nginx" | "traefik", ChartConfig>>;
  readonly names: Names;
  /** What a LoadBalancer Service needs on this cluster, and how the controller's asks for the address kept for it, if one is. */
  readonly loadBalancer: {
    readonly annotations: Readonly<Record<string, string>>;
    readonly ingress?: {
      readonly annotations?: Readonly<Record<string, pulumi.Input<string>>>;
      readonly loadBalancerIP?: pulumi.Output<string>;
    };
  };
}

/** Installs the chosen ingress controller, or describes the one that is there. */
export function createIngressController(args: IngressArgs, opts: pulumi.ComponentResourceOptions): IngressController {
  switch (args.config.controller) {
    case "nginx":
      return new IngressNginx("ingress-nginx", args, args.config.namespace ?? args.names.ingressNamespace, opts);
    case "traefik":
      return new Traefik("traefik", args, args.config.namespace ?? args.names.ingressNamespace, opts);
    case "existing":
      return { className: args.config.className, annotations: args.config.annotations, resources: [] };
  }
}

/** How long a connection on which nothing moves may live, in seconds: a day, so that an open editor outlives a meeting. */
const idleSeconds = 86_400;

/** Two replicas that a person can lose one of without noticing, and room for the connections of a whole team. */
const replicas = 2;
const resources = { requests: { cpu: "100m", memory: "128Mi" }, limits: { memory: "512Mi" } };

/** Asks the scheduler to keep pods of one release on different nodes, without insisting on it. */
export function spread(labels: Readonly<Record<string, string>>): Values {
  return {
    podAntiAffinity: {
      preferredDuringSchedulingIgnoredDuringExecution: [
        {
          weight: 100,
          podAffinityTerm: { topologyKey: "kubernetes.io/hostname", labelSelector: { matchLabels: labels } },
        },
      ],
    },
  };
}

/** Address in the status of a Service or an Ingress: the IP, else the host name, else undefined (not assigned yet). */
export function loadBalancerAddress(
  status: pulumi.Output<{ loadBalancer?: { ingress?: { ip?: string; hostname?: string }[] } } | undefined>,
): pulumi.Output<string | undefined> {
  return status.apply((value) => {
    const first = value?.loadBalancer?.ingress?.[0];
    return first?.ip ?? first?.hostname;
  });
}

/** ingress-nginx, retired by its maintainers in March 2026: the tutorial's controller. */
class IngressNginx extends pulumi.ComponentResource implements IngressController {
  readonly className: string;
  readonly address: pulumi.Output<string | undefined>;
  readonly resources = [this];
  readonly installed: InstalledRelease;

  // https://github.com/kubernetes/ingress-nginx/blob/main/docs/user-guide/nginx-configuration/annotations.md
  readonly annotations = {
    "nginx.ingress.kubernetes.io/proxy-read-timeout": String(idleSeconds),
    "nginx.ingress.kubernetes.io/proxy-send-timeout": String(idleSeconds),
    "nginx.ingress.kubernetes.io/proxy-buffering": "off",
    "nginx.ingress.kubernetes.io/proxy-request-buffering": "off",
    "nginx.ingress.kubernetes.io/proxy-body-size": "0",
  };

  constructor(
    name: string,
    { charts, names, loadBalancer: { annotations, ingress = {} } }: IngressArgs,
    namespaceName: string,
    opts: pulumi.ComponentResourceOptions,
  ) {
    super("gitlab-workspaces:platform:IngressNginx", name, {}, opts);
    this.className = names.ingressClass("nginx");
    const release = names.ingressRelease("ingress-nginx");
    this.installed = { namespace: namespaceName, release };
    const namespace = createNamespace(`${name}-namespace`, namespaceName, { parent: this });
    // Values: https://github.com/kubernetes/ingress-nginx/blob/helm-chart-4.15.1/charts/ingress-nginx/values.yaml
    const chart = chartRelease(
      name,
      {
        chart: "ingress-nginx",
        config: charts["ingress-nginx"],
        release,
        namespace: namespace.metadata.name,
        values: {
          controller: {
            replicaCount: replicas,
            minAvailable: 1,
            resources,
            affinity: spread({ "app.kubernetes.io/instance": release, "app.kubernetes.io/component": "controller" }),
            ingressClass: this.className,
            ingressClassResource: { name: this.className, controllerValue: `k8s.io/ingress-${this.className}` },
            // Until a webhook answers, no Ingress can be made on the whole cluster.
            admissionWebhooks: { enabled: false },
            // A reload of the controller cuts the WebSockets of workers that are still draining after this time.
            config: { "worker-shutdown-timeout": `${idleSeconds}s` },
            service: {
              annotations: { ...annotations, ...ingress.annotations },
              ...(ingress.loadBalancerIP === undefined ? {} : { loadBalancerIP: ingress.loadBalancerIP }),
            },
          },
        },
      },
      { parent: this },
    );
    this.address = serviceAddress(`${name}-controller`, chart, `${release}-controller`, this);
    this.registerOutputs({});
  }
}

/**
 * What the chart labels its pods with, cut as the chart cuts it: a label's value has at most 63 characters.
 * https://github.com/traefik/traefik-helm-chart/blob/v41.7.1/traefik/templates/_helpers.tpl
 */
function traefikInstance(release: string, namespace: string): string {
  return `${release}-${namespace}`.slice(0, 63).replace(/-$/, "");
}

/** Traefik, reading Ingress objects only. */
class Traefik extends pulumi.ComponentResource implements IngressController {
  readonly className: string;
  readonly address: pulumi.Output<string | undefined>;
  readonly resources = [this];
  readonly installed: InstalledRelease;

  // Traefik neither buffers nor limits bodies unless told to: https://doc.traefik.io/traefik/reference/routing-configuration/http/middlewares/buffering/
  readonly annotations = { "traefik.ingress.kubernetes.io/router.entrypoints": "websecure" };

  constructor(
    name: string,
    { charts, names, loadBalancer: { annotations, ingress = {} } }: IngressArgs,
    namespaceName: string,
    opts: pulumi.ComponentResourceOptions,
  ) {
    super("gitlab-workspaces:platform:Traefik", name, {}, opts);
    this.className = names.ingressClass("traefik");
    const release = names.ingressRelease("traefik");
    this.installed = { namespace: namespaceName, release };
    const namespace = createNamespace(`${name}-namespace`, namespaceName, { parent: this });
    // Values: https://github.com/traefik/traefik-helm-chart/blob/v37.3.0/traefik/VALUES.md, and what changed since:
    // https://github.com/traefik/traefik-helm-chart/releases/tag/v41.7.1
    const chart = chartRelease(
      name,
      {
        chart: "traefik",
        config: charts.traefik,
        release,
        namespace: namespace.metadata.name,
        values: {
          deployment: { replicas },
          podDisruptionBudget: { enabled: true, minAvailable: 1 },
          resources,
          affinity: spread({ "app.kubernetes.io/instance": traefikInstance(release, namespaceName) }),
          ingressClass: { enabled: true, isDefaultClass: false, name: this.className },
          providers: {
            kubernetesCRD: { enabled: false },
            kubernetesIngress: {
              enabled: true,
              ingressClass: this.className,
              publishedService: { enabled: true },
              // The Service that closes /metrics has no endpoints; without this its route would be dropped.
              allowEmptyServices: true,
            },
          },
          ports: {
            // https://github.com/traefik/traefik-helm-chart/pull/1603
            web: { http: { redirections: { entryPoint: { to: "websecure", scheme: "https", permanent: true } } } },
            websecure: {
              transport: {
                // The 60 s that a request may take to be read would end a long upload.
                respondingTimeouts: { readTimeout: "0s", writeTimeout: "0s", idleTimeout: `${idleSeconds}s` },
              },
            },
          },
          service: {
            annotations: { ...annotations, ...ingress.annotations },
            ...(ingress.loadBalancerIP === undefined ? {} : { spec: { loadBalancerIP: ingress.loadBalancerIP } }),
          },
          global: { checkNewVersion: false, sendAnonymousUsage: false },
        },
      },
      { parent: this },
    );
    this.address = serviceAddress(`${name}-service`, chart, release, this);
    this.registerOutputs({});
  }
}

/** Address of a release's LoadBalancer Service. Helm has waited for it, so it is known when the release is there. */
export function serviceAddress(
  name: string,
  release: k8s.helm.v3.Release,
  service: string,
  parent: pulumi.Resource,
): pulumi.Output<string | undefined> {
  const id = pulumi.interpolate`${release.status.namespace}/${service}`;
  return loadBalancerAddress(k8s.core.v1.Service.get(name, id, { parent }).status);
}
