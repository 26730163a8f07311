// One WebSocket per page to the server extension, shared by every view on it (browsers allow six connections per origin).
//
// Views come from several bundles (each widget, the panel), so the stream hangs on globalThis under a versioned key and
// its shape is a contract: change it only together with the key. It keeps what the frames said, so that a view that
// comes later starts with a snapshot; it closes when the last view has gone. After a lost connection it tries again by
// itself, and the frame that comes first is a snapshot: level, nothing lost.

import type { Frame, Node, Notice, QueuePlace, Task, TaskSet } from "./wire";

export interface Link {
  state: "connecting" | "live" | "reconnecting" | "unreachable"; // unreachable: was never open in this page
  message: string;
}

export interface Listener {
  frame(frame: Frame): void;
  link(link: Link): void;
}

export interface Stream {
  subscribe(listener: Listener): () => void;
}

const KEY = Symbol.for("octopus-hub.stream/1");
const GRACE_MS = 5000; // a notebook that redraws a cell removes the old view before it makes the new one
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15000;
const TRIES_BEFORE_UNREACHABLE = 2;
const PONG_MS = 5000;
const LIVE = new Set(["live", "connected", "open", "ok"]);

export function sharedStream(url: string): Stream {
  const page = globalThis as unknown as Record<symbol, Map<string, Stream> | undefined>;
  const streams = (page[KEY] ??= new Map<string, Stream>());
  let stream = streams.get(url);
  if (!stream) streams.set(url, (stream = new PageStream(url)));
  return stream;
}

class PageStream implements Stream {
  private listeners = new Set<Listener>();
  private socket: WebSocket | undefined;
  private now: Link = { state: "connecting", message: "" };
  private opened = false;
  private answered = false; // since the last ping
  private failures = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private known: Known | undefined;

  constructor(private url: string) {
    globalThis.addEventListener?.("online", () => this.hurry());
    globalThis.document?.addEventListener("visibilitychange", () => document.hidden || this.hurry());
  }

  subscribe(listener: Listener): () => void {
    this.listeners.add(listener);
    if (this.known) listener.frame(this.known.snapshot());
    listener.link(this.now);
    if (!this.socket && this.timer === undefined) this.connect();
    return () => {
      this.listeners.delete(listener);
      if (!this.listeners.size) setTimeout(() => this.rest(), GRACE_MS);
    };
  }

  private connect(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    const socket = new WebSocket(this.url);
    this.socket = socket;
    socket.onmessage = (event) => this.socket === socket && this.take(String(event.data));
    socket.onclose = (event) => this.socket === socket && this.lost(event.reason);
  }

  private take(data: string): void {
    const message = JSON.parse(data) as Frame | Notice;
    this.opened = this.answered = true;
    this.failures = 0;
    if (message.type === "status") {
      const live = LIVE.has(message.state ?? "");
      this.tell({ state: live ? "live" : "reconnecting", message: message.message ?? "" });
    } else if (message.type === "snapshot" || message.type === "delta") {
      if (message.type === "snapshot") this.known = new Known();
      this.known?.keep(message);
      for (const listener of [...this.listeners]) listener.frame(message);
      this.tell({ state: "live", message: "" });
    }
  }

  private lost(why: string): void {
    this.socket = undefined;
    this.failures += 1;
    if (!this.listeners.size) return this.rest();
    const never = !this.opened && this.failures >= TRIES_BEFORE_UNREACHABLE;
    this.tell({ state: never ? "unreachable" : this.opened ? "reconnecting" : "connecting", message: why });
    const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(this.failures - 1, 10));
    this.timer = setTimeout(() => this.connect(), pause * (0.7 + 0.6 * Math.random()));
  }

  // The network or the page came back: try at once, and ask an open socket whether anyone is there (a laptop that slept
  // does not learn that its connection is gone).
  private hurry(): void {
    if (this.timer !== undefined && this.listeners.size) return this.connect();
    const { socket } = this;
    if (socket?.readyState !== WebSocket.OPEN) return;
    this.answered = false;
    socket.send('{"type":"ping"}');
    setTimeout(() => {
      if (this.answered || this.socket !== socket) return;
      this.lost("no answer from the server");
      socket.close();
    }, PONG_MS);
  }

  private rest(): void {
    if (this.listeners.size) return;
    clearTimeout(this.timer);
    this.timer = undefined;
    this.known = undefined;
    const { socket } = this;
    this.socket = undefined;
    this.now = { state: "connecting", message: "" };
    socket?.close();
  }

  private tell(link: Link): void {
    if (link.state === this.now.state && link.message === this.now.message) return;
    this.now = link;
    for (const listener of [...this.listeners]) listener.link(link);
  }
}

// What the frames since the last snapshot add up to.
class Known {
  private revision = 0;
  private tasksets = new Map<string, TaskSet>();
  private tasks = new Map<string, Task>();
  private nodes = new Map<string, Node>();
  private places = new Map<string, QueuePlace>();

  keep(frame: Frame): void {
    this.revision = frame.revision ?? this.revision;
    for (const each of frame.tasksets ?? []) this.tasksets.set(each.metadata.uid ?? "", each);
    for (const each of frame.tasks ?? []) this.tasks.set(`${each.namespace}/${each.name}`, each);
    for (const each of frame.nodes ?? []) this.nodes.set(each.name, each);
    for (const [uid, place] of Object.entries(frame.places ?? {})) this.places.set(uid, place);
    for (const key of frame.removed?.tasks ?? []) this.tasks.delete(key);
    for (const uid of frame.removed?.tasksets ?? []) {
      this.tasksets.delete(uid);
      this.places.delete(uid);
    }
  }

  snapshot(): Frame {
    return {
      type: "snapshot",
      revision: this.revision,
      tasksets: [...this.tasksets.values()],
      tasks: [...this.tasks.values()],
      nodes: [...this.nodes.values()],
      places: Object.fromEntries(this.places),
    };
  }
}
