"""Receives the outputs of a run: an archive is unpacked into a folder, each file checked against the record's digest.

Trusts neither names nor links of the archive. Called by the two clients.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tarfile
import tempfile
import uuid
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

import msgspec

from octopus_hub.client.failures import LocalFileError
from octopus_hub.model.errors import Unavailable
from octopus_hub.model.record import Record

Paths = list[Path]
_CHUNK_BYTES = 1 << 20


class Receiver:
    """Collects the archive's bytes, then unpacks them."""

    def __init__(self, record: Record, folder: Path, spool: IO[bytes]) -> None:
        self._expected = {file.path: file for file in record.outputs}
        self._folder = folder
        self._spool = spool

    def write(self, chunk: bytes) -> None:
        """Keep some of the archive."""
        self._spool.write(chunk)

    def unpack(self) -> list[Path]:
        """Write the files; returns their paths. Raises Unavailable where content and record differ."""
        self._spool.seek(0)
        written: list[Path] = []
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tarfile.open(fileobj=self._spool, mode="r:gz") as tar:
                for member in tar:
                    if member.isreg():
                        written.append(self._file(tar, member))
        except (tarfile.TarError, EOFError, zlib.error) as error:
            raise Unavailable(f"the outputs came damaged ({error}); download them again") from error
        except OSError as error:
            if error.errno is None:  # gzip's own
                raise Unavailable(f"the outputs came damaged ({error}); download them again") from error
            raise LocalFileError(f"{self._folder} can't take the outputs: {error.strerror or error}") from error
        missing = sorted(self._expected.keys() - {path.relative_to(self._folder).as_posix() for path in written})
        if missing:
            raise Unavailable(f"outputs are missing from what the service sent: {', '.join(missing[:5])}")
        return sorted(written)

    def _file(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> Path:
        name = PurePosixPath(os.path.normpath(member.name))
        if name.is_absolute() or ".." in name.parts:
            raise Unavailable(
                f"the outputs hold the name {member.name!r}, which leads out of the folder; nothing was written there"
            )
        expected = self._expected.get(name.as_posix())
        if expected is None or member.size != expected.size:
            what = f"has {member.size} bytes, not {expected.size}" if expected else "is not among them"
            raise Unavailable(f"{name} differs from the outputs in the record: it {what}; download them again")
        target = self._folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.parent.resolve().is_relative_to(self._folder.resolve()):
            raise LocalFileError(f"{target.parent} is a link out of {self._folder}; give another folder")
        source = tar.extractfile(member)
        assert source is not None
        digest = write_whole(target, iter(lambda: source.read(_CHUNK_BYTES), b""))
        if digest != expected.digest:
            target.unlink()
            raise Unavailable(
                f"{name} differs from the record (expected {expected.digest}, got {digest}); download them again"
            )
        return target


@contextmanager
def receiver(record: Record, folder: Path) -> Iterator[Receiver]:
    """Give a receiver for this record's outputs."""
    with tempfile.TemporaryFile() as spool:
        yield Receiver(record, folder, spool)


def write_whole(target: Path, chunks: Iterable[bytes]) -> str:
    """Write a file beside ``target`` and put it in place when it is complete; returns its digest."""
    digest = hashlib.sha256()
    partial = target.parent / f".{target.name[:100]}.{uuid.uuid4().hex[:8]}"
    try:
        with partial.open("xb") as file:
            for chunk in chunks:
                digest.update(chunk)
                file.write(chunk)
        partial.replace(target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        if isinstance(error, OSError) and error.errno is not None:
            raise LocalFileError(f"{target} can't be written: {error.strerror}") from error
        raise
    return f"sha256:{digest.hexdigest()}"


def plain_record(record: Record | Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a record's wire form; ``{namespace, name, attempt}`` passes through."""
    if isinstance(record, Record):
        plain: dict[str, Any] = msgspec.to_builtins(record)
        return plain
    return record
