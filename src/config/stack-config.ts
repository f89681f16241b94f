import * as pulumi from "@pulumi/pulumi";
import type { z } from "zod";
import {
  flatSecretKey,
  keyText,
  member,
  namespace,
  nearest,
  removeCommand,
  secretCommand,
  secretKey,
  settingFaults,
  suggestion,
  unknownKey,
  type Fault,
} from "./faults";
import type { Problem } from "./pem";
import { plainSecrets } from "./plain-secrets";
import type { PrivateKeyCheck } from "./private-key";
import { agentTokenKey, secrets, settings, type SecretName, type SettingName } from "./schema";

declare module "@pulumi/pulumi/runtime/config" {
  /** Left out of the SDK's declarations, although it is the only way to tell a secret from plain text. */
  export function isConfigSecret(key: string): boolean;
}

/**
 * The raw config of the running stack and what is found wrong with it. Pulumi's own typed getters print the value they
 * refuse, secret or not, so nothing is read through them.
 */
export class StackConfig {
  /** Everything wrong so far. */
  readonly faults: Fault[] = [];
  /** Everything legal that each preview must say. */
  readonly warnings: string[] = [];
  /** The settings as they are written, unchecked. Without those that hold a secret: these may get into messages. */
  readonly raw: Readonly<Record<string, unknown>>;
  readonly #texts: ReadonlyMap<string, string>;
  readonly #readSecrets = new Set<string>();

