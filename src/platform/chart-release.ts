import * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";
import type { ChartName } from "../charts";
import type { ChartConfig } from "../config/schema";
import { failedRelease } from "./failure-advice";

/** Helm values: what a chart is told. Never a secret; charts get the name of a Secret instead. */
export type Values = { readonly [key: string]: unknown };

/** Where a Helm release is. */
export interface InstalledRelease {
  readonly namespace: string;
  readonly release: string;
}

/** Arguments of {@link chartRelease}. */
export interface ChartReleaseArgs {
  readonly chart: ChartName;
  /** Where the chart comes from, and the user's own values for it. */
  readonly config: ChartConfig;
  /** Name of the Helm release. Fixed: an interrupted `up` finds it again under the same name. */
  readonly release: string;
  readonly namespace: pulumi.Input<string>;
  /** The program's values; the user's values are laid over them and have the last word. */
  readonly values: Values;
}

/** One Helm release at one exact chart version, from an HTTP(S) or OCI repository. */
export function chartRelease(
  name: string,
  { chart, config, release, namespace, values }: ChartReleaseArgs,
  opts: pulumi.CustomResourceOptions,
): k8s.helm.v3.Release {
  const source = config.repository.startsWith("oci://")
    ? { chart: `${config.repository.replace(/\/$/, "")}/${chart}` }
    : { chart, repositoryOpts: { repo: config.repository } };
  return new k8s.helm.v3.Release(
    name,
    {
      ...source,
      version: config.version,
      name: release,
      namespace,
      timeout: config.timeout,
      values: overlay(values, config.values),
      // Helm never removes a chart's CRDs again, and nothing here uses any.
      skipCrds: true,
    },
    { ...opts, hooks: { onError: [failedRelease(release)] } },
  );
}

/** `over` laid over `base` as Helm does it: maps merge, everything else replaces. */
export function overlay(base: Values, over: Values): Values {
  const merged: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const below = merged[key];
    merged[key] = isMap(below) && isMap(value) ? overlay(below, value) : value;
  }
  return merged;
}

function isMap(value: unknown): value is Values {
  return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}
