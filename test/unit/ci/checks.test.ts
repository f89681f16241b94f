import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { execa } from "execa";
import { parseAllDocuments } from "yaml";
import { check, formatFaults, typeFaults } from "../../../ci/checks/check";
import { type Finding, findings } from "../../../ci/checks/code-quality";
import { Failure } from "../../../local/failure";

const root = join(__dirname, "..", "..", "..");

/** A folder with these files and with this project's modules. */
const folderOf = async (files: Readonly<Record<string, string>>): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), "gitlab-workspaces-checks-"));
  await symlink(join(root, "node_modules"), join(folder, "node_modules"));
  for (const [file, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, file)), { recursive: true });
    await writeFile(join(folder, file), content);
  }
  return folder;
};

const silently = () => undefined;

describe("A Code Quality report", () => {
  const found = { check: "rule", description: "it is wrong", severity: "major", path: "src/a.ts", line: 3 } as const;

  it("has what GitLab asks for", () => {
    const [{ fingerprint, ...finding } = assert.fail()] = findings([found]);
    assert.match(fingerprint, /^[0-9a-f]{64}$/);
    assert.deepEqual(finding, {
      description: "it is wrong",
      check_name: "rule",
      severity: "major",
      location: { path: "src/a.ts", lines: { begin: 3 } },
    });
  });

  it("knows a finding again on another line, and tells two apart", () => {
    const prints = (...all: Parameters<typeof findings>[0]) => findings(all).map(({ fingerprint }) => fingerprint);
    assert.deepEqual(prints(found), prints({ ...found, line: 90 }));
    const other = { ...found, path: "src/b.ts" };
    assert.equal(new Set(prints(found, { ...found, line: 4 }, other)).size, 3);
  });
});

describe("The check of types, lint and format", function () {
  this.timeout(60_000);
  let folder: string;

  const settings = {
    "tsconfig.json": JSON.stringify({ compilerOptions: { strict: true, types: [], noEmit: true }, include: ["src"] }),
    "eslint.config.mjs": 'export default [{ rules: { "no-debugger": "error" } }];\n',
    ".prettierignore": "tsconfig.json\nreports/\n",
  };

  const before_ = process.env["CI"];

  // As in a job.
  before(() => {
    process.env["CI"] = "true";
  });

  after(() => {
    if (before_ === undefined) delete process.env["CI"];
    else process.env["CI"] = before_;
  });

  afterEach(() => rm(folder, { recursive: true }));

  it("passes a folder in which nothing is wrong", async () => {
    folder = await folderOf({ ...settings, "src/fine.ts": "export const fine: number = 1;\n" });
    await check(folder, silently);
    assert.equal(await readFile(join(folder, "reports", "check.json"), "utf8"), "[]\n");
  });

  it("reports what each of the three has found, whatever the others have, and where", async () => {
    folder = await folderOf({
      ...settings,
      "src/types.ts": 'export const first = 1;\nexport const count: number = "none";\n',
      "src/lint.js": "debugger;\n",
      "src/format.js": "export const  a = 1\n",
      "src/broken.json": "{\n  {\n",
    });
    await assert.rejects(check(folder, silently), (error: Error) => {
      assert.ok(error instanceof Failure);
      assert.deepEqual(error.message.split("\n").slice(1), [
        "  $ npm run check:types",
        "  $ npm run check:lint",
        "  $ npm run check:format",
      ]);
      return true;
    });
    const report = JSON.parse(await readFile(join(folder, "reports", "check.json"), "utf8")) as Finding[];
    const line = ({ location }: Finding) =>
      "lines" in location ? location.lines.begin : location.positions.begin.line;
    assert.deepEqual(
      report.map((one) => [one.check_name, one.location.path, line(one), one.description.split("\n")[0]]),
      [
        ["TS2322", "src/types.ts", 2, "Type 'string' is not assignable to type 'number'."],
        ["prettier", "src/broken.json", 2, "SyntaxError: Unexpected token"],
        ["prettier", "src/format.js", 1, "Not formatted: npx prettier --write src/format.js"],
        ["no-debugger", "src/lint.js", 1, "Unexpected 'debugger' statement."],
      ],
    );
    assert.equal(new Set(report.map(({ fingerprint }) => fingerprint)).size, report.length);
  });

  it("fails, and reports what the others have found, when eslint cannot begin", async () => {
    folder = await folderOf({
      ...settings,
      "eslint.config.mjs": "export default nothing;\n",
      "src/a.ts": "export {};\n",
    });
    await assert.rejects(check(folder, silently), /npm run check:lint/);
    assert.equal(await readFile(join(folder, "reports", "check.json"), "utf8"), "[]\n");
  });

  it("takes nothing for a finding that is none", async () => {
    folder = await folderOf({});
    assert.deepEqual(typeFaults("  Type 'a' is not assignable.\nerror TS18003: No inputs were found.", folder), []);
    assert.deepEqual(formatFaults("\n"), []);
  });
});

