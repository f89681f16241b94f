import { randomBytes } from "node:crypto";
import {
  Account,
  type AccountContent,
  type Behaviour,
  type CloudObject,
  type Disk,
  type Fault,
  type LoadBalancer,
  type Operation,
} from "./cloud/account";
import { clear, furnish } from "./cloud/furnishing";
import { controlPlane, type Observation, observer, part } from "./cloud/observation";
import { marked } from "./cloud/secrets";
import { covers, projected, propertyChanges, steps } from "./kubernetes/diff";
import type { Kubeconfig } from "./kubernetes/kubeconfig";
import {
  type Change,
  type Checked,
  type CheckFailure,
  type CheckRequest,
  type Created,
  type CreateRequest,
  type DeleteRequest,
  type Difference,
  type DiffRequest,
  type Found,
  type Host,
  isObject,
  isUnknown,
  PartialFailure,
  type Properties,
  type Provider,
  type ReadRequest,
  revealedProperties,
  UNKNOWN,
  type UpdateRequest,
  type Value,
  without,
} from "./provider";

/** What a table's functions may look at. Nothing in it carries secret marks. */
export interface Context {
  readonly configuration: Properties;
  readonly partition: string;
  readonly inputs: Properties;
  /** What an update or a read finds; empty for what is being created. */
  readonly outputs: Properties;
  /** Grows with every object of the account. 0 in a preview. */
  readonly serial: number;
  /** Every object of the account. */
  readonly objects: readonly CloudObject[];
  readonly controlPlane: () => Kubeconfig;
}

type Derive = (context: Context) => Value | undefined;

/** What an input must name: an object of another type that is in the account, by one of its outputs. */
export interface Reference {
  readonly type: string;
  /** `id` or outputs. Any of them will do. */
  readonly by: readonly string[];
  /** Which values must name one; all of them when absent. */
  readonly only?: (value: string, context: Context) => boolean;
  readonly missing: (value: string, context: Context) => string;
  /** Whether the object can be deleted while it is referred to. */
  readonly mayGo?: boolean;
}

/** One type of resource. A path is a property path, with `[*]` for any place of a list. */
export interface ResourceType {
  /** What the cloud's messages call it. */
  readonly noun: string;
  /** The input that is filled when it is left out, and the longest that it may be. */
  readonly autoname?: {
    readonly property: string;
    readonly longest: number;
    /** What stands between the resource's name and the random part; `-` when absent. */
    readonly separator?: string;
  };
  readonly required?: readonly string[];
  readonly match?: Readonly<Record<string, RegExp>>;
  readonly oneOf?: Readonly<Record<string, readonly string[]>>;
  /** Inputs that the plugin fills in and records. */
  readonly defaults?: Properties;
  readonly id: Derive;
  /** What the cloud says to a second one; absent when asking twice for the same, as for a permission, is no error. */
  readonly exists?: (id: string, context: Context) => string;
  /** Paths of inputs, and of `settled` outputs, whose change costs a replacement. */
  readonly replace: readonly string[];
  /** Inputs of which some changes cost a replacement and some do not. */
  readonly replaceWhen?: Readonly<Record<string, (old: Value, now: Value) => boolean>>;
  /** Paths that are compared with what the cloud has, not with what the program said before. */
  readonly mirrored?: readonly string[];
  readonly refs?: Readonly<Record<string, Reference>>;
  /** Outputs that follow from inputs and configuration alone, and so are known in a preview. */
  readonly settled?: Readonly<Record<string, Derive>>;
  /** Outputs that the cloud makes once, unless an input of the same name says what they are to be. */
  readonly computed?: Readonly<Record<string, Derive>>;
  /** Outputs that the cloud makes again with every change, of an input of the same name too if there is one. */
  readonly derived?: Readonly<Record<string, Derive>>;
  /** Outputs that may change by themselves; seen at the next read. */
  readonly live?: Readonly<Record<string, Derive>>;
  readonly facts?: (context: Context) => Properties;
  /** Why the cloud does not do it, though the inputs have the right form. */
  readonly refuse?: (context: Context) => string | undefined;
  /** Why it cannot be deleted now, though nothing refers to it. */
  readonly denyDelete?: (object: CloudObject, objects: readonly CloudObject[]) => string | undefined;
  /** What the cloud calls the limit of how many there may be. */
  readonly quota?: string;
}

