"""Unpacks a workspace archive (tar.gz) into a task's folder, trusting nothing in it.

Refuses whatever would leave the folder (absolute names, ``..``, links out of it), devices and bombs, with one
InvalidSpec. Called by :mod:`octopus_hub.backends.local.prepare` in a worker thread; also fit to check an upload.
"""

from __future__ import annotations

import itertools
import os
import posixpath
import tarfile
import zlib
from pathlib import Path

from octopus_hub.model.errors import InvalidSpec

MAX_BYTES = 1 << 30  # unpacked; the client packs at most a quarter of it
MAX_MEMBERS = 100_000
COPY_BYTES = 1 << 20


def unpack(archive: Path, folder: Path, *, max_bytes: int = MAX_BYTES, max_members: int = MAX_MEMBERS) -> None:
    """Unpack ``archive`` into the existing ``folder``; raises InvalidSpec for an archive that can't be trusted."""
    left = max_bytes
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for count, member in enumerate(tar):
                if count >= max_members:
                    raise _refuse(f"it has more than {max_members} files")
                left -= max(0, member.size)
                if left < 0:
                    raise _refuse(f"unpacked it is larger than {max_bytes / 2**20:g} MiB")
                _extract(tar, member, folder)
    except (tarfile.TarError, EOFError, zlib.error, UnicodeError) as error:
        raise _refuse(f"it is not a readable tar.gz archive ({error})") from error
    except OSError as error:
        if error.errno is None:  # gzip's BadGzipFile
            raise _refuse(f"it is not a readable tar.gz archive ({error})") from error
        raise


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    name = _inside(member.name, "member")
    if not name:
        return
    target = folder / name
    _plain_parents(target.parent, folder, member.name)
    if member.isdir():
        if not target.is_dir() or target.is_symlink():
            _clear(target, member.name)
            target.mkdir()
        target.chmod(0o700 | member.mode & 0o055)
        return
    _clear(target, member.name)
    if member.issym():
        if member.linkname.startswith("/"):
            raise _refuse(f"the link {member.name!r} points to an absolute path")
        if _returns(member.linkname):  # through another link, ".." may lead elsewhere than the text says
            raise _refuse(f"the link {member.name!r} goes down and up again")
        if posixpath.normpath(posixpath.join(name, "..", member.linkname)).split("/")[0] == "..":
            raise _refuse(f"the link {member.name!r} leaves the folder")
        target.symlink_to(member.linkname)
    elif member.islnk():
        source = folder / _inside(member.linkname, f"link {member.name!r} to")
        _plain_parents(source.parent, folder, member.linkname)
        if source.is_symlink() or not source.is_file():
            raise _refuse(f"the hard link {member.name!r} names no file of the archive")
        os.link(source, target)
    elif member.isreg():
        _write(tar, member, target)
    else:
        raise _refuse(f"{member.name!r} is a device or a pipe")


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    source = tar.extractfile(member)
    assert source is not None
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600 | member.mode & 0o155)
    with open(fd, "wb") as file:
        while data := source.read(COPY_BYTES):
            if data.count(0) == len(data):
                file.seek(len(data), os.SEEK_CUR)  # a hole: a small archive of zeros must not fill the disk
            else:
                file.write(data)
        file.truncate(member.size)
    os.utime(target, (member.mtime, member.mtime))


def _inside(name: str, what: str) -> str:
    """Return the normalised relative name; raises where it leaves the folder."""
    if "\0" in name or name.startswith("/"):
        raise _refuse(f"the {what} {name!r} has an absolute name")
    path = posixpath.normpath(name)
    if path == ".." or path.startswith("../") or _returns(name):
        raise _refuse(f"the {what} {name!r} leaves the folder")
    return "" if path == "." else path


def _returns(path: str) -> bool:
    """Say whether ``..`` follows a name."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return any(part == ".." and before != ".." for before, part in itertools.pairwise(parts))


def _plain_parents(parent: Path, folder: Path, name: str) -> None:
    """Make the folders above a member; none of them may be a link."""
    here = folder
    for part in parent.relative_to(folder).parts:
        here = here / part
        if here.is_symlink() or (here.exists() and not here.is_dir()):
            raise _refuse(f"{name!r} goes through {part!r}, which is not a folder")
        if not here.exists():
            here.mkdir()


def _clear(target: Path, name: str) -> None:
    if target.is_dir() and not target.is_symlink():
        raise _refuse(f"{name!r} is both a folder and a file")
    target.unlink(missing_ok=True)


def _refuse(why: str) -> InvalidSpec:
    return InvalidSpec(f"the workspace archive is refused: {why}")
