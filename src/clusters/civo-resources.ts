import * as pulumi from "@pulumi/pulumi";
import { bridge, provider } from "./civo-plugin";

/**
 * What is used of Civo's Terraform provider, as the bridge of Pulumi has it: names in lower camel case, lists and sets in
 * the plural (`cidr` is `cidrs`, `ingress_rule` is `ingressRules`), a block of which there is one as an object (`pools`).
 * Read in https://github.com/civo/terraform-provider-civo/tree/v1.2.6/civo and not seen running against Civo.
 *
 * Outputs are declared, never assigned: a field of a class would overwrite them. Each is a key of the properties as well,
 * without a value, because the SDK sets no others.
 */

/** Tells the engine which provider the bridge is to run. Once for each deployment, however often it is called. */
function civoPackage(): Promise<string> {
  const remote = { url: provider.source, version: provider.version };
  return pulumi.runtime.registerPackage({
    baseProviderName: bridge.name,
    baseProviderVersion: bridge.version,
    baseProviderDownloadUrl: "",
    packageName: provider.name,
    packageVersion: provider.version,
    base64Parameter: Buffer.from(JSON.stringify({ remote })).toString("base64"),
  });
}

/** https://github.com/civo/terraform-provider-civo/blob/master/docs/resources/network.md */
export class Network extends pulumi.CustomResource {
  constructor(name: string, args: NetworkArgs, opts?: pulumi.CustomResourceOptions) {
    super("civo:index/network:Network", name, { ...args }, opts, false, civoPackage());
  }
}

interface NetworkArgs {
  readonly label: pulumi.Input<string>;
  readonly region: pulumi.Input<string>;
}

/** https://github.com/civo/terraform-provider-civo/blob/master/docs/resources/firewall.md */
export class Firewall extends pulumi.CustomResource {
  constructor(name: string, args: FirewallArgs, opts?: pulumi.CustomResourceOptions) {
    super("civo:index/firewall:Firewall", name, { ...args }, opts, false, civoPackage());
  }
}

interface FirewallArgs {
  readonly name: pulumi.Input<string>;
  readonly region: pulumi.Input<string>;
  readonly networkId: pulumi.Input<string>;
  readonly createDefaultRules: boolean;
  readonly ingressRules: readonly FirewallRule[];
  readonly egressRules: readonly FirewallRule[];
}

/** What is let through. */
interface FirewallRule {
  readonly label: string;
  readonly protocol: "tcp" | "udp" | "icmp";
  /** Absent for ICMP alone. */
  readonly portRange?: string;
  readonly cidrs: readonly string[];
  readonly action: "allow";
}

/** https://github.com/civo/terraform-provider-civo/blob/master/docs/resources/reserved_ip.md */
export class ReservedIp extends pulumi.CustomResource {
  declare readonly ip: pulumi.Output<string>;

  constructor(name: string, args: ReservedIpArgs, opts?: pulumi.CustomResourceOptions) {
    super("civo:index/reservedIp:ReservedIp", name, { ...args, ip: undefined }, opts, false, civoPackage());
  }
}

interface ReservedIpArgs {
  readonly name: pulumi.Input<string>;
  readonly region: pulumi.Input<string>;
}

/** https://github.com/civo/terraform-provider-civo/blob/master/docs/resources/kubernetes_cluster.md */
export class KubernetesCluster extends pulumi.CustomResource {
  /** Of an admin, with a client certificate in it. */
  declare readonly kubeconfig: pulumi.Output<string>;

  constructor(name: string, args: KubernetesClusterArgs, opts: pulumi.CustomResourceOptions = {}) {
    super(
      "civo:index/kubernetesCluster:KubernetesCluster",
      name,
      { ...args, kubeconfig: undefined },
      pulumi.mergeOptions(opts, { additionalSecretOutputs: ["kubeconfig"] }),
      false,
      civoPackage(),
    );
  }
}

interface KubernetesClusterArgs {
  readonly name: pulumi.Input<string>;
  readonly region: pulumi.Input<string>;
  readonly networkId: pulumi.Input<string>;
  readonly firewallId: pulumi.Input<string>;
  readonly clusterType: "k3s" | "talos";
  readonly cni: "cilium" | "flannel";
  readonly kubernetesVersion?: string;
  /** Words between spaces. */
  readonly tags: string;
  /** Names between commas; one that begins with `-` is not installed although Civo would. */
  readonly applications: string;
  readonly writeKubeconfig: boolean;
  readonly pools: { readonly label: string; readonly size: string; readonly nodeCount: number };
}

/** What {@link getKubernetesCluster} finds, as far as it is used. */
export interface FoundCluster {
  readonly id: string;
  readonly kubeconfig: string;
  readonly cni: string;
}

/** https://github.com/civo/terraform-provider-civo/blob/master/docs/data-sources/kubernetes_cluster.md */
export async function getKubernetesCluster(args: { name: string; region: string }): Promise<FoundCluster> {
  return await ask<FoundCluster>("getKubernetesCluster", args);
}

/** https://github.com/civo/terraform-provider-civo/blob/master/docs/data-sources/region.md */
export async function getRegion(): Promise<{ readonly regions: readonly { readonly code: string }[] }> {
  return await ask("getRegion", {});
}

/**
 * https://github.com/civo/terraform-provider-civo/blob/master/docs/data-sources/size.md
 * @param name of the one to look for; all of them without.
 */
export async function getSize(name?: string): Promise<{ readonly sizes: readonly { readonly name: string }[] }> {
  return await ask("getSize", name === undefined ? {} : { filters: [{ key: "name", values: [name] }] });
}

/** https://github.com/civo/terraform-provider-civo/blob/master/docs/data-sources/instances.md */
export async function getInstances(args: {
  region: string;
  filters: { key: string; values: string[] }[];
}): Promise<unknown> {
  return await ask("getInstances", args);
}

async function ask<Answer>(name: string, args: pulumi.Inputs): Promise<Answer> {
  return (await pulumi.runtime.invoke(`civo:index/${name}:${name}`, args, {}, civoPackage())) as Answer;
}
