import { z } from "zod";
import { addresses, label, range, text } from "./text";
import {
  allowPublicApi,
  apiCidrs,
  existing,
  protect,
  refuseInverted,
  refuseOpenApi,
  refuseOverlaps,
  scale,
  weekly,
} from "./made-cluster";

/** The ranges of a cluster's network, in CIDR notation. */
const network = z
  .strictObject({
    nodes: range(8, 26)
      .default("10.0.0.0/20")
      .meta({ description: "Addresses of nodes, at most one for each.", examples: ["10.0.0.0/20"] }),
    pods: range(8, 21)
      .default("10.4.0.0/14")
      .meta({ description: "Addresses of pods, 256 for each node.", examples: ["10.4.0.0/14"] }),
    services: range(8, 27)
      .default("10.8.0.0/20")
      .meta({ description: "Addresses of Services.", examples: ["10.8.0.0/20"] }),
  })
  .superRefine(refuseOverlaps)
  .prefault({});

/** When a cloud may drain nodes, and with them end workspaces. Whole hours, UTC. */
const maintenance = z
  .strictObject(weekly)
  .superRefine(({ days: chosen, hours }, context) => {
    const weekly = new Set(chosen).size * hours;
    // 48 hours in 32 days, in pieces of four: https://docs.cloud.google.com/kubernetes-engine/docs/concepts/maintenance-windows-and-exclusions
    if (weekly < 12)
      context.addIssue({
        code: "custom",
        path: ["hours"],
        message: `must give 12 hours a week or more together with days, and gives ${weekly}: less time than the cloud asks for`,
        params: { corrected: String(Math.ceil(12 / new Set(chosen).size)) },
      });
  })
  .prefault({});

