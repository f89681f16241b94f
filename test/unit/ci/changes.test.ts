import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Change, compared, outlook, programIgnores, programReplaces } from "../../../ci/changes";
import { configChanges } from "../../../ci/config-changes";
import { consequences } from "../../../ci/consequences";
import { counts } from "../../../ci/comment";
import { isAffected } from "../../../ci/affected";
import type { EngineEvent, Step } from "../../../local/plan/events";
import { inDays, makeCertificate } from "../../support/certificates";

const unknown = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";
const box = (): object => ({
  "4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270",
  ciphertext: "[secret]",
});
const urn = (type: string, name: string): string => `urn:pulumi:staging::gitlab-workspaces::${type}::${name}`;

function step(op: string, type: string, name: string, more: Partial<Step> = {}): EngineEvent {
  return { resourcePreEvent: { metadata: { op, type, urn: urn(type, name), ...more } } };
}

/** What a plan has of one resource. */
function planned(type: string, name: string, inputs: Record<string, unknown>): EngineEvent {
  return step("create", type, name, { new: { inputs } });
}

const at = (path: string, value: string): Record<string, unknown> => {
  const [name = "", inner] = path.split(".");
  return { [name]: inner === undefined ? value : { [inner]: value } };
};

/** The text up to the bracket that closes the list it begins in. */
function upToBracket(text: string): string {
  let depth = 1;
  for (const [index, part] of [...text.matchAll(/"[^"]*"|[[\]]/g)].map(
    ({ 0: part, index }) => [index, part] as const,
  )) {
    if (part === "[") depth++;
    if (part === "]" && --depth === 0) return text.slice(0, index);
  }
  return text;
}

const brief = ({ op, type, name, paths, causes }: Change): unknown => ({ op, type, name, paths, causes });

