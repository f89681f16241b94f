import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import * as gcp from "@pulumi/gcp";
import { gcp as table } from "../../../local/plugins/cloud/gcp";
import type { Properties, Provider } from "../../../local/plugins/provider";
import {
  authority,
  boundVolume,
  compared,
  deleted,
  loadBalancerService,
  type Made,
  made,
  refreshed,
  StandInCloud,
  updated,
} from "../../support/cloud";

const network = "gcp:compute/network:Network";
const subnetwork = "gcp:compute/subnetwork:Subnetwork";
const router = "gcp:compute/router:Router";
const routerNat = "gcp:compute/routerNat:RouterNat";
const address = "gcp:compute/address:Address";
const serviceAccount = "gcp:serviceaccount/account:Account";
const iamMember = "gcp:projects/iAMMember:IAMMember";
const service = "gcp:projects/service:Service";
const cluster = "gcp:container/cluster:Cluster";
const nodePool = "gcp:container/nodePool:NodePool";

const region = "europe-west3";

let cloud: StandInCloud;
let provider: Provider;
/** What the controllers of the cluster see in it. */
let services: Properties[];
let volumes: Properties[];
beforeEach(async () => {
  [services, volumes] = [[], []];
  cloud = new StandInCloud({ observe: () => Promise.resolve({ services, volumes }) });
  provider = await cloud.provider();
});
afterEach(() => {
  cloud.remove();
});

const clusterInputs = (more: Properties = {}): Properties => ({
  ...{ name: "ws", location: region, network: "net", subnetwork: "sub" },
  ...{ removeDefaultNodePool: true, initialNodeCount: 1, deletionProtection: false },
  ipAllocationPolicy: { clusterSecondaryRangeName: "pods", servicesSecondaryRangeName: "services" },
  ...more,
});

interface Landscape {
  readonly net: Made;
  readonly sub: Made;
  readonly ws: Made;
}

/** A network, a subnetwork and a cluster in it. */
async function landscape(more: Properties = {}): Promise<Landscape> {
  const net = await made(provider, network, { name: "net", autoCreateSubnetworks: false });
  const sub = await made(provider, subnetwork, {
    ...{ name: "sub", network: net.id, region, ipCidrRange: "10.0.0.0/20" },
    secondaryIpRanges: [
      { rangeName: "pods", ipCidrRange: "10.4.0.0/14" },
      { rangeName: "services", ipCidrRange: "10.8.0.0/20" },
    ],
  });
  return { net, sub, ws: await made(provider, cluster, clusterInputs(more)) };
}

const pool = ({ ws }: Landscape, more: Properties = {}): Promise<Made> =>
  made(provider, nodePool, { name: "workers", cluster: ws.id, location: region, ...more });

const invoke = (token: string, args: Properties): Promise<Properties> => provider.invoke!(token, args);

