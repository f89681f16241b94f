import { type Allowance, allowanceOf } from "../allowances";
import type { Outlook } from "../changes";
import { clusterTypes, type Context, resourceRules } from "./resource-rules";

/** Something that a policy refuses. */
export interface Violation {
  readonly policy: string;
  /** Name of the resource in the program. */
  readonly name: string;
  readonly message: string;
  /** The allowance that covers it, if any. */
  readonly allowance?: Allowance;
}

/** The policy that looks at what happens to a resource, which a policy pack is not told. */
export const clusterReplacement = {
  name: "no-cluster-replacement",
  description: "No cluster of a production stack is replaced or deleted.",
};

/**
 * Everything that the policies say of a stack as it would be and of what leads there.
 * @param context `uncompared` is why nobody knows what leads there, if nobody does.
 */
export function violations(
  { changes, resources }: Outlook,
  context: Context & { readonly uncompared?: string },
  allowances: readonly Allowance[],
  now: Date,
): Violation[] {
  const { stack, production, uncompared } = context;
  const taken = changes.filter(
    // A provider that is replaced stands for another cluster.
    ({ op, type }) =>
      production &&
      [...clusterTypes, "pulumi:providers:kubernetes"].includes(type) &&
      (op === "replace" || op === "delete"),
  );
  return [
    ...taken.map(({ op, name, causes }) => ({
      policy: clusterReplacement.name,
      name,
      message:
        `The cluster of a production stack would be ${op === "replace" ? "replaced" : "deleted"}` +
        `${causes.length === 0 ? "" : `, because of ${causes.join(", ")}`}: every workspace on it would be lost.`,
    })),
    ...(production && uncompared !== undefined
      ? [
          {
            policy: clusterReplacement.name,
            name: "comparison",
            message: `Nobody can tell whether the cluster would be replaced, because there is no plan to compare with: ${uncompared}.`,
          },
        ]
      : []),
    ...resources.flatMap((resource) =>
      resourceRules.flatMap((rule) =>
        rule.violations(resource, context).map((message) => ({ policy: rule.name, name: resource.name, message })),
      ),
    ),
  ].map((found) => {
    const allowance = allowanceOf(allowances, { ...found, stack }, now);
    return { ...found, ...(allowance === undefined ? {} : { allowance }) };
  });
}
