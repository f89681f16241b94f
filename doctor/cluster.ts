import { request as requestHttp } from "node:http";
import { request as requestHttps, type RequestOptions } from "node:https";
import type { KubeConfig } from "@kubernetes/client-node";
import type { Live } from "./live-references";

/** How long the API server may take for one answer, in seconds. */
const patience = 10;

/** The kinds that are read, and where the API has them. */
const places = {
  ConfigMap: "/api/v1 configmaps",
  DaemonSet: "/apis/apps/v1 daemonsets",
  Deployment: "/apis/apps/v1 deployments",
  Event: "/api/v1 events",
  Ingress: "/apis/networking.k8s.io/v1 ingresses",
  IngressClass: "/apis/networking.k8s.io/v1 ingressclasses",
  Namespace: "/api/v1 namespaces",
  Node: "/api/v1 nodes",
  PersistentVolumeClaim: "/api/v1 persistentvolumeclaims",
  Pod: "/api/v1 pods",
  PodDisruptionBudget: "/apis/policy/v1 poddisruptionbudgets",
  Secret: "/api/v1 secrets",
  Service: "/api/v1 services",
  ServiceAccount: "/api/v1 serviceaccounts",
  StatefulSet: "/apis/apps/v1 statefulsets",
  StorageClass: "/apis/storage.k8s.io/v1 storageclasses",
} as const;

/** Which objects of a kind to read; all of the cluster's when nothing is said. */
export interface Selection {
  readonly namespace?: string;
  /** Label selector. */
  readonly labels?: string;
  /** Field selector. */
  readonly fields?: string;
}

/** Something that may be done on the cluster, as `kubectl auth can-i` has it. */
export interface Deed {
  readonly verb: "create" | "get" | "list" | "watch";
  /** `pods`, `pods/log`, `ingresses.networking.k8s.io`. */
  readonly resource: string;
  readonly namespace?: string | undefined;
}

/** What the API server did not let the doctor see. */
export class Unanswered extends Error {
  constructor(
    readonly deed: Deed,
    /** Status of the answer; undefined when there was none. */
    readonly status: number | undefined,
    /** Why there was no answer, or none that helps: never a body, a header or what a credential plugin printed. */
    readonly why: string,
    /** What the API server says of a request that it understood and did not grant. Never empty words, seldom secret. */
    readonly said: string = "",
  ) {
    super(`${deed.verb} ${deed.resource}: ${why}`);
  }
}

/** A cluster, to look at. What was read once is not read again. */
export interface LiveCluster {
  /** @throws Unanswered */
  list<T extends Live>(kind: keyof typeof places, selection?: Selection): Promise<T[]>;
  /** The last lines of a container's log, each with its time. @throws Unanswered */
  log(namespace: string, pod: string, container: string, lines: number): Promise<string>;
  /** Whether a ServiceAccount may do something. @throws Unanswered */
  may(account: { readonly namespace: string; readonly name: string }, deed: Deed): Promise<boolean>;
}

const known = new WeakMap<KubeConfig, LiveCluster>();

/** The cluster of a kubeconfig. The same one for the same kubeconfig, so that all checks of one run share what was read. */
export function liveCluster(config: KubeConfig): LiveCluster {
  const cluster = known.get(config) ?? connect(config);
  known.set(config, cluster);
  return cluster;
}