/** One cloud: what sets its stand-in apart from others'. */
export interface CloudTable {
  /** The package, as `gcp`. */
  readonly name: string;
  readonly types: Readonly<Record<string, ResourceType>>;
  readonly functions: Readonly<Record<string, (args: Properties, call: FunctionCall) => Properties>>;
  /** What divides the account, as a project, for these inputs or outputs; empty when nothing says. */
  readonly partition: (configuration: Properties, properties: Properties) => string;
  readonly noPartition: CheckFailure;
  readonly forbidden: (partition: string) => string;
  readonly inUse: (noun: string, id: string, user: string) => string;
  readonly quotaExceeded: (quota: string, limit: number) => string;
  readonly notFound: (id: string) => string;
  /** What runs the local control plane, and what must still be there for its controllers to clean up. */
  readonly cluster: {
    readonly type: string;
    /** The type of its nodes; absent when nodes are a part of the cluster. */
    readonly nodes?: string;
    /** What its load balancers keep in use: paths of the cluster's references, or ids of objects of the account. */
    readonly loadBalancersHold:
      readonly string[] | ((cluster: CloudObject, objects: readonly CloudObject[]) => readonly string[]);
    /** What a cluster's own API has from the beginning, in an order in which it can be made: StorageClasses, definitions. */
    readonly born: (context: Context) => readonly Properties[];
  };
  /** The type of reserved addresses, and how a Service asks for one. */
  readonly addresses: {
    readonly type: string;
    readonly by: readonly string[];
    readonly asked: (service: Properties) => readonly string[];
  };
  /** What the cloud calls the load balancer of a Service when it names it in a message. */
  readonly loadBalancerName: (loadBalancer: LoadBalancer) => string;
}

/** What a function of a cloud may look at. */
export interface FunctionCall extends Omit<Context, "inputs" | "outputs" | "serial"> {
  /** The partitions that the caller may see; all of them when absent. */
  readonly visible?: readonly string[];
  /** Whether this is about an account that nobody looks into: what a stack says is there, is there. */
  readonly planning: boolean;
}

/** What a test may put in place of the world. */
export interface World {
  readonly sleep: (seconds: number) => Promise<void>;
  readonly observe: () => Promise<Observation>;
  /** Puts what a cluster is born with on the control plane. */
  readonly furnish: (objects: readonly Properties[]) => Promise<void>;
  /** Takes it away again, when the cluster goes. */
  readonly clear: (objects: readonly Properties[]) => Promise<void>;
}

const DEFAULTS = "__defaults";

/**
 * The stand-in for a cloud's plugin: plays the cloud by a table, with an account that `settings.account` keeps. It
 * enforces what such a cloud enforces (references, required inputs, unique names, quotas, order of deletion), can be
 * told to fail and to lag, and hands out the local engine's control plane as the cluster.
 */
