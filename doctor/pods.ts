import { harmless } from "./harmless";
import type { Live } from "./live-references";

/** As much of a pod as its troubles are in. */
export interface Pod extends Live {
  readonly status?: {
    readonly phase?: string;
    readonly conditions?: readonly Condition[];
    readonly containerStatuses?: readonly ContainerStatus[];
    readonly initContainerStatuses?: readonly ContainerStatus[];
  };
}

/** A condition of a pod or a workload. */
export interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
  readonly message?: string;
}

interface ContainerStatus {
  readonly name: string;
  readonly ready?: boolean;
  readonly state?: { readonly waiting?: Reason; readonly terminated?: Exit; readonly running?: object };
  readonly lastState?: { readonly terminated?: Exit };
}
interface Reason {
  readonly reason?: string;
  readonly message?: string;
}
interface Exit extends Reason {
  readonly exitCode: number;
}

/** An event, for what no status says. */
export interface LiveEvent extends Live {
  readonly type?: string;
  readonly reason?: string;
  readonly message?: string;
  readonly lastTimestamp?: string | null;
  readonly eventTime?: string | null;
  readonly involvedObject: { readonly kind?: string; readonly name?: string };
}

/** Why a pod is not ready. */
export interface Trouble {
  readonly kind: "image" | "reference" | "crash" | "unschedulable" | "other";
  readonly seen: string;
  /** Container that it is about; empty when it is about the whole pod. */
  readonly container: string;
}

// https://github.com/kubernetes/kubernetes/blob/v1.36.4/pkg/kubelet/images/types.go
const imageReasons = ["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"];
// https://github.com/kubernetes/kubernetes/blob/v1.36.4/pkg/kubelet/kuberuntime/kuberuntime_container.go
const referenceReasons = ["CreateContainerConfigError", "CreateContainerError"];

/** Longest message that is repeated, in characters. */
const longest = 300;

const short = (text: string): string => (text.length > longest ? `${text.slice(0, longest)}...` : text);

/** Newest events of an object that warn, newest first, as lines. */
export function warnings(events: readonly LiveEvent[], name: string, most = 3): string[] {
  const time = ({ lastTimestamp, eventTime, metadata }: LiveEvent): number =>
    Date.parse(lastTimestamp ?? eventTime ?? metadata.creationTimestamp ?? "") || 0;
  return events
    .filter(({ type, involvedObject }) => type === "Warning" && involvedObject.name === name)
    .sort((a, b) => time(b) - time(a))
    .slice(0, most)
    .map(({ reason = "", message = "" }) => harmless(`${reason}: ${message}`, longest));
}

/** Why a pod is not ready; undefined when it is, has ended (another one takes its place), or is on its way out. */
export function trouble(pod: Pod, events: readonly LiveEvent[]): Trouble | undefined {
  const { status = {}, metadata } = pod;
  if (metadata.deletionTimestamp !== undefined || ["Succeeded", "Failed"].includes(status.phase ?? ""))
    return undefined;
  const condition = (type: string): Condition | undefined => status.conditions?.find((one) => one.type === type);
  if (condition("Ready")?.status === "True") return undefined;

  const scheduled = condition("PodScheduled");
  if (scheduled?.status === "False" && scheduled.reason === "Unschedulable") {
    return { kind: "unschedulable", seen: short(scheduled.message ?? ""), container: "" };
  }
  for (const { name, state, lastState } of [
    ...(status.initContainerStatuses ?? []),
    ...(status.containerStatuses ?? []),
  ]) {
    const { reason = "", message = "" } = state?.waiting ?? {};
    const seen = short(`${reason}: ${message}`);
    if (imageReasons.includes(reason)) return { kind: "image", seen, container: name };
    if (referenceReasons.includes(reason)) return { kind: "reference", seen, container: name };
    const exit = state?.terminated ?? lastState?.terminated;
    if (exit !== undefined && (exit.exitCode !== 0 || reason === "CrashLoopBackOff")) {
      return { kind: "crash", seen: exitWords(exit), container: name };
    }
  }
  const newest = warnings(events, metadata.name);
  const unmounted = newest.find((line) => /^FailedMount: .*(not found|references non-existent)/.test(line));
  if (unmounted !== undefined) return { kind: "reference", seen: unmounted, container: "" };
  const said = newest.length > 0 ? newest.join("\n") : "No event says why.";
  return { kind: "other", seen: `Phase ${status.phase ?? "unknown"}. ${said}`, container: "" };
}

function exitWords({ exitCode, reason = "", message = "" }: Exit): string {
  // The last lines of a container's output may be its termination message: they may hold anything.
  const words = message === "" ? "" : " What it said last is in its log.";
  return `exit code ${exitCode}${reason === "" ? "" : ` (${reason})`}.${words}`;
}