describe("the stand-in Google Cloud", () => {
  it("knows every type by the name that the SDK has for it", () => {
    const sdk = [
      [gcp.projects.Service, gcp.compute.Network, gcp.compute.Subnetwork, gcp.compute.Router, gcp.compute.RouterNat],
      [gcp.compute.Address, gcp.serviceaccount.Account, gcp.projects.IAMMember],
      [gcp.container.Cluster, gcp.container.NodePool],
    ].flat() as unknown as { readonly __pulumiType: string }[];
    assert.deepEqual(Object.keys(table.types).sort(), sdk.map(({ __pulumiType }) => __pulumiType).sort());
  });

  it("names things as Google does", async () => {
    const all = await landscape();
    const nodes = await pool(all);
    const cloudRouter = await made(provider, router, { name: "router", network: "net", region });
    const nat = await made(provider, routerNat, {
      ...{ name: "nat", router: "router", region, sourceSubnetworkIpRangesToNat: "LIST_OF_SUBNETWORKS" },
      subnetworks: [{ name: "sub", sourceIpRangesToNats: ["ALL_IP_RANGES"] }],
    });
    const ip = await made(provider, address, { name: "ip" });
    const account = await made(provider, serviceAccount, { accountId: "nodes-of-ws" });
    const role = "roles/container.defaultNodeServiceAccount";
    const binding = await made(provider, iamMember, { project: "alpha", role, member: account.outputs["member"]! });
    const api = await made(provider, service, { service: "container.googleapis.com" });
    const { net, sub, ws } = all;
    const ids = [net, sub, ws, nodes, cloudRouter, nat, ip, account, binding, api].map(({ id }) => id);
    assert.deepEqual(ids, [
      "projects/alpha/global/networks/net",
      "projects/alpha/regions/europe-west3/subnetworks/sub",
      "projects/alpha/locations/europe-west3/clusters/ws",
      "projects/alpha/locations/europe-west3/clusters/ws/nodePools/workers",
      "projects/alpha/regions/europe-west3/routers/router",
      "alpha/europe-west3/router/nat",
      "projects/alpha/regions/europe-west3/addresses/ip",
      "projects/alpha/serviceAccounts/nodes-of-ws@alpha.iam.gserviceaccount.com",
      `alpha/${role}/serviceAccount:nodes-of-ws@alpha.iam.gserviceaccount.com`,
      "alpha/container.googleapis.com",
    ]);
  });

  it("hands out addresses that nobody else has, of the range for documentation", async () => {
    const [one, two] = [await made(provider, address, {}), await made(provider, address, {})];
    assert.deepEqual([one.outputs["address"], two.outputs["address"]], ["192.0.2.1", "192.0.2.2"]);
    await deleted(provider, one);
    assert.equal((await made(provider, address, {})).outputs["address"], "192.0.2.1");
  });

  it("grants nothing to a service account that is not there, and leaves other projects' accounts alone", async () => {
    const grant = (member: string): Promise<Made> =>
      made(provider, iamMember, { project: "alpha", role: "roles/viewer", member });
    await assert.rejects(
      grant("serviceAccount:gone@alpha.iam.gserviceaccount.com"),
      /Error 400: Service account gone@alpha\.iam\.gserviceaccount\.com does not exist\., badRequest/,
    );
    await grant("serviceAccount:theirs@other.iam.gserviceaccount.com");
    await grant("user:somebody@example.test");
  });

  it("lets two stacks enable the same API", async () => {
    const api = { service: "container.googleapis.com" };
    assert.equal((await made(provider, service, api)).id, (await made(provider, service, api)).id);
  });
});

