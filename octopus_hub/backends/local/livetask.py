"""A task that has not ended, as the runner holds it. Values only; used by the runner."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from octopus_hub.model.task import Task

_log = logging.getLogger(__name__)


class Live:
    """The task as it was told last, its folder, and who looks after it."""

    def __init__(self, task: Task, folder: Path) -> None:
        self.task = task
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        self.parent: dict[str, Any] = {}  # who its parent is, should the folder's files be removed
        self.watch: asyncio.Task[None] | None = None
        self.preparing = False
        self.wishes: dict[str, Any] | None = None  # a stop that came while it was prepared
        self.sampled: tuple[int, int, int] = (0, 0, 0)


def key_of(task: Task) -> str:
    """Return the key of a task: its namespace and name."""
    return f"{task.namespace}/{task.name}"


@contextlib.contextmanager
def logged(live: Live) -> Iterator[None]:
    """One task's trouble (its files, a listener that fails) must not stop the looking after all others."""
    try:
        yield
    except Exception:
        _log.exception("task %s: what its files say could not be told; trying again", live.task.name)
