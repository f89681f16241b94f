import assert from "node:assert/strict";
import { parse } from "yaml";
import { engineOf, npm } from "../../../local/engine";
import { Refused } from "../../../local/failure";
import { generate } from "../../../local/placeholders";
import { asItsCredentials, keptCertificates, keptSecrets, thrownAway } from "../../../local/thrown-away";
import { exampleText } from "../../support/examples";

const fileOf = (stack: string) =>
  (parse(exampleText(`Pulumi.${stack}.yaml`)) as { config: Record<string, unknown> }).config;
const repository = "http://127.0.0.1:1234";

describe("A stack that runs on this machine", () => {
  it("is the local one unless another is named, and only one whose cloud is stood in for", () => {
    assert.equal(engineOf().stack, "local");
    assert.equal(engineOf("gke").stack, "gke");
    assert.notEqual(engineOf().root, engineOf("gke").root);
    for (const stack of ["self-managed", "oke", "", "../gke", "GKE"]) {
      assert.throws(
        () => engineOf(stack),
        (error) => error instanceof Refused && /local, gke, eks, aks and civo/.test(error.message),
      );
    }
  });

  it("is spoken of by the commands that a person types for it", () => {
    assert.equal(npm({ stack: "local" }, "start"), "npm start");
    assert.equal(npm({ stack: "gke" }, "start"), "npm start -- gke");
    assert.equal(npm({ stack: "local" }, "destroy", "--tools"), "npm run destroy -- --tools");
    assert.equal(npm({ stack: "gke" }, "destroy", "--tools"), "npm run destroy -- gke --tools");
  });

  it("differs from its file in what it says, and in nothing else", () => {
    const file = fileOf("gke");
    const { config, settings, differences } = thrownAway({ ...file, "gcp:project": "another" }, repository);
    const cluster = file["gitlab-workspaces:cluster"] as { account: string };
    assert.deepEqual(differences, [
      "the charts come from this machine",
      "GitLab's secrets are generated",
      "cluster.protect is false",
      "gcp:project is cluster.account",
      "the certificate in tls is generated, with its key",
    ]);
    assert.deepEqual(settings["cluster"], { ...cluster, protect: false });
    assert.equal(config["gcp:project"], cluster.account);
    const { "gitlab-workspaces:charts": charts, ...rest } = config;
    assert.deepEqual(new Set(Object.values(charts as object).map((chart: object) => JSON.stringify(chart))).size, 1);
    assert.deepEqual(rest, {
      ...file,
      "gitlab-workspaces:cluster": { ...cluster, protect: false },
    });
    assert.ok(thrownAway(fileOf("civo"), repository).differences.includes("civo:token is generated"));
    assert.deepEqual(thrownAway(fileOf("local"), repository).differences, [
      "the charts come from this machine",
      "GitLab's secrets are generated",
    ]);
  });

  it("has the account that it names where credentials would say it, unless it says another itself", () => {
    const file = fileOf("aks");
    const key = "azure-native:subscriptionId";
    assert.deepEqual(asItsCredentials(file), { [key]: "00000000-0000-0000-0000-000000000000" });
    assert.deepEqual(asItsCredentials({ ...file, [key]: "another" }), {});
    assert.deepEqual(asItsCredentials({ ...fileOf("gke"), "gcp:project": undefined }), {});
    const own = "123456789012";
    const allowed = "aws:allowedAccountIds";
    assert.deepEqual(asItsCredentials(fileOf("eks")), { [allowed]: [own] });
    assert.deepEqual(asItsCredentials({ ...fileOf("eks"), [allowed]: ["210987654321", own] }), { [allowed]: [own] });
    assert.deepEqual(asItsCredentials({ ...fileOf("eks"), [allowed]: ["210987654321"] }), {});
    assert.equal(thrownAway(file, repository).config[key], "00000000-0000-0000-0000-000000000000");
  });

  it("keeps its certificate from start to start, as long as that is good and its key is there", async () => {
    const { settings } = thrownAway(fileOf("gke"), repository);
    const { certificates } = await generate(settings, ["tlsKey"]);
    const last = { "gitlab-workspaces:tls": { mode: "provided", ...certificates } };
    assert.deepEqual(keptCertificates(settings, last, ["tlsKey"]), certificates);
    assert.deepEqual(keptCertificates(settings, last, []), {});
    assert.deepEqual(keptCertificates({ ...settings, domain: "other.example.com" }, last, ["tlsKey"]), {});
    assert.deepEqual(keptCertificates(settings, {}, ["tlsKey"]), {});
  });

  it("keeps its secrets but for those that it needs no more, and a key without its certificate", () => {
    const { settings } = thrownAway(fileOf("gke"), repository);
    const had = ["oauthClientSecret", "agentToken-team-a", "agentToken-gone", "kubeconfig", "tlsKey", "signingKey"];
    assert.deepEqual(keptSecrets(settings, had, { certificate: "x" }), [
      "oauthClientSecret",
      "agentToken-team-a",
      "tlsKey",
      "signingKey",
    ]);
    assert.ok(!keptSecrets(settings, had, {}).includes("tlsKey"));
  });
});