describe("The test job", function () {
  this.timeout(60_000);
  let folder: string;
  let log: string;

  before(async () => {
    folder = await folderOf({
      "package.json": JSON.stringify({ scripts: { "test:unit": "c8 --no-check-coverage mocha 'test/**/*.test.ts'" } }),
      ".c8rc.json": await readFile(join(root, ".c8rc.json"), "utf8"),
      ".mocharc.json": JSON.stringify({ "node-option": ["import=tsx"], reporter: "spec", color: false }),
      "ci/checks/mocha-reporter.ts": await readFile(join(root, "ci", "checks", "mocha-reporter.ts"), "utf8"),
      "src/half.ts":
        "export function half(n: number): number {\n  if (n > 9) {\n    return 0;\n  }\n  return n / 2;\n}\n",
      "test/half.test.ts": [
        'import { half } from "../src/half";',
        'describe("Half", () => {',
        '  it("is half", () => { if (half(4) !== 2) throw new Error(); });',
        '  it("is not <more>", () => { throw new Error("it is & \\u0007 more"); });',
        "});",
        "",
      ].join("\n"),
    });
    const script = pipeline()["test"]?.script?.[0] ?? assert.fail();
    const { all, exitCode } = await execa("bash", ["-c", script], { cwd: folder, all: true, reject: false });
    log = all ?? "";
    assert.equal(exitCode, 1, log);
  });

  after(() => rm(folder, { recursive: true }));

  it("shows the tests to whoever reads its log, and hands them to GitLab as JUnit", async () => {
    assert.match(log, /✔ is half\n/);
    assert.match(log, /1 passing/);
    assert.match(log, /1 failing/);
    const junit = await readFile(join(folder, "reports", "unit.xml"), "utf8");
    assert.match(junit, /^<testsuite name="Mocha Tests" tests="2" failures="0" errors="1"/);
    assert.match(junit, /<testcase classname="Half" name="is half" file="test\/half\.test\.ts" time="[\d.]+"\/>/);
    assert.match(junit, /name="is not &#x3C;more&#x3E;".*<failure>it is &#x26; {2}more/);
    assert.match(junit, /<\/testsuite>\s*$/);
  });

  it("shows GitLab the coverage, in the log and for each line", async () => {
    const pattern = pipeline()["test"]?.coverage ?? assert.fail();
    assert.match(pattern, /^\/.*\/$/);
    // GitLab matches line by line: https://docs.gitlab.com/ci/testing/code_coverage/#coverage-regex-patterns
    const matches = log.split("\n").flatMap((line) => new RegExp(pattern.slice(1, -1)).exec(line)?.[1] ?? []);
    assert.deepEqual(matches, ["66.66"]);
    const cobertura = await readFile(join(folder, "coverage", "cobertura-coverage.xml"), "utf8");
    assert.match(cobertura, /<coverage lines-valid="6" lines-covered="4"/);
    assert.match(cobertura, /filename="src\/half\.ts"/);
  });
});

/** The jobs of the pipeline, as they are written. */
function pipeline(): Record<string, { script?: string[]; coverage?: string }> {
  const reference = { tag: "!reference", collection: "seq", resolve: () => undefined } as const;
  const text = readFileSync(join(root, "ci", "pipeline.yml"), "utf8");
  const [, jobs = assert.fail()] = parseAllDocuments(text, { merge: true, customTags: [reference] });
  return jobs.toJS() as never;
}
