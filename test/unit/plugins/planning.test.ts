import assert from "node:assert/strict";
import { standIn } from "../../../local/plugins/kubernetes";
import type { CreateRequest, Host, Properties, ResourceRequest } from "../../../local/plugins/provider";
import { UNKNOWN } from "../../../local/plugins/provider";
import { kubeconfig } from "../../support/stacks";

const host: Host = {
  settings: { planning: "true", helm: "/nowhere/helm", clusters: "/nowhere/clusters.json" },
  log: () => Promise.resolve(),
  status: () => Promise.resolve(),
};

const resource = (type: string): ResourceRequest => ({ urn: `urn:pulumi:x::y::${type}::name`, type, name: "name" });
const secret = "kubernetes:core/v1:Secret";
const release = "kubernetes:helm.sh/v3:Release";

describe("The stand-in for the kubernetes plugin, in a plan,", () => {
  const create = (type: string, inputs: Properties, preview: boolean): CreateRequest => ({
    ...resource(type),
    inputs,
    preview,
  });

  it("previews objects and releases without an API server and without helm", async () => {
    const provider = standIn(host);
    // Nothing listens there, and the local engine did not start it.
    await provider.configure({ kubeconfig: kubeconfig() });
    const checked = await provider.check({
      ...resource(secret),
      olds: {},
      news: { metadata: { name: "a", namespace: "b" }, data: { c: "ZA==" } },
    });
    assert.deepEqual(checked.inputs, {
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name: "a", namespace: "b" },
      data: { c: "ZA==" },
    });
    assert.deepEqual((await provider.create(create(secret, checked.inputs, true))).properties, checked.inputs);
    const chart = { chart: "traefik", version: "1.2.3", name: "t", repositoryOpts: { repo: "https://127.0.0.1:1" } };
    const { inputs, failures = [] } = await provider.check({ ...resource(release), olds: {}, news: chart });
    assert.deepEqual([inputs, failures], [{ ...chart, namespace: "default", timeout: 300 }, []]);
    assert.equal((await provider.create(create(release, inputs, true))).properties["status"], UNKNOWN);
    const found = await provider.read({ ...resource("kubernetes:core/v1:Service"), id: "b/s" });
    assert.deepEqual([found?.id, found?.properties["status"]], ["b/s", UNKNOWN]);
  });

  it("refuses whatever is not a preview", async () => {
    const provider = standIn(host);
    await provider.configure({ kubeconfig: kubeconfig() });
    const change = { ...resource(secret), id: "b/a", oldInputs: {}, olds: {}, news: {}, ignoreChanges: [] };
    await assert.rejects(provider.create(create(secret, {}, false)), /refused: this is a plan/);
    await assert.rejects(provider.create(create(release, {}, false)), /refused: this is a plan/);
    await assert.rejects(provider.update({ ...change, preview: false }), /refused: this is a plan/);
    await assert.rejects(provider.delete({ ...change, properties: {} }), /refused: this is a plan/);
    assert.deepEqual(await provider.update({ ...change, preview: true, news: { a: "b" } }), { a: "b" });
  });
});
