import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { Account } from "../../../local/plugins/cloud/account";
import { isSecret, PartialFailure, type Properties, secret, UNKNOWN } from "../../../local/plugins/provider";
import { checked, compared, deleted, made, refreshed, StandInCloud, updated } from "../../support/cloud";

const network = "gcp:compute/network:Network";
const subnetwork = "gcp:compute/subnetwork:Subnetwork";
const address = "gcp:compute/address:Address";
const serviceAccount = "gcp:serviceaccount/account:Account";

let account: StandInCloud;
beforeEach(() => (account = new StandInCloud()));
afterEach(() => {
  account.remove();
});

describe("the stand-in cloud and inputs", () => {
  it("refuses a type that it does not know, saying that it is the stand-in", async () => {
    const { failures } = await checked(await account.provider(), "gcp:sql/instance:Instance", {});
    assert.equal(failures?.length, 1);
    assert.match(failures[0]!.reason, /stand-in for the gcp plugin.*does not know gcp:sql\/instance:Instance/);
  });

  it("names every required input that is missing, also within a part", async () => {
    const { failures = [] } = await checked(await account.provider(), subnetwork, {
      ipCidrRange: "10.0.0.0/20",
      secondaryIpRanges: [{ rangeName: "pods" }, {}],
    });
    const missing = failures.map(({ property }) => property);
    assert.deepEqual(missing, ["network", "secondaryIpRanges[1].rangeName"]);
  });

  it("refuses values of the wrong form and those that are none of the choices", async () => {
    const { failures = [] } = await checked(await account.provider(), network, { name: "Net_1", routingMode: "LOCAL" });
    assert.deepEqual(
      failures.map(({ property }) => property),
      ["name", "routingMode"],
    );
  });

  it("takes a value that is not known yet for whatever it may become", async () => {
    const news = { network: UNKNOWN, ipCidrRange: UNKNOWN, secondaryIpRanges: UNKNOWN, name: UNKNOWN };
    const { failures } = await checked(await account.provider(), subnetwork, news);
    assert.deepEqual(failures, []);
  });

  it("wants to know the project before anything is made", async () => {
    const { failures = [] } = await checked(await account.provider({ region: "europe-west3" }), network, {});
    assert.match(failures.map(({ reason }) => reason).join(), /gcp:project/);
  });

  it("wants to know the region of what has one", async () => {
    const { failures = [] } = await checked(await account.provider({ project: "alpha" }), address, {});
    assert.match(failures.map(({ reason }) => reason).join(), /region: required field is not set/);
  });
});

describe("the stand-in cloud and names", () => {
  it("names a resource after its name in the program, in lower case, with seven hex digits", async () => {
    const { inputs } = await checked(await account.provider(), network, {}, { name: "MyNet" });
    assert.match(inputs["name"] as string, /^mynet-[0-9a-f]{7}$/);
    assert.ok((inputs["__defaults"] as string[]).includes("name"));
  });

  it("keeps the name that it once gave, and gives a new one to a replacement", async () => {
    const provider = await account.provider();
    const first = await checked(provider, network, {});
    const second = await checked(provider, network, {}, { olds: first.inputs });
    const replacement = await checked(provider, network, {});
    assert.equal(second.inputs["name"], first.inputs["name"]);
    assert.notEqual(replacement.inputs["name"], first.inputs["name"]);
  });

  it("takes the name that the stack's autonaming proposes", async () => {
    const more = { autonaming: { disabled: false, proposed: "proposed-name" } };
    const { inputs } = await checked(await account.provider(), network, {}, more);
    assert.equal(inputs["name"], "proposed-name");
  });

  it("refuses a resource without a name where the stack names nothing by itself", async () => {
    const more = { autonaming: { disabled: true, proposed: "" } };
    const { failures = [] } = await checked(await account.provider(), network, {}, more);
    assert.match(failures[0]!.reason, /automatic naming is disabled/);
  });

  it("refuses a name that gets too long by what is added to it", async () => {
    const name = "service-account-of-the-nodes";
    const { failures = [] } = await checked(await account.provider(), serviceAccount, {}, { name });
    assert.match(failures[0]!.reason, /longer than the maximum length 30/);
  });

  it("has no second one of the same name", async () => {
    const provider = await account.provider();
    await made(provider, network, { name: "net" });
    await assert.rejects(made(provider, network, { name: "net" }), {
      message: "googleapi: Error 409: The resource 'projects/alpha/global/networks/net' already exists, alreadyExists",
    });
  });
});

