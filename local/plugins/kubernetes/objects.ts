import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import {
  type Checked,
  type CheckRequest,
  type Created,
  type CreateRequest,
  type DeleteRequest,
  type Difference,
  type DiffRequest,
  type Found,
  hasUnknown,
  isObject,
  isSecret,
  isUnknown,
  PartialFailure,
  type Properties,
  type ReadRequest,
  type ResourceRequest,
  secret,
  UNKNOWN,
  type UpdateRequest,
  type Value,
  without,
} from "../provider";
import { at, readiness, skipsAwait, timeoutSeconds, untilGone, untilReady } from "./await";
import { ApiError, type Client, isNotFound, UnknownKindError } from "./client";
import { type Mutability, objectChanges, projected } from "./diff";

/** What the operations on objects share. */
export interface Cluster {
  readonly client: Client;
  /** The namespace of objects that name none. */
  readonly namespace: string;
  readonly mutability: Mutability;
  /** Whether updates take fields over from whoever has them. */
  readonly patchForce: boolean;
  /** Aborted when the person interrupts. */
  readonly signal: () => AbortSignal;
  readonly status: (message: string, urn: string) => void;
}

/** The official plugin's mark on objects whose name was made up. */
const AUTONAMED = "pulumi.com/autonamed";

/** Marks inputs that were read from the cluster, where server defaults cannot be told from what somebody wanted. */
const IMPORTED = "__imported";

/** What only the server sets. */
const SERVER_METADATA = ["uid", "resourceVersion", "creationTimestamp", "generation"];

/** Outputs that are ours, not the object's. */
const FIELD_MANAGER = "__fieldManager";
const INITIAL_API_VERSION = "__initialApiVersion";

const TROUBLESHOOTING =
  "https://www.pulumi.com/registry/packages/kubernetes/how-to-guides/managing-resources-with-server-side-apply/#handle-field-conflicts-on-existing-resources";

/**
 * Completes an object's inputs: `apiVersion` and `kind` from the type, a name, a namespace where the kind has one.
 *
 * @throws when the cluster cannot be asked whether the kind has namespaces.
 */
export async function checkObject(
  cluster: Pick<Cluster, "namespace"> & { readonly client: Pick<Client, "kind"> },
  request: CheckRequest,
): Promise<Checked> {
  const { apiVersion, kind } = objectKind(request.type);
  const inputs: Properties = { apiVersion, kind, ...request.news, metadata: request.news["metadata"] ?? {} };
  delete inputs["status"];
  const failures = [];
  const { metadata } = inputs;
  if (!isObject(metadata) || isSecret(metadata)) return { inputs };
  const named: Properties = { ...metadata };
  inputs["metadata"] = named;
  if (isEmptyText(named["name"]) && isEmptyText(named["generateName"])) {
    const oldMetadata = request.olds["metadata"];
    const oldName = isObject(oldMetadata) ? oldMetadata["name"] : undefined;
    if (isAutonamed(request.olds) && typeof oldName === "string") named["name"] = oldName;
    else if (request.autonaming?.disabled) {
      failures.push({ property: "metadata.name", reason: "a name is required, as autonaming is disabled" });
    } else named["name"] = request.autonaming?.proposed || `${request.name}-${randomBytes(4).toString("hex")}`;
    const annotations = named["annotations"] ?? {};
    if (isObject(annotations) && !isSecret(annotations)) {
      named["annotations"] = { ...annotations, [AUTONAMED]: "true" };
    }
  }
  const namespaced = await isNamespaced(cluster.client, text(inputs["apiVersion"]), text(inputs["kind"]));
  if (namespaced === true && isEmptyText(named["namespace"])) named["namespace"] = cluster.namespace;
  if (namespaced === false) delete named["namespace"];
  const { annotations } = named;
  if (isObject(annotations) && annotations["pulumi.com/waitFor"] !== undefined) {
    failures.push({ property: "metadata.annotations", reason: "this stand-in does not know pulumi.com/waitFor" });
  }
  return { inputs, failures };
}

/** Undefined for a kind that the cluster does not know (yet). */
async function isNamespaced(
  client: Pick<Client, "kind">,
  apiVersion: string,
  kind: string,
): Promise<boolean | undefined> {
  try {
    return (await client.kind(apiVersion, kind)).namespaced;
  } catch (error) {
    if (error instanceof UnknownKindError) return undefined;
    throw error;
  }
}

