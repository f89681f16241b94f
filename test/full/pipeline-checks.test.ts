import assert from "node:assert/strict";
import { readdir, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { Finding } from "../../ci/checks/code-quality";
import { filesBelow, type PipelineProject, pipelineProject, scanners, type Trigger } from "../support/pipeline";

describe("The checks of a merge request", () => {
  let project: PipelineProject;
  let trigger: Trigger;
  let registry: Server;
  let mirror: string;
  let answers = true;

  before(async () => {
    registry = createServer((request, response) => {
      request.resume();
      const asked = `${request.method ?? ""} ${request.url ?? ""}`;
      const known = answers && asked === "POST /-/npm/v1/security/advisories/bulk";
      response.writeHead(known ? 200 : 405, { "content-type": "application/json" }).end("{}");
    });
    await new Promise<void>((listening) => registry.listen(0, "127.0.0.1", listening));
    mirror = `http://127.0.0.1:${(registry.address() as AddressInfo).port}/`;
    project = await pipelineProject();
    trigger = await project.mergeRequest();
  });

  after(async () => {
    registry.close();
    await project.remove();
  });

  const report = async (artifacts: string, file: string): Promise<Finding[]> =>
    JSON.parse((await filesBelow(artifacts)).get(file) ?? assert.fail(`no ${file}`)) as Finding[];

  it("pass this project as it is, from an install by npm, and hand on that there is nothing to report", async () => {
    const { exitCode, jobs, all } = await project.run(trigger, ["check"], { install: "npm" });
    assert.equal(exitCode, 0, all);
    const { log, artifacts, folder } = jobs.get("check")!;
    assert.match(log, /added \d+ packages/);
    assert.ok((await readdir(folder)).includes("node_modules"));
    assert.deepEqual([...(await filesBelow(artifacts)).keys()], ["reports/check.json"]);
    assert.deepEqual(await report(artifacts, "reports/check.json"), []);
  });

  it("leave the scanners to GitLab", async () => {
    const { exitCode, jobs, all } = await project.run(trigger, scanners);
    assert.equal(exitCode, 0, all);
    for (const name of scanners) assert.match(jobs.get(name)?.log ?? "", /stand-in for GitLab's template/);
  });

  it("ask npm's registry about the dependencies, and fail when it does not answer", async () => {
    const variables = { NPM_CONFIG_REGISTRY: mirror };
    const passed = await project.run(trigger, ["dependencies"], { variables });
    assert.equal(passed.exitCode, 0, passed.all);
    assert.match(passed.jobs.get("dependencies")?.log ?? "", /every licence is listed or allowed/);
    answers = false;
    const failed = await project.run(trigger, ["dependencies"], { variables });
    const { status, log, artifacts } = failed.jobs.get("dependencies")!;
    assert.equal(status, "failed");
    assert.match(log, /error: npm's registry did not say which packages have known vulnerabilities: 405/);
    assert.doesNotMatch(log, /^ +at /m);
    assert.deepEqual(await report(artifacts, "reports/dependencies.json"), []);
  });

  it("hand on what is wrong from a job that fails, and the coverage of one that passes", async () => {
    await project.commit(async (folder) => {
      await writeFile(join(folder, "src", "wrong.ts"), "export const wrong: number = 'none'\n");
      // Less to look through, and one suite is enough to see what becomes of its result; it covers little.
      for (const other of ["bench", "doctor", "docs", "test/engine", "test/full", "test/recorded"])
        await rm(join(folder, other), { recursive: true });
      for (const other of await readdir(join(folder, "test", "unit")))
        if (other !== "house.test.ts") await rm(join(folder, "test", "unit", other), { recursive: true });
      await writeFile(
        join(folder, ".c8rc.json"),
        JSON.stringify({ all: true, include: ["src/**/*.ts"], reporter: ["text-summary", "lcov", "cobertura"] }),
      );
    });
    const { exitCode, jobs, all } = await project.run(await project.mergeRequest(), ["check", "test"]);
    assert.equal(exitCode, 1, all);
    const check = jobs.get("check")!;
    assert.equal(check.status, "failed", check.log);
    assert.deepEqual(
      (await report(check.artifacts, "reports/check.json"))
        .filter(({ location }) => location.path === "src/wrong.ts")
        .map(({ check_name }) => check_name),
      ["TS2322", "prettier"],
    );
    const test = jobs.get("test")!;
    assert.equal(test.status, "passed", test.log);
    assert.equal(typeof test.coverage, "number", all);
    assert.match((await filesBelow(test.artifacts)).get("reports/unit.xml") ?? "", /classname="The house"/);
  });
});
