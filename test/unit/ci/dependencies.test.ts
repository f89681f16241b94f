import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Allowance, readAllowances } from "../../../ci/allowances";
import { vulnerabilities } from "../../../ci/checks/audit";
import type { Finding } from "../../../ci/checks/code-quality";
import { checkDependencies } from "../../../ci/checks/dependencies";
import { unlistedLicences } from "../../../ci/checks/licences";
import { type Package, readLockfile } from "../../../ci/checks/lockfile";
import { Failure } from "../../../local/failure";

const root = join(__dirname, "..", "..", "..");
const today = new Date("2026-11-26T12:00:00Z");

const installed = (name: string, more: Partial<Package> = {}): Package => ({
  name,
  version: "1.0.0",
  license: "MIT",
  dev: false,
  place: `node_modules/${name}`,
  line: 7,
  ...more,
});

const allowing = (policy: string, name: string, until = "2026-12-31"): Allowance[] => [
  { policy, name, reason: "somebody has read it", until },
];

/** A message of a refusal. */
const refusal = async (promise: Promise<unknown>): Promise<string> => {
  try {
    await promise;
  } catch (error) {
    assert.ok(error instanceof Failure, String(error));
    return error.message;
  }
  return assert.fail("it was not refused");
};

describe("The licence policy", () => {
  const rule = (license: unknown, allowances: Allowance[] = [], now = today): string | undefined =>
    unlistedLicences([installed("thing", { license })], allowances, now)[0]?.rule;

  it("passes everything that this project is made of, with the exceptions that are written down", async () => {
    const packages = await readLockfile(root);
    assert.ok(packages.length > 500, `${packages.length} packages`);
    assert.deepEqual(unlistedLicences(packages, readAllowances(), today), []);
    assert.deepEqual(
      unlistedLicences(packages, [], today).map(({ name }) => name),
      ["@logdna/tail-file@2.2.0", "optimist@0.3.7"],
    );
  });

  it("reads licence expressions", () => {
    assert.equal(rule("MIT"), undefined);
    assert.equal(rule("(MIT OR GPL-3.0-or-later)"), undefined);
    assert.equal(rule("(BSD-3-Clause AND Apache-2.0)"), undefined);
    assert.equal(rule("GPL-3.0-only"), "is under GPL-3.0-only, which is not on the list");
    assert.equal(rule("(MIT AND AGPL-3.0-only)"), "is under (MIT AND AGPL-3.0-only), which is not on the list");
    assert.equal(
      rule("Apache-2.0 WITH LLVM-exception"),
      "is under Apache-2.0 WITH LLVM-exception, which is not on the list",
    );
  });

  it("refuses what it cannot read, and shows it on one line", () => {
    assert.equal(rule(undefined), "names no licence");
    assert.equal(rule([{ type: "MIT" }]), "names a licence in a form that npm gave up in 2014");
    assert.match(
      rule("SEE LICENSE IN LICENSE") ?? "",
      /says of its licence "SEE LICENSE IN LICENSE", which is no SPDX/,
    );
    assert.ok(rule("MIT\n\u001b[2Kall is well")?.includes('"MIT\\n\\u001b[2Kall is well"'));
  });

  it("takes an exception for one version of a package until its day has passed", () => {
    const policy = "no-unlisted-licence";
    assert.equal(rule("GPL-3.0-only", allowing(policy, "thing@1.0.0")), undefined);
    assert.ok(rule("GPL-3.0-only", allowing(policy, "thing@1.0.1")));
    assert.ok(rule("GPL-3.0-only", allowing(policy, "thing")));
    assert.ok(rule("GPL-3.0-only", allowing("no-known-vulnerability", "thing@1.0.0")));
    assert.equal(rule("GPL-3.0-only", allowing(policy, "thing@1.0.0", "2026-11-26")), undefined);
    assert.ok(rule("GPL-3.0-only", allowing(policy, "thing@1.0.0", "2026-11-25")));
  });
});