/**
 * Compares inputs with inputs; drift is seen because a refresh writes live values into the recorded inputs.
 */
export function diffObject(mutability: Mutability, request: DiffRequest): Difference {
  const { [IMPORTED]: imported, ...olds } = request.oldInputs;
  const changes = objectChanges(olds, request.news, mutability, request.ignoreChanges);
  if (imported === true) {
    for (const [path, { kind }] of changes) if (kind === "delete") changes.delete(path);
  }
  const replaced = [...changes.values()].some(({ replace }) => replace);
  const same = (field: string): boolean => at(olds, "metadata", field) === at(request.news, "metadata", field);
  return {
    changes,
    // Two objects of one name cannot stand side by side.
    deleteBeforeReplace:
      replaced &&
      !isEmptyText(at(request.news, "metadata", "name")) &&
      !isAutonamed(request.news) &&
      same("name") &&
      same("namespace"),
  };
}

/**
 * Creates an object and waits for it; in a preview, has the API server try it without keeping it.
 *
 * @throws when there is such an object already, and when the server refuses. PartialFailure when it never got usable.
 */
export async function createObject(cluster: Cluster, request: CreateRequest): Promise<Created> {
  const { inputs } = request;
  if (request.preview) return { id: "", properties: await previewCreation(cluster, inputs) };
  const manager = `pulumi-kubernetes-${randomBytes(4).toString("hex")}`;
  const created = await retried(cluster, request, async () => {
    const path = await collectionPath(cluster.client, inputs);
    const query = { fieldManager: manager, fieldValidation: "Warn" };
    return cluster.client.request("POST", path, { query, body: applied(inputs) });
  });
  await ownByApply(cluster.client, created, manager);
  return settled(cluster, request, created, inputs, manager);
}

async function previewCreation({ client }: Cluster, inputs: Properties): Promise<Properties> {
  if (hasUnknown(inputs)) return inputs;
  let dry: Properties;
  try {
    const path = await collectionPath(client, inputs);
    dry = await client.request("POST", path, {
      query: { dryRun: "All", fieldValidation: "Warn" },
      body: applied(inputs),
    });
  } catch (error) {
    // The namespace, or the kind's definition, may come with the same update, and an object of this name may go with it.
    const later = error instanceof ApiError && error.reason === "AlreadyExists";
    if (later || isNotFound(error) || error instanceof UnknownKindError) return inputs;
    throw error;
  }
  // What is missing from a preview counts as unknown; a dry run's empty status would count as known.
  return without(withoutServerAllocated(outputs(dry, inputs)), "status");
}

/** What a dry run makes up, and a real run will make up differently. */
function withoutServerAllocated(properties: Properties): Properties {
  const metadata = isObject(properties["metadata"]) ? { ...properties["metadata"] } : {};
  for (const field of SERVER_METADATA) metadata[field] = UNKNOWN;
  const result: Properties = { ...properties, metadata };
  if (properties["kind"] === "Service" && isObject(properties["spec"])) {
    const spec = { ...properties["spec"] };
    for (const field of ["clusterIP", "clusterIPs"]) if (spec[field] !== undefined) spec[field] = UNKNOWN;
    result["spec"] = spec;
  }
  return result;
}

/** A namespace or a definition that is still being created is waited for a little, as the official plugin does. */
async function retried(
  cluster: Cluster,
  request: CreateRequest,
  create: () => Promise<Properties>,
): Promise<Properties> {
  for (let attempt = 1, pause = 1000; ; attempt++, pause *= 2) {
    try {
      return await create();
    } catch (error) {
      const hopeful = isNotFound(error) || error instanceof UnknownKindError;
      if (!hopeful || attempt > 5 || cluster.signal().aborted) throw notCreated(request, error);
      cluster.status(`Retry #${attempt}; creation failed: ${error instanceof Error ? error.message : ""}`, request.urn);
      await sleep(pause, undefined, { signal: cluster.signal() }).catch(() => undefined);
    }
  }
}

