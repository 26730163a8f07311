// The way through the kernel, for pages that can't reach the server extension (VS Code, Colab). Frames come from a
// thread of the kernel, so they arrive while a cell runs; what is asked of the kernel is heard when it is idle.

import type { Actions, LogQuery, Target } from "./server";
import type { Frame, Notice } from "./wire";

// The part of anywidget's model that is used.
export interface Model {
  get(key: string): unknown;
  send(content: unknown): void;
  on(event: string, handler: (message: never) => void): void;
  off(event: string, handler: (message: never) => void): void;
}

type Message = Frame | Notice | { type: "clock"; now: number } | { type: "answer"; id: number; text?: string; error?: string };

export interface KernelListener {
  frame(frame: Frame): void;
  notice(notice: Notice): void;
}

const PATIENCE_MS = 4000;
const links = new WeakMap<Model, KernelLink>();

export function kernelLink(model: Model): KernelLink {
  let link = links.get(model);
  if (!link) links.set(model, (link = new KernelLink(model)));
  return link;
}

export class KernelLink implements Actions {
  offset: number; // the kernel's clock minus this page's, in seconds
  private listeners = new Set<KernelListener>();
  private waiting = new Map<number, { resolve(text: string): void; reject(error: Error): void }>();
  private asked = 0;

  constructor(private model: Model) {
    // A view made long ago carries an old time; one that is ahead of us is true at least by that much.
    this.offset = Math.max(0, Number(model.get("now") ?? 0) - Date.now() / 1000);
    model.on("msg:custom", (message: Message) => this.take(message));
    this.send({ type: "hello" });
  }

  // Ask the kernel for frames, as long as anybody listens.
  follow(listener: KernelListener): () => void {
    if (!this.listeners.size) this.send({ type: "follow" });
    this.listeners.add(listener);
    return () => {
      if (this.listeners.delete(listener) && !this.listeners.size) this.send({ type: "unfollow" });
    };
  }

  async stop(_: Target): Promise<void> {
    await this.ask({ type: "stop" }, "the kernel is busy; Stop reaches it when the running cell ends");
  }

  async log(_: Target, query: LogQuery, signal: AbortSignal, more: (text: string) => void): Promise<void> {
    const text = await this.ask({ type: "log", ...query }, "the kernel is busy; the log comes when the running cell ends", more);
    if (!signal.aborted) more(text);
  }

  // Send a request; its promise fails after some patience, but a late answer still reaches `late`.
  private ask(request: object, busy: string, late?: (text: string) => void): Promise<string> {
    const id = (this.asked += 1);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(new Error(busy));
        this.waiting.set(id, { resolve: (text) => late?.(text), reject: () => undefined });
      }, PATIENCE_MS);
      const done = <T>(end: (value: T) => void) => (value: T) => (clearTimeout(timer), end(value));
      this.waiting.set(id, { resolve: done(resolve), reject: done(reject) });
      this.send({ ...request, id });
    });
  }

  private take(message: Message): void {
    if (message.type === "clock") this.offset = message.now - Date.now() / 1000;
    else if (message.type === "answer") this.answered(message);
    else if (message.type === "status") for (const listener of [...this.listeners]) listener.notice(message);
    else for (const listener of [...this.listeners]) listener.frame(message);
  }

  private answered(message: { id: number; text?: string; error?: string }): void {
    const waiting = this.waiting.get(message.id);
    this.waiting.delete(message.id);
    if (message.error !== undefined) waiting?.reject(new Error(message.error));
    else waiting?.resolve(message.text ?? "");
  }

  private send(content: object): void {
    try {
      this.model.send(content);
    } catch {
      // the kernel is gone; the view keeps what it shows
    }
  }
}
