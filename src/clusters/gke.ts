import * as compute from "@pulumi/gcp/compute";
import * as container from "@pulumi/gcp/container";
import { getProject } from "@pulumi/gcp/organizations";
import * as projects from "@pulumi/gcp/projects";
import * as serviceaccount from "@pulumi/gcp/serviceaccount";
import type * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import type { Cluster, LoadBalancer } from "../cluster";
import { refusal } from "../config/refusal";

import type { GkeConfig, Secret } from "../config/schema";
import { answering } from "./answering";
import { type Endpoint, execKubeconfig } from "./exec-kubeconfig";
import { weekdays } from "./maintenance-window";
import { kubernetesProvider } from "./provider";
import { reason } from "./provider-error";

/**
 * Annotations of every LoadBalancer Service: the kind that keeps the client's address and has no machines of its own.
 * https://docs.cloud.google.com/kubernetes-engine/docs/concepts/service-load-balancer-parameters
 */
const loadBalancerAnnotations = { "cloud.google.com/l4-rbs": "enabled" };

/** https://github.com/kubernetes/kubernetes/blob/v1.36.0/cluster/addons/rbac/cluster-autoscaler/cluster-autoscaler-rbac.yaml */
const autoscalers = ["cluster-autoscaler"];

/** A cluster on Google Kubernetes Engine with a network of its own. */
class GkeCluster extends pulumi.ComponentResource implements Cluster {
  readonly provider: k8s.Provider;
  readonly kubeconfig: Secret;
  readonly loadBalancer: LoadBalancer;
  readonly isProtected: boolean;
  readonly autoscalers = autoscalers;

