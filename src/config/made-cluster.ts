import { z } from "zod";
import { addresses, overlap, range } from "./text";

/** Settings of a cluster that mean nothing for one that exists already. */
export const onlyOfMadeClusters: readonly string[] = [
  ...["apiCidrs", "allowPublicApi", "kubernetesVersion", "releaseChannel", "nodes", "network", "maintenance"],
  ...["encryptionKey", "admins", "logDays", "protect", "labels"],
  ...["upgradeChannel", "systemNodes"],
];

export const existing = z
  .boolean()
  .default(false)
  .meta({ description: "Use the cluster of that name, which is there already, and make none.", examples: [true] });

export const apiCidrs = z
  .array(range(0, 32))
  .min(1)
  .exactOptional()
  .meta({
    description:
      "Address ranges from which the Kubernetes API can be reached: where people, and the runners of the pipelines, " +
      "come from. Required unless the cluster exists.",
    examples: [["192.0.2.0/24"]],
  });

export const allowPublicApi = z
  .boolean()
  .default(false)
  .meta({ description: "Allow 0.0.0.0/0, and all else that is wider than /8, in apiCidrs.", examples: [true] });

export const protect = z
  .boolean()
  .default(true)
  .meta({
    description:
      "Have Pulumi refuse to delete the stack, its cluster and its address. To destroy the stack: set it to false, " +
      "`pulumi up`, then `pulumi destroy`.",
    examples: [false],
  });

/** Fewest and most nodes. @param counted what they are counted over. @param most that the cloud has in one cluster. */
export const scale = (counted: string, most: number) => ({
  min: z
    .int()
    .min(1)
    .default(1)
    .meta({ description: `Fewest nodes${counted}.`, examples: [1] }),
  max: z
    .int()
    .min(1)
    .max(most)
    .default(5)
    .meta({ description: `Most nodes${counted}: what the bill can grow to.`, examples: [5] }),
});

/** As much of zod's context as a check of several settings together needs. */
export interface Refining {
  addIssue(issue: { code: "custom"; path: PropertyKey[]; message: string; params?: { corrected?: unknown } }): void;
}

/** Refuses a maximum below the minimum. */
export function refuseInverted({ min, max }: { readonly min: number; readonly max: number }, context: Refining): void {
  if (min <= max) return;
  context.addIssue({
    code: "custom",
    path: ["max"],
    message: `must not be less than min, which is ${min}`,
    params: { corrected: String(min) },
  });
}

/** Refuses ranges of one network that have addresses in common. */
export function refuseOverlaps(ranges: Readonly<Record<string, string>>, context: Refining): void {
  const all = Object.entries(ranges);
  all.forEach(([name, value], index) => {
    const other = all.slice(0, index).find(([, earlier]) => overlap(value, earlier));
    if (other !== undefined)
      context.addIssue({
        code: "custom",
        path: [name],
        message: `must not overlap with ${other[0]}, ${other[1]}`,
      });
  });
}

/** Refuses an API that is open to everybody, unless that is allowed by name. */
export function refuseOpenApi(
  {
    apiCidrs: ranges,
    allowPublicApi: allowed,
  }: { readonly apiCidrs?: readonly string[]; readonly allowPublicApi: boolean },
  context: Refining,
): void {
  // A few ranges that are as wide as this are everybody too.
  const open = ranges?.findIndex((cidr) => addresses(cidr) > addresses("0.0.0.0/8")) ?? -1;
  if (open < 0 || allowed) return;
  context.addIssue({
    code: "custom",
    path: ["apiCidrs", open],
    message:
      "opens the Kubernetes API to the internet: name the ranges that people and runners come from, or allow it by " +
      "allowPublicApi",
    params: { corrected: "192.0.2.0/24" },
  });
}

/** Days of the week, the first one first as ISO 8601 has it. */
export const days = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"] as const;

/** A window that comes every week on some days. Whole hours, UTC. */
export const weekly = {
  days: z
    .array(z.enum(days))
    .min(1)
    .default(["saturday", "sunday"])
    .meta({ description: "Days on which it begins.", examples: [["saturday", "sunday"]] }),
  hour: z
    .int()
    .min(0)
    .max(23)
    .default(1)
    .meta({ description: "Hour of its beginning, UTC.", examples: [1] }),
  hours: z
    .int()
    .min(4)
    .max(24)
    .default(6)
    .meta({ description: "How long it lasts.", examples: [6] }),
};
