import * as pulumi from "@pulumi/pulumi";
import { MockMonitor } from "@pulumi/pulumi/runtime/mocks";
import { loadConfig } from "../../src/config/load";
import { deploy, type Outputs } from "../../src/deploy";
import { type Answers, clouds, type MockedCloud } from "./clouds";

const answers: Answers = Object.assign({}, ...Object.values(clouds).map((cloud) => cloud.answers)) as Answers;
const outputs = Object.assign({}, ...Object.values(clouds).map((cloud) => cloud.computed)) as MockedCloud["computed"];

// The SDK's mocks say that they know error hooks, and do not: https://github.com/pulumi/pulumi/blob/v3.248.0/sdk/nodejs/runtime/mocks.ts
Object.assign(MockMonitor.prototype, {
  registerErrorHook: (_: unknown, done: (error: null, answer: object) => void) => {
    done(null, {});
  },
});

/** A resource as the program asked for it. Secret inputs are still in their wrapper. */
export interface Recorded {
  readonly type: string;
  readonly name: string;
  readonly inputs: Readonly<Record<string, unknown>>;
  /** Reference to the provider: `<urn>::<id>`, empty for the default one. */
  readonly provider: string;
  readonly custom: boolean;
}

/** What a run of the program under mocks leaves behind. */
export interface Run {
  readonly resources: readonly Recorded[];
  readonly outputs: Outputs;
  /** What the program warned of, in order. */
  readonly warnings: readonly string[];
}

/** Raw stack config: what `pulumi config` would hold, and which keys are secret. */
export interface StackConfig {
  readonly config: Readonly<Record<string, string>>;
  readonly secretKeys: readonly string[];
}

/** The box that a secret travels in: https://github.com/pulumi/pulumi/blob/master/sdk/nodejs/runtime/rpc.ts */
export const secretSignature = "4dabf18193072939515e22adb298388d";

/**
 * Has everything that is made from here on recorded, in a preview of a stack: nothing is asked of any cluster.
 * @param otherwise what is answered otherwise than by clouds that have everything.
 */
export async function record({ config, secretKeys }: StackConfig, otherwise: Answers = {}): Promise<Recorded[]> {
  const resources: Recorded[] = [];
  await pulumi.runtime.setMocks(
    {
      newResource({ type, name, inputs, provider, custom }) {
        const known = inputs as Record<string, unknown>;
        resources.push({ type, name, inputs: known, provider: provider ?? "", custom: custom ?? false });
        return { id: `${name}-id`, state: { ...known, ...computed(type, known) } };
      },
      call: ({ token, inputs }) => ({ ...answers, ...otherwise })[token]?.(inputs as Record<string, unknown>) ?? {},
    },
    "gitlab-workspaces",
    "test",
    true,
  );
  pulumi.runtime.setAllConfig({ ...config }, [...secretKeys]);
  return resources;
}

/** Runs the whole program once under Pulumi's mocks, as {@link record} does. */
export async function runProgram(stack: StackConfig, otherwise: Answers = {}): Promise<Run> {
  const resources = await record(stack, otherwise);
  const box: { outputs?: Outputs } = {};
  const warnings: string[] = [];
  const { warn } = console;
  // Without an engine Pulumi's log goes to the console.
  console.warn = (line: string) => void warnings.push(line.replace("warning: [runtime] ", ""));
  try {
    await pulumi.runtime.runInPulumiStack(async () => {
      box.outputs = await deploy(loadConfig());
      return {};
    });
    await pulumi.runtime.disconnect();
  } finally {
    console.warn = warn;
  }
  if (!box.outputs) throw new Error("the program gave no outputs");
  return { resources: resources.filter(({ type }) => type !== "pulumi:pulumi:Stack"), outputs: box.outputs, warnings };
}

/** What a provider would compute, as far as the program reads it. */
function computed(type: string, inputs: Readonly<Record<string, unknown>>): Record<string, unknown> {
  switch (type) {
    case "kubernetes:helm.sh/v3:Release":
      return { status: { name: inputs["name"], namespace: inputs["namespace"] } };
    case "kubernetes:core/v1:Service":
    case "kubernetes:networking.k8s.io/v1:Ingress":
      return { status: { loadBalancer: { ingress: [{ ip: "203.0.113.7" }] } } };
    case "random:index/randomPassword:RandomPassword":
      return { result: "generated-password" };
    case "tls:index/privateKey:PrivateKey":
      return { privateKeyPem: "generated-private-key" };
    case "tls:index/selfSignedCert:SelfSignedCert":
      return { certPem: "generated-certificate" };
    default:
      return outputs[type]?.(inputs) ?? {};
  }
}

/** Value of an output, secret or not. */
export async function value<T>(output: pulumi.Input<T>): Promise<pulumi.Unwrap<T>> {
  return await new Promise((resolve) => {
    pulumi.output(output).apply((known) => {
      resolve(known);
    });
  });
}
