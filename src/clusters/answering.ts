import * as pulumi from "@pulumi/pulumi";
import { refusal } from "../config/refusal";
import type { Secret } from "../config/schema";

/**
 * The kubeconfig of a cluster that the program makes, for the provider to go on with: during `up` not before the API server
 * has answered. A provider says no more than that it is unreachable; why, and what is kept, is for us to say.
 * Its value rejects with pulumi.RunError when there is no answer.
 */
export function answering(kubeconfig: Secret): Secret {
  if (pulumi.runtime.isDryRun()) return kubeconfig;
  return kubeconfig.apply(async (text) => {
    const [{ VersionApi }, { LiveCluster }] = await Promise.all([
      import("@kubernetes/client-node"),
      import("../live-cluster"),
    ]);
    const cluster = new LiveCluster(text);
    await cluster.answer(cluster.config.makeApiClient(VersionApi).getCode()).catch((error: unknown) => {
      throw refusal(
        `${cluster.reason(error, "get /version")}\n` +
          "If it answers elsewhere, the address that this machine comes from is in none of the ranges of cluster.apiCidrs.\n" +
          `What was made is kept. When the cluster answers: pulumi up --stack ${pulumi.getStack()}`,
      );
    });
    return text;
  });
}
