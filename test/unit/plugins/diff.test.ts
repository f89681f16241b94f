import assert from "node:assert/strict";
import { objectChanges, projected, propertyChanges } from "../../../local/plugins/kubernetes/diff";
import { diffObject } from "../../../local/plugins/kubernetes/objects";
import { diffRelease } from "../../../local/plugins/kubernetes/release";
import type { Properties } from "../../../local/plugins/provider";

const FIXED = { secrets: false, configMaps: false };
const MUTABLE = { secrets: true, configMaps: true };

const secretWith = (stringData: Properties, more: Properties = {}): Properties => ({
  apiVersion: "v1",
  kind: "Secret",
  metadata: { name: "s", namespace: "n" },
  stringData,
  ...more,
});

const request = (oldInputs: Properties, news: Properties, ignoreChanges: string[] = []) => ({
  urn: "urn",
  type: "kubernetes:core/v1:Secret",
  name: "s",
  id: "n/s",
  oldInputs,
  olds: oldInputs,
  news,
  ignoreChanges,
});

describe("what the kubernetes stand-in sees as a change", () => {
  it("names every leaf that differs by its property path", () => {
    const changes = propertyChanges(
      { metadata: { annotations: { "example.com/a": "1" } }, spec: { ports: [{ port: 1 }, { port: 2 }] }, gone: true },
      { metadata: { annotations: { "example.com/a": "2" } }, spec: { ports: [{ port: 1 }] }, come: { a: 1 } },
    );
    assert.deepEqual(Object.fromEntries(changes), {
      'metadata.annotations["example.com/a"]': "update",
      "spec.ports[1]": "delete",
      gone: "delete",
      come: "add",
    });
  });

  it("takes null and absent for the same", () => {
    assert.equal(propertyChanges({ a: null }, {}).size, 0);
  });

  it("replaces a Secret whose contents change, unless secrets are mutable", () => {
    const [olds, news] = [secretWith({ a: "1" }), secretWith({ a: "2" })];
    assert.equal(objectChanges(olds, news, FIXED, []).get("stringData.a")?.replace, true);
    assert.equal(objectChanges(olds, news, MUTABLE, []).get("stringData.a")?.replace, false);
  });

  it("replaces a Secret that forbids its own change even when secrets are mutable", () => {
    const olds = secretWith({ a: "1" }, { immutable: true });
    const news = secretWith({ a: "2" }, { immutable: true });
    assert.equal(objectChanges(olds, news, MUTABLE, []).get("stringData.a")?.replace, true);
  });

  it("replaces an object that moves to another namespace", () => {
    const news = { ...secretWith({ a: "1" }), metadata: { name: "s", namespace: "m" } };
    assert.equal(objectChanges(secretWith({ a: "1" }), news, MUTABLE, []).get("metadata.namespace")?.replace, true);
  });

  it("replaces a Deployment for its selector and updates it for its template", () => {
    const deployment = (selector: string, image: string): Properties => ({
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name: "d" },
      spec: { selector: { matchLabels: { app: selector } }, template: { spec: { containers: [{ image }] } } },
    });
    const changes = objectChanges(deployment("a", "x"), deployment("b", "y"), FIXED, []);
    assert.equal(changes.get("spec.selector.matchLabels.app")?.replace, true);
    assert.equal(changes.get("spec.template.spec.containers[0].image")?.replace, false);
  });

  it("replaces a Pod for the image of any of its containers", () => {
    const pod = (image: string): Properties => ({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "p" },
      spec: { containers: [{ image: "same" }, { image }] },
    });
    assert.equal(objectChanges(pod("x"), pod("y"), FIXED, []).get("spec.containers[1].image")?.replace, true);
  });

  it("leaves out what ignoreChanges names", () => {
    assert.equal(objectChanges(secretWith({ a: "1" }), secretWith({ a: "2" }), MUTABLE, ["stringData"]).size, 0);
  });

  it("deletes before replacing only an object whose given name stays", () => {
    const autonamed = (properties: Properties): Properties => ({
      ...properties,
      metadata: { name: "s", namespace: "n", annotations: { "pulumi.com/autonamed": "true" } },
    });
    const [olds, news] = [secretWith({ a: "1" }), secretWith({ a: "2" })];
    assert.equal(diffObject(FIXED, request(olds, news)).deleteBeforeReplace, true);
    assert.equal(diffObject(FIXED, request(autonamed(olds), autonamed(news))).deleteBeforeReplace, false);
    assert.equal(diffObject(MUTABLE, request(olds, news)).deleteBeforeReplace, false);
  });

  it("does not count what only the server knows of an imported object", () => {
    const imported = { ...secretWith({ a: "1" }), type: "Opaque", __imported: true };
    assert.equal(diffObject(MUTABLE, request(imported, secretWith({ a: "1" }))).changes.size, 0);
  });
});

