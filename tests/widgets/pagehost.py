"""A page that runs the widget's bundle in a real browser, as a Jupyter page with anywidget would.

The server plays the server extension's part (the page's WebSocket, Stop, logs, with Jupyter's XSRF rule) and stands in
for nothing else: the module is loaded from a blob URL, and its model is a small object with anywidget's interface whose
messages to the kernel are collected in ``window.sent``.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from octopus_widgets.gang_view import STATIC, as_json
from playwright.async_api import Browser, Page, async_playwright
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

from octopus_hub.model.answers import Frame, TaskSetView
from tests.widgets.gangs import wire

BASE = "/user/ada/"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-dev-shm-usage",
]
DEADLINE_MS = 20_000

PAGE = """<!doctype html><meta charset="utf-8"><title>notebook</title>
%(config)s
<style>body { margin: 0; padding: 16px 20px; font-family: system-ui, sans-serif; }
body[data-jp-theme-light="true"] { background: #fff; --jp-layout-color1: #fff; --jp-layout-color2: #f3f4f6; --jp-border-color2: #e0e0e0;
  --jp-ui-font-color0: rgba(0,0,0,1); --jp-ui-font-color1: rgba(0,0,0,.87); }
body[data-jp-theme-light="false"] { background: #111; color: #eee; --jp-layout-color1: #111; --jp-layout-color2: #212121;
  --jp-border-color2: #424242; --jp-ui-font-color0: rgba(255,255,255,1); --jp-ui-font-color1: rgba(255,255,255,.87); }
body[data-jp-theme-light] { --jp-ui-font-family: system-ui, -apple-system, sans-serif; }</style>
<body data-jp-theme-light="%(light)s"><div id="outputs"></div>
<script type="module">
window.sent = [];
const source = await (await fetch("%(base)sbundle.js")).text();
const module = await import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
const widget = module.default;
function model(state) {
  const handlers = {};
  return {
    get: (key) => state[key],
    set: (key, value) => { state[key] = value; for (const call of handlers[`change:${key}`] ?? []) call(); },
    send: (content) => window.sent.push(content),
    on: (event, call) => (handlers[event] ??= []).push(call),
    off: (event, call) => { handlers[event] = (handlers[event] ?? []).filter((each) => each !== call); },
    save_changes: () => {},
    hear: (content) => { for (const call of handlers["msg:custom"] ?? []) call(content, []); },
  };
}
window.models = [];
window.mount = async (state) => {
  const made = model(state);
  const el = document.createElement("div");
  document.querySelector("#outputs").append(el);
  await widget.initialize?.({ model: made });
  const close = await widget.render({ model: made, el });
  window.models.push({ model: made, el, close: () => { close(); el.remove(); } });
};
window.ready = true;
</script>"""


class Host:
    """What the page talks to. Tests send frames and look at what came."""

    def __init__(self) -> None:
        self.sockets: set[Socket] = set()
        self.first: list[dict[str, Any]] = []  # what a new socket is sent
        self.accepts = True  # whether the stream's path exists
        self.opened = 0
        self.posts: list[tuple[str, str]] = []  # path, X-XSRFToken
        self.refusal: tuple[int, str] | None = None
        self.logs: dict[str, str] = {}  # "role/index" -> text
        self.asked: list[str] = []
        self.light = True
        self.jupyter = True
        self.errors: list[str] = []
        self.pings = 0
        self.deaf = False  # a connection that is gone without either side knowing
        self.port = 0

    def begin_with(self, frame: Frame) -> None:
        """Say what a page gets when it connects."""
        self.first = [{"type": "status", "state": "live", "message": ""}, wire(frame)]

    def send(self, *frames: Frame) -> None:
        """Send frames to every page."""
        for frame in frames:
            self.say(wire(frame))

    def say(self, message: dict[str, Any]) -> None:
        """Send any message to every page."""
        text = json.dumps(message)
        for socket in self.sockets:
            socket.write_message(text)

    def cut(self) -> None:
        """Lose every connection, as when the network goes."""
        for socket in list(self.sockets):
            stream = socket.ws_connection.stream if socket.ws_connection else None
            if stream is not None:
                stream.close()

    async def mount(self, page: Page, view: TaskSetView, **state: Any) -> None:
        """Show a widget in the page."""
        await mount(page, view, **state)


async def mount(page: Page, view: TaskSetView, **state: Any) -> None:
    """Show a widget in a page, as a notebook does with its traits."""
    meta = view.taskset.metadata
    traits = {"namespace": meta.namespace, "name": meta.name, "uid": meta.uid, "view": as_json(view), "now": 0}
    await page.evaluate("state => window.mount(state)", {**traits, **state})


class Socket(WebSocketHandler):
    """The page's stream."""

    def initialize(self, host: Host) -> None:
        """Called by tornado."""
        self.host = host

    async def get(self, *args: Any, **kwargs: Any) -> None:
        """Open, if there is such a path."""
        if not self.host.accepts:
            self.send_error(404)
            return
        await super().get(*args, **kwargs)

    def open(self, *args: str, **kwargs: str) -> None:
        """Begin."""
        self.host.sockets.add(self)
        self.host.opened += 1
        for message in self.host.first:
            self.write_message(json.dumps(message))

    def on_message(self, message: str | bytes) -> None:
        """Answer a ping, as the extension does."""
        assert json.loads(message) == {"type": "ping"}
        self.host.pings += 1
        if not self.host.deaf:
            self.write_message('{"type":"pong"}')

    def on_close(self) -> None:
        """Forget it."""
        self.host.sockets.discard(self)


class Actions(RequestHandler):
    """Stop and logs, with tornado's own check of the XSRF cookie, which is Jupyter's."""

    def initialize(self, host: Host) -> None:
        """Called by tornado."""
        self.host = host

    def post(self, path: str) -> None:
        """Note a post, or refuse it."""
        self.host.posts.append((path, self.request.headers.get("X-Xsrftoken", "")))
        if self.host.refusal:
            self.set_status(self.host.refusal[0])
            self.finish(json.dumps({"detail": self.host.refusal[1]}))
            return
        self.finish("{}")

    def get(self, path: str) -> None:
        """Send a log."""
        self.host.asked.append(self.request.uri or "")
        key = f"{self.get_query_argument('role')}/{self.get_query_argument('index')}"
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(self.host.logs.get(key, ""))


class Lab(RequestHandler):
    """The page."""

    def initialize(self, host: Host) -> None:
        """Called by tornado."""
        self.host = host

    def get(self) -> None:
        """Send it, with the XSRF cookie."""
        assert self.xsrf_token
        self.finish(page_html(BASE, light=self.host.light, jupyter=self.host.jupyter))


def page_html(base: str, *, light: bool = True, jupyter: bool = True) -> str:
    """Return the page; its bundle is at ``{base}bundle.js``."""
    config = f'<script id="jupyter-config-data" type="application/json">{json.dumps({"baseUrl": base})}</script>'
    return PAGE % {"config": config if jupyter else "", "light": "true" if light else "false", "base": base}


class Icon(RequestHandler):
    """What every browser asks for."""

    def get(self) -> None:
        """There is none."""
        self.set_status(204)


class Bundle(RequestHandler):
    """The bundle."""

    def get(self) -> None:
        """Send it."""
        self.set_header("Content-Type", "text/javascript; charset=utf-8")
        self.finish((STATIC / "gang_view.js").read_bytes())


def make_app(host: Host) -> Application:
    """Return the server's application."""
    given = {"host": host}
    return Application(
        [
            (r"/favicon.ico", Icon),
            (rf"{BASE}lab", Lab, given),
            (rf"{BASE}bundle.js", Bundle),
            (rf"{BASE}octopus/api/stream", Socket, given),
            (rf"{BASE}octopus/api/v1/(.*)", Actions, given),
        ],
        xsrf_cookies=True,
        cookie_secret="for tests only",
    )


@asynccontextmanager
async def serving() -> AsyncIterator[Host]:
    """Serve the page on a free port of the loopback interface."""
    host = Host()
    sock, host.port = bind_unused_port()
    server = HTTPServer(make_app(host))
    server.add_sockets([sock])
    try:
        yield host
    finally:
        server.stop()
        await server.close_all_connections()


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Start the machine's Chromium."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def opened(host: Host, browser: Browser, *, width: int = 1000, height: int = 720) -> AsyncIterator[Page]:
    """Open the page; errors of its scripts are collected in ``host.errors``."""
    context = await browser.new_context(viewport={"width": width, "height": height}, device_scale_factor=2)
    page = await context.new_page()
    page.set_default_timeout(DEADLINE_MS)
    page.on("pageerror", lambda error: host.errors.append(str(error)))
    await page.goto(f"http://127.0.0.1:{host.port}{BASE}lab")
    await page.wait_for_function("window.ready === true")
    try:
        yield page
    finally:
        await context.close()


async def until(holds: Any) -> None:
    """Wait until something that has no event holds."""
    async with asyncio.timeout(DEADLINE_MS / 1000):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