describe("the stand-in cloud and changes", () => {
  it("sees none where none is, whatever it filled in itself", async () => {
    const provider = await account.provider();
    const net = await made(provider, network, { autoCreateSubnetworks: false });
    assert.deepEqual((await compared(provider, net, { autoCreateSubnetworks: false })).changes, new Map());
  });

  it("tells a change in place from one that costs a replacement, by the path of the property", async () => {
    const provider = await account.provider();
    const { id } = await made(provider, network, { name: "net" });
    const ranges = [{ rangeName: "pods", ipCidrRange: "10.4.0.0/14" }];
    const before = { network: id, ipCidrRange: "10.0.0.0/20", secondaryIpRanges: ranges };
    const sub = await made(provider, subnetwork, before);
    const after = { ...before, secondaryIpRanges: [{ rangeName: "pods", ipCidrRange: "10.8.0.0/14" }] };
    assert.deepEqual(
      (await compared(provider, sub, { ...after, network: UNKNOWN })).changes,
      new Map([
        ["network", { kind: "update", replace: true }],
        ["secondaryIpRanges[0].ipCidrRange", { kind: "update", replace: false }],
      ]),
    );
  });

  it("deletes first what has a given name, and last what it named itself", async () => {
    const provider = await account.provider();
    const given = await made(provider, network, { name: "net", description: "one" });
    const own = await made(provider, network, { description: "one" });
    assert.equal((await compared(provider, given, { name: "net", description: "two" })).deleteBeforeReplace, true);
    assert.equal((await compared(provider, own, { description: "two" })).deleteBeforeReplace, false);
    assert.equal((await compared(provider, given, { name: "other", description: "two" })).deleteBeforeReplace, false);
  });

  it("replaces everything when the stack moves to another project", async () => {
    const net = await made(await account.provider(), network, {});
    const elsewhere = await account.provider({ project: "beta", region: "europe-west3" });
    assert.deepEqual((await compared(elsewhere, net, {})).changes.get("project"), { kind: "update", replace: true });
  });

  it("keeps what was made once through an update, and makes again what follows from inputs", async () => {
    const provider = await account.provider();
    const before = await made(provider, address, { labels: { team: "a" } });
    const preview = await updated(provider, before, { labels: { team: "b" } }, true);
    const after = await updated(provider, before, { labels: { team: "b" } });
    for (const { outputs } of [preview, after]) {
      assert.equal(outputs["address"], before.outputs["address"]);
      assert.deepEqual(outputs["effectiveLabels"], { "goog-pulumi-provisioned": "true", team: "b" });
    }
    assert.deepEqual(account.content().objects[0]!.inputs["labels"], { team: "b" });
  });

  it("changes nothing in a preview", async () => {
    const provider = await account.provider();
    const net = await made(provider, network, { routingMode: "REGIONAL" });
    await updated(provider, net, { routingMode: "GLOBAL" }, true);
    assert.equal(account.content().objects[0]!.outputs["routingMode"], "REGIONAL");
  });
});

