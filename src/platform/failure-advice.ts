import * as pulumi from "@pulumi/pulumi";

/** What the API server and Helm say of something that is on the cluster and not in this stack. */
const occupied = /already exists|invalid ownership metadata|cannot re-use a name that is still in use/;

/** What to do about it. Which of the two it is, only a person knows. */
const ways =
  "If another stack has it, this one needs a name of its own: docs/instances.md. If it was set up by hand, or this stack " +
  "lost its state, it can be taken over: docs/adoption.md";

/**
 * Says which release it was and who knows why: Helm knows no more than that time ran out, or what the API server refused.
 * Nothing is tried again. What a failed upgrade added stays on the cluster even when the next one no longer has it, because
 * Helm compares with the last revision that succeeded; a rollback compares with the failed one.
 * https://helm.sh/docs/faq/changes_since_helm2/#improved-upgrade-strategy-3-way-strategic-merge-patches
 */
export function failedRelease(release: string): pulumi.ErrorHook {
  const stack = pulumi.getStack();
  return new pulumi.ErrorHook(`failed-release-${release}`, async ({ newInputs, failedOperation, errors }) => {
    const namespace = String(newInputs?.["namespace"]);
    const what = `Helm release ${release} in namespace ${namespace}`;
    if (errors.some((error) => occupied.test(error)))
      return await say(`${what} could not be made, because something of its names is on the cluster already. ${ways}`);
    return await say(
      `The ${failedOperation} of ${what} failed; what is there of it stays.\n` +
        `Why its pods are not ready: npm run doctor -- ${stack}` +
        (failedOperation === "update"
          ? "\nBefore the next up, and only if its newest revision is `failed`, put the last good one back:\n" +
            `  helm history ${release} --namespace ${namespace}\n  helm rollback ${release} --namespace ${namespace}`
          : ""),
    );
  });
}

/** Says whose a namespace may be that is there already, which the API server does not. Nothing is tried again. */
export function failedNamespace(namespace: string): pulumi.ErrorHook {
  return new pulumi.ErrorHook(`failed-namespace-${namespace}`, async ({ errors }) =>
    errors.some((error) => occupied.test(error))
      ? await say(`Namespace ${namespace} is on the cluster already and not in this stack. ${ways}`)
      : false,
  );
}

/** @returns that it is not to be tried again. */
async function say(advice: string): Promise<false> {
  await pulumi.log.error(advice);
  return false;
}
