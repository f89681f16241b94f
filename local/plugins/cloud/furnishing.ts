import { setTimeout } from "node:timers/promises";
import { Client, isNotFound, UnknownKindError } from "../kubernetes/client";
import type { Kubeconfig } from "../kubernetes/kubeconfig";
import type { Properties, Value } from "../provider";
import { part } from "./observation";

/** How long the API server may take to serve what it has just been told of: in all, and between two looks, in ms. */
const PATIENCE = { whole: 30_000, pause: 100 };

/** Puts objects on a control plane, as whoever makes a cluster would before anybody else gets to it. In order, and again. */
export async function furnish(kubeconfig: Kubeconfig, objects: readonly Properties[]): Promise<void> {
  const client = new Client(kubeconfig);
  for (const object of objects) {
    const path = await soon(() => pathOf(client, object));
    const query = { fieldManager: "stand-in-cloud", force: "true" };
    await client.request("PATCH", path, { query, body: object, contentType: "application/apply-patch+yaml" });
  }
}

/** Takes objects away again, the last one first; what is gone already is no error. */
export async function clear(kubeconfig: Kubeconfig, objects: readonly Properties[]): Promise<void> {
  const client = new Client(kubeconfig);
  for (const object of objects.toReversed()) {
    try {
      await client.request("DELETE", await pathOf(client, object));
    } catch (error) {
      if (!isNotFound(error) && !(error instanceof UnknownKindError)) throw error;
    }
  }
}

async function pathOf(client: Client, object: Properties): Promise<string> {
  const { namespace, name } = part(object, "metadata");
  return await client.path(text(object["apiVersion"]), text(object["kind"]), text(namespace), text(name));
}

/** A definition takes a moment until its kind is served. */
async function soon<T>(work: () => Promise<T>): Promise<T> {
  for (let left = PATIENCE.whole; ; left -= PATIENCE.pause) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof UnknownKindError) || left <= 0) throw error;
      await setTimeout(PATIENCE.pause);
    }
  }
}

function text(value: Value | undefined): string {
  return typeof value === "string" ? value : "";
}
