import type { Properties } from "../provider";

const strings = { type: "array", items: { type: "string" } };
const span = { type: "string", pattern: "^([0-9]+(s|m|h))+$" };
const spanOrNever = { type: "string", pattern: "^(([0-9]+(s|m|h))+|Never)$" };

const selectorTerms = (prefix: string): Properties => ({
  type: "array",
  minItems: 1,
  maxItems: 30,
  items: {
    type: "object",
    properties: {
      id: { type: "string", pattern: `^${prefix}-[0-9a-z]+$` },
      name: { type: "string" },
      tags: { type: "object", additionalProperties: { type: "string" } },
    },
    "x-kubernetes-validations": [
      { rule: "has(self.id) || has(self.name) || has(self.tags)", message: "expected at least one, got none" },
    ],
  },
});

/**
 * What a budget says: https://github.com/kubernetes-sigs/karpenter/blob/v1.8.0/pkg/apis/v1/nodepool.go
 */
const budget = {
  type: "object",
  required: ["nodes"],
  properties: {
    nodes: { type: "string", pattern: "^((100|[0-9]{1,2})%|[0-9]+)$" },
    reasons: { type: "array", maxItems: 50, items: { type: "string", enum: ["Underutilized", "Empty", "Drifted"] } },
    schedule: {
      type: "string",
      pattern: "^(@(annually|yearly|monthly|weekly|daily|midnight|hourly))|((.+)\\s(.+)\\s(.+)\\s(.+)\\s(.+))$",
    },
    duration: { type: "string", pattern: "^((([0-9]+(h|m))|([0-9]+h[0-9]+m))(0s)?)$" },
  },
  "x-kubernetes-validations": [
    { rule: "has(self.schedule) == has(self.duration)", message: "'schedule' must be set with 'duration'" },
  ],
};

const requirement = {
  type: "object",
  required: ["key", "operator"],
  properties: {
    key: { type: "string", maxLength: 316 },
    operator: { type: "string", enum: ["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"] },
    values: strings,
    minValues: { type: "integer", minimum: 1, maximum: 50 },
  },
  "x-kubernetes-validations": [
    {
      rule: "self.operator == 'In' ? has(self.values) && self.values.size() != 0 : true",
      message: "requirements with operator 'In' must have a value defined",
    },
  ],
};

const nodePoolSpec = {
  type: "object",
  required: ["template"],
  properties: {
    template: {
      type: "object",
      required: ["spec"],
      properties: {
        metadata: {
          type: "object",
          properties: {
            labels: { type: "object", additionalProperties: { type: "string" } },
            annotations: { type: "object", additionalProperties: { type: "string" } },
          },
        },
        spec: {
          type: "object",
          required: ["nodeClassRef", "requirements"],
          properties: {
            nodeClassRef: {
              type: "object",
              required: ["group", "kind", "name"],
              properties: {
                group: { type: "string", enum: ["eks.amazonaws.com"] },
                kind: { type: "string", enum: ["NodeClass"] },
                name: { type: "string" },
              },
            },
            requirements: { type: "array", maxItems: 100, items: requirement },
            expireAfter: { ...spanOrNever, default: "336h" },
            terminationGracePeriod: span,
          },
          // The words of the API server of an EKS cluster: https://github.com/aws-controllers-k8s/test-infra/pull/1000
          "x-kubernetes-validations": [
            {
              rule:
                "self.expireAfter != 'Never' && duration(self.expireAfter) + " +
                "duration(has(self.terminationGracePeriod) ? self.terminationGracePeriod : '24h') <= duration('504h')",
              message: "the sum of expireAfter and terminationGracePeriod (defaulted to 24h) may not exceed 21 days",
            },
          ],
        },
      },
    },
    disruption: {
      type: "object",
      required: ["consolidateAfter"],
      default: { consolidateAfter: "0s" },
      properties: {
        consolidationPolicy: {
          type: "string",
          enum: ["WhenEmpty", "WhenEmptyOrUnderutilized"],
          default: "WhenEmptyOrUnderutilized",
        },
        consolidateAfter: spanOrNever,
        budgets: { type: "array", maxItems: 50, items: budget, default: [{ nodes: "10%" }] },
      },
    },
    limits: {
      type: "object",
      additionalProperties: {
        "x-kubernetes-int-or-string": true,
        anyOf: [{ type: "integer" }, { type: "string" }],
        pattern: "^[0-9]+(\\.[0-9]+)?(m|[kMGTPE]i?)?$",
      },
    },
    weight: { type: "integer", minimum: 1, maximum: 100 },
  },
};

/** https://docs.aws.amazon.com/eks/latest/userguide/create-node-class.html#auto-node-class-spec */
const nodeClassSpec = {
  type: "object",
  required: ["role", "subnetSelectorTerms", "securityGroupSelectorTerms"],
  properties: {
    role: { type: "string", minLength: 1 },
    subnetSelectorTerms: selectorTerms("subnet"),
    securityGroupSelectorTerms: selectorTerms("sg"),
    snatPolicy: { type: "string", enum: ["Random", "Disabled"], default: "Random" },
    networkPolicy: { type: "string", enum: ["DefaultAllow", "DefaultDeny"], default: "DefaultAllow" },
    networkPolicyEventLogs: { type: "string", enum: ["Enabled", "Disabled"], default: "Disabled" },
    ephemeralStorage: {
      type: "object",
      default: {},
      properties: {
        size: { type: "string", pattern: "^[0-9]+(Gi|G|Ti|T)$", default: "80Gi" },
        iops: { type: "integer", minimum: 3000, maximum: 16000, default: 3000 },
        throughput: { type: "integer", minimum: 125, maximum: 1000, default: 125 },
        kmsKeyID: { type: "string" },
      },
    },
    tags: { type: "object", additionalProperties: { type: "string" } },
  },
};

function definition(group: string, kind: string, version: string, spec: Properties): Properties {
  const plural = `${kind.toLowerCase()}${kind.endsWith("s") ? "es" : "s"}`;
  const schema = {
    type: "object",
    required: ["spec"],
    properties: {
      apiVersion: { type: "string" },
      kind: { type: "string" },
      metadata: { type: "object" },
      spec,
      status: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
    },
  };
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      scope: "Cluster",
      names: { kind, listKind: `${kind}List`, plural, singular: kind.toLowerCase() },
      versions: [
        {
          name: version,
          served: true,
          storage: true,
          subresources: { status: {} },
          schema: { openAPIV3Schema: schema },
        },
      ],
    },
  };
}

/** What a cluster in EKS Auto Mode knows of nodes from the beginning. A field that is not here is dropped. */
export const karpenter: readonly Properties[] = [
  definition("eks.amazonaws.com", "NodeClass", "v1", nodeClassSpec),
  definition("karpenter.sh", "NodePool", "v1", nodePoolSpec),
];
