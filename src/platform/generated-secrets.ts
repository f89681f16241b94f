import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";
import * as tls from "@pulumi/tls";
import type { Secret } from "../config/schema";

/** Arguments of {@link GeneratedSecrets}: what stack config gives. */
export interface GeneratedSecretsArgs {
  readonly signingKey?: Secret | undefined;
  readonly sshHostKey?: Secret | undefined;
}

/**
 * The proxy's own secrets, which nobody outside needs to know: those of stack config, and random ones for the rest.
 * Kept in the stack's state, so that they stay the same for as long as the stack lives.
 */
export class GeneratedSecrets extends pulumi.ComponentResource {
  /** Signs the session cookies. A new one logs everybody out. */
  readonly signingKey: Secret;
  /** PEM private key without passphrase, by which SSH clients know the proxy. */
  readonly sshHostKey: Secret;

  constructor(name: string, { signingKey, sshHostKey }: GeneratedSecretsArgs, opts?: pulumi.ComponentResourceOptions) {
    super("gitlab-workspaces:platform:GeneratedSecrets", name, {}, opts);
    this.signingKey = signingKey ?? this.makeSigningKey();
    this.sshHostKey = sshHostKey ?? this.makeSshHostKey();
    this.registerOutputs({});
  }

  private makeSigningKey(): Secret {
    const password = new random.RandomPassword("signing-key", { length: 64, special: false }, { parent: this });
    return pulumi.secret(password.result);
  }

  /** GitLab's documentation promises RSA and ECDSA: https://docs.gitlab.com/user/workspace/set_up_gitlab_agent_and_proxies/ */
  private makeSshHostKey(): Secret {
    const key = new tls.PrivateKey("ssh-host-key", { algorithm: "ECDSA", ecdsaCurve: "P256" }, { parent: this });
    return pulumi.secret(key.privateKeyPem);
  }
}
