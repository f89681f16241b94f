import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { localEngine } from "../../local/engine";
import { claimFolder } from "../../local/folder";

/**
 * Records what a release of the program leaves behind: the state and the stack config of its local stack, in a folder of
 * the release's name beside this file. README.md tells how to call it.
 * @param checkout working tree of the release, with its dependencies installed and its tag checked out.
 */
async function record(checkout: string): Promise<void> {
  const { stdout: release } = await execa("git", ["describe", "--tags", "--exact-match"], { cwd: checkout });
  const engine = localEngine({ folder: await mkdtemp(join(tmpdir(), "gitlab-workspaces-recorded-")) });
  const npm = (script: string) =>
    execa("npm", ["run", "--silent", script], {
      cwd: checkout,
      env: { GITLAB_WORKSPACES_HOME: engine.root },
      stdout: script === "env" ? "pipe" : "inherit",
      stderr: "inherit",
    });
  await claimFolder(engine);
  await writeFile(engine.passphrase, await readFile(join(__dirname, "passphrase")));
  try {
    await npm("start");
    const { stdout: exports } = await npm("env");
    const script = `${exports}\nnpx pulumi stack export`;
    const { stdout: state } = await execa("bash", ["-c", script], { cwd: checkout, stderr: "inherit" });
    const folder = join(__dirname, release);
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, "state.json"), `${state}\n`);
    await writeFile(join(folder, "Pulumi.local.yaml"), await readFile(engine.stackConfig));
  } finally {
    await npm("destroy");
    await rm(engine.root, { recursive: true, force: true });
  }
}

const [checkout] = process.argv.slice(2);
if (checkout === undefined) throw new Error("usage: npx tsx test/recorded/record.ts <checkout of a release>");
void record(checkout);
