"""A real Jupyter server with the extension, a service that can restart on its port, and browsers of that server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from jupyter_server.serverapp import ServerApp
from octopus_hub_extension.feed import Feed
from tornado.httpclient import HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketClientConnection, websocket_connect
from traitlets.config import Config

from octopus_hub.client.lease import SERVER_LEASE
from octopus_hub.plugins.registry import Registry
from octopus_hub.service.application import make_app, make_server
from octopus_hub.service.identity import Authenticator, LocalToken
from octopus_hub.service.settings import ServiceSettings
from tests.service.running import DEADLINE, LOCAL, ArchivedRuns, Running

JUPYTER_TOKEN = "jupyter-token-9876543210"
SERVER_TOKEN = "alice-token"  # what the hub gives the server of alice
Frame = dict[str, Any]


class Front:
    """The service of :mod:`tests.service.running`, restartable on one port over the same truth."""

    def __init__(self, service: Running, settings: ServiceSettings | None = None) -> None:
        self._service = service
        self._settings = settings or ServiceSettings()
        self.port = 0
        self.app: Application | None = None
        self._server: HTTPServer | None = None
        self.requests: list[tuple[str, Mapping[str, str]]] = []

    @property
    def streams(self) -> int:
        """How many streams are open in the service."""
        return len(self.app.settings["service"].streams) if self.app else 0

    def start(self) -> None:
        """Listen, at the same port as before."""
        authenticator = Authenticator(LocalToken(LOCAL, "owner"), self._service.oauth)
        cache, backend = self._service.cache, self._service.backend
        self.app = make_app(self._settings, backend, cache, Registry.load(), ArchivedRuns(), authenticator)
        self.app.settings["log_function"] = self._ended
        self._server = make_server(self.app)
        if self.port:
            sockets = bind_sockets(self.port, "127.0.0.1")
        else:
            sock, self.port = bind_unused_port()
            sockets = [sock]
        self._server.add_sockets(sockets)

    def _ended(self, handler: RequestHandler) -> None:
        if "/leases/" not in handler.request.path:  # the server's own
            self.requests.append((handler.request.uri or "", dict(handler.request.headers)))

    async def stop(self) -> None:
        """Go away, with every connection."""
        if self._server is not None and self.app is not None:
            self.app.settings["service"].close()
            self._server.stop()
            await self._server.close_all_connections()
            self._server = self.app = None


@dataclass
class Page:
    """A browser's page: its WebSocket, and what it shows."""

    socket: WebSocketClientConnection
    raw: list[str] = field(default_factory=list)
    state: str = ""
    rows: dict[str, dict[str, Frame]] = field(default_factory=dict)
    kinds: list[str] = field(default_factory=list)

    async def next(self) -> Frame:
        """Return the next message, and show it."""
        message = await asyncio.wait_for(self.socket.read_message(), DEADLINE)
        assert isinstance(message, str), "the socket was closed"
        self.raw.append(message)
        frame: Frame = json.loads(message)
        self.kinds.append(frame["type"])
        if frame["type"] == "status":
            self.state = frame["state"]
        if frame["type"] == "snapshot":
            self.rows = {}
        self._show(frame)
        return frame

    def _show(self, frame: Frame) -> None:
        keys = {
            "tasksets": lambda row: row["metadata"]["uid"],
            "tasks": lambda row: f"{row['namespace']}/{row['name']}",
        }
        for kind, key in keys.items():
            shown = self.rows.setdefault(kind, {})
            shown.update({key(row): row for row in frame.get(kind, ())})
            for gone in frame.get("removed", {}).get(kind, ()):
                shown.pop(gone, None)

    async def until(self, kind: str, **fields: Any) -> Frame:
        """Read until a message of that type with these fields."""
        async with asyncio.timeout(DEADLINE):
            while True:
                frame = await self.next()
                if frame["type"] == kind and fields.items() <= frame.items():
                    return frame

    async def until_named(self, *names: str) -> None:
        """Read until TaskSets of these names, and no others, are shown."""
        async with asyncio.timeout(DEADLINE):
            while self.names != set(names):
                await self.next()

    @property
    def names(self) -> set[str]:
        """Names of the TaskSets that are shown."""
        return {row["metadata"]["name"] for row in self.rows.get("tasksets", {}).values()}


