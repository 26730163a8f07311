// The tasks of one role: cards while they are few, chips while each can still be pressed, a drawn map beyond that.

import { attribute, h, mark, show, text } from "./dom";
import { TaskMap } from "./map";
import { deviceIds, type Cell, type Gang, type RolePicture, type Shown } from "./model";
import { deviceName, label, memoryOf, metricsOf, timeOf, tipLines, WORDS } from "./tasks";
import { lines, size } from "./words";
import type { Tip } from "./tip";

export type Density = "card" | "chip" | "map";
const MOST_CARDS = 12; // of a role
const MOST_CARDS_IN_ALL = 24;
const MOST_CHIPS_IN_ALL = 400;

export function density(role: RolePicture, total: number): Density {
  if (role.cells.length <= MOST_CARDS && total <= MOST_CARDS_IN_ALL) return "card";
  return total <= MOST_CHIPS_IN_ALL || role.cells.length <= MOST_CARDS ? "chip" : "map";
}

export interface Desk {
  gang: Gang;
  tip: Tip;
  now(): number;
  open(role: string, index: number): void;
  isOpen(role: string, index: number): boolean;
}

interface Tasks {
  readonly element: HTMLElement;
  update(cells: Cell[]): void;
  tick(now: number): void;
  focus(index: number): void;
}

export class RoleSection {
  readonly element: HTMLElement;
  private counts = h("span", { class: "counts" });
  private asks = h("span", { class: "asks" });
  private bar = h("div", { class: "bar", "aria-hidden": "true" });
  private tasks: Tasks | undefined;
  private shape = "";

  constructor(private desk: Desk, readonly name: string) {
    const head = h("div", { class: "role-head" }, h("h4", {}, name), this.counts, this.asks);
    this.element = h("section", { class: "role" }, head, this.bar);
  }

  update(role: RolePicture, total: number): void {
    const kind = density(role, total);
    const shape = `${kind} ${role.cells.length}`;
    if (shape !== this.shape) {
      this.shape = shape;
      this.tasks?.element.remove();
      this.tasks = kind === "map" ? new TaskMap(this.desk, role) : new Buttons(this.desk, role, kind);
      this.element.append(this.tasks.element);
    }
    drawCounts(this.counts, role);
    text(this.asks, asks(role));
    show(this.bar, kind !== "card" && role.counts.length > 1);
    if (kind !== "card") drawBar(this.bar, role.counts);
    this.tasks?.update(role.cells);
  }

  tick(now: number): void {
    this.tasks?.tick(now);
  }

  focus(index: number): void {
    this.tasks?.focus(index);
  }
}

function asks(role: RolePicture): string {
  const { cpu = "100m", memory = "256Mi", devices = {} } = role.asks ?? {};
  const each = [...lines({ devices }).map((line) => `${line.text} ${line.name}`), `${cpu} CPU`, memory];
  return `${role.cells.length > 1 ? "each " : ""}${each.join(" · ")}`;
}

// The counts are the legend of the bar and the map as well.
function drawCounts(counts: HTMLElement, role: RolePicture): void {
  const key = JSON.stringify([role.counts, role.restarts]);
  if (counts.dataset["key"] === key) return;
  counts.dataset["key"] = key;
  const found = role.counts.map(([name, number]) =>
    h("span", { "data-shown": name }, mark(name), `${number.toLocaleString("en")} ${WORDS[name]}`));
  if (role.restarts) found.push(h("span", {}, `${role.restarts.toLocaleString("en")} restarted`));
  counts.replaceChildren(...found);
}

function drawBar(bar: HTMLElement, counts: [Shown, number][]): void {
  const key = JSON.stringify(counts);
  if (bar.dataset["key"] === key) return;
  bar.dataset["key"] = key;
  bar.replaceChildren(...counts.map(([name, number]) => h("i", { "data-shown": name, style: `flex-grow:${number}` })));
}

// Cards or chips: one button per task, moved through with the arrow keys.
class Buttons implements Tasks {
  readonly element: HTMLElement;
  private cells: Cell[] = [];
  private buttons: TaskButton[];
  private current = 0; // the one that the tab key reaches

  constructor(private desk: Desk, role: RolePicture, private kind: Density) {
    this.buttons = role.cells.map((cell) => new TaskButton(cell, kind));
    this.element = h(
      "div",
      {
        class: `tasks ${kind}s`, role: "group", "aria-label": `tasks of role ${role.name}`,
        click: (event) => this.on(event, (cell) => desk.open(cell.role, cell.index)),
        keydown: (event) => this.key(event as KeyboardEvent),
        pointerover: (event) => this.on(event, (cell, button) => this.tip(cell, button)),
        pointerout: () => desk.tip.hide(),
        focusin: (event) => this.on(event, (cell, button) => this.tip(cell, button)),
        focusout: () => desk.tip.hide(),
      },
      ...this.buttons.map((button) => button.element),
    );
  }

  update(cells: Cell[]): void {
    this.cells = cells;
    this.buttons.forEach((button, at) => {
      const cell = cells[at];
      if (cell) button.update(cell, this.desk, at === this.current);
    });
  }

