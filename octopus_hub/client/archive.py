"""Packs a folder as a workspace: a deterministic tar.gz, named by its digest, without what should not travel.

The same content gives the same bytes on the same machine: names sorted, no times, no owners, modes reduced to
"executable or not". ``.octopusignore`` (gitignore syntax) and the defaults below say what stays. Called before a
submission; the service trusts nothing in it (``backends.local.workspace`` unpacks it).
"""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from octopus_hub.client.failures import LocalFileError
from octopus_hub.client.paths import expanded
from octopus_hub.model.errors import InvalidSpec, TooLarge

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

IGNORE_FILE = ".octopusignore"
DEFAULT_IGNORES = (
    ".git/", ".hg/", ".svn/", ".venv/", "node_modules/", "__pycache__/", ".ipynb_checkpoints/",
    ".mypy_cache/", ".pytest_cache/", ".ruff_cache/", ".tox/", ".nox/", "*.pyc", ".DS_Store",
)  # fmt: skip
MAX_BYTES = 256 << 20
MAX_FILES = 100_000
HOME_MAX_BYTES = 16 << 20
HOME_MAX_FILES = 500
SHOWN = 5
_IN_MEMORY_BYTES = 8 << 20
_CHUNK_BYTES = 1 << 20
_SPEED = 1  # zlib level: the way is short, the processor is busy


@dataclass(frozen=True, slots=True)
class Archive:
    """A packed workspace.

    Attributes
    ----------
    digest : str
        ``sha256:<hex>`` of the packed bytes.
    size : int
        Packed bytes.
    files : int
        Number of members.
    left_out : list of str
        Links that lead out of the folder: they would mean nothing elsewhere.
    """

    digest: str
    size: int
    files: int
    left_out: list[str]
    _file: IO[bytes] = field(repr=False)

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes, from the start each time."""
        self._file.seek(0)
        while data := self._file.read(_CHUNK_BYTES):
            yield data

    def close(self) -> None:
        """Give the temporary file back."""
        self._file.close()


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str  # relative, with slashes
    path: Path
    info: os.stat_result
    link: str = ""


@dataclass(slots=True)
class _Found:
    entries: list[_Entry] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    bytes: int = 0
    complete: bool = True


def pack(folder: Path, *, max_bytes: int = MAX_BYTES, max_files: int = MAX_FILES) -> Archive:
    """Pack ``folder``; raises TooLarge (naming the biggest files), InvalidSpec for what can't be read."""
    root = expanded(folder)
    if not root.is_dir():
        raise InvalidSpec(
            f"the workspace {str(folder)!r} is not a folder; give an existing one, or none (workspace=None, --no-workspace)"
        )
    found = _collect(root.resolve(), _ignores(root), max_bytes, max_files, hidden=True)
    if found.bytes > max_bytes or len(found.entries) > max_files:
        raise _too_large(root, found, max_bytes, max_files)
    return _write(found)


def pack_home(folder: Path, *, max_bytes: int = HOME_MAX_BYTES, max_files: int = HOME_MAX_FILES) -> Archive | None:
    """Pack a home folder without its hidden files, or return None when it is more than a few files."""
    root = folder.resolve()
    found = _collect(root, _ignores(root), max_bytes, max_files, hidden=False)
    if found.bytes > max_bytes or len(found.entries) > max_files:
        return None
    return _write(found)


def read(path: Path) -> Archive:
    """Return an archive that lies packed in a file already; raises InvalidSpec."""
    try:
        file = path.open("rb")
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InvalidSpec(f"{path} can't be read: {error.strerror}") from None
    return Archive(f"sha256:{digest}", path.stat().st_size, 0, [], file)


def is_home(folder: Path, home: Path) -> bool:
    """Say whether ``folder`` is the home folder or one above it."""
    try:
        return home.resolve().is_relative_to(folder.resolve())
    except OSError:
        return False


def _ignores(root: Path) -> GitIgnoreSpec:
    from pathspec import GitIgnoreSpec

    lines = list(DEFAULT_IGNORES)
    file = root / IGNORE_FILE
    try:
        lines += file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        pass
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSpec(f"{file} can't be read: {error}") from None
    try:
        return GitIgnoreSpec.from_lines(lines)
    except ValueError as error:
        raise InvalidSpec(f"{file}: {error}") from None


def _collect(root: Path, ignores: GitIgnoreSpec, max_bytes: int, max_files: int, *, hidden: bool) -> _Found:
    """Walk until the bounds are passed for sure; a bit further, so that the biggest files can be named."""
    found = _Found()
    folders = [""]
    while folders:
        below = folders.pop()
        for item in _scan(root, below):
            name = f"{below}{item.name}"
            if not hidden and item.name.startswith("."):
                continue
            is_folder = item.is_dir(follow_symlinks=False)
            if ignores.match_file(name + "/" if is_folder else name):
                continue
            if is_folder:
                folders.append(name + "/")
            _add(found, root, name, item)
        if len(found.entries) > 2 * max_files or (not hidden and found.bytes > max_bytes):
            found.complete = False
            break
    found.entries.sort(key=lambda entry: entry.name)
    return found


