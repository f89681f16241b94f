import { z } from "zod";
import { allowPublicApi, apiCidrs, existing, protect, refuseInverted, refuseOpenApi, scale } from "./made-cluster";
import { label, text } from "./text";

/** Sizes of nodes, all of them amd64: https://www.civo.com/docs/kubernetes/create-a-cluster. That one exists is asked of Civo. */
const civoSize = text((value) => {
  if (/^[a-z0-9]+(\.[a-z0-9]+)*\.(kube|k3s)\.[a-z0-9]+$/.test(value)) return undefined;
  const [, family, size] = /^([a-z0-9]+)\.([a-z0-9]+)$/.exec(value) ?? [];
  return {
    rule: "must be a size for Kubernetes nodes, such as g4s.kube.large: civo kubernetes size",
    ...(family === undefined || size === undefined ? {} : { corrected: `${family}.kube.${size}` }),
  };
});

/** Civo has tags, words between spaces: a label becomes `key:value`. */
const tagWord = /^[a-zA-Z0-9_.-]{1,63}$/;

const civoLabels = z
  .record(
    z.string(),
    text((value) =>
      tagWord.test(value) ? undefined : "must be 1 to 63 characters of a-z, A-Z, 0-9, '_', '.' and '-'",
    ),
  )
  .superRefine((labels, context) => {
    for (const key of Object.keys(labels)) {
      const message = ["project", "stack"].includes(key)
        ? "is a label that the program sets itself"
        : tagWord.test(key)
          ? undefined
          : "must have a key of 1 to 63 characters of a-z, A-Z, 0-9, '_', '.' and '-'";
      if (message !== undefined) context.addIssue({ code: "custom", path: [key], message });
    }
  });

/** A Kubernetes cluster on Civo. */
export const civo = z
  .strictObject({
    cloud: z.literal("civo").meta({ description: "A Kubernetes cluster on Civo.", examples: ["civo"] }),
    name: label(63).meta({
      description:
        "Name of the cluster; of one that the program makes, the beginning, before the size of its nodes, and the name of " +
        "its network, firewall and address: unique in the account. Never change it while the cluster lives: another name " +
        "is another cluster.",
      examples: ["workspaces"],
    }),
    existing,
    apiCidrs,
    allowPublicApi,
    kubernetesVersion: text((value) =>
      /^1\.\d+\.\d+-k3s\d+$/.test(value) ? undefined : "must be a version of k3s such as 1.35.4-k3s1",
    )
      .exactOptional()
      .meta({
        description: "Version of Kubernetes, instead of the latest stable one that Civo has when the cluster is made.",
        examples: ["1.35.4-k3s1"],
      }),
    nodes: z
      .strictObject({
        machineType: civoSize.default("g4s.kube.large").meta({
          description: "Size of the nodes, as Civo calls it; all of them are amd64.",
          examples: ["g4s.kube.large"],
        }),
        ...scale("", 100),
      })
      .superRefine(refuseInverted)
      .prefault({})
      .meta({ description: "The nodes, scaled between min and max by demand." }),
    protect,
    labels: civoLabels.default({}).meta({
      description:
        "Labels beside project and stack. Civo has them on the cluster alone, as tags of the form key:value.",
      examples: [{ team: "a" }],
    }),
  })
  .superRefine(({ existing: there, name, ...api }, context) => {
    if (there) return;
    // What Civo takes at most, less the size of the nodes that is put behind it.
    if (name.length > 40)
      context.addIssue({
        code: "custom",
        path: ["name"],
        message: "must be at most 40 characters unless the cluster exists",
        params: { corrected: name.slice(0, 40).replace(/-+$/, "") },
      });
    refuseOpenApi(api, context);
  });

/** What a stack says of its cluster on Civo. */
export type CivoConfig = Readonly<z.output<typeof civo>> & {
  /** Code of the region that `civo:region` names. */
  readonly region: string;
};