export function cloud(table: CloudTable, host: Host, world: Partial<World> = {}): Provider {
  const account = new Account(host.settings["account"] ?? "", table.name);
  const sleep = world.sleep ?? ((seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000)));
  const look = world.observe ?? observer(host.settings);
  const put = world.furnish ?? ((objects) => furnish(controlPlane(host.settings), objects));
  const take = world.clear ?? ((objects) => clear(controlPlane(host.settings), objects));
  let configured: Properties | undefined;

  const configuration = (): Properties => {
    if (!configured) throw new Error(`the ${table.name} plugin was used before it was configured`);
    return configured;
  };
  const served = (type: string): ResourceType => {
    const found = table.types[type];
    if (!found) throw new Error(unserved(type));
    return found;
  };
  const unserved = (token: string): string =>
    `the stand-in for the ${table.name} plugin, which plays a cloud on this machine, does not know ${token}`;
  const context = (
    content: AccountContent,
    inputs: Properties,
    { outputs = {}, serial = 0 }: { readonly outputs?: Properties; readonly serial?: number } = {},
  ): Context => ({
    configuration: configuration(),
    partition: table.partition(configuration(), { ...inputs, ...present(outputs) }),
    inputs,
    outputs,
    serial,
    objects: content.objects,
    controlPlane: () => controlPlane(host.settings),
  });

  /** Throws the fault that is due, or gives it back when the work is to be done first. */
  const due = async (op: Operation, type: string, name: string): Promise<Fault | undefined> => {
    const fault = await account.fault(op, type, name);
    if (fault && !(fault.partial === true && (op === "create" || op === "update"))) throw new Error(fault.message);
    return fault;
  };
  const lag = async (op: "create" | "update" | "delete", type: string): Promise<void> => {
    const seconds = (await account.behaviour()).latency?.[type]?.[op] ?? 0;
    if (seconds > 0) await sleep(seconds);
  };

  /** Has the account follow the cluster, as its controllers would make it, before anything else changes. */
  const observe = async (urn: string): Promise<void> => {
    const { objects } = await account.read();
    if (!objects.some(({ type }) => type === table.cluster.type)) return;
    let observation: Observation;
    try {
      observation = await look();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      await host.log("warning", `the stand-in cloud cannot see what its cluster asks of it: ${reason}`, urn);
      return;
    }
    await account.change((content) => {
      follow(table, content, observation);
    });
  };

  /** Gives a new cluster what it is born with; one whose API cannot be reached from here gets it at the next occasion. */
  const furnished = async (serial: number, urn: string): Promise<void> => {
    const content = await account.read();
    const cluster = content.objects.find((object) => object.serial === serial);
    if (!cluster) return;
    const mark = (unfurnished: boolean): Promise<void> =>
      account.change(({ objects }) => {
        const object = objects.find((one) => one.serial === serial);
        if (object) object.unfurnished = unfurnished;
      });
    try {
      await put(table.cluster.born(context(content, cluster.inputs, cluster)));
      await mark(false);
    } catch (error) {
      await mark(true);
      const reason = error instanceof Error ? error.message : String(error);
      await host.log("warning", `the stand-in cloud cannot furnish its cluster yet: ${reason}`, urn);
    }
  };

  const check = async ({ type, name, olds, news, autonaming }: CheckRequest): Promise<Checked> => {
    const definition = table.types[type];
    if (!definition) return { inputs: news, failures: [{ property: "", reason: unserved(type) }] };
    await due("check", type, name);
    const filled: Record<string, Value> = {};
    const failures: CheckFailure[] = [];
    const property = definition.autoname?.property;
    if (definition.autoname && property !== undefined && isUnset(news[property])) {
      const { longest, separator = "-" } = definition.autoname;
      const former = olds[property];
      const proposed =
        !isUnset(former) && defaulted(olds).includes(property)
          ? former
          : autonaming === undefined
            ? `${name.toLowerCase()}${separator}${randomBytes(4).toString("hex").slice(0, 7)}`
            : autonaming.proposed;
      if (autonaming?.disabled === true && proposed !== former) {
        failures.push({ property, reason: `automatic naming is disabled: give "${property}"` });
      } else if (typeof proposed === "string" && proposed.length > longest) {
        failures.push({ property, reason: `the name "${proposed}" is longer than the maximum length ${longest}` });
      }
      filled[property] = proposed;
    }
    for (const [key, value] of Object.entries(definition.defaults ?? {})) {
      if (isUnset(news[key]) && value !== undefined) filled[key] = value;
    }
    const inputs: Properties = { ...present(news), ...filled, [DEFAULTS]: Object.keys(filled).sort() };
    const bare = revealedProperties(inputs);
    if (table.partition(configuration(), bare) === "") failures.push(table.noPartition);
    failures.push(...inputFailures(definition, bare));
    for (const [key, value] of Object.entries(outputsOf(definition.settled, context(EMPTY, bare)))) {
      if (value === undefined || value === "")
        failures.push({ property: key, reason: `${key}: required field is not set` });
    }
    return { inputs, failures };
  };

  const diff = async (request: DiffRequest): Promise<Difference> => {
    const { type, name, ignoreChanges } = request;
    const definition = served(type);
    await due("diff", type, name);
    if (type === table.cluster.type) {
      const { objects } = await account.read();
      for (const { serial } of objects.filter(({ unfurnished }) => unfurnished === true))
        await furnished(serial, request.urn);
    }
    const [old, news] = [revealedProperties(request.oldInputs), revealedProperties(request.news)];
    const olds = revealedProperties(request.olds);
    const found = propertyChanges(without(old, DEFAULTS), without(news, DEFAULTS));
    for (const key of definition.mirrored ?? []) {
      if (isUnset(news[key]) || isUnset(olds[key])) continue;
      const has = { [key]: projected(olds[key], news[key]) };
      for (const [path, kind] of propertyChanges(has, { [key]: news[key] })) found.set(path, kind);
    }
    for (const [key, value] of Object.entries(outputsOf(definition.settled, context(EMPTY, news)))) {
      const moved = definition.replace.includes(key) && isUnset(news[key]) && olds[key] !== value;
      if (moved && !isUnset(olds[key]) && !isUnset(value)) found.set(key, "update");
    }
    const changes = new Map<string, Change>();
    for (const [path, kind] of found) {
      if (ignoreChanges.some((pattern) => covers(pattern, path))) continue;
      const always = definition.replace.some((pattern) => covers(pattern, path));
      const now = definition.replaceWhen?.[path]?.(old[path] ?? null, news[path] ?? null) === true;
      changes.set(path, { kind, replace: always || now });
    }
    const property = definition.autoname?.property;
    const givenName =
      property !== undefined && !defaulted(news).includes(property) && !isUnset(news[property])
        ? news[property] === old[property]
        : false;
    return { changes, deleteBeforeReplace: givenName && [...changes.values()].some(({ replace }) => replace) };
  };

  const create = async (request: CreateRequest): Promise<Created> => {
    const { type, name, preview, urn } = request;
    const definition = served(type);
    const inputs = without(revealedProperties(request.inputs), DEFAULTS);
    if (preview) {
      const settled = outputsOf(definition.settled, context(EMPTY, inputs));
      const { computed, derived, live } = definition;
      const properties = { ...unknown({ ...computed, ...live }), ...settled, ...inputs, ...unknown(derived) };
      return { id: "", properties: marked(properties, request.inputs) };
    }
    const fault = await due("create", type, name);
    await observe(urn);
    const behaviour = await account.behaviour();
    // First there, then ready, as in a cloud: whoever is ended while waiting leaves something behind.
    const object = await account.change((content) =>
      added(table, behaviour, type, definition, inputs, content, context),
    );
    await lag("create", type);
    if (type === table.cluster.type) await furnished(object.serial, urn);
    const created = {
      id: object.id,
      inputs: request.inputs,
      properties: marked(object.outputs, request.inputs),
    };
    if (fault) throw new PartialFailure(fault.message, created, [fault.message]);
    return created;
  };

  const read = async (request: ReadRequest): Promise<Found | undefined> => {
    const { type, name } = request;
    const definition = served(type);
    await due("read", type, name);
    const properties = revealedProperties(request.properties ?? {});
    const content = await account.read();
    const object = find(content, type, request.id, table.partition(configuration(), properties));
    if (!object) return undefined;
    const { inputs: applied, outputs, serial } = object;
    const now = { ...outputs, ...outputsOf(definition.live, context(content, applied, { outputs, serial })) };
    // What nobody gives back, as a flag for the plugin only, is as it was said to be.
    const shape = request.inputs ? without(revealedProperties(request.inputs), DEFAULTS) : applied;
    const inputs = Object.fromEntries(
      Object.entries(shape).map(([key, value]) => [key, key in now ? (projected(now[key], value) ?? null) : value]),
    );
    const sources = [request.inputs ?? {}, request.properties ?? {}];
    const record = request.inputs?.[DEFAULTS];
    return {
      id: object.id,
      properties: marked(now, ...sources),
      inputs: { ...marked(present(inputs), ...sources), ...(record === undefined ? {} : { [DEFAULTS]: record }) },
    };
  };

  const update = async (request: UpdateRequest): Promise<Properties> => {
    const { type, name, preview, id } = request;
    const definition = served(type);
    const news = without(revealedProperties(request.news), DEFAULTS);
    const olds = revealedProperties(request.olds);
    const sources = [request.news, request.oldInputs, request.olds];
    if (preview) {
      const settled = outputsOf(definition.settled, context(EMPTY, news));
      const unchanged = only(olds, definition.derived);
      return marked({ ...kept(definition, olds), ...settled, ...news, ...unchanged }, ...sources);
    }
    await observe(request.urn);
    const fault = await due("update", type, name);
    const behaviour = await account.behaviour();
    const outputs = await account.change((content) => {
      const object = find(content, type, id, table.partition(configuration(), olds));
      if (!object) throw new Error(table.notFound(id));
      refuseForbidden(table, behaviour, object.partition);
      const after = context(content, news, { outputs: object.outputs, serial: object.serial });
      refuseBroken(definition, after, content);
      object.inputs = news;
      object.outputs = {
        ...kept(definition, object.outputs),
        ...outputsOf(definition.settled, after),
        ...news,
        ...outputsOf(definition.derived, after),
        ...outputsOf(definition.live, after),
      };
      if (definition.facts) object.facts = definition.facts(after);
      return object.outputs;
    });
    await lag("update", type);
    const properties = marked(outputs, ...sources);
    if (fault) throw new PartialFailure(fault.message, { id, inputs: request.news, properties }, [fault.message]);
    return properties;
  };

  const remove = async (request: DeleteRequest): Promise<void> => {
    const { type, name, id, urn } = request;
    const definition = served(type);
    await due("delete", type, name);
    await observe(urn);
    const partition = table.partition(configuration(), revealedProperties(request.properties));
    const gone = (): Promise<boolean> =>
      account.change((content) => {
        const object = find(content, type, id, partition);
        if (!object) return true;
        refuseDelete(table, definition, object, content);
        return false;
      });
    if (await gone()) return;
    await lag("delete", type);
    let removed: CloudObject | undefined;
    await account.change((content) => {
      const object = find(content, type, id, partition);
      if (!object) return;
      // Somebody may have begun to use it while it was being deleted.
      refuseDelete(table, definition, object, content);
      content.objects = content.objects.filter((other) => other !== object);
      removed = object;
    });
    if (removed && type === table.cluster.type) await take(table.cluster.born(context(EMPTY, removed.inputs, removed)));
  };

  const noted = (op: Operation, { type, name }: { type: string; name: string }, preview?: boolean): void => {
    account.log({ op, type, name, ...(preview === undefined ? {} : { preview }) });
  };
  return {
    acceptSecrets: true,
    diffConfig: (olds, news) => ({
      changes: new Map(
        [...propertyChanges(without(olds, "version"), without(news, "version"))].map(([path, kind]) => [
          path,
          { kind, replace: false },
        ]),
      ),
    }),
    configure: (given) => {
      configured = Object.fromEntries(Object.entries(given).map(([key, value]) => [key, structured(value)]));
      return Promise.resolve();
    },
    check: async (request) => {
      noted("check", request);
      return await check(request);
    },
    diff: async (request) => {
      noted("diff", request);
      return await diff(request);
    },
    create: async (request) => {
      noted("create", request, request.preview);
      return await create(request);
    },
    read: async (request) => {
      noted("read", request);
      return await read(request);
    },
    update: async (request) => {
      noted("update", request, request.preview);
      return await update(request);
    },
    delete: async (request) => {
      noted("delete", request);
      await remove(request);
    },
    invoke: async (token, given) => {
      account.log({ op: "invoke", function: token });
      const run = table.functions[token];
      if (!run) throw new Error(unserved(token));
      const args = revealedProperties(given);
      await due("invoke", token, "");
      const { projects } = await account.behaviour();
      const { partition, objects, controlPlane: plane } = context(await account.read(), args);
      const planning = host.settings["planning"] === "true";
      const call = { configuration: configuration(), partition, objects, controlPlane: plane, planning };
      return marked(run(args, { ...call, ...(projects ? { visible: projects } : {}) }), given);
    },
  };
}

