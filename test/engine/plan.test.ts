import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { parse, stringify } from "yaml";
import type { Summary } from "../../local/plan/summary";
import { progressTo } from "../../local/progress";
import { project } from "../../local/stack";
import { ensurePulumiCli, toolchainCache } from "../../local/toolchain/toolchain";
import { processes } from "../support/processes";

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

describe("A plan", () => {
  let scratch: string;
  let environment: NodeJS.ProcessEnv;

  before(async function () {
    this.timeout(3_600_000);
    await ensurePulumiCli(progressTo());
    scratch = await mkdtemp(join(tmpdir(), "gitlab-workspaces-plans-"));
    for (const folder of ["bin", "home", "tmp"]) await mkdir(join(scratch, folder));
    await symlink(process.execPath, join(scratch, "bin", "node"));
    environment = {
      // No kubectl, no helm, no gcloud, no git, no shell.
      PATH: join(scratch, "bin"),
      HOME: join(scratch, "home"),
      TMPDIR: join(scratch, "tmp"),
      XDG_CACHE_HOME: dirname(dirname(toolchainCache())),
      // Were any of these used, it would show.
      KUBECONFIG: "/nowhere/canary-kubeconfig",
      GOOGLE_APPLICATION_CREDENTIALS: "/nowhere/canary-credentials",
      AWS_SECRET_ACCESS_KEY: "canary-aws",
      PULUMI_BACKEND_URL: "https://canary.invalid",
      PULUMI_ACCESS_TOKEN: "canary-token",
      PULUMI_CONFIG_PASSPHRASE: "canary-passphrase",
    };
  });

  after(async () => {
    await rm(scratch, { recursive: true, force: true });
  });

  function start(...arguments_: string[]) {
    const child = spawn("node", ["--import", "tsx", "local/cli.ts", "plan", ...arguments_], {
      cwd: project,
      env: environment,
      detached: true,
    });
    const said = { stdout: "", stderr: "" };
    child.stdout.on("data", (data: Buffer) => (said.stdout += data.toString()));
    child.stderr.on("data", (data: Buffer) => (said.stderr += data.toString()));
    const ended = once(child, "close").then(([code]): Ended => ({ code: code as number | null, ...said }));
    return { child, ended };
  }

  /** Plans, and checks of every plan that it gives no secret away and leaves nothing behind. */
  async function plan(...arguments_: string[]): Promise<Ended> {
    const ended = await start(...arguments_).ended;
    // Tokens, also as a Kubernetes Secret has them, private keys, and what was encrypted or set by others.
    assert.doesNotMatch(ended.stdout + ended.stderr, /stand-in-|c3RhbmQtaW4t|PRIVATE KEY|UFJJVkFURSBLRVk|canary/);
    assert.doesNotMatch(ended.stderr, /\n\s+at /);
    assert.ok(!`${ended.stdout}${ended.stderr}`.includes("\u001b"), "no colours where nobody sees them");
    await leavesNothing();
    return ended;
  }

  async function leavesNothing(): Promise<void> {
    // tsx keeps what it compiled there, of every program.
    const left = (await readdir(join(scratch, "tmp"))).filter((name) => !name.startsWith("tsx-"));
    assert.deepEqual([left, await readdir(join(scratch, "home"))], [[], []]);
    const running = (await processes()).filter(({ environment: of }) => of.includes(join(scratch, "tmp")));
    assert.deepEqual(
      running.map(({ line }) => line),
      [],
    );
  }

  it("needs the file and the Pulumi CLI, and nothing else of this machine or of anybody", async () => {
    const { code, stdout, stderr } = await plan("self-managed", "--json");
    assert.equal(code, 0, stderr);
    assert.match(stderr, /pulumi preview of the stack "self-managed": done/);
    const { parts, missing, placeholders, warnings, stack, counts } = JSON.parse(stdout) as Summary;
    assert.equal(stack, "self-managed");
    assert.deepEqual(
      parts.flatMap(({ part, resources }) => resources.map(({ op, type, name }) => [part, op, type, name].join(" "))),
      [
        "ingress controller create kubernetes:core/v1:Namespace traefik-namespace",
        "ingress controller create kubernetes:helm.sh/v3:Release traefik",
        "ingress controller read kubernetes:core/v1:Service traefik-service",
        "secrets create random:index/randomPassword:RandomPassword signing-key",
        "secrets create tls:index/privateKey:PrivateKey ssh-host-key",
        "proxy create kubernetes:networking.k8s.io/v1:Ingress workspaces-proxy-metrics-closed",
        "proxy create kubernetes:core/v1:Namespace workspaces-proxy-namespace",
        "proxy create kubernetes:policy/v1:PodDisruptionBudget workspaces-proxy-disruption-budget",
        "proxy create kubernetes:helm.sh/v3:Release workspaces-proxy",
        "proxy create kubernetes:core/v1:Secret workspaces-proxy-tls-domain",
        "proxy create kubernetes:core/v1:Secret workspaces-proxy-tls-wildcard",
        "proxy create kubernetes:core/v1:Secret workspaces-proxy-config",
        "proxy create kubernetes:core/v1:Service workspaces-proxy-metrics-closed",
        "proxy read kubernetes:core/v1:Service workspaces-proxy-ssh",
        "agents create kubernetes:core/v1:Namespace gitlab-agent-team-a-namespace",
        "agents create kubernetes:policy/v1:PodDisruptionBudget gitlab-agent-team-a-disruption-budget",
        "agents create kubernetes:helm.sh/v3:Release gitlab-agent-team-a",
        "agents create kubernetes:core/v1:Secret gitlab-agent-team-a-token",
        "guard create pulumi-nodejs:dynamic/gitlab-workspaces:DestroyGuard destroy-guard",
      ],
    );
    assert.deepEqual(counts, {
      DestroyGuard: 1,
      Ingress: 1,
      Namespace: 3,
      PodDisruptionBudget: 2,
      "random.RandomPassword": 1,
      Release: 3,
      Secret: 4,
      Service: 1,
      "tls.PrivateKey": 1,
    });
    assert.deepEqual(placeholders, ["gitlab-workspaces:tls.certificate"]);
    assert.deepEqual(
      missing.map(({ key }) => key.replace("gitlab-workspaces:", "")),
      ["kubeconfig", "oauthClientSecret", "agentToken-team-a", "tlsKey"],
    );
    assert.equal(warnings.length, 2, warnings.join("\n"));
    assert.match(warnings.join("\n"), /cluster-admin[^]*tls\.certificate of the file: .* no readable certificate/);
  });

  it("shows a cloud's cluster with what it costs by, and asks neither the cloud nor for its command line", async () => {
    const { code, stdout, stderr } = await plan("gke");
    assert.equal(code, 0, stderr);
    assert.deepEqual(/\ncluster\n([^]*?)\n\n/.exec(stdout)?.[1]?.split("\n"), [
      "  gcp.compute.Address         workspaces-*  (region europe-west1)",
      "  gcp.compute.Network         workspaces-*",
      "  gcp.compute.Router          workspaces-*  (region europe-west1)",
      "  gcp.compute.RouterNat       workspaces-*  (region europe-west1)",
      "  gcp.compute.Subnetwork      workspaces-*  (region europe-west1, range 10.0.0.0/20)",
      "  gcp.container.Cluster       workspaces-*  (location europe-west1, release channel REGULAR)",
      "  gcp.container.NodePool      workspaces-*  (location europe-west1, node machine type e2-standard-4, " +
        "smallest number of nodes 1, largest number of nodes 5)",
      "  gcp.projects.IAMMember      workspaces  (role roles/container.defaultNodeServiceAccount)",
      "  gcp.serviceaccount.Account  workspaces",
    ]);
  });

  /** A whole stack config, encrypted with a passphrase that is not here; `changes` are keys of the program. */
  async function stackFile(changes: Readonly<Record<string, unknown>> = {}): Promise<string> {
    const encrypted = { secure: "v1:Y2FuYXJ5:Y2FuYXJ5" };
    const own: Record<string, unknown> = {
      domain: "workspaces.example.test",
      oauthClientId: "oauth-client-id",
      adopt: true,
      cluster: { cloud: "self-managed", name: "metal", context: "admin@metal" },
      ingress: { controller: "existing", className: "haproxy" },
      tls: { mode: "self-signed" },
      agents: [{ name: "one" }, { name: "two", namespace: "agents", serviceAccount: "agent" }],
      ...Object.fromEntries(
        ["kubeconfig", "oauthClientSecret", "agentToken-one", "agentToken-two", "signingKey", "sshHostKey"].map(
          (key) => [key, encrypted],
        ),
      ),
      ...changes,
    };
    const config = Object.fromEntries(Object.entries(own).map(([key, value]) => [`gitlab-workspaces:${key}`, value]));
    const file = join(scratch, "Pulumi.metal.yaml");
    await writeFile(
      file,
      stringify({
        secretsprovider: "gcpkms://projects/canary",
        encryptedkey: "canary",
        config: { "pulumi:disable-default-providers": ["kubernetes"], "gcp:credentials": encrypted, ...config },
      }),
    );
    return file;
  }

  it("takes the word of a stack that says its cluster exists", async () => {
    const stack = parse(await readFile(join(project, "stacks", "Pulumi.gke.yaml"), "utf8")) as {
      config: Record<string, unknown>;
    };
    const account = "my-project";
    stack.config["gitlab-workspaces:cluster"] = {
      ...{ cloud: "gke", name: "shared", account, location: "europe-west1", existing: true },
    };
    const file = join(scratch, "Pulumi.existing.yaml");
    await writeFile(file, stringify(stack));
    const { code, stdout, stderr } = await start(file, "--json").ended;
    assert.equal(code, 0, stderr);
    assert.doesNotMatch(stdout, /gcp:/);
    assert.match(stdout, /kubernetes:helm.sh\/v3:Release/);
  });

  it("shows the engine's own text of a stack whose secrets nobody here can read", async () => {
    const { code, stdout, stderr } = await plan(await stackFile(), "--full");
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^Plan of the stack "metal" .* empty stand-in account, with placeholder secrets/);
    assert.match(stdout, /\n +\+ kubernetes:helm\.sh\/v3:Release: \(create\)[^]*chart +: "gitlab-workspaces-proxy"/);
    assert.match(stdout, /kubeconfig +: \[secret\]/);
    assert.match(stdout, /\+ \d+ to create/);
  });

  it("is refused with the program's own words when a secret is in plain text, and with no other", async () => {
    const { code, stdout, stderr } = await plan(await stackFile({ oauthClientSecret: "canary-in-plain-text" }));
    assert.equal(code, 2);
    assert.equal(stdout, "");
    assert.match(
      stderr,
      /1 fault in the config of stack metal:\n\n +gitlab-workspaces:oauthClientSecret is stored in plain text\n/,
    );
    assert.match(stderr, /\$ pulumi config set --stack metal --secret gitlab-workspaces:oauthClientSecret/);
  });

  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    it(`leaves neither a file nor a process when it is ended by ${signal}`, async () => {
      const { child, ended } = start("self-managed");
      const engine = join(scratch, "tmp", "gitlab-workspaces-plan-");
      // The program itself is under way, and so is everything that it takes.
      while (
        !(await processes()).some(({ line, environment: of }) => of.includes(engine) && line.includes("cmd/run"))
      ) {
        assert.equal(child.exitCode, null, "the plan ended before the program began");
      }
      // Ctrl-C goes to the whole group, and `kill` to the one.
      process.kill(signal === "SIGINT" ? -child.pid! : child.pid!, signal);
      const { code, stdout, stderr } = await ended;
      assert.equal(code, 130, stderr);
      assert.equal(stdout, "");
      assert.match(stderr, /Interrupted\. Nothing is left of it\./);
      await leavesNothing();
    });
  }
});
