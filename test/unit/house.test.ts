import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import { preProcessFile } from "typescript";

const source = join(__dirname, "..", "..", "src");

const filesBelow = (directory: string): string[] =>
  readdirSync(directory, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .map((file) => join(directory, file));

/** Modules of this repository that a file imports in whichever way, as absolute paths. */
const importsOf = (file: string): string[] =>
  preProcessFile(readFileSync(file, "utf8"), true, true)
    .importedFiles.filter(({ fileName }) => /^[./]/.test(fileName))
    .map(({ fileName }) => resolve(dirname(file), fileName));

describe("The house", () => {
  it("imports nothing of local/, test/ or anything else that lies around src/", () => {
    const files = filesBelow(source);
    const imported = files.flatMap((file) => importsOf(file).map((module) => ({ file, module })));
    assert.ok(imported.length > files.length, "imports were found");
    assert.deepEqual(
      imported
        .filter(({ module }) => !module.startsWith(source + sep))
        .map(({ file, module }) => `${relative(source, file)} imports ${relative(source, module)}`),
      [],
    );
  });

  it("names no cloud in platform/", () => {
    const cloud = /\b(gke|eks|aks|civo|gcp|aws|azure)\b/i;
    const files = filesBelow(join(source, "platform"));
    assert.notDeepEqual(files, []);
    assert.deepEqual(
      files.flatMap((file) =>
        readFileSync(file, "utf8")
          .split("\n")
          .filter((line) => cloud.test(line))
          .map((line) => `${relative(source, file)}: ${line.trim()}`),
      ),
      [],
    );
  });
});
