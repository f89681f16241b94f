import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { Failure, Refused } from "../local/failure";
import { show, visible } from "../src/config/faults";
import { required, type Variables } from "./job";

/** What became of a comment. */
export type Commented = "posted" | "updated" | "unchanged" | "not there";

/** One project in GitLab, as far as the jobs of a pipeline talk to it. */
export interface GitLab {
  /**
   * Makes `body` the one comment on merge request `iid` that has this marker. Comments of other authors are never
   * touched, whatever marker they carry; further ones of our own are removed. What is longer than GitLab takes is cut
   * off at its end.
   * @param marker an HTML comment, which GitLab does not show: see `previewMarker`.
   * @param options onlyExisting leaves a merge request without such a comment as it is.
   * @throws Failure that says what was asked, what GitLab answered and what to do.
   */
  comment(iid: number, marker: string, body: string, options?: { readonly onlyExisting?: boolean }): Promise<Commented>;
  /**
   * The IIDs of all open merge requests into the project.
   * One that is closed or merged meanwhile may be among them; one that is open never lacks.
   * @throws Failure as `comment` does: no answer is never an empty one.
   */
  openMergeRequests(): Promise<number[]>;
}

/** Where the project is, and who asks. */
export interface Access {
  /** `https://gitlab.example.com/api/v4`, as in CI_API_V4_URL. */
  readonly url: string;
  /** Number of the project. */
  readonly project: string;
  /** A project access token: it is sent in a header of requests to `url`, and appears nowhere else. */
  readonly token: string;
}

/** How long to wait for what. */
export interface Patience {
  /** Milliseconds until a request that nobody answers is given up. */
  readonly timeout: number;
  /** Milliseconds before each further attempt. */
  readonly pauses: readonly number[];
  /** The longest that GitLab may have us wait by Retry-After, in milliseconds. */
  readonly longest: number;
  wait(milliseconds: number): Promise<unknown>;
}

const patience: Patience = { timeout: 10_000, pauses: [1000, 2000, 4000], longest: 60_000, wait: sleep };

/** Characters of a note: https://docs.gitlab.com/api/notes/#create-new-merge-request-note */
const longestNote = 1_000_000;

/** The hidden line by which the comment about a stack is found again. */
export function previewMarker(stack: string): string {
  return `<!-- gitlab-workspaces preview: ${stack} -->`;
}

/**
 * The project that the job's merge request goes into, or that of the job when there is none.
 * @throws Refused that names the missing variables, or says what is wrong with one.
 */
export function gitlabOfJob(variables: Variables): GitLab {
  const { CI_API_V4_URL, CI_PROJECT_ID, MERGE_REQUEST_TOKEN } = required(
    variables,
    ...(["CI_API_V4_URL", "CI_PROJECT_ID", "MERGE_REQUEST_TOKEN"] as const),
  );
  return connect({
    url: CI_API_V4_URL,
    project: variables["CI_MERGE_REQUEST_PROJECT_ID"] ?? CI_PROJECT_ID,
    token: MERGE_REQUEST_TOKEN,
  });
}

/**
 * @param patient what differs from ten seconds per request and three further attempts.
 * @throws Refused when the token would go over an open line, or when a value cannot be what it should be.
 */
