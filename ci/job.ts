import { Refused } from "../local/failure";

/** Variables of a job: https://docs.gitlab.com/ci/variables/predefined_variables/ and those of docs/pipeline.md. */
export type Variables = Readonly<Record<string, string | undefined>>;

/** What sets a variable that the pipeline needs: one that GitLab sets itself is missing outside of a pipeline only. */
const remedies: Readonly<Record<string, string>> = {
  PULUMI_BACKEND_URL: "the URL of the bucket that holds the stacks' state, as a CI/CD variable of the project",
  PULUMI_CONFIG_PASSPHRASE:
    "the passphrase of the stack, as a masked CI/CD variable with the environment scope of the job",
  MERGE_REQUEST_TOKEN: "a project access token with the role Reporter and the scope api, as a masked CI/CD variable",
  REVIEW_STACK: "the pipeline's input review-stack, the name of a stack config in stacks/",
  REVIEW_DOMAIN: "the pipeline's input review-domain, under which each review environment has a label",
  REVIEW_MAX_AGE: "the pipeline's input review-max-age, such as 1 week",
};

/**
 * The values of variables that a job cannot do without, by name.
 * @throws Refused that names every missing one and what it is.
 */
export function required<Name extends string>(variables: Variables, ...names: readonly Name[]): Record<Name, string> {
  const missing = names.filter((name) => (variables[name] ?? "") === "");
  if (missing.length === 0)
    return Object.fromEntries(names.map((name) => [name, variables[name]])) as Record<Name, string>;
  throw new Refused(
    missing
      .map(
        (name) => `The variable ${name} is missing: ${remedies[name] ?? "GitLab sets it in a merge request pipeline"}.`,
      )
      .concat("docs/pipeline.md tells how each is set.")
      .join("\n"),
  );
}

/** Whether the merge request comes from another project, whose pipelines get none of this one's variables. */
export function isFork(variables: Variables): boolean {
  const source = variables["CI_MERGE_REQUEST_SOURCE_PROJECT_ID"];
  return source !== undefined && source !== variables["CI_MERGE_REQUEST_PROJECT_ID"];
}
