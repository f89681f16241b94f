import { randomBytes } from "node:crypto";
import { Resolver } from "node:dns/promises";
import { isIP, isIPv4, isIPv6 } from "node:net";
import { type Codes, type Finding, findings } from "./finding";
import type { Check, Patient, Surroundings } from "./patient";

const create = ["pulumi stack output --json dnsRecords --stack <stack>", "dig +short <name>"] as const;

/** What can be wrong with the names under which people find the ingress. */
export const codes = {
  GW101: {
    severity: "error",
    title: "The ingress has no address",
    meaning:
      "Nobody can find any workspace: there is nothing that DNS could point at. A load balancer gets its address some " +
      "minutes after it was ordered; when it never does, the cloud refuses it (quota, subnet, annotations) or nothing " +
      "on the cluster hands out addresses. The Service's events say which.",
    fix: ["kubectl describe services,ingresses --namespace <namespace>", "pulumi up --stack <stack>"],
  },
  GW102: {
    severity: "error",
    title: "The domain does not resolve",
    meaning:
      "Nobody gets past signing in: GitLab sends people back to the domain itself. The record was not created yet, was " +
      "created in a zone that nobody is referred to, or a resolver still remembers that it was not there.",
    fix: create,
  },
  GW103: {
    severity: "error",
    title: "The domain resolves to something other than the ingress",
    meaning:
      "People end up on a machine that knows nothing of workspaces, or on the load balancer of an earlier installation. " +
      "An old answer can also live on in resolvers until its time to live is over.",
    fix: create,
  },
  GW104: {
    severity: "error",
    title: "Names below the domain do not resolve",
    meaning:
      "No workspace opens, although the domain itself may: each has a name of its own below the domain, and only a " +
      "wildcard record makes them all resolve.",
    fix: create,
  },
  GW105: {
    severity: "error",
    title: "Names below the domain resolve to something other than the ingress",
    meaning:
      "No workspace opens: the wildcard record leads elsewhere. A wildcard of the zone above, or one of an earlier " +
      "installation, answers in its place.",
    fix: create,
  },
  GW106: {
    severity: "error",
    title: "The name for SSH does not resolve",
    meaning: "Nobody can reach a workspace by SSH. Browsers are not concerned.",
    fix: create,
  },
  GW107: {
    severity: "error",
    title: "The name for SSH resolves to something other than the SSH load balancer",
    meaning:
      "Nobody can reach a workspace by SSH. Browsers are not concerned. Without a record of its own the name falls " +
      "under the wildcard and leads to the ingress, which speaks no SSH.",
    fix: create,
  },
  GW108: {
    severity: "warning",
    title: "A name could not be looked up",
    meaning:
      "It could not be told whether people find the ingress: the DNS server gave no answer, or said that it had failed. " +
      "A server that nobody listens at looks the same as one whose zone is broken.",
    fix: ["dig <name>", "dig +trace <name>"],
  },
  GW109: {
    severity: "error",
    title: "The load balancer's own host name does not resolve",
    meaning:
      "Whatever points at it leads nowhere. The name of a new load balancer takes some minutes to appear; one that was " +
      "deleted behind the program's back never comes back.",
    fix: ["dig +short <name>", "pulumi up --refresh --stack <stack>"],
  },
} satisfies Codes;

const finding = findings(codes);

/** What a name resolves to: addresses, and the host name it is an alias of. */
interface Resolved {
  readonly addresses: readonly string[];
  readonly aliases: readonly string[];
}

/** Looks up the domain, a made-up name below it, and the name for SSH where there is a record for it. */
export const dnsCheck: Check = {
  name: "the domain, its wildcard and the name for SSH lead to the load balancers",
  async run(patient: Patient, surroundings: Surroundings) {
    const { stack, installation, ingressAddress, dnsRecords } = patient;
    const { domain } = installation;
    if (ingressAddress === undefined) {
      const namespace = (installation.ingress.release ?? installation.proxy).namespace;
      return [finding("GW101", "The last `pulumi up` saw no address at the load balancer.", { stack, namespace })];
    }
    const resolver = new Resolver({ timeout: 1500, tries: 2 });
    if (surroundings.dnsServers.length > 0) resolver.setServers(surroundings.dnsServers);
    const servers = resolver.getServers().join(", ");

    const compare = async (
      name: string,
      record: string,
      target: string,
      missing: keyof typeof codes,
      elsewhere: keyof typeof codes,
    ): Promise<Finding[]> => {
      const values = { stack, name };
      try {
        const found = await resolve(resolver, name);
        if (found === undefined)
          return [
            finding(missing, `${name} has no address (asked ${servers}). Missing: ${record} -> ${target}`, values),
          ];
        const wanted = isIP(target) ? undefined : await resolve(resolver, target);
        if (!isIP(target) && wanted === undefined)
          return [
            finding("GW109", `${name} should lead to ${target}, which has no address (asked ${servers}).`, {
              ...values,
              name: target,
            }),
          ];
        if (leadsTo(found, target, wanted)) return [];
        const seen = [...found.aliases, ...found.addresses].join(", ");
        const belongs = [target, ...(wanted?.addresses ?? [])].join(", ");
        return [
          finding(elsewhere, `${name} resolves to ${seen} and belongs to ${belongs} (record ${record}).`, values),
        ];
      } catch (error) {
        const reason = (error as { code?: string }).code ?? "no answer";
        return [finding("GW108", `${name}: ${reason} from ${servers}.`, values)];
      }
    };

    const ssh = dnsRecords.find(({ name }) => name === `ssh.${domain}`);
    const found = await Promise.all([
      compare(domain, domain, ingressAddress, "GW102", "GW103"),
      compare(`doctor-${randomBytes(4).toString("hex")}.${domain}`, `*.${domain}`, ingressAddress, "GW104", "GW105"),
      ssh ? compare(ssh.name, ssh.name, ssh.value, "GW106", "GW107") : [],
    ]);
    return found.flat();
  },
};

/** What a name resolves to, or undefined when it does not. @throws when the server gives no answer that counts. */
async function resolve(resolver: Resolver, name: string): Promise<Resolved | undefined> {
  const none = (error: unknown): string[] => {
    const { code } = error as { code?: string };
    if (code === "ENOTFOUND" || code === "ENODATA") return [];
    throw error;
  };
  const [v4, v6, aliases] = await Promise.all([
    resolver.resolve4(name).catch(none),
    resolver.resolve6(name).catch(none),
    resolver.resolveCname(name).catch(none),
  ]);
  const addresses = [...v4, ...v6].map(canonical);
  return addresses.length === 0 && aliases.length === 0 ? undefined : { addresses, aliases };
}

/**
 * Behind an IP address, every address of its family must be that one: with a second one a part of the people ends up
 * elsewhere. Of the other family nothing is known. A host name's addresses change and come in part: one in common is enough.
 */
function leadsTo(found: Resolved, target: string, wanted: Resolved | undefined): boolean {
  if (wanted) {
    const same = (name: string) => name.toLowerCase().replace(/\.$/, "") === target.toLowerCase().replace(/\.$/, "");
    return found.aliases.some(same) || found.addresses.some((address) => wanted.addresses.includes(address));
  }
  const family = found.addresses.filter(isIPv4(target) ? isIPv4 : isIPv6);
  return family.length > 0 && family.every((address) => address === canonical(target));
}

/** An IPv6 address has many spellings (RFC 5952); URLs have one. */
function canonical(address: string): string {
  return isIPv6(address) ? new URL(`http://[${address}]`).hostname.slice(1, -1) : address;
}
