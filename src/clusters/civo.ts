import type * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import type { Cluster, LoadBalancer } from "../cluster";
import { refusal } from "../config/refusal";
import type { CivoConfig, Secret } from "../config/schema";
import { answering } from "./answering";
import { autoscalerUser, CivoAutoscaler } from "./civo-autoscaler";
import {
  Firewall,
  type FoundCluster,
  getInstances,
  getKubernetesCluster,
  getRegion,
  getSize,
  KubernetesCluster,
  Network,
  ReservedIp,
} from "./civo-resources";
import { kubernetesProvider } from "./provider";
import { reason } from "./provider-error";

/**
 * Annotations of every LoadBalancer Service. Without them Civo cuts a connection on which nothing has moved for a minute,
 * and with it an editor; two hours is the longest that its documentation has.
 * https://github.com/civo/civo-cloud-controller-manager#load-balancer-customisation
 */
const loadBalancerAnnotations = {
  "kubernetes.civo.com/server-timeout": "120m",
  "kubernetes.civo.com/client-timeout": "120m",
};

const everywhere = ["0.0.0.0/0"];

/** A k3s cluster on Civo with a network of its own. */
class CivoCluster extends pulumi.ComponentResource implements Cluster {
  readonly provider: k8s.Provider;
  readonly kubeconfig: Secret;
  readonly loadBalancer: LoadBalancer;
  readonly isProtected: boolean;
  readonly autoscalers = [autoscalerUser];

  constructor(name: string, config: CivoConfig, opts?: pulumi.ComponentResourceOptions) {
    super("gitlab-workspaces:clusters:Civo", name, {}, opts);
    const { region, nodes, protect } = config;
    this.isProtected = protect;
    // To Civo's provider another region is a change in place, after which it finds nothing there.
    const own = { parent: this, replaceOnChanges: ["region"] };

    const network = new Network(config.name, { label: config.name, region }, own);
    const firewall = new Firewall(
      config.name,
      {
        name: config.name,
        region,
        networkId: network.id,
        // These would open the API to everybody.
        createDefaultRules: false,
        ingressRules: [
          {
            label: "kubernetes-api",
            protocol: "tcp",
            portRange: "6443",
            cidrs: config.apiCidrs ?? [],
            action: "allow",
          },
          { label: "http", protocol: "tcp", portRange: "80", cidrs: everywhere, action: "allow" },
          { label: "https", protocol: "tcp", portRange: "443", cidrs: everywhere, action: "allow" },
        ],
        // Nodes have to reach image registries and GitLab. What workspaces may reach is for their NetworkPolicies to say.
        egressRules: [
          { label: "tcp", protocol: "tcp", portRange: "1-65535", cidrs: everywhere, action: "allow" },
          { label: "udp", protocol: "udp", portRange: "1-65535", cidrs: everywhere, action: "allow" },
          { label: "icmp", protocol: "icmp", cidrs: everywhere, action: "allow" },
        ],
      },
      own,
    );
    const cluster = new KubernetesCluster(
      config.name,
      {
        // The size of nodes can only be changed by another cluster, which needs a name of its own while both are there.
        name: `${config.name}-${nodes.machineType.replaceAll(".", "-")}`,
        region,
        networkId: network.id,
        firewallId: firewall.id,
        // Cilium enforces NetworkPolicies, and Civo has it for k3s alone:
        // https://github.com/civo/terraform-provider-civo/blob/master/civo/kubernetes/resource_kubernetes_cluster.go
        clusterType: "k3s",
        cni: "cilium",
        ...(config.kubernetesVersion === undefined ? {} : { kubernetesVersion: config.kubernetesVersion }),
        tags: tagsOf(config),
        // Civo's Traefik would take the ports of the one that the platform brings. metrics-server, its other default, stays.
        applications: "-Traefik-v2-nodeport",
        writeKubeconfig: true,
        pools: { label: "workers", size: nodes.machineType, nodeCount: nodes.min },
      },
      {
        ...own,
        protect,
        // What Civo's provider refuses to change comes out in the preview, and as what it is: another cluster.
        replaceOnChanges: ["region", "networkId", "clusterType", "cni", "pools.size"],
        ignoreChanges: [
          // Only the beginning: the autoscaler changes it.
          "pools.nodeCount",
          // Only the beginning: Civo's provider fails at every change.
          "applications",
        ],
      },
    );
    // DNS points at it, and Civo would give it to somebody else.
    const address = new ReservedIp(config.name, { name: config.name, region }, { ...own, protect });

    this.kubeconfig = pulumi.secret(cluster.kubeconfig);
    this.loadBalancer = {
      annotations: loadBalancerAnnotations,
      ingress: {
        annotations: {
          "kubernetes.civo.com/firewall-id": firewall.id,
          "kubernetes.civo.com/ipv4-address": address.ip,
        },
      },
    };
    const reached = answering(this.kubeconfig);
    const inside = kubernetesProvider(reached, cluster.id, { parent: this }, "cluster-kubernetes");
    const autoscaler = new CivoAutoscaler("cluster-autoscaler", nodes, { parent: this, providers: [inside] });
    this.provider = kubernetesProvider(reached, cluster.id, { parent: this, dependsOn: [autoscaler, address] });
    this.registerOutputs({});
  }
}

/** A cluster on Civo that somebody else made and looks after. */
class ExistingCivoCluster extends pulumi.ComponentResource implements Cluster {
  readonly provider: k8s.Provider;
  readonly kubeconfig: Secret;
  readonly loadBalancer: LoadBalancer = { annotations: loadBalancerAnnotations };
  readonly isProtected = false;
  readonly autoscalers = [autoscalerUser];

