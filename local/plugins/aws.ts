import { cloud } from "./cloud";
import { aws } from "./cloud/aws";
import type { Host, Provider } from "./provider";

/**
 * The stand-in for `pulumi-resource-aws`: an AWS whose accounts are in a file of `settings.account`, and whose EKS hands out
 * the local engine's control plane.
 */
export function standIn(host: Host): Provider {
  return cloud(aws, host);
}
