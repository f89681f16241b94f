import type { Diagnosis } from "./doctor";
import type { Finding } from "./finding";

const width = 100;

/** What goes to standard output for people: every finding, and one line at the end. */
export function report({ findings, checks, leftOut }: Diagnosis, seconds: number): string {
  return [
    ...findings.map(paragraph),
    ...(leftOut === undefined ? [] : [wrapped(leftOut, "").join("\n")]),
    summary(findings, checks.length, seconds),
  ].join("\n\n");
}

/** 0: nothing found; 1: warnings only; 2: errors. */
export function exitCode(findings: readonly Finding[]): 0 | 1 | 2 {
  if (findings.some(({ severity }) => severity === "error")) return 2;
  return findings.length > 0 ? 1 : 0;
}

function paragraph({ code, severity, title, seen, meaning, fix }: Finding): string {
  return [
    `${code} ${severity}: ${title}`,
    ...seen.split("\n").flatMap((line) => wrapped(visible(line), "    ")),
    ...wrapped(meaning, "  "),
    ...fix.map((command) => `  $ ${visible(command)}`),
    `  docs/doctor.md#${code.toLowerCase()}`,
  ].join("\n");
}

function summary(findings: readonly Finding[], checks: number, seconds: number): string {
  if (findings.length === 0) return `Nothing found: ${count(checks, "check")} in ${Math.round(seconds)} s.`;
  return (["error", "warning"] as const)
    .map((severity) => [findings.filter((finding) => finding.severity === severity).length, severity] as const)
    .filter(([found]) => found > 0)
    .map(([found, severity]) => count(found, severity))
    .join(", ");
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? "" : "s"}`;
}

/** Without what a terminal would obey: some of the words come from the cluster. */
function visible(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, "?");
}

function wrapped(text: string, indent: string): string[] {
  const lines: string[] = [];
  let line = indent;
  for (const word of text.split(" ")) {
    if (line.trim() !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = indent;
    }
    line += line.length === indent.length ? word : ` ${word}`;
  }
  return [...lines, line];
}