describe("What changes for a stack", () => {
  describe("by a preview", () => {
    it("counts a replacement once, with the paths that ask for it, and leaves out what stays, components and providers", () => {
      const { changes, resources } = outlook([
        step("same", "kubernetes:core/v1:Namespace", "kept"),
        step("update", "gitlab-workspaces:platform:WorkspacesProxy", "component"),
        step("update", "pulumi:providers:gcp", "default"),
        step("create-replacement", "gcp:container/cluster:Cluster", "workspaces"),
        step("replace", "gcp:container/cluster:Cluster", "workspaces", {
          keys: ["location"],
          detailedDiff: {
            location: { diffKind: "update-replace" },
            "resourceLabels.team": { diffKind: "update" },
          },
        }),
        step("delete-replaced", "gcp:container/cluster:Cluster", "workspaces"),
        step("delete", "kubernetes:core/v1:Secret", "old"),
        step("update", "kubernetes:helm.sh/v3:Release", "traefik", { diffs: ["version"] }),
        step("create", "kubernetes:core/v1:Secret", "new"),
      ]);
      assert.deepEqual(changes.map(brief), [
        {
          op: "replace",
          type: "gcp:container/cluster:Cluster",
          name: "workspaces",
          paths: ["location", "resourceLabels.team"],
          causes: ["location"],
        },
        { op: "delete", type: "kubernetes:core/v1:Secret", name: "old", paths: [], causes: [] },
        { op: "update", type: "kubernetes:helm.sh/v3:Release", name: "traefik", paths: ["version"], causes: [] },
        { op: "create", type: "kubernetes:core/v1:Secret", name: "new", paths: [], causes: [] },
      ]);
      assert.deepEqual(counts(changes), { create: 2, update: 1, delete: 2 });
      assert.deepEqual(
        resources.map(({ type, name }) => `${type} ${name}`),
        [
          "pulumi:pulumi:Stack outputs",
          "kubernetes:core/v1:Namespace kept",
          "gcp:container/cluster:Cluster workspaces",
          "kubernetes:helm.sh/v3:Release traefik",
          "kubernetes:core/v1:Secret new",
        ],
      );
    });

    it("shows no output that is secret or not known", () => {
      const state = { workspacesUrl: "https://a.test", kubeconfig: box(), nested: { inner: box() }, address: unknown };
      const { outputs } = outlook([
        {
          resOutputsEvent: {
            metadata: {
              op: "same",
              type: "pulumi:pulumi:Stack",
              urn: urn("pulumi:pulumi:Stack", "s"),
              new: { outputs: state },
            },
          },
        },
      ]);
      assert.deepEqual(outputs.after, { workspacesUrl: "https://a.test" });
    });
  });

  describe("by two plans", () => {
    const between = (before: EngineEvent[], after: EngineEvent[]): unknown[] =>
      compared(outlook(before), outlook(after)).changes.map(brief);

    it("is nothing between two plans of the same, whatever names, secrets and digests were made up for each", () => {
      const plan = (end: string): EngineEvent[] => [
        planned("gcp:compute/router:Router", "workspaces", { __defaults: ["name"], name: `workspaces-${end}` }),
        planned("gcp:compute/routerNat:RouterNat", "workspaces", { router: `workspaces-${end}`, network: unknown }),
        planned("kubernetes:core/v1:Secret", "token", { data: box() }),
        planned("kubernetes:helm.sh/v3:Release", "agent", { values: { podAnnotations: { "checksum/token": end } } }),
      ];
      assert.deepEqual(between(plan("1234abc"), plan("fedcba9")), []);
    });

    it("tells a change in place from one that costs a replacement, on each cloud and on the cluster", () => {
      const replaced: readonly (readonly [string, string])[] = [
        ["gcp:container/cluster:Cluster", "location"],
        ["aws:eks/cluster:Cluster", "roleArn"],
        ["azure-native:containerservice:ManagedCluster", "location"],
        ["civo:index/firewall:Firewall", "networkId"],
        // What the program asks to be replaced.
        ["civo:index/kubernetesCluster:KubernetesCluster", "pools.size"],
        ["aws:eks/cluster:Cluster", "computeConfig"],
        ["kubernetes:helm.sh/v3:Release", "namespace"],
        ["pulumi:providers:kubernetes", "clusterIdentifier"],
        ["random:index/randomPassword:RandomPassword", "length"],
      ];
      for (const [type, path] of replaced)
        assert.deepEqual(
          between([planned(type, "x", at(path, "one"))], [planned(type, "x", at(path, "other"))]),
          [{ op: "replace", type, name: "x", paths: [path], causes: [path] }],
          `${type} ${path}`,
        );
      const type = "kubernetes:helm.sh/v3:Release";
      assert.deepEqual(
        between(
          [planned(type, "x", { values: { list: [{ a: 1 }, { a: 2 }] } })],
          [planned(type, "x", { values: { list: [{ a: 1 }, { a: 3 }], more: true } })],
        ),
        [{ op: "update", type, name: "x", paths: ["values.list[1].a", "values.more"], causes: [] }],
      );
    });

    it("knows that a range of addresses may grow, and that a smaller one is another", () => {
      const type = "gcp:compute/subnetwork:Subnetwork";
      const op = (before: string, after: string): unknown =>
        between([planned(type, "x", { ipCidrRange: before })], [planned(type, "x", { ipCidrRange: after })]);
      assert.deepEqual(op("10.0.0.0/20", "10.0.0.0/18"), [
        { op: "update", type, name: "x", paths: ["ipCidrRange"], causes: [] },
      ]);
      assert.deepEqual(op("10.0.0.0/18", "10.0.0.0/20"), [
        { op: "replace", type, name: "x", paths: ["ipCidrRange"], causes: ["ipCidrRange"] },
      ]);
    });

    it("goes by what the program itself has replaced and ignored, all of it", async () => {
      const folder = join(__dirname, "..", "..", "..", "src", "clusters");
      const texts = await Promise.all(
        (await readdir(folder))
          .filter((file) => file.endsWith(".ts"))
          .map((file) => readFile(join(folder, file), "utf8")),
      );
      const told = (option: string): string[] => [
        ...new Set(
          texts
            .flatMap((text) => text.split(`${option}: [`).slice(1))
            .map(upToBracket)
            .flatMap((list) =>
              [...list.matchAll(/"([^"]*)"/g)].map(([, path = ""]) => path.replaceAll(/\[\d+\]/g, "[*]")),
            ),
        ),
      ];
      const known = (paths: object): string[] => [...new Set(Object.values(paths).flat() as string[])];
      assert.deepEqual(told("replaceOnChanges").sort(), known(programReplaces).sort());
      // Those are ignored only where the stack config does not set them, and then they are not among the inputs.
      const whereUnset = ["kubernetesVersion", "orchestratorVersion", "agentPoolProfiles[*].orchestratorVersion"];
      assert.deepEqual(told("ignoreChanges").sort(), [...known(programIgnores), ...whereUnset].sort());
      const ignored = { initialNodeCount: 1 };
      const type = "gcp:container/nodePool:NodePool";
      assert.deepEqual(between([planned(type, "x", ignored)], [planned(type, "x", { initialNodeCount: 2 })]), []);
    });

    it("tells what is new and what is gone", () => {
      const type = "kubernetes:core/v1:Secret";
      assert.deepEqual(between([planned(type, "old", {})], [planned(type, "new", {})]), [
        { op: "delete", type, name: "old", paths: [], causes: [] },
        { op: "create", type, name: "new", paths: [], causes: [] },
      ]);
    });
  });

  describe("for people", () => {
    const change = (op: Change["op"], type: string, name = "workspaces"): Change => ({
      op,
      type,
      name,
      paths: [],
      causes: [],
    });
    const outputs = { type: "pulumi:pulumi:Stack", name: "outputs", inputs: {} };
    const kept = { type: "kubernetes:core/v1:Namespace", name: "kept", inputs: {} };
    const told = (...changes: Change[]): string[] =>
      consequences({ changes, resources: [outputs, kept], outputs: { before: {}, after: {} } }).map(
        ({ level, text }) => `${level}: ${text}`,
      );

    it("begins with the loss of the cluster", () => {
      const [first, ...others] = told(
        change("update", "kubernetes:helm.sh/v3:Release", "workspaces-proxy"),
        change("replace", "gcp:compute/address:Address"),
        change("delete", "azure-native:containerservice:ManagedCluster"),
      );
      assert.match(first ?? "", /^danger: The cluster is taken away: all workspaces on it are lost/);
      assert.match(others[0] ?? "", /^danger: A public address changes/);
      assert.match(others[1] ?? "", /^notice: /);
    });

    for (const [what, changed, expected] of [
      [
        "an ingress controller",
        change("replace", "kubernetes:helm.sh/v3:Release", "traefik"),
        /^danger: The ingress controller/,
      ],
      ["a proxy", change("delete", "kubernetes:helm.sh/v3:Release", "workspaces-proxy"), /^danger: The proxy is taken/],
      ["an agent", change("delete", "kubernetes:helm.sh/v3:Release", "gitlab-agent-a"), /^danger: An agent is taken/],
      ["nodes", change("replace", "aws:eks/nodeGroup:NodeGroup"), /^danger: Nodes are taken/],
      ["a network", change("replace", "civo:index/network:Network"), /^danger: The network below/],
      ["a namespace", change("delete", "kubernetes:core/v1:Namespace"), /^danger: A namespace/],
      ["another cluster", change("replace", "pulumi:providers:kubernetes"), /^danger: It is another cluster/],
      [
        "the signing key",
        change("replace", "random:index/randomPassword:RandomPassword", "signing-key"),
        /^notice: Everybody is signed out/,
      ],
      [
        "the SSH host key",
        change("replace", "tls:index/privateKey:PrivateKey", "ssh-host-key"),
        /^notice: The SSH host key/,
      ],
      [
        "a certificate",
        change("update", "kubernetes:core/v1:Secret", "workspaces-proxy-tls-domain"),
        /^notice: The certificate/,
      ],
      [
        "settings",
        change("update", "kubernetes:core/v1:Secret", "workspaces-proxy-config"),
        /^notice: The proxy's settings/,
      ],
    ] as const)
      it(`says what ${what} means`, () => {
        const [first] = told(changed);
        assert.match(first ?? "", expected);
      });

    it("says nothing of a loss where everything is new", () => {
      const changes = [change("create", "kubernetes:core/v1:Secret", "workspaces-proxy-tls-domain")];
      const made = { type: "kubernetes:core/v1:Secret", name: "workspaces-proxy-tls-domain", inputs: {} };
      const outlooks = [
        [outputs, kept, made],
        [outputs, made],
      ].map((resources) => consequences({ changes, resources, outputs: { before: {}, after: {} } }));
      assert.deepEqual(
        outlooks.map(({ length }) => length),
        [1, 0],
      );
    });

    it("shows where the proxy moves to", () => {
      const found = consequences({
        changes: [],
        resources: [],
        outputs: {
          before: { workspacesUrl: "https://a.test", ingressAddress: "192.0.2.1" },
          after: { workspacesUrl: "https://b.test", ingressAddress: "192.0.2.1" },
        },
      });
      assert.deepEqual(
        found.map(({ level, values }) => ({ level, values })),
        [{ level: "danger", values: ["https://a.test", "https://b.test"] }],
      );
    });
  });

  it("affects a stack by its own file and by the program, and by nothing else", () => {
    for (const path of [
      "stacks/Pulumi.staging.yaml",
      "src/deploy.ts",
      "package-lock.json",
      "Pulumi.yaml",
      "ci/allowances.yaml",
    ])
      assert.equal(isAffected("staging", [path]), true, path);
    for (const path of [
      "stacks/Pulumi.production.yaml",
      "docs/pipeline.md",
      "test/unit/x.test.ts",
      "stacks/Pulumi.stagingxyaml",
    ])
      assert.equal(isAffected("staging", [path]), false, path);
    assert.equal(isAffected("staging", []), false);
  });

  it("names the keys of the stack config, and of a secret no more than that it is another", async () => {
    const [old, now] = await Promise.all(
      [20, 80].map((days) => makeCertificate({ name: "a.test", covers: ["a.test"], to: inDays(days) })),
    );
    const file = (certificate: string, secret: string, domain: string): string =>
      JSON.stringify({
        config: {
          "gitlab-workspaces:domain": domain,
          "gitlab-workspaces:tls": { mode: "provided", certificate },
          "gitlab-workspaces:tlsKey": { secure: secret },
          "gitlab-workspaces:oauthClientId": "same",
        },
      });
    assert.deepEqual(
      configChanges(file(old!.certificate, "v1:aaa", "a.test"), file(now!.certificate, "v1:bbb", "b.test")),
      {
        settings: ["gitlab-workspaces:domain", "gitlab-workspaces:tls"],
        secrets: ["gitlab-workspaces:tlsKey"],
        certificates: [
          {
            key: "tls.certificate",
            before: `a.test, valid until ${inDays(20).toISOString().slice(0, 10)}`,
            after: `a.test, valid until ${inDays(80).toISOString().slice(0, 10)}`,
          },
        ],
      },
    );
    assert.deepEqual(configChanges(undefined, "config: {a:b: {secure: x}}").secrets, ["a:b"]);
    assert.deepEqual(configChanges("%", "- no map"), { settings: [], secrets: [], certificates: [] });
  });
});
