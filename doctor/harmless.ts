import { looksSecret } from "../src/config/plain-secrets";

/**
 * Words of a log, an event or a status without what may be a token: long runs of letters and digits, and anything that
 * begins like a secret.
 * @param longest number of characters that are repeated.
 */
export function harmless(text: string, longest = 240): string {
  if (looksSecret(text)) return "(not shown: it may hold a token)";
  const cut = text.replaceAll(/[\w+/=~-]{20,}/g, (run) => (/\d/.test(run) ? "..." : run));
  return cut.length > longest ? `${cut.slice(0, longest)}...` : cut;
}
