import { readFileSync } from "node:fs";
import path from "node:path";
import * as grpc from "@grpc/grpc-js";
import { EngineClient } from "@pulumi/pulumi/proto/engine_grpc_pb";
import { LogRequest, LogSeverity } from "@pulumi/pulumi/proto/engine_pb";
import { PluginInfo } from "@pulumi/pulumi/proto/plugin_pb";
import { type IResourceProviderServer, ResourceProviderService } from "@pulumi/pulumi/proto/provider_grpc_pb";
import {
  CheckFailure as CheckFailureMessage,
  CheckRequest as CheckRequestMessage,
  CheckResponse,
  ConfigureResponse,
  CreateResponse,
  DiffResponse,
  ErrorResourceInitFailed,
  GetSchemaResponse,
  InvokeResponse,
  ParameterizeResponse,
  PropertyDiff,
  ProviderHandshakeResponse,
  ReadResponse,
  UpdateResponse,
} from "@pulumi/pulumi/proto/provider_pb";
import { Status } from "@pulumi/pulumi/proto/status_pb";
import { Any } from "google-protobuf/google/protobuf/any_pb";
import { Empty } from "google-protobuf/google/protobuf/empty_pb";
import { type JavaScriptValue, Struct } from "google-protobuf/google/protobuf/struct_pb";
import { MESSAGE_LIMITS, serve } from "./serve";

/** A property value as the engine sends it; unknowns and secrets are marked as `isUnknown` and `isSecret` tell. */
export type Value = null | boolean | number | string | Value[] | Properties;

/** The inputs or outputs of a resource, or a provider's configuration. */
export interface Properties {
  [key: string]: Value | undefined;
}

/**
 * What the engine sends in place of a value that is not known before an update has run.
 * https://github.com/pulumi/pulumi/blob/v3.259.0/sdk/go/common/resource/plugin/rpc.go
 */
export const UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";

/** https://github.com/pulumi/pulumi/blob/v3.259.0/sdk/go/common/resource/properties.go */
const SIGNATURE = "4dabf18193072939515e22adb298388d";
const SECRET = "1b47061264138c4ac30d75fd1eb44270";

