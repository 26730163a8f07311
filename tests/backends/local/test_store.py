"""The SQLite file: older schema migrated, newer refused, damage told with a way back that works."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from octopus_hub.backends.journal import Batch, IdempotencyKey
from octopus_hub.backends.local import schema
from octopus_hub.backends.local.backend import LocalBackend
from octopus_hub.backends.local.store import BACKUP, NAME, Store
from octopus_hub.model.errors import StateError
from octopus_hub.model.task import Address, Task, TaskState
from octopus_hub.model.taskset import Metadata, TaskSet
from tests.backends.harness import taskset


def row(number: int, **fields: object) -> TaskSet:
    made = taskset(f"job{number}")
    metadata = Metadata(name=made.name, namespace="anna", uid=f"uid-{number}", labels={"note": "x" * 300})
    return msgspec.structs.replace(made, metadata=msgspec.structs.replace(metadata, **fields))


def task(number: int, state: TaskState = TaskState.RUNNING) -> Task:
    return Task(
        name=f"job{number}-w-0-1",
        namespace="anna",
        taskset=f"job{number}",
        taskset_uid=f"uid-{number}",
        role="w",
        index=0,
        attempt=1,
        state=state,
    )


def filled(folder: Path, count: int = 60) -> Store:
    store = Store(folder)
    for number in range(count):
        store.write(Batch(tasksets=[row(number)], tasks=[task(number)], durable=number % 7 == 0))
    return store


def settled(folder: Path, count: int = 60) -> Path:
    """A database whose journal was folded in."""
    store = filled(folder, count)
    store.close()
    return folder / NAME


# --- rows


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    address = {("w", 0): Address(host="127.0.0.1", ports={"main": 20000})}
    key = {("anna", "k"): IdempotencyKey("uid-1", 5.0)}
    store.write(
        Batch(
            tasksets=[row(1), row(2)],
            tasks=[task(1)],
            addresses={"uid-1": address},
            keys=key,
            ledgers={"usage": {"a": 1}},
        )
    )
    store.write(Batch(tasksets=[row(1, version=7)], tasks=[task(1, TaskState.SUCCEEDED)]))
    store.close()
    stored = Store(tmp_path).load()
    assert stored.tasksets == [row(1, version=7), row(2)]
    assert stored.tasks == [task(1, TaskState.SUCCEEDED)]
    assert (stored.addresses, stored.keys, stored.ledgers) == ({"uid-1": address}, key, {"usage": {"a": 1}})


def test_a_batch_is_stored_whole_or_not_at_all(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write(Batch(tasksets=[row(1)]))
    twin = row(2, name="job1")  # the same name under another uid: the table refuses it
    with pytest.raises(StateError):
        store.write(Batch(tasksets=[row(3), twin], tasks=[task(3)], ledgers={"usage": {}}))
    stored = store.load()
    assert stored.tasksets == [row(1)] and stored.tasks == [] and stored.ledgers == {}
    store.write(Batch(gone_tasksets=[row(1)]))
    assert store.load().tasksets == []


def test_each_opening_counts(tmp_path: Path) -> None:
    for expected in (1, 2, 3):
        store = Store(tmp_path)
        assert store.next_epoch() == expected
        store.close()


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    store = filled(tmp_path)
    store.back_up()
    for path in tmp_path.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path


def test_what_was_written_survives_a_killed_engine(tmp_path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from tests.backends.local.test_store import filled
filled(Path({str(tmp_path)!r}))
os.kill(os.getpid(), signal.SIGKILL)
"""
    repository = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=repository, check=False).returncode == -9
    stored = Store(tmp_path).load()
    assert stored.tasksets == [row(number) for number in range(60)] and len(stored.tasks) == 60


# --- schema versions


def older(path: Path, version: int) -> None:
    """Make a database as a program of that schema version left it."""
    with sqlite3.connect(path) as db:
        for number in range(version):
            db.executescript(f"{schema.STEPS[number]} PRAGMA user_version = {number + 1};")
        body = msgspec.json.encode(row(1))
        db.execute("INSERT INTO tasksets VALUES (?, ?, ?, ?)", ("uid-1", "anna", "job1", body))
        db.execute("INSERT INTO facts VALUES ('epoch', '41')")
    db.close()


