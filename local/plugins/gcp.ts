import { cloud } from "./cloud";
import { gcp } from "./cloud/gcp";
import type { Host, Provider } from "./provider";

/**
 * The stand-in for `pulumi-resource-gcp`: a Google Cloud whose projects are in a file of `settings.account`, and whose
 * GKE hands out the local engine's control plane.
 */
export function standIn(host: Host): Provider {
  return cloud(gcp, host);
}
