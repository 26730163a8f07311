"""Tenants: user A finds nothing of user B's, and can't tell a foreign object from a missing one."""

from __future__ import annotations

import hashlib
from typing import Any

import httpx
import pytest

from octopus_hub.model.status import Board, QueuePlace
from tests.service.running import Running, document, events, record

CONTENT = b"bob's workspace"
DIGEST = "sha256:" + hashlib.sha256(CONTENT).hexdigest()
MARK = "bobs-secret-project"


async def furnish(service: Running) -> str:
    """Give bob one of everything; return his TaskSet's uid."""
    bob = service.client("bob-token")
    assert (await bob.put(f"blobs/{DIGEST}", content=CONTENT)).status_code == 201
    assert (await bob.put("secrets/hf-token", json={"value": "s3cr3t"})).status_code == 204
    sent = document(MARK, workspace={"digest": DIGEST})
    answer = await bob.post("tasksets", json=sent)
    assert answer.status_code == 201, answer.text
    uid = str(answer.json()["metadata"]["uid"])
    for task in await service.start_tasks(uid):
        service.backend.write_log("bob", task.name, b"bob's log line\n")
    await service.backend.put_record(record("bob", MARK))
    place = QueuePlace(uid=uid, place=1, code="NoFit", message="needs 4 gpu")
    await service.backend.put_board(Board(queue="default", places=[place]))
    return uid


CALLS: list[tuple[str, str, Any]] = [
    ("GET", f"tasksets/bob/{MARK}", None),
    ("DELETE", f"tasksets/bob/{MARK}", None),
    ("POST", f"tasksets/bob/{MARK}/stop", None),
    ("POST", f"tasksets/bob/{MARK}/hold", None),
    ("POST", f"tasksets/bob/{MARK}/release", None),
    ("GET", f"tasksets/bob/{MARK}/tasks", None),
    ("GET", f"tasksets/bob/{MARK}/logs", None),
    ("GET", f"tasksets/bob/{MARK}/logs?follow=true", None),
    ("GET", "tasksets?namespace=bob", None),
    ("GET", "tasksets?namespace=*", None),
    ("GET", "stream?namespace=bob", None),
    ("GET", "stream?namespace=*", None),
    ("GET", f"stream?namespace=bob&name={MARK}", None),
    ("GET", "records?namespace=bob", None),
    ("GET", f"records/bob/{MARK}", None),
    ("GET", f"records/bob/{MARK}/outputs", None),
    ("GET", f"records/bob/{MARK}/record.zip", None),
    ("POST", "replay", {"record": {"namespace": "bob", "name": MARK}}),
    ("GET", f"blobs/{DIGEST}", None),
    ("HEAD", f"blobs/{DIGEST}", None),
    ("DELETE", "secrets/hf-token", None),
]


def absent(path: str) -> str:
    """Return the same request about something that exists for nobody."""
    return path.replace("/bob", "/nobody").replace("=bob", "=nobody").replace(DIGEST, "sha256:" + "0" * 64)


def told(answer: httpx.Response, *names: str) -> str:
    """Return the answer's text without the names that the caller himself sent."""
    text = answer.text
    for name in names:
        text = text.replace(name, "?")
    return text


@pytest.mark.parametrize(("method", "path", "body"), CALLS, ids=[f"{method} {path}" for method, path, _ in CALLS])
async def test_a_foreign_object_is_like_a_missing_one(service: Running, method: str, path: str, body: Any) -> None:
    uid = await furnish(service)
    before = service.backend.truth.tasksets[uid]
    alice = service.client("alice-token")
    foreign = await alice.request(method, path, json=body)
    other = {"record": {"namespace": "nobody", "name": MARK}} if body else None
    missing = await alice.request(method, absent(path), json=other)
    assert foreign.status_code == 404
    assert missing.status_code == 404
    names = ("bob", "nobody", DIGEST, "sha256:" + "0" * 64)
    assert told(foreign, *names) == told(missing, *names)
    assert "log line" not in foreign.text and "s3cr3t" not in foreign.text
    assert service.backend.truth.tasksets[uid] == before
    assert await service.backend.list_secrets("bob") == ["hf-token"]


async def test_own_lists_and_streams_hold_nothing_foreign(service: Running) -> None:
    uid = await furnish(service)
    alice = service.client("alice-token")
    for path in ("tasksets", "records", "secrets", "nodes", "queues"):
        answer = await alice.get(path)
        assert answer.status_code == 200
        assert MARK not in answer.text and uid not in answer.text and "hf-token" not in answer.text, path
    async with alice.stream("GET", "stream") as response:
        frames = events(response)
        name, frame = await anext(frames)
        assert name == "snapshot" and MARK not in str(frame) and uid not in str(frame)
        bobs = await service.client("bob-token").post("tasksets", json=document("bobs-next"))
        assert bobs.status_code == 201
        await alice.post("tasksets", json=document("mine"))
        name, frame = await anext(frames)
        assert [row["metadata"]["name"] for row in frame["tasksets"]] == ["mine"]
        assert "bobs-next" not in str(frame)


