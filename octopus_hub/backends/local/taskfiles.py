"""What the files in a task's folder say, as changes of a Task. Pure reading and replacing of small JSON files.

Files may be missing or damaged at any moment (a crash, a full disk); then they say nothing. Called by the runner.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from octopus_hub.backends.local import logfile
from octopus_hub.backends.local.outputs import last_metrics, plain_file
from octopus_hub.backends.local.prepare import CHECKPOINT, METRICS
from octopus_hub.model.task import Task, TaskState, Usage

MESSAGE = ".octopus/message"  # below the work folder: one sentence of the task about its failure
MESSAGE_BYTES = 1000
COMPLAINT_BYTES = 4096
COMPLAINT_LENGTH = 300


def read_json(path: Path) -> dict[str, Any]:
    """Return a file's object; {} when it is missing or damaged."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Replace a file whole; only its owner may read it."""
    temporary = path.with_name(path.name + ".engine")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(content, file)
    os.rename(temporary, path)


def progress(folder: Path, task: Task) -> dict[str, Any]:
    """Return what changed of a task that has not ended."""
    changes: dict[str, Any] = {}
    if task.bound_at is None and (parent := read_json(folder / "parent.json")):
        changes = {"bound_at": parent.get("bound_at"), "state": TaskState.BOUND}
    if task.started_at is None and (started := read_json(folder / "started.json")):
        changes |= {"started_at": started.get("started_at"), "state": TaskState.RUNNING}
    return changes


def ending(folder: Path, task: Task, end: dict[str, Any], now: float) -> dict[str, Any]:
    """Return what changed of a task whose exit is known."""
    bound = read_json(folder / "parent.json").get("bound_at")
    finished = end.get("finished_at") or now
    ok = end.get("exit_code") == 0 and not end.get("end_reason")
    return {
        "state": TaskState.SUCCEEDED if ok else TaskState.FAILED,
        "bound_at": task.bound_at or bound,
        "started_at": task.started_at or end.get("started_at"),
        "finished_at": max(finished, task.started_at or finished),
        "exit_code": end.get("exit_code"),
        "signal": end.get("signal"),
        "end_reason": end.get("end_reason", ""),
        "message": end.get("message", "") or ("" if ok else said(folder / "work" / MESSAGE) or _complaint(folder, end)),
        "usage": Usage(
            peak_memory_bytes=max(int(end.get("peak_memory_bytes", 0)), task.usage.peak_memory_bytes),
            cpu_seconds=max(float(end.get("cpu_seconds", 0)), task.usage.cpu_seconds),
            checkpoint_at=_checkpoint(folder) or task.usage.checkpoint_at,
        ),
        "log_bytes": max(int(end.get("log_bytes", 0)), task.log_bytes),
        "metrics": last_metrics(folder / "work" / METRICS) or task.metrics,
    }


def said(path: Path) -> str:
    """Return what a failed task says about its own end: the first line of a file that it wrote, "" if there is none."""
    file = plain_file(path)
    if file is None:
        return ""
    with file:
        lines = file.read(MESSAGE_BYTES).decode(errors="replace").strip().splitlines()
    return _printable(lines[0]) if lines else ""


def _complaint(folder: Path, end: dict[str, Any]) -> str:
    """Return the last line that a program wrote before it gave up: of a traceback the error itself, "" if it was ended."""
    if not end.get("exit_code") or end.get("end_reason") or end.get("signal"):
        return ""
    lines = logfile.end(folder, COMPLAINT_BYTES).decode(errors="replace").strip().splitlines()
    return _printable(lines[-1])[:COMPLAINT_LENGTH] if lines else ""


def _printable(line: str) -> str:
    return "".join(sign if sign.isprintable() else " " for sign in line).strip()


def measured(folder: Path, before: Usage) -> dict[str, Any]:
    """Return what the parent and the task itself reported of a running task; the use of devices is others' matter."""
    found = read_json(folder / "usage.json")
    usage = Usage(
        memory_bytes=int(found.get("memory_bytes", 0)),
        peak_memory_bytes=int(found.get("peak_memory_bytes", 0)),
        cpu_seconds=float(found.get("cpu_seconds", 0)),
        device_percent=before.device_percent,
        device_memory_bytes=before.device_memory_bytes,
        checkpoint_at=_checkpoint(folder) or before.checkpoint_at,
    )
    metrics = last_metrics(folder / "work" / METRICS)
    return {"usage": usage, "log_bytes": int(found.get("log_bytes", 0)), "metrics": metrics}


def _checkpoint(folder: Path) -> float | None:
    """Return when the task last said that its work is saved: the time of a file that it touches."""
    file = plain_file(folder / "work" / CHECKPOINT)
    if file is None:
        return None
    with file:
        return os.fstat(file.fileno()).st_mtime


def stamp(folder: Path) -> tuple[int, int, int]:
    """Return a value that changes when :func:`measured` would."""
    work = folder / "work"
    return _mtime(folder / "usage.json"), _mtime(work / METRICS), _mtime(work / CHECKPOINT)


def last_line(path: Path) -> str:
    """Return a text file's last line, shortened, "" if there is none."""
    with contextlib.suppress(OSError):
        lines = path.read_text(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else ""
    return ""


def _mtime(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
