/**
 * The plugin that runs Terraform providers, of exactly this version: there is no package on npm for Civo's. The engine
 * downloads it by itself, and it the provider. The version is that of public programs; it was not seen downloaded.
 * https://www.pulumi.com/registry/packages/terraform-provider/
 */
export const bridge = { name: "terraform-provider", version: "1.4.0" } as const;

/** Civo's Terraform provider, as that plugin is told which one to run. https://search.opentofu.org/provider/civo/civo */
export const provider = { name: "civo", version: "1.2.6", source: "registry.opentofu.org/civo/civo" } as const;