@pytest.mark.parametrize("version", range(1, schema.VERSION))
def test_an_older_schema_is_migrated_and_a_copy_kept(tmp_path: Path, version: int) -> None:
    older(tmp_path / NAME, version)
    store = Store(tmp_path)
    assert store.load().tasksets == [row(1)] and store.next_epoch() == 42
    assert store.query("SELECT count(*) FROM images") == [(0,)] and store.query("SELECT * FROM addresses") == []
    assert store.query("PRAGMA user_version") == [(schema.VERSION,)]
    store.close()
    with sqlite3.connect(tmp_path / f"octopus.db.v{version}.bak") as copy:
        assert copy.execute("PRAGMA user_version").fetchone() == (version,)
        assert copy.execute("SELECT uid FROM tasksets").fetchall() == [("uid-1",)]


def test_a_migration_cut_short_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    older(tmp_path / NAME, 1)
    with monkeypatch.context() as patch:
        patch.setattr(schema, "STEPS", (schema.STEPS[0], "CREATE TABLE addresses (uid TEXT); NONSENSE;"))
        with pytest.raises(StateError, match="NONSENSE"):
            Store(tmp_path)
    with sqlite3.connect(tmp_path / NAME) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
    assert Store(tmp_path).load().tasksets == [row(1)]


def test_a_newer_schema_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = settled(tmp_path)
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    before = path.read_bytes()
    with pytest.raises(StateError, match=f"version {schema.VERSION + 1}.*newer octopus-hub again, or give another"):
        Store(tmp_path)
    assert path.read_bytes() == before and not (tmp_path / BACKUP).exists()


# --- damage


def follow(error: StateError) -> None:
    """Do what the message says, in a shell, as a user would."""
    (command,) = [part for part in str(error).split(": ") if part.startswith("cd ")]
    subprocess.run(["sh", "-ec", command.partition(";")[0]], check=True)


@pytest.mark.parametrize("seed", range(12))
def test_flipped_bytes_are_found_or_harmless_and_the_way_back_works(tmp_path: Path, seed: int) -> None:
    """Never a traceback, never a silent loss: the rows as they were, or one clear error and a backup to put back."""
    dice, good = random.Random(seed), [row(number) for number in range(60)]
    store = filled(tmp_path)
    store.back_up()
    store.close()
    path = tmp_path / NAME
    data = bytearray(path.read_bytes())
    where = {0: range(16), 1: range(16, 100)}.get(seed, range(100, len(data)))
    for _ in range(1 if seed % 2 else 40):
        data[dice.choice(where)] ^= 1 << dice.randrange(8)
    path.write_bytes(data)
    try:
        store = Store(tmp_path)
        found = store.load().tasksets
        store.close()
    except StateError as error:
        assert "Traceback" not in str(error) and str(path) in str(error)
        if "is damaged" in str(error):
            follow(error)
            store = Store(tmp_path)
            assert store.load().tasksets == good
            assert (tmp_path / f"{NAME}.damaged").exists()
    else:  # a flip in free space, or inside a text: no structure of SQLite or of ours shows it
        assert [each.metadata.uid for each in found] == [each.metadata.uid for each in good]


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"not a database, but long enough " * 200, None])
def test_a_file_cut_or_overwritten(tmp_path: Path, content: bytes | None) -> None:
    store = filled(tmp_path)
    store.back_up()
    store.close()
    path = tmp_path / NAME
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if content is None else content)
    for journal in (f"{NAME}-wal", f"{NAME}-shm"):
        (tmp_path / journal).unlink(missing_ok=True)
    with pytest.raises(StateError, match=r"is damaged.*put the last backup in its place") as caught:
        Store(tmp_path)
    follow(caught.value)
    assert len(Store(tmp_path).load().tasksets) == 60


