import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
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

describe("The page of the pipeline", () => {
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
