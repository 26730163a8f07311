"""The whole way from a task's event to the page: memory backend, service, Jupyter server with the extension, Chromium.

Only the notebook around the widget is left out: the page is one more address of the Jupyter server, so that its
requests, cookies and WebSocket are those of any page of that server.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page
from tornado.web import RequestHandler

from octopus_hub.model.task import Task
from tests.extension.serving import JUPYTER_TOKEN, Front, Jupyter, jupyter
from tests.service.running import Running, document, running
from tests.widgets.pagehost import DEADLINE_MS, Bundle, page_html


@dataclass
class Chain:
    """Everything on the way."""

    service: Running
    front: Front
    server: Jupyter
    page: Page
    errors: list[str]

    async def submit(self, name: str, replicas: int) -> tuple[str, list[Task]]:
        """Submit a gang as alice and let its tasks exist; returns its uid and rows."""
        roles = [{"name": "worker", "replicas": replicas, "command": ["python", "train.py"]}]
        answer = await self.service.client("alice-token").post("tasksets", json=document(name, roles=roles))
        assert answer.status_code == 201, answer.text
        uid = answer.json()["metadata"]["uid"]
        return uid, await self.service.start_tasks(uid)


@asynccontextmanager
async def chain(browser: Browser, folder: Path) -> AsyncIterator[Chain]:
    """Start it all, log the page in."""
    with pytest.MonkeyPatch.context() as patch:
        async with running() as service:
            front = Front(service)
            front.start()
            address = f"http://127.0.0.1:{front.port}/services/octopus/"
            async with jupyter(folder, patch, address) as server:
                context = await browser.new_context(viewport={"width": 1000, "height": 800})
                page = await context.new_page()
                page.set_default_timeout(DEADLINE_MS)
                errors: list[str] = []
                page.on("pageerror", lambda error: errors.append(str(error)))
                await _open(page, server)
                try:
                    yield Chain(service, front, server, page, errors)
                finally:
                    await context.close()
            await front.stop()


class Notebook(RequestHandler):
    """The page."""

    def get(self) -> None:
        """Send it."""
        self.finish(page_html(self.application.settings["base_url"]))


async def _open(page: Page, server: Jupyter) -> None:
    base = server.app.base_url
    handlers = [(f"{base}notebook-page", Notebook), (f"{base}bundle.js", Bundle)]
    server.app.web_app.add_handlers(r".*$", handlers)
    await page.goto(f"{server.url}login?token={JUPYTER_TOKEN}")
    await page.goto(f"{server.url}notebook-page")
    await page.wait_for_function("window.ready === true")
