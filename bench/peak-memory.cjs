// Loaded into every node process of a measured run; only the program itself writes its peak, in KiB.
const { appendFileSync } = require("node:fs");
if (process.argv[1]?.includes("/cmd/run")) {
  process.on("exit", () => appendFileSync(process.env.BENCH_PEAK_MEMORY, `${process.resourceUsage().maxRSS}\n`));
}
