import assert from "node:assert/strict";
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { remove, type StackState, withScratch } from "../../../ci/review-backend";
import { Failure } from "../../../local/failure";
import { versions } from "../../../local/toolchain/toolchain";

const urn = (type: string, name: string): string => `urn:pulumi:review-mr-7::gitlab-workspaces::${type}::${name}`;

describe("The stack of a review environment", () => {
  let home: string;
  const before_ = process.env["PULUMI_HOME"];
  const log = console.log;

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

  /** Removes a stack of this state with a program in the place of the CLI, which knows nothing else. */
  async function removed(state: StackState): Promise<{ commands: string[]; lines: string[]; message: string }> {
    const folder = join(home, "versions", versions.pulumi, "bin");
    const told = join(home, "commands");
    await mkdir(folder, { recursive: true });
    await writeFile(
      join(folder, "pulumi"),
      `#!${process.execPath}
        const words = process.argv.slice(2);
        require("node:fs").appendFileSync(${JSON.stringify(told)}, words.slice(0, 2).join(" ") + "\\n");
        if (words[1] === "export") console.log(${JSON.stringify(JSON.stringify({ deployment: state }))});`,
    );
    await chmod(join(folder, "pulumi"), 0o755);
    const lines: string[] = [];
    console.log = (line: string) => lines.push(...line.split("\n"));
    const error: unknown = await withScratch({}, async (scratch) => {
      await remove(scratch, "review-mr-7", { evenWithWorkspaces: false });
    }).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    console.log = log;
    assert.ok(error === undefined || error instanceof Failure, String(error));
    return {
      commands: (await readFile(told, "utf8")).trim().split("\n"),
      lines,
      message: error === undefined ? "" : error.message,
    };
  }

  it("is removed without a word about what no job was making", async () => {
    const { message, commands } = await removed({
      resources: [{ urn: urn("t", "a"), type: "t" }],
      pending_operations: [{ type: "deleting", resource: { urn: urn("t", "a") } }],
    });
    assert.equal(message, "");
    assert.deepEqual(commands, ["stack export", "refresh --yes", "destroy --yes", "stack rm"]);
  });

  it("is removed, and the job fails with what a killed one was making, how to find it and whose it is", async () => {
    const { message, commands, lines } = await removed({
      pending_operations: [
        { type: "creating", resource: { urn: urn("pkg:index:Own$kubernetes:core/v1:Namespace", "proxy::\u001b") } },
        { type: "updating", resource: { urn: urn("t", "updated") } },
      ],
    });
    assert.deepEqual(commands, ["stack export", "refresh --yes", "destroy --yes", "stack rm"]);
    assert.match(message, /^The stack review-mr-7 is gone[^]*POSSIBLY LEFT ON THE CLUSTER/);
    assert.match(message, /^ {2}kubernetes:core\/v1:Namespace proxy::\\u\{1b\}$/m);
    assert.match(message, /^ {2}kubectl get namespaces,ingressclasses,.* \| grep -w mr-7$/m);
    assert.doesNotMatch(message, /updated/);
    assert.ok(
      lines.some((line) => line.startsWith("POSSIBLY LEFT")),
      "said before the first thing is touched, too",
    );
  });
});
