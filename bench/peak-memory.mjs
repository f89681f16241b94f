// Loaded into every node process of a measured run; only the program itself writes its peak, in KiB.
import { appendFileSync } from "node:fs";
import process from "node:process";

if (process.argv[1]?.includes("/cmd/run")) {
  process.on("exit", () => appendFileSync(process.env.BENCH_PEAK_MEMORY, `${process.resourceUsage().maxRSS}\n`));
}
