import assert from "node:assert/strict";
import { parse } from "yaml";
import { provider as civoProvider } from "../../../src/clusters/civo-plugin";
import { standIn } from "../../../local/plugins/civo";
import { civo } from "../../../local/plugins/cloud/civo";
import type { Properties, Provider } from "../../../local/plugins/provider";
import { checked, compared, deleted, loadBalancerService, made, StandInCloud, updated } from "../../support/cloud";

const network = "civo:index/network:Network";
const firewall = "civo:index/firewall:Firewall";
const reservedIp = "civo:index/reservedIp:ReservedIp";
const cluster = "civo:index/kubernetesCluster:KubernetesCluster";

const configuration = { region: "LON1", token: "a-token" };
const rule = { label: "api", protocol: "tcp", portRange: "6443", cidrs: ["192.0.2.0/24"], action: "allow" };

let cloud: StandInCloud;
let provider: Provider;
let services: Properties[];
let born: readonly Properties[];
beforeEach(async () => {
  [services, born] = [[], []];
  const furnish = (objects: readonly Properties[]) => {
    born = objects;
    return Promise.resolve();
  };
  const observe = () => Promise.resolve({ services, volumes: [] });
  cloud = new StandInCloud({ observe, furnish }, undefined, civo);
  provider = await cloud.provider(configuration);
});
afterEach(() => {
  cloud.remove();
});

/** A network, its firewall, and a cluster behind it. */
async function landscape(more: Properties = {}) {
  const net = await made(provider, network, { label: "ws" });
  const wall = await made(provider, firewall, {
    ...{ name: "ws", networkId: net.id, createDefaultRules: false, ingressRules: [rule] },
  });
  const inputs = {
    ...{ name: "ws", networkId: net.id, firewallId: wall.id, clusterType: "k3s", cni: "cilium" },
    ...{ writeKubeconfig: true, pools: { label: "workers", size: "g4s.kube.large", nodeCount: 1 } },
    ...more,
  };
  return { net, wall, inputs, ws: await made(provider, cluster, inputs) };
}

