import { randomBytes, X509Certificate } from "node:crypto";
import { connect as connectTls, rootCertificates } from "node:tls";
import { CoreV1Api, NetworkingV1Api } from "@kubernetes/client-node";
import type { InstalledRelease } from "../src/platform/chart-release";
import { clusterAnswer, decoded } from "./cluster-answer";
import { type Codes, type Finding, findings } from "./finding";
import { ingressAt, patience } from "./ingress-address";
import type { Check, Patient, Surroundings } from "./patient";

/** Fewer days left than this are worth a warning: a week more than it takes to have a certificate issued by hand. */
const daysOfWarning = 21;

const millisecondsPerDay = 24 * 60 * 60 * 1000;

/** A new certificate. Where the wildcard has one of its own, its keys are `tls.wildcardCertificate` and `wildcardTlsKey`. */
const renew = [
  "pulumi config set --stack <stack> --path gitlab-workspaces:tls.certificate < fullchain.pem",
  "pulumi config set --stack <stack> --secret gitlab-workspaces:tlsKey < privkey.pem",
  "pulumi up --refresh --stack <stack>",
] as const;

const separate =
  "Where the names below the domain have a certificate of their own, its keys are tls.wildcardCertificate and " +
  "wildcardTlsKey.";

/** What can be wrong with the certificates that the ingress shows. */
export const codes = {
  GW201: {
    severity: "error",
    title: "Nothing answers at the ingress",
    meaning:
      "No workspace opens, for anybody. The controller does not run, its load balancer has no healthy target, or a " +
      "firewall is in between: from another network it may look different.",
    fix: ["nc -vz <host> <port>", "kubectl get pods,services --namespace <namespace>"],
  },
  GW202: {
    severity: "error",
    title: "The ingress does not complete a TLS handshake",
    meaning:
      "No browser gets as far as a certificate. What answers speaks no TLS: the port is the one for plain HTTP, or a " +
      "load balancer in front speaks HTTP where it should pass TCP through.",
    fix: [
      "openssl s_client -connect <host>:<port> -servername <name>",
      "kubectl get services --namespace <namespace> --output yaml",
    ],
  },
  GW203: {
    severity: "error",
    title: "The certificate served is for other names",
    meaning:
      "Every browser refuses the page. A controller that cannot use the Secret which the Ingress names, because it is " +
      "not there, misspelt, or covers other names, serves a certificate of its own instead, and says so in its log only.",
    fix: [
      "kubectl get ingresses,secrets --namespace <namespace> --output wide",
      "pulumi up --refresh --stack <stack>",
      "helm get manifest <release> --namespace <namespace> | kubectl apply --namespace <namespace> --filename -",
    ],
  },
  GW204: {
    severity: "error",
    title: "The certificate has expired",
    meaning:
      "Every browser refuses the page, and no workspace opens. Step by step: docs/recovery/certificate-expired.md. " +
      separate,
    fix: renew,
  },
  GW205: {
    severity: "error",
    title: "The certificate is not valid yet",
    meaning:
      "Every browser refuses the page until that day. The certificate was issued for later, or the clock of this " +
      "machine is slow.",
    fix: ["date --utc", ...renew],
  },
  GW206: {
    severity: "warning",
    title: "The certificate expires soon",
    meaning:
      "On that day every browser refuses the page. Nothing has to be stopped for a new one. Step by step: " +
      `docs/recovery/certificate-expired.md. ${separate}`,
    fix: renew,
  },
  GW207: {
    severity: "error",
    title: "The certificate is not trusted",
    meaning:
      "Browsers refuse the page, or some of them do: they remember intermediate certificates from elsewhere, programs do " +
      "not. The chain served lacks an intermediate certificate, or the authority is one that only your machines know. " +
      "If it is your company's own, make it known to this command: NODE_EXTRA_CA_CERTS=company-ca.pem npm run doctor. " +
      "Otherwise configure the whole chain, your own certificate first.",
    fix: ["openssl s_client -connect <host>:<port> -servername <name> -showcerts", ...renew],
  },
  GW208: {
    severity: "warning",
    title: "The certificate is self-signed, as configured",
    meaning:
      "Every browser warns of it, and editors connect only after it was accepted. Good for a trial: for people's work " +
      "have certificates issued and set tls.mode to provided.",
    fix: ["pulumi config set --stack <stack> --path gitlab-workspaces:tls.mode provided", ...renew],
  },
  GW209: {
    severity: "error",
    title: "The certificate served is not the one in the Secret",
    meaning:
      "The controller has not taken up the present certificate: it does not watch the Secret any more, cannot read it, or " +
      "something in front of it ends TLS with a certificate of its own. What was served goes on until it expires.",
    fix: [
      "kubectl rollout restart deployment --namespace <controller namespace> --selector 'app.kubernetes.io/instance in (<controller instances>)'",
      "openssl s_client -connect <host>:<port> -servername <name>",
    ],
  },
  GW210: {
    severity: "error",
    title: "The program's own certificate has expired",
    meaning:
      "Browsers refuse the page even where the self-signed certificate was accepted. The next up makes a new one.",
    fix: ["pulumi up --refresh --stack <stack>"],
  },
  GW211: {
    severity: "warning",
    title: "The program's own certificate expires soon",
    meaning: "The next up makes a new one; then everybody has to accept it anew.",
    fix: ["pulumi up --stack <stack>"],
  },
} satisfies Codes;

