import { gunzipSync } from "node:zlib";
import { looksSecret } from "../src/config/plain-secrets";
import { liveCluster } from "./cluster";
import { type Codes, type Finding, findings } from "./finding";
import { releasesOf } from "./installed";
import type { Live } from "./live-references";
import type { Check } from "./patient";

/** What can be wrong with what Helm wrote down. */
export const codes = {
  GW501: {
    severity: "error",
    title: "A Helm release is not there",
    meaning:
      "The stack installed it, and Helm knows nothing of it: it was uninstalled by hand, or its records were deleted. The " +
      "refresh notices, and the `up` installs it again. Where objects of it were left behind, Helm says which to delete.",
    fix: ["pulumi up --refresh --stack <stack>"],
  },
  GW502: {
    severity: "error",
    title: "The installation of a Helm release failed",
    meaning:
      "Helm's own words name the cause. Some of its objects may be there. Mend the cause (a chart's value of your own " +
      "under `charts`, a pod that does not get ready, a quota) first. The next `up` goes on where the " +
      "installation ended; if it does not: docs/recovery/helm-release-pending.md.",
    fix: ["pulumi up --stack <stack>"],
  },
  GW503: {
    severity: "error",
    title: "The upgrade of a Helm release failed",
    meaning:
      "Helm's own words name the cause. Some objects have changed already and others have not, which can be worse than " +
      "either. The rollback brings back the last revision that worked. Then mend the cause: `cannot unmarshal number into " +
      "... of type string` is a value under `charts` that needs quotes, `field is immutable` a `nameOverride` or another " +
      "selector, which no upgrade can change.",
    fix: [
      "helm history <release> --namespace <namespace>",
      "helm rollback <release> --namespace <namespace> --wait",
      "pulumi up --stack <stack>",
    ],
  },
  GW504: {
    severity: "error",
    title: "Helm believes that a first installation or a removal is under way",
    meaning:
      "If an `up` is running right now, that is so: wait for it. Otherwise it was killed, and every further one fails with " +
      "`another operation (install/upgrade/rollback) is in progress`. The first command makes Helm forget the release. What " +
      "runs stays, and the `up` takes it over and makes the rest. Step by step: docs/recovery/helm-release-pending.md.",
    fix: [
      "kubectl delete secret --namespace <namespace> --selector owner=helm,name=<release>",
      "pulumi refresh --clear-pending-creates --stack <stack>",
      "pulumi up --stack <stack>",
    ],
  },
  GW505: {
    severity: "error",
    title: "Helm believes that an upgrade is under way",
    meaning:
      "If an `up` is running right now, that is so: wait for it. Otherwise it was killed, and every further one fails with " +
      "`another operation (install/upgrade/rollback) is in progress` until it is taken back. Step by step: " +
      "docs/recovery/helm-release-pending.md.",
    fix: ["helm rollback <release> --namespace <namespace> --wait", "pulumi up --stack <stack>"],
  },
} satisfies Codes;

const finding = findings(codes);

/** What Helm wrote down of the newest revision of a release. Nothing of its values, which may be secret. */
export interface Revision {
  readonly status: string;
  readonly description: string;
}

/** Whether each release is there, whole, and as Helm meant it to be. */
export const releases: Check = {
  name: "Helm releases",
  async run({ stack, installation, cluster }) {
    const live = liveCluster(cluster);
    const found = await Promise.all(
      releasesOf(installation).map(async ({ namespace, release }): Promise<Finding | undefined> => {
        // https://helm.sh/docs/topics/advanced/#storage-backends
        const records = await live.list("Secret", { namespace, labels: `owner=helm,name=${release}` });
        const newest = records.reduce<Live | undefined>((a, b) => (a && number(a) > number(b) ? a : b), undefined);
        const place = `Release ${release} in namespace ${namespace}`;
        const values = { stack, namespace, release };
        const status = newest?.metadata.labels?.["status"];
        if (newest === undefined || status === undefined || status === "uninstalled") {
          return finding("GW501", `${place}: no record of it.`, values);
        }
        if (status === "deployed") return undefined;
        const first = number(newest) === 1 || status === "uninstalling";
        const { description } = revision(newest.data?.["release"] ?? "");
        const seen = `${place}, revision ${number(newest)}: ${status}. ${description}`;
        if (status === "failed") return finding(first ? "GW502" : "GW503", seen, values);
        return finding(first ? "GW504" : "GW505", seen, values);
      }),
    );
    return found.filter((one) => one !== undefined);
  },
};

const number = ({ metadata }: Live): number => Number(metadata.labels?.["version"] ?? 0);

/** Longest description that is repeated, in characters. */
const longest = 500;

/**
 * Reads a record of Helm's: gzip of JSON, base64 by Helm and once more by Kubernetes
 * (https://github.com/helm/helm/blob/v3.20.2/pkg/storage/driver/util.go). Everything but these two words is dropped.
 */
export function revision(data: string): Revision {
  try {
    const record = gunzipSync(Buffer.from(Buffer.from(data, "base64").toString(), "base64")).toString();
    const { info } = JSON.parse(record) as { info: { status: string; description: string } };
    const { status, description } = info;
    if (looksSecret(description)) return { status, description: "(not shown: it looks like a secret)" };
    return { status, description: description.length > longest ? `${description.slice(0, longest)}...` : description };
  } catch {
    return { status: "unknown", description: "(Helm's record of it cannot be read.)" };
  }
}
