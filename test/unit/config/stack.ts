import assert from "node:assert/strict";
import * as pulumi from "@pulumi/pulumi";
import { loadConfig } from "../../../src/config/load";
import type { Config } from "../../../src/config/schema";
import { today } from "../../support/certificates";
import { clouds } from "../../support/clouds";

/** A stack's config as its file would hold it: keys without the program's namespace. */
export interface Stack {
  /** Settings by key, as YAML would give them. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** Secrets by key, decrypted. */
  readonly secrets: Readonly<Record<string, string>>;
  /** Keys of `settings` that the engine calls secret too. */
  readonly secretSettings?: readonly string[];
  /** Settings of other namespaces, by whole key. */
  readonly others?: Readonly<Record<string, string>>;
  /** Value of `pulumi:disable-default-providers`; absent when null. */
  readonly explicitProviders?: unknown;
}

export const kubeconfig = `apiVersion: v1
kind: Config
current-context: admin@metal
contexts:
  - { name: admin@metal, context: { cluster: metal, user: admin } }
  - { name: other, context: { cluster: metal, user: admin } }
clusters:
  - { name: metal, cluster: { server: "https://canary-server.example.org:6443", certificate-authority-data: Y2FuYXJ5LWNh } }
users:
  - { name: admin, user: { token: canary-kubernetes-token } }
`;

/** A self-managed stack that says no more than it must. */
export const smallest: Stack = {
  settings: {
    domain: "workspaces.example.com",
    oauthClientId: "5f0e0c0d9a1b",
    cluster: { cloud: "self-managed", name: "metal" },
    tls: { mode: "self-signed" },
    agents: [{ name: "team-a" }],
  },
  secrets: {
    kubeconfig,
    oauthClientSecret: "canary-oauth-client-secret",
    "agentToken-team-a": "canary-agent-token",
  },
};

/** A stack whose cluster the program makes, and that says no more than it must. */
export function smallestOn(cloud: keyof typeof clouds): Stack {
  const { cluster, others } = clouds[cloud];
  return {
    settings: { ...smallest.settings, cluster },
    secrets: { oauthClientSecret: "canary-oauth-client-secret", "agentToken-team-a": "canary-agent-token" },
    others,
  };
}

/** A stack with other settings of its cluster; one that is undefined is left out. */
export function withCluster(changes: Readonly<Record<string, unknown>>, stack: Stack): Stack {
  return withSettings({ cluster: { ...(stack.settings["cluster"] as object), ...changes } }, stack);
}

/** A stack with other settings; one that is undefined is left out. */
export function withSettings(changes: Readonly<Record<string, unknown>>, stack: Stack = smallest): Stack {
  return { ...stack, settings: { ...stack.settings, ...changes } };
}

/** A stack with other secrets, and without those named as undefined. */
export function withSecrets(changes: Readonly<Record<string, string | undefined>>, stack: Stack = smallest): Stack {
  const secrets: Record<string, string> = {};
  for (const [key, value] of Object.entries({ ...stack.secrets, ...changes }))
    if (value !== undefined) secrets[key] = value;
  return { ...stack, secrets };
}

/** Names the project and the stack to the SDK. Once for each test file. */
export async function useStack(): Promise<void> {
  await pulumi.runtime.setMocks(
    { newResource: () => ({ id: "", state: {} }), call: () => ({}) },
    "gitlab-workspaces",
    "dev",
  );
}

/** Loads a stack the way the engine hands it over: structures as JSON, everything else as text. */
export function load(
  { settings, secrets, secretSettings = [], others = {}, explicitProviders = ["kubernetes"] }: Stack,
  now: Date = today,
): Config {
  const config: Record<string, string> = { ...others };
  const set = (key: string, value: unknown) => {
    if (value !== undefined && value !== null) config[key] = typeof value === "string" ? value : JSON.stringify(value);
  };
  set("pulumi:disable-default-providers", explicitProviders);
  for (const [key, value] of Object.entries({ ...settings, ...secrets })) set(`gitlab-workspaces:${key}`, value);
  const secretKeys = [...Object.keys(secrets), ...secretSettings].map((key) => `gitlab-workspaces:${key}`);
  pulumi.runtime.setAllConfig(config, secretKeys);
  return loadConfig(now);
}

/** What the program says to a faulty stack. Checks of every message that it is the one error, and gives nothing away. */
export function faultsOf(stack: Stack, now?: Date): string {
  try {
    load(stack, now);
  } catch (error) {
    assert.ok(pulumi.RunError.isInstance(error), "the engine prints any other error with stack and properties");
    assert.equal(error.stack, "", "it takes the SDK seconds and gigabytes to format a stack that nobody sees");
    const { message } = error;
    assert.doesNotMatch(message, /^\s*at /m);
    assert.doesNotMatch(message, /canary/i);
    for (const secret of Object.values(stack.secrets))
      for (const word of secret.split(/\s+/))
        if (word.length > 16) assert.ok(!message.includes(word), "a secret is in the message");
    return message;
  }
  return assert.fail("the stack was accepted");
}

/** The kubeconfig of a cluster that somebody else made. */
export function kubeconfigOf({ cluster }: Config): pulumi.Output<string> {
  assert.equal(cluster.cloud, "self-managed");
  return cluster.kubeconfig;
}

/** The text inside an output; fails unless it is secret. */
export async function secretText(output: pulumi.Output<string> | undefined): Promise<string> {
  assert.ok(output, "no output");
  assert.ok(await pulumi.isSecret(output), "not marked secret");
  return new Promise((resolve) => output.apply(resolve));
}
