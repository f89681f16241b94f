import { createHash } from "node:crypto";
import ipaddr from "ipaddr.js";
import type { CloudTable, Context, Reference, ResourceType } from "../cloud";
import { isObject, isUnknown, type Properties, UNKNOWN, type Value } from "../provider";
import type { CloudObject } from "./account";
import { part } from "./observation";

/**
 * Regions and the letters of their zones. https://cloud.google.com/compute/docs/regions-zones
 */
const REGIONS: Readonly<Record<string, string>> = {
  "africa-south1": "abc",
  "asia-east1": "abc",
  "asia-east2": "abc",
  "asia-northeast1": "abc",
  "asia-northeast2": "abc",
  "asia-northeast3": "abc",
  "asia-south1": "abc",
  "asia-south2": "abc",
  "asia-southeast1": "abc",
  "asia-southeast2": "abc",
  "australia-southeast1": "abc",
  "australia-southeast2": "abc",
  "europe-central2": "abc",
  "europe-north1": "abc",
  "europe-north2": "abc",
  "europe-southwest1": "abc",
  "europe-west1": "bcd",
  "europe-west10": "abc",
  "europe-west12": "abc",
  "europe-west2": "abc",
  "europe-west3": "abc",
  "europe-west4": "abc",
  "europe-west6": "abc",
  "europe-west8": "abc",
  "europe-west9": "abc",
  "me-central1": "abc",
  "me-central2": "abc",
  "me-west1": "abc",
  "northamerica-northeast1": "abc",
  "northamerica-northeast2": "abc",
  "northamerica-south1": "abc",
  "southamerica-east1": "abc",
  "southamerica-west1": "abc",
  "us-central1": "abcf",
  "us-east1": "bcd",
  "us-east4": "abc",
  "us-east5": "abc",
  "us-south1": "abc",
  "us-west1": "abc",
  "us-west2": "abc",
  "us-west3": "abc",
  "us-west4": "abc",
};

/**
 * Machine families, their shapes and numbers of CPUs; the last three are arm64. Not all that there are.
 * https://cloud.google.com/compute/docs/machine-resource
 */
const MACHINES: Readonly<Record<string, { readonly shapes: readonly string[]; readonly cpus: readonly number[] }>> = {
  e2: { shapes: ["standard", "highmem", "highcpu"], cpus: [2, 4, 8, 16, 32] },
  n1: { shapes: ["standard", "highmem", "highcpu"], cpus: [1, 2, 4, 8, 16, 32, 64, 96] },
  n2: { shapes: ["standard", "highmem", "highcpu"], cpus: [2, 4, 8, 16, 32, 48, 64, 80, 96, 128] },
  n2d: { shapes: ["standard", "highmem", "highcpu"], cpus: [2, 4, 8, 16, 32, 48, 64, 80, 96, 128, 224] },
  n4: { shapes: ["standard", "highmem", "highcpu"], cpus: [2, 4, 8, 16, 32, 48, 64, 80] },
  c2: { shapes: ["standard"], cpus: [4, 8, 16, 30, 60] },
  c2d: { shapes: ["standard", "highmem", "highcpu"], cpus: [2, 4, 8, 16, 32, 56, 112] },
  c3: { shapes: ["standard", "highmem", "highcpu"], cpus: [4, 8, 22, 44, 88, 176] },
  c3d: { shapes: ["standard", "highmem", "highcpu"], cpus: [4, 8, 16, 30, 60, 90, 180, 360] },
  c4: { shapes: ["standard", "highmem", "highcpu"], cpus: [2, 4, 8, 16, 24, 32, 48, 96, 144, 192, 288] },
  t2d: { shapes: ["standard"], cpus: [1, 2, 4, 8, 16, 32, 48, 60] },
  t2a: { shapes: ["standard"], cpus: [1, 2, 4, 8, 16, 32, 48] },
  c4a: { shapes: ["standard", "highmem", "highcpu"], cpus: [1, 2, 4, 8, 16, 32, 48, 64, 72] },
  n4a: { shapes: ["standard", "highmem", "highcpu"], cpus: [1, 2, 4, 8, 16, 32, 48, 64] },
};
const SMALL_MACHINES = ["e2-micro", "e2-small", "e2-medium", "f1-micro", "g1-small"];

/** What GKE offers per release channel; the first is what a new cluster gets. Of the same form as GKE's, but made up. */
const VERSIONS: Readonly<Record<string, readonly string[]>> = {
  RAPID: ["1.36.4-gke.1000000", "1.37.0-gke.1000000", "1.35.8-gke.1000000"],
  REGULAR: ["1.35.8-gke.1000000", "1.36.4-gke.1000000", "1.34.12-gke.1000000", "1.33.14-gke.1000000"],
  STABLE: ["1.34.12-gke.1000000", "1.35.8-gke.1000000", "1.33.14-gke.1000000"],
  EXTENDED: ["1.35.8-gke.1000000", "1.34.12-gke.1000000", "1.33.14-gke.1000000", "1.32.16-gke.1000000"],
  UNSPECIFIED: ["1.35.8-gke.1000000", "1.36.4-gke.1000000", "1.34.12-gke.1000000", "1.33.14-gke.1000000"],
};

