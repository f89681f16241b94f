import { randomBytes } from "node:crypto";
import { request } from "node:https";
import { CoreV1Api } from "@kubernetes/client-node";
import { clusterAnswer, decoded } from "./cluster-answer";
import { type Codes, type Finding, findings } from "./finding";
import { ingressAt, patience } from "./ingress-address";
import type { Check, Patient } from "./patient";
import { abridged, isMalformed, putBack, shown } from "./proxy-config";
import { zoneOf } from "./workspaces";

/** What can go wrong between a browser without a cookie and GitLab's own page. */
export const codes = {
  GW301: {
    severity: "error",
    title: "Signing in leads to another GitLab",
    meaning: "People are asked to sign in at a GitLab that knows neither them nor their workspaces.",
    fix: putBack,
  },
  GW302: {
    severity: "error",
    title: "Signing in leads nowhere",
    meaning:
      "GitLab answers 404, or the browser goes round in circles: the proxy's address of GitLab lacks its scheme, or ends " +
      "with a slash or a newline. The proxy's log says nothing of it.",
    fix: putBack,
  },
  GW303: {
    severity: "error",
    title: "Signing in asks for another OAuth application",
    meaning:
      "GitLab answers everybody that it does not know the application, or asks them to trust another one. The proxy's " +
      "log says nothing of it.",
    fix: putBack,
  },
  GW304: {
    severity: "error",
    title: "Signing in names another redirect URI",
    meaning: 'GitLab answers everybody: "The redirect URI included is not valid". The proxy\'s log says nothing of it.',
    fix: ["pulumi stack output oauthRedirectUri --stack <stack>", ...putBack],
  },
  GW305: {
    severity: "error",
    title: "No Ingress takes requests for the domain",
    meaning:
      "No workspace opens: the controller answers by itself. The proxy's Ingress is not there, names a class that no " +
      "controller serves, or was edited.",
    fix: [
      "kubectl get ingresses,ingressclasses --all-namespaces",
      "pulumi up --refresh --stack <stack>",
      "helm get manifest <release> --namespace <namespace> | kubectl apply --namespace <namespace> --filename -",
    ],
  },
  GW306: {
    severity: "error",
    title: "No proxy pod answers",
    meaning:
      "No workspace opens: the controller finds nobody behind the proxy's Service. The pods do not start, are not ready, " +
      "or the Service selects none.",
    fix: [
      "kubectl get pods,endpointslices --namespace <namespace>",
      "kubectl logs --namespace <namespace> --selector app.kubernetes.io/name=gitlab-workspaces-proxy --prefix",
      "pulumi up --refresh --stack <stack>",
      "helm get manifest <release> --namespace <namespace> | kubectl apply --namespace <namespace> --filename -",
    ],
  },
  GW307: {
    severity: "error",
    title: "Something other than the proxy answers",
    meaning:
      "Signing in cannot work when something in front of the proxy answers for it: an authentication of the ingress, a " +
      "redirect, a web application firewall, or another application's Ingress for the same names.",
    fix: [
      "curl --verbose --insecure --connect-to ::<host>:<port> https://<name>/",
      "kubectl get ingresses --all-namespaces",
    ],
  },
  GW308: {
    severity: "error",
    title: "The proxy's metrics are open to everybody",
    meaning:
      "Whoever knows a name below the domain reads the proxy's metrics without signing in. The Ingress that closes " +
      "/metrics is not there, or another rule wins over it.",
    fix: ["kubectl get ingresses --namespace <namespace>", "pulumi up --refresh --stack <stack>"],
  },
  GW309: {
    severity: "warning",
    title: "GitLab cannot be reached from this machine",
    meaning:
      "Only this machine was tried; the proxy's and the agents' pods may have another way. When they have none, everybody " +
      "ends at an error after signing in. For an authority that only your machines know: NODE_EXTRA_CA_CERTS=company-ca.pem names it to Node.js.",
    fix: [
      "curl --verbose <gitlab url>/api/v4/version",
      "kubectl run doctor --rm --stdin --restart Never --image curlimages/curl --namespace <namespace> -- --verbose <gitlab url>/api/v4/version",
    ],
  },
  GW310: {
    severity: "error",
    title: "GitLab does not accept the OAuth application's id and secret",
    meaning:
      "Everybody fails after signing in, and the proxy's log calls it a workspace that was not found. The application was " +
      "deleted, its secret was renewed, or one of the two was mistyped.",
    fix: [
      "pulumi config set --stack <stack> gitlab-workspaces:oauthClientId",
      "pulumi config set --stack <stack> --secret gitlab-workspaces:oauthClientSecret",
      "pulumi up --refresh --stack <stack>",
    ],
  },
} satisfies Codes;

const finding = findings(codes);

