import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** Roles by name: https://docs.gitlab.com/api/project_access_tokens/#create-a-project-access-token */
export const roles = { guest: 10, reporter: 20, developer: 30, maintainer: 40 } as const;

/** Whoever holds a token. */
export interface Token {
  readonly value: string;
  readonly user: number;
  readonly scopes: readonly string[];
  readonly role: keyof typeof roles;
  /** Last day is the one before, as `YYYY-MM-DD`. */
  readonly expires?: string;
  readonly revoked?: boolean;
  /** Of a person: only such a one makes project access tokens. */
  readonly personal?: boolean;
}

export interface Note {
  readonly id: number;
  body: string;
  readonly author: { readonly id: number; readonly username: string };
  readonly system: boolean;
}

/** A CI/CD variable, as GitLab lists it. */
export interface Variable {
  readonly key: string;
  readonly value: string;
  readonly variable_type: string;
  readonly masked: boolean;
  readonly hidden: boolean;
  readonly protected: boolean;
  readonly raw: boolean;
  readonly environment_scope: string;
}

export interface Schedule {
  readonly id: number;
  readonly description: string;
  readonly ref: string;
  readonly cron: string;
  readonly cron_timezone: string;
  readonly active: boolean;
}

/** One request, as it came in. */
export interface Asked {
  readonly method: string;
  /** Without `/api/v4` and without the query. */
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly body: Readonly<Record<string, unknown>>;
  /** Value of PRIVATE-TOKEN. */
  readonly token: string | undefined;
  readonly status: number;
}

/** What is to happen to the next requests instead of an answer. */
export interface Trouble {
  readonly times: number;
  /** Answer with this status and the words that GitLab has for it. Absent: the connection is cut. */
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Do what was asked before. */
  readonly done?: boolean;
  /** Never answer. */
  readonly silent?: boolean;
  /** Only requests of this method. */
  readonly method?: string;
}

/** A running stand-in. */
export interface GitLabApi {
  /** What GitLab has in CI_API_V4_URL. */
  readonly url: string;
  readonly project: number;
  readonly asked: readonly Asked[];
  readonly tokens: Token[];
  /** Notes by IID of their merge request. A merge request without an entry is not there. */
  readonly notes: Map<number, Note[]>;
  /** State by IID. */
  readonly mergeRequests: Map<number, "opened" | "closed" | "merged">;
  readonly variables: Variable[];
  readonly schedules: Schedule[];
  readonly resourceGroups: Map<string, string>;
  /** Settings of the project that somebody has changed. */
  readonly settings: Record<string, unknown>;
  /** Called with each request before it is answered. */
  onAsked: (method: string, path: string) => void;
  trouble(trouble: Trouble): void;
  /** Makes a note whose author is `user`. */
  write(iid: number, user: number, body: string): Note;
  open(...iids: readonly number[]): void;
  stop(): Promise<void>;
}

/** What GitLab refuses, in one of the forms of https://docs.gitlab.com/api/rest/troubleshooting/. */
class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly body: unknown,
  ) {
    super(String(status));
  }
}

type Kind = "string" | "boolean" | "integer" | "strings" | "date";

interface Call {
  readonly id: string[];
  readonly given: Readonly<Record<string, unknown>>;
  readonly token: Token;
  readonly page: (items: readonly unknown[]) => readonly unknown[];
}

interface Route {
  readonly method: string;
  /** Of the path below the project. */
  readonly path: RegExp;
  readonly role: keyof typeof roles;
  readonly required?: Readonly<Record<string, Kind>>;
  readonly optional?: Readonly<Record<string, Kind>>;
  readonly status?: number;
  readonly run: (call: Call) => unknown;
}

const paging = { page: "integer", per_page: "integer" } as const;
const project = 4711;
const path = "platform/workspaces";

/** Variables' values that can be masked: https://docs.gitlab.com/ci/variables/#mask-a-cicd-variable */
const maskable = { expanded: /^[a-zA-Z0-9_+=/@:.~-]{8,}$/, raw: /^\S{8,}$/ };

