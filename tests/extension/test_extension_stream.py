"""The WebSocket of pages on real servers: one stream for all, nothing lost, nobody slowed, nobody else."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from pathlib import Path

import pytest
from octopus_hub_extension.feed import Feed
from octopus_hub_extension.outbox import MOST_BYTES
from octopus_hub_extension.upstream import Upstream
from tornado.httpclient import HTTPClientError

from octopus_hub.service.settings import ServiceSettings
from tests.extension.serving import SERVER_TOKEN, Front, Jupyter, jupyter
from tests.service.running import DEADLINE, LOCAL, Running, document


async def submit(service: Running, name: str) -> str:
    """Submit past the extension, as a kernel does."""
    created = await service.client("alice-token").post("tasksets", json=document(name))
    assert created.status_code == 201, created.text
    return str(created.json()["metadata"]["uid"])


async def test_a_snapshot_then_what_changes(server: Jupyter, service: Running) -> None:
    uid = await submit(service, "first")
    page = await server.page(await server.browser())
    snapshot = await page.until("snapshot")
    assert page.names == {"first"} and isinstance(snapshot["revision"], int) and snapshot["nodes"]
    await page.until("status", state="live")
    tasks = await service.start_tasks(uid)
    while len(page.rows["tasks"]) < 2 or page.rows["tasksets"][uid]["status"]["phase"] != "Running":
        assert (await page.next())["type"] == "delta"
    service.backend.set_task("alice", tasks[0].name, message="hello")
    while page.rows["tasks"][f"alice/{tasks[0].name}"].get("message") != "hello":
        await page.next()
    second = await submit(service, "second")
    await page.until_named("first", "second")
    await service.backend.delete(second)
    await page.until_named("first")
    assert page.kinds.count("snapshot") == 1


async def test_two_pages_one_stream_and_the_later_begins_with_all(
    server: Jupyter, service: Running, front: Front
) -> None:
    browser = await server.browser()
    first = await server.page(browser)
    await first.until("status", state="live")
    uid = await submit(service, "one")
    await service.start_tasks(uid)
    await first.until_named("one")
    while len(first.rows["tasks"]) < 2:
        await first.next()
    second = await server.page(browser)
    frame = await second.next()
    assert frame["type"] == "snapshot" and second.names == {"one"} and len(second.rows["tasks"]) == 2
    assert (await second.next())["state"] == "live"
    await submit(service, "two")
    await asyncio.gather(first.until_named("one", "two"), second.until_named("one", "two"))
    assert front.streams == 1 and len(server.feed) == 2
    assert not any("/stream" in str(uri) for uri, _ in front.requests)  # logged when they end: none has


async def test_the_stream_ends_with_the_last_page(server: Jupyter, service: Running, front: Front) -> None:
    browser = await server.browser()
    assert not server.feed.open and front.streams == 0  # nothing before a page asks
    pages = [await server.page(browser) for _ in range(3)]
    for page in pages:
        await page.until("snapshot")
    for page in pages[:2]:
        page.socket.close()
    await service.until(lambda: len(server.feed) == 1)
    assert front.streams == 1
    pages[2].socket.close()
    await service.until(lambda: front.streams == 0 and not server.feed.open)
    await submit(service, "meanwhile")
    again = await server.page(browser)
    await again.until_named("meanwhile")


async def test_a_reload_finds_the_stream_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: Running, front: Front
) -> None:
    url = f"http://127.0.0.1:{front.port}/services/octopus/"
    async with jupyter(tmp_path, monkeypatch, url, linger_seconds=600.0) as server:
        browser = await server.browser()
        page = await server.page(browser)
        await page.until("snapshot")
        page.socket.close()
        await service.until(lambda: len(server.feed) == 0)
        await submit(service, "meanwhile")
        assert server.feed.open and front.streams == 1
        again = await server.page(browser)
        await again.until_named("meanwhile")
        assert not any("/stream" in str(uri) for uri, _ in front.requests)  # logged when they end: none has
    assert not server.feed.open


async def test_a_restart_of_the_service_loses_nothing(server: Jupyter, service: Running, front: Front) -> None:
    browser = await server.browser()
    before = await submit(service, "before")
    page = await server.page(browser)
    await page.until_named("before")
    await page.until("status", state="live")
    await front.stop()
    told = await page.until("status", state="reconnecting")
    assert told["message"] and SERVER_TOKEN not in json.dumps(told)
    await submit(service, "meanwhile")
    await service.backend.delete(before)
    late = await server.page(browser)  # is given what is known, and told that it may be old
    assert (await late.next())["type"] == "snapshot" and late.names == {"before"}
    assert (await late.next())["state"] == "reconnecting"
    front.start()
    for each in (page, late):
        await each.until("snapshot")
        assert each.names == {"meanwhile"}
        await each.until("status", state="live")
    await submit(service, "after")
    await asyncio.gather(*(each.until_named("meanwhile", "after") for each in (page, late)))
    assert front.streams == 1


async def test_pages_hear_why_there_is_nothing_and_then_that_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: Running, front: Front
) -> None:
    await submit(service, "there")
    async with jupyter(tmp_path, monkeypatch) as server:  # a plain server: no service known
        page = await server.page(await server.browser())
        while "octopus up" not in (await page.until("status"))["message"]:
            pass
        state = tmp_path / "state" / "octopus-hub"
        state.mkdir(parents=True)
        url = f"http://127.0.0.1:{front.port}/services/octopus"
        (state / "client.json").write_text(json.dumps({"url": url, "token": SERVER_TOKEN, "user": "alice"}))
        await page.until_named("there")
        await page.until("status", state="live")


async def test_a_service_that_moved_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: Running, front: Front
) -> None:
    """`octopus up` was started anew: port and token, and with them the account's file, are others."""
    moved = Front(service)
    moved.start()
    service.hub.tokens["new-token"] = service.hub.tokens["alice-token"]
    file = tmp_path / "state" / "octopus-hub" / "client.json"
    file.parent.mkdir(parents=True)

    def write(port: int, token: str) -> None:
        file.write_text(json.dumps({"url": f"http://127.0.0.1:{port}/services/octopus", "token": token}))

    async with jupyter(tmp_path, monkeypatch) as server:
        write(front.port, SERVER_TOKEN)
        browser = await server.browser()
        page = await server.page(browser)
        await page.until("status", state="live")
        assert (await browser.get("version")).status_code == 200
        await front.stop()
        write(moved.port, "new-token")
        await submit(service, "meanwhile")
        await page.until_named("meanwhile")
        assert (await browser.get("version")).status_code == 200
        assert moved.streams == 1
        assert [sent["Authorization"] for uri, sent in moved.requests if "version" in str(uri)] == ["Bearer new-token"]
    await moved.stop()


