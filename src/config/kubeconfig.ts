import { parse, stringify } from "yaml";
import { z } from "zod";
import { suggestion } from "./faults";
import type { Problem } from "./pem";

/** What a look at a kubeconfig has shown. */
export interface KubeconfigCheck {
  /** The kubeconfig with the chosen context alone, its cluster and its user. Absent when there is a problem. */
  readonly kubeconfig?: string;
  /** What is wrong with the kubeconfig itself. */
  readonly problems: readonly Problem[];
  /** What is wrong with the context that was asked for, and the names that would do. */
  readonly wrongContext?: { readonly rule: string; readonly existing: readonly string[] };
  readonly warnings: readonly string[];
}

/** Longest kubeconfig that is looked at, in characters: a context takes about 5,000, and the parser is slow. */
const longestKubeconfig = 250_000;

/** Makes a kubeconfig of one context that needs no other file. */
const selfContained = "kubectl config view --raw --flatten --minify > kubeconfig.yaml";

const fields = z.record(z.string(), z.unknown());

/** https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/ as far as it is looked at. */
const kubeconfigSchema = z.object({
  apiVersion: z.literal("v1").optional(),
  kind: z.literal("Config").optional(),
  "current-context": z.string().nullish(),
  contexts: z.array(z.object({ name: z.string(), context: fields })),
  clusters: z.array(z.object({ name: z.string(), cluster: fields })),
  users: z.array(z.object({ name: z.string(), user: fields.nullish() })),
});

/**
 * Checks a kubeconfig and reduces it to `context`, or to its current one. `isOnPath` says whether a command could be run.
 * Nothing of the text but the names of contexts, clusters, users and commands gets into a message.
 */
export function checkKubeconfig(
  text: string,
  context: string | undefined,
  isOnPath: (command: string) => boolean,
): KubeconfigCheck {
  const refused = (rule: string, preparation = selfContained): KubeconfigCheck => ({
    problems: [{ rule, preparation }],
    warnings: [],
  });
  if (text.length > longestKubeconfig)
    return refused(`It has ${text.length} characters; a kubeconfig of one cluster has a few thousand.`);
  const document = parseYaml(text);
  if (document === undefined) return refused("It is not YAML.");
  const parsed = kubeconfigSchema.safeParse(document);
  if (!parsed.success)
    return refused("It is not a kubeconfig: kind Config with lists of clusters, contexts and users, each with a name.");

  const { contexts, clusters, users } = parsed.data;
  const existing = contexts.map(({ name }) => name);
  const chosen = context ?? (parsed.data["current-context"] || undefined);
  if (chosen === undefined)
    return {
      problems: [],
      warnings: [],
      wrongContext: { rule: `The kubeconfig has no current context. ${those(existing)}`, existing },
    };
  const entry = contexts.find(({ name }) => name === chosen);
  if (entry === undefined)
    return {
      problems: [],
      warnings: [],
      wrongContext: {
        rule: `The kubeconfig has no context ${JSON.stringify(chosen)}. ${those(existing)}${suggestion(chosen, existing)}`,
        existing,
      },
    };

  const cluster = clusters.find(({ name }) => name === entry.context["cluster"]);
  if (cluster === undefined) return refused(`Its context ${JSON.stringify(chosen)} names a cluster that is not in it.`);
  const user = users.find(({ name }) => name === entry.context["user"]);
  if (user === undefined) return refused(`Its context ${JSON.stringify(chosen)} names a user that is not in it.`);

  const problems = [
    ...checkServer(cluster.cluster),
    ...checkFiles(cluster.cluster, user.user ?? {}),
    ...checkExec(user.user ?? {}, isOnPath),
  ];
  if (problems.length > 0) return { problems, warnings: [] };
  const reduced = {
    apiVersion: "v1",
    kind: "Config",
    "current-context": chosen,
    contexts: [entry],
    clusters: [cluster],
    users: [user],
  };
  return {
    // YAML 1.1 is what kubectl reads: there a bare yes or on is no text, so it must be quoted.
    kubeconfig: stringify(reduced, { version: "1.1", lineWidth: 0 }),
    problems: [],
    warnings:
      cluster.cluster["insecure-skip-tls-verify"] === true
        ? [
            "kubeconfig has insecure-skip-tls-verify: whoever sits between here and the cluster can read and change everything.",
          ]
        : [],
  };
}

/** The parsed text, or nothing: the errors of the parser quote the document, so they go no further. */
function parseYaml(text: string): unknown {
  try {
    return parse(text, { logLevel: "error", prettyErrors: false }) as unknown;
  } catch {
    return undefined;
  }
}

function those(contexts: readonly string[]): string {
  if (contexts.length === 0) return "It has none at all.";
  const more = contexts.length > 10 ? ` and ${contexts.length - 10} more` : "";
  return `It has ${contexts.slice(0, 10).join(", ")}${more}.`;
}

function checkServer(cluster: Record<string, unknown>): Problem[] {
  const { server } = cluster;
  if (typeof server === "string" && /^https?:\/\//.test(server) && URL.canParse(server)) return [];
  return [{ rule: "Its cluster has no server, an address beginning with https://.", preparation: selfContained }];
}

/** The program runs in places where these files are not: CI, a colleague's machine. */
function checkFiles(cluster: Record<string, unknown>, user: Record<string, unknown>): Problem[] {
  const files = [
    ...["certificate-authority"].filter((name) => cluster[name]),
    ...["client-certificate", "client-key", "tokenFile"].filter((name) => user[name]),
  ];
  if (files.length === 0) return [];
  return [
    {
      rule: `It must be whole, and its ${files.join(", ")} ${files.length === 1 ? "is a path to a file" : "are paths to files"} elsewhere: make it self-contained.`,
      preparation: selfContained,
    },
  ];
}

function checkExec(user: Record<string, unknown>, isOnPath: (command: string) => boolean): Problem[] {
  if (user["exec"] === undefined || user["exec"] === null) return [];
  const exec = z.object({ command: z.string().min(1) }).safeParse(user["exec"]);
  if (!exec.success) return [{ rule: "Its user has an exec plugin without a command." }];
  const { command } = exec.data;
  if (isOnPath(command)) return [];
  return [
    {
      rule: `Its user gets credentials by the command ${JSON.stringify(command)}, which is not on the PATH here: install it.`,
    },
  ];
}
