import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { z } from "zod";
import { codes } from "../doctor/codes";
import { agentTokenKey, secrets, settingsSchema } from "../src/config/schema";

type Schema = z.core.JSONSchema.BaseSchema;

const namespace = "gitlab-workspaces";

const isSchema = (schema: unknown): schema is Schema => typeof schema === "object" && schema !== null;

/** JSON Schema of a whole stack file, `stacks/Pulumi.<stack>.yaml`, for editors. */
export function stackFileSchema(): unknown {
  const { properties, required = [], $schema } = settingsSchema();
  const secure = (description: string) => ({
    description: `Secret. ${description}`,
    type: "object",
    properties: { secure: { type: "string" } },
    required: ["secure"],
    additionalProperties: false,
  });
  const { agentToken, ...single } = secrets;
  return {
    $schema,
    title: "Stack of GitLab Workspaces",
    type: "object",
    properties: {
      config: {
        type: "object",
        properties: {
          "pulumi:disable-default-providers": {
            description: "Has kubernetes in it, so that nothing ever reaches the cluster of your own kubeconfig.",
            type: "array",
            items: { type: "string" },
            contains: { const: "kubernetes" },
          },
          ...prefixed(Object.entries(properties ?? {}).map(([key, schema]) => [key, asWritten(schema)])),
          ...prefixed(Object.entries(single).map(([key, { description }]) => [key, secure(description)])),
        },
        patternProperties: {
          [`^${namespace}:${agentTokenKey("[a-z0-9-]+")}$`]: secure(agentToken.description),
          [`^(?!${namespace}:|pulumi:disable-default-providers$)`]: {},
        },
        required: ["pulumi:disable-default-providers", ...required.map((key) => `${namespace}:${key}`)],
        additionalProperties: false,
      },
    },
    required: ["config"],
  };
}

function prefixed(entries: readonly (readonly [string, unknown])[]): Record<string, unknown> {
  return Object.fromEntries(entries.map(([key, schema]) => [`${namespace}:${key}`, schema]));
}

/** `pulumi config set` writes a boolean at the top level as text. */
function asWritten(schema: unknown): unknown {
  if (!isSchema(schema) || schema.type !== "boolean") return schema;
  return { ...schema, type: ["boolean", "string"], enum: [true, false, "true", "false"] };
}

/** The reference of every key, Markdown. */
export function reference(): string {
  const all = rows([], settingsSchema(), "always");
  const clusters = new Set(all.flatMap((row) => clusterOf(row) ?? []));
  const table = (some: readonly Row[]): string =>
    [
      "| key | type | required | what it is |",
      "| --- | --- | --- | --- |",
      ...some.map(({ key, type, required, description }) => `| \`${key}\` | ${type} | ${required} | ${description} |`),
    ].join("\n");
  const secretRows = Object.entries(secrets).map(([name, { description, required, file }]) => {
    const key = name === "agentToken" ? agentTokenKey("<agent>") : name;
    const typed = name === "agentToken" ? agentTokenKey("team-a") : name;
    return `| \`${key}\` | ${required} | ${description} | \`pulumi config set --secret ${namespace}:${typed} < ${file}\` |`;
  });
  return `# Configuration

Made by \`npm run docs\` from \`src/config/schema.ts\`. Every key below has the prefix \`${namespace}:\`. Beside them a stack
must have \`kubernetes\` in \`pulumi:disable-default-providers\`. A key that is not below is an error.

## Settings

${table(all.filter((row) => clusterOf(row) === undefined))}

${[...clusters]
  .map(
    (cloud) =>
      `## Cluster of \`${cloud}\`\n\n${table(all.filter((row) => clusterOf(row) === cloud).map(withinCluster))}`,
  )
  .join("\n\n")}

## Secrets

Each secret is a key of its own, never inside an object, and stored with \`--secret\`. One in plain text is refused.

| key | required | what it is | command |
| --- | --- | --- | --- |
${secretRows.join("\n")}
`;
}

/** The cloud whose clusters a row is about; undefined for what every stack has. */
function clusterOf({ required }: Row): string | undefined {
  return /\bcluster\.cloud is ([\w-]+)/.exec(required)?.[1];
}

/** The same row where the cloud is said above the table. */
function withinCluster(of: Row): Row {
  const required = of.required
    .replace(/^cluster\.cloud is [\w-]+/, "always")
    .replace(/; read when cluster\.cloud is [\w-]+/, "");
  return { ...of, required };
}

interface Row {
  readonly key: string;
  readonly type: string;
  /** When the key must be set, or what it is without. */
  readonly required: string;
  readonly description: string;
}

/** One row for each value in `schema`, and for each choice in a union the rows that belong to it. */
function rows(path: readonly string[], schema: Schema, required: string): Row[] {
  if (schema.oneOf) return unionRows(path, schema, required);
  const entries = [...path.slice(0, -1), `${path.at(-1) ?? ""}[]`];
  if (isSchema(schema.items)) {
    // What entries of one value are is said of the whole list.
    const simple = schema.items.properties === undefined && schema.items.oneOf === undefined;
    return simple
      ? [row(entries, { ...schema, ...schema.items, items: [] }, required)]
      : rows(entries, schema.items, required);
  }
  const properties = Object.entries(schema.properties ?? {});
  if (properties.length === 0) return [row(path, schema, required)];
  return properties.flatMap(([name, property]) => {
    if (!isSchema(property)) return [];
    const always = schema.required?.includes(name) ?? false;
    const optional =
      required === "always" || required.startsWith("no")
        ? required.replace("always", "no")
        : `no; read when ${required}`;
    return rows([...path, name], property, always ? required : optional);
  });
}