export function connect({ url, project, token }: Access, patient: Partial<Patience> = {}): GitLab {
  const { timeout, pauses, longest, wait } = { ...patience, ...patient };
  const base = baseUrl(url);
  const faults = [
    ...(/^[1-9]\d*$/.test(project) ? [] : [`CI_PROJECT_ID is ${show(project)}. It must be the project's number.`]),
    // A header takes nothing else, and fetch would repeat the token in its error.
    ...(/^[\x21-\x7e]+$/.test(token)
      ? []
      : ["MERGE_REQUEST_TOKEN has a space, a line break or a character that no token has. Set it anew."]),
  ];
  if (faults.length > 0) throw new Refused(faults.join("\n"));

  const request = async (method: string, path: string, body?: object): Promise<Answer> => {
    const said = `${method} ${base.host}${base.pathname}/${path.replace(/\?.*/, "")}`;
    let response: Response;
    let text: string;
    try {
      response = await fetch(`${base.href}/${path}`, {
        method,
        headers: {
          "PRIVATE-TOKEN": token,
          Accept: "application/json",
          ...(body && { "Content-Type": "application/json" }),
        },
        ...(body && { body: JSON.stringify(body) }),
        // A redirect would carry the token to whoever it names.
        redirect: "manual",
        signal: AbortSignal.timeout(timeout),
      });
      text = await response.text();
    } catch (error) {
      const code = codeOf(error);
      if (/CERT|SIGNATURE/.test(code))
        throw new Failure(
          `${said}: GitLab's certificate is not trusted here (${visible(code)}).\nWith a certificate authority of your own, have the ` +
            "job set NODE_EXTRA_CA_CERTS to a file with its certificate: $CI_SERVER_TLS_CA_FILE is one where the runner has it.",
        );
      throw new Passing(`${said}: ${noAnswer(error, timeout)}`, undefined);
    }
    if (response.ok) return { said, text, next: response.headers.get("x-next-page") ?? "" };
    const message = `${said}: ${response.status}${reason(text)}`;
    if (response.status === 429 || response.status >= 500) throw new Passing(message, retryAfter(response));
    throw new Denied(`${message}.\n${remedyOf(response)}`, response.status);
  };

  /** Does the whole of `work` anew after a failure that may pass, so that it never repeats what has been done. */
  const patiently = async <Result>(work: () => Promise<Result>): Promise<Result> => {
    for (const pause of [...pauses, undefined]) {
      try {
        return await work();
      } catch (error) {
        if (!(error instanceof Passing)) throw error;
        const asked = error.retryAfter ?? 0;
        if (pause === undefined || asked > longest) throw new Failure(`${error.message}.\n${passingRemedy(asked)}`);
        await wait(Math.max(pause, asked));
      }
    }
    throw new Error("unreachable");
  };

  const list = async <Item>(path: string, item: z.ZodType<Item>): Promise<{ items: Item[]; pages: number }> => {
    const items: Item[] = [];
    let pages = 0;
    for (let page = "1"; page !== ""; pages++) {
      const answer = await request("GET", `${path}&per_page=100&page=${page}`);
      items.push(...read(answer, z.array(item)));
      if (answer.next !== "" && !(Number(answer.next) > Number(page)))
        throw new Failure(`${answer.said}: page ${page} is followed by page ${show(answer.next)}.\n${notGitLab}`);
      page = answer.next;
    }
    return { items, pages };
  };

  let self: Promise<number> | undefined;
  const ownId = (): Promise<number> =>
    (self ??= request("GET", "user").then((answer) => read(answer, z.object({ id: z.number() })).id)).catch(
      (error: unknown) => {
        self = undefined;
        throw error;
      },
    );

  return {
    comment: (iid, marker, body, { onlyExisting = false } = {}) => {
      const notes = `projects/${project}/merge_requests/${iid}/notes`;
      const wanted = noteText(marker, body);
      return patiently(async () => {
        const author = await ownId();
        const { items } = await list(`${notes}?sort=asc&order_by=created_at`, note);
        // At its beginning only: further down a body has text of others.
        const [kept, ...further] = items.filter(
          (found) => found.author.id === author && !found.system && found.body.startsWith(marker),
        );
        for (const { id } of further) await removed(request("DELETE", `${notes}/${id}`));
        if (kept === undefined) {
          if (onlyExisting) return "not there";
          await request("POST", notes, { body: wanted });
          return "posted";
        }
        if (sameText(kept.body, wanted)) return "unchanged";
        await request("PUT", `${notes}/${kept.id}`, { body: wanted });
        return "updated";
      });
    },

    openMergeRequests: () =>
      patiently(async () => {
        const read = () =>
          list(
            `projects/${project}/merge_requests?state=opened&scope=all&order_by=created_at&sort=asc`,
            z.object({ iid: z.int().positive() }),
          );
        const { items, pages } = await read();
        // One that is closed between two pages moves the rest up, and one of them out of sight.
        if (pages > 1) items.push(...(await read()).items);
        return [...new Set(items.map(({ iid }) => iid))].sort((one, other) => one - other);
      }),
  };
}

const note = z.object({
  id: z.int().positive(),
  body: z.string(),
  system: z.boolean(),
  author: z.object({ id: z.number() }),
});

/** An answer with a status that says yes. */
interface Answer {
  /** What was asked, for a message. */
  readonly said: string;
  readonly text: string;
  /** Number of the next page, empty on the last: https://docs.gitlab.com/api/rest/#other-pagination-headers */
  readonly next: string;
}

/** A failure that may be over a moment later. */
class Passing extends Error {
  constructor(
    message: string,
    /** Milliseconds that GitLab asks to wait. */
    readonly retryAfter: number | undefined,
  ) {
    super(message);
  }
}

/** GitLab has understood, and refuses. */
class Denied extends Failure {
  constructor(
    message: string,
    readonly status: number,
  ) {
    super(message);
  }
}

async function removed(deleting: Promise<unknown>): Promise<void> {
  try {
    await deleting;
  } catch (error) {
    if (!(error instanceof Denied && error.status === 404)) throw error;
  }
}

function baseUrl(url: string): URL {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    throw new Refused(`CI_API_V4_URL is ${show(url)}. It must be a URL, such as https://gitlab.example.com/api/v4.`);
  }
  // The token is no one else's to read on the way.
  const loopback = /^(localhost|127(\.\d+){3}|\[::1\])$/.test(parsed.hostname);
  if (parsed.protocol !== "https:" && !(parsed.protocol === "http:" && loopback))
    throw new Refused(
      `CI_API_V4_URL is ${show(url)}. It must begin with https://, because requests carry MERGE_REQUEST_TOKEN: ` +
        "set external_url of your GitLab to its https address.",
    );
  if (parsed.username !== "" || parsed.password !== "" || parsed.search !== "" || parsed.hash !== "")
    throw new Refused(
      "CI_API_V4_URL has more than a host and a path. It must be like https://gitlab.example.com/api/v4.",
    );
  parsed.pathname = parsed.pathname.replace(/\/+$/, "");
  return parsed;
}

