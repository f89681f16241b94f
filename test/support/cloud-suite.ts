import assert from "node:assert/strict";
import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse } from "yaml";
import { type CloudAccount, cloudAccount } from "./cloud-account";
import { type Ended, startEngine, type Step, type TestEngine } from "./engine";
import { brokenReferences } from "./live-references";
import { follow, section } from "./recovery-pages";
import { workspace } from "./workspace";

/** The domain of every example stack of a cloud. */
export const domain = "workspaces.example.com";

/** A resource as the state has it. */
export interface Recorded {
  readonly type: string;
  readonly urn: string;
  readonly external?: boolean;
  readonly custom: boolean;
  readonly dependencies?: readonly string[];
  /** `<urn>::<id>` */
  readonly provider?: string;
}

/** The example stack of a cloud on a local engine of its own, with the stand-in account that it works in. */
export interface CloudStack extends TestEngine {
  readonly account: CloudAccount;
  /** Runs the CLI, which has to fail, and gives what it printed. */
  fails(arguments_: readonly string[]): Promise<string>;
  /** Does what the guide says, and expects it to work. */
  does(heading: string, input?: string): Promise<Ended>;
  clusterConfig(): Promise<object>;
  /** Changes settings of the cluster, for as long as `work` takes. */
  withCluster<T>(changes: Readonly<Record<string, unknown>>, work: () => Promise<T>): Promise<T>;
  state(): Promise<Recorded[]>;
  /** Types of what the account has, sorted; with the load balancers and disks that the cluster made. */
  inAccount(): Promise<string[]>;
}

/** What sets one cloud apart in what every cloud has to do. Lists are written out by hand. */
export interface CloudLife {
  /** Name of the stack, its example and its guide. */
  readonly stack: string;
  /** The Pulumi package. */
  readonly cloud: string;
  /** `type name` of everything that the example stack makes, but for providers; sorted. */
  readonly made: readonly string[];
  /** A chain of what waits for each other than which none is longer, by the last words of the types. */
  readonly chain: readonly string[];
  /** The records that lead to the address that is kept, as the account has it; none where the cloud picks a host name. */
  readonly records: (account: CloudAccount) => Promise<{ type: string; value: unknown } | undefined>;
}

/** Starts the engine of a cloud's example stack. */
export async function startCloud({ stack, cloud }: Pick<CloudLife, "stack" | "cloud">): Promise<CloudStack> {
  const engine = await startEngine({ stack });
  const account = cloudAccount(engine, cloud);
  const clusterConfig = async (): Promise<object> => {
    const { config } = parse(await readFile(engine.engine.stackConfig, "utf8")) as { config: Record<string, object> };
    return config["gitlab-workspaces:cluster"]!;
  };
  return {
    ...engine,
    account,
    clusterConfig,
    async fails(arguments_) {
      const { exitCode, all } = await engine.pulumi(arguments_);
      assert.notEqual(exitCode, 0, all);
      return all;
    },
    async does(heading, input = "") {
      const ended = await follow(engine, section(`../${stack}.md`, heading), {}, input);
      assert.equal(ended.exitCode, 0, ended.all);
      return ended;
    },
    async withCluster(changes, work) {
      const before = await readFile(engine.engine.stackConfig, "utf8");
      await engine.configure({ cluster: { ...(await clusterConfig()), ...changes } });
      try {
        return await work();
      } finally {
        await writeFile(engine.engine.stackConfig, before);
      }
    },
    async state() {
      const { stdout } = await engine.pulumi(["stack", "export"]);
      const { deployment } = JSON.parse(stdout) as { deployment: { resources?: Recorded[] } };
      return deployment.resources ?? [];
    },
    async inAccount() {
      const { objects, loadBalancers, disks } = await account.content();
      return [
        ...objects.map(({ type }) => type),
        ...loadBalancers.map(({ namespace, name }) => `load balancer ${namespace}/${name}`),
        ...disks.map(({ namespace, name }) => `disk ${namespace}/${name}`),
      ].sort();
    },
  };
}