const finding = findings(codes);

/** What was shown at the ingress for one name. */
interface Shown {
  readonly certificate: X509Certificate;
  /** OpenSSL's word for why it is not trusted: https://nodejs.org/api/tls.html#x509-certificate-error-codes */
  readonly distrust: string | undefined;
}

/** Looks at what the ingress shows for the domain and for a name below it, as a browser would be shown it. */
export const certificateCheck: Check = {
  name: "the ingress shows valid certificates for the domain and the names below it",
  async run(patient, surroundings) {
    const at = ingressAt(patient, surroundings);
    if (at === undefined) return [];
    const { domain } = patient.installation;
    const names = [domain, `doctor-${randomBytes(4).toString("hex")}.${domain}`];
    const found = await Promise.all(names.map((name) => lookAt(name, at, patient, surroundings)));
    // One cause, one finding: nothing that listens does so for no name.
    return found.flat().filter(({ code }, index, all) => {
      const once = code === "GW201" || code === "GW202";
      return !once || all.findIndex((other) => other.code === code) === index;
    });
  },
};

async function lookAt(
  name: string,
  at: { host: string; port: number },
  patient: Patient,
  surroundings: Surroundings,
): Promise<Finding[]> {
  const { stack, installation } = patient;
  const { namespace, release } = installation.proxy;
  const controller = installation.ingress.release?.namespace;
  const where = `${at.host}:${at.port}`;
  const values = {
    stack,
    name,
    host: at.host,
    port: String(at.port),
    namespace,
    release,
    "controller namespace": controller ?? "NAMESPACE-OF-YOUR-CONTROLLER",
    "controller instances": instancesOf(installation.ingress.release),
  };
  const shown = await handshake(name, at, surroundings);
  if ("connected" in shown) {
    const inNamespace = { ...values, namespace: controller ?? namespace };
    return shown.connected
      ? [finding("GW202", `${where} took the connection, and then: ${shown.reason}.`, inNamespace)]
      : [finding("GW201", `${where}: ${shown.reason}.`, inNamespace)];
  }

  const { certificate } = shown;
  const inSecret = await certificateInSecret(name, patient);
  if (certificate.checkHost(name) === undefined) {
    const covered = certificate.subjectAltName ?? "no DNS name at all";
    const note =
      inSecret.secret === undefined
        ? "No Ingress names a Secret for it that could be read."
        : `Its Secret ${namespace}/${inSecret.secret} ${inSecret.state}.`;
    return [finding("GW203", `${where} shows for ${name} a certificate for ${covered}. ${note}`, values)];
  }
  return [
    ...dates(name, certificate, surroundings.now, patient, values),
    ...trust(name, shown, patient, values),
    ...(inSecret.certificate !== undefined && inSecret.certificate.fingerprint256 !== certificate.fingerprint256
      ? [
          finding(
            "GW209",
            `${where} shows for ${name} the certificate ${describe(certificate)}; ` +
              `the Secret ${namespace}/${inSecret.secret ?? ""} has ${describe(inSecret.certificate)}.`,
            values,
          ),
        ]
      : []),
  ];
}

/** Values of the label `app.kubernetes.io/instance` that a controller's Deployment may have: Traefik's chart adds the namespace. */
function instancesOf(controller: InstalledRelease | undefined): string {
  if (controller === undefined) return "RELEASE-OF-YOUR-CONTROLLER";
  const { namespace, release } = controller;
  return [release, `${release}-${namespace}`.slice(0, 63).replace(/-$/, "")].join(", ");
}

