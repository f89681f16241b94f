import assert from "node:assert/strict";
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Circumstances,
  deployedAt,
  duration,
  type Found,
  reviewsAmong,
  sweep,
  verdict,
} from "../../../ci/review-sweep";
import { Refused } from "../../../local/failure";
import { versions } from "../../../local/toolchain/toolchain";
import { type GitLabApi, startGitLabApi } from "../../support/gitlab-api";

const hour = 3_600_000;
const now = new Date("2026-11-26T10:00:00Z");
const found = (hoursAgo: number | undefined, more: Partial<Found> = {}): Found => ({
  stack: "review-mr-7",
  iid: 7,
  deployed: hoursAgo === undefined ? undefined : new Date(now.getTime() - hoursAgo * hour),
  project: "41",
  ...more,
});
const circumstances = (open: readonly number[] | undefined): Circumstances => ({
  open: open && new Set(open),
  project: "41",
  maxAge: 72 * hour,
  now,
});

describe("The sweeper", () => {
  for (const { text, hours } of [
    { text: "72 hours", hours: 72 },
    { text: "1 hour", hours: 1 },
    { text: "3 days", hours: 72 },
    { text: "1 week", hours: 168 },
    { text: "87600 hours", hours: 87_600 },
    { text: "3650 days", hours: 87_600 },
  ])
    it(`takes ${text} for ${hours} hours`, () => {
      assert.equal(duration(text), hours * hour);
    });

  for (const text of [
    "",
    "0 days",
    "-1 day",
    "3",
    "3d",
    "1.5 days",
    "3 months",
    "3 days ago",
    "03 days",
    "3651 days",
    "99999 weeks",
    "9".repeat(30) + " weeks",
  ])
    it(`refuses the age ${JSON.stringify(text)}`, () => {
      assert.throws(() => duration(text), /^(Refused|Error): REVIEW_MAX_AGE is .*3650 days at most/);
    });

  it("looks at the stacks of review environments alone", () => {
    const names = [
      "local",
      "review",
      "review-mr-",
      "review-mr-07",
      "review-mr-7",
      "review-mr-7-b",
      "review-mr-x",
      "xreview-mr-7",
      "review-mr-99999999999",
    ];
    assert.deepEqual(reviewsAmong(names.map((name) => ({ name }))), [{ stack: "review-mr-7", iid: 7 }]);
  });

  for (const { of, age, open, more = {}, removes, even = false, why } of [
    { of: "an open merge request", age: 1, open: [7], removes: false, why: /!7 is open, deployed 1 h ago/ },
    { of: "one that is not open", age: 1, open: [8], removes: true, why: /!7 is not open/ },
    { of: "one that is not open, in a project without any", age: 1, open: [], removes: true, why: /!7 is not open/ },
    { of: "an open one that is too old", age: 73, open: [7], removes: true, even: true, why: /began 3 d ago/ },
    { of: "one of exactly the longest age", age: 72, open: [7], removes: false, why: /is open/ },
    { of: "one that GitLab does not tell of", age: 71, open: undefined, removes: false, why: /GitLab does not tell/ },
    {
      of: "an old one that GitLab does not tell of",
      age: 73,
      open: undefined,
      removes: true,
      even: true,
      why: /began/,
    },
    { of: "one of unknown age", age: undefined, open: [7], removes: false, why: /is open/ },
    { of: "one of unknown age that is not open", age: undefined, open: [], removes: true, why: /is not open/ },
    {
      of: "an old one of another project",
      age: 999,
      open: [],
      more: { project: "42" },
      removes: false,
      why: /project 42/,
    },
    {
      of: "an untagged one that is being made",
      age: 0.9,
      open: [],
      more: { project: undefined },
      removes: false,
      why: /may be in the making/,
    },
    {
      of: "an untagged one that was never written to",
      age: undefined,
      open: [],
      more: { project: undefined },
      removes: false,
      why: /may be in the making/,
    },
    {
      of: "an untagged one that is not open",
      age: 1,
      open: [],
      more: { project: undefined },
      removes: true,
      why: /!7 is not open/,
    },
  ])
    it(`${removes ? "removes" : "keeps"} the environment of ${of}`, () => {
      const decided = verdict(found(age, more), circumstances(open));
      assert.deepEqual([decided.remove, decided.evenWithWorkspaces], [removes, even]);
      assert.match(decided.why, why);
    });

  it("goes by the last deployment and not by later attempts to remove it, where the backend has kept it", () => {
    assert.deepEqual(
      deployedAt({ deployed: "2026-11-20T00:00:00.000Z" }, "2026-11-26T00:00:00Z", now),
      new Date("2026-11-20T00:00:00Z"),
    );
    assert.deepEqual(deployedAt({}, "2026-11-26T00:00:00Z", now), new Date("2026-11-26T00:00:00Z"));
    assert.deepEqual(deployedAt({ deployed: "yesterday" }, undefined, now), undefined);
  });

  it("goes by the backend's time where the tag is a time to come", () => {
    assert.deepEqual(
      deployedAt({ deployed: "2099-01-01T00:00:00.000Z" }, "2026-11-26T00:00:00Z", now),
      new Date("2026-11-26T00:00:00Z"),
    );
    assert.equal(deployedAt({ deployed: "2099-01-01T00:00:00.000Z" }, "2098-01-01T00:00:00Z", now), undefined);
  });

  it("says every variable that it lacks", async () => {
    const error: unknown = await sweep({}).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    assert.ok(error instanceof Refused);
    for (const name of [
      "CI_API_V4_URL",
      "CI_PROJECT_ID",
      "MERGE_REQUEST_TOKEN",
      "PULUMI_BACKEND_URL",
      "REVIEW_MAX_AGE",
    ])
      assert.ok(error.message.includes(`The variable ${name} is missing`), name);
  });

  describe("at work", () => {
    const token = "glpat-of-the-sweeper";
    const before_ = process.env["PULUMI_HOME"];
    const log = console.log;
    let home: string;
    let gitlab: GitLabApi;
    let lines: string[];

    beforeEach(async () => {
      home = await mkdtemp(join(tmpdir(), "gitlab-workspaces-ci-"));
      process.env["PULUMI_HOME"] = home;
      gitlab = await startGitLabApi({ value: token, user: 1, scopes: ["api"], role: "reporter" });
      lines = [];
    });

    afterEach(async () => {
      console.log = log;
      await gitlab.stop();
      if (before_ === undefined) delete process.env["PULUMI_HOME"];
      else process.env["PULUMI_HOME"] = before_;
      await rm(home, { recursive: true, force: true });
    });

    /**
     * Sweeps a backend of these stacks, with a program in the place of the CLI.
     * @param fails words of a destroy that fails.
     * @returns the words of each command that changes something.
     */
    async function swept(stacks: Record<string, Record<string, string>>, fails?: string): Promise<string[]> {
      const folder = join(home, "versions", versions.pulumi, "bin");
      const told = join(home, "commands");
      await mkdir(folder, { recursive: true });
      await writeFile(told, "");
      await writeFile(
        join(folder, "pulumi"),
        `#!${process.execPath}
          const words = process.argv.slice(2).join(" ");
          const stack = /--stack (\\S+)/.exec(words)?.[1];
          const stacks = ${JSON.stringify(stacks)};
          const fails = ${JSON.stringify(fails ?? "")};
          if (words.startsWith("stack ls")) console.log(JSON.stringify(Object.keys(stacks).map((name) => ({ name }))));
          else if (words.startsWith("stack tag ls")) console.log(JSON.stringify(stacks[stack]));
          else if (words.startsWith("stack export"))
            console.log(JSON.stringify({ deployment: { resources: [{ urn: "u", type: "t" }] } }));
          else {
            require("node:fs").appendFileSync(${JSON.stringify(told)}, words.split(" --")[0] + " " + stack + "\\n");
            if (fails && words.startsWith("destroy")) { console.log(fails); process.exit(1); }
          }`,
      );
      await chmod(join(folder, "pulumi"), 0o755);
      console.log = (line: string) => lines.push(...line.split("\n"));
      try {
        await sweep({
          CI_API_V4_URL: gitlab.url,
          CI_PROJECT_ID: String(gitlab.project),
          MERGE_REQUEST_TOKEN: token,
          PULUMI_BACKEND_URL: "s3://bucket",
          REVIEW_MAX_AGE: "1 week",
        });
      } finally {
        console.log = log;
      }
      return (await readFile(told, "utf8")).trim().split("\n");
    }

    const tags = (deployed = new Date().toISOString(), project = gitlab.project) => ({
      "gitlab-project-id": String(project),
      deployed,
    });

    it("looks again before each, and leaves one whose merge request was opened meanwhile", async () => {
      let times = 0;
      gitlab.onAsked = () => {
        if (++times === 3) gitlab.open(8);
      };
      const commands = await swept({ "review-mr-7": tags(), "review-mr-8": tags() });
      assert.deepEqual(commands, ["destroy review-mr-7", "stack rm review-mr-7"]);
      assert.ok(lines.includes("  review-mr-8: goes, because merge request !8 is not open."));
      assert.ok(lines.some((line) => line.startsWith("It stays after all, because merge request !8 is open")));
    });

    it("says what stop says of one that people's workspaces keep, and fails after the others", async () => {
      const guard = "To destroy it all the same: GITLAB_WORKSPACES_ALLOW=destroy-with-workspaces";
      await assert.rejects(swept({ "review-mr-7": tags() }, guard), /review-mr-7 did not go, or not whole/);
      assert.ok(lines.some((line) => line.startsWith("THE REVIEW ENVIRONMENT review-mr-7 RUNS ON, AND COSTS")));
    });

    it("says of one that is too old that workspaces' namespaces are left, and how to list them", async () => {
      assert.deepEqual(await swept({ "review-mr-7": tags("2020-01-01T00:00:00Z") }), [
        "destroy review-mr-7",
        "stack rm review-mr-7",
      ]);
      assert.ok(lines.some((line) => line.includes("Their namespaces gl-rd-ns-* are left")));
      assert.ok(lines.includes("  kubectl get namespaces --output name | grep gl-rd-ns-"));
    });

    it("says loudly which are another project's, and leaves them", async () => {
      assert.deepEqual(await swept({ "review-mr-7": tags("2020-01-01T00:00:00Z", 42) }), [""]);
      assert.ok(lines.some((line) => line.startsWith("NOT OF THIS PROJECT, AND NOT SWEPT HERE: this is project 4711")));
      assert.ok(lines.includes("  review-mr-7 of the GitLab project 42"));
    });
  });
});