export const isProvider = (type: string): boolean => type.startsWith("pulumi:providers:");

/** What an operation did, a line for each resource, sorted. */
export const told = (steps: readonly Step[]): string[] =>
  steps.map(({ op, type, name }) => `${op} ${type} ${name}`).sort();

/** The longest chain of resources each of which waits for the one before, by the last words of their types; nothing that is only read. */
function longestChain(resources: readonly Recorded[]): string[] {
  const chains = new Map<string, string[]>();
  // The engine writes down a resource after all that it depends on.
  for (const { type, urn, external, custom, dependencies = [], provider = "" } of resources) {
    const needed = [...dependencies, provider.split("::").slice(0, -1).join("::")];
    const longest = needed
      .map((each) => chains.get(each) ?? [])
      .reduce((one, other) => (other.length > one.length ? other : one), []);
    const own = custom && external !== true && !urn.includes("::default_") ? [type.split(":").at(-1) ?? ""] : [];
    chains.set(urn, [...longest, ...own]);
  }
  return [...chains.values()].reduce((one, other) => (other.length > one.length ? other : one), []);
}

/**
 * What of a cloud the destroy guard does not wait for, and so would be gone when it refuses: nothing may be in it.
 * @param cloud the Pulumi package.
 */
export function unguarded(resources: readonly Recorded[], cloud: string): string[] {
  const needed = new Map(
    resources.map(({ urn, dependencies = [], provider = "" }) => [
      urn,
      [...dependencies, provider.split("::").slice(0, -1).join("::")],
    ]),
  );
  const guard = resources.find(({ urn }) => urn.endsWith("::destroy-guard") && !urn.includes("pulumi:providers:"));
  const kept = new Set<string>();
  const keep = (urn: string): void => {
    if (kept.has(urn)) return;
    kept.add(urn);
    for (const below of needed.get(urn) ?? []) keep(below);
  };
  keep(guard?.urn ?? "");
  return resources.filter(({ type, urn }) => type.startsWith(`${cloud}:`) && !kept.has(urn)).map(({ urn }) => urn);
}

/** Tests of a stack from nothing to a live platform that a second run leaves alone. */
export function comesToLife(of: () => CloudStack, { cloud, made, chain, records }: CloudLife): void {
  it("is previewed with the names and kinds that up makes", async () => {
    const { stdout, exitCode, all } = await of().pulumi(["preview", "--json"]);
    assert.equal(exitCode, 0, all);
    const { steps } = JSON.parse(stdout) as { steps: { op: string; urn: string; newState: { type: string } }[] };
    const wanted = (list: readonly { op: string; type: string; name: string }[]): string[] =>
      list.filter(({ op, type }) => op === "create" && !isProvider(type)).map(({ type, name }) => `${type} ${name}`);
    const planned = steps.map(({ op, urn, newState: { type } }) => ({ op, type, name: urn.split("::").at(-1) ?? "" }));
    assert.deepEqual(wanted(planned).sort(), made);
    assert.deepEqual(await of().inAccount(), [], "a preview makes nothing");
    assert.deepEqual(wanted(await of().up()).sort(), made);
  });

  it("has no longer chain of what waits for each other than is known", async () => {
    const longest = longestChain(await of().state());
    assert.equal(longest.length, chain.length, longest.join(" > "));
  });

  it("has nothing in its cloud that would be gone before the destroy guard has spoken", async () => {
    assert.deepEqual(unguarded(await of().state(), cloud), []);
  });

  it("is live on the Kubernetes API, with nothing that leads nowhere", async () => {
    assert.deepEqual(await brokenReferences(of()), []);
    const { stdout } = await of().pulumi(["stack", "output", "--json"]);
    const { workspacesUrl } = JSON.parse(stdout) as { workspacesUrl: string };
    assert.equal(workspacesUrl, `https://${domain}`);
  });

  it("has one default StorageClass", async () => {
    const classes = await of().get<{ metadata: { annotations?: Record<string, string> } }[]>("storageclasses");
    const defaults = classes.filter(
      ({ metadata }) => metadata.annotations?.["storageclass.kubernetes.io/is-default-class"] === "true",
    );
    assert.equal(defaults.length, 1);
  });

  it("has its records lead to the load balancer of the ingress controller, at the address that is kept if one is", async () => {
    const { stdout } = await of().pulumi(["stack", "output", "--json", "dnsRecords"]);
    const found = JSON.parse(stdout) as { name: string; type: string; value: string }[];
    const service = await of().get<{ status: { loadBalancer: { ingress: { ip?: string; hostname?: string }[] } } }>(
      ...["service", "traefik", "--namespace", "gitlab-ingress-controller"],
    );
    const [{ ip, hostname } = {}] = service.status.loadBalancer.ingress;
    const leads = { type: ip === undefined ? "CNAME" : "A", value: ip ?? hostname };
    assert.deepEqual((await records(of().account)) ?? leads, leads);
    assert.deepEqual(found, [
      { name: domain, ...leads },
      { name: `*.${domain}`, ...leads },
    ]);
  });

  it("changes nothing in a second up, and finds nothing changed in a refresh", async () => {
    assert.deepEqual(told(await of().up()), []);
    const refreshed = await of().pulumi(["refresh", "--yes", "--skip-preview", "--expect-no-changes"]);
    assert.equal(refreshed.exitCode, 0, refreshed.all);
    assert.deepEqual(told(await of().up()), []);
  });
}

