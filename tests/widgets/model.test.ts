// The view's state logic: frames in, picture out. Run by Node's own test runner (test_widget_sources.py).

import assert from "node:assert/strict";
import { test } from "node:test";

import { density, moved } from "../../widgets/src/grid";
import { plain } from "../../widgets/src/logtail";
import { Gang, shown } from "../../widgets/src/model";
import type { Frame, Task, TaskSet, TaskSetView } from "../../widgets/src/wire";
import { duration, ending, lines, size, span } from "../../widgets/src/words";

const UID = "u1";

function gang(status: TaskSet["status"] = {}, version = 1, uid = UID): TaskSet {
  const roles = [{ name: "ps" }, { name: "worker", replicas: 3, main: true, resources: { devices: { gpu: 1 } } }];
  return { metadata: { name: "mnist", namespace: "ada", uid, version }, spec: { roles, queue: "q" }, status };
}

function row(role: string, index: number, fields: Partial<Task> = {}): Task {
  const attempt = fields.attempt ?? 1;
  const name = `mnist-${role}-${index}-${attempt}`;
  return { name, namespace: "ada", taskset: "mnist", tasksetUid: UID, role, index, attempt, ...fields };
}

const frame = (type: Frame["type"], rest: Partial<Frame>): Frame => ({ type, revision: 1, ...rest });
const at = (taskset: TaskSet, rest: Partial<TaskSetView> = {}) => new Gang({ taskset, ...rest });
const states = (known: Gang) => known.picture().roles.map((role) => role.cells.map((cell) => cell.shown));

test("before any row, every member of every role waits", () => {
  const known = at(gang());
  assert.deepEqual(states(known), [["Waiting"], ["Waiting", "Waiting", "Waiting"]]);
  assert.equal(known.picture().phase, "Queued");
  assert.equal(known.picture().total, 4);
});

test("an elastic role shows its minimum, and the size of its attempt once it is placed", () => {
  const taskset = gang();
  taskset.spec = { roles: [{ name: "worker", replicas: { min: 2, max: 8 } }] };
  assert.equal(at(taskset).picture().total, 2);
  const spans = [{ node: "a", first: 0, count: 3 }, { node: "b", first: 3, count: 2 }];
  const placed = { ...taskset, status: { ...taskset.status, phase: "Running" as const, placement: { worker: spans } } };
  const left = row("worker", 6, { state: "Failed", endReason: "Resized" }); // of an attempt that was larger
  assert.equal(at(placed, { tasks: [row("worker", 4, { state: "Running" }), left] }).picture().total, 5);
});

test("a delta changes the rows it names and keeps the others", () => {
  const known = at(gang({ phase: "Running" }));
  known.apply(frame("snapshot", { tasksets: [gang({ phase: "Running" })], tasks: [row("ps", 0, { state: "Running" }), row("worker", 1, { state: "Running" })] }));
  assert.ok(known.apply(frame("delta", { tasks: [row("worker", 1, { state: "Failed", exitCode: 1 })] })));
  assert.deepEqual(states(known), [["Running"], ["Waiting", "Failed", "Waiting"]]);
});

test("a snapshot replaces everything: a row that is not in it is gone", () => {
  const known = at(gang({ phase: "Running" }), { tasks: [row("ps", 0, { state: "Running" }), row("worker", 0, { state: "Running" })] });
  known.apply(frame("snapshot", { tasksets: [gang({ phase: "Running" })], tasks: [row("ps", 0, { state: "Running" })] }));
  assert.deepEqual(states(known), [["Running"], ["Waiting", "Waiting", "Waiting"]]);
});

test("an older version of the TaskSet never replaces a newer one, by frame or by the kernel's view", () => {
  const known = at(gang({ phase: "Running" }, 7));
  known.apply(frame("delta", { tasksets: [gang({ phase: "Starting" }, 6)] }));
  assert.equal(known.rebase({ taskset: gang({ phase: "Queued" }, 3) }), false);
  assert.equal(known.picture().phase, "Running");
  assert.equal(known.rebase({ taskset: gang({ phase: "Stopping" }, 8) }), true);
  assert.equal(known.picture().phase, "Stopping");
});

test("frames about others change nothing", () => {
  const known = at(gang());
  assert.equal(known.apply(frame("delta", { tasksets: [gang({ phase: "Failed" }, 9, "other")], tasks: [{ ...row("ps", 0), tasksetUid: "other" }], places: { other: { uid: "other", place: 1, code: "NoFit", message: "" } } })), false);
  assert.equal(known.picture().phase, "Queued");
});

test("the same frame twice is the same as once", () => {
  const known = at(gang());
  const same = frame("delta", { tasksets: [gang({ phase: "Running" }, 2)], tasks: [row("worker", 2, { state: "Running" })] });
  known.apply(same);
  const once = JSON.stringify(known.picture());
  known.apply(same);
  assert.equal(JSON.stringify(known.picture()), once);
});

