import { type ChildProcess, spawn } from "node:child_process";
import { createRequire } from "node:module";
import path from "node:path";
import * as grpc from "@grpc/grpc-js";
import {
  AboutResponse,
  GetProgramDependenciesResponse,
  GetRequiredPackagesResponse,
  LanguageHandshakeResponse,
  type ProgramInfo,
  type RunRequest,
  RunResponse,
} from "@pulumi/pulumi/proto/language_pb";
import { type ILanguageRuntimeServer, LanguageRuntimeService } from "@pulumi/pulumi/proto/language_grpc_pb";
import { PluginInfo } from "@pulumi/pulumi/proto/plugin_pb";
import { Empty } from "google-protobuf/google/protobuf/empty_pb";
import { MESSAGE_LIMITS, serve } from "./serve";

/**
 * How the SDK's program runner says that it has told the person everything already.
 * https://github.com/pulumi/pulumi/blob/v3.259.0/sdk/nodejs/cmd/run/index.ts
 */
const EXIT_ALREADY_REPORTED = 32;

/** The runtime options of a Pulumi.yaml that this host honours. */
interface RuntimeOptions {
  readonly typescript: boolean;
  readonly tsconfig?: string;
  readonly nodeargs: readonly string[];
}

function runtimeOptions(info: ProgramInfo | undefined): RuntimeOptions {
  const options: Record<string, unknown> = info?.getOptions()?.toJavaScript() ?? {};
  return {
    typescript: options["typescript"] !== false,
    ...(typeof options["tsconfig"] === "string" ? { tsconfig: options["tsconfig"] } : {}),
    nodeargs: typeof options["nodeargs"] === "string" ? splitArguments(options["nodeargs"]) : [],
  };
}

/** Splits like a shell does without expansions: spaces separate, single and double quotes hold together. */
function splitArguments(text: string): string[] {
  return Array.from(text.matchAll(/(?:[^\s"']|"[^"]*"|'[^']*')+/g), ([word]) =>
    word.replace(/"([^"]*)"|'([^']*)'/g, (_, double?: string, single?: string) => double ?? single ?? ""),
  );
}

function command(request: RunRequest, engine: string): { args: string[]; env: NodeJS.ProcessEnv; cwd: string } {
  const info = request.getInfo();
  const options = runtimeOptions(info);
  const cwd = request.getPwd() || (info?.getProgramDirectory() ?? process.cwd());
  const runner = createRequire(path.join(info?.getProgramDirectory() ?? cwd, "program.js")).resolve(
    "@pulumi/pulumi/cmd/run",
  );
  const flags: Record<string, string> = {
    monitor: request.getMonitorAddress(),
    engine,
    organization: request.getOrganization(),
    "root-directory": info?.getRootDirectory() ?? "",
    project: request.getProject(),
    stack: request.getStack(),
    pwd: request.getPwd(),
    parallel: String(request.getParallel()),
  };
  return {
    cwd,
    args: [
      ...options.nodeargs,
      runner,
      ...Object.entries(flags).flatMap(([flag, value]) => (value ? [`--${flag}`, value] : [])),
      ...(request.getDryrun() ? ["--dry-run"] : []),
      info?.getEntryPoint() || request.getProgram() || ".",
      ...request.getArgsList(),
    ],
    env: {
      ...process.env,
      PULUMI_CONFIG: JSON.stringify(Object.fromEntries(request.getConfigMap().entries())),
      PULUMI_CONFIG_SECRET_KEYS: JSON.stringify(request.getConfigsecretkeysList()),
      ...(options.typescript ? { PULUMI_NODEJS_TYPESCRIPT: "true" } : {}),
      ...(options.tsconfig ? { PULUMI_NODEJS_TSCONFIG_PATH: options.tsconfig } : {}),
    },
  };
}

const programs = new Set<ChildProcess>();

/** Runs the program; its output goes where this process's output goes, which the engine shows. */
function run(request: RunRequest, engine: string, cancelled: (kill: () => void) => void): Promise<RunResponse> {
  return new Promise((resolve) => {
    const { args, env, cwd } = command(request, engine);
    const program = spawn(process.execPath, args, { cwd, env, stdio: ["ignore", "inherit", "inherit"] });
    programs.add(program);
    cancelled(() => program.kill("SIGKILL"));
    const done = (response: RunResponse): void => {
      programs.delete(program);
      resolve(response);
    };
    program.once("error", (error) => {
      done(new RunResponse().setError(`Problem executing program (could not run language executor): ${error.message}`));
    });
    program.once("exit", (code, signal) => {
      if (code === 0) done(new RunResponse());
      else if (code === EXIT_ALREADY_REPORTED) done(new RunResponse().setBail(true));
      else if (code === null) done(new RunResponse().setError(`Program was ended by ${signal ?? "a signal"}`));
      else done(new RunResponse().setError(`Program exited with non-zero exit code: ${code}`));
    });
  });
}

/** `version` is what the engine is told; requests that are not implemented answer so, as gRPC does by itself. */
function implementation(version: string, engine: string): grpc.UntypedServiceImplementation {
  const host: Partial<ILanguageRuntimeServer> = {
    handshake: (_, answer) => {
      answer(null, new LanguageHandshakeResponse());
    },
    getPluginInfo: (_, answer) => {
      answer(null, new PluginInfo().setVersion(version));
    },
    // None, so that the engine downloads nothing before it knows which providers a program really uses.
    getRequiredPackages: (_, answer) => {
      answer(null, new GetRequiredPackagesResponse());
    },
    getProgramDependencies: (_, answer) => {
      answer(null, new GetProgramDependenciesResponse());
    },
    about: (_, answer) => {
      answer(null, new AboutResponse().setExecutable(process.execPath).setVersion(process.version));
    },
    cancel: (_, answer) => {
      killPrograms();
      answer(null, new Empty());
    },
    run: (call, answer) => {
      const killer = (kill: () => void): void => {
        call.on("cancelled", kill);
      };
      run(call.request, engine, killer).then(
        (response) => {
          answer(null, response);
        },
        (error: unknown) => {
          answer({ code: grpc.status.UNKNOWN, details: error instanceof Error ? error.message : String(error) });
        },
      );
    },
  };
  return host as grpc.UntypedServiceImplementation;
}

function killPrograms(): void {
  for (const program of programs) program.kill("SIGKILL");
}

/**
 * The stand-in for `pulumi-language-nodejs`, the engine's way to run a Node program, for machines that cannot download
 * it. It runs programs with the `@pulumi/pulumi` of the program's own directory and installs nothing.
 *
 * @param version what it says of itself, the version of the CLI it stands beside.
 * @throws when it cannot listen on loopback.
 */
export async function main(version: string): Promise<void> {
  const engine = process.argv.at(-1) ?? "";
  const server = new grpc.Server(MESSAGE_LIMITS);
  server.addService(LanguageRuntimeService, implementation(version, engine));
  await serve(server, killPrograms);
}
