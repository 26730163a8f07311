// The parts of a view above and below the grid: why it waits, how its time went, what went wrong, the record.

import { attribute, h, show, text } from "./dom";
import type { QueuePlace } from "./api.generated";
import type { Picture } from "./model";
import { clock, count, duration, figure, lines, span } from "./words";

// When a waiting TaskSet is expected to start, in the words of the command line.
function starts(place: QueuePlace): string {
  const { earliestSeconds: early, latestSeconds: late, estimateSeconds } = place;
  if (early == null) return estimateSeconds == null ? "" : `about ${duration(estimateSeconds)} more`;
  if (late == null) return `starts in ${duration(early)} or later`;
  if (duration(early) === duration(late)) return `starts in about ${duration(late)}`;
  return early >= 1 ? `starts in ${duration(early)} to ${duration(late)}` : `starts within ${duration(late)}`;
}

// Why a waiting TaskSet waits: its place, the sentence, and need against free as bars.
export class Waiting {
  readonly element = h("section", { class: "waiting", "aria-label": "why it waits", hidden: "" });
  private key = "";

  update({ place, phase, queue }: Picture): void {
    show(this.element, Boolean(place));
    const key = JSON.stringify(place);
    if (!place || key === this.key) return;
    this.key = key;
    const held = phase === "Held" ? "Held" : `Place ${place.place} in ${queue ? `queue ${queue}` : "its queue"}`;
    const when = starts(place);
    const estimate = when && place.basis ? `${when} (${place.basis})` : when;
    const free = new Map(lines(place.free).map((line) => [line.name, line]));
    // A zero is left out on the wire. With nothing free of several things none was counted: no node was fit to count.
    const needs = lines(place.need);
    const bars = (free.size || needs.length === 1 ? needs : []).map((need) => {
      const there = free.get(need.name);
      const share = Math.min(100, (100 * (there?.amount ?? 0)) / need.amount);
      return h(
        "li", { class: share < 100 ? "short" : "" },
        h("span", { class: "name" }, need.name),
        h("span", { class: "track" }, h("i", { style: `width:${share.toFixed(1)}%` })),
        h("span", { class: "words" }, `needs ${need.text}, free ${there?.text ?? "0"}`),
      );
    });
    this.element.replaceChildren(
      h("p", { class: "place" }, h("b", {}, held), estimate ? h("span", {}, estimate) : undefined),
      h("p", {}, place.message),
      ...(bars.length ? [h("ul", {}, ...bars)] : []),
    );
  }
}

// Its phases as a strip in proportion, and the same in words.
export class Timeline {
  readonly element = h("div", { class: "timeline" });
  private key = "";
  private last: HTMLElement | undefined;
  private lastSegment: HTMLElement | undefined;
  private from = 0;

  update(picture: Picture, now: number): void {
    const steps = picture.steps.filter((_, at) => !picture.ended || at < picture.steps.length - 1).slice(-8);
    show(this.element, steps.length > 0);
    const key = JSON.stringify(steps);
    if (key === this.key || !steps.length) return this.tick(now);
    this.key = key;
    this.last = this.lastSegment = undefined;
    const strip = h("div", { class: "strip", "aria-hidden": "true" });
    const words = h("ol", {});
    for (const step of steps) {
      const took = (step.until ?? now) - step.at;
      const segment = h("i", { "data-phase": step.phase, style: `flex-grow:${grow(took)}`, title: `${step.phase} ${span(took)}` });
      const time = h("span", {}, span(took));
      const title = `since ${clock(step.at)}${step.reason && step.reason !== step.phase ? `: ${step.reason}` : ""}`;
      words.append(h("li", { "data-phase": step.phase, title }, `${step.phase} `, time));
      strip.append(segment);
      if (step.until === undefined) [this.last, this.lastSegment, this.from] = [time, segment, step.at];
    }
    this.element.replaceChildren(strip, words);
  }

  tick(now: number): void {
    if (!this.last || !this.lastSegment) return;
    text(this.last, duration(now - this.from));
    this.lastSegment.style.flexGrow = String(grow(now - this.from));
  }
}

