"""The extension in a hub's server, through the hub's proxy, with the headers and cookies that browsers send."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

from octopus_hub.app.walk import Walk
from tests.extension.serving import Page
from tests.product import Product
from tests.service.running import document

pytestmark = [pytest.mark.hub, pytest.mark.xdist_group("product")]

FETCH = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "empty"}
SOCKET = {"Sec-Fetch-Mode": "websocket", "Sec-Fetch-Dest": "websocket"}


class Browser:
    """Pages of one logged-in browser."""

    def __init__(self, product: Product, visitor: Walk) -> None:
        self.product = product
        self.base = f"/user/{product.user}/"
        self._client = visitor._client
        self.xsrf = visitor._xsrf(self.base)["X-XSRFToken"]

    async def fetch(self, method: str, path: str, *, xsrf: bool = True, **more: object) -> httpx.Response:
        """What ``fetch`` of a page of this server does."""
        headers = {**FETCH, "Origin": self.product.url, "Referer": f"{self.product.url}{self.base}lab"}
        if xsrf:
            headers["X-XSRFToken"] = self.xsrf
        url = f"{self.base}octopus/api/v1/{path}"
        return await self._client.request(method, url, headers=headers, follow_redirects=False, **more)  # type: ignore[arg-type]

    async def page(self, origin: str = "", site: str = "same-origin") -> Page:
        """Open a page's socket, from a page of that origin."""
        cookies = "; ".join(f"{c.name}={c.value}" for c in self._client.cookies.jar if self.base.startswith(c.path))
        headers = {**SOCKET, "Sec-Fetch-Site": site, "Cookie": cookies, "Origin": origin or self.product.url}
        url = f"ws{self.product.url.removeprefix('http')}{self.base}octopus/api/stream"
        return Page(await websocket_connect(HTTPRequest(url, headers=headers), max_message_size=1 << 30))

    def server_token(self) -> str:
        """The secret that must stay in the server."""
        (server,) = self.product.servers()
        return server.environ()["JUPYTERHUB_API_TOKEN"]


@pytest.fixture
async def browser(product: Product) -> AsyncIterator[Browser]:
    """A browser that has opened its server."""
    async with product.visitor() as visitor:
        yield Browser(product, visitor)


def sleeper(name: str) -> dict[str, object]:
    command = ["sh", "-c", "echo started; exec sleep 600"]
    return document(name, roles=[{"name": "worker", "replicas": 2, "command": command}])


async def test_from_submit_to_stop_in_a_browser(browser: Browser) -> None:
    page = await browser.page()
    await page.until("status", state="live")
    created = await browser.fetch("POST", "tasksets", json=sleeper("seen-live"))
    assert created.status_code == 201, created.text
    meta = created.json()["metadata"]
    key = f"{meta['namespace']}/{meta['name']}"
    async with asyncio.timeout(120):
        while page.rows["tasksets"].get(meta["uid"], {}).get("status", {}).get("phase") != "Running":
            await page.next()
        log = f"tasksets/-/{meta['name']}/logs?role=worker&index=1"
        while (await browser.fetch("GET", log)).text != "started\n":  # noqa: ASYNC110  (no frame says so)
            await asyncio.sleep(0.05)
        stopped = await browser.fetch("POST", f"tasksets/-/{meta['name']}/stop")
        assert stopped.status_code == 200, stopped.text
        while page.rows["tasksets"][meta["uid"]]["status"]["phase"] != "Stopped":
            await page.next()
    listed = await browser.fetch("GET", f"tasksets/{key}")
    assert listed.json()["taskset"]["status"]["phase"] == "Stopped"
    token = browser.server_token()
    said = "".join(page.raw) + created.text + repr(created.headers) + listed.text
    assert token and token not in said
    page.socket.close()


async def test_a_page_without_the_token_against_forged_requests_gets_nothing(browser: Browser) -> None:
    assert (await browser.fetch("GET", "version")).status_code == 200
    for method, path in (("GET", "version"), ("POST", "tasksets"), ("DELETE", "tasksets/-/x"), ("PUT", "secrets/x")):
        answer = await browser.fetch(method, path, xsrf=False, json={})
        assert answer.status_code == 403, (method, answer.status_code, answer.text)
        assert answer.headers["Content-Type"] == "application/problem+json"


async def test_foreign_pages_and_strangers_get_no_socket(browser: Browser, product: Product) -> None:
    neighbour = "http://127.0.0.1:9"  # another server of this machine is the same site, not the same origin
    for origin, site in (("http://evil.example", "cross-site"), ("null", "cross-site"), (neighbour, "same-site")):
        with pytest.raises(HTTPClientError) as refused:
            await browser.page(origin, site)
        assert refused.value.code == 403
    url = f"ws{product.url.removeprefix('http')}{browser.base}octopus/api/stream"
    with pytest.raises(HTTPClientError) as refused:
        await websocket_connect(HTTPRequest(url, headers={**SOCKET, "Origin": product.url}))
    assert refused.value.code == 403


async def test_whoami_is_the_user_of_the_server(browser: Browser, product: Product) -> None:
    said = (await browser.fetch("GET", "whoami")).json()
    assert product.user in json.dumps(said)