/** Whether a value is an object, neither a list nor null. */
export function isObject(value: unknown): value is Properties {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Whether a value is not known yet; an object that merely holds an unknown value is not unknown itself. */
export function isUnknown(value: unknown): boolean {
  return value === UNKNOWN;
}

/** Whether anything in a value is not known yet. */
export function hasUnknown(value: unknown): boolean {
  if (Array.isArray(value)) return value.some(hasUnknown);
  return isObject(value) ? Object.values(value).some(hasUnknown) : isUnknown(value);
}

/** Marks an output as secret, for outputs that are secret although no input was. */
export function secret(value: Value): Properties {
  return { [SIGNATURE]: SECRET, value };
}

/** Whether a value is marked as secret. */
export function isSecret(value: unknown): boolean {
  return isObject(value) && value[SIGNATURE] === SECRET;
}

/** The same value with no secret marks anywhere in it. */
export function revealed(value: Value): Value {
  if (Array.isArray(value)) return value.map(revealed);
  if (!isObject(value)) return value;
  if (isSecret(value)) return revealed(value["value"] ?? null);
  return revealedProperties(value);
}

/** The same properties with no secret marks anywhere in them. */
export function revealedProperties(properties: Properties): Properties {
  return Object.fromEntries(
    Object.entries(properties).flatMap(([key, value]) => (value === undefined ? [] : [[key, revealed(value)]])),
  );
}

/** The same properties but for the named ones. */
export function without(properties: Properties, ...names: readonly string[]): Properties {
  return Object.fromEntries(Object.entries(properties).filter(([name]) => !names.includes(name)));
}

/** What every request about one resource carries. */
export interface ResourceRequest {
  readonly urn: string;
  /** The type token, as `kubernetes:core/v1:Secret`. */
  readonly type: string;
  /** The last part of the URN. */
  readonly name: string;
}

/** A request to validate and complete the inputs of a resource. */
export interface CheckRequest extends ResourceRequest {
  /** The checked inputs that are recorded; empty when there is no such resource yet. */
  readonly olds: Properties;
  readonly news: Properties;
  /** What the stack's autonaming setting wants, when it is set. */
  readonly autonaming?: { readonly disabled: boolean; readonly proposed: string };
}

/** One input that is not acceptable. An empty property means the resource as a whole. */
export interface CheckFailure {
  readonly property: string;
  readonly reason: string;
}

/** The inputs to go on with, and what is wrong with them. */
export interface Checked {
  readonly inputs: Properties;
  readonly failures?: readonly CheckFailure[];
}

/** A request to compare the recorded inputs with new ones. */
export interface DiffRequest extends ResourceRequest {
  readonly id: string;
  readonly oldInputs: Properties;
  /** The recorded outputs. */
  readonly olds: Properties;
  readonly news: Properties;
  readonly ignoreChanges: readonly string[];
}

/** How one property, named by its path as in `spec.ports[0].port`, differs. */
export interface Change {
  readonly kind: "add" | "delete" | "update";
  readonly replace: boolean;
}

/** Every property that differs; none of them means that nothing is to be done. */
export interface Difference {
  readonly changes: ReadonlyMap<string, Change>;
  readonly deleteBeforeReplace?: boolean;
}

/** A request to create a resource or, in a preview, to say what creating it would give. */
export interface CreateRequest extends ResourceRequest {
  readonly inputs: Properties;
  /** Seconds, from `customTimeouts`; absent when not set. */
  readonly timeout?: number;
  readonly preview: boolean;
}

/** A resource that exists. In a preview of a creation the id is ignored. */
export interface Created {
  readonly id: string;
  readonly properties: Properties;
}

/** A request to look at a resource: a refresh when `inputs` and `properties` are there, else a `.get()` or an import. */
export interface ReadRequest extends ResourceRequest {
  readonly id: string;
  readonly inputs?: Properties;
  readonly properties?: Properties;
}

/** A resource as it was found. */
export interface Found extends Created {
  readonly inputs: Properties;
}

/** A request to change a resource in place or, in a preview, to say what that would give. */
export interface UpdateRequest extends ResourceRequest {
  readonly id: string;
  readonly oldInputs: Properties;
  readonly olds: Properties;
  readonly news: Properties;
  readonly ignoreChanges: readonly string[];
  readonly timeout?: number;
  readonly preview: boolean;
}

/** A request to delete a resource. */
export interface DeleteRequest extends ResourceRequest {
  readonly id: string;
  readonly oldInputs: Properties;
  readonly properties: Properties;
  readonly timeout?: number;
}

/**
 * What a stand-in plugin implements. A method that throws fails the operation with the error's message; one that throws
 * a `PartialFailure` leaves a resource behind that the engine records. Inputs come without secret marks unless
 * `acceptSecrets` is set; the engine then marks again what it finds in outputs at the same paths.
 */
export interface Provider {
  /** Whether inputs are wanted with their secret marks, and outputs are marked by the provider itself. */
  readonly acceptSecrets?: boolean;
  /**
   * Told what to be, before anything else, where one plugin is many packages.
   * @param value what the program has registered of the package, as text.
   * @throws when that is none that it can be.
   */
  parameterize?(value: string): { readonly name: string; readonly version: string };
  checkConfig?(news: Properties): Checked;
  diffConfig?(olds: Properties, news: Properties): Difference;
  /** Gets the configuration without secret marks. Not called while any of it is unknown. */
  configure(configuration: Properties): Promise<void>;
  check(request: CheckRequest): Promise<Checked>;
  diff(request: DiffRequest): Difference | Promise<Difference>;
  create(request: CreateRequest): Promise<Created>;
  /** Answers undefined for a resource that is gone. */
  read(request: ReadRequest): Promise<Found | undefined>;
  update(request: UpdateRequest): Promise<Properties>;
  delete(request: DeleteRequest): Promise<void>;
  invoke?(token: string, args: Properties): Promise<Properties>;
  /** Asked at the end of every operation, and at once when the person interrupts: ends what is still running, cleanly. */
  cancel?(): Promise<void>;
  /** The engine is gone and nobody will record anything any more: children must not go on, whatever they leave behind. */
  abandon?(): void;
}

/** A resource that exists but is not as it should be: the engine records it, with the reasons, and tries again. */
export class PartialFailure extends Error {
  /** @param found the resource as it is now. */
  constructor(
    message: string,
    readonly found: Found,
    readonly reasons: readonly string[],
  ) {
    super(message);
    this.name = "PartialFailure";
  }
}

/** What a plugin may use of the world around it. */
export interface Host {
  /** The file `settings.json` beside the plugin. */
  readonly settings: Readonly<Record<string, string>>;
  /** Shows a line to the person, at the resource's place in the output if a URN is given. Never throws. */
  log(severity: "info" | "warning" | "error", message: string, urn?: string): Promise<void>;
  /** Shows a line at the resource while it is being worked on; the next one replaces it. */
  status(message: string, urn: string): Promise<void>;
}

/**
 * Serves a stand-in plugin on standard input and output as the engine starts it, until the engine is gone.
 *
 * The first thing it says, on standard error and once through the engine, is that it is a stand-in.
 *
 * @throws when it cannot listen on loopback.
 */
export async function main(
  plugin: { readonly name: string; readonly version: string },
  create: (host: Host) => Provider,
): Promise<void> {
  const introduction =
    `stand-in for the official ${plugin.name} plugin: part of the local engine, for this machine only; ` +
    `an ordinary "pulumi up" uses the official one`;
  process.stderr.write(`${introduction}\n`);
  const host = engineHost(process.argv.at(-1) ?? "");
  const provider = create(host);
  const server = new grpc.Server(MESSAGE_LIMITS);
  server.addService(
    ResourceProviderService,
    implementation(plugin.version, provider, () => host.log("info", introduction)),
  );
  await serve(server, () => provider.abandon?.());
}

function engineHost(address: string): Host {
  const settings = JSON.parse(
    readFileSync(path.join(path.dirname(process.argv[1] ?? ""), "settings.json"), "utf8"),
  ) as Record<string, string>;
  const severities = { info: LogSeverity.INFO, warning: LogSeverity.WARNING, error: LogSeverity.ERROR };
  let engine: EngineClient | undefined;
  const send = (request: LogRequest): Promise<void> =>
    new Promise((resolve) => {
      if (!/:\d+$/.test(address)) {
        resolve();
        return;
      }
      engine ??= new EngineClient(address, grpc.credentials.createInsecure());
      // A line that cannot be shown must not fail the work it is about.
      engine.log(request, () => {
        resolve();
      });
    });
  return {
    settings,
    log: (severity, message, urn = "") =>
      send(new LogRequest().setSeverity(severities[severity]).setMessage(message).setUrn(urn)),
    status: (message, urn) =>
      send(new LogRequest().setSeverity(LogSeverity.INFO).setMessage(message).setUrn(urn).setEphemeral(true)),
  };
}

function implementation(
  version: string,
  provider: Provider,
  introduce: () => Promise<void>,
): grpc.UntypedServiceImplementation {
  let introduced = false;
  const server: Partial<IResourceProviderServer> = {
    handshake: answer(() =>
      Promise.resolve(
        new ProviderHandshakeResponse()
          .setAcceptSecrets(provider.acceptSecrets ?? false)
          .setAcceptResources(false)
          .setAcceptOutputs(false)
          .setSupportsAutonamingConfiguration(true),
      ),
    ),
    attach: answer(() => Promise.resolve(new Empty())),
    getPluginInfo: answer(() => Promise.resolve(new PluginInfo().setVersion(version))),
    parameterize: answer((request) => {
      if (!provider.parameterize) throw new Error("this stand-in is one package and takes no parameters");
      const bytes = request.getValue()?.getValue_asU8() ?? new Uint8Array();
      const { name, version: of } = provider.parameterize(Buffer.from(bytes).toString("utf8"));
      return Promise.resolve(new ParameterizeResponse().setName(name).setVersion(of));
    }),
    getSchema: answer(() => Promise.resolve(new GetSchemaResponse().setSchema("{}"))),
    checkConfig: answer((request) => {
      const news = properties(request.getNews());
      return Promise.resolve(checked(provider.checkConfig?.(news) ?? { inputs: news }));
    }),
    diffConfig: answer((request) =>
      Promise.resolve(
        difference(
          provider.diffConfig?.(properties(request.getOldInputs()), properties(request.getNews())) ?? {
            changes: new Map(),
          },
        ),
      ),
    ),
    configure: answer(async (request) => {
      if (!introduced) {
        introduced = true;
        await introduce();
      }
      await provider.configure(revealedProperties(properties(request.getArgs())));
      return new ConfigureResponse()
        .setAcceptsecrets(provider.acceptSecrets ?? false)
        .setSupportspreview(true)
        .setSupportsAutonamingConfiguration(true);
    }),
    check: answer(async (request) => checked(await provider.check(checkRequest(request)))),
    diff: answer(async (request) =>
      difference(
        await provider.diff({
          ...resource(request),
          id: request.getId(),
          oldInputs: properties(request.getOldInputs()),
          olds: properties(request.getOlds()),
          news: properties(request.getNews()),
          ignoreChanges: request.getIgnorechangesList(),
        }),
      ),
    ),
    create: answer(async (request) => {
      const created = await provider.create({
        ...resource(request),
        inputs: properties(request.getProperties()),
        ...timeout(request.getTimeout()),
        preview: request.getPreview(),
      });
      return new CreateResponse()
        .setId(request.getPreview() ? "" : created.id)
        .setProperties(struct(created.properties));
    }),
    read: answer(async (request) => {
      const inputs = properties(request.getInputs());
      const outputs = properties(request.getProperties());
      const found = await provider.read({
        ...resource(request),
        id: request.getId(),
        ...(Object.keys(inputs).length > 0 ? { inputs } : {}),
        ...(Object.keys(outputs).length > 0 ? { properties: outputs } : {}),
      });
      if (!found) return new ReadResponse();
      return new ReadResponse().setId(found.id).setProperties(struct(found.properties)).setInputs(struct(found.inputs));
    }),
    update: answer(async (request) =>
      new UpdateResponse().setProperties(
        struct(
          await provider.update({
            ...resource(request),
            id: request.getId(),
            oldInputs: properties(request.getOldInputs()),
            olds: properties(request.getOlds()),
            news: properties(request.getNews()),
            ignoreChanges: request.getIgnorechangesList(),
            ...timeout(request.getTimeout()),
            preview: request.getPreview(),
          }),
        ),
      ),
    ),
    delete: answer(async (request) => {
      await provider.delete({
        ...resource(request),
        id: request.getId(),
        oldInputs: properties(request.getOldInputs()),
        properties: properties(request.getProperties()),
        ...timeout(request.getTimeout()),
      });
      return new Empty();
    }),
    invoke: answer(async (request) => {
      if (!provider.invoke) throw new Error(`this stand-in has no function ${request.getTok()}`);
      return new InvokeResponse().setReturn(
        struct(await provider.invoke(request.getTok(), properties(request.getArgs()))),
      );
    }),
    cancel: answer(async () => {
      await provider.cancel?.();
      return new Empty();
    }),
  };
  return server as grpc.UntypedServiceImplementation;
}

/** Turns an async function into a gRPC handler whose errors the engine can show. */
function answer<Request, Response>(
  handle: (request: Request) => Promise<Response>,
): grpc.handleUnaryCall<Request, Response> {
  return (call, callback) => {
    // A handler may throw before it gives a promise; both must reach the engine as an answer.
    void (async () => handle(call.request))().then(
      (response) => {
        callback(null, response);
      },
      (error: unknown) => {
        callback(failure(error));
      },
    );
  };
}

/** The engine shows `details` and, for a partial failure, records the resource packed into the trailer. */
function failure(error: unknown): Partial<grpc.StatusObject> {
  const message = error instanceof Error ? error.message : String(error);
  if (!(error instanceof PartialFailure)) return { code: grpc.status.UNKNOWN, details: message };
  const detail = new ErrorResourceInitFailed()
    .setId(error.found.id)
    .setProperties(struct(error.found.properties))
    .setInputs(struct(error.found.inputs))
    .setReasonsList([...error.reasons]);
  const packed = new Any();
  packed.pack(detail.serializeBinary(), "pulumirpc.ErrorResourceInitFailed");
  const status = new Status().setCode(grpc.status.UNKNOWN).setMessage(message).setDetailsList([packed]);
  const metadata = new grpc.Metadata();
  metadata.set("grpc-status-details-bin", Buffer.from(status.serializeBinary()));
  return { code: grpc.status.UNKNOWN, details: message, metadata };
}

function resource(request: { getUrn(): string; getType(): string; getName(): string }): ResourceRequest {
  return { urn: request.getUrn(), type: request.getType(), name: request.getName() };
}

function timeout(seconds: number): { timeout?: number } {
  return seconds > 0 ? { timeout: seconds } : {};
}

function checkRequest(request: CheckRequestMessage): CheckRequest {
  const autonaming = request.getAutonaming();
  return {
    ...resource(request),
    olds: properties(request.getOlds()),
    news: properties(request.getNews()),
    ...(autonaming
      ? {
          autonaming: {
            disabled: autonaming.getMode() === CheckRequestMessage.AutonamingOptions.Mode.DISABLE,
            proposed: autonaming.getProposedName(),
          },
        }
      : {}),
  };
}

function checked({ inputs, failures = [] }: Checked): CheckResponse {
  return new CheckResponse()
    .setInputs(struct(inputs))
    .setFailuresList(
      failures.map(({ property, reason }) => new CheckFailureMessage().setProperty(property).setReason(reason)),
    );
}

function difference({ changes, deleteBeforeReplace = false }: Difference): DiffResponse {
  const kinds = {
    add: [PropertyDiff.Kind.ADD, PropertyDiff.Kind.ADD_REPLACE],
    delete: [PropertyDiff.Kind.DELETE, PropertyDiff.Kind.DELETE_REPLACE],
    update: [PropertyDiff.Kind.UPDATE, PropertyDiff.Kind.UPDATE_REPLACE],
  } as const;
  const response = new DiffResponse()
    .setChanges(changes.size > 0 ? DiffResponse.DiffChanges.DIFF_SOME : DiffResponse.DiffChanges.DIFF_NONE)
    .setDiffsList(topLevel(changes.keys()))
    .setReplacesList(topLevel([...changes].flatMap(([property, change]) => (change.replace ? [property] : []))))
    .setDeletebeforereplace(deleteBeforeReplace)
    .setHasdetaileddiff(true);
  for (const [property, { kind, replace }] of changes) {
    response
      .getDetaileddiffMap()
      .set(property, new PropertyDiff().setKind(kinds[kind][replace ? 1 : 0]).setInputdiff(true));
  }
  return response;
}

function topLevel(paths: Iterable<string>): string[] {
  return [...new Set(Array.from(paths, (property) => /^[^.[]+/.exec(property)?.[0] ?? property))];
}

function properties(message: Struct | undefined): Properties {
  return message?.toJavaScript() ?? {};
}

function struct(value: Properties): Struct {
  return Struct.fromJavaScript(withoutUndefined(value) as Record<string, JavaScriptValue>);
}

/** The wire format knows no undefined, and throws on it. */
function withoutUndefined(value: Value | undefined): Value {
  if (Array.isArray(value)) return value.map(withoutUndefined);
  if (!isObject(value)) return value ?? null;
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, member]) => (member === undefined ? [] : [[key, withoutUndefined(member)]])),
  );
}
