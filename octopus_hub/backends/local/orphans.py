"""Tasks that no row knows, and what is left of them: after a crash in a deletion, or an older database put back.

Looks, removes folders, kills processes whose parent is dead; ending what still has a parent is the runner's work.
Called by the backend and the runner at open.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Collection, Sequence
from pathlib import Path

from octopus_hub.backends.local import process
from octopus_hub.backends.local.prepare import Layout
from octopus_hub.backends.local.taskfiles import read_json
from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.task import Task


def living(root: Path, known: Collection[tuple[str, str]]) -> list[Task]:
    """Return tasks whose parent lives and that are not ``known`` by (namespace, name)."""
    found: list[Task] = []
    for path in root.glob("*/*/*/parent.json"):
        folder = path.parent
        namespace, taskset = folder.parent.parent.name, folder.parent.name
        parts = folder.name.split("-")
        if (namespace, folder.name) in known or not process.lives(read_json(path)):
            continue
        if len(parts) > 3 and parts[-1].isdigit() and parts[-2].isdigit():
            found.append(
                Task(
                    name=folder.name,
                    namespace=namespace,
                    taskset=taskset,
                    taskset_uid="",
                    role=parts[-3],
                    index=int(parts[-2]),
                    attempt=int(parts[-1]),
                )
            )
    return found


def sweep(root: Path, keep: Collection[tuple[str, str]]) -> None:
    """Remove the folders of TaskSets other than those to keep, given as (namespace, name)."""
    for folder in root.glob("*/*"):
        if folder.is_dir() and not folder.is_symlink() and (folder.parent.name, folder.name) not in keep:
            shutil.rmtree(folder, ignore_errors=True)


def remove(folders: Sequence[Path]) -> None:
    """Remove folders of single tasks."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def kill_marked(layout: Layout, known: Collection[str]) -> None:
    """Kill processes that carry our marker but whose task (not one of ``known``) has no living parent."""
    prefix = f"{layout.marker}/"
    for pid, marker in process.marked(prefix):
        key = marker.removeprefix(prefix)
        namespace, _, name = key.partition("/")
        if key in known:
            continue
        try:
            folder = layout.find(namespace, name)
        except InvalidSpec:
            continue  # another engine's, whose state folder lies in ours; or made up by a user
        if folder is None or not process.lives(read_json(folder / "parent.json")):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
