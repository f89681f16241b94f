/**
 * One line of the engine's event log, as far as it is looked at:
 * https://github.com/pulumi/pulumi/blob/v3.259.0/sdk/go/common/apitype/events.go
 */
export interface EngineEvent {
  readonly diagnosticEvent?: { readonly severity: string; readonly message: string; readonly urn?: string };
  readonly resourcePreEvent?: { readonly metadata: Step };
  readonly resOutputsEvent?: { readonly metadata: Step };
}

/** What the engine is about to do with a resource. Secrets in it are `[secret]`, of the kind that says so. */
export interface Step {
  readonly op: string;
  readonly urn: string;
  readonly type: string;
  readonly old?: StepState | null;
  readonly new?: StepState | null;
  /** Properties because of which the resource is replaced. */
  readonly keys?: readonly string[] | null;
  /** Properties that change. */
  readonly diffs?: readonly string[] | null;
  /** Paths of properties, as in `spec.rules[0].host`, with how each changes: null when the provider did not say. */
  readonly detailedDiff?: Readonly<Record<string, PropertyDiff>> | null;
}

/** A resource before or after a step. */
export interface StepState {
  readonly parent?: string;
  readonly custom?: boolean;
  readonly inputs?: Readonly<Record<string, unknown>> | null;
  readonly outputs?: Readonly<Record<string, unknown>> | null;
}

/** How one property changes. */
export interface PropertyDiff {
  /** `add`, `add-replace`, `delete`, `delete-replace`, `update` or `update-replace`. */
  readonly diffKind: string;
}

/** What stands for a value that is not known yet: https://github.com/pulumi/pulumi/blob/v3.259.0/sdk/go/common/resource/plugin/rpc.go */
export const unknown = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";

/** Key of the box that a secret is in: https://github.com/pulumi/pulumi/blob/v3.259.0/sdk/go/common/resource/properties.go */
export const signature = "4dabf18193072939515e22adb298388d";

/** Type of the stack itself, whose outputs are the program's. */
export const stackType = "pulumi:pulumi:Stack";

/** A resource's name in the program. */
export const nameOf = (urn: string): string => urn.split("::").slice(3).join("::");

/** Whether a value of an event has members by name. */
export function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The events of a log. A last line that was cut off, as when the engine was killed, is left out. */
export function readEvents(log: string): EngineEvent[] {
  return log.split("\n").flatMap((line) => {
    try {
      return line === "" ? [] : [JSON.parse(line) as EngineEvent];
    } catch {
      return [];
    }
  });
}