const EMPTY: AccountContent = { serial: 0, objects: [], loadBalancers: [], disks: [] };

/** Every value that a path names, with the path of each; a part that is unknown stands for all that is in it. */
function valuesAt(properties: Properties, path: string): [path: string, value: Value | undefined][] {
  let found: [string, Value | undefined][] = [["", properties]];
  for (const step of steps(path)) {
    found = found.flatMap(([at, value]): [string, Value | undefined][] => {
      if (isUnknown(value)) return [[at, value]];
      if (step === "*") return Array.isArray(value) ? value.map((item, index) => [`${at}[${index}]`, item]) : [];
      const below = at === "" ? step : `${at}.${step}`;
      return [[below, isObject(value) ? (value[step] ?? undefined) : undefined]];
    });
  }
  return found;
}

function inputFailures(definition: ResourceType, inputs: Properties): CheckFailure[] {
  const failures: CheckFailure[] = [];
  for (const path of definition.required ?? []) {
    // An input is only required within a part that is there.
    const parent = steps(path).slice(0, -1).join(".");
    if (parent !== "" && valuesAt(inputs, parent).every(([, value]) => isUnset(value))) continue;
    for (const [at, value] of valuesAt(inputs, path)) {
      if (!isUnset(value)) continue;
      const reason = `Missing required argument. The argument "${at}" is required, but no definition was found.`;
      failures.push({ property: at, reason });
    }
  }
  for (const [path, pattern] of Object.entries(definition.match ?? {})) {
    for (const [at, value] of valuesAt(inputs, path)) {
      if (typeof value !== "string" || isUnknown(value) || pattern.test(value)) continue;
      failures.push({ property: at, reason: `"${at}" ("${value}") doesn't match regexp "${pattern.source}"` });
    }
  }
  for (const [path, choices] of Object.entries(definition.oneOf ?? {})) {
    for (const [at, value] of valuesAt(inputs, path)) {
      if (isUnset(value) || isUnknown(value) || choices.some((choice) => choice === value)) continue;
      const reason = `expected ${at} to be one of [${choices.map((choice) => `"${choice}"`).join(" ")}]`;
      failures.push({ property: at, reason: `${reason}, got ${JSON.stringify(value)}` });
    }
  }
  return failures;
}

