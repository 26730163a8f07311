"""The proxy on real servers: what passes, what does not, in both directions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from octopus_hub_extension.paths import ROUTES

from octopus_hub.client import transport
from octopus_hub.service.access import ADMIN
from octopus_hub.service.access import ROUTES as SERVICE_ROUTES
from tests.extension.serving import JUPYTER_TOKEN, SERVER_TOKEN, Front, Jupyter, jupyter
from tests.service.running import DEADLINE, Running, document

PROBLEM = "application/problem+json"
BINARY = bytes(range(256)) * 64


async def submitted(server: Jupyter, name: str = "mnist") -> tuple[httpx.AsyncClient, str]:
    browser = await server.browser()
    created = await browser.post("tasksets", json=document(name))
    assert created.status_code == 201, created.text
    return browser, created.json()["metadata"]["uid"]


async def test_submit_list_stop(server: Jupyter, service: Running) -> None:
    browser = await server.browser()
    created = await browser.post("tasksets", json=document(), headers={"Idempotency-Key": "k-1"})
    assert created.status_code == 201, created.text
    uid = created.json()["metadata"]["uid"]
    assert created.json()["metadata"]["namespace"] == "alice"
    again = await browser.post("tasksets", json=document(), headers={"Idempotency-Key": "k-1"})
    assert again.status_code == 200 and again.json()["metadata"]["uid"] == uid
    listed = (await browser.get("tasksets", params={"phase": "Queued"})).json()
    assert [item["taskset"]["metadata"]["name"] for item in listed["items"]] == ["mnist"]
    assert (await browser.get("tasksets", params={"phase": "Running"})).json()["items"] == []
    stopped = await browser.post("tasksets/-/mnist/stop")
    assert stopped.status_code == 200, stopped.text
    assert service.backend.truth.tasksets[uid].metadata.stop_requested_at is not None
    assert (await browser.put("secrets/hf-token", json={"value": "s3cret"})).status_code == 204
    assert [item["name"] for item in (await browser.get("secrets")).json()["items"]] == ["hf-token"]
    assert (await browser.delete("secrets/hf-token")).status_code == 204
    deleted = await browser.delete("tasksets/alice/mnist")
    assert deleted.status_code == 200, deleted.text


def test_the_table_is_the_service_s_without_what_pages_do_not_need() -> None:
    """A route, a method or a parameter that the service gets must be decided about here, too."""
    offered: dict[str, tuple[set[str], set[str]]] = {}
    for route in SERVICE_ROUTES:
        if route.base == "api" and route.scope != ADMIN and not route.path.startswith(("/blobs", "/leases", "/stream")):
            methods, query = offered.setdefault(route.path, (set(), set()))
            methods.add(route.method)
            query.update(route.query)
    ours = {f"/{route.path}": (set(route.methods), set(route.query)) for route in ROUTES}
    assert ours == offered


async def test_why_and_queues_are_there_for_pages_and_changing_queues_is_not(server: Jupyter) -> None:
    browser, _ = await submitted(server)
    why = await browser.get("tasksets/-/mnist/why")
    assert why.status_code == 200 and why.json()["phase"] == "Queued", why.text
    assert (await browser.get("queues/default")).json()["name"] == "default"
    assert [(await browser.get(path)).status_code for path in ("cohorts", "reservations")] == [200, 200]
    refused = await browser.patch("queues/default", json={"weight": 3})
    assert refused.status_code == 405, refused.text
    fixed = await browser.post("tasksets/-/mnist/scale", json={"sizes": {"main": 2}})
    assert fixed.status_code == 422 and fixed.headers["Content-Type"] == PROBLEM, fixed.text


async def test_refusals_of_the_service_pass_as_they_are(server: Jupyter) -> None:
    browser = await server.browser()
    wrong = await browser.post("tasksets", json={**document(), "spec": {"rolez": []}})
    assert wrong.status_code == 422 and wrong.headers["Content-Type"] == PROBLEM
    assert wrong.json()["code"] == "invalid_spec" and wrong.json()["problems"]
    missing = await browser.get("tasksets/-/nothing")
    assert missing.status_code == 404 and missing.json()["code"] == "not_found"
    foreign = await browser.get("tasksets/bob/mnist")
    assert foreign.status_code == 404


async def test_without_xsrf_nothing_changes(server: Jupyter, service: Running) -> None:
    browser, uid = await submitted(server)
    xsrf = browser.headers.pop("X-XSRFToken")
    for method, path in (("POST", "tasksets/-/mnist/stop"), ("DELETE", "tasksets/-/mnist"), ("PUT", "secrets/x")):
        answer = await browser.request(method, path, json={})
        assert answer.status_code == 403, (method, answer.text)
        assert answer.headers["Content-Type"] == PROBLEM and "X-XSRFToken" in answer.json()["detail"]
    wrong = await browser.post("tasksets/-/mnist/stop", headers={"X-XSRFToken": xsrf[:-4] + "AAAA"})
    assert wrong.status_code == 403
    assert service.backend.truth.tasksets[uid].metadata.stop_requested_at is None


async def test_who_is_not_logged_in_gets_nothing(server: Jupyter, front: Front) -> None:
    stranger = server.client()
    front.requests.clear()
    for method in ("GET", "POST", "PUT", "DELETE"):
        answer = await stranger.request(method, "tasksets", headers={"Authorization": f"Bearer {SERVER_TOKEN}"})
        assert answer.status_code == 403, (method, answer.text)
    assert (await stranger.get("version", headers={"Authorization": "token wrong"})).status_code == 403
    assert front.requests == []


async def test_a_script_with_jupyter_s_token_may(server: Jupyter) -> None:
    script = server.client(Authorization=f"token {JUPYTER_TOKEN}")
    assert (await script.post("tasksets", json=document())).status_code == 201


async def test_foreign_pages_are_refused(server: Jupyter, service: Running) -> None:
    browser, uid = await submitted(server)
    for origin in ("http://evil.example", f"http://127.0.0.1:{server.port + 1}", "null"):
        read = await browser.get("tasksets", headers={"Origin": origin})
        assert read.status_code == 404 and "mnist" not in read.text
        write = await browser.post("tasksets/-/mnist/stop", headers={"Origin": origin})
        assert write.status_code in (403, 404)
    assert service.backend.truth.tasksets[uid].metadata.stop_requested_at is None
    same = await browser.get("tasksets", headers={"Origin": f"http://127.0.0.1:{server.port}"})
    assert same.status_code == 200


async def test_no_credential_crosses(server: Jupyter, front: Front) -> None:
    browser, _ = await submitted(server)
    front.requests.clear()
    headers = {"Authorization": f"token {JUPYTER_TOKEN}", "Forwarded": "for=x", "X-Forwarded-For": "9.9.9.9"}
    params = {"token": JUPYTER_TOKEN, "_xsrf": "x", "phase": "Queued", "unknown": "1"}
    answer = await browser.get("tasksets", headers=headers, params=params)
    assert answer.status_code == 200
    uri, sent = front.requests[-1]
    assert uri == "/services/octopus/api/v1/tasksets?phase=Queued"
    assert sent["Authorization"] == f"Bearer {SERVER_TOKEN}"
    assert not {"Cookie", "X-Xsrftoken", "Forwarded", "X-Forwarded-For", "Origin", "Referer"} & set(sent)
    assert JUPYTER_TOKEN not in json.dumps([uri, sent])


async def test_the_token_is_in_no_answer(server: Jupyter, front: Front) -> None:
    browser, _ = await submitted(server)
    answers = [
        await browser.get(path)
        for path in (
            "tasksets",
            "whoami",
            "version",
            "openapi.json",
            "nope",
            "tasksets/-/x",
            "schema/taskset",
            "stream",
        )
    ]
    answers.append(await browser.get(f"{server.url}api/status"))
    await front.stop()
    answers.append(await browser.get("tasksets"))
    for answer in answers:
        assert answer.content
        assert SERVER_TOKEN not in answer.text + repr(answer.headers), answer.url
        assert "set-cookie" not in answer.headers and "www-authenticate" not in answer.headers


TRAVERSALS = [
    "../../../../hub/api/user",
    "..%2f..%2f..%2fmetrics",
    "%2e%2e/%2e%2e/metrics",
    "%2e%2e%2f%2e%2e%2fmetrics",
    "tasksets/../../../metrics",
    "tasksets/-/..",
    "tasksets/-/%2e%2e",
    "tasksets/-/%252e%252e",
    "tasksets/-/mnist%2fstop",
    "tasksets/-/mnist%2Fstop%3Fx",
    "tasksets/-/mnist%00",
    "tasksets/-/mnist%0d%0aX:%20y",
    "tasksets/-/mnist%5cstop",
    "tasksets/-/mnist;a=b",
    "tasksets//mnist",
    "/tasksets",
    "//metrics",
    "tasksets/",
    "",
    ".",
    "@evil.example/",
    "http://evil.example/",
    "stream",
    "blobs/sha256:" + "0" * 64,
    "%ff%fe",
]


@pytest.mark.parametrize("path", TRAVERSALS)
async def test_no_spelling_leaves_the_api(server: Jupyter, front: Front, path: str) -> None:
    browser = await server.browser()
    for method in ("GET", "DELETE"):
        answer = await server.raw(f"{method} {server.app.base_url}octopus/api/v1/{path} HTTP/1.1", browser)
        assert answer.split(b" ")[1] in (b"400", b"404", b"405"), answer
    assert front.requests == []


async def test_encoded_names_mean_the_same_name(server: Jupyter) -> None:
    browser, _ = await submitted(server)
    answer = await server.raw(f"GET {server.app.base_url}octopus/api/v1/tasksets/%2D/m%6eist HTTP/1.1", browser)
    assert answer.startswith(b"HTTP/1.1 200 ") and b'"mnist"' in answer


async def test_a_method_that_is_not_possible(server: Jupyter) -> None:
    browser = await server.browser()
    answer = await browser.put("tasksets", json={})
    assert answer.status_code == 405 and answer.json()["detail"] == "PUT is not possible here; use GET or POST"


async def test_a_large_body_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, front: Front) -> None:
    url = f"http://127.0.0.1:{front.port}/services/octopus/"
    async with jupyter(tmp_path, monkeypatch, url, body_bytes=100_000) as server:
        browser = await server.browser()
        announced = await browser.post("tasksets", content=b"x" * 2_000_000)
        assert announced.status_code == 413, announced.text
        assert announced.json()["code"] == "too_large" and "100000 bytes" in announced.json()["detail"]

        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(200):
                yield b"x" * 10_000

        unannounced = await browser.post("tasksets", content=chunks())
        assert unannounced.status_code == 413, unannounced.text
        assert front.requests == []
        assert (await browser.post("tasksets", json=document())).status_code == 201


async def test_what_is_announced_as_too_large_is_answered_unread(server: Jupyter, front: Front) -> None:
    line, length = f"POST {server.app.base_url}octopus/api/v1/tasksets HTTP/1.1", f"Content-Length: {10**8}"
    stranger = server.client()
    await stranger.get(f"{server.url}login")  # who is let in nowhere still gets a token against forged requests
    browser = await server.browser()
    for client, status in ((stranger, b"403"), (browser, b"413")):
        answer = await server.raw(line, client, length)
        assert answer.startswith(b"HTTP/1.1 " + status) and b"\r\nConnection: close\r\n" in answer
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["status"] == int(status)
    assert front.requests == []


async def test_a_refusal_leaves_the_connection_to_the_next_request(server: Jupyter, front: Front) -> None:
    """A hub's proxy sends the requests of all its users over connections that it keeps."""
    browser = await server.browser()
    cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)

    async def ask(method: str, *headers: str, body: bytes = b"") -> bytes:
        line = f"{method} {server.app.base_url}octopus/api/v1/tasksets HTTP/1.1"
        head = [line, f"Host: 127.0.0.1:{server.port}", f"Content-Length: {len(body)}", *headers, "", ""]
        writer.write("\r\n".join(head).encode())
        await asyncio.sleep(0)
        writer.write(body)
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), DEADLINE)
        length = next(int(each[16:]) for each in answer.split(b"\r\n") if each.startswith(b"Content-Length: "))
        await asyncio.wait_for(reader.readexactly(length), DEADLINE)
        return answer

    for headers in ((), (f"Cookie: {cookies}",), (f"Cookie: {cookies}", "X-XSRFToken: wrong")):
        refused = await ask("POST", *headers, body=b"{" + b" " * 100_000 + b"}")
        assert refused.startswith(b"HTTP/1.1 403 ") and b"close" not in refused
    assert front.requests == []
    assert (await ask("GET", f"Cookie: {cookies}")).startswith(b"HTTP/1.1 200 ")
    writer.close()


