// What is known of one TaskSet: frames in, a picture to draw out. No DOM, no clock, no network; the tests run it in Node.
//
// Level, not edge: a snapshot replaces everything, a delta brings full rows, and an older version of the TaskSet never
// replaces a newer one, so frames may come twice, late, or over two ways at once.

import {
  ended, settled, TERMINAL,
  type ExceptionalTask, type Frame, type Node, type Phase, type QueuePlace, type Role, type Task, type TaskSet,
  type TaskSetView,
} from "./wire";

// A task's state as it is shown. "Waiting" has no row yet. Ends that the platform caused are told from failures:
// a parameter server that was stopped because the workers are done has not failed.
export type Shown = "Waiting" | "Pending" | "Bound" | "Running" | "Succeeded" | "Failed" | "Stopped" | "Lost" | "Unknown";

export const SHOWN: readonly Shown[] =
  ["Failed", "Lost", "Unknown", "Running", "Bound", "Pending", "Waiting", "Succeeded", "Stopped"];

export interface Cell {
  role: string;
  index: number;
  shown: Shown;
  task: Task | undefined;
  why: ExceptionalTask | undefined; // cause and advice, where the controller gave them
}

export interface RolePicture {
  name: string;
  main: boolean;
  asks: Role["resources"];
  cells: Cell[];
  counts: [Shown, number][]; // in the order of SHOWN, without zeros
  restarts: number;
  verdict: "Succeeded" | "Failed" | undefined;
}

export interface DeviceUse {
  percent: number | undefined; // mean over the devices where it is known
  devices: Record<string, number>; // type -> how many are assigned
  memoryBytes: number; // of the tasks
  nodes: number;
}

export interface Step {
  phase: Phase;
  at: number;
  until: number | undefined; // undefined: the present one
  reason: string;
}

export interface Picture {
  name: string;
  namespace: string;
  queue: string;
  framework: string;
  phase: Phase;
  reason: string;
  message: string;
  attempt: number;
  ended: boolean;
  settled: boolean;
  removed: boolean;
  stopAsked: boolean;
  canStop: boolean;
  place: QueuePlace | undefined;
  roles: RolePicture[];
  total: number;
  counts: [Shown, number][];
  use: DeviceUse;
  steps: Step[];
  failures: Cell[]; // with cause and advice
  metrics: [string, number][]; // of the main (or first) role's task 0
  record: string;
  since: number | undefined; // what the running time counts from, and to
  until: number | undefined;
}

const taskKey = (task: Task) => `${task.namespace}/${task.name}`;
const cellKey = (role: string, index: number) => `${role}/${index}`;

export class Gang {
  taskset: TaskSet;
  removed = false;
  seen = false; // in a frame
  private place: QueuePlace | undefined;
  private tasks = new Map<string, Task>();
  private nodes = new Map<string, Node>();

  constructor(view: TaskSetView) {
    this.taskset = view.taskset;
    this.place = view.queuePlace ?? undefined;
    for (const task of view.tasks ?? []) this.tasks.set(taskKey(task), task);
  }

  get uid(): string {
    return this.taskset.metadata.uid ?? "";
  }

  get version(): number {
    return this.taskset.metadata.version ?? 0;
  }

  get hasRows(): boolean {
    return this.tasks.size > 0;
  }

  // Take the view that the kernel last gave, unless something newer is known.
  rebase(view: TaskSetView): boolean {
    if (view.taskset.metadata.uid !== this.taskset.metadata.uid || (view.taskset.metadata.version ?? 0) < this.version) {
      return false;
    }
    this.taskset = view.taskset;
    this.place = view.queuePlace ?? undefined;
    for (const task of view.tasks ?? []) this.tasks.set(taskKey(task), task);
    return true;
  }

