import * as pulumi from "@pulumi/pulumi";
import { refusal } from "../config/refusal";
import type { Secret } from "../config/schema";
import type { LiveCluster } from "../live-cluster";

/** How often a cluster is asked whether it gives the deployer its rights, after the first time, and the seconds between. */
const patience = { again: 60, pause: 10 };

/** What installing charts takes at least. No wildcards: not every cloud's authorizer knows them. */
const needed = [
  { verb: "create", group: "", resource: "namespaces" },
  { verb: "create", group: "rbac.authorization.k8s.io", resource: "clusterroles" },
];

/**
 * The kubeconfig of a cluster that the program makes, for the provider to go on with: during `up` not before the API server
 * has answered, and lets these credentials do what installing charts takes. A provider says no more than that it is
 * unreachable or forbidden; why, and what is kept, is for us to say.
 * Its value rejects with pulumi.RunError when there is no answer, or no right in time.
 */
export function answering(kubeconfig: Secret): Secret {
  return pulumi.runtime.isDryRun() ? kubeconfig : kubeconfig.apply((text) => answered(text));
}

/**
 * The same kubeconfig, once its cluster answers and lets its user install things.
 * @throws pulumi.RunError when there is no answer, or no right in time.
 */
export async function answered(kubeconfig: string, { again, pause } = patience): Promise<string> {
  const kept = `What was made is kept. When it does: pulumi up --stack ${pulumi.getStack()}`;
  const [{ AuthorizationV1Api, VersionApi }, { LiveCluster: Live }] = await Promise.all([
    import("@kubernetes/client-node"),
    import("../live-cluster"),
  ]);
  const cluster = new Live(kubeconfig);
  await cluster.answer(cluster.config.makeApiClient(VersionApi).getCode()).catch((error: unknown) => {
    if (isRefusal(error)) return;
    throw refusal(
      `${cluster.reason(error, "get /version")}\n` +
        "If it answers elsewhere, the address that this machine comes from is in none of the ranges of cluster.apiCidrs.\n" +
        kept,
    );
  });
  const access = cluster.config.makeApiClient(AuthorizationV1Api);
  for (let left = again; !(await mayInstall(cluster, access)); left--) {
    if (left === again)
      await pulumi.log.info(
        `The cluster at ${cluster.server} answers, and does not give these credentials their rights yet. Clouds take ` +
          `minutes to pass them on: waiting for up to ${Math.ceil((again * pause) / 60)} min.`,
      );
    if (left === 0)
      throw refusal(
        `The cluster at ${cluster.server} answers, and does not let the credentials here create namespaces and cluster ` +
          "roles, which is what installing charts takes.\n" +
          `Try the same kubeconfig by hand: kubectl auth can-i create clusterroles\n${kept}`,
      );
    await new Promise((resolve) => setTimeout(resolve, pause * 1000));
  }
  return kubeconfig;
}

/** Whether the credentials may do what is needed. Not knowing them yet is as good as no. */
async function mayInstall(
  cluster: LiveCluster,
  access: { createSelfSubjectAccessReview(request: { body: object }): Promise<{ status?: { allowed: boolean } }> },
): Promise<boolean> {
  for (const resourceAttributes of needed) {
    const review = access.createSelfSubjectAccessReview({ body: { spec: { resourceAttributes } } });
    const { status } = await cluster.answer(review).catch((error: unknown) => {
      if (isRefusal(error)) return { status: undefined };
      throw refusal(cluster.reason(error, "create selfsubjectaccessreviews"));
    });
    if (status?.allowed !== true) return false;
  }
  return true;
}

/** Whether the API server answered, and knows the credentials not yet or not to be good for this. */
function isRefusal(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return code === 401 || code === 403;
}