def test_a_file_that_is_gone_is_no_new_beginning_while_there_is_a_backup(tmp_path: Path) -> None:
    """A silent new beginning would end every running task and write an empty backup over the good one."""
    store = filled(tmp_path)
    store.back_up()
    store.close()
    for path in tmp_path.glob(f"{NAME}*"):
        if path.name != BACKUP:
            path.unlink()
    for _ in range(2):
        with pytest.raises(StateError, match=r"empty.*remove .* as well to begin anew") as caught:
            Store(tmp_path)
    follow(caught.value)
    assert len(Store(tmp_path).load().tasksets) == 60


def test_a_row_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    store = filled(tmp_path)
    store.query("UPDATE tasksets SET body = substr(body, 1, 100) WHERE uid = 'uid-7'")
    with pytest.raises(StateError, match="uid-7"):
        store.load()


def test_without_a_backup_the_way_out_is_another_one(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"garbage" * 1000)
    with pytest.raises(StateError, match="no backup: move the file away"):
        Store(tmp_path)


def test_a_damaged_database_never_replaces_the_backup(tmp_path: Path) -> None:
    store = filled(tmp_path)
    store.back_up()
    backup = (tmp_path / BACKUP).read_bytes()
    store.close()
    data = bytearray((tmp_path / NAME).read_bytes())
    data[4096:8192] = os.urandom(4096)
    (tmp_path / NAME).write_bytes(data)
    with pytest.raises(StateError):
        store = Store(tmp_path)
        store.back_up()
    assert (tmp_path / BACKUP).read_bytes() == backup


async def test_an_engine_that_meets_damage_says_so_and_opens_after_the_way_back(tmp_path: Path) -> None:
    backend = LocalBackend(tmp_path / "state")
    await backend.open()
    made = await backend.create(taskset())
    await backend.close()
    backend = LocalBackend(tmp_path / "state")
    await backend.open()  # makes the backup that holds the TaskSet
    await backend.close()
    path = tmp_path / "state" / NAME
    path.write_bytes(b"\xff" * path.stat().st_size)
    with pytest.raises(StateError, match="is damaged") as caught:
        await LocalBackend(tmp_path / "state").open()
    follow(caught.value)
    backend = LocalBackend(tmp_path / "state")
    await backend.open()  # the lock was given back by the failed opening
    assert (await backend.listing()).tasksets == [made]
    await backend.close()


# --- a full disk


def test_a_full_disk_is_told_and_nothing_is_half_stored(tmp_path: Path) -> None:
    code = f"""
import resource
from pathlib import Path
from octopus_hub.backends.journal import Batch
from octopus_hub.model.errors import StateError
from tests.backends.local.test_store import filled, row
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = filled(Path({str(tmp_path)!r}), 5)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
count = 5
try:
    for count in range(5, 100_000):
        store.write(Batch(tasksets=[row(count)]))
except StateError as error:
    print(count, error)
    try:
        store.write(Batch(tasksets=[row(count)]))
    except StateError:
        print("still")
"""
    repository = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True)
    line, still = done.stdout.strip().splitlines()
    count, _, words = line.partition(" ")
    assert "nothing of this was stored" in words and "free some space" in words and still == "still"
    assert [each.metadata.uid for each in Store(tmp_path).load().tasksets] == [f"uid-{n}" for n in range(int(count))]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_really_full_disk(tmp_path: Path) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(mount)], check=False, capture_output=True
    ).returncode:
        pytest.skip("mounts are not allowed here")
    try:
        store = filled(mount, 3)
        (mount / "ballast").write_bytes(b"x" * (shutil.disk_usage(mount).free - 20_000))
        with pytest.raises(StateError, match="nothing of this was stored"):
            for number in range(3, 1000):
                store.write(Batch(tasksets=[row(number)]))
        (mount / "ballast").unlink()
        store.write(Batch(tasksets=[row(2000)]))
        assert store.load().tasksets[-1] == row(2000)
        store.close()
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=True)
