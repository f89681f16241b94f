import type { TestEngine } from "./engine";

/** An object of a cluster, as far as it is told from others and from itself before. */
export interface Live {
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid: string;
    readonly resourceVersion: string;
    readonly generation?: number;
  };
}

/** Kinds that change by themselves, and addresses, which are called after what a Service happened to get. */
const leftOut: readonly string[] = [
  ...["events", "events.events.k8s.io", "leases.coordination.k8s.io", "nodes", "componentstatuses"],
  "ipaddresses.networking.k8s.io",
];

/** `Kind namespace/name` of every object of the cluster -> which one it is and in which version. */
export type Snapshot = ReadonlyMap<string, string>;

/** Looks at every object of the engine's cluster. */
export async function snapshotOf(engine: TestEngine): Promise<Snapshot> {
  const kinds = (await engine.kubectl("api-resources", "--verbs=list", "--output", "name")).split("\n");
  const watched = kinds.filter((kind) => kind !== "" && !leftOut.includes(kind));
  const all = await engine.get<Live[]>(watched.join(","), "--all-namespaces");
  return new Map(
    all.map(({ kind, metadata: { namespace = "", name, uid, resourceVersion, generation } }) => [
      `${kind} ${namespace}/${name}`,
      `${uid} ${resourceVersion} ${generation ?? ""}`,
    ]),
  );
}

/** What of `before` is not in `after` as it was. */
export const touched = (before: Snapshot, after: Snapshot): string[] =>
  [...before].filter(([object, version]) => after.get(object) !== version).map(([object]) => object);

/** Everything but what belongs to an instance. */
export const without = (snapshot: Snapshot, instance: string): Snapshot =>
  new Map([...snapshot].filter(([object]) => !object.includes(instance)));
