/**
 * mocha passes a test whose promise was rejected with nobody listening, and an error inside `apply` is exactly that.
 * Collected here, it fails the test that caused it.
 */
const unhandled: unknown[] = [];
process.on("unhandledRejection", (reason) => unhandled.push(reason));

export const mochaHooks = {
  async afterEach(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    if (unhandled.length === 0) return;
    const reasons = [...new Set(unhandled.splice(0).map(String))];
    throw new Error(`unhandled rejection: ${reasons.join(" | ")}`);
  },
};
