import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { stringify } from "yaml";
import type { CloudTable, Context, FunctionCall, Reference } from "../cloud";
import type { Kubeconfig } from "../kubernetes/kubeconfig";
import { isObject, type Properties, type Value } from "../provider";
import { part } from "./observation";

/** https://www.civo.com/docs/overview/regions */
const REGIONS: Readonly<Record<string, string>> = {
  FRA1: "Germany",
  LON1: "United Kingdom",
  MUM1: "India",
  NYC1: "United States",
  PHX1: "United States",
};

/** Sizes for nodes and two for instances. Not all that there are. https://www.civo.com/pricing */
const SIZES: readonly string[] = [
  ...["xsmall", "small", "medium", "large"].map((size) => `g4s.kube.${size}`),
  ...["small", "medium", "large", "xlarge"].flatMap((size) => [
    `g4p.kube.${size}`,
    `g4c.kube.${size}`,
    `g4m.kube.${size}`,
  ]),
  ...["g4s.small", "g4s.large"],
];

/** The first is what a new cluster gets. Of the same form as Civo's, but made up. */
const VERSIONS = ["1.35.4-k3s1", "1.36.2-k3s1", "1.34.8-k3s1"];

const NETWORK = "civo:index/network:Network";
const FIREWALL = "civo:index/firewall:Firewall";
const RESERVED_IP = "civo:index/reservedIp:ReservedIp";
const CLUSTER = "civo:index/kubernetesCluster:KubernetesCluster";

const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$/;
const CIDR = /^\d{1,3}(\.\d{1,3}){3}\/\d{1,2}$/;

const region = (configuration: Properties, inputs: Properties): string =>
  (text(inputs["region"]) || text(configuration["region"])).toUpperCase();

const here = ({ configuration, inputs }: Context): string => region(configuration, inputs);

/** Civo's ids are random. These come out the same for the same object, and for no other. */
const id =
  (type: string) =>
  ({ serial }: Pick<Context, "serial">): string =>
    uuid(`${type} ${serial}`);

/** What Civo says to a second object of the same name. */
function taken(type: string, property: string, error: string) {
  return ({ inputs, objects, partition, serial }: Context): string | undefined => {
    const other = objects.find(
      (object) =>
        object.type === type &&
        object.partition === partition &&
        object.serial !== serial &&
        object.inputs[property] === inputs[property],
    );
    return other ? `[ERR] ${error}: the name ${text(inputs[property])} is taken` : undefined;
  };
}

const network: Reference = {
  type: NETWORK,
  by: ["id"],
  missing: (value) => `[ERR] DatabaseNetworkNotFoundError: no network ${value}`,
};

const rules = ["ingressRules", "egressRules"] as const;

