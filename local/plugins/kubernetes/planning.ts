import type { Provider } from "../provider";
import { UNKNOWN } from "../provider";
import { UnknownKindError } from "./client";
import { checkObject, objectKind } from "./objects";
import { completedRelease, previewedRelease, RELEASE_TYPE } from "./release";

/** What a plan does differently from a run: it has a kubeconfig that leads nowhere, and nobody to ask. */
type Planning = Pick<Provider, "configure" | "check" | "create" | "read" | "update" | "delete">;

const refusal = (): Promise<never> =>
  Promise.reject(new Error("refused: this is a plan, in which the stand-in for the kubernetes plugin changes nothing"));

/** Serves the previews of a plan, in which neither an API server nor helm is asked anything. */
export function planning(): Planning {
  // Which kinds have namespaces is the cluster's to say.
  const unasked = {
    namespace: "default",
    client: { kind: (apiVersion: string, kind: string) => Promise.reject(new UnknownKindError(apiVersion, kind)) },
  };
  return {
    configure: () => Promise.resolve(),
    check: async (request) =>
      request.type === RELEASE_TYPE
        ? { inputs: completedRelease(unasked, request) }
        : await checkObject(unasked, request),
    create: ({ type, inputs, preview }) => {
      if (!preview) return refusal();
      return Promise.resolve(type === RELEASE_TYPE ? previewedRelease(inputs) : { id: "", properties: inputs });
    },
    read: ({ type, id }) => {
      const known = type === RELEASE_TYPE ? {} : objectKind(type);
      const properties = { ...known, metadata: UNKNOWN, spec: UNKNOWN, status: UNKNOWN };
      return Promise.resolve({ id, properties, inputs: known });
    },
    update: ({ news, preview }) => (preview ? Promise.resolve(news) : refusal()),
    delete: refusal,
  };
}
