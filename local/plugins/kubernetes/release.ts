import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { isDeepStrictEqual } from "node:util";
import { parse, parseAllDocuments } from "yaml";
import {
  type Change,
  type Checked,
  type CheckRequest,
  type Created,
  type CreateRequest,
  type DeleteRequest,
  type Difference,
  type DiffRequest,
  type Found,
  hasUnknown,
  type Host,
  isObject,
  PartialFailure,
  type Properties,
  type ReadRequest,
  secret,
  UNKNOWN,
  type UpdateRequest,
  type Value,
  without,
} from "../provider";
import { at } from "./await";
import { type Client, isNotFound } from "./client";
import { covers, propertyChanges } from "./diff";
import { type Helm, HelmError } from "./helm";
import { splitId } from "./objects";

/** The type that this file serves. */
export const RELEASE_TYPE = "kubernetes:helm.sh/v3:Release";

/** What the operations on releases share. */
export interface ReleaseCluster {
  readonly client: Client;
  readonly helm: Helm;
  readonly host: Host;
  /** The namespace of releases that name none. */
  readonly namespace: string;
}

/** Seconds. */
const DEFAULT_TIMEOUT = 300;

/** Outputs that are not inputs. */
const COMPUTED = ["__inputs", "status", "resourceNames", "manifest", "checksum"];

/** A release as helm stores it, as far as it is looked at. */
interface StoredRelease {
  readonly name: string;
  readonly namespace: string;
  /** The revision. */
  readonly version: number;
  readonly info: { readonly status: string };
  readonly chart: {
    readonly metadata: { readonly name: string; readonly version: string; readonly appVersion?: string };
  };
  readonly config?: Properties | null;
  readonly manifest: string;
}

/**
 * Completes a release's inputs: name, namespace, timeout, and the exact version that a constraint stands for now. A
 * chart that cannot be loaded is a failure, in a preview already.
 */
export async function checkRelease(cluster: ReleaseCluster, request: CheckRequest): Promise<Checked> {
  const inputs = completedRelease(cluster, request);
  if (hasUnknown(inputs)) return { inputs };
  const repository = isObject(inputs["repositoryOpts"]) ? inputs["repositoryOpts"] : {};
  if (repository["password"] !== undefined || repository["username"] !== undefined) {
    const reason = "this stand-in takes no credentials for chart repositories";
    return { inputs, failures: [{ property: "repositoryOpts", reason }] };
  }
  try {
    const chart: unknown = parse(await cluster.helm.run(["show", "chart", ...chartArguments(inputs)]));
    const version = isObject(chart) ? chart["version"] : undefined;
    if (typeof version === "string") inputs["version"] = version;
    return { inputs };
  } catch (error) {
    const reason = `${message(error)}; check the chart name and repository configuration.`;
    return { inputs, failures: [{ property: "chart", reason }] };
  }
}

/** A release's inputs with name, namespace and timeout. Asks nobody. */
export function completedRelease({ namespace }: Pick<ReleaseCluster, "namespace">, request: CheckRequest): Properties {
  const inputs = inputsOnly(request.news);
  if (isMissing(inputs["name"])) {
    inputs["name"] = request.olds["name"] ?? `${request.name}-${randomBytes(4).toString("hex")}`;
  }
  if (isMissing(inputs["namespace"])) inputs["namespace"] = namespace;
  if (inputs["skipAwait"] !== true) inputs["timeout"] ??= DEFAULT_TIMEOUT;
  return inputs;
}

/**
 * Compares the new inputs with the recorded state, which holds what was live at the last refresh; what neither the old
 * nor the new inputs speak of does not count. Only another name or namespace costs a replacement.
 */
export function diffRelease(request: DiffRequest): Difference {
  const oldInputs = inputsOnly(request.oldInputs);
  const news = inputsOnly(request.news);
  const state = spokenOf(inputsOnly(request.olds), oldInputs, news);
  const changes = new Map<string, Change>();
  for (const [path, kind] of propertyChanges(isObject(state) ? state : {}, news)) {
    if (request.ignoreChanges.some((pattern) => covers(pattern, path))) continue;
    changes.set(path, { kind, replace: path === "name" || path === "namespace" });
  }
  return { changes };
}

