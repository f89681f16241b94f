import type { Patient, Surroundings } from "./patient";

/** How long the ingress and GitLab may take to answer, in milliseconds. */
export const patience = 5000;

/** Where the ingress is reached by HTTPS. Undefined while it has no address, which the look at DNS says. */
export function ingressAt(
  { ingressAddress }: Patient,
  { connect }: Surroundings,
): { readonly host: string; readonly port: number } | undefined {
  return connect ?? (ingressAddress === undefined ? undefined : { host: ingressAddress, port: 443 });
}
