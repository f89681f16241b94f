import assert from "node:assert/strict";
import { brokenAmong } from "../../../doctor/live-references";

const namespace = "shop";
const labels = { app: "web" };
const data = (...keys: string[]): Record<string, string> => Object.fromEntries(keys.map((key) => [key, "eA=="]));

/** Objects in which every kind of reference leads somewhere. */
const objects = {
  secret: { kind: "Secret", metadata: { name: "keys", namespace }, data: data("token", "tls.crt", "tls.key") },
  settings: { kind: "ConfigMap", metadata: { name: "settings", namespace }, data: data("mode") },
  blob: { kind: "ConfigMap", metadata: { name: "blob", namespace }, binaryData: data("image") },
  account: { kind: "ServiceAccount", metadata: { name: "runner", namespace } },
  ingressClass: { kind: "IngressClass", metadata: { name: "nginx" } },
  budget: {
    kind: "PodDisruptionBudget",
    metadata: { name: "web", namespace },
    spec: { selector: { matchLabels: { ...labels } } },
  },
  service: {
    kind: "Service",
    metadata: { name: "web", namespace },
    spec: {
      selector: { ...labels } as Record<string, string> | undefined,
      ports: [
        { name: "http", port: 80, targetPort: "http" as string | number, protocol: "TCP" },
        { name: "admin", port: 9000, targetPort: 9001 as string | number, protocol: "TCP" },
        { name: "plain", port: 7000 },
      ],
    },
  },
  ingress: {
    kind: "Ingress",
    metadata: { name: "web", namespace },
    spec: {
      ingressClassName: "nginx",
      rules: [{ host: "a.test", http: { paths: [{ backend: { service: { name: "web", port: { name: "http" } } } }] } }],
      tls: [{ secretName: "keys", hosts: ["a.test"] }],
    },
  },
  deployment: {
    kind: "Deployment",
    metadata: { name: "web", namespace },
    spec: {
      template: {
        metadata: { labels: { ...labels } },
        spec: {
          serviceAccountName: "runner",
          imagePullSecrets: [{ name: "keys" }],
          initContainers: [
            {
              env: [{ valueFrom: { secretKeyRef: { name: "keys", key: "token" } } }],
              ports: [{ containerPort: 7000 }],
              restartPolicy: "Always",
            },
          ],
          containers: [
            {
              env: [
                { name: "PLAIN", value: "1" },
                { valueFrom: { secretKeyRef: { name: "keys", key: "token" } } },
                { valueFrom: { configMapKeyRef: { name: "settings", key: "mode" } } },
                { valueFrom: { secretKeyRef: { name: "absent", key: "absent", optional: true } } },
              ],
              envFrom: [
                { secretRef: { name: "keys" } },
                { configMapRef: { name: "settings" } },
                { configMapRef: { name: "absent", optional: true } },
              ],
              ports: [
                { name: "http", containerPort: 8080, protocol: "TCP" },
                { containerPort: 9001, protocol: "TCP" },
              ],
            },
          ],
          volumes: [
            { emptyDir: {} },
            { secret: { secretName: "keys", items: [{ key: "token" }] } },
            { configMap: { name: "blob", items: [{ key: "image" }] } },
            { secret: { secretName: "absent", optional: true } },
            {
              projected: {
                sources: [
                  { serviceAccountToken: { path: "token" } },
                  { secret: { name: "keys", items: [{ key: "token" }] } },
                  { configMap: { name: "settings", items: [{ key: "mode" }] } },
                ],
              },
            },
          ],
        },
      },
    },
  },
};
type Objects = typeof objects;
type PodSpec = Objects["deployment"]["spec"]["template"]["spec"];

/** What is found broken once these objects have been changed. */
function brokenAfter(change: (objects: Objects) => void): string[] {
  const changed = structuredClone(objects);
  change(changed);
  return brokenAmong(Object.values(changed));
}

/** The same for a change of the Deployment's pods. */
const brokenAfterPods = (change: (pods: PodSpec) => void): string[] =>
  brokenAfter(({ deployment }) => {
    change(deployment.spec.template.spec);
  });

