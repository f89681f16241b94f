import { isObject, isSecret, type Properties, revealed, secret, UNKNOWN, type Value } from "../provider";

/** Shorter ones would be found by chance in text that has nothing to do with them. */
const SHORTEST = 4;

/**
 * Marks as secret everything in `outputs` that a secret of `sources` may have got into: what stands where a secret
 * stood, and every text that holds the text of one.
 *
 * A plugin that takes marked inputs must mark its outputs itself: what it returns unmarked is stored in clear. All of a
 * request's properties are sources, the old ones too, because an update may keep what was made of a former value.
 *
 * @param outputs without marks.
 */
export function marked(outputs: Properties, ...sources: readonly Properties[]): Properties {
  const texts = sources.flatMap((source) => secretTexts(source));
  const mark = (value: Value, beside: readonly (Value | undefined)[]): Value => {
    if (beside.some(isSecret)) return secret(value);
    if (typeof value === "string") return texts.some((text) => value.includes(text)) ? secret(value) : value;
    if (Array.isArray(value)) {
      return value.map((item, index) =>
        mark(
          item,
          beside.map((other) => (Array.isArray(other) ? other[index] : undefined)),
        ),
      );
    }
    return isObject(value) ? markMembers(value, beside) : value;
  };
  const markMembers = (members: Properties, beside: readonly (Value | undefined)[]): Properties =>
    Object.fromEntries(
      Object.entries(members).flatMap(([key, member]) =>
        member === undefined
          ? []
          : [
              [
                key,
                mark(
                  member,
                  beside.map((other) => (isObject(other) ? other[key] : undefined)),
                ),
              ],
            ],
      ),
    );
  return markMembers(outputs, sources);
}

function secretTexts(value: Value | undefined): string[] {
  if (Array.isArray(value)) return value.flatMap(secretTexts);
  if (!isObject(value)) return [];
  return isSecret(value) ? texts(revealed(value)) : Object.values(value).flatMap(secretTexts);
}

function texts(value: Value | undefined): string[] {
  if (typeof value === "string") return value.length >= SHORTEST && value !== UNKNOWN ? [value] : [];
  if (Array.isArray(value)) return value.flatMap(texts);
  return isObject(value) ? Object.values(value).flatMap(texts) : [];
}
