import { createHash } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname } from "node:path";

/** One finding, the way GitLab reads it: https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format */
export interface Finding {
  readonly description: string;
  readonly check_name: string;
  /** Tells it apart from every other one of the report, and says which it was in the report of another commit. */
  readonly fingerprint: string;
  readonly severity: "info" | "minor" | "major" | "critical" | "blocker";
  /** The file by its path in the repository. */
  readonly location:
    | { readonly path: string; readonly lines: { readonly begin: number } }
    | { readonly path: string; readonly positions: { readonly begin: { readonly line: number } } };
}

/** What a finding says about which line. */
export interface Found {
  readonly check: string;
  readonly description: string;
  readonly severity: Finding["severity"];
  readonly path: string;
  readonly line: number;
}

/** Findings of a report; one that comes twice is told apart by how often it came. */
export function findings(all: readonly Found[]): Finding[] {
  const seen = new Map<string, number>();
  return all.map(({ check, description, severity, path, line }) => {
    // Without the line: what stands above a finding moves it.
    const same = JSON.stringify([check, path, description]);
    const times = seen.get(same) ?? 0;
    seen.set(same, times + 1);
    return {
      description,
      check_name: check,
      fingerprint: createHash("sha256").update(`${same}${times}`).digest("hex"),
      severity,
      location: { path, lines: { begin: line } },
    };
  });
}

/** Writes a report, and the folder that it is in. */
export async function writeReport(file: string, report: readonly Finding[]): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, `${JSON.stringify(report, null, 2)}\n`);
}