describe("the stand-in cloud and creations", () => {
  it("says in a preview what it knows, and that the rest is not known", async () => {
    const provider = await account.provider();
    const { inputs } = await checked(provider, address, { labels: { team: "a" } });
    const { properties } = await provider.create({ urn: "urn", type: address, name: "a", inputs, preview: true });
    assert.equal(properties["address"], UNKNOWN);
    assert.equal(properties["selfLink"], UNKNOWN);
    assert.equal(properties["project"], "alpha");
    assert.deepEqual(properties["pulumiLabels"], { "goog-pulumi-provisioned": "true", team: "a" });
    assert.deepEqual((await new Account(account.folder, "gcp").read()).objects, []);
  });

  it("refuses a reference to what is not there", async () => {
    const news = { network: "projects/alpha/global/networks/gone", ipCidrRange: "10.0.0.0/20" };
    await assert.rejects(made(await account.provider(), subnetwork, news), {
      message:
        "googleapi: Error 400: Invalid value for field 'resource.network': 'projects/alpha/global/networks/gone'. " +
        "The referenced network resource cannot be found., invalid",
    });
  });

  it("takes a reference by id, by link and by name", async () => {
    const provider = await account.provider();
    const net = await made(provider, network, { name: "net" });
    for (const [index, reference] of [net.id, net.outputs["selfLink"]!, "net"].entries()) {
      await made(provider, subnetwork, { network: reference, ipCidrRange: `10.${index}.0.0/20` });
    }
    assert.equal(account.content().objects.length, 4);
  });

  it("never looks for a reference in another project", async () => {
    const net = await made(await account.provider(), network, { name: "net" });
    const elsewhere = await account.provider({ project: "beta", region: "europe-west3" });
    await assert.rejects(
      made(elsewhere, subnetwork, { network: net.id, ipCidrRange: "10.0.0.0/20" }),
      /cannot be found/,
    );
    // The same name is free there.
    assert.equal((await made(elsewhere, network, { name: "net" })).id, "projects/beta/global/networks/net");
  });

  it("enforces a quota per project", async () => {
    account.behave({ quotas: { [network]: 1 } });
    const provider = await account.provider();
    await made(provider, network, {});
    await assert.rejects(made(provider, network, {}), /Error 403: Quota 'NETWORKS' exceeded\. Limit: 1\.0 globally/);
    await made(await account.provider({ project: "beta", region: "europe-west3" }), network, {});
  });

  it("lets nobody into a project that the caller may not see", async () => {
    account.behave({ projects: ["beta"] });
    await assert.rejects(made(await account.provider(), network, {}), /Error 403: The caller does not have permission/);
  });

  it("loses nothing of what many plugins write at once", async () => {
    const providers = await Promise.all([1, 2, 3, 4].map(() => account.provider()));
    await Promise.all(
      providers.flatMap((provider) => [1, 2, 3, 4, 5].map(() => made(provider, address, { labels: {} }))),
    );
    const { objects } = account.content();
    assert.equal(objects.length, 20);
    assert.equal(new Set(objects.map(({ outputs }) => outputs["address"])).size, 20);
    assert.equal(new Set(objects.map(({ serial }) => serial)).size, 20);
  });

  it("loses nothing of what processes of their own write at once", async () => {
    const module = join(__dirname, "../../../local/plugins/cloud/account.ts");
    const script = `const { Account } = require(${JSON.stringify(module)});
      const account = new Account(${JSON.stringify(account.folder)}, "gcp");
      const add = (content) => { content.serial += 1; };
      void Promise.all(Array.from({ length: 25 }, () => account.change(add)));`;
    const run = promisify(execFile);
    await Promise.all([1, 2, 3].map(() => run(process.execPath, ["--import", "tsx", "-e", script])));
    assert.equal(account.content().serial, 75);
  });
});

describe("the stand-in cloud and deletions", () => {
  it("refuses to delete what anything in the account uses, and names the user", async () => {
    const provider = await account.provider();
    const net = await made(provider, network, { name: "net" });
    const sub = await made(provider, subnetwork, { name: "sub", network: "net", ipCidrRange: "10.0.0.0/20" });
    await assert.rejects(deleted(provider, net), {
      message:
        "googleapi: Error 400: The network resource 'projects/alpha/global/networks/net' is already being used by " +
        "'projects/alpha/regions/europe-west3/subnetworks/sub', resourceInUseByAnotherResource",
    });
    await deleted(provider, sub);
    await deleted(provider, net);
    assert.deepEqual(account.content().objects, []);
  });

  it("takes what is gone already for deleted", async () => {
    const provider = await account.provider();
    const net = await made(provider, network, {});
    await deleted(provider, net);
    await deleted(provider, net);
  });

  it("deletes in the project where it was made, whatever the project of the stack is now", async () => {
    const net = await made(await account.provider(), network, {});
    await deleted(await account.provider({ project: "beta", region: "europe-west3" }), net);
    assert.deepEqual(account.content().objects, []);
  });
});

describe("the stand-in cloud and refreshes", () => {
  it("finds what it made as it was said to be", async () => {
    const provider = await account.provider();
    const net = await made(provider, network, { name: "net" });
    const found = await refreshed(provider, net);
    assert.deepEqual(found, { id: net.id, inputs: net.inputs, properties: net.properties });
  });

  it("shows as drift what somebody changed in the account", async () => {
    const provider = await account.provider();
    const net = await made(provider, network, { routingMode: "REGIONAL" });
    account.edit(({ objects }) => (objects[0]!.outputs["routingMode"] = "GLOBAL"));
    const found = await refreshed(provider, net);
    assert.equal(found?.inputs["routingMode"], "GLOBAL");
    const now = { ...net, inputs: found.inputs, properties: found.properties };
    assert.deepEqual(
      (await compared(provider, now, { routingMode: "REGIONAL" })).changes,
      new Map([["routingMode", { kind: "update", replace: false }]]),
    );
  });

  it("tells that something is gone", async () => {
    const provider = await account.provider();
    const net = await made(provider, network, {});
    account.edit((content) => (content.objects = []));
    assert.equal(await refreshed(provider, net), undefined);
  });

  it("imports by id what was made elsewhere, so that the same inputs are no change", async () => {
    const provider = await account.provider();
    const { id, inputs } = await made(provider, network, { name: "net", routingMode: "GLOBAL" });
    const found = await provider.read({ urn: "urn", type: network, name: "thing", id });
    assert.equal(found?.inputs["routingMode"], "GLOBAL");
    const { changes } = await provider.diff({
      ...{ urn: "urn", type: network, name: "thing", id, ignoreChanges: [] },
      ...{ oldInputs: found.inputs, olds: found.properties, news: inputs },
    });
    assert.deepEqual(changes, new Map());
  });
});

