import { visible } from "../src/config/faults";
import type { Change, Operation, Outlook } from "./changes";
import type { ConfigChanges } from "./config-changes";
import { type Consequence, consequences } from "./consequences";
import type { Violation } from "./policy/violations";

/** How a preview came about, which decides what it can know. */
export type Source =
  | { readonly kind: "preview" }
  /** Two plans on an empty account; `why` no key is used, `alone` why there is no plan to compare with. */
  | { readonly kind: "plan"; readonly why: "production" | "fork"; readonly alone?: string };

/** Where the preview was made. */
export interface Origin {
  readonly stack: string;
  /** The commit that was previewed. */
  readonly commit: string;
  /** URL of the job; absent outside of a pipeline. */
  readonly job?: string;
}

/** What there is to tell of a stack that could be previewed. */
export interface Previewed {
  readonly source: Source;
  readonly outlook: Outlook;
  readonly config: ConfigChanges;
  readonly violations: readonly Violation[];
  /** What the program warns of. */
  readonly warnings: readonly string[];
}

/** How many resources change: `{"create": 1, "update": 2, "delete": 3}`, as GitLab's Terraform report has it. A replacement is both. */
export interface Counts {
  readonly create: number;
  readonly update: number;
  readonly delete: number;
}

/** https://docs.gitlab.com/user/infrastructure/iac/mr_integration/ */
export function counts(changes: readonly Change[]): Counts {
  const number = (...ops: readonly Operation[]): number => changes.filter(({ op }) => ops.includes(op)).length;
  return {
    create: number("create", "import", "replace"),
    update: number("update"),
    delete: number("delete", "replace"),
  };
}

/** Changes that are listed one by one: a first deployment has sixty. */
const listed = 200;

/** What the comment of a stack says, in Markdown: what takes something from people first and loudest. */
export function comment(origin: Origin, previewed: Previewed): string {
  const { source, outlook, config, violations, warnings } = previewed;
  const { changes } = outlook;
  const told = [...consequences(outlook), ...certificates(config)];
  const taken = changes.filter(({ op }) => op === "replace" || op === "delete");
  const broken = violations.filter(({ allowance }) => allowance === undefined);
  const others = changes.filter((change) => !taken.includes(change));
  return paragraphs(
    `### Stack ${code(origin.stack)}: ${headline(changes)}`,
    origins(origin, sourceText(source)),
    alert("caution", "What people lose", told.filter(({ level }) => level === "danger").map(consequence)),
    alert("caution", "Policies refuse this", broken.map(violation)),
    section("Replaced or deleted", shortened(taken)),
    alert("note", "What people see", told.filter(({ level }) => level === "notice").map(consequence)),
    section(
      "Allowed for now, by ci/allowances.yaml",
      violations.flatMap((found) =>
        found.allowance === undefined
          ? []
          : [`${violation(found)}, until ${code(found.allowance.until)}: ${code(found.allowance.reason)}`],
      ),
    ),
    section(
      "Warnings",
      warnings.map((warning) => `- ${code(warning)}`),
    ),
    section("Stack config", configLines(config)),
    details(taken.length === 0 ? "All changes" : "All other changes", others),
  );
}

/** What the comment of a stack says whose preview failed. @param errors the engine's own words. */
export function failedComment(origin: Origin, source: Source | undefined, errors: readonly string[]): string {
  return paragraphs(
    `### Stack ${code(origin.stack)}: the preview failed`,
    origins(origin, source === undefined ? "" : sourceText(source)),
    "> [!caution] Nothing is known of what this merge request does to the stack",
    block(errors.slice(0, 20).join("\n\n").slice(0, 20_000)),
  );
}

/** What the comment of a stack says that an earlier commit of the merge request changed and this one does not. */
export function unaffectedComment(origin: Origin): string {
  return paragraphs(
    `### Stack ${code(origin.stack)}: not affected`,
    origins(origin, ""),
    "Nothing that this stack is made from differs from the target branch.",
  );
}

function headline(changes: readonly Change[]): string {
  const words: readonly (readonly [Operation, string])[] = [
    ["replace", "replaced"],
    ["delete", "deleted"],
    ["update", "changed"],
    ["create", "new"],
    ["import", "adopted"],
  ];
  const parts = words.flatMap(([op, word]) => {
    const number = changes.filter((change) => change.op === op).length;
    if (number === 0) return [];
    const text = `${number} ${word}`;
    return [op === "replace" || op === "delete" ? `**${text}**` : text];
  });
  return parts.length === 0 ? "no changes" : parts.join(", ");
}