async def test_a_binary_log_passes_byte_by_byte(server: Jupyter, service: Running) -> None:
    browser, uid = await submitted(server)
    tasks = sorted(task.name for task in await service.start_tasks(uid))
    service.backend.write_log("alice", tasks[0], BINARY)
    answer = await browser.get("tasksets/-/mnist/logs", headers={"Accept-Encoding": "gzip"})
    assert answer.content == BINARY
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    raw = await browser.get("tasksets/-/mnist/logs", headers={"Accept": "application/octet-stream"})
    assert raw.content == BINARY and raw.headers["Content-Type"] == "application/octet-stream"


async def test_a_followed_log_comes_as_it_is_written_and_ends_with_its_reader(
    server: Jupyter, service: Running, front: Front
) -> None:
    browser, uid = await submitted(server)
    tasks = sorted(task.name for task in await service.start_tasks(uid))
    assert front.app is not None
    slots = front.app.settings["service"].slots
    await service.until(lambda: slots._open == {"alice#leases": 1})  # the server's lease
    async with asyncio.timeout(DEADLINE), browser.stream("GET", "tasksets/-/mnist/logs?follow=true") as response:
        assert response.status_code == 200  # the headers come before the first line
        chunks = response.aiter_raw()
        for line in (b"first\n", b"second\n", b"\xff\x00third"):
            service.backend.write_log("alice", tasks[0], line)
            assert await anext(chunks) == line
        assert slots._open == {"alice": 1, "alice#leases": 1}
    await service.until(lambda: slots._open == {"alice#leases": 1})


