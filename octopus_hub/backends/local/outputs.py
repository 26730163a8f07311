"""What an ended task leaves: output files that match its patterns, and the metrics it reported.

Reads a folder that user code has written, so nothing in it is trusted: links are never followed out of the folder,
only regular files count, sizes and numbers are bounded. Called by the runner.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from octopus_hub.backends.patterns import matcher

MAX_FILES = 10_000
METRICS_TAIL = 64 << 10
METRICS_KEPT = 100  # names of one task


def collect(work: Path, patterns: Sequence[str], max_files: int = MAX_FILES) -> list[tuple[str, Path]]:
    """Return (relative path, file) of the files that match a pattern, in order of their paths.

    Links (files or folders) and hard links to files of other owners are skipped.
    """
    found: list[tuple[str, Path]] = []
    wanted = matcher(patterns)
    try:
        owner = work.stat().st_uid
    except FileNotFoundError:
        return []
    for here, folders, files in os.walk(work, followlinks=False):
        folders[:] = sorted(name for name in folders if not os.path.islink(os.path.join(here, name)))
        for name in sorted(files):
            path = Path(here, name)
            relative = path.relative_to(work).as_posix()
            if not wanted(relative):
                continue
            facts = path.lstat()
            if stat.S_ISREG(facts.st_mode) and facts.st_uid == owner:
                found.append((relative, path))
                if len(found) >= max_files:
                    return sorted(found)
    return sorted(found)


def last_metrics(path: Path) -> dict[str, float]:
    """Return the last value of each metric in a file of JSON lines ({} where there is none or it is damaged).

    A line is ``{"time": s, "step": n | null, "metrics": {name: number | null}}``, as ``octopus_hub.log`` writes it.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return {}
    with open(fd, "rb") as file:
        facts = os.fstat(fd)
        if not stat.S_ISREG(facts.st_mode):
            return {}
        file.seek(max(0, facts.st_size - METRICS_TAIL))
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
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            yield name[:100], float(value)