  tick(now: number): void {
    if (this.kind === "card") this.buttons.forEach((button, at) => button.tick(this.cells[at], now));
  }

  focus(index: number): void {
    this.current = index;
    this.buttons.forEach((button, at) => button.reachable(at === index));
    this.buttons[index]?.element.focus();
  }

  private on(event: Event, act: (cell: Cell, button: HTMLElement) => void): void {
    const button = (event.target as Element).closest<HTMLElement>("button");
    const cell = button ? this.cells[this.buttons.findIndex((each) => each.element === button)] : undefined;
    if (button && cell) act(cell, button);
  }

  private tip(cell: Cell, button: HTMLElement): void {
    if (this.kind === "chip") this.desk.tip.at(button.getBoundingClientRect(), tipLines(cell, this.desk.gang, this.desk.now()));
  }

  private key(event: KeyboardEvent): void {
    const at = this.buttons.findIndex((each) => each.element === event.target);
    const to = moved(event.key, at, this.buttons.length, this.columns());
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    event.stopPropagation(); // the notebook has its own use for arrow keys
    this.focus(to);
  }

  private columns(): number {
    const first = this.buttons[0]?.element.offsetTop;
    const next = this.buttons.findIndex((each) => each.element.offsetTop !== first);
    return next < 0 ? this.buttons.length : next;
  }
}

// Where an arrow key leads; undefined for other keys.
export function moved(key: string, at: number, length: number, columns: number): number | undefined {
  const steps: Record<string, number> = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns };
  if (key === "Home") return 0;
  if (key === "End") return length - 1;
  const step = steps[key];
  return step === undefined ? undefined : Math.max(0, Math.min(length - 1, at + step));
}

class TaskButton {
  readonly element: HTMLButtonElement;
  private key = "";
  private time = h("span", { class: "time" });
  private rest = h("span", { class: "rest" });

  constructor(cell: Cell, private kind: Density) {
    this.element = h("button", { type: "button", class: kind, "data-index": String(cell.index) });
  }

  update(cell: Cell, desk: Desk, reachable: boolean): void {
    this.reachable(reachable);
    attribute(this.element, "aria-expanded", String(desk.isOpen(cell.role, cell.index)));
    const { task } = cell;
    const meters = task && this.kind === "card" ? metersOf(cell, desk.gang) : [];
    const metric = metricsOf(task)[0];
    const key = JSON.stringify([cell.shown, task?.attempt, task?.node, meters, metric, cell.why?.cause]);
    if (key === this.key) return;
    this.key = key;
    attribute(this.element, "data-shown", cell.shown);
    attribute(this.element, "aria-label", label(cell));
    const number = h("span", { class: "number" }, String(cell.index));
    if (this.kind === "chip") {
      this.element.replaceChildren(mark(cell.shown), number);
      return;
    }
    const state = WORDS[cell.shown] + (task && task.attempt > 1 ? ` · attempt ${task.attempt}` : "");
    this.rest.replaceChildren(...meters.map(([name, share, words]) => meter(name, share, words)));
    const cause = cell.why?.cause;
    const said = cause ? h("span", { class: "cause" }, cause) : h("span", {}, metric ? metric.join(" ") : "");
    this.element.replaceChildren(
      h("span", { class: "top" }, mark(cell.shown), number, h("span", { class: "state" }, state), this.time),
      this.rest,
      h("span", { class: "foot" }, said, h("span", { class: "node" }, task?.node ?? "")),
    );
    this.tick(cell, desk.now());
  }

  tick(cell: Cell | undefined, now: number): void {
    text(this.time, timeOf(cell?.task, now));
  }

  reachable(reachable: boolean): void {
    this.element.tabIndex = reachable ? 0 : -1;
  }
}

// Name, share of the bar (undefined: no bar), words.
function metersOf(cell: Cell, gang: Gang): [string, number | undefined, string][] {
  const { task } = cell;
  if (!task) return [];
  const ids = deviceIds(task);
  const found: [string, number | undefined, string][] = [];
  const live = task.finishedAt == null;
  if (ids.length && live) {
    const percent = gang.percent(task);
    found.push([ids.length > 1 ? `${ids.length} devices` : deviceName(ids[0] ?? "", task), percent, percent === undefined ? "" : `${Math.round(percent)} %`]);
  }
  const memory = memoryOf(task);
  const limit = task.memoryLimitBytes ?? 0;
  if (memory) found.push([live ? "memory" : "peak memory", limit ? (100 * memory) / limit : undefined, size(memory)]);
  return found;
}

export function meter(name: string, percent: number | undefined, words: string): HTMLElement {
  const full = percent === undefined ? 0 : Math.max(0, Math.min(100, percent));
  return h(
    "span", { class: `meter${full > 90 ? " high" : ""}${percent === undefined ? " bare" : ""}` },
    h("span", { class: "name" }, name),
    percent !== undefined && h("span", { class: "track" }, h("i", { style: `width:${full.toFixed(1)}%` })),
    h("span", { class: "words" }, words),
  );
}
