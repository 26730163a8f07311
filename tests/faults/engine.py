"""Engine and service as a process that can be hit at a chosen moment: ``python -m tests.faults.engine STATE [POINT]``.

At the point the process sends itself the signal that ``FAULT_SIGNAL`` names, once: SIGKILL is a crash there, SIGSTOP
holds it there until the test lets it go on. The file that ``FAULT_CLOCK`` names holds seconds by which its clock is off;
``FAULT_FILES`` is how many files it may open.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

POINTS: dict[str, tuple[str, str]] = {
    # name of the point: module, attribute that is called there
    "admitted": ("octopus_hub.backends.local.backend", "LocalBackend.create_tasks"),
    "rows stored": ("octopus_hub.backends.local.runner", "Runner.start"),
    "folder made": ("octopus_hub.backends.local.prepare", "write_spec"),
    "all bound": ("octopus_hub.backends.local.backend", "LocalBackend.release"),
    "released, not told": ("octopus_hub.backends.local.process", "poke"),
    "ended": ("octopus_hub.runs.record", "RecordWriter.record"),
    "outputs kept": ("octopus_hub.backends.local.records", "Records._place_logs"),
    "record written": ("octopus_hub.control.apply", "Apply._charge"),
}


def hit_at(point: str) -> None:
    """Send the signal when the point is reached for the first time."""
    module, attribute = POINTS[point]
    owner: Any = __import__(module, fromlist=["_"])
    *path, name = attribute.split(".")
    for part in path:
        owner = getattr(owner, part)
    original: Callable[..., Any] = getattr(owner, name)
    number = signal.Signals[os.environ.get("FAULT_SIGNAL", "SIGKILL")]
    told = Path(os.environ["FAULT_TOLD"])

    def hit(*arguments: Any, **named: Any) -> Any:
        if not told.exists():
            told.touch()
            os.kill(os.getpid(), number)
        return original(*arguments, **named)

    setattr(owner, name, hit)


def skew(file: Path) -> None:
    """Let this process read its clock off by what stands in the file, now and whenever that changes."""
    real = time.time

    def skewed() -> float:
        offset = 0.0
        with contextlib.suppress(OSError, ValueError):
            offset = float(file.read_text())
        return real() + offset

    time.time = skewed


if __name__ == "__main__":
    if "FAULT_CLOCK" in os.environ:
        skew(Path(os.environ["FAULT_CLOCK"]))  # before anything keeps time.time as a default

    import asyncio
    import logging
    import resource

    if "FAULT_FILES" in os.environ:
        most = int(os.environ["FAULT_FILES"])
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    from tests.engine import _serve

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    if len(sys.argv) > 2:
        hit_at(sys.argv[2])
    asyncio.run(_serve(Path(sys.argv[1])))
