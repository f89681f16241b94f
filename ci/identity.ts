import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Refused } from "../local/failure";
import { show } from "../src/config/faults";
import type { Variables } from "./job";

/** What one cloud needs in the variables of a job. */
interface Group {
  readonly cloud: string;
  /** All of them, or none. */
  readonly names: readonly string[];
  /** What each must be, with the words that say so. */
  readonly rules: Readonly<Record<string, readonly [RegExp, string]>>;
  /** Environment of the commands that talk to the cloud. `token` is the file that has GitLab's token. */
  readonly environment: (
    value: (name: string) => string,
    token: string,
    write: (name: string, content: string) => Promise<string>,
    variables: Variables,
  ) => Promise<Record<string, string>>;
}

const uuid = [/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i, "a UUID"] as const;

const groups: readonly Group[] = [
  {
    cloud: "AWS",
    names: ["AWS_ROLE_ARN"],
    rules: {
      AWS_ROLE_ARN: [/^arn:aws[a-z-]*:iam::\d{12}:role\/\S+$/, "like arn:aws:iam::123456789012:role/preview"],
    },
    // https://docs.aws.amazon.com/sdkref/latest/guide/feature-assume-role-credentials.html
    environment: (value, token, _, { CI_PROJECT_ID: project = "", CI_JOB_ID: job = "" }) =>
      Promise.resolve({
        AWS_ROLE_ARN: value("AWS_ROLE_ARN"),
        AWS_WEB_IDENTITY_TOKEN_FILE: token,
        // At most 64 of these: https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
        AWS_ROLE_SESSION_NAME: `gitlab-${project}-${job}`.replaceAll(/[^\w+=,.@-]/g, "-").slice(0, 64),
      }),
  },
  {
    cloud: "Google Cloud",
    names: ["GCP_WORKLOAD_IDENTITY_PROVIDER", "GCP_SERVICE_ACCOUNT"],
    rules: {
      GCP_WORKLOAD_IDENTITY_PROVIDER: [
        /^projects\/\d+\/locations\/global\/workloadIdentityPools\/[a-z0-9-]+\/providers\/[a-z0-9-]+$/,
        "like projects/123456789012/locations/global/workloadIdentityPools/gitlab/providers/gitlab",
      ],
      GCP_SERVICE_ACCOUNT: [
        /^[a-z0-9-]+@[a-z0-9.-]+\.iam\.gserviceaccount\.com$/,
        "like preview@my-project.iam.gserviceaccount.com",
      ],
    },
    // https://google.aip.dev/auth/4117
    environment: async (value, token, write) => {
      const file = await write(
        "google.json",
        JSON.stringify({
          type: "external_account",
          audience: `//iam.googleapis.com/${value("GCP_WORKLOAD_IDENTITY_PROVIDER")}`,
          subject_token_type: "urn:ietf:params:oauth:token-type:jwt",
          token_url: "https://sts.googleapis.com/v1/token",
          credential_source: { file: token },
          service_account_impersonation_url:
            "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/" +
            `${value("GCP_SERVICE_ACCOUNT")}:generateAccessToken`,
        }),
      );
      // The first is for the provider and for gke-gcloud-auth-plugin with --use_application_default_credentials, the second
      // for gcloud, as GitLab sets both itself: https://gitlab.com/gitlab-org/gitlab/-/issues/438420
      return { GOOGLE_APPLICATION_CREDENTIALS: file, CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE: file };
    },
  },
  {
    cloud: "Azure",
    names: ["ARM_CLIENT_ID", "ARM_TENANT_ID", "ARM_SUBSCRIPTION_ID"],
    rules: { ARM_CLIENT_ID: uuid, ARM_TENANT_ID: uuid, ARM_SUBSCRIPTION_ID: uuid },
    environment: (value, token) =>
      Promise.resolve({
        // https://www.pulumi.com/registry/packages/azure-native/installation-configuration/
        ARM_USE_OIDC: "true",
        ARM_OIDC_TOKEN_FILE_PATH: token,
        ARM_CLIENT_ID: value("ARM_CLIENT_ID"),
        ARM_TENANT_ID: value("ARM_TENANT_ID"),
        ARM_SUBSCRIPTION_ID: value("ARM_SUBSCRIPTION_ID"),
        // https://azure.github.io/kubelogin/concepts/login-modes/workloadidentity.html
        AZURE_CLIENT_ID: value("ARM_CLIENT_ID"),
        AZURE_TENANT_ID: value("ARM_TENANT_ID"),
        AZURE_FEDERATED_TOKEN_FILE: token,
      }),
  },
];

/**
 * The environment that lets a command act as the cloud identity which the variables of a job name. With none named it is empty,
 * as for a cluster that is nobody's cloud. Civo takes no tokens of others: its key is a variable
 * of the job, which commands have anyway.
 * @param folder a folder outside the working tree that the caller removes: it gets GitLab's token and what names it, readable
 * for nobody else.
 * @throws Refused that names every variable that is missing, or not what it should be.
 */
export async function identity(variables: Variables, folder: string): Promise<Record<string, string>> {
  const value = (name: string): string => variables[name] ?? "";
  const used = groups.filter(({ names }) => names.some((name) => value(name) !== ""));
  const faults = used.flatMap((group) => faultsOf(group, value));
  const token = value("GITLAB_OIDC_TOKEN");
  if (used.length > 0 && token === "")
    faults.push(
      "The variable GITLAB_OIDC_TOKEN is missing: GitLab sets it in a job that has id_tokens, as those of " +
        `ci/pipeline.yml have, and it is what ${used.map(({ cloud }) => cloud).join(" and ")} trusts.`,
    );
  if (faults.length > 0) throw new Refused([...faults, "docs/pipeline.md tells how each is set."].join("\n"));

  const write = async (name: string, content: string): Promise<string> => {
    const file = join(folder, name);
    await writeFile(file, content, { mode: 0o600 });
    // A file that was there keeps its mode.
    await chmod(file, 0o600);
    return file;
  };
  const environment: Record<string, string> = {};
  if (used.length === 0) return environment;
  const file = await write("gitlab-token", token);
  for (const group of used) Object.assign(environment, await group.environment(value, file, write, variables));
  return environment;
}

function faultsOf({ cloud, names, rules }: Group, value: (name: string) => string): string[] {
  const set = names.filter((name) => value(name) !== "");
  return names.flatMap((name) => {
    if (value(name) === "")
      return [`The variable ${name} is missing: ${set.join(" and ")} is set, and ${cloud} needs ${names.join(", ")}.`];
    const rule = rules[name];
    return rule === undefined || rule[0].test(value(name))
      ? []
      : [`The variable ${name} is ${show(value(name))}. It must be ${rule[1]}.`];
  });
}
