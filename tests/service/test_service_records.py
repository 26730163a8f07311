"""Records, outputs, replay and blobs."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import msgspec
import pytest

from octopus_hub.model.errors import InvalidSpec, NotFound
from octopus_hub.model.record import Record
from octopus_hub.service.settings import ServiceSettings
from tests.service.running import Running, document, record, running

MEBIBYTE = 2**20


def digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


async def test_records_by_name_attempt_and_uid(service: Running) -> None:
    for attempt in (1, 2):
        await service.backend.put_record(record("alice", "mnist", attempt))
    await service.backend.put_record(record("alice", "other"))
    client = service.client("alice-token")
    assert len((await client.get("records")).json()["items"]) == 3
    assert [item["attempt"] for item in (await client.get("records?name=mnist")).json()["items"]] == [2, 1]
    assert (await client.get("records/-/mnist")).json()["attempt"] == 2
    assert (await client.get("records/alice/mnist?attempt=1")).json()["attempt"] == 1
    assert (await client.get("records/-/uid-alice-mnist")).json()["name"] == "mnist"
    assert (await client.get("records/-/mnist?attempt=3")).status_code == 404
    decoded = msgspec.json.decode((await client.get("records/-/mnist")).content, type=Record)
    assert decoded.outputs[0].path == "worker-0/model.npz"


async def test_archives_are_named_files(service: Running) -> None:
    await service.backend.put_record(record("alice", "mnist"))
    client = service.client("alice-token")
    outputs = await client.get("records/-/mnist/outputs")
    assert outputs.headers["Content-Type"] == "application/gzip" and b"worker-0/model.npz" in outputs.content
    assert outputs.headers["Content-Disposition"] == 'attachment; filename="mnist-1-outputs.tar.gz"'
    crate = await client.get("records/-/mnist/record.zip")
    assert crate.headers["Content-Type"] == "application/zip" and crate.content == b"crate of mnist"


async def test_an_archive_that_can_not_be_made_is_a_plain_error(service: Running) -> None:
    async def gone(_: Record) -> Any:
        raise NotFound("the outputs were pruned; replay the run")
        yield b""

    await service.backend.put_record(record("alice", "mnist"))
    service.app.settings["service"].runs.outputs = gone
    answer = await service.client("alice-token").get("records/-/mnist/outputs")
    assert answer.status_code == 404 and "pruned" in answer.json()["detail"]


async def test_a_kept_record_and_one_from_a_file_replay_as_ones_own(service: Running) -> None:
    await service.backend.put_record(record("alice", "mnist", 2))
    alice, bob = service.client("alice-token"), service.client("bob-token")
    again = await alice.post("replay", json={"record": {"name": "mnist"}})
    assert again.status_code == 201, again.text
    meta = again.json()["metadata"]
    assert (meta["namespace"], meta["owner"]) == ("alice", "alice")
    assert meta["labels"] == {"octopus-hub.io/replay-of": "mnist.2"}
    assert again.json()["spec"]["seed"] == 7
    whole = msgspec.to_builtins(record("alice", "mnist", 2))
    theirs = await bob.post("replay", json={"record": whole}, headers={"Idempotency-Key": "r1"})
    repeated = await bob.post("replay", json={"record": whole}, headers={"Idempotency-Key": "r1"})
    assert (theirs.status_code, repeated.status_code) == (201, 200)
    assert theirs.json()["metadata"]["namespace"] == "bob"
    assert repeated.json()["metadata"]["uid"] == theirs.json()["metadata"]["uid"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"record": []},
        {"record": {}},
        {"record": {"name": 5}},
        {"record": {"name": "x", "extra": 1}},
        {"record": {"spec": {}}},
    ],
)
async def test_what_is_no_record_is_invalid(service: Running, body: Any) -> None:
    answer = await service.client("alice-token").post("replay", json=body)
    assert answer.status_code == 422 and answer.json()["code"] == "invalid_spec"


async def test_what_can_not_be_replayed_says_every_reason(service: Running) -> None:
    async def refuse(_: Record) -> Any:
        raise InvalidSpec("mnist can't be replayed", ["image: gone", "workspace: gone"])

    await service.backend.put_record(record("alice", "mnist"))
    service.app.settings["service"].runs.replay = refuse
    answer = await service.client("alice-token").post("replay", json={"record": {"name": "mnist"}})
    assert answer.status_code == 422 and answer.json()["problems"] == ["image: gone", "workspace: gone"]


# --- blobs


async def test_content_goes_in_and_comes_out(service: Running) -> None:
    content = bytes(range(256)) * 8192  # 2 MiB
    name = digest(content)
    client = service.client("alice-token")
    assert (await client.head(f"blobs/{name}")).status_code == 404
    for _ in range(2):
        answer = await client.put(f"blobs/{name}", content=content)
        assert answer.status_code == 201 and answer.json() == {"digest": name}
    head = await client.head(f"blobs/{name}")
    assert head.status_code == 200 and head.headers["Content-Length"] == str(len(content)) and head.content == b""
    assert (await client.get(f"blobs/{name}")).content == content
    taskset = await client.post("tasksets", json=document(workspace={"digest": name}))
    assert taskset.status_code == 201, taskset.text


async def test_an_empty_blob_is_a_blob(service: Running) -> None:
    client = service.client("alice-token")
    assert (await client.put(f"blobs/{digest(b'')}", content=b"")).status_code == 201
    assert (await client.get(f"blobs/{digest(b'')}")).content == b""


async def test_content_without_a_length_is_taken_in_pieces(service: Running) -> None:
    async def chunks() -> Any:
        for _ in range(64):
            yield b"x" * 65536

    name = digest(b"x" * 65536 * 64)
    answer = await service.client("alice-token").put(f"blobs/{name}", content=chunks())
    assert answer.status_code == 201, answer.text


async def test_wrong_content_is_refused(service: Running) -> None:
    client = service.client("alice-token")
    answer = await client.put(f"blobs/{digest(b'other')}", content=b"content")
    assert answer.status_code == 422 and "digest" in answer.json()["detail"]
    for name in ("sha256:abc", "md5:" + "0" * 32, digest(b"x").upper(), "x"):
        assert (await client.put(f"blobs/{name}", content=b"x")).status_code == 422
        assert (await client.get(f"blobs/{name}")).status_code == 404


@pytest.mark.parametrize("announced", [True, False])
async def test_too_large_content_is_refused(announced: bool) -> None:
    async with running(ServiceSettings(blob_bytes=MEBIBYTE)) as service:
        content = b"y" * (4 * MEBIBYTE)

        async def chunks() -> Any:
            for start in range(0, len(content), 65536):
                yield content[start : start + 65536]

        body = content if announced else chunks()
        answer = await service.client("alice-token").put(f"blobs/{digest(content)}", content=body)
        assert answer.status_code == 413, answer.text
        assert answer.json()["limit"] == MEBIBYTE


async def test_an_upload_that_breaks_off_is_not_stored(service: Running) -> None:
    content = b"z" * 1000
    _, writer = await asyncio.open_connection("127.0.0.1", service.port)
    head = (
        f"PUT /services/octopus/api/v1/blobs/{digest(content)} HTTP/1.1\r\nHost: x\r\n"
        "Authorization: token alice-token\r\nContent-Length: 1000\r\n\r\n"
    )
    writer.write(head.encode() + content[:500])
    await writer.drain()
    await service.until(lambda: _storing() == 1)
    writer.close()
    await service.until(lambda: _storing() == 0)
    assert (await service.client("alice-token").get(f"blobs/{digest(content)}")).status_code == 404


def _storing() -> int:
    return sum(task.get_name() == "blob" for task in asyncio.all_tasks())
