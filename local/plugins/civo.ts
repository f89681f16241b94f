import { provider } from "../../src/clusters/civo-plugin";
import { cloud } from "./cloud";
import { civo } from "./cloud/civo";
import type { Host, Provider } from "./provider";

/**
 * The stand-in for `pulumi-resource-terraform-provider`, which runs any Terraform provider: this one is Civo's and no other,
 * with an account in a file of `settings.account`. Its clusters are the local engine's control plane.
 */
export function standIn(host: Host): Provider {
  return {
    ...cloud(civo, host),
    parameterize: (value) => {
      const { remote } = JSON.parse(value) as { remote?: { url?: string; version?: string } };
      if (remote?.url !== provider.source)
        throw new Error(
          `this stand-in runs ${provider.source} and no other provider, and was asked for ${remote?.url}`,
        );
      return { name: provider.name, version: remote.version ?? "" };
    },
  };
}