  // Take a frame in; returns whether it said anything about this TaskSet.
  apply(frame: Frame): boolean {
    const found = frame.tasksets?.findLast((each) => each.metadata.uid === this.uid);
    const whole = frame.type === "snapshot";
    const nodes = this.keepNodes(frame.nodes ?? [], whole);
    if (found) this.seen = true;
    if (this.gone(frame, found)) return true;
    if (whole && !found) return nodes; // too new for that snapshot, or not of this stream
    let changed = whole;
    if (whole) {
      this.tasks.clear();
      this.place = undefined;
    }
    if (found && (found.metadata.version ?? 0) >= this.version) {
      this.taskset = found;
      changed = true;
    }
    for (const task of frame.tasks ?? []) {
      if (task.tasksetUid !== this.uid) continue;
      this.tasks.set(taskKey(task), task);
      changed = true;
    }
    for (const key of frame.removed?.tasks ?? []) changed = this.tasks.delete(key) || changed;
    const place = frame.places?.[this.uid];
    if (place) this.place = place;
    return changed || place !== undefined || nodes;
  }

  picture(): Picture {
    const { taskset } = this;
    const status = taskset.status ?? {};
    const phase = status.phase ?? "Queued";
    const roles = this.rolePictures();
    const waits = phase === "Queued" || phase === "Held";
    const asked = taskset.metadata.stopRequestedAt != null;
    const over = TERMINAL.has(phase);
    return {
      name: taskset.metadata.name,
      namespace: taskset.metadata.namespace ?? "",
      queue: taskset.spec?.queue ?? "",
      framework: taskset.spec?.framework ?? "script",
      phase,
      reason: status.reason && status.reason !== phase ? status.reason : "",
      message: status.message ?? "",
      attempt: status.attempt ?? 0,
      ended: over,
      settled: settled(taskset),
      removed: this.removed,
      stopAsked: asked && !over,
      canStop: !over && !asked && !this.removed && phase !== "Stopping",
      place: waits ? this.place : undefined,
      roles,
      total: roles.reduce((sum, role) => sum + role.cells.length, 0),
      counts: joined(roles.map((role) => role.counts)),
      use: this.use(),
      steps: steps(taskset),
      failures: roles.flatMap((role) => role.cells.filter((cell) => cell.why?.cause)),
      metrics: Object.entries(mainTask(roles)?.metrics ?? {}).slice(0, 4),
      record: status.record ?? "",
      since: status.startedAt ?? (waits ? status.queuedAt ?? taskset.metadata.createdAt : undefined),
      until: status.finishedAt ?? undefined,
    };
  }

  // Percent and memory of one device of a task: the task's own word, or its node's.
  device(task: Task, id: string): { percent: number | undefined; memoryBytes: number | undefined } {
    const seen = this.nodes.get(task.node ?? "")?.devices?.find((each) => each.id === id);
    const live = task.state === "Running";
    return {
      percent: task.usage?.devicePercent?.[id] ?? (live ? seen?.percent ?? undefined : undefined),
      memoryBytes: task.usage?.deviceMemoryBytes?.[id] ?? (live ? seen?.usedMemoryBytes ?? undefined : undefined),
    };
  }

  // Mean percent over the devices of a task, undefined where none is known.
  percent(task: Task): number | undefined {
    const known = deviceIds(task).map((id) => this.device(task, id).percent).filter((value) => value !== undefined);
    return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : undefined;
  }

  // Deleted: the frame says so, or it is no longer in the whole. What was last known stays to be seen.
  private gone(frame: Frame, found: TaskSet | undefined): boolean {
    const said = frame.removed?.tasksets?.includes(this.uid) ?? false;
    const missing = frame.type === "snapshot" && this.seen && !found;
    if (said || missing) this.removed = true;
    return this.removed;
  }

  // Nodes matter only where our tasks are: others' use would redraw every view for nothing.
  private keepNodes(nodes: Node[], whole: boolean): boolean {
    if (whole) this.nodes.clear();
    for (const node of nodes) this.nodes.set(node.name, node);
    if (!nodes.length || whole) return false;
    const names = new Set(nodes.map((node) => node.name));
    for (const task of this.tasks.values()) if (names.has(task.node ?? "") && task.state === "Running") return true;
    return false;
  }

