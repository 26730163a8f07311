// Thousands of tasks of a role as small drawn squares: one canvas, whatever their number. The arrow keys move a cursor.

import { h } from "./dom";
import { moved, type Desk } from "./grid";
import type { Cell, RolePicture, Shown } from "./model";
import { label, tipLines } from "./tasks";

const LARGE = 13;
const SMALL = 7; // beyond this many tasks
const MANY = 2000;

export class TaskMap {
  readonly element: HTMLElement;
  private canvas: HTMLCanvasElement;
  private said = h("div", { class: "unseen", "aria-live": "polite" });
  private cells: Cell[] = [];
  private pitch: number;
  private columns = 1;
  private cursor = 0;
  private width = 0;

  constructor(private desk: Desk, role: RolePicture) {
    this.pitch = role.cells.length > MANY ? SMALL : LARGE;
    this.canvas = h("canvas", {
      tabindex: "0", role: "application", "aria-roledescription": "map of tasks",
      "aria-label": `tasks of role ${role.name}; arrow keys move, Enter opens`,
      pointermove: (event) => this.hover(event as PointerEvent),
      pointerleave: () => desk.tip.hide(),
      click: (event) => this.click(event as PointerEvent),
      keydown: (event) => this.key(event as KeyboardEvent),
      focus: () => this.move(this.cursor),
      blur: () => (desk.tip.hide(), this.draw()),
    });
    this.element = h("div", { class: "tasks map" }, this.canvas, this.said);
    new ResizeObserver(() => this.draw()).observe(this.element);
  }

  update(cells: Cell[]): void {
    this.cells = cells;
    this.draw();
  }

  tick(): void {
    // squares say no times
  }

  focus(index: number): void {
    this.cursor = index;
    this.canvas.focus();
  }

  private draw(): void {
    const width = this.element.clientWidth;
    const ink = this.canvas.getContext("2d");
    if (!width || !ink) return;
    this.columns = Math.max(1, Math.floor(width / this.pitch));
    const height = Math.ceil(this.cells.length / this.columns) * this.pitch;
    const scale = globalThis.devicePixelRatio || 1;
    if (this.width !== width || this.canvas.height !== Math.round(height * scale)) {
      this.width = width;
      this.canvas.width = Math.round(width * scale);
      this.canvas.height = Math.round(height * scale);
      this.canvas.style.height = `${height}px`;
    }
    ink.setTransform(scale, 0, 0, scale, 0, 0);
    ink.clearRect(0, 0, width, height);
    const colours = colourTable(this.canvas);
    const side = this.pitch - (this.pitch > 8 ? 3 : 2);
    this.cells.forEach((cell, at) => square(ink, cell.shown, colours, ...this.corner(at), side));
    ink.globalAlpha = 1;
    if (this.canvas.matches(":focus")) this.frame(ink, colours("text"), this.cursor, side);
    for (const cell of this.cells) if (this.desk.isOpen(cell.role, cell.index)) this.frame(ink, colours("accent"), cell.index, side);
  }

  private frame(ink: CanvasRenderingContext2D, colour: string, at: number, side: number): void {
    const [x, y] = this.corner(at);
    ink.strokeStyle = colour;
    ink.lineWidth = 1.5;
    ink.strokeRect(x - 1, y - 1, side + 2, side + 2);
  }

  private corner(at: number): [number, number] {
    return [(at % this.columns) * this.pitch + 1, Math.floor(at / this.columns) * this.pitch + 1];
  }

  private under(event: PointerEvent): Cell | undefined {
    const column = Math.floor(event.offsetX / this.pitch);
    return column < this.columns ? this.cells[Math.floor(event.offsetY / this.pitch) * this.columns + column] : undefined;
  }

  private hover(event: PointerEvent): void {
    const cell = this.under(event);
    if (cell) this.tip(cell);
    else this.desk.tip.hide();
  }

  private tip(cell: Cell): void {
    const box = this.canvas.getBoundingClientRect();
    const [x, y] = this.corner(cell.index);
    const place = { left: box.left + x, top: box.top + y, width: this.pitch };
    this.desk.tip.at(place, tipLines(cell, this.desk.gang, this.desk.now()));
  }

  private click(event: PointerEvent): void {
    const cell = this.under(event);
    if (!cell) return;
    this.cursor = cell.index;
    this.desk.open(cell.role, cell.index);
  }

  private key(event: KeyboardEvent): void {
    const cell = this.cells[this.cursor];
    const to = moved(event.key, this.cursor, this.cells.length, this.columns);
    if (to !== undefined) this.move(to);
    else if (event.key === "Enter" && cell) this.desk.open(cell.role, cell.index);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  private move(to: number): void {
    this.cursor = to;
    const cell = this.cells[to];
    if (!cell) return;
    this.draw();
    this.tip(cell);
    this.said.textContent = label(cell);
  }
}

function colourTable(element: Element): (name: string) => string {
  const style = getComputedStyle(element);
  const known = new Map<string, string>();
  return (name) => {
    let value = known.get(name);
    if (value === undefined) known.set(name, (value = style.getPropertyValue(`--${name}`).trim() || "gray"));
    return value;
  };
}

// As with the marks, each state has its own shape: filled, half, outlined, dot, cross, wedge.
function square(
  ink: CanvasRenderingContext2D, shown: Shown, colours: (name: string) => string, x: number, y: number, side: number,
): void {
  const colour = colours(shown.toLowerCase());
  ink.fillStyle = ink.strokeStyle = colour;
  ink.lineWidth = 1.2;
  ink.globalAlpha = shown === "Running" || shown === "Succeeded" ? 0.6 : 1; // what needs a look stands out
  if (shown === "Waiting") ink.fillRect(x + side / 2 - 1, y + side / 2 - 1, 2, 2);
  else if (shown === "Pending" || shown === "Bound" || shown === "Unknown") {
    ink.strokeRect(x + 0.6, y + 0.6, side - 1.2, side - 1.2);
    if (shown === "Bound") ink.fillRect(x, y + side / 2, side, side / 2);
    if (shown === "Unknown") ink.fillRect(x + side / 2 - 1, y + 2, 2, side - 4);
  } else if (shown === "Stopped") ink.fillRect(x + side / 4, y + side / 4, side / 2, side / 2);
  else if (shown === "Lost") {
    ink.beginPath();
    ink.moveTo(x + side / 2, y);
    ink.lineTo(x + side, y + side);
    ink.lineTo(x, y + side);
    ink.fill();
  } else {
    ink.fillRect(x, y, side, side);
    ink.strokeStyle = colours("surface");
    ink.beginPath();
    if (shown === "Failed") stroke(ink, [x + 1.5, y + 1.5, x + side - 1.5, y + side - 1.5], [x + side - 1.5, y + 1.5, x + 1.5, y + side - 1.5]);
    if (shown === "Succeeded" && side > 6) stroke(ink, [x + 2, y + side * 0.55, x + side * 0.42, y + side * 0.78, x + side - 2, y + side * 0.25]);
    ink.stroke();
  }
}

function stroke(ink: CanvasRenderingContext2D, ...paths: number[][]): void {
  for (const path of paths) {
    for (let at = 0; at + 1 < path.length; at += 2) {
      const [x = 0, y = 0] = path.slice(at, at + 2);
      if (at) ink.lineTo(x, y);
      else ink.moveTo(x, y);
    }
  }
}
