import assert from "node:assert/strict";
import { Refused } from "../../../local/failure";
import {
  type MergeRequest,
  reviewOf,
  reviewOfJob,
  reviewStack,
  type StackConfigFile,
} from "../../../ci/review-settings";

const now = new Date("2026-11-26T10:00:00Z");

const mergeRequest: MergeRequest = {
  iid: "7",
  domain: "review.example.com",
  projectId: "41",
  url: "https://gitlab.example.com/group/project/-/merge_requests/7",
};

const cluster = { cloud: "self-managed", name: "review-1" };

const file = (settings: Record<string, unknown>, beside: Record<string, unknown> = {}): StackConfigFile => ({
  file: "stacks/Pulumi.review.yaml",
  encryptionsalt: "v1:salt",
  ...beside,
  config: Object.fromEntries(
    Object.entries({ domain: "replaced.example.com", cluster, ...settings }).map(([key, value]) => [
      `gitlab-workspaces:${key}`,
      value,
    ]),
  ),
});

const production = (of: Record<string, unknown>): StackConfigFile => ({
  ...file({ production: true, cluster: of }),
  file: "stacks/Pulumi.production.yaml",
});

function refusal(given: Partial<MergeRequest>, template = file({}), others: readonly StackConfigFile[] = []): string {
  try {
    reviewOf({ ...mergeRequest, ...given }, template, others, now);
  } catch (error) {
    assert.ok(error instanceof Refused);
    return error.message;
  }
  throw new Error("it was not refused");
}

