/**
 * One line of the engine's event log, as far as it is looked at:
 * https://github.com/pulumi/pulumi/blob/v3.259.0/sdk/go/common/apitype/events.go
 */
export interface EngineEvent {
  readonly diagnosticEvent?: { readonly severity: string; readonly message: string; readonly urn?: string };
  readonly resourcePreEvent?: { readonly metadata: Step };
  readonly resOutputsEvent?: { readonly metadata: Step };
}

/** What the engine is about to do with a resource. */
export interface Step {
  readonly op: string;
  readonly urn: string;
  readonly type: string;
  readonly old?: StepState | null;
  readonly new?: StepState | null;
  /** Names of the inputs that cost a replacement. */
  readonly keys?: readonly string[] | null;
  /** Names of the inputs that change. */
  readonly diffs?: readonly string[] | null;
  /** The same by their paths, where the provider tells so much. */
  readonly detailedDiff?: Readonly<Record<string, unknown>> | null;
}

/** A resource before or after a step. */
export interface StepState {
  readonly parent?: string;
  readonly custom?: boolean;
  readonly inputs?: Readonly<Record<string, unknown>>;
  readonly outputs?: Readonly<Record<string, unknown>>;
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
