import assert from "node:assert/strict";
import { join } from "node:path";
import { execa } from "execa";
import { environment, pulumiDirectory } from "../../local/engine";
import { project } from "../../local/stack";
import { type Ended, startEngine, type TestEngine } from "../support/engine";
import { standing, whole } from "../support/on-call";
import { follow, missingFrom, section } from "../support/recovery-pages";

describe("docs/recovery/disk-full.md, done as it stands there", () => {
  let engine: TestEngine;

  before(async function () {
    this.timeout(3_600_000);
    engine = await startEngine();
    await engine.up();
  });

  after(async () => {
    await engine.stop();
  });

  function shows(printed: string, heading: string): void {
    const described = section("disk-full.md", heading);
    assert.notDeepEqual(described.symptom, []);
    assert.deepEqual(missingFrom(printed, described), [], printed);
  }

  async function does(heading: string, values: Record<string, string> = {}): Promise<Ended> {
    const ended = await follow(engine, section("disk-full.md", heading), values);
    assert.equal(ended.exitCode, 0, ended.all);
    return ended;
  }

  it("has the state back that was cut off, with its backup", async () => {
    await engine.setSecret("oauthClientSecret", "a-seventh-oauth-secret");
    // In blocks of 1024 bytes: https://www.gnu.org/software/bash/manual/html_node/Bash-Builtins.html#index-ulimit
    const limited = await execa(
      "bash",
      [
        "-c",
        `ulimit -f 40; trap '' XFSZ; '${join(pulumiDirectory(engine.engine), "pulumi")}' up --yes --skip-preview --color never | cat`,
      ],
      {
        cwd: project,
        env: environment(engine.engine, engine.toolchain),
        extendEnv: false,
        reject: false,
        all: true,
      },
    );
    shows(limited.all ?? "", "A run that cannot write");
    const page = section("disk-full.md", "A run that cannot write");
    const cutOff = await follow(engine, page);
    assert.notEqual(cutOff.exitCode, 0, "both the state and its backup are cut off");
    shows(cutOff.all, "The state was cut off");
    const { stdout } = await does("The state was cut off", { "state-folder": engine.engine.state });
    assert.match(stdout, /restored from history\//);
    await does("Then");
    assert.deepEqual(await standing(engine), whole);
  });
});
