import { visible } from "../src/config/faults";
import { Failure, Refused } from "./failure";
import { interruption } from "./interruption";
import { preview } from "./plan/preview";
import { header, report } from "./plan/report";
import { stackCopy } from "./plan/stack-copy";
import { readStackFile } from "./plan/stack-file";
import { said, summary } from "./plan/summary";
import type { Progress } from "./progress";

/** In what form a plan is printed; for people to read over when nothing is said. */
export interface PlanOptions {
  readonly json?: true;
  /** The engine's own text, every input of every resource. */
  readonly full?: true;
}

/**
 * `npm run plan -- <stack>`: what a stack would make, for anybody who has its file alone. The real engine runs the program
 * against an account in which there is nothing, with generated secrets.
 * @returns what goes to standard output.
 * @throws Refused with the program's own words when it refuses the stack, and when the file is none.
 */
export async function plan(named: string | undefined, options: PlanOptions, progress: Progress): Promise<string> {
  if (options.json && options.full)
    throw new Refused("--json and --full are two forms of one plan: choose one of them.");
  const copy = await stackCopy(await readStackFile(named), new Date());
  const { succeeded, events, text } = await preview(copy, progress);
  if (interruption.signal.aborted) return "";
  if (!succeeded) {
    const errors = said(events, "error");
    if (errors.length === 0) throw new Failure(`The engine ended without a plan:\n${text}`);
    throw new Refused(
      lines(
        ...said(events, "warning").map((warning) => `warning: ${warning}`),
        ...copy.warnings.map((warning) => `warning: ${warning}`),
        ...errors,
        ...copy.missing.map(({ key, command }) => `${key} is not set either. Before \`pulumi up\`:\n  $ ${command}`),
      ),
    );
  }
  const result = summary(copy, events);
  if (options.json) return JSON.stringify(result, null, 2);
  return options.full ? [...header(result), "", lines(text)].join("\n") : report(result);
}

/** Paragraphs without what a terminal would obey: the words may be those of whoever wrote the file. */
function lines(...paragraphs: readonly string[]): string {
  const line = (text: string): string => text.split("\t").map(visible).join("\t");
  return paragraphs.join("\n\n").split("\n").map(line).join("\n");
}