/** Types as Civo's Terraform provider defines them. https://github.com/civo/terraform-provider-civo/tree/v1.2.6/civo */
const types: CloudTable["types"] = {
  [NETWORK]: {
    noun: "network",
    required: ["label"],
    match: { label: NAME, cidrV4: CIDR },
    id: id(NETWORK),
    exists: (value) => `[ERR] failed to create a new network: ${value}`,
    refuse: taken(
      NETWORK,
      "label",
      "failed to create a new network after multiple attempts: DatabaseNetworkExistsError",
    ),
    quota: "network_count_limit",
    replace: [],
    settled: { region: here },
    computed: {
      name: ({ inputs }) => `cust-${text(inputs["label"])}-${uuid(text(inputs["label"])).slice(0, 4)}`,
      default: () => false,
      cidrV4: () => "192.168.1.0/24",
      nameserversV4s: () => ["8.8.8.8", "1.1.1.1"],
    },
  },
  [FIREWALL]: {
    noun: "firewall",
    required: ["name", ...rules.flatMap((kind) => [`${kind}[*].cidrs`, `${kind}[*].action`])],
    match: { name: NAME, ...Object.fromEntries(rules.map((kind) => [`${kind}[*].cidrs[*]`, CIDR])) },
    oneOf: Object.fromEntries(
      rules.flatMap((kind) => [
        [`${kind}[*].protocol`, ["tcp", "udp", "icmp"]],
        [`${kind}[*].action`, ["allow", "deny"]],
      ]),
    ),
    defaults: { createDefaultRules: true },
    id: id(FIREWALL),
    exists: (value) => `[ERR] failed to create a new firewall: ${value}`,
    refuse: firewallRefused,
    quota: "security_group_limit",
    replace: ["networkId", "createDefaultRules"],
    settled: { region: here },
    refs: { networkId: network },
  },
  [RESERVED_IP]: {
    noun: "reserved IP",
    required: ["name"],
    match: { name: NAME },
    id: id(RESERVED_IP),
    exists: (value) => `[ERR] failed to create a new ip address: ${value}`,
    refuse: taken(RESERVED_IP, "name", "failed to create a new ip address"),
    quota: "public_ip_address_limit",
    replace: [],
    settled: { region: here },
    computed: { ip: freeAddress },
  },
  [CLUSTER]: {
    noun: "Kubernetes cluster",
    required: ["firewallId", "pools", "pools.size", "pools.nodeCount"],
    match: { name: NAME, "pools.label": /^[a-zA-Z0-9-]+$/ },
    oneOf: { cni: ["cilium", "flannel"], clusterType: ["k3s", "talos"] },
    defaults: { writeKubeconfig: false },
    id: id(CLUSTER),
    exists: (value) => `[ERR] failed to create the kubernetes cluster: ${value}`,
    refuse: clusterRefused,
    quota: "cluster_count_limit",
    // Civo's provider replaces a cluster for nothing: what it cannot change fails.
    replace: [],
    settled: { region: here },
    refs: {
      networkId: network,
      firewallId: {
        type: FIREWALL,
        by: ["id"],
        missing: (value) => `[ERR] unable to find firewall - DatabaseFirewallNotFoundError: ${value}`,
      },
    },
    computed: {
      kubernetesVersion: () => VERSIONS[0],
      clusterType: () => "k3s",
      cni: () => "flannel",
      status: () => "ACTIVE",
      ready: () => true,
      apiEndpoint: ({ controlPlane }) => controlPlane().server,
      masterIp: ({ controlPlane }) => new URL(controlPlane().server).hostname,
      dnsEntry: ({ serial }) => `${id(CLUSTER)({ serial })}.k8s.civo.com`,
      createdAt: () => new Date().toISOString(),
      installedApplications: () => [
        { application: "metrics-server", version: "", installed: true, category: "architecture" },
      ],
    },
    derived: {
      kubeconfig: ({ inputs, controlPlane }) =>
        inputs["writeKubeconfig"] === true ? kubeconfig(text(inputs["name"]), controlPlane()) : "",
      pools: ({ inputs, outputs, serial }) => ({
        label: uuid(`pool ${serial}`),
        publicIpNodePool: false,
        instanceNames: part(outputs, "pools")["instanceNames"] ?? [],
        ...part(inputs, "pools"),
      }),
    },
  },
};

const functions: CloudTable["functions"] = {
  "civo:index/getRegion:getRegion": (_, call) => {
    requireToken(call);
    const own = region(call.configuration, {});
    const known = Object.entries(REGIONS).map(([code, country]) => ({
      code,
      name: code,
      country,
      default: code === "LON1",
    }));
    // A region that came after this table is nothing to refuse where nobody asks Civo.
    const unknown = call.planning && !(own in REGIONS) ? [{ code: own, name: own, country: "", default: false }] : [];
    return { id: "regions", regions: [...known, ...unknown] };
  },
  "civo:index/getInstances:getInstances": (args, call) => {
    requireToken(call);
    const at = region(call.configuration, args);
    if (call.visible?.includes(at) === false) throw new Error(forbidden());
    return { id: "instances", region: at, instances: [] };
  },
  "civo:index/getSize:getSize": (args, call) => {
    requireToken(call);
    const filters = Array.isArray(args["filters"]) ? args["filters"].filter(isObject) : [];
    const wanted = filters.flatMap(({ values }) => (Array.isArray(values) ? values.map(text) : []));
    const found = wanted.length === 0 || call.planning ? [...new Set([...SIZES, ...wanted])] : SIZES;
    const names = found.filter((name) => wanted.length === 0 || wanted.includes(name));
    return { id: "sizes", sizes: names.map((name) => ({ name, type: "kubernetes", selectable: true })) };
  },
  "civo:index/getKubernetesCluster:getKubernetesCluster": (args, call) => {
    requireToken(call);
    const at = region(call.configuration, args);
    const name = text(args["name"]);
    if (call.planning) {
      // As a cluster would be that can carry workspaces, at an address of nobody's (RFC 5737).
      const nobody = { server: "https://192.0.2.1:6443", ca: "", user: {} };
      return { ...args, id: uuid(`${at} ${name}`), cni: "cilium", kubeconfig: kubeconfig(name, nobody) };
    }
    const found = call.objects.find(
      ({ type, partition, inputs }) => type === CLUSTER && partition === at && inputs["name"] === name,
    );
    if (!found) throw new Error("[ERR] failed to retrive kubernetes cluster: ZeroMatchesError: unable to find " + name);
    return { ...found.outputs, id: found.id, kubeconfig: kubeconfig(name, call.controlPlane()) };
  },
};

