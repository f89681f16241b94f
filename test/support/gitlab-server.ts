import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

/** An OAuth application as GitLab has it. */
export interface OAuthApplication {
  readonly id: string;
  readonly secret: string;
  readonly redirectUri: string;
}

/** A running GitLab that does nothing but OAuth. */
export interface GitLabServer {
  readonly url: string;
  /** The only application that it knows from now on. */
  know(application: OAuthApplication): void;
  /** What was posted to the token endpoint so far. */
  readonly posted: readonly Readonly<Record<string, string>>[];
  stop(): Promise<void>;
}

/**
 * Stand-in for GitLab: plain HTTP on 127.0.0.1. `/api/v4/version` wants a token as GitLab's does; `/oauth/token` checks what
 * it is given in the order and with the errors of https://www.rfc-editor.org/rfc/rfc6749#section-5.2. Nobody ever signed in,
 * so no code is a good one.
 */
export async function startGitLab(): Promise<GitLabServer> {
  let known: OAuthApplication | undefined;
  const posted: Record<string, string>[] = [];
  const server = createServer((request, response) => {
    const answer = (status: number, body: unknown): void => {
      response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
    };
    if (request.url === "/api/v4/version") {
      answer(401, { message: "401 Unauthorized" });
      return;
    }
    if (request.method !== "POST" || request.url !== "/oauth/token") {
      answer(404, { error: "404 Not Found" });
      return;
    }
    let body = "";
    request.setEncoding("utf8").on("data", (part: string) => (body += part));
    request.on("end", () => {
      const form = Object.fromEntries(new URLSearchParams(body));
      posted.push(form);
      const { grant_type: grant, code, client_id: id, client_secret: secret } = form;
      if (grant === undefined || code === undefined) answer(400, { error: "invalid_request" });
      else if (known === undefined || id !== known.id || secret !== known.secret)
        answer(401, { error: "invalid_client" });
      else if (grant !== "authorization_code") answer(400, { error: "unsupported_grant_type" });
      else answer(400, { error: "invalid_grant" });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    posted,
    know(application) {
      known = application;
    },
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
