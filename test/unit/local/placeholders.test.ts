import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { parse } from "yaml";
import { generate, neededSecrets, type Settings } from "../../../local/placeholders";
import { checkSshHostKey } from "../../../src/config/private-key";
import { clouds } from "../../support/clouds";
import { withCommands } from "../../support/commands";
import { examples, exampleText } from "../../support/examples";
import { load, useStack } from "../config/stack";

const prefix = "gitlab-workspaces:";

/** The settings of an example, as they stand in the file. */
function settingsOf(file: string): { settings: Settings; others: Record<string, string>; explicitProviders: unknown } {
  const { config } = parse(exampleText(file)) as { config: Record<string, unknown> };
  const own = Object.entries(config).filter(([key]) => key.startsWith(prefix));
  const others = Object.entries(config).filter(([key]) => !key.startsWith(prefix) && !key.startsWith("pulumi:"));
  return {
    settings: Object.fromEntries(own.map(([key, value]) => [key.slice(prefix.length), value])),
    others: Object.fromEntries(others.map(([key, value]) => [key, String(value)])),
    explicitProviders: config["pulumi:disable-default-providers"],
  };
}

/** Has the program load the settings with placeholders for what they need and for `more`. */
async function loadWith(settings: Settings, more: readonly string[] = [], file = "Pulumi.local.yaml") {
  const { others, explicitProviders } = settingsOf(file);
  const keys = [...neededSecrets(settings).map(({ key }) => key), ...more];
  const { secrets, certificates } = await generate(settings, keys);
  const tls = { ...(settings["tls"] as object), ...certificates };
  return load({ settings: { ...settings, tls }, secrets, others, explicitProviders }, new Date());
}

describe("Placeholders for secrets", () => {
  before(useStack);
  withCommands(...Object.values(clouds).flatMap(({ commands }) => commands));

  for (const file of examples) {
    it(`are all that the program needs to accept ${file}`, async () => {
      const { settings } = settingsOf(file);
      assert.equal((await loadWith(settings, [], file)).domain, settings["domain"]);
    });
  }

  it("are accepted where a stack sets every secret there is, and has two certificates and a context", async () => {
    const { settings } = settingsOf("Pulumi.local.yaml");
    const loaded = await loadWith(
      {
        ...settings,
        cluster: { cloud: "self-managed", name: "metal", context: "admin@metal" },
        tls: { mode: "provided", certificate: "the real one", wildcardCertificate: "the other" },
        agents: [{ name: "one" }, { name: "two" }],
      },
      ["signingKey", "sshHostKey"],
    );
    assert.equal(loaded.agents.length, 2);
    assert.equal(loaded.tls.mode, "provided");
    assert.ok(!loaded.warnings.some((warning) => warning.includes("expires")), loaded.warnings.join("\n"));
  });

  it("are different each time", async () => {
    const keys = ["oauthClientSecret", "signingKey", "agentToken-a", "kubeconfig", "tlsKey", "sshHostKey"];
    const [one, other] = [await generate({}, keys), await generate({}, keys)];
    for (const key of keys) assert.notEqual(one.secrets[key], other.secrets[key], key);
  });

  it("come with certificates for exactly the names that each has to cover", async () => {
    const names = (pem = "") => new X509Certificate(pem).subjectAltName;
    const one = await generate({ domain: "ws.example.org", tls: { mode: "provided" } }, ["tlsKey"]);
    assert.equal(names(one.certificates.certificate), "DNS:ws.example.org, DNS:*.ws.example.org");
    const tls = { mode: "provided", wildcardCertificate: "x" };
    const two = await generate({ domain: "ws.example.org", tls }, ["tlsKey", "wildcardTlsKey"]);
    assert.equal(names(two.certificates.certificate), "DNS:ws.example.org");
    assert.equal(names(two.certificates.wildcardCertificate), "DNS:*.ws.example.org");
  });

  it("are made for settings that the program will refuse, too", async () => {
    for (const domain of [undefined, 5, "größe.example.org", "https://x", "a".repeat(400)]) {
      const { secrets } = await generate({ domain, agents: "none", cluster: null, tls: 7 }, ["tlsKey", "sshHostKey"]);
      assert.deepEqual(checkSshHostKey(secrets["sshHostKey"] ?? "").problems, []);
    }
    assert.deepEqual(
      neededSecrets({ agents: [{ name: "Ä" }, null, { name: "ok" }] }).map(({ key }) => key),
      ["oauthClientSecret", "agentToken-ok"],
    );
  });
});