  constructor(name: string, config: GkeConfig, opts?: pulumi.ComponentResourceOptions) {
    super("gitlab-workspaces:clusters:Gke", name, {}, opts);
    const { location, nodes, network: ranges, protect } = config;
    this.isProtected = protect;
    const region = regionOf(location);
    const labels = labelsOf(config);
    const own = { parent: this };

    const network = new compute.Network(config.name, { autoCreateSubnetworks: false, routingMode: "REGIONAL" }, own);
    const subnetwork = new compute.Subnetwork(
      config.name,
      {
        network: network.id,
        region,
        ipCidrRange: ranges.nodes,
        privateIpGoogleAccess: true,
        secondaryIpRanges: [
          { rangeName: "pods", ipCidrRange: ranges.pods },
          { rangeName: "services", ipCidrRange: ranges.services },
        ],
      },
      own,
    );
    const router = new compute.Router(config.name, { network: network.id, region }, own);
    // Nodes have no addresses of their own, and have to reach image registries and GitLab.
    const nat = new compute.RouterNat(
      config.name,
      {
        router: router.name,
        region,
        natIpAllocateOption: "AUTO_ONLY",
        sourceSubnetworkIpRangesToNat: "LIST_OF_SUBNETWORKS",
        subnetworks: [{ name: subnetwork.id, sourceIpRangesToNats: ["ALL_IP_RANGES"] }],
        logConfig: { enable: true, filter: "ERRORS_ONLY" },
      },
      own,
    );

    // The project's default account may do far more than a node has to.
    const account = new serviceaccount.Account(
      config.name,
      { displayName: `Nodes of the cluster ${config.name}` },
      own,
    );
    const role = new projects.IAMMember(
      config.name,
      { project: config.account, role: "roles/container.defaultNodeServiceAccount", member: account.member },
      own,
    );

    const cluster = new container.Cluster(
      config.name,
      {
        location,
        network: network.id,
        subnetwork: subnetwork.id,
        resourceLabels: labels,
        deletionProtection: protect,
        // The pool that a cluster is born with cannot be changed later; it goes, and ours comes.
        removeDefaultNodePool: true,
        initialNodeCount: 1,
        nodeConfig: { serviceAccount: account.email },
        releaseChannel: { channel: config.releaseChannel },
        ...(config.kubernetesVersion === undefined ? {} : { minMasterVersion: config.kubernetesVersion }),
        networkingMode: "VPC_NATIVE",
        ipAllocationPolicy: { clusterSecondaryRangeName: "pods", servicesSecondaryRangeName: "services" },
        // Dataplane V2 enforces NetworkPolicies: https://docs.cloud.google.com/kubernetes-engine/docs/concepts/dataplane-v2
        datapathProvider: "ADVANCED_DATAPATH",
        privateClusterConfig: { enablePrivateNodes: true, enablePrivateEndpoint: false },
        masterAuthorizedNetworksConfig: {
          cidrBlocks: (config.apiCidrs ?? []).map((cidrBlock) => ({ cidrBlock })),
          gcpPublicCidrsAccessEnabled: false,
        },
        workloadIdentityConfig: { workloadPool: `${config.account}.svc.id.goog` },
        ...(config.encryptionKey === undefined
          ? {}
          : { databaseEncryption: { state: "ENCRYPTED", keyName: config.encryptionKey } }),
        masterAuth: { clientCertificateConfig: { issueClientCertificate: false } },
        enableShieldedNodes: true,
        nodePoolDefaults: { nodeConfigDefaults: { insecureKubeletReadonlyPortEnabled: "FALSE" } },
        loggingConfig: { enableComponents: ["SYSTEM_COMPONENTS", "WORKLOADS", "APISERVER"] },
        monitoringConfig: { enableComponents: ["SYSTEM_COMPONENTS"], managedPrometheus: { enabled: true } },
        addonsConfig: { gcePersistentDiskCsiDriverConfig: { enabled: true }, dnsCacheConfig: { enabled: true } },
        maintenancePolicy: { recurringWindow: maintenanceWindow(config.maintenance) },
      },
      {
        ...own,
        protect,
        // What the provider reads back is that of the pool that is gone, and it would replace the cluster in every run:
        // https://github.com/pulumi/pulumi-gcp/issues/744
        ignoreChanges: ["nodeConfig"],
      },
    );
    const pool = new container.NodePool(
      config.name,
      {
        cluster: cluster.id,
        location,
        // The other pair, minNodeCount and maxNodeCount, counts for each zone.
        autoscaling: { totalMinNodeCount: nodes.min, totalMaxNodeCount: nodes.max, locationPolicy: "BALANCED" },
        initialNodeCount: 1,
        management: { autoRepair: true, autoUpgrade: true },
        upgradeSettings: { strategy: "SURGE", maxSurge: 1, maxUnavailable: 0 },
        networkConfig: { enablePrivateNodes: true },
        nodeConfig: {
          machineType: nodes.machineType,
          imageType: "COS_CONTAINERD",
          diskSizeGb: nodes.diskGiB,
          diskType: "pd-balanced",
          serviceAccount: account.email,
          oauthScopes: ["https://www.googleapis.com/auth/cloud-platform"],
          // Pods get at no credentials of the node: https://docs.cloud.google.com/kubernetes-engine/docs/how-to/protecting-cluster-metadata
          workloadMetadataConfig: { mode: "GKE_METADATA" },
          shieldedInstanceConfig: { enableSecureBoot: true, enableIntegrityMonitoring: true },
          metadata: { "disable-legacy-endpoints": "true" },
          resourceLabels: labels,
        },
      },
      // Only the beginning: the autoscaler changes it, and the provider would replace the pool.
      { ...own, ignoreChanges: ["initialNodeCount"], dependsOn: [role, nat] },
    );
    const address = new compute.Address(
      config.name,
      { region, addressType: "EXTERNAL", networkTier: "PREMIUM", labels },
      // DNS points at it, and Google would give it to somebody else.
      { ...own, protect },
    );

    this.kubeconfig = kubeconfigOf({
      name: cluster.name,
      server: pulumi.interpolate`https://${cluster.endpoint}`,
      authority: cluster.masterAuth.clusterCaCertificate,
    });
    this.loadBalancer = { annotations: loadBalancerAnnotations, ingress: { loadBalancerIP: address.address } };
    this.provider = kubernetesProvider(answering(this.kubeconfig), cluster.id, { ...own, dependsOn: [pool, address] });
    this.registerOutputs({});
  }
}

