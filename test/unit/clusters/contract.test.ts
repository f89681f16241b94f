import assert from "node:assert/strict";
import * as pulumi from "@pulumi/pulumi";
import { createCluster } from "../../../src/cluster";
import { loadConfig } from "../../../src/config/load";
import { withCommands } from "../../support/commands";
import { record, runProgram, value } from "../../support/program";
import { clouds } from "../../support/clouds";
import { cloudStack, stack } from "../../support/stacks";

/** A small stack on each cloud. */
const stacks = {
  ...Object.fromEntries(Object.keys(clouds).map((cloud) => [cloud, cloudStack(cloud as keyof typeof clouds)])),
  "self-managed": stack(),
};

describe("Every cluster", () => {
  withCommands(...Object.values(clouds).flatMap(({ commands }) => commands));

  for (const [cloud, small] of Object.entries(stacks)) {
    describe(`of ${cloud}`, () => {
      it("yields one Kubernetes provider, with the settings that the platform relies on", async () => {
        const { resources } = await runProgram(small);
        const providers = resources.filter(({ type }) => type === "pulumi:providers:kubernetes");
        assert.equal(providers.filter(({ name }) => name === "kubernetes").length, 1);
        for (const { inputs } of providers) {
          const { clusterIdentifier, enableSecretMutable, enablePatchForce } = inputs;
          assert.ok(typeof clusterIdentifier === "string" && clusterIdentifier !== "");
          assert.deepEqual([String(enableSecretMutable), String(enablePatchForce)], ["true", "true"]);
        }
        // What belongs to the cluster itself is there before the provider of what is on it.
        const onCluster = resources.filter(
          ({ type, provider }) => type.startsWith("kubernetes:") && !provider.includes("::cluster-kubernetes::"),
        );
        assert.ok(onCluster.length > 10);
        for (const { name, provider } of onCluster)
          assert.match(provider, /pulumi:providers:kubernetes::kubernetes::kubernetes-id$/, name);
      });

      it("has a kubeconfig of one context, marked secret, that points at no file", async () => {
        await record(small);
        const { kubeconfig } = await createCluster(loadConfig().cluster);
        assert.ok(await pulumi.isSecret(kubeconfig));
        const text = await value(kubeconfig);
        assert.equal(text.match(/"?current-context"?:/g)?.length, 1);
        assert.doesNotMatch(text, /certificate-authority"?:|client-(key|certificate)"?:|tokenFile/);
      });

      it("names no one address in the annotations that every load balancer gets", async () => {
        await record(small);
        const { loadBalancer } = await createCluster(loadConfig().cluster);
        assert.doesNotMatch(Object.values(loadBalancer.annotations).join(), /\d+\.\d+\.\d+\.\d+/);
      });

      it("protects the destroy guard exactly when it is protected itself", async () => {
        await record(small);
        const { cluster } = loadConfig();
        const { isProtected } = await createCluster(cluster);
        assert.equal(isProtected, "protect" in cluster && cluster.protect);
      });
    });
  }
});