test("of two attempts of a member the later is shown, in whatever order they come", () => {
  const known = at(gang({ phase: "Running" }));
  known.apply(frame("delta", { tasks: [row("worker", 0, { attempt: 2, state: "Running" }), row("worker", 0, { attempt: 1, state: "Failed" })] }));
  assert.equal(states(known)[1]?.[0], "Running");
  known.apply(frame("delta", { removed: { tasks: ["ada/mnist-worker-0-2"] } }));
  assert.equal(states(known)[1]?.[0], "Failed");
});

test("removed TaskSets, and ones missing from a later snapshot, are gone; one not yet in a snapshot is not", () => {
  const removed = at(gang({ phase: "Running" }));
  removed.apply(frame("delta", { removed: { tasksets: [UID] } }));
  assert.ok(removed.picture().removed);
  assert.ok(!removed.picture().canStop);

  const fresh = at(gang());
  fresh.apply(frame("snapshot", {}));
  assert.ok(!fresh.picture().removed);

  const missed = at(gang());
  missed.apply(frame("snapshot", { tasksets: [gang()] }));
  missed.apply(frame("snapshot", {}));
  assert.ok(missed.picture().removed);
});

test("a queue place is shown while it waits only", () => {
  const place = { uid: UID, place: 2, code: "NoFit", message: "needs 3, free 1" };
  const known = at(gang(), { queuePlace: place });
  assert.equal(known.picture().place?.place, 2);
  known.apply(frame("delta", { places: { [UID]: { ...place, place: 1 } } }));
  assert.equal(known.picture().place?.place, 1);
  known.apply(frame("delta", { tasksets: [gang({ phase: "Admitted" }, 2)] }));
  assert.equal(known.picture().place, undefined);
});

test("the time counts from the start, while it waits from its submission", () => {
  const since = (status: TaskSet["status"]) => at(gang(status)).picture().since;
  assert.equal(since({ phase: "Queued", queuedAt: 5 }), 5);
  assert.equal(since({ phase: "Starting", queuedAt: 5 }), undefined);
  assert.equal(since({ phase: "Running", queuedAt: 5, startedAt: 7 }), 7);
});

test("what we stopped and what the platform lost has not failed", () => {
  const failed = (endReason: Task["endReason"]) => shown(row("ps", 0, { state: "Failed", endReason }));
  assert.equal(failed("Stopped"), "Stopped");
  assert.equal(failed("Resized"), "Stopped");
  for (const reason of ["NodeLost", "Evicted", "Preempted", "Vanished"] as const) assert.equal(failed(reason), "Lost");
  for (const reason of ["", "OOMKilled", "CommandNotFound"] as const) assert.equal(failed(reason), "Failed");
  assert.equal(shown(row("ps", 0)), "Pending");
});

test("an ended gang without rows shows what its counts leave no doubt about", () => {
  const roles = [{ name: "ps", failed: 1 }, { name: "worker", succeeded: 2, failed: 1 }];
  assert.deepEqual(states(at(gang({ phase: "Succeeded", roles }))), [["Failed"], ["Waiting", "Waiting", "Waiting"]]);
});

test("failures carry cause and advice of the controller", () => {
  const exceptional = [{ index: 1, attempt: 1, state: "Failed", cause: "killed for memory", advice: "ask for more" }];
  const found = at(gang({ phase: "Failed", roles: [{ name: "worker", exceptional }] })).picture().failures;
  assert.deepEqual(found.map((cell) => [cell.role, cell.index, cell.why?.advice]), [["worker", 1, "ask for more"]]);
});

test("device use is the mean of what is known: the task's own word before its node's", () => {
  const tasks = [
    row("worker", 0, { state: "Running", node: "a", devices: { gpu: ["0"] }, usage: { devicePercent: { "0": 80 }, memoryBytes: 100 } }),
    row("worker", 1, { state: "Running", node: "b", devices: { gpu: ["0"] }, usage: { memoryBytes: 50 } }),
    row("worker", 2, { state: "Running", node: "c", devices: { gpu: ["0"] } }),
  ];
  const node = (name: string, percent: number | null) => ({ name, capacity: {}, devices: [{ id: "0", type: "gpu", percent }] });
  const known = at(gang({ phase: "Running" }));
  known.apply(frame("snapshot", { tasksets: [gang({ phase: "Running" })], tasks, nodes: [node("a", 10), node("b", 40), node("c", null)] }));
  assert.deepEqual(known.picture().use, { percent: 60, devices: { gpu: 3 }, memoryBytes: 150, nodes: 3 });
});