function connect(config: KubeConfig): LiveCluster {
  const answers = new Map<string, Promise<unknown>>();
  let first: Promise<unknown> | undefined;

  const ask = async (deed: Deed, path: string, body?: object): Promise<string> => {
    // One request before all others: an address where nobody is, or a wrong credential, is asked once and not forty times.
    first ??= send(config, { verb: "get", resource: "/version" }, "/version");
    await first;
    return await send(config, deed, path, body);
  };

  return {
    async list<T extends Live>(kind: keyof typeof places, selection: Selection = {}): Promise<T[]> {
      const { namespace, labels, fields } = selection;
      const [api = "", plural = ""] = places[kind].split(" ");
      const query = new URLSearchParams({
        ...(labels === undefined ? {} : { labelSelector: labels }),
        ...(fields === undefined ? {} : { fieldSelector: fields }),
      });
      const scope = namespace === undefined ? "" : `/namespaces/${encodeURIComponent(namespace)}`;
      const path = `${api}${scope}/${plural}?${query.toString()}`;
      const group = api.startsWith("/apis/") ? `.${api.split("/")[2] ?? ""}` : "";
      const answer =
        answers.get(path) ??
        ask({ verb: "list", resource: `${plural}${group}`, namespace }, path).then((text) =>
          (JSON.parse(text) as { items: T[] }).items.map((item) => ({ ...item, kind })),
        );
      answers.set(path, answer);
      return (await answer) as T[];
    },
    async log(namespace, pod, container, lines) {
      const query = new URLSearchParams({ container, tailLines: String(lines), timestamps: "true" });
      const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(pod)}/log?${query.toString()}`;
      return await ask({ verb: "get", resource: "pods/log", namespace }, path);
    },
    async may({ namespace, name }, deed) {
      const [resource = "", group = ""] = deed.resource.split(/\.(.*)/s);
      const review = {
        apiVersion: "authorization.k8s.io/v1",
        kind: "SubjectAccessReview",
        spec: {
          user: `system:serviceaccount:${namespace}:${name}`,
          groups: ["system:serviceaccounts", `system:serviceaccounts:${namespace}`, "system:authenticated"],
          resourceAttributes: { verb: deed.verb, resource, group, namespace: deed.namespace ?? "" },
        },
      };
      const text = await ask(
        { verb: "create", resource: "subjectaccessreviews.authorization.k8s.io" },
        "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        review,
      );
      return (JSON.parse(text) as { status: { allowed: boolean } }).status.allowed;
    },
  };
}

/** @throws Unanswered when there is no answer in time, or one that is not 2xx. */
async function send(config: KubeConfig, deed: Deed, path: string, body?: object): Promise<string> {
  const silent = (cause: string): Unanswered => new Unanswered(deed, undefined, cause);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(silent(`no answer within ${patience} s`));
    }, patience * 1000);
  });
  const controller = new AbortController();
  try {
    const exchange = transfer(config, path, body, controller.signal).catch((error: unknown) => {
      const { code } = error as { code?: unknown };
      const plugin = config.getCurrentUser()?.exec !== undefined;
      throw silent(typeof code === "string" ? code : plugin ? "its credential plugin failed" : "no answer");
    });
    const { status, text } = await Promise.race([exchange, late]);
    if (status >= 200 && status < 300) return text;
    throw new Unanswered(deed, status, `HTTP ${status}`, messageIn(text));
  } finally {
    clearTimeout(timer);
    controller.abort();
  }
}

async function transfer(
  config: KubeConfig,
  path: string,
  body: object | undefined,
  signal: AbortSignal,
): Promise<{ status: number; text: string }> {
  const server = (config.getCurrentCluster()?.server ?? "").replace(/\/$/, "");
  const options: RequestOptions = {
    method: body === undefined ? "GET" : "POST",
    headers: { accept: "application/json", ...(body === undefined ? {} : { "content-type": "application/json" }) },
    signal,
  };
  await config.applyToHTTPSOptions(options);
  const request = server.startsWith("http:") ? requestHttp : requestHttps;
  return await new Promise((resolve, reject) => {
    const sent = request(`${server}${path}`, options, (response) => {
      const parts: Buffer[] = [];
      response.on("data", (part: Buffer) => parts.push(part));
      response.on("error", reject);
      response.on("end", () => {
        resolve({ status: response.statusCode ?? 0, text: Buffer.concat(parts).toString() });
      });
    });
    sent.on("error", reject);
    sent.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

/** Message of a Status object: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/ */
function messageIn(text: string): string {
  try {
    const { message } = JSON.parse(text) as { message?: unknown };
    return typeof message === "string" ? message : "";
  } catch {
    return "";
  }
}