  private rolePictures(): RolePicture[] {
    const latest = new Map<string, Task>();
    for (const task of this.tasks.values()) {
      const key = cellKey(task.role, task.index);
      if ((latest.get(key)?.attempt ?? 0) <= task.attempt) latest.set(key, task);
    }
    const over = ended(this.taskset);
    return (this.taskset.spec?.roles ?? []).map((role) => {
      const status = this.taskset.status?.roles?.find((each) => each.name === role.name);
      const why = new Map((status?.exceptional ?? []).map((each) => [each.index, each]));
      const every = over && status ? uniform(status, size(this.taskset, role)) : undefined;
      const cells = Array.from({ length: size(this.taskset, role) }, (_, index): Cell => {
        const task = latest.get(cellKey(role.name, index));
        return { role: role.name, index, task, why: why.get(index), shown: task ? shown(task) : every ?? "Waiting" };
      });
      return {
        name: role.name,
        main: role.main ?? false,
        asks: role.resources,
        cells,
        counts: counted(cells),
        restarts: (status?.restarts ?? 0) + (status?.transientRestarts ?? 0),
        verdict: status?.verdict ?? undefined,
      };
    });
  }

  private use(): DeviceUse {
    const devices: Record<string, number> = {};
    const nodes = new Set<string>();
    const percents: number[] = [];
    let memoryBytes = 0;
    for (const task of this.tasks.values()) {
      if (task.state !== "Running" && task.state !== "Bound") continue;
      if (task.node) nodes.add(task.node);
      memoryBytes += task.usage?.memoryBytes ?? 0;
      for (const [type, ids] of Object.entries(task.devices ?? {})) devices[type] = (devices[type] ?? 0) + ids.length;
      for (const id of deviceIds(task)) {
        const { percent } = this.device(task, id);
        if (percent !== undefined) percents.push(percent);
      }
    }
    const percent = percents.length ? percents.reduce((sum, value) => sum + value, 0) / percents.length : undefined;
    return { percent, devices, memoryBytes, nodes: nodes.size };
  }
}

export function deviceIds(task: Task): string[] {
  return Object.values(task.devices ?? {}).flat();
}

// How many tasks the present attempt of a role has: an elastic one has what was placed, at least its minimum.
export function size(taskset: TaskSet, role: Role): number {
  const given = role.replicas ?? 1;
  if (typeof given === "number") return given;
  const placed = (taskset.status?.placement?.[role.name] ?? []).reduce((sum, span) => sum + span.count, 0);
  return placed || given.min;
}

const LOST = new Set(["NodeLost", "Evicted", "Preempted", "Vanished"]);

export function shown(task: Task): Shown {
  const state = task.state ?? "Pending";
  if (state !== "Failed") return state;
  if (task.endReason === "Stopped" || task.endReason === "Resized") return "Stopped";
  return LOST.has(task.endReason ?? "") ? "Lost" : "Failed";
}

// The state of every member of an ended role whose rows are gone, where the counts leave no doubt.
function uniform(status: { succeeded?: number; failed?: number }, size: number): Shown | undefined {
  if (status.succeeded === size) return "Succeeded";
  return status.failed === size ? "Failed" : undefined;
}

function counted(cells: Cell[]): [Shown, number][] {
  const found = new Map<Shown, number>();
  for (const cell of cells) found.set(cell.shown, (found.get(cell.shown) ?? 0) + 1);
  return ordered(found);
}

function joined(parts: [Shown, number][][]): [Shown, number][] {
  const found = new Map<Shown, number>();
  for (const [name, number] of parts.flat()) found.set(name, (found.get(name) ?? 0) + number);
  return ordered(found);
}

function ordered(found: Map<Shown, number>): [Shown, number][] {
  return SHOWN.flatMap((name) => (found.has(name) ? [[name, found.get(name) ?? 0] as [Shown, number]] : []));
}

function mainTask(roles: RolePicture[]): Task | undefined {
  const reporting = roles.filter((role) => Object.keys(role.cells[0]?.task?.metrics ?? {}).length);
  return (reporting.find((role) => role.main) ?? reporting[0])?.cells[0]?.task;
}

function steps(taskset: TaskSet): Step[] {
  const timeline = taskset.status?.timeline ?? [];
  return timeline.map((entry, at) => {
    const last = at === timeline.length - 1;
    const until = last ? (TERMINAL.has(entry.phase) ? entry.at : undefined) : timeline[at + 1]?.at;
    return { phase: entry.phase, at: entry.at, until, reason: entry.reason ?? "" };
  });
}
