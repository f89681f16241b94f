/** One kind of thing that can be wrong. What `docs/doctor.md` is made from, too. */
export interface Code {
  /** `error`: people cannot work, or cannot be kept from it. `warning`: they will not be able to, or it could not be told. */
  readonly severity: "error" | "warning";
  /** What is wrong, as a heading. */
  readonly title: string;
  /** What it means for the people who work here, and how it comes about. */
  readonly meaning: string;
  /** Commands that mend it, in order, with what differs from stack to stack as `<placeholder>`. Never empty. */
  readonly fix: readonly string[];
}

/** Codes of one part of the doctor, by number: `GW101`. A number never gets another meaning. */
export type Codes = Readonly<Record<string, Code>>;

/** Something wrong with this stack. No part of it is ever secret. */
export interface Finding {
  readonly code: string;
  readonly severity: Code["severity"];
  readonly title: string;
  /** What was seen, with names and values: one or a few lines. */
  readonly seen: string;
  readonly meaning: string;
  /** Commands to type, complete. */
  readonly fix: readonly string[];
}

/**
 * Makes findings of the given codes.
 * @returns a function from a code, what was seen, and the values of the placeholders in the code's commands. It throws
 * for a placeholder without a value: that is a bug of the doctor's.
 */
export function findings<C extends Codes>(codes: C) {
  return (code: keyof C & string, seen: string, values: Readonly<Record<string, string>> = {}): Finding => {
    const entry = codes[code];
    if (entry === undefined) throw new Error(`there is no code ${code}`);
    const { severity, title, meaning, fix } = entry;
    const filled = fix.map((command) =>
      command.replace(/<([a-z][a-z -]*)>/g, (_, name: string) => {
        const value = values[name];
        if (value === undefined) throw new Error(`${code}: no value for <${name}>`);
        return value;
      }),
    );
    return { code, severity, title, seen, meaning, fix: filled };
  };
}
