import { createHash } from "node:crypto";
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";

/** Arguments of {@link createSecret}. */
export interface SecretArgs {
  readonly name: string;
  readonly namespace: pulumi.Input<string>;
  readonly type: "Opaque" | "kubernetes.io/tls";
  /** Values in plain; they are encoded here. */
  readonly values: Readonly<Record<string, pulumi.Input<string>>>;
}

/**
 * A Kubernetes Secret. Its values go as `data`, whole and marked secret, and not as `stringData`, from which a key that
 * is dropped would stay in the Secret: https://kubernetes.io/docs/concepts/configuration/secret/#restriction-data-must-be-base64
 */
export function createSecret(
  logicalName: string,
  { name, namespace, type, values }: SecretArgs,
  opts: pulumi.CustomResourceOptions,
): k8s.core.v1.Secret {
  const data = pulumi
    .all({ ...values })
    .apply((known) =>
      Object.fromEntries(Object.entries(known).map(([key, value]) => [key, Buffer.from(value).toString("base64")])),
    );
  return new k8s.core.v1.Secret(logicalName, { metadata: { name, namespace }, type, data: pulumi.secret(data) }, opts);
}

/**
 * SHA-256 of what a Secret holds, hexadecimal: as an annotation of pods it replaces them whenever a value changes, because
 * they read them once, at their start. It may stand in the open only where it covers something that nobody can guess their
 * way through, such as a token or a generated key.
 */
export function digest(values: SecretArgs["values"]): pulumi.Output<string> {
  const hash = pulumi
    .all({ ...values })
    .apply((known) => createHash("sha256").update(JSON.stringify(known)).digest("hex"));
  return pulumi.unsecret(hash);
}
