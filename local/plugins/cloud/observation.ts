import { Client } from "../kubernetes/client";
import { type Kubeconfig, knownClusters, parseKubeconfig, refuseForeign } from "../kubernetes/kubeconfig";
import { isObject, type Properties } from "../provider";

/** What the cloud's own controllers would see in a cluster and act on. */
export interface Observation {
  /** Every Service of type LoadBalancer. */
  readonly services: readonly Properties[];
  /** Every PersistentVolume that is bound to a claim. */
  readonly volumes: readonly Properties[];
}

/**
 * The control plane that the stand-in clouds hand out as their cluster.
 *
 * @throws when there is none, saying how to get one, and for any that the local engine did not start.
 */
export function controlPlane(settings: Readonly<Record<string, string>>): Kubeconfig {
  const file = settings["kubeconfig"] ?? "";
  let kubeconfig: Kubeconfig;
  try {
    kubeconfig = parseKubeconfig(file);
  } catch (error) {
    throw new Error(
      `the stand-in cloud has no cluster to hand out: ${file || "no file"} is not the kubeconfig of the local ` +
        `engine's control plane. Start it with "npm start".`,
      { cause: error },
    );
  }
  refuseForeign(kubeconfig, knownClusters(settings["clusters"] ?? ""));
  return kubeconfig;
}

/**
 * Makes a look at the local control plane, as the controllers of a cloud would take one.
 *
 * @throws each look, when the control plane cannot be asked.
 */
export function observer(settings: Readonly<Record<string, string>>): () => Promise<Observation> {
  let client: Client | undefined;
  return async () => {
    client ??= new Client(controlPlane(settings));
    const [services, volumes] = await Promise.all([
      client.request("GET", "/api/v1/services"),
      client.request("GET", "/api/v1/persistentvolumes"),
    ]);
    return {
      services: items(services).filter((service) => part(service, "spec")["type"] === "LoadBalancer"),
      volumes: items(volumes).filter((volume) => part(volume, "status")["phase"] === "Bound"),
    };
  };
}

/** A part of an object, empty when it has none of that name. */
export function part(object: Properties, key: string): Properties {
  const value = object[key];
  return isObject(value) ? value : {};
}

function items(list: Properties): Properties[] {
  return Array.isArray(list["items"]) ? list["items"].filter(isObject) : [];
}
