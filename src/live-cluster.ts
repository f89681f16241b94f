import { KubeConfig } from "@kubernetes/client-node";
import type * as pulumi from "@pulumi/pulumi";

/** How long the API server may take to answer, in seconds. */
const patience = 30;

/** A cluster that is there already, asked directly: for what has to be known before, or after, Pulumi's own steps. */
export class LiveCluster {
  readonly config = new KubeConfig();
  /** Address of the API server. */
  readonly server: string;
  readonly #plugin: boolean;

  /** @param kubeconfig text of a kubeconfig with one context, certificates inline. */
  constructor(kubeconfig: string) {
    this.config.loadFromString(kubeconfig);
    this.server = this.config.getCurrentCluster()?.server ?? "(no server)";
    this.#plugin = this.config.getCurrentUser()?.exec !== undefined;
  }

  /** @returns undefined for a cluster that is not made yet, which only a preview can be about. */
  static async of(kubeconfig: pulumi.Output<string>): Promise<LiveCluster | undefined> {
    // The SDK leaves it out of its declarations, although without it nobody can tell: `apply` is never called then.
    if (!(await (kubeconfig as pulumi.Output<string> & { readonly isKnown: Promise<boolean> }).isKnown))
      return undefined;
    const text = await new Promise<string>((resolve) => {
      kubeconfig.apply(resolve);
    });
    return new LiveCluster(text);
  }

  /** What was asked for, or an error when the API server takes the connection and then says nothing. */
  async answer<T>(request: Promise<T>): Promise<T> {
    return await new Promise<T>((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(Object.assign(new Error("timeout"), { code: `no answer within ${patience} s` }));
      }, patience * 1000);
      request.then(resolve, reject).finally(() => {
        clearTimeout(timer);
      });
    });
  }

  /**
   * Why a request failed, in one sentence and a command to try, without bodies, headers or what a credential plugin
   * printed: each may repeat credentials.
   * @param needed something that the user must be allowed to do, as `kubectl auth can-i` takes it: `list namespaces`.
   */
  reason(error: unknown, needed: string): string {
    const { code, cause } = error as { code?: unknown; cause?: { code?: unknown } };
    if (code === 401 || code === 403) {
      return (
        `The cluster at ${this.server} refused the kubeconfig's user (HTTP ${code}); it must be allowed to ${needed}.\n` +
        `Try the same kubeconfig by hand: kubectl auth can-i ${needed}`
      );
    }
    const words = [cause?.code, code].find((word) => typeof word === "string");
    const silent = this.#plugin ? "its credential plugin failed" : "no answer";
    const reason = typeof code === "number" ? `HTTP ${code}` : (words ?? silent);
    return (
      `The cluster at ${this.server} does not answer (${reason}).\n` +
      "Check the address, the network and the credentials with the same kubeconfig: kubectl get --raw /readyz"
    );
  }
}
