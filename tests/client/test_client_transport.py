"""Whatever the HTTP library raises, a user meets an OctopusError: in both drivers, in calls and in the middle of streams."""

from __future__ import annotations

import asyncio
import inspect
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from octopus_hub.client import exchange, transport
from octopus_hub.client.aio import AsyncClient
from octopus_hub.client.calls import LogQuery
from octopus_hub.client.connection import find_connection
from octopus_hub.client.sync import Client
from octopus_hub.model.errors import InvalidSpec, OctopusError, Unavailable

URL = "http://127.0.0.1:9/services/octopus"
RAISED = sorted(
    (kind for kind in vars(httpx).values() if inspect.isclass(kind) and issubclass(kind, Exception)),
    key=lambda kind: kind.__name__,
)
REQUEST = httpx.Request("GET", URL)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow each other at once; how long the pauses are is another test's business."""
    monkeypatch.setattr(exchange, "FIRST_DELAY_SECONDS", 0.0)


def made(kind: type[Exception]) -> Exception:
    """Return an exception of a class, whatever its constructor wants."""
    parameters = list(inspect.signature(kind.__init__).parameters)[1:]
    if "response" in parameters:
        return kind("words of the library", request=REQUEST, response=httpx.Response(500, request=REQUEST))
    if parameters and parameters[0] == "message":
        return kind("words of the library")
    return kind()


class Raising(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Raises instead of sending; with ``midway`` in the middle of an answer."""

    def __init__(self, error: Exception, midway: bool) -> None:
        self.error = error
        self.midway = midway
        self.sent = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._respond(_Cut(self.error))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return self._respond(_AsyncCut(self.error))

    def _respond(self, stream: Any) -> httpx.Response:
        self.sent += 1
        if not self.midway:
            raise self.error
        return httpx.Response(200, stream=stream)


class _Cut(httpx.SyncByteStream):
    def __init__(self, error: Exception) -> None:
        self.error = error

    def __iter__(self) -> Iterator[bytes]:
        yield b"first part\n"
        raise self.error


class _AsyncCut(httpx.AsyncByteStream):
    def __init__(self, error: Exception) -> None:
        self.error = error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"first part\n"
        raise self.error


def test_the_library_raises_nothing_unknown() -> None:
    """A new version of the library with another tree of exceptions fails here, not at a user's."""
    assert len(RAISED) > 20
    assert all(issubclass(kind, transport.FAILURES) for kind in RAISED)


@pytest.mark.parametrize("midway", [False, True], ids=["at the start", "midway"])
@pytest.mark.parametrize("kind", RAISED, ids=lambda kind: kind.__name__)
def test_every_exception_is_told_by_the_synchronous_client(kind: type[Exception], midway: bool) -> None:
    client = Client(URL, "t")
    client._http = httpx.Client(transport=Raising(made(kind), midway))
    with pytest.raises(OctopusError) as call:
        client.whoami()
    with pytest.raises(OctopusError) as log:
        list(client.logs("mnist", LogQuery()))
    for told in (call, log):
        assert len(str(told.value)) > 20
        assert "Traceback" not in str(told.value)


@pytest.mark.parametrize("midway", [False, True], ids=["at the start", "midway"])
@pytest.mark.parametrize("kind", RAISED, ids=lambda kind: kind.__name__)
async def test_every_exception_is_told_by_the_asynchronous_client(kind: type[Exception], midway: bool) -> None:
    client = AsyncClient(URL, "t")
    client._http = httpx.AsyncClient(transport=Raising(made(kind), midway))
    with pytest.raises(OctopusError):
        await client.whoami()
    with pytest.raises(OctopusError):
        _ = [chunk async for chunk in client.logs("mnist", LogQuery())]


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        (httpx.ConnectError("refused"), exchange.CONNECT_TRIES),
        (httpx.ReadError("reset"), exchange.TRIES),
        (httpx.RemoteProtocolError("cut"), exchange.TRIES),
        (httpx.ReadTimeout("slow"), exchange.TRIES),
    ],
)
def test_a_safe_call_is_tried_again(error: Exception, tries: int) -> None:
    client, raising = Client(URL, "t"), Raising(error, midway=False)
    client._http = httpx.Client(transport=raising)
    with pytest.raises(Unavailable):
        client.whoami()
    assert raising.sent == tries


def test_a_name_that_fits_no_address_is_the_users_mistake() -> None:
    with Client(URL, "t") as client, pytest.raises(InvalidSpec, match="no address can be made of that name"):
        client.get("x" * 100_000)


@pytest.mark.parametrize(
    "environment",
    [
        {"HTTP_PROXY": "foo:bar"},
        {"HTTPS_PROXY": "ftp://proxy"},
        {"ALL_PROXY": "socks5://127.0.0.1:1"},
        {"SSL_CERT_FILE": "/nonexistent/certificates.pem"},
    ],
    ids=lambda environment: next(iter(environment)),
)
def test_a_broken_environment_is_named(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for kind in (Client, AsyncClient):
        with pytest.raises(Unavailable, match="HTTP_PROXY"):
            kind("https://hub.example/services/octopus", "t")
    Client("http://127.0.0.1:8000", "t").close()  # on this machine none of it counts


def test_settings() -> None:
    inside = transport.settings(find_connection("http://127.0.0.1:8000", "secret"))
    outside = transport.settings(find_connection("https://hub.example", "secret"))
    assert inside["headers"]["Authorization"] == "Bearer secret"
    assert (inside["trust_env"], inside["verify"]) == (False, False), "no proxy, no certificates on loopback"
    assert (outside["trust_env"], outside["verify"]) == (True, True)
    assert inside["follow_redirects"] is outside["follow_redirects"] is False, "a token follows no redirect"
    assert "Authorization" not in transport.settings(find_connection("http://127.0.0.1", ""))["headers"]


async def test_waiting_for_an_answer_can_be_cancelled() -> None:
    """A server that accepts and says nothing holds nobody who stops waiting."""
    server = await asyncio.start_server(lambda reader, writer: asyncio.sleep(3600), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with AsyncClient(f"http://127.0.0.1:{port}", "t") as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await client.whoami()
    server.close()


def test_importing_the_package_loads_no_transport() -> None:
    code = (
        "import sys, octopus_hub, octopus_hub.client; assert 'httpx' not in sys.modules; octopus_hub.client.log(loss=1)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "OCTOPUS_METRICS": ""}, timeout=120)
