// The last lines of a task's log, followed while the task runs. One log at a time is followed per page: each takes a
// connection, and a browser has six.

import { h, show, text } from "./dom";
import type { Cell } from "./model";
import type { Actions, Target } from "./server";

const LINES = 200;
const MOST_CHARACTERS = 200_000;
let following: AbortController | undefined;

export class LogTail {
  readonly element: HTMLElement;
  private state = h("span", { class: "log-state" });
  private again = h("button", { type: "button", class: "quiet", click: () => this.cell && this.open(this.cell) }, "Read again");
  private output = h("pre", { tabindex: "0", "aria-label": "log" });
  private cell: Cell | undefined;
  private abort: AbortController | undefined;

  constructor(private actions: () => Actions, private target: () => Target) {
    this.element = h("div", { class: "log" }, h("div", { class: "log-head" }, h("b", {}, "Log"), this.state, this.again), this.output);
  }

  open(cell: Cell): void {
    this.close();
    this.cell = cell;
    text(this.output, "");
    show(this.element, Boolean(cell.task));
    if (cell.task) void this.read(cell, cell.task.attempt, cell.task.finishedAt == null);
  }

  close(): void {
    this.cell = undefined;
    this.abort?.abort();
  }

  private async read(cell: Cell, attempt: number, live: boolean): Promise<void> {
    const abort = (this.abort = new AbortController());
    if (live) {
      following?.abort();
      following = abort;
    }
    this.says(live ? "following" : "reading", false);
    const query = { role: cell.role, index: cell.index, attempt, tail: LINES, follow: live };
    try {
      await this.actions().log(this.target(), query, abort.signal, (more) => this.add(more));
      this.says(this.output.textContent ? "" : "empty", true);
    } catch (error) {
      const words = error instanceof Error ? error.message : String(error);
      if (this.abort === abort) this.says(abort.signal.aborted ? "no longer followed" : words, true);
    }
  }

  private add(more: string): void {
    const { output } = this;
    const atEnd = output.scrollHeight - output.scrollTop - output.clientHeight < 30;
    const whole = plain((output.textContent ?? "") + more);
    text(output, whole.length > MOST_CHARACTERS ? whole.slice(whole.indexOf("\n", whole.length - MOST_CHARACTERS) + 1) : whole);
    if (atEnd) output.scrollTop = output.scrollHeight;
  }

  private says(state: string, done: boolean): void {
    text(this.state, state);
    show(this.again, done);
  }
}

// Without terminal colours, and with what a carriage return overwrote left out (progress bars).
export function plain(log: string): string {
  return log.replace(/\x1b\[[0-9;?]*[A-Za-z]/g, "").replace(/\r+\n/g, "\n").replace(/[^\n]*\r(?=[^\n])/g, "");
}
