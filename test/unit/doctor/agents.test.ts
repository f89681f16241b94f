import assert from "node:assert/strict";
import { agentSignsIn, parseLog, proxySignsIn } from "../../../doctor/agents";
import { harmless } from "../../../doctor/harmless";

const now = new Date("2026-11-21T12:00:00Z");

/** A log with its lines so many minutes ago. */
const log = (...lines: readonly (readonly [minutes: number, text: string])[]) =>
  parseLog(
    lines.map(([minutes, text]) => `${new Date(now.getTime() - minutes * 60_000).toISOString()} ${text}`).join("\n"),
  );

const refused = "Error handling a connection: rpc error: code = Unauthenticated desc = unauthenticated";

describe("The logs of agents and proxy", () => {
  for (const [line, code] of [
    [refused, "GW601"],
    ["failed to WebSocket dial: expected handshake response status code 101 but got 401", "GW601"],
    ["failed to WebSocket dial: expected handshake response status code 101 but got 502", "GW602"],
    [
      'failed to WebSocket dial: failed to send handshake request: Get "https://kas": dial tcp: lookup kas: no such host',
      "GW602",
    ],
    ["rpc error: code = Unavailable desc = connection error", "GW602"],
    [
      "failed to WebSocket dial: tls: failed to verify certificate: x509: certificate signed by unknown authority",
      "GW603",
    ],
    ["unsupported scheme in GitLab Kubernetes Agent Server address: kas.example.test", "GW604"],
    ['failed to parse agent configuration: proto: (line 1:2): unknown field "dns_zome"', "GW605"],
    ["Failed to renew lease gitlab-agent/agent-1-lock: context deadline exceeded", "GW606"],
    ['secrets is forbidden: User \\"system:serviceaccount:a:b\\" cannot create', "GW609"],
  ] as const) {
    it(`mean ${code} by: ${line.slice(0, 60)}`, () => {
      assert.deepEqual([...agentSignsIn(log([1, line]), now).keys()], [code]);
    });
  }

  for (const line of [
    "Feature status change: gitlab_workspaces enabled",
    "successfully acquired lease gitlab-agent/agent-1-lock",
    "attempting to acquire leader lease gitlab-agent/agent-1-lock...",
    "Observed configuration update",
    "starting workspace 401",
  ]) {
    it(`mean nothing bad by: ${line}`, () => {
      assert.deepEqual([...agentSignsIn(log([1, line]), now).keys()], []);
    });
  }

  it("mean what is over no longer: whoever cannot connect tries again and again", () => {
    assert.deepEqual([...agentSignsIn(log([16, refused]), now).keys()], []);
    assert.deepEqual(
      agentSignsIn(log([3, `${refused} a`], [2, `${refused} b`]), now).get("GW601")?.text,
      `${refused} b`,
    );
  });

  it("mean a lost lease for a quarter of an hour, and not once another pod took it", () => {
    const lost = [10, "Failed to renew lease a/b: timed out waiting for the condition"] as const;
    assert.deepEqual([...agentSignsIn(log(lost), now).keys()], ["GW606"]);
    assert.deepEqual([...agentSignsIn(log([9, "successfully acquired lease a/b"], lost), now).keys()], []);
    assert.deepEqual([...agentSignsIn(log([11, "successfully acquired lease a/b"], lost), now).keys()], ["GW606"]);
    assert.deepEqual([...agentSignsIn(log([16, lost[1]]), now).keys()], []);
  });

  it("mean a proxy without its right by a forbidden list, and nothing by a host without a workspace", () => {
    assert.deepEqual([...proxySignsIn(log([1, "services is forbidden: User x cannot list"]), now).keys()], ["GW608"]);
    assert.deepEqual([...proxySignsIn(log([1, "could not find upstream workspace"]), now).keys()], []);
  });

  it("are repeated without anything that may be a token, and not at length", () => {
    assert.equal(harmless("token glagent-0123456789_abcDEF_xyz was refused"), "(not shown: it may hold a token)");
    assert.equal(harmless("token Zm9vYmFyMTIzNDU2Nzg5MDEy refused"), "token ... refused");
    assert.equal(harmless("token Zm9v-YmFyMTIz_NDU2Nzg5MDEy refused"), "token ... refused");
    assert.equal(harmless("lookup kas.example.test: no such host"), "lookup kas.example.test: no such host");
    assert.equal(harmless("word ".repeat(100)).length, 243);
    assert.equal(harmless("word ".repeat(100), 300).length, 303);
  });

  it("are read with their times, and without lines that have none", () => {
    assert.deepEqual(parseLog("2026-11-21T12:00:00.5Z a b\nno time\n"), [{ time: now.getTime() + 500, text: "a b" }]);
  });
});