async def test_a_followed_log_may_be_silent_for_as_long_as_it_likes(
    server: Jupyter, service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser, uid = await submitted(server)
    tasks = sorted(task.name for task in await service.start_tasks(uid))
    patience = 0.2
    monkeypatch.setattr(transport, "TIMEOUT", httpx.Timeout(30.0, read=patience))
    async with asyncio.timeout(DEADLINE), browser.stream("GET", "tasksets/-/mnist/logs?follow=true") as response:
        coming = asyncio.ensure_future(anext(response.aiter_raw()))
        done, _ = await asyncio.wait({coming}, timeout=3 * patience)
        assert not done
        service.backend.write_log("alice", tasks[0], b"at last\n")
        assert await coming == b"at last\n"


async def test_an_answer_that_breaks_off_is_not_taken_for_a_whole_one(
    server: Jupyter, service: Running, front: Front
) -> None:
    browser, uid = await submitted(server)
    tasks = sorted(task.name for task in await service.start_tasks(uid))
    with pytest.raises(httpx.HTTPError):
        async with asyncio.timeout(DEADLINE), browser.stream("GET", "tasksets/-/mnist/logs?follow=true") as response:
            chunks = response.aiter_raw()
            service.backend.write_log("alice", tasks[0], b"first\n")
            assert await anext(chunks) == b"first\n"
            assert front.app is not None
            for connection in list(front._server._connections):  # type: ignore[union-attr]
                connection.stream.close()
            async for _ in chunks:
                pass


async def test_what_nobody_foresaw_does_not_end_a_part_well(
    server: Jupyter, service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser, uid = await submitted(server)
    tasks = sorted(task.name for task in await service.start_tasks(uid))
    service.backend.write_log("alice", tasks[0], b"first\n")

    async def broken(response: httpx.Response) -> AsyncIterator[bytes]:
        yield b"first"
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(httpx.Response, "aiter_raw", broken)
        answer = server.raw(f"GET {server.app.base_url}octopus/api/v1/tasksets/-/mnist/logs?follow=1 HTTP/1.1", browser)
        with pytest.raises(asyncio.IncompleteReadError):
            await answer


async def test_a_name_that_is_not_this_machine_s_is_refused(server: Jupyter, front: Front) -> None:
    """A foreign page can give its own host name our address, and is the same origin then."""
    browser = await server.browser()
    for method in ("GET", "POST", "DELETE", "OPTIONS"):
        answer = await browser.request(method, "tasksets", headers={"Host": "evil.example"})
        assert answer.status_code == 403, method
    assert front.requests == []


async def test_a_service_that_is_away(server: Jupyter, front: Front) -> None:
    browser = await server.browser()
    await front.stop()
    answer = await browser.get("tasksets")
    assert answer.status_code == 503 and answer.headers["Content-Type"] == PROBLEM
    problem = answer.json()
    assert problem["code"] == "unavailable" and "can't be reached" in problem["detail"]
    assert "make run" in problem["detail"]
    front.start()
    assert (await browser.get("tasksets")).status_code == 200


async def test_a_plain_server_says_how_to_start_and_finds_a_service_that_came_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, front: Front
) -> None:
    async with jupyter(tmp_path, monkeypatch) as server:
        browser = await server.browser()
        answer = await browser.get("tasksets")
        assert answer.status_code == 503 and answer.headers["Content-Type"] == PROBLEM
        assert "octopus up" in answer.json()["detail"]
        state = tmp_path / "state" / "octopus-hub"
        state.mkdir(parents=True)
        url = f"http://127.0.0.1:{front.port}/services/octopus"
        (state / "client.json").write_text(json.dumps({"url": url, "token": SERVER_TOKEN, "user": "alice"}))
        assert (await browser.get("tasksets")).status_code == 200


async def test_what_stands_between_and_speaks_html_is_told_in_our_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b"<html><script>alert(1)</script></html>"
        head = f"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nSet-Cookie: a=b\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    gateway = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = gateway.sockets[0].getsockname()[1]
    async with jupyter(tmp_path, monkeypatch, f"http://127.0.0.1:{port}/services/octopus/") as server:
        found = await (await server.browser()).get("tasksets")
        assert found.status_code == 503 and found.headers["Content-Type"] == PROBLEM
        assert "502" in found.json()["detail"] and "script" not in found.text and "set-cookie" not in found.headers
    gateway.close()


async def test_proxies_of_the_environment_are_not_for_loopback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, front: Front
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with jupyter(tmp_path, monkeypatch, f"http://127.0.0.1:{front.port}/services/octopus/") as server:
        assert (await (await server.browser()).get("tasksets")).status_code == 200
