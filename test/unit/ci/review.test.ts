import assert from "node:assert/strict";
import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { dnsRecords, namespaceInTheWay } from "../../../ci/review";
import { versions } from "../../../local/toolchain/toolchain";

const review = { stack: "review-mr-7", domain: "mr-7.review.example.com", instance: "mr-7" };

describe("A review environment whose namespace is on the cluster already", () => {
  for (const text of [
    'error: resource "gitlab-workspaces-mr-7" was not successfully created by the Kubernetes API server: namespaces "gitlab-workspaces-mr-7" already exists',
    "error: Namespace gitlab-workspaces-mr-7 is on the cluster already and not in this stack.",
  ])
    it(`says what to look at, what to type, and never to make room: ${text.slice(0, 40)}`, () => {
      const told = namespaceInTheWay(`Updating\n${text}\n`, review, "review") ?? "";
      assert.match(told, /gitlab-workspaces-mr-7 is on the cluster and not in the stack review-mr-7/);
      assert.match(told, /^ {2}kubectl get namespace gitlab-workspaces-mr-7$/m);
      assert.match(told, /^ {2}npx pulumi config set --stack review-mr-7 gitlab-workspaces:adopt true$/m);
      assert.match(told, /Never delete it/);
      assert.doesNotMatch(told, /kubectl delete/);
    });

  for (const text of [
    'error: namespaces "gitlab-workspaces-mr-70" already exists',
    'error: clusterroles "gitlab-agent-mr-7" already exists',
    "gitlab-workspaces-mr-7 created",
  ])
    it(`is not taken for what it is not: ${text}`, () => {
      assert.equal(namespaceInTheWay(text, review, "review"), undefined);
    });
});

describe("The DNS records of a review environment", () => {
  const before_ = process.env["PULUMI_HOME"];
  const log = console.log;
  let home: string;

  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), "gitlab-workspaces-ci-"));
    process.env["PULUMI_HOME"] = home;
  });

  afterEach(async () => {
    console.log = log;
    if (before_ === undefined) delete process.env["PULUMI_HOME"];
    else process.env["PULUMI_HOME"] = before_;
    await rm(home, { recursive: true, force: true });
  });

  for (const { of, code, expected } of [
    { of: "an answer", code: "console.log('[]')", expected: [] },
    { of: "a backend that fails", code: "console.error('error: no answer'); process.exit(1)", expected: undefined },
    { of: "no such output", code: "console.log('null')", expected: undefined },
    { of: "something else than records", code: "console.log('<html>')", expected: undefined },
  ])
    it(`are read, and nothing fails when they cannot be, after a finished deployment: ${of}`, async () => {
      const folder = join(home, "versions", versions.pulumi, "bin");
      await mkdir(folder, { recursive: true });
      await writeFile(join(folder, "pulumi"), `#!${process.execPath}\n${code}`);
      await chmod(join(folder, "pulumi"), 0o755);
      console.log = () => undefined;
      const records = await dnsRecords({ folder: home, env: {}, config: () => Promise.resolve("") }, "review-mr-7");
      assert.deepEqual(records, expected);
    });
});
