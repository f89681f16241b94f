import { createHash } from "node:crypto";
import { CoreV1Api, type V1Pod, type V1Secret } from "@kubernetes/client-node";
import { looksSecret } from "../src/config/plain-secrets";
import { checkSshHostKey } from "../src/config/private-key";
import { clusterAnswer, decoded } from "./cluster-answer";
import { type Codes, findings } from "./finding";
import type { Check, Patient } from "./patient";

/** What the program puts back, after which the pods have to read it. */
export const putBack = [
  "pulumi up --refresh --stack <stack>",
  "kubectl rollout restart deployment/<release> --namespace <namespace>",
  "kubectl rollout status deployment/<release> --namespace <namespace>",
] as const;

/** What can be wrong with the Secret that the proxy reads its settings from. */
export const codes = {
  GW320: {
    severity: "error",
    title: "The proxy's settings are not there",
    meaning:
      "Proxy pods that run go on until they are moved or restarted; then they do not start again, and no workspace opens. " +
      "Somebody deleted the Secret.",
    fix: putBack,
  },
  GW321: {
    severity: "error",
    title: "A setting of the proxy is missing or empty",
    meaning:
      "The proxy refuses to start without it, and no workspace opens from the next restart on. The Secret was edited by " +
      "hand.",
    fix: putBack,
  },
  GW322: {
    severity: "error",
    title: "The proxy's address of GitLab is malformed",
    meaning:
      "Signing in leads to a page that GitLab does not have, or round in circles: the proxy puts its words behind the " +
      "address as it stands. It needs a scheme, and neither a slash nor a newline at its end.",
    fix: putBack,
  },
  GW323: {
    severity: "error",
    title: "The proxy's address of GitLab is not the stack's",
    meaning: "People are sent to another GitLab to sign in, which knows neither them nor their workspaces.",
    fix: putBack,
  },
  GW324: {
    severity: "error",
    title: "The proxy's redirect URI is not the stack's",
    meaning:
      "GitLab shows everybody who signs in that the redirect URI is not valid, or sends them to an address at which the " +
      "proxy does not expect them. It is compared as text: every slash counts.",
    fix: ["pulumi stack output oauthRedirectUri --stack <stack>", ...putBack],
  },
  GW325: {
    severity: "error",
    title: "The proxy's OAuth client id is not the stack's",
    meaning:
      "GitLab answers everybody who signs in that it does not know the application, or asks them to trust another one.",
    fix: putBack,
  },
  GW326: {
    severity: "error",
    title: "White space at the end of an OAuth setting",
    meaning:
      "It belongs to the value for GitLab: an unknown application, or a failure only after people have signed in, which " +
      "the proxy's log calls a workspace that was not found. An editor or echo has added a newline.",
    fix: putBack,
  },
  GW327: {
    severity: "error",
    title: "The SSH host key cannot be loaded",
    meaning:
      "Nobody reaches a workspace by SSH: the port stays closed, while everything else looks healthy. Some versions of the " +
      "proxy print the broken key in their log; then it is to be replaced.",
    fix: putBack,
  },
  GW328: {
    severity: "warning",
    title: "The signing key is short",
    meaning:
      "It signs the cookies that let people into workspaces; fewer than 16 characters can be found by trying. A new one " +
      "logs everybody out once.",
    fix: [
      "openssl rand -base64 48 | tr -d '\\n' | pulumi config set --stack <stack> --secret gitlab-workspaces:signingKey",
      ...putBack,
    ],
  },
  GW329: {
    severity: "error",
    title: "Proxy pods run with older settings than their Secret has",
    meaning:
      "The proxy reads its settings once, when it starts, so people see the older ones: a mistake that was mended in the " +
      "Secret is still there, and one that was made in it shows at the next restart. A restart cuts open editors for " +
      "a moment.",
    fix: putBack.slice(1),
  },
} satisfies Codes;

const finding = findings(codes);

/** The keys of the Secret, in the order in which the program digests them for the pods' annotation. */
export const settingKeys = [
  "auth.client_id",
  "auth.client_secret",
  "auth.host",
  "auth.redirect_uri",
  "auth.signing_key",
  "ssh.host_key",
] as const;

/** Fewer characters are no key: the same rule as for the signing key in stack config. */
const shortestSigningKey = 16;

/** Looks at the Secret that the proxy reads, value by value, and at whether its pods have read these values. */
export const proxyConfigCheck: Check = {
  name: "the settings that the proxy reads are the stack's, and its pods have read them",
  async run(patient) {
    const { stack, cluster, installation } = patient;
    const { namespace, release, configSecret: name } = installation.proxy;
    const values = { stack, namespace, release };
    const api = cluster.makeApiClient(CoreV1Api);
    const secret = await clusterAnswer(api.readNamespacedSecret({ name, namespace }));
    if (secret === "unknown") return [];
    const where = `Secret ${namespace}/${name}`;
    if (secret === "missing") return [finding("GW320", `${where} is not there.`, values)];

    const settings = settingsOf(secret);
    const absent = settingKeys.filter((key) => (settings[key] ?? "") === "");
    const labelSelector = `app.kubernetes.io/name=gitlab-workspaces-proxy,app.kubernetes.io/instance=${release}`;
    const pods = await clusterAnswer(api.listNamespacedPod({ namespace, labelSelector }));
    const stale = typeof pods === "string" ? [] : pods.items.filter((pod) => hasOlder(pod, secret, settings));
    return [
      ...(absent.length === 0 ? [] : [finding("GW321", `${where} has nothing under ${absent.join(", ")}.`, values)]),
      ...wrongValues(settings, patient).map(([code, seen]) => finding(code, `${where}: ${seen}`, values)),
      ...(stale.length === 0
        ? []
        : [
            finding(
              "GW329",
              `${where} was last written at ${lastWritten(secret)?.toISOString() ?? "an unknown time"}, after these ` +
                `started: ${stale.map(({ metadata }) => metadata?.name ?? "").join(", ")}.`,
              values,
            ),
          ]),
    ];
  },
};

