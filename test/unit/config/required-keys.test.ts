import assert from "node:assert/strict";
import { clouds } from "../../support/clouds";
import { withCommands } from "../../support/commands";
import { load, smallest, smallestOn, type Stack, useStack, withCluster, withSecrets, withSettings } from "./stack";

/** What every stack has to say, whatever its cloud. */
const everywhere = [
  "pulumi:disable-default-providers",
  "domain",
  "oauthClientId",
  "cluster.cloud",
  "cluster.name",
  "tls.mode",
  "agents[0].name",
  "oauthClientSecret",
  "agentToken-team-a",
];

/** What it has to say beside that on each of them. */
const besides: Readonly<Record<string, readonly string[]>> = {
  "self-managed": ["kubeconfig"],
  gke: ["cluster.account", "cluster.location", "cluster.apiCidrs", "gcp:project"],
  eks: ["cluster.account", "cluster.apiCidrs", "aws:region"],
  aks: ["cluster.account", "cluster.apiCidrs", "azure-native:location", "azure-native:useDefaultAzureCredential"],
  civo: ["cluster.apiCidrs", "civo:region"],
};

/** The keys without which the program refuses a stack that says no more than it must. */
function required(stack: Stack): string[] {
  const found: string[] = [];
  const count = (key: string, without: Stack) => {
    try {
      load(without);
    } catch {
      found.push(key);
    }
  };
  const { settings, secrets, others = {} } = stack;
  load(stack);
  count("pulumi:disable-default-providers", { ...stack, explicitProviders: null });
  for (const [key, value] of Object.entries(settings)) {
    if (typeof value === "string") count(key, withSettings({ [key]: undefined }, stack));
    else if (Array.isArray(value)) count(`${key}[0].name`, withSettings({ [key]: [{}] }, stack));
    else
      for (const part of Object.keys(value as object))
        count(
          `${key}.${part}`,
          key === "cluster"
            ? withCluster({ [part]: undefined }, stack)
            : withSettings({ [key]: { ...(value as object), [part]: undefined } }, stack),
        );
  }
  for (const key of Object.keys(secrets)) count(key, withSecrets({ [key]: undefined }, stack));
  for (const key of Object.keys(others))
    count(key, { ...stack, others: Object.fromEntries(Object.entries(others).filter(([other]) => other !== key)) });
  return found;
}

describe("the keys that a stack must have", () => {
  before(useStack);
  withCommands(...Object.values(clouds).flatMap(({ commands }) => commands));

  it("are known for every cloud", () => {
    assert.deepEqual(Object.keys(besides).sort(), [...Object.keys(clouds), "self-managed"].sort());
  });

  for (const [cloud, more] of Object.entries(besides))
    it(`are ${everywhere.length + more.length} on ${cloud}, secrets included`, () => {
      const stack = cloud === "self-managed" ? smallest : smallestOn(cloud as keyof typeof clouds);
      assert.deepEqual(required(stack).sort(), [...everywhere, ...more].sort());
    });
});
