import assert from "node:assert/strict";
import * as pulumi from "@pulumi/pulumi";
import { loadConfig } from "../../../src/config/load";
import { cloudStack } from "../../support/stacks";
import { faultsOf, load, smallestOn, type Stack, useStack, withCluster, withSecrets } from "./stack";

const smallestCivo = smallestOn("civo");

/** One fault and no other. */
function fault(changes: Readonly<Record<string, unknown>>, stack: Stack = smallestCivo): string {
  const message = faultsOf(withCluster(changes, stack));
  assert.match(message, /^1 fault /);
  return message.replaceAll(/\s+/g, " ");
}

const withOthers = (others: Readonly<Record<string, string>>): Stack => ({ ...smallestCivo, others });

describe("the config of a cluster on Civo", () => {
  before(useStack);

  it("is read with every default in its place, and with the region that the provider has", () => {
    assert.deepEqual(load(smallestCivo).cluster, {
      ...{ cloud: "civo", name: "workspaces", region: "LON1", existing: false },
      ...{ apiCidrs: ["192.0.2.0/24"], allowPublicApi: false, protect: true, labels: {} },
      nodes: { machineType: "g4s.kube.large", min: 1, max: 5 },
    });
  });

  it("needs no kubeconfig, and refuses one that would never be read", () => {
    const message = faultsOf(withSecrets({ kubeconfig: "canary-kubeconfig" }, smallestCivo));
    assert.match(message, /gitlab-workspaces:kubeconfig is set and not needed/);
  });

  it("refuses other clouds' keys by name", () => {
    for (const key of ["account", "location", "releaseChannel", "maintenance", "network", "encryptionKey", "context"])
      assert.match(fault({ [key]: "x" }), new RegExp(`cluster.${key} is not a key of this program`));
  });

  it("refuses to go on without a region, and one that is not written as Civo does", () => {
    const missing = fault({}, withOthers({}));
    assert.match(missing, /civo:region is not set It must be the code of the region/);
    assert.match(missing, /\$ civo region ls \$ pulumi config set --stack dev civo:region LON1/);
    assert.match(fault({}, withOthers({ "civo:region": "fra1" })), /civo:region is "fra1" .* civo:region FRA1/);
    assert.match(fault({}, withOthers({ "civo:region": "eu-west-1" })), /civo:region is "eu-west-1"/);
  });

  it("refuses a token in plain text, with the word that it must be rotated, and never shows it", () => {
    const message = fault({}, withOthers({ "civo:region": "LON1", "civo:token": "canary-civo-token" }));
    assert.match(message, /civo:token is stored in plain text It is a secret, .* rotate it/);
    assert.match(message, /\$ pulumi config set --stack dev --secret civo:token < civo-token.txt/);
  });

  it("takes a token that is stored as a secret", () => {
    const { config, secretKeys } = cloudStack("civo");
    pulumi.runtime.setAllConfig({ ...config, "civo:token": "canary-civo-token" }, [...secretKeys, "civo:token"]);
    assert.equal(loadConfig().cluster.cloud, "civo");
  });

  it("refuses an API that is open to everybody, or to nobody said", () => {
    assert.match(fault({ apiCidrs: ["0.0.0.0/0"] }), /opens the Kubernetes API to the internet/);
    load(withCluster({ apiCidrs: ["0.0.0.0/0"], allowPublicApi: true }, smallestCivo));
    assert.match(fault({ apiCidrs: undefined }), /cluster.apiCidrs is not set/);
  });

  it("refuses a range that is malformed", () => {
    assert.match(fault({ apiCidrs: ["192.0.2.7"] }), /cluster.apiCidrs\[0\] is "192.0.2.7" It must be an IPv4 address/);
    assert.match(fault({ apiCidrs: ["192.0.2.7/24"] }), /must begin with the first address of its range/);
  });

  it("refuses a size that is none for Kubernetes, with the one that is meant", () => {
    const instance = fault({ nodes: { machineType: "g4s.large" } });
    assert.match(instance, /must be a size for Kubernetes nodes/);
    assert.match(instance, /'gitlab-workspaces:cluster.nodes.machineType' g4s.kube.large/);
    assert.match(fault({ nodes: { machineType: "e2-standard-4" } }), /must be a size for Kubernetes nodes/);
  });

  it("refuses fewer nodes at most than at least", () => {
    assert.match(
      fault({ nodes: { min: 6, max: 4 } }),
      /cluster.nodes.max is 4 It must not be less than min, which is 6/,
    );
    assert.match(fault({ nodes: { min: 0 } }), /cluster.nodes.min is 0/);
  });

  it("refuses a version that is none of k3s", () => {
    for (const kubernetesVersion of ["1.35", "v1.35.4-k3s1", "talos-v1.5.0", "1.35.8-gke.1000000"])
      assert.match(fault({ kubernetesVersion }), /must be a version of k3s/);
    load(withCluster({ kubernetesVersion: "1.35.4-k3s1" }, smallestCivo));
  });

  it("refuses labels that no tag can hold, and those that are the program's own", () => {
    assert.match(fault({ labels: { team: "a b" } }), /cluster.labels.team/);
    assert.match(fault({ labels: { "te:am": "a" } }), /must have a key of 1 to 63 characters/);
    assert.match(fault({ labels: { stack: "a" } }), /is a label that the program sets itself/);
  });

  it("refuses a name that is too long or no label", () => {
    assert.match(fault({ name: "Workspaces" }), /cluster.name is "Workspaces"/);
    assert.match(fault({ name: "w".repeat(41) }), /must be at most 40 characters unless the cluster exists/);
    load(withCluster({ name: "w".repeat(41), existing: true, apiCidrs: undefined }, smallestCivo));
  });

  describe("that exists", () => {
    it("takes its name alone", () => {
      const { cluster } = load(withCluster({ existing: true, apiCidrs: undefined }, smallestCivo));
      assert.ok(cluster.cloud === "civo" && cluster.existing);
    });

    it("refuses what says how to make one", () => {
      assert.match(
        fault({ existing: true, apiCidrs: undefined, nodes: { max: 3 } }),
        /cluster.nodes is set It says how to make a cluster/,
      );
    });
  });
});
