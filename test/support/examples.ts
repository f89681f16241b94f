import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { makeCertificate } from "./certificates";
import { kubeconfig } from "./stacks";

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
    others: Object.fromEntries(others.map(([key, value]) => [key, String(value)])),
    settings: { ...settings, ...(provided ? { tls: { ...tls, certificate: issued.certificate } } : {}) },
    secrets: {
      ...((settings["cluster"] as { cloud: string }).cloud === "self-managed" ? { kubeconfig: kubeconfig() } : {}),
      oauthClientSecret: "secret",
      ...(provided ? { tlsKey: issued.key } : {}),
      ...Object.fromEntries(agents.map(({ name }) => [`agentToken-${name}`, "token"])),
    },
  };
}
