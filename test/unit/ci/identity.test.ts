import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { identity } from "../../../ci/identity";
import { Refused } from "../../../local/failure";

const canary = "eyJ-canary.of-gitlab.token";
const uuid = (digit: string) => [8, 4, 4, 4, 12].map((length) => digit.repeat(length)).join("-");

const aws = { AWS_ROLE_ARN: "arn:aws:iam::123456789012:role/preview" };
const google = {
  GCP_WORKLOAD_IDENTITY_PROVIDER: "projects/12/locations/global/workloadIdentityPools/gitlab/providers/gitlab",
  GCP_SERVICE_ACCOUNT: "preview@my-project.iam.gserviceaccount.com",
};
const azure = { ARM_CLIENT_ID: uuid("1"), ARM_TENANT_ID: uuid("2"), ARM_SUBSCRIPTION_ID: uuid("3") };
const job = { GITLAB_OIDC_TOKEN: canary, CI_PROJECT_ID: "4711", CI_JOB_ID: "99" };

describe("The cloud identity of a job", () => {
  let folder: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "gitlab-workspaces-identity-"));
  });

  afterEach(() => rm(folder, { recursive: true }));

  const refused = async (variables: Record<string, string>): Promise<string> => {
    const error = await identity(variables, folder).then(
      () => assert.fail("nothing was refused"),
      (thrown: unknown) => thrown,
    );
    assert.ok(error instanceof Refused, String(error));
    assert.ok(!error.message.includes(canary));
    assert.deepEqual(await readdir(folder), []);
    return error.message;
  };

  it("is nothing where none is set, and leaves no file", async () => {
    assert.deepEqual(await identity(job, folder), {});
    assert.deepEqual(await identity({ ...job, AWS_ROLE_ARN: "" }, folder), {});
    assert.deepEqual(await readdir(folder), []);
  });

  it("is a role of AWS that GitLab's token opens", async () => {
    assert.deepEqual(await identity({ ...job, ...aws }, folder), {
      ...aws,
      AWS_WEB_IDENTITY_TOKEN_FILE: join(folder, "gitlab-token"),
      AWS_ROLE_SESSION_NAME: "gitlab-4711-99",
    });
    assert.equal(await readFile(join(folder, "gitlab-token"), "utf8"), canary);
  });

  it("has a session name that AWS takes, whatever a job is called", async () => {
    const { AWS_ROLE_SESSION_NAME: name } = await identity({ ...job, ...aws, CI_JOB_ID: "é/ ".repeat(50) }, folder);
    assert.match(name!, /^[\w+=,.@-]{2,64}$/);
  });

  it("is a service account of Google's", async () => {
    const file = join(folder, "google.json");
    assert.deepEqual(await identity({ ...job, ...google }, folder), {
      GOOGLE_APPLICATION_CREDENTIALS: file,
      CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE: file,
    });
    assert.deepEqual(JSON.parse(await readFile(file, "utf8")), {
      type: "external_account",
      audience: "//iam.googleapis.com/projects/12/locations/global/workloadIdentityPools/gitlab/providers/gitlab",
      subject_token_type: "urn:ietf:params:oauth:token-type:jwt",
      token_url: "https://sts.googleapis.com/v1/token",
      credential_source: { file: join(folder, "gitlab-token") },
      service_account_impersonation_url:
        "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/preview@my-project.iam.gserviceaccount.com:generateAccessToken",
    });
  });

  it("is an identity of Azure's, for the provider and for kubelogin", async () => {
    const token = join(folder, "gitlab-token");
    assert.deepEqual(await identity({ ...job, ...azure }, folder), {
      ...azure,
      ARM_USE_OIDC: "true",
      ARM_OIDC_TOKEN_FILE_PATH: token,
      AZURE_CLIENT_ID: uuid("1"),
      AZURE_TENANT_ID: uuid("2"),
      AZURE_FEDERATED_TOKEN_FILE: token,
    });
  });

  it("may be several at once", async () => {
    const environment = await identity({ ...job, ...aws, ...google, ...azure }, folder);
    assert.equal(Object.keys(environment).length, 3 + 2 + 8);
  });

  it("is in files that nobody else reads, also where such files were", async () => {
    await writeFile(join(folder, "gitlab-token"), "old", { mode: 0o644 });
    await identity({ ...job, ...google }, folder);
    for (const name of await readdir(folder)) assert.equal((await stat(join(folder, name))).mode & 0o777, 0o600, name);
  });

  it("never has the token of GitLab in the environment that it gives", async () => {
    const environment = await identity({ ...job, ...aws, ...google, ...azure }, folder);
    assert.ok(!JSON.stringify(environment).includes(canary));
  });

  it("is refused with all that is missing when it is half set", async () => {
    const message = await refused({
      GCP_SERVICE_ACCOUNT: google.GCP_SERVICE_ACCOUNT,
      ARM_TENANT_ID: azure.ARM_TENANT_ID,
    });
    for (const name of ["GCP_WORKLOAD_IDENTITY_PROVIDER", "ARM_CLIENT_ID", "ARM_SUBSCRIPTION_ID", "GITLAB_OIDC_TOKEN"])
      assert.match(message, new RegExp(`The variable ${name} is missing`));
    assert.match(message, /docs\/pipeline\.md/);
  });

  it("is refused with what it must be when it is something else", async () => {
    const message = await refused({
      ...job,
      AWS_ROLE_ARN: "preview\u001b[2J",
      GCP_WORKLOAD_IDENTITY_PROVIDER: "gitlab",
      GCP_SERVICE_ACCOUNT: "me@example.com",
      ...azure,
      ARM_CLIENT_ID: "my-app",
    });
    assert.match(message, /AWS_ROLE_ARN is "preview\\u001b\[2J"\. It must be like arn:aws:iam/);
    assert.match(message, /GCP_WORKLOAD_IDENTITY_PROVIDER is "gitlab"\. It must be like projects\//);
    assert.match(message, /GCP_SERVICE_ACCOUNT is "me@example\.com"\. It must be like preview@/);
    assert.match(message, /ARM_CLIENT_ID is "my-app"\. It must be a UUID/);
  });

  it("is refused outside of a pipeline, where there is no token", async () => {
    assert.match(await refused(aws), /GITLAB_OIDC_TOKEN is missing: .* id_tokens/);
  });
});