function requireToken({ configuration, planning }: FunctionCall): void {
  if (planning || text(configuration["token"]) !== "" || (process.env["CIVO_TOKEN"] ?? "") !== "") return;
  throw new Error("[ERR] No token configuration found in $CIVO_TOKEN or ~/.civo.json");
}

function forbidden(): string {
  return "[ERR] AuthenticationInvalidKeyError: The API key provided is invalid";
}

/**
 * What Civo's clusters are born with: the class of its CSI driver, and the Secret that its controllers reach Civo by.
 * https://www.civo.com/docs/kubernetes/kubernetes-volumes, https://github.com/civo/civo-csi/tree/master/deploy/kubernetes
 */
function born({ inputs, configuration, serial }: Context): readonly Properties[] {
  return [
    {
      apiVersion: "storage.k8s.io/v1",
      kind: "StorageClass",
      metadata: { name: "civo-volume", annotations: { "storageclass.kubernetes.io/is-default-class": "true" } },
      provisioner: "csi.civo.com",
      reclaimPolicy: "Delete",
      volumeBindingMode: "WaitForFirstConsumer",
      allowVolumeExpansion: true,
    },
    {
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name: "civo-api-access", namespace: "kube-system" },
      stringData: {
        "api-url": "https://api.civo.invalid",
        "api-key": uuid(`key ${serial}`),
        "cluster-id": id(CLUSTER)({ serial }),
        region: region(configuration, inputs),
      },
    },
  ];
}

/** Civo. */
export const civo: CloudTable = {
  name: "civo",
  types,
  functions,
  partition: region,
  noPartition: {
    property: "region",
    reason: "region: required field is not set. Set it with `pulumi config set civo:region <region>`",
  },
  forbidden,
  inUse: (noun, of, user) =>
    `[ERR] an error occurred while trying to delete the ${noun} ${of}: it is in use by ${user}`,
  quotaExceeded: (quota, limit) => `[ERR] QuotaLimitReachedError: ${quota} is ${limit}`,
  notFound: (of) => `[ERR] ZeroMatchesError: unable to find ${of}`,
  cluster: { type: CLUSTER, loadBalancersHold: ["networkId", "firewallId"], born },
  addresses: {
    type: RESERVED_IP,
    by: ["ip", "name", "id"],
    // https://github.com/civo/civo-cloud-controller-manager#load-balancer-customisation
    asked: (service) => {
      const asked = text(part(part(service, "metadata"), "annotations")["kubernetes.civo.com/ipv4-address"]);
      return asked === "" ? [] : [asked];
    },
  },
  loadBalancerName: ({ namespace, name }) => `the load balancer of the Service ${namespace}/${name}`,
};

function firewallRefused(context: Context): string | undefined {
  const { inputs } = context;
  if (inputs["createDefaultRules"] === false && rules.every((kind) => listed(inputs[kind]).length === 0))
    return "if you set create_default_rules to false you need to define at least one ingress or egress rule";
  for (const kind of rules)
    if (listed(inputs[kind]).some(({ protocol, portRange }) => protocol !== "icmp" && text(portRange) === ""))
      return `\`ports\` of ${kind} is required if protocol is \`tcp\` or \`udp\``;
  return taken(FIREWALL, "name", "failed to create a new firewall: DatabaseFirewallExistsError")(context);
}