function added(
  table: CloudTable,
  behaviour: Behaviour,
  type: string,
  definition: ResourceType,
  inputs: Properties,
  content: AccountContent,
  contextOf: (content: AccountContent, inputs: Properties, more: { serial: number }) => Context,
): CloudObject {
  const serial = content.serial + 1;
  const context = contextOf(content, inputs, { serial });
  refuseForbidden(table, behaviour, context.partition);
  const id = text(definition.id(context));
  const same = content.objects.find((other) => other.type === type && other.id === id);
  if (same && definition.exists) throw new Error(definition.exists(id, context));
  if (same) return same;
  refuseBroken(definition, context, content);
  const limit = behaviour.quotas?.[type];
  const count = content.objects.filter((other) => other.type === type && other.partition === context.partition).length;
  if (limit !== undefined && count >= limit) {
    throw new Error(table.quotaExceeded(definition.quota ?? definition.noun.toUpperCase(), limit));
  }
  const outputs = {
    ...outputsOf(definition.settled, context),
    ...outputsOf(definition.computed, context),
    ...inputs,
    ...outputsOf(definition.derived, context),
    ...outputsOf(definition.live, context),
  };
  const facts = definition.facts?.(context);
  const object = { serial, partition: context.partition, type, id, inputs, outputs, ...(facts ? { facts } : {}) };
  content.serial = serial;
  content.objects.push(object);
  return object;
}