/**
 * A test of the guide's first deployment, word by word, on a stack that is there.
 * @param nodes what the last command prints when the kubeconfig reaches the cluster.
 */
export function followsItsGuide(of: () => TestEngine, { stack }: Pick<CloudLife, "stack">, nodes = /node-0+/): void {
  it("is set up by the commands of its guide, and reached by the kubeconfig that it hands out", async () => {
    const scratch = await mkdtemp(join(tmpdir(), "gitlab-workspaces-guide-"));
    const key = await of().pulumi(["config", "get", "gitlab-workspaces:tlsKey"]);
    await writeFile(join(scratch, "privkey.pem"), `${key.stdout}\n`);
    await writeFile(join(scratch, "oauth-client-secret.txt"), "an-oauth-secret\n");
    await writeFile(join(scratch, "agent-token.txt"), "an-agent-token\n");
    await copyFile(of().engine.kubeconfig, join(scratch, "kubeconfig.yaml"));
    const { commands } = section(`../${stack}.md`, "First deployment");
    // The first block copies the example into the working tree.
    const here = commands
      .slice(1)
      .map((block) =>
        block.replaceAll(
          /([<>] |--kubeconfig )([\w-]+\.(?:txt|pem|json|yaml))/g,
          (_, before: string, file: string) => `${before}'${join(scratch, file)}'`,
        ),
      );
    assert.equal(here.length, 2);
    const { exitCode, all } = await follow(of(), { symptom: [], commands: here });
    assert.equal(exitCode, 0, all);
    assert.match(all, nodes, "the nodes are listed");
    await rm(scratch, { recursive: true });
  });
}