  constructor() {
    const prefix = `${namespace}:`;
    const own = Object.entries(pulumi.runtime.allConfig()).filter(([key]) => key.startsWith(prefix));
    this.#texts = new Map(own.map(([key, text]) => [key.slice(prefix.length), text]));
    this.raw = Object.fromEntries(
      [...this.#texts]
        .filter(([key]) => isSettingName(key) && !isSecret(key))
        .map(([key, text]) => [key, decode(text)]),
    );
  }

  /** Whether the stack says anything about a setting. */
  has(name: SettingName): boolean {
    return this.#texts.has(name);
  }

  /** Whether the stack has a secret. */
  hasSecret(name: SecretName): boolean {
    return this.#texts.has(name);
  }

  /** The value of a setting or of its default; undefined when it is absent or faulty. */
  setting<S extends z.ZodType>(name: SettingName, schema: S): z.output<S> | undefined {
    if (isSecret(name)) {
      this.faults.push(this.#secretSetting(name, schema));
      return undefined;
    }
    const result = schema.safeParse(this.raw[name]);
    if (result.success) return result.data;
    const issues = result.error.issues.map((issue) => ({ ...issue, path: [name, ...issue.path] }));
    this.faults.push(...settingFaults(issues, this.raw));
    // A key too many must not hide what else is wrong.
    return schema.safeParse(withoutUnknownKeys(this.raw, issues)[name]).data;
  }

  /** The text of a secret; undefined when it is absent or stored in plain text. */
  secret(
    name: SecretName,
    { key = name, required = true }: { key?: string; required?: boolean } = {},
  ): string | undefined {
    this.#readSecrets.add(key);
    const text = this.#texts.get(key);
    if (text === undefined) {
      if (required)
        this.faults.push({
          subject: `${keyText([key])} is not set`,
          rule: secrets[name].description,
          remedy: [secretCommand(name, key)],
        });
      return undefined;
    }
    if (isSecret(key)) return text;
    this.faults.push({
      subject: `${keyText([key])} is stored in plain text`,
      rule: "It is a secret, and in git and its history already: rotate it, then store the new one encrypted.",
      remedy: [secretCommand(name, key)],
    });
    return undefined;
  }

  /** A secret of one word. The newline that editors and `echo` add would break it where it is used, so it goes. */
  token(name: SecretName, key: string = name): string | undefined {
    const text = this.secret(name, { key })?.trim();
    if (text === undefined) return undefined;
    if (/^\S+$/.test(text)) return text;
    this.refuseSecret(
      name,
      { rule: text === "" ? "It is empty." : "It must be one word: it holds spaces or line breaks." },
      key,
    );
    return undefined;
  }

  /** A secret that is a private key, as `check` has put it in order. */
  privateKey(name: SecretName, check: (text: string) => PrivateKeyCheck, required = true): string | undefined {
    const text = this.secret(name, { required });
    if (text === undefined) return undefined;
    const { key, problems } = check(text);
    for (const problem of problems) this.refuseSecret(name, problem);
    return key;
  }

  /** Adds the fault of a secret that is stored as it should be and yet no good. */
  refuseSecret(name: SecretName, { rule, preparation }: Problem, key: string = name): void {
    this.faults.push({
      subject: `${keyText([key])} (secret, not shown)`,
      rule,
      remedy: [...(preparation === undefined ? [] : [preparation]), secretCommand(name, key)],
    });
  }

  /** Adds a fault for each key that nothing has read, before all others: a typo explains what is missing. */
  refuseUnread(): void {
    const unread = [...this.#texts.keys()].filter(
      (key) =>
        !isSettingName(key) &&
        !this.#readSecrets.has(key) &&
        // Whose tokens these are is not known while the list is refused.
        !(isSecret("agents") && key.startsWith(agentTokenKey(""))),
    );
    this.faults.unshift(...unread.map((key) => this.#unread(key)));
  }

  #unread(key: string): Fault {
    const tokens = [...this.#readSecrets].filter((read) => read.startsWith(agentTokenKey("")));
    if (key === "agentToken")
      return {
        subject: `${keyText([key])} lacks the name of its agent`,
        rule: `Each entry of agents has a token of its own, here ${tokens.join(", ")}.`,
        remedy: [removeCommand([key]), ...tokens.slice(0, 1).map((token) => secretCommand("agentToken", token))],
      };
    if (key.startsWith(agentTokenKey("")))
      return {
        subject: `${keyText([key])} belongs to no agent`,
        rule: `There is no entry of that name in agents.${suggestion(key, tokens)}`,
        remedy: [removeCommand([key])],
      };
    if (isSecretName(key))
      return {
        subject: `${keyText([key])} is set and not needed`,
        rule: `It is read only when ${secrets[key].required}.`,
        remedy: [removeCommand([key])],
      };
    const secretKeys = [...Object.keys(secrets).filter((name) => name !== "agentToken"), ...tokens];
    const fault = unknownKey([key], [...Object.keys(settings), ...secretKeys]);
    if (isSecret(key) || nearest(key, secretKeys) === undefined) return fault;
    return { ...fault, rule: `${fault.rule} If it is a secret, it is in git and its history already: rotate it.` };
  }

  /** Decrypted, a value inside an object is plain text to everything that follows: it would end up readable in state. */
  #secretSetting(name: SettingName, schema: z.ZodType): Fault {
    const value = decode(this.#texts.get(name) ?? "");
    const nested = (schema.safeParse(value).error?.issues ?? [])
      .flatMap((issue) => (issue.code === "unrecognized_keys" ? issue.keys.map((key) => [...issue.path, key]) : []))
      .flatMap((path) => {
        const found = flatSecretKey([name, ...path], this.raw);
        return found ? [{ path: [name, ...path], ...found }] : [];
      });
    const inValues = plainSecrets(name === "charts" ? value : undefined).flatMap(({ path, name: secret }) =>
      secret === undefined ? [] : [{ path: [name, ...path], name: secret, key: secretKey(secret, this.raw) }],
    );
    const flat = [...nested, ...inValues];
    const subject = `${keyText([name])} is stored as a secret or holds one`;
    if (flat.length > 0)
      return {
        subject,
        rule: `A secret is never part of an object: it has a key of its own, ${flat.map(({ key }) => key).join(", ")}.`,
        remedy: flat.flatMap(({ path, name: secret, key }) => [removeCommand(path), secretCommand(secret, key)]),
      };
    return {
      subject,
      rule:
        "Nothing in it is a secret to the program, and all of it is shown in plain text: set it again without --secret. " +
        `The secrets are ${Object.keys(secrets).join(", ")}.`,
      remedy: [removeCommand([name])],
    };
  }
}

function isSecret(key: string): boolean {
  return pulumi.runtime.isConfigSecret(`${namespace}:${key}`);
}

function isSettingName(key: string): key is SettingName {
  return Object.hasOwn(settings, key);
}

function isSecretName(key: string): key is SecretName {
  return Object.hasOwn(secrets, key);
}

/** The engine hands over structures and booleans as JSON, and text as it is. */
function decode(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" || typeof value === "boolean" ? value : text;
  } catch {
    return text;
  }
}

function withoutUnknownKeys(raw: Readonly<Record<string, unknown>>, issues: readonly z.core.$ZodIssue[]) {
  const rest = structuredClone(raw);
  for (const issue of issues) {
    const holder = issue.path.reduce<unknown>(member, rest);
    if (issue.code !== "unrecognized_keys" || typeof holder !== "object" || holder === null) continue;
    for (const key of issue.keys) Reflect.deleteProperty(holder, key);
  }
  return rest;
}
