"""The line that says where a TaskSet is while the command waits; silent where nobody looks."""

from __future__ import annotations

import shutil
import sys
import time
from types import TracebackType
from typing import TextIO

from octopus_hub.client import jobtext
from octopus_hub.model.answers import TaskSetView

_CLEAR = "\r\x1b[2K"


class Progress:
    """One line on standard error, written over and over; nothing at all when that is not a terminal."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._shown = False

    def update(self, view: TaskSetView) -> None:
        """Show the present state."""
        if not self._stream.isatty():
            return
        width = max(20, shutil.get_terminal_size().columns - 1)
        self._stream.write(_CLEAR + line(view, time.time())[:width])
        self._stream.flush()
        self._shown = True

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            self._stream.write(_CLEAR)
            self._stream.flush()


def line(view: TaskSetView, now: float) -> str:
    """Return the state in one line."""
    text = jobtext.headline(view.taskset, now)
    if view.queue_place is not None:
        return f"{text}  {jobtext.waiting(view.queue_place)}"
    running, total = running_of_total(view)
    return f"{text}  {running}/{total} tasks running"


def running_of_total(view: TaskSetView) -> tuple[int, int]:
    """Return how many tasks run, and how many there are in all."""
    running = sum(role.running for role in view.taskset.status.roles)
    return running, sum(view.taskset.size(role) for role in view.taskset.spec.roles)