const text = (given: unknown, otherwise: string): string => (typeof given === "string" ? given : otherwise);

const bot = (user: number) => ({ id: user, username: `user_${user}`, name: `User ${user}`, state: "active" });

/**
 * Stand-in for the REST API of a GitLab with one private project: plain HTTP on 127.0.0.1, and nothing but the paths below.
 * It is stricter than GitLab, which passes over a field that it does not know. Every answer says in `X-Stand-In` that
 * it is none of GitLab's.
 * @param tokens those that it knows from the beginning.
 */
export async function startGitLabApi(...tokens: readonly Token[]): Promise<GitLabApi> {
  const troubles: { trouble: Trouble; left: number }[] = [];
  const asked: Asked[] = [];
  let lastId = 100;
  const api = {
    project,
    asked,
    tokens: [...tokens],
    notes: new Map<number, Note[]>(),
    mergeRequests: new Map<number, "opened" | "closed" | "merged">(),
    variables: [] as Variable[],
    schedules: [] as Schedule[],
    resourceGroups: new Map<string, string>(),
    settings: {} as Record<string, unknown>,
    onAsked: () => undefined,
    trouble(trouble: Trouble) {
      troubles.push({ trouble, left: trouble.times });
    },
    write(iid: number, user: number, body: string) {
      const note = { id: ++lastId, body, author: bot(user), system: false };
      api.notes.set(iid, [...(api.notes.get(iid) ?? []), note]);
      return note;
    },
    open(...iids: readonly number[]) {
      for (const iid of iids) {
        api.mergeRequests.set(iid, "opened");
        api.notes.set(iid, api.notes.get(iid) ?? []);
      }
    },
  } as unknown as { -readonly [Key in keyof GitLabApi]: GitLabApi[Key] };

  const notesOf = (iid: string | undefined): Note[] => {
    const found = api.notes.get(Number(iid));
    if (found === undefined) throw new Refusal(404, { message: "404 Not found" });
    return found;
  };
  const ownNote = ({ id: [iid, noteId], token }: Call): Note => {
    const found = notesOf(iid).find((note) => note.id === Number(noteId));
    if (found === undefined) throw new Refusal(404, { message: "404 Note Not Found" });
    if (found.author.id !== token.user) throw new Refusal(403, { message: "403 Forbidden" });
    return found;
  };
  const bodyOf = (given: Readonly<Record<string, unknown>>): string => {
    const body = String(given["body"]);
    if (body.trim() === "") throw new Refusal(400, { message: { note: ["can't be blank"] } });
    if (Array.from(body).length > 1_000_000)
      throw new Refusal(400, { message: { note: ["is too long (maximum is 1000000 characters)"] } });
    const command = /^\/\w+/m.exec(body.replaceAll("\r", ""));
    if (command) throw new Error(`The stand-in runs no quick action, and was given ${command[0]}.`);
    return body;
  };

  const routes: readonly Route[] = [
    {
      method: "PUT",
      path: /^$/,
      role: "maintainer",
      optional: {
        ci_allow_fork_pipelines_to_run_in_parent_project: "boolean",
        protect_merge_request_pipelines: "boolean",
      },
      run: ({ given }) => ({ id: project, path_with_namespace: path, ...Object.assign(api.settings, given) }),
    },
    {
      method: "GET",
      path: /^\/merge_requests$/,
      role: "reporter",
      optional: { state: "string", scope: "string", order_by: "string", sort: "string", ...paging },
      run: ({ given, page }) =>
        page(
          [...api.mergeRequests]
            .filter(([, state]) => given["state"] === undefined || given["state"] === "all" || given["state"] === state)
            .map(([iid, state]) => ({
              id: 9000 + iid,
              iid,
              project_id: project,
              state,
              title: `Merge request ${iid}`,
            })),
        ),
    },
    {
      method: "GET",
      path: /^\/merge_requests\/(\d+)\/notes$/,
      role: "reporter",
      optional: { order_by: "string", sort: "string", ...paging },
      run: ({ id, given, page }) => {
        const notes = notesOf(id[0]);
        return page(given["sort"] === "asc" ? notes : notes.toReversed());
      },
    },
    {
      method: "POST",
      path: /^\/merge_requests\/(\d+)\/notes$/,
      role: "reporter",
      required: { body: "string" },
      optional: { internal: "boolean" },
      status: 201,
      run: ({ id, given, token }) => {
        notesOf(id[0]);
        return api.write(Number(id[0]), token.user, bodyOf(given));
      },
    },
    {
      method: "PUT",
      path: /^\/merge_requests\/(\d+)\/notes\/(\d+)$/,
      role: "reporter",
      required: { body: "string" },
      run: (call) => Object.assign(ownNote(call), { body: bodyOf(call.given) }),
    },
    {
      method: "DELETE",
      path: /^\/merge_requests\/(\d+)\/notes\/(\d+)$/,
      role: "reporter",
      status: 204,
      run: (call) => {
        const note = ownNote(call);
        api.notes.set(
          Number(call.id[0]),
          notesOf(call.id[0]).filter(({ id }) => id !== note.id),
        );
      },
    },
    {
      method: "GET",
      path: /^\/variables$/,
      role: "maintainer",
      optional: paging,
      run: ({ page }) => page(api.variables.map((one) => (one.hidden ? { ...one, value: null } : one))),
    },
    {
      method: "POST",
      path: /^\/variables$/,
      role: "maintainer",
      required: { key: "string", value: "string" },
      optional: {
        description: "string",
        environment_scope: "string",
        masked: "boolean",
        masked_and_hidden: "boolean",
        protected: "boolean",
        raw: "boolean",
        variable_type: "string",
      },
      status: 201,
      run: ({ given }) => {
        const hidden = given["masked_and_hidden"] === true;
        const made: Variable = {
          key: String(given["key"]),
          value: String(given["value"]),
          variable_type: text(given["variable_type"], "env_var"),
          masked: hidden || given["masked"] === true,
          hidden,
          protected: given["protected"] === true,
          raw: given["raw"] === true,
          environment_scope: text(given["environment_scope"], "*"),
        };
        if (!/^\w{1,255}$/.test(made.key))
          throw new Refusal(400, { message: { key: ["can contain only letters, digits and '_'."] } });
        if (!["env_var", "file"].includes(made.variable_type))
          throw new Refusal(400, { error: "variable_type does not have a valid value" });
        if (made.masked && !maskable[made.raw ? "raw" : "expanded"].test(made.value))
          throw new Refusal(400, { message: { value: ["is invalid"] } });
        const taken = api.variables.some(
          ({ key, environment_scope }) => key === made.key && environment_scope === made.environment_scope,
        );
        if (taken) throw new Refusal(400, { message: { key: [`(${made.key}) has already been taken`] } });
        api.variables.push(made);
        return { ...made, value: hidden ? null : made.value, description: given["description"] ?? null };
      },
    },
    {
      method: "DELETE",
      path: /^\/variables\/(\w+)$/,
      role: "maintainer",
      status: 204,
      run: ({ id: [key] }) => {
        const found = api.variables.filter((one) => one.key === key);
        if (found.length === 0) throw new Refusal(404, { message: "404 Variable Not Found" });
        // With a key in several scopes GitLab wants filter[environment_scope].
        if (found.length > 1)
          throw new Refusal(409, {
            message: "There are multiple variables with provided parameters. Please use 'filter[environment_scope]'",
          });
        api.variables.splice(api.variables.indexOf(found[0]!), 1);
      },
    },
    {
      method: "GET",
      path: /^\/access_tokens$/,
      role: "maintainer",
      optional: { state: "string", ...paging },
      run: ({ given, page }) =>
        page(
          api.tokens
            .filter(({ personal, revoked }) => personal !== true && (given["state"] !== "active" || revoked !== true))
            .map(({ user, scopes, role, expires, revoked }) => ({
              id: user,
              user_id: user,
              scopes,
              access_level: roles[role],
              expires_at: expires,
              active: revoked !== true,
              revoked: revoked === true,
            })),
        ),
    },
    {
      method: "DELETE",
      path: /^\/access_tokens\/(\d+)$/,
      role: "maintainer",
      status: 204,
      run: ({ id: [id] }) => {
        const index = api.tokens.findIndex(({ personal, user }) => personal !== true && user === Number(id));
        const found = api.tokens[index];
        if (found === undefined)
          throw new Refusal(404, { message: "404 Could not find project access token with that id" });
        api.tokens[index] = { ...found, revoked: true };
      },
    },
    {
      method: "POST",
      path: /^\/access_tokens$/,
      role: "maintainer",
      required: { name: "string", scopes: "strings", expires_at: "date" },
      optional: { access_level: "integer", description: "string" },
      status: 201,
      run: ({ given, token }) => {
        if (token.personal !== true)
          throw new Refusal(400, {
            message: "400 Bad request - User does not have permission to create project access token",
          });
        const role = Object.entries(roles).find(([, level]) => level === (given["access_level"] ?? 40))?.[0];
        if (role === undefined) throw new Refusal(400, { error: "access_level does not have a valid value" });
        const scopes = given["scopes"] as string[];
        if (!scopes.every((scope) => ["api", "read_api", "read_repository", "write_repository"].includes(scope)))
          throw new Refusal(400, { message: "400 Bad request - Scopes can only contain available scopes" });
        const expires = String(given["expires_at"]);
        const year = 365 * 24 * 3600 * 1000;
        if (!(Date.parse(expires) > Date.now() && Date.parse(expires) <= Date.now() + year))
          throw new Refusal(400, { message: "400 Bad request - Expiration date must be before one year from now" });
        const id = ++lastId;
        const made = {
          value: `glpat-made-by-the-stand-in-${id}`,
          user: id,
          scopes,
          role: role as keyof typeof roles,
          expires,
        };
        api.tokens.push(made);
        return {
          id,
          name: given["name"],
          user_id: id,
          scopes,
          access_level: roles[made.role],
          expires_at: expires,
          active: true,
          revoked: false,
          token: made.value,
        };
      },
    },
    {
      method: "POST",
      path: /^\/pipeline_schedules$/,
      role: "developer",
      required: { description: "string", ref: "string", cron: "string" },
      optional: { cron_timezone: "string", active: "boolean" },
      status: 201,
      run: ({ given }) => {
        if (!/^(\S+ ){4}\S+$/.test(String(given["cron"])))
          throw new Refusal(400, { message: { cron: ["syntax is invalid"] } });
        const made: Schedule = {
          id: ++lastId,
          description: String(given["description"]),
          ref: `refs/heads/${String(given["ref"]).replace(/^refs\/heads\//, "")}`,
          cron: String(given["cron"]),
          cron_timezone: text(given["cron_timezone"], "UTC"),
          active: given["active"] !== false,
        };
        api.schedules.push(made);
        return made;
      },
    },
    {
      method: "PUT",
      path: /^\/resource_groups\/([^/]+)$/,
      role: "developer",
      optional: { process_mode: "string" },
      run: ({ id, given }) => {
        const key = decodeURIComponent(id[0] ?? "");
        // GitLab makes a group with the first pipeline that has a job in it.
        if (!api.resourceGroups.has(key)) throw new Refusal(404, { message: "404 Resource Group Not Found" });
        const mode = text(given["process_mode"], api.resourceGroups.get(key) ?? "unordered");
        if (!["unordered", "oldest_first", "newest_first", "newest_ready_first"].includes(mode))
          throw new Refusal(400, { error: "process_mode does not have a valid value" });
        api.resourceGroups.set(key, mode);
        return { key, process_mode: mode };
      },
    },
  ];

  const answer = (method: string, url: URL, request: IncomingMessage, sent: string): Outcome => {
    const token = authenticated(request, api.tokens);
    const given = parameters(url, request, sent);
    if (url.pathname === "/api/v4/user") {
      if (method !== "GET") throw new Refusal(405, { error: "405 Not Allowed" });
      inScope(token, "read_user", "read_api", "api");
      known(given, {}, {});
      return { status: 200, body: bot(token.user) };
    }
    const [, id, rest = ""] = /^\/api\/v4\/projects\/([^/]+)(\/.*)?$/.exec(url.pathname) ?? [];
    const there = routes.filter((route) => route.path.test(rest));
    if (id === undefined || there.length === 0) throw new Refusal(404, { error: "404 Not Found" });
    const route = there.find((one) => one.method === method);
    if (route === undefined) throw new Refusal(405, { error: "405 Not Allowed" });
    inScope(token, ...(method === "GET" ? ["read_api"] : []), "api");
    if (id !== String(project) && decodeURIComponent(id) !== path)
      throw new Refusal(404, { message: "404 Project Not Found" });
    if (roles[token.role] < roles[route.role]) throw new Refusal(403, { message: "403 Forbidden" });
    known(given, route.required ?? {}, route.optional ?? {});
    const headers: Record<string, string> = {};
    const page = (items: readonly unknown[]) => pageOf(items, given, headers, url);
    const body = route.run({ id: (route.path.exec(rest) ?? []).slice(1), given, token, page });
    return { status: route.status ?? 200, body, headers };
  };

  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    const method = request.method ?? "";
    const url = new URL(request.url ?? "/", "http://127.0.0.1");
    let sent = "";
    request.setEncoding("utf8").on("data", (part: string) => (sent += part));
    request.on("end", () => {
      const below = url.pathname.replace(/^\/api\/v4/, "");
      api.onAsked(method, below);
      const found = troubles.find(({ trouble, left }) => left > 0 && (trouble.method ?? method) === method);
      if (found) found.left--;
      const trouble = found?.trouble;
      const outcome =
        trouble !== undefined && trouble.done !== true
          ? troubled(trouble)
          : refusing(() => answer(method, url, request, sent));
      const said = trouble === undefined ? outcome : troubled(trouble);
      asked.push({
        method,
        path: below,
        query: Object.fromEntries(url.searchParams),
        body: refusing(() => ({ status: 0, body: parameters(new URL("http://127.0.0.1"), request, sent) }))
          .body as never,
        token: request.headers["private-token"] as string | undefined,
        status: said.status,
      });
      if (trouble?.silent) return;
      if (said.status === 0) {
        request.socket.destroy();
        return;
      }
      response.writeHead(said.status, {
        "content-type": "application/json",
        "x-stand-in": "not GitLab",
        ...said.headers,
      });
      response.end(said.text ?? (said.status === 204 ? undefined : JSON.stringify(said.body)));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  api.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/api/v4`;
  api.stop = async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  return api;
}

interface Outcome {
  readonly status: number;
  readonly body?: unknown;
  readonly text?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

const words: Readonly<Record<number, unknown>> = {
  429: { message: { error: "This endpoint has been requested too many times. Try again later." } },
  500: { message: "500 Internal Server Error" },
  502: undefined,
  503: undefined,
};

function troubled({ status = 0, body, headers = {} }: Trouble): Outcome {
  const said = words[status] ?? { message: `${status}` };
  return { status, headers, ...(body === undefined ? { body: said } : { text: body }) };
}

function refusing(work: () => Outcome): Outcome {
  try {
    return work();
  } catch (error) {
    if (error instanceof Refusal) return error;
    return { status: 418, body: { message: String(error) } };
  }
}

/** https://docs.gitlab.com/api/rest/authentication/ */
function authenticated(request: IncomingMessage, tokens: readonly Token[]): Token {
  const token = tokens.find(({ value }) => value === request.headers["private-token"]);
  if (token === undefined) throw new Refusal(401, { message: "401 Unauthorized" });
  const invalid = (description: string) => new Refusal(401, { error: "invalid_token", error_description: description });
  if (token.revoked) throw invalid("Token was revoked. You have to re-authorize from the user.");
  if (token.expires !== undefined && token.expires <= new Date().toISOString().slice(0, 10))
    throw invalid("Token is expired. You can either do re-authorization or token refresh.");
  return token;
}

function inScope({ scopes }: Token, ...enough: readonly string[]): void {
  if (scopes.some((scope) => enough.includes(scope))) return;
  throw new Refusal(403, {
    error: "insufficient_scope",
    error_description: "The request requires higher privileges than provided by the access token.",
    scope: enough.join(" "),
  });
}

/** Of the query and of a body in JSON or as a form. */
function parameters(url: URL, request: IncomingMessage, text: string): Record<string, unknown> {
  const given = form(url.searchParams);
  if (text === "") return given;
  const type = (request.headers["content-type"] ?? "").split(";")[0];
  if (type === "application/x-www-form-urlencoded") return { ...given, ...form(new URLSearchParams(text)) };
  if (type !== "application/json")
    throw new Refusal(406, { error: `The requested content-type '${String(type)}' is not supported.` });
  try {
    return { ...given, ...(JSON.parse(text) as Record<string, unknown>) };
  } catch {
    throw new Refusal(400, { error: "Problem processing your request" });
  }
}

/** `name[]=a&name[]=b` is a list: https://docs.gitlab.com/api/rest/#array */
function form(fields: URLSearchParams): Record<string, unknown> {
  return Object.fromEntries<unknown>(
    [...new Set(fields.keys())].map((key) =>
      key.endsWith("[]") ? [key.slice(0, -2), fields.getAll(key)] : [key, fields.getAll(key).at(-1)],
    ),
  );
}

const fits: Readonly<Record<Kind, (value: unknown) => boolean>> = {
  string: (value) => typeof value === "string",
  boolean: (value) => typeof value === "boolean",
  integer: (value) => Number.isInteger(value),
  strings: (value) => Array.isArray(value) && value.every((one) => typeof one === "string"),
  date: (value) => typeof value === "string" && /^\d{4}-\d\d-\d\d$/.test(value) && !Number.isNaN(Date.parse(value)),
};

/** Refuses what is missing, of the wrong kind or not known, and turns what a form says into what it means. */
function known(
  given: Record<string, unknown>,
  required: Readonly<Record<string, Kind>>,
  optional: Readonly<Record<string, Kind>>,
): void {
  const missing = Object.keys(required).filter((field) => given[field] === undefined);
  if (missing.length > 0) throw new Refusal(400, { error: missing.map((field) => `${field} is missing`).join(", ") });
  for (const [field, value] of Object.entries(given)) {
    const kind = required[field] ?? optional[field];
    if (kind === undefined) throw new Refusal(400, { error: `${field} is not a parameter that the stand-in knows` });
    if (kind === "integer" && typeof value === "string" && /^\d+$/.test(value)) given[field] = Number(value);
    if (kind === "boolean" && (value === "true" || value === "false")) given[field] = value === "true";
    if (!fits[kind](given[field])) throw new Refusal(400, { error: `${field} is invalid` });
  }
}

/** https://docs.gitlab.com/api/rest/#offset-based-pagination */
function pageOf(
  items: readonly unknown[],
  given: Readonly<Record<string, unknown>>,
  headers: Record<string, string>,
  url: URL,
): readonly unknown[] {
  const page = Math.max(1, Number(given["page"] ?? 1));
  const size = Math.min(100, Number(given["per_page"] ?? 20));
  const more = page * size < items.length;
  headers["x-page"] = String(page);
  headers["x-per-page"] = String(size);
  headers["x-next-page"] = more ? String(page + 1) : "";
  const next = new URL(url);
  next.searchParams.set("page", String(page + 1));
  if (more) headers["link"] = `<${next.href}>; rel="next"`;
  return items.slice((page - 1) * size, page * size);
}
