import assert from "node:assert/strict";
import { clusterChecks, networkChecks } from "../../../doctor/doctor";
import { proxyConfigCheck } from "../../../doctor/proxy-config";

describe("The doctor's checks", () => {
  it("have the proxy's settings among what only the cluster is asked for, so also without a network", () => {
    assert.ok(clusterChecks.includes(proxyConfigCheck));
    assert.ok(!networkChecks.includes(proxyConfigCheck));
  });

  it("have names of their own", () => {
    const names = [...clusterChecks, ...networkChecks].map(({ name }) => name);
    assert.equal(new Set(names).size, names.length);
  });
});
