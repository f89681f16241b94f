import assert from "node:assert/strict";
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
    "9".repeat(30) + " weeks",
  ])
    it(`refuses the age ${JSON.stringify(text)}`, () => {
      assert.throws(() => duration(text), /^(Refused|Error): REVIEW_MAX_AGE is /);
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
      deployedAt({ deployed: "2026-11-20T00:00:00.000Z" }, "2026-11-26T00:00:00Z"),
      new Date("2026-11-20T00:00:00Z"),
    );
    assert.deepEqual(deployedAt({}, "2026-11-26T00:00:00Z"), new Date("2026-11-26T00:00:00Z"));
    assert.deepEqual(deployedAt({ deployed: "yesterday" }, undefined), undefined);
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
});
