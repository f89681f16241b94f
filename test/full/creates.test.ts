import assert from "node:assert/strict";
import { type CloudAccount, cloudAccount } from "../support/cloud-account";
import { startEngine, type TestEngine } from "../support/engine";
import { brokenReferences } from "../support/live-references";

/** Everything that is made in Google Cloud, in no order. */
const types = [
  "gcp:compute/address:Address",
  "gcp:compute/network:Network",
  "gcp:compute/router:Router",
  "gcp:compute/routerNat:RouterNat",
  "gcp:compute/subnetwork:Subnetwork",
  "gcp:container/cluster:Cluster",
  "gcp:container/nodePool:NodePool",
  "gcp:projects/iAMMember:IAMMember",
  "gcp:serviceaccount/account:Account",
];

describe("Every create on GKE in turn", () => {
  let engine: TestEngine;
  let account: CloudAccount;

  before(async () => {
    engine = await startEngine({ stack: "gke" });
    account = cloudAccount(engine, "gcp");
  });

  after(async () => {
    await engine.stop();
  });

  for (const type of types)
    for (const partial of [false, true])
      it(`fails once, ${partial ? "after" : "before"} it was made, and the next up makes all of it: ${type}`, async () => {
        await account.behave({ faults: [{ op: "create", type, times: 1, message: "backendError", partial }] });
        const failed = await engine.pulumi(["up", "--yes", "--skip-preview"]);
        assert.notEqual(failed.exitCode, 0, failed.all);
        assert.equal(await account.failuresLeft(), 0);
        await engine.up();
        assert.deepEqual(await engine.up(), []);
        const { objects } = await account.content();
        assert.deepEqual(objects.map((object) => object.type).sort(), types);
        assert.deepEqual(await brokenReferences(engine), []);
        const destroyed = await engine.pulumi(["destroy", "--yes", "--skip-preview"]);
        assert.equal(destroyed.exitCode, 0, destroyed.all);
        assert.deepEqual((await account.content()).objects, []);
      });
});
