"""What the state folder keeps beside rows: blobs and their pruning, secrets, environments, orphans' folders."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from octopus_hub.backends.local.backend import LocalBackend
from octopus_hub.backends.local.blobs import Blobs
from octopus_hub.backends.local.config import Config
from octopus_hub.backends.local.images import Images
from octopus_hub.backends.local.store import NAME, Store
from octopus_hub.backends.local.vault import KEY, Vault
from octopus_hub.model.errors import InvalidSpec, NotFound, StateError, TooLarge
from octopus_hub.model.record import OutputFile, TaskEnd
from octopus_hub.model.task import TaskState
from octopus_hub.model.taskset import Workspace
from tests.backends.harness import Harness, chunks, spec
from tests.backends.test_contract_things import record


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[Harness]:
    harness = Harness("local", tmp_path)
    await harness.backend.open()
    yield harness
    await harness.close()


async def reopened(local: Harness) -> LocalBackend:
    await local.backend.close()
    local.backend = local.make()
    await local.backend.open()
    assert isinstance(local.backend, LocalBackend)
    return local.backend


# --- blobs


async def test_pruning_keeps_what_records_and_tasksets_need(local: Harness) -> None:
    backend = local.backend
    assert isinstance(backend, LocalBackend)
    code, output, waiting, loose = [await backend.put_blob(chunks(text), limit=9) for text in (b"a", b"b", b"c", b"dd")]
    outputs = [OutputFile(path="w-0/out.csv", digest=output, size=1)]
    stored = await backend.put_record(record(workspace=code, outputs=outputs))
    await local.create(workspace=Workspace(digest=waiting))
    assert await backend.prune() == (0, 0), "a blob that just came may be named any moment"
    assert await backend.prune(young_seconds=0) == (1, 2)
    for digest in (code, output, waiting):
        await backend.blob_path(digest)
    with pytest.raises(NotFound):
        await backend.blob_path(loose)
    assert Path(stored.path, "outputs", "w-0", "out.csv").read_bytes() == b"b"


async def test_a_record_that_can_not_be_read_stops_the_pruning(local: Harness) -> None:
    backend = local.backend
    assert isinstance(backend, LocalBackend)
    digest = await backend.put_blob(chunks(b"precious"), limit=9)
    stored = await backend.put_record(record(workspace=digest))
    Path(stored.path, "record.json").write_bytes(b"{garbage")
    with pytest.raises(StateError, match="can't be read"):
        await backend.prune(young_seconds=0)
    assert (await backend.blob_path(digest)).read_bytes() == b"precious"


async def test_uploads_cut_short_leave_nothing(tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"half"
        raise ConnectionError("the client went away")

    blobs = Blobs(tmp_path)
    blobs.open()
    with pytest.raises(ConnectionError):
        await blobs.put(broken(), digest=None, limit=100)
    with pytest.raises(TooLarge):
        await blobs.put(chunks(b"x" * 101), digest=None, limit=100)
    (blobs.root / "incoming" / "left-by-a-crash").write_bytes(b"x")
    blobs.open()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


async def test_blobs_can_not_be_changed_by_mistake(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    blobs.open()
    path = blobs.path(await blobs.put(chunks(b"x"), digest=None, limit=1))
    assert stat.S_IMODE(path.stat().st_mode) == 0o400


# --- secrets


async def test_a_secret_lies_nowhere_in_the_clear(local: Harness) -> None:
    value = "s3cr3t-do-not-leak"
    await local.backend.put_secret("anna", "token", value)
    job = await local.create()
    (task,) = await local.run(job, ["sh", "-c", "printf %s ${#TOKEN}"], secrets={"TOKEN": "token"})
    assert await local.log((task.namespace, task.name)) == str(len(value)).encode(), "the task itself gets it"
    end = TaskEnd(name=task.name, role="w", index=0, attempt=1, log="logs/w-0-1.log")
    await local.backend.put_record(record(job.name, job.metadata.uid, tasks=[end]))
    await local.backend.close()
    for path in local.folder.rglob("*"):
        if path.is_file() and not path.is_fifo():
            assert value.encode() not in path.read_bytes(), path
    assert (local.folder / KEY).stat().st_mode & 0o777 == 0o600
    local.backend = local.make()
    await local.backend.open()
    assert await local.backend.list_secrets("anna") == ["token"]


async def test_a_deleted_secret_leaves_the_file(local: Harness) -> None:
    await local.backend.put_secret("anna", "token", "x" * 100)
    store = local.backend._store  # type: ignore[attr-defined]
    (body,) = store.query("SELECT body FROM secrets")[0]
    await local.backend.delete_secret("anna", "token")
    await local.backend.close()
    assert bytes(body[:60]) not in (local.folder / NAME).read_bytes()
    local.backend = local.make()
    await local.backend.open()


def test_secrets_do_not_open_with_another_key_or_under_another_name(tmp_path: Path) -> None:
    store = Store(tmp_path)
    vault = Vault(tmp_path, store)
    vault.put("anna", "token", "hers")
    assert vault.values("anna", {"T": "token"}) == {"T": "hers"}
    with store.transaction() as db:  # a row copied to another user
        db.execute("INSERT INTO secrets SELECT 'ben', name, body FROM secrets")
    with pytest.raises(StateError, match="can't be read"):
        vault.values("ben", {"T": "token"})
    (tmp_path / KEY).unlink()
    with pytest.raises(StateError, match="put the right key back, or set the secret again"):
        other = Vault(tmp_path, store)
        other.put("anna", "second", "x")
        other.values("anna", {"T": "token"})
    (tmp_path / KEY).write_bytes(b"not a key")
    with pytest.raises(StateError, match="is not a key"):
        Vault(tmp_path, store).values("anna", {"T": "token"})


def test_a_secret_is_bounded(tmp_path: Path) -> None:
    vault = Vault(tmp_path, Store(tmp_path))
    with pytest.raises(TooLarge):
        vault.put("anna", "big", "é" * 40_000)
    assert vault.names("anna") == []


# --- environments


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images") / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return folder


def install(environment: Path, name: str, version: str) -> Path:
    (packages,) = environment.glob("lib/python*/site-packages")
    info = packages / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return info


async def test_the_digest_changes_when_a_package_does(environment: Path, tmp_path: Path) -> None:
    images = Images({"research": str(environment)}, Store(tmp_path), clock=lambda: 1.0)
    before = await images.resolve("research")
    assert await images.resolve("research") == before
    info = install(environment, "octopus-demo", "1.0")
    after = await images.resolve("research")
    assert after.digest != before.digest and "octopus-demo==1.0" in after.environment.lock
    assert await images.resolve(before.digest) == before, "a record can still be described"
    with pytest.raises(InvalidSpec, match=r"changed after this was submitted \(octopus-demo==1.0\)"):
        await images.paths("research", before.digest)
    paths = await images.paths("research", after.digest)
    assert paths.bin == str(environment / "bin") and paths.env["VIRTUAL_ENV"] == str(environment)
    (info / "METADATA").unlink()
    info.rmdir()
    assert (await images.resolve("research")).digest == before.digest


async def test_images_that_can_not_be_used(environment: Path, tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no such module >&2\nexit 3\n")
    broken.chmod(0o755)
    configured = {"research": str(environment), "gone": str(tmp_path / "no-such"), "broken": str(broken)}
    images = Images(configured, Store(tmp_path), clock=lambda: 1.0)
    for name, words in (
        ("reserch", r"no image reserch; did you mean research\?"),
        ("gone", "no interpreter at .*correct images: in octopus.yaml"),
        ("broken", "fails: no such module"),
        ("sha256:" + "0" * 64, "no environment of this machine ever had"),
    ):
        with pytest.raises(InvalidSpec, match=words):
            await images.resolve(name)


async def test_a_task_runs_in_the_environment_it_names(environment: Path, tmp_path: Path) -> None:
    harness = Harness("local", tmp_path)
    harness.backend = LocalBackend(harness.folder, config=Config(images={"research": str(environment)}), descriptors=())
    await harness.backend.open()
    try:
        image = await harness.backend.resolve_image("research")
        job = await harness.create()
        fields: dict[str, Any] = {"image": image.digest, "image_name": "research"}
        (task,) = await harness.run(job, ["python", "-c", "import sys; print(sys.prefix)"], **fields)
        assert (await harness.log((task.namespace, task.name))).decode().strip() == str(environment)
        with pytest.raises(InvalidSpec, match="changed after this was submitted"):
            await harness.backend.create_tasks(
                [spec(job, 1, ["true"], image="sha256:" + "0" * 64, image_name="research")]
            )
    finally:
        await harness.close()


# --- the engine opened again


async def test_everything_is_there_after_opening_again(local: Harness) -> None:
    backend = local.backend
    job = await local.create(key="k")
    addresses = await backend.reserve(job, [("w", 0)], {"w": ["main"]})
    (name,) = await local.started(job, ["sh", "-c", "echo on; sleep 1000"], devices={"virtual": 2})
    (before,) = await local.wait(name, states=(TaskState.RUNNING,))
    digest = await backend.put_blob(chunks(b"x"), limit=1)
    await backend.put_ledger("usage", {"a": 1})
    stored = await backend.put_record(record())
    again = await reopened(local)
    assert (await again.listing()).tasksets == [job]
    assert (await local.create(key="k")) == job
    assert await again.reserve(job, [("w", 0)], {"w": ["main"]}) == addresses
    (row,) = await local.wait(name, states=(TaskState.RUNNING,))
    assert (row.devices, row.created_at) == (before.devices, before.created_at)
    assert await again.blob_path(digest) and await again.get_ledger("usage") == {"a": 1}
    assert await again.get_record("anna", "job") == stored
    async with asyncio.timeout(60):
        while await local.log(name) != b"on\n":  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_records_are_found_again_without_their_index(local: Harness) -> None:
    stored = await local.backend.put_record(record())
    with local.backend._store.transaction() as db:  # type: ignore[attr-defined]
        db.execute("DELETE FROM records")
    again = await reopened(local)
    assert await again.get_record("anna", "job") == stored


# --- orphans: an older database was put back


async def test_what_no_row_knows_is_ended_and_swept(local: Harness) -> None:
    job, kept = await local.create("lost"), await local.create("kept")
    (name,) = await local.started(job, ["sleep", "1000"])
    await local.wait(name, states=(("Running"),))  # type: ignore[arg-type]
    await local.run(kept, ["true"])
    folder = local.folder / "tasks" / "anna" / "lost"
    identity = msgspec.json.decode((folder / name[1] / "parent.json").read_bytes())
    with local.backend._store.transaction() as db:  # type: ignore[attr-defined]
        db.execute("DELETE FROM tasks WHERE namespace = 'anna' AND taskset_uid = ?", (job.metadata.uid,))
        db.execute("DELETE FROM tasksets WHERE uid = ?", (job.metadata.uid,))
    again = await reopened(local)
    assert [each.name for each in (await again.listing()).tasksets] == ["kept"]
    async with asyncio.timeout(60):
        while os.path.exists(f"/proc/{identity['pid']}") and not _zombie(identity["pid"]):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await reopened(local)
    assert not folder.exists() and (local.folder / "tasks" / "anna" / "kept").is_dir()


def _zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True
