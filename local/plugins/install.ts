import { randomUUID } from "node:crypto";
import { chmod, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { build } from "esbuild";
import { bridge } from "../../src/clusters/civo-plugin";
import { CREDENTIAL_PLUGINS } from "./credential-plugin";

/** A plugin that is stood in for by a file here, which exports `standIn(host)`. */
interface PluginStandIn {
  readonly file: string;
  /** The name by which the engine looks for it. */
  readonly plugin: string;
  /** The version by which the engine looks for it; that of its SDK when absent. */
  readonly version?: string;
}

const PLUGINS: readonly PluginStandIn[] = [
  ...["aws", "azure-native", "gcp", "kubernetes", "random", "tls"].map((name) => ({ file: name, plugin: name })),
  // The plugin that runs Terraform providers, of which Civo's is the only one here. There is no SDK that names its version.
  { file: "civo", plugin: bridge.name, version: bridge.version },
];

/** Where the stand-ins find what they need, and where they are put. All paths are absolute. */
export interface InstallOptions {
  /** The local engine's own PULUMI_HOME, never the user's. */
  readonly pulumiHome: string;
  /** The helm binary; not needed for planning. */
  readonly helm?: string;
  /** The JSON file that names every API server the local engine started: `[{"server": url, "caSha256": hex}]`. */
  readonly clusters: string;
  /** The admin kubeconfig of the local control plane, which the stand-in clouds hand out as their cluster. */
  readonly kubeconfig: string;
  /** The directory of the stand-in clouds' accounts. */
  readonly account: string;
  /** The directory of stand-ins for the commands that a cloud's kubeconfig runs. */
  readonly bin: string;
  /** For previews alone: no cluster is asked anything, and whatever is not a preview is refused. */
  readonly planning?: boolean;
}

/**
 * Puts the stand-in provider plugins and the stand-in language host where the engine looks for them under
 * `pulumiHome`. May be called at any time and by several processes at once: a file is replaced as a whole, and only
 * when its content changes. What else stands in those directories is left alone, the `pulumi` binary above all.
 *
 * A plugin's directory must carry exactly the version its SDK asks for, so it is read from the installed SDK if there is one.
 *
 * @throws when an SDK is not installed, or a stand-in does not bundle.
 */
export async function installPlugins(options: InstallOptions): Promise<void> {
  await Promise.all([
    ...PLUGINS.map((standIn) => installProvider(standIn, options)),
    ...Object.keys(CREDENTIAL_PLUGINS).map((command) => installCredentialPlugin(command, options)),
    installLanguageHost(options),
  ]);
}

async function installProvider({ file, plugin, version: own }: PluginStandIn, options: InstallOptions): Promise<void> {
  const version = own ?? (await sdkVersion(`@pulumi/${plugin}`));
  const directory = path.join(options.pulumiHome, "plugins", `resource-${plugin}-v${version}`);
  const bundle = path.join(directory, "index.js");
  const code = await bundled(
    [
      `import { standIn } from "./${file}";`,
      `import { main } from "./provider";`,
      `void main(${JSON.stringify({ name: plugin, version })}, standIn);`,
    ].join("\n"),
  );
  await mkdir(directory, { recursive: true });
  await place(bundle, code);
  await place(path.join(directory, "settings.json"), `${JSON.stringify(settingsOf(options), undefined, 2)}\n`);
  // Last, because the engine takes the executable's presence for the plugin's.
  await place(path.join(directory, `pulumi-resource-${plugin}`), launcher(bundle), 0o755);
}

/** What the plugins are told: texts only. */
function settingsOf({ helm, clusters, kubeconfig, account, planning = false }: InstallOptions): Record<string, string> {
  return {
    ...(helm === undefined ? {} : { helm }),
    ...{ clusters, kubeconfig, account },
    ...(planning ? { planning: "true" } : {}),
  };
}

async function installCredentialPlugin(command: string, { bin, clusters, kubeconfig }: InstallOptions): Promise<void> {
  const bundle = path.join(bin, `${command}.js`);
  const code = await bundled(
    `import { main } from "./credential-plugin";\nmain(${JSON.stringify({ command, clusters, kubeconfig })});`,
  );
  await mkdir(bin, { recursive: true });
  await place(bundle, code);
  await place(path.join(bin, command), launcher(bundle), 0o755);
}

async function installLanguageHost(options: InstallOptions): Promise<void> {
  const version = await sdkVersion("pulumi");
  const directory = path.join(options.pulumiHome, "versions", version, "bin");
  const bundle = path.join(directory, "pulumi-language-nodejs.js");
  const code = await bundled(`import { main } from "./language-nodejs";\nvoid main(${JSON.stringify(version)});`);
  await mkdir(directory, { recursive: true });
  await place(bundle, code);
  await place(path.join(directory, "pulumi-language-nodejs"), launcher(bundle), 0o755);
  await installDynamicProvider(directory);
}

/**
 * The SDK's own server for dynamic providers, which the engine looks for beside the language host. The SDK's script for it
 * starts it as a child of a shell, and both live on after an engine that was killed; here it ends with its input.
 */
async function installDynamicProvider(directory: string): Promise<void> {
  const name = "pulumi-resource-pulumi-nodejs";
  const server = require.resolve("@pulumi/pulumi/cmd/dynamic-provider");
  const script = path.join(directory, `${name}.js`);
  await place(
    script,
    `process.stdin.once("end", () => process.exit()).resume();\nrequire(${JSON.stringify(server)});\n`,
  );
  await place(path.join(directory, name), launcher(script), 0o755);
}

/** The version that the engine will look for: the SDK's own, or that of the plugin it names. */
async function sdkVersion(packageName: string): Promise<string> {
  const manifest = createRequire(__filename).resolve(`${packageName}/package.json`);
  const { version, pulumi } = JSON.parse(await readFile(manifest, "utf8")) as {
    version: string;
    pulumi?: { version?: string };
  };
  return pulumi?.version ?? version;
}

/** One CommonJS file that needs nothing beside it, so that a plugin starts fast and from anywhere. */
async function bundled(entry: string): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents: entry, resolveDir: __dirname, loader: "ts" },
    bundle: true,
    write: false,
    platform: "node",
    format: "cjs",
    target: `node${process.versions.node}`,
    minify: false,
    logLevel: "silent",
  });
  const [file] = outputFiles;
  if (!file) throw new Error("esbuild gave no output for a stand-in plugin");
  return file.text;
}

function launcher(bundle: string): string {
  const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;
  return `#!/bin/sh\nexec ${quoted(process.execPath)} ${quoted(bundle)} "$@"\n`;
}

/** Writes a file as a whole or not at all; a file that is right already is not touched. */
async function place(file: string, content: string, mode = 0o644): Promise<void> {
  const present = await readFile(file, "utf8").catch(() => undefined);
  if (present === content) {
    await chmod(file, mode);
    return;
  }
  const temporary = `${file}.${randomUUID()}.tmp`;
  try {
    await writeFile(temporary, content, { mode });
    await chmod(temporary, mode);
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}
