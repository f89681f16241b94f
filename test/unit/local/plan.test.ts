import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Refused } from "../../../local/failure";
import { readEvents } from "../../../local/plan/events";
import { report } from "../../../local/plan/report";
import { stackCopy } from "../../../local/plan/stack-copy";
import { readStackFile, type StackFile } from "../../../local/plan/stack-file";
import { said, summary } from "../../../local/plan/summary";
import { inDays, makeCertificate, today } from "../../support/certificates";

const encrypted = { secure: "v1:canary" };

/** A stack config of the given keys, without their namespace. */
function stackFile(own: Readonly<Record<string, unknown>>, others: Readonly<Record<string, unknown>> = {}): StackFile {
  const config = Object.fromEntries(Object.entries(own).map(([key, value]) => [`gitlab-workspaces:${key}`, value]));
  return { stack: "prod", file: "stacks/Pulumi.prod.yaml", config: { ...others, ...config }, others: [] };
}

const domain = "workspaces.example.com";

describe("The stack config to plan", () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "gitlab-workspaces-stack-file-"));
  });
  after(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  /** Writes a file and reads it as a stack config. */
  async function read(name: string, text: string | Buffer): Promise<StackFile> {
    await writeFile(join(folder, name), text);
    return await readStackFile(join(folder, name));
  }

  /** What is said of one that is refused: a message with a remedy, and nothing of the file. */
  async function refusal(reading: Promise<unknown>): Promise<string> {
    const error: unknown = await reading.then(
      () => assert.fail("it was accepted"),
      (reason: unknown) => reason,
    );
    assert.ok(error instanceof Refused, String((error as Error).stack));
    assert.doesNotMatch(error.message, /canary|\n\s+at /);
    return error.message;
  }

  it("is found by the name of its stack, or by its path", async () => {
    assert.equal((await readStackFile("self-managed")).stack, "self-managed");
    const copy = await read("Pulumi.größe & co.yaml", "config:\n  gitlab-workspaces:domain: a.b\n");
    assert.equal(copy.stack, "gr-e-co");
    await symlink(join(folder, "Pulumi.größe & co.yaml"), join(folder, "link.yml"));
    assert.equal((await readStackFile(join(folder, "link.yml"))).stack, "link");
  });

  it("is named when it is not there, with what is there and the nearest name", async () => {
    assert.match(await refusal(readStackFile("self-manged")), /Did you mean self-managed\?[^]*local, self-managed/);
    assert.match(await refusal(readStackFile(undefined)), /^Which stack\? In stacks\/ there are: [^]*npm run plan -- /);
    assert.match(await refusal(readStackFile("größe")), /no stack config stacks\/Pulumi\.größe\.yaml/);
    assert.match(await refusal(readStackFile("..")), /There is no stack config/);
    assert.match(await refusal(readStackFile(join(folder, "none.yaml"))), /It is not there\./);
    assert.match(await refusal(readStackFile(`${folder}/`)), /is no file/);
    assert.match(await refusal(readStackFile("\u001b[2Jx")), /stacks\/Pulumi\.\\u\{1b\}\[2Jx\.yaml/);
  });

  it("is refused when it is empty, no YAML, no stack config or another thing altogether", async () => {
    const cases: [string, string | Buffer, RegExp][] = [
      ["empty.yaml", "", /is empty[^]*cp stacks\//],
      ["comment.yaml", "# nothing\n", /no stack config[^]*cp stacks\//],
      ["broken.yaml", 'config:\n  a: ["canary', /is not YAML, from line \d+, column \d+ on/],
      ["text.yaml", "canary", /has to be a map with a key config/],
      ["others.yaml", "encryptionsalt: canary\n", /has no config/],
      ["list.yaml", "config: [canary]\n", /has to be a map of keys and values/],
      [
        "bare.yaml",
        "config:\n  domain: canary\n",
        /domain in \S+ is no key of stack config: .* gitlab-workspaces:domain/,
      ],
      ["twice.yaml", "config:\n  a:b: canary\n  a:b: canary\n", /is not YAML, from line 3/],
      ["alias.yaml", "config:\n  a:b: *canary\n", /is not YAML/],
      ["binary.yaml", Buffer.from([0, 1, 2, 255, 254]), /no stack config|not YAML/],
      ["deep.yaml", `config: ${"[".repeat(100_000)}`, /is not YAML/],
    ];
    for (const [name, text, message] of cases) assert.match(await refusal(read(name, text)), message, name);
  });

  it("is not even read when it is huge", async () => {
    await writeFile(join(folder, "huge.yaml"), "");
    await truncate(join(folder, "huge.yaml"), 5_000_000_000);
    assert.match(await refusal(readStackFile(join(folder, "huge.yaml"))), /has 5000\.0 MB;/);
  });

  it("keeps long numbers as they are, and takes the older way to write a key", async () => {
    const { config } = await read(
      "numbers.yaml",
      "config:\n  gitlab-workspaces:config:oauthClientId: 12345678901234567890\n",
    );
    assert.deepEqual(config, { "gitlab-workspaces:oauthClientId": 12345678901234567890n });
  });
});

describe("The copy of a stack config that is planned with", () => {
  it("has another value for every secret, and says for which", async () => {
    const own = { domain, kubeconfig: encrypted, oauthClientSecret: encrypted, "agentToken-a": encrypted };
    const copy = await stackCopy(
      stackFile({ ...own, cluster: { cloud: "self-managed" }, agents: [{ name: "a" }] }),
      today,
    );
    assert.deepEqual(copy.placeholders, [
      "gitlab-workspaces:kubeconfig",
      "gitlab-workspaces:oauthClientSecret",
      "gitlab-workspaces:agentToken-a",
    ]);
    assert.deepEqual(copy.missing, []);
    assert.doesNotMatch(JSON.stringify(copy), /canary/);
  });

  it("has what the file lacks, and says with which commands it is set", async () => {
    const own = { domain, agents: [{ name: "a" }], tls: { mode: "provided", certificate: "x" } };
    const copy = await stackCopy(stackFile(own), today);
    const set = "npx pulumi config set --stack prod --secret";
    assert.deepEqual(
      copy.missing.map(({ command }) => command),
      [
        `${set} gitlab-workspaces:oauthClientSecret < oauth-client-secret.txt`,
        `${set} gitlab-workspaces:agentToken-a < agent-token.txt`,
        `${set} gitlab-workspaces:tlsKey < privkey.pem`,
      ],
    );
    const elsewhere = await stackCopy({ ...stackFile(own), file: "/a b/Pulumi.prod.yaml" }, today);
    assert.match(
      elsewhere.missing[0]?.command ?? "",
      /--stack prod --config-file '\/a b\/Pulumi\.prod\.yaml' --secret/,
    );
  });

  it("leaves to the program what it refuses: secrets in plain text, inside objects, and under keys that are none", async () => {
    const certificate = "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----\n";
    const { config, missing, placeholders } = await stackCopy(
      stackFile({
        domain,
        oauthClientSecret: "plain",
        oauthClientSecrt: encrypted,
        tls: { mode: "provided", certificate, key: encrypted },
        tlsKey: "plain",
        charts: { traefik: { values: { a: [encrypted] } } },
      }),
      today,
    );
    assert.equal(config["gitlab-workspaces:oauthClientSecret"], "plain");
    assert.equal(config["gitlab-workspaces:tlsKey"], "plain");
    assert.deepEqual(Object.keys(config["gitlab-workspaces:oauthClientSecrt"] as object), ["secure"]);
    assert.deepEqual(config["gitlab-workspaces:tls"], { mode: "provided", certificate, key: { secure: "stand-in" } });
    assert.deepEqual(config["gitlab-workspaces:charts"], { traefik: { values: { a: [{ secure: "stand-in" }] } } });
    assert.deepEqual([missing, placeholders], [[], ["gitlab-workspaces:oauthClientSecrt"]]);
  });

  it("leaves out what only an account or a cluster could be asked about, and says why", async () => {
    const { config, leftOut } = await stackCopy(
      {
        ...stackFile(
          { domain, adopt: true },
          {
            "gcp:credentials": encrypted,
            "gcp:project": "my-project",
            "aws:secretKey": "canary",
            "aws:assumeRoles": [{ externalId: encrypted }],
            "pulumi:disable-default-providers": ["kubernetes"],
          },
        ),
        others: ["encryptionsalt", "secretsprovider", "encryptedkey", "environment"],
      },
      today,
    );
    assert.deepEqual(Object.keys(config), [
      "gcp:project",
      "pulumi:disable-default-providers",
      "gitlab-workspaces:domain",
      "gitlab-workspaces:oauthClientSecret",
    ]);
    assert.deepEqual(
      leftOut.map(({ key }) => key),
      ["environment", "gitlab-workspaces:adopt", "gcp:credentials", "aws:secretKey", "aws:assumeRoles"],
    );
    assert.match(leftOut.find(({ key }) => key === "aws:secretKey")?.why ?? "", /plain text: rotate it/);
  });

  it("has certificates of its own, and says what is wrong with the real ones", async () => {
    const warnings = async (certificate: string): Promise<readonly string[]> => {
      const own = { domain, tls: { mode: "provided", certificate }, tlsKey: encrypted };
      const copy = await stackCopy(stackFile(own), today);
      assert.ok(copy.placeholders.includes("gitlab-workspaces:tls.certificate"));
      assert.notEqual((copy.config["gitlab-workspaces:tls"] as { certificate: string }).certificate, certificate);
      return copy.warnings;
    };
    const covers = [domain, `*.${domain}`];
    const good = await makeCertificate({ name: domain, covers });
    assert.deepEqual(await warnings(good.certificate), []);
    const expired = await makeCertificate({ name: domain, covers, to: inDays(-1) });
    assert.match(
      String(await warnings(expired.certificate)),
      /tls\.certificate of the file: .* expired on .*refuse it/,
    );
    const soon = await makeCertificate({ name: domain, covers, to: inDays(3) });
    assert.match(String(await warnings(soon.certificate)), /expires on 2026-11-24, in 3 days\.$/);
    const narrow = await makeCertificate({ name: domain, covers: [domain] });
    assert.match(String(await warnings(narrow.certificate)), /does not cover \*\.workspaces\.example\.com/);
    assert.match(String(await warnings("hello")), /not a PEM certificate/);
  });
});

describe("The summary of a plan", () => {
  const recorded = async () =>
    readEvents(await readFile(join(__dirname, "recorded", "plan-of-self-managed.jsonl"), "utf8"));

  it("is of the subscription that the stack names, where credentials would say which it is", async () => {
    const { config } = await stackCopy(await readStackFile("aks"), today);
    assert.equal(config["azure-native:subscriptionId"], "00000000-0000-0000-0000-000000000000");
  });

  it("tells what would be made, part by part, with the charts and their versions", async () => {
    const copy = await stackCopy(await readStackFile("self-managed"), today);
    const plan = summary(copy, await recorded());
    assert.deepEqual(
      plan.parts.map(({ part, resources }) => [part, resources.map(({ kind, as, name }) => `${kind} ${as ?? name}`)]),
      [
        ["cluster", []],
        [
          "ingress controller",
          [
            "Namespace gitlab-ingress-controller",
            "Release gitlab-ingress-controller/traefik",
            "Service traefik-service",
          ],
        ],
        ["secrets", ["random.RandomPassword signing-key", "tls.PrivateKey ssh-host-key"]],
        [
          "proxy",
          [
            "Ingress gitlab-workspaces/gitlab-workspaces-proxy-metrics-closed",
            "Namespace gitlab-workspaces",
            "PodDisruptionBudget gitlab-workspaces/gitlab-workspaces-proxy",
            "Release gitlab-workspaces/gitlab-workspaces-proxy",
            "Secret gitlab-workspaces/gitlab-workspace-proxy-tls",
            "Secret gitlab-workspaces/gitlab-workspace-proxy-wildcard-tls",
            "Secret gitlab-workspaces/gitlab-workspaces-proxy-config",
            "Service gitlab-workspaces/gitlab-workspaces-proxy-metrics-closed",
            "Service workspaces-proxy-ssh",
          ],
        ],
        [
          "agents",
          [
            "Namespace gitlab-agent-team-a",
            "PodDisruptionBudget gitlab-agent-team-a/gitlab-agent-team-a",
            "Release gitlab-agent-team-a/gitlab-agent-team-a",
            "Secret gitlab-agent-team-a/gitlab-agent-team-a-token",
          ],
        ],
        ["guard", ["DestroyGuard destroy-guard"]],
      ],
    );
    const release = plan.parts[1]?.resources.find(({ kind }) => kind === "Release");
    assert.deepEqual(release?.facts, {
      chart: "traefik",
      version: "41.7.1",
      repository: "https://traefik.github.io/charts",
    });
    assert.equal(plan.counts["Release"], 3);
    assert.equal(plan.counts["Service"], 1, "what is only read is not counted");
  });

  it("tells which outputs are known, which are not yet, and no secret one", async () => {
    const plan = summary(await stackCopy(await readStackFile("self-managed"), today), await recorded());
    assert.equal(plan.outputs["workspacesUrl"], "https://workspaces.example.com");
    assert.deepEqual(plan.unknownOutputs, ["dnsRecords", "ingressAddress"]);
    assert.deepEqual(plan.secretOutputs, ["kubeconfig"]);
    assert.ok(!("kubeconfig" in plan.outputs));
  });

  it("says first what it is, and at the end what the file lacks", async () => {
    const text = report(summary(await stackCopy(await readStackFile("self-managed"), today), await recorded()));
    const [first = "", second = "", third = ""] = text.split("\n");
    assert.match(first, /^Plan of the stack "self-managed" .* empty stand-in account, with placeholder secrets/);
    assert.match(second, /^No cluster and no cloud was asked/);
    assert.equal(third, "17 resources to create, in 6 parts.");
    assert.match(text, /cluster-admin/);
    assert.match(
      text,
      /\$ npx pulumi config set --stack self-managed --secret gitlab-workspaces:tlsKey < privkey\.pem$/,
    );
    assert.ok(!text.includes("stand-in-") && !text.includes("\u001b"));
  });

  it("goes by every cloud's resources alike, and shows what they cost by", () => {
    const step = (type: string, urn: string, parent: string, inputs: object) => ({
      resourcePreEvent: { metadata: { op: "create", type, urn, new: { parent, inputs: { ...inputs } } } },
    });
    const at = "urn:pulumi:gke::gitlab-workspaces::";
    const stack = `${at}pulumi:pulumi:Stack::gitlab-workspaces-gke`;
    const cluster = `${at}gitlab-workspaces:clusters:Gke::cluster`;
    const copy = {
      stack: "gke",
      file: "f",
      config: {},
      placeholders: [],
      missing: [],
      leftOut: [],
      warnings: ["not \u001b[31mred"],
    };
    const plan = summary(copy, [
      step("gcp:container/nodePool:NodePool", `${at}x$gcp:container/nodePool:NodePool::pool`, cluster, {
        name: "04da6b54-80e4-46f7-96ec-b56ff0331ba9",
        nodeConfig: { machineType: "e2-standard-4" },
      }),
      step("pulumi:pulumi:Stack", stack, "", {}),
      step("gitlab-workspaces:clusters:Gke", cluster, stack, {}),
      step("pulumi:providers:gcp", `${at}pulumi:providers:gcp::default`, "", {}),
      step("gitlab-workspaces:dns:Zone", `${at}gitlab-workspaces:dns:Zone::dns-records`, stack, {}),
    ]);
    assert.deepEqual(plan.parts, [
      {
        part: "cluster",
        resources: [
          {
            op: "create",
            type: "gcp:container/nodePool:NodePool",
            name: "pool",
            kind: "gcp.container.NodePool",
            facts: { "node machine type": "e2-standard-4" },
          },
        ],
      },
      { part: "dns-records", resources: [] },
    ]);
    assert.match(report(plan), /not \\u\{1b\}\[31mred/);
  });

  it("leaves out the ends of names that the engine made up, and of nothing that the user has said", () => {
    const step = (name: string, inputs: Record<string, string>, type = "aws:iam/role:Role") => ({
      resourcePreEvent: {
        metadata: { op: "create", type, urn: `urn:pulumi:s::p::t::${name}`, new: { inputs } },
      },
    });
    const copy = { stack: "s", file: "f", config: {}, placeholders: [], missing: [], leftOut: [], warnings: [] };
    const plan = summary(copy, [
      step("attachment", { role: "nodes-1a2b3c4", description: "2.0.0-1234567" }),
      step("nodes", { name: "nodes-1a2b3c4", location: "nodes-7654321" }),
      step("other", { name: "mine-1234567" }),
      step("traefik", { version: "2.0.0-1234567" }, "kubernetes:helm.sh/v3:Release"),
    ]);
    const told = plan.parts.flatMap(({ resources }) => resources.map(({ name, as, facts }) => [name, as, facts]));
    assert.deepEqual(told, [
      ["attachment", undefined, { role: "nodes-*", description: "2.0.0-1234567" }],
      ["nodes", "nodes-*", { location: "nodes-7654321" }],
      ["other", "mine-1234567", {}],
      ["traefik", undefined, { version: "2.0.0-1234567" }],
    ]);
  });

  it("is made from a log that was cut off as far as that goes, and repeats nothing", () => {
    const diagnostic = JSON.stringify({ diagnosticEvent: { severity: "error", message: "no\n" } });
    assert.deepEqual(said(readEvents(`${diagnostic}\n${diagnostic}\n${diagnostic.slice(0, 20)}`), "error"), ["no"]);
  });
});