// Square roots keep a short phase visible beside a long one.
const grow = (seconds: number) => Math.sqrt(Math.max(0.01, seconds)).toFixed(3);

// Figures of the whole gang in one line.
export class Figures {
  readonly element = h("ul", { class: "figures" });
  private key = "";

  update(picture: Picture): void {
    const { use, counts, total } = picture;
    const running = counts.find(([name]) => name === "Running")?.[1] ?? 0;
    const figures: [string, string, number | undefined][] = [];
    if (!picture.ended && total) figures.push(["tasks", `${running.toLocaleString("en")} of ${total.toLocaleString("en")} running`, undefined]);
    if (use.nodes) figures.push(["on", count(use.nodes, "node"), undefined]);
    for (const [type, number] of Object.entries(use.devices)) {
      figures.push([type, use.percent === undefined ? String(number) : `${number} · ${Math.round(use.percent)} % busy`, use.percent]);
    }
    if (use.memoryBytes) figures.push(["memory", lines({ memoryBytes: use.memoryBytes })[0]?.text ?? "", undefined]);
    for (const [name, value] of picture.metrics) figures.push([name, figure(value), undefined]);
    const key = JSON.stringify(figures);
    if (key === this.key) return;
    this.key = key;
    show(this.element, figures.length > 0);
    this.element.replaceChildren(
      ...figures.map(([name, words, percent]) =>
        h(
          "li", {}, h("span", { class: "name" }, name), h("b", {}, words),
          percent === undefined ? undefined : h("span", { class: "track" }, h("i", { style: `width:${percent.toFixed(1)}%` })),
        ),
      ),
    );
  }
}

// The controller's sentence, tasks worth a word, and where the record stands.
export class Outcome {
  readonly element = h("section", { class: "outcome" });
  private key = "";

  constructor(private open: (role: string, index: number) => void) {}

  update(picture: Picture): void {
    const { message, failures, record, phase } = picture;
    const shown = failures.slice(0, 5);
    const key = JSON.stringify([message, shown.map((cell) => [cell.role, cell.index, cell.why]), failures.length, record, phase, picture.settled, picture.removed]);
    if (key === this.key) return;
    this.key = key;
    attribute(this.element, "data-phase", phase);
    const rows = shown.map((cell) =>
      h(
        "li", {},
        h("button", { type: "button", class: "link", click: () => this.open(cell.role, cell.index) }, `${cell.role} ${cell.index}`),
        ` ${cell.why?.cause ?? ""}`,
        cell.why?.advice ? h("span", { class: "advice" }, `→ ${cell.why.advice}`) : undefined,
      ),
    );
    if (failures.length > shown.length) rows.push(h("li", { class: "more" }, `and ${failures.length - shown.length} more`));
    const parts: HTMLElement[] = [];
    if (picture.removed) parts.push(h("p", {}, "It was deleted; its records stay."));
    const told = failures.length === 1 && message.includes(failures[0]?.why?.cause ?? "?"); // the row says the same
    if (message && !picture.place && !told) parts.push(h("p", { class: "message" }, message));
    if (rows.length) parts.push(h("ul", {}, ...rows));
    if (picture.ended) parts.push(this.record(picture));
    this.element.replaceChildren(...parts);
    show(this.element, parts.length > 0);
  }

  private record({ record, settled }: Picture): HTMLElement {
    if (!record) return h("p", { class: "record" }, h("span", { class: "name" }, "record"), settled ? "job.record" : "is being written…");
    if (!navigator.clipboard) return h("p", { class: "record" }, h("span", { class: "name" }, "record"), h("code", {}, record));
    const copy = h("button", { type: "button", class: "quiet" }, "Copy path");
    copy.addEventListener("click", () => void navigator.clipboard.writeText(record).then(() => text(copy, "Copied")));
    return h("p", { class: "record" }, h("span", { class: "name" }, "record"), h("code", {}, record), copy);
  }
}
