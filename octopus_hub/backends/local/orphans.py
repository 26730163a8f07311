"""Folders of tasks that no row knows: left by a crash while a TaskSet was deleted, or by an older database put back.

Only looks and removes; ending what still runs is the runner's work. Called by the backend at open.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from octopus_hub.backends.local import process
from octopus_hub.backends.local.taskfiles import read_json
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
