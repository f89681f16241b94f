import * as pulumi from "@pulumi/pulumi";
import type { Secret } from "../config/schema";

/** Arguments of {@link DestroyGuard}. */
export interface DestroyGuardArgs {
  readonly kubeconfig: Secret;
  /** Workspaces of this domain are this stack's. */
  readonly domain: string;
  /** Namespace of the proxy: its Ingresses are this stack's. */
  readonly proxyNamespace: string;
  /** IngressClass of a controller that goes with this stack. */
  readonly ingressClass?: string;
}

/**
 * What the engine keeps in state and gives to a process of its own, long after this program ran: no more than where to
 * find the code, so that a newer program brings newer code without a change to the stack.
 * https://www.pulumi.com/docs/iac/concepts/providers/dynamic-providers/
 */
const code =
  'exports.handler = () => require("tsx/cjs/api").require("./platform/workspaces-left.ts", `${process.cwd()}/index.ts`).guard;';

/** The engine's own plugin for resources that are written in the program's language. */
class NodeProvider extends pulumi.ProviderResource {
  constructor(name: string) {
    super("pulumi-nodejs", name, {});
  }
}

/**
 * Goes first when the stack is destroyed, because it depends on everything else, and refuses to while workspaces are
 * there: people's work is in them, the agent made them, and Pulumi knows nothing of them. Nothing has been touched then.
 * `GITLAB_WORKSPACES_ALLOW=destroy-with-workspaces` in the environment of `pulumi destroy` lets it go on.
 */
export class DestroyGuard extends pulumi.CustomResource {
  /**
   * @param guarded everything that must still be there when it refuses.
   * @param isProtected whether what is guarded is not to be deleted at all. The engine looks at the protection of a
   * resource when its turn comes, and the turn of a protected cluster comes last.
   */
  constructor(name: string, args: DestroyGuardArgs, guarded: readonly pulumi.Resource[], isProtected: boolean) {
    super(
      "pulumi-nodejs:dynamic/gitlab-workspaces:DestroyGuard",
      name,
      { __provider: code, stack: pulumi.getStack(), ...args },
      {
        dependsOn: [...guarded],
        additionalSecretOutputs: ["kubeconfig"],
        protect: isProtected,
        // The default one would be given the whole stack config, and the engine would keep it in state.
        provider: new NodeProvider(name),
      },
    );
  }
}
