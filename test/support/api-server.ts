import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { KubeConfig } from "@kubernetes/client-node";
import type { LiveObjects } from "./ingress-server";

/** A running API server. */
export interface ApiServer {
  readonly cluster: KubeConfig;
  /** What it has from now on, or `forbidden`: 403 to everything. */
  serve(objects: LiveObjects | "forbidden"): void;
  stop(): Promise<void>;
}

/**
 * Stand-in for a Kubernetes API server that is only read from, on 127.0.0.1: single objects and lists of Secrets, Services,
 * Pods and Ingresses in hand. Of label selectors it knows `key` and `key=value`.
 */
export async function startApiServer(): Promise<ApiServer> {
  let served: LiveObjects | "forbidden" = "forbidden";
  const server = createServer((request, response) => {
    const answer = (status: number, body: unknown): void => {
      response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
    };
    if (served === "forbidden") {
      answer(403, { kind: "Status", code: 403 });
      return;
    }
    const url = new URL(request.url ?? "/", "http://any.test");
    const match =
      /^\/apis?\/(?:[^/]+\/)?v1\/(?:namespaces\/([^/]+)\/)?(secrets|services|pods|ingresses)(?:\/([^/]+))?$/;
    const [, namespace, kind, name] = match.exec(url.pathname) ?? [];
    if (kind === undefined) {
      answer(404, { kind: "Status", code: 404 });
      return;
    }
    const wanted = (url.searchParams.get("labelSelector") ?? "").split(",").filter((each) => each !== "");
    const items = served[kind as keyof LiveObjects].filter(
      ({ metadata }) =>
        (namespace === undefined || metadata?.namespace === namespace) &&
        wanted.every((each) => {
          const [key = "", value] = each.split("=");
          const label = metadata?.labels?.[key];
          return label !== undefined && (value === undefined || label === value);
        }),
    );
    if (name === undefined) answer(200, { apiVersion: "v1", kind: "List", metadata: {}, items });
    else {
      const item = items.find(({ metadata }) => metadata?.name === name);
      answer(item ? 200 : 404, item ?? { kind: "Status", code: 404 });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const cluster = new KubeConfig();
  cluster.loadFromClusterAndUser(
    { name: "stand-in", server: `http://127.0.0.1:${port}`, skipTLSVerify: true },
    { name: "nobody" },
  );
  return {
    cluster,
    serve(objects) {
      served = objects;
    },
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