describe("the stand-in cloud and its behaviour file", () => {
  const fault = { op: "create" as const, type: network, times: 2, message: "googleapi: Error 503: not now" };

  it("fails exactly as often as it is told, and then works", async () => {
    account.behave({ faults: [fault] });
    const provider = await account.provider();
    const again = await account.provider();
    await assert.rejects(made(provider, network, {}), { message: "googleapi: Error 503: not now" });
    await assert.rejects(made(again, network, {}), { message: "googleapi: Error 503: not now" });
    await made(provider, network, {});
    assert.equal(account.behaviour().faults?.[0]?.times, 0);
    assert.equal(account.content().objects.length, 1);
  });

  it("fails only the operation, the type and the names that it is told", async () => {
    account.behave({ faults: [{ ...fault, name: "^main$" }] });
    const provider = await account.provider();
    await made(provider, network, {}, "mainly");
    await made(provider, address, {}, "main");
    await checked(provider, network, {}, { name: "main" });
    await assert.rejects(made(provider, network, {}, "main"), /503/);
  });

  it("can fail every operation", async () => {
    const provider = await account.provider();
    const net = await made(provider, network, {});
    const tries = {
      check: () => checked(provider, network, {}),
      diff: () => compared(provider, net, {}),
      read: () => refreshed(provider, net),
      update: () => updated(provider, net, {}),
      delete: () => deleted(provider, net),
    };
    for (const [op, attempt] of Object.entries(tries)) {
      account.behave({ faults: [{ ...fault, op: op as keyof typeof tries, times: 1, message: `no ${op}` }] });
      await assert.rejects(attempt, { message: `no ${op}` });
    }
    const token = "gcp:organizations/getProject:getProject";
    account.behave({ faults: [{ op: "invoke", type: token, times: 1, message: "no invoke" }] });
    await assert.rejects(provider.invoke!(token, {}), { message: "no invoke" });
  });

  it("leaves the resource behind when it is to fail halfway", async () => {
    account.behave({ faults: [{ ...fault, partial: true, times: 1 }] });
    const provider = await account.provider();
    await assert.rejects(made(provider, network, { name: "net" }), (error) => {
      assert.ok(error instanceof PartialFailure);
      assert.equal(error.found.id, "projects/alpha/global/networks/net");
      assert.deepEqual(error.reasons, ["googleapi: Error 503: not now"]);
      return true;
    });
    assert.equal(account.content().objects[0]?.id, "projects/alpha/global/networks/net");
  });

  it("does not use up a fault in a preview", async () => {
    account.behave({ faults: [fault] });
    const provider = await account.provider();
    const { inputs } = await checked(provider, network, {});
    await provider.create({ urn: "urn", type: network, name: "thing", inputs, preview: true });
    assert.equal(account.behaviour().faults?.[0]?.times, 2);
  });

  it("lags as long as it is told, with the thing there already and not yet gone", async () => {
    const slept: [seconds: number, objects: number][] = [];
    const slow = new StandInCloud({
      sleep: (seconds) => {
        slept.push([seconds, slow.content().objects.length]);
        return Promise.resolve();
      },
    });
    slow.behave({ latency: { [network]: { create: 90, update: 5, delete: 60 } } });
    const provider = await slow.provider();
    const net = await made(provider, network, {});
    await updated(provider, net, {});
    await deleted(provider, net);
    assert.deepEqual(slept, [
      [90, 1],
      [5, 1],
      [60, 1],
    ]);
    assert.equal(slow.content().objects.length, 0);
    slow.remove();
  });

  it("is refused when it says something that would have no effect", async () => {
    account.behave({ quota: {} } as object);
    await assert.rejects(made(await account.provider(), network, {}), /"quota" is none of faults, latency, quotas/);
  });

  it("is answered by a log of every call, previews marked", async () => {
    const provider = await account.provider();
    const { inputs } = await checked(provider, network, {}, { name: "main" });
    await provider.create({ urn: "urn", type: network, name: "main", inputs, preview: true });
    await provider.invoke!("gcp:organizations/getProject:getProject", {});
    assert.deepEqual(account.calls(), [
      { op: "check", type: network, name: "main" },
      { op: "create", type: network, name: "main", preview: true },
      { op: "invoke", function: "gcp:organizations/getProject:getProject" },
    ]);
  });
});