/** A cluster on Google Kubernetes Engine that somebody else made and looks after. */
class ExistingGkeCluster extends pulumi.ComponentResource implements Cluster {
  readonly provider: k8s.Provider;
  readonly kubeconfig: Secret;
  readonly loadBalancer: LoadBalancer = { annotations: loadBalancerAnnotations };
  readonly isProtected = false;
  readonly autoscalers = autoscalers;

  /** @param id of the cluster, as Google has it. */
  constructor(name: string, id: string, kubeconfig: Secret, opts?: pulumi.ComponentResourceOptions) {
    super("gitlab-workspaces:clusters:ExistingGke", name, {}, opts);
    this.kubeconfig = kubeconfig;
    this.provider = kubernetesProvider(kubeconfig, id, { parent: this });
    this.registerOutputs({});
  }
}

/**
 * Makes the cluster, or takes the one that is there, once the credentials were found to reach the project and the location
 * to exist.
 * @throws pulumi.RunError when they do not, or when an existing cluster cannot carry workspaces. Nothing has been created
 * then.
 */
export async function createGkeCluster(config: GkeConfig): Promise<Cluster> {
  await requireProject(config);
  await requireLocation(config);
  return config.existing ? await adoptCluster(config) : new GkeCluster("cluster", config);
}

/** Asks the provider for its own project, which only credentials that reach it can tell. */
async function requireProject({ account }: GkeConfig): Promise<void> {
  const { projectId } = await getProject({}).catch((error: unknown) => {
    throw refusal(
      `The Google Cloud project ${account} cannot be reached with the credentials here: ${reason(error)}\n` +
        `Log in: gcloud auth application-default login\nTry: gcloud projects describe ${account}\nNothing was created.`,
    );
  });
  if (projectId === account) return;
  throw refusal(
    `The provider works in the Google Cloud project ${projectId ?? "(none)"}, and cluster.account says ${account}.\n` +
      `Set the one that is meant: pulumi config set --stack ${pulumi.getStack()} gcp:project ${account}\nNothing was created.`,
  );
}

/** The region of a location, which may be one of its zones. */
function regionOf(location: string): string {
  return location.replace(/-[a-z]$/, "");
}

async function requireLocation({ account, location }: GkeConfig): Promise<void> {
  const region = regionOf(location);
  const { names } = await compute.getZones({ region }).catch((error: unknown) => {
    throw refusal(
      `The zones of ${region} cannot be read in the project ${account}: ${reason(error)}\n` +
        "Turn the APIs on: gcloud services enable compute.googleapis.com container.googleapis.com iam.googleapis.com " +
        `--project ${account}\nNothing was created.`,
    );
  });
  if (region === location ? names.length > 0 : names.includes(location)) return;
  const there = names.length > 0 ? ` In ${region} there are ${names.join(", ")}.` : "";
  throw refusal(
    `cluster.location is ${location}, and Google Cloud has no such ${region === location ? "region" : "zone"}.${there}\n` +
      `List them: gcloud compute regions list --project ${account}\nNothing was created.`,
  );
}

