import { existsSync } from "node:fs";
import { copyFile, link, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { ensureChartRepository } from "./chart-repository";
import { type ClusterOptions, ensureCluster } from "./cluster/cluster";
import { type LocalEngine, pulumiDirectory } from "./engine";
import { claimFolder } from "./folder";
import { installPlugins } from "./plugins/install";
import type { Progress } from "./progress";
import { refuseAtWork, restoreCheckpoint } from "./recovery";
import { configInFile, ensureStack } from "./stack";
import { isMade } from "./thrown-away";
import { ensureToolchain, type Toolchain } from "./toolchain/toolchain";

/**
 * Makes whatever is missing of what `pulumi` commands need: tools, cluster, chart repository, plugins, stack and its
 * config. May be called at any time; what is there is kept.
 * @throws Failure with what is missing and how to get it, or, with nothing changed, when somebody is at work on the stack.
 */
export async function prepare(
  engine: LocalEngine,
  progress: Progress,
  cluster: ClusterOptions = {},
): Promise<Toolchain> {
  // Whoever is at work may be writing the checkpoint: cut off at this moment, whole at the next.
  await refuseAtWork(engine);
  const toolchain = await ensureToolchain(progress);
  await claimFolder(engine);
  await mkdir(engine.kwok, { recursive: true });
  const withoutStorageClass = isMade(await configInFile(engine.stack));
  await progress.step("Kubernetes control plane", () =>
    ensureCluster(engine, toolchain, { withoutStorageClass, ...cluster }),
  );
  await progress.step("charts, plugins and stack config", async () => {
    await ensurePulumi(engine, toolchain);
    await installPlugins({ ...engine, helm: toolchain.helm });
    if (await restoreCheckpoint(engine))
      progress.say("  the stack's state was cut off while it was written: its backup is back");
    await ensureStack(engine, toolchain, await ensureChartRepository(engine, toolchain));
  });
  return toolchain;
}

/** Puts the CLI where npm's `pulumi` looks for it. A hard link, because the CLI looks for its plugins beside itself. */
export async function ensurePulumi(engine: LocalEngine, toolchain: Pick<Toolchain, "pulumi">): Promise<void> {
  const binary = join(pulumiDirectory(engine), "pulumi");
  if (existsSync(binary)) return;
  await mkdir(pulumiDirectory(engine), { recursive: true });
  await link(toolchain.pulumi, binary).catch(() => copyFile(toolchain.pulumi, binary));
}
