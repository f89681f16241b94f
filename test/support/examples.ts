import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { makeCertificate } from "./certificates";
import type { StackConfig } from "./program";
import { kubeconfig, stack } from "./stacks";

const stacks = join(__dirname, "..", "..", "stacks");

/** The example stacks, by file name. */
export const examples = readdirSync(stacks).filter((file) => /^Pulumi\..*\.yaml$/.test(file));

/** Text of an example stack. */
export function exampleText(file: string): string {
  return readFileSync(join(stacks, file), "utf8");
}

/** An example stack the way somebody has it who did what its comments say. */
export interface Example {
  /** The file's `config`, as it stands there. */
  readonly config: Readonly<Record<string, unknown>>;
  /** The settings of other namespaces, but for Pulumi's own. */
  readonly others: Readonly<Record<string, string>>;
  /** The program's settings, with a certificate where the file has a placeholder. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** The secrets that the comments tell how to set. */
  readonly secrets: Readonly<Record<string, string>>;
}

/** Reads an example and fills in what its comments tell. @param valid from when to when its certificate is valid. */
export async function filledExample(file: string, valid: { from?: Date; to?: Date } = {}): Promise<Example> {
  const { config } = parse(exampleText(file)) as { config: Record<string, unknown> };
  const prefix = "gitlab-workspaces:";
  const settings = Object.fromEntries(
    Object.entries(config)
      .filter(([key]) => key.startsWith(prefix))
      .map(([key, value]) => [key.slice(prefix.length), value]),
  );
  const tls = settings["tls"] as { mode: string };
  const agents = settings["agents"] as { name: string }[];
  const domain = String(settings["domain"]);
  const issued = await makeCertificate({ name: domain, covers: [domain, `*.${domain}`], ...valid });
  const provided = tls.mode === "provided";
  const others = Object.entries(config).filter(([key]) => !key.startsWith(prefix) && !key.startsWith("pulumi:"));
  return {
    config,
    others: Object.fromEntries(
      others.map(([key, value]) => [key, typeof value === "string" ? value : JSON.stringify(value)]),
    ),
    settings: { ...settings, ...(provided ? { tls: { ...tls, certificate: issued.certificate } } : {}) },
    secrets: {
      ...((settings["cluster"] as { cloud: string }).cloud === "self-managed" ? { kubeconfig: kubeconfig() } : {}),
      oauthClientSecret: "secret",
      ...(provided ? { tlsKey: issued.key } : {}),
      ...Object.fromEntries(agents.map(({ name }) => [`agentToken-${name}`, "token"])),
    },
  };
}

/** The example of a cloud, filled in, the way the engine hands it over. */
export async function exampleOf(cloud: string): Promise<StackConfig> {
  const day = 86_400_000;
  const valid = { from: new Date(Date.now() - day), to: new Date(Date.now() + 90 * day) };
  const { settings, secrets, others } = await filledExample(`Pulumi.${cloud}.yaml`, valid);
  const unset = { kubeconfig: undefined, "agentToken-main": undefined };
  const { config, secretKeys } = stack({ ...settings }, { ...unset, ...secrets });
  return { config: { ...config, ...others }, secretKeys };
}
