import type { Installation } from "../src/deploy";
import type { ChartName } from "../src/charts";
import type { InstalledRelease } from "../src/platform/chart-release";
import type { Live } from "./live-references";

/** A Helm release of an installation. */
export interface OwnRelease extends InstalledRelease {
  /** Its chart, which is where stack config has its values. Of the ingress controller's only that it is one is known. */
  readonly part: Exclude<ChartName, "ingress-nginx" | "traefik"> | "ingress controller";
}

/** The releases of an installation: its own ingress controller's, where it has one, the proxy's and each agent's. */
export function releasesOf({ proxy, ingress, agents }: Installation): OwnRelease[] {
  return [
    ...(ingress.release === undefined ? [] : [{ ...ingress.release, part: "ingress controller" as const }]),
    { namespace: proxy.namespace, release: proxy.release, part: "gitlab-workspaces-proxy" },
    ...agents.map(({ namespace, release }) => ({ namespace, release, part: "gitlab-agent" as const })),
  ];
}

/** Names of the namespaces that an installation has something in. */
export function namespacesOf(installation: Installation): string[] {
  return [...new Set(releasesOf(installation).map(({ namespace }) => namespace))];
}

/**
 * Whether an object belongs to a release. Helm says so on each object that it makes itself
 * (https://github.com/helm/helm/blob/v3.20.2/pkg/action/validate.go), and every chart by a label, which is all there is
 * on one that was put back by `helm get manifest | kubectl apply`.
 */
export function isOf({ namespace, release }: InstalledRelease, { metadata }: Live): boolean {
  if (metadata.namespace !== namespace) return false;
  const owner = metadata.annotations?.["meta.helm.sh/release-name"] ?? metadata.labels?.["app.kubernetes.io/instance"];
  return owner === release;
}
