// The notebook's widget: a display of one TaskSet, fed by the page's WebSocket, by the kernel where that can't be reached.

import { Display, type Badge } from "./display";
import { kernelLink, type KernelLink, type Model } from "./kernel";
import { Gang } from "./model";
import { pageServer, type Server } from "./server";
import type { Link } from "./stream";
import { hideStatic } from "./static";
import { settled, type Frame, type TaskSetView } from "./wire";

const BADGES: Record<Link["state"] | "kernel" | "busy" | "ended" | "offline", Omit<Badge, "message">> = {
  connecting: { state: "connecting", words: "connecting" },
  live: { state: "live", words: "live" },
  reconnecting: { state: "reconnecting", words: "reconnecting · as last seen" },
  unreachable: { state: "connecting", words: "asking the kernel" },
  kernel: { state: "kernel", words: "live through the kernel" },
  busy: { state: "offline", words: "kernel busy · live when the cell ends" },
  offline: { state: "offline", words: "not connected · as last seen" },
  ended: { state: "ended", words: "ended" },
};
const KERNEL_PATIENCE_MS = 5000;
const NEW_SECONDS = 30;

class Widget {
  private gang: Gang;
  private display: Display;
  private server: Server | undefined = pageServer();
  private kernel: KernelLink;
  private leaveStream: (() => void) | undefined;
  private leaveKernel: (() => void) | undefined;
  private patience: ReturnType<typeof setTimeout> | undefined;
  private live = false; // through the server
  private foreign = false;
  private over = false;
  private heard = false; // a frame
  private now = () => Date.now() / 1000 + this.kernel.offset;
  private unhide: () => void;

  constructor(private model: Model, el: HTMLElement) {
    this.kernel = kernelLink(model);
    this.gang = new Gang(viewOf(model));
    const host = document.createElement("div");
    host.className = "octopus-gang";
    el.append(host);
    const actions = () => (this.server && (this.live || !this.leaveKernel) ? this.server : this.kernel);
    this.display = new Display(host, this.gang, actions, this.now);
    this.unhide = hideStatic(this.gang.uid);
    model.on("change:view", this.rebase);
    this.connect();
  }

  close(): void {
    this.model.off("change:view", this.rebase);
    this.disconnect();
    this.unhide();
    this.display.close();
  }

  private connect(): void {
    if (this.done()) return;
    if (!this.server) return this.askKernel();
    this.show("connecting");
    const leave = this.server.stream.subscribe({
      frame: (frame) => this.take(frame),
      link: (link) => this.linked(link),
    });
    if (this.over) leave(); // what the page knew already was the end
    else this.leaveStream = leave;
  }

  private linked({ state, message }: Link): void {
    this.live = state === "live";
    if (this.over) return;
    if (state === "unreachable") return this.askKernel();
    if (this.live && !this.foreign) this.forgetKernel();
    if (!this.leaveKernel) this.show(state, message);
  }

  private askKernel(): void {
    if (this.leaveKernel) return;
    this.show("unreachable");
    this.patience = setTimeout(() => this.show("busy", "The kernel hears it when the running cell has ended"), KERNEL_PATIENCE_MS);
    this.leaveKernel = this.kernel.follow({
      frame: (frame) => {
        clearTimeout(this.patience);
        this.show("kernel", "The Jupyter server extension can't be reached from this page; frames come through the kernel");
        this.take(frame);
      },
      notice: (notice) => {
        clearTimeout(this.patience);
        this.show(notice.state === "live" ? "kernel" : "offline", notice.message);
      },
    });
  }

  private forgetKernel(): void {
    clearTimeout(this.patience);
    this.leaveKernel?.();
    this.leaveKernel = undefined;
  }

  private take(frame: Frame): void {
    if (this.gang.apply(frame)) this.display.changed();
    this.heard = true;
    if (this.done() || !this.server || frame.type !== "snapshot") return;
    // Old, and not in the page's stream: another tenant's, or deleted long ago. The kernel can tell.
    this.foreign = !this.gang.seen && this.now() - (this.gang.taskset.metadata.createdAt ?? 0) > NEW_SECONDS;
    if (this.foreign) this.askKernel();
  }

  private rebase = (): void => {
    if (this.gang.rebase(viewOf(this.model))) this.display.changed();
    this.done();
  };

  // Once nothing further can come, no connection is held for it.
  private done(): boolean {
    if (!this.gang.removed && !(settled(this.gang.taskset) && (this.gang.hasRows || this.heard))) return false;
    this.over = true;
    this.disconnect();
    this.show("ended");
    return true;
  }

  private disconnect(): void {
    this.forgetKernel();
    this.leaveStream?.();
    this.leaveStream = undefined;
  }

  private show(badge: keyof typeof BADGES, message = ""): void {
    this.display.link({ ...BADGES[badge], message });
  }
}

function viewOf(model: Model): TaskSetView {
  return JSON.parse(String(model.get("view"))) as TaskSetView;
}

export default {
  initialize({ model }: { model: Model }): void {
    kernelLink(model); // tells the clocks apart at once
  },
  render({ model, el }: { model: Model; el: HTMLElement }): () => void {
    const widget = new Widget(model, el);
    return () => widget.close();
  },
};
