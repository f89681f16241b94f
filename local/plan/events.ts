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
  /** Whether the program asked for it: the two halves of a replacement are the engine's. */
  readonly logical?: boolean;
}

/** A resource before or after a step. */
export interface StepState {
  readonly parent?: string;
  readonly custom?: boolean;
  readonly id?: string;
  readonly protect?: boolean;
  readonly inputs?: Readonly<Record<string, unknown>> | null;
  readonly outputs?: Readonly<Record<string, unknown>> | null;
}

/** How one property changes. */
export interface PropertyDiff {
  /** `add`, `add-replace`, `delete`, `delete-replace`, `update` or `update-replace`. */
  readonly diffKind: string;
  /** Whether old and new inputs were compared, and not old outputs with new inputs. */
  readonly inputDiff: boolean;
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