function refuseForbidden(table: CloudTable, { projects }: Behaviour, partition: string): void {
  if (projects && !projects.includes(partition)) throw new Error(table.forbidden(partition));
}

/** @throws for a reference to nothing, and for what the cloud does not do. */
function refuseBroken(definition: ResourceType, context: Context, content: AccountContent): void {
  for (const [path, reference] of Object.entries(definition.refs ?? {})) {
    for (const [, value] of valuesAt(context.inputs, path)) {
      if (typeof value !== "string" || reference.only?.(value, context) === false) continue;
      if (!referred(reference, value, context.partition, content)) throw new Error(reference.missing(value, context));
    }
  }
  const refused = definition.refuse?.(context);
  if (refused !== undefined) throw new Error(refused);
}

function referred(
  { type, by }: Pick<Reference, "type" | "by">,
  value: string,
  partition: string,
  content: Pick<AccountContent, "objects">,
): CloudObject | undefined {
  return content.objects.find(
    (object) =>
      object.type === type &&
      object.partition === partition &&
      by.some((output) => (output === "id" ? object.id : object.outputs[output]) === value),
  );
}

/** @throws while it is protected, or anything in the account uses it. */
function refuseDelete(table: CloudTable, definition: ResourceType, object: CloudObject, content: AccountContent): void {
  const denied = definition.denyDelete?.(object, content.objects);
  if (denied !== undefined) throw new Error(denied);
  const users = [
    ...content.objects.filter((other) => other !== object && uses(table, other, object, content)).map(({ id }) => id),
    ...content.loadBalancers.flatMap((loadBalancer) =>
      loadBalancer.holds.includes(object.id) ? [table.loadBalancerName(loadBalancer)] : [],
    ),
  ];
  const [user] = users;
  if (user !== undefined) throw new Error(table.inUse(definition.noun, object.id, user));
}

