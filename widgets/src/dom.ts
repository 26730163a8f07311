// Small tools for building and patching elements. Text is only ever set as text: nothing here parses HTML.

type Child = Node | string | undefined | false;

export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K, attributes: Record<string, string | ((event: Event) => void)> = {}, ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "string") element.setAttribute(name, value);
    else element.addEventListener(name, value);
  }
  for (const child of children) if (child !== undefined && child !== false) element.append(child);
  return element;
}

export function text(element: Element, words: string): void {
  if (element.textContent !== words) element.textContent = words;
}

export function attribute(element: Element, name: string, value: string | undefined): void {
  if (value === undefined) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

export function show(element: HTMLElement, visible: boolean): void {
  if (element.hidden === visible) element.hidden = !visible;
}

const SVG = "http://www.w3.org/2000/svg";

// Each state has a shape of its own, so that colour is never the only sign. Paths on a 16 x 16 field; "ink" is the
// colour of the surface, drawn on a filled shape.
const MARKS: Record<string, { fill?: string; stroke?: string; ink?: string; dashed?: boolean }> = {
  Waiting: { stroke: "M8 2a6 6 0 1 1 0 12A6 6 0 1 1 8 2", dashed: true },
  Pending: { stroke: "M8 2a6 6 0 1 1 0 12A6 6 0 1 1 8 2" },
  Bound: { stroke: "M8 2a6 6 0 1 1 0 12A6 6 0 1 1 8 2", fill: "M8 2a6 6 0 0 0 0 12z" },
  Running: { fill: "M8 1a7 7 0 1 1 0 14A7 7 0 1 1 8 1", ink: "M6.6 5.2 11 8l-4.4 2.8z" },
  Succeeded: { fill: "M8 1a7 7 0 1 1 0 14A7 7 0 1 1 8 1", ink: "M4.8 8.3l2.2 2.2 4.2-4.6" },
  Failed: { fill: "M5 1h6l4 4v6l-4 4H5l-4-4V5z", ink: "M5.4 5.4l5.2 5.2M10.6 5.4l-5.2 5.2" },
  Stopped: { fill: "M3.5 2h9A1.5 1.5 0 0 1 14 3.5v9a1.5 1.5 0 0 1-1.5 1.5h-9A1.5 1.5 0 0 1 2 12.5v-9A1.5 1.5 0 0 1 3.5 2" },
  Lost: { fill: "M8 1.2 15.4 14.4H.6z", ink: "M8 6v4M8 11.7v.9" },
  Unknown: { stroke: "M8 2a6 6 0 1 1 0 12A6 6 0 1 1 8 2M6.3 6.3c.2-2.2 3.6-2 3.4.1C9.600 7.700 8 7.600 8 9.200M8 11v.6" },
};

export function mark(name: string): SVGSVGElement {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", "mark");
  svg.setAttribute("aria-hidden", "true");
  const { fill, stroke, ink, dashed } = MARKS[name] ?? MARKS["Unknown"] ?? {};
  if (fill) svg.append(path(fill, { fill: "currentColor" }));
  if (stroke) svg.append(path(stroke, line("currentColor", dashed)));
  if (ink) svg.append(path(ink, { ...line("var(--surface)"), fill: name === "Running" ? "var(--surface)" : "none" }));
  return svg;
}

function line(colour: string, dashed = false): Record<string, string> {
  const more: Record<string, string> = dashed ? { "stroke-dasharray": "2.4 2.3" } : {};
  return { fill: "none", stroke: colour, "stroke-width": "1.7", "stroke-linecap": "round", "stroke-linejoin": "round", ...more };
}

function path(d: string, attributes: Record<string, string>): SVGPathElement {
  const element = document.createElementNS(SVG, "path");
  for (const [name, value] of Object.entries({ d, ...attributes })) element.setAttribute(name, value);
  return element;
}
