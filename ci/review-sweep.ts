import { Failure, Refused } from "../local/failure";
import { show, visible } from "../src/config/faults";
import { type GitLab, gitlabOfJob } from "./gitlab";
import { required, type Variables } from "./job";
import { Interrupted } from "./pulumi";
import { type ListedStack, listWorkspaces, remove, type Scratch, stacks, tagsOf, withScratch } from "./review-backend";
import { iidOf, reviewTags } from "./review-settings";

/** A review environment in the backend. */
export interface Found {
  readonly stack: string;
  readonly iid: number;
  /** When the last deployment began; undefined when nobody knows. */
  readonly deployed: Date | undefined;
  /** GitLab project that it is tagged with, if any. */
  readonly project: string | undefined;
}

/** What becomes of a review environment, and why. */
export interface Verdict {
  readonly found: Found;
  readonly remove: boolean;
  readonly why: string;
  /** Whether people's workspaces do not keep it. */
  readonly evenWithWorkspaces: boolean;
}

const units: Readonly<Record<string, number>> = { hour: 3_600_000, day: 86_400_000, week: 604_800_000 };

/** Days: an environment that may live longer is none that anybody sweeps, and far beyond that no date is left. */
const longest = 3650;

/** Milliseconds in `72 hours`, `3 days` or `1 week`. @throws Refused for anything else, and for more than {@link longest}. */
export function duration(text: string): number {
  const [, number, unit = ""] = /^([1-9][0-9]*) (hour|day|week)s?$/.exec(text) ?? [];
  const milliseconds = Number(number) * (units[unit] ?? NaN);
  if (milliseconds <= longest * 86_400_000) return milliseconds;
  throw new Refused(
    `REVIEW_MAX_AGE is ${show(text)}. It must be a whole number of hours, days or weeks without a zero in front, ${longest} days ` +
      "at most, such as 72 hours, 3 days or 1 week: set the input review-max-age of the pipeline.",
  );
}

/** What the sweeper goes by. */
export interface Circumstances {
  /** IIDs of the open merge requests; undefined when GitLab did not tell: then none is taken for closed. */
  readonly open: ReadonlySet<number> | undefined;
  /** Number of this GitLab project. */
  readonly project: string;
  /** Milliseconds after the last deployment at which an environment goes, whatever happens. */
  readonly maxAge: number;
  readonly now: Date;
}

/** How long a stack may be without tags: a job makes it first and tags it then. */
const untagged = 3_600_000;

/**
 * Decides about one review environment. One of another project stays, and so does one that no project is tagged with until it
 * is an hour old: it may be another project's that is being made. After that it counts as this project's. A merge request
 * of which GitLab does not tell counts as open, and one whose age nobody knows is not too old.
 */
export function verdict(found: Found, { open, project, maxAge, now }: Circumstances): Verdict {
  const { iid, deployed, project: owner } = found;
  if (isForeign(found, project)) return keep(found, `it belongs to the GitLab project ${visible(owner ?? "")}`);
  const age = deployed === undefined ? undefined : now.getTime() - deployed.getTime();
  if (owner === undefined && (age ?? 0) < untagged)
    return keep(found, "it has no tags: it may be in the making, of whichever project");
  if (age !== undefined && age > maxAge)
    return { found, remove: true, why: `its last deployment began ${ago(age)} ago`, evenWithWorkspaces: true };
  if (open === undefined) return keep(found, "GitLab does not tell whether its merge request is open");
  if (!open.has(iid))
    return { found, remove: true, why: `merge request !${iid} is not open`, evenWithWorkspaces: false };
  return keep(found, `merge request !${iid} is open${age === undefined ? "" : `, deployed ${ago(age)} ago`}`);
}

function isForeign({ project: owner }: Found, project: string): boolean {
  return owner !== undefined && owner !== project;
}

function keep(found: Found, why: string): Verdict {
  return { found, remove: false, why, evenWithWorkspaces: false };
}

function ago(milliseconds: number): string {
  const hours = Math.max(0, Math.floor(milliseconds / 3_600_000));
  return hours < 48 ? `${hours} h` : `${Math.floor(hours / 24)} d`;
}

/** The review environments among the stacks of a backend: by name and nothing else. */
export function reviewsAmong(listed: readonly ListedStack[]): { stack: string; iid: number; lastUpdate?: string }[] {
  return listed.flatMap(({ name, lastUpdate }) => {
    const iid = iidOf(name);
    return iid === undefined ? [] : [{ stack: name, iid, ...(lastUpdate === undefined ? {} : { lastUpdate }) }];
  });
}

/**
 * When the last deployment began. The backend's own time is when the stack was last written to, which an attempt to remove
 * it does as well: it counts only where the tag is missing, is no time, or one to come, with which nothing would ever be old.
 */
export function deployedAt(
  tags: Readonly<Record<string, string>>,
  lastUpdate: string | undefined,
  now: Date,
): Date | undefined {
  for (const text of [tags[reviewTags.deployed], lastUpdate]) {
    const date = new Date(text ?? "");
    if (date.getTime() <= now.getTime()) return date;
  }
  return undefined;
}

