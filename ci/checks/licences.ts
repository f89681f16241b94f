import satisfies from "spdx-satisfies";
import { visible } from "../../src/config/faults";
import { type Allowance, isAllowed } from "../allowances";
import type { Package } from "./lockfile";

/** Name of the policy: what else is allowed has this name in ci/allowances.yaml, and is `<package>@<version>` there. */
export const licencePolicy = "no-unlisted-licence";

/** Licences that ask for nothing but to be named, by their SPDX identifiers: https://spdx.org/licenses/ */
const listed = [
  "0BSD",
  "Apache-2.0",
  "BlueOak-1.0.0",
  "BSD-2-Clause",
  "BSD-3-Clause",
  "CC-BY-3.0",
  "CC0-1.0",
  "ISC",
  "MIT",
  "PSF-2.0",
  "Python-2.0",
  "Unlicense",
] as const;

/** A package under a licence that nobody has agreed to. */
export interface Unlisted {
  readonly package: Package;
  /** `<package>@<version>`, under which it can be allowed: another version may be under another licence. */
  readonly name: string;
  readonly rule: string;
}

/** The packages whose licence is neither listed nor allowed. */
export function unlistedLicences(
  packages: readonly Package[],
  allowances: readonly Allowance[],
  now: Date,
): Unlisted[] {
  return packages.flatMap((one) => {
    const name = visible(`${one.name}@${one.version}`);
    const rule = fault(one.license);
    if (rule === undefined || isAllowed(allowances, { policy: licencePolicy, name }, now)) return [];
    return [{ package: one, name, rule }];
  });
}

/** What is wrong with a licence; undefined when it is listed. */
function fault(license: unknown): string | undefined {
  if (license === undefined) return "names no licence";
  if (typeof license !== "string") return "names a licence in a form that npm gave up in 2014";
  try {
    return satisfies(license, listed) ? undefined : `is under ${visible(license)}, which is not on the list`;
  } catch {
    return `says of its licence ${visible(JSON.stringify(license))}, which is no SPDX expression: somebody has to read it`;
  }
}
