import path from "node:path";
import type { Host, Properties, Provider } from "./provider";
import { hasUnknown, isObject } from "./provider";
import { Client } from "./kubernetes/client";
import { Helm } from "./kubernetes/helm";
import { type Kubeconfig, knownClusters, parseKubeconfig, refuseForeign } from "./kubernetes/kubeconfig";
import {
  checkObject,
  type Cluster,
  createObject,
  deleteObject,
  diffObject,
  readObject,
  updateObject,
} from "./kubernetes/objects";
import { planning } from "./kubernetes/planning";
import {
  checkRelease,
  createRelease,
  deleteRelease,
  diffRelease,
  readRelease,
  RELEASE_TYPE,
  type ReleaseCluster,
  updateRelease,
} from "./kubernetes/release";

/** Configuration that changes what the official plugin does, and that this one does not know. */
const UNSERVED = ["renderYamlToDirectory", "upsertExistingObjects", "kubeClientSettings"];

/**
 * The stand-in for `pulumi-resource-kubernetes`: objects through a real API server, releases through the real helm. It
 * refuses every cluster that is not in the file that `settings.clusters` names, and every ambient kubeconfig. With
 * `settings.planning` it asks no cluster at all, and serves previews only.
 */
export function standIn(host: Host): Provider {
  const helm = new Helm(host.settings["helm"] ?? "helm", path.join(path.dirname(process.argv[1] ?? "."), "scratch"));
  let interruption = new AbortController();
  let configured: (Cluster & ReleaseCluster) | undefined;

  const cluster = (): Cluster & ReleaseCluster => {
    if (!configured) throw new Error("the kubernetes plugin was used before it was configured");
    return configured;
  };
  const provider: Provider = {
    checkConfig: (news) => {
      const failures = UNSERVED.flatMap((property) =>
        isOff(news[property])
          ? []
          : [{ property, reason: "the stand-in for the kubernetes plugin does not know this" }],
      );
      return { inputs: news, failures };
    },
    diffConfig: (olds, news) => {
      const changed = Object.keys({ ...olds, ...news }).filter((key) => olds[key] !== news[key] && key !== "version");
      const replace = isAnotherCluster(olds, news);
      const culprit = olds["clusterIdentifier"] === news["clusterIdentifier"] ? "kubeconfig" : "clusterIdentifier";
      if (replace && !changed.includes(culprit)) changed.push(culprit);
      return {
        changes: new Map(
          changed.map((key) => [
            key,
            {
              kind: olds[key] === undefined ? "add" : news[key] === undefined ? "delete" : "update",
              replace: replace && key === culprit,
            },
          ]),
        ),
      };
    },
    configure: (configuration) => {
      const kubeconfig = configuredKubeconfig(configuration);
      refuseForeign(kubeconfig, knownClusters(host.settings["clusters"] ?? ""));
      interruption = new AbortController();
      configured = {
        client: new Client(kubeconfig),
        helm,
        host,
        namespace: text(configuration["namespace"]) || kubeconfig.namespace || "default",
        mutability: {
          secrets: isOn(configuration["enableSecretMutable"]),
          configMaps: isOn(configuration["enableConfigMapMutable"]),
        },
        patchForce: isOn(configuration["enablePatchForce"]),
        signal: () => interruption.signal,
        status: (message, urn) => void host.status(message, urn),
      };
      return Promise.resolve();
    },
    check: (request) =>
      request.type === RELEASE_TYPE ? checkRelease(cluster(), request) : checkObject(cluster(), request),
    diff: (request) =>
      request.type === RELEASE_TYPE ? diffRelease(request) : diffObject(cluster().mutability, request),
    create: (request) =>
      request.type === RELEASE_TYPE ? createRelease(cluster(), request) : createObject(cluster(), request),
    read: (request) =>
      request.type === RELEASE_TYPE ? readRelease(cluster(), request) : readObject(cluster(), request),
    update: (request) =>
      request.type === RELEASE_TYPE ? updateRelease(cluster(), request) : updateObject(cluster(), request),
    delete: (request) =>
      request.type === RELEASE_TYPE ? deleteRelease(cluster(), request) : deleteObject(cluster(), request),
    cancel: () => {
      interruption.abort();
      helm.interrupt();
      return Promise.resolve();
    },
    abandon: () => {
      helm.abandon();
    },
  };
  return host.settings["planning"] === "true" ? { ...provider, ...planning() } : provider;
}

function configuredKubeconfig(configuration: Properties): Kubeconfig {
  const kubeconfig = configuration["kubeconfig"];
  if (typeof kubeconfig !== "string" && !isObject(kubeconfig)) {
    throw new Error("the stand-in for the kubernetes plugin needs a kubeconfig in the provider's own arguments");
  }
  const content = typeof kubeconfig === "string" ? kubeconfig : JSON.stringify(kubeconfig);
  return parseKubeconfig(content, text(configuration["context"]) || undefined);
}

/**
 * An equal cluster identifier means the same cluster, whatever else changed; without one, another server means another
 * cluster, and so everything on it is replaced.
 */
function isAnotherCluster(olds: Properties, news: Properties): boolean {
  const [old, now] = [olds["clusterIdentifier"], news["clusterIdentifier"]];
  if (old !== now) return true;
  if (text(now) !== "") return false;
  if (hasUnknown([news["kubeconfig"] ?? null, news["context"] ?? null, news["cluster"] ?? null])) return true;
  return server(olds) !== server(news);
}

function server(configuration: Properties): string {
  try {
    return configuredKubeconfig(configuration).server;
  } catch {
    return "";
  }
}

/** Configuration arrives as text. */
function isOn(value: unknown): boolean {
  return value === true || value === "true";
}

function isOff(value: unknown): boolean {
  return value === undefined || value === null || value === false || value === "false" || value === "";
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