/** RFC 1035, as Compute Engine and GKE want names. */
const NAME = /^(?:[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?)$/;
const CIDR = /^\d{1,3}(\.\d{1,3}){3}\/\d{1,2}$/;

const SERVICE = "gcp:projects/service:Service";
const NETWORK = "gcp:compute/network:Network";
const SUBNETWORK = "gcp:compute/subnetwork:Subnetwork";
const ROUTER = "gcp:compute/router:Router";
const ROUTER_NAT = "gcp:compute/routerNat:RouterNat";
const ADDRESS = "gcp:compute/address:Address";
const ACCOUNT = "gcp:serviceaccount/account:Account";
const IAM_MEMBER = "gcp:projects/iAMMember:IAMMember";
const CLUSTER = "gcp:container/cluster:Cluster";
const NODE_POOL = "gcp:container/nodePool:NodePool";

const compute = (id: string): string => `https://www.googleapis.com/compute/v1/${id}`;
const container = (id: string): string => `https://container.googleapis.com/v1/${id}`;

const project = ({ configuration, inputs }: Pick<Context, "configuration" | "inputs">): string =>
  text(inputs["project"]) || text(configuration["project"]);
const region = ({ configuration, inputs }: Context): string =>
  lastSegment(text(inputs["region"]) || text(configuration["region"]));
const location = ({ configuration, inputs }: Context): string =>
  text(inputs["location"]) || text(configuration["zone"]) || text(configuration["region"]);

const global = (kind: string) => (context: Context) => `projects/${project(context)}/global/${kind}/${name(context)}`;
const regional = (kind: string) => (context: Context) =>
  `projects/${project(context)}/regions/${region(context)}/${kind}/${name(context)}`;
const clusterId = (context: Context): string =>
  `projects/${project(context)}/locations/${location(context)}/clusters/${name(context)}`;
const name = ({ inputs }: Context): string => text(inputs["name"]);

const exists = (id: string): string => `googleapi: Error 409: The resource '${id}' already exists, alreadyExists`;
const containerExists = (id: string): string => `googleapi: Error 409: Already exists: ${id}., alreadyExists`;

/** What Compute Engine says of an input that names nothing. */
const computeReference = (type: string, field: string): Reference => ({
  type,
  by: ["id", "selfLink", "name"],
  missing: (value) =>
    `googleapi: Error 400: Invalid value for field 'resource.${field}': '${value}'. ` +
    `The referenced ${field} resource cannot be found., invalid`,
});

/** A service account of the same project, by its address; others' are not the project's to check. */
const serviceAccount: Reference = {
  type: ACCOUNT,
  by: ["email"],
  only: (value, context) => value.endsWith(`@${project(context)}.iam.gserviceaccount.com`),
  missing: (value) => `googleapi: Error 400: Service account "${value}" does not exist., badRequest`,
  // Google deletes an account that nodes run as or that roles are granted to without a word.
  mayGo: true,
};

/** Labels of a resource: its own, the provider's default ones, and the one that Pulumi's plugin adds by itself. */
const labels = (property: string): NonNullable<ResourceType["settled"]> => {
  const all = ({ configuration, inputs }: Context): Value => {
    const defaults = configuration["defaultLabels"];
    const own = inputs[property];
    if (isUnknown(own)) return UNKNOWN;
    return {
      ...(configuration["addPulumiAttributionLabel"] === false ? {} : { "goog-pulumi-provisioned": "true" }),
      ...(isObject(defaults) ? defaults : {}),
      ...(isObject(own) ? own : {}),
    };
  };
  return { pulumiLabels: all, effectiveLabels: all };
};

const timestamp = (): string => new Date().toISOString();

/**
 * Types as the Terraform provider that the official plugin is made of defines them: what is required, what forces a new
 * resource, what is computed. https://github.com/hashicorp/terraform-provider-google (google/services)
 */
const types: Readonly<Record<string, ResourceType>> = {
  [SERVICE]: {
    noun: "service",
    required: ["service"],
    match: { service: /^[a-z0-9-]+(\.[a-z0-9-]+)*\.googleapis\.com$/ },
    id: (context) => `${project(context)}/${text(context.inputs["service"])}`,
    replace: ["service", "project"],
    settled: { project },
  },
  [NETWORK]: {
    noun: "network",
    autoname: { property: "name", longest: 63 },
    match: { name: NAME },
    oneOf: { routingMode: ["REGIONAL", "GLOBAL"] },
    defaults: { autoCreateSubnetworks: true, deleteDefaultRoutesOnCreate: false },
    id: global("networks"),
    exists,
    quota: "NETWORKS",
    replace: ["name", "project", "autoCreateSubnetworks", "description", "enableUlaInternalIpv6", "internalIpv6Range"],
    settled: { project },
    computed: {
      routingMode: () => "REGIONAL",
      mtu: () => 1460,
      networkFirewallPolicyEnforcementOrder: () => "AFTER_CLASSIC_FIREWALL",
      bgpBestPathSelectionMode: () => "LEGACY",
      internalIpv6Range: () => "",
      gatewayIpv4: () => "",
      numericId: ({ serial }) => digits(`network ${serial}`, 19),
      networkId: ({ serial }) => digits(`network ${serial}`, 19),
      selfLink: (context) => compute(global("networks")(context)),
    },
  },
  [SUBNETWORK]: {
    noun: "subnetwork",
    autoname: { property: "name", longest: 63 },
    required: ["network", "ipCidrRange", "secondaryIpRanges[*].rangeName"],
    match: { name: NAME, ipCidrRange: CIDR, "secondaryIpRanges[*].ipCidrRange": CIDR },
    id: regional("subnetworks"),
    exists,
    quota: "SUBNETWORKS",
    replace: [
      ...["name", "project", "region", "network", "description", "purpose", "ipCollection"],
      "externalIpv6Prefix",
    ],
    settled: { project, region },
    replaceWhen: { ipCidrRange: (old, now) => !holds(text(now), text(old)) },
    refs: { network: computeReference(NETWORK, "network") },
    refuse: subnetworkRefused,
    computed: {
      purpose: () => "PRIVATE",
      stackType: () => "IPV4_ONLY",
      privateIpGoogleAccess: () => false,
      privateIpv6GoogleAccess: () => "DISABLE_GOOGLE_ACCESS",
      secondaryIpRanges: () => [],
      gatewayAddress: ({ inputs }) => text(inputs["ipCidrRange"]).replace(/\d+\/\d+$/, "1"),
      fingerprint: ({ serial }) => digest(`subnetwork ${serial}`).slice(0, 12),
      creationTimestamp: timestamp,
      subnetworkId: ({ serial }) => Number(digits(`subnetwork ${serial}`, 15)),
      ipv6CidrRange: () => "",
      internalIpv6Prefix: () => "",
      externalIpv6Prefix: () => "",
      ipv6GceEndpoint: () => "",
      state: () => "READY",
      selfLink: (context) => compute(regional("subnetworks")(context)),
    },
  },
  [ROUTER]: {
    noun: "router",
    autoname: { property: "name", longest: 63 },
    required: ["network"],
    match: { name: NAME },
    id: regional("routers"),
    exists,
    quota: "ROUTERS",
    replace: ["name", "project", "region", "network", "encryptedInterconnectRouter"],
    settled: { project, region },
    refs: { network: computeReference(NETWORK, "network") },
    computed: { creationTimestamp: timestamp, selfLink: (context) => compute(regional("routers")(context)) },
  },
  [ROUTER_NAT]: {
    noun: "router NAT",
    autoname: { property: "name", longest: 63 },
    required: [
      "router",
      "sourceSubnetworkIpRangesToNat",
      "subnetworks[*].name",
      "logConfig.enable",
      "logConfig.filter",
    ],
    match: { name: NAME },
    oneOf: {
      natIpAllocateOption: ["MANUAL_ONLY", "AUTO_ONLY"],
      sourceSubnetworkIpRangesToNat: [
        ...["ALL_SUBNETWORKS_ALL_IP_RANGES", "ALL_SUBNETWORKS_ALL_PRIMARY_IP_RANGES", "LIST_OF_SUBNETWORKS"],
      ],
      "subnetworks[*].sourceIpRangesToNats[*]": ["ALL_IP_RANGES", "LIST_OF_SECONDARY_IP_RANGES", "PRIMARY_IP_RANGE"],
      "logConfig.filter": ["ERRORS_ONLY", "TRANSLATIONS_ONLY", "ALL"],
    },
    id: (context) =>
      `${project(context)}/${region(context)}/${lastSegment(text(context.inputs["router"]))}/${name(context)}`,
    exists,
    replace: ["name", "project", "region", "router", "endpointTypes", "type", "initialNatIps"],
    settled: { project, region },
    refs: {
      router: computeReference(ROUTER, "router"),
      "subnetworks[*].name": computeReference(SUBNETWORK, "subnetwork"),
    },
    computed: {
      natIps: () => [],
      endpointTypes: () => ["ENDPOINT_TYPE_VM"],
      enableDynamicPortAllocation: () => false,
      enableEndpointIndependentMapping: () => false,
      minPortsPerVm: () => 64,
      autoNetworkTier: () => "PREMIUM",
    },
  },
  [ADDRESS]: {
    noun: "address",
    autoname: { property: "name", longest: 63 },
    match: { name: NAME },
    oneOf: { addressType: ["INTERNAL", "EXTERNAL"], networkTier: ["PREMIUM", "STANDARD"], ipVersion: ["IPV4", "IPV6"] },
    defaults: { addressType: "EXTERNAL" },
    id: regional("addresses"),
    exists,
    quota: "STATIC_ADDRESSES",
    replace: [
      ...["name", "project", "region", "address", "addressType", "description", "ipVersion", "network", "networkTier"],
      ...["prefixLength", "purpose", "subnetwork", "ipCollection", "ipv6EndpointType"],
    ],
    settled: { project, region, ...labels("labels") },
    refs: {
      network: computeReference(NETWORK, "network"),
      subnetwork: computeReference(SUBNETWORK, "subnetwork"),
    },
    computed: {
      address: freeAddress,
      addressId: ({ serial }) => Number(digits(`address ${serial}`, 15)),
      creationTimestamp: timestamp,
      labelFingerprint: ({ serial }) => digest(`address ${serial}`).slice(0, 12),
      networkTier: () => "PREMIUM",
      prefixLength: () => 0,
      purpose: () => "",
      subnetwork: () => "",
      users: () => [],
      selfLink: (context) => compute(regional("addresses")(context)),
    },
  },
  [ACCOUNT]: {
    noun: "service account",
    autoname: { property: "accountId", longest: 30 },
    match: { accountId: /^[a-z](?:[-a-z0-9]{4,28}[a-z0-9])$/ },
    defaults: { disabled: false },
    id: (context) => `projects/${project(context)}/serviceAccounts/${email(context)}`,
    exists: (_, context) =>
      `googleapi: Error 409: Service account ${text(context.inputs["accountId"])} already exists within project ` +
      `projects/${project(context)}., alreadyExists`,
    quota: "service-account-count",
    replace: ["accountId", "project"],
    settled: { project },
    computed: {
      email,
      member: (context) => `serviceAccount:${email(context)}`,
      name: (context) => `projects/${project(context)}/serviceAccounts/${email(context)}`,
      uniqueId: ({ serial }) => `1${digits(`service account ${serial}`, 20)}`,
    },
  },
  [IAM_MEMBER]: {
    noun: "IAM member",
    required: ["project", "role", "member"],
    match: {
      role: /^(roles|projects\/[^/]+\/roles|organizations\/[^/]+\/roles)\/[A-Za-z0-9_.]+$/,
      member: /^[A-Za-z]+(:.+)?$/,
    },
    id: ({ inputs }) => `${text(inputs["project"])}/${text(inputs["role"])}/${text(inputs["member"])}`,
    replace: ["project", "role", "member", "condition"],
    settled: { project },
    refs: {
      member: {
        ...serviceAccount,
        by: ["member"],
        only: (value, context) => value.startsWith("serviceAccount:") && serviceAccount.only?.(value, context) === true,
        missing: (value, { inputs }) =>
          `Request "Create IAM Members ${text(inputs["role"])} ${value} for project \\"${text(inputs["project"])}\\"" ` +
          `returned error: googleapi: Error 400: Service account ${value.replace(/^serviceAccount:/, "")} ` +
          `does not exist., badRequest`,
      },
    },
    computed: { etag: ({ serial }) => digest(`policy ${serial}`).slice(0, 12) },
  },
  [CLUSTER]: {
    noun: "cluster",
    autoname: { property: "name", longest: 40 },
    required: ["masterAuthorizedNetworksConfig.cidrBlocks[*].cidrBlock", "databaseEncryption.state"],
    match: { name: NAME, "masterAuthorizedNetworksConfig.cidrBlocks[*].cidrBlock": CIDR },
    oneOf: {
      networkingMode: ["VPC_NATIVE", "ROUTES"],
      datapathProvider: ["LEGACY_DATAPATH", "ADVANCED_DATAPATH", "DATAPATH_PROVIDER_UNSPECIFIED"],
      "releaseChannel.channel": ["UNSPECIFIED", "RAPID", "REGULAR", "STABLE", "EXTENDED"],
      "databaseEncryption.state": ["ENCRYPTED", "DECRYPTED", "ALL_OBJECTS_ENCRYPTION_ENABLED"],
      "anonymousAuthenticationConfig.mode": ["ENABLED", "LIMITED"],
      "gatewayApiConfig.channel": ["CHANNEL_DISABLED", "CHANNEL_EXPERIMENTAL", "CHANNEL_STANDARD"],
    },
    defaults: { deletionProtection: true, enableShieldedNodes: true },
    id: clusterId,
    exists: containerExists,
    quota: "CLUSTERS",
    replace: [
      ...["name", "project", "location", "description", "network", "subnetwork", "initialNodeCount", "clusterIpv4Cidr"],
      ...["networkingMode", "datapathProvider", "defaultMaxPodsPerNode", "enableAutopilot", "enableKubernetesAlpha"],
      ...["enableMultiNetworking", "enableTpu", "confidentialNodes", "nodeConfig", "nodePools"],
      ...["ipAllocationPolicy.clusterIpv4CidrBlock", "ipAllocationPolicy.servicesIpv4CidrBlock"],
      ...["ipAllocationPolicy.clusterSecondaryRangeName", "ipAllocationPolicy.servicesSecondaryRangeName"],
      ...["ipAllocationPolicy.podCidrOverprovisionConfig", "masterAuth.clientCertificateConfig"],
      ...["privateClusterConfig.enablePrivateNodes", "privateClusterConfig.masterIpv4CidrBlock"],
      "privateClusterConfig.privateEndpointSubnetwork",
    ],
    // https://github.com/pulumi/pulumi-gcp/issues/744: the API shows the nodes that there are, not those of the pool that
    // was removed, so a program that says what those were to be is never satisfied.
    mirrored: ["nodeConfig"],
    settled: { project, location, ...labels("resourceLabels") },
    refs: {
      network: {
        ...computeReference(NETWORK, "network"),
        missing: (value, context) =>
          `googleapi: Error 400: Project "${project(context)}" has no network named "${lastSegment(value)}"., badRequest`,
      },
      subnetwork: {
        ...computeReference(SUBNETWORK, "subnetwork"),
        missing: (value, { inputs }) =>
          `googleapi: Error 400: Subnetwork "${value}" is not valid for Network ` +
          `"${lastSegment(text(inputs["network"])) || "default"}"., badRequest`,
      },
      "nodeConfig.serviceAccount": serviceAccount,
    },
    refuse: clusterRefused,
    denyDelete: ({ inputs }) =>
      inputs["deletionProtection"] === false
        ? undefined
        : "Cannot destroy cluster because deletion_protection is set to true. Set it to false to proceed with cluster deletion.",
    computed: {
      endpoint: ({ controlPlane }) => new URL(controlPlane().server).host,
      selfLink: (context) => container(clusterId(context)),
      clusterIpv4Cidr: (context) => secondaryRange(context, "clusterSecondaryRangeName") ?? "10.4.0.0/14",
      servicesIpv4Cidr: (context) => secondaryRange(context, "servicesSecondaryRangeName") ?? "10.8.0.0/20",
      nodeLocations: (context) => nodeZones(location(context)),
      network: () => "default",
      networkingMode: () => "VPC_NATIVE",
      releaseChannel: () => ({ channel: "REGULAR" }),
      datapathProvider: () => "LEGACY_DATAPATH",
      defaultMaxPodsPerNode: () => 110,
      labelFingerprint: ({ serial }) => digest(`cluster ${serial}`).slice(0, 8),
      operation: () => "",
      tpuIpv4CidrBlock: () => "",
      emulatedVersion: () => "",
      databaseEncryption: () => ({ state: "DECRYPTED", keyName: "" }),
    },
    derived: {
      masterAuth: ({ inputs, controlPlane }) => ({
        clientCertificateConfig: { issueClientCertificate: false },
        ...part(inputs, "masterAuth"),
        ...{ clientCertificate: "", clientKey: "" },
        clusterCaCertificate: Buffer.from(controlPlane().ca).toString("base64"),
      }),
      controlPlaneEndpointsConfig: ({ inputs, serial }) => {
        const given = part(inputs, "controlPlaneEndpointsConfig");
        const zone = digest(`cluster ${serial}`).slice(0, 12);
        const dnsEndpointConfig = {
          allowExternalTraffic: false,
          ...part(given, "dnsEndpointConfig"),
          endpoint: `gke-${zone}.gke.goog`,
        };
        return { ipEndpointsConfig: { enabled: true }, ...given, dnsEndpointConfig };
      },
      privateClusterConfig: ({ inputs, controlPlane }) => ({
        ...{ masterIpv4CidrBlock: "", peeringName: "", privateEndpoint: "10.0.0.2" },
        publicEndpoint: new URL(controlPlane().server).host,
        masterGlobalAccessConfig: { enabled: false },
        ...part(inputs, "privateClusterConfig"),
      }),
      masterVersion,
      nodeVersion: masterVersion,
    },
    live: { nodePools, nodeConfig: clusterNodeConfig },
  },
  [NODE_POOL]: {
    noun: "node pool",
    autoname: { property: "name", longest: 40 },
    required: ["cluster"],
    match: { name: NAME },
    oneOf: {
      "autoscaling.locationPolicy": ["BALANCED", "ANY"],
      "upgradeSettings.strategy": ["SURGE", "BLUE_GREEN"],
      "nodeConfig.workloadMetadataConfig.mode": ["MODE_UNSPECIFIED", "GCE_METADATA", "GKE_METADATA"],
      "nodeConfig.taints[*].effect": ["NO_SCHEDULE", "PREFER_NO_SCHEDULE", "NO_EXECUTE"],
    },
    id: (context) => `${nodePoolCluster(context)}/nodePools/${name(context)}`,
    exists: containerExists,
    replace: [
      ...["name", "namePrefix", "project", "cluster", "location", "initialNodeCount", "maxPodsPerNode"],
      ...["placementPolicy", "queuedProvisioning", "networkConfig.createPodRange", "networkConfig.podRange"],
      ...["networkConfig.podIpv4CidrBlock", "networkConfig.additionalNodeNetworkConfigs"],
      ...[
        ...[
          "serviceAccount",
          "oauthScopes",
          "metadata",
          "spot",
          "preemptible",
          "shieldedInstanceConfig",
          "localSsdCount",
        ],
        ...["sandboxConfig", "minCpuPlatform", "bootDiskKmsKey", "advancedMachineFeatures", "reservationAffinity"],
        ...["ephemeralStorageLocalSsdConfig", "localNvmeSsdBlockConfig", "guestAccelerators", "confidentialNodes"],
        ...["secondaryBootDisks", "gvnic", "nodeGroup", "soleTenantConfig", "hostMaintenancePolicy"],
        "enableConfidentialStorage",
      ].map((field) => `nodeConfig.${field}`),
    ],
    settled: { project, location: poolLocation },
    refs: {
      cluster: {
        type: CLUSTER,
        by: ["id", "selfLink", "name"],
        missing: (_, context) =>
          `error creating NodePool: googleapi: Error 404: Not found: ${nodePoolCluster(context)}., notFound`,
      },
      "nodeConfig.serviceAccount": serviceAccount,
    },
    refuse: nodePoolRefused,
    computed: {
      initialNodeCount: () => 1,
      nodeCount: ({ inputs }) => inputs["initialNodeCount"] ?? 1,
      maxPodsPerNode: () => 110,
      management: () => ({ autoRepair: true, autoUpgrade: true }),
      upgradeSettings: () => ({ strategy: "SURGE", maxSurge: 1, maxUnavailable: 0 }),
      nodeLocations: (context) => nodeZones(text(poolCluster(context)?.outputs["location"])),
      version: (context) => text(poolCluster(context)?.outputs["masterVersion"]),
      instanceGroupUrls: instanceGroups,
      managedInstanceGroupUrls: instanceGroups,
      operation: () => "",
    },
    derived: { nodeConfig: ({ inputs }) => ({ ...NODE_CONFIG, ...part(inputs, "nodeConfig") }) },
    facts: (context) => ({ effectiveMaximum: effectiveMaximum(context) }),
  },
};

/** What GKE makes of nodes of which nothing is said. */
const NODE_CONFIG = {
  machineType: "e2-medium",
  diskSizeGb: 100,
  diskType: "pd-balanced",
  imageType: "COS_CONTAINERD",
  serviceAccount: "default",
  oauthScopes: [
    "https://www.googleapis.com/auth/devstorage.read_only",
    "https://www.googleapis.com/auth/logging.write",
    "https://www.googleapis.com/auth/monitoring",
  ],
};

const functions: CloudTable["functions"] = {
  "gcp:organizations/getProject:getProject": (args, { configuration, visible }) => {
    const projectId = text(args["projectId"]) || text(configuration["project"]);
    if (projectId === "") throw new Error("project: required field is not set");
    if (visible && !visible.includes(projectId)) throw new Error(forbidden());
    return {
      id: `projects/${projectId}`,
      projectId,
      name: projectId,
      number: digits(`project ${projectId}`, 12),
      labels: {},
      effectiveLabels: {},
      pulumiLabels: {},
      tags: {},
      ...{ orgId: "", folderId: "", billingAccount: "", deletionPolicy: "PREVENT", autoCreateNetwork: false },
    };
  },
  "gcp:compute/getZones:getZones": (args, { configuration, planning }) => {
    const of = text(args["region"]) || text(configuration["region"]);
    const owner = text(args["project"]) || text(configuration["project"]);
    if (owner === "") throw new Error("project: required field is not set");
    if (of === "") throw new Error("region: required field is not set");
    // A region that came after this table is nothing to refuse where nobody asks Google.
    const letters = planning && !(of in REGIONS) ? ["a", "b", "c", "d", "f"] : [];
    const names = letters.length > 0 ? letters.map((letter) => `${of}-${letter}`) : zones(of);
    return { id: `projects/${owner}/regions/${of}`, names, project: owner, region: of };
  },
  "gcp:container/getCluster:getCluster": (args, call) => {
    const owner = text(args["project"]) || text(call.configuration["project"]);
    const place = text(args["location"]) || text(call.configuration["zone"]) || text(call.configuration["region"]);
    const id = `projects/${owner}/locations/${place}/clusters/${text(args["name"])}`;
    if (call.planning) {
      // As a cluster would be that can carry workspaces, at an address of nobody's (RFC 5737).
      const made = { endpoint: "192.0.2.1", masterAuths: [{ clusterCaCertificate: "" }], networkPolicies: [] };
      const workloadIdentityConfigs = [{ workloadPool: `${owner}.svc.id.goog` }];
      const datapathProvider = "ADVANCED_DATAPATH";
      return { ...args, id, ...made, workloadIdentityConfigs, datapathProvider, enableAutopilot: false };
    }
    const found = call.objects.find((object) => object.type === CLUSTER && object.id === id);
    if (!found) throw new Error(`${id} not found`);
    // A data source has every block, if only as an empty list.
    const blocks = { networkPolicies: [], workloadIdentityConfigs: [], enableAutopilot: false };
    return { ...blocks, ...dataSource(found.outputs), ...args, id, nodePools: poolsOf(found, call.objects) };
  },
  "gcp:organizations/getClientConfig:getClientConfig": (_, { configuration }) => ({
    id: `projects/${text(configuration["project"])}/regions/${text(configuration["region"])}`,
    project: text(configuration["project"]),
    region: text(configuration["region"]),
    zone: text(configuration["zone"]),
    accessToken: "ya29.stand-in",
    defaultLabels: part(configuration, "defaultLabels"),
  }),
};

function forbidden(): string {
  return "googleapi: Error 403: The caller does not have permission, forbidden";
}

/** https://docs.cloud.google.com/kubernetes-engine/docs/concepts/persistent-volumes#storageclasses */
const storageClasses = [
  storageClass("standard-rwo", { type: "pd-balanced" }, true),
  storageClass("premium-rwo", { type: "pd-ssd" }),
];

function storageClass(called: string, parameters: Properties, isDefault = false): Properties {
  return {
    apiVersion: "storage.k8s.io/v1",
    kind: "StorageClass",
    metadata: {
      name: called,
      ...(isDefault ? { annotations: { "storageclass.kubernetes.io/is-default-class": "true" } } : {}),
    },
    provisioner: "pd.csi.storage.gke.io",
    parameters,
    reclaimPolicy: "Delete",
    volumeBindingMode: "WaitForFirstConsumer",
    allowVolumeExpansion: true,
  };
}

/** Google Cloud. */
export const gcp: CloudTable = {
  name: "gcp",
  types,
  functions,
  partition: (configuration, properties) => project({ configuration, inputs: properties }),
  noPartition: {
    property: "project",
    reason: "project: required field is not set. Set it with `pulumi config set gcp:project <project>`",
  },
  forbidden,
  inUse: (noun, id, user) =>
    `googleapi: Error 400: The ${noun} resource '${id}' is already being used by '${user}', resourceInUseByAnotherResource`,
  quotaExceeded: (quota, limit) =>
    `googleapi: Error 403: Quota '${quota}' exceeded. Limit: ${limit.toFixed(1)} globally., quotaExceeded`,
  notFound: (id) => `googleapi: Error 404: The resource '${id}' was not found, notFound`,
  cluster: {
    type: CLUSTER,
    nodes: NODE_POOL,
    loadBalancersHold: ["network", "subnetwork"],
    born: () => storageClasses,
  },
  addresses: {
    type: ADDRESS,
    by: ["address", "name"],
    // https://cloud.google.com/kubernetes-engine/docs/concepts/service-load-balancer-parameters
    asked: (service) => {
      const annotation = part(part(service, "metadata"), "annotations")["networking.gke.io/load-balancer-ip-addresses"];
      const named = text(annotation).split(",");
      return [text(part(service, "spec")["loadBalancerIP"]), ...named].filter((value) => value !== "");
    },
  },
  loadBalancerName: ({ partition, namespace, name: service, uid }) =>
    `projects/${partition}/global/firewalls/k8s-fw-a${uid.replaceAll("-", "")}' of Service '${namespace}/${service}`,
};

/** Whether one range holds the whole of another; of what is no range yet, nobody can say so. */
function holds(range: string, other: string): boolean {
  if (!ipaddr.isValidCIDR(range) || !ipaddr.isValidCIDR(other)) return false;
  const [[network, length], [start, otherLength]] = [ipaddr.parseCIDR(range), ipaddr.parseCIDR(other)];
  return network.kind() === start.kind() && length <= otherLength && start.match([network, length]);
}

function subnetworkRefused(context: Context): string | undefined {
  const { inputs, outputs, objects, serial } = context;
  const at = region(context);
  if (!(at in REGIONS)) {
    return `googleapi: Error 400: Invalid value for field 'region': '${at}'. Unknown region., invalid`;
  }
  // https://docs.cloud.google.com/vpc/docs/create-modify-vpc-networks#edit-secondary
  const wanted = ranges(inputs["secondaryIpRanges"]);
  const own = objects.find((object) => object.type === SUBNETWORK && object.serial === serial);
  const gone = [...ranges(outputs["secondaryIpRanges"])].filter(([name, range]) => wanted.get(name) !== range);
  for (const [name] of gone) {
    const user = objects.find(
      (object) =>
        object.type === CLUSTER &&
        [own?.id, own?.outputs["selfLink"], own?.outputs["name"]].includes(text(object.inputs["subnetwork"])) &&
        Object.values(part(object.inputs, "ipAllocationPolicy")).includes(name),
    );
    if (user) {
      return (
        `googleapi: Error 400: Invalid value for field 'resource.secondaryIpRanges': the secondary range '${name}' is ` +
        `already being used by '${user.id}', resourceInUseByAnotherResource`
      );
    }
  }
  return undefined;
}

/** Secondary ranges, by name. */
function ranges(value: Value | undefined): Map<string, string> {
  const list = Array.isArray(value) ? value.filter(isObject) : [];
  return new Map(list.map(({ rangeName, ipCidrRange }) => [text(rangeName), text(ipCidrRange)]));
}

function clusterRefused(context: Context): string | undefined {
  const { inputs, objects, serial } = context;
  const at = location(context);
  if (nodeZones(at).length === 0) {
    return `googleapi: Error 400: Location "${at}" does not exist., badRequest`;
  }
  const other = objects.find((object) => object.type === CLUSTER && object.serial !== serial);
  if (other) {
    return (
      `the stand-in cloud has one control plane to hand out, the local engine's, and ${other.id} has it: ` +
      `this is a limit of the stand-in, not of Google Cloud`
    );
  }
  if (inputs["enableAutopilot"] !== true && inputs["initialNodeCount"] === undefined && !inputs["nodePools"]) {
    return "googleapi: Error 400: Cluster.initial_node_count must be greater than zero., badRequest";
  }
  for (const range of ["clusterSecondaryRangeName", "servicesSecondaryRangeName"]) {
    const wanted = text(part(inputs, "ipAllocationPolicy")[range]);
    if (wanted !== "" && secondaryRange(context, range) === undefined) {
      const subnetwork = text(inputs["subnetwork"]);
      return `googleapi: Error 400: Services or pods secondary range "${wanted}" does not exist in subnetwork "${subnetwork}"., badRequest`;
    }
  }
  const wanted = text(inputs["minMasterVersion"]);
  if (wanted !== "" && offered(channel(inputs), wanted) === undefined) {
    return `googleapi: Error 400: Master version "${wanted}" is unsupported., badRequest`;
  }
  return machineRefused(part(inputs, "nodeConfig"), at);
}

function nodePoolRefused(context: Context): string | undefined {
  const { inputs } = context;
  const autoscaling = part(inputs, "autoscaling");
  const total = "totalMinNodeCount" in autoscaling || "totalMaxNodeCount" in autoscaling;
  if (total && ("minNodeCount" in autoscaling || "maxNodeCount" in autoscaling)) {
    return "googleapi: Error 400: Cannot set both per zone and total autoscaling limits., badRequest";
  }
  const at = text(poolCluster(context)?.outputs["location"]);
  const beginning = Number(inputs["initialNodeCount"] ?? 0) * nodeZones(at).length;
  if ("totalMaxNodeCount" in autoscaling && beginning > Number(autoscaling["totalMaxNodeCount"])) {
    return "googleapi: Error 400: Initial node count, over all zones, is more than the total maximum., badRequest";
  }
  if (!text(inputs["cluster"]).includes("/") && poolLocation(context) !== at) {
    return `error creating NodePool: googleapi: Error 404: Not found: ${nodePoolCluster(context)}., notFound`;
  }
  const wanted = text(inputs["version"]);
  if (wanted !== "" && !Object.values(VERSIONS).some((versions) => versions.includes(wanted))) {
    return `googleapi: Error 400: Node version "${wanted}" is unsupported., badRequest`;
  }
  return machineRefused(part(inputs, "nodeConfig"), at);
}

function machineRefused(nodeConfig: Properties, at: string): string | undefined {
  const machine = text(nodeConfig["machineType"]);
  if (machine === "" || SMALL_MACHINES.includes(machine) || /^(custom|[a-z0-9]+-custom)-\d+-\d+$/.test(machine)) {
    return undefined;
  }
  const [, family = "", shape = "", cpus = ""] = /^([a-z0-9]+)-([a-z]+)-(\d+)(?:-lssd)?$/.exec(machine) ?? [];
  const known = MACHINES[family];
  if (known?.shapes.includes(shape) === true && known.cpus.includes(Number(cpus))) return undefined;
  return (
    `googleapi: Error 400: Machine type with name '${machine}' does not exist in zone ` +
    `'${nodeZones(at)[0] ?? at}'., badRequest`
  );
}

/** The nodes that a pool may grow to: `maxNodeCount` counts per zone, `totalMaxNodeCount` counts all. */
function effectiveMaximum(context: Context): number {
  const { inputs } = context;
  const autoscaling = part(inputs, "autoscaling");
  const total = autoscaling["totalMaxNodeCount"];
  if (typeof total === "number") return total;
  const given = inputs["nodeLocations"];
  const places = Array.isArray(given) ? given : nodeZones(text(poolCluster(context)?.outputs["location"]));
  const perZone = autoscaling["maxNodeCount"] ?? inputs["nodeCount"] ?? inputs["initialNodeCount"] ?? 1;
  return typeof perZone === "number" ? perZone * places.length : 0;
}

/** The version of the control plane: never lower than it was, and what the release channel gives if nothing is asked. */
function masterVersion({ inputs, outputs }: Context): string {
  const had = text(outputs["masterVersion"]);
  const wanted = text(inputs["minMasterVersion"]);
  const found = wanted === "" ? (VERSIONS[channel(inputs)] ?? [])[0] : offered(channel(inputs), wanted);
  if (had !== "" && (wanted === "" || minor(found ?? "") <= minor(had))) return had;
  return found ?? "";
}

/** The version that a whole or shortened one, as `1.35`, stands for. */
function offered(of: string, wanted: string): string | undefined {
  return VERSIONS[of]?.find(
    (version) => version === wanted || (/^[.-]/.test(version.slice(wanted.length)) && version.startsWith(wanted)),
  );
}

function minor(version: string): number {
  return Number(/^\d+\.(\d+)/.exec(version)?.[1] ?? 0);
}

function channel(inputs: Properties): string {
  return text(part(inputs, "releaseChannel")["channel"]) || "REGULAR";
}

/** The range of the cluster's subnetwork that one of its two names stands for. */
function secondaryRange({ inputs, objects }: Context, key: string): string | undefined {
  const wanted = text(part(inputs, "ipAllocationPolicy")[key]);
  const named = text(inputs["subnetwork"]);
  const subnetwork = objects.find(
    ({ type, id, outputs }) => type === SUBNETWORK && [id, outputs["selfLink"], outputs["name"]].includes(named),
  );
  const ranges = subnetwork?.outputs["secondaryIpRanges"];
  const range = Array.isArray(ranges)
    ? ranges.filter(isObject).find(({ rangeName }) => rangeName === wanted)
    : undefined;
  return typeof range?.["ipCidrRange"] === "string" ? range["ipCidrRange"] : undefined;
}

/** The node pools of a cluster, as its own API shows them. */
function nodePools({ outputs, serial, objects }: Context): Value {
  const cluster = objects.find((object) => object.serial === serial);
  return cluster ? poolsOf(cluster, objects) : (outputs["nodePools"] ?? []);
}

function poolsOf(cluster: CloudObject, objects: readonly CloudObject[]): Properties[] {
  return pools(cluster.id, objects).map(({ outputs }) => ({
    name: outputs["name"] ?? "",
    nodeCount: outputs["nodeCount"] ?? 0,
    initialNodeCount: outputs["initialNodeCount"] ?? 0,
    version: outputs["version"] ?? "",
    nodeConfig: outputs["nodeConfig"] ?? {},
  }));
}

/** A cluster shows the configuration of its first nodes, and that of its default pool only while it has one. */
function clusterNodeConfig({ inputs, outputs, objects }: Context): Value {
  const given = part(inputs, "nodeConfig");
  if (inputs["removeDefaultNodePool"] !== true) return { ...NODE_CONFIG, ...given };
  const id = text(outputs["selfLink"]).replace(container(""), "");
  return pools(id, objects)[0]?.outputs["nodeConfig"] ?? { ...NODE_CONFIG };
}

function pools(cluster: string, objects: readonly CloudObject[]): CloudObject[] {
  return objects.filter(({ type, id }) => type === NODE_POOL && id.startsWith(`${cluster}/nodePools/`));
}

/** The cluster of a node pool, whether it is named by its id, its link or its name. */
function poolCluster({ inputs, objects }: Pick<Context, "inputs" | "objects">): CloudObject | undefined {
  const named = text(inputs["cluster"]);
  return objects.find(
    ({ type, id, outputs }) => type === CLUSTER && [id, outputs["selfLink"], outputs["name"]].includes(named),
  );
}

function nodePoolCluster(context: Context): string {
  const named = text(context.inputs["cluster"]);
  if (named.includes("/")) return named.replace(container(""), "");
  return `projects/${project(context)}/locations/${poolLocation(context)}/clusters/${named}`;
}

/** A node pool is where its cluster is, when the cluster's name says where that is. */
function poolLocation(context: Context): string {
  const { inputs } = context;
  const cluster = text(inputs["cluster"]);
  if (inputs["location"] !== undefined) return location(context);
  return isUnknown(cluster) ? UNKNOWN : (/locations\/([^/]+)\//.exec(cluster)?.[1] ?? location(context));
}

function instanceGroups(context: Context): Value {
  return nodeZones(text(poolCluster(context)?.outputs["location"])).map((zone) =>
    compute(`projects/${project(context)}/zones/${zone}/instanceGroupManagers/gke-${name(context)}-${context.serial}`),
  );
}

/** The lowest address that nobody has, of the range that RFC 5737 keeps for documentation. */
function freeAddress({ objects }: Context): string {
  const taken = new Set(objects.map(({ outputs }) => outputs["address"]));
  for (let last = 1; last < 255; last++) {
    if (!taken.has(`192.0.2.${last}`)) return `192.0.2.${last}`;
  }
  throw new Error("googleapi: Error 403: the stand-in cloud has no address left of 192.0.2.0/24");
}

function email(context: Context): string {
  return `${text(context.inputs["accountId"])}@${project(context)}.iam.gserviceaccount.com`;
}

function zones(of: string): string[] {
  return Array.from(REGIONS[of] ?? "", (letter) => `${of}-${letter}`);
}

/** Where nodes go by default: three zones of a region, or the one zone. Empty for what is neither. */
function nodeZones(at: string): string[] {
  const all = Object.keys(REGIONS).flatMap(zones);
  return all.includes(at) ? [at] : zones(at).slice(0, 3);
}

/** The same properties as a data source has them: blocks in lists, under names in the plural. */
function dataSource(properties: Properties): Properties {
  return Object.fromEntries(
    Object.entries(properties).map(([key, value]) =>
      isObject(value) && !/labels$/i.test(key) ? [plural(key), [dataSource(value)]] : [key, value],
    ),
  );
}

function plural(word: string): string {
  if (word.endsWith("y")) return `${word.slice(0, -1)}ies`;
  return word.endsWith("s") ? word : `${word}s`;
}

function lastSegment(path: string): string {
  return path.split("/").at(-1) ?? "";
}

function digest(of: string): string {
  return createHash("sha256").update(of).digest("hex");
}

/** Digits that are always the same for the same text. */
function digits(of: string, length: number): string {
  const number = BigInt(`0x${digest(of)}`).toString();
  return `${number.slice(0, length - 1).replace(/^0/, "1")}${number.slice(-1)}`;
}

function text(value: Value | undefined): string {
  return typeof value === "string" ? value : "";
}
