import * as pulumi from "@pulumi/pulumi";
import { charts, type ChartName } from "../charts";
import { checkCertificate, type CertificateCheck } from "./certificate";
import { readCluster } from "./cluster";
import {
  faultsError,
  keyText,
  member,
  removeCommand,
  secretCommand,
  secretKey,
  setCommand,
  show,
  visible,
  type Fault,
} from "./faults";
import { plainSecrets } from "./plain-secrets";
import { checkSshHostKey, checkTlsKey } from "./private-key";
import { refusal } from "./refusal";
import {
  agentsOf,
  agentTokenKey,
  proxyNamespaceOf,
  releaseTimeout,
  settings,
  type AgentConfig,
  type ChartConfig,
  type Config,
  type IngressConfig,
  type KeyPair,
  type TlsConfig,
} from "./schema";
import { StackConfig } from "./stack-config";

/**
 * Reads the config of the running stack, the only place that does. `now` decides which certificates have expired.
 * @throws pulumi.RunError with every fault at once, and without any part of a secret.
 */
export function loadConfig(now: Date = new Date()): Config {
  try {
    return read(new StackConfig(), now);
  } catch (error) {
    if (pulumi.RunError.isInstance(error)) throw error;
    // An unforeseen error may quote what it choked on, and the engine prints errors with all their properties.
    const place = error instanceof Error ? /src.config[\w\\/-]+\.ts:\d+/.exec(error.stack ?? "")?.[0] : undefined;
    throw refusal(
      `The config of stack ${pulumi.getStack()} could not be read, and the reason may quote a secret, so it is not ` +
        `shown. This is a bug of the program: please report it${place === undefined ? "" : `, with the place ${place}`}.`,
    );
  }
}

function read(stack: StackConfig, now: Date): Config {
  requireExplicitProviders(stack);
  const domain = stack.setting("domain", settings.domain);
  const instance = stack.setting("instance", settings.instance);
  const production = stack.setting("production", settings.production);
  const adopt = readAdopt(stack);
  const oauthClientId = stack.setting("oauthClientId", settings.oauthClientId);
  const oauthClientSecret = stack.token("oauthClientSecret");
  const cluster = readCluster(stack);
  const ingress = readIngress(stack, production, instance);
  const tls = readTls(stack, { domain, production, now });
  const proxy = stack.setting("proxy", settings.proxy);
  const agents = readAgents(stack, instance, ingress);
  const gitlab = readGitlab(stack);
  const overrides = readCharts(stack, ingress);
  const signingKey = readSigningKey(stack);
  const sshHostKey = stack.privateKey("sshHostKey", checkSshHostKey, false);
  stack.refuseUnread();

  if (stack.faults.length > 0) throw faultsError(stack.faults);
  if (
    domain === undefined ||
    production === undefined ||
    adopt === undefined ||
    oauthClientId === undefined ||
    oauthClientSecret === undefined ||
    cluster === undefined ||
    ingress === undefined ||
    tls === undefined ||
    proxy === undefined ||
    agents === undefined ||
    gitlab === undefined ||
    overrides === undefined
  )
    throw new Error("a setting is missing without a fault");
  return {
    ...(instance === undefined ? {} : { instance }),
    production,
    adopt,
    domain,
    oauthClientId,
    cluster,
    ingress,
    tls,
    proxy,
    agents,
    gitlab,
    charts: overrides,
    oauthClientSecret: pulumi.secret(oauthClientSecret),
    ...(signingKey === undefined ? {} : { signingKey: pulumi.secret(signingKey) }),
    ...(sshHostKey === undefined ? {} : { sshHostKey: pulumi.secret(sshHostKey) }),
    warnings: stack.warnings,
  };
}