  /** @param id of the cluster, as Civo has it. */
  constructor(name: string, id: string, kubeconfig: Secret, opts?: pulumi.ComponentResourceOptions) {
    super("gitlab-workspaces:clusters:ExistingCivo", name, {}, opts);
    this.kubeconfig = kubeconfig;
    this.provider = kubernetesProvider(kubeconfig, id, { parent: this });
    this.registerOutputs({});
  }
}

/** What clouds usually have and Civo has not, for every preview to say. docs/civo.md has more of each. */
const lacking = [
  "Civo's kubeconfig holds the certificate of an admin that nobody can revoke: whoever reads it keeps it.",
  "Civo has one API key for an account, a Secret of the cluster holds it, and it does not say whose it is: there is no " +
    "cluster.account to compare it with.",
  "Civo has no key of your own for Kubernetes Secrets, and no audit log of the Kubernetes API.",
  "Civo has no NAT to configure: the addresses from which nodes reach the internet are not yours to keep.",
];

/**
 * Makes the cluster, or takes the one that is there, once the credentials were found to work and the region and the size of
 * the nodes to exist.
 * @throws pulumi.RunError when they do not, or when an existing cluster cannot carry workspaces. Nothing has been created
 * then.
 */
export async function createCivoCluster(config: CivoConfig): Promise<Cluster> {
  await requireRegion(config);
  await requireAccess(config);
  if (!config.existing) await requireSize(config);
  for (const line of lacking) await pulumi.log.warn(line);
  return config.existing ? await adoptCluster(config) : new CivoCluster("cluster", config);
}

const token = () =>
  "Get a key at https://dashboard.civo.com/security and set it: " +
  `pulumi config set --stack ${pulumi.getStack()} --secret civo:token < civo-token.txt`;

async function requireRegion({ region }: CivoConfig): Promise<void> {
  const { regions } = await getRegion().catch(notReached);
  const codes = regions.map(({ code }) => code.toUpperCase());
  if (codes.includes(region)) return;
  throw refusal(
    `civo:region is ${region}, and Civo has no such region. There are ${codes.join(", ")}.\n` +
      `Set one: pulumi config set --stack ${pulumi.getStack()} civo:region ${codes[0] ?? "LON1"}\nNothing was created.`,
  );
}

/** Anybody may ask for regions and sizes. Instances are those of an account; none is to be told here, with its first password. */
async function requireAccess({ region }: CivoConfig): Promise<void> {
  await getInstances({ region, filters: [{ key: "id", values: ["none"] }] }).catch(notReached);
}

function notReached(error: unknown): never {
  throw refusal(`Civo cannot be reached with the credentials here: ${reason(error)}\n${token()}\nNothing was created.`);
}

async function requireSize({ nodes: { machineType }, region }: CivoConfig): Promise<void> {
  const { sizes } = await getSize(machineType).catch(notReached);
  if (sizes.some(({ name }) => name === machineType)) return;
  const all = await getSize().catch(notReached);
  const family = machineType.replace(/\.[^.]+$/, ".");
  const near = all.sizes.map(({ name }) => name).filter((name) => name.startsWith(family));
  const there = near.length > 0 ? ` There are ${near.join(", ")}.` : "";
  throw refusal(
    `cluster.nodes.machineType is ${machineType}, and Civo has no such size.${there}\n` +
      `List them: civo kubernetes size --region ${region}\nNothing was created.`,
  );
}

async function adoptCluster({ name, region }: CivoConfig): Promise<Cluster> {
  const found = await getKubernetesCluster({ name, region }).catch((error: unknown) => {
    throw refusal(
      `There is no cluster ${name} in ${region}: ${reason(error)}\n` +
        `List them: civo kubernetes ls --region ${region}\n` +
        `To have one made: pulumi config rm --stack ${pulumi.getStack()} --path gitlab-workspaces:cluster.existing\nNothing was created.`,
    );
  });
  if (found.kubeconfig === "")
    throw refusal(
      `The cluster ${name} in ${region} has no kubeconfig yet: it is not ready.\n` +
        `See: civo kubernetes show ${name} --region ${region}\nNothing was created.`,
    );
  await warnOfPolicies(name, found);
  const kubeconfig = pulumi.secret(found.kubeconfig);
  if (!pulumi.runtime.isDryRun()) {
    const { inspectCluster } = await import("./inspection");
    for (const warning of await inspectCluster(kubeconfig)) await pulumi.log.warn(warning);
  }
  return new ExistingCivoCluster("cluster", found.id, kubeconfig);
}

/** Flannel enforces nothing itself. k3s brings what does beside it, Talos does not, and Civo's provider does not tell which it is. */
async function warnOfPolicies(name: string, { cni }: FoundCluster): Promise<void> {
  if (cni === "cilium") return;
  await pulumi.log.warn(
    `The cluster ${name} has ${cni || "an unknown network plugin"}, and only of cilium is it known that it enforces ` +
      "NetworkPolicies, which are what keeps workspaces apart. Try it before anybody works there.",
  );
}

/** Stacks and projects may have characters in their names that a tag between spaces cannot have. */
function tagsOf({ labels }: CivoConfig): string {
  const value = (text: string) => text.replaceAll(/[^a-zA-Z0-9_.-]/g, "-").slice(0, 63);
  const all = { project: value(pulumi.getProject()), stack: value(pulumi.getStack()), ...labels };
  return Object.entries(all)
    .map(([key, text]) => `${key}:${text}`)
    .join(" ");
}