function spokenOf(state: Value | undefined, old: Value | undefined, now: Value | undefined): Value | undefined {
  if (!isObject(state)) return state;
  const keys = new Set([...(isObject(old) ? Object.keys(old) : []), ...(isObject(now) ? Object.keys(now) : [])]);
  if (!isObject(old) && !isObject(now)) return state;
  return Object.fromEntries(
    [...keys].map((key) => [
      key,
      spokenOf(state[key], isObject(old) ? old[key] : undefined, isObject(now) ? now[key] : undefined),
    ]),
  );
}

/** A release as the preview of its installation shows it. */
export function previewedRelease(inputs: Properties): Created {
  return { id: "", properties: { ...inputs, status: UNKNOWN, resourceNames: UNKNOWN } };
}

/**
 * Installs a release with helm and waits for it; a preview touches nothing.
 *
 * @throws when the name is in use, even by a release that never got ready, and when helm refuses. PartialFailure when a
 * release was left behind that failed.
 */
export async function createRelease(cluster: ReleaseCluster, request: CreateRequest): Promise<Created> {
  const { inputs } = request;
  if (request.preview) return previewedRelease(inputs);
  const { name, namespace } = identity(inputs);
  const id = `${namespace}/${name}`;
  try {
    await runHelm(cluster, inputs, ["install", ...flags(inputs, INSTALL_FLAGS)]);
  } catch (error) {
    if (!(error instanceof HelmError) || error.message.includes("cannot re-use a name that is still in use"))
      throw error;
    const left = await storedRelease(cluster.client, namespace, name);
    if (!left) throw error;
    await cluster.host.log(
      "warning",
      `Helm release "${name}" was created but has a failed status. Use the \`helm\` command to investigate the ` +
        `error, correct it, then retry. Reason: ${error.message}`,
      request.urn,
    );
    throw unready(
      `Helm release "${id}" was created, but failed`,
      { id, properties: outputs(inputs, left), inputs },
      error,
    );
  }
  const release = await existingRelease(cluster.client, namespace, name);
  return { id, properties: outputs(inputs, release) };
}

/**
 * Upgrades a release with helm and waits for it; a preview keeps the old state, so that what depends on the release's
 * name stays known.
 *
 * @throws when helm refuses, as it does while an operation is recorded as pending. PartialFailure when a new revision
 * was left behind that failed.
 */
export async function updateRelease(cluster: ReleaseCluster, request: UpdateRequest): Promise<Properties> {
  const inputs = request.news;
  if (request.preview) {
    const status = request.olds["status"];
    return {
      ...inputs,
      resourceNames: UNKNOWN,
      status: isObject(status) ? { ...status, revision: UNKNOWN, version: UNKNOWN, appVersion: UNKNOWN } : UNKNOWN,
    };
  }
  const { name, namespace } = identity(inputs);
  const before = await storedRelease(cluster.client, namespace, name);
  try {
    await runHelm(cluster, inputs, ["upgrade", ...flags(inputs, UPGRADE_FLAGS), ...historyLimit(inputs)]);
  } catch (error) {
    const left = await storedRelease(cluster.client, namespace, name);
    if (!(error instanceof HelmError) || !left || left.version === before?.version) throw error;
    const found: Found = { id: request.id, properties: outputs(inputs, left), inputs };
    throw unready(`Helm release "${request.id}" failed`, found, error);
  }
  return outputs(inputs, await existingRelease(cluster.client, namespace, name));
}

/**
 * Uninstalls a release and waits until its objects are gone.
 *
 * @throws when helm refuses, as it does for a release that somebody else uninstalled: the official plugin fails there
 * too, until a refresh.
 */
export async function deleteRelease(cluster: ReleaseCluster, request: DeleteRequest): Promise<void> {
  const inputs = inputsOnly(request.oldInputs);
  const [namespace, name] = splitId(request.id);
  const waits = inputs["atomic"] === true || inputs["skipAwait"] !== true;
  const kubeconfig = await cluster.client.helmKubeconfig(namespace);
  const wait = waits ? ["--wait", "--timeout", timeout(inputs)] : [];
  await cluster.helm.run(["uninstall", name, "--namespace", namespace, ...wait], { kubeconfig });
}

