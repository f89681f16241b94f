import assert from "node:assert/strict";
import { clusterChecks, isExample, networkChecks } from "../../../doctor/doctor";
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

describe("An address that nobody has", () => {
  it("is one of those for documentation, or a name that never is one, and no other", () => {
    for (const address of ["192.0.2.1", "198.51.100.7", "203.0.113.250", "k8s-ingress.elb.amazonaws.invalid"])
      assert.ok(isExample(address), address);
    for (const address of [
      undefined,
      "192.0.3.1",
      "10.0.0.1",
      "k8s-ingress.elb.eu-central-1.amazonaws.com",
      "invalid.example.com",
    ])
      assert.ok(!isExample(address), String(address));
  });
});