function dates(
  name: string,
  certificate: X509Certificate,
  now: Date,
  { installation }: Patient,
  values: Readonly<Record<string, string>>,
): Finding[] {
  const own = installation.tlsMode === "self-signed";
  const [from, to] = [new Date(certificate.validFrom), new Date(certificate.validTo)];
  const days = Math.floor(Math.abs(to.getTime() - now.getTime()) / millisecondsPerDay);
  const counted = days === 1 ? "1 day" : `${days} days`;
  const day = (date: Date): string => date.toISOString().slice(0, 10);
  if (now < from) return [finding("GW205", `The one for ${name} is valid from ${day(from)} on.`, values)];
  if (now > to)
    return [finding(own ? "GW210" : "GW204", `The one for ${name} expired on ${day(to)}, ${counted} ago.`, values)];
  return days < daysOfWarning
    ? [finding(own ? "GW211" : "GW206", `The one for ${name} expires on ${day(to)}: ${counted} left.`, values)]
    : [];
}

/** Whether this machine trusts it, dates aside as long as they are the certificate's own. */
function trust(
  name: string,
  { certificate, distrust }: Shown,
  { installation }: Patient,
  values: Readonly<Record<string, string>>,
): Finding[] {
  if (distrust === undefined) return [];
  const clock = Date.now();
  const ownDates = clock < Date.parse(certificate.validFrom) || clock > Date.parse(certificate.validTo);
  if (ownDates && ["CERT_HAS_EXPIRED", "CERT_NOT_YET_VALID"].includes(distrust)) return [];
  const code = installation.tlsMode === "self-signed" ? "GW208" : "GW207";
  const issuer = certificate.issuer.replaceAll("\n", ", ");
  return [finding(code, `The one for ${name}, issued by ${issuer}: ${distrust}.`, values)];
}

function describe(certificate: X509Certificate): string {
  return `of serial number ${certificate.serialNumber}, valid until ${certificate.validTo}`;
}

/** Does a TLS handshake as a browser would, but takes whatever certificate it is shown. */
async function handshake(
  name: string,
  { host, port }: { host: string; port: number },
  { trusted = [] }: Surroundings,
): Promise<Shown | { connected: boolean; reason: string }> {
  return await new Promise((resolve) => {
    let connected = false;
    const socket = connectTls({
      host,
      port,
      servername: name,
      rejectUnauthorized: false,
      // Names are compared here: what is not trusted and what is for another name are two things to mend.
      checkServerIdentity: () => undefined,
      ...(trusted.length === 0 ? {} : { ca: [...rootCertificates, ...trusted] }),
    });
    const end = (outcome: Shown | { connected: boolean; reason: string }): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(outcome);
    };
    const timer = setTimeout(() => {
      end({ connected, reason: `no answer within ${patience / 1000} s` });
    }, patience);
    socket.once("connect", () => {
      connected = true;
    });
    socket.once("secureConnect", () => {
      const certificate = socket.getPeerX509Certificate();
      // Typed as an Error, and a text in truth.
      const distrust = socket.authorizationError as unknown as string | null | undefined;
      if (certificate === undefined) end({ connected, reason: "it showed no certificate" });
      else end({ certificate, distrust: distrust ?? undefined });
    });
    socket.on("error", (error: Error & { code?: string }) => {
      end({ connected, reason: error.code ?? "it broke off" });
    });
  });
}

/** The certificate in the Secret that an Ingress of the class names for a host, as far as the cluster tells. */
async function certificateInSecret(
  name: string,
  { cluster, installation }: Patient,
): Promise<{ secret?: string; state?: string; certificate?: X509Certificate }> {
  const { namespace } = installation.proxy;
  const ingresses = await clusterAnswer(cluster.makeApiClient(NetworkingV1Api).listNamespacedIngress({ namespace }));
  if (typeof ingresses === "string") return {};
  const wildcard = name.replace(/^[^.]+/, "*");
  const tls = ingresses.items
    .filter(({ spec }) => spec?.ingressClassName === installation.ingress.className)
    .flatMap(({ spec }) => spec?.tls ?? []);
  const entry = tls.find(({ hosts }) => hosts?.includes(name)) ?? tls.find(({ hosts }) => hosts?.includes(wildcard));
  const secret = entry?.secretName;
  if (secret === undefined) return {};
  const found = await clusterAnswer(cluster.makeApiClient(CoreV1Api).readNamespacedSecret({ name: secret, namespace }));
  if (found === "unknown") return { secret, state: "could not be read" };
  if (found === "missing") return { secret, state: "is not there" };
  try {
    const certificate = new X509Certificate(decoded(found.data, "tls.crt") ?? "");
    return { secret, state: `has one for ${certificate.subjectAltName ?? "no DNS name at all"}`, certificate };
  } catch {
    return { secret, state: "holds no certificate in tls.crt" };
  }
}