describe("Following references from object to object", () => {
  it("finds nothing where everything leads somewhere", () => {
    assert.deepEqual(
      brokenAfter(() => undefined),
      [],
    );
  });

  for (const [kind, change, line] of [
    [
      "a variable from a Secret's key that is not there",
      (pods) => (pods.containers[0]!.env[1] = { valueFrom: { secretKeyRef: { name: "keys", key: "tokn" } } }),
      "Secret keys: no key tokn",
    ],
    [
      "a variable from a Secret that is not there",
      (pods) => (pods.containers[0]!.env[1] = { valueFrom: { secretKeyRef: { name: "kees", key: "token" } } }),
      "Secret kees: not there",
    ],
    [
      "a variable from a ConfigMap's key that is not there",
      (pods) => (pods.containers[0]!.env[2] = { valueFrom: { configMapKeyRef: { name: "settings", key: "mood" } } }),
      "ConfigMap settings: no key mood",
    ],
    [
      "all variables from a Secret that is not there",
      (pods) => (pods.containers[0]!.envFrom[0] = { secretRef: { name: "kees" } }),
      "Secret kees: not there",
    ],
    [
      "all variables from a ConfigMap that is not there",
      (pods) => (pods.containers[0]!.envFrom[1] = { configMapRef: { name: "sittings" } }),
      "ConfigMap sittings: not there",
    ],
    [
      "an init container's variable from a Secret's key that is not there",
      (pods) => (pods.initContainers[0]!.env[0]!.valueFrom.secretKeyRef.key = "tokn"),
      "Secret keys: no key tokn",
    ],
    [
      "a volume of a Secret that is not there",
      (pods) => (pods.volumes[1] = { secret: { secretName: "kees", items: [] } }),
      "Secret kees: not there",
    ],
    [
      "a volume of a Secret's key that is not there",
      (pods) => (pods.volumes[1] = { secret: { secretName: "keys", items: [{ key: "tokn" }] } }),
      "Secret keys: no key tokn",
    ],
    [
      "a volume of a ConfigMap's key that is not there",
      (pods) => (pods.volumes[2] = { configMap: { name: "blob", items: [{ key: "imago" }] } }),
      "ConfigMap blob: no key imago",
    ],
    [
      "a projected volume of a Secret that is not there",
      (pods) => (pods.volumes[4]!.projected!.sources[1] = { secret: { name: "kees", items: [] } }),
      "Secret kees: not there",
    ],
    [
      "a projected volume of a ConfigMap's key that is not there",
      (pods) => (pods.volumes[4]!.projected!.sources[2]!.configMap!.items[0]!.key = "mood"),
      "ConfigMap settings: no key mood",
    ],
    [
      "a ServiceAccount that is not there",
      (pods) => (pods.serviceAccountName = "walker"),
      "ServiceAccount walker: not there",
    ],
    [
      "an image pull Secret that is not there",
      (pods) => (pods.imagePullSecrets[0]!.name = "kees"),
      "Secret kees: not there",
    ],
  ] satisfies [string, (pods: PodSpec) => unknown, string][]) {
    it(`finds ${kind}`, () => {
      assert.deepEqual(brokenAfterPods(change), [`Deployment web -> ${line}`]);
    });
  }

  for (const [kind, change, line] of [
    [
      "a named target port that no container opens",
      ({ service }) => (service.spec.ports[0]!.targetPort = "https"),
      "Service web -> Deployment web: no container port https (TCP)",
    ],
    [
      "a numbered target port that no container opens",
      ({ service }) => (service.spec.ports[1]!.targetPort = 9000),
      "Service web -> Deployment web: no container port 9000 (TCP)",
    ],
    [
      "a target port that is open for another protocol only",
      ({ service }) => (service.spec.ports[1]!.protocol = "UDP"),
      "Service web -> Deployment web: no container port 9001 (UDP)",
    ],
    [
      "a port without a target port that no container opens",
      ({ service }) => (service.spec.ports[2]!.port = 7001),
      "Service web -> Deployment web: no container port 7001 (TCP)",
    ],
    [
      "a port that only an init container opens which ends",
      ({ deployment }) => (deployment.spec.template.spec.initContainers[0]!.restartPolicy = "Never"),
      "Service web -> Deployment web: no container port 7000 (TCP)",
    ],
    [
      "a Service that selects nothing",
      ({ service }) => (service.spec.selector = { app: "wep" }),
      "Service web: selects no workload's pods",
    ],
    [
      "a disruption budget that selects nothing",
      ({ budget }) => (budget.spec.selector.matchLabels.app = "wep"),
      "PodDisruptionBudget web: selects no workload's pods",
    ],
    [
      "an Ingress of a class that is not there",
      ({ ingress }) => (ingress.spec.ingressClassName = "nginy"),
      "Ingress web -> IngressClass nginy: not there",
    ],
    [
      "an Ingress to a Service that is not there",
      ({ ingress }) => (ingress.spec.rules[0]!.http.paths[0]!.backend.service.name = "wep"),
      "Ingress web -> Service wep: not there",
    ],
    [
      "an Ingress to a port that its Service has not",
      ({ ingress }) => (ingress.spec.rules[0]!.http.paths[0]!.backend.service.port.name = "https"),
      "Ingress web -> Service web: no port https",
    ],
    [
      "an Ingress whose Secret holds no certificate",
      ({ secret }) => delete secret.data["tls.crt"],
      "Ingress web -> Secret keys: no key tls.crt",
    ],
    [
      "an Ingress with TLS for a host that no rule has",
      ({ ingress }) => ingress.spec.tls[0]!.hosts.push("b.test"),
      "web: TLS for b.test, no rule",
    ],
    [
      "an Ingress with a host that has no TLS",
      ({ ingress }) => ingress.spec.rules.push({ ...ingress.spec.rules[0]!, host: "b.test" }),
      "web: b.test has no TLS",
    ],
  ] satisfies [string, (objects: Objects) => unknown, string][]) {
    it(`finds ${kind}`, () => {
      assert.deepEqual(brokenAfter(change), [line]);
    });
  }

  it("looks for what a namespaced object names in its own namespace only", () => {
    const broken = brokenAfter(({ account }) => (account.metadata.namespace = "elsewhere"));
    assert.deepEqual(broken, ["Deployment web -> ServiceAccount runner: not there"]);
  });

  it("skips a Service without a selector: somebody else says where it leads", () => {
    const broken = brokenAfter(({ service }) => {
      service.spec.selector = undefined;
      service.spec.ports[0]!.targetPort = "nowhere";
    });
    assert.deepEqual(broken, []);
  });

  it("says a reference that two containers share once", () => {
    const broken = brokenAfter(({ secret }) => delete secret.data["token"]);
    assert.deepEqual(broken, ["Deployment web -> Secret keys: no key token"]);
  });
});
