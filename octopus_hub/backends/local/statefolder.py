"""The state folder: private, on a local file system, and held by one engine at a time.

Only looks at and locks the folder; what lies in it belongs to the store and its neighbours. Called by the backend at
open, and by ``octopus up`` before anything else starts.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from octopus_hub.model.errors import StateError

LOCK = "lock"
# WAL needs shared memory between processes and working locks, which these do not give (sqlite.org/wal.html)
NETWORK_TYPES = frozenset(
    {
        "nfs",
        "nfs4",
        "cifs",
        "smb",
        "smb2",
        "smb3",
        "smbfs",
        "9p",
        "afs",
        "lustre",
        "ceph",
        "gpfs",
        "glusterfs",
        "beegfs",
    }
    | {"beegfs_nodev", "fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.juicefs", "fuse.s3fs", "fuse.rclone", "ncpfs"}
    | {"fuse.gcsfuse", "fuse.davfs", "davfs", "orangefs", "pvfs2", "ocfs2", "gfs2", "wekafs", "panfs", "coda", "drvfs"}
)
MOUNTS = Path("/proc/self/mountinfo")
FALLBACK = "/var/tmp"


def default_folder() -> Path:
    """Return the folder that the environment names."""
    if given := os.environ.get("OCTOPUS_STATE"):
        return Path(given)
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(base, "octopus-hub")


def prepare(folder: Path, mounts: Path = MOUNTS) -> Path:
    """Make the folder private and sure to be usable; returns its absolute path, links resolved."""
    folder = folder.expanduser().absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = folder.resolve()
        facts = folder.stat()
    except OSError as error:
        raise _unwritable(folder, error) from error
    kind = file_system(folder, mounts)
    if kind in NETWORK_TYPES:
        raise StateError(
            f"{folder} lies on a network file system ({kind}), where the database is not safe; name a folder on a local "
            f"disk, for instance OCTOPUS_STATE={FALLBACK}/octopus-hub-{os.environ.get('USER') or os.getuid()}",
            filesystem=kind,
        )
    if facts.st_uid != os.geteuid():
        raise StateError(
            f"{folder} belongs to another account (uid {facts.st_uid}); name a folder of your own (OCTOPUS_STATE)"
        )
    try:
        if facts.st_mode & 0o077 and facts.st_mode & 0o777 != 0o711:  # 0711: tasks of separate accounts pass through
            folder.chmod(0o700)
        probe = folder / f".probe-{os.getpid()}"
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        raise _unwritable(folder, error) from error
    return folder


def file_system(folder: Path, mounts: Path = MOUNTS) -> str:
    """Return the type of the file system that holds the folder, "" where that can't be known."""
    best, kind = -1, ""
    try:
        lines = mounts.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        before, _, after = line.partition(" - ")
        point = before.split(" ")[4].encode().decode("unicode_escape")  # a space is written \040
        if (folder == Path(point) or Path(point) in folder.parents) and len(point) >= best:
            best, kind = len(point), after.split(" ")[0]  # of two mounts on one point the later one is seen
    return kind


class Lock:
    """The exclusive lock of a state folder; the kernel frees it when the engine dies, however it dies.

    Both the file, which says who holds it, and the folder itself are locked: the file may be removed by hand.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOCK
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise _unwritable(folder, error) from error
        try:
            for fd in (self._fd, self._folder):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._fd, 20, 0).decode(errors="replace").strip() or "unknown"
            self.release()
            raise StateError(
                f"another octopus (process {holder}) uses {folder}; stop it first (kill {holder}), or give this one "
                "another folder with OCTOPUS_STATE",
                pid=int(holder) if holder.isdigit() else None,
            ) from None
        try:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            self.release()
            raise disk_full(folder, error) from error

    def release(self) -> None:
        """Let the next engine in. The file stays: removing it would let two engines lock two files."""
        for fd in (self._fd, self._folder):
            if fd >= 0:
                os.close(fd)
        self._fd = self._folder = -1


def disk_full(folder: Path, error: Exception) -> StateError:
    """Return what to tell about a file that could not be written."""
    number = getattr(error, "errno", None)
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or not isinstance(error, OSError):
        return StateError(
            f"the disk that holds {folder} is full, nothing of this was stored; free some space "
            "(octopus prune removes what no record needs) and try again"
        )
    return StateError(
        f"{folder} can't be written ({os.strerror(number) if number else error}); see its rights and disk"
    )


def _unwritable(folder: Path, error: OSError) -> StateError:
    reason = os.strerror(error.errno) if error.errno else str(error)
    return StateError(f"{folder} can't be used ({reason}); name a folder of your own with OCTOPUS_STATE or --state")
