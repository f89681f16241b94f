/**
 * What a provider says is wrong, on one line and without its prefix. There are no secrets in it: credentials come from the
 * environment, from files, or from settings that no provider repeats.
 * Providers that are bridged from Terraform list their errors: "1 error occurred:", then each behind an asterisk.
 */
export function reason(error: unknown): string {
  const lines = (error as Error).message.split("\n").map((line) => line.trim());
  const listed = lines.find((line) => line.startsWith("* ")) ?? lines.find((line) => line !== "") ?? "";
  return listed.replace(/^\* |^invocation of \S+ returned an error: (invoking \S+: )?/g, "").replace(/^\[ERR\] /, "");
}
