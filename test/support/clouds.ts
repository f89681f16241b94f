import { aks } from "./clouds/aks";
import { civo } from "./clouds/civo";
import { eks } from "./clouds/eks";
import { gke } from "./clouds/gke";

/** What a provider answers, computes and is asked, as far as the program reads it, on a cloud in which everything is there. */
export interface MockedCloud {
  /** A cluster that says no more than it must. */
  readonly cluster: Readonly<Record<string, unknown>>;
  /** Settings of the provider that a stack has to have beside it. */
  readonly others: Readonly<Record<string, string>>;
  /** The commands that its kubeconfig runs. */
  readonly commands: readonly string[];
  /** By the token of the function. @throws what the cloud refuses. */
  readonly answers: Answers;
  /** By the type of the resource: outputs beside the inputs. */
  readonly computed: Readonly<Record<string, (inputs: Readonly<Record<string, unknown>>) => Record<string, unknown>>>;
}

/** What a cloud answers to a function of its provider. @throws what the cloud refuses. */
export type Answers = Readonly<Record<string, (args: Readonly<Record<string, unknown>>) => Record<string, unknown>>>;

/** Every cloud on which the program makes clusters. */
export const clouds = { gke, eks, aks, civo } satisfies Record<string, MockedCloud>;
