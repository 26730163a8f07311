// The server extension as the page sees it: where it is, Stop and logs through it. The browser holds no token: requests
// carry the page's own cookies, and the XSRF cookie's value as a header, as JupyterLab's own requests do.

import { sharedStream, type Stream } from "./stream";

export interface Target {
  namespace: string;
  name: string;
}

// How a view acts: through the server extension, or through the kernel.
export interface Actions {
  stop(target: Target): Promise<void>;
  log(target: Target, query: LogQuery, signal: AbortSignal, more: (text: string) => void): Promise<void>;
}

export interface LogQuery {
  role: string;
  index: number;
  attempt: number;
  tail: number;
  follow: boolean;
}

export class Server implements Actions {
  constructor(private base: string) {}

  get stream(): Stream {
    const url = new URL(`${this.base}octopus/api/stream`, location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    return sharedStream(url.href);
  }

  async stop(target: Target): Promise<void> {
    await this.request("POST", this.path(target, "stop"));
  }

  async log(target: Target, query: LogQuery, signal: AbortSignal, more: (text: string) => void): Promise<void> {
    const given = new URLSearchParams({
      role: query.role, index: String(query.index), attempt: String(query.attempt), tail: String(query.tail),
    });
    if (query.follow) given.set("follow", "true");
    const response = await this.request("GET", `${this.path(target, "logs")}?${given}`, signal);
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = (await reader?.read()) ?? { done: true, value: undefined };
      if (done) return;
      more(value ?? "");
    }
  }

  private path(target: Target, verb: string): string {
    const part = (text: string) => encodeURIComponent(text);
    return `${this.base}octopus/api/v1/tasksets/${part(target.namespace || "-")}/${part(target.name)}/${verb}`;
  }

  private async request(method: string, path: string, signal?: AbortSignal): Promise<Response> {
    // On reads as well: a hub's server takes no cookie from a fetch without it.
    const headers: Record<string, string> = { "X-XSRFToken": cookie("_xsrf") };
    const options: RequestInit = { method, headers, credentials: "same-origin", ...(signal ? { signal } : {}) };
    const response = await fetch(path, options);
    if (!response.ok) throw new Error(await reason(response));
    return response;
  }
}

// The server that this page came from, where it is a Jupyter server; undefined in VS Code, Colab and exported pages.
export function pageServer(): Server | undefined {
  const config = document.getElementById("jupyter-config-data")?.textContent;
  let base: unknown = document.body?.dataset["baseUrl"];
  try {
    if (config) base = (JSON.parse(config) as { baseUrl?: unknown }).baseUrl;
  } catch {
    // not a Jupyter page after all
  }
  if (typeof base !== "string" || !base || !location.protocol.startsWith("http")) return undefined;
  return new Server(base.endsWith("/") ? base : `${base}/`);
}

function cookie(name: string): string {
  return document.cookie.match(new RegExp(`(?:^|; )${name}=([^;]*)`))?.[1] ?? "";
}

async function reason(response: Response): Promise<string> {
  const text = await response.text().catch(() => "");
  try {
    const body = JSON.parse(text) as { detail?: unknown; message?: unknown };
    const words = body.detail ?? body.message;
    if (typeof words === "string" && words) return words;
  } catch {
    // no JSON: the status says it
  }
  return `the server answered ${response.status} ${response.statusText}`.trim();
}
