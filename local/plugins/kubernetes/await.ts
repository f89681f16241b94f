import { setTimeout as sleep } from "node:timers/promises";
import { isObject, type Properties, type Value } from "../provider";
import type { Client } from "./client";

/** How far an object is from being usable, in words for the person who waits. */
export type Readiness =
  { readonly ready: true } | { readonly ready: false; readonly failed: boolean; readonly reasons: string[] };

/** Tells how far one object is; may remember what it saw before. */
type Probe = (live: Properties) => Readiness | Promise<Readiness>;

const READY: Readiness = { ready: true };

function waiting(...reasons: string[]): Readiness {
  return { ready: false, failed: false, reasons };
}

function failed(...reasons: string[]): Readiness {
  return { ready: false, failed: true, reasons };
}

/** After a change of its endpoints the official plugin gives a Service this long, in milliseconds, to settle. */
const SETTLING = 10_000;

/** How long the official plugin waits for any endpoints at all to appear behind an Ingress, in milliseconds. */
const NO_ENDPOINTS = 60_000;

/**
 * How the official plugin tells, by `<apiVersion>/<kind>`, that an object is usable; a kind that is not here is usable
 * at once. `settle` is false where only a moment is looked at, as in a refresh.
 * https://github.com/pulumi/pulumi-kubernetes/blob/master/provider/pkg/await/awaiters.go
 */
const PROBES: Readonly<Record<string, (client: Client, settle: boolean) => Probe>> = {
  "apps/v1/Deployment": () => deployment,
  "apps/v1/StatefulSet": () => statefulSet,
  "apps/v1/DaemonSet": () => daemonSet,
  "batch/v1/Job": () => job,
  "v1/Pod": () => pod,
  "v1/Service": service,
  "v1/PersistentVolume": () => (live) =>
    ["Available", "Bound"].includes(text(at(live, "status", "phase")))
      ? READY
      : waiting("PersistentVolume is not available"),
  "v1/PersistentVolumeClaim": (client) => (live) => claim(client, live),
  "v1/ResourceQuota": () => (live) =>
    JSON.stringify(at(live, "status", "hard")) === JSON.stringify(at(live, "spec", "hard"))
      ? READY
      : waiting("Quota limits are not reflected in its status"),
  "v1/Secret": () => (live) =>
    live["type"] === "kubernetes.io/service-account-token" && at(live, "data", "token") === undefined
      ? waiting("Secret has no token yet")
      : READY,
  "networking.k8s.io/v1/Ingress": ingress,
  "apiextensions.k8s.io/v1/CustomResourceDefinition": () => (live) =>
    condition(live, "Established")?.["status"] === "True"
      ? READY
      : waiting("CustomResourceDefinition is not established"),
};

/** Seconds that a kind may take when nothing else is said. */
const DEFAULT_TIMEOUT = 600;

/** The official plugin's own timeouts for deletion, in seconds, where they are not ten minutes. */
const DELETION_TIMEOUT: Readonly<Record<string, number>> = { "batch/v1/Job": 300, "v1/Pod": 300 };

/**
 * How long to wait in seconds: `customTimeouts` before the annotation `pulumi.com/timeoutSeconds` before the kind's own.
 */
export function timeoutSeconds(object: Properties, custom: number | undefined, deletion: boolean): number {
  const annotation = Number(annotations(object)["pulumi.com/timeoutSeconds"]);
  if (custom !== undefined) return custom;
  if (annotation > 0) return annotation;
  return (deletion ? DELETION_TIMEOUT[key(object)] : undefined) ?? DEFAULT_TIMEOUT;
}

/** Whether the object asks not to be waited for, neither when created nor when deleted. */
export function skipsAwait(object: Properties): boolean {
  return annotations(object)["pulumi.com/skipAwait"] === "true";
}

/** How far an object is at this moment. */
export async function readiness(client: Client, live: Properties): Promise<Readiness> {
  const probe = PROBES[key(live)]?.(client, false);
  return probe ? probe(live) : READY;
}

/** What to wait for, and how. */
export interface Waiting {
  readonly client: Client;
  /** Looks at the object again. */
  readonly look: () => Promise<Properties>;
  readonly seconds: number;
  readonly signal: AbortSignal;
  /** Shows what is still missing. */
  readonly status: (message: string) => void;
}

/**
 * Waits until an object is usable.
 *
 * @returns undefined when it is, otherwise why it is not: it failed for good, time ran out, or the person interrupted.
 * @throws when the object cannot be looked at any more.
 */