type Settings = Readonly<Partial<Record<(typeof settingKeys)[number], string>>>;

function settingsOf({ data }: V1Secret): Settings {
  return Object.fromEntries(settingKeys.map((key) => [key, decoded(data, key)]));
}

/** What is wrong with the values that are there: code and what was seen. */
function wrongValues(settings: Settings, { installation, oauthRedirectUri }: Patient): [keyof typeof codes, string][] {
  const wrong: [keyof typeof codes, string][] = [];
  const { gitlabUrl, oauthClientId } = installation;
  const clientId = settings["auth.client_id"] ?? "";
  const host = settings["auth.host"] ?? "";
  const redirectUri = settings["auth.redirect_uri"] ?? "";
  const signingKey = settings["auth.signing_key"] ?? "";

  if (host !== "" && isMalformed(host))
    wrong.push(["GW322", `auth.host is ${shown(host)}; it must be ${gitlabUrl} to the letter.`]);
  else if (host !== "" && host !== gitlabUrl)
    wrong.push(["GW323", `auth.host is ${shown(host)}; the stack's GitLab is ${gitlabUrl}.`]);
  if (redirectUri !== "" && redirectUri !== oauthRedirectUri)
    wrong.push(["GW324", `auth.redirect_uri is ${shown(redirectUri)}; it must be ${oauthRedirectUri} to the letter.`]);
  if (clientId.trim() !== "" && clientId.trim() !== oauthClientId)
    wrong.push(["GW325", `auth.client_id is ${abridged(clientId)}; the stack's is ${oauthClientId}.`]);
  for (const key of ["auth.client_id", "auth.client_secret"] as const) {
    const value = settings[key] ?? "";
    if (value !== value.trim()) wrong.push(["GW326", `${key} begins or ends with white space.`]);
  }
  const hostKey = settings["ssh.host_key"] ?? "";
  if (hostKey !== "") {
    // Indented or without line ends of its own, a key is none for the proxy: https://pkg.go.dev/encoding/pem#Decode
    const rule = checkSshHostKey(hostKey).problems[0]?.rule ?? (/^-----BEGIN /m.test(hostKey) ? undefined : indented);
    if (rule !== undefined) wrong.push(["GW327", `ssh.host_key: ${rule}`]);
  }
  if (signingKey !== "" && signingKey.length < shortestSigningKey)
    wrong.push([
      "GW328",
      `auth.signing_key has ${signingKey.length} characters; it must have at least ${shortestSigningKey}.`,
    ]);
  return wrong;
}

const indented = "Its lines are indented.";

/** Whether putting `/oauth/authorize` behind it makes no URL of a page that GitLab has. */
export function isMalformed(host: string): boolean {
  return !/^https?:\/\/[^\s/]/.test(host) || /[\s/]$/.test(host) || /\s/.test(host) || !URL.canParse(host);
}

/** A URL or a DNS name as it stands, line ends visible. What is neither may be a secret in the wrong place. */
export function shown(address: string): string {
  const isAddress = /^\s*https?:\/\//.test(address) || /^\s*[a-z\d-]{1,63}(\.[a-z\d-]{1,63})+\s*$/i.test(address);
  return isAddress && !looksSecret(address) ? JSON.stringify(address) : "no address";
}

/** The beginning of a client id: people put the client secret in its place, whose first letters say so and no more. */
export function abridged(clientId: string): string {
  return clientId.length > 6 ? `${JSON.stringify(clientId.slice(0, 6))}...` : "shorter than any client id";
}

/**
 * Whether a pod runs with other settings than these. One that started after they were last written has read them. An older
 * one has them when it was made for them, which its annotation says, unless it was restarted by hand in between.
 */
function hasOlder({ metadata, status }: V1Pod, secret: V1Secret, settings: Settings): boolean {
  if (metadata?.deletionTimestamp !== undefined) return false;
  const written = lastWritten(secret);
  const started = (status?.containerStatuses ?? []).map(({ state }) => state?.running?.startedAt ?? status?.startTime);
  const earliest = [...started, ...(started.length === 0 ? [status?.startTime] : [])]
    .filter((time) => time !== undefined)
    .map((time) => new Date(time).getTime())
    .sort((a, b) => a - b)[0];
  if (earliest === undefined || (written !== undefined && earliest >= written.getTime())) return false;
  const annotations = metadata?.annotations ?? {};
  const digest = createHash("sha256").update(JSON.stringify(settings)).digest("hex");
  return annotations["checksum/config"] !== digest || annotations["kubectl.kubernetes.io/restartedAt"] !== undefined;
}

/** When anybody last wrote the Secret: https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management */
function lastWritten({ metadata }: V1Secret): Date | undefined {
  const times = (metadata?.managedFields ?? []).flatMap(({ time }) => time ?? []).map((time) => time.getTime());
  return times.length === 0 ? undefined : new Date(Math.max(...times));
}
