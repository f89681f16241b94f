import { liveCluster, type LiveCluster, Unanswered } from "./cluster";
import { type Codes, type Finding, findings } from "./finding";
import { harmless } from "./harmless";
import { type OwnRelease, releasesOf } from "./installed";
import type { Check } from "./patient";
import type { Pod } from "./pods";
import { podsOf } from "./workloads";

const restartAgent =
  "kubectl rollout restart deployment --namespace <namespace> --selector app.kubernetes.io/instance=<release>";

/** What the agents and the proxy write into their logs when they cannot work. */
export const codes = {
  GW601: {
    severity: "error",
    title: "GitLab refuses the agent's token",
    meaning:
      "The token was revoked in GitLab, or it is another agent's. No workspace starts, stops or is deleted until the agent " +
      "has a good one; those that run go on. Make a new token in GitLab (Operate > Kubernetes clusters > the agent > " +
      "Access tokens). The first command asks for it. Step by step: docs/recovery/token-revoked.md.",
    fix: [
      "pulumi config set --secret gitlab-workspaces:agentToken-<agent> --stack <stack>",
      "pulumi up --stack <stack>",
    ],
  },
  GW602: {
    severity: "error",
    title: "The agent does not reach GitLab's agent server",
    meaning:
      "No workspace starts, stops or is deleted; those that run go on. The address is wrong, the agent server (KAS) is " +
      "down or switched off, or a firewall, a proxy or a NetworkPolicy is in between: the pods need a way out to it by " +
      "HTTPS with WebSockets. The second command tries from where the agent is; 401 or 426 is a good answer.",
    fix: [
      "pulumi config get --path gitlab-workspaces:gitlab.kasAddress --stack <stack>",
      "kubectl run kas-probe --rm --stdin --restart Never --image curlimages/curl --namespace <namespace> -- -sS -o /dev/null -w '%{http_code}' <url>",
      restartAgent,
    ],
  },
  GW603: {
    severity: "error",
    title: "The agent does not trust the agent server's certificate",
    meaning:
      "No workspace starts, stops or is deleted. A GitLab of your own has a certificate of a private authority: give the " +
      "agent that authority's certificate.",
    fix: [
      "pulumi config set --path gitlab-workspaces:charts.gitlab-agent.values.config.kasCaCert --stack <stack> < ca.pem",
      "pulumi up --stack <stack>",
    ],
  },
  GW604: {
    severity: "error",
    title: "The agent server's address has no scheme",
    meaning:
      "It must begin with wss:// (or ws://, grpc://, grpcs://), or the agent ends at once. The program's own setting is " +
      "checked, so a chart's value of your own replaces it: without that value the right address is used.",
    fix: [
      "pulumi config rm --path gitlab-workspaces:charts.gitlab-agent.values.config.kasAddress --stack <stack>",
      "pulumi up --stack <stack>",
    ],
  },
  GW605: {
    severity: "error",
    title: "The agent's configuration in GitLab is not accepted",
    meaning:
      "One unknown or wrong key makes the whole file invalid, and workspaces keep the settings of before, or get none. " +
      "The file is .gitlab/agents/<name>/config.yaml in the agent's project; the first command prints one that is right.",
    fix: ["pulumi stack output --json agentConfig --stack <stack>", restartAgent],
  },
  GW606: {
    severity: "error",
    title: "No pod of the agent leads",
    meaning:
      "The pods agree by a lease on which of them works, and the one that did lost it (`Failed to renew lease`) without " +
      "another taking over: new workspaces spin forever. Restart the agent, then the proxy. If it comes back: " +
      "https://docs.gitlab.com/user/clusters/agent/troubleshooting/, " +
      "https://gitlab.com/gitlab-org/gitlab/-/issues/414399.",
    fix: [
      restartAgent,
      "kubectl rollout restart deployment --namespace <proxy namespace> --selector app.kubernetes.io/instance=<proxy release>",
    ],
  },
  GW607: {
    severity: "warning",
    title: "Logs cannot be read",
    meaning:
      "Whether the agent reaches GitLab and has a good token, and what the proxy complains of, could not be looked at. The " +
      "API server fetches logs from the nodes (port 10250), and something is in between or a node is gone.",
    fix: ["kubectl logs <pod> --namespace <namespace> --tail 5", "kubectl get nodes"],
  },
  GW608: {
    severity: "error",
    title: "The proxy was refused the list of Services",
    meaning:
      "It finds workspaces by their Services, and listens only once it knows them: nobody reaches the sign-in. When the " +
      "right is there again, a restart makes it look at once.",
    fix: [
      "helm get manifest <release> --namespace <namespace> | kubectl apply --namespace <namespace> -f -",
      "kubectl rollout restart deployment --namespace <namespace> --selector app.kubernetes.io/instance=<release>",
    ],
  },
  GW609: {
    severity: "error",
    title: "The agent is not allowed to do something on the cluster",
    meaning:
      "It makes a namespace, a Deployment, a Service, Secrets and more for every workspace, and its ServiceAccount may not. " +
      "With a `serviceAccount` of your own in stack config its rights are yours to give. Without one the chart binds it; " +
      "the command applies that again.",
    fix: [
      "helm get manifest <release> --namespace <namespace> | kubectl apply --namespace <namespace> -f -",
      restartAgent,
    ],
  },
} satisfies Codes;

