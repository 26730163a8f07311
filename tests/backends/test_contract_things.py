"""The contract of every backend, what is kept: blobs, secrets, images, records, ledgers."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest

from octopus_hub.model.errors import InvalidSpec, NotFound, TooLarge
from octopus_hub.model.record import Record, TaskEnd
from octopus_hub.model.status import Phase
from tests.backends.harness import Harness, chunks, spec


def record(name: str = "job", uid: str = "uid-1", attempt: int = 1, **fields: Any) -> Record:
    return Record(
        namespace=fields.pop("namespace", "anna"),
        name=name,
        uid=uid,
        attempt=attempt,
        phase=Phase.SUCCEEDED,
        spec={},
        **fields,
    )


async def test_blob_is_kept_by_its_digest(harness: Harness) -> None:
    digest = await harness.backend.put_blob(chunks(b"ab", b"", b"cd"), limit=4)
    assert digest == "sha256:" + hashlib.sha256(b"abcd").hexdigest()
    assert (await harness.backend.blob_path(digest)).read_bytes() == b"abcd"
    assert await harness.backend.put_blob(chunks(b"abcd"), digest=digest, limit=4) == digest


async def test_blob_over_its_limit_or_with_another_digest_is_refused(harness: Harness) -> None:
    other = "sha256:" + hashlib.sha256(b"other").hexdigest()
    with pytest.raises(TooLarge, match="limit of 4 bytes"):
        await harness.backend.put_blob(chunks(b"abc", b"de"), limit=4)
    with pytest.raises(InvalidSpec, match="upload it again"):
        await harness.backend.put_blob(chunks(b"abcd"), digest=other, limit=4)
    for content in (b"abcde", b"abcd", b"other"):
        with pytest.raises(NotFound):
            await harness.backend.blob_path("sha256:" + hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize(
    "digest", ["", "sha256:", "sha256:../../../etc/passwd", "../octopus.db", "md5:00", "sha256:" + "Z" * 64]
)
async def test_what_is_no_digest_is_no_blob(harness: Harness, digest: str) -> None:
    with pytest.raises(NotFound):
        await harness.backend.blob_path(digest)


async def test_blob_of_nothing_is_a_blob(harness: Harness) -> None:
    digest = await harness.backend.put_blob(chunks(), limit=0)
    assert digest == "sha256:" + hashlib.sha256(b"").hexdigest()
    assert (await harness.backend.blob_path(digest)).read_bytes() == b""


async def test_secrets_are_named_never_shown(harness: Harness) -> None:
    backend = harness.backend
    await backend.put_secret("anna", "token", "one")
    await backend.put_secret("anna", "token", "two")
    await backend.put_secret("anna", "other", "x")
    await backend.put_secret("ben", "his", "y")
    assert await backend.list_secrets("anna") == ["other", "token"]
    assert await backend.list_secrets("nobody") == []
    with pytest.raises(NotFound):
        await backend.delete_secret("anna", "his")
    await backend.delete_secret("anna", "token")
    assert await backend.list_secrets("anna") == ["other"]


async def test_a_secrets_value_is_in_no_answer(harness: Harness) -> None:
    value = "s3cr3t-value-of-anna"
    await harness.backend.put_secret("anna", "token", value)
    job = await harness.create()
    await harness.run(job, ["true"], secrets={"TOKEN": "token"})
    stored = await harness.backend.put_record(record(job.name, job.metadata.uid))
    answers = [await harness.backend.listing(), stored, await harness.backend.list_secrets("anna")]
    assert value.encode() not in msgspec.json.encode(answers)


async def test_another_users_secret_can_not_be_used(harness: Harness) -> None:
    await harness.backend.put_secret("ben", "token", "his")
    job = await harness.create()
    with pytest.raises(NotFound, match="no secret token"):
        await harness.backend.create_tasks([spec(job, 0, ["true"], secrets={"TOKEN": "token"})])


async def test_image_by_name_and_digest(harness: Harness) -> None:
    image = await harness.backend.resolve_image("")
    assert image.digest.startswith("sha256:") and image.name == "default"
    assert await harness.backend.resolve_image("default") == image
    assert await harness.backend.resolve_image(image.digest) == image
    with pytest.raises(InvalidSpec, match="default"):
        await harness.backend.resolve_image("no-such")
    with pytest.raises(InvalidSpec):
        await harness.backend.resolve_image("sha256:" + "0" * 64)


async def test_record_is_found_by_name_uid_and_attempt(harness: Harness) -> None:
    backend = harness.backend
    first = await backend.put_record(record(attempt=1, final=False))
    second = await backend.put_record(record(attempt=2))
    assert first.path and second.path and first.path != second.path
    assert await backend.get_record("anna", "job") == second
    assert await backend.get_record("anna", "uid-1") == second
    assert await backend.get_record("anna", "job", 1) == first
    for namespace, name, attempt in (("anna", "job", 3), ("ben", "job", None), ("anna", "other", None)):
        with pytest.raises(NotFound):
            await backend.get_record(namespace, name, attempt)


async def test_record_written_again_replaces_itself_and_keeps_its_place(harness: Harness) -> None:
    backend = harness.backend
    await backend.put_record(record("one", "uid-1"))
    await backend.put_record(record("two", "uid-2"))
    again = await backend.put_record(record("one", "uid-1", message="told later"))
    assert [each.name for each in await backend.list_records("anna")] == ["two", "one"]
    assert await backend.get_record("anna", "one") == again and again.message == "told later"


async def test_records_outlive_their_taskset(harness: Harness) -> None:
    backend = harness.backend
    job = await harness.create()
    (task,) = await harness.run(job, ["echo", "kept"])
    end = TaskEnd(name=task.name, role="w", index=0, attempt=1, log="logs/w-0-1.log")
    stored = await backend.put_record(record(job.name, job.metadata.uid, tasks=[end]))
    await backend.delete(job.metadata.uid)
    assert await backend.get_record("anna", job.name) == stored
    assert await backend.list_records("anna") == [stored] and await backend.list_records("ben") == []


async def test_records_of_a_name_used_again_are_both_kept(harness: Harness) -> None:
    backend = harness.backend
    first = await backend.put_record(record(uid="11111111-aaaa"))
    second = await backend.put_record(record(uid="22222222-bbbb"))
    assert first.path != second.path or harness.kind == "memory"
    assert await backend.get_record("anna", "job") == second
    assert await backend.get_record("anna", first.uid) == first
    assert await backend.list_records("anna") == [second, first]


async def test_ledger_is_kept(harness: Harness) -> None:
    backend = harness.backend
    assert await backend.get_ledger("usage") == {}
    content = {"asOf": 12.5, "accounts": {"default/anna": {"attempts": 1}}}
    await backend.put_ledger("usage", content)
    content["asOf"] = 0
    assert await backend.get_ledger("usage") == {"asOf": 12.5, "accounts": {"default/anna": {"attempts": 1}}}


async def test_everything_listed_can_be_sent(harness: Harness) -> None:
    job = await harness.create()
    await harness.run(job, ["true"], devices={"virtual": 1})
    listing = await harness.backend.listing()
    assert msgspec.json.decode(msgspec.json.encode(listing), type=type(listing)) == listing