export async function untilReady(first: Properties, options: Waiting): Promise<readonly string[] | undefined> {
  const probe = PROBES[key(first)]?.(options.client, true);
  if (!probe) return undefined;
  const deadline = Date.now() + options.seconds * 1000;
  const name = text(at(first, "metadata", "name"));
  let live = first;
  let shown: string | undefined;
  for (const pause of pauses()) {
    const state = await probe(live);
    if (state.ready) return undefined;
    const reasons = state.reasons;
    if (state.failed) return reasons;
    if (options.signal.aborted) return [`Resource operation was cancelled for '${name}'`, ...reasons];
    if (Date.now() >= deadline) return [`'${name}' timed out waiting to be Ready`, ...reasons];
    if (reasons[0] !== undefined && reasons[0] !== shown) options.status((shown = reasons[0]));
    await sleep(pause, undefined, { signal: options.signal }).catch(() => undefined);
    live = await options.look();
  }
  return undefined;
}

/**
 * Waits until `gone` says so.
 *
 * @throws when time runs out or the person interrupts.
 */
export async function untilGone(
  gone: () => Promise<boolean>,
  { seconds, signal }: Pick<Waiting, "seconds" | "signal">,
): Promise<void> {
  const deadline = Date.now() + seconds * 1000;
  for (const pause of pauses()) {
    if (await gone()) return;
    if (signal.aborted) throw new Error("resource deletion was cancelled");
    if (Date.now() >= deadline)
      throw new Error(`timed out after ${seconds} seconds waiting for the object to be deleted`);
    await sleep(pause, undefined, { signal }).catch(() => undefined);
  }
}

/** Milliseconds between two looks: short at first, for what is quick, then up to half a second. */
function* pauses(): Generator<number> {
  for (let pause = 50; ; pause = Math.min(pause * 1.5, 500)) yield pause;
}

function deployment(live: Properties): Readiness {
  const progressing = condition(live, "Progressing");
  if (progressing?.["reason"] === "ProgressDeadlineExceeded") {
    return failed(`Deployment exceeded its progress deadline: ${text(progressing["message"])}`);
  }
  const replicas = number(at(live, "spec", "replicas"), 1);
  const status = isObject(live["status"]) ? live["status"] : {};
  const seen = number(status["observedGeneration"]) >= number(at(live, "metadata", "generation"));
  const rolledOut =
    seen &&
    number(status["updatedReplicas"]) === replicas &&
    number(status["replicas"]) === replicas &&
    number(status["availableReplicas"]) === replicas;
  if (rolledOut && condition(live, "Available")?.["status"] === "True") return READY;
  return waiting(
    `Minimum number of live Pods was not attained (${number(status["availableReplicas"])}/${replicas} available)`,
  );
}

function statefulSet(live: Properties): Readiness {
  const replicas = number(at(live, "spec", "replicas"), 1);
  const status = isObject(live["status"]) ? live["status"] : {};
  const seen = number(status["observedGeneration"]) >= number(at(live, "metadata", "generation"));
  const onDelete = at(live, "spec", "updateStrategy", "type") === "OnDelete";
  const updated = onDelete || status["currentRevision"] === status["updateRevision"];
  if (seen && updated && number(status["readyReplicas"]) === replicas && number(status["replicas"]) === replicas) {
    return READY;
  }
  return waiting(
    `StatefulSet failed to become ready (${number(status["readyReplicas"])}/${replicas} Pods are ready and up to date)`,
  );
}

function daemonSet(live: Properties): Readiness {
  const status = isObject(live["status"]) ? live["status"] : {};
  const wanted = number(status["desiredNumberScheduled"]);
  const seen = number(status["observedGeneration"]) >= number(at(live, "metadata", "generation"));
  const updated = number(status["updatedNumberScheduled"]) === wanted;
  if (seen && updated && number(status["numberAvailable"]) === wanted) return READY;
  return waiting(`DaemonSet is not ready (${number(status["numberAvailable"])}/${wanted} Pods are available)`);
}

function job(live: Properties): Readiness {
  const failure = condition(live, "Failed");
  if (failure?.["status"] === "True") {
    return failed(`Job failed: ${text(failure["reason"])}: ${text(failure["message"])}`);
  }
  return condition(live, "Complete")?.["status"] === "True" ? READY : waiting("Job is not complete");
}

function pod(live: Properties): Readiness {
  const phase = text(at(live, "status", "phase"));
  if (phase === "Succeeded" || condition(live, "Ready")?.["status"] === "True") return READY;
  const reasons = ["PodScheduled", "Initialized", "ContainersReady", "Ready"].flatMap((type) => {
    const state = condition(live, type);
    return state && state["status"] !== "True" ? [`${type}: ${text(state["message"]) || text(state["reason"])}`] : [];
  });
  return waiting(`Pod is not ready (${phase || "no phase yet"})`, ...reasons);
}

async function claim(client: Client, live: Properties): Promise<Readiness> {
  if (at(live, "status", "phase") === "Bound") return READY;
  const storageClass = text(at(live, "spec", "storageClassName"));
  const late =
    storageClass !== "" &&
    (await client.get("storage.k8s.io/v1", "StorageClass", "", storageClass).then(
      (found) => found["volumeBindingMode"] === "WaitForFirstConsumer",
      () => false,
    ));
  return late ? READY : waiting("PersistentVolumeClaim is not bound");
}