async def test_a_page_that_comes_within_the_linger_keeps_the_stream(front: Front) -> None:
    url = f"http://127.0.0.1:{front.port}/services/octopus"
    linger = 0.05
    environ = {"OCTOPUS_URL": url, "OCTOPUS_TOKEN": SERVER_TOKEN}
    feed = Feed(Upstream(environ), linger_seconds=linger)
    feed.leave(feed.join())
    feed.join()
    waited = asyncio.Event()
    asyncio.get_running_loop().call_later(3 * linger, waited.set)
    await waited.wait()
    assert feed.open
    await feed.close()
    assert not feed.open


async def test_a_token_that_ended_is_told(server: Jupyter, service: Running, front: Front) -> None:
    service.hub.tokens.pop("alice-token")
    page = await server.page(await server.browser())
    while "token" not in (await page.until("status", state="reconnecting"))["message"]:
        pass
    assert SERVER_TOKEN not in "".join(page.raw) and page.rows.get("tasksets", {}) == {}


async def test_a_page_that_does_not_read_slows_nobody_and_gets_the_last_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: Running
) -> None:
    quick = Front(service, ServiceSettings(frames_per_second=500))
    quick.start()
    uid = await submit(service, "big")
    tasks = await service.start_tasks(uid)
    async with jupyter(tmp_path, monkeypatch, f"http://127.0.0.1:{quick.port}/services/octopus/") as server:
        browser = await server.browser()
        reader, writer = await _deaf_page(server, browser.cookies)
        await service.until(lambda: len(server.feed) == 1)
        page = await server.page(browser)
        await page.until("snapshot")
        key = f"alice/{tasks[0].name}"
        number, size = 300, 200_000
        assert number * size > 4 * MOST_BYTES
        for count in range(number):  # the page that reads gets every change at once, as deltas
            service.backend.set_task("alice", tasks[0].name, message=f"{count} " + "x" * size)
            while page.rows["tasks"][key].get("message", "").partition(" ")[0] != str(count):
                assert (await page.next())["type"] in ("delta", "status")
        kept = sum(outbox._bytes for outbox in server.feed._outboxes)
        assert kept <= MOST_BYTES
        messages = await _read_until(reader, f"{number - 1} x")
        assert len(messages) < number / 2  # what it missed is not sent, what is true now is
        assert json.loads(messages[-1])["type"] == "snapshot"
        writer.close()
    await quick.stop()


