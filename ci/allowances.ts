import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { z } from "zod";
import { Refused } from "../local/failure";

/** One exception from a policy, which somebody has written down and reviewed. */
const allowance = z.strictObject({
  /** Name of the policy. */
  policy: z.string().min(1),
  /** Name of the stack; every stack when absent. */
  stack: z.string().min(1).optional(),
  /** What it is for: a resource's name in the program, a package's name, an advisory's id. */
  name: z.string().min(1),
  reason: z.string().min(10),
  /** Last day on which it holds, `YYYY-MM-DD`, UTC. */
  until: z.iso.date(),
});

export type Allowance = Readonly<z.infer<typeof allowance>>;

/** Where the allowances stand. */
export const allowancesFile = "ci/allowances.yaml";

/**
 * Reads the allowances.
 * @throws Refused when the file is none, with all faults at once.
 */
export function readAllowances(folder = join(__dirname, "..")): Allowance[] {
  let content: unknown;
  try {
    content = parse(readFileSync(join(folder, allowancesFile), "utf8"));
  } catch {
    throw new Refused(
      `${allowancesFile} cannot be read as YAML. Your editor shows where; or: npx prettier --check ${allowancesFile}`,
    );
  }
  const { success, data, error } = z.array(allowance).safeParse(content ?? []);
  if (success) return data;
  throw new Refused(`${allowancesFile} is no list of allowances:\n${z.prettifyError(error)}`);
}

/** The allowance that covers what a policy has found. @param now an allowance of yesterday covers nothing. */
export function allowanceOf(
  allowances: readonly Allowance[],
  found: { readonly policy: string; readonly stack?: string; readonly name: string },
  now: Date,
): Allowance | undefined {
  return allowances.find(
    ({ policy, stack, name, until }) =>
      policy === found.policy &&
      name === found.name &&
      (stack === undefined || stack === found.stack) &&
      until >= now.toISOString().slice(0, 10),
  );
}

/** Whether an allowance covers what a policy has found. */
export function isAllowed(...about: Parameters<typeof allowanceOf>): boolean {
  return allowanceOf(...about) !== undefined;
}
