import { stringify } from "yaml";
import { clouds } from "./clouds";
import type { StackConfig } from "./program";

const namespace = "gitlab-workspaces";

/** A kubeconfig that is whole and leads nowhere but this machine. */
export function kubeconfig(token = "kubeconfig-token"): string {
  return stringify({
    apiVersion: "v1",
    kind: "Config",
    "current-context": "admin",
    clusters: [{ name: "metal", cluster: { server: "https://127.0.0.1:1", "certificate-authority-data": "Q0E=" } }],
    contexts: [{ name: "admin", context: { cluster: "metal", user: "admin" } }],
    users: [{ name: "admin", user: { token } }],
  });
}

/** A signing key long enough to be one. */
export const signingKey = "canary-signing-key-0123456789abcdef";

/** The secrets of {@link stack}, by key. Each is unlike all others, so that a leak says which one leaked. */
export const secrets: Readonly<Record<string, string>> = {
  kubeconfig: kubeconfig("canary-kubeconfig-token"),
  oauthClientSecret: "canary-oauth-client-secret",
  "agentToken-main": "canary-agent-token",
};

/**
 * Stack config of a small self-managed stack.
 * @param settings non-secret keys to add or replace; undefined removes one.
 * @param more secret keys to add or replace; undefined removes one.
 */
export function stack(
  settings: Readonly<Record<string, unknown>> = {},
  more: Readonly<Record<string, string | undefined>> = {},
): StackConfig {
  const all: Record<string, unknown> = {
    domain: "workspaces.example.test",
    oauthClientId: "oauth-client-id",
    cluster: { cloud: "self-managed", name: "metal" },
    ingress: { controller: "nginx" },
    tls: { mode: "self-signed" },
    agents: [{ name: "main" }],
    ...settings,
  };
  const secretSettings: Record<string, string | undefined> = { ...secrets, ...more };
  const config: Record<string, string> = {
    "pulumi:disable-default-providers": JSON.stringify(["kubernetes"]),
  };
  for (const [key, value] of Object.entries({ ...all, ...secretSettings })) {
    if (value === undefined) continue;
    config[`${namespace}:${key}`] = typeof value === "string" ? value : JSON.stringify(value);
  }
  return { config, secretKeys: Object.keys(secretSettings).map((key) => `${namespace}:${key}`) };
}

/**
 * Stack config of a small stack whose cluster the program makes.
 * @param cluster settings of its cluster to add or replace; undefined removes one.
 */
export function cloudStack(cloud: keyof typeof clouds, cluster: Readonly<Record<string, unknown>> = {}): StackConfig {
  const { cluster: smallest, others } = clouds[cloud];
  const { config, secretKeys } = stack({ cluster: { ...smallest, ...cluster } }, { kubeconfig: undefined });
  return { config: { ...config, ...others }, secretKeys };
}
