// Stop in two presses of one button: the first asks, the second within a few seconds does it.

import { attribute, h, show, text } from "./dom";

const SECONDS_TO_CONFIRM = 4;

export class StopButton {
  readonly element: HTMLElement;
  private button = h("button", { type: "button", class: "stop", click: () => this.press(), blur: () => this.calm(), keydown: (event) => this.key(event as KeyboardEvent) }, "Stop");
  private error = h("span", { class: "error", role: "alert" });
  private armed: ReturnType<typeof setTimeout> | undefined;
  private busy = false;

  constructor(private stop: () => Promise<void>, private say: (words: string) => void) {
    this.element = h("span", { class: "stopping" }, this.error, this.button);
  }

  update(possible: boolean, asked: boolean): void {
    show(this.button, possible || asked);
    if (asked || !possible) text(this.error, "");
    if (this.armed !== undefined && possible) return;
    this.button.disabled = asked || this.busy;
    text(this.button, asked || this.busy ? "Stopping…" : "Stop");
  }

  private press(): void {
    if (this.armed === undefined) {
      this.armed = setTimeout(() => this.calm(), SECONDS_TO_CONFIRM * 1000);
      attribute(this.button, "data-armed", "");
      text(this.button, "Press again to stop");
      text(this.error, "");
      this.say("Press again within four seconds to stop it");
      return;
    }
    this.calm();
    void this.carryOut();
  }

  private async carryOut(): Promise<void> {
    this.busy = true;
    this.update(true, false);
    try {
      await this.stop();
    } catch (error) {
      this.busy = false;
      this.update(true, false);
      text(this.error, `Not stopped: ${error instanceof Error ? error.message : String(error)}`);
      return;
    }
    this.busy = false; // the stream says the rest; until then the button stays as it is
    text(this.button, "Stopping…");
  }

  private calm(): void {
    if (this.armed === undefined) return;
    clearTimeout(this.armed);
    this.armed = undefined;
    attribute(this.button, "data-armed", undefined);
    text(this.button, "Stop");
  }

  private key(event: KeyboardEvent): void {
    if (event.key === "Escape" && this.armed !== undefined) {
      event.stopPropagation();
      this.calm();
    }
  }
}