/** Names of Google Cloud projects: https://docs.cloud.google.com/resource-manager/docs/creating-managing-projects */
const googleProject = text((value) =>
  /^([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$/.test(value)
    ? undefined
    : "must be the ID of a Google Cloud project: 6 to 30 characters of a-z, 0-9 and '-', beginning with a letter",
);

/** Machine families with arm64 processors: https://docs.cloud.google.com/compute/docs/machine-resource */
const googleArm = /^(t2a|c4a|n4a|a4x)-/;

const googleMachine = text((value) => {
  if (googleArm.test(value))
    return {
      rule:
        "must not be an arm64 machine type: the tools that GitLab puts into every workspace are for amd64, see " +
        "https://docs.gitlab.com/user/workspace/",
      corrected: "e2-standard-4",
    };
  if (/^(n4|n4d|c4|c4d)-/.test(value))
    return {
      rule:
        "must be of a family that takes Persistent Disk, which nodes and volumes of workspaces are on: this one takes " +
        "Hyperdisk alone, see https://docs.cloud.google.com/compute/docs/disks/hyperdisks",
      corrected: "e2-standard-4",
    };
  return /^[a-z][a-z0-9]*-[a-z0-9-]+$/.test(value) ? undefined : "must be a machine type, such as e2-standard-4";
});

/** https://docs.cloud.google.com/resource-manager/docs/labels-overview */
const googleLabels = z
  .record(
    z.string(),
    text((value) =>
      /^[a-z0-9_-]{0,63}$/.test(value) ? undefined : "must be up to 63 characters of a-z, 0-9, '_' and '-'",
    ),
  )
  .superRefine((labels, context) => {
    for (const key of Object.keys(labels)) {
      const message = ["project", "stack"].includes(key)
        ? "is a label that the program sets itself"
        : /^[a-z][a-z0-9_-]{0,62}$/.test(key)
          ? undefined
          : "must have a key of up to 63 characters of a-z, 0-9, '_' and '-', beginning with a letter";
      if (message !== undefined) context.addIssue({ code: "custom", path: [key], message });
    }
  });

/**
 * The longest name of a cluster that the program makes. The cloud's own part of a name takes eight more, and that of a
 * service account has 30 at most: https://docs.cloud.google.com/iam/docs/service-accounts-create
 */
const longestGkeName = 22;

/** A cluster on Google Kubernetes Engine. */
export const gke = z
  .strictObject({
    cloud: z.literal("gke").meta({ description: "A cluster on Google Kubernetes Engine.", examples: ["gke"] }),
    name: label(40).meta({
      description:
        "Name of the cluster, and the beginning of the names of all that the program makes for it; at most " +
        `${longestGkeName} characters unless the cluster exists. Never change it while the cluster lives: another name is ` +
        "another cluster.",
      examples: ["workspaces"],
    }),
    account: googleProject.meta({
      description:
        "ID of the Google Cloud project. Compared with gcp:project and with what the credentials reach before anything " +
        "is made.",
      examples: ["my-project"],
    }),
    location: text((value) =>
      /^[a-z]+-[a-z]+\d+(-[a-z])?$/.test(value)
        ? undefined
        : "must be a region such as europe-west1, or a zone such as europe-west1-b",
    ).meta({
      description:
        "Region, with nodes and control plane in several of its zones; or one zone, for trials: there the API is away " +
        "during each upgrade.",
      examples: ["europe-west1"],
    }),
    existing,
    apiCidrs,
    allowPublicApi,
    kubernetesVersion: text((value) =>
      /^1\.\d+(\.\d+(-gke\.\d+)?)?$/.test(value) ? undefined : "must be a version such as 1.35 or 1.35.8-gke.1000000",
    )
      .exactOptional()
      .meta({
        description: "Least version of the control plane, instead of what the release channel has at the time.",
        examples: ["1.35"],
      }),
    releaseChannel: z
      .enum(["RAPID", "REGULAR", "STABLE", "EXTENDED"])
      .default("REGULAR")
      .meta({
        description:
          "Which versions come, and how soon: https://docs.cloud.google.com/kubernetes-engine/docs/concepts/release-channels.",
        examples: ["REGULAR"],
      }),
    nodes: z
      .strictObject({
        machineType: googleMachine
          .default("e2-standard-4")
          .meta({ description: "Machine type of the nodes, of an amd64 family.", examples: ["e2-standard-4"] }),
        ...scale(", over all zones together", 1000),
        diskGiB: z
          .int()
          .min(20)
          .max(65536)
          .default(100)
          .meta({
            description: "Boot disk of each node, in GiB: images of workspaces are kept there.",
            examples: [100],
          }),
      })
      .superRefine(refuseInverted)
      .prefault({})
      .meta({ description: "The nodes, scaled between min and max by demand." }),
    network: network.meta({ description: "Address ranges of the network that is made for the cluster." }),
    maintenance: maintenance.meta({
      description: "When nodes may be upgraded. What runs on a node ends when its turn comes, workspaces too.",
    }),
    encryptionKey: text((value) =>
      /^projects\/[^/]+\/locations\/[^/]+\/keyRings\/[^/]+\/cryptoKeys\/[^/]+$/.test(value)
        ? undefined
        : "must be projects/<project>/locations/<location>/keyRings/<ring>/cryptoKeys/<key>",
    )
      .exactOptional()
      .meta({
        description:
          "Key of Cloud KMS, in the cluster's region, that encrypts Kubernetes Secrets on top of Google's own encryption: " +
          "https://docs.cloud.google.com/kubernetes-engine/docs/how-to/encrypting-secrets.",
        examples: ["projects/my-project/locations/europe-west1/keyRings/workspaces/cryptoKeys/secrets"],
      }),
    protect,
    labels: googleLabels.default({}).meta({
      description: "Labels on everything that can have some, beside project and stack.",
      examples: [{ team: "a" }],
    }),
  })
  .superRefine(({ existing: there, name, location, nodes, network: ranges, encryptionKey, ...api }, context) => {
    const refuse = (path: readonly PropertyKey[], message: string, corrected?: unknown) => {
      context.addIssue({ code: "custom", path: [...path], message, params: { corrected } });
    };
    if (there) return;
    if (name.length > longestGkeName)
      refuse(
        ["name"],
        `must be at most ${longestGkeName} characters`,
        name.slice(0, longestGkeName).replace(/-+$/, ""),
      );
    refuseOpenApi(api, context);
    // A pool begins with one node in each zone, and a region has three: https://docs.cloud.google.com/kubernetes-engine/docs/concepts/regional-clusters
    if (!/-[a-z]$/.test(location) && nodes.max < 3)
      refuse(["nodes", "max"], "must be 3 or more in a region, which begins with one node in each of its zones", "3");
    const region = location.replace(/-[a-z]$/, "");
    const [, place = region] = /\/locations\/([^/]+)\//.exec(encryptionKey ?? "") ?? [];
    if (place !== region) refuse(["encryptionKey"], `must be a key in ${region}, where the cluster is`);
    // One more while a node is replaced: https://docs.cloud.google.com/kubernetes-engine/docs/how-to/flexible-pod-cidr
    const room = { nodes: addresses(ranges.nodes) - 4, pods: addresses(ranges.pods) / 256 };
    for (const [which, most] of Object.entries(room))
      if (most > 0 && most < nodes.max + 1)
        refuse(
          ["network", which],
          `is too small: it has room for ${Math.floor(most)} nodes, and nodes.max is ${nodes.max}, with one more during upgrades`,
        );
  });

/** What a stack says of its cluster on GKE. */
export type GkeConfig = Readonly<z.output<typeof gke>>;
