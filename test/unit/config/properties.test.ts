import assert from "node:assert/strict";
import fc from "fast-check";
import { names } from "../../../src/platform/names";
import { faultsOf, kubeconfig, load, useStack, type Stack } from "./stack";

const label = (longest: number) => fc.stringMatching(new RegExp(`^[a-z]([a-z0-9-]{0,${longest - 2}}[a-z0-9])?$`));
const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
const version = fc.tuple(fc.nat(50), fc.nat(50), fc.nat(50)).map((parts) => parts.join("."));
/** A secret with no secret's look about it, of a kind that appears in no message by chance. */
const canary = fc.stringMatching(/^canary[a-z0-9]{12}$/);

const stack: fc.Arbitrary<Stack> = fc
  .record({
    settings: fc.record({
      domain: fc.array(label(20), { minLength: 2, maxLength: 5 }).map((labels) => labels.join(".")),
      instance: optional(label(20)),
      production: optional(fc.constantFrom("false", false)),
      oauthClientId: fc.stringMatching(/^[a-f0-9]{10,64}$/),
      cluster: fc.record(
        { cloud: fc.constant("self-managed"), name: label(63), context: fc.constantFrom("admin@metal", "other") },
        { requiredKeys: ["cloud", "name"] },
      ),
      ingress: optional(
        fc.oneof(
          fc.record({ controller: fc.constantFrom("nginx", "traefik") }),
          fc.record(
            {
              controller: fc.constant("existing"),
              className: label(40),
              annotations: fc.dictionary(label(10), fc.string()),
            },
            { requiredKeys: ["controller", "className"] },
          ),
        ),
      ),
      tls: fc.constant({ mode: "self-signed" }),
      proxy: optional(
        fc.record({
          ssh: fc.record(
            { service: fc.constantFrom("off", "ClusterIP", "LoadBalancer"), port: fc.integer({ min: 1, max: 65535 }) },
            { requiredKeys: [] },
          ),
        }),
      ),
      agents: fc
        .uniqueArray(
          fc.oneof(
            fc.record({ name: label(19) }),
            fc.record({ name: label(19), namespace: label(60) }),
            fc.record({ name: label(19), namespace: label(60), serviceAccount: label(63) }),
          ),
          { minLength: 1, maxLength: 4, selector: ({ name }) => name },
        )
        .map((list) =>
          list.map((agent, index) =>
            "namespace" in agent ? { ...agent, namespace: `n${index}-${agent.namespace}` } : agent,
          ),
        ),
      gitlab: optional(
        fc.record({ url: label(20).map((host) => `https://${host}.example.com/sub/`) }, { requiredKeys: [] }),
      ),
      charts: optional(
        fc.record(
          { traefik: fc.record({ version, values: fc.dictionary(fc.string(), fc.jsonValue()) }, { requiredKeys: [] }) },
          { requiredKeys: [] },
        ),
      ),
    }),
    tokens: fc.array(canary, { minLength: 4, maxLength: 4 }),
    oauthClientSecret: canary,
    signingKey: canary,
  })
  .map(({ settings, tokens, oauthClientSecret, signingKey }) => ({
    settings,
    secrets: {
      kubeconfig,
      oauthClientSecret,
      signingKey,
      ...Object.fromEntries(settings.agents.map(({ name }, index) => [`agentToken-${name}`, tokens[index] ?? ""])),
    },
  }));

