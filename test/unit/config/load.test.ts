import assert from "node:assert/strict";
import * as pulumi from "@pulumi/pulumi";
import { charts } from "../../../src/charts";
import { loadConfig } from "../../../src/config/load";
import { names } from "../../../src/platform/names";
import {
  faultsOf,
  kubeconfigOf,
  load,
  secretText,
  smallest,
  useStack,
  withSecrets,
  withSettings,
  type Stack,
} from "./stack";

const set = "pulumi config set --stack dev";

/** A stack with a token for each of `agents`. */
function tokens(agents: unknown, stack: Stack): Stack {
  const keys = (agents as { name: string }[]).map(({ name }) => [`agentToken-${name}`, "canary-agent-token"]);
  return withSecrets(
    { "agentToken-team-a": undefined, ...(Object.fromEntries(keys) as Record<string, string>) },
    stack,
  );
}

describe("the config", () => {
  before(useStack);

  describe("of a good stack", () => {
    it("is read with every default in its place", () => {
      const { cluster, agents, oauthClientSecret, warnings, ...rest } = load(smallest);
      assert.deepEqual(rest, {
        production: false,
        adopt: false,
        domain: "workspaces.example.com",
        oauthClientId: "5f0e0c0d9a1b",
        ingress: { controller: "nginx" },
        tls: { mode: "self-signed" },
        proxy: { ssh: { service: "off", port: 22 } },
        gitlab: { url: "https://gitlab.com", kasAddress: "wss://kas.gitlab.com" },
        charts: Object.fromEntries(
          Object.entries(charts).map(([name, { repository, version }]) => [
            name,
            { repository, version, timeout: 900, values: {} },
          ]),
        ),
      });
      assert.equal(cluster.name, "metal");
      assert.equal(agents[0]?.name, "team-a");
      assert.ok(warnings.length > 0 && pulumi.Output.isInstance(oauthClientSecret));
    });

    it("is read with everything that can be said", () => {
      const config = load(
        withSecrets(
          { signingKey: "canary-signing-key-of-some-length\n" },
          withSettings({
            instance: "blue",
            production: "false",
            ingress: { controller: "existing", className: "haproxy", annotations: { "a.b/c": "d" } },
            tls: { mode: "self-signed" },
            proxy: { ssh: { service: "LoadBalancer", port: 2222 } },
            agents: [{ name: "team-a", namespace: "agent-a", serviceAccount: "agent" }],
            gitlab: { url: "https://git.example.com/", kasAddress: "grpcs://kas.example.com:8150" },
            charts: { "gitlab-agent": { version: "2.27.0", repository: "oci://mirror.example.com", values: { a: 1 } } },
          }),
        ),
      );
      assert.equal(config.instance, "blue");
      assert.deepEqual(config.ingress, { controller: "existing", className: "haproxy", annotations: { "a.b/c": "d" } });
      assert.deepEqual(config.proxy.ssh, { service: "LoadBalancer", port: 2222 });
      assert.equal(config.agents[0]?.serviceAccount, "agent");
      assert.deepEqual(config.gitlab, { url: "https://git.example.com", kasAddress: "grpcs://kas.example.com:8150" });
      assert.deepEqual(config.charts["gitlab-agent"], {
        version: "2.27.0",
        repository: "oci://mirror.example.com",
        timeout: 900,
        values: { a: 1 },
      });
    });

    // A trailing newline in the client secret makes every login fail with a message about something else.
    it("holds secrets marked as such, without the newline that files end with", async () => {
      const config = load(
        withSecrets({
          oauthClientSecret: "canary-oauth\n",
          "agentToken-team-a": "  canary-token\r\n",
          signingKey: "canary-signing-key\n",
        }),
      );
      assert.equal(await secretText(config.oauthClientSecret), "canary-oauth");
      assert.equal(await secretText(config.agents[0]?.token), "canary-token");
      assert.equal(await secretText(config.signingKey), "canary-signing-key");
      assert.match(await secretText(kubeconfigOf(config)), /canary-kubernetes-token/);
    });

    it("derives the address of GitLab's agent server from the address of GitLab", () => {
      const kasAddress = (url: string) => load(withSettings({ gitlab: { url } })).gitlab.kasAddress;
      assert.equal(kasAddress("https://gitlab.com/"), "wss://kas.gitlab.com");
      assert.equal(kasAddress("https://git.example.com"), "wss://git.example.com/-/kubernetes-agent/");
      assert.equal(
        kasAddress("https://git.example.com:8443/tools/"),
        "wss://git.example.com:8443/tools/-/kubernetes-agent/",
      );
      assert.equal(kasAddress("http://git.example.com"), "ws://git.example.com/-/kubernetes-agent/");
    });

    it("lets other namespaces be", () => {
      load(smallest);
      pulumi.runtime.setAllConfig(
        { ...pulumi.runtime.allConfig(), "aws:region": "eu-west-1" },
        Object.keys(smallest.secrets).map((key) => `gitlab-workspaces:${key}`),
      );
      assert.equal(loadConfig().domain, "workspaces.example.com");
    });
  });

  describe("of a stack that says nothing", () => {
    it("is refused with everything that is missing, and the command for each", () => {
      assert.equal(
        faultsOf({ settings: {}, secrets: {}, explicitProviders: null }),
        `9 faults in the config of stack dev:

  pulumi:disable-default-providers is not set
    It must be a list with kubernetes in it, so that nothing ever reaches the cluster of your own kubeconfig.
    $ ${set} --path 'pulumi:disable-default-providers[0]' kubernetes

  gitlab-workspaces:domain is not set
    DNS name of the workspaces proxy. Workspaces get names right below it.
    $ ${set} gitlab-workspaces:domain workspaces.example.com

  gitlab-workspaces:oauthClientId is not set
    Application ID of the OAuth application in GitLab whose redirect URI is https://<domain>/auth/callback.
    $ ${set} gitlab-workspaces:oauthClientId 5f0e0c0d9a1b

  gitlab-workspaces:oauthClientSecret is not set
    Secret of the OAuth application named by oauthClientId.
    $ ${set} --secret gitlab-workspaces:oauthClientSecret < oauth-client-secret.txt

  gitlab-workspaces:cluster is not set
    The Kubernetes cluster.
    $ ${set} --path 'gitlab-workspaces:cluster.cloud' self-managed
    $ ${set} --path 'gitlab-workspaces:cluster.name' production-1

  gitlab-workspaces:kubeconfig is not set
    Kubeconfig of the cluster, whole: certificates and tokens inside, no paths to files.
    $ ${set} --secret gitlab-workspaces:kubeconfig < kubeconfig.yaml

  gitlab-workspaces:tls is not set
    Where the certificates for the domain and \`*.<domain>\` come from.
    $ ${set} --path 'gitlab-workspaces:tls.mode' provided
    $ ${set} --path 'gitlab-workspaces:tls.certificate' < certificate.pem

  gitlab-workspaces:agents is not set
    The GitLab agents to install, at least one.
    $ ${set} --path 'gitlab-workspaces:agents[0].name' team-a

  gitlab-workspaces:agentToken-team-a is not set
    Token of the agent of that name, from GitLab.
    $ ${set} --secret gitlab-workspaces:agentToken-team-a < agent-token.txt`,
      );
    });
  });

  describe("with a domain", () => {
    const refused: readonly (readonly [string, string, string, string?])[] = [
      ["that is empty", "", "must not be empty"],
      ["with a scheme", "https://ws.example.com", "must be a bare DNS name, without a scheme", "ws.example.com"],
      ["with a scheme and more", "HTTPS://WS.example.com:443/a?b", "without a scheme", "ws.example.com"],
      ["that is a wildcard", "*.ws.example.com", "must be the parent name, without '*'", "ws.example.com"],
      ["with a port", "ws.example.com:8443", "without a port", "ws.example.com"],
      ["with a path", "ws.example.com/a", "without a path", "ws.example.com"],
      ["with a trailing dot", "ws.example.com.", "must not end with a dot", "ws.example.com"],
      ["with a space", " ws.example.com", "must not hold spaces", "ws.example.com"],
      ["with a newline", "ws.example.com\n", "must not hold spaces or line breaks", "ws.example.com"],
      ["in Unicode", "wörk.example.com", "must be in its ASCII form (punycode)", "xn--wrk-sna.example.com"],
      ["in capitals", "WS.example.com", "must be lower case", "ws.example.com"],
      ["of one label", "localhost", "must have at least two labels"],
      ["with a label of 64 characters", `${"a".repeat(64)}.example.com`, "more than 63 characters (RFC 1035)"],
      ["that is an IP address", "192.0.2.1", "nothing can be named below an IP address"],
      ["that ends with a number", "ws.12", "must not end with a number"],
      ["with an underscore", "my_ws.example.com", "must be labels of a-z, 0-9 and '-'"],
      ["with an empty label", "ws..example.com", "must be labels of a-z, 0-9 and '-'"],
      ["of 190 characters", `${"a".repeat(59)}.${"b".repeat(59)}.${"c".repeat(59)}.${"d".repeat(10)}`, "at most 189"],
    ];
    for (const [what, domain, rule, corrected] of refused)
      it(`${what} is refused${corrected === undefined ? "" : ", with the one that is meant"}`, () => {
        const message = faultsOf(withSettings({ domain }));
        assert.match(message, /^1 fault in the config of stack dev:\n\n {2}gitlab-workspaces:domain is /);
        assert.ok(message.includes(rule), message);
        assert.ok(
          message.endsWith(`$ ${set} gitlab-workspaces:domain ${corrected ?? "workspaces.example.com"}`),
          message,
        );
      });

    it("of 189 characters in labels of 63 is accepted", () => {
      const domain = `${"a".repeat(63)}.${"b".repeat(63)}.${"c".repeat(61)}`;
      assert.equal(load(withSettings({ domain })).domain.length, 189);
    });
  });

  describe("with a key nobody reads", () => {
    it("is refused with the key that was meant", () => {
      const message = faultsOf(withSettings({ domian: "x" }));
      assert.match(
        message,
        /gitlab-workspaces:domian is not a key of this program\n {4}Nothing reads it. Did you mean domain\?/,
      );
      assert.match(message, /pulumi config rm --stack dev gitlab-workspaces:domian/);
    });

    it("inside an object is refused the same way", () => {
      const message = faultsOf(withSettings({ cluster: { cloud: "self-managed", nmae: "metal" } }));
      assert.match(message, /^2 faults/);
      assert.match(message, /cluster\.nmae is not a key of this program\n {4}Nothing reads it. Did you mean name\?/);
      assert.match(message, /cluster\.name is not set/);
      assert.match(message, /pulumi config rm --stack dev --path 'gitlab-workspaces:cluster\.nmae'/);
    });

    it("has its value kept quiet, and is to be rotated if it looks like a misspelt secret", () => {
      const message = faultsOf(withSettings({ oauthClientSecrt: "canary" }));
      assert.match(
        message,
        /Did you mean oauthClientSecret\? If it is a secret, it is in git and its history already: rotate it/,
      );
    });

    it("does not hide what else is wrong", () => {
      const message = faultsOf(withSettings({ tls: { mode: "self-signed", sort: 1 }, production: "true" }));
      assert.match(message, /tls\.sort is not a key/);
      assert.match(message, /tls\.mode is "self-signed"/);
    });

    it("named like a property of every object is unknown all the same", () => {
      assert.match(faultsOf(withSettings({ constructor: "x" })), /gitlab-workspaces:constructor is not a key/);
    });
  });

  describe("of the wrong type", () => {
    const refused: readonly (readonly [string, unknown, string])[] = [
      ["production", "yes", 'gitlab-workspaces:production is "yes"\n    It must be true or false.'],
      ["cluster", "metal", 'gitlab-workspaces:cluster is "metal"\n    It must be an object.'],
      [
        "cluster",
        { cloud: "gce", name: "a" },
        'gitlab-workspaces:cluster.cloud is "gce"\n    It must be one of self-managed, gke, eks, aks, civo.',
      ],
      [
        "cluster",
        { cloud: "self-managed", name: 5 },
        "cluster.name is 5\n    It must be text, which in the stack file needs quotes here.",
      ],
      [
        "cluster",
        { cloud: "self-managed", name: "A_b" },
        'cluster.name is "A_b"\n    It must be 1 to 63 characters of a-z',
      ],
      [
        "cluster",
        { cloud: "self-managed", name: "a", context: "" },
        "cluster.context is empty\n    It must not be empty.",
      ],
      ["instance", "a".repeat(21), "It must be 1 to 20 characters of a-z"],
      [
        "ingress",
        { controller: "haproxy" },
        'ingress.controller is "haproxy"\n    It must be one of nginx, traefik, existing.',
      ],
      ["ingress", { controller: "existing" }, "ingress.className is not set\n    Name of its IngressClass."],
      [
        "ingress",
        { controller: "existing", className: "a", annotations: { "x/y": 1 } },
        'ingress.annotations["x/y"] is 1\n    It must be text',
      ],
      ["tls", {}, "tls.mode is not set\n    It must be one of provided, self-signed."],
      ["proxy", { ssh: { service: "NodePort" } }, "It must be one of off, ClusterIP, LoadBalancer."],
      ["proxy", { ssh: { port: "22" } }, 'proxy.ssh.port is "22"\n    It must be a number.'],
      ["proxy", { ssh: { port: 2.5 } }, "proxy.ssh.port is 2.5\n    It must be a whole number."],
      ["proxy", { ssh: { port: 0 } }, "It must be at least 1."],
      ["proxy", { ssh: { port: 70000 } }, "It must be at most 65535."],
      ["agents", [], "agents is a list\n    It must have at least one entry."],
      ["agents", { name: "team-a" }, "agents is an object\n    It must be a list."],
      [
        "agents",
        [{ name: "team-a" }, { name: "team-a" }],
        'agents[1].name is "team-a"\n    It is the name of an earlier agent too',
      ],
      ["oauthClientId", "a b", "It must be one word, without spaces."],
      [
        "oauthClientId",
        "gloas-canary",
        "oauthClientId is not shown: it looks like a secret\n    It must be the ID of the application, and this",
      ],
      ["gitlab", { url: "git.example.com" }, "It must be an address beginning with one of https://, http://."],
      ["gitlab", { url: "https://git.example.com/?a=b" }, "It must not have a query or a fragment."],
      [
        "gitlab",
        { kasAddress: "https://kas.example.com" },
        "It must be an address beginning with one of wss://, ws://",
      ],
      ["charts", { traefik: { version: "^37" } }, "It must be one exact version such as 1.2.3"],
      ["charts", { traefik: { repository: "ftp://x.example.com" } }, "beginning with one of https://, http://, oci://"],
      [
        "charts",
        { traefic: {} },
        "charts.traefic is not a key of this program\n    Nothing reads it. Did you mean traefik?",
      ],
    ];
    for (const [key, value, expected] of refused)
      it(`${key} ${JSON.stringify(value)} is refused in plain words`, () => {
        const message = faultsOf(withSettings({ [key]: value }));
        assert.ok(message.includes(expected), message);
        assert.match(message, /\n {4}\$ pulumi config /);
        assert.doesNotMatch(message, /invalid|undefined|received|expected/i);
      });

    it("can be put right with the commands it comes with: what stands in the way goes first", () => {
      const message = faultsOf(withSettings({ cluster: "metal" }));
      assert.ok(
        message.endsWith(`
    $ pulumi config rm --stack dev gitlab-workspaces:cluster
    $ ${set} --path 'gitlab-workspaces:cluster.cloud' self-managed
    $ ${set} --path 'gitlab-workspaces:cluster.name' production-1`),
        message,
      );
    });

    it("can be put right as the text it looks like", () => {
      const ingress = { controller: "existing", className: "a", annotations: { "x/y": 1 } };
      const message = faultsOf(withSettings({ ingress }));
      assert.ok(
        message.endsWith(`$ ${set} --type string --path 'gitlab-workspaces:ingress.annotations["x/y"]' 1`),
        message,
      );
    });

    it("has a long value shortened", () => {
      const message = faultsOf(withSettings({ domain: `https://${"long.".repeat(100)}example.com` }));
      assert.match(message, /domain is "https:\/\/(long\.)+(long|lon|lo|l)?\.\.\."\n/);
    });

    it("does not show credentials in an address, nor a token where none belongs", () => {
      const url = faultsOf(withSettings({ gitlab: { url: "https://me:canary@git.example.com" } }));
      assert.match(url, /gitlab\.url is "\.\.\.@git\.example\.com"\n {4}It must not hold credentials/);
      assert.match(
        faultsOf(withSettings({ domain: "glpat-canary1234567890" })),
        /domain is not shown: it looks like a secret/,
      );
    });
  });

  describe("with secrets", () => {
    it("in plain text is refused: to be rotated, and stored anew", () => {
      const { oauthClientSecret, ...secrets } = smallest.secrets;
      assert.equal(
        faultsOf({ settings: { ...smallest.settings, oauthClientSecret }, secrets }),
        `1 fault in the config of stack dev:

  gitlab-workspaces:oauthClientSecret is stored in plain text
    It is a secret, and in git and its history already: rotate it, then store the new one encrypted.
    $ ${set} --secret gitlab-workspaces:oauthClientSecret < oauth-client-secret.txt`,
      );
    });

    const nested: readonly (readonly [string, unknown, string])[] = [
      ["tls", { mode: "self-signed", key: "canary" }, "tlsKey"],
      ["cluster", { cloud: "self-managed", name: "metal", kubeconfig: "canary" }, "kubeconfig"],
      ["agents", [{ name: "team-a", token: "canary" }], "agentToken-team-a"],
      ["proxy", { ssh: { hostKey: "canary" } }, "sshHostKey"],
      ["gitlab", { clientSecret: "canary" }, "oauthClientSecret"],
    ];
    for (const [key, value, flat] of nested) {
      it(`inside ${key} is refused, encrypted or not, with its own key ${flat}`, () => {
        const plain = faultsOf(withSettings({ [key]: value }));
        assert.ok(plain.includes(`This secret has a key of its own, ${flat}. If it is stored in plain text`), plain);
        assert.ok(plain.includes(`${set} --secret gitlab-workspaces:${flat} < `), plain);
        const encrypted = faultsOf({ ...withSettings({ [key]: value }), secretSettings: [key] });
        assert.ok(encrypted.includes(`gitlab-workspaces:${key} is stored as a secret or holds one`), encrypted);
        assert.ok(
          encrypted.includes(`A secret is never part of an object: it has a key of its own, ${flat}.`),
          encrypted,
        );
      });
    }

    it("where the program knows none is refused, and shown neither there nor in what follows from it", () => {
      for (const [key, value] of Object.entries({
        domain: "canary.example.com",
        cluster: { cloud: "self-managed", name: "metal", context: "canary" },
        agents: [{ name: "canary" }],
        charts: { traefik: { values: { a: "canary" } } },
      })) {
        const message = faultsOf({ ...withSettings({ [key]: value }), secretSettings: [key] });
        assert.ok(message.includes(`gitlab-workspaces:${key} is stored as a secret or holds one`), message);
        assert.match(message, /set it again without --secret\. The secrets are kubeconfig, oauthClientSecret/);
      }
    });

    const glagent = `glagent-${"canary0".repeat(8)}`;
    const pem = "-----BEGIN EC PRIVATE KEY-----\ncanary\n-----END EC PRIVATE KEY-----\n";
    const inValues: readonly (readonly [string, string, object, string?])[] = [
      ["gitlab-agent", "config.token", { config: { token: "canary" } }, "agentToken-team-a"],
      ["gitlab-agent", "extraEnv[1].value", { extraEnv: [{}, { value: glagent }] }, "agentToken-team-a"],
      ["gitlab-agent", 'x["a.b"]', { x: { "a.b": "TOKEN=glrt-canary_0123456789abcdef" } }],
      ["gitlab-agent", "config.api.tls.key", { config: { api: { tls: { key: pem } } } }],
      ["gitlab-workspaces-proxy", "auth.client_secret", { auth: { client_secret: "canary" } }, "oauthClientSecret"],
      ["gitlab-workspaces-proxy", "auth.signing_key", { auth: { signing_key: "canary" } }, "signingKey"],
      ["gitlab-workspaces-proxy", "ssh.host_key", { ssh: { host_key: pem } }, "sshHostKey"],
      [
        "gitlab-workspaces-proxy",
        "ingress.tls.workspaceDomainKey",
        { ingress: { tls: { workspaceDomainKey: pem } } },
        "tlsKey",
      ],
      ["traefik", "env", { env: `gloas-${"canary0".repeat(10)}` }, "oauthClientSecret"],
      ["ingress-nginx", "token", { token: "glpat-canary0123456789abcd" }],
    ];
    for (const [chart, place, values, flat] of inValues)
      it(`among the values of ${chart} at ${place} is refused: to be rotated, and where the new one belongs`, () => {
        const key = `charts.${chart}.values.${place}`;
        const belongs =
          flat === undefined
            ? "Put the new one into a Secret on the cluster, and the name of that into the values."
            : `The new one has a key of its own, ${flat}.`;
        const command = flat === undefined ? "" : `\n    $ ${set} --secret gitlab-workspaces:${flat} < `;
        const message = faultsOf(withSettings({ charts: { [chart]: { values } } }));
        const expected = `1 fault in the config of stack dev:

  gitlab-workspaces:${key} (not shown) is a secret in plain text
    It is in git and its history already: rotate it. ${belongs}
    $ pulumi config rm --stack dev --path 'gitlab-workspaces:${key}'${command}`;
        assert.equal(message.slice(0, expected.length), expected);
      });

    it("among the values of a chart is refused when they are encrypted too, with its own key", () => {
      const charts = { "gitlab-agent": { values: { config: { token: "canary" } } } };
      const message = faultsOf({ ...withSettings({ charts }), secretSettings: ["charts"] });
      assert.match(
        message,
        /charts is stored as a secret or holds one\n.*it has a key of its own, agentToken-team-a\./,
      );
    });

    it("are not seen where there are none among the values of a chart", () => {
      const values = {
        config: { token: "", secretName: "glagent-token-production" },
        env: [{ name: "CA", value: "-----BEGIN CERTIFICATE-----" }, { name: "glpat" }],
        auth: { client_secret: null, host: "https://gitlab.example.com/glpat-" },
        on: true,
        port: 1,
      };
      assert.ok(load(withSettings({ charts: { "gitlab-agent": { values }, traefik: { values } } })));
    });

    it("that are empty or of several words is refused", () => {
      assert.match(
        faultsOf(withSecrets({ oauthClientSecret: " \n" })),
        /oauthClientSecret \(secret, not shown\)\n {4}It is empty/,
      );
      assert.match(
        faultsOf(withSecrets({ "agentToken-team-a": "canary\ncanary" })),
        /agentToken-team-a \(secret, not shown\)\n {4}It must be one word/,
      );
    });

    it("of an agent needs the agent's name in the key", () => {
      const message = faultsOf(withSecrets({ agentToken: "canary", "agentToken-team-a": undefined }));
      assert.match(
        message,
        /agentToken lacks the name of its agent\n {4}Each entry of agents has a token of its own, here agentToken-team-a\./,
      );
      assert.match(message, /agentToken-team-a is not set/);
    });

    it("of an agent that does not exist is refused with the one that was meant", () => {
      const message = faultsOf(withSecrets({ "agentToken-tema-a": "canary" }));
      assert.match(message, /agentToken-tema-a belongs to no agent\n.*Did you mean agentToken-team-a\?/);
    });

    it("is refused when the list of agents has one without a token", () => {
      const message = faultsOf(withSettings({ agents: [{ name: "team-a" }, { name: "team-b" }] }));
      assert.match(message, /^1 fault.*\n\n {2}gitlab-workspaces:agentToken-team-b is not set/);
    });

    it("that nothing reads in this stack is refused", () => {
      assert.match(
        faultsOf(withSecrets({ tlsKey: "canary" })),
        /tlsKey is set and not needed\n {4}It is read only when tls\.mode is provided/,
      );
    });

    it("refuses a signing key that can be guessed", () => {
      const message = faultsOf(withSecrets({ signingKey: "canary\n" }));
      assert.match(message, /signingKey \(secret, not shown\)\n {4}It must have at least 16 characters/);
      assert.match(message, /openssl rand -hex 32 > signing-key.txt/);
    });
  });

  describe("of a production stack", () => {
    it("must choose the ingress controller, and cannot do with a self-signed certificate", () => {
      const message = faultsOf(withSettings({ production: "true" }));
      assert.match(message, /^2 faults/);
      assert.match(
        message,
        /ingress\.controller is not set\n {4}In production the ingress controller is yours to choose/,
      );
      assert.match(message, /tls\.mode is "self-signed"\n {4}In production it must be provided/);
    });
  });

  describe("of default providers", () => {
    it("must switch off that of Kubernetes by name, so that no object reaches an ambient kubeconfig", () => {
      const fault = (explicitProviders: unknown) => faultsOf({ ...smallest, explicitProviders });
      const command = (index: number) => `${set} --path 'pulumi:disable-default-providers[${index}]' kubernetes`;
      assert.ok(fault(null).endsWith(command(0)));
      assert.ok(fault("").endsWith(command(0)));
      assert.ok(fault(["aws", "gcp"]).endsWith(command(2)));
      assert.match(fault(["*"]), /without '\*': the program needs the default providers of others/);
      assert.ok(fault("kubernetes").includes("pulumi config rm --stack dev pulumi:disable-default-providers\n"));
    });
  });

  // Each of these is accepted by a preview and refused half-way through the update.
  describe("with a controller in a namespace of its own", () => {
    const inside = (namespace: string, more: object = {}): Stack =>
      withSettings({ ingress: { controller: "nginx", namespace }, ...more });

    it("takes it", () => {
      assert.deepEqual(load(inside("ingress-nginx")).ingress, { controller: "nginx", namespace: "ingress-nginx" });
    });

    it("refuses what is Kubernetes's own or everybody's, the proxy's, and an agent's", () => {
      for (const [stack, complaint] of [
        [inside("kube-system"), /ingress\.namespace is "kube-system"\n.*a namespace for this controller alone/],
        [inside("default"), /ingress\.namespace is "default"\n.*a namespace for this controller alone/],
        [inside("gitlab-workspaces"), /ingress\.namespace is "gitlab-workspaces"\n.*this is the proxy's/],
        [
          inside("gitlab-workspaces-blue", { instance: "blue" }),
          /ingress\.namespace is "gitlab-workspaces-blue"\n.*this is the proxy's/,
        ],
        [
          inside("edge", { agents: [{ name: "team-a", namespace: "edge" }] }),
          /agents\[0\]\.namespace is "edge"\n.*this is the one of the program itself/,
        ],
      ] as const)
        assert.match(faultsOf(stack), complaint);
    });
  });

  describe("that takes over what is there", () => {
    it("says so in every preview, and which keys people would notice to be new", () => {
      const warned = (stack: Stack): string => load(stack).warnings.join("\n");
      const adopting = withSettings({ adopt: true });
      assert.match(warned(adopting), /adopt is on: .*pulumi config rm --stack dev .*gitlab-workspaces:adopt/);
      assert.match(warned(adopting), /signingKey is not set: .*everybody has to log in again/);
      assert.match(warned(adopting), /sshHostKey is not set: .*SSH clients are warned/);
      assert.doesNotMatch(warned(withSecrets({ signingKey: "0123456789abcdef" }, adopting)), /signingKey is not set/);
      assert.doesNotMatch(warned(smallest), /adopt/);
    });
  });

  describe("with agents", () => {
    const fault = (agents: unknown, instance?: string) => faultsOf(tokens(agents, withSettings({ agents, instance })));
    const accepted = (agents: unknown, instance?: string) =>
      load(tokens(agents, withSettings({ agents, instance }))).agents.length;

    it("takes names as long as their Helm release allows, and refuses longer ones with what would fit", () => {
      for (const [instance, longest] of [
        [undefined, 40],
        ["blue", 35],
        ["b".repeat(20), 19],
      ] as const) {
        const name = "n".repeat(longest);
        assert.equal(names(instance).agentRelease(name).length, 53);
        assert.equal(accepted([{ name }], instance), 1);
        const release = `gitlab-agent-<name>${instance === undefined ? "" : `-${instance}`}`;
        assert.equal(
          fault([{ name: `${name}m` }], instance),
          `1 fault in the config of stack dev:

  gitlab-workspaces:agents[0].name is "${name}m"
    It must be at most ${longest} characters: the agent's Helm release is ${release}, and Helm takes 53 (https://github.com/helm/helm/blob/v3.19.0/pkg/chartutil/validate_name.go). Register it in GitLab under a shorter name.
    $ ${set} --path 'gitlab-workspaces:agents[0].name' ${name}`,
        );
      }
    });

    it("says one thing of a name that is too long for anything", () => {
      assert.match(fault([{ name: "n".repeat(64) }]), /^1 fault[^]*It must be 1 to 63 characters/);
    });

    it("refuses the namespaces of the program itself, under their names with the instance too", () => {
      for (const instance of [undefined, "blue"]) {
        const { proxyNamespace, ingressNamespace, agentNamespace } = names(instance);
        for (const namespace of [proxyNamespace, ingressNamespace])
          assert.equal(
            fault([{ name: "team-a", namespace }], instance),
            `1 fault in the config of stack dev:

  gitlab-workspaces:agents[0].namespace is "${namespace}"
    It must be a namespace for this agent alone, and this is the one of the program itself.
    $ ${set} --path 'gitlab-workspaces:agents[0].namespace' ${agentNamespace("team-a")}`,
          );
      }
    });

    it("refuses the namespace of another agent, given or derived", () => {
      const shared = [
        { name: "a", namespace: "ours" },
        { name: "b", namespace: "ours" },
      ];
      const message = fault(shared);
      assert.match(message, /^1 fault/);
      assert.match(message, /agents\[1\]\.namespace is "ours"\n.*alone, and this is the one of agents\[0\]\./);
      assert.ok(message.endsWith("agents[1].namespace' gitlab-agent-b"), message);
      for (const instance of [undefined, "blue"]) {
        const taken = [{ name: "a", namespace: names(instance).agentNamespace("b") }, { name: "b" }];
        assert.match(fault(taken, instance), /agents\[0\]\.namespace is .*\n.*this is the one of agents\[1\]\./);
      }
    });

    it("refuses namespaces that are Kubernetes's own or everybody's", () => {
      for (const namespace of ["default", "kube-system", "kube-agents"]) {
        const message = fault([{ name: "team-a", namespace }]);
        assert.ok(message.includes(`agents[0].namespace is "${namespace}"\n    It must be a namespace for this agent`));
        assert.ok(message.endsWith(`$ ${set} --path 'gitlab-workspaces:agents[0].namespace' gitlab-agent-team-a`));
      }
    });

    it("takes the namespace that it would derive anyway, and those that merely look like the program's", () => {
      assert.equal(accepted([{ name: "team-a", namespace: "gitlab-agent-team-a" }, { name: "team-b" }]), 2);
      assert.equal(accepted([{ name: "team-a", namespace: "gitlab-workspaces-green" }], "blue"), 1);
      assert.equal(accepted([{ name: "team-a", namespace: "gitlab-agent-team-b" }, { name: "team-b" }], "blue"), 2);
    });

    it("takes a release under another name, of any length that Helm takes, for an agent that is there already", () => {
      assert.equal(accepted([{ name: "n".repeat(50), release: "r".repeat(53) }]), 1);
      assert.match(
        fault([{ name: "team-a", release: "r".repeat(54) }]),
        /agents\[0\]\.release is .*\n.*1 to 53 characters/,
      );
    });

    it("wants to know in which namespace a ServiceAccount of the user's is", () => {
      assert.equal(
        fault([{ name: "team-a", serviceAccount: "agent" }]),
        `1 fault in the config of stack dev:

  gitlab-workspaces:agents[0].namespace is not set
    It must name the namespace of serviceAccount: the account is yours, in a namespace of yours, and the program makes neither.
    $ ${set} --path 'gitlab-workspaces:agents[0].namespace' gitlab-agent-team-a`,
      );
    });

    it("says all that at once, whatever key too many there is", () => {
      const message = fault([
        { name: "n".repeat(41), namespace: "gitlab-workspaces", replicas: 2 },
        { name: "b", serviceAccount: "agent" },
      ]);
      assert.match(message, /^4 faults/);
      assert.match(
        message,
        /\[0\]\.replicas is not a key[^]*\[1\]\.namespace is not set[^]* gitlab-agent-b\n[^]*at most 40[^]*program itself/,
      );
    });

    it("judges no name by an instance that is refused itself", () => {
      const agents = [{ name: "team-a", namespace: "gitlab-agent-team-b" }, { name: "team-b" }];
      assert.match(fault(agents, "b".repeat(21)), /^1 fault[^]*gitlab-workspaces:instance is /);
    });
  });

  describe("with charts", () => {
    it("refuses a proxy with known holes, and says where GitLab names them", () => {
      for (const version of ["0.1.20", "0.1.22", "0.1.23-rc1", "0.0.99"]) {
        const message = faultsOf(withSettings({ charts: { "gitlab-workspaces-proxy": { version } } }));
        assert.ok(message.includes(`charts.gitlab-workspaces-proxy.version is "${version}"`), message);
        assert.match(
          message,
          /It must be 0\.1\.23 or newer: .* https:\/\/docs\.gitlab\.com\/user\/workspace\/set_up_gitlab_agent_and_proxies\//,
        );
        assert.ok(message.endsWith(" 0.1.25"));
      }
      for (const version of ["0.1.23", "0.2.0", "1.0.0"])
        assert.ok(load(withSettings({ charts: { "gitlab-workspaces-proxy": { version } } })));
    });

    it("names every override of an installed chart in the preview, and never a value", () => {
      const { warnings } = load(
        withSettings({
          charts: {
            "gitlab-agent": { version: "2.27.0", values: { image: { tag: "canary" } } },
            "ingress-nginx": { repository: "https://mirror.example.com" },
            traefik: { version: "1.2.3" },
          },
        }),
      );
      assert.ok(
        warnings.includes("charts.gitlab-agent is overridden: version 2.27.0 instead of 2.26.0; values under image."),
      );
      assert.ok(warnings.includes("charts.ingress-nginx is overridden: repository https://mirror.example.com."));
      assert.ok(!warnings.some((warning) => /canary|traefik is/.test(warning)));
    });
  });

  describe("that is legal and yet to be known", () => {
    const warned = (settings: Record<string, unknown>) => load(withSettings(settings)).warnings.join("\n");
    it("is said in every preview", () => {
      assert.match(
        warned({}),
        /ingress\.controller is nginx: upstream retired ingress-nginx in March 2026.*\(https:\/\/kubernetes\.io\/blog\/2025\/11\/11\/ingress-nginx-retirement\/\)\. The alternatives are traefik and existing\./,
      );
      assert.match(warned({}), /tls\.mode is self-signed/);
      assert.match(warned({}), /agents\[0\], team-a, runs as cluster-admin/);
      assert.match(
        warned({ gitlab: { url: "http://git.example.com" } }),
        /gitlab\.url is http:\/\/git\.example\.com: without https/,
      );
      assert.match(warned({ gitlab: { kasAddress: "grpc://kas.example.com" } }), /gitlab\.kasAddress is grpc:/);
    });

    it("is not said where it does not hold", () => {
      assert.doesNotMatch(warned({ ingress: { controller: "traefik" } }), /nginx/);
      assert.doesNotMatch(
        warned({ agents: [{ name: "team-a", namespace: "ours", serviceAccount: "agent" }] }),
        /cluster-admin/,
      );
    });
  });

  // Whatever breaks while secrets are being read, its message may quote them.
  it("gives nothing away when reading it fails in an unforeseen way", () => {
    load(smallest);
    const original = Object.getOwnPropertyDescriptor(Object, "hasOwn");
    assert.ok(original);
    try {
      Object.hasOwn = () => {
        throw Object.assign(new Error("choked on canary-1"), { text: "canary-2", cause: new Error("canary-3") });
      };
      assert.match(
        faultsOf(smallest),
        /could not be read.*This is a bug of the program: please report it, with the place src.config.stack-config\.ts:\d+\./,
      );
    } finally {
      Object.defineProperty(Object, "hasOwn", original);
    }
  });
});
