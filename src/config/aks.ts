import { z } from "zod";
import {
  allowPublicApi,
  apiCidrs,
  days,
  existing,
  protect,
  refuseInverted,
  refuseOpenApi,
  refuseOverlaps,
  scale,
} from "./made-cluster";
import { addresses, objectToLabel, overlap, range, text } from "./text";

/** https://learn.microsoft.com/en-us/azure/aks/azure-cni-overlay#ip-address-planning */
const reservedByAks = ["169.254.0.0/16", "172.30.0.0/16", "172.31.0.0/16", "192.0.2.0/24"];

/** The ranges of a cluster's network, in CIDR notation. */
const network = z
  .strictObject({
    nodes: range(8, 28)
      .default("10.0.0.0/20")
      .meta({ description: "Addresses of nodes, at most one for each.", examples: ["10.0.0.0/20"] }),
    pods: range(8, 21)
      .default("10.4.0.0/14")
      .meta({ description: "Addresses of pods, 256 for each node.", examples: ["10.4.0.0/14"] }),
    services: range(12, 27)
      .default("10.8.0.0/20")
      .meta({ description: "Addresses of Services.", examples: ["10.8.0.0/20"] }),
  })
  .superRefine((ranges, context) => {
    refuseOverlaps(ranges, context);
    for (const [name, value] of Object.entries(ranges)) {
      const reserved = reservedByAks.find((other) => overlap(value, other));
      if (reserved !== undefined)
        context.addIssue({
          code: "custom",
          path: [name],
          message: `must not overlap with ${reserved}, which AKS keeps`,
        });
    }
  })
  .prefault({});

/**
 * When a cloud may drain nodes, and with them end workspaces. One day a week, four hours or more:
 * https://learn.microsoft.com/en-us/azure/aks/planned-maintenance
 */
const maintenance = z
  .strictObject({
    day: z
      .enum(days)
      .default("saturday")
      .meta({ description: "Day of the week on which it begins.", examples: ["saturday"] }),
    hour: z
      .int()
      .min(0)
      .max(23)
      .default(1)
      .meta({ description: "Hour of its beginning, UTC.", examples: [1] }),
    hours: z
      .int()
      .min(4)
      .max(24)
      .default(8)
      .meta({ description: "How long it lasts. What has begun by then is finished.", examples: [8] }),
  })
  .prefault({});

/** What Azure and Entra name by: https://www.rfc-editor.org/rfc/rfc9562#section-4 */
const uuid = (what: string) =>
  text((value) =>
    /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(value)
      ? undefined
      : {
          rule: `must be ${what}, such as 00000000-0000-0000-0000-000000000000, in lower case`,
          ...(/^[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}$/i.test(value) ? { corrected: value.toLowerCase() } : {}),
        },
  );

/**
 * Family, CPUs, features, version. Among the features `p` is for arm64:
 * https://learn.microsoft.com/en-us/azure/virtual-machines/vm-naming-conventions
 */
const azureMachine = /^Standard_[A-Z]{1,2}\d+(-\d+)?([a-z]*)(_[A-Z0-9]+)*(_v\d+)?$/;

const machineType = text((value) => {
  const [, , features = ""] = azureMachine.exec(value) ?? [];
  if (features.includes("p"))
    return {
      rule:
        "must not be an arm64 machine type, which the p after the digits stands for: the tools that GitLab puts into every " +
        "workspace are for amd64, see https://docs.gitlab.com/user/workspace/",
      corrected: value.replace(/(\d+[a-z]*?)p/, "$1"),
    };
  return azureMachine.test(value) ? undefined : "must be a machine type, such as Standard_D4s_v5";
});

const diskGiB = z
  .int()
  .min(30)
  .max(2048)
  .default(128)
  .meta({ description: "Disk of each node, in GiB: images of workspaces are kept there.", examples: [128] });

/** https://learn.microsoft.com/en-us/azure/azure-resource-manager/management/tag-resources, and what AKS takes for nodes. */
const azureTags = z
  .record(
    z.string(),
    text((value) => (value.length <= 256 ? undefined : "must be up to 256 characters")),
  )
  .superRefine((tags, context) => {
    for (const key of Object.keys(tags)) {
      const message = ["project", "stack"].includes(key.toLowerCase())
        ? "is a tag that the program sets itself"
        : /^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$/.test(key)
          ? undefined
          : "must have a key of up to 128 characters of a-z, A-Z, 0-9, '_', '.', ':' and '-', beginning with a letter or digit";
      if (message !== undefined) context.addIssue({ code: "custom", path: [key], message });
    }
  });

/**
 * The longest name of a cluster that the program makes. The plugin's own part of a name takes eight more, and the DNS prefix
 * that begins with the name has 54 at most: https://learn.microsoft.com/en-us/azure/azure-resource-manager/management/resource-name-rules
 */
const longestAksName = 40;

