import assert from "node:assert/strict";
import { type LiveEvent, type Pod, trouble, warnings } from "../../../doctor/pods";

/** A pod that is not ready. */
const pod = (status: Pod["status"] = {}): Pod => ({
  kind: "Pod",
  metadata: { name: "web-1", namespace: "shop" },
  status: { phase: "Pending", conditions: [{ type: "Ready", status: "False" }], ...status },
});

const waiting = (reason: string, message = "words"): Pod =>
  pod({ containerStatuses: [{ name: "main", state: { waiting: { reason, message } } }] });

const event = (time: string, reason: string, message: string, name = "web-1", type = "Warning"): LiveEvent => ({
  kind: "Event",
  metadata: { name: `${name}.${time}` },
  type,
  reason,
  message,
  lastTimestamp: time,
  involvedObject: { kind: "Pod", name },
});

describe("A pod that is not ready", () => {
  for (const [reason, kind] of [
    ["ErrImagePull", "image"],
    ["ImagePullBackOff", "image"],
    ["InvalidImageName", "image"],
    ["CreateContainerConfigError", "reference"],
    ["ContainerCreating", "other"],
  ] as const) {
    it(`has a trouble of the kind "${kind}" when it waits because of ${reason}`, () => {
      assert.equal(trouble(waiting(reason), [])?.kind, kind);
    });
  }

  it("names the exit code of a container that ends again and again, and never its last words", () => {
    const terminated = { exitCode: 255, reason: "Error", message: "canary-token" };
    const crash = pod({
      phase: "Running",
      containerStatuses: [
        { name: "main", state: { waiting: { reason: "CrashLoopBackOff" } }, lastState: { terminated } },
      ],
    });
    assert.deepEqual(trouble(crash, []), {
      kind: "crash",
      container: "main",
      seen: "exit code 255 (Error). What it said last is in its log.",
    });
  });

  it("says in the scheduler's words why no node takes it", () => {
    const condition = { type: "PodScheduled", status: "False", reason: "Unschedulable", message: "0/3 nodes: no CPU" };
    assert.deepEqual(trouble(pod({ conditions: [condition] }), []), {
      kind: "unschedulable",
      container: "",
      seen: "0/3 nodes: no CPU",
    });
  });

  it("waits for a Secret when its volume names one that is not there", () => {
    const mount = event("2026-11-21T12:00:00Z", "FailedMount", 'MountVolume.SetUp failed: secret "keys" not found');
    assert.equal(trouble(waiting("ContainerCreating"), [mount])?.kind, "reference");
  });

  it("has its newest events that warn for a reason, where no status says one", () => {
    const events = [
      event("2026-11-21T12:00:00Z", "Unhealthy", "probe 1"),
      event("2026-11-21T12:03:00Z", "Unhealthy", "probe 4"),
      event("2026-11-21T12:01:00Z", "Unhealthy", "probe 2"),
      event("2026-11-21T12:02:00Z", "Unhealthy", "probe 3"),
      event("2026-11-21T12:04:00Z", "Unhealthy", "of another", "web-2"),
      event("2026-11-21T12:05:00Z", "Started", "not a warning", "web-1", "Normal"),
    ];
    assert.deepEqual(warnings(events, "web-1"), ["Unhealthy: probe 4", "Unhealthy: probe 3", "Unhealthy: probe 2"]);
    assert.match(trouble(pod({ phase: "Running" }), events)?.seen ?? "", /^Phase Running\. Unhealthy: probe 4\n/);
  });

  it("repeats nothing of an event that may be a token", () => {
    const words = "HTTP 401 for token Zm9vYmFyMTIzNDU2Nzg5MDEy";
    const events = [event("2026-11-21T12:00:00Z", "Unhealthy", words)];
    assert.deepEqual(warnings(events, "web-1"), ["Unhealthy: HTTP 401 for token ..."]);
  });

  it("is none when it is ready, has done its work or is on its way out", () => {
    assert.equal(trouble(pod({ conditions: [{ type: "Ready", status: "True" }] }), []), undefined);
    assert.equal(trouble(pod({ phase: "Succeeded" }), []), undefined);
    assert.equal(trouble(pod({ phase: "Failed" }), []), undefined, "an evicted one, which stays in the list");
    const going = waiting("ErrImagePull");
    assert.equal(trouble({ ...going, metadata: { ...going.metadata, deletionTimestamp: "now" } }, []), undefined);
  });
});