/** Looks at what helm has recorded; the inputs stay as they were recorded, drift shows in the properties. */
export async function readRelease(cluster: ReleaseCluster, request: ReadRequest): Promise<Found | undefined> {
  const [namespace, name] = splitId(request.id);
  const release = await storedRelease(cluster.client, namespace || cluster.namespace, name);
  if (!release) return undefined;
  if (request.inputs) return { id: request.id, properties: outputs(request.inputs, release), inputs: request.inputs };
  const inputs: Properties = {
    name: release.name,
    namespace: release.namespace,
    chart: release.chart.metadata.name,
    version: release.chart.metadata.version,
    timeout: DEFAULT_TIMEOUT,
    // Nothing tells which of them are secret.
    values: secret(release.config ?? {}),
  };
  return { id: request.id, properties: outputs(inputs, release), inputs };
}

function unready(what: string, found: Found, cause: Error): PartialFailure {
  const reason = `${what} to initialize completely. Use Helm CLI to investigate: failed to become available within allocated timeout. Error: Helm Release ${found.id}: ${cause.message}`;
  return new PartialFailure(reason, found, [reason]);
}

async function runHelm(cluster: ReleaseCluster, inputs: Properties, command: readonly string[]): Promise<void> {
  const { name, namespace } = identity(inputs);
  const [verb = "", ...rest] = command;
  const kubeconfig = await cluster.client.helmKubeconfig(namespace);
  const [chart = "", ...where] = chartArguments(inputs);
  const args = [
    verb,
    name,
    chart,
    ...where,
    "--namespace",
    namespace,
    "--timeout",
    timeout(inputs),
    "-f",
    "-",
    ...rest,
  ];
  await cluster.helm.run(args, { kubeconfig, input: JSON.stringify(values(inputs)), interruptible: true });
}

/** The inputs that are a flag of helm's, of the same meaning, and how each is spelt. */
const SHARED_FLAGS = {
  atomic: "--atomic",
  dependencyUpdate: "--dependency-update",
  description: "--description",
  disableOpenapiValidation: "--disable-openapi-validation",
  postrender: "--post-renderer",
  renderSubchartNotes: "--render-subchart-notes",
};
const INSTALL_FLAGS = {
  ...SHARED_FLAGS,
  createNamespace: "--create-namespace",
  disableWebhooks: "--no-hooks",
  replace: "--replace",
  skipCrds: "--skip-crds",
};
const UPGRADE_FLAGS = {
  ...SHARED_FLAGS,
  cleanupOnFail: "--cleanup-on-fail",
  disableCRDHooks: "--no-hooks",
  forceUpdate: "--force",
  recreatePods: "--recreate-pods",
  resetValues: "--reset-values",
  reuseValues: "--reuse-values",
};

function flags(inputs: Properties, spelling: Readonly<Record<string, string>>): string[] {
  const waits = inputs["skipAwait"] !== true;
  return [
    ...Object.entries(spelling).flatMap(([input, flag]) => {
      const value = inputs[input];
      if (value === true) return [flag];
      return typeof value === "string" && value !== "" ? [flag, value] : [];
    }),
    ...(waits ? ["--wait"] : []),
    ...(waits && inputs["waitForJobs"] === true ? ["--wait-for-jobs"] : []),
  ];
}

/** Helm's command keeps ten revisions by default, the official plugin all of them. */
function historyLimit(inputs: Properties): string[] {
  const { maxHistory } = inputs;
  return ["--history-max", String(typeof maxHistory === "number" ? maxHistory : 0)];
}

/** The chart and where it comes from; a path is relative to the program's directory, where this process runs. */
function chartArguments(inputs: Properties): string[] {
  const repository = isObject(inputs["repositoryOpts"]) ? inputs["repositoryOpts"] : {};
  const options: Readonly<Record<string, Value | undefined>> = {
    "--repo": repository["repo"],
    "--ca-file": repository["caFile"],
    "--cert-file": repository["certFile"],
    "--key-file": repository["keyFile"],
    "--version": inputs["version"],
    "--keyring": inputs["keyring"],
  };
  return [
    text(inputs["chart"]),
    ...Object.entries(options).flatMap(([flag, value]) => (typeof value === "string" && value ? [flag, value] : [])),
    ...(inputs["devel"] === true ? ["--devel"] : []),
    ...(inputs["verify"] === true ? ["--verify"] : []),
  ];
}

function timeout(inputs: Properties): string {
  return `${typeof inputs["timeout"] === "number" && inputs["timeout"] > 0 ? inputs["timeout"] : DEFAULT_TIMEOUT}s`;
}

