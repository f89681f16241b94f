import { Command, CommanderError, InvalidArgumentError } from "commander";
import { environment as localEnvironment, localEngine, npm, servedStacks } from "../local/engine";
import { Failure } from "../local/failure";
import { isClaimed } from "../local/folder";
import { progressTo } from "../local/progress";
import { ensureToolchain, missingParts } from "../local/toolchain/toolchain";
import { examine } from "./doctor";
import type { Surroundings } from "./patient";
import { exitCode, report } from "./report";
import type { Environment } from "./stack";

interface Options {
  readonly json?: true;
  readonly dns: readonly string[];
  readonly connect?: NonNullable<Surroundings["connect"]>;
}

async function doctor(stack: string | undefined, { json, dns, connect }: Options): Promise<void> {
  const begin = Date.now();
  const progress = progressTo();
  const diagnosis = await examine({
    stack,
    environment: await environmentOf(stack),
    surroundings: { dnsServers: dns, ...(connect === undefined ? {} : { connect }), now: new Date() },
    progress: (check, found) => {
      progress.say(`${check}: ${found === 0 ? "nothing found" : `${found} found`}`);
    },
  });
  const seconds = (Date.now() - begin) / 1000;
  process.stdout.write(`${json ? JSON.stringify(diagnosis, null, 2) : report(diagnosis, seconds)}\n`);
  process.exitCode = exitCode(diagnosis.findings);
}

/** A local engine's, when its stack is named and nothing else is meant: `npm start` leaves nothing behind in a shell. */
async function environmentOf(stack: string | undefined): Promise<Environment> {
  const served = servedStacks.find((name) => name === stack);
  if (served === undefined || process.env["PULUMI_BACKEND_URL"]) return process.env;
  const engine = localEngine({ stack: served });
  if (!(await isClaimed(engine))) return process.env;
  const missing = await missingParts();
  if (missing.length > 0) {
    throw new Failure(
      `The local engine's tools are not built: ${missing.join(", ")}. To build them: ${npm(engine, "start")}`,
    );
  }
  const environment = localEnvironment(engine, await ensureToolchain(progressTo()));
  // A cloud's kubeconfig has a command for its credentials, which is run from here: it has to be the engine's own.
  process.env["PATH"] = environment["PATH"];
  return environment;
}

/** `host`, `host:port` or `[address]:port`; an IPv6 address needs its brackets where a port follows. */
function endpoint(text: string): { host: string; port: number | undefined } {
  const { host, bare, port } =
    /^(?:\[(?<bare>[0-9a-fA-F:.]+)\]|(?<host>[^\s:[\]/]+))(?::(?<port>\d{1,5}))?$/.exec(text)?.groups ?? {};
  const number = port === undefined ? undefined : Number(port);
  const name = host ?? bare;
  if (name === undefined || number === 0 || (number ?? 1) > 65_535) {
    throw new InvalidArgumentError(`${JSON.stringify(text)} is no host with a port, such as 127.0.0.1:8443.`);
  }
  return { host: name, port: number };
}

function dnsServer(text: string, before: readonly string[]): readonly string[] {
  endpoint(text);
  return [...before, text];
}

function connection(text: string): { host: string; port: number } {
  const { host, port } = endpoint(text);
  if (port === undefined) throw new InvalidArgumentError(`${JSON.stringify(text)} has no port.`);
  return { host, port };
}

const cli = new Command("npm run doctor --")
  .description("Looks at a running stack, names what is wrong and the commands that mend it. Changes nothing.")
  .argument("[stack]", "name of the stack; PULUMI_STACK or the selected one when left out")
  .option("--json", "one object on standard output: stack, checks, findings")
  .option("--dns <address[:port]>", "DNS server to ask instead of this machine's; may be given again", dnsServer, [])
  .option("--connect <host:port>", "where to find the ingress: a port-forward, a bastion", connection)
  .addHelpText("after", "\nExit code: 0 nothing found, 1 warnings only, 2 errors. Every code: docs/doctor.md")
  .allowExcessArguments(false)
  .exitOverride()
  .action(doctor);

// `npm run doctor | head` closes the pipe before everything is said.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit();
  throw error;
});

cli.parseAsync().catch((error: unknown) => {
  // Commander has said already what is wrong with the arguments; code 0 is --help.
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : 2;
    return;
  }
  process.exitCode = 2;
  progressTo().say(`error: ${(error as Error).message}`);
});
