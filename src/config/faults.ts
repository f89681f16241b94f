import * as pulumi from "@pulumi/pulumi";
import { closest, distance } from "fastest-levenshtein";
import { z } from "zod";
import { looksSecret } from "./plain-secrets";
import { refusal } from "./refusal";
import { agentTokenKey, secretNames, secrets, settingsSchema, type SecretName } from "./schema";

/** Namespace of the program's own keys in stack config. */
export const namespace = "gitlab-workspaces";

/** One thing wrong with stack config. */
export interface Fault {
  /** The key, with the path inside it, and how it is: `gitlab-workspaces:domain is not set`. */
  readonly subject: string;
  /** What must hold, as a sentence. */
  readonly rule: string;
  /** Commands that put it right, in order. */
  readonly remedy: readonly string[];
}

/** Steps from the top of the config to a value inside it. */
export type Path = readonly PropertyKey[];

/** The one error for all faults: the engine prints its message and no stack trace. */
export function faultsError(faults: readonly Fault[]): pulumi.RunError {
  const count = faults.length === 1 ? "1 fault" : `${faults.length} faults`;
  const paragraphs = faults.map(({ subject, rule, remedy }) =>
    [`  ${subject}`, `    ${rule}`, ...remedy.map((command) => `    $ ${command}`)].join("\n"),
  );
  return refusal([`${count} in the config of stack ${pulumi.getStack()}:`, ...paragraphs].join("\n\n"));
}

/**
 * Command that sets a value. One of many lines is read from a file; one that is to be text although it looks like a
 * number needs `asText`.
 */
export function setCommand(path: Path, value: string, asText = false): string {
  const file = quote(`${String(path.at(-1))}.pem`);
  const input = value.includes("\n") ? `< ${file}` : `${value.startsWith("-") ? "-- " : ""}${quote(value)}`;
  return `pulumi config set ${ofStack()} ${asText ? "--type string " : ""}${keyArgument(path)} ${input}`;
}

/** Command that removes a value. */
export function removeCommand(path: Path): string {
  return `pulumi config rm ${ofStack()} ${keyArgument(path)}`;
}

/** Command that stores a secret, encrypted. `key` is `name`, or in the case of agentToken has the agent's name too. */
export function secretCommand(name: SecretName, key: string = name): string {
  return `pulumi config set ${ofStack()} --secret ${keyArgument([key])} < ${secrets[name].file}`;
}

/** `gitlab-workspaces:agents[0].name` of the path agents, 0, name, for a message. */
export function keyText(path: Path): string {
  return visible(rawKeyText(path));
}

