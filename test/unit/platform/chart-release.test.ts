import assert from "node:assert/strict";
import fc from "fast-check";
import { overlay } from "../../../src/platform/chart-release";

describe("Values laid over values", () => {
  it("merge maps and replace everything else, lists included, as Helm does", () => {
    const base = { a: { b: 1, c: [1, 2] }, d: "x", e: { f: 1 } };
    assert.deepEqual(overlay(base, { a: { c: [3] }, e: "y", g: null }), {
      a: { b: 1, c: [3] },
      d: "x",
      e: "y",
      g: null,
    });
  });

  it("keep every value of the upper one, and lose none of the lower that the upper does not name", () => {
    const values = fc.dictionary(fc.constantFrom("a", "b", "c"), fc.jsonValue());
    fc.assert(
      fc.property(values, values, (base, over) => {
        const merged = overlay(base, over);
        assert.deepEqual(overlay(merged, over), merged);
        for (const key of Object.keys(base)) if (!(key in over)) assert.deepEqual(merged[key], base[key]);
      }),
    );
  });
});
