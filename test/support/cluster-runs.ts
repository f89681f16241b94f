import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { createCluster } from "../../src/cluster";
import { loadConfig } from "../../src/config/load";
import type { Answers, clouds } from "./clouds";
import { type Recorded, record, type Run, secretSignature } from "./program";
import { cloudStack } from "./stacks";

/** The one resource of a type, and of a name if one is given. */
export function find(run: Run, type: string, name?: string): Recorded {
  const found = run.resources.filter((each) => each.type === type && (name ?? each.name) === each.name);
  assert.equal(found.length, 1, `one ${type}`);
  return found[0]!;
}

/** What the program says of a small stack before it makes anything. */
export async function refused(
  cloud: keyof typeof clouds,
  settings: Readonly<Record<string, unknown>>,
  answers: Answers = {},
): Promise<string> {
  const made = await record(cloudStack(cloud, settings), answers);
  const { cluster } = loadConfig();
  assert.equal(cluster.cloud, cloud);
  const error: unknown = await createCluster(cluster).catch((reason: unknown) => reason);
  assert.deepEqual(made, []);
  assert.ok(pulumi.RunError.isInstance(error), String(error));
  assert.match(error.message, /Nothing was created\.$/);
  return error.message;
}

/** What the engine makes of an error of a provider that is bridged from Terraform. */
export const bridgeFails = (token: string, message: string): Answers => ({
  [token]: () => {
    const details = `invocation of ${token} returned an error: invoking ${token}: 1 error occurred:\n\t* ${message}\n\n`;
    throw Object.assign(new Error(), { details });
  },
});

/** Where a text that matches stands outside a secret wrapper, of everything that was made. */
export function inClear({ resources }: Run, text: RegExp): string[] {
  const leaks: string[] = [];
  const walk = (data: unknown, path: string): void => {
    if (typeof data === "string" && text.test(data)) leaks.push(path);
    else if (typeof data === "object" && data !== null && !(secretSignature in data))
      for (const [key, child] of Object.entries(data)) walk(child, `${path}.${key}`);
  };
  for (const { name, inputs } of resources) walk(inputs, name);
  return leaks;
}

/** Folders of clouds' SDKs that a cloud's file loads, as `gcp/container`, sorted. */
export function sdkFolders(cloud: keyof typeof clouds): string[] {
  const script =
    `require("./src/clusters/${cloud}.ts"); const loaded = Object.keys(require.cache).flatMap((file) => ` +
    '/@pulumi.(aws|azure-native|gcp|civo)\\W(\\w+)/.exec(file)?.slice(1, 3).join("/") ?? []); ' +
    "console.log(JSON.stringify([...new Set(loaded)].sort()))";
  const cwd = join(__dirname, "..", "..");
  const printed = execFileSync(process.execPath, ["--import", "tsx", "--eval", script], { cwd }).toString();
  return JSON.parse(printed) as string[];
}