function readAdopt(stack: StackConfig): boolean | undefined {
  const adopt = stack.setting("adopt", settings.adopt);
  if (adopt === true) {
    stack.warnings.push(
      "adopt is on: whatever stands on the cluster under the names of this stack becomes this stack's, and goes with it " +
        `when it is destroyed. Once up has succeeded: ${removeCommand(["adopt"])}`,
    );
    for (const [key, name] of [
      ["signingKey", "auth.signing_key"],
      ["sshHostKey", "ssh.host_key"],
    ] as const) {
      if (stack.hasSecret(key)) continue;
      stack.warnings.push(
        `adopt is on and ${key} is not set: unless this stack made the one in use itself, a new one is made, and ` +
          `${key === "signingKey" ? "everybody has to log in again" : "SSH clients are warned of a changed host"}. ` +
          `docs/adoption.md says how to keep ${name}.`,
      );
    }
  }
  return adopt;
}

const defaultProvidersKey = "pulumi:disable-default-providers";

/** Without this an object that lost its provider would land in whatever cluster the user's own kubeconfig names. */
function requireExplicitProviders(stack: StackConfig): void {
  const text = pulumi.runtime.allConfig()[defaultProvidersKey];
  const disabled = text === undefined ? [] : names(text);
  if (disabled?.includes("kubernetes") && !disabled.includes("*")) return;
  const add = (index: number) => setCommand([defaultProvidersKey, index], "kubernetes");
  const anew = [removeCommand([defaultProvidersKey]), add(0)];
  stack.faults.push({
    subject: `${defaultProvidersKey} is ${visible(text ?? "not set")}`,
    rule: disabled?.includes("*")
      ? "It must be a list with kubernetes in it and without '*': the program needs the default providers of others."
      : "It must be a list with kubernetes in it, so that nothing ever reaches the cluster of your own kubeconfig.",
    remedy: disabled === undefined || disabled.includes("*") ? anew : [add(disabled.length)],
  });
}

/** The strings of a JSON list; undefined when it is none. The engine writes an empty list as an empty text. */
function names(json: string): string[] | undefined {
  if (json === "") return [];
  try {
    const value: unknown = JSON.parse(json);
    return Array.isArray(value) ? value.map(String) : undefined;
  } catch {
    return undefined;
  }
}

const retirement = "https://kubernetes.io/blog/2025/11/11/ingress-nginx-retirement/";

function readIngress(
  stack: StackConfig,
  production: boolean | undefined,
  instance: string | undefined,
): IngressConfig | undefined {
  const ingress = stack.setting("ingress", settings.ingress);
  if (ingress && controllerNamespace(ingress) === proxyNamespaceOf(instance))
    stack.faults.push({
      subject: `${keyText(["ingress", "namespace"])} is ${show(controllerNamespace(ingress))}`,
      rule: "It must be a namespace for the controller alone, and this is the proxy's.",
      remedy: [removeCommand(["ingress", "namespace"])],
    });
  const path = ["ingress", "controller"];
  if (production === true && !stack.has("ingress"))
    stack.faults.push({
      subject: `${keyText(path)} is not set`,
      rule:
        "In production the ingress controller is yours to choose: traefik, existing or nginx. Nothing said means nginx, " +
        `which upstream retired in March 2026 (${retirement}).`,
      remedy: [setCommand(path, "traefik")],
    });
  if (ingress?.controller === "nginx")
    stack.warnings.push(
      `ingress.controller is nginx: upstream retired ingress-nginx in March 2026 and fixes no more security holes ` +
        `(${retirement}). The alternatives are traefik and existing.`,
    );
  if (ingress?.controller === "existing")
    stack.warnings.push(
      "ingress.controller is existing: somebody has to see to it that your controller passes WebSocket upgrades, leaves " +
        "an idle connection open for a day, does not buffer, keeps the Host header, and prefers an Exact path to the rest: " +
        "that is what closes the proxy's /metrics. ingress.annotations is where its own settings for that go.",
    );
  return ingress;
}

interface TlsCircumstances {
  readonly domain: string | undefined;
  readonly production: boolean | undefined;
  readonly now: Date;
}

