import { brokenAmong, type Live } from "../../doctor/live-references";
import type { TestEngine } from "./engine";

const kinds =
  "secrets,configmaps,serviceaccounts,services,deployments,statefulsets,daemonsets,ingresses,ingressclasses,poddisruptionbudgets";

/**
 * Follows every reference of what is live to what it names. The nodes are simulated, so a pod that names a Secret key
 * which is not there would still be called ready; here it is called broken.
 * @returns one line per reference that leads nowhere.
 */
export async function brokenReferences(engine: TestEngine): Promise<string[]> {
  return brokenAmong(await engine.get<Live[]>(kinds, "--all-namespaces"));
}
