import * as pulumi from "@pulumi/pulumi";
import type { Secret } from "../config/schema";

/** Where a cluster answers, and what proves that it is the one. */
export interface Endpoint {
  readonly name: pulumi.Input<string>;
  /** Address with scheme. */
  readonly server: pulumi.Input<string>;
  /** Certificate authority, PEM in base64. */
  readonly authority: pulumi.Input<string>;
}

/** The command that gets a token. https://kubernetes.io/docs/reference/config-api/client-authentication.v1beta1/ */
interface CredentialPlugin {
  readonly command: string;
  readonly args: readonly pulumi.Input<string>[];
  readonly env?: readonly { readonly name: string; readonly value: string }[];
  readonly installHint: string;
  readonly provideClusterInfo?: boolean;
}

/** A kubeconfig of one context that works on any machine with a cloud's credential plugin, and holds no credentials itself. */
export function execKubeconfig({ name, server, authority }: Endpoint, plugin: CredentialPlugin): Secret {
  const exec = { apiVersion: "client.authentication.k8s.io/v1beta1", ...plugin, interactiveMode: "Never" };
  return pulumi.secret(
    pulumi.jsonStringify({
      apiVersion: "v1",
      kind: "Config",
      "current-context": name,
      clusters: [{ name, cluster: { server, "certificate-authority-data": authority } }],
      contexts: [{ name, context: { cluster: name, user: name } }],
      users: [{ name, user: { exec } }],
    }),
  );
}
