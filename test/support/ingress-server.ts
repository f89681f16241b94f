import { X509Certificate } from "node:crypto";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { createSecureContext, type SecureContext } from "node:tls";
import type { V1Ingress, V1Pod, V1Secret, V1Service } from "@kubernetes/client-node";
import { makeCertificate } from "./certificates";

/** The same data, whether made by a class or by hand. */
type Plain<T> = T extends Date
  ? T
  : T extends readonly (infer Item)[]
    ? Plain<Item>[]
    : T extends object
      ? { [Key in keyof T]: Plain<T[Key]> }
      : T;

/** What of a cluster an ingress controller and the proxy go by. */
export interface LiveObjects {
  ingresses: Plain<V1Ingress>[];
  secrets: Plain<V1Secret>[];
  services: Plain<V1Service>[];
  pods: Plain<V1Pod>[];
}

/** Whom {@link startIngress} plays. */
export interface Cast {
  /** Class that the controller serves. */
  readonly className: string;
  /** Secret that the proxy reads. */
  readonly configSecret: { readonly namespace: string; readonly name: string };
  /** The cluster as it is now: asked anew for every handshake and every request. */
  read(): Promise<LiveObjects>;
}

/** A running ingress controller with the proxy behind it. */
export interface IngressServer {
  readonly host: "127.0.0.1";
  readonly port: number;
  stop(): Promise<void>;
}

/**
 * Stand-in for ingress-nginx with the workspaces proxy behind it, on 127.0.0.1. As the controller does, it takes the
 * certificate from the Secret that an Ingress of its class names for the host, and one of its own where that is missing or
 * for other names; it routes by host and path over all Ingresses of its class, answers 404 without a rule and 503 where
 * nobody is behind the Service. As the proxy does, it answers by its settings, mistakes included; unlike the proxy it
 * reads them for every request, so what is in the Secret is what pods would do after a restart.
 */