async def test_a_foreign_workspace_or_secret_can_not_be_used(service: Running) -> None:
    await furnish(service)
    sent = document(workspace={"digest": DIGEST})
    sent["spec"]["roles"][0]["secrets"] = {"HF": "hf-token"}
    answer = await service.client("alice-token").post("tasksets", json=sent)
    assert answer.status_code == 422 and len(answer.json()["problems"]) == 2
    replay = {"record": {**_plain(record("bob", "run")), "spec": sent["spec"]}}
    answer = await service.client("alice-token").post("replay", json=replay)
    assert answer.status_code == 422


def _plain(item: Any) -> dict[str, Any]:
    import msgspec

    plain: dict[str, Any] = msgspec.to_builtins(item)
    return plain


async def test_what_one_uploads_or_uses_one_may_read(service: Running) -> None:
    await furnish(service)
    alice, bob, root = (service.client(f"{name}-token") for name in ("alice", "bob", "root"))
    assert (await bob.get(f"blobs/{DIGEST}")).content == CONTENT
    assert (await root.get(f"blobs/{DIGEST}")).content == CONTENT
    assert (await alice.put(f"blobs/{DIGEST}", content=b"guess")).status_code == 422
    assert (await alice.get(f"blobs/{DIGEST}")).status_code == 404
    assert (await alice.put(f"blobs/{DIGEST}", content=CONTENT)).status_code == 201
    assert (await alice.get(f"blobs/{DIGEST}")).content == CONTENT
    output = hashlib.sha256(b"result").hexdigest()
    await service.backend.put_blob(_chunks(b"result"), limit=100)
    assert (await alice.get(f"blobs/sha256:{output}")).status_code == 404
    from octopus_hub.model.record import OutputFile

    kept = [OutputFile(path="worker-0/out", digest=f"sha256:{output}", size=6)]
    await service.backend.put_record(record("alice", "run", outputs=kept))
    assert (await alice.get(f"blobs/sha256:{output}")).content == b"result"


async def _chunks(content: bytes) -> Any:
    yield content


TRAVERSALS = (
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e",
    "..",
    "a%00b",
    "%2fetc%2fpasswd",
    "..%5c..",
    "%ff%fe",
    "a%0d%0aSet-Cookie:x=1",
)


@pytest.mark.parametrize("text", TRAVERSALS)
async def test_paths_that_lead_out_find_nothing(service: Running, text: str) -> None:
    await furnish(service)
    root = service.client("root-token")
    paths = (
        f"tasksets/{text}/{MARK}",
        f"tasksets/bob/{text}",
        f"tasksets/bob/{text}/logs",
        f"tasksets/bob/{MARK}/logs?role={text}",
        f"tasksets/bob/{MARK}/logs?index={text}",
        f"tasksets/bob/{MARK}/logs?attempt={text}",
        f"records/{text}/{MARK}",
        f"records/bob/{text}",
        f"records/bob/{text}/outputs",
        f"blobs/{text}",
        f"schema/{text}",
        f"tasksets?namespace={text}",
    )
    for path in paths:
        answer = await _raw(service, "GET", path)
        status = int(answer.split(b" ", 2)[1])
        assert status in (400, 404, 422) or (status == 200 and b'"items":[]' in answer), (path, answer[:300])
        assert b"Set-Cookie" not in answer.split(b"\r\n\r\n")[0]
        assert b"root:" not in answer
    assert (await root.get("whoami")).status_code == 200


async def _raw(service: Running, method: str, path: str) -> bytes:
    """Send a request line as it stands: clients would normalise such paths."""
    import asyncio

    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    head = f"{method} /services/octopus/api/v1/{path} HTTP/1.1\r\nHost: x\r\nAuthorization: token root-token\r\n"
    writer.write(f"{head}Connection: close\r\n\r\n".encode("latin-1"))
    answer = await reader.read()
    writer.close()
    return answer


async def test_a_secret_named_by_a_path_is_refused(service: Running) -> None:
    for name in ("..%2fkey", "UPPER", "a" * 64, "a.b"):
        assert (await service.client("alice-token").put(f"secrets/{name}", json={"value": "x"})).status_code == 422
        assert (await service.client("alice-token").delete(f"secrets/{name}")).status_code == 404