/**
 * Removes the review environments of merge requests that are not open, and those whose last deployment is too long ago.
 * Without an answer of GitLab only age counts. One that cannot be removed does not keep the others.
 * @throws Refused when variables are missing; Failure in the end when GitLab did not answer or an environment is left.
 */
export async function sweep(variables: Variables): Promise<void> {
  const values = required(
    variables,
    "CI_API_V4_URL",
    "CI_PROJECT_ID",
    "MERGE_REQUEST_TOKEN",
    "PULUMI_BACKEND_URL",
    "REVIEW_MAX_AGE",
  );
  const maxAge = duration(values.REVIEW_MAX_AGE);
  const gitlab = gitlabOfJob(variables);
  await withScratch(variables, async (scratch) => {
    const faults = new Set<string>();
    // Before GitLab is asked: one whose merge request is opened meanwhile is not among them.
    const listed = await findAll(scratch, faults);
    const circumstances = async (): Promise<Circumstances> => ({
      open: await openMergeRequests(gitlab, faults),
      project: values.CI_PROJECT_ID,
      maxAge,
      now: new Date(),
    });
    const first = await circumstances();
    const verdicts = listed.map((found) => verdict(found, first));
    console.log(`${listed.length} review ${listed.length === 1 ? "environment" : "environments"} in the backend.`);
    for (const one of verdicts)
      console.log(`  ${one.found.stack}: ${one.remove ? "goes" : "stays"}, because ${one.why}.`);
    const foreign = listed.filter((found) => isForeign(found, values.CI_PROJECT_ID));
    if (foreign.length > 0) console.log(warning(foreign, values.CI_PROJECT_ID));
    for (const { found } of verdicts.filter((each) => each.remove)) {
      console.log(`\n== ${found.stack}`);
      try {
        // The ones before it took minutes, in which a merge request can be opened again and deployed.
        const [again] = await findAll(scratch, faults, found.stack);
        const now = again === undefined ? undefined : verdict(again, await circumstances());
        if (now === undefined) console.log("It is not there any more, or cannot be looked at.");
        else if (now.remove) await removed(scratch, now);
        else console.log(`It stays after all, because ${now.why}.`);
      } catch (error) {
        console.log(wordsOf(error));
        faults.add(`${found.stack} did not go, or not whole: why stands above, below == ${found.stack}.`);
      }
    }
    if (faults.size > 0) throw new Failure([...faults].join("\n\n"));
  });
}

/** @param faults gets what kept GitLab from telling. */
async function openMergeRequests(gitlab: GitLab, faults: Set<string>): Promise<ReadonlySet<number> | undefined> {
  try {
    return new Set(await gitlab.openMergeRequests());
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    faults.add(`Only age counted, because GitLab did not tell which merge requests are open:\n${error.message}`);
    return undefined;
  }
}

function warning(foreign: readonly Found[], project: string): string {
  return [
    "",
    `NOT OF THIS PROJECT, AND NOT SWEPT HERE: this is project ${visible(project)}. Whoever has them pays for them:`,
    ...foreign.map(({ stack, project: owner = "" }) => `  ${stack} of the GitLab project ${visible(owner)}`),
    "Merge requests of one number are in each other's way as long as two projects share a backend. Set PULUMI_BACKEND_URL to",
    "another bucket, or to another folder of it: docs/pipeline.md",
  ].join("\n");
}

/**
 * @param faults gets what kept the sweeper from looking at one.
 * @param only the stack to look at; all of them unless given.
 */
async function findAll(scratch: Scratch, faults: Set<string>, only?: string): Promise<Found[]> {
  const found: Found[] = [];
  for (const { stack, iid, lastUpdate } of reviewsAmong(await stacks(scratch))) {
    if (only !== undefined && stack !== only) continue;
    try {
      const tags = await tagsOf(scratch, stack);
      const deployed = deployedAt(tags, lastUpdate, new Date());
      found.push({ stack, iid, deployed, project: tags[reviewTags.project] });
    } catch (error) {
      faults.add(`${stack} is left. ${wordsOf(error)}`);
    }
  }
  return found;
}

/** What goes wrong with one environment is no reason to leave the others; a cancelled job is. */
function wordsOf(error: unknown): string {
  if (error instanceof Interrupted) throw error;
  return error instanceof Failure ? error.message : visible(String(error));
}

/** Removes one environment. @throws Failure as `remove` does. */
async function removed(scratch: Scratch, { found: { stack }, evenWithWorkspaces }: Verdict): Promise<void> {
  await remove(scratch, stack, { evenWithWorkspaces });
  console.log(`${stack} is gone from the cluster and from the backend.`);
  if (evenWithWorkspaces)
    console.log(
      [
        "Workspaces did not keep it. Their namespaces gl-rd-ns-* are left, if it had any: they are the agent's, which is gone, and",
        "hold people's files. Look whose they are before you delete one:",
        listWorkspaces,
      ].join("\n"),
    );
}