test("another node's news are no reason to draw", () => {
  const known = at(gang({ phase: "Running" }), { tasks: [row("ps", 0, { state: "Running", node: "a" })] });
  const node = (name: string) => frame("delta", { nodes: [{ name, capacity: {} }] });
  assert.equal(known.apply(node("z")), false);
  assert.equal(known.apply(node("a")), true);
});

test("Stop is possible until it is asked for or everything is over", () => {
  const stop = (taskset: TaskSet) => { const { canStop, stopAsked } = at(taskset).picture(); return [canStop, stopAsked]; };
  const asked = gang({ phase: "Running" });
  asked.metadata.stopRequestedAt = 5;
  assert.deepEqual(stop(gang({ phase: "Running" })), [true, false]);
  assert.deepEqual(stop(gang({ phase: "Held" })), [true, false]);
  assert.deepEqual(stop(asked), [false, true]);
  assert.deepEqual(stop(gang({ phase: "Stopping" })), [false, false]);
  for (const phase of ["Succeeded", "Failed", "Stopped"] as const) assert.deepEqual(stop(gang({ phase })), [false, false]);
});

test("it is settled when its last attempt's record stands", () => {
  const settled = (status: TaskSet["status"]) => at(gang(status)).picture().settled;
  assert.equal(settled({ phase: "Succeeded", attempt: 2, recordedAttempt: 1 }), false);
  assert.equal(settled({ phase: "Succeeded", attempt: 2, recordedAttempt: 2 }), true);
  assert.equal(settled({ phase: "Running", attempt: 1, recordedAttempt: 1 }), false);
});

test("steps last until the next; the last one of a run goes on, of an end it does not", () => {
  const timeline = [{ phase: "Queued" as const, at: 10 }, { phase: "Running" as const, at: 12 }];
  assert.deepEqual(at(gang({ phase: "Running", timeline })).picture().steps.map((step) => step.until), [12, undefined]);
  const over = [...timeline, { phase: "Failed" as const, at: 20 }];
  assert.deepEqual(at(gang({ phase: "Failed", timeline: over })).picture().steps.map((step) => step.until), [12, 20, 20]);
});

test("ten thousand tasks are taken in quickly, and states are counted", () => {
  const taskset = gang({ phase: "Running" });
  taskset.spec = { roles: [{ name: "worker", replicas: 10_000 }] };
  const tasks = Array.from({ length: 10_000 }, (_, index) => row("worker", index, { state: index % 10 ? "Running" : "Failed" }));
  const known = at(taskset);
  known.apply(frame("snapshot", { tasksets: [taskset], tasks }));
  assert.deepEqual(known.picture().counts, [["Failed", 1000], ["Running", 9000]]);
  assert.equal(density(known.picture().roles[0]!, 10_000), "map");
});

test("few tasks are cards, more are chips, thousands a map", () => {
  const role = (length: number) => ({ ...at(gang()).picture().roles[0]!, cells: Array.from({ length }) }) as never;
  assert.equal(density(role(4), 5), "card");
  assert.equal(density(role(13), 14), "chip");
  assert.equal(density(role(4), 400), "chip");
  assert.equal(density(role(400), 401), "map");
  assert.equal(density(role(4), 5000), "chip");
});

test("arrow keys move in rows and stop at the ends", () => {
  assert.equal(moved("ArrowRight", 0, 10, 4), 1);
  assert.equal(moved("ArrowDown", 1, 10, 4), 5);
  assert.equal(moved("ArrowDown", 8, 10, 4), 9);
  assert.equal(moved("ArrowUp", 1, 10, 4), 0);
  assert.equal(moved("End", 1, 10, 4), 9);
  assert.equal(moved("a", 1, 10, 4), undefined);
});

test("figures read as in the text view", () => {
  assert.deepEqual([0, 59.9, 61, 3725, 90061].map(duration), ["0s", "59s", "1m01s", "1h02m", "1d01h"]);
  assert.deepEqual([-1, 0.0123, 0.0999, 9.94, 75].map(span), ["0 ms", "12 ms", "0.1s", "9.9s", "1m15s"]);
  assert.deepEqual([12, 2048, 268435456, 1.5 * 2 ** 30].map(size), ["12 B", "2 KiB", "256 MiB", "1.5 GiB"]);
  assert.deepEqual(lines({ cpuMillis: 1500, memoryBytes: 2 ** 30, devices: { gpu: 2 } }).map((line) => `${line.text} ${line.name}`), ["2 gpu", "1.5 CPU", "1 GiB memory"]);
  assert.equal(ending(row("ps", 0, { endReason: "OOMKilled", signal: 9 })), "OOMKilled, signal 9");
  assert.equal(ending(row("ps", 0, { exitCode: 3 })), "exit code 3");
});

test("logs lose terminal colours and overwritten progress bars", () => {
  assert.equal(plain("\x1b[31mred\x1b[0m\r\nbar 1\rbar 2\rbar 3\nend"), "red\nbar 3\nend");
});