async function adoptCluster({ account, name, location }: GkeConfig): Promise<Cluster> {
  const found = await container.getCluster({ name, location, project: account }).catch((error: unknown) => {
    throw refusal(
      `There is no cluster ${name} in ${location} of the project ${account}: ${reason(error)}\n` +
        `List them: gcloud container clusters list --project ${account}\n` +
        `To have one made: pulumi config rm --stack ${pulumi.getStack()} --path gitlab-workspaces:cluster.existing\nNothing was created.`,
    );
  });
  // https://docs.cloud.google.com/kubernetes-engine/docs/how-to/network-policy
  const enforces =
    found.datapathProvider === "ADVANCED_DATAPATH" || found.networkPolicies.some(({ enabled }) => enabled);
  if (!enforces) {
    throw refusal(
      `The cluster ${name} enforces no NetworkPolicies, and they are what keeps workspaces apart.\n` +
        `Turn them on: gcloud container clusters update ${name} --location ${location} --update-addons=NetworkPolicy=ENABLED ` +
        `&& gcloud container clusters update ${name} --location ${location} --enable-network-policy\nNothing was created.`,
    );
  }
  if (found.enableAutopilot) {
    throw refusal(
      `The cluster ${name} is an Autopilot cluster: what it allows pods to do, and how it moves them, is not made for ` +
        "workspaces.\nName a standard one: gcloud container clusters list --filter 'NOT autopilot.enabled=true' " +
        `--project ${account}\nNothing was created.`,
    );
  }
  if (found.workloadIdentityConfigs.every(({ workloadPool }) => workloadPool === "")) {
    await pulumi.log.warn(
      `The cluster ${name} has no Workload Identity: a pod that reaches the metadata service gets the credentials of its ` +
        `node. Turn it on: gcloud container clusters update ${name} --location ${location} --workload-pool=${account}.svc.id.goog`,
    );
  }
  const kubeconfig = kubeconfigOf({
    name,
    server: `https://${found.endpoint}`,
    authority: found.masterAuths[0]?.clusterCaCertificate ?? "",
  });
  if (!pulumi.runtime.isDryRun()) {
    const { inspectCluster } = await import("./inspection");
    for (const warning of await inspectCluster(kubeconfig)) await pulumi.log.warn(warning);
  }
  return new ExistingGkeCluster("cluster", found.id, kubeconfig);
}

/**
 * A kubeconfig that works on any machine with Google's credential plugin, and holds no credentials itself.
 * https://docs.cloud.google.com/kubernetes-engine/docs/how-to/cluster-access-for-kubectl
 */
function kubeconfigOf(endpoint: Endpoint): Secret {
  return execKubeconfig(endpoint, {
    command: "gke-gcloud-auth-plugin",
    // The credentials that the provider has, and that were found to reach the project: without this, gcloud's own.
    // https://github.com/kubernetes/cloud-provider-gcp/blob/master/cmd/gke-gcloud-auth-plugin/cred.go
    args: ["--use_application_default_credentials"],
    installHint: "gcloud components install gke-gcloud-auth-plugin",
    provideClusterInfo: true,
  });
}

/** Google allows fewer characters in a label than Pulumi in the name of a stack. */
function labelsOf({ labels }: GkeConfig): Record<string, string> {
  const value = (text: string) =>
    text
      .toLowerCase()
      .replaceAll(/[^a-z0-9_-]/g, "-")
      .slice(0, 63);
  return { ...labels, project: value(pulumi.getProject()), stack: value(pulumi.getStack()) };
}

/** https://docs.cloud.google.com/kubernetes-engine/docs/how-to/maintenance-windows-and-exclusions */
function maintenanceWindow({ days, hour, hours }: GkeConfig["maintenance"]): {
  startTime: string;
  endTime: string;
  recurrence: string;
} {
  // The first of them after a Monday long past.
  const first = weekdays.findIndex((day) => days.some((chosen) => chosen === day));
  const begin = Date.UTC(2026, 0, 5 + first, hour);
  const iso = (time: number) => new Date(time).toISOString().replace(".000", "");
  return {
    startTime: iso(begin),
    endTime: iso(begin + hours * 3_600_000),
    recurrence: `FREQ=WEEKLY;BYDAY=${[...new Set(days)].map((day) => day.slice(0, 2).toUpperCase()).join(",")}`,
  };
}
