import { createHash, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import { parse, stringify } from "yaml";
import { charts } from "../src/charts";
import { environment, type LocalEngine, type OnPath, pulumiDirectory } from "./engine";
import { Failure } from "./failure";
import type { Toolchain } from "./toolchain/toolchain";
import { readIfThere, writeWhole } from "./whole-file";

/** The project: where Pulumi.yaml is. */
export const project = join(__dirname, "..");

/** Stack config file, as Pulumi writes it. */
interface StackConfig {
  encryptionsalt?: string;
  config: Record<string, unknown>;
}

const namespace = "gitlab-workspaces";

/**
 * Makes the stack and its config ready for `pulumi up`: `stacks/Pulumi.<stack>.yaml`, with every chart's repository on
 * loopback and the secrets that a person would have from GitLab and from whoever runs the cluster. The stand-ins for
 * those are random; they encrypt to the stack's own key, like anybody's. What is right already is left alone, so that
 * nothing changes from one start to the next.
 * @param chartRepository URL of the local chart repository.
 */
export async function ensureStack(engine: LocalEngine, toolchain: Toolchain, chartRepository: string): Promise<void> {
  await mkdir(engine.state, { recursive: true });
  if (!existsSync(engine.passphrase)) {
    await writeWhole(engine.passphrase, randomBytes(24).toString("base64url"));
  }

  const encryptionsalt = await ensureEncryptionSalt(engine, toolchain);
  const wanted = parse(await readFile(join(project, "stacks", `Pulumi.${engine.stack}.yaml`), "utf8")) as StackConfig;
  const present = parse((await readIfThere(engine.stackConfig)) ?? "null") as StackConfig | null;
  const tokens = agentTokens(wanted.config);
  const secrets = Object.entries(present?.config ?? {})
    .filter(([, value]) => isSecure(value))
    // The token of an agent that the stack no longer has would be refused.
    .filter(([key]) => !key.startsWith(`${namespace}:agentToken-`) || tokens.includes(key));
  const merged = {
    encryptionsalt,
    config: {
      ...wanted.config,
      [`${namespace}:charts`]: localCharts(wanted.config[`${namespace}:charts`], chartRepository),
      ...Object.fromEntries(secrets),
    },
  };
  await writeWhole(engine.stackConfig, stringify(merged));
  await ensureSecrets(engine, toolchain, merged.config);
}

/**
 * Makes the stack if it is not there, and returns the salt that its secrets are encrypted with. `stack init` knows no
 * `--config-file` and writes the salt into the project it runs in: that is a folder of the engine's, so that the working
 * tree stays as it is.
 */
export async function ensureEncryptionSalt(engine: LocalEngine, toolchain: OnPath): Promise<string> {
  const scratch = join(engine.root, "project");
  const saltFile = join(scratch, `Pulumi.${engine.stack}.yaml`);
  if (!existsSync(saltFile) || !(await stackExists(engine, toolchain))) {
    await mkdir(scratch, { recursive: true });
    await writeFile(join(scratch, "Pulumi.yaml"), `name: ${namespace}\nruntime: nodejs\n`);
    await pulumi(engine, toolchain, ["stack", "init", engine.stack, "--cwd", scratch]);
  }
  const { encryptionsalt } = parse(await readFile(saltFile, "utf8")) as StackConfig;
  if (encryptionsalt !== undefined) return encryptionsalt;
  throw new Failure(`${saltFile} holds no encryptionsalt. To begin again: npm run destroy && npm start`);
}

/** Whether the stack is in the state directory. */
export async function stackExists(engine: LocalEngine, toolchain: OnPath): Promise<boolean> {
  if (!existsSync(engine.state)) return false;
  const { stdout } = await pulumi(engine, toolchain, ["stack", "ls", "--json"]);
  return (JSON.parse(stdout) as { name: string }[]).some(({ name }) => name === engine.stack);
}

/** Repository on loopback for every chart, under whatever the stack config says itself. */
function localCharts(configured: unknown, repository: string): Record<string, unknown> {
  const own = (configured ?? {}) as Record<string, object>;
  return Object.fromEntries(Object.keys(charts).map((name) => [name, { repository, ...own[name] }]));
}

/** Keys of the tokens of the stack's agents. */
function agentTokens(config: Readonly<Record<string, unknown>>): string[] {
  const agents = config[`${namespace}:agents`];
  const entries: unknown[] = Array.isArray(agents) ? agents : [];
  return entries.map((agent) => `${namespace}:agentToken-${String((agent as { name?: unknown } | null)?.name)}`);
}

/** Sets the secrets that are missing, and the kubeconfig whenever the cluster has a new one. Values go by standard input. */
async function ensureSecrets(
  engine: LocalEngine,
  toolchain: Toolchain,
  config: Readonly<Record<string, unknown>>,
): Promise<void> {
  for (const key of [`${namespace}:oauthClientSecret`, ...agentTokens(config)]) {
    if (config[key] !== undefined) continue;
    await setSecret(engine, toolchain, key, `stand-in-${randomBytes(24).toString("base64url")}`);
  }
  const kubeconfig = await readFile(engine.kubeconfig, "utf8");
  const fingerprint = createHash("sha256").update(kubeconfig).digest("hex");
  const remembered = join(engine.root, "kubeconfig.sha256");
  if ((await readIfThere(remembered)) === fingerprint && config[`${namespace}:kubeconfig`] !== undefined) return;
  await setSecret(engine, toolchain, `${namespace}:kubeconfig`, kubeconfig);
  await writeWhole(remembered, fingerprint);
}

async function setSecret(engine: LocalEngine, toolchain: Toolchain, key: string, value: string): Promise<void> {
  await pulumi(engine, toolchain, ["config", "set", "--secret", key], value);
}

function isSecure(value: unknown): boolean {
  return typeof value === "object" && value !== null && "secure" in value;
}

/**
 * Runs the CLI on the engine's stack and returns what it printed.
 * @param input standard input.
 * @throws Failure with what it printed when it fails.
 */
export async function pulumi(
  engine: LocalEngine,
  toolchain: OnPath,
  arguments_: readonly string[],
  input = "",
): Promise<{ stdout: string }> {
  const command = join(pulumiDirectory(engine), "pulumi");
  const result = await execa(command, [...arguments_, "--non-interactive", "--color", "never"], {
    cwd: project,
    env: environment(engine, toolchain),
    extendEnv: false,
    input,
    reject: false,
  });
  if (!result.failed) return { stdout: result.stdout };
  throw new Failure(`\`pulumi ${arguments_.slice(0, 2).join(" ")}\` failed:\n${result.stderr || result.stdout}`);
}
