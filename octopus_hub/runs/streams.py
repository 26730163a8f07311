"""Archives as streams: tar.gz and zip made piece by piece, the same bytes for the same content (no times, no owners).

Reading and packing happen in a worker thread, one piece at a time; nothing is held in memory as a whole and nothing is
written to disk. Knows nothing of records. Called by ``runs.archives``.
"""

from __future__ import annotations

import asyncio
import io
import tarfile
import zipfile
import zlib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from octopus_hub.model.errors import Unavailable

PIECE_BYTES = 1 << 20
LEAST_BYTES = 1 << 16  # smaller pieces wait for more
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first day that zip knows


@dataclass(frozen=True, slots=True)
class Member:
    """A file of an archive: its name there, and its content as a file or as bytes."""

    name: str
    content: Path | bytes

    @contextmanager
    def open(self) -> Iterator[tuple[IO[bytes], int]]:
        """Give the content and its size."""
        if isinstance(self.content, bytes):
            yield io.BytesIO(self.content), len(self.content)
            return
        with self.content.open("rb") as file:
            yield file, self.content.stat().st_size


def safe_name(name: str) -> str:
    """Return a relative name that stays inside; raises Unavailable (such a name is in no record that we wrote)."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\0" in name or str(path) != name:
        raise Unavailable(f"the record names a file {name[:200]!r}, which no archive can hold; its folder was changed")
    return name


async def in_thread(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Yield what a blocking iterator gives, without blocking the loop."""
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece


def tar_gz(members: Sequence[Member]) -> Iterator[bytes]:
    """Yield a tar.gz archive."""
    packer = zlib.compressobj(level=1, wbits=31)  # 31: gzip, whose header has no time
    return _gathered(_packed(packer, _tar(members)))


def zipped(members: Sequence[Member]) -> Iterator[bytes]:
    """Yield a zip archive."""
    return _gathered(_zip(members))


def _tar(members: Sequence[Member]) -> Iterator[bytes]:
    for member in members:
        with member.open() as (file, size):
            info = tarfile.TarInfo(safe_name(member.name))
            info.size, info.mode = size, 0o644
            yield info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
            yield from _exactly(file, size, member.name)
            yield b"\0" * (-size % tarfile.BLOCKSIZE)
    yield b"\0" * (2 * tarfile.BLOCKSIZE)


def _exactly(file: IO[bytes], size: int, name: str) -> Iterator[bytes]:
    while size:
        piece = file.read(min(size, PIECE_BYTES))
        if not piece:
            raise Unavailable(f"{name} became shorter while it was read; try again")
        size -= len(piece)
        yield piece


def _packed(packer: zlib._Compress, pieces: Iterator[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield packer.compress(piece)
    yield packer.flush()


class _Drain(io.RawIOBase):
    """What zipfile writes to: keeps the bytes until they are taken."""

    def __init__(self) -> None:
        self._kept = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        piece = bytes(data)  # type: ignore[call-overload]
        self._kept += piece
        return len(piece)

    def take(self) -> bytes:
        kept, self._kept = bytes(self._kept), bytearray()
        return kept


def _zip(members: Sequence[Member]) -> Iterator[bytes]:
    drain = _Drain()
    with zipfile.ZipFile(drain, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for member in members:
            info = zipfile.ZipInfo(safe_name(member.name), _EPOCH)
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o100644 << 16
            with member.open() as (file, size), archive.open(info, "w", force_zip64=size >= 1 << 31) as entry:
                for piece in _exactly(file, size, member.name):
                    entry.write(piece)
                    yield drain.take()
    yield drain.take()


def _gathered(pieces: Iterator[bytes]) -> Iterator[bytes]:
    kept = bytearray()
    for piece in pieces:
        kept += piece
        if len(kept) >= LEAST_BYTES:
            yield bytes(kept)
            kept.clear()
    if kept:
        yield bytes(kept)