describe("What a review environment is to be", () => {
  it("is called after the merge request's number everywhere, and is the template in all else", () => {
    const secure = { secure: "v1:secret" };
    const template = file(
      { oauthClientSecret: secure, agents: [{ name: "a" }] },
      { secretsprovider: "awskms://x", encryptedkey: "k" },
    );
    const review = reviewOf(mergeRequest, template, [], now);
    assert.equal(review.stack, "review-mr-7");
    assert.equal(review.domain, "mr-7.review.example.com");
    assert.equal(review.instance, "mr-7");
    assert.deepEqual(review.config, {
      encryptionsalt: "v1:salt",
      secretsprovider: "awskms://x",
      encryptedkey: "k",
      config: {
        "gitlab-workspaces:domain": "mr-7.review.example.com",
        "gitlab-workspaces:instance": "mr-7",
        "gitlab-workspaces:cluster": cluster,
        "gitlab-workspaces:oauthClientSecret": secure,
        "gitlab-workspaces:agents": [{ name: "a" }],
      },
    });
    assert.deepEqual(review.tags, {
      "gitlab-project-id": "41",
      "merge-request": mergeRequest.url,
      deployed: "2026-11-26T10:00:00.000Z",
    });
  });

  it("keeps the template's instance in front", () => {
    assert.equal(reviewOf(mergeRequest, file({ instance: "shop" }), [], now).instance, "shop-mr-7");
  });

  it("has tags that a backend takes, however long the project's path is", () => {
    const { tags } = reviewOf({ ...mergeRequest, url: "x".repeat(1000) }, file({}), [], now);
    assert.ok(Object.values(tags).every((value) => value.length <= 256));
  });

  for (const iid of ["", "0", "-1", "07", "7.5", "1e3", "7\n", "../7", "$(id)", "12345678901", "seven", "\u0667"])
    it(`is refused for the number ${JSON.stringify(iid)}`, () => {
      assert.match(refusal({ iid }), /^CI_MERGE_REQUEST_IID is .*\. It must be the number of a merge request/);
      assert.throws(() => reviewStack(iid), Refused);
    });

  for (const { domain, says } of [
    { domain: "https://review.example.com", says: /without a scheme/ },
    { domain: "*.review.example.com", says: /without '\*'/ },
    { domain: "example", says: /at least two labels/ },
    { domain: "review.example.com\u001b[31m", says: /The review domain is "review\.example\.com\\u001b\[31m"/ },
    { domain: "rev\u0456ew.example.com", says: /punycode/ },
    {
      domain: `${"a".repeat(60)}.${"b".repeat(60)}.${"c".repeat(60)}.com`,
      says: /an environment's .* must be at most 189 characters/,
    },
  ])
    it(`is refused for the review domain ${JSON.stringify(domain.slice(0, 40))}`, () => {
      const message = refusal({ domain });
      assert.match(message, says);
      assert.match(message, /Set the input review-domain/);
    });

  it("is refused when its instance would be longer than the program takes", () => {
    const message = refusal({ iid: "123456" }, file({ instance: "eleven-char" }));
    assert.match(message, /"eleven-char-mr-123456"[^]*at most|1 to 20 characters/);
    assert.match(message, /npx pulumi config rm --config-file stacks\/Pulumi\.review\.yaml gitlab-workspaces:instance/);
  });

  for (const marked of [true, "true", "yes"])
    it(`is refused for a template that is marked production with ${JSON.stringify(marked)}`, () => {
      assert.match(refusal({}, file({ production: marked })), /Pulumi\.review\.yaml is marked production/);
    });

  it("is made after a template that says in text that it is neither production nor takes anything over", () => {
    assert.equal(reviewOf(mergeRequest, file({ production: "false", adopt: "false" }), [], now).instance, "mr-7");
  });

  for (const instance of [7, 7n, true, null, { secure: "v1:x" }])
    it(`is refused for an instance that is ${instance === null ? "nothing" : `a ${typeof instance}`} and no text`, () => {
      assert.match(refusal({}, file({ instance })), /^instance in stacks\/Pulumi\.review\.yaml is .*It must be text/);
    });

  for (const { settings, keys } of [
    { settings: { agents: [{ name: "a" }, { name: "b", release: "r" }] }, keys: ["agents[1].release"] },
    {
      settings: { agents: [{ name: "a", namespace: "n", release: "r" }] },
      keys: ["agents[0].release", "agents[0].namespace"],
    },
    { settings: { agents: JSON.stringify([{ name: "a", namespace: "n" }]) }, keys: ["agents[0].namespace"] },
    { settings: { ingress: { controller: "nginx", namespace: "n" } }, keys: ["ingress.namespace"] },
  ])
    it(`is refused when two would collide at ${keys.join(" and ")}`, () => {
      const faults = refusal({}, file(settings)).split("\n\n");
      assert.equal(faults.length, keys.length);
      for (const [index, key] of keys.entries())
        assert.ok(faults[index]?.startsWith(`${key} in stacks/Pulumi.review.yaml gives every review environment`), key);
    });

  it("may have agents in a namespace of the user's, and share a controller", () => {
    const agents = [{ name: "a", namespace: "n", serviceAccount: "s" }];
    reviewOf(mergeRequest, file({ agents, ingress: { controller: "existing", className: "nginx" } }), [], now);
  });

  it("is refused on production's cluster where that is written as JSON", () => {
    const other = { ...file({ production: "true", cluster: JSON.stringify(cluster) }), file: "stacks/Pulumi.p.yaml" };
    assert.match(refusal({}, file({}), [other]), /that of stacks\/Pulumi\.p\.yaml/);
  });

  it("is refused on a cluster of a stack that is marked production, which it names", () => {
    const message = refusal({}, file({}), [production(cluster)]);
    assert.match(
      message,
      /on the cluster "review-1" \("self-managed"\), which is that of stacks\/Pulumi\.production\.yaml/,
    );
  });

  it("takes a cluster of the same name in another cloud, and that of a stack that is not marked", () => {
    reviewOf(mergeRequest, file({}), [production({ cloud: "gke", name: "review-1", existing: true })], now);
    reviewOf(mergeRequest, file({}), [{ ...file({}), file: "stacks/Pulumi.dev.yaml" }], now);
  });

  it("is refused when each would make a cluster of its own", () => {
    assert.match(refusal({}, file({ cluster: { cloud: "gke", name: "review" } })), /cluster\.existing' true/);
    reviewOf(mergeRequest, file({ cluster: { cloud: "gke", name: "review", existing: true } }), [], now);
  });

  it("is refused when it would take over what stands on the cluster", () => {
    assert.match(refusal({}, file({ adopt: true })), /adopt is on in stacks\/Pulumi\.review\.yaml/);
  });

  it("is refused with all faults at once", () => {
    const message = refusal({ domain: "x" }, file({ production: true, adopt: true }), [production(cluster)]);
    assert.equal(message.split("\n\n").length, 4);
  });

  describe("of a job", () => {
    const variables = {
      CI_MERGE_REQUEST_IID: "7",
      CI_PROJECT_ID: "41",
      PULUMI_BACKEND_URL: "s3://bucket",
      PULUMI_CONFIG_PASSPHRASE: "canary-passphrase",
      REVIEW_STACK: "local",
      REVIEW_DOMAIN: "review.example.com",
    };

    const refusedFor = async (more: Record<string, string | undefined>): Promise<string> => {
      const error: unknown = await reviewOfJob({ ...variables, ...more }, now).then(
        () => undefined,
        (reason: unknown) => reason,
      );
      assert.ok(error instanceof Refused, String(error));
      assert.doesNotMatch(error.message, /canary/);
      return error.message;
    };

    it("is made of a stack config in stacks/, whatever the branch is called", async () => {
      for (const CI_MERGE_REQUEST_SOURCE_BRANCH_NAME of ["x".repeat(200), "\u00fcber/\u{1f980}/../$(id)"]) {
        const review = await reviewOfJob({ ...variables, CI_MERGE_REQUEST_SOURCE_BRANCH_NAME }, now);
        assert.deepEqual([review.stack, review.domain], ["review-mr-7", "mr-7.review.example.com"]);
      }
    });

    it("is refused with every variable that is missing", async () => {
      const message = await refusedFor(Object.fromEntries(Object.keys(variables).map((name) => [name, undefined])));
      for (const name of Object.keys(variables)) assert.ok(message.includes(`The variable ${name} is missing`), name);
    });

    it("takes a file for the passphrase", async () => {
      await reviewOfJob(
        { ...variables, PULUMI_CONFIG_PASSPHRASE: undefined, PULUMI_CONFIG_PASSPHRASE_FILE: "/f" },
        now,
      );
    });

    it("is refused for a fork", async () => {
      const message = await refusedFor({ CI_MERGE_REQUEST_PROJECT_ID: "41", CI_MERGE_REQUEST_SOURCE_PROJECT_ID: "42" });
      assert.match(message, /comes from a fork/);
    });

    for (const { REVIEW_STACK, says } of [
      { REVIEW_STACK: "not-there", says: /Pulumi\.not-there\.yaml: It is not there[^]*In stacks\/ there are/ },
      { REVIEW_STACK: "../../etc/passwd", says: /REVIEW_STACK is .* It must be the name of a stack/ },
      { REVIEW_STACK: "self-managed", says: /is marked production/ },
    ])
      it(`is refused for the template ${REVIEW_STACK}`, async () => {
        assert.match(await refusedFor({ REVIEW_STACK }), says);
      });
  });
});