export async function startIngress(cast: Cast): Promise<IngressServer> {
  const from = new Date(Date.now() - 86_400_000);
  const to = new Date(Date.now() + 365 * 86_400_000);
  const fake = await makeCertificate({
    name: "Kubernetes Ingress Controller Fake Certificate",
    covers: ["ingress.local"],
    from,
    to,
  });
  const fallback = createSecureContext({ cert: fake.certificate, key: fake.key });
  const server = createServer(
    {
      cert: fake.certificate,
      key: fake.key,
      SNICallback: (name, done) => {
        cast.read().then(
          (live) => {
            done(null, contextFor(name, live, cast.className) ?? fallback);
          },
          (error: unknown) => {
            done(error as Error);
          },
        );
      },
    },
    (request, response) => {
      const { host = "", cookie } = request.headers;
      const url = new URL(request.url ?? "/", "https://any.test");
      cast.read().then(
        (live) => {
          const { status, location, body = "" } = route(host, url, live, cast, cookie);
          response.writeHead(status, location === undefined ? {} : { location }).end(body);
        },
        () => response.writeHead(500).end(),
      );
    },
  );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    host: "127.0.0.1",
    port,
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

interface Answer {
  readonly status: number;
  readonly location?: string;
  readonly body?: string;
}

const wildcardOf = (host: string): string => host.replace(/^[^.]+/, "*");

/** The controller uses no certificate that does not cover the host: it takes its own instead. */
function contextFor(host: string, live: LiveObjects, className: string): SecureContext | undefined {
  const entries = live.ingresses
    .filter(({ spec }) => spec?.ingressClassName === className)
    .flatMap(({ metadata, spec }) =>
      (spec?.tls ?? []).map(({ hosts = [], secretName }) => ({ namespace: metadata?.namespace, hosts, secretName })),
    );
  const entry =
    entries.find(({ hosts }) => hosts.includes(host)) ?? entries.find(({ hosts }) => hosts.includes(wildcardOf(host)));
  const secret = live.secrets.find(
    ({ metadata }) => metadata?.name === entry?.secretName && metadata?.namespace === entry?.namespace,
  );
  try {
    const [cert = "", key = ""] = ["tls.crt", "tls.key"].map((name) => decoded(secret, name) ?? "");
    return new X509Certificate(cert).checkHost(host) === undefined ? undefined : createSecureContext({ cert, key });
  } catch {
    return undefined;
  }
}

function decoded(secret: LiveObjects["secrets"][number] | undefined, key: string): string | undefined {
  const value = secret?.data?.[key];
  return value === undefined ? undefined : Buffer.from(value, "base64").toString();
}

/** https://kubernetes.io/docs/concepts/services-networking/ingress/#multiple-matches: the exact host, the exact path, the longest. */
function route(host: string, url: URL, live: LiveObjects, cast: Cast, cookie: string | undefined): Answer {
  const rules = live.ingresses
    .filter(({ spec }) => spec?.ingressClassName === cast.className)
    .flatMap(({ metadata, spec }) => (spec?.rules ?? []).map((rule) => ({ namespace: metadata?.namespace, rule })));
  const exact = rules.filter(({ rule }) => rule.host === host);
  const chosen = exact.length > 0 ? exact : rules.filter(({ rule }) => rule.host === wildcardOf(host));
  const [path] = chosen
    .flatMap(({ namespace, rule }) =>
      (rule.http?.paths ?? []).map(({ path, pathType, backend }) => ({ path, pathType, backend, namespace })),
    )
    .filter(({ path = "/", pathType }) =>
      pathType === "Exact" ? url.pathname === path : url.pathname.startsWith(path),
    )
    .sort(
      (a, b) =>
        Number(b.pathType === "Exact") - Number(a.pathType === "Exact") ||
        (b.path ?? "/").length - (a.path ?? "/").length,
    );
  if (path === undefined) return { status: 404, body: "default backend - 404" };
  const service = live.services.find(
    ({ metadata }) => metadata?.name === path.backend.service?.name && metadata?.namespace === path.namespace,
  );
  const selector = Object.entries(service?.spec?.selector ?? {});
  const behind = live.pods.filter(
    ({ metadata, status }) =>
      selector.length > 0 &&
      metadata?.namespace === path.namespace &&
      metadata?.deletionTimestamp === undefined &&
      selector.every(([key, value]) => metadata?.labels?.[key] === value) &&
      status?.conditions?.some(({ type, status: condition }) => type === "Ready" && condition === "True"),
  );
  return behind.length === 0 ? { status: 503 } : proxy(host, url, live, cast, cookie);
}

/** The workspaces proxy: https://gitlab.com/gitlab-org/workspaces/gitlab-workspaces-proxy, as far as nobody is signed in. */
function proxy(host: string, url: URL, live: LiveObjects, { configSecret }: Cast, cookie: string | undefined): Answer {
  const secret = live.secrets.find(
    ({ metadata }) => metadata?.name === configSecret.name && metadata.namespace === configSecret.namespace,
  );
  const setting = (key: string): string => decoded(secret, key) ?? "";
  const required = ["client_id", "client_secret", "host", "redirect_uri", "signing_key"].map((key) => `auth.${key}`);
  // It ends at once then, and nobody is behind the Service.
  if ([...required, "ssh.host_key"].some((key) => setting(key) === "")) return { status: 503 };
  if (url.pathname === "/metrics") return { status: 200, body: "go_goroutines 12\n" };
  if (`https://${host}${url.pathname}` === setting("auth.redirect_uri")) return { status: 400 };
  if (!workspaceHosts(live).includes(host)) return { status: 400 };
  if (cookie !== undefined) throw new Error("this stand-in knows nobody who is signed in");

  const state = encodeURIComponent(`https://${host}${url.pathname}${url.search}`);
  const target =
    `${setting("auth.host")}/oauth/authorize?response_type=code&client_id=${setting("auth.client_id")}` +
    `&redirect_uri=${setting("auth.redirect_uri")}&scope=openid profile api read_user&state=${state}`;
  // Go's http.Redirect makes what has no scheme relative to the path asked for, unless it is no URL at all, and its
  // headers have spaces for line ends.
  const asItIs = /^([a-z][a-z0-9+.-]*:|\/)/i.test(target) || /[\r\n]/.test(target);
  const location = asItIs ? target : `${url.pathname.replace(/[^/]*$/, "")}${target}`;
  return { status: 307, location: location.replace(/[\r\n]/g, " ").trim() };
}

/** Hosts of the Services that the proxy watches. */
function workspaceHosts({ services }: LiveObjects): string[] {
  return services
    .filter(({ metadata }) => metadata?.labels?.["agent.gitlab.com/id"] !== undefined)
    .flatMap(({ metadata, spec }) =>
      (spec?.ports ?? []).map(({ port, targetPort }) =>
        (metadata?.annotations?.["workspaces.gitlab.com/host-template"] ?? "").replace(
          "{{.port}}",
          String(targetPort ?? port),
        ),
      ),
    );
}
