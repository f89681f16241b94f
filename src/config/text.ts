import { IPv4 } from "ipaddr.js";
import { z } from "zod";

/** Longest RFC 1123 label. */
export const longestLabel = 63;

/** What is wrong with a value, and what to type instead when that can be told. */
export interface Objection {
  readonly rule: string;
  readonly corrected?: string;
}

/** A string that must pass `object`, which says what is wrong or returns nothing. */
export function text(object: (value: string) => Objection | string | undefined) {
  return z.string().superRefine((value, context) => {
    const found = object(value);
    if (found === undefined) return;
    const { rule, corrected } = typeof found === "string" ? { rule: found } : found;
    context.addIssue({ code: "custom", message: rule, params: { corrected } });
  });
}

/** RFC 1123 label: what Kubernetes allows as the name of a namespace or a Service. */
export function objectToLabel(value: string, longest: number): string | undefined {
  return value.length <= longest && /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/.test(value)
    ? undefined
    : `must be 1 to ${longest} characters of a-z, 0-9 and '-', beginning and ending with a letter or digit`;
}

/** An RFC 1123 label of at most so many characters. */
export const label = (longest: number) => text((value) => objectToLabel(value, longest));

/** https://docs.cloud.google.com/vpc/docs/subnets#prohibited-ranges */
const neverNetworks: readonly string[] = ["loopback", "linkLocal", "multicast", "unspecified", "broadcast", "reserved"];

/**
 * An IPv4 range in CIDR notation, with no bits beyond its prefix, of a prefix between two lengths.
 * https://www.rfc-editor.org/rfc/rfc4632#section-3.1
 */
export const range = (widest: number, narrowest: number) =>
  text((value) => {
    const form = "must be an IPv4 address range such as 10.0.0.0/20";
    if (!/^\d+\.\d+\.\d+\.\d+\/(0|[1-9]\d?)$/.test(value) || !IPv4.isValidCIDRFourPartDecimal(value)) return form;
    const first = IPv4.networkAddressFromCIDR(value).toString();
    const [, prefix] = IPv4.parseCIDR(value);
    const [address] = value.split("/");
    if (prefix < widest || prefix > narrowest) return `must have a prefix between /${widest} and /${narrowest}`;
    if (widest > 0 && neverNetworks.includes(IPv4.parse(first).range()))
      return "must be addresses that a network can have: private ones, such as 10.0.0.0/20";
    if (address !== first)
      return { rule: "must begin with the first address of its range", corrected: `${first}/${prefix}` };
    return undefined;
  });

/** How many addresses a range has; 0 when it is none. */
export function addresses(cidr: string): number {
  return IPv4.isValidCIDRFourPartDecimal(cidr) ? 2 ** (32 - IPv4.parseCIDR(cidr)[1]) : 0;
}

/** Whether two ranges have an address in common. */
export function overlap(one: string, other: string): boolean {
  if (addresses(one) === 0 || addresses(other) === 0) return false;
  const [first, prefix] = IPv4.parseCIDR(one);
  const [second, length] = IPv4.parseCIDR(other);
  return first.match(second, Math.min(prefix, length));
}
