/**
 * Serves packaged charts until it is ended: `serve.ts DIRECTORY PORT`. Its first line of output is the port it listens
 * on; PORT 0 takes any free one.
 */
import { serveCharts } from "./repository";

async function main(): Promise<void> {
  const [directory, port] = process.argv.slice(2);
  if (directory === undefined || port === undefined || !/^\d+$/.test(port)) {
    throw new Error("usage: serve.ts DIRECTORY PORT");
  }
  const server = await serveCharts({ directory, port: Number(port) });
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.once(signal, () => {
      void server.close();
    });
  }
  // Whoever read the port may be gone by now; that must not end the server.
  process.stdout.on("error", () => undefined);
  process.stdout.write(`${server.port}\n`);
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
