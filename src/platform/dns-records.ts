import { isIPv4, isIPv6 } from "node:net";
import * as pulumi from "@pulumi/pulumi";

/** One record to create at the DNS host. */
export interface DnsRecord {
  /** Fully qualified, without a trailing dot. */
  readonly name: string;
  readonly type: "A" | "AAAA" | "CNAME";
  /** An address for A and AAAA, a host name for CNAME. */
  readonly value: string;
}

/** Arguments of {@link dnsRecords}. */
export interface DnsRecordsArgs {
  readonly domain: string;
  /** IP address or host name of the ingress. */
  readonly address: pulumi.Input<string | undefined>;
  /** IP address or host name of the SSH load balancer, where there is one. */
  readonly sshAddress?: pulumi.Input<string | undefined> | undefined;
}

/**
 * The records that make workspaces reachable: the domain, its wildcard, and `ssh.<domain>` where SSH has an address of
 * its own. Empty until the addresses are assigned. A domain that is the apex of its zone cannot have a CNAME
 * (RFC 1034, 3.6.2): where the load balancer has a host name, use the DNS host's alias records there.
 */
export function dnsRecords({ domain, address, sshAddress }: DnsRecordsArgs): pulumi.Output<DnsRecord[]> {
  return pulumi
    .output([address, sshAddress] as const)
    .apply(([ingress, ssh]) => [
      ...record(domain, ingress),
      ...record(`*.${domain}`, ingress),
      ...record(`ssh.${domain}`, ssh),
    ]);
}

function record(name: string, value: string | undefined): DnsRecord[] {
  if (value === undefined) return [];
  const type = isIPv4(value) ? "A" : isIPv6(value) ? "AAAA" : "CNAME";
  return [{ name, type, value }];
}