describe("the stand-in Civo", () => {
  it("is Civo's Terraform provider in the version that is asked for, and no other provider", () => {
    const host = { settings: {}, log: () => Promise.resolve(), status: () => Promise.resolve() };
    const plugin = standIn(host);
    const remote = (url: string) => JSON.stringify({ remote: { url, version: "1.2.7" } });
    assert.deepEqual(plugin.parameterize?.(remote(civoProvider.source)), { name: "civo", version: "1.2.7" });
    assert.throws(
      () => plugin.parameterize?.(remote("registry.opentofu.org/hashicorp/aws")),
      /runs .*civo\/civo and no other/,
    );
  });

  it("hands out an admin's kubeconfig if that is asked for, and else none", async () => {
    const { ws } = await landscape();
    const { users, clusters } = parse(ws.outputs["kubeconfig"] as string) as Record<string, Properties[]>;
    assert.deepEqual(users![0]!["user"], {
      "client-certificate-data": Buffer.from("cert").toString("base64"),
      "client-key-data": Buffer.from("key").toString("base64"),
    });
    assert.equal((clusters![0]!["cluster"] as Properties)["server"], "https://127.0.0.1:6443");
    await deleted(provider, ws);
    const without = await made(provider, cluster, { ...ws.inputs, writeKubeconfig: false });
    assert.equal(without.outputs["kubeconfig"], "");
  });

  it("bears a cluster with one default StorageClass and the Secret that Civo's controllers read", async () => {
    const { ws } = await landscape();
    assert.deepEqual(
      born.map(({ kind, metadata }) => [kind, (metadata as Properties)["name"]]),
      [
        ["StorageClass", "civo-volume"],
        ["Secret", "civo-api-access"],
      ],
    );
    assert.equal((born[1]!["stringData"] as Properties)["cluster-id"], ws.id);
  });

  it("has no two objects of one name in a region, and another region is another place", async () => {
    await made(provider, network, { label: "ws" });
    await assert.rejects(made(provider, network, { label: "ws" }), /DatabaseNetworkExistsError/);
    await made(provider, network, { label: "ws", region: "FRA1" });
  });

  it("replaces nothing, and fails at what it cannot change", async () => {
    const { ws, inputs } = await landscape();
    const other = { ...inputs, pools: { label: "workers", size: "g4s.kube.medium", nodeCount: 1 } };
    const { changes } = await compared(provider, ws, other);
    assert.deepEqual([...changes], [["pools.size", { kind: "update", replace: false }]]);
    await assert.rejects(updated(provider, ws, other), /Size change \("size"\) for existing cluster is not available/);
    await assert.rejects(updated(provider, ws, { ...inputs, cni: "flannel" }), /the 'cni' field is immutable/);
    const grown = await updated(provider, ws, { ...inputs, kubernetesVersion: "1.36.2-k3s1" });
    assert.equal(grown.outputs["kubernetesVersion"], "1.36.2-k3s1");
  });

  it("takes no Kubernetes version back", async () => {
    const { ws, inputs } = await landscape();
    const back = { ...inputs, kubernetesVersion: "1.34.8-k3s1" };
    await assert.rejects(updated(provider, ws, back), /the cluster has 1\.35\.4-k3s1, and 1\.34\.8-k3s1 is older/);
    await updated(provider, ws, { ...inputs, kubernetesVersion: "1.35.4-k3s1" });
  });

  it("refuses what Civo has not: a size, a version, Cilium on Talos, a firewall of another network", async () => {
    const pools = { label: "workers", size: "g4s.kube.gigantic", nodeCount: 1 };
    await assert.rejects(landscape({ pools }), /DatabaseInstanceSizeNotFoundError: g4s.kube.gigantic/);
    const net = await made(provider, network, { label: "other" });
    const wall = await made(provider, firewall, { name: "other", networkId: net.id, ingressRules: [rule] });
    const inputs = { name: "x", networkId: net.id, firewallId: wall.id, pools: { ...pools, size: "g4s.kube.large" } };
    await assert.rejects(made(provider, cluster, { ...inputs, kubernetesVersion: "1.2.3-k3s1" }), /invalid Kubernetes/);
    await assert.rejects(
      made(provider, cluster, { ...inputs, clusterType: "talos", cni: "cilium" }),
      /cilium CNI is not supported with Talos/,
    );
    const elsewhere = await made(provider, network, { label: "elsewhere" });
    await assert.rejects(made(provider, cluster, { ...inputs, networkId: elsewhere.id }), /is not part of network/);
  });

  it("refuses a firewall without rules, and rules without ports", async () => {
    const { id: networkId } = await made(provider, network, { label: "ws" });
    const bare = { name: "ws", networkId, createDefaultRules: false };
    await assert.rejects(made(provider, firewall, bare), /at least one ingress or egress rule/);
    const open = { ...rule, portRange: "" };
    await assert.rejects(made(provider, firewall, { ...bare, ingressRules: [open] }), /is required if protocol/);
    const { failures = [] } = await checked(provider, firewall, { ...bare, ingressRules: [{ ...rule, cidrs: ["x"] }] });
    assert.equal(failures[0]?.property, "ingressRules[0].cidrs[0]");
  });

  it("keeps network, firewall and address while a load balancer uses them, which only its cluster gives back", async () => {
    const { net, wall, ws } = await landscape();
    const address = await made(provider, reservedIp, { name: "ws" });
    const ip = address.outputs["ip"] as string;
    services = [loadBalancerService("traefik", {}, { "kubernetes.civo.com/ipv4-address": ip })];
    await assert.rejects(deleted(provider, address), /in use by the load balancer of the Service ingress\/traefik/);
    await deleted(provider, ws);
    for (const held of [address, wall]) await assert.rejects(deleted(provider, held), /ingress\/traefik/);
    await assert.rejects(deleted(provider, net), /is in use by/);
  });

  it("answers nobody without a token, and none that Civo refuses", async () => {
    const anonymous = await cloud.provider({ region: "LON1" });
    const had = process.env["CIVO_TOKEN"];
    delete process.env["CIVO_TOKEN"];
    try {
      await assert.rejects(
        async () => anonymous.invoke?.("civo:index/getRegion:getRegion", {}),
        /No token configuration found in \$CIVO_TOKEN/,
      );
    } finally {
      if (had !== undefined) process.env["CIVO_TOKEN"] = had;
    }
    cloud.behave({ projects: [] });
    await assert.rejects(
      async () => provider.invoke?.("civo:index/getInstances:getInstances", { region: "LON1" }),
      /AuthenticationInvalidKeyError/,
    );
  });

  it("wants to know the region", async () => {
    const nowhere = await cloud.provider({ token: "a-token" });
    const { failures = [] } = await checked(nowhere, network, { label: "ws" });
    assert.match(failures[0]!.reason, /pulumi config set civo:region/);
  });
});