def _scan(root: Path, below: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(root / below) as items:
            return sorted(items, key=lambda item: item.name)
    except OSError as error:
        raise _unreadable(root / below, error) from None


def _add(found: _Found, root: Path, name: str, item: os.DirEntry[str]) -> None:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidSpec(f"the name of {name!r} is not UTF-8; rename it or list it in {IGNORE_FILE}") from None
    try:
        info = item.stat(follow_symlinks=False)
    except FileNotFoundError:
        return  # gone since the folder was read
    path = Path(item.path)
    if stat.S_ISLNK(info.st_mode):
        link = _inner_link(root, path)
        if link is None:
            found.left_out.append(f"{name} -> {os.readlink(path)}")
            return
        found.entries.append(_Entry(name, path, info, link))
    elif stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode):
        found.entries.append(_Entry(name, path, info))
        found.bytes += info.st_size if stat.S_ISREG(info.st_mode) else 0
    # sockets, pipes and devices are nothing that a file could hold


def _inner_link(root: Path, path: Path) -> str | None:
    """Return a link's target relative to the link, or None when it leads out of ``root``."""
    target = Path(os.path.realpath(path))
    if target == root or not target.is_relative_to(root):
        return None
    return os.path.relpath(target, path.parent)


def _write(found: _Found) -> Archive:
    file: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115  (the Archive closes it)
    try:
        with (
            gzip.GzipFile("", "wb", _SPEED, file, mtime=0) as packed,
            tarfile.open(mode="w|", fileobj=packed, format=tarfile.PAX_FORMAT) as tar,
        ):
            for entry in found.entries:
                _member(tar, entry)
        size = file.tell()
        file.seek(0)
        digest = hashlib.sha256()
        while data := file.read(_CHUNK_BYTES):
            digest.update(data)
    except BaseException as error:
        file.close()
        if isinstance(error, OSError):
            raise LocalFileError(
                f"the workspace can't be packed in {tempfile.gettempdir()}: {error.strerror}; make room or set TMPDIR"
            ) from error
        raise
    return Archive(f"sha256:{digest.hexdigest()}", size, len(found.entries), found.left_out, file)


def _member(tar: tarfile.TarFile, entry: _Entry) -> None:
    member = tarfile.TarInfo(entry.name)
    member.mtime = 0
    if entry.link:
        member.type, member.linkname, member.mode = tarfile.SYMTYPE, entry.link, 0o777
        tar.addfile(member)
    elif stat.S_ISDIR(entry.info.st_mode):
        member.type, member.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(member)
    else:
        member.mode = 0o755 if entry.info.st_mode & 0o100 else 0o644
        member.size = entry.info.st_size
        _content(tar, member, entry.path)


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    try:
        # O_NONBLOCK and O_NOFOLLOW: what was a file a moment ago may be a pipe or a link now.
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise _unreadable(path, error) from None
    with open(fd, "rb") as content:
        tar.addfile(member, _Exact(content, path))


class _Exact:
    """A file that has to give as many bytes as its size said, in spite of writers."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self._file = file
        self._path = path

    def read(self, size: int = -1) -> bytes:
        try:
            data = self._file.read(size)
        except OSError as error:
            raise _unreadable(self._path, error) from None
        if len(data) < size:
            raise InvalidSpec(
                f"{self._path} became shorter while it was packed; submit again, or list it in {IGNORE_FILE}"
            )
        return data


def _unreadable(path: Path, error: OSError) -> InvalidSpec:
    return InvalidSpec(f"{path} can't be read ({error.strerror}); make it readable or list it in {IGNORE_FILE}")


def _too_large(root: Path, found: _Found, max_bytes: int, max_files: int) -> TooLarge:
    files = sorted((e for e in found.entries if stat.S_ISREG(e.info.st_mode)), key=lambda e: (-e.info.st_size, e.name))
    biggest = ", ".join(f"{entry.name} ({_megabytes(entry.info.st_size)})" for entry in files[:SHOWN])
    least = "" if found.complete else "at least "
    if found.bytes > max_bytes:
        what = f"holds {least}{_megabytes(found.bytes)}, more than the {_megabytes(max_bytes)} a workspace may have"
    else:
        what = f"holds {least}{len(found.entries)} files, more than the {max_files} a workspace may have"
    return TooLarge(
        f"the workspace {root} {what}; biggest: {biggest}; list what tasks don't need in {IGNORE_FILE}, "
        "or pass large data as a volume",
        bytes=found.bytes,
        limit_bytes=max_bytes,
        files=len(found.entries),
    )


def _megabytes(size: int) -> str:
    return f"{size / 2**20:.1f} MB" if size >= 2**20 // 10 else f"{size / 2**10:.1f} kB"
