import { execa } from "execa";
import { z } from "zod";
import { Failure } from "../../local/failure";
import { visible } from "../../src/config/faults";
import { type Allowance, isAllowed } from "../allowances";
import type { Package } from "./lockfile";

/** Name of the policy: an allowance for it names an advisory, `GHSA-....`. */
export const vulnerabilityPolicy = "no-known-vulnerability";

const severities = ["info", "low", "moderate", "high", "critical"] as const;

/** From here on it fails. */
const limit = "high";

/** https://docs.npmjs.com/cli/v10/commands/npm-audit and npm-audit-report's version 2, which npm has written since 7. */
const auditReport = z.object({
  auditReportVersion: z.literal(2),
  vulnerabilities: z.record(
    z.string(),
    z.object({
      /** Advisories of the package itself; a text is the name of another package through which it is vulnerable. */
      via: z.array(
        z.union([
          z.string(),
          z.object({
            title: z.string(),
            url: z.string(),
            severity: z.enum(severities),
            range: z.string(),
          }),
        ]),
      ),
      /** Where it is installed. */
      nodes: z.array(z.string()),
      fixAvailable: z.union([
        z.boolean(),
        z.object({ name: z.string(), version: z.string(), isSemVerMajor: z.boolean() }),
      ]),
    }),
  ),
  metadata: z.object({ dependencies: z.object({ total: z.number() }) }),
});

/** One advisory about an installed package. */
export interface Vulnerability {
  readonly package: Package;
  /** `GHSA-...`, or the address of an advisory that has no such name. */
  readonly advisory: string;
  readonly title: string;
  readonly url: string;
  readonly severity: (typeof severities)[number];
  /** The versions that it is about. */
  readonly range: string;
  readonly remedy: string;
  /** Whether it must not stay: severe, of a package that the program runs with, and not allowed. */
  readonly refused: boolean;
}

/**
 * Asks npm's registry which packages of the lockfile have known vulnerabilities.
 * @throws Failure when it does not answer: then nothing is known, which is not the same as nothing being wrong.
 */
export async function audit(
  folder: string,
  packages: readonly Package[],
  allowances: readonly Allowance[],
  now: Date,
): Promise<Vulnerability[]> {
  const { stdout, stderr } = await execa(
    "npm",
    // Offline, or told not to audit, npm asks nobody and reports that all is well.
    ["audit", "--json", "--audit=true", "--offline=false", "--package-lock-only", "--fetch-retries=2"],
    { cwd: folder, reject: false, stdin: "ignore", timeout: 180_000 },
  );
  return vulnerabilities(stdout, stderr, packages, allowances, now);
}

/** What an answer of `npm audit --json` says. @throws Failure when it is none. */
export function vulnerabilities(
  stdout: string,
  stderr: string,
  packages: readonly Package[],
  allowances: readonly Allowance[],
  now: Date,
): Vulnerability[] {
  const report = auditReport.safeParse(json(stdout)).data;
  if (report === undefined || (report.metadata.dependencies.total === 0 && packages.length > 0))
    throw new Failure(
      [
        `npm's registry did not say which packages have known vulnerabilities: ${reason(stdout, stderr)}`,
        "  Nothing is known now, so nothing is passed. When the registry is down, run the job again.",
        "  A mirror has to answer POST /-/npm/v1/security/advisories/bulk; where it does not, set the CI/CD variable",
        "  NPM_CONFIG_REGISTRY to one that does. To see the answer:",
        "  $ npm audit --package-lock-only",
      ].join("\n"),
    );
  const placed = new Map(packages.map((one) => [one.place, one]));
  return Object.entries(report.vulnerabilities).flatMap(([name, { via, nodes, fixAvailable }]) => {
    // One for each version that is installed, the ones that the program runs with first.
    const affected = nodes.flatMap((place) => placed.get(place) ?? []).sort((a, b) => Number(a.dev) - Number(b.dev));
    const [one] = affected;
    if (one === undefined)
      throw new Failure(`npm found fault with ${visible(name)}, which is not in package-lock.json.`);
    return via
      .filter((advisory) => typeof advisory !== "string")
      .map(({ title, url, severity, range }) => {
        const advisory = /GHSA(-[0-9a-z]{4}){3}/.exec(url)?.[0] ?? visible(url);
        const severe = severities.indexOf(severity) >= severities.indexOf(limit);
        return {
          package: one,
          advisory,
          title: visible(title),
          url: visible(url),
          severity,
          range: visible(range),
          remedy: remedy(fixAvailable),
          refused: severe && !one.dev && !isAllowed(allowances, { policy: vulnerabilityPolicy, name: advisory }, now),
        };
      });
  });
}

function remedy(fix: boolean | { name: string; version: string; isSemVerMajor: boolean }): string {
  if (fix === false) return "no version without it is known";
  if (fix === true) return "npm audit fix";
  return visible(`npm install ${fix.name}@${fix.version}${fix.isSemVerMajor ? ", a new major version" : ""}`);
}

/** What npm says instead of a report. */
function reason(stdout: string, stderr: string): string {
  const answer = z
    .object({ message: z.string().optional(), error: z.object({ summary: z.string().optional() }).optional() })
    .safeParse(json(stdout)).data;
  const said = [answer?.message, answer?.error?.summary, stderr.split("\n").find((line) => /npm err/i.test(line))];
  // A registry's address may have a password in it.
  return visible((said.find(Boolean) ?? "npm printed no report").replaceAll(/\/\/[^/\s]*@/g, "//...@"));
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
