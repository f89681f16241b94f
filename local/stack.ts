import { createHash, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import { parse, stringify } from "yaml";
import { environment, type LocalEngine, npm, type OnPath, pulumiDirectory } from "./engine";
import { Failure } from "./failure";
import { generate, neededSecrets } from "./placeholders";
import { keptCertificates, keptSecrets, secretsOfProvider, thrownAway } from "./thrown-away";
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
const prefix = `${namespace}:`;

/** The config in `stacks/Pulumi.<stack>.yaml`. */
export async function configInFile(stack: string): Promise<Record<string, unknown>> {
  return (parse(await readFile(join(project, "stacks", `Pulumi.${stack}.yaml`), "utf8")) as StackConfig).config;
}

/**
 * Makes the stack and its config ready for `pulumi up`: `stacks/Pulumi.<stack>.yaml` as {@link thrownAway} has it, and the
 * secrets that a person would have from GitLab, a certificate authority and whoever runs the cluster. The stand-ins for
 * those are generated; they encrypt to the stack's own key, like anybody's. What is right already is left alone, so that
 * nothing changes from one start to the next.
 * @param chartRepository URL of the local chart repository.
 */
export async function ensureStack(engine: LocalEngine, toolchain: Toolchain, chartRepository: string): Promise<void> {
  await mkdir(engine.state, { recursive: true });
  if (!existsSync(engine.passphrase)) {
    await writeWhole(engine.passphrase, randomBytes(24).toString("base64url"));
  }

  const encryptionsalt = await ensureEncryptionSalt(engine, toolchain);
  const { config, settings } = thrownAway(await configInFile(engine.stack), chartRepository);
  const present = (parse((await readIfThere(engine.stackConfig)) ?? "null") as StackConfig | null)?.config ?? {};
  const had = Object.keys(present)
    .filter((key) => key.startsWith(prefix) && isSecure(present[key]))
    .map((key) => key.slice(prefix.length));
  const certificates = keptCertificates(settings, present, had);
  const kept = keptSecrets(settings, had, certificates);
  const missing = neededSecrets(settings)
    .map(({ key }) => key)
    .filter((key) => key !== "kubeconfig" && !kept.includes(key));
  const generated = await generate(settings, missing);
  const tls = { ...(settings["tls"] as object), ...certificates, ...generated.certificates };
  const ofProvider = secretsOfProvider(config);
  const keptOfProvider = ofProvider.filter((key) => isSecure(present[key]));
  const merged = {
    ...config,
    [`${prefix}tls`]: tls,
    ...Object.fromEntries(keptOfProvider.map((key) => [key, present[key]])),
    ...Object.fromEntries(kept.map((key) => [prefix + key, present[prefix + key]])),
  };
  // A certificate never stands here beside the key of another: the keys that go with new ones come last.
  await writeWhole(engine.stackConfig, stringify({ encryptionsalt, config: merged }));
  for (const [key, value] of Object.entries(generated.secrets)) {
    await setSecret(engine, toolchain, prefix + key, value);
  }
  for (const key of ofProvider.filter((each) => !keptOfProvider.includes(each))) {
    await setSecret(engine, toolchain, key, randomBytes(24).toString("hex"));
  }
  if (neededSecrets(settings).some(({ key }) => key === "kubeconfig")) {
    await ensureKubeconfig(engine, toolchain, kept.includes("kubeconfig"));
  }
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
  throw new Failure(
    `${saltFile} holds no encryptionsalt. To begin again: ${npm(engine, "destroy")} && ${npm(engine, "start")}`,
  );
}

/** Whether the stack is in the state directory. */
export async function stackExists(engine: LocalEngine, toolchain: OnPath): Promise<boolean> {
  if (!existsSync(engine.state)) return false;
  const { stdout } = await pulumi(engine, toolchain, ["stack", "ls", "--json"]);
  return (JSON.parse(stdout) as { name: string }[]).some(({ name }) => name === engine.stack);
}

/** Sets the kubeconfig whenever the cluster has a new one. Values go by standard input. */
async function ensureKubeconfig(engine: LocalEngine, toolchain: Toolchain, there: boolean): Promise<void> {
  const kubeconfig = await readFile(engine.kubeconfig, "utf8");
  const fingerprint = createHash("sha256").update(kubeconfig).digest("hex");
  const remembered = join(engine.root, "kubeconfig.sha256");
  if (there && (await readIfThere(remembered)) === fingerprint) return;
  await setSecret(engine, toolchain, `${prefix}kubeconfig`, kubeconfig);
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
