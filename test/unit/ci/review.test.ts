import assert from "node:assert/strict";
import { namespaceInTheWay } from "../../../ci/review";

const review = { stack: "review-mr-7", domain: "mr-7.review.example.com", instance: "mr-7" };

describe("A review environment whose namespace is on the cluster already", () => {
  for (const text of [
    'error: resource "gitlab-workspaces-mr-7" was not successfully created by the Kubernetes API server: namespaces "gitlab-workspaces-mr-7" already exists',
    "error: Namespace gitlab-workspaces-mr-7 is on the cluster already and not in this stack.",
  ])
    it(`says what to look at, what to type, and never to make room: ${text.slice(0, 40)}`, () => {
      const told = namespaceInTheWay(`Updating\n${text}\n`, review, "review") ?? "";
      assert.match(told, /gitlab-workspaces-mr-7 is on the cluster and not in the stack review-mr-7/);
      assert.match(told, /^ {2}kubectl get namespace gitlab-workspaces-mr-7$/m);
      assert.match(told, /^ {2}npx pulumi config set --stack review-mr-7 gitlab-workspaces:adopt true$/m);
      assert.match(told, /Never delete it/);
      assert.doesNotMatch(told, /kubectl delete/);
    });

  for (const text of [
    'error: namespaces "gitlab-workspaces-mr-70" already exists',
    'error: clusterroles "gitlab-agent-mr-7" already exists',
    "gitlab-workspaces-mr-7 created",
  ])
    it(`is not taken for what it is not: ${text}`, () => {
      assert.equal(namespaceInTheWay(text, review, "review"), undefined);
    });
});
