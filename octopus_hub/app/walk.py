"""The main job, unattended, over a running hub: log in, spawn, run a notebook on the server's kernel, report.

What a user does in a browser, done through the same doors: the login form with its XSRF token, the hub's API with
the browser's cookies, the server's session and kernel API. Called by ``octopus up --once``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from octopus_hub.model.errors import OctopusError, Refused, Unavailable

SPAWN_SECONDS = 180.0
CELL_SECONDS = 900.0


class Walk:
    """A logged-in browser without a screen.

    Parameters
    ----------
    url : str
        Address of the hub as users see it, e.g. ``http://127.0.0.1:8000``.
    user : str
        User name.
    """

    def __init__(self, url: str, user: str) -> None:
        self._url = url.rstrip("/")
        self._user = user
        self._base = f"/user/{quote(user)}/"
        self._client = httpx.AsyncClient(base_url=self._url, follow_redirects=True, timeout=60.0, trust_env=False)

    async def close(self) -> None:
        """End the session."""
        await self._client.aclose()

    async def log_in(self, password: str) -> None:
        """Fill in the login form; raises Refused when the hub does not let us in."""
        page = await self._client.get("/hub/login")
        token = re.search(r'name="_xsrf" value="([^"]+)"', page.text)
        form = {"username": self._user, "password": password, "_xsrf": token.group(1) if token else ""}
        answer = await self._client.post("/hub/login", data=form, follow_redirects=False)
        if answer.status_code != 302:
            raise Refused(f"the hub did not let {self._user} in (HTTP {answer.status_code})")

    async def spawn(self) -> None:
        """Start the user's server and wait until it answers."""
        answer = await self.ask_hub("POST", f"users/{quote(self._user)}/server")
        already = answer.status_code == 400 and "already running" in answer.text
        if answer.status_code not in (201, 202) and not already:
            raise Unavailable(f"the server did not start (HTTP {answer.status_code}): {_message(answer)}")
        if answer.status_code == 202:
            await self._follow_progress()
        page = await self._client.get(f"{self._base}lab")  # fetches the server's cookie through OAuth
        if page.status_code != 200 or self._base not in str(page.url):
            raise Unavailable(f"the server does not answer at {self._base} (HTTP {page.status_code})")

    async def run_notebook(self, path: str, notebook: dict[str, Any]) -> None:
        """Execute a notebook's code cells on a kernel of the server, printing what they print."""
        async with self.kernel(path) as kernel:
            for number, cell in enumerate(_code_cells(notebook), 1):
                await kernel.execute(cell, f"cell {number}")

    @contextlib.asynccontextmanager
    async def kernel(self, path: str) -> AsyncIterator[Kernel]:
        """Give a kernel of the server, as a notebook at ``path`` would have; it ends with the block."""
        session = await self.request(
            "POST",
            "api/sessions",
            json={"path": path, "type": "notebook", "name": path, "kernel": {"name": "python3"}},
        )
        if session.status_code != 201:
            raise Unavailable(f"the server gave no kernel (HTTP {session.status_code}): {_message(session)}")
        id = session.json()["kernel"]["id"]
        socket = await self._connect(f"{self._base}api/kernels/{id}/channels?session_id={uuid.uuid4().hex}")
        try:
            yield Kernel(socket, id)
        finally:
            socket.close()
            with contextlib.suppress(httpx.HTTPError):  # a server that went away took the kernel along
                await self.request("DELETE", f"api/sessions/{session.json()['id']}")

    async def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Ask the user's server, as a page of it would."""
        return await self._client.request(method, f"{self._base}{path}", headers=self._xsrf(self._base), **more)

    async def ask_hub(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Ask the hub's API, as a page of the hub would."""
        return await self._client.request(method, f"/hub/api/{path}", headers=self._xsrf("/hub/"), **more)

    async def _follow_progress(self) -> None:
        url = f"/hub/api/users/{quote(self._user)}/server/progress"
        try:
            async with asyncio.timeout(SPAWN_SECONDS), self._client.stream("GET", url) as events:
                async for line in events.aiter_lines():
                    if not line.startswith("data:"):
                        continue
                    event = json.loads(line[5:])
                    if event.get("failed"):
                        raise Unavailable(f"the server did not start: {event.get('message', '')}")
                    if event.get("ready"):
                        return
        except TimeoutError:
            raise Unavailable(f"the server was not ready within {SPAWN_SECONDS:.0f} s") from None
        raise Unavailable("the hub stopped telling about the server before it was ready")

    async def _connect(self, target: str) -> WebSocketClientConnection:
        cookies = "; ".join(f"{c.name}={c.value}" for c in self._client.cookies.jar if _covers(c.path, target))
        url = f"ws://{urlsplit(self._url).netloc}{target}"
        try:
            return await websocket_connect(HTTPRequest(url, headers={"Cookie": cookies, "Origin": self._url}))
        except (HTTPClientError, OSError) as error:
            raise Unavailable(f"the kernel can't be reached: {error}") from error

    def _xsrf(self, path: str) -> dict[str, str]:
        best = ""
        length = -1
        for cookie in self._client.cookies.jar:
            if cookie.name == "_xsrf" and _covers(cookie.path, path) and len(cookie.path) > length:
                best, length = cookie.value or "", len(cookie.path)
        return {"X-XSRFToken": best, "Referer": f"{self._url}{path}"}


class Kernel:
    """A kernel that listens to us."""

    def __init__(self, socket: WebSocketClientConnection, id: str) -> None:
        self.id = id
        self._socket = socket

    async def execute(self, source: str, name: str, say: Callable[[str], None] | None = None) -> None:
        """Run some code and say what it prints; raises CellFailed, and Unavailable for a kernel that went away."""
        try:
            async with asyncio.timeout(CELL_SECONDS):
                await self._execute(source, name, say or _say)
        except TimeoutError:
            raise Unavailable(f"{name} did not end within {CELL_SECONDS:.0f} s") from None

    async def _execute(self, source: str, name: str, say: Callable[[str], None]) -> None:
        message_id = await self._send(source)
        replied = idle = False
        while not (replied and idle):
            raw = await self._socket.read_message()
            if raw is None:
                raise Unavailable(f"the kernel's connection was closed while {name} ran")
            message = json.loads(raw)
            kind, content = message["msg_type"], message["content"]
            if kind == "status" and content["execution_state"] in ("restarting", "dead"):
                raise Unavailable(f"the kernel died while {name} ran")
            if message["parent_header"].get("msg_id") != message_id:
                continue
            if kind == "stream":
                say(content["text"])
            elif kind == "error":
                reason = next(iter(content["evalue"].splitlines()), "")
                raise CellFailed(f"{name} failed: {content['ename']}: {reason}")
            elif kind == "execute_reply":
                replied = True
            elif kind == "status" and content["execution_state"] == "idle":
                idle = True

    async def _send(self, source: str) -> str:
        id = uuid.uuid4().hex
        header = {"msg_id": id, "msg_type": "execute_request", "username": "", "session": "walk", "version": "5.3"}
        content = {"code": source, "silent": False, "store_history": True, "allow_stdin": False, "stop_on_error": True}
        request = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
        await self._socket.write_message(json.dumps(request))
        return id


class CellFailed(OctopusError):
    """A cell of the notebook raised."""

    code = "cell_failed"


def _code_cells(notebook: dict[str, Any]) -> list[str]:
    sources = [cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return ["".join(source) if isinstance(source, list) else str(source) for source in sources]


def _covers(cookie_path: str, path: str) -> bool:
    return path.startswith(cookie_path.rstrip("/") + "/") or cookie_path == "/"


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json().get("message", ""))[:300]
    except ValueError:
        return answer.text[:200]


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def read_notebook(file: Path) -> dict[str, Any]:
    """Return a notebook's document; raises Unavailable when there is none in the file."""
    try:
        notebook: dict[str, Any] = json.loads(file.read_text())
        _code_cells(notebook)
    except OSError as error:
        raise Unavailable(f"{file} can't be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError):
        raise Unavailable(f"{file} is not a notebook (nbformat 4)") from None
    return notebook


async def walk(url: str, user: str, password: str, notebook: dict[str, Any], path: str) -> None:
    """Do it all with the notebook that the server knows as ``path``; raises OctopusError with the reason."""
    visitor = Walk(url, user)
    try:
        await visitor.log_in(password)
        await visitor.spawn()
        await visitor.run_notebook(path, notebook)
    except httpx.HTTPError as error:
        raise Unavailable(f"the hub can't be reached: {type(error).__name__}: {error}") from error
    finally:
        await visitor.close()
