import { appendFileSync, mkdirSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { withLock } from "../../lock";
import type { Progress } from "../../progress";
import { readIfThere, writeWhole } from "../../whole-file";
import { isObject, type Properties } from "../provider";

/** One resource as the cloud has it. */
export interface CloudObject {
  /** No other object of the account, now or ever, has the same: it tells a second cluster from the first of its name. */
  readonly serial: number;
  /** What the cloud divides an account into: a project, a subscription, an account number. */
  readonly partition: string;
  /** The type token. */
  readonly type: string;
  readonly id: string;
  /** As they were last applied, without secret marks. */
  inputs: Properties;
  /** As the cloud has them now: whoever changes them here, by hand or in a test, makes drift. */
  outputs: Properties;
  /** Whether it is a cluster that has yet to get what it is born with. */
  unfurnished?: boolean;
  /** What only the cloud knows and no output says, for tests to look at. */
  facts?: Properties;
}

/** What the cloud made for the cluster beside what anybody asked the cloud for, and that only the cluster gives back. */
interface ClusterMade {
  readonly partition: string;
  /** The serial of the cluster that it was made for. */
  readonly cluster: number;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** Ids of the objects of the account that it keeps in use. */
  readonly holds: readonly string[];
}

/** The load balancer of one Service. */
export interface LoadBalancer extends ClusterMade {
  readonly address?: string;
}

/** The disk of one bound volume claim. */
export interface Disk extends ClusterMade {
  /** The name of the PersistentVolume. */
  readonly volume: string;
}

/** Everything that one cloud has. */
export interface AccountContent {
  /** The last serial that was given out. */
  serial: number;
  objects: CloudObject[];
  loadBalancers: LoadBalancer[];
  disks: Disk[];
}

/** What can be asked of a cloud; the words in its log and its behaviour. */
export type Operation = "check" | "diff" | "create" | "read" | "update" | "delete" | "invoke";

/** A call that is to fail. */
export interface Fault {
  readonly op: Operation;
  /** A type token, or a function's. */
  readonly type: string;
  /** A regular expression for the resource's name in the program; any when absent. */
  readonly name?: string;
  /** How many calls are still to fail. */
  times: number;
  readonly message: string;
  /** The work is done all the same, and the resource is recorded as one that is not as it should be. */
  readonly partial?: boolean;
}

/** How the cloud behaves, as whoever tests it wrote in `<cloud>-behaviour.json`. All of it may be left out. */
export interface Behaviour {
  readonly faults?: Fault[];
  /** Seconds that an operation on a type takes. */
  readonly latency?: Readonly<Record<string, Partial<Record<"create" | "update" | "delete", number>>>>;
  /** How many of a type one partition may have. */
  readonly quotas?: Readonly<Record<string, number>>;
  /** The partitions that the caller may see; all of them when absent. */
  readonly projects?: readonly string[];
}

/** One line of `<cloud>-calls.jsonl`. */
export interface Call {
  readonly op: Operation;
  readonly type?: string;
  readonly function?: string;
  readonly name?: string;
  readonly preview?: boolean;
}

const BEHAVIOUR = ["faults", "latency", "quotas", "projects"];
const FAULT = ["op", "type", "name", "times", "message", "partial"];

/**
 * A cloud's account, kept in three files of one folder: `<cloud>.json`, what is in it; `<cloud>-calls.jsonl`, what was
 * asked of it; `<cloud>-behaviour.json`, how it is to behave. Any number of plugin processes may share it: they change it
 * one after the other, and a reader finds the file as it was before a change or after it.
 *
 * Secrets are in it in clear, as they would be in a cloud: it belongs into a folder of nobody else's.
 */
export class Account {
  private readonly content: string;
  private readonly behaviourFile: string;
  private readonly calls: string;

  constructor(
    private readonly folder: string,
    cloud: string,
  ) {
    this.content = join(folder, `${cloud}.json`);
    this.behaviourFile = join(folder, `${cloud}-behaviour.json`);
    this.calls = join(folder, `${cloud}-calls.jsonl`);
  }

  /** What is in the account now. */
  async read(): Promise<AccountContent> {
    const text = await readIfThere(this.content);
    const empty = { serial: 0, objects: [], loadBalancers: [], disks: [] };
    return text === undefined ? empty : { ...empty, ...(parsed(text, this.content) as Partial<AccountContent>) };
  }

  /** Changes the account while nobody else does. When `work` throws, nothing is changed. */
  async change<Result>(work: (content: AccountContent) => Result): Promise<Result> {
    return await this.locked(async () => {
      const content = await this.read();
      const before = JSON.stringify(content);
      const result = work(content);
      if (JSON.stringify(content) !== before) await writeWhole(this.content, `${JSON.stringify(content, null, 2)}\n`);
      return result;
    });
  }

  /** Writes down that something was asked. */
  log(call: Call): void {
    mkdirSync(this.folder, { recursive: true });
    // A line of this size is appended as a whole, whoever else appends.
    appendFileSync(this.calls, `${JSON.stringify(call)}\n`);
  }

  /** @throws when the file says something that would have no effect, as a misspelt key. */
  async behaviour(): Promise<Behaviour> {
    const text = await readIfThere(this.behaviourFile);
    if (text === undefined) return {};
    const behaviour = parsed(text, this.behaviourFile);
    const faults = Array.isArray(behaviour["faults"]) ? behaviour["faults"].filter(isObject) : [];
    for (const [known, part] of [[BEHAVIOUR, behaviour] as const, ...faults.map((fault) => [FAULT, fault] as const)]) {
      const unknown = Object.keys(part).find((key) => !known.includes(key));
      if (unknown !== undefined) {
        throw new Error(`${this.behaviourFile}: "${unknown}" is none of ${known.join(", ")}`);
      }
    }
    return behaviour;
  }

  /** The fault that this call is to meet; it is used up by that. */
  async fault(op: Operation, type: string, name: string): Promise<Fault | undefined> {
    // Most calls meet none, and need not wait for others to learn it.
    if (!concerned(await this.behaviour(), op, type, name)) return undefined;
    return await this.locked(async () => {
      const behaviour = await this.behaviour();
      const fault = concerned(behaviour, op, type, name);
      if (!fault) return undefined;
      fault.times -= 1;
      await writeWhole(this.behaviourFile, `${JSON.stringify(behaviour, null, 2)}\n`);
      return fault;
    });
  }

  private async locked<Result>(work: () => Promise<Result>): Promise<Result> {
    await mkdir(this.folder, { recursive: true });
    return await withLock(this.content, silent, work);
  }
}

/** Waiting for another plugin is not worth a line. */
const silent: Progress = { say: () => undefined, busy: () => false, step: (_, work) => work(() => undefined) };

function concerned(behaviour: Behaviour, op: Operation, type: string, name: string): Fault | undefined {
  return behaviour.faults?.find(
    (fault) =>
      fault.op === op &&
      fault.type === type &&
      fault.times > 0 &&
      (fault.name === undefined || new RegExp(fault.name).test(name)),
  );
}

function parsed(text: string, file: string): Properties {
  try {
    const value: unknown = JSON.parse(text);
    if (isObject(value)) return value;
  } catch (error) {
    throw new Error(`${file} is no JSON: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
  throw new Error(`${file} is no JSON object`);
}
