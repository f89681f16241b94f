import { z } from "zod";
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
import { addresses, objectToLabel, range, text } from "./text";

/** The ranges of a cluster's network, in CIDR notation. */
const network = z
  .strictObject({
    vpc: range(16, 20)
      .default("10.0.0.0/16")
      .meta({ description: "Addresses of nodes, pods and load balancers: the VPC.", examples: ["10.0.0.0/16"] }),
    services: range(12, 24)
      .default("172.20.0.0/16")
      .meta({ description: "Addresses of Services.", examples: ["172.20.0.0/16"] }),
  })
  .superRefine(refuseOverlaps)
  .prefault({});

/** When nodes may be replaced, and with them workspaces end. Whole hours, UTC. */
const maintenance = z.strictObject(weekly).prefault({});

/** The part of an instance type before its generation, the generation, and what follows: https://docs.aws.amazon.com/ec2/latest/instancetypes/instance-type-names.html */
const instanceType = /^([a-z]+(?:-[a-z]+)?)(\d+)([a-z0-9-]*)\.([a-z0-9-]+)$/;

/** Sizes that Auto Mode never makes: https://docs.aws.amazon.com/eks/latest/userguide/automode-learn-instances.html#auto-supported-instances */
const tooSmall = ["nano", "micro", "small"];

const amazonMachine = text((value) => {
  const [, family = "", generation = "", attributes = "", size = ""] = instanceType.exec(value) ?? [];
  if (family === "") return "must be an instance type, such as m7i.xlarge";
  if (attributes.startsWith("g") || `${family}${generation}` === "a1")
    return {
      rule:
        "must not be an arm64 instance type: the tools that GitLab puts into every workspace are for amd64, see " +
        "https://docs.gitlab.com/user/workspace/",
      corrected: "m7i.xlarge",
    };
  if (tooSmall.includes(size))
    return {
      rule: "must be medium or larger: EKS makes no nodes of this size",
      corrected: "m7i.xlarge",
    };
  return undefined;
});

/** https://docs.aws.amazon.com/tag-editor/latest/userguide/best-practices-and-strats.html */
const amazonTags = z
  .record(
    z.string(),
    text((value) =>
      /^[\p{L}\p{Z}\p{N}_.:/=+\-@]{0,256}$/u.test(value)
        ? undefined
        : "must be up to 256 letters, digits, spaces and _ . : / = + - @",
    ),
  )
  .superRefine((labels, context) => {
    for (const key of Object.keys(labels)) {
      const message = ["project", "stack", "Name"].includes(key)
        ? "is a tag that the program sets itself"
        : /^(?!aws:)[\p{L}\p{Z}\p{N}_.:/=+\-@]{1,128}$/iu.test(key)
          ? /kubernetes\.io\//.test(key)
            ? "is a tag that Kubernetes on AWS goes by"
            : undefined
          : "must have a key of up to 128 letters, digits, spaces and _ . : / = + - @, not beginning with aws:";
      if (message !== undefined) context.addIssue({ code: "custom", path: [key], message });
    }
  });

/** The longest name of a cluster that the program makes: names of its roles are up to 19 longer, and IAM takes 64. */
const longestEksName = 40;