/** `values` over `valueYamlFiles`, without nulls unless they are wanted. */
function values(inputs: Properties): Properties {
  const files = Array.isArray(inputs["valueYamlFiles"]) ? inputs["valueYamlFiles"] : [];
  const base: Properties = {};
  for (const file of files) {
    const content = isObject(file) ? (file["text"] ?? readFileSync(text(file["path"]), "utf8")) : "";
    const parsed: unknown = parse(text(content));
    if (isObject(parsed)) Object.assign(base, parsed);
  }
  const own = isObject(inputs["values"]) ? inputs["values"] : {};
  const all = merged(base, own);
  return inputs["allowNullValues"] === true ? all : withoutNulls(all);
}

function merged(base: Properties, over: Properties): Properties {
  const result = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const below = result[key];
    result[key] = isObject(below) && isObject(value) ? merged(below, value) : value;
  }
  return result;
}

function withoutNulls(properties: Properties): Properties {
  const result: Properties = {};
  for (const [key, value] of Object.entries(properties)) {
    if (value === null || value === undefined) continue;
    if (Array.isArray(value)) result[key] = value.filter((item) => item !== null);
    else result[key] = isObject(value) ? withoutNulls(value) : value;
  }
  return result;
}

/** Never the rendered manifest: it would carry secrets in the clear. */
function outputs(inputs: Properties, release: StoredRelease): Properties {
  const { metadata } = release.chart;
  const live = release.config ?? {};
  const given = values(inputs);
  return {
    ...inputs,
    version: metadata.version,
    // Values that somebody else set may be secret, and there is nothing to tell by.
    ...(isDeepStrictEqual(live, given) || inputs["reuseValues"] === true
      ? {}
      : { values: secret(merged(given, live)) }),
    resourceNames: resourceNames(release.manifest),
    status: {
      name: release.name,
      namespace: release.namespace,
      revision: release.version,
      status: release.info.status,
      chart: metadata.name,
      version: metadata.version,
      ...(metadata.appVersion === undefined ? {} : { appVersion: metadata.appVersion }),
    },
    __inputs: secret(inputs),
  };
}

/** The names of a manifest's objects, by `Kind/apiVersion`. */
function resourceNames(manifest: string): Properties {
  const names: Record<string, string[]> = {};
  for (const document of parseAllDocuments(manifest)) {
    const object: unknown = "toJS" in document ? document.toJS() : undefined;
    if (!isObject(object)) continue;
    const namespace = text(at(object, "metadata", "namespace"));
    const name = text(at(object, "metadata", "name"));
    (names[`${text(object["kind"])}/${text(object["apiVersion"])}`] ??= []).push(
      namespace ? `${namespace}/${name}` : name,
    );
  }
  return names;
}

/**
 * The latest revision as helm stores it, in a Secret of the release's namespace.
 * https://helm.sh/docs/topics/advanced/#storage-backends
 */
async function storedRelease(client: Client, namespace: string, name: string): Promise<StoredRelease | undefined> {
  const path = await client.path("v1", "Secret", namespace);
  const query = { labelSelector: `owner=helm,name=${name}` };
  let items: Value | undefined;
  try {
    items = (await client.request("GET", path, { query }))["items"];
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
  const revision = (item: Properties): number => Number(at(item, "metadata", "labels", "version"));
  const [latest] = (Array.isArray(items) ? items.filter(isObject) : []).sort((a, b) => revision(b) - revision(a));
  const stored = latest && at(latest, "data", "release");
  if (typeof stored !== "string") return undefined;
  const compressed = Buffer.from(Buffer.from(stored, "base64").toString("utf8"), "base64");
  return JSON.parse(gunzipSync(compressed).toString("utf8")) as StoredRelease;
}

async function existingRelease(client: Client, namespace: string, name: string): Promise<StoredRelease> {
  const release = await storedRelease(client, namespace, name);
  if (!release) throw new Error(`helm reported success, but there is no release ${namespace}/${name}`);
  return release;
}

function identity(inputs: Properties): { name: string; namespace: string } {
  return { name: text(inputs["name"]), namespace: text(inputs["namespace"]) };
}

function inputsOnly(properties: Properties): Properties {
  return without(properties, ...COMPUTED);
}

function isMissing(value: Value | undefined): boolean {
  return value === undefined || value === null || value === "";
}

function text(value: Value | undefined): string {
  return typeof value === "string" ? value : "";
}

function message(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
