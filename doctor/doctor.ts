import { agentLogs, proxyLogs } from "./agents";
import { capacity } from "./capacity";
import { Unanswered } from "./cluster";
import { certificateCheck } from "./certificate";
import { dnsCheck } from "./dns";
import { type Finding, findings } from "./finding";
import type { Check, Patient, Surroundings } from "./patient";
import { proxyConfigCheck } from "./proxy-config";
import { certificates, hosts, references } from "./references";
import { releases } from "./releases";
import { gitlabCheck, redirectCheck } from "./sign-in";
import { admit, codes, type Environment } from "./stack";
import { proxyRights, workloads } from "./workloads";
import { workspaces } from "./workspaces";

const finding = findings(codes);

/** What is looked at through the cluster's API. What no `pulumi up` works without comes first, and its commands with it. */
export const clusterChecks: readonly Check[] = [
  capacity,
  releases,
  references,
  hosts,
  certificates,
  workloads,
  proxyRights,
  agentLogs,
  proxyLogs,
  proxyConfigCheck,
  workspaces,
];

/** What is looked at the way people reach it. */
export const networkChecks: readonly Check[] = [dnsCheck, certificateCheck, redirectCheck, gitlabCheck];

/** What the doctor has to say of a stack. */
export interface Diagnosis {
  /** Name of the stack; empty when not even that is known. */
  readonly stack: string;
  /** Names of the checks that were made. */
  readonly checks: readonly string[];
  /** What was not looked at, and why; absent when everything was. */
  readonly leftOut?: string;
  readonly findings: readonly Finding[];
}

/** How a stack is looked at. */
export interface Examination {
  /** Name of the stack; the one that is selected when absent. */
  readonly stack?: string | undefined;
  /** Whole environment of the commands that are run. */
  readonly environment: Environment;
  readonly surroundings: Surroundings;
  readonly checks?: readonly Check[];
  /** Told of each check that has ended, with the number of its findings. */
  readonly progress?: (check: string, found: number) => void;
}

/** Looks at a stack: changes nothing, and makes all checks at once. @throws Error when the pulumi command is not there. */
export async function examine({
  stack: named,
  environment,
  surroundings,
  checks = [...clusterChecks, ...networkChecks],
  progress = () => undefined,
}: Examination): Promise<Diagnosis> {
  const { stack, patient, findings: found } = await admit(named, environment);
  progress("stack", found.length);
  if (patient === undefined) return { stack, checks: ["stack"], findings: found };
  const pretended = surroundings.connect === undefined && isExample(patient.ingressAddress);
  const made = pretended ? checks.filter((check) => !networkChecks.includes(check)) : checks;
  const seen = await look(patient, surroundings, made, progress);
  return {
    stack,
    checks: ["stack", ...made.map(({ name }) => name)],
    ...(pretended
      ? {
          leftOut:
            `${patient.ingressAddress} is an address that nobody has, which only the local engine's simulated load ` +
            "balancer hands out: DNS, certificates as served, signing in and GitLab were not looked at.",
        }
      : {}),
    findings: [...found, ...seen],
  };
}

/**
 * Nobody has these addresses and names, so whoever answers at one is somebody else:
 * https://www.rfc-editor.org/rfc/rfc5737, https://www.rfc-editor.org/rfc/rfc6761#section-6.4
 */
export function isExample(address: string | undefined): boolean {
  return address !== undefined && /^(192\.0\.2|198\.51\.100|203\.0\.113)\.\d+$|\.invalid$/.test(address);
}

/** Makes all checks at once. What cannot be made is a finding, too; one for each reason. */
export async function look(
  patient: Patient,
  surroundings: Surroundings,
  checks: readonly Check[],
  progress: NonNullable<Examination["progress"]> = () => undefined,
): Promise<readonly Finding[]> {
  const failures: Failure[] = [];
  const results = await Promise.all(
    checks.map(async (check) => {
      try {
        const result = await check.run(patient, surroundings);
        progress(check.name, result.length);
        return result;
      } catch (error) {
        failures.push({ check: check.name, error });
        progress(check.name, 1);
        return [];
      }
    }),
  );
  return [...explained(failures, patient), ...results.flat()];
}

interface Failure {
  readonly check: string;
  readonly error: unknown;
}

/** One finding for each reason why checks could not be made: an API server that is away is one, not ten. */
function explained(failures: readonly Failure[], { stack, cluster }: Patient): Finding[] {
  const byReason = new Map<string, { checks: string[]; make: (checks: string) => Finding }>();
  const server = cluster.getCurrentCluster()?.server ?? "(no server)";
  for (const { check, error } of failures) {
    const { reason, make } = explain(error);
    const entry = byReason.get(reason) ?? { checks: [], make };
    entry.checks.push(check);
    byReason.set(reason, entry);
  }
  return [...byReason.values()].map(({ checks, make }) => make(checks.join(", ")));

  function explain(error: unknown): { reason: string; make: (checks: string) => Finding } {
    if (!(error instanceof Unanswered)) {
      const { name, code } = error as { name?: unknown; code?: unknown };
      // The message may repeat anything that was read.
      const what = [name, code].filter((part) => typeof part === "string" || typeof part === "number").join(" ");
      return { reason: what, make: (checks) => finding("GW008", `${checks}: ${what || "an error"}`, { stack }) };
    }
    const { deed, status, why } = error;
    if (status === 401) {
      return { reason: "401", make: () => finding("GW004", `${server} answers HTTP 401.`, { stack }) };
    }
    if (status === 403) {
      const { verb, resource, namespace } = deed;
      const scope = namespace === undefined ? "--all-namespaces" : `--namespace ${namespace}`;
      const where = namespace === undefined ? "on the cluster" : `in namespace ${namespace}`;
      return {
        reason: `${verb} ${resource} ${scope}`,
        make: (checks) =>
          finding("GW007", `Not allowed to ${verb} ${resource} ${where}. Left out: ${checks}.`, {
            verb,
            resource,
            scope,
            stack,
          }),
      };
    }
    return {
      reason: "unreachable",
      make: (checks) => finding("GW005", `${server}: ${why}. Left out: ${checks}.`, { server, stack }),
    };
  }
}