const notGitLab =
  "This is no answer of GitLab's API: look at CI_API_V4_URL and at what stands between here and GitLab.";

function read<Value>({ said, text }: Answer, schema: z.ZodType<Value>): Value {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    throw new Failure(`${said}: an answer that is no JSON.\n${notGitLab}`);
  }
  const parsed = schema.safeParse(content);
  if (parsed.success) return parsed.data;
  throw new Failure(
    `${said}: ${visible(parsed.error.issues[0]?.message ?? "an answer of another form")}.\n${notGitLab}`,
  );
}

function noAnswer(error: unknown, timeout: number): string {
  if (error instanceof Error && error.name === "TimeoutError") return `no answer in ${timeout / 1000} s`;
  return `no answer (${visible(codeOf(error))})`;
}

/** What Node calls the reason: https://nodejs.org/api/tls.html#x509-certificate-error-codes among others. */
function codeOf(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined;
  return cause instanceof Error && "code" in cause ? String(cause.code) : "no connection";
}

/** GitLab's own words: https://docs.gitlab.com/api/rest/troubleshooting/ */
function reason(text: string): string {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    return "";
  }
  const { message, error, error_description: description } = (content ?? {}) as Record<string, unknown>;
  const said = description ?? message ?? error;
  if (said === undefined) return "";
  const words = typeof said === "string" ? said.replace(/^\d{3} /, "") : JSON.stringify(said);
  return ` ${visible(words.slice(0, 500))}`;
}

/** Either form of https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3, in milliseconds. */
function retryAfter(response: Response): number | undefined {
  const value = response.headers.get("retry-after");
  if (value === null) return undefined;
  const milliseconds = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isNaN(milliseconds) ? undefined : Math.max(0, milliseconds);
}

function passingRemedy(asked: number): string {
  return asked > 0
    ? `GitLab asks to wait for ${Math.ceil(asked / 1000)} s: run the job again then.`
    : "Run the job again when GitLab answers: its status page or its admin knows when that is.";
}

const tokenPage = "docs/pipeline.md, Merge request token";

function remedyOf(response: Response): string {
  if (response.status >= 300 && response.status < 400)
    return `It is not followed, because it would carry the token to ${hostOf(response)}: set external_url of your GitLab to where it answers.`;
  switch (response.status) {
    case 401:
      return `MERGE_REQUEST_TOKEN is expired, revoked or not this GitLab's: make a new one (${tokenPage}).`;
    case 403:
      return `MERGE_REQUEST_TOKEN needs the role Reporter and the scope api: make a new one (${tokenPage}).`;
    case 404:
      return `The project or the merge request is not there, or MERGE_REQUEST_TOKEN is not of this project (${tokenPage}).`;
    default:
      return `GitLab and this program disagree about the request: see https://docs.gitlab.com/api/notes/.`;
  }
}

function hostOf(response: Response): string {
  try {
    return visible(new URL(response.headers.get("location") ?? "", response.url).host);
  } catch {
    return "somewhere else";
  }
}

function noteText(marker: string, body: string): string {
  return shortened(`${marker}\n\n${withoutCommands(body)}`);
}

/**
 * GitLab runs a line such as `/merge` with the rights of the token: https://docs.gitlab.com/user/project/quick_actions/
 * A backslash keeps it text.
 */
function withoutCommands(body: string): string {
  return body.replaceAll(/^([^\S\n]*)\/(?=\w)/gm, "$1\\/");
}

/** GitLab keeps a note's text, but for what a browser or a line ending adds. */
function sameText(one: string, other: string): boolean {
  const plain = (text: string) => text.replaceAll("\r\n", "\n").trimEnd();
  return plain(one) === plain(other);
}

const cutOff = "\n\n_The rest is longer than a comment in GitLab can be: it is in the job's log and artifacts._\n";

function shortened(text: string): string {
  if (text.length <= longestNote) return text;
  // What is left open would swallow the last sentence.
  const reserve = cutOff.length + 1000;
  const kept = text.slice(0, text.lastIndexOf("\n", longestNote - reserve));
  const fence = (kept.match(/^ {0,3}```/gm)?.length ?? 0) % 2 === 1 ? "\n```" : "";
  const folded = (kept.match(/<details[ >]/g)?.length ?? 0) - (kept.match(/<\/details>/g)?.length ?? 0);
  return `${kept}${fence}${"\n</details>".repeat(Math.min(Math.max(folded, 0), 50))}${cutOff}`;
}
