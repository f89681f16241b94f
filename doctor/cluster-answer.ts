/** How long the API server may take to answer, in milliseconds. */
const patience = 10_000;

/**
 * What the API server answers to one request for an object or a list: it, or that it is `missing` (404), or `unknown`:
 * not allowed, not reachable, not in time. Never throws; why it is unknown is for the checks of the cluster to say.
 */
export async function clusterAnswer<T extends object>(request: Promise<T>): Promise<T | "missing" | "unknown"> {
  return await new Promise((resolve) => {
    const timer = setTimeout(() => {
      resolve("unknown");
    }, patience);
    request
      .then(resolve, (error: unknown) => {
        resolve((error as { code?: unknown }).code === 404 ? "missing" : "unknown");
      })
      .finally(() => {
        clearTimeout(timer);
      });
  });
}

/** A value of a Secret's `data`, decoded. Undefined when there is no such key. */
export function decoded(data: Readonly<Record<string, string>> | undefined, key: string): string | undefined {
  const value = data?.[key];
  return value === undefined ? undefined : Buffer.from(value, "base64").toString();
}