function service(client: Client, settle: boolean): Probe {
  let seen: string | undefined;
  let changed = Date.now();
  return async (live) => {
    const type = text(at(live, "spec", "type")) || "ClusterIP";
    const address = at(live, "status", "loadBalancer", "ingress");
    const addressed = type !== "LoadBalancer" || (Array.isArray(address) && address.length > 0);
    const reasons = addressed
      ? []
      : ["Service was not allocated an IP address; does your cloud provider support this?"];
    const selector = at(live, "spec", "selector");
    const selects = isObject(selector) && Object.keys(selector).length > 0;
    if (type !== "ExternalName" && at(live, "spec", "clusterIP") !== "None" && selects) {
      const endpoints = await endpointsOf(client, live);
      const version = text(at(endpoints ?? {}, "metadata", "resourceVersion"));
      if (version !== seen) {
        seen = version;
        changed = Date.now();
      }
      const subsets = endpoints?.["subsets"];
      if (!Array.isArray(subsets) || subsets.length === 0) {
        reasons.unshift(
          "Service does not target any Pods. Selected Pods may not be ready, or field '.spec.selector' may not match " +
            "labels on any Pods",
        );
      } else if (settle && Date.now() - changed < SETTLING) {
        reasons.unshift("Finding Pods to direct traffic to");
      }
    }
    return reasons.length === 0 ? READY : waiting(...reasons);
  };
}

async function endpointsOf(client: Client, live: Properties): Promise<Properties | undefined> {
  const namespace = text(at(live, "metadata", "namespace"));
  return client.get("v1", "Endpoints", namespace, text(at(live, "metadata", "name"))).catch(() => undefined);
}

function ingress(client: Client, settle: boolean): Probe {
  const started = Date.now();
  let seen: string | undefined;
  let changed = started;
  return async (live) => {
    const namespace = text(at(live, "metadata", "namespace"));
    const address = at(live, "status", "loadBalancer", "ingress");
    const reasons =
      Array.isArray(address) && address.length > 0
        ? []
        : ["Ingress .status.loadBalancer field was not updated with a hostname/IP address."];
    const endpoints = await list(client, "Endpoints", namespace);
    const external = (await list(client, "Service", namespace)).filter(
      (found) => at(found, "spec", "type") === "ExternalName",
    );
    const version = endpoints.map((found) => text(at(found, "metadata", "resourceVersion"))).join();
    if (version !== seen) {
      seen = version;
      changed = Date.now();
    }
    const known = new Set([...endpoints, ...external].map((found) => text(at(found, "metadata", "name"))));
    const missing = backends(live).filter((name) => !known.has(name));
    const settled =
      Date.now() - (endpoints.length === 0 ? started : changed) >= (endpoints.length === 0 ? NO_ENDPOINTS : SETTLING);
    if (missing.length > 0 && settle && !settled) {
      reasons.unshift(`Ingress has at least one rule with no matching Service: ${missing.join(", ")}`);
    }
    return reasons.length === 0 ? READY : waiting(...reasons);
  };
}

function backends(live: Properties): string[] {
  const rules = at(live, "spec", "rules");
  return (Array.isArray(rules) ? rules : []).flatMap((rule) => {
    const paths = isObject(rule) ? at(rule, "http", "paths") : undefined;
    return (Array.isArray(paths) ? paths : []).flatMap((path) => {
      const name = isObject(path) ? text(at(path, "backend", "service", "name")) : "";
      return name === "" ? [] : [name];
    });
  });
}

async function list(client: Client, kind: string, namespace: string): Promise<Properties[]> {
  const answer = await client.request("GET", await client.path("v1", kind, namespace));
  return Array.isArray(answer["items"]) ? answer["items"].filter(isObject) : [];
}

function condition(live: Properties, type: string): Properties | undefined {
  const conditions = at(live, "status", "conditions");
  return Array.isArray(conditions)
    ? conditions.find((entry): entry is Properties => isObject(entry) && entry["type"] === type)
    : undefined;
}

function annotations(object: Properties): Properties {
  const found = at(object, "metadata", "annotations");
  return isObject(found) ? found : {};
}

function key(object: Properties): string {
  return `${text(object["apiVersion"])}/${text(object["kind"])}`;
}

/** What stands at a path of keys, if all of it is there. */
export function at(object: Properties, ...path: readonly string[]): Value | undefined {
  return path.reduce<Value | undefined>((value, step) => (isObject(value) ? value[step] : undefined), object);
}

function text(value: Value | undefined): string {
  return typeof value === "string" ? value : "";
}

function number(value: Value | undefined, otherwise = 0): number {
  return typeof value === "number" ? value : otherwise;
}
