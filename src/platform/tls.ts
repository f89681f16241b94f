import type * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import * as tls from "@pulumi/tls";
import type { Secret, TlsConfig } from "../config/schema";
import { createSecret } from "./secret";

/** Arguments of {@link TlsSecrets}. */
export interface TlsSecretsArgs {
  readonly config: TlsConfig;
  /** The certificates' names are this and `*.` this. */
  readonly domain: string;
  /** Where the proxy's Ingress looks for the Secrets. */
  readonly namespace: pulumi.Input<string>;
}

/** A certificate chain and its key, both PEM. */
interface Pair {
  readonly certificate: pulumi.Input<string>;
  readonly key: Secret;
}

/** How long a self-signed certificate is valid, and how long before its end the next `up` makes a new one: hours. */
const selfSignedHours = 24 * 365;
const renewalHours = 24 * 30;

/**
 * The two TLS Secrets, under the names of GitLab's documentation (without an "s" in "workspace"):
 * https://docs.gitlab.com/user/workspace/set_up_gitlab_agent_and_proxies/
 */
export class TlsSecrets extends pulumi.ComponentResource {
  /** Name of the Secret with the certificate of `domain`. */
  readonly domainSecret = "gitlab-workspace-proxy-tls";
  /** Name of the Secret with the certificate of `*.domain`. */
  readonly wildcardSecret = "gitlab-workspace-proxy-wildcard-tls";
  /** Both Secrets, for what must not start before them. */
  readonly secrets: readonly pulumi.Resource[];

  constructor(name: string, { config, domain, namespace }: TlsSecretsArgs, opts: pulumi.ComponentResourceOptions) {
    super("gitlab-workspaces:platform:TlsSecrets", name, {}, opts);
    const pairs = this.pairs(name, config, domain);
    const secret = (logicalName: string, secretName: string, { certificate, key }: Pair): k8s.core.v1.Secret =>
      createSecret(
        logicalName,
        { name: secretName, namespace, type: "kubernetes.io/tls", values: { "tls.crt": certificate, "tls.key": key } },
        { parent: this },
      );
    this.secrets = [
      secret(`${name}-domain`, this.domainSecret, pairs.domain),
      secret(`${name}-wildcard`, this.wildcardSecret, pairs.wildcard),
    ];
    this.registerOutputs({});
  }

  private pairs(name: string, config: TlsConfig, domain: string): { domain: Pair; wildcard: Pair } {
    switch (config.mode) {
      case "provided":
        return { domain: config.domain, wildcard: config.wildcard };
      case "self-signed": {
        const pair = this.selfSigned(name, domain);
        return { domain: pair, wildcard: pair };
      }
    }
  }

  private selfSigned(name: string, domain: string): Pair {
    const key = new tls.PrivateKey(`${name}-key`, { algorithm: "ECDSA", ecdsaCurve: "P256" }, { parent: this });
    const certificate = new tls.SelfSignedCert(
      `${name}-certificate`,
      {
        privateKeyPem: key.privateKeyPem,
        subject: { commonName: domain },
        dnsNames: [domain, `*.${domain}`],
        allowedUses: ["digital_signature", "server_auth"],
        validityPeriodHours: selfSignedHours,
        earlyRenewalHours: renewalHours,
      },
      { parent: this },
    );
    return { certificate: certificate.certPem, key: pulumi.secret(key.privateKeyPem) };
  }
}
