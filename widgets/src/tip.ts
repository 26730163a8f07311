// The small window beside a task under the pointer or the keyboard's focus.

import { h, show } from "./dom";

export class Tip {
  readonly element = h("div", { class: "tip", role: "tooltip", hidden: "" });

  // Show lines above a place, which is given in the window's coordinates.
  at(place: { left: number; top: number; width: number }, lines: string[]): void {
    this.element.replaceChildren(...lines.filter(Boolean).map((line, at) => h(at ? "div" : "b", {}, line)));
    show(this.element, true);
    const box = this.element.offsetParent?.getBoundingClientRect() ?? new DOMRect();
    const width = this.element.offsetWidth;
    const centre = place.left - box.left + place.width / 2;
    const left = Math.max(4, Math.min(centre - width / 2, box.width - width - 4));
    this.element.style.left = `${left}px`;
    this.element.style.top = `${place.top - box.top - this.element.offsetHeight - 6}px`;
  }

  hide(): void {
    show(this.element, false);
  }
}
