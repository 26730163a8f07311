"""Secrets of users, encrypted at rest with a key that lies in the state folder beside the database.

The key protects copies of the database (backups), not against the account that owns the folder. Values leave only
through :meth:`Vault.values`, for tasks that name them. Called by the local backend.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

from octopus_hub.backends.local.statefolder import disk_full
from octopus_hub.backends.local.store import Store
from octopus_hub.model.errors import NotFound, StateError, TooLarge

KEY = "secrets.key"
LIMIT_BYTES = 64 << 10


class Vault:
    """The secrets of every namespace."""

    def __init__(self, folder: Path, store: Store) -> None:
        self._path = folder / KEY
        self._store = store
        self._fernet: Fernet | None = None

    def put(self, namespace: str, name: str, value: str) -> None:
        """Store a secret, replacing one of that name."""
        data = value.encode()
        if len(data) > LIMIT_BYTES:
            raise TooLarge(f"secret {name} has {len(data)} bytes; at most {LIMIT_BYTES} are kept", limit=LIMIT_BYTES)
        # bound to its name: a row copied to another name or user does not open there
        token = self._key().encrypt(_label(namespace, name) + data)
        with self._store.transaction(durable=True) as db:
            db.execute("INSERT OR REPLACE INTO secrets VALUES (?, ?, ?)", (namespace, name, token))

    def names(self, namespace: str) -> list[str]:
        """Return the names of a namespace's secrets."""
        return [
            row[0]
            for row in self._store.query("SELECT name FROM secrets WHERE namespace = ? ORDER BY name", (namespace,))
        ]

    def delete(self, namespace: str, name: str) -> None:
        """Remove a secret; raises NotFound."""
        with self._store.transaction(durable=True) as db:
            cursor = db.execute("DELETE FROM secrets WHERE namespace = ? AND name = ?", (namespace, name))
            if not cursor.rowcount:
                raise _unknown(name)

    def values(self, namespace: str, names: Mapping[str, str]) -> dict[str, str]:
        """Return variable -> value for variable -> secret name; raises NotFound, StateError (another key)."""
        return {variable: self._open(namespace, name) for variable, name in names.items()}

    def _open(self, namespace: str, name: str) -> str:
        rows = self._store.query("SELECT body FROM secrets WHERE namespace = ? AND name = ?", (namespace, name))
        if not rows:
            raise _unknown(name)
        label = _label(namespace, name)
        try:
            plain = self._key().decrypt(rows[0][0])
        except InvalidToken:
            plain = b""
        if not plain.startswith(label):
            raise StateError(
                f"secret {name} can't be read with {self._path}; put the right key back, or set the secret again"
            )
        return plain[len(label) :].decode()

    def _key(self) -> Fernet:
        if self._fernet is None:
            try:
                self._fernet = Fernet(self._read_or_make())
            except ValueError:
                raise StateError(
                    f"{self._path} is not a key; put the right one back, or remove it and set every secret again"
                ) from None
        return self._fernet

    def _read_or_make(self) -> bytes:
        try:
            return self._path.read_bytes().strip()
        except FileNotFoundError:
            pass
        except OSError as error:
            raise disk_full(self._path, error) from error
        key = Fernet.generate_key()
        temporary = self._path.with_name(KEY + ".new")
        try:
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(fd, "wb") as file:
                file.write(key)
                file.flush()
                os.fsync(fd)
            os.rename(temporary, self._path)
        except OSError as error:
            raise disk_full(self._path.parent, error) from error
        return key


def _label(namespace: str, name: str) -> bytes:
    return f"{namespace}\0{name}\0".encode()


def _unknown(name: str) -> NotFound:
    return NotFound(f"there is no secret {name}; set it with `octopus secrets set {name}`, or leave it out")
