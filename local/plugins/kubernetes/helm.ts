import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, mkdirSync, mkdtempSync, openSync, readdirSync, rmSync, writeSync } from "node:fs";
import path from "node:path";

/** What one call of helm may need beside its arguments. */
export interface HelmCall {
  /** A kubeconfig's text; never reaches a name in the file system. */
  readonly kubeconfig?: string;
  /** Standard input, for values. */
  readonly input?: string;
  /** Whether a person's interrupt reaches it; helm handles one while it installs or upgrades, but not elsewhere. */
  readonly interruptible?: boolean;
}

/** Helm said no, in its own words. */
export class HelmError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "HelmError";
  }
}

/**
 * Runs the real helm, kept apart from the person's own: no kubeconfig, cache, configuration or plugin of theirs is seen,
 * and neither values nor credentials ever stand in its arguments, its environment or a file that has a name.
 */
export class Helm {
  private readonly running = new Map<ChildProcess, boolean>();
  private scratch: string | undefined;

  /** @param binary the helm executable; @param home an own directory for scratch space, swept of what others left. */
  constructor(
    private readonly binary: string,
    private readonly home: string,
  ) {}

  /**
   * Runs helm to its end and gives its standard output.
   *
   * @throws HelmError when helm fails, and otherwise when it cannot be started.
   */
  async run(args: readonly string[], { kubeconfig, input, interruptible = false }: HelmCall = {}): Promise<string> {
    const scratch = this.scratchDirectory();
    const descriptor = kubeconfig === undefined ? undefined : unlinkedFile(scratch, kubeconfig);
    try {
      const child = spawn(this.binary, args, {
        env: {
          PATH: process.env["PATH"] ?? "",
          HOME: scratch,
          TMPDIR: scratch,
          HELM_CACHE_HOME: path.join(scratch, "cache"),
          HELM_CONFIG_HOME: path.join(scratch, "config"),
          HELM_DATA_HOME: path.join(scratch, "data"),
          KUBECONFIG: descriptor === undefined ? "/dev/null" : "/dev/fd/3",
        },
        stdio: ["pipe", "pipe", "pipe", ...(descriptor === undefined ? [] : [descriptor])],
      });
      this.running.set(child, interruptible);
      const output: Buffer[] = [];
      const errors: Buffer[] = [];
      child.stdout?.on("data", (chunk: Buffer) => output.push(chunk));
      child.stderr?.on("data", (chunk: Buffer) => errors.push(chunk));
      // A helm that fails early closes its end; its own message says why.
      child.stdin?.on("error", () => undefined);
      child.stdin?.end(input ?? "");
      const [code, signal] = await new Promise<[number | null, string | null]>((resolve, reject) => {
        child.once("error", reject);
        child.once("close", (...end) => {
          resolve(end);
        });
      }).finally(() => this.running.delete(child));
      if (code !== 0) throw new HelmError(complaint(Buffer.concat(errors).toString("utf8"), code, signal));
      return Buffer.concat(output).toString("utf8");
    } finally {
      if (descriptor !== undefined) closeSync(descriptor);
    }
  }

  /** Asks what is being installed or upgraded to stop; helm then records the release as failed. */
  interrupt(): void {
    for (const [child, interruptible] of this.running) if (interruptible) child.kill("SIGTERM");
  }

  /** Ends everything at once, as the end of the process would; releases stay as they are at this moment. */
  abandon(): void {
    for (const child of this.running.keys()) child.kill("SIGKILL");
    if (this.scratch !== undefined) rmSync(this.scratch, { recursive: true, force: true });
  }

  private scratchDirectory(): string {
    if (this.scratch !== undefined) return this.scratch;
    mkdirSync(this.home, { recursive: true, mode: 0o700 });
    for (const left of readdirSync(this.home)) {
      if (!isAlive(Number(left.split("-")[0]))) rmSync(path.join(this.home, left), { recursive: true, force: true });
    }
    this.scratch = mkdtempSync(path.join(this.home, `${process.pid}-`));
    const scratch = this.scratch;
    process.once("exit", () => {
      rmSync(scratch, { recursive: true, force: true });
    });
    return scratch;
  }
}

/** Helm reads a kubeconfig more than once, so it must be a file, but it need not have a name any more. */
function unlinkedFile(directory: string, content: string): number {
  const file = path.join(directory, "kubeconfig");
  const descriptor = openSync(file, "wx+", 0o600);
  rmSync(file);
  writeSync(descriptor, content);
  return descriptor;
}

function complaint(errors: string, code: number | null, signal: string | null): string {
  const said = errors
    .split("\n")
    .filter((line) => line !== "" && !/^(WARNING|[IWE]\d{4} )/.test(line))
    .join("\n")
    .replace(/^Error: (?:(?:INSTALLATION|UPGRADE) FAILED: )?/m, "")
    .trim();
  return said || `helm ended with ${code === null ? (signal ?? "a signal") : `exit code ${code}`}`;
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