describe("the stand-in cloud and secrets", () => {
  const canary = "canary-5d1e";
  const clear = (value: unknown): boolean => {
    if (isSecret(value)) return false;
    if (typeof value === "object" && value !== null) return Object.values(value).some(clear);
    return typeof value === "string" && value.includes(canary);
  };
  const labels = (value: string): Properties => ({ labels: { team: secret(value) } });

  it("marks a secret wherever it got, in everything that it returns", async () => {
    const provider = await account.provider();
    const { inputs } = await checked(provider, address, labels(canary));
    assert.ok(!clear(inputs));
    const preview = await provider.create({ urn: "urn", type: address, name: "a", inputs, preview: true });
    const made = await provider.create({ urn: "urn", type: address, name: "a", inputs, preview: false });
    assert.ok(!clear(preview.properties));
    assert.ok(!clear(made.properties));
    assert.ok(isSecret((made.properties["effectiveLabels"] as Properties)["team"]));
    const found = await provider.read({ urn: "urn", type: address, name: "a", inputs, ...made });
    assert.ok(found && !clear(found.properties) && !clear(found.inputs));
  });

  it("marks a former secret that an update keeps", async () => {
    const provider = await account.provider();
    const before = await made(provider, serviceAccount, { accountId: secret(`${canary}-x`) });
    assert.ok(!clear(before.properties));
    // The account's id stays in the addresses that were made of it, whatever the input is now.
    const after = await updated(provider, before, { accountId: "something-else" });
    assert.ok((after.outputs["email"] as string).includes(canary));
    assert.ok(!clear(after.properties));
  });

  it("marks the secret of a resource that was left behind halfway", async () => {
    account.behave({ faults: [{ op: "create", type: address, times: 1, message: "half", partial: true }] });
    await assert.rejects(made(await account.provider(), address, labels(canary)), (error) => {
      assert.ok(error instanceof PartialFailure);
      assert.ok(!clear(error.found.properties) && !clear(error.found.inputs));
      return true;
    });
  });

  it("marks a secret that is too short to look for where the program put it", async () => {
    const { properties } = await made(await account.provider(), address, labels("abc"));
    assert.ok(isSecret((properties["labels"] as Properties)["team"]));
  });
});

describe("the stand-in cloud and what a cluster is born with", () => {
  const cluster = "gcp:container/cluster:Cluster";
  const inputs = { name: "c", location: "europe-west3-a", initialNodeCount: 1, deletionProtection: false };

  function furnishing(put: () => Promise<void>) {
    const named = (objects: readonly Properties[]): string[] =>
      objects.map(({ metadata }) => (metadata as { name: string }).name);
    const seen: string[][] = [];
    const cloud = new StandInCloud({
      furnish: async (objects) => {
        await put();
        seen.push(["put", ...named(objects)]);
      },
      clear: (objects) => {
        seen.push(["taken", ...named(objects)]);
        return Promise.resolve();
      },
    });
    return { cloud, seen };
  }

  it("puts that on the control plane when the cluster is made, and takes it away with the cluster", async () => {
    const { cloud, seen } = furnishing(() => Promise.resolve());
    const provider = await cloud.provider();
    const there = await made(provider, cluster, inputs);
    await made(provider, network, {}, "other");
    assert.deepEqual(seen, [["put", "standard-rwo", "premium-rwo"]]);
    await deleted(provider, there);
    assert.deepEqual(seen.slice(1), [["taken", "standard-rwo", "premium-rwo"]]);
    cloud.remove();
  });

  it("makes the cluster although its API cannot be reached from here, says so, and furnishes it at the next run", async () => {
    let reachable = false;
    const { cloud, seen } = furnishing(() =>
      reachable ? Promise.resolve() : Promise.reject(new Error("ECONNREFUSED")),
    );
    const provider = await cloud.provider();
    const there = await made(provider, cluster, inputs);
    assert.match(cloud.said.join(), /cannot furnish its cluster yet: ECONNREFUSED/);
    reachable = true;
    await compared(provider, there, inputs);
    await compared(provider, there, inputs);
    assert.deepEqual(seen, [["put", "standard-rwo", "premium-rwo"]]);
    cloud.remove();
  });
});