function uses(table: CloudTable, user: CloudObject, used: CloudObject, content: AccountContent): boolean {
  return Object.entries(table.types[user.type]?.refs ?? {}).some(
    ([path, reference]) =>
      reference.type === used.type &&
      reference.mayGo !== true &&
      valuesAt(user.inputs, path).some(
        ([, value]) => typeof value === "string" && referred(reference, value, user.partition, content) === used,
      ),
  );
}

/**
 * Has the account follow what is in the cluster. What is gone from the cluster goes from the account only while the
 * cluster's API and nodes are there, because it is the controllers on them that give it back; else it stays for good.
 */
function follow(table: CloudTable, content: AccountContent, { services, volumes }: Observation): void {
  const cluster = content.objects.find(({ type }) => type === table.cluster.type);
  if (!cluster) return;
  const { nodes, loadBalancersHold } = table.cluster;
  const alive =
    nodes === undefined ||
    content.objects.some((object) => object.type === nodes && uses(table, object, cluster, content));
  const made = (object: Properties, claim: Properties): Omit<Disk, "volume"> => ({
    partition: cluster.partition,
    cluster: cluster.serial,
    namespace: text(claim["namespace"]),
    name: text(claim["name"]),
    uid: text(part(object, "metadata")["uid"]),
    holds: [],
  });
  const referredAt = (path: string): readonly string[] => {
    const reference = table.types[cluster.type]?.refs?.[path];
    const value = cluster.inputs[path];
    if (!reference || typeof value !== "string") return [];
    return [referred(reference, value, cluster.partition, content)?.id ?? []].flat();
  };
  const held =
    typeof loadBalancersHold === "function"
      ? loadBalancersHold(
          cluster,
          content.objects.filter(({ partition }) => partition === cluster.partition),
        )
      : loadBalancersHold.flatMap(referredAt);
  const loadBalancers = services.map((service): LoadBalancer => {
    const ingress = part(part(service, "status"), "loadBalancer")["ingress"];
    const [first] = Array.isArray(ingress) ? ingress.filter(isObject) : [];
    const asked = table.addresses.asked(service);
    const reserved = asked.flatMap((value) => referred(table.addresses, value, cluster.partition, content)?.id ?? []);
    const address = text(first?.["ip"]) || text(first?.["hostname"]);
    return {
      ...made(service, part(service, "metadata")),
      holds: [...held, ...reserved],
      ...(address ? { address } : {}),
    };
  });
  const disks = volumes.map((volume): Disk => ({
    ...made(volume, part(part(volume, "spec"), "claimRef")),
    volume: text(part(volume, "metadata")["name"]),
  }));
  content.loadBalancers = followed(content.loadBalancers, loadBalancers, cluster.serial, alive);
  content.disks = followed(content.disks, disks, cluster.serial, alive);
}