describe("the stand-in GKE", () => {
  it("hands out the local control plane", async () => {
    const { outputs } = (await landscape()).ws;
    assert.equal(outputs["endpoint"], "127.0.0.1:6443");
    const { clusterCaCertificate } = outputs["masterAuth"] as Record<string, string>;
    assert.equal(Buffer.from(clusterCaCertificate!, "base64").toString(), authority);
  });

  it("says how to get a control plane when there is none", async () => {
    rmSync(cloud.kubeconfig);
    await assert.rejects(landscape(), /no cluster to hand out: .*kubeconfig.*"npm start"/);
  });

  it("refuses a second cluster, in any project, as its own limit", async () => {
    await landscape();
    provider = await cloud.provider({ project: "beta", region });
    await assert.rejects(landscape(), /limit of the stand-in, not of Google Cloud/);
  });

  it("refuses networks, ranges, places and machines that are not there", async () => {
    await assert.rejects(made(provider, cluster, clusterInputs()), {
      message: 'googleapi: Error 400: Project "alpha" has no network named "net"., badRequest',
    });
    const all = await landscape();
    await deleted(provider, all.ws);
    const wrong: [Properties, RegExp][] = [
      [{ subnetwork: "other" }, /Subnetwork "other" is not valid for Network "net"\., badRequest/],
      [{ location: "europe-west99" }, /Location "europe-west99" does not exist/],
      [
        { ipAllocationPolicy: { clusterSecondaryRangeName: "gone" } },
        /range "gone" does not exist in subnetwork "sub"/,
      ],
      [{ nodeConfig: { machineType: "e3-standard-4" } }, /'e3-standard-4' does not exist in zone 'europe-west3-a'/],
      [{ initialNodeCount: null }, /initial_node_count must be greater than zero/],
    ];
    for (const [more, message] of wrong) {
      await assert.rejects(made(provider, cluster, clusterInputs(more)), { message });
    }
  });

  it("takes a zone for a place, and arm64 machines for machines", async () => {
    const { ws } = await landscape({ location: "europe-west3-b", nodeConfig: { machineType: "t2a-standard-4" } });
    assert.deepEqual(ws.outputs["nodeLocations"], ["europe-west3-b"]);
  });

  it("gives the version of the release channel, or the one that is asked for, and refuses one that it does not offer", async () => {
    const version = async (more: Properties): Promise<unknown> => {
      const { net, sub, ws } = await landscape(more);
      for (const one of [ws, sub, net]) await deleted(provider, one);
      return ws.outputs["masterVersion"];
    };
    assert.equal(await version({}), "1.35.8-gke.1000000");
    assert.equal(await version({ releaseChannel: { channel: "STABLE" } }), "1.34.12-gke.1000000");
    assert.equal(await version({ minMasterVersion: "1.36" }), "1.36.4-gke.1000000");
    await assert.rejects(version({ minMasterVersion: "1.3" }), /Error 400: Master version "1\.3" is unsupported/);
  });

  it("raises the version of a living cluster when asked, and never lowers it", async () => {
    const { ws } = await landscape();
    const raised = await updated(provider, ws, clusterInputs({ minMasterVersion: "1.36" }));
    const lowered = await updated(provider, raised, clusterInputs({ minMasterVersion: "1.34" }));
    assert.equal(raised.outputs["masterVersion"], "1.36.4-gke.1000000");
    assert.equal(lowered.outputs["masterVersion"], "1.36.4-gke.1000000");
    assert.equal(lowered.outputs["endpoint"], ws.outputs["endpoint"]);
    assert.deepEqual(lowered.outputs["masterAuth"], ws.outputs["masterAuth"]);
  });

  it("deletes no cluster that is protected, as every cluster is until it says otherwise", async () => {
    const { ws } = await landscape({ deletionProtection: null });
    await assert.rejects(
      deleted(provider, ws),
      /^Error: Cannot destroy cluster because deletion_protection is set to true/,
    );
    const { changes } = await compared(provider, ws, clusterInputs());
    assert.deepEqual([...changes], [["deletionProtection", { kind: "update", replace: false }]]);
    await deleted(provider, await updated(provider, ws, clusterInputs()));
  });

  it("replaces a cluster for what Google cannot change, and changes the rest in place", async () => {
    const { ws } = await landscape();
    const replaced = async (more: Properties): Promise<boolean> => {
      const { changes } = await compared(provider, ws, clusterInputs(more));
      assert.equal(changes.size, 1);
      return [...changes.values()][0]!.replace;
    };
    assert.equal(await replaced({ location: "europe-west1" }), true);
    assert.equal(await replaced({ subnetwork: "other" }), true);
    assert.equal(await replaced({ initialNodeCount: 2 }), true);
    assert.equal(await replaced({ privateClusterConfig: { enablePrivateNodes: true } }), true);
    assert.equal(
      await replaced({ ipAllocationPolicy: { clusterSecondaryRangeName: "pods", servicesSecondaryRangeName: "s2" } }),
      true,
    );
    assert.equal(await replaced({ releaseChannel: { channel: "STABLE" } }), false);
    assert.equal(await replaced({ masterAuthorizedNetworksConfig: { cidrBlocks: [] } }), false);
    assert.equal(await replaced({ resourceLabels: { team: "a" } }), false);
  });

  it("wants to replace a cluster each time for the nodes of its removed pool, unless told to ignore them", async () => {
    const inputs = { nodeConfig: { machineType: "e2-standard-2" } };
    const all = await landscape(inputs);
    await pool(all, { nodeConfig: { machineType: "n2-standard-8" } });
    const before = await compared(provider, all.ws, clusterInputs(inputs));
    assert.equal(before.changes.get("nodeConfig.machineType")?.replace, true);
    assert.equal(before.deleteBeforeReplace, true);

    const found = await refreshed(provider, all.ws);
    const shown = found!.properties["nodeConfig"] as Properties;
    assert.equal(shown["machineType"], "n2-standard-8");
    const ignored = await compared(provider, all.ws, clusterInputs(inputs), ["nodeConfig"]);
    assert.deepEqual(ignored.changes, new Map());
  });

  it("leaves a cluster alone that says nothing of the nodes of its removed pool", async () => {
    const { ws } = await landscape();
    assert.deepEqual((await compared(provider, ws, clusterInputs())).changes, new Map());
  });

  it("shows the node pools of a cluster when it is looked at again", async () => {
    const all = await landscape();
    assert.deepEqual(all.ws.outputs["nodePools"], []);
    await pool(all);
    const pools = (await refreshed(provider, all.ws))?.properties["nodePools"] as Properties[];
    assert.deepEqual(
      pools.map(({ name }) => name),
      ["workers"],
    );
  });

  it("makes no node pool without its cluster", async () => {
    const gone = { cluster: "projects/alpha/locations/europe-west3/clusters/gone", location: region };
    await assert.rejects(made(provider, nodePool, gone), {
      message:
        "error creating NodePool: googleapi: Error 404: Not found: " +
        "projects/alpha/locations/europe-west3/clusters/gone., notFound",
    });
  });

  it("counts the limits of a node pool per zone, and its total limits once", async () => {
    const all = await landscape();
    const maximum = async (more: Properties): Promise<unknown> => {
      const nodes = await pool(all, more);
      const { facts } = cloud.content().objects.find(({ id }) => id === nodes.id)!;
      await deleted(provider, nodes);
      return facts?.["effectiveMaximum"];
    };
    assert.equal(await maximum({ autoscaling: { minNodeCount: 1, maxNodeCount: 5 } }), 15);
    assert.equal(await maximum({ autoscaling: { totalMinNodeCount: 1, totalMaxNodeCount: 5 } }), 5);
    assert.equal(
      await maximum({ autoscaling: { maxNodeCount: 5 }, nodeLocations: ["europe-west3-a", "europe-west3-b"] }),
      10,
    );
    await assert.rejects(maximum({ autoscaling: { maxNodeCount: 5, totalMaxNodeCount: 5 } }), /per zone and total/);
  });

  it("grows the range of a subnetwork in place, and replaces it for any other", async () => {
    const { sub } = await landscape();
    const replaced = async (ipCidrRange: string): Promise<unknown> =>
      (await compared(provider, sub, { ...sub.inputs, ipCidrRange })).changes.get("ipCidrRange")?.replace;
    assert.equal(await replaced("10.0.0.0/19"), false);
    assert.equal(await replaced("10.0.0.0/21"), true);
    assert.equal(await replaced("10.1.0.0/20"), true);
  });

  it("refuses another range in the place of one that a cluster uses", async () => {
    const { sub } = await landscape();
    const secondaryIpRanges = [
      { rangeName: "pods", ipCidrRange: "10.12.0.0/14" },
      { rangeName: "services", ipCidrRange: "10.8.0.0/20" },
    ];
    await assert.rejects(
      updated(provider, sub, { ...sub.inputs, secondaryIpRanges }),
      /range 'pods' is already being used/,
    );
  });

  it("begins a pool with so many nodes in each zone, and refuses more than it may have in all", async () => {
    const all = await landscape();
    const autoscaling = { totalMinNodeCount: 1, totalMaxNodeCount: 2 };
    await assert.rejects(
      pool(all, { initialNodeCount: 1, autoscaling }),
      /over all zones, is more than the total maximum/,
    );
    await pool(all, { initialNodeCount: 1, autoscaling: { totalMinNodeCount: 1, totalMaxNodeCount: 3 } });
  });

  it("replaces a node pool whose first number of nodes changes", async () => {
    const nodes = await pool(await landscape(), { initialNodeCount: 1 });
    const news = { ...nodes.inputs, initialNodeCount: 3 };
    const change = (await compared(provider, nodes, news)).changes.get("initialNodeCount");
    assert.deepEqual(change, { kind: "update", replace: true });
  });

  it("changes the machines of a node pool in place, and replaces it for their service account", async () => {
    const nodeConfig = { machineType: "e2-standard-4", serviceAccount: "default" };
    const nodes = await pool(await landscape(), { nodeConfig });
    const replace = async (config: Properties): Promise<unknown> => {
      const { changes } = await compared(provider, nodes, {
        ...nodes.inputs,
        nodeConfig: { ...nodeConfig, ...config },
      });
      return [...changes.values()].map((change) => change.replace);
    };
    assert.deepEqual(await replace({ machineType: "e2-standard-8" }), [false]);
    assert.deepEqual(await replace({ serviceAccount: "other@other.iam.gserviceaccount.com" }), [true]);
  });
});

