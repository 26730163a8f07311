"""Run records as files, ``records/{namespace}/{name}/{attempt}/``, found through an index in the database.

The files are the records: they outlive the TaskSet, and the index can be made again from them. A folder belongs to one
TaskSet; a later one of the same name gets a folder with a part of its uid. Called by the local backend.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import logging
import os
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import msgspec

from octopus_hub.backends.base import Beside
from octopus_hub.backends.local.prepare import safe_part
from octopus_hub.backends.local.statefolder import disk_full
from octopus_hub.backends.local.store import Store
from octopus_hub.model.errors import InvalidSpec, NotFound, OctopusError, StateError
from octopus_hub.model.record import Record, from_json, to_json

FILE = "record.json"
WORKSPACE = "workspace.tar.gz"
ReadLog = Callable[[str, str], AsyncIterator[bytes]]

_log = logging.getLogger(__name__)


class Records:
    """The records of a state folder.

    Parameters
    ----------
    blob_path : callable
        File of a blob by digest; raises NotFound.
    read_log : callable
        The kept log of a task, by namespace and task name.
    """

    def __init__(
        self,
        folder: Path,
        store: Store,
        *,
        blob_path: Callable[[str], Path],
        read_log: ReadLog,
        clock: Callable[[], float],
    ) -> None:
        self.root = folder / "records"
        self._store = store
        self._blob_path = blob_path
        self._read_log = read_log
        self._clock = clock

    async def put(self, record: Record, beside: Beside | None = None) -> Record:
        """Store a record with its outputs, logs and workspace beside it; ``record.json`` comes last, replaced whole."""
        safe_part(record.namespace)
        folder = self._folder(record)
        stored = msgspec.structs.replace(record, path=str(folder))
        try:
            for part in (folder.parent.parent.parent, folder.parent.parent, folder.parent, folder):
                part.mkdir(exist_ok=True, mode=0o700)  # one by one: pathlib gives parents the default mode
            self._place_outputs(stored, folder / "outputs")
            await self._place_logs(stored, folder)
            self._place_workspace(stored, folder / WORKSPACE)
            for name, content in (await asyncio.to_thread(beside, stored) if beside else {}).items():
                target = folder.joinpath(*map(safe_part, name.split("/")))
                target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                write_whole(target, content)
            write_whole(folder / FILE, to_json(stored))
        except OSError as error:
            raise disk_full(self.root, error) from error
        self._index(stored, self._clock())
        return stored

    async def list(self, namespace: str | None) -> list[Record]:
        """Return a namespace's (None: all) records, newest first; one that can't be read is left out and logged."""
        rows = self._store.query(
            "SELECT folder FROM records WHERE namespace = ? OR ? IS NULL ORDER BY at DESC, rowid DESC",
            (namespace, namespace),
        )
        return [*await asyncio.to_thread(self._readable, [row[0] for row in rows])]  # many large ones take seconds

    def _readable(self, folders: Sequence[str]) -> Sequence[Record]:
        found = []
        for folder in folders:
            try:
                found.append(self._read(folder))
            except OctopusError as error:
                _log.warning("a record is left out of the list: %s", error)
        return found

    def get(self, namespace: str, name: str, attempt: int | None = None) -> Record:
        """Return the newest record of a TaskSet's name or uid, or that of an attempt; raises NotFound."""
        rows = self._store.query(
            "SELECT folder FROM records WHERE namespace = ? AND (name = ? OR uid = ?) AND (? IS NULL OR attempt = ?) "
            "ORDER BY at DESC, rowid DESC LIMIT 1",
            (namespace, name, name, attempt, attempt),
        )
        if not rows:
            which = f", attempt {attempt}" if attempt is not None else ""
            raise NotFound(f"there is no record of {name}{which}; octopus records shows those that exist")
        return self._read(rows[0][0])

    def referenced(self) -> set[str]:
        """Return the digests of blobs that records need."""
        digests: set[str] = set()
        for (folder,) in self._store.query("SELECT folder FROM records"):
            try:
                record = self._read(folder)
            except NotFound:
                continue  # removed by hand; one that can't be read stops the prune instead
            digests.update(output.digest for output in record.outputs)
            if record.workspace:
                digests.add(record.workspace)
        return digests

    def reindex(self) -> int:
        """Index records whose rows are lost (an older backup was put back); returns how many."""
        known = {row[0] for row in self._store.query("SELECT folder FROM records")}
        count = 0
        for path in self.root.glob(f"*/*/*/{FILE}"):
            folder = str(path.parent.relative_to(self.root))
            if folder not in known:
                with contextlib.suppress(OctopusError):
                    record = self._read(folder)
                    self._index(record, record.finished_at or path.stat().st_mtime, folder)
                    count += 1
        return count

    def _index(self, record: Record, at: float, folder: str | None = None) -> None:
        folder = folder or str(Path(record.path).relative_to(self.root))
        with self._store.transaction(durable=True) as db:
            db.execute(  # written again (a repeated step), a record keeps its place in the order
                "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (uid, attempt) DO UPDATE SET folder = excluded.folder",
                (record.uid, record.attempt, record.namespace, record.name, folder, at),
            )

    def _folder(self, record: Record) -> Path:
        """Return where the record goes: one folder per TaskSet, never another's of the same name."""
        rows = self._store.query("SELECT folder FROM records WHERE uid = ? LIMIT 1", (record.uid,))
        base = self.root / safe_part(record.namespace)
        if rows:
            return self.root / Path(rows[0][0]).parent / str(record.attempt)
        place = base / safe_part(record.name)
        if any(_uid(path) != record.uid for path in place.glob(f"*/{FILE}")):
            place = base / f"{record.name}-{safe_part(record.uid[:8])}"
        return place / str(record.attempt)

    def _read(self, folder: str) -> Record:
        path = self.root / folder / FILE
        try:
            record = from_json(path.read_bytes())
        except FileNotFoundError:
            raise NotFound(f"the record {path} was removed") from None
        except (OSError, InvalidSpec) as error:
            raise StateError(f"the record {path} can't be read ({error}); restore the file from a copy") from error
        return msgspec.structs.replace(record, path=str(path.parent))  # where it lies now, should the folder have moved

    def _place_outputs(self, record: Record, folder: Path) -> None:
        for output in record.outputs:
            target = folder.joinpath(*map(safe_part, output.path.split("/")))
            try:
                target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                _link(self._blob_path(output.digest), target)
            except OSError as error:
                if error.errno != errno.ENAMETOOLONG:
                    raise
                _log.warning("%s of %s is kept by its digest only: its path is too long", output.path, record.name)

    def _place_workspace(self, record: Record, target: Path) -> None:
        """Put the code beside the record, so that the folder alone can run again; a pruned one is no reason to fail."""
        if record.workspace:
            with contextlib.suppress(NotFound):
                _link(self._blob_path(record.workspace), target)

    async def _place_logs(self, record: Record, folder: Path) -> None:
        for task in record.tasks:
            if not task.log:
                continue
            target = folder.joinpath(*map(safe_part, task.log.split("/")))
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            temporary = _beside(target)
            written = 0
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                async for chunk in self._read_log(record.namespace, task.name):
                    written += file.write(chunk)
            if written or not target.exists():  # repeated after the task's folder went: what was kept stays
                os.replace(temporary, target)
            temporary.unlink(missing_ok=True)


def _link(source: Path, target: Path) -> None:
    """Put a blob's file at another place, too."""
    temporary = _beside(target)
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)  # blobs are read-only, so one copy does for both
    except OSError:
        shutil.copyfile(source, temporary)
    os.replace(temporary, target)
    temporary.unlink(missing_ok=True)  # renaming one link onto another of the same file leaves both


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file, durable, readable by its owner only."""
    temporary = _beside(path)
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _beside(target: Path) -> Path:
    """Return a name for the file until it is whole: always the same one, and short where the target's is not."""
    return target.with_name(f".{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]}.new")


def _uid(path: Path) -> str:
    try:
        return from_json(path.read_bytes()).uid
    except (OSError, InvalidSpec):
        return ""  # somebody's, and not ours
