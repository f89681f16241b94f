import { cloud } from "./cloud";
import { azureNative } from "./cloud/azure-native";
import type { Host, Provider } from "./provider";

/**
 * The stand-in for `pulumi-resource-azure-native`: an Azure whose subscriptions are in a file of `settings.account`, and
 * whose AKS hands out the local engine's control plane.
 */
export function standIn(host: Host): Provider {
  return cloud(azureNative, host);
}
