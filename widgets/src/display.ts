// The view of one TaskSet as elements under a shadow root, so that the page's styles and ours never meet. The notebook's
// widget and the panel mount the same. It is told when something changed and draws once per animation frame.

import { attribute, h, mark, text } from "./dom";
import { Details } from "./details";
import { RoleSection, type Desk } from "./grid";
import type { Cell, Gang, Picture } from "./model";
import { Figures, Outcome, Timeline, Waiting } from "./parts";
import type { Actions, Target } from "./server";
import { StopButton } from "./stop";
import { followTheme } from "./theme";
import { Tip } from "./tip";
import { duration, span } from "./words";

declare const OCTOPUS_STYLE: string;

export interface Badge {
  state: "connecting" | "live" | "reconnecting" | "kernel" | "ended" | "offline";
  words: string;
  message: string;
}

// The mark beside the phase: the same shapes as tasks have.
const PHASE_MARKS: Record<string, string> = {
  Held: "Stopped", Queued: "Waiting", Admitted: "Pending", Starting: "Bound", Running: "Running", Restarting: "Bound",
  Preempting: "Lost", Stopping: "Stopped", Succeeded: "Succeeded", Failed: "Failed", Stopped: "Stopped",
};

export class Display {
  private root: ShadowRoot;
  private card = h("article", { class: "gang" });
  private phase = h("span", { class: "phase" });
  private name = h("h3", {});
  private subtitle = h("span", { class: "subtitle" });
  private time = h("span", { class: "time" });
  private badge = h("span", { class: "badge", role: "status" });
  private live = h("div", { class: "unseen", "aria-live": "polite" });
  private stop: StopButton;
  private waiting = new Waiting();
  private timeline = new Timeline();
  private figures = new Figures();
  private outcome: Outcome;
  private details: Details;
  private grid = h("div", { class: "grid" });
  private sections = new Map<string, RoleSection>();
  private desk: Desk;
  private picture: Picture | undefined;
  private drawing = false;
  private said = "";
  private ticker: ReturnType<typeof setInterval> | undefined;
  private unfollowTheme: () => void;

  constructor(host: HTMLElement, private gang: Gang, actions: () => Actions, private now: () => number) {
    this.root = host.shadowRoot ?? host.attachShadow({ mode: "open" });
    const tip = new Tip();
    const open = (role: string, index: number) => this.open(role, index);
    this.desk = { gang, tip, now, open, isOpen: (role, index) => this.details.isOpen(role, index) };
    this.stop = new StopButton(() => actions().stop(this.target()), (words) => text(this.live, words));
    this.outcome = new Outcome(open);
    this.details = new Details(gang, actions, () => this.target(), (cell) => this.closed(cell));
    this.card.append(
      h(
        "header", {},
        this.phase,
        h("div", { class: "names" }, this.name, this.subtitle),
        this.time,
        h("div", { class: "side" }, this.badge, this.stop.element),
      ),
      this.timeline.element, this.waiting.element, this.outcome.element, this.figures.element,
      this.grid, this.details.element, this.live, tip.element,
    );
    this.root.replaceChildren(h("style", {}, OCTOPUS_STYLE), this.card);
    this.unfollowTheme = followTheme(this.card);
    this.draw();
    this.ticker = setInterval(() => this.tick(), 1000);
  }

  // Something changed; draw it with the next frame.
  changed(): void {
    if (this.drawing) return;
    this.drawing = true;
    requestAnimationFrame(() => {
      this.drawing = false;
      this.draw();
    });
  }

  link({ state, words, message }: Badge): void {
    attribute(this.badge, "data-state", state);
    attribute(this.badge, "title", message || undefined);
    if (this.badge.textContent !== words) this.badge.replaceChildren(h("i", { "aria-hidden": "true" }), words);
  }

  close(): void {
    clearInterval(this.ticker);
    this.details.close();
    this.unfollowTheme();
    this.root.replaceChildren();
  }

  private target(): Target {
    const { metadata } = this.gang.taskset;
    return { namespace: metadata.namespace ?? "", name: metadata.name };
  }

  private draw(): void {
    const now = this.now();
    const picture = (this.picture = this.gang.picture());
    this.header(picture);
    this.waiting.update(picture);
    this.timeline.update(picture, now);
    this.figures.update(picture);
    this.outcome.update(picture);
    this.roles(picture);
    this.details.refresh((role, index) => this.cell(role, index), now);
    this.tick();
  }

  private header(picture: Picture): void {
    const { phase, name } = picture;
    if (this.phase.dataset["phase"] !== phase) {
      attribute(this.phase, "data-phase", phase);
      attribute(this.card, "data-phase", phase);
      this.phase.replaceChildren(mark(PHASE_MARKS[phase] ?? "Unknown"), phase);
    }
    text(this.name, name);
    attribute(this.card, "aria-label", `TaskSet ${name}`);
    const words = [
      picture.reason,
      picture.attempt > 1 ? `attempt ${picture.attempt}` : "",
      picture.queue ? `queue ${picture.queue}` : "",
      picture.framework === "script" ? "" : picture.framework,
    ];
    text(this.subtitle, words.filter(Boolean).join(" · "));
    this.stop.update(picture.canStop, picture.stopAsked || phase === "Stopping");
    const said = `${name}: ${phase}${picture.attempt > 1 ? `, attempt ${picture.attempt}` : ""}${picture.message ? `. ${picture.message}` : ""}`;
    if (said !== this.said) text(this.live, (this.said = said));
  }

  private roles(picture: Picture): void {
    for (const role of picture.roles) {
      let section = this.sections.get(role.name);
      if (!section) {
        this.sections.set(role.name, (section = new RoleSection(this.desk, role.name)));
        this.grid.append(section.element);
      }
      section.update(role, picture.total);
    }
  }

  private tick(): void {
    if (!this.picture || document.hidden) return;
    const now = this.now();
    const { since, until, ended } = this.picture;
    text(this.time, since === undefined ? "" : until === undefined ? duration(now - since) : span(until - since));
    if (ended) return;
    this.timeline.tick(now);
    this.details.tick(now);
    for (const section of this.sections.values()) section.tick(now);
  }

  private cell(role: string, index: number): Cell | undefined {
    return this.picture?.roles.find((each) => each.name === role)?.cells[index];
  }

  private open(role: string, index: number): void {
    const cell = this.cell(role, index);
    if (!cell) return;
    this.details.open(cell, this.now());
    this.draw();
  }

  private closed(cell: Cell): void {
    this.draw();
    this.sections.get(cell.role)?.focus(cell.index);
  }
}

