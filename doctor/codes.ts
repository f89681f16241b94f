import { codes as agents } from "./agents";
import { codes as capacity } from "./capacity";
import { codes as certificate } from "./certificate";
import { codes as dns } from "./dns";
import type { Codes } from "./finding";
import { codes as proxyConfig } from "./proxy-config";
import { codes as references } from "./references";
import { codes as releases } from "./releases";
import { codes as signIn } from "./sign-in";
import { codes as stack } from "./stack";
import { codes as workloads } from "./workloads";
import { codes as workspaces } from "./workspaces";

/** Every code of the doctor in the order of their numbers, for `docs/doctor.md`. */
export const codes: Codes = merge(
  stack,
  dns,
  certificate,
  signIn,
  proxyConfig,
  references,
  releases,
  workloads,
  agents,
  capacity,
  workspaces,
);

/** @throws Error when two parts have the same number. */
export function merge(...parts: readonly Codes[]): Codes {
  const entries = parts.flatMap((part) => Object.entries(part)).sort(([a], [b]) => (a < b ? -1 : 1));
  for (const [index, [code]] of entries.entries()) {
    if (entries[index + 1]?.[0] === code) throw new Error(`${code} stands for two things`);
  }
  return Object.fromEntries(entries);
}
