import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Base, baseOf } from "../../../ci/affected";
import { refuseProductionKeys } from "../../../ci/production-keys";
import { Refused } from "../../../local/failure";
import { passphraseCipher } from "../../../local/plan/cipher";

const passphrase = "canary production passphrase ";

/** A target branch with these stack config files. */
function branch(files: Readonly<Record<string, string>>): Base {
  return {
    sha: "0".repeat(40),
    changed: [],
    file: (path) => Promise.resolve(files[path.replace("stacks/", "")]),
    folder: () => Promise.resolve(Object.keys(files)),
  };
}

describe("The keys of production stacks", () => {
  let salt: string;

  before(async () => {
    const begin = "v1:c2FsdHNhbHQ=";
    salt = `${begin}:${(await passphraseCipher(passphrase, `${begin}:`)).seal("pulumi")}`;
  });

  const refused = async (variables: Record<string, string>, base: Base): Promise<string | undefined> =>
    await refuseProductionKeys(variables, base).then(
      () => undefined,
      (error: unknown) => {
        assert.ok(error instanceof Refused);
        return error.message;
      },
    );

  const file = (mark: string): string => `encryptionsalt: ${salt}\nconfig:\n  ${mark}\n`;

  it("are refused wherever the branch or the target branch marks a stack, however the mark is written", async () => {
    for (const mark of [
      "gitlab-workspaces:production: true",
      'gitlab-workspaces:production: "true"',
      "gitlab-workspaces:config:production: true",
    ]) {
      const message = await refused(
        { PULUMI_CONFIG_PASSPHRASE: passphrase },
        branch({ "Pulumi.live.yaml": file(mark) }),
      );
      assert.match(message ?? "", /holds the passphrase of a production stack \(stacks\/Pulumi\.live\.yaml\)/, mark);
      assert.match(message ?? "", /protected CI\/CD variable/);
      assert.ok(!message?.includes("canary"));
    }
  });

  it("are refused whatever stack the job is about, and with the salt in any form that YAML has", async () => {
    const quoted = `"encryptionsalt": >-\n  ${salt}\nconfig: {"gitlab-workspaces:production": true}\n`;
    const base = branch({ "Pulumi.staging.yaml": "config: {}", "Pulumi.live.yaml": quoted });
    assert.notEqual(await refused({ PULUMI_CONFIG_PASSPHRASE: passphrase }, base), undefined);
  });

  it("are refused from a file as well, whose white space at the ends is none of the passphrase", async () => {
    const folder = await mkdtemp(join(tmpdir(), "production-keys-"));
    const named = join(folder, "passphrase");
    const begin = "v1:c2FsdHNhbHQ=";
    const trimmed = `${begin}:${(await passphraseCipher(passphrase.trim(), `${begin}:`)).seal("pulumi")}`;
    await writeFile(named, `${passphrase}\n`);
    const base = branch({
      "Pulumi.live.yaml": `encryptionsalt: ${trimmed}\nconfig: {gitlab-workspaces:production: true}`,
    });
    assert.notEqual(await refused({ PULUMI_CONFIG_PASSPHRASE_FILE: named }, base), undefined);
    await rm(folder, { recursive: true });
  });

  it("leave alone who has another passphrase or none, and stacks that are not in production", async () => {
    const live = branch({ "Pulumi.live.yaml": file("gitlab-workspaces:production: true") });
    assert.equal(await refused({ PULUMI_CONFIG_PASSPHRASE: "another" }, live), undefined);
    assert.equal(await refused({}, live), undefined);
    const staging = branch({ "Pulumi.staging.yaml": file("gitlab-workspaces:production: false") });
    assert.equal(await refused({ PULUMI_CONFIG_PASSPHRASE: passphrase }, staging), undefined);
    const strange = branch({
      "Pulumi.a.yaml": "%",
      "Pulumi.b.yaml": "encryptionsalt: [1]\nconfig: {gitlab-workspaces:production: true}",
    });
    assert.equal(await refused({ PULUMI_CONFIG_PASSPHRASE: passphrase }, strange), undefined);
  });
});

describe("What a merge request begins at", () => {
  let folder: string;
  const git = (...words: string[]): string => execFileSync("git", words, { cwd: folder, encoding: "utf8" }).trim();

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "merge-request-base-"));
    git("init", "--quiet");
    git("config", "user.name", "A Person");
    git("config", "user.email", "person@example.test");
    await writeFile(join(folder, "a"), "one");
    git("add", "--all");
    git("commit", "--quiet", "--message", "one");
  });

  afterEach(() => rm(folder, { recursive: true }));

  it("tells the files that changed, by whatever names, and what they were", async () => {
    const sha = git("rev-parse", "HEAD");
    await writeFile(join(folder, "a"), "two");
    await writeFile(join(folder, 'stra\u00dfe "x"'), "new");
    git("add", "--all");
    git("commit", "--quiet", "--message", "two");
    const base = await baseOf(sha, folder);
    assert.deepEqual([...base.changed].sort(), ["a", 'stra\u00dfe "x"']);
    assert.equal(await base.file("a"), "one");
    assert.equal(await base.file("b"), undefined);
  });

  it("is refused when it is no commit, or none that the clone has", async () => {
    await assert.rejects(baseOf("--output=x", folder), /CI_MERGE_REQUEST_DIFF_BASE_SHA is no commit/);
    await assert.rejects(baseOf("1".repeat(40), folder), /cannot compare this clone with 1{40}.*\n.*GIT_DEPTH: "0"/);
  });
});
