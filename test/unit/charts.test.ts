import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { charts } from "../../src/charts";

const home = join(__dirname, "..", "..", "local", "charts");
const standIns = readdirSync(home, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map((entry) => entry.name);

type Json = Record<string, unknown>;

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function schemaOf(chart: string): Json {
  return JSON.parse(readFileSync(join(home, chart, "values.schema.json"), "utf8")) as Json;
}

/** Every schema inside a schema, with its path and whether it or one of its parents names a public source. */
function* schemas(
  node: unknown,
  path: string,
  sourced: boolean,
): Generator<{ path: string; schema: Json; sourced: boolean }> {
  if (!isObject(node)) return;
  const here = sourced || /https:\/\/\S+\.\S+/.test(text(node["description"]));
  yield { path, schema: node, sourced: here };
  for (const keyword of ["properties", "definitions"]) {
    const children = node[keyword];
    if (!isObject(children)) continue;
    for (const [name, child] of Object.entries(children)) yield* schemas(child, `${path}.${name}`, here);
  }
  yield* schemas(node["items"], `${path}[]`, here);
  yield* schemas(node["additionalProperties"], `${path}.*`, here);
  for (const alternative of Array.isArray(node["anyOf"]) ? node["anyOf"] : []) {
    yield* schemas(alternative, path, here);
  }
}

/** Every path at which the default values hold something other than a mapping with entries. */
function* leaves(values: unknown, path: readonly string[] = []): Generator<readonly string[]> {
  if (isObject(values) && Object.keys(values).length > 0) {
    for (const [key, value] of Object.entries(values)) yield* leaves(value, [...path, key]);
  } else yield path;
}

describe("stand-in charts", () => {
  it("exist for every chart the program installs, in the version it installs", () => {
    const versions = standIns.map((chart) => {
      const { name, version } = parse(readFileSync(join(home, chart, "Chart.yaml"), "utf8")) as Json;
      assert.equal(name, chart);
      return [chart, version];
    });
    assert.deepEqual(
      Object.fromEntries(versions),
      Object.fromEntries(Object.entries(charts).map(([name, { version }]) => [name, version])),
    );
  });

  for (const chart of standIns) {
    describe(chart, () => {
      it("says what it is", () => {
        const { description } = parse(readFileSync(join(home, chart, "Chart.yaml"), "utf8")) as Json;
        assert.match(text(description), /^Stand-in for /);
      });

      it("names a public source for every value", () => {
        const without = [...schemas(schemaOf(chart), chart, false)]
          .filter(({ path, sourced }) => path !== chart && !sourced)
          .map(({ path }) => path);
        assert.deepEqual(without, []);
      });

      it("refuses unknown values wherever the keys are not the user's own", () => {
        const open = [...schemas(schemaOf(chart), chart, false)]
          .filter(({ schema }) => [schema["type"]].flat().includes("object"))
          .filter(({ schema }) => schema["additionalProperties"] !== false)
          .filter(({ schema }) => !text(schema["$comment"]).startsWith("free map: "))
          .map(({ path }) => path);
        assert.deepEqual(open, []);
      });

      it("gives every value a type, a fixed content or a definition", () => {
        const untyped = [...schemas(schemaOf(chart), chart, false)]
          .filter(({ schema }) => !["type", "const", "anyOf", "$ref"].some((keyword) => keyword in schema))
          .map(({ path }) => path);
        assert.deepEqual(untyped, []);
      });

      it("has a schema for every default value", () => {
        const schema = schemaOf(chart);
        const resolve = (node: unknown): Json => {
          assert.ok(isObject(node));
          const name = /^#\/definitions\/(\w+)$/.exec(text(node["$ref"]))?.[1];
          if (name === undefined) return node;
          assert.ok(isObject(schema["definitions"]));
          return resolve(schema["definitions"][name]);
        };
        const values: unknown = parse(readFileSync(join(home, chart, "values.yaml"), "utf8"));
        for (const path of leaves(values)) {
          let node = schema;
          for (const key of path) {
            const known = isObject(node["properties"]) ? node["properties"][key] : undefined;
            const next = known ?? node["additionalProperties"];
            if (node["$comment"] !== undefined && next === undefined) break;
            assert.ok(isObject(next), `${path.join(".")} is not in the schema`);
            node = resolve(next);
          }
        }
      });
    });
  }

  it("accept only strings as annotations, labels and settings of nginx", () => {
    const strings = { type: "string" };
    const reference = "#/definitions/stringMap";
    for (const chart of standIns) {
      const { definitions } = schemaOf(chart);
      assert.ok(isObject(definitions) && isObject(definitions["stringMap"]));
      assert.deepEqual(definitions["stringMap"]["additionalProperties"], strings);
      for (const { path, schema } of schemas(schemaOf(chart), chart, false)) {
        if (!/\.(\w*[aA]nnotations\w*|\w*[lL]abels|nodeSelector|config)$/.test(path)) continue;
        if (/allowSnippetAnnotations|PrometheusLabels|add\w+Labels|gitlab-agent\.config$/.test(path)) continue;
        assert.equal(schema["$ref"], reference, path);
      }
    }
  });
});
