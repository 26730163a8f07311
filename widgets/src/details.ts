// One task in full below the grid: where it runs, what it uses, how it ended and what to do, the end of its log.

import { h, mark, show, text } from "./dom";
import { meter } from "./grid";
import { LogTail } from "./logtail";
import { deviceIds, type Cell, type Gang } from "./model";
import type { Actions, Target } from "./server";
import { deviceName, memoryOf, metricsOf, timeOf, WORDS } from "./tasks";
import { clock, ending, size, span } from "./words";

export class Details {
  readonly element: HTMLElement;
  private title = h("h4", { tabindex: "-1" });
  private facts = h("dl", { class: "facts" });
  private why = h("div", { class: "why" });
  private use = h("div", { class: "use" });
  private log: LogTail;
  private cell: Cell | undefined;

  constructor(private gang: Gang, actions: () => Actions, target: () => Target, private closed: (cell: Cell) => void) {
    this.log = new LogTail(actions, target);
    const close = h("button", { type: "button", class: "quiet", "aria-label": "close details", click: () => this.close() }, "✕");
    this.element = h(
      "section",
      { class: "details", "aria-label": "task details", hidden: "", keydown: (event) => this.key(event as KeyboardEvent) },
      h("div", { class: "details-head" }, this.title, close),
      this.why,
      h("div", { class: "details-body" }, this.facts, this.use),
      this.log.element,
    );
  }

  isOpen(role: string, index: number): boolean {
    return this.cell?.role === role && this.cell.index === index;
  }

  open(cell: Cell, now: number): void {
    const same = this.isOpen(cell.role, cell.index);
    if (same) return this.close();
    this.cell = cell;
    this.update(cell, now);
    show(this.element, true);
    this.title.focus({ preventScroll: true });
    this.element.scrollIntoView?.({ block: "nearest" });
    this.log.open(cell);
  }

  // The cell that is shown, as it is now.
  refresh(find: (role: string, index: number) => Cell | undefined, now: number): void {
    const cell = this.cell && find(this.cell.role, this.cell.index);
    if (!cell) return;
    const before = this.cell;
    this.cell = cell;
    this.update(cell, now);
    if (before?.task?.attempt !== cell.task?.attempt || (!before?.task && cell.task)) this.log.open(cell);
  }

  tick(now: number): void {
    const time = this.facts.querySelector("[data-time]");
    if (this.cell && time) text(time, timeOf(this.cell.task, now));
  }

  close(): void {
    const { cell } = this;
    this.cell = undefined;
    this.log.close();
    show(this.element, false);
    if (cell) this.closed(cell);
  }

  private key(event: KeyboardEvent): void {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    this.close();
  }

  private update(cell: Cell, now: number): void {
    const { task } = cell;
    this.title.replaceChildren(mark(cell.shown), `${cell.role} ${cell.index}`, h("span", { class: "state", "data-shown": cell.shown }, WORDS[cell.shown]));
    const cause = cell.why?.cause || (cell.shown === "Failed" || cell.shown === "Lost" ? task?.message || ending(task ?? NONE) : "");
    this.why.replaceChildren(...(cause ? [h("p", {}, cause)] : []), ...(cell.why?.advice ? [h("p", { class: "advice" }, `What to do: ${cell.why.advice}`)] : []));
    show(this.why, Boolean(cause));
    if (!task) {
      this.facts.replaceChildren(...fact("state", "no task has been created yet"));
      this.use.replaceChildren();
      return;
    }
    this.facts.replaceChildren(
      ...fact("node", task.node ?? ""),
      ...fact("devices", Object.entries(task.devices ?? {}).map(([type, ids]) => `${type}: ${ids.join(", ")}`).join("; ")),
      ...fact("attempt", String(task.attempt)),
      ...fact("started", task.startedAt ? clock(task.startedAt) : ""),
      ...fact(task.finishedAt ? "ran for" : "running", timeOf(task, now), "time"),
      ...fact("end", ending(task) || (task.state === "Succeeded" ? "exit code 0" : "")),
      ...fact("message", task.message && task.message !== cause ? task.message : ""),
      ...fact("CPU time", task.usage?.cpuSeconds ? span(task.usage.cpuSeconds) : ""),
      ...metricsOf(task).flatMap(([name, value]) => fact(name, value)),
    );
    this.use.replaceChildren(...this.meters(cell));
  }

  private meters(cell: Cell): HTMLElement[] {
    const { task } = cell;
    if (!task) return [];
    const live = task.finishedAt == null;
    const found = (live ? deviceIds(task) : []).map((id) => {
      const { percent, memoryBytes } = this.gang.device(task, id);
      const words = [percent === undefined ? "use not known" : `${Math.round(percent)} %`, memoryBytes ? size(memoryBytes) : ""];
      return meter(deviceName(id, task), percent, words.filter(Boolean).join(" · "));
    });
    const [memory, limit] = [memoryOf(task), task.memoryLimitBytes ?? 0];
    if (memory) found.push(meter(live ? "memory" : "peak memory", limit ? (100 * memory) / limit : undefined, size(memory) + (limit ? ` of ${size(limit)}` : "")));
    return found;
  }
}

const NONE = { name: "", namespace: "", taskset: "", tasksetUid: "", role: "", index: 0, attempt: 0 };

function fact(name: string, value: string, mark = ""): HTMLElement[] {
  return value ? [h("dt", {}, name), h("dd", mark ? { [`data-${mark}`]: "" } : {}, value)] : [];
}