function readTls(stack: StackConfig, { domain, production, now }: TlsCircumstances): TlsConfig | undefined {
  const tls = stack.setting("tls", settings.tls);
  const raw = stack.raw["tls"];
  switch (tls?.mode) {
    case undefined: {
      const provided = member(raw, "mode") === "provided";
      stack.secret("tlsKey", { required: provided });
      stack.secret("wildcardTlsKey", { required: provided && member(raw, "wildcardCertificate") !== undefined });
      return undefined;
    }
    case "self-signed":
      if (production === true)
        stack.faults.push({
          subject: `${keyText(["tls", "mode"])} is "self-signed"`,
          rule: "In production it must be provided: no browser trusts a self-signed certificate.",
          remedy: [
            setCommand(["tls", "mode"], "provided"),
            setCommand(["tls", "certificate"], "\n"),
            secretCommand("tlsKey"),
          ],
        });
      stack.warnings.push("tls.mode is self-signed: every browser warns before each workspace. It is for trials only.");
      return tls;
    case "provided": {
      const wildcard = domain === undefined ? [] : [`*.${domain}`];
      const own = domain === undefined ? [] : [domain];
      if (tls.wildcardCertificate === undefined) {
        const pair = readKeyPair(stack, "certificate", checkCertificate(tls.certificate, [...own, ...wildcard], now));
        return pair && { mode: "provided", domain: pair, wildcard: pair };
      }
      const domainPair = readKeyPair(stack, "certificate", checkCertificate(tls.certificate, own, now));
      const wildcardPair = readKeyPair(
        stack,
        "wildcardCertificate",
        checkCertificate(tls.wildcardCertificate, wildcard, now),
      );
      return domainPair && wildcardPair && { mode: "provided", domain: domainPair, wildcard: wildcardPair };
    }
  }
}

function readKeyPair(
  stack: StackConfig,
  name: "certificate" | "wildcardCertificate",
  { chain, leaf, problems, warnings }: CertificateCheck,
): KeyPair | undefined {
  const path = ["tls", name];
  for (const { rule } of problems)
    stack.faults.push({ subject: `${keyText(path)} (not shown)`, rule, remedy: [setCommand(path, "\n")] });
  stack.warnings.push(...warnings.map((warning) => `${path.join(".")}: ${warning}`));
  const key = stack.privateKey(name === "certificate" ? "tlsKey" : "wildcardTlsKey", (text) => checkTlsKey(text, leaf));
  return key === undefined || problems.length > 0 ? undefined : { certificate: chain, key: pulumi.secret(key) };
}

function controllerNamespace(ingress: IngressConfig): string | undefined {
  return ingress.controller === "existing" ? undefined : ingress.namespace;
}

function readAgents(
  stack: StackConfig,
  instance: string | undefined,
  ingress: IngressConfig | undefined,
): AgentConfig[] | undefined {
  // Under an instance that was refused, nobody knows what they are called.
  const named = instance !== undefined || !stack.has("instance");
  const agents = stack.setting(
    "agents",
    named ? agentsOf(instance, ingress && controllerNamespace(ingress)) : settings.agents,
  );
  // The tokens of a list with faults are checked as well, so that all that is missing is said at once.
  const tokens = new Map(agentNames(stack).map((name) => [name, stack.token("agentToken", agentTokenKey(name))]));
  return agents?.flatMap((agent, index) => {
    if (agent.serviceAccount === undefined)
      stack.warnings.push(
        `agents[${index}], ${agent.name}, runs as cluster-admin, which is what its chart gives it. ` +
          `agents[${index}].serviceAccount and .namespace name an account with fewer rights.`,
      );
    const token = tokens.get(agent.name);
    return token === undefined ? [] : [{ ...agent, token: pulumi.secret(token) }];
  });
}

/** The names in a list that may have faults; that of the example when there is no list: it is what the remedy sets. */
function agentNames(stack: StackConfig): string[] {
  if (!stack.has("agents")) return ["team-a"];
  const list = stack.raw["agents"];
  const all = Array.isArray(list) ? list.map((entry) => member(entry, "name")) : [];
  return [...new Set(all.filter((name) => typeof name === "string").filter((name) => /^[a-z0-9-]+$/.test(name)))];
}