/** Ways to spoil a stack; each gives the spoilt one and the key that the message must name. */
const spoilers: Record<string, (stack: Stack, at: number) => readonly [Stack, string]> = {
  "a required setting is dropped": (stack, at) => {
    const key = ["domain", "oauthClientId", "cluster", "tls", "agents"][at % 5] ?? "";
    return [{ ...stack, settings: { ...stack.settings, [key]: undefined } }, key];
  },
  "a setting is misspelt": (stack, at) => {
    const keys = Object.keys(stack.settings);
    const key = keys[at % keys.length] ?? "";
    return [{ ...stack, settings: { ...stack.settings, [`${key}x`]: stack.settings[key] ?? "x" } }, `${key}x`];
  },
  "a structure has one key too many": (stack, at) => {
    const key = ["cluster", "tls"][at % 2] ?? "";
    return [
      { ...stack, settings: { ...stack.settings, [key]: { ...(stack.settings[key] as object), extra: 1 } } },
      `${key}.extra`,
    ];
  },
  "a structure is a text": (stack, at) => {
    const key = ["cluster", "ingress", "tls", "proxy", "agents", "gitlab", "charts"][at % 7] ?? "";
    return [{ ...stack, settings: { ...stack.settings, [key]: "text" } }, key];
  },
  "a secret is missing": (stack, at) => {
    const keys = Object.keys(stack.secrets).filter((key) => key !== "signingKey");
    const key = keys[at % keys.length] ?? "";
    return [
      { ...stack, secrets: Object.fromEntries(Object.entries(stack.secrets).filter(([name]) => name !== key)) },
      key,
    ];
  },
  "a secret is in plain text": (stack, at) => {
    const keys = Object.keys(stack.secrets);
    const key = keys[at % keys.length] ?? "";
    const { [key]: plain, ...secrets } = stack.secrets;
    return [{ ...stack, settings: { ...stack.settings, [key]: plain }, secrets }, key];
  },
  "an agent's name is too long for a release": (stack) => withAgent(stack, { name: "n".repeat(41) }, "name"),
  "an agent is to be in the proxy's namespace": (stack) => {
    const namespace = names(stack.settings["instance"] as string | undefined).proxyNamespace;
    return withAgent(stack, { name: "spoilt", namespace }, "namespace");
  },
  "an agent has an account and no namespace": (stack) =>
    withAgent(stack, { name: "spoilt", serviceAccount: "own" }, "namespace"),
  "a chart is given a secret by value": (stack, at) => {
    const name = ["traefik", "gitlab-agent", "gitlab-workspaces-proxy", "ingress-nginx"][at % 4] ?? "";
    const values = { deep: [{ er: `x glpat-canary${"0".repeat(at)}0123456789` }] };
    return [
      { ...stack, settings: { ...stack.settings, charts: { [name]: { values } } } },
      `charts.${name}.values.deep[0].er`,
    ];
  },
  "a setting is stored as a secret": (stack, at) => {
    const keys = Object.keys(stack.settings).filter((key) => stack.settings[key] !== undefined);
    const key = keys[at % keys.length] ?? "";
    return [{ ...stack, secretSettings: [key] }, key];
  },
};

type Agent = Readonly<Record<"name" | "namespace" | "serviceAccount", string | undefined>>;

/** A stack with one more agent, and which of its keys is wrong. */
function withAgent(stack: Stack, agent: Partial<Agent>, key: keyof Agent): readonly [Stack, string] {
  const agents = [...(stack.settings["agents"] as Agent[]), agent];
  return [{ ...stack, settings: { ...stack.settings, agents } }, `agents[${agents.length - 1}].${key} `];
}

function withoutToken({ name, namespace, serviceAccount }: Partial<Agent>): Partial<Agent> {
  return { name, namespace, serviceAccount };
}

describe("any stack", () => {
  before(useStack);

  it("that follows the rules is accepted as it is", () => {
    fc.assert(
      fc.property(stack, (valid) => {
        const config = load(valid);
        assert.equal(config.domain, valid.settings["domain"]);
        const said = (valid.settings["agents"] as Agent[]).map(withoutToken);
        assert.deepEqual(config.agents.map(withoutToken), said);
      }),
      { numRuns: 200 },
    );
  });

  for (const [how, spoil] of Object.entries(spoilers))
    it(`is refused when ${how}, by one error that names the key and no secret`, () => {
      fc.assert(
        fc.property(stack, fc.nat(100), (valid, at) => {
          const [spoilt, key] = spoil(valid, at);
          const message = faultsOf(spoilt);
          assert.ok(message.includes(`\n  gitlab-workspaces:${key}`), message);
        }),
        { numRuns: 50 },
      );
    });
});
