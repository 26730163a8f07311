// What the page's stream carries: the model's generated types, and how they are wrapped for a page.

import { TERMINAL_PHASES, type Frame as ServiceFrame, type TaskSet } from "./api.generated";

export type {
  Amounts, ExceptionalTask, Node, Phase, QueuePlace, Role, RoleStatus, Status, Task, TaskSet, TaskSetView, TaskState,
} from "./api.generated";

// Everything there is (a snapshot), or full rows of what changed since the frame before (a delta).
export interface Frame extends Omit<ServiceFrame, "snapshot"> {
  type: "snapshot" | "delta";
}

// What the sender of frames says about its own way to the service.
export interface Notice {
  type: "status";
  state: string; // "live" or not
  message: string;
}

export const TERMINAL: ReadonlySet<string> = new Set(TERMINAL_PHASES);

export const ended = (taskset: TaskSet): boolean => TERMINAL.has(taskset.status?.phase ?? "Queued");

// Nothing further will come: it has ended and its record stands.
export const settled = (taskset: TaskSet): boolean =>
  ended(taskset) && (taskset.status?.recordedAttempt ?? 0) >= (taskset.status?.attempt ?? 0);
