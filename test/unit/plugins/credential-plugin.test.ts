import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { KubeConfig } from "@kubernetes/client-node";
import { answer } from "../../../local/plugins/credential-plugin";
import { installPlugins } from "../../../local/plugins/install";
import { credentials, parseKubeconfig } from "../../../local/plugins/kubernetes/kubeconfig";
import { authority, StandInCloud } from "../../support/cloud";

const command = "gke-gcloud-auth-plugin";
const server = "https://127.0.0.1:6443";

let cloud: StandInCloud;
beforeEach(() => (cloud = new StandInCloud()));
afterEach(() => {
  cloud.remove();
});

const execInfo = (of: string, ca = authority): string =>
  JSON.stringify({
    apiVersion: "client.authentication.k8s.io/v1beta1",
    kind: "ExecCredential",
    spec: { cluster: { server: of, "certificate-authority-data": Buffer.from(ca).toString("base64") } },
  });

const flag = "--use_application_default_credentials";

const asked = (info?: string, ...given: string[]): string =>
  answer(
    { command, clusters: cloud.clusters, kubeconfig: cloud.kubeconfig },
    { arguments: given.length > 0 ? given : [flag], execInfo: info },
  );

describe("the stand-in for a cloud's credential plugin", () => {
  it("answers with the client certificate of the local control plane's admin", () => {
    const { kind, apiVersion, status } = JSON.parse(asked(execInfo(server))) as Record<string, Record<string, string>>;
    assert.deepEqual([kind, apiVersion], ["ExecCredential", "client.authentication.k8s.io/v1beta1"]);
    assert.deepEqual([status!["clientCertificateData"], status!["clientKeyData"]], ["cert", "key"]);
    assert.ok(Date.parse(status!["expirationTimestamp"]!) > Date.now());
  });

  it("refuses every server that the local engine did not start", () => {
    assert.throws(() => asked(execInfo("https://192.0.2.1")), /not an API server that the local engine started/);
    assert.throws(() => asked(execInfo(server, "theirs")), /not an API server that the local engine started/);
  });

  it("answers a caller that says nothing of the cluster, as the real one does", () => {
    assert.match(asked(), /ExecCredential/);
  });

  it("serves the provider's own credentials, and not those of another command's login", () => {
    assert.throws(
      () => asked(execInfo(server), "--other"),
      /serves "gke-gcloud-auth-plugin --use_application_default_credentials"/,
    );
  });

  it("serves kubelogin for the API servers of AKS, by the chain of credentials that the provider has", () => {
    const kubelogin = { command: "kubelogin", clusters: cloud.clusters, kubeconfig: cloud.kubeconfig };
    const chained = ["get-token", "--login", "chained", "--server-id", "6dae42f8-4368-4678-94ff-3960e28e3630"];
    assert.match(answer(kubelogin, { arguments: chained, execInfo: undefined }), /ExecCredential/);
    const others = [chained.with(2, "devicecode"), chained.with(4, "another"), chained.slice(0, 3)];
    for (const given of others)
      assert.throws(() => answer(kubelogin, { arguments: given, execInfo: undefined }), /serves "kubelogin get-token/);
  });

  it("tells its version, and that it is a stand-in", () => {
    assert.match(asked(undefined, "--version"), /^gke-gcloud-auth-plugin .*stand-in/);
  });

  it("is a command that kubectl's, Node's and our own clients run", async () => {
    const bin = join(cloud.folder, "bin");
    const { kubeconfig, clusters } = cloud;
    await installPlugins({
      ...{ bin, clusters, kubeconfig, account: cloud.folder, helm: "helm" },
      pulumiHome: join(cloud.folder, "pulumi"),
    });
    const config = (provideClusterInfo: boolean): string =>
      JSON.stringify({
        "current-context": "c",
        contexts: [{ name: "c", context: { cluster: "c", user: "u" } }],
        clusters: [
          {
            name: "c",
            cluster: { server, "certificate-authority-data": Buffer.from(authority).toString("base64") },
          },
        ],
        users: [
          {
            name: "u",
            user: {
              exec: {
                apiVersion: "client.authentication.k8s.io/v1beta1",
                command: join(bin, command),
                args: [flag],
                provideClusterInfo,
                interactiveMode: "Never",
              },
            },
          },
        ],
      });
    for (const told of [true, false]) {
      const found = await credentials(parseKubeconfig(config(told)));
      assert.deepEqual(found.certificate, { cert: "cert", key: "key" });
    }
    const client = new KubeConfig();
    client.loadFromString(config(true));
    const options: Record<string, unknown> = {};
    await client.applyToHTTPSOptions(options);
    assert.deepEqual([options["cert"], options["key"]], ["cert", "key"]);
    const { stdout, stderr } = await promisify(execFile)(join(bin, command), ["--version"]);
    assert.match(stdout, /gke-gcloud-auth-plugin/);
    assert.match(stderr, /^stand-in for gke-gcloud-auth-plugin/);
  });
});