function readGitlab(stack: StackConfig): Config["gitlab"] | undefined {
  const gitlab = stack.setting("gitlab", settings.gitlab);
  if (gitlab === undefined) return undefined;
  const { protocol, host, pathname } = new URL(gitlab.url);
  const path = pathname.replace(/\/+$/, "");
  const url = `${protocol}//${host}${path}`;
  // https://docs.gitlab.com/administration/clusters/kas/ has both forms of the address.
  const kasAddress =
    gitlab.kasAddress ??
    (host === "gitlab.com"
      ? "wss://kas.gitlab.com"
      : `${protocol === "http:" ? "ws" : "wss"}://${host}${path}/-/kubernetes-agent/`);
  if (protocol === "http:")
    stack.warnings.push(`gitlab.url is ${url}: without https everybody on the way can read what people log in with.`);
  if (/^(ws|grpc):/.test(kasAddress))
    stack.warnings.push(`gitlab.kasAddress is ${kasAddress}: without TLS everybody on the way can read agent tokens.`);
  return { url, kasAddress };
}

function readCharts(stack: StackConfig, ingress: IngressConfig | undefined): Config["charts"] | undefined {
  const overrides = stack.setting("charts", settings.charts);
  stack.faults.push(...chartSecretFaults(stack));
  if (overrides === undefined) return undefined;
  const controllers: Record<IngressConfig["controller"], readonly ChartName[]> = {
    nginx: ["ingress-nginx"],
    traefik: ["traefik"],
    existing: [],
  };
  const installed: readonly ChartName[] = [
    ...(ingress ? controllers[ingress.controller] : []),
    "gitlab-workspaces-proxy",
    "gitlab-agent",
  ];
  const merge = (name: ChartName): ChartConfig => {
    const { repository, version } = charts[name];
    const override = overrides[name];
    if (override && installed.includes(name)) {
      const values = Object.keys(override.values ?? {});
      const changes = [
        ...(override.version === undefined ? [] : [`version ${override.version} instead of ${version}`]),
        ...(override.timeout === undefined ? [] : [`timeout ${override.timeout} s instead of ${releaseTimeout} s`]),
        ...(override.repository === undefined ? [] : [`repository ${override.repository}`]),
        ...(values.length === 0 ? [] : [`values under ${values.join(", ")}`]),
      ];
      if (changes.length > 0) stack.warnings.push(`charts.${name} is overridden: ${changes.join("; ")}.`);
    }
    return { repository, version, timeout: releaseTimeout, values: {}, ...override };
  };
  return {
    "ingress-nginx": merge("ingress-nginx"),
    traefik: merge("traefik"),
    "gitlab-workspaces-proxy": merge("gitlab-workspaces-proxy"),
    "gitlab-agent": merge("gitlab-agent"),
  };
}

/** Chart values are stored in plain text and end up so in state, in Helm's own Secret and on the cluster. */
function chartSecretFaults(stack: StackConfig): Fault[] {
  return plainSecrets(stack.raw["charts"]).map(({ path, name }) => {
    const key = name === undefined ? undefined : secretKey(name, stack.raw);
    return {
      subject: `${keyText(["charts", ...path])} (not shown) is a secret in plain text`,
      rule:
        "It is in git and its history already: rotate it. " +
        (key === undefined
          ? "Put the new one into a Secret on the cluster, and the name of that into the values."
          : `The new one has a key of its own, ${key}.`),
      remedy: [removeCommand(["charts", ...path]), ...(name === undefined ? [] : [secretCommand(name, key)])],
    };
  });
}

function readSigningKey(stack: StackConfig): string | undefined {
  const key = stack.secret("signingKey", { required: false })?.trim();
  if (key === undefined || key.length >= 16) return key;
  stack.refuseSecret("signingKey", {
    rule: "It must have at least 16 characters: whoever guesses it can forge anybody's session.",
    preparation: "openssl rand -hex 32 > signing-key.txt",
  });
  return undefined;
}
