import assert from "node:assert/strict";
import { codes, merge } from "../../../doctor/codes";
import { type Code, type Codes, findings } from "../../../doctor/finding";

const code = { severity: "error", title: "It is broken", meaning: "Nobody can work.", fix: ["mend <part>"] } as const;

/** Words that a command begins with, alone or after a pipe. */
const known = /^(pulumi|kubectl|helm|npm|xargs|dig|openssl|curl|nc|date|tr|rm) /;

describe("The doctor's codes", () => {
  for (const [number, { title, meaning, fix }] of Object.entries(codes)) {
    it(`say of ${number} what it is, what it means, and what to type`, () => {
      assert.match(number, /^GW[0-8]\d\d$/);
      assert.match(title, /^\S.{8,90}[^.]$/);
      assert.match(meaning, /^[A-Z].*[.)/]$/s);
      assert.ok(fix.length > 0);
      for (const command of fix.flatMap((line) => line.split(" | "))) assert.match(command, known);
    });
  }

  it("take no lock away, and nothing that may be somebody else's: a person decides that", () => {
    for (const [number, { fix }] of Object.entries<Code>(codes)) {
      assert.doesNotMatch(fix.join("\n"), /pulumi cancel|helm uninstall|kubectl delete (ingress|namespace)/, number);
    }
  });

  it("give a stack no kubeconfig that nobody looked at", () => {
    for (const { fix } of Object.values<Code>(codes)) {
      const [first, ...later] = fix;
      assert.ok(!first?.includes("gitlab-workspaces:kubeconfig"));
      if (later.some((line) => line.includes("gitlab-workspaces:kubeconfig")))
        assert.match(first ?? "", /^kubectl config view --minify .*\.server/);
    }
  });

  it("are there at all, in the order of their numbers", () => {
    const numbers = Object.keys(codes);
    assert.ok(numbers.length >= 40);
    assert.deepEqual(numbers, [...numbers].sort());
  });

  it("cannot have a number that stands for two things", () => {
    assert.deepEqual(Object.keys(merge({ GW902: code }, { GW901: code })), ["GW901", "GW902"]);
    assert.throws(() => merge({ GW901: code }, { GW902: code, GW901: code }), /GW901 stands for two things/);
  });

  it("become findings with every placeholder filled in, or none at all", () => {
    const finding = findings({ GW901: code } satisfies Codes);
    assert.deepEqual(finding("GW901", "seen", { part: "the engine" }).fix, ["mend the engine"]);
    assert.throws(() => finding("GW901", "seen"), /GW901: no value for <part>/);
  });
});