/** Tests of the end of a protected stack: refused, refused because of workspaces, and then whole. `cluster` is its type. */
export function isTakenDown(of: () => CloudStack, { stack }: Pick<CloudLife, "stack">, cluster: string): void {
  it("is not destroyed while it is protected, and nothing is touched", async () => {
    // What is secret is encrypted anew in each export.
    const there = async () => ({
      objects: (await of().account.content()).objects,
      state: (await of().state()).map(({ urn }) => urn),
    });
    await of().withCluster({ protect: true }, () => of().up());
    const before = await there();
    const all = await of().fails(["destroy", "--yes", "--skip-preview"]);
    assert.match(all, /destroy-guard[^]* cannot be deleted\s+because it is protected/);
    assert.deepEqual(await there(), before);
  });

  it("is not destroyed while there are workspaces with volumes, and is destroyed whole as its guide says", async () => {
    for (const object of workspace({ id: "1-3-kept", domain })) await of().apply(object);
    const namespace = "gl-rd-ns-1-3-kept";
    await of().apply({
      apiVersion: "v1",
      kind: "PersistentVolumeClaim",
      metadata: { name: "data", namespace },
      spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } },
    });
    await of().kubectl(
      ...["wait", "--for=jsonpath={.status.phase}=Bound", "pvc/data", "--namespace", namespace, "--timeout=60s"],
    );
    const { commands } = section(`../${stack}.md`, "Teardown");
    assert.equal(commands.length, 1);
    const lines = commands[0]!.split("\n");
    const teardown = (some: readonly string[]) => follow(of(), { symptom: [], commands: [some.join("\n")] });

    const refused = await teardown(lines.filter((line) => !line.includes("stack rm")));
    assert.notEqual(refused.exitCode, 0, refused.all);
    assert.match(refused.all, /workspace-1-3-kept/);
    assert.ok((await of().inAccount()).includes(cluster));

    await of().kubectl("delete", "namespace", namespace);
    const gone = await teardown(lines.slice(2, 3));
    assert.equal(gone.exitCode, 0, gone.all);
    assert.deepEqual(await of().state(), []);
    assert.deepEqual(await of().inAccount(), []);
    const namespaces = await of().get<{ metadata: { name: string } }[]>("namespaces");
    assert.deepEqual(
      namespaces.map(({ metadata }) => metadata.name).filter((name) => name.startsWith("gitlab-")),
      [],
    );
    assert.deepEqual(
      await of().get("validatingadmissionpolicies,validatingadmissionpolicybindings,persistentvolumes,storageclasses"),
      [],
    );
  });
}

/**
 * A test that compares what was asked of the cloud so far with what the guide has people allow.
 * @param permissions what each call takes, `<op> <type or function>` -> names as the cloud has them.
 * @param documented what the document names.
 */
export function asksForNoMore(
  of: () => CloudStack,
  document: string,
  permissions: Readonly<Record<string, readonly string[]>>,
  documented: () => Promise<readonly string[]>,
): void {
  it(`asks for no permission that is not in ${document}, which names no other`, async () => {
    const used = new Set<string>();
    for (const { op, type, function: called, preview } of await of().account.calls()) {
      if (op === "check" || op === "diff" || (preview === true && op !== "invoke")) continue;
      const call = `${op} ${type ?? called ?? ""}`;
      assert.ok(permissions[call], `${call} is in the table`);
      for (const permission of permissions[call]) used.add(permission);
    }
    assert.deepEqual([...(await documented())].sort(), [...used].sort());
  });
}

/** Tests that the stack, which is not there at the time, comes to the same end although every create of the cloud fails once. */
export function recovers(of: () => CloudStack, { cloud, made }: Pick<CloudLife, "cloud" | "made">): void {
  it("comes to the same end although every create fails once", async () => {
    const types = [...new Set(made.filter((line) => line.startsWith(`${cloud}:`)).map((line) => line.split(" ")[0]!))];
    const message = "the service is currently unavailable";
    await of().account.behave({ faults: types.map((type) => ({ op: "create", type, times: 1, message })) });
    let tries = 1;
    while ((await of().pulumi(["up", "--yes", "--skip-preview"])).exitCode !== 0) {
      tries += 1;
      assert.ok(tries <= types.length + 1, "a failure less each time");
    }
    assert.ok(tries > 3);
    assert.equal(await of().account.failuresLeft(), 0);
    assert.deepEqual(told(await of().up()), []);
    const resources = await of().state();
    assert.deepEqual(
      resources
        .filter(({ type, urn }) => !isProvider(type) && !urn.endsWith("::traefik-service"))
        .map(({ type, urn }) => `${type} ${urn.split("::").at(-1)!}`)
        .sort(),
      made,
    );
    assert.deepEqual(await brokenReferences(of()), []);
  });
}