describe("the stand-in Google Cloud and what its cluster makes", () => {
  it("has a load balancer for every Service that wants one, and a disk for every bound claim", async () => {
    const all = await landscape();
    [services, volumes] = [[loadBalancerService("nginx")], [boundVolume("home")]];
    await pool(all);
    const { loadBalancers, disks } = cloud.content();
    assert.deepEqual(
      loadBalancers.map(({ namespace, name, partition, holds }) => ({ namespace, name, partition, holds })),
      [{ namespace: "ingress", name: "nginx", partition: "alpha", holds: [all.net.id, all.sub.id] }],
    );
    assert.deepEqual(
      disks.map(({ namespace, name, volume }) => ({ namespace, name, volume })),
      [{ namespace: "workspaces", name: "home", volume: "pvc-home" }],
    );
  });

  it("gives them back when they go while there are nodes", async () => {
    const all = await landscape();
    const nodes = await pool(all);
    [services, volumes] = [[loadBalancerService("nginx")], [boundVolume("home")]];
    await made(provider, address, {});
    [services, volumes] = [[], []];
    for (const one of [nodes, all.ws, all.sub, all.net]) await deleted(provider, one);
    const { loadBalancers, disks, objects } = cloud.content();
    assert.deepEqual([loadBalancers, disks], [[], []]);
    assert.deepEqual(
      objects.map(({ type }) => type),
      [address],
    );
  });

  it("keeps for good what is left when the last nodes go, and the load balancer keeps its network", async () => {
    const all = await landscape();
    const nodes = await pool(all);
    [services, volumes] = [[loadBalancerService("nginx")], [boundVolume("home")]];
    await deleted(provider, nodes);
    // Too late: nobody runs any more that would give them back.
    [services, volumes] = [[], []];
    await deleted(provider, all.ws);
    await assert.rejects(
      deleted(provider, all.sub),
      /subnetwork resource .* is already being used by .*'ingress\/nginx'/,
    );
    await assert.rejects(deleted(provider, all.net), /^Error: googleapi: Error 400: The network resource .*InUse/);
    const { loadBalancers, disks } = cloud.content();
    assert.deepEqual([loadBalancers.length, disks.length], [1, 1]);
  });

  it("notices at the deletion of the cluster what nobody saw before", async () => {
    const all = await landscape();
    services = [loadBalancerService("nginx")];
    await deleted(provider, all.ws);
    services = [];
    await assert.rejects(deleted(provider, all.sub), /'ingress\/nginx'/);
  });

  it("makes a left-over disk block nothing", async () => {
    const all = await landscape();
    volumes = [boundVolume("home")];
    for (const one of [all.ws, all.sub, all.net]) await deleted(provider, one);
    assert.equal(cloud.content().disks.length, 1);
  });

  it("deletes no address that a load balancer has, by number or by name", async () => {
    const number = await made(provider, address, { name: "by-number" });
    const named = await made(provider, address, { name: "by-name" });
    const all = await landscape();
    await pool(all);
    services = [
      loadBalancerService("one", { loadBalancerIP: number.outputs["address"]! }),
      loadBalancerService("two", {}, { "networking.gke.io/load-balancer-ip-addresses": "by-name" }),
    ];
    await assert.rejects(
      deleted(provider, number),
      /address resource .*by-number' is already being used by .*'ingress\/one'/,
    );
    await assert.rejects(
      deleted(provider, named),
      /address resource .*by-name' is already being used by .*'ingress\/two'/,
    );
    services = [];
    await deleted(provider, number);
    await deleted(provider, named);
  });

  it("goes on when it cannot see into the cluster, and says so", async () => {
    const all = await landscape();
    cloud = new StandInCloud({ observe: () => Promise.reject(new Error("connection refused")) }, cloud.folder);
    provider = await cloud.provider();
    await deleted(provider, all.ws);
    assert.match(cloud.said.join(), /cannot see what its cluster asks of it: connection refused/);
  });

  it("does not look into a cluster that the account does not have", async () => {
    cloud = new StandInCloud({ observe: () => Promise.reject(new Error("looked")) }, cloud.folder);
    provider = await cloud.provider();
    await deleted(provider, await made(provider, network, {}));
    assert.deepEqual(cloud.said, []);
  });
});