/** An answer to a request over the ingress. */
interface Answered {
  readonly status: number;
  readonly location: string | undefined;
}

/**
 * Asks as a browser without a cookie. The proxy looks for the workspace before it looks for a cookie, so a name without
 * one is answered 400 and the redirect to GitLab is only seen under the name of a workspace that lives:
 * https://docs.gitlab.com/user/workspace/set_up_gitlab_agent_and_proxies/#update-your-dns-records. Both are healthy. Whether
 * the ingress listens and what it shows is the look at certificates.
 */
export const redirectCheck: Check = {
  name: "the proxy answers, and sends people to GitLab (400 until there is a workspace is normal)",
  async run(patient, surroundings) {
    const at = ingressAt(patient, surroundings);
    if (at === undefined) return [];
    const { domain } = patient.installation;
    const madeUp = `doctor-${randomBytes(4).toString("hex")}.${domain}`;
    const names = [domain, madeUp, ...(await liveWorkspace(patient))];
    const [pages, metrics] = await Promise.all([
      Promise.all(names.map(async (name) => judge(name, await get(at, name, "/"), at, patient))),
      Promise.all(
        [domain, madeUp].map(async (name) => {
          const answer = await get(at, name, "/metrics");
          return typeof answer === "object" && answer.status === 200 ? [name] : [];
        }),
      ),
    ]);
    const open = metrics.flat();
    return [
      ...unique(pages.flat()),
      ...(open.length === 0
        ? []
        : [
            finding(
              "GW308",
              `Answered 200: ${open.map((name) => `https://${name}/metrics`).join(", ")}`,
              values(patient),
            ),
          ]),
    ];
  },
};

/** Asks GitLab whether it is there, and whether it knows the application by the id and secret that the proxy has. */
export const gitlabCheck: Check = {
  name: "GitLab is there and knows the OAuth application",
  async run(patient) {
    const { cluster, installation, oauthRedirectUri } = patient;
    const { gitlabUrl } = installation;
    try {
      await fetch(`${gitlabUrl}/api/v4/version`, { redirect: "manual", signal: AbortSignal.timeout(patience) });
    } catch (error) {
      return [finding("GW309", `${gitlabUrl}: ${reasonOf(error)}.`, values(patient))];
    }
    const { protocol, hostname } = new URL(gitlabUrl);
    const loopback = /^(localhost|127(\.\d+){3}|\[::1\])$/.test(hostname);
    if (protocol !== "https:" && !loopback) return [];

    const { configSecret: name, namespace } = installation.proxy;
    const secret = await clusterAnswer(cluster.makeApiClient(CoreV1Api).readNamespacedSecret({ name, namespace }));
    if (typeof secret === "string") return [];
    const clientId = decoded(secret.data, "auth.client_id");
    const clientSecret = decoded(secret.data, "auth.client_secret");
    if (!clientId || !clientSecret) return [];
    // A known client with a code that nobody was given is told invalid_grant: https://www.rfc-editor.org/rfc/rfc6749#section-5.2
    const refusal = await oauthError(`${gitlabUrl}/oauth/token`, {
      grant_type: "authorization_code",
      code: `doctor-${randomBytes(16).toString("hex")}`,
      redirect_uri: oauthRedirectUri,
      client_id: clientId,
      client_secret: clientSecret,
    });
    if (refusal !== "invalid_client") return [];
    const id = clientId === installation.oauthClientId ? clientId : abridged(clientId);
    return [
      finding(
        "GW310",
        `${gitlabUrl}/oauth/token answers invalid_client to the client id ${id} and the client secret in Secret ` +
          `${namespace}/${name}.`,
        values(patient),
      ),
    ];
  },
};

function values({ stack, installation }: Patient): Record<string, string> {
  const { namespace, release } = installation.proxy;
  return { stack, namespace, release, "gitlab url": installation.gitlabUrl };
}

/** The name of one workspace that lives, from its Service, as the proxy makes it. Empty when none is known. */
async function liveWorkspace({ cluster, installation }: Patient): Promise<string[]> {
  const services = await clusterAnswer(
    cluster.makeApiClient(CoreV1Api).listServiceForAllNamespaces({ labelSelector: "agent.gitlab.com/id" }),
  );
  if (typeof services === "string") return [];
  return services.items
    .flatMap(({ metadata, spec }) => {
      const template = metadata?.annotations?.["workspaces.gitlab.com/host-template"];
      const port = spec?.ports?.[0];
      if (template === undefined || port === undefined || zoneOf(template) !== installation.domain) return [];
      return [template.replace(/\{\{\s*\.port\s*\}\}/, String(port.targetPort ?? port.port))];
    })
    .slice(0, 1);
}

