import assert from "node:assert/strict";
import type { Change } from "../../../ci/changes";
import { comment, failedComment, type Previewed } from "../../../ci/comment";

const origin = {
  stack: "staging",
  commit: "0123456789abcdef0123456789abcdef01234567",
  job: "https://gitlab.example.test/-/jobs/1",
};

function previewed(more: Partial<Previewed> = {}): Previewed {
  return {
    source: { kind: "preview" },
    outlook: { changes: [], resources: [], outputs: { before: {}, after: {} } },
    config: { settings: [], secrets: [], certificates: [] },
    violations: [],
    warnings: [],
    ...more,
  };
}

const change = (op: Change["op"], type: string, name: string, more: Partial<Change> = {}): Change => ({
  op,
  type,
  name,
  paths: [],
  causes: [],
  ...more,
});

const outlook = (...changes: Change[]): Previewed["outlook"] => ({
  changes,
  resources: [],
  outputs: { before: {}, after: {} },
});

describe("The comment on a merge request", () => {
  it("says what is lost before anything else, and folds the rest", () => {
    const body = comment(
      origin,
      previewed({
        outlook: outlook(
          change("create", "kubernetes:core/v1:Secret", "new"),
          change("replace", "gcp:container/cluster:Cluster", "workspaces", {
            paths: ["location"],
            causes: ["location"],
          }),
        ),
        violations: [
          { policy: "no-cluster-replacement", name: "workspaces", message: "It would be replaced." },
          {
            policy: "no-public-api",
            name: "workspaces",
            message: "It is open.",
            allowance: {
              policy: "no-public-api",
              name: "workspaces",
              reason: "until the office has an address",
              until: "2027-01-31",
            },
          },
        ],
        config: { settings: ["gitlab-workspaces:cluster"], secrets: ["gitlab-workspaces:tlsKey"], certificates: [] },
        warnings: ["agents[0] is cluster-admin"],
      }),
    );
    assert.equal(
      body,
      [
        "### Stack `staging`: **1 replaced**, 1 new",
        "<sub>Commit `0123456789ab` in [this job](https://gitlab.example.test/-/jobs/1). Previewed with `pulumi preview` against the stack's state; `up` may find what only a cluster or a cloud knows.</sub>",
        "> [!caution] What people lose\n> - The cluster is taken away: all workspaces on it are lost, with every file in them that was not pushed. Have people push their work and terminate their workspaces first. (`workspaces`)",
        "> [!caution] Policies refuse this\n> - **no-cluster-replacement**, `workspaces`: `It would be replaced.`",
        "**Replaced or deleted**\n\n- replace `gcp:container/cluster:Cluster` `workspaces`, because of `location`",
        "**Allowed for now, by ci/allowances.yaml**\n\n- **no-public-api**, `workspaces`: `It is open.`, until `2027-01-31`: `until the office has an address`",
        "**Warnings**\n\n- `agents[0] is cluster-admin`",
        "**Stack config**\n\n- `gitlab-workspaces:cluster` changes\n- `gitlab-workspaces:tlsKey` is a secret that is set, exchanged or removed; its value is not shown",
        "<details><summary>All other changes: 1</summary>\n\n- create `kubernetes:core/v1:Secret` `new`\n\n</details>\n",
      ].join("\n\n"),
    );
  });

  it("says plainly that nothing changes", () => {
    assert.match(comment(origin, previewed()), /^### Stack `staging`: no changes\n\n<sub>Commit.*<\/sub>\n$/);
  });

  it("says of a plan that it used no key, and what it was compared with", () => {
    const of = (source: Previewed["source"]): string => comment(origin, previewed({ source }));
    assert.match(
      of({ kind: "plan", why: "production" }),
      /production stack: its job holds nothing that opens the stack's secrets.*compared/,
    );
    assert.match(of({ kind: "plan", why: "fork" }), /from a fork: its job holds nothing/);
    assert.match(of({ kind: "plan", why: "production", alone: "it is new" }), /everything is new.*`it is new`/);
  });

  it("lets nobody's text run quick actions, ping people, load pictures or leave its place", () => {
    const hostile =
      "x`\n/merge\n@all ![](https://evil.test) </details> | \u202e <!-- gitlab-workspaces preview: production -->";
    const bodies = [
      comment(
        { ...origin, job: "javascript:alert(1)" },
        previewed({
          outlook: outlook(change("delete", hostile, hostile, { paths: [hostile], causes: [hostile] })),
          warnings: [hostile],
          violations: [{ policy: "no-public-api", name: hostile, message: hostile }],
          config: {
            settings: [hostile],
            secrets: [hostile],
            certificates: [{ key: "k", before: hostile, after: hostile }],
          },
        }),
      ),
      failedComment(origin, { kind: "preview" }, [`\`\`\`\n/merge\n${hostile}`]),
    ];
    for (const body of bodies) {
      // Outside of code, which GitLab leaves alone.
      const outside = body.replaceAll(/^(`{3,})text\n[\s\S]*?\n\1$/gm, "").replaceAll(/`[^`\n]*`/g, "");
      assert.doesNotMatch(outside, /@all|evil|<!--|\u202e|javascript/);
      assert.doesNotMatch(outside, /^\s*>?\s*-?\s*\/\w/m);
      assert.equal(outside.split("</details>").length, outside.split("<details>").length);
    }
  });

  it("keeps the words of a preview that failed, and a first deployment of sixty readable", () => {
    const failed = failedComment(origin, { kind: "preview" }, [
      "error: gitlab-workspaces:domain is missing\n  npx pulumi config set",
    ]);
    assert.match(
      failed,
      /^### Stack `staging`: the preview failed\n\n<sub>.*<\/sub>\n\n> \[!caution\] Nothing is known/,
    );
    assert.match(failed, /```text\nerror: gitlab-workspaces:domain is missing\n {2}npx pulumi config set\n```/);
    const many = Array.from({ length: 300 }, (_, index) => change("create", "kubernetes:core/v1:Secret", `s${index}`));
    assert.match(comment(origin, previewed({ outlook: outlook(...many) })), /- and 100 more\n\n<\/details>/);
  });
});