/** A cluster on Amazon Elastic Kubernetes Service. */
export const eks = z
  .strictObject({
    cloud: z.literal("eks").meta({ description: "A cluster on Amazon Elastic Kubernetes Service.", examples: ["eks"] }),
    // https://docs.aws.amazon.com/eks/latest/APIReference/API_CreateCluster.html
    name: text((value) =>
      /^[0-9A-Za-z][A-Za-z0-9_-]{0,99}$/.test(value)
        ? undefined
        : "must be 1 to 100 characters of a-z, A-Z, 0-9, '-' and '_', beginning with a letter or digit",
    ).meta({
      description:
        "Name of the cluster, and the beginning of the names of all that the program makes for it; at most " +
        `${longestEksName} characters of a-z, 0-9 and '-' unless the cluster exists. Never change it while the cluster ` +
        "lives: another name is another cluster.",
      examples: ["workspaces"],
    }),
    account: text((value) =>
      /^\d{12}$/.test(value) ? undefined : "must be an AWS account ID: 12 digits, as text",
    ).meta({
      description:
        "ID of the AWS account. Compared with aws:allowedAccountIds, if that is set, and with the credentials before " +
        "anything is made.",
      examples: ["123456789012"],
    }),
    existing,
    apiCidrs,
    allowPublicApi,
    kubernetesVersion: text((value) => (/^1\.\d+$/.test(value) ? undefined : "must be a version such as 1.36"))
      .exactOptional()
      .meta({
        description:
          "Version of Kubernetes, instead of the newest at the time the cluster is made; one step at a time afterwards.",
        examples: ["1.36"],
      }),
    nodes: z
      .strictObject({
        mode: z
          .enum(["auto", "managed"])
          .default("auto")
          .meta({
            description:
              "auto: Auto Mode, in which Amazon looks after nodes, load balancers and disks. managed: node groups with the " +
              "cluster autoscaler. Never change it while the cluster lives.",
            examples: ["auto"],
          }),
        min: z
          .int()
          .min(1)
          .exactOptional()
          .meta({
            description: "Fewest nodes over all zones together, with mode managed: 1 unless set.",
            examples: [1],
          }),
        machineType: amazonMachine
          .default("m7i.xlarge")
          .meta({ description: "Instance type of the nodes, of an amd64 family.", examples: ["m7i.xlarge"] }),
        max: scale(", over all zones together", 250).max,
        diskGiB: z
          .int()
          .min(20)
          .max(16384)
          .default(100)
          .meta({
            description: "Disk of each node, in GiB: images of workspaces are kept there.",
            examples: [100],
          }),
      })
      .prefault({})
      .meta({ description: "The nodes, as many as there is demand for, up to max." }),
    network: network.meta({ description: "Address ranges of the network that is made for the cluster." }),
    maintenance: maintenance.meta({
      description: "When nodes may be replaced. What runs on a node ends when its turn comes, workspaces too.",
    }),
    encryptionKey: text((value) =>
      /^arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key\/[A-Za-z0-9-]+$/.test(value)
        ? undefined
        : "must be the ARN of a key: arn:aws:kms:<region>:<account>:key/<id>",
    )
      .exactOptional()
      .meta({
        description:
          "Key of AWS KMS, in the cluster's region, that encrypts what the Kubernetes API stores, instead of one of Amazon's: " +
          "https://docs.aws.amazon.com/eks/latest/userguide/envelope-encryption.html.",
        examples: ["arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555"],
      }),
    admins: z
      .array(
        text((value) =>
          /^arn:aws[a-z-]*:iam::\d{12}:(role|user)\/[\w+=,.@/-]+$/.test(value)
            ? undefined
            : "must be the ARN of an IAM role or user: arn:aws:iam::<account>:role/<name>",
        ),
      )
      .default([])
      .meta({
        description:
          "ARNs of IAM roles and users that may do everything on the cluster, beside the one that deploys. Whoever takes " +
          "turns with it in deploying belongs here.",
        examples: [["arn:aws:iam::123456789012:role/platform"]],
      }),
    logDays: z
      .union([z.literal(7), z.literal(30), z.literal(90), z.literal(180), z.literal(365)])
      .default(90)
      .meta({ description: "Days for which logs of the control plane are kept.", examples: [90] }),
    protect,
    labels: amazonTags.default({}).meta({
      description: "Tags on everything that can have some, beside project and stack.",
      examples: [{ team: "a" }],
    }),
  })
  .superRefine(({ existing: there, name, account, nodes, network: ranges, encryptionKey, ...api }, context) => {
    const refuse = (path: readonly PropertyKey[], message: string, corrected?: unknown) => {
      context.addIssue({ code: "custom", path: [...path], message, params: { corrected } });
    };
    if (there) return;
    const objection = objectToLabel(name, longestEksName);
    if (objection !== undefined)
      refuse(["name"], objection, name.toLowerCase().replaceAll("_", "-").slice(0, longestEksName).replace(/-+$/, ""));
    refuseOpenApi(api, context);
    const { mode, min, max } = nodes;
    if (mode === "auto" && min !== undefined)
      refuse(["nodes", "min"], "must not be set with mode auto, which has as many nodes as there is demand for");
    if (min !== undefined)
      refuseInverted(
        { min, max },
        {
          addIssue: ({ path, message, params }) => {
            refuse(["nodes", ...path], message, params?.corrected);
          },
        },
      );
    if (encryptionKey?.startsWith("arn:") === true && !encryptionKey.includes(`:${account}:`))
      refuse(["encryptionKey"], `must be a key of the account ${account}`);
    // Where a region has two zones, half of the VPC is for nodes and pods, and a node takes up to 128 addresses for its
    // pods: https://docs.aws.amazon.com/eks/latest/userguide/auto-networking.html
    const room = Math.floor(addresses(ranges.vpc) / 2 / 128) - 1;
    if (room > 0 && room < nodes.max)
      refuse(
        ["network", "vpc"],
        `is too small: it has room for ${room} nodes, and nodes.max is ${nodes.max}, with one more while nodes are replaced`,
      );
    if (!/^(10\.|172\.(1[6-9]|2\d|3[01])\.|192\.168\.)/.test(ranges.services))
      refuse(
        ["network", "services"],
        "must be within 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16: EKS takes no other",
        "172.20.0.0/16",
      );
  });

/** What a stack says of its cluster on EKS, with what it says of the provider that makes it. */
export interface EksConfig extends Readonly<z.output<typeof eks>> {
  readonly region: string;
  /** The named profile that the credentials come from. */
  readonly profile?: string;
  /** ARN of the role that the provider takes on. */
  readonly role?: string;
}
