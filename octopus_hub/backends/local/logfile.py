"""Reading a task's bounded log by byte offset; the parent writes it (``parent.Log``), readers come from the service.

``log`` keeps the beginning, ``log.1``, ``log.2`` ... continue it; of those only the last :data:`KEEP` stay. Offsets
count all bytes the task wrote, so a reader's place stays right while old parts go. Bytes are never decoded here.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec

HEAD_BYTES = 1 << 20
KEEP = 4
CHUNK = 1 << 18
POLL_SECONDS = 0.1  # only while somebody follows a log


class Geometry(msgspec.Struct, frozen=True):
    """How a log is cut into files: a head, then segments of which ``keep`` are kept."""

    head: int
    segment: int
    keep: int = KEEP

    @classmethod
    def of(cls, limit: int) -> Geometry:
        """Return the cut whose files together never exceed ``limit`` bytes."""
        head = max(1, min(HEAD_BYTES, limit // 4))
        return cls(head, max(1, (limit - head) // KEEP))

    def at(self, offset: int) -> tuple[int, int]:
        """Return (file number, position in it) of a byte of the stream."""
        if offset < self.head:
            return 0, offset
        number, position = divmod(offset - self.head, self.segment)
        return number + 1, position

    def start(self, number: int) -> int:
        """Return the stream offset at which a file begins."""
        return 0 if number == 0 else self.head + (number - 1) * self.segment


def parts(folder: Path) -> list[int]:
    """Return the numbers of the log files that exist."""
    found = []
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    for name in names:
        if name == "log":
            found.append(0)
        elif name.startswith("log.") and name[4:].isdigit():
            found.append(int(name[4:]))
    return sorted(found)


def length(folder: Path, geometry: Geometry) -> int:
    """Return how many bytes of the stream have been stored so far."""
    for number in reversed(parts(folder)):
        with contextlib.suppress(OSError):
            return geometry.start(number) + os.path.getsize(folder / name(number))
    return 0


def name(number: int) -> str:
    """Return the name of a log file."""
    return f"log.{number}" if number else "log"


def end(folder: Path, size: int) -> bytes:
    """Return at most the last ``size`` bytes of the last file; nothing if it can't be read or is a link."""
    for number in reversed(parts(folder)):
        try:
            fd = os.open(folder / name(number), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return b""
        with open(fd, "rb") as file:
            file.seek(max(0, os.fstat(fd).st_size - size))
            if data := file.read(size):
                return data
    return b""


def read_at(folder: Path, geometry: Geometry, offset: int) -> tuple[bytes, int]:
    """Return some bytes from ``offset`` on and the offset after them; what was dropped is replaced by a note."""
    number, position = geometry.at(offset)
    try:
        with open(folder / name(number), "rb") as file:
            file.seek(position)
            data = file.read(CHUNK)
            return data, offset + len(data)
    except FileNotFoundError:
        later = [part for part in parts(folder) if part > number]
        if not later:
            return b"", offset
        resume = geometry.start(later[0])
        return f"\n[octopus: {resume - offset} bytes of output are not kept]\n".encode(), resume


async def stream(
    folder: Path, geometry: Geometry, *, offset: int, follow: bool, ended: Callable[[], bool]
) -> AsyncIterator[bytes]:
    """Yield the log from ``offset`` (-n: the last n bytes); with ``follow`` until the task has ended."""
    if offset < 0:
        offset = max(0, length(folder, geometry) + offset)
    while True:
        over = ended()  # looked at before reading: what came before the end is read after it
        data, offset = await asyncio.to_thread(read_at, folder, geometry, offset)
        if data:
            yield data
        elif over or not follow:
            return
        else:
            await asyncio.sleep(POLL_SECONDS)
