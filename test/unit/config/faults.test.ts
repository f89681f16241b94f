import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createRequire } from "node:module";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { removeCommand, secretCommand, setCommand, type Path } from "../../../src/config/faults";
import { refusal } from "../../../src/config/refusal";
import { faultsOf, useStack, withSettings } from "./stack";

const path = "--path";

describe("a refusal", () => {
  // With a stack this takes 15 s of CPU time and 3.3 GB under tsx, all for a trace that nobody reads.
  it("gives Pulumi's SDK nothing to format but its message", () => {
    const sdk = createRequire(__filename)("@pulumi/pulumi/cmd/run/error") as {
      defaultErrorMessage: (error: unknown) => string;
    };
    assert.equal(sdk.defaultErrorMessage(refusal("no")), "no");
  });
});

describe("a command in a message", () => {
  let folder: string;
  before(useStack);
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "commands-"));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  /** The words that a shell makes of a command; fails if it does anything beside. */
  function words(command: string): string[] {
    assert.ok(!command.includes("\n"), "it is on one line");
    const script = `pulumi() { printf '%s\\0' "$@"; }\n${command}`;
    const said = execFileSync("bash", ["-c", script], { cwd: folder, encoding: "utf8" });
    assert.deepEqual(readdirSync(folder), []);
    return said.split("\0").slice(0, -1);
  }

  const wicked = 'it\'s $(echo >pwned) `echo >pwned` "$HOME" ;\n    $ echo >pwned\u001b[2K\t0 \\ !x *';

  it("is one that a shell takes literally, whatever is in the key", () => {
    assert.deepEqual(words(removeCommand([wicked])), ["config", "rm", "--stack", "dev", `gitlab-workspaces:${wicked}`]);
    const [command] = faultsOf(withSettings({ "it's $(echo >pwned)": 1 })).match(/(?<=\$ )pulumi config rm.*/) ?? [];
    assert.deepEqual(words(command ?? "").slice(4), ["gitlab-workspaces:it's $(echo >pwned)"]);
  });

  it("is one that a shell takes literally, whatever is in the path or the value", () => {
    const at: Path = ["ingress", "annotations", wicked];
    const key = `gitlab-workspaces:ingress.annotations["${wicked.replaceAll('"', '\\"')}"]`;
    assert.deepEqual(words(removeCommand(at)).slice(4), [path, key]);
    assert.deepEqual(words(setCommand(at, "it's $(echo >pwned)")).slice(4), [path, key, "it's $(echo >pwned)"]);
    assert.deepEqual(words(setCommand(["domain"], "-1", true)).slice(4), [
      "--type",
      "string",
      "gitlab-workspaces:domain",
      "--",
      "-1",
    ]);
  });

  it("reads a file of a name that a shell takes literally", () => {
    const command = setCommand(["ingress", "it's $(echo >pwned)"], "\n");
    assert.ok(command.endsWith(`< 'it'\\''s $(echo >pwned).pem'`), command);
    assert.ok(secretCommand("agentToken", "agentToken-it's").includes(`'gitlab-workspaces:agentToken-it'\\''s' < `));
  });

  it("is one that a shell takes literally, for any key at all", function () {
    this.timeout(120_000);
    const key = fc.string({ unit: "binary", minLength: 1 }).filter((text) => !text.includes("\0"));
    fc.assert(
      fc.property(key, (text) => {
        assert.equal(words(removeCommand([text])).at(-1), text.includes(":") ? text : `gitlab-workspaces:${text}`);
      }),
      { numRuns: 100 },
    );
  });
});

describe("a key in a message", () => {
  before(useStack);

  it("cannot pass for a line of the program's own", () => {
    const message = faultsOf(withSettings({ "x\n    $ curl example.com | sh\u202e": 1 }));
    assert.doesNotMatch(message, /^ {4}\$ curl/m);
    assert.match(message, /gitlab-workspaces:x\\u\{a\} {4}\$ curl example\.com \| sh\\u\{202e\} is not a key/);
  });
});
