import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { copyFile, mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import { parse } from "yaml";
import { packageCharts } from "../../local/charts/repository";
import { environment, type LocalEngine } from "../../local/engine";
import { type ChartName, charts } from "../../src/charts";
import { startEngine, type Step, type TestEngine } from "../support/engine";
import { brokenReferences } from "../support/live-references";

const upgradePage = readFileSync(join(__dirname, "..", "..", "docs", "upgrade.md"), "utf8");

/** One directory for each release, named as its tag. */
const recorded = join(__dirname, "..", "recorded");

/** What the present program does to a stack that a release made. */
interface Upgrade {
  /** `op name` of each resource that is changed in place or new. Nothing is ever replaced or deleted. */
  readonly changes: readonly string[];
  /** Namespaces whose pods restart. */
  readonly restarts: readonly string[];
}

/** Written by hand. Whoever changes the program extends these, and says the same in CHANGELOG.md. */
const expected: Readonly<Record<string, Upgrade>> = {
  "v0.1.0": {
    // The local cluster is another one than at that time, so it has another kubeconfig: nothing else may change for that.
    changes: ["create destroy-guard", "create destroy-guard", "update kubernetes"],
    restarts: [],
  },
};

interface Release {
  readonly name: string;
  readonly namespace: string;
  readonly chart: ChartName;
  readonly version: string;
  readonly repositoryOpts: { repo: string };
  readonly values: object;
}

interface Resource {
  readonly type: string;
  readonly external?: boolean;
  readonly inputs?: object;
  readonly outputs?: Record<string, unknown>;
}

/** What `pulumi stack export` prints. */
interface State {
  readonly deployment: { readonly resources: Resource[] };
}

interface Live {
  readonly metadata: { readonly namespace: string; readonly name: string; readonly uid: string };
  readonly data?: Readonly<Record<string, string>>;
}

const isRelease = ({ type }: Resource): boolean => type === "kubernetes:helm.sh/v3:Release";

/** A value of `stack export --show-secrets` without the wrappers of its secrets. */
function unwrapped(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(unwrapped);
  if (typeof value !== "object" || value === null) return value;
  if ("plaintext" in value) return unwrapped(JSON.parse(value.plaintext as string));
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, unwrapped(member)]));
}

const told = (steps: readonly Step[]): string[] => steps.map(({ op, name }) => `${op} ${name}`).sort();

describe("A stack that an earlier release made", () => {
  it("is expected to change in a way that is written down, for every release that is recorded", async () => {
    const releases = (await readdir(recorded, { withFileTypes: true })).filter((entry) => entry.isDirectory());
    assert.deepEqual(releases.map(({ name }) => name).sort(), Object.keys(expected).sort());
  });

  for (const [release, { changes, restarts }] of Object.entries(expected)) {
    describe(release, () => {
      let engine: TestEngine;

      before(async function () {
        this.timeout(3_600_000);
        engine = await startEngine({ prefill: (folder) => bringBackConfig(folder, join(recorded, release)) });
        await bringBackState(engine, join(recorded, release));
        await bringBackCluster(engine);
      });

      after(async () => {
        await engine.stop();
      });

      /** `namespace/name uid` of every object of a kind. */
      const uids = async (kind: string): Promise<string[]> =>
        (await engine.get<Live[]>(kind, "--all-namespaces")).map(
          ({ metadata: { namespace, name, uid } }) => `${namespace}/${name} ${uid}`,
        );
      const inSecret = async (secret: string, key: string): Promise<string | undefined> =>
        (await engine.get<Live>("secret", secret, "--namespace", "gitlab-workspaces")).data?.[key];
      /** What was generated once, and must stay. */
      const keys = async (): Promise<unknown[]> => [
        await inSecret("gitlab-workspaces-proxy-config", "auth.signing_key"),
        await inSecret("gitlab-workspaces-proxy-config", "ssh.host_key"),
        await inSecret("gitlab-workspace-proxy-tls", "tls.key"),
      ];

      it("is brought back as that release left it", async () => {
        assert.deepEqual(await brokenReferences(engine), []);
        assert.ok((await keys()).every((key) => typeof key === "string" && key !== ""));
      });

      it("is replaced nowhere by the present program, and loses nothing, as the preview says", async () => {
        const ended = await engine.pulumi(["preview", "--json"]);
        assert.equal(ended.exitCode, 0, ended.all);
        const { steps } = JSON.parse(ended.stdout) as { steps: { op: string; urn: string }[] };
        const planned = steps
          .filter(({ op }) => op !== "same" && op !== "read")
          .map(({ op, urn }) => `${op} ${urn.split("::").at(-1) ?? ""}`);
        assert.deepEqual(planned.sort(), changes);
        assert.deepEqual(
          // A default provider is called after its version, and holds nothing.
          planned.filter((step) => !/^(create|update) |^delete default_/.test(step)),
          [],
        );
      });

      it("keeps its keys and Secrets in the upgrade, restarts what is said and no other, and then is done", async () => {
        const before = { keys: await keys(), secrets: await uids("secrets"), pods: await uids("pods") };
        assert.deepEqual(told(await engine.up()), changes);
        const after = { keys: await keys(), secrets: await uids("secrets"), pods: await uids("pods") };
        assert.deepEqual(after.keys, before.keys);
        assert.deepEqual(
          before.secrets.filter((secret) => !after.secrets.includes(secret)),
          [],
        );
        const gone = before.pods.filter((pod) => !after.pods.includes(pod)).map((pod) => pod.split("/")[0]);
        assert.deepEqual([...new Set(gone)].sort(), restarts);
        assert.deepEqual(await brokenReferences(engine), []);
        assert.deepEqual(told(await engine.up()), []);
      });

      it("can go back to a program without the guard: docs/upgrade.md takes it out of the state alone", async () => {
        const deletes = upgradePage.match(/^npx pulumi state delete .+$/gm) ?? [];
        assert.equal(deletes.length, 2);
        const before = await uids("namespaces,secrets,services,deployments,pods,ingresses");
        for (const line of deletes) {
          const [, urn = ""] = /'(.+)'$/.exec(line) ?? [];
          const ended = await engine.pulumi(["state", "delete", "--yes", urn.replace(":production:", ":local:")]);
          assert.equal(ended.exitCode, 0, ended.all);
        }
        const { stdout } = await engine.pulumi(["stack", "export"]);
        assert.doesNotMatch(stdout, /destroy-guard/);
        assert.deepEqual(told(await engine.up()), ["create destroy-guard", "create destroy-guard"]);
        assert.deepEqual(await uids("namespaces,secrets,services,deployments,pods,ingresses"), before);
      });
    });
  }
});