describe("what the kubernetes stand-in sees as drift", () => {
  const drift = (live: Properties, inputs: Properties): string[] => [
    ...propertyChanges(inputs, projected(live, inputs) as Properties).keys(),
  ];

  it("does not count what the server filled in", () => {
    assert.deepEqual(drift({ a: "1", uid: "x", b: { c: 1, d: 2 } }, { a: "1", b: { c: 1 } }), []);
  });

  it("sees a value that somebody changed or took away", () => {
    assert.deepEqual(drift({ a: "2" }, { a: "1", b: "1" }), ["a", "b"]);
  });

  it("does not count an empty part that the server dropped", () => {
    assert.deepEqual(drift({ a: "1" }, { a: "1", annotations: {}, args: [] }), []);
  });

  it("takes quantities for equal that are written differently", () => {
    assert.deepEqual(
      drift({ requests: { cpu: "1", memory: "1Gi" } }, { requests: { cpu: "1000m", memory: "1024Mi" } }),
      [],
    );
    assert.deepEqual(drift({ requests: { cpu: "2" } }, { requests: { cpu: "1000m" } }), ["requests.cpu"]);
  });

  it("does not count containers that others added", () => {
    const live = { containers: [{ name: "sidecar" }, { name: "c", image: "x", imagePullPolicy: "Always" }] };
    assert.deepEqual(drift(live, { containers: [{ name: "c", image: "x" }] }), []);
    assert.deepEqual(drift(live, { containers: [{ name: "c", image: "y" }] }), ["containers[0].image"]);
  });

  it("sees a changed length of a list whose items have no names", () => {
    assert.deepEqual(drift({ args: ["a"] }, { args: ["a", "b"] }), ["args[1]"]);
  });
});

describe("what the stand-in sees as a change of a Helm release", () => {
  const inputs = { name: "r", namespace: "n", chart: "c", version: "1.0.0", values: { replicas: 1 } };
  const release = (news: Properties, state: Properties = {}) => {
    const olds = { ...inputs, status: { revision: 1 }, resourceNames: {}, ...state };
    return Object.fromEntries(diffRelease({ ...request(inputs, news), olds }).changes);
  };

  it("is nothing when nothing changed", () => {
    assert.deepEqual(release(inputs), {});
  });

  it("is an update for values and a replacement for its name", () => {
    assert.deepEqual(release({ ...inputs, name: "q", values: { replicas: 2 } }), {
      name: { kind: "update", replace: true },
      "values.replicas": { kind: "update", replace: false },
    });
  });

  it("is an update back when somebody upgraded it by hand", () => {
    assert.deepEqual(release(inputs, { version: "2.0.0" }), { version: { kind: "update", replace: false } });
  });

  it("is nothing when somebody set a value that was never spoken of", () => {
    assert.deepEqual(release(inputs, { values: { replicas: 1, theirs: true } }), {});
  });

  it("is a deletion of a value that is no longer given", () => {
    assert.deepEqual(release({ ...inputs, values: {} }), { "values.replicas": { kind: "delete", replace: false } });
  });
});
