import assert from "node:assert/strict";
import type { Diagnosis } from "../../../doctor/doctor";
import type { Finding } from "../../../doctor/finding";
import { exitCode, report } from "../../../doctor/report";

const error: Finding = {
  code: "GW401",
  severity: "error",
  title: "It is broken",
  seen: "Part a of b.\nPart c of d.",
  meaning: `Nobody can work. ${"word ".repeat(30)}end.`,
  fix: ["mend a", "mend b"],
};
const warning: Finding = { ...error, code: "GW703", severity: "warning", seen: "It may be.", meaning: "Perhaps." };

const diagnosis = (findings: readonly Finding[]): Diagnosis => ({ stack: "local", checks: ["a", "b", "c"], findings });

describe("The doctor's report", () => {
  it("says of each finding what was seen, what it means, what to type and where to read on", () => {
    const [first] = report(diagnosis([error, warning]), 1.2).split("\n\n");
    assert.deepEqual(first?.split("\n"), [
      "GW401 error: It is broken",
      "    Part a of b.",
      "    Part c of d.",
      "  Nobody can work. word word word word word word word word word word word word word word word word",
      "  word word word word word word word word word word word word word word end.",
      "  $ mend a",
      "  $ mend b",
      "  docs/doctor.md#gw401",
    ]);
  });

  for (const [findings, line, code] of [
    [[], "Nothing found: 3 checks in 3 s.", 0],
    [[warning], "1 warning", 1],
    [[warning, error, error], "2 errors, 1 warning", 2],
    [[error], "1 error", 2],
  ] as const) {
    it(`ends with "${line}" and exit code ${code}`, () => {
      assert.equal(report(diagnosis(findings), 2.6).split("\n").at(-1), line);
      assert.equal(exitCode(findings), code);
    });
  }

  it("passes nothing on that a terminal would obey", () => {
    const text = report(diagnosis([{ ...warning, seen: "red \u001b[31m\r\u009b2J\u202e" }]), 1);
    assert.match(text, /red \?\[31m\?\?2J\?/);
    // eslint-disable-next-line no-control-regex -- they are what is looked for
    assert.doesNotMatch(text, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
  });
});
