import * as pulumi from "@pulumi/pulumi";
import { refusal } from "../config/refusal";
import type { Secret } from "../config/schema";
import type { LiveCluster } from "../live-cluster";

/** How long a cluster may take to give the deployer its rights, in seconds, and how often it is asked. */
const patience = { seconds: 600, pause: 10 };

/**
 * The kubeconfig of a cluster that the program makes, for the provider to go on with: during `up` not before the API server
 * has answered, and lets these credentials do what installing charts takes. A provider says no more than that it is
 * unreachable or forbidden; why, and what is kept, is for us to say.
 * Its value rejects with pulumi.RunError when there is no answer, or no right in time.
 */
export function answering(kubeconfig: Secret, { seconds, pause } = patience): Secret {
  if (pulumi.runtime.isDryRun()) return kubeconfig;
  const again = `What was made is kept. When it does: pulumi up --stack ${pulumi.getStack()}`;
  return kubeconfig.apply(async (text) => {
    const [{ AuthorizationV1Api, VersionApi }, { LiveCluster: Live }] = await Promise.all([
      import("@kubernetes/client-node"),
      import("../live-cluster"),
    ]);
    const cluster = new Live(text);
    await cluster.answer(cluster.config.makeApiClient(VersionApi).getCode()).catch((error: unknown) => {
      throw refusal(
        `${cluster.reason(error, "get /version")}\n` +
          "If it answers elsewhere, the address that this machine comes from is in none of the ranges of cluster.apiCidrs.\n" +
          again,
      );
    });
    const access = cluster.config.makeApiClient(AuthorizationV1Api);
    for (let left = seconds; !(await mayAll(cluster, access)); left -= pause) {
      if (left === seconds)
        await pulumi.log.info(
          `The cluster at ${cluster.server} answers, and does not give these credentials their rights yet. Clouds take ` +
            `minutes to pass them on: waiting for up to ${Math.ceil(seconds / 60)} min.`,
        );
      if (left <= 0)
        throw refusal(
          `The cluster at ${cluster.server} answers, and lets the credentials here do too little: what is installed brings ` +
            "cluster roles, so they must be allowed everything.\n" +
            `Try the same kubeconfig by hand: kubectl auth can-i '*' '*' --all-namespaces\n${again}`,
        );
      await new Promise((resolve) => setTimeout(resolve, pause * 1000));
    }
    return text;
  });
}

/** Whether the credentials may do everything. Not knowing them yet is as good as no. */
async function mayAll(
  cluster: LiveCluster,
  access: { createSelfSubjectAccessReview(request: { body: object }): Promise<{ status?: { allowed: boolean } }> },
): Promise<boolean> {
  const resourceAttributes = { verb: "*", group: "*", resource: "*" };
  const review = access.createSelfSubjectAccessReview({ body: { spec: { resourceAttributes } } });
  const { status } = await cluster.answer(review).catch((error: unknown) => {
    const { code } = error as { code?: unknown };
    if (code === 401 || code === 403) return { status: undefined };
    throw refusal(cluster.reason(error, "create selfsubjectaccessreviews"));
  });
  return status?.allowed === true;
}