function followed<Kind extends Disk | LoadBalancer>(
  had: Kind[],
  seen: Kind[],
  cluster: number,
  alive: boolean,
): Kind[] {
  const orphans = had.filter((one) => one.cluster !== cluster);
  // A cluster of the same control plane finds what its predecessor left in it, but the cloud made that only once.
  const own = seen.filter(({ uid }) => !orphans.some((orphan) => orphan.uid === uid));
  const vanished = had.filter((one) => one.cluster === cluster && !seen.some(({ uid }) => uid === one.uid));
  return [...orphans, ...(alive ? [] : vanished), ...own];
}

function find(content: AccountContent, type: string, id: string, partition: string): CloudObject | undefined {
  const candidates = content.objects.filter((object) => object.type === type);
  return (
    candidates.find((object) => object.id === id) ??
    // What a person types for an import: the name that the cloud shows.
    candidates.find((object) => object.partition === partition && object.outputs["name"] === id)
  );
}

function outputsOf(derive: Readonly<Record<string, Derive>> | undefined, context: Context): Properties {
  return Object.fromEntries(Object.entries(derive ?? {}).map(([key, value]) => [key, value(context)]));
}

function unknown(derive: Readonly<Record<string, Derive>> = {}): Properties {
  return Object.fromEntries(Object.keys(derive).map((key) => [key, UNKNOWN]));
}

/** What an update leaves as it was, unless it says otherwise. */
function kept({ computed, derived, live }: ResourceType, outputs: Properties): Properties {
  return only(outputs, { ...computed, ...derived, ...live });
}

function only(properties: Properties, keys: object = {}): Properties {
  return Object.fromEntries(Object.entries(properties).filter(([key]) => key in keys));
}

function defaulted(inputs: Properties): readonly Value[] {
  const record = inputs[DEFAULTS];
  return Array.isArray(record) ? record : [];
}

function present(properties: Properties): Properties {
  return Object.fromEntries(Object.entries(properties).filter(([, value]) => !isUnset(value)));
}

function isUnset(value: Value | undefined): value is null | undefined {
  return value === undefined || value === null;
}

/** Options that are no text arrive as JSON; ids that consist of digits are text. */
function structured(value: Value | undefined): Value {
  if (typeof value !== "string" || !/^(\{.*\}|\[.*\]|true|false)$/s.test(value)) return value ?? null;
  try {
    return JSON.parse(value) as Value;
  } catch {
    return value;
  }
}

function text(value: Value | undefined): string {
  return typeof value === "string" ? value : "";
}
