"""Content-addressed files: ``blobs/sha256/ab/cdef…``, written whole or not at all, never changed afterwards.

Knows nothing of what refers to a blob; whoever collects garbage says what is kept. Called by the local backend.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import stat
import tempfile
import time
from collections.abc import AsyncIterator, Collection, Iterator
from pathlib import Path

from octopus_hub.backends.local.statefolder import disk_full
from octopus_hub.model.errors import InvalidSpec, NotFound, StateError, TooLarge

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_AS_IT_IS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # no link, no waiting for a pipe
_COPY_BYTES = 1 << 20
YOUNG_SECONDS = 3600.0  # a blob may be uploaded well before the TaskSet that names it


class Blobs:
    """The blobs of a state folder."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "blobs"
        self._incoming = self.root / "incoming"

    def open(self) -> None:
        """Make the folders; uploads that a crash cut short go."""
        try:
            self._incoming.mkdir(parents=True, exist_ok=True, mode=0o700)
            for left in self._incoming.iterdir():
                left.unlink()
        except OSError as error:
            raise disk_full(self.root, error) from error

    async def put(self, chunks: AsyncIterator[bytes], *, digest: str | None, limit: int) -> str:
        """Store what ``chunks`` gives and return its digest; raises TooLarge, InvalidSpec (another digest)."""
        if digest is not None:
            check(digest)
        with self._temporary() as (path, fd):
            sha, size = hashlib.sha256(), 0
            async for chunk in chunks:
                size += len(chunk)
                if size > limit:
                    raise TooLarge(f"the upload is larger than the limit of {limit} bytes", limit=limit)
                sha.update(chunk)
                with self._errors():  # not those of the sender, who may just go away
                    _write(fd, chunk)
            with self._errors():
                return self._keep(path, fd, f"sha256:{sha.hexdigest()}", digest)

    def put_file(self, source: Path, owner: int | None = None) -> tuple[str, int]:
        """Store a file's content and return (digest, size); raises FileNotFoundError for a link or another's file.

        With ``owner`` the file that was opened must be that account's: whoever owns the folders above could have put
        links in their place since the file was found, and we may be root.
        """
        with open(_opened(source, owner), "rb") as file, self._temporary() as (path, fd), self._errors():
            sha, size = hashlib.sha256(), 0
            while chunk := file.read(_COPY_BYTES):
                size += len(chunk)
                sha.update(chunk)
                if chunk.count(0) == len(chunk):
                    os.lseek(fd, len(chunk), os.SEEK_CUR)  # a hole stays a hole: a sparse file can't fill the disk
                else:
                    _write(fd, chunk)
            os.ftruncate(fd, size)
            return self._keep(path, fd, f"sha256:{sha.hexdigest()}", None), size

    def path(self, digest: str) -> Path:
        """Return a blob's file; raises NotFound."""
        path = self._place(digest)
        if not path.is_file():
            raise NotFound(f"there is no blob {digest}; upload it again")
        return path

    def collect_garbage(self, keep: Collection[str], young_seconds: float = YOUNG_SECONDS) -> tuple[int, int]:
        """Remove blobs that are neither kept nor young; returns how many and their bytes."""
        count = size = 0
        before = time.time() - young_seconds  # file times are the machine's, so no injected clock
        for path in (self.root / "sha256").glob("??/*"):
            digest = f"sha256:{path.parent.name}{path.name}"
            facts = path.stat()
            if digest not in keep and facts.st_mtime <= before:
                path.unlink()
                count, size = count + 1, size + (facts.st_size if facts.st_nlink == 1 else 0)
        return count, size

    def _place(self, digest: str) -> Path:
        hexadecimal = check(digest).removeprefix("sha256:")
        return self.root / "sha256" / hexadecimal[:2] / hexadecimal[2:]

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise disk_full(self.root, error) from error

    @contextlib.contextmanager
    def _temporary(self) -> Iterator[tuple[Path, int]]:
        with self._errors():
            self._incoming.mkdir(parents=True, exist_ok=True, mode=0o700)  # somebody may have tidied up
            fd, name = tempfile.mkstemp(dir=self._incoming)
        try:
            yield Path(name), fd
        finally:
            os.close(fd)
            with contextlib.suppress(OSError):
                os.unlink(name)

    def _keep(self, path: Path, fd: int, found: str, wanted: str | None) -> str:
        if wanted is not None and found != wanted:
            raise InvalidSpec(f"the content has the digest {found}, not {wanted}; upload it again")
        place = self._place(found)
        if place.is_file():
            os.utime(place)  # used again: young again
            return found
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.fchmod(fd, 0o400)  # hard links of it stand beside records: nobody may change it by mistake
        os.fsync(fd)
        os.rename(path, place)
        return found


def check(digest: str) -> str:
    """Return the digest if it is one; raises NotFound (whatever it is, there is no such blob)."""
    if not _DIGEST.fullmatch(digest):
        raise NotFound(f"{digest[:100]!r} is not a digest; one reads sha256: and 64 hexadecimal digits")
    return digest


def _opened(source: Path, owner: int | None) -> int:
    """Open a file that a task has left; raises FileNotFoundError for what is none, StateError where it can't be read."""
    try:
        try:
            fd = os.open(source, _AS_IT_IS)
        except PermissionError:
            os.chmod(source, 0o400)  # its owner, who we are, has taken his own right to read it
            fd = os.open(source, _AS_IT_IS)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.ENOENT, errno.ENOTDIR):
            raise FileNotFoundError(source) from None
        raise StateError(f"the output {source.name} can't be read: {os.strerror(error.errno or 0).lower()}") from error
    facts = os.fstat(fd)
    if not stat.S_ISREG(facts.st_mode) or owner not in (None, facts.st_uid):
        os.close(fd)
        raise FileNotFoundError(source)
    return fd


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
