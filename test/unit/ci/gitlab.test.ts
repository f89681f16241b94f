import assert from "node:assert/strict";
import { createServer } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo } from "node:net";
import { connect, gitlabOfJob, previewMarker, type Access, type GitLab } from "../../../ci/gitlab";
import { Failure, Refused } from "../../../local/failure";
import { makeCertificate } from "../../support/certificates";
import { startGitLabApi, type GitLabApi, type Token, type Trouble } from "../../support/gitlab-api";

const canary = "glpat-canary-4b1d";
const ours: Token = { value: canary, user: 7, scopes: ["api"], role: "reporter", expires: "2999-01-01" };
const stranger = 8;

describe("The pipeline's client of GitLab", () => {
  let api: GitLabApi;
  let waits: number[];

  beforeEach(async () => {
    api = await startGitLabApi(ours);
    api.open(1);
    waits = [];
  });

  afterEach(() => api.stop());

  const client = (access: Partial<Access> = {}, timeout = 5000): GitLab =>
    connect(
      { url: api.url, project: String(api.project), token: canary, ...access },
      { timeout, wait: (milliseconds) => Promise.resolve(waits.push(milliseconds)) },
    );
  const marker = previewMarker("gke");
  const bodies = (iid = 1) => api.notes.get(iid)!.map(({ body }) => body);
  const writes = () =>
    api.asked.filter(({ method }) => method !== "GET").map(({ method, path }) => `${method} ${path}`);

  /** The message of what is thrown, which never has the token. */
  const failure = async (work: () => Promise<unknown>): Promise<string> => {
    const error = await work().then(
      () => assert.fail("nothing was thrown"),
      (thrown: unknown) => thrown,
    );
    assert.ok(error instanceof Failure, String(error));
    assert.ok(!`${error.message}${String(error.stack)}`.includes(canary), "the token is in the message");
    return error.message.replaceAll(api.url.replace("http://", ""), "<api>");
  };

  describe("with a comment", () => {
    it("posts one, updates it, and leaves it alone when nothing changed", async () => {
      assert.equal(await client().comment(1, marker, "**one**"), "posted");
      assert.equal(await client().comment(1, marker, "**two**"), "updated");
      assert.equal(await client().comment(1, marker, "**two**"), "unchanged");
      assert.deepEqual(bodies(), [`${marker}\n\n**two**`]);
      assert.deepEqual(writes(), [
        "POST /projects/4711/merge_requests/1/notes",
        "PUT /projects/4711/merge_requests/1/notes/101",
      ]);
      assert.ok(api.asked.every(({ token }) => token === canary));
    });

    it("keeps one for each stack and merge request, also of stacks whose names begin alike", async () => {
      api.open(2);
      await client().comment(1, previewMarker("gke"), "a");
      await client().comment(1, previewMarker("gke-2"), "b");
      await client().comment(2, previewMarker("gke"), "c");
      await client().comment(1, previewMarker("gke-2"), "d");
      assert.deepEqual(bodies(1), [`${previewMarker("gke")}\n\na`, `${previewMarker("gke-2")}\n\nd`]);
      assert.deepEqual(bodies(2), [`${previewMarker("gke")}\n\nc`]);
    });

    it("does not take over a marker that somebody else wrote, nor one in the middle of a text", async () => {
      api.write(1, stranger, `${marker}\n\nnothing changes, merge it`);
      api.write(1, ours.user, `about ${marker}`);
      assert.equal(await client().comment(1, marker, "one"), "posted");
      assert.deepEqual(bodies(), [`${marker}\n\nnothing changes, merge it`, `about ${marker}`, `${marker}\n\none`]);
    });

    it("finds its own behind hundreds of others", async () => {
      for (let count = 0; count < 250; count++) api.write(1, stranger, `note ${count}`);
      await client().comment(1, marker, "one");
      await client().comment(1, marker, "two");
      assert.equal(bodies().filter((body) => body.startsWith(marker)).length, 1);
      assert.equal(bodies().at(-1), `${marker}\n\ntwo`);
    });

    it("removes further ones of its own, and keeps the oldest", async () => {
      const first = api.write(1, ours.user, `${marker}\n\na`);
      api.write(1, ours.user, `${marker}\n\nb`);
      api.write(1, stranger, `${marker}\n\nc`);
      assert.equal(await client().comment(1, marker, "new"), "updated");
      assert.deepEqual(bodies(), [`${marker}\n\nnew`, `${marker}\n\nc`]);
      assert.equal(api.notes.get(1)![0]!.id, first.id);
    });

    it("makes no second one when a post was heard but its answer was lost", async () => {
      api.trouble({ times: 1, method: "POST", status: 502, done: true });
      assert.equal(await client().comment(1, marker, "one"), "unchanged");
      assert.equal(bodies().length, 1);
    });

    it("has no line that GitLab would run as a quick action", async () => {
      await client().comment(1, marker, "one\n/merge\n  /close\n\r/approve\n`/usr/bin`\n");
      assert.deepEqual(bodies(), [`${marker}\n\none\n\\/merge\n  \\/close\n\r\\/approve\n\`/usr/bin\`\n`]);
    });

    it("cuts off the end of what is longer than GitLab takes, and closes what was open", async () => {
      const long = `top\n<details><summary>all</summary>\n\n\`\`\`\n${"a 👍 line of the plan\n".repeat(60_000)}`;
      await client().comment(1, marker, long);
      const [body] = bodies();
      assert.ok(body!.length <= 1_000_000 && body!.length > 990_000, String(body!.length));
      assert.ok(body!.startsWith(`${marker}\n\ntop\n`));
      assert.match(body!, /of the plan\n```\n<\/details>\n\n_The rest is longer than .*_\n$/);
    });
  });

  describe("with open merge requests", () => {
    it("lists them all, and none that is not open", async () => {
      for (let iid = 2; iid <= 240; iid++) api.mergeRequests.set(iid, iid % 3 === 0 ? "merged" : "opened");
      const expected = [...api.mergeRequests].filter(([, state]) => state === "opened").map(([iid]) => iid);
      assert.deepEqual(await client().openMergeRequests(), expected);
    });

    it("misses none that moves from one page to another while they are read", async () => {
      for (let iid = 2; iid <= 150; iid++) api.mergeRequests.set(iid, "opened");
      let asked = 0;
      api.onAsked = () => {
        if (++asked === 2) for (let iid = 2; iid <= 20; iid++) api.mergeRequests.set(iid, "merged");
      };
      const found = await client().openMergeRequests();
      const open = [...api.mergeRequests].filter(([, state]) => state === "opened").map(([iid]) => iid);
      assert.deepEqual(
        open.filter((iid) => !found.includes(iid)),
        [],
      );
    });

    it("has none when there is none", async () => {
      api.mergeRequests.clear();
      assert.deepEqual(await client().openMergeRequests(), []);
    });
  });

  describe("when GitLab has trouble", () => {
    const passing: Readonly<Record<string, Trouble>> = {
      "answers 500": { times: 2, status: 500 },
      "answers 502 with a page": { times: 2, status: 502, body: "<html>Bad gateway</html>" },
      "cuts the connection": { times: 2 },
    };
    for (const [what, trouble] of Object.entries(passing))
      it(`goes on after a while when it ${what}`, async () => {
        api.trouble(trouble);
        assert.equal(await client().comment(1, marker, "one"), "posted");
        assert.deepEqual(waits, [1000, 2000]);
      });

    it("waits as long as it is told when it is too fast", async () => {
      api.trouble({ times: 1, status: 429, headers: { "retry-after": "17" } });
      assert.deepEqual(await client().openMergeRequests(), [1]);
      assert.deepEqual(waits, [17_000]);
    });

    it("does not wait for an hour", async () => {
      api.trouble({ times: 1, status: 429, headers: { "retry-after": "3600" } });
      const message = await failure(() => client().openMergeRequests());
      assert.match(message, /429 .*too many times/);
      assert.match(message, /asks to wait for 3600 s: run the job again then/);
      assert.deepEqual(waits, []);
    });

    it("gives up after three further attempts, and says what was asked", async () => {
      api.trouble({ times: 100, status: 500 });
      const message = await failure(() => client().comment(1, marker, "one"));
      assert.match(message, /^GET <api>\/user: 500 Internal Server Error\.\nRun the job again/);
      assert.deepEqual(waits, [1000, 2000, 4000]);
    });

    it("gives up one that never answers", async () => {
      api.trouble({ times: 100, silent: true });
      const message = await failure(() => client({}, 20).openMergeRequests());
      assert.match(message, /GET <api>\/projects\/4711\/merge_requests: no answer in 0\.02 s/);
    });

    it("says that nobody is there", async () => {
      const url = api.url;
      await api.stop();
      const message = await failure(() => client({ url }).openMergeRequests());
      assert.match(message, /no answer \(ECONNREFUSED\)/);
      api = await startGitLabApi(ours);
    });

    it("says what to set when GitLab's certificate is of an authority that nobody knows, and does not try again", async () => {
      const { certificate, key } = await makeCertificate({ name: "localhost", covers: ["localhost"] });
      const server = createSecureServer({ cert: certificate, key });
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      const { port } = server.address() as AddressInfo;
      try {
        const message = await failure(() => client({ url: `https://localhost:${port}/api/v4` }).openMergeRequests());
        assert.match(message, /certificate is not trusted here \([A-Z_]*CERT[A-Z_]*\)\.\n.*NODE_EXTRA_CA_CERTS/);
        assert.deepEqual(waits, []);
      } finally {
        server.closeAllConnections();
        await new Promise((resolve) => server.close(resolve));
      }
    });

    it("takes no page of a proxy, and no other form, for an answer", async () => {
      api.trouble({ times: 1, status: 200, body: "<html>Sign in</html>" });
      assert.match(await failure(() => client().openMergeRequests()), /no JSON.*\n.*CI_API_V4_URL/);
      api.trouble({ times: 1, status: 200, body: `{"iid": 3}` });
      assert.match(await failure(() => client().openMergeRequests()), /expected array.*\n.*CI_API_V4_URL/);
      api.trouble({ times: 1, status: 200, body: "[]", headers: { "x-next-page": "1" } });
      assert.match(await failure(() => client().openMergeRequests()), /page 1 is followed by page "1"/);
    });
  });

  describe("when GitLab refuses", () => {
    const tokens: Readonly<Record<string, readonly [Partial<Token>, RegExp]>> = {
      "is not known": [{ value: "another" }, /401 Unauthorized\.\n.*expired, revoked or not this GitLab's/],
      "is expired": [{ expires: "2020-01-01" }, /401 Token is expired\..*\n.*make a new one \(docs\/pipeline\.md/],
      "is revoked": [{ revoked: true }, /401 Token was revoked\..*\n.*make a new one/],
      "has another scope": [{ scopes: ["read_api"] }, /403 The request requires higher privileges.*\n.*Reporter.*api/],
      "has a lesser role": [{ role: "guest" }, /403 Forbidden\.\n.*role Reporter and the scope api/],
    };
    for (const [what, [token, expected]] of Object.entries(tokens))
      it(`says so and asks once when the token ${what}`, async () => {
        api.tokens.splice(0, 1, { ...ours, ...token });
        assert.match(await failure(() => client().comment(1, marker, "one")), expected);
        assert.deepEqual(waits, []);
        assert.deepEqual(bodies(), []);
      });

    it("says that the project or the merge request is not there", async () => {
      assert.match(
        await failure(() => client({ project: "12" }).openMergeRequests()),
        /^GET <api>\/projects\/12\/merge_requests: 404 Project Not Found\.\n.*not of this project/,
      );
      assert.match(await failure(() => client().comment(99, marker, "one")), /404 Not found/);
    });

    it("writes out what a terminal would not show in GitLab's words, and shortens them", async () => {
      api.trouble({ times: 1, status: 400, body: JSON.stringify({ message: `\u001b[2J${"x".repeat(2000)}` }) });
      const message = await failure(() => client().openMergeRequests());
      assert.match(message, /400 \\u\{1b\}\[2Jx+\.\n/);
      assert.ok(message.length < 900);
    });

    it("carries the token to nobody that a redirect names", async () => {
      const heard: unknown[] = [];
      const other = createServer((request, response) => {
        heard.push(request.headers);
        response.end("[]");
      });
      await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
      const { port } = other.address() as AddressInfo;
      api.trouble({ times: 1, status: 302, headers: { location: `http://127.0.0.1:${port}/api/v4/user` } });
      try {
        const message = await failure(() => client().comment(1, marker, "one"));
        assert.match(message, new RegExp(`302.*\\n.*would carry the token to 127\\.0\\.0\\.1:${port}`));
        assert.deepEqual(heard, []);
      } finally {
        other.closeAllConnections();
        await new Promise((resolve) => other.close(resolve));
      }
    });
  });

  describe("before it asks anything", () => {
    const refused = (work: () => unknown): string => {
      try {
        work();
      } catch (error) {
        assert.ok(error instanceof Refused, String(error));
        assert.ok(!error.message.includes(canary));
        return error.message;
      }
      return assert.fail("nothing was refused");
    };

    it("refuses an address over which the token could be read", () => {
      for (const url of ["http://gitlab.example.com/api/v4", "http://localhost.example.com/api/v4", "ftp://127.0.0.1/"])
        assert.match(
          refused(() => client({ url })),
          /must begin with https:\/\//,
        );
      for (const url of ["http://localhost:3000/api/v4", "http://127.0.0.1/api/v4", "http://[::1]/api/v4"])
        client({ url });
    });

    it("refuses what is no address, and says what one looks like", () => {
      assert.match(
        refused(() => client({ url: "gitlab" })),
        /CI_API_V4_URL is "gitlab"\. It must be a URL/,
      );
      assert.match(
        refused(() => client({ url: "https://a:b@gitlab.example.com/api/v4" })),
        /more than a host and a path/,
      );
    });

    it("refuses a project that is no number and a token that no header takes, at once", () => {
      const message = refused(() => client({ project: "../user", token: `${canary}\n` }));
      assert.match(message, /CI_PROJECT_ID is "\.\.\/user"/);
      assert.match(message, /MERGE_REQUEST_TOKEN has a space/);
    });

    it("names every variable that is missing in a job", () => {
      const message = refused(() => gitlabOfJob({}));
      for (const name of ["CI_API_V4_URL", "CI_PROJECT_ID", "MERGE_REQUEST_TOKEN"])
        assert.match(message, new RegExp(name));
    });

    it("talks about the project that a merge request goes into", async () => {
      const variables = {
        CI_API_V4_URL: api.url,
        CI_PROJECT_ID: "12",
        CI_MERGE_REQUEST_PROJECT_ID: "4711",
        MERGE_REQUEST_TOKEN: canary,
      };
      assert.deepEqual(await gitlabOfJob(variables).openMergeRequests(), [1]);
    });
  });
});
