import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";

/** Puts commands that do nothing on the PATH of every test of the suite it is called in. */
export function withCommands(...names: readonly string[]): void {
  const path = process.env["PATH"];
  let folder: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "gitlab-workspaces-commands-"));
    for (const name of names) await writeFile(join(folder, name), "#!/bin/sh\n", { mode: 0o755 });
    process.env["PATH"] = `${folder}${delimiter}${path ?? ""}`;
  });

  after(async () => {
    process.env["PATH"] = path;
    await rm(folder, { recursive: true });
  });
}
