"""The SQLite file of the local backend: opened under a lock, checked, backed up; batches of rows in, rows out.

Rows hold the wire form (JSON) of the objects. Calls are short and synchronous, in the loop's thread. Every SQLite
error leaves as a StateError with the way out. Used by the backend, the vault, the images and the record index; nobody
else opens the file.

Durability: WAL. ``synchronous=NORMAL`` survives the death of the engine at any moment; ``FULL``, switched on for
batches that say ``durable`` (submissions, phase changes, intents, deletions, secrets, records), survives a power cut
too, for one fsync each. What a power cut may take (rows of tasks, counts) is learned again from tasks' folders.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from octopus_hub.backends.journal import Addresses, Batch, IdempotencyKey, Stored
from octopus_hub.backends.local import schema
from octopus_hub.backends.local.statefolder import disk_full
from octopus_hub.model.errors import StateError
from octopus_hub.model.queue import Cohort, Queue
from octopus_hub.model.reservation import Reservation
from octopus_hub.model.task import Address, Task
from octopus_hub.model.taskset import TaskSet

NAME = "octopus.db"
BACKUP = "octopus.db.bak"
RESCUED = "octopus.db.rescued"

_encode = msgspec.json.Encoder().encode
_decode_taskset = msgspec.json.Decoder(TaskSet).decode
_decode_task = msgspec.json.Decoder(Task).decode
_decode_addresses = msgspec.json.Decoder(list[tuple[str, int, Address]]).decode
_decode_objects = {each.__name__: msgspec.json.Decoder(each).decode for each in (Reservation, Queue, Cohort)}
_decode_any = msgspec.json.Decoder(dict[str, Any]).decode


class Store:
    """The open database of a state folder whose lock is held.

    Parameters
    ----------
    folder : Path
        The state folder.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self.backup_path = folder / BACKUP
        self._durable = False
        self._rescued = ""
        with self.errors():
            self.path.touch(mode=0o600)
            self._db = sqlite3.connect(self.path, isolation_level=None, cached_statements=64)
            try:
                self._prepare()
                self._inode = self.path.stat().st_ino
            except BaseException:
                self._db.close()
                raise

    def _prepare(self) -> None:
        found = schema.version(self._db)
        if found > schema.VERSION:
            schema.migrate(self._db, str(self.path))  # refuses, before anything is written
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=5000", "secure_delete=ON"):
            self._db.execute(f"PRAGMA {pragma}")
        self._check(self._db)
        if found == 0 and self.backup_path.exists():
            raise self._damaged(f"it is empty; remove {BACKUP} as well to begin anew")
        if 0 < found < schema.VERSION:
            self.back_up(self.path.with_name(f"octopus.db.v{found}.bak"))  # what an older program could still read
        schema.migrate(self._db, str(self.path))

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # --- rows
    def next_epoch(self) -> int:
        """Count this opening and return its number."""
        with self.transaction(durable=True) as db:
            row = db.execute("SELECT value FROM facts WHERE name = 'epoch'").fetchone()
            epoch = int(row[0]) + 1 if row else 1
            db.execute("INSERT OR REPLACE INTO facts VALUES ('epoch', ?)", (str(epoch),))
        return epoch

    def load(self) -> Stored:
        """Return all rows; one that can't be read is damage, told with its name."""
        stored = Stored()
        with self.errors():
            rows = self._db.execute
            for uid, body in rows("SELECT uid, body FROM tasksets ORDER BY rowid"):
                stored.tasksets.append(self._decoded(_decode_taskset, body, f"TaskSet {uid}"))
            for name, body in rows("SELECT name, body FROM tasks ORDER BY rowid"):
                stored.tasks.append(self._decoded(_decode_task, body, f"task {name}"))
            for uid, body in rows("SELECT uid, body FROM addresses"):
                entries = self._decoded(_decode_addresses, body, f"addresses of {uid}")
                stored.addresses[uid] = {(role, index): address for role, index, address in entries}
            for namespace, key, uid, at in rows("SELECT namespace, key, uid, at FROM idempotency_keys ORDER BY at"):
                stored.keys[namespace, key] = IdempotencyKey(uid, at)
            for name, body in rows("SELECT name, body FROM ledgers"):
                stored.ledgers[name] = self._decoded(_decode_any, body, f"ledger {name}")
            for kind, name, body in rows("SELECT kind, name, body FROM objects"):
                stored.objects.append(self._decoded(_decode_objects[kind], body, f"{kind} {name}"))
        return stored

    def write(self, batch: Batch) -> None:
        """Store a batch, all or nothing."""
        with self.transaction(durable=batch.durable) as db:
            if batch.expired_before is not None:
                db.execute("DELETE FROM idempotency_keys WHERE at <= ?", (batch.expired_before,))
            for (namespace, key), made in batch.keys.items():
                values = (namespace, key, made.uid, made.at)
                db.execute("INSERT OR REPLACE INTO idempotency_keys VALUES (?, ?, ?, ?)", values)
            for taskset in batch.tasksets:
                row = (taskset.metadata.uid, taskset.metadata.namespace, taskset.name, _encode(taskset))
                db.execute(
                    "INSERT INTO tasksets VALUES (?, ?, ?, ?) ON CONFLICT (uid) DO UPDATE SET body = excluded.body", row
                )
            db.executemany(
                "INSERT INTO tasks VALUES (?, ?, ?, ?) ON CONFLICT (namespace, name) DO UPDATE SET "
                "taskset_uid = excluded.taskset_uid, body = excluded.body",
                [(task.namespace, task.name, task.taskset_uid, _encode(task)) for task in batch.tasks],
            )
            db.executemany(
                "DELETE FROM tasks WHERE namespace = ? AND name = ?",
                [(task.namespace, task.name) for task in batch.gone_tasks],
            )
            for uid, rows in batch.addresses.items():
                self._write_addresses(db, uid, rows)
            for name, content in batch.ledgers.items():
                db.execute("INSERT OR REPLACE INTO ledgers VALUES (?, ?)", (name, _encode(content)))
            for taskset in batch.gone_tasksets:
                db.execute("DELETE FROM tasksets WHERE uid = ?", (taskset.metadata.uid,))
            db.executemany(
                "INSERT OR REPLACE INTO objects VALUES (?, ?, ?)",
                [(each.kind, each.name, _encode(each)) for each in batch.objects],
            )
            db.executemany(
                "DELETE FROM objects WHERE kind = ? AND name = ?",
                [(each.kind, each.name) for each in batch.gone_objects],
            )

    def _write_addresses(self, db: sqlite3.Connection, uid: str, rows: Addresses | None) -> None:
        if rows is None:
            db.execute("DELETE FROM addresses WHERE uid = ?", (uid,))
        else:
            body = _encode([(role, index, address) for (role, index), address in rows.items()])
            db.execute("INSERT OR REPLACE INTO addresses VALUES (?, ?)", (uid, body))

    # --- what vault, images and records use
    @contextlib.contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """Run statements as one transaction."""
        with self.errors():
            self._still_there()
            if durable != self._durable:
                self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
                self._durable = durable
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):  # a full disk has rolled it back already
                    self._db.execute("ROLLBACK")
                raise

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a SELECT."""
        with self.errors():
            return self._db.execute(sql, values).fetchall()

    def _still_there(self) -> None:
        """Refuse to write rows that no later start would find: the file was removed or replaced under us."""
        try:
            if self.path.stat().st_ino == self._inode:
                return
        except FileNotFoundError:
            pass
        if not self._rescued:
            earlier = self.path.with_name(RESCUED).exists()
            name = f"{RESCUED}-{os.getpid()}" if earlier else RESCUED
            target = self.path.with_name(name)
            target.touch(mode=0o600)
            with contextlib.closing(sqlite3.connect(target)) as copy:
                self._db.backup(copy)  # the kernel keeps the file for us until we close it
            self._rescued = name
        raise StateError(
            f"{self.path} was removed or replaced while octopus ran, nothing of this was stored; what it held is in "
            f"{self._rescued}: stop octopus, then cd {self.path.parent} && rm -f {NAME}-wal {NAME}-shm && "
            f"mv {self._rescued} {NAME}"
        )

    # --- backup
    def back_up(self, target: Path | None = None) -> None:
        """Check the database and copy it, whole or not at all; on a connection of its own, so from any thread."""
        target = target or self.backup_path
        temporary = target.with_name(target.name + ".new")
        with self.errors():
            temporary.unlink(missing_ok=True)
            temporary.touch(mode=0o600)
            try:
                with (
                    contextlib.closing(sqlite3.connect(f"{self.path.as_uri()}?mode=ro", uri=True)) as source,
                    contextlib.closing(sqlite3.connect(temporary)) as copy,
                ):
                    self._check(source)
                    source.backup(copy)
                temporary.replace(target)
            finally:
                temporary.unlink(missing_ok=True)

    def _check(self, db: sqlite3.Connection) -> None:
        verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise self._damaged(" ".join(str(verdict).split()))

    # --- errors
    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Turn what SQLite and the file system say into StateError."""
        try:
            yield
        except sqlite3.Error as error:
            raise self._translated(error) from error
        except OSError as error:
            raise disk_full(self.path.parent, error) from error

    def _translated(self, error: sqlite3.Error) -> StateError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            return disk_full(self.path.parent, error)
        if code == sqlite3.SQLITE_IOERR:
            return StateError(
                f"the disk that holds {self.path} refuses reads or writes (full, over a size limit, or failing), nothing of "
                "this was stored; free some space or look after the disk, and try again"
            )
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return self._damaged(str(error))
        return StateError(
            f"{self.path} can't be used ({error}); see that nobody else opens or moves it, then try again"
        )

    def _decoded(self, decode: Callable[[bytes], Any], body: bytes, what: str) -> Any:
        try:
            return decode(body)
        except (msgspec.MsgspecError, TypeError) as error:
            raise self._damaged(f"{what}: {error}") from error

    def _damaged(self, detail: str) -> StateError:
        back = "there is no backup: move the file away to begin with an empty one; records and outputs stay in records/"
        if self.backup_path.exists():
            back = (
                f"stop octopus and put the last backup in its place: cd {self.path.parent} && mv {NAME} {NAME}.damaged "
                f"&& rm -f {NAME}-wal {NAME}-shm && cp {BACKUP} {NAME}; what was submitted since is lost, records are not"
            )
        return StateError(f"{self.path} is damaged ({detail}); {back}", backup=str(self.backup_path))