function consequence({ text, values }: Consequence): string {
  return `- ${text}${values.length === 0 ? "" : ` (${values.map(code).join(", ")})`}`;
}

function certificates({ certificates: exchanged }: ConfigChanges): Consequence[] {
  return exchanged.map(({ before, after }) => ({
    level: "notice",
    text: "The certificate is exchanged, and browsers see the new one at once. Before and after:",
    values: [before, after],
  }));
}

function violation({ policy, name, message }: Violation): string {
  return `- **${policy}**, ${code(name)}: ${code(message)}`;
}

function configLines({ settings, secrets }: ConfigChanges): string[] {
  return [
    ...settings.map((key) => `- ${code(key)} changes`),
    ...secrets.map((key) => `- ${code(key)} is a secret that is set, exchanged or removed; its value is not shown`),
  ];
}

function line({ op, type, name, paths, causes }: Change): string {
  const because = op === "replace" && causes.length > 0 ? `, because of ${causes.map(code).join(", ")}` : "";
  const rest = paths.filter((path) => !causes.includes(path));
  const also =
    op === "update" && rest.length > 0
      ? `: ${rest.slice(0, 12).map(code).join(", ")}${rest.length > 12 ? " and more" : ""}`
      : "";
  return `- ${op} ${code(type)} ${code(name)}${because}${also}`;
}

function shortened(changes: readonly Change[]): string[] {
  return [
    ...changes.slice(0, listed).map(line),
    ...(changes.length > listed ? [`- and ${changes.length - listed} more`] : []),
  ];
}

function details(title: string, changes: readonly Change[]): string {
  if (changes.length === 0) return "";
  const order: readonly Operation[] = ["replace", "delete", "update", "create", "import"];
  const sorted = [...changes].sort((one, other) => order.indexOf(one.op) - order.indexOf(other.op));
  return [`<details><summary>${title}: ${changes.length}</summary>`, "", ...shortened(sorted), "", "</details>"].join(
    "\n",
  );
}

function sourceText(source: Source): string {
  if (source.kind === "preview")
    return "Previewed with `pulumi preview` against the stack's state; `up` may find what only a cluster or a cloud knows.";
  const why = source.why === "production" ? "This is a production stack" : "This merge request comes from a fork";
  return (
    `${why}: its job holds nothing that opens the stack's secrets. Everything is planned with placeholder secrets on an empty account, ` +
    (source.alone === undefined
      ? "before and after the merge request, and the two are compared. No cluster and no cloud was asked, so what happened behind the program's back is not in it."
      : `so everything is new. There is nothing to compare it with: ${code(source.alone)}`)
  );
}

/** Which commit it is of, and how it came about: nobody is to take it for more than it is. */
function origins({ commit, job }: Origin, how: string): string {
  const where = job === undefined || !/^https?:\/\/[^\s()<>]+$/.test(job) ? "" : ` in [this job](${job})`;
  return `<sub>Commit ${code(commit.slice(0, 12))}${where}.${how === "" ? "" : ` ${how}`}</sub>`;
}

/** https://docs.gitlab.com/user/markdown/#alerts */
function alert(kind: "caution" | "note", title: string, lines: readonly string[]): string {
  return lines.length === 0 ? "" : [`> [!${kind}] ${title}`, ...lines.map((text) => `> ${text}`)].join("\n");
}

function section(title: string, lines: readonly string[]): string {
  return lines.length === 0 ? "" : [`**${title}**`, "", ...lines].join("\n");
}

/**
 * Text of whoever wrote the merge request, on one line and between backticks: in code GitLab runs no quick action, pings
 * nobody and loads nothing. https://docs.gitlab.com/user/project/quick_actions/
 */
function code(text: string): string {
  const line = text.split(/\s*\n\s*/).join(" ");
  const shown = visible(line).replaceAll("`", "'").trim();
  return `\`${shown.length > 500 ? `${shown.slice(0, 497)}...` : shown || " "}\``;
}

/** The same for text of several lines. */
function block(text: string): string {
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map(([fence]) => fence.length));
  const fence = "`".repeat(longest + 1);
  return [`${fence}text`, ...text.split("\n").map((each) => each.split("\t").map(visible).join("\t")), fence].join(
    "\n",
  );
}

function paragraphs(...all: readonly string[]): string {
  return `${all.filter((text) => text !== "").join("\n\n")}\n`;
}