function notCreated({ inputs }: CreateRequest, error: unknown): Error {
  const what = `resource "${objectId(inputs)}" was not successfully created by the Kubernetes API server`;
  return new Error(`${what}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
}

/**
 * Turns the ownership of fields that a plain create or kubectl gives into that of server-side apply, without which the
 * next apply would conflict with the object's own creation.
 * https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
 */
async function ownByApply(client: Client, live: Properties, manager: string): Promise<void> {
  let current = live;
  for (let attempt = 0; attempt < 5; attempt++) {
    const entries = at(current, "metadata", "managedFields");
    const managed = (Array.isArray(entries) ? entries : []).filter(isObject);
    const foreign = (entry: Properties): boolean =>
      entry["operation"] === "Update" &&
      isEmptyText(entry["subresource"]) &&
      (entry["manager"] === manager || /^(kubectl|before-first-apply)/.test(text(entry["manager"])));
    if (!managed.some(foreign)) return;
    const hasApply = managed.some((entry) => entry["manager"] === manager && entry["operation"] === "Apply");
    const heir = hasApply
      ? undefined
      : (managed.find((entry) => foreign(entry) && entry["manager"] === manager) ?? managed.find(foreign));
    const rewritten = managed.flatMap((entry) => {
      if (entry === heir) return [{ ...entry, manager, operation: "Apply" }];
      return foreign(entry) ? [] : [entry];
    });
    const path = await objectPath(client, current);
    try {
      await client.request("PATCH", path, {
        contentType: "application/json-patch+json",
        body: [
          { op: "test", path: "/metadata/resourceVersion", value: at(current, "metadata", "resourceVersion") },
          { op: "replace", path: "/metadata/managedFields", value: rewritten },
        ],
      });
      return;
    } catch (error) {
      // Somebody else wrote in between: look again.
      if (!(error instanceof ApiError) || ![409, 422].includes(error.code)) throw error;
      current = await client.request("GET", path);
    }
  }
}

/** Waits for a written object and looks at it once more. */
async function settled(
  cluster: Cluster,
  request: ResourceRequest & { readonly timeout?: number },
  written: Properties,
  inputs: Properties,
  manager: string,
): Promise<Created> {
  const { client } = cluster;
  const path = await objectPath(client, written);
  const look = (): Promise<Properties> => client.request("GET", path);
  const reasons = skipsAwait(inputs)
    ? undefined
    : await untilReady(written, {
        client,
        look,
        seconds: timeoutSeconds(inputs, request.timeout, false),
        signal: cluster.signal(),
        status: (message) => {
          cluster.status(message, request.urn);
        },
      });
  const live = await look().catch(() => written);
  const id = objectId(live);
  const properties = { ...outputs(live, inputs), [FIELD_MANAGER]: manager };
  if (reasons) throw unready(`resource ${id} was successfully created`, { id, properties, inputs }, reasons);
  return { id, properties };
}

function unready(what: string, found: Found, reasons: readonly string[]): PartialFailure {
  return new PartialFailure(
    `${what}, but the Kubernetes API server reported that it failed to fully initialize or become live: ${reasons.join("; ")}`,
    found,
    reasons,
  );
}

/**
 * Looks at an object. In a refresh the inputs are what is live in the shape of the recorded ones; a `.get()` or an
 * import has none, and gets the whole object.
 *
 * @throws PartialFailure when a refreshed object is not usable at this moment.
 */
export async function readObject(cluster: Cluster, request: ReadRequest): Promise<Found | undefined> {
  const { apiVersion, kind } = objectKind(request.type);
  const known = request.inputs ?? { apiVersion, kind };
  const [namespace, name] = splitId(request.id);
  let live: Properties;
  try {
    live = await cluster.client.get(
      text(known["apiVersion"]) || apiVersion,
      text(known["kind"]) || kind,
      namespace || cluster.namespace,
      name,
    );
  } catch (error) {
    if (isNotFound(error) || error instanceof UnknownKindError) return undefined;
    throw error;
  }
  if (!request.inputs) {
    return { id: request.id, properties: outputs(live, {}), inputs: importedInputs(live) };
  }
  const manager = request.properties?.[FIELD_MANAGER];
  const found: Found = {
    id: request.id,
    properties: { ...outputs(live, request.inputs), ...(manager === undefined ? {} : { [FIELD_MANAGER]: manager }) },
    inputs: refreshedInputs(live, request.inputs),
  };
  if (skipsAwait(request.inputs)) return found;
  const state = await readiness(cluster.client, live);
  if (!state.ready) throw unready(`resource ${request.id} exists`, found, state.reasons);
  return found;
}

function refreshedInputs(live: Properties, inputs: Properties): Properties {
  const { stringData, [IMPORTED]: imported, ...rest } = inputs;
  const result = projected(live, rest);
  const data = isObject(live["data"]) ? live["data"] : {};
  return {
    ...(isObject(result) ? result : {}),
    ...(isObject(stringData)
      ? {
          stringData: Object.fromEntries(
            Object.keys(stringData).flatMap((key) => {
              const value = data[key];
              return typeof value === "string" ? [[key, Buffer.from(value, "base64").toString("utf8")]] : [];
            }),
          ),
        }
      : {}),
    ...(imported === undefined ? {} : { [IMPORTED]: imported }),
  };
}

function importedInputs(live: Properties): Properties {
  const metadata = isObject(live["metadata"]) ? live["metadata"] : {};
  const kept = without(metadata, ...SERVER_METADATA, "managedFields", "selfLink");
  return { ...markedSecret(without(live, "status")), metadata: kept, [IMPORTED]: true };
}

/**
 * Changes an object in place by server-side apply and waits for it; in a preview, as a dry run.
 *
 * @throws when fields belong to somebody else, unless `pulumi.com/patchForce` or the provider's `enablePatchForce` takes them; when the server refuses.
 * PartialFailure when it did not get usable again.
 */
export async function updateObject(cluster: Cluster, request: UpdateRequest): Promise<Properties> {
  const { client } = cluster;
  const inputs = request.news;
  if (hasUnknown(inputs)) return { ...inputs, ...statusOf(request.olds) };
  const [namespace, name] = splitId(request.id);
  const manager = text(request.olds[FIELD_MANAGER]) || `pulumi-kubernetes-${randomBytes(4).toString("hex")}`;
  const apiVersion = text(inputs["apiVersion"]);
  const kind = text(inputs["kind"]);
  const path = await client.path(apiVersion, kind, namespace || cluster.namespace, name);
  const live = await client.request("GET", path);
  const force = cluster.patchForce || at(inputs, "metadata", "annotations", "pulumi.com/patchForce") === "true";
  if (!request.preview) await ownByApply(client, live, manager);
  const query = {
    fieldManager: manager,
    // A preview leaves the ownership as it is, so it must not trip over what the update will take over first.
    force: String(force || request.preview),
    fieldValidation: "Warn",
    ...(request.preview ? { dryRun: "All" } : {}),
  };
  let written: Properties;
  try {
    written =
      kind === "CustomResourceDefinition" && !request.preview
        ? await client.request("PUT", path, { body: withResourceVersion(applied(inputs), live) })
        : await client.request("PATCH", path, {
            query,
            contentType: "application/apply-patch+yaml",
            body: applied(inputs),
          });
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== 409) throw error;
    throw new Error(
      `Server-Side Apply field conflict detected. See ${TROUBLESHOOTING} for troubleshooting help\n: ${error.message}`,
      { cause: error },
    );
  }
  if (request.preview) return { ...outputs(written, inputs), [FIELD_MANAGER]: manager, ...statusOf(request.olds) };
  return (await settled(cluster, request, written, inputs, manager)).properties;
}

/** What depends on an object's status stays known in the preview of its update. */
function statusOf(olds: Properties): Properties {
  return olds["status"] === undefined ? {} : { status: olds["status"] };
}

function withResourceVersion(object: Properties, live: Properties): Properties {
  const metadata = isObject(object["metadata"]) ? object["metadata"] : {};
  return { ...object, metadata: { ...metadata, resourceVersion: at(live, "metadata", "resourceVersion") } };
}

/**
 * Deletes an object and waits until it is gone. One that is gone already is fine.
 *
 * @throws when time runs out, which for a namespace means that something in it cannot be deleted.
 */
export async function deleteObject(cluster: Cluster, request: DeleteRequest): Promise<void> {
  const { client } = cluster;
  const inputs = { ...request.properties, ...request.oldInputs };
  const [namespace, name] = splitId(request.id);
  try {
    const known = objectKind(request.type);
    const path = await client.path(
      text(inputs["apiVersion"]) || known.apiVersion,
      text(inputs["kind"]) || known.kind,
      namespace || cluster.namespace,
      name,
    );
    const policy = text(at(inputs, "metadata", "annotations", "pulumi.com/deletionPropagationPolicy"));
    const deleted = await client.request("DELETE", path, {
      body: { apiVersion: "v1", kind: "DeleteOptions", propagationPolicy: propagation(policy) },
    });
    if (skipsAwait(inputs)) return;
    // The server answers with the object while it goes, and with a Status whose details name it once it is gone.
    const uid = at(deleted, "metadata", "uid") ?? at(deleted, "details", "uid");
    const gone = async (): Promise<boolean> => {
      const live = await client.request("GET", path);
      return uid !== undefined && at(live, "metadata", "uid") !== uid;
    };
    await untilGone(
      () =>
        gone().catch((error: unknown) => {
          if (isNotFound(error)) return true;
          throw error;
        }),
      { seconds: timeoutSeconds(inputs, request.timeout, true), signal: cluster.signal() },
    );
  } catch (error) {
    if (isNotFound(error) || error instanceof UnknownKindError) return;
    throw error;
  }
}

function propagation(policy: string): string {
  const known: Readonly<Record<string, string>> = { background: "Background", orphan: "Orphan" };
  return known[policy.toLowerCase()] ?? "Foreground";
}

/**
 * The object that a resource type stands for.
 *
 * @throws for types that are no objects of the Kubernetes API, which this stand-in does not serve.
 */
export function objectKind(type: string): { apiVersion: string; kind: string } {
  const [, group, kind] = /^kubernetes:([^:]+):([^:]+)$/.exec(type) ?? [];
  const served = group?.includes("/") && !group.startsWith("helm.sh/") && !group.startsWith("yaml/");
  if (!group || !kind || !served || (/(Patch|List)$/.test(kind) && group.includes("/v"))) {
    throw new Error(`the stand-in for the kubernetes plugin does not serve ${type}`);
  }
  return { apiVersion: group.replace(/^core\//, ""), kind };
}

/** The object as the API server is to have it: texts of a Secret encoded, nothing of the plugin's own. */
function applied(inputs: Properties): Properties {
  const { stringData } = inputs;
  const object = without(inputs, "stringData", "status", IMPORTED);
  if (!isObject(stringData)) return object;
  // Server-side apply never removes a key that was dropped from stringData, but does from data.
  const data: Properties = isObject(object["data"]) ? { ...object["data"] } : {};
  for (const [key, value] of Object.entries(stringData)) data[key] = Buffer.from(text(value)).toString("base64");
  return { ...object, data };
}

function outputs(live: Properties, inputs: Properties): Properties {
  const metadata: Properties = isObject(live["metadata"]) ? { ...live["metadata"] } : {};
  delete metadata["managedFields"];
  const { annotations } = metadata;
  const last = "kubectl.kubernetes.io/last-applied-configuration";
  if (live["kind"] === "Secret" && isObject(annotations) && typeof annotations[last] === "string") {
    metadata["annotations"] = { ...annotations, [last]: secret(annotations[last]) };
  }
  return {
    ...markedSecret({
      ...live,
      ...(inputs["stringData"] === undefined ? {} : { stringData: inputs["stringData"] }),
    }),
    metadata,
    [INITIAL_API_VERSION]: live["apiVersion"],
  };
}

/** The contents of a Secret are secret wherever they come from, and whoever reads it. */
function markedSecret(object: Properties): Properties {
  if (object["kind"] !== "Secret") return object;
  const contents = ["data", "stringData"].flatMap((field) => {
    const content = object[field];
    return content === undefined || content === null ? [] : [[field, secret(content)]];
  });
  return { ...object, ...(Object.fromEntries(contents) as Properties) };
}

async function collectionPath(client: Client, inputs: Properties): Promise<string> {
  const namespace = text(at(inputs, "metadata", "namespace"));
  return client.path(text(inputs["apiVersion"]), text(inputs["kind"]), namespace);
}

async function objectPath(client: Client, live: Properties): Promise<string> {
  const namespace = text(at(live, "metadata", "namespace"));
  const name = text(at(live, "metadata", "name"));
  return client.path(text(live["apiVersion"]), text(live["kind"]), namespace, name);
}

function objectId(live: Properties): string {
  const namespace = text(at(live, "metadata", "namespace"));
  const name = text(at(live, "metadata", "name"));
  return namespace ? `${namespace}/${name}` : name;
}

/** `namespace/name`, or only a name. */
export function splitId(id: string): [namespace: string, name: string] {
  const slash = id.indexOf("/");
  return slash < 0 ? ["", id] : [id.slice(0, slash), id.slice(slash + 1)];
}

function isAutonamed(inputs: Properties): boolean {
  return at(inputs, "metadata", "annotations", AUTONAMED) === "true";
}

function isEmptyText(value: Value | undefined): boolean {
  return value === undefined || value === null || value === "";
}

function text(value: Value | undefined): string {
  return typeof value === "string" && !isUnknown(value) ? value : "";
}
