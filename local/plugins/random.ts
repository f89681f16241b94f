import { randomBytes, randomInt } from "node:crypto";
import { type Change, type Checked, type Properties, type Provider, secret, without } from "./provider";
import { propertyChanges } from "./kubernetes/diff";

const LOWER = "abcdefghijklmnopqrstuvwxyz";
const UPPER = LOWER.toUpperCase();
const NUMERIC = "0123456789";
const SPECIAL = "!@#$%&*()-_=+[]{}<>:?";

/** What one type does: the defaults of its inputs, and what it makes of them. */
interface RandomType {
  readonly defaults: (inputs: Properties) => Properties;
  readonly make: (inputs: Properties) => { id: string; outputs: Properties };
  /** The resource again from the id that an import names. */
  readonly imported: (id: string) => { id: string; inputs: Properties; outputs: Properties };
}

const TEXT_DEFAULTS = {
  ...{ lower: true, upper: true, numeric: true, special: true },
  ...{ minLower: 0, minUpper: 0, minNumeric: 0, minSpecial: 0 },
};

/** The types that are served, as the terraform provider behind the official plugin defines them. */
const TYPES: Readonly<Record<string, RandomType>> = {
  "random:index/randomPassword:RandomPassword": {
    defaults: textDefaults,
    make: (inputs) => ({ id: "none", outputs: secretText(randomText(inputs)) }),
    imported: (id) => ({ id: "none", inputs: textInputs(id), outputs: secretText(id) }),
  },
  "random:index/randomString:RandomString": {
    defaults: textDefaults,
    make: (inputs) => {
      const result = randomText(inputs);
      return { id: result, outputs: { result } };
    },
    imported: (id) => ({ id, inputs: textInputs(id), outputs: { result: id } }),
  },
  "random:index/randomId:RandomId": {
    defaults: () => ({}),
    make: (inputs) => idOutputs(randomBytes(number(inputs["byteLength"])), text(inputs["prefix"])),
    imported: (id) => {
      const [encoded = "", prefix] = id.split(",").reverse();
      const bytes = Buffer.from(encoded, "base64url");
      const inputs = { byteLength: bytes.length, ...(prefix === undefined ? {} : { prefix }) };
      return { ...idOutputs(bytes, prefix ?? ""), inputs };
    },
  },
};

/**
 * The stand-in for `pulumi-resource-random`: RandomPassword, RandomString and RandomId.
 *
 * Every change of an input makes a new value, as in the official plugin. A password's bcrypt hash is not made.
 */
export function standIn(): Provider {
  const served = (type: string): RandomType => {
    const found = TYPES[type];
    if (!found) throw new Error(`the stand-in for the random plugin does not serve ${type}`);
    return found;
  };
  return {
    configure: () => Promise.resolve(),
    check: ({ type, news }) => Promise.resolve(checked(served(type), news)),
    diff: ({ oldInputs, news }) => {
      const changes = new Map<string, Change>();
      for (const [path, kind] of propertyChanges(without(oldInputs, "number"), without(news, "number"))) {
        changes.set(path, { kind, replace: true });
      }
      return { changes };
    },
    create: ({ type, inputs, preview }) => {
      const { make } = served(type);
      if (preview) return Promise.resolve({ id: "", properties: inputs });
      const { id, outputs } = make(inputs);
      return Promise.resolve({ id, properties: { ...inputs, ...outputs } });
    },
    read: ({ type, id, inputs, properties }) => {
      // Nothing outside the state knows the value, so a refresh can only repeat it.
      if (inputs && properties) return Promise.resolve({ id, inputs, properties });
      const found = served(type).imported(id);
      return Promise.resolve({ id: found.id, inputs: found.inputs, properties: { ...found.inputs, ...found.outputs } });
    },
    update: ({ olds, news }) => Promise.resolve({ ...olds, ...news }),
    delete: () => Promise.resolve(),
  };
}

function checked({ defaults }: RandomType, news: Properties): Checked {
  const inputs = { ...defaults(news), ...news };
  const failures = [];
  if (inputs["length"] !== undefined && number(inputs["length"]) < 1) {
    failures.push({ property: "length", reason: "expected length to be at least 1" });
  }
  const least = ["minLower", "minUpper", "minNumeric", "minSpecial"].reduce((sum, key) => sum + number(inputs[key]), 0);
  if (typeof inputs["length"] === "number" && least > inputs["length"]) {
    failures.push({ property: "length", reason: `the minimums add up to ${least}, more than the length` });
  }
  return { inputs, failures };
}

function textDefaults(inputs: Properties): Properties {
  // `number` is the old name of `numeric`; outputs carry both.
  const numeric = inputs["numeric"] ?? inputs["number"] ?? true;
  return { ...TEXT_DEFAULTS, numeric, number: numeric };
}

function textInputs(value: string): Properties {
  return { ...TEXT_DEFAULTS, number: true, length: value.length };
}

function secretText(result: string): Properties {
  return { result: secret(result) };
}

/** As many of each class as asked for at least, the rest from all classes, shuffled. */
function randomText(inputs: Properties): string {
  const classes = [
    { on: inputs["lower"] !== false, least: number(inputs["minLower"]), characters: LOWER },
    { on: inputs["upper"] !== false, least: number(inputs["minUpper"]), characters: UPPER },
    { on: inputs["numeric"] !== false, least: number(inputs["minNumeric"]), characters: NUMERIC },
    {
      on: inputs["special"] !== false,
      least: number(inputs["minSpecial"]),
      characters: text(inputs["overrideSpecial"]) || SPECIAL,
    },
  ];
  const all = classes.flatMap(({ on, characters }) => (on ? [characters] : [])).join("");
  if (all === "") throw new Error("no class of characters is left to choose from");
  const pick = (from: string): string => from.charAt(randomInt(from.length));
  const result = classes.flatMap(({ least, characters }) => Array.from({ length: least }, () => pick(characters)));
  while (result.length < number(inputs["length"])) result.push(pick(all));
  for (let index = result.length - 1; index > 0; index--) {
    const other = randomInt(index + 1);
    [result[index], result[other]] = [result[other] ?? "", result[index] ?? ""];
  }
  return result.join("");
}

function idOutputs(bytes: Buffer, prefix: string): { id: string; outputs: Properties } {
  const hex = bytes.toString("hex");
  return {
    id: bytes.toString("base64url"),
    outputs: {
      b64Std: prefix + bytes.toString("base64"),
      b64Url: prefix + bytes.toString("base64url"),
      dec: prefix + BigInt(`0x${hex || "0"}`).toString(),
      hex: prefix + hex,
    },
  };
}

function number(value: unknown): number {
  return typeof value === "number" ? value : 0;
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
