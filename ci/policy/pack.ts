import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { PolicyPack } from "@pulumi/policy";
import { isAllowed, readAllowances } from "../allowances";
import { isProduction, readConfig } from "../config-changes";
import { resourceRules } from "./resource-rules";

const project = join(__dirname, "..", "..");

/** Policies whose violations cannot be seen here: the engine hands secrets to a pack without their marks. */
const unseen = ["no-plaintext-secret"];

/** Whether the stack's own config says that it is one. */
function ofProduction(stack: string): boolean {
  const file = join(project, "stacks", `Pulumi.${stack}.yaml`);
  return existsSync(file) && isProduction(readConfig(readFileSync(file, "utf8")));
}

// It takes the version from the package.json of the working directory, which is wherever the engine stands.
process.chdir(project);

const allowances = readAllowances();

/**
 * The policies as a CrossGuard pack, for any `up` that is given it: what no merge request has shown is stopped all the same.
 * https://www.pulumi.com/docs/insights/policy/
 */
new PolicyPack("gitlab-workspaces", {
  enforcementLevel: "mandatory",
  policies: resourceRules
    .filter(({ name }) => !unseen.includes(name))
    .map(({ name, description, violations }) => ({
      name,
      description,
      validateResource: (resource, report) => {
        const stack = resource.urn.split("::")[0]?.replace("urn:pulumi:", "") ?? "";
        if (isAllowed(allowances, { policy: name, stack, name: resource.name }, new Date())) return;
        const inputs = resource.props as Record<string, unknown>;
        const context = { stack, production: ofProduction(stack) };
        for (const violation of violations({ type: resource.type, name: resource.name, inputs }, context))
          report(violation);
      },
    })),
});
