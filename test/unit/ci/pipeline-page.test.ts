import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { isAllowed, readAllowances } from "../../../ci/allowances";

const page = readFileSync(join(__dirname, "..", "..", "..", "docs", "pipeline.md"), "utf8");

/** What stands in backticks in the first column of the tables below a heading. */
function named(heading: string): string[] {
  const part = page.split(/^## /m).find((candidate) => candidate.startsWith(`${heading}\n`));
  assert.ok(part !== undefined, `the page has no section "${heading}"`);
  return [...part.matchAll(/^\| (`[^|]*)/gm)].flatMap(([, cell = ""]) =>
    [...cell.matchAll(/`([^`]+)`/g)].map(([, name = ""]) => name),
  );
}

interface Input {
  readonly default?: string | boolean;
}

interface Pipeline {
  readonly stages: readonly string[];
  readonly workflow: { readonly rules: readonly { readonly if: string }[] };
  readonly [job: string]: unknown;
}

const [spec, pipeline] = parseAllDocuments(
  readFileSync(join(__dirname, "..", "..", "..", "ci", "pipeline.yml"), "utf8"),
  { logLevel: "silent" },
).map((document) => document.toJS({ maxAliasCount: -1 }) as unknown) as [
  { readonly spec: { readonly inputs: Readonly<Record<string, Input>> } },
  Pipeline,
];

function hasScript(job: unknown): boolean {
  return typeof job === "object" && job !== null && "script" in job;
}

describe("The page of the pipeline", () => {
  it("tells of every input of the include, with its default", () => {
    const told = [...page.matchAll(/^\| `([a-z-]+)` +\| ([^|]+?) +\|/gm)]
      .map(([, name = "", value = ""]) => [name, value.replaceAll("`", "")] as const)
      .filter(([name]) => named("Inputs").includes(name));
    const meant = Object.entries(spec.spec.inputs).map(([name, { default: value }]) => [
      name,
      value === undefined ? "none: must be set" : value === "" ? "empty" : String(value),
    ]);
    assert.deepEqual(
      new Map(told),
      new Map(meant as [string, string][]),
      "each row of the table is an input, and each input a row",
    );
  });

  it("names every job, and the stages that somebody with jobs of their own has to keep", () => {
    const jobs = Object.entries(pipeline)
      .filter(([name, job]) => !name.startsWith(".") && name !== "default" && hasScript(job))
      .map(([name]) => name);
    const [table = ""] = /^\| job [^]*?\n\n/m.exec(page) ?? [];
    for (const job of jobs) assert.ok(new RegExp(`^\\| \`${job}[\`:]`, "m").test(table), `${job} is not in the table`);
    assert.ok(page.includes(`\`stages: [${pipeline.stages.join(", ")}]\``));
    const [own = ""] = /`stages: \[build[^`]*`/.exec(page) ?? [];
    for (const stage of pipeline.stages) assert.ok(own.includes(stage), stage);
  });

  it("has the sweeper on a branch of its own, and a schedule's pipeline runs on any", () => {
    assert.ok(pipeline.workflow.rules.some((rule) => rule.if === '$CI_PIPELINE_SOURCE == "schedule"'));
    assert.match(page, /--data ref=sweeper/);
    assert.doesNotMatch(page, /--data ref=main/);
  });

  it("tells of every variable that somebody has to set", () => {
    assert.deepEqual(
      [...new Set(named("Variables, and who sees them"))],
      [
        ...["PULUMI_BACKEND_URL", "PULUMI_CONFIG_PASSPHRASE", "MERGE_REQUEST_TOKEN", "AWS_ROLE_ARN"],
        ...["GCP_WORKLOAD_IDENTITY_PROVIDER", "GCP_SERVICE_ACCOUNT"],
        ...["ARM_CLIENT_ID", "ARM_TENANT_ID", "ARM_SUBSCRIPTION_ID", "CIVO_TOKEN"],
      ],
    );
  });

  it("tells of every policy", () => {
    assert.deepEqual(named("Policies, and how they are allowed"), [
      ...["no-cluster-replacement", "no-public-api", "no-arm64-nodes", "labels-present", "no-plaintext-secret"],
      ...["no-retired-ingress", "no-known-vulnerability", "no-unlisted-licence"],
    ]);
  });

  it("has an example of an allowance that is one", async () => {
    const folder = await mkdtemp(join(tmpdir(), "gitlab-workspaces-allowances-"));
    await mkdir(join(folder, "ci"));
    const example = /^```yaml\n(- policy:[^]*?)^```/m.exec(page)?.[1] ?? assert.fail("there is no example");
    await writeFile(join(folder, "ci", "allowances.yaml"), example);
    const allowances = readAllowances(folder);
    await rm(folder, { recursive: true });
    const found = { policy: "no-public-api", stack: "staging", name: "cluster" };
    assert.ok(isAllowed(allowances, found, new Date("2027-01-31T12:00:00Z")));
    assert.ok(!isAllowed(allowances, found, new Date("2027-02-01T00:00:00Z")));
  });
});