describe("the functions of the stand-in Google Cloud", () => {
  const getProject = "gcp:organizations/getProject:getProject";
  const getZones = "gcp:compute/getZones:getZones";
  const getCluster = "gcp:container/getCluster:getCluster";

  it("tell of a project, always with the same number of twelve digits", async () => {
    const one = await invoke(getProject, {});
    const other = await invoke(getProject, { projectId: "beta" });
    assert.equal(one["projectId"], "alpha");
    assert.match(one["number"] as string, /^\d{12}$/);
    assert.deepEqual(await invoke(getProject, { projectId: "alpha" }), one);
    assert.notEqual(other["number"], one["number"]);
  });

  it("do not tell of a project that the caller may not see, nor of none", async () => {
    cloud.behave({ projects: ["beta"] });
    await assert.rejects(invoke(getProject, {}), {
      message: "googleapi: Error 403: The caller does not have permission, forbidden",
    });
    provider = await cloud.provider({});
    await assert.rejects(invoke(getProject, {}), /project: required field is not set/);
  });

  it("tell the zones of a region, none of one that is not there", async () => {
    assert.deepEqual((await invoke(getZones, { region }))["names"], [
      ...["europe-west3-a", "europe-west3-b", "europe-west3-c"],
    ]);
    assert.deepEqual((await invoke(getZones, { region: "europe-west99" }))["names"], []);
  });

  it("tell of a cluster with its blocks in lists, and that one is not there", async () => {
    await landscape();
    const found = await invoke(getCluster, { name: "ws", location: region });
    const [masterAuth] = found["masterAuths"] as Properties[];
    assert.equal(found["endpoint"], "127.0.0.1:6443");
    assert.equal(Buffer.from(masterAuth!["clusterCaCertificate"] as string, "base64").toString(), authority);
    await assert.rejects(invoke(getCluster, { name: "other", location: region }), {
      message: "projects/alpha/locations/europe-west3/clusters/other not found",
    });
  });

  it("are refused when the stand-in does not know them", async () => {
    await assert.rejects(invoke("gcp:dns/getManagedZone:getManagedZone", {}), /stand-in for the gcp plugin/);
  });
});