/** `text` on one line, with what a terminal would not show written out: it must not pass for a line of the program's. */
export function visible(text: string): string {
  return text.replaceAll(invisible, (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`);
}

/** A value for a message: shortened, and without anything that looks secret although it should not be. */
export function show(value: unknown): string {
  if (value === null || value === "") return "empty";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  if (typeof value !== "string") return "an object";
  if (looksSecret(value)) return "not shown: it looks like a secret";
  const harmless = value.replace(/\S*:\S*@/, "...@");
  return JSON.stringify(harmless.length > 80 ? `${harmless.slice(0, 77)}...` : harmless);
}

/** The member of `value` at `step`, if it has one. */
export function member(value: unknown, step: PropertyKey): unknown {
  if (typeof value !== "object" || value === null) return undefined;
  return Object.entries(value).find(([name]) => name === String(step))?.[1];
}

/** The one of `known` that `name` was most likely meant to be, if any is near enough. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  if (known.length === 0) return undefined;
  const same = known.find((other) => other.toLowerCase() === name.toLowerCase());
  const found = same ?? closest(name, known);
  const apart = distance(name, found);
  return same !== undefined || (apart < name.length && apart <= Math.max(2, Math.floor(name.length / 3)))
    ? found
    : undefined;
}

/** ` Did you mean x?`, when one of `known` is near enough to be meant. */
export function suggestion(name: string, known: readonly string[]): string {
  const found = nearest(name, known);
  return found === undefined ? "" : ` Did you mean ${found}?`;
}

/** The fault of a key that nothing reads. `known` are the keys that could stand in its place. */
export function unknownKey(path: Path, known: readonly string[]): Fault {
  return {
    subject: `${keyText(path)} is not a key of this program`,
    rule: `Nothing reads it.${suggestion(String(path.at(-1)), known)}`,
    remedy: [removeCommand(path)],
  };
}

/**
 * The flat secret key that a nested key such as `tls.key` or `agents[0].token` was meant to be, if any.
 * `config` is the whole config that the path leads through.
 */
export function flatSecretKey(path: Path, config: unknown): { name: SecretName; key: string } | undefined {
  const bare = (text: string) => text.toLowerCase().replace("tls", "");
  const last = String(path.at(-1));
  const name = last.length < 3 ? undefined : secretNames.find((candidate) => bare(candidate).endsWith(bare(last)));
  return name === undefined ? undefined : { name, key: secretKey(name, config, path[1]) };
}

/** Key of a secret in stack config. Where that takes an agent's name, it is that of the entry `at` of `agents`. */
export function secretKey(name: SecretName, config: unknown, at: PropertyKey = 0): string {
  if (name !== "agentToken") return name;
  const agent = member(member(member(config, "agents"), at), "name");
  return agentTokenKey(typeof agent === "string" && /^[a-z0-9-]+$/.test(agent) ? agent : "team-a");
}

type Schema = z.core.JSONSchema.BaseSchema;

const isSchema = (schema: unknown): schema is Schema => typeof schema === "object" && schema !== null;

/** The faults behind what zod found in one setting, in our words: zod's are about types, not about what to do. */
export function settingFaults(issues: readonly z.core.$ZodIssue[], config: unknown): Fault[] {
  return issues.flatMap((issue) => {
    if (issue.code !== "unrecognized_keys") return [valueFault(issue, config)];
    const value = issue.path.reduce<unknown>(member, config);
    const known = schemasAt(issue.path, config)
      .flatMap((schema) => alternatives(schema, value))
      .flatMap((schema) => Object.keys(schema.properties ?? {}));
    return issue.keys.map((key) => misplacedOrUnknown([...issue.path, key], known, config));
  });
}

function misplacedOrUnknown(path: Path, known: readonly string[], config: unknown): Fault {
  const flat = flatSecretKey(path, config);
  if (flat === undefined) return unknownKey(path, known);
  return {
    subject: `${keyText(path)} is not a key of this program`,
    rule:
      `This secret has a key of its own, ${flat.key}. If it is stored in plain text, it is in git and its history ` +
      "already: rotate it and store the new one.",
    remedy: [removeCommand(path), secretCommand(flat.name, flat.key)],
  };
}

function valueFault(issue: z.core.$ZodIssue, config: unknown): Fault {
  const value = issue.path.reduce<unknown>(member, config);
  const schemas = schemasAt(issue.path, config);
  const examples = schemas.slice(0, 1).flatMap((schema) => exampleCommands(issue.path, schema));
  if (value === undefined) {
    const said = issue.code === "invalid_union" || issue.code === "custom";
    const description = said ? undefined : schemas[0]?.description;
    return {
      subject: `${keyText(issue.path)} is not set`,
      rule: description ?? `It ${ruleOf(issue, schemas)}.`,
      remedy: correction(issue, value) ?? examples,
    };
  }
  const structured = typeof value === "object" || schemas.some(({ type, oneOf }) => type === "object" || oneOf);
  return {
    subject: `${keyText(issue.path)} is ${show(value)}`,
    rule: `It ${ruleOf(issue, schemas)}.`,
    // What stands in the place of a structure goes first.
    remedy: [...(structured ? [removeCommand(issue.path)] : []), ...(correction(issue, value) ?? examples)],
  };
}

/** Commands that turn the very value into a good one, when that can be done. */
function correction(issue: z.core.$ZodIssue, value: unknown): string[] | undefined {
  if (issue.code === "custom" && typeof issue.params?.["corrected"] === "string")
    return [setCommand(issue.path, issue.params["corrected"])];
  const unquoted = issue.code === "invalid_type" && issue.expected === "string";
  if (unquoted && (typeof value === "number" || typeof value === "boolean"))
    return [setCommand(issue.path, String(value), true)];
  return undefined;
}

function ruleOf(issue: z.core.$ZodIssue, schemas: readonly Schema[]): string {
  switch (issue.code) {
    case "custom":
      return issue.message;
    case "invalid_value":
      return oneOf(issue.values);
    case "invalid_union":
      return oneOf(schemas.map((schema) => schema.const));
    case "too_small":
      if (issue.origin === "array") return "must have at least one entry";
      return issue.origin === "string" ? "must not be empty" : `must be at least ${String(issue.minimum)}`;
    case "too_big":
      return `must be at most ${String(issue.maximum)}`;
    case "invalid_type":
      return `must be ${kinds[issue.expected] ?? "of another kind"}`;
    case "invalid_element":
    case "invalid_format":
    case "invalid_key":
    case "not_multiple_of":
    case "unrecognized_keys":
      return "is not valid";
  }
}

function oneOf(values: readonly unknown[]): string {
  return `must be ${values.length === 1 ? "" : "one of "}${values.map(String).join(", ")}`;
}

const kinds: Partial<Record<string, string>> = {
  string: "text, which in the stack file needs quotes here",
  object: "an object",
  record: "an object",
  array: "a list",
  boolean: "true or false",
  number: "a number",
  int: "a whole number",
};

/** What the schema says about the value at `path`: several answers where members of a union are still open. */
function schemasAt(path: Path, config: unknown): Schema[] {
  let schemas: Schema[] = [settingsSchema()];
  let value = config;
  for (const step of path) {
    schemas = schemas
      .flatMap((schema) => alternatives(schema, value))
      .map((schema): unknown => (typeof step === "number" ? schema.items : schema.properties?.[String(step)]))
      .filter(isSchema);
    value = member(value, step);
  }
  return schemas;
}

/** The members of a union that `value` can still become; the schema itself where there is no choice. */
function alternatives(schema: Schema, value: unknown): Schema[] {
  if (!schema.oneOf) return [schema];
  const members = schema.oneOf.filter(isSchema);
  const chosen = members.filter(({ properties }) =>
    Object.entries(properties ?? {}).every(
      ([name, property]) =>
        !isSchema(property) || property.const === undefined || property.const === member(value, name),
    ),
  );
  return chosen.length > 0 ? chosen : members;
}

/** Commands that set the value at `path` to the example in its schema, or each required part of it. */
function exampleCommands(path: Path, schema: Schema): string[] {
  const example: unknown = schema.examples?.[0];
  if (typeof example === "string" || typeof example === "number" || typeof example === "boolean")
    return [setCommand(path, String(example))];
  const [alternative] = schema.oneOf ?? [];
  if (isSchema(alternative)) return exampleCommands(path, alternative);
  if (isSchema(schema.items)) return exampleCommands([...path, 0], schema.items);
  return (schema.required ?? []).flatMap((name) => {
    const property = schema.properties?.[name];
    return isSchema(property) ? exampleCommands([...path, name], property) : [];
  });
}

/** Pulumi's own notation, in which a quoted name knows the escape `\"` and no other. */
function rawKeyText([top, ...rest]: Path): string {
  const steps = rest.map((step) => {
    if (typeof step === "number") return `[${step}]`;
    const name = String(step);
    return /^[\w-]+$/.test(name) ? `.${name}` : `["${name.replaceAll('"', '\\"')}"]`;
  });
  return `${String(top).includes(":") ? "" : `${namespace}:`}${String(top)}${steps.join("")}`;
}

function keyArgument(path: Path): string {
  const text = rawKeyText(path);
  return path.length === 1 ? quote(text) : `--path ${inQuotes(text)}`;
}

function ofStack(): string {
  return `--stack ${quote(pulumi.getStack())}`;
}

/** A word for a shell, which finds nothing in it to expand. */
function quote(value: string): string {
  return /^[\w@%+=:,./-]+$/.test(value) ? value : inQuotes(value);
}

function inQuotes(value: string): string {
  if (value.search(invisible) === -1) return `'${value.replaceAll("'", `'\\''`)}'`;
  const bytes = (character: string) => Buffer.from(character).toString("hex").replaceAll(/../g, "\\x$&");
  return `$'${value.replaceAll(/[\\']/g, "\\$&").replaceAll(invisible, bytes)}'`;
}

/** Characters that break a line, move the cursor or change the direction of writing. */
const invisible = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;
