import { join } from "node:path";
import { Failure } from "../../local/failure";
import { visible } from "../../src/config/faults";
import { allowancesFile, type Allowance } from "../allowances";
import { audit, type Vulnerability, vulnerabilityPolicy } from "./audit";
import { findings, type Found, writeReport } from "./code-quality";
import { licencePolicy, type Unlisted, unlistedLicences } from "./licences";
import { lockfileName, readLockfile } from "./lockfile";

/** Where the report goes. */
export const dependenciesReport = "reports/dependencies.json";

/**
 * Licences and known vulnerabilities of everything that a project's lockfile names, and a Code Quality report of both.
 * @returns what there is to say when nothing has to change.
 * @throws Failure with everything that has to; also when npm's registry does not answer, with what the licences say.
 */
export async function checkDependencies(folder: string, allowances: readonly Allowance[], now: Date): Promise<string> {
  const packages = await readLockfile(folder);
  const unlisted = unlistedLicences(packages, allowances, now);
  const asked = await audit(folder, packages, allowances, now).catch((error: unknown) => {
    if (error instanceof Failure) return error;
    throw error;
  });
  const vulnerable = asked instanceof Failure ? [] : asked;
  await writeReport(
    join(folder, dependenciesReport),
    findings([...unlisted.map(licenceFinding), ...vulnerable.map(vulnerabilityFinding)]),
  );
  const refused = vulnerable.filter((one) => one.refused);
  const faults = [
    ...(asked instanceof Failure ? [asked.message] : []),
    ...refused.map(vulnerabilityText),
    ...unlisted.map(({ name, rule, package: { line } }) =>
      [
        `${name} ${rule} (${lockfileName}:${line}).`,
        `  Use another package, or have it agreed to: ${allowance(licencePolicy, name)}`,
      ].join("\n"),
    ),
  ];
  if (faults.length > 0) throw new Failure(faults.join("\n\n"));
  const rest = vulnerable.map(
    ({ package: { name, version }, advisory, severity, title, package: { dev } }) =>
      `${visible(name)}@${visible(version)}: ${advisory}, ${severity}: ${title}${dev ? " (not in what the program runs with)" : ""}`,
  );
  return [
    `${packages.length} packages: every licence is listed or allowed, and no severe vulnerability is known that is not allowed.`,
    ...(rest.length === 0 ? [] : ["Known, and left to you:", ...rest.map((line) => `  ${line}`)]),
  ].join("\n");
}

function vulnerabilityText(one: Vulnerability): string {
  return [
    `${visible(one.package.name)}@${visible(one.package.version)} has a known vulnerability, ${one.severity}: ${one.title}`,
    `  ${one.url}, versions ${one.range}; ${lockfileName}:${one.package.line}`,
    `  To be rid of it: ${one.remedy}`,
    `  To live with it until a day: ${allowance(vulnerabilityPolicy, one.advisory)}`,
  ].join("\n");
}

function allowance(policy: string, name: string): string {
  return `{ policy: ${policy}, name: ${JSON.stringify(name)}, reason: ..., until: YYYY-MM-DD } in ${allowancesFile}`;
}

function licenceFinding({ name, rule, package: { line } }: Unlisted): Found {
  return { check: licencePolicy, description: `${name} ${rule}`, severity: "major", path: lockfileName, line };
}

function vulnerabilityFinding({ package: one, advisory, title, severity, refused }: Vulnerability): Found {
  return {
    check: vulnerabilityPolicy,
    description: visible(`${one.name}@${one.version}: ${advisory}, ${severity}: ${title}`),
    severity: refused ? "critical" : "info",
    path: lockfileName,
    line: one.line,
  };
}