/** The key that tells the members apart comes once, with all its values; the others say with which value they go. */
function unionRows(path: readonly string[], union: Schema, required: string): Row[] {
  const members = (union.oneOf ?? []).filter(isSchema);
  const choices = members.flatMap(({ properties = {}, required: needed = [] }) =>
    Object.entries(properties).flatMap(([name, property]) => {
      if (!isSchema(property) || property.const === undefined) return [];
      const others = Object.fromEntries(Object.entries(properties).filter(([other]) => other !== name));
      return [{ name, value: String(property.const), description: property.description, others, needed }];
    }),
  );
  const key = [...path, choices[0]?.name].join(".");
  return [
    {
      key,
      type: choices.map(({ value }) => code(value)).join(", "),
      required: withDefault(required, Object.values(union.default ?? {})[0]),
      description: choices.map(({ value, description }) => `${code(value)}: ${cell(description)}`).join("<br>"),
    },
    ...choices.flatMap(({ value, others, needed }) =>
      Object.entries(others).flatMap(([name, property]) => {
        const when = `${key} is ${value}`;
        const condition = needed.includes(name) ? when : `no; read when ${when}`;
        return isSchema(property) ? rows([...path, name], property, condition) : [];
      }),
    ),
  ];
}

function row(path: readonly string[], schema: Schema, required: string): Row {
  const type = schema.enum ? schema.enum.map(code).join(", ") : schema.type === "object" ? "map" : String(schema.type);
  const description = cell(schema.description);
  return { key: path.join("."), type, required: withDefault(required, schema.default), description };
}

function withDefault(required: string, value: unknown): string {
  return value === undefined ? required : `${required}, default ${code(value)}`;
}

function code(value: unknown): string {
  return `\`${typeof value === "string" ? value : JSON.stringify(value)}\``;
}

/** Text for a table: outside code, Markdown takes angle brackets for HTML. */
function cell(text: string | undefined): string {
  const parts = (text ?? "").replaceAll("|", "\\|").split("`");
  return parts
    .map((part, index) => (index % 2 === 0 ? part.replaceAll("<", "&lt;").replaceAll(">", "&gt;") : part))
    .join("`");
}

/** Every code of the doctor, Markdown. The heading of a code is its number alone, which makes `#gw401` its anchor. */
export function doctorReference(): string {
  const entries = Object.entries(codes);
  const index = entries.map(
    ([number, { severity, title }]) => `| [${number}](#${number.toLowerCase()}) | ${severity} | ${cell(title)} |`,
  );
  const sections = entries.map(
    ([number, { severity, title, meaning, fix }]) =>
      `### ${number}\n\n**${cell(title)}** (${severity})\n\n${cell(meaning)}\n\n\`\`\`sh\n${fix.join("\n")}\n\`\`\`\n`,
  );
  return `# Doctor

Made by \`npm run docs\` from \`doctor/\`.

\`\`\`sh
npm run doctor -- <stack>
\`\`\`

It looks at a running stack, says what is wrong with it, what that means, and what to type. It changes nothing, and needs
nothing but the stack and its live cluster. Secrets stay inside it: none is printed, and none is written to a file.

| option                   |                                                                        |
| ------------------------ | ---------------------------------------------------------------------- |
| \`<stack>\`                | \`PULUMI_STACK\` or the selected one when left out                       |
| \`--json\`                 | one object on standard output: \`stack\`, \`checks\`, \`findings\`         |
| \`--dns <address[:port]>\` | DNS server to ask instead of this machine's; may be given again        |
| \`--connect <host:port>\`  | where to find the ingress instead: a port-forward, a bastion           |

Exit code: 0 nothing found, 1 warnings only, 2 errors (or it was called wrongly). Findings go to standard output, progress
to standard error. \`npm run -s doctor\` leaves out what npm itself prints.

The commands it gives for \`kubectl\` and \`helm\` are for the stack's cluster. Where your own kubeconfig is for another one:

\`\`\`sh
export KUBECONFIG=$(mktemp)
pulumi stack output kubeconfig --show-secrets --stack <stack> > "$KUBECONFIG"     # delete it afterwards
\`\`\`

For the local engine: \`eval "$(npm run -s env)"\`. Where \`pulumi\` is not on the PATH: \`npx pulumi\`.

## Codes

A number never gets another meaning: GW0 the way to the stack and its cluster, GW1 to GW3 what people reach, GW4 references
on the cluster, GW5 releases and pods, GW6 agents, GW7 the cluster itself, GW8 workspaces.

| code | | |
| --- | --- | --- |
${index.join("\n")}

${sections.join("\n")}`;
}

/** The generated files, by path from the top of the repository. */
export function generated(): Record<string, string> {
  return {
    "stacks/schema.json": `${JSON.stringify(stackFileSchema(), null, 2)}\n`,
    "docs/configuration.md": reference(),
    "docs/doctor.md": doctorReference(),
  };
}

if (require.main === module)
  for (const [path, text] of Object.entries(generated())) writeFileSync(join(__dirname, "..", path), text);