@dataclass
class Jupyter:
    """A Jupyter server that listens."""

    app: ServerApp
    port: int
    feed: Feed
    clients: list[httpx.AsyncClient] = field(default_factory=list)
    pages: list[Page] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its address, with the base URL."""
        return f"http://127.0.0.1:{self.port}{self.app.base_url}"

    @property
    def api(self) -> str:
        """The proxied API."""
        return f"{self.url}octopus/api/v1/"

    def client(self, **headers: str) -> httpx.AsyncClient:
        """Return a client that is not logged in."""
        client = httpx.AsyncClient(headers=headers, trust_env=False, timeout=30, base_url=self.api)
        self.clients.append(client)
        return client

    async def browser(self) -> httpx.AsyncClient:
        """Return a client that logged in as a browser does: cookies, and the header against forged requests."""
        client = self.client()
        form = await client.get(f"{self.url}login")
        logged_in = await client.get(f"{self.url}login", params={"token": JUPYTER_TOKEN})
        assert form.status_code == 200 and logged_in.status_code == 302
        client.headers["X-XSRFToken"] = client.cookies["_xsrf"]
        return client

    async def page(self, client: httpx.AsyncClient | None = None, **headers: str) -> Page:
        """Open a page's WebSocket with a browser's cookies."""
        if client is not None:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        address = f"ws://127.0.0.1:{self.port}{self.app.base_url}octopus/api/stream"
        request = HTTPRequest(address, headers={"Origin": f"http://127.0.0.1:{self.port}", **headers})
        page = Page(await websocket_connect(request, max_message_size=1 << 30))
        self.pages.append(page)
        return page

    async def raw(self, head: str, client: httpx.AsyncClient, *more: str) -> bytes:
        """Send a head that no client would write, with a browser's cookies; returns the whole answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        fixed = [f"Host: 127.0.0.1:{self.port}", f"Cookie: {cookies}", f"X-XSRFToken: {client.cookies['_xsrf']}"]
        writer.write("\r\n".join([head, *fixed, *(more or ["Connection: close"]), "", ""]).encode("latin-1"))
        try:
            async with asyncio.timeout(DEADLINE):
                answer = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"Content-Length: (\d+)", answer)
                if length:
                    return answer + await reader.readexactly(int(length[1]))
                return answer + await reader.readuntil(b"0\r\n\r\n")  # chunks, up to the last
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def jupyter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service_url: str = "", **extension: Any
) -> AsyncIterator[Jupyter]:
    """Start a Jupyter server in this process; ``service_url`` as a hub's spawner would set it."""
    _environment(tmp_path, monkeypatch, service_url)
    sock, port = bind_unused_port()
    sock.close()
    config = Config(
        ServerApp={
            "port": port,
            "jpserver_extensions": {"octopus_hub_extension": True},
            "root_dir": str(tmp_path),
            "base_url": "/user/alice/",
            "open_browser": False,
            "allow_root": True,
        },
        IdentityProvider={"token": JUPYTER_TOKEN},
        OctopusExtension={"linger_seconds": 0.0, **extension},
    )
    ServerApp.clear_instance()
    app = ServerApp.instance(config=config)
    monkeypatch.setattr(app, "init_signal", lambda: None)
    app.initialize(argv=[], find_extensions=False)
    started = Jupyter(app, app.port, app.web_app.settings["octopus_hub_extension"].feed)
    try:
        yield started
    finally:
        for page in started.pages:
            page.socket.close()
        for client in started.clients:
            await client.aclose()
        await app._cleanup()
        await app.http_server.close_all_connections()
        ServerApp.clear_instance()


def _environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service_url: str) -> None:
    monkeypatch.setenv(SERVER_LEASE, "")  # the extension sets it; taken back at the end
    for name in ("OCTOPUS_URL", "OCTOPUS_TOKEN", "OCTOPUS_STATE", "OCTOPUS_SERVICE_URL", "JUPYTERHUB_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    folders = {"HOME": "home", "XDG_STATE_HOME": "state", "JUPYTER_CONFIG_DIR": "config", "JUPYTER_RUNTIME_DIR": "run"}
    for name, folder in {**folders, "JUPYTER_DATA_DIR": "data"}.items():
        monkeypatch.setenv(name, str(tmp_path / folder))
    if service_url:
        monkeypatch.setenv("OCTOPUS_SERVICE_URL", service_url)
        monkeypatch.setenv("JUPYTERHUB_API_TOKEN", SERVER_TOKEN)
