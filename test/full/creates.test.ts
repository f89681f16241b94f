import assert from "node:assert/strict";
import { type CloudStack, startCloud } from "../support/cloud-suite";
import { brokenReferences } from "../support/live-references";

/** Everything that each example stack makes in its cloud, sorted; a type as often as there are of it. */
const stacks = [
  {
    ...{ stack: "civo", cloud: "civo" },
    types: [
      "civo:index/firewall:Firewall",
      "civo:index/kubernetesCluster:KubernetesCluster",
      "civo:index/network:Network",
      "civo:index/reservedIp:ReservedIp",
    ],
  },
  {
    ...{ stack: "gke", cloud: "gcp" },
    types: [
      "gcp:compute/address:Address",
      "gcp:compute/network:Network",
      "gcp:compute/router:Router",
      "gcp:compute/routerNat:RouterNat",
      "gcp:compute/subnetwork:Subnetwork",
      "gcp:container/cluster:Cluster",
      "gcp:container/nodePool:NodePool",
      "gcp:projects/iAMMember:IAMMember",
      "gcp:serviceaccount/account:Account",
    ],
  },
  {
    ...{ stack: "eks", cloud: "aws" },
    types: [
      "aws:cloudwatch/logGroup:LogGroup",
      "aws:ec2/internetGateway:InternetGateway",
      "aws:ec2/natGateway:NatGateway",
      ...Array<string>(2).fill("aws:ec2/route:Route"),
      ...Array<string>(2).fill("aws:ec2/routeTable:RouteTable"),
      ...Array<string>(6).fill("aws:ec2/routeTableAssociation:RouteTableAssociation"),
      ...Array<string>(6).fill("aws:ec2/subnet:Subnet"),
      "aws:ec2/vpc:Vpc",
      ...Array<string>(2).fill("aws:eks/accessEntry:AccessEntry"),
      ...Array<string>(2).fill("aws:eks/accessPolicyAssociation:AccessPolicyAssociation"),
      "aws:eks/cluster:Cluster",
      ...Array<string>(2).fill("aws:iam/role:Role"),
      ...Array<string>(7).fill("aws:iam/rolePolicyAttachment:RolePolicyAttachment"),
    ],
  },
  {
    ...{ stack: "aks", cloud: "azure-native" },
    types: [
      "azure-native:authorization:RoleAssignment",
      "azure-native:authorization:RoleAssignment",
      "azure-native:containerservice:AgentPool",
      "azure-native:containerservice:MaintenanceConfiguration",
      "azure-native:containerservice:MaintenanceConfiguration",
      "azure-native:containerservice:ManagedCluster",
      "azure-native:managedidentity:UserAssignedIdentity",
      "azure-native:network:NatGateway",
      "azure-native:network:PublicIPAddress",
      "azure-native:network:PublicIPAddress",
      "azure-native:network:Subnet",
      "azure-native:network:VirtualNetwork",
      "azure-native:resources:ResourceGroup",
    ],
  },
];

for (const { stack, cloud, types } of stacks)
  describe(`Every create on ${stack} in turn`, () => {
    let engine: CloudStack;

    before(async () => {
      engine = await startCloud({ stack, cloud });
    });

    after(async () => {
      await engine.stop();
    });

    for (const type of new Set(types))
      for (const partial of [false, true])
        it(`fails once, ${partial ? "after" : "before"} it was made, and the next up makes all of it: ${type}`, async () => {
          const { account } = engine;
          await account.behave({ faults: [{ op: "create", type, times: 1, message: "backendError", partial }] });
          await engine.fails(["up", "--yes", "--skip-preview"]);
          assert.equal(await account.failuresLeft(), 0);
          await engine.up();
          assert.deepEqual(await engine.up(), []);
          const { objects } = await account.content();
          assert.deepEqual(objects.map((object) => object.type).sort(), types);
          assert.deepEqual(await brokenReferences(engine), []);
          const destroyed = await engine.pulumi(["destroy", "--yes", "--skip-preview"]);
          assert.equal(destroyed.exitCode, 0, destroyed.all);
          assert.deepEqual((await account.content()).objects, []);
        });
  });
