import assert from "node:assert/strict";
import { chosenClass, newestFirst } from "../../../doctor/capacity";
import type { Live } from "../../../doctor/live-references";

const storageClass = (name: string, creationTimestamp: string): Live => ({
  kind: "StorageClass",
  metadata: { name, creationTimestamp },
});
const [fast, old, slow] = [
  storageClass("fast", "2026-11-21T12:00:00Z"),
  storageClass("old", "2026-01-01T00:00:00Z"),
  storageClass("slow", "2026-11-21T12:00:00Z"),
];

describe("The StorageClasses of a cluster", () => {
  it("leave no choice when there is one, and the choice to a person otherwise", () => {
    assert.equal(chosenClass([fast]), "fast");
    assert.equal(chosenClass([fast, slow]), "NAME");
    assert.equal(chosenClass([]), "NAME");
  });

  it("are taken as Kubernetes takes them: the newest first, and the first by name of those as new", () => {
    assert.deepEqual(newestFirst([old, slow, fast]), [fast, slow, old]);
  });
});