describe("The vulnerability policy", () => {
  const advisory = (severity: string, id = "GHSA-jf85-cpcp-j695") => ({
    source: 1106900,
    name: "lodash",
    dependency: "lodash",
    title: "Prototype Pollution in lodash",
    url: `https://github.com/advisories/${id}`,
    severity,
    cwe: ["CWE-20", "CWE-400"],
    cvss: { score: 9.1, vectorString: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:H/A:H" },
    range: "<4.17.12",
  });

  /** As npm 10.9 writes it, https://github.com/npm/cli/tree/v10.9.0/workspaces/arborist `audit-report.js`. */
  const report = (via: unknown[], more: object = {}) =>
    JSON.stringify({
      auditReportVersion: 2,
      vulnerabilities: {
        lodash: {
          name: "lodash",
          severity: "high",
          isDirect: true,
          via,
          effects: ["async"],
          range: "<4.17.12",
          nodes: ["node_modules/lodash"],
          fixAvailable: { name: "lodash", version: "4.17.21", isSemVerMajor: false },
          ...more,
        },
        async: {
          name: "async",
          severity: "high",
          isDirect: false,
          via: ["lodash"],
          effects: [],
          range: "1.0.0 - 2.6.3",
          nodes: ["node_modules/async"],
          fixAvailable: true,
        },
      },
      metadata: {
        vulnerabilities: { info: 0, low: 0, moderate: 0, high: 2, critical: 0, total: 2 },
        dependencies: { prod: 3, dev: 0, optional: 0, peer: 0, peerOptional: 0, total: 2 },
      },
    });

  const packages = [installed("lodash"), installed("async")];

  const refused = (via: unknown[], allowances: Allowance[] = [], lodash: Partial<Package> = {}): string[] =>
    vulnerabilities(report(via), "", [installed("lodash", lodash), installed("async")], allowances, today)
      .filter((one) => one.refused)
      .map((one) => one.advisory);

  it("refuses what is severe in what the program runs with", () => {
    assert.deepEqual(refused([advisory("high")]), ["GHSA-jf85-cpcp-j695"]);
    assert.deepEqual(refused([advisory("critical")]), ["GHSA-jf85-cpcp-j695"]);
    for (const severity of ["info", "low", "moderate"]) assert.deepEqual(refused([advisory(severity)]), []);
    assert.deepEqual(refused([advisory("critical")], [], { dev: true }), []);
  });

  it("takes an exception for one advisory until its day has passed", () => {
    const both = [advisory("high"), advisory("high", "GHSA-p6mc-m468-83gw")];
    const policy = "no-known-vulnerability";
    assert.deepEqual(refused(both, allowing(policy, "GHSA-jf85-cpcp-j695")), ["GHSA-p6mc-m468-83gw"]);
    assert.deepEqual(refused([advisory("high")], allowing(policy, "GHSA-jf85-cpcp-j695", "2026-11-25")).length, 1);
    assert.deepEqual(refused([advisory("high")], allowing("no-unlisted-licence", "GHSA-jf85-cpcp-j695")).length, 1);
  });

  it("says what there is to know of each", () => {
    assert.deepEqual(vulnerabilities(report([advisory("moderate")]), "", packages, [], today), [
      {
        package: packages[0],
        advisory: "GHSA-jf85-cpcp-j695",
        title: "Prototype Pollution in lodash",
        url: "https://github.com/advisories/GHSA-jf85-cpcp-j695",
        severity: "moderate",
        range: "<4.17.12",
        remedy: "npm install lodash@4.17.21",
        refused: false,
      },
    ]);
    const remedyOf = (fixAvailable: unknown) =>
      vulnerabilities(report([advisory("low")], { fixAvailable }), "", packages, [], today)[0]?.remedy;
    assert.equal(remedyOf(false), "no version without it is known");
    assert.equal(remedyOf(true), "npm audit fix");
    assert.equal(
      remedyOf({ name: "a", version: "2.0.0", isSemVerMajor: true }),
      "npm install a@2.0.0, a new major version",
    );
  });

  it("passes nothing when the registry has not answered", () => {
    const answers = {
      "405 Method Not Allowed": JSON.stringify({ message: "405 Method Not Allowed", statusCode: 405 }),
      "npm printed no report": "",
      "connect ECONNREFUSED": JSON.stringify({ error: { summary: "connect ECONNREFUSED 127.0.0.1:1" } }),
    };
    for (const [words, stdout] of Object.entries(answers))
      assert.throws(
        () => vulnerabilities(stdout, "", packages, [], today),
        (error: Error) =>
          error instanceof Failure && error.message.includes(words) && /Nothing is known/.test(error.message),
      );
    const nobodyAsked = JSON.stringify({
      auditReportVersion: 2,
      vulnerabilities: {},
      metadata: { dependencies: { total: 0 } },
    });
    assert.throws(() => vulnerabilities(nobodyAsked, "", packages, [], today), /Nothing is known/);
    const password = "npm error request to https://me:hunter2@npm.example.com/ failed";
    assert.throws(
      () => vulnerabilities("", password, packages, [], today),
      (error: Error) => error.message.includes("//...@npm.example.com") && !error.message.includes("hunter2"),
    );
  });
});

describe("The dependencies command", function () {
  this.timeout(60_000);
  let folder: string;
  let registry: Server;
  let answer: object | undefined;
  const asked: string[] = [];

  before(async () => {
    registry = createServer((request, response) => {
      asked.push(`${request.method ?? ""} ${request.url ?? ""}`);
      const json = (status: number, body: unknown) => {
        response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
      };
      request.resume();
      if (request.method === "POST" && request.url === "/-/npm/v1/security/advisories/bulk")
        if (answer === undefined) json(405, {});
        else json(200, answer);
      // Whom else it touches is worked out from the package's own document.
      else if (request.url === "/thing") {
        const versions = { "1.0.0": { name: "thing", version: "1.0.0" }, "1.0.1": { name: "thing", version: "1.0.1" } };
        json(200, { name: "thing", "dist-tags": { latest: "1.0.1" }, versions });
      } else json(404, {});
    });
    await new Promise<void>((listening) => registry.listen(0, "127.0.0.1", listening));
  });

  after(() => registry.close());

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "gitlab-workspaces-dependencies-"));
    await project("MIT");
    asked.length = 0;
    answer = undefined;
  });

  afterEach(() => rm(folder, { recursive: true }));

  /** A project with one dependency, and npm's settings for it. */
  const project = async (license: string, ...settings: string[]): Promise<void> => {
    const { port } = registry.address() as AddressInfo;
    const dependencies = { thing: "1.0.0" };
    const self = { name: "project", version: "1.0.0", dependencies };
    const thing = { version: "1.0.0", integrity: "sha512-AAAA", license };
    const lockfile = { ...self, lockfileVersion: 3, packages: { "": self, "node_modules/thing": thing } };
    await writeFile(join(folder, "package.json"), JSON.stringify(self));
    await writeFile(join(folder, "package-lock.json"), JSON.stringify(lockfile, null, 2));
    const npmrc = [`registry=http://127.0.0.1:${port}/`, "fetch-retries=0", `cache=${join(folder, "cache")}`];
    await writeFile(join(folder, ".npmrc"), [...npmrc, ...settings].join("\n"));
  };

  const vulnerable = {
    thing: [
      {
        id: 1,
        url: "https://github.com/advisories/GHSA-aaaa-bbbb-cccc",
        title: "It does harm\u001b[2K",
        severity: "critical",
        vulnerable_versions: "<1.0.1",
        cwe: [],
        cvss: { score: 9.8, vectorString: null },
      },
    ],
  };

  const reported = async () =>
    JSON.parse(await readFile(join(folder, "reports", "dependencies.json"), "utf8")) as Finding[];

  it("says that all is well when npm's registry says so, and asks it even where npm is told not to", async () => {
    answer = {};
    await project("MIT", "audit=false", "offline=true");
    assert.match(await checkDependencies(folder, [], today), /^1 packages: every licence is listed or allowed/);
    assert.deepEqual(asked, ["POST /-/npm/v1/security/advisories/bulk"]);
    assert.deepEqual(await reported(), []);
  });

  it("tells of a vulnerability and of a licence at once, each with what to do and where it is", async () => {
    answer = vulnerable;
    await project("GPL-3.0-only");
    const message = await refusal(checkDependencies(folder, [], today));
    assert.equal(
      message,
      [
        "thing@1.0.0 has a known vulnerability, critical: It does harm\\u{1b}[2K",
        "  https://github.com/advisories/GHSA-aaaa-bbbb-cccc, versions <1.0.1; package-lock.json:16",
        "  To be rid of it: npm install thing@1.0.1",
        "  To live with it until a day: " +
          '{ policy: no-known-vulnerability, name: "GHSA-aaaa-bbbb-cccc", reason: ..., until: YYYY-MM-DD } in ci/allowances.yaml',
        "",
        "thing@1.0.0 is under GPL-3.0-only, which is not on the list (package-lock.json:16).",
        "  Use another package, or have it agreed to: " +
          '{ policy: no-unlisted-licence, name: "thing@1.0.0", reason: ..., until: YYYY-MM-DD } in ci/allowances.yaml',
      ].join("\n"),
    );
    assert.deepEqual(
      (await reported()).map(({ check_name, severity, location }) => [check_name, severity, location]),
      [
        ["no-unlisted-licence", "major", { path: "package-lock.json", lines: { begin: 16 } }],
        ["no-known-vulnerability", "critical", { path: "package-lock.json", lines: { begin: 16 } }],
      ],
    );
  });

  it("passes what is allowed, and still names it", async () => {
    answer = vulnerable;
    const said = await checkDependencies(folder, allowing("no-known-vulnerability", "GHSA-aaaa-bbbb-cccc"), today);
    assert.match(said, /Known, and left to you:\n {2}thing@1\.0\.0: GHSA-aaaa-bbbb-cccc, critical: It does harm/);
    assert.deepEqual(
      (await reported()).map(({ severity }) => severity),
      ["info"],
    );
  });

  it("fails when the registry does not answer, and says what the licences say", async () => {
    await project("GPL-3.0-only");
    const message = await refusal(checkDependencies(folder, [], today));
    assert.match(message, /did not say which packages have known vulnerabilities: 405 Method Not Allowed/);
    assert.match(message, /thing@1\.0\.0 is under GPL-3\.0-only/);
    assert.equal((await reported()).length, 1);
  });

  it("says how to mend a lockfile that is none", async () => {
    for (const content of ["{", JSON.stringify({ lockfileVersion: 1, dependencies: {} })]) {
      await writeFile(join(folder, "package-lock.json"), content);
      assert.match(await refusal(checkDependencies(folder, [], today)), /npm install --package-lock-only/);
    }
  });
});
