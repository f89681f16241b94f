import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv } from "ajv";
import { parse } from "yaml";
import { generated } from "../../../docs/generate";
import { clouds } from "../../support/clouds";
import { examples, exampleText, filledExample } from "../../support/examples";
import { withCommands } from "../../support/commands";
import { load, useStack } from "./stack";

const root = join(__dirname, "..", "..", "..");
const read = (path: string) => readFileSync(join(root, path), "utf8");

interface StackFile {
  config: Record<string, unknown>;
}

describe("the example stacks", () => {
  const validate = new Ajv({ allowUnionTypes: true }).compile(JSON.parse(read("stacks/schema.json")) as object);

  it("are one for the local engine and one for each cloud", () => {
    assert.deepEqual(examples, [
      "Pulumi.aks.yaml",
      "Pulumi.civo.yaml",
      "Pulumi.eks.yaml",
      "Pulumi.gke.yaml",
      "Pulumi.local.yaml",
      "Pulumi.self-managed.yaml",
    ]);
  });

  for (const file of examples) {
    describe(`in ${file}`, () => {
      before(useStack);
      withCommands(...Object.values(clouds).flatMap(({ commands }) => commands));
      const text = exampleText(file);
      const { config } = parse(text) as StackFile;

      it("is what the program accepts once its secrets are set", async () => {
        const { settings, secrets, others } = await filledExample(file);
        const loaded = load({
          settings,
          secrets,
          others,
          explicitProviders: config["pulumi:disable-default-providers"],
        });
        const cloud = /^Pulumi\.(.*)\.yaml$/.exec(file)?.[1] ?? "";
        assert.equal(loaded.cluster.cloud, cloud in clouds ? cloud : "self-managed");
        assert.equal(loaded.tls.mode, (settings["tls"] as { mode: string }).mode);
      });

      it("is checked by editors, which find nothing wrong with it", () => {
        assert.ok(text.startsWith("# yaml-language-server: $schema=./schema.json\n"));
        assert.ok(validate({ config }), JSON.stringify(validate.errors));
      });

      it("holds no secret, encrypted or not", () => {
        assert.doesNotMatch(text, /secure:|PRIVATE KEY/);
      });
    });
  }

  it("are checked by editors, which do find a typo, a nested secret, a secret in plain text, and an account without its namespace", () => {
    const { config } = parse(read("stacks/Pulumi.local.yaml")) as StackFile;
    const valid = (changes: object) => validate({ config: { ...config, ...changes } });
    assert.ok(valid({ "gitlab-workspaces:agentToken-local": { secure: "v1:x" }, "aws:region": "eu-west-1" }));
    assert.ok(valid({ "gitlab-workspaces:production": "true" }));
    assert.ok(!valid({ "gitlab-workspaces:domian": "x.example.com" }));
    assert.ok(!valid({ "gitlab-workspaces:tls": { mode: "self-signed", key: { secure: "v1:x" } } }));
    assert.ok(!valid({ "gitlab-workspaces:tlsKey": "plain" }));
    assert.ok(!valid({ "gitlab-workspaces:agents": [{ name: "local", serviceAccount: "own" }] }));
    assert.ok(!valid({ "pulumi:disable-default-providers": ["aws"] }));
  });
});

describe("the generated files", () => {
  for (const [path, text] of Object.entries(generated()))
    it(`have ${path} as the schema is now: \`npm run docs\` writes it anew`, () => {
      assert.equal(read(path), text);
    });
});
