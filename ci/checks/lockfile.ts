import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { Failure } from "../../local/failure";

/** One package of a lockfile: https://docs.npmjs.com/cli/v10/configuring-npm/package-lock-json#packages */
const entry = z.object({
  version: z.string().optional(),
  /** `SEE LICENSE IN <file>`, an SPDX expression, or what anybody ever put there. */
  license: z.unknown().optional(),
  /** Only needed to work on the program. */
  dev: z.boolean().optional(),
  link: z.boolean().optional(),
});

const lockfile = z.object({
  lockfileVersion: z.union([z.literal(2), z.literal(3)]),
  packages: z.record(z.string(), entry),
});

/** One installed package. */
export interface Package {
  readonly name: string;
  readonly version: string;
  readonly license: unknown;
  readonly dev: boolean;
  /** Where it is installed, which is its key in the lockfile: `node_modules/a/node_modules/b`. */
  readonly place: string;
  /** Where it stands in the lockfile. */
  readonly line: number;
}

/** Name of the lockfile in a project's folder. */
export const lockfileName = "package-lock.json";

/**
 * The packages of a project's lockfile, without the project itself.
 * @throws Failure when there is none, or one of a form that npm wrote before version 7.
 */
export async function readLockfile(folder: string): Promise<Package[]> {
  const remedy = "To write it anew: npm install --package-lock-only";
  let text: string;
  let content: unknown;
  try {
    text = await readFile(join(folder, lockfileName), "utf8");
    content = JSON.parse(text);
  } catch {
    throw new Failure(`${lockfileName} is missing, or no JSON. ${remedy}`);
  }
  const { success, data, error } = lockfile.safeParse(content);
  if (!success)
    throw new Failure(`${lockfileName} is not what npm 7 or later writes. ${remedy}\n${z.prettifyError(error)}`);
  const lines = new Map(
    text.split("\n").map((line, index) => [/^ {4}("node_modules\/.*"): \{$/.exec(line)?.[1], index + 1]),
  );
  return Object.entries(data.packages)
    .filter(([place, { link }]) => place !== "" && link !== true)
    .map(([place, { version = "", license, dev = false }]) => ({
      name: place.replace(/^.*node_modules\//, ""),
      version,
      license,
      dev,
      place,
      line: lines.get(JSON.stringify(place)) ?? 1,
    }));
}