const finding = findings(codes);

/** How many of the last lines of each container are read. */
const lines = 500;

/** A line of a log. */
export interface Line {
  readonly time: number;
  readonly text: string;
}

/** Something that a log can say. */
interface Sign {
  readonly code: keyof typeof codes;
  readonly pattern: RegExp;
  /** How long ago at most, in minutes: whoever cannot connect tries again and again, so what is older is over. */
  readonly minutes: number;
}

/** Order matters: the first that fits a line is what the line means. */
const agentSigns: readonly Sign[] = [
  { code: "GW604", pattern: /unsupported scheme in GitLab Kubernetes Agent Server address/i, minutes: 60 },
  { code: "GW609", pattern: /is forbidden: User \\*"system:serviceaccount:/, minutes: 60 },
  {
    code: "GW601",
    pattern:
      /code = Unauthenticated|\bunauthenticated\b|(WebSocket|handshake|status code).*\b401\b|\b401 Unauthorized\b/i,
    minutes: 15,
  },
  { code: "GW603", pattern: /\bx509: /, minutes: 15 },
  {
    code: "GW602",
    pattern:
      /code = Unavailable|(WebSocket|handshake|agent server|\bkas\b).*(no such host|connection refused|i\/o timeout|network is unreachable|no route to host|connection reset|deadline exceeded|but got \d{3})/i,
    minutes: 15,
  },
  {
    code: "GW605",
    pattern:
      /(unmarshal|unknown field|failed to parse|invalid|validation error).*\bconfig|\bconfig.*(unmarshal|unknown field|failed to parse|invalid|validation error)/i,
    minutes: 60,
  },
];

const proxySigns: readonly Sign[] = [{ code: "GW608", pattern: /\bservices is forbidden\b/, minutes: 15 }];

/** Whether a line is about the lease, and how it went: https://github.com/kubernetes/client-go/blob/master/tools/leaderelection/leaderelection.go */
const lost = /failed to renew lease|leader election lost|stopped leading/i;
const won = /successfully acquired lease/i;

/** How long ago a lease may have been lost, in minutes. */
const leaseMinutes = 15;

/** The newest line for each thing that the lines say is wrong now. */
export function signsIn(all: readonly Line[], signs: readonly Sign[], now: Date): Map<keyof typeof codes, Line> {
  const found = new Map<keyof typeof codes, Line>();
  for (const line of all) {
    const sign = signs.find(({ pattern }) => pattern.test(line.text));
    if (sign === undefined || now.getTime() - line.time > sign.minutes * 60_000) continue;
    if ((found.get(sign.code)?.time ?? -Infinity) <= line.time) found.set(sign.code, line);
  }
  return found;
}

/** What an agent's logs, of all its pods together, say is wrong now. */
export function agentSignsIn(all: readonly Line[], now: Date): Map<keyof typeof codes, Line> {
  const found = signsIn(all, agentSigns, now);
  const aboutLease = all.filter(({ text }) => lost.test(text) || won.test(text)).sort((a, b) => a.time - b.time);
  const last = aboutLease.at(-1);
  if (last !== undefined && lost.test(last.text) && now.getTime() - last.time <= leaseMinutes * 60_000) {
    found.set("GW606", last);
  }
  return found;
}

/** What a proxy's logs say is wrong now. A host without a workspace (`could not find upstream workspace`) is normal. */
export function proxySignsIn(all: readonly Line[], now: Date): Map<keyof typeof codes, Line> {
  return signsIn(all, proxySigns, now);
}

/** Lines of a log that was read with times. */
export function parseLog(text: string): Line[] {
  return text.split("\n").flatMap((line) => {
    const [time = "", ...rest] = line.split(" ");
    const parsed = Date.parse(time);
    return Number.isNaN(parsed) ? [] : [{ time: parsed, text: rest.join(" ") }];
  });
}

interface Logs {
  readonly all: Line[];
  /** Pods whose logs could not be read, and why. */
  readonly unread: { readonly pod: string; readonly why: string }[];
}

/** @throws Unanswered when no log may be read at all. */
async function logsOf(live: LiveCluster, release: OwnRelease): Promise<Logs> {
  const pods = await podsOf(live, release);
  const unread: Logs["unread"] = [];
  const texts = await Promise.all(
    pods.flatMap((pod) =>
      startedContainers(pod).map(async (container) => {
        const { name } = pod.metadata;
        try {
          return await live.log(release.namespace, name, container, lines);
        } catch (error) {
          if (!(error instanceof Unanswered) || [401, 403, undefined].includes(error.status)) throw error;
          // It ended while we looked, or has not begun: what is wrong with a pod is said elsewhere.
          if (error.status === 404 || /waiting to start|terminated/.test(error.said)) return "";
          unread.push({ pod: name, why: `${error.why}. ${harmless(error.said)}` });
          return "";
        }
      }),
    ),
  );
  return { all: texts.flatMap(parseLog), unread };
}

function startedContainers({ status }: Pod): string[] {
  return (status?.containerStatuses ?? [])
    .filter(({ state, lastState }) => state?.running ?? state?.terminated ?? lastState?.terminated)
    .map(({ name }) => name);
}

function unreadable({ unread: [first] }: Logs, namespace: string): Finding[] {
  if (first === undefined) return [];
  const { pod, why } = first;
  return [finding("GW607", `Pod ${pod} in namespace ${namespace}: ${why}`, { pod, namespace })];
}

/** What the agents' logs say of the way to GitLab. */
export const agentLogs: Check = {
  name: "logs of the agents",
  async run({ stack, installation, cluster }, { now }) {
    const { proxy, kasAddress } = installation;
    const agents = releasesOf(installation).filter(({ part }) => part === "gitlab-agent");
    const found = await Promise.all(
      agents.map(async (release) => {
        const { namespace } = release;
        const agent =
          installation.agents.find((one) => one.release === release.release && one.namespace === namespace)?.name ?? "";
        const logs = await logsOf(liveCluster(cluster), release);
        const values = {
          stack,
          agent,
          namespace,
          release: release.release,
          url: kasAddress.replace(/^ws/, "http").replace(/^grpc/, "http"),
          "proxy namespace": proxy.namespace,
          "proxy release": proxy.release,
        };
        const said = [...agentSignsIn(logs.all, now)].map(([code, { text }]) =>
          finding(code, `Agent ${agent} in namespace ${namespace} logs: ${harmless(text)}`, values),
        );
        return [...said, ...unreadable(logs, namespace)];
      }),
    );
    return found.flat();
  },
};

/** What the proxy's logs say of the workspaces it is to find. */
export const proxyLogs: Check = {
  name: "logs of the proxy",
  async run({ installation, cluster }, { now }) {
    const found = await Promise.all(
      releasesOf(installation)
        .filter(({ part }) => part === "gitlab-workspaces-proxy")
        .map(async (owner) => {
          const { namespace, release } = owner;
          const logs = await logsOf(liveCluster(cluster), owner);
          const said = [...proxySignsIn(logs.all, now)].map(([code, { text }]) =>
            finding(code, `The proxy in namespace ${namespace} logs: ${harmless(text)}`, { namespace, release }),
          );
          return [...said, ...unreadable(logs, namespace)];
        }),
    );
    return found.flat();
  },
};
