import type { EksConfig } from "../config/schema";

/** A stretch of time that comes every week, in UTC. */
interface Weekly {
  /** When it begins, in the form of cron. */
  readonly schedule: string;
  /** Its length, as `18h`. */
  readonly duration: string;
}

const week = 7 * 24;

/** As ISO 8601 counts them. */
export const weekdays = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"] as const;

/**
 * The times of a week that belong to no maintenance: empty when all of it does.
 * @param maintenance begins on each of these days at this hour, UTC, and lasts so many hours.
 */
export function outsideMaintenance({ days: chosen, hour, hours }: EksConfig["maintenance"]): readonly Weekly[] {
  const maintained = new Set<number>();
  for (const day of chosen)
    for (let passed = 0; passed < hours; passed++) maintained.add((weekdays.indexOf(day) * 24 + hour + passed) % week);
  const outside = (at: number) => !maintained.has((at + week) % week);
  return Array.from({ length: week }, (_, at) => at)
    .filter((at) => outside(at) && !outside(at - 1))
    .map((begin) => {
      let length = 1;
      while (outside(begin + length)) length++;
      // Cron counts from Sunday.
      const day = (Math.floor(begin / 24) + 1) % 7;
      return { schedule: `0 ${begin % 24} * * ${day}`, duration: `${length}h` };
    });
}
