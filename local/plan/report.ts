import { visible } from "../../src/config/faults";
import type { PlannedResource, Summary } from "./summary";

/** A plan for people: what it is, what would be made, and what has to be known about it. */
export function report(plan: Summary): string {
  const counted = Object.values(plan.counts).reduce((sum, count) => sum + count, 0);
  return [
    [...header(plan), `${count(counted, "resource")} to create, in ${count(plan.parts.length, "part")}.`].join("\n"),
    ...plan.parts.map(({ part, resources }) => [visible(part), ...table(resources)].join("\n")),
    section("Warnings", plan.warnings),
    section("Outputs", outputs(plan)),
    section("Placeholders: what stands in these keys was replaced by something generated", plan.placeholders),
    section(
      "Left out",
      plan.leftOut.map(({ key, why }) => `${key}: ${why}`),
    ),
    section(
      "Missing, and generated for this plan only: `pulumi up` refuses the stack until they are set",
      plan.missing.map(({ command }) => `$ ${command}`),
    ),
  ]
    .filter((paragraph) => paragraph !== "")
    .join("\n\n");
}

/** What every form of a plan begins with: it must not be taken for more than it is. */
export function header({ stack, file }: Pick<Summary, "stack" | "file">): string[] {
  return [
    visible(
      `Plan of the stack "${stack}" (${file}) on an empty stand-in account, with placeholder secrets: everything is "create".`,
    ),
    "No cluster and no cloud was asked anything: what only they know, such as quotas and names that are taken, is not in it.",
  ];
}

function table(resources: readonly PlannedResource[]): string[] {
  if (resources.length === 0) return ["  nothing to make"];
  const width = Math.max(...resources.map(({ kind }) => kind.length));
  return resources.map(({ op, kind, name, as, facts }) => {
    const words = Object.entries(facts).map(([fact, value]) => `${fact} ${value}`);
    const details = [...(op === "create" ? [] : [op]), ...words].join(", ");
    return visible(`  ${kind.padEnd(width)}  ${as ?? name}${details && `  (${details})`}`);
  });
}

function outputs(plan: Summary): string[] {
  return [
    ...Object.entries(plan.outputs).map(([name, value]) =>
      typeof value === "string" ? `${name}: ${value}` : `${name}: known; --json shows it`,
    ),
    ...(plan.unknownOutputs.length === 0 ? [] : [`known after up: ${plan.unknownOutputs.join(", ")}`]),
    ...(plan.secretOutputs.length === 0 ? [] : [`secret: ${plan.secretOutputs.join(", ")}`]),
  ];
}

function section(title: string, lines: readonly string[]): string {
  return lines.length === 0
    ? ""
    : [title, ...lines.flatMap((line) => line.split("\n")).map((line) => `  ${visible(line)}`)].join("\n");
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? "" : "s"}`;
}
