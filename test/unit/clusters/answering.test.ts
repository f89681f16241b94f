import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import * as pulumi from "@pulumi/pulumi";
import { answered } from "../../../src/clusters/answering";
import { useStack } from "../config/stack";

/** What the API server says, one after the other, when it is asked what the credentials may do; the last one for ever. */
type Access = boolean | 401 | 403 | 500;

describe("A cluster that was just made", () => {
  let server: Server | undefined;
  let asked: unknown[];

  before(useStack);

  afterEach(async () => {
    const open = server;
    server = undefined;
    if (open) await new Promise((resolve) => open.close(resolve));
  });

  async function goOn(...said: [Access, ...Access[]]): Promise<string> {
    asked = [];
    server = createServer((request, response) => {
      const answer = (status: number, body: unknown): void => {
        response.writeHead(status, { "content-type": "application/json", connection: "close" });
        response.end(JSON.stringify(body));
      };
      if (request.url?.startsWith("/version") === true) {
        const [first] = said;
        answer(first === 401 ? 401 : 200, { gitVersion: "v1.36.4", major: "1", minor: "36" });
        return;
      }
      let body = "";
      request.on("data", (data: Buffer) => (body += data.toString()));
      request.on("end", () => {
        asked.push((JSON.parse(body) as { spec: unknown }).spec);
        const access = said[Math.min(asked.length, said.length) - 1]!;
        if (typeof access === "number") answer(access, { kind: "Status", code: access });
        else answer(201, { status: { allowed: access } });
      });
    });
    const listening = server;
    await new Promise<void>((resolve) => listening.listen(0, "127.0.0.1", resolve));
    const { port } = listening.address() as AddressInfo;
    const kubeconfig = JSON.stringify({
      apiVersion: "v1",
      kind: "Config",
      "current-context": "made",
      clusters: [{ name: "made", cluster: { server: `http://127.0.0.1:${port}`, "insecure-skip-tls-verify": true } }],
      contexts: [{ name: "made", context: { cluster: "made", user: "made" } }],
      users: [{ name: "made", user: { token: "canary-token" } }],
    });
    return await answered(kubeconfig, { again: 3, pause: 0.01 });
  }

  const refused = async (...said: [Access, ...Access[]]): Promise<string> => {
    const error: unknown = await goOn(...said).then(
      () => assert.fail("it went on"),
      (reason: unknown) => reason,
    );
    assert.ok(pulumi.RunError.isInstance(error), String(error));
    assert.doesNotMatch(error.message, /canary/);
    return error.message;
  };

  it("is gone on with at once when the credentials may install what there is to install", async () => {
    assert.match(await goOn(true), /"made"/);
    assert.deepEqual(asked, [
      { resourceAttributes: { verb: "create", group: "", resource: "namespaces" } },
      { resourceAttributes: { verb: "create", group: "rbac.authorization.k8s.io", resource: "clusterroles" } },
    ]);
  });

  it("is waited for while the cloud has yet to pass the rights on, whatever that looks like", async () => {
    await goOn(401, 403, true, false, true);
    assert.equal(asked.length, 6);
  });

  it("is given up when the rights do not come, with what to try and how to go on", async () => {
    const message = await refused(false);
    assert.match(message, /answers, and does not let the credentials here create namespaces and cluster roles/);
    assert.match(message, /kubectl auth can-i create clusterroles/);
    assert.match(message, /What was made is kept\. When it does: pulumi up --stack dev$/);
    assert.equal(asked.length, 4);
  });

  it("is given up at once when it fails otherwise", async () => {
    assert.match(await refused(500), /does not answer \(HTTP 500\)/);
    assert.equal(asked.length, 1);
  });
});
