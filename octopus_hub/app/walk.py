"""The main job, unattended, over a running hub: log in, spawn, run a notebook on the server's kernel, report.

What a user does in a browser, done through the same doors: the login form with its XSRF token, the hub's API with
the browser's cookies, the server's session and kernel API. Called by ``octopus up --once``.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
from tornado.httpclient import HTTPRequest
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
        answer = await self._client.post(f"/hub/api/users/{quote(self._user)}/server", headers=self._xsrf("/hub/"))
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
        session = await self._client.post(
            f"{self._base}api/sessions",
            json={"path": path, "type": "notebook", "name": path, "kernel": {"name": "python3"}},
            headers=self._xsrf(self._base),
        )
        if session.status_code != 201:
            raise Unavailable(f"the server gave no kernel (HTTP {session.status_code}): {_message(session)}")
        kernel = session.json()["kernel"]["id"]
        socket = await self._connect(kernel)
        try:
            for number, cell in enumerate(_code_cells(notebook), 1):
                await asyncio.wait_for(_execute(socket, cell, number), CELL_SECONDS)
        finally:
            socket.close()
            await self._client.delete(
                f"{self._base}api/sessions/{session.json()['id']}", headers=self._xsrf(self._base)
            )

    async def _follow_progress(self) -> None:
        url = f"/hub/api/users/{quote(self._user)}/server/progress"
        async with asyncio.timeout(SPAWN_SECONDS), self._client.stream("GET", url) as events:
            async for line in events.aiter_lines():
                if not line.startswith("data:"):
                    continue
                event = json.loads(line[5:])
                if event.get("failed"):
                    raise Unavailable(f"the server did not start: {event.get('message', '')}")
                if event.get("ready"):
                    return
        raise Unavailable("the hub stopped telling about the server before it was ready")

    async def _connect(self, kernel: str) -> WebSocketClientConnection:
        target = f"{self._base}api/kernels/{kernel}/channels?session_id={uuid.uuid4().hex}"
        cookies = "; ".join(f"{c.name}={c.value}" for c in self._client.cookies.jar if _covers(c.path, target))
        url = f"ws://{urlsplit(self._url).netloc}{target}"
        return await websocket_connect(HTTPRequest(url, headers={"Cookie": cookies, "Origin": self._url}))

    def _xsrf(self, path: str) -> dict[str, str]:
        best = ""
        length = -1
        for cookie in self._client.cookies.jar:
            if cookie.name == "_xsrf" and _covers(cookie.path, path) and len(cookie.path) > length:
                best, length = cookie.value or "", len(cookie.path)
        return {"X-XSRFToken": best, "Referer": f"{self._url}{path}"}


async def _execute(socket: WebSocketClientConnection, source: str, number: int) -> None:
    message_id = uuid.uuid4().hex
    header = {"msg_id": message_id, "msg_type": "execute_request", "username": "", "session": "walk", "version": "5.3"}
    content = {"code": source, "silent": False, "store_history": True, "allow_stdin": False, "stop_on_error": True}
    request = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
    await socket.write_message(json.dumps(request))
    replied = idle = False
    while not (replied and idle):
        raw = await socket.read_message()
        if raw is None:
            raise Unavailable(f"the kernel's connection was closed while cell {number} ran")
        message = json.loads(raw)
        if message["parent_header"].get("msg_id") != message_id:
            continue
        kind, content = message["msg_type"], message["content"]
        if kind == "stream":
            sys.stdout.write(content["text"])
            sys.stdout.flush()
        elif kind == "error":
            raise _CellFailed(f"cell {number} failed: {content['ename']}: {content['evalue']}")
        elif kind == "execute_reply":
            replied = True
        elif kind == "status" and content["execution_state"] == "idle":
            idle = True


class _CellFailed(OctopusError):
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


async def walk(url: str, user: str, password: str, notebook: Path, path: str) -> None:
    """Do it all; raises OctopusError with the reason."""
    visitor = Walk(url, user)
    try:
        await visitor.log_in(password)
        await visitor.spawn()
        await visitor.run_notebook(path, json.loads(notebook.read_text()))
    except httpx.HTTPError as error:
        raise Unavailable(f"the hub can't be reached: {type(error).__name__}: {error}") from error
    finally:
        await visitor.close()