/** A cluster on Azure Kubernetes Service. */
export const aks = z
  .strictObject({
    cloud: z.literal("aks").meta({ description: "A cluster on Azure Kubernetes Service.", examples: ["aks"] }),
    // https://learn.microsoft.com/en-us/azure/azure-resource-manager/management/resource-name-rules#microsoftcontainerservice
    name: text((value) =>
      /^[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?$/.test(value)
        ? undefined
        : "must be 1 to 63 characters of a-z, A-Z, 0-9, '-' and '_', beginning and ending with a letter or digit",
    ).meta({
      description:
        "Name of the cluster, and the beginning of the names of all that the program makes for it; at most " +
        `${longestAksName} characters unless the cluster exists. Never change it while the cluster lives: another name is ` +
        "another cluster.",
      examples: ["workspaces"],
    }),
    account: uuid("the ID of an Azure subscription").meta({
      description:
        "ID of the Azure subscription. Compared with azure-native:subscriptionId, if that is set, and with what the " +
        "credentials reach, before anything is made.",
      examples: ["00000000-0000-0000-0000-000000000000"],
    }),
    resourceGroup: text((value) =>
      /^[\w().-]{0,89}[\w()-]$/.test(value) ? undefined : "must be the name of a resource group",
    )
      .exactOptional()
      .meta({
        description: "Resource group of the cluster that exists. One is made for a cluster that is made.",
        examples: ["shared"],
      }),
    existing,
    apiCidrs,
    allowPublicApi,
    admins: z
      .array(uuid("the object ID of a group in Entra"))
      .default([])
      .meta({
        description:
          "Object IDs of groups in Entra whose members administer the cluster, beside whoever deploys it: " +
          "`az ad group show --group <name> --query id`.",
        examples: [["00000000-0000-0000-0000-000000000000"]],
      }),
    kubernetesVersion: text((value) =>
      /^1\.\d+(\.\d+)?$/.test(value) ? undefined : "must be a version such as 1.35 or 1.35.4",
    )
      .exactOptional()
      .meta({
        description: "Version of control plane and nodes, instead of what AKS gives and the upgrade channel brings.",
        examples: ["1.35"],
      }),
    upgradeChannel: z
      .enum(["patch", "stable", "rapid"])
      .default("stable")
      .meta({
        description:
          "Which versions come, and how soon: https://learn.microsoft.com/en-us/azure/aks/auto-upgrade-cluster.",
        examples: ["stable"],
      }),
    nodes: z
      .strictObject({
        machineType: machineType
          .default("Standard_D4s_v5")
          .meta({ description: "Machine type of the nodes for workspaces, of amd64.", examples: ["Standard_D4s_v5"] }),
        ...scale(" for workspaces", 1000),
        diskGiB,
      })
      .superRefine(refuseInverted)
      .prefault({})
      .meta({ description: "The nodes for workspaces, scaled between min and max by demand." }),
    systemNodes: z
      .strictObject({
        machineType: machineType
          .default("Standard_D2s_v5")
          .meta({ description: "Machine type, of amd64, 2 CPUs and 4 GiB or more.", examples: ["Standard_D2s_v5"] }),
        ...scale(" for the cluster's own pods", 100),
        max: z
          .int()
          .min(1)
          .max(100)
          .default(3)
          .meta({ description: "Most nodes for the cluster's own pods.", examples: [3] }),
      })
      .superRefine(refuseInverted)
      .prefault({})
      .meta({ description: "The nodes for the cluster's own pods, on which there is no workspace." }),
    network: network.meta({ description: "Address ranges of the network that is made for the cluster." }),
    maintenance: maintenance.meta({
      description: "When nodes may be upgraded. What runs on a node ends when its turn comes, workspaces too.",
    }),
    protect,
    labels: azureTags.default({}).meta({
      description: "Tags on everything that can have some, beside project and stack.",
      examples: [{ team: "a" }],
    }),
  })
  .superRefine(({ existing: there, name, resourceGroup, nodes, systemNodes, network: ranges, ...api }, context) => {
    const refuse = (path: readonly PropertyKey[], message: string, corrected?: unknown) => {
      context.addIssue({ code: "custom", path: [...path], message, params: { corrected } });
    };
    if (there) {
      if (resourceGroup === undefined)
        refuse(["resourceGroup"], "must be the resource group that the cluster is in", "shared");
      return;
    }
    if (resourceGroup !== undefined)
      refuse(["resourceGroup"], "must be left out unless the cluster exists: one is made for it, and goes with it");
    const objection = objectToLabel(name, longestAksName);
    if (objection !== undefined)
      refuse(["name"], objection, name.toLowerCase().replaceAll("_", "-").slice(0, longestAksName).replace(/-+$/, ""));
    refuseOpenApi(api, context);
    // Azure keeps five addresses of a subnet, and each pool has one node more while nodes are replaced:
    // https://learn.microsoft.com/en-us/azure/aks/azure-cni-overlay#ip-address-planning
    const room = { nodes: addresses(ranges.nodes) - 5, pods: addresses(ranges.pods) / 256 };
    const most = nodes.max + systemNodes.max;
    for (const [which, has] of Object.entries(room))
      if (has > 0 && has < most + 2)
        refuse(
          ["network", which],
          `is too small: it has room for ${Math.floor(has)} nodes, and nodes.max and systemNodes.max are ${most} together, ` +
            "with two more during upgrades",
        );
  });

/** What a stack says of its cluster on AKS. */
export type AksConfig = Readonly<z.output<typeof aks>>;
