"""What an ended task leaves: output files that match its patterns, and the metrics it reported.

Reads a folder that user code has written, so nothing in it is trusted: links are never followed out of the folder,
only regular files count, sizes and numbers are bounded. Called by the runner.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from octopus_hub.backends.base import MAX_OUTPUT_FILES
from octopus_hub.backends.patterns import matcher, reach
from octopus_hub.model.errors import StateError

METRICS_TAIL = 64 << 10
METRICS_KEPT = 100  # names of one task


def collect(work: Path, patterns: Sequence[str], max_files: int = MAX_OUTPUT_FILES) -> list[tuple[str, Path]]:
    """Return (relative path, file) of the files that match a pattern, in order of their paths.

    Links (files or folders) and hard links to files of other owners are skipped. Raises StateError for a folder that
    can't be read, so that nothing is left out unsaid.
    """
    found: list[tuple[str, Path]] = []
    wanted, reaches = matcher(patterns), reach(patterns)
    owner = owner_of(work)
    if owner is None:
        return []
    for here, folders, files in os.walk(work, onerror=_unreadable, followlinks=False):
        base = "" if here == str(work) else os.path.relpath(here, work) + "/"
        folders[:] = sorted(name for name in folders if reaches(base + name) and not os.path.islink(f"{here}/{name}"))
        for name in sorted(files):
            if wanted(base + name) and _plain(Path(here, name), owner):
                found.append((base + name, Path(here, name)))
                if len(found) >= max_files:
                    return sorted(found)
    return sorted(found)


def _plain(path: Path, owner: int) -> bool:
    try:
        facts = path.lstat()
    except FileNotFoundError:
        return False
    except OSError as error:
        _unreadable(error)
        return False
    return stat.S_ISREG(facts.st_mode) and facts.st_uid == owner


def _unreadable(error: OSError) -> None:
    if isinstance(error, FileNotFoundError):
        return
    place = os.path.basename(os.fsdecode(error.filename or ""))[:60]
    raise StateError(f"{place!r} among its outputs can't be read: {os.strerror(error.errno or 0).lower()}")


def owner_of(work: Path) -> int | None:
    """Return whose the folder is; None where none stands (user code may have removed it, or put a link there)."""
    try:
        facts = work.lstat()
    except OSError:
        return None
    return facts.st_uid if stat.S_ISDIR(facts.st_mode) else None


def plain_file(path: Path) -> BinaryIO | None:
    """Open a regular file of user code; None where it, or the folder it is in, is missing or a link (we may be root)."""
    try:
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fd = os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        finally:
            os.close(folder)
    except OSError:
        return None
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return open(fd, "rb")
    os.close(fd)
    return None


def last_metrics(path: Path) -> dict[str, float]:
    """Return the last value of each metric in a file of JSON lines ({} where there is none or it is damaged).

    A line is ``{"time": s, "step": n | null, "metrics": {name: number | null}}``, as ``octopus_hub.log`` writes it.
    """
    file = plain_file(path)
    if file is None:
        return {}
    with file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - METRICS_TAIL))
        lines = file.read(METRICS_TAIL).splitlines()
    values: dict[str, float] = {}
    for line in lines:
        with contextlib.suppress(ValueError, RecursionError):
            for name, value in _reported(json.loads(line)):
                if name in values or len(values) < METRICS_KEPT:
                    values[name] = value
    return values


def _reported(entry: Any) -> Iterator[tuple[str, float]]:
    metrics = entry.get("metrics") if isinstance(entry, dict) else None
    for name, value in metrics.items() if isinstance(metrics, dict) else ():
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max:
            yield name[:100].encode(errors="replace").decode(), float(value)  # half a surrogate pair fits no row
