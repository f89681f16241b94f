import type { KubeConfig } from "@kubernetes/client-node";
import type { DnsRecord } from "../src/platform/dns-records";
import type { Installation } from "../src/deploy";
import type { Finding } from "./finding";

/** The stack that is looked at, as its outputs tell it. */
export interface Patient {
  /** Name of the stack, for commands. */
  readonly stack: string;
  readonly installation: Installation;
  /** Redirect URI that the OAuth application must have. */
  readonly oauthRedirectUri: string;
  /** IP address or host name of the ingress, as the last `up` saw it. */
  readonly ingressAddress: string | undefined;
  readonly dnsRecords: readonly DnsRecord[];
  /** The cluster, by the stack's own kubeconfig. */
  readonly cluster: KubeConfig;
  /** Secret. Only for commands that are run with it, never for messages. */
  readonly kubeconfig: string;
}

/** How the doctor reaches what the people who work here reach. */
export interface Surroundings {
  /** DNS servers to ask, `address` or `address:port`; those of this machine when empty. */
  readonly dnsServers: readonly string[];
  /** Where to find the ingress, `host:port`, instead of the stack's own address: for a port-forward or a bastion. */
  readonly connect?: { readonly host: string; readonly port: number };
  /** Certificate authorities to trust beside those that Node.js knows, PEM: what `NODE_EXTRA_CA_CERTS` does for a whole process. */
  readonly trusted?: readonly string[];
  /** Decides which certificates have expired. */
  readonly now: Date;
}

/** One thing that the doctor looks at. It changes nothing, and throws nothing that a stack can be the cause of. */
export interface Check {
  /** What is looked at, as progress and the list of what was fine say it. */
  readonly name: string;
  run(patient: Patient, surroundings: Surroundings): Promise<readonly Finding[]>;
}