/** What is wrong with an answer to a request without a cookie. */
function judge(
  name: string,
  answer: Answered | "unreachable" | "silent",
  at: { host: string; port: number },
  patient: Patient,
): Finding[] {
  const all = { ...values(patient), name, host: at.host, port: String(at.port) };
  if (answer === "unreachable") return [];
  if (answer === "silent")
    return [finding("GW307", `https://${name}/ was not answered within ${patience / 1000} s.`, all)];
  const { status, location } = answer;
  const seen = `https://${name}/ was answered ${status}`;
  switch (status) {
    case 307:
      return redirect(seen, location ?? "", patient, all);
    case 400:
      return [];
    case 404:
      return [finding("GW305", `${seen}: the controller knows no rule for it.`, all)];
    case 502:
    case 503:
    case 504:
      return [finding("GW306", `${seen}: the controller has a rule for it, and nobody to pass it on to.`, all)];
    default:
      return [
        finding("GW307", `${seen}${location === undefined ? "" : `, to ${hostOf(location)}`}: not by the proxy.`, all),
      ];
  }
}

/** The proxy escapes nothing but the state, so its settings stand in the address as it has them. */
const signIn = /^(.*?)\/oauth\/authorize\?response_type=code&client_id=(.*?)&redirect_uri=(.*?)&scope=.*?&state=/;

function redirect(seen: string, location: string, patient: Patient, all: Record<string, string>): Finding[] {
  const { installation, oauthRedirectUri } = patient;
  const [, host, clientId, redirectUri] = signIn.exec(location) ?? [];
  if (host === undefined || clientId === undefined || redirectUri === undefined)
    return [finding("GW307", `${seen}, to ${hostOf(location)}: not by the proxy.`, all)];
  const found: Finding[] = [];
  if (isMalformed(host))
    found.push(
      finding(
        "GW302",
        `${seen}, to ${shown(host)} and then /oauth/authorize; GitLab is ${installation.gitlabUrl}.`,
        all,
      ),
    );
  else if (host !== installation.gitlabUrl)
    found.push(finding("GW301", `${seen}, to ${shown(host)}; the stack's GitLab is ${installation.gitlabUrl}.`, all));
  if (clientId !== installation.oauthClientId)
    found.push(
      finding(
        "GW303",
        `${seen}, with client id ${abridged(clientId)}; the stack's is ${installation.oauthClientId}.`,
        all,
      ),
    );
  if (redirectUri !== oauthRedirectUri)
    found.push(
      finding("GW304", `${seen}, with redirect URI ${shown(redirectUri)}; it must be ${oauthRedirectUri}.`, all),
    );
  return found;
}

/** Where a redirect leads, without what it carries. */
function hostOf(location: string): string {
  return URL.canParse(location) ? new URL(location).origin : "a relative address";
}

/** One finding of each code: what is wrong for every name needs to be said of the first. */
function unique(all: readonly Finding[]): Finding[] {
  return all.filter(({ code }, index) => all.findIndex((other) => other.code === code) === index);
}

async function get(
  { host, port }: { host: string; port: number },
  name: string,
  path: string,
): Promise<Answered | "unreachable" | "silent"> {
  return await new Promise((resolve) => {
    let secured = false;
    const asked = request({
      host,
      port,
      path,
      servername: name,
      headers: { host: name },
      agent: false,
      // Nothing secret is sent, and certificates have a check of their own.
      rejectUnauthorized: false,
    });
    const end = (outcome: Answered | "unreachable" | "silent"): void => {
      clearTimeout(timer);
      asked.destroy();
      resolve(outcome);
    };
    const timer = setTimeout(() => {
      end(secured ? "silent" : "unreachable");
    }, patience);
    asked.once("socket", (socket) => {
      socket.once("secureConnect", () => {
        secured = true;
      });
    });
    asked.once("response", ({ statusCode = 0, headers }) => {
      end({ status: statusCode, location: headers.location });
    });
    asked.on("error", () => {
      end(secured ? "silent" : "unreachable");
    });
    asked.end();
  });
}

/** The error code of an OAuth token endpoint's answer; undefined when it gave none. */
async function oauthError(url: string, form: Readonly<Record<string, string>>): Promise<string | undefined> {
  try {
    const answer = await fetch(url, {
      method: "POST",
      body: new URLSearchParams(form),
      redirect: "manual",
      signal: AbortSignal.timeout(patience),
    });
    const { error } = (await answer.json()) as { error?: unknown };
    return typeof error === "string" ? error : undefined;
  } catch {
    return undefined;
  }
}

function reasonOf(error: unknown): string {
  const { name, cause } = error as { name?: string; cause?: { code?: string } };
  if (name === "TimeoutError") return `no answer within ${patience / 1000} s`;
  return cause?.code ?? "no answer";
}