function clusterRefused(context: Context): string | undefined {
  const { inputs, outputs, objects, serial } = context;
  const other = objects.find((object) => object.type === CLUSTER && object.serial !== serial);
  if (other)
    return (
      `the stand-in cloud has one control plane to hand out, the local engine's, and ${text(other.inputs["name"])} has ` +
      "it: this is a limit of the stand-in, not of Civo"
    );
  if (!(here(context) in REGIONS)) return `[ERR] failed to create the kubernetes cluster: no region ${here(context)}`;
  const firewall = objects.find((object) => object.type === FIREWALL && object.id === inputs["firewallId"]);
  if (firewall && firewall.inputs["networkId"] !== inputs["networkId"])
    return `[ERR] firewall ${firewall.id} is not part of network ${text(inputs["networkId"])}`;
  if (inputs["clusterType"] === "talos" && inputs["cni"] === "cilium")
    return "cilium CNI is not supported with Talos cluster type. Please use flannel CNI instead";
  const version = text(inputs["kubernetesVersion"]);
  if (version !== "" && !VERSIONS.includes(version)) return `invalid Kubernetes version: '${version}'`;
  const pool = part(inputs, "pools");
  if (!SIZES.includes(text(pool["size"])) || !text(pool["size"]).includes(".kube."))
    return `[ERR] failed to create the kubernetes cluster: DatabaseInstanceSizeNotFoundError: ${text(pool["size"])}`;
  if (Object.keys(outputs).length === 0) return undefined;
  if (outputs["networkId"] !== inputs["networkId"])
    return '[ERR] Network change ("network_id") for existing cluster is not available at this moment';
  if (part(outputs, "pools")["size"] !== pool["size"])
    return '[ERR] Size change ("size") for existing cluster is not available at this moment';
  // Kubernetes cannot go back. What Civo says to who asks for it is not known: the words are ours.
  // https://kubernetes.io/releases/version-skew-policy/#supported-component-upgrade-order
  const had = text(outputs["kubernetesVersion"]);
  if (version !== "" && version.localeCompare(had, "en", { numeric: true }) < 0)
    return `the stand-in Civo takes no Kubernetes version back: the cluster has ${had}, and ${version} is older`;
  for (const key of ["applications", "clusterType", "cni"])
    if (inputs[key] !== undefined && outputs[key] !== inputs[key]) return `the '${key}' field is immutable`;
  return undefined;
}

/** As Civo hands it out: an admin's, with the client certificate inside. */
function kubeconfig(name: string, { server, ca, user }: Pick<Kubeconfig, "server" | "ca" | "user">): string {
  const inline = Object.fromEntries(
    ["client-certificate", "client-key"].map((key) => [`${key}-data`, inlined(user, key)]),
  );
  const cluster = { server, "certificate-authority-data": Buffer.from(ca).toString("base64") };
  return stringify({
    apiVersion: "v1",
    kind: "Config",
    "current-context": name,
    clusters: [{ name, cluster }],
    contexts: [{ name, context: { cluster: name, user: name } }],
    users: [{ name, user: inline }],
  });
}

/** What `<key>-data` says, or the file that `<key>` names, in base64. */
function inlined(user: Readonly<Record<string, unknown>>, key: string): string {
  const data = user[`${key}-data`];
  if (typeof data === "string") return data;
  const file = user[key];
  return typeof file === "string" ? readFileSync(file).toString("base64") : "";
}

/** The lowest address that nobody has, of the range that RFC 5737 keeps for documentation. */
function freeAddress({ objects }: Context): string {
  const had = new Set(objects.map(({ outputs }) => outputs["ip"]));
  for (let last = 1; last < 255; last++) {
    if (!had.has(`192.0.2.${last}`)) return `192.0.2.${last}`;
  }
  throw new Error("[ERR] failed to create a new ip address: the stand-in cloud has none left of 192.0.2.0/24");
}

function listed(value: Value | undefined): Properties[] {
  return Array.isArray(value) ? value.filter(isObject) : [];
}

function uuid(of: string): string {
  const digest = createHash("sha256").update(of).digest("hex");
  return [
    digest.slice(0, 8),
    digest.slice(8, 12),
    `4${digest.slice(13, 16)}`,
    `8${digest.slice(17, 20)}`,
    digest.slice(20, 32),
  ].join("-");
}

function text(value: Value | undefined): string {
  return typeof value === "string" ? value : "";
}
