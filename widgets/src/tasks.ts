// Words and figures of one task, for cells, tips and details.

import { deviceIds, type Cell, type Gang, type Shown } from "./model";
import { duration, ending, figure, size } from "./words";
import type { Task } from "./wire";

export const WORDS: Record<Shown, string> = {
  Waiting: "waiting", Pending: "pending", Bound: "ready", Running: "running", Succeeded: "succeeded",
  Failed: "failed", Stopped: "stopped", Lost: "lost", Unknown: "unreachable",
};

// A device's id without its node's name, which stands beside it.
export function deviceName(id: string, task: Task): string {
  return task.node && id.startsWith(`${task.node}-`) ? id.slice(task.node.length + 1) : id;
}

export function memoryOf(task: Task): number {
  const usage = task.usage ?? {};
  return (task.state === "Running" ? usage.memoryBytes : 0) || usage.peakMemoryBytes || usage.memoryBytes || 0;
}

export function timeOf(task: Task | undefined, now: number): string {
  return task?.startedAt ? duration((task.finishedAt ?? now) - task.startedAt) : "";
}

export function metricsOf(task: Task | undefined): [string, string][] {
  return Object.entries(task?.metrics ?? {}).map(([name, value]) => [name, figure(value)]);
}

// What a screen reader says of a cell; without the time, which would change under it each second.
export function label(cell: Cell): string {
  const { task } = cell;
  const parts = [`${cell.role} ${cell.index}: ${WORDS[cell.shown]}`];
  if (task?.node) parts.push(`on ${task.node}`);
  if (task && task.attempt > 1) parts.push(`attempt ${task.attempt}`);
  const why = cell.why?.cause ?? (task ? ending(task) : "");
  if (why) parts.push(why);
  return parts.join(", ");
}

export function tipLines(cell: Cell, gang: Gang, now: number): string[] {
  const { task } = cell;
  const head = `${cell.role} ${cell.index} · ${WORDS[cell.shown]}`;
  if (!task) return [head, "no task yet"];
  const percent = gang.percent(task);
  const use = [
    percent === undefined ? "" : `${Math.round(percent)} % of ${deviceIds(task).length || 1}`,
    memoryOf(task) ? size(memoryOf(task)) : "",
  ];
  return [
    head,
    [task.node, timeOf(task, now), task.attempt > 1 ? `attempt ${task.attempt}` : ""].filter(Boolean).join(" · "),
    use.filter(Boolean).join(" · "),
    cell.why?.cause ?? ending(task),
  ];
}