/** Passphrase, salt and stack config of the recording, where the local engine finds them as its own. */
async function bringBackConfig(engine: LocalEngine, recording: string): Promise<void> {
  const config = join(recording, "Pulumi.local.yaml");
  await copyFile(join(recorded, "passphrase"), engine.passphrase);
  await copyFile(config, engine.stackConfig);
  await mkdir(join(engine.root, "project"));
  await copyFile(config, join(engine.root, "project", "Pulumi.local.yaml"));
}

/** The recorded state, with today's chart repository, and the certificate as young as it was. */
async function bringBackState(engine: TestEngine, recording: string): Promise<void> {
  const state = JSON.parse(await readFile(join(recording, "state.json"), "utf8")) as State;
  const { config } = parse(await readFile(engine.engine.stackConfig, "utf8")) as {
    config: { "gitlab-workspaces:charts": Record<ChartName, { repository: string }> };
  };
  const repository = config["gitlab-workspaces:charts"]["gitlab-agent"].repository;
  const versions: Partial<Record<ChartName, string[]>> = {};
  for (const resource of state.deployment.resources) {
    if (isRelease(resource)) {
      for (const release of [resource.inputs, resource.outputs] as Release[]) release.repositoryOpts.repo = repository;
      const { chart, version } = resource.inputs as Release;
      if (charts[chart].version !== version) versions[chart] = [version];
    }
    const { outputs } = resource;
    if (outputs?.["validityEndTime"] !== undefined) {
      outputs["validityEndTime"] = new Date(Date.now() + 365 * 86_400_000).toISOString();
    }
  }
  await packageCharts({ helm: engine.toolchain.helm, directory: engine.engine.charts, extraVersions: versions });
  const ended = await engine.pulumi(["stack", "import"], { input: JSON.stringify(state) });
  assert.equal(ended.exitCode, 0, ended.all);
}

/** Makes on the cluster what the state says is there, in the order of the state, which is that of dependencies. */
async function bringBackCluster(engine: TestEngine): Promise<void> {
  const { stdout } = await engine.pulumi(["stack", "export", "--show-secrets"]);
  const { deployment } = unwrapped(JSON.parse(stdout)) as State;
  const options = { env: environment(engine.engine, engine.toolchain), extendEnv: false };
  for (const resource of deployment.resources) {
    const { type, external, inputs, outputs } = resource;
    if (!type.startsWith("kubernetes:") || external === true) continue;
    if (isRelease(resource)) {
      const { name, namespace, chart, version, repositoryOpts, values } = inputs as Release;
      const where = ["--namespace", namespace, "--repo", repositoryOpts.repo, "--version", version];
      await execa(engine.toolchain.helm, ["install", name, chart, ...where, "--skip-crds", "--wait", "-f", "-"], {
        ...options,
        input: JSON.stringify(values),
      });
    } else {
      const manager = `--field-manager=${String(outputs?.["__fieldManager"])}`;
      await execa(engine.toolchain.kubectl, ["apply", "--server-side", manager, "-f", "-"], {
        ...options,
        input: JSON.stringify(inputs),
      });
    }
  }
}
