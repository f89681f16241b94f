import https from "node:https";
import type { Properties } from "../provider";
import { type Credentials, credentials, inlineKubeconfig, type Kubeconfig } from "./kubeconfig";

/** How long one answer of the API server may take, in milliseconds. */
const REQUEST_TIMEOUT = 60_000;

/** Refused by the API server, in its own words. */
export class ApiError extends Error {
  /** @param code the HTTP status; @param reason Kubernetes' machine-readable reason, as `AlreadyExists`. */
  constructor(
    readonly code: number,
    readonly reason: string,
    message: string,
  ) {
    super(message);
    this.name = "ApiError";
  }
}

/** Whether an error says that an object, or the kind of it, is not there. */
export function isNotFound(error: unknown): boolean {
  return error instanceof ApiError && error.code === 404;
}

/** The server does not know this kind; a custom resource's definition may still be to come. */
export class UnknownKindError extends Error {
  constructor(apiVersion: string, kind: string) {
    super(`no matches for kind "${kind}" in version "${apiVersion}"`);
    this.name = "UnknownKindError";
  }
}

/** Where the objects of one kind live. */
export interface Kind {
  readonly namespaced: boolean;
  /** The plural in URLs. */
  readonly resource: string;
}

/** What one request may carry beside its path. */
interface Options {
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  readonly contentType?: string;
}

/**
 * A client of one Kubernetes API server. It is thin on purpose: a plugin starts for every provider of every run, and
 * the full client library takes longer to load than most runs of this one take.
 */
export class Client {
  private readonly agent = new https.Agent({ keepAlive: true, maxSockets: 32 });
  private readonly groups = new Map<string, Map<string, Kind>>();
  private identity: Promise<Credentials> | undefined;

  constructor(readonly kubeconfig: Kubeconfig) {}

  /**
   * Finds out where a kind's objects live, from the server's own discovery.
   *
   * @throws UnknownKindError when the server does not know the kind, and otherwise when it cannot be asked.
   */
  async kind(apiVersion: string, kind: string): Promise<Kind> {
    const known = this.groups.get(apiVersion)?.get(kind);
    if (known) return known;
    let list: Properties;
    try {
      list = await this.request("GET", groupPath(apiVersion));
    } catch (error) {
      if (isNotFound(error)) throw new UnknownKindError(apiVersion, kind);
      throw error;
    }
    const resources = (list["resources"] ?? []) as { name: string; kind: string; namespaced: boolean }[];
    const kinds = new Map(
      resources.flatMap(({ name, kind: of, namespaced }) =>
        name.includes("/") ? [] : [[of, { namespaced, resource: name }] as const],
      ),
    );
    this.groups.set(apiVersion, kinds);
    const found = kinds.get(kind);
    if (!found) throw new UnknownKindError(apiVersion, kind);
    return found;
  }

  /** The path of a kind's collection, or of one object of it if a name is given. */
  async path(apiVersion: string, kind: string, namespace: string, name?: string): Promise<string> {
    const { namespaced, resource } = await this.kind(apiVersion, kind);
    return [
      groupPath(apiVersion),
      ...(namespaced ? ["namespaces", encodeURIComponent(namespace)] : []),
      resource,
      ...(name === undefined ? [] : [encodeURIComponent(name)]),
    ].join("/");
  }

  /** @throws ApiError, with 404 when there is no such object. */
  async get(apiVersion: string, kind: string, namespace: string, name: string): Promise<Properties> {
    return this.request("GET", await this.path(apiVersion, kind, namespace, name));
  }

  /** A kubeconfig for a helm process, with this user's credentials inline. */
  async helmKubeconfig(namespace: string): Promise<string> {
    return inlineKubeconfig(this.kubeconfig, await this.credentials(), namespace);
  }

  /**
   * @throws ApiError when the server refuses, and an error that names the server when it cannot be reached.
   */
  async request(method: string, path: string, { query, body, contentType }: Options = {}): Promise<Properties> {
    const { token, certificate } = await this.credentials();
    const url = new URL(this.kubeconfig.server.replace(/\/$/, "") + path);
    for (const [key, value] of Object.entries(query ?? {})) url.searchParams.set(key, value);
    const payload = body === undefined ? undefined : JSON.stringify(body);
    const { status, text } = await new Promise<{ status: number; text: string }>((resolve, reject) => {
      const request = https.request(url, {
        method,
        agent: this.agent,
        timeout: REQUEST_TIMEOUT,
        ca: this.kubeconfig.ca,
        ...(certificate ?? {}),
        ...(this.kubeconfig.tlsServerName ? { servername: this.kubeconfig.tlsServerName } : {}),
        headers: {
          accept: "application/json",
          ...(token ? { authorization: `Bearer ${token}` } : {}),
          ...(payload === undefined
            ? {}
            : { "content-type": contentType ?? "application/json", "content-length": Buffer.byteLength(payload) }),
        },
      });
      request.once("response", (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.once("end", () => {
          resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString("utf8") });
        });
        response.once("error", reject);
      });
      request.once("timeout", () => request.destroy(new Error("no answer within a minute")));
      request.once("error", (error) => {
        reject(new Error(`configured Kubernetes cluster is unreachable: ${url.origin}: ${error.message}`));
      });
      request.end(payload);
    });
    const answer = parsed(text);
    if (status < 300) return answer;
    const { message, reason } = answer;
    throw new ApiError(
      status,
      typeof reason === "string" ? reason : "",
      typeof message === "string" ? message : `the API server answered ${status}`,
    );
  }

  private async credentials(): Promise<Credentials> {
    const present = await this.identity;
    const expired = present?.expires !== undefined && present.expires < Date.now() + 30_000;
    if (this.identity === undefined || expired) this.identity = credentials(this.kubeconfig);
    return this.identity;
  }
}

function groupPath(apiVersion: string): string {
  return apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
}

function parsed(text: string): Properties {
  try {
    return JSON.parse(text) as Properties;
  } catch {
    return { message: text.trim() };
  }
}
