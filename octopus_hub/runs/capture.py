"""What an attempt left and used: outputs, the cells of its notebook, the environments. Read through the backend only.

Captured at submission: workspace, git state, digests of inputs (``octopus_hub.client``), image and descriptor digests,
the seed (``service.submit``). Captured here, at the end: everything else. What can't be had is said, never an error:
a run without a record would be one (design, law 13).
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from octopus_hub.backends.base import MAX_OUTPUT_FILES, Backend
from octopus_hub.model.errors import OctopusError
from octopus_hub.model.record import Cell, Environment, OutputFile
from octopus_hub.model.task import Task
from octopus_hub.model.taskset import Input, TaskSet

LEDGER_FILE = ".octopus/cells.jsonl"  # written by runs.execute in the task
LEDGER_BYTES = 4 << 20
MOST_CELLS = 5000
UNVOUCHED = "content not vouched for: no digest was given, and it was not a file that the submitter could read"

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Captured:
    """What was found.

    Attributes
    ----------
    problems : list of str
        Sentences about what could not be had.
    """

    outputs: list[OutputFile] = field(default_factory=list)
    cells: dict[str, list[Cell]] = field(default_factory=dict)
    environments: dict[str, Environment] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


async def capture(backend: Backend, taskset: TaskSet, tasks: Sequence[Task]) -> Captured:
    """Collect outputs and cells of the attempt's tasks, and describe the environments."""
    found = Captured(environments=await _environments(backend, taskset))
    latest = last_attempts(tasks)
    for task in tasks_in_order(tasks):
        # of a task that was started again only the cells count: its files are those of an unfinished try
        await _left_by(backend, taskset, task, found, outputs=task.name in latest)
    if taskset.spec.outputs and latest and not found.outputs and not found.problems:
        found.problems.append(
            f"Nothing was left that matches the declared outputs ({', '.join(taskset.spec.outputs)})."
        )
    return found


def tasks_in_order(tasks: Iterable[Task]) -> list[Task]:
    """Return tasks by role, index and attempt."""
    return sorted(tasks, key=lambda each: (each.role, each.index, each.attempt))


def last_attempts(tasks: Iterable[Task]) -> set[str]:
    """Return the names of the last task of each member."""
    return {task.name for task in {task.identity: task for task in tasks_in_order(tasks)}.values()}


def stated_inputs(inputs: Iterable[Input]) -> list[dict[str, Any]]:
    """Return declared inputs for the record, with a note where nobody vouches for the content."""
    plain: list[dict[str, Any]] = [msgspec.to_builtins(each) for each in inputs]
    return [each if each.get("digest") else {**each, "note": UNVOUCHED} for each in plain]


async def _left_by(backend: Backend, taskset: TaskSet, task: Task, found: Captured, *, outputs: bool) -> None:
    ledger = [LEDGER_FILE] if taskset.spec.run else []
    if not outputs and not ledger:
        return
    try:
        files = await backend.collect_outputs(task.namespace, task.name, [*taskset.spec.outputs, *ledger])
        if len(files) >= MAX_OUTPUT_FILES:
            found.problems.append(
                f"Of {task.role} {task.index} the first {MAX_OUTPUT_FILES} output files were kept; pack many into one."
            )
        for file in files:
            if ledger and file.path == LEDGER_FILE:
                content = await asyncio.to_thread(_head, await backend.blob_path(file.digest))
                found.cells[task.name] = read_cells(content)
            elif outputs and not _writable(file.path):
                found.problems.append(f"An output of {task.role} {task.index} was left out: its name is not UTF-8.")
            elif outputs:
                found.outputs.append(msgspec.structs.replace(file, path=f"{task.role}-{task.index}/{file.path}"))
    except OctopusError as error:
        log.warning("outputs of %s were not collected: %s", task.name, error)
        found.problems.append(f"Outputs of {task.role} {task.index} were not collected: {error}")


async def _environments(backend: Backend, taskset: TaskSet) -> dict[str, Environment]:
    environments: dict[str, Environment] = {}
    for role, digest in taskset.resolved.images.items():
        try:
            environments[role] = (await backend.resolve_image(digest)).environment
        except OctopusError as error:
            log.warning("the environment of %s can't be described: %s", role, error)
            environments[role] = Environment(image=taskset.resolved.image_names.get(role, ""), digest=digest)
    return environments


def read_cells(content: bytes) -> list[Cell]:
    """Return the cells of a ledger; lines that user code damaged are left out, a cell without an end was interrupted."""
    cells: dict[tuple[int, float], Cell] = {}
    for line in content.splitlines():
        try:
            entry = json.loads(line)
            index, started = int(entry["index"]), float(entry["started"])
            ended = float(entry["ended"]) if "ended" in entry else None
            status = _text(entry["status"], 40) if ended is not None else "interrupted"
            error = _text(entry.get("error", ""), 500)
            if index >= MOST_CELLS * 100 or not all(map(math.isfinite, (started, ended or 0.0))):
                continue  # no JSON could hold them
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
            continue
        cells[index, started] = Cell(index=index, status=status, started_at=started, ended_at=ended, error=error)
        if len(cells) >= MOST_CELLS:
            break
    return list(cells.values())


def _text(value: Any, most: int) -> str:
    """Return a text that JSON can hold, whatever user code wrote."""
    return str(value)[:most].encode(errors="replace").decode()


def _writable(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False  # bytes that no JSON can hold; the record as a whole counts more
    return True


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(LEDGER_BYTES)