async def _deaf_page(server: Jupyter, cookies: object) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a page's socket with small buffers, and read nothing of it."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", server.port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=4096)
    cookie = "; ".join(f"{name}={value}" for name, value in dict(cookies).items())  # type: ignore[call-overload]
    key = base64.b64encode(b"0123456789abcdef").decode()
    lines = [
        f"GET {server.app.base_url}octopus/api/stream HTTP/1.1",
        f"Host: 127.0.0.1:{server.port}",
        f"Cookie: {cookie}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {key}",
    ]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), DEADLINE)
    assert head.startswith(b"HTTP/1.1 101 ")
    return reader, writer


async def _read_until(reader: asyncio.StreamReader, text: str) -> list[str]:
    """Read messages up to the one with that text."""
    messages: list[str] = []
    async with asyncio.timeout(60):
        while True:
            first, length = await reader.readexactly(2)
            if length == 126:
                length = int.from_bytes(await reader.readexactly(2), "big")
            elif length == 127:
                length = int.from_bytes(await reader.readexactly(8), "big")
            payload = await reader.readexactly(length)
            if first & 0x0F == 1:
                messages.append(payload.decode())
                if text in messages[-1]:
                    return messages


async def test_foreign_pages_and_strangers_get_no_socket(server: Jupyter, front: Front) -> None:
    browser = await server.browser()
    for origin in ("http://evil.example", f"http://127.0.0.1:{server.port + 1}", "null"):
        with pytest.raises(HTTPClientError) as refused:
            await server.page(browser, Origin=origin)
        assert refused.value.code == 403
    with pytest.raises(HTTPClientError) as refused:
        await server.page(None)
    assert refused.value.code == 403
    with pytest.raises(HTTPClientError) as refused:
        await server.page(None, Authorization=f"token {SERVER_TOKEN}")
    assert refused.value.code == 403
    assert len(server.feed) == 0 and not server.feed.open and front.streams == 0


async def test_who_may_not_read_octopus_gets_neither_socket_nor_answer(
    server: Jupyter, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def judge(handler: object, user: object, action: str, resource: str) -> bool:
        asked.append((action, resource))
        return False

    browser = await server.browser()
    monkeypatch.setattr(server.app.web_app.settings["authorizer"], "is_authorized", judge)
    with pytest.raises(HTTPClientError) as refused:
        await server.page(browser)
    assert refused.value.code == 403
    assert (await browser.get("tasksets")).status_code == 403
    assert (await browser.post("tasksets", json=document())).status_code == 403
    assert asked == [("read", "octopus"), ("read", "octopus"), ("write", "octopus")]


async def test_a_ping_is_answered_and_nothing_else_is_heard(server: Jupyter) -> None:
    page = await server.page(await server.browser())
    await page.until("status", state="live")
    for noise in ("", "{", "[]", "null", '{"type":"submit"}', '{"type":["ping"]}', "[" * 3000):
        await page.socket.write_message(noise)
    await page.socket.write_message(b"\x00\xff", binary=True)
    await page.socket.write_message('{"type":"ping"}')
    assert await page.next() == {"type": "pong"}
    await page.socket.write_message("x" * 100_000)  # more than any page has to say
    with pytest.raises(AssertionError, match="closed"):
        await page.until("never")


async def test_no_token_and_no_other_tenant_is_in_a_frame(server: Jupyter, service: Running) -> None:
    bob = await service.client("bob-token").post("tasksets", json=document("bobs-secret-plan"))
    assert bob.status_code == 201
    page = await server.page(await server.browser())
    await submit(service, "mine")
    await page.until_named("mine")
    said = "".join(page.raw)
    assert SERVER_TOKEN not in said and LOCAL not in said and "bobs-secret-plan" not in said
