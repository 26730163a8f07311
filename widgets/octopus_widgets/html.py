"""A TaskSet as plain, static HTML: what a reopened notebook shows where no widget lives. Pure: values and a time in.

Every text is escaped. Only elements, classes and style properties that JupyterLab's sanitizer lets through are used, no
script, no style sheet and nothing from elsewhere; text keeps the page's own colour, so it reads on light and on dark.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape

from octopus_hub.client import jobtext
from octopus_hub.model.answers import TaskSetView
from octopus_hub.model.status import Phase
from octopus_hub.model.task import Task, TaskState
from octopus_hub.model.taskset import TaskSet

SHOWN_TASKS = 50
CLASS = "octopus-static"

_PHASE_COLOURS = {
    Phase.RUNNING: "#3b74e0",
    Phase.STARTING: "#5c86e6",
    Phase.SUCCEEDED: "#1c8f53",
    Phase.FAILED: "#d63a4c",
    Phase.RESTARTING: "#c07a10",
    Phase.PREEMPTING: "#c07a10",
}
_STATE_COLOURS = {
    TaskState.RUNNING: "#3b74e0",
    TaskState.BOUND: "#5c86e6",
    TaskState.SUCCEEDED: "#1c8f53",
    TaskState.FAILED: "#d63a4c",
    TaskState.UNKNOWN: "#9648a8",
}
_GREY = "#7d8797"
_CELL = "text-align: left; padding: 2px 14px 2px 0"


def render(view: TaskSetView, now: float) -> str:
    """Return the whole view as one ``div``.

    Its class carries the uid, by which a live view of the same TaskSet hides it.
    """
    taskset, status = view.taskset, view.taskset.status
    parts = [_head(view, now)]
    if view.queue_place is not None and status.phase.waiting:
        parts.append(_line(jobtext.waiting(view.queue_place)))
    elif status.message:
        parts.append(_line(status.message))
    parts.append(_tasks(view.tasks, now) if view.tasks else _roles(view))
    told = [line for line in jobtext.exceptional(status) if line.partition(": ")[2] not in status.message]
    problems = told[:SHOWN_TASKS]
    if problems:
        parts.append(f'<ul style="margin: 4px 0">{"".join(f"<li>{escape(line)}</li>" for line in problems)}</ul>')
    if status.record:
        parts.append(_line("record: ", f"<code>{escape(status.record)}</code>"))
    parts.append(_foot(taskset, now))
    uid = re.sub(r"[^A-Za-z0-9_-]", "", taskset.metadata.uid)
    colour = _PHASE_COLOURS.get(status.phase, _GREY)
    joined = "\n".join(parts)
    style = f"border-left: 3px solid {colour}; padding: 4px 12px; margin: 4px 0"
    return f'<div class="{CLASS} {CLASS}-{uid}" style="{style}">\n{joined}\n</div>'


def _head(view: TaskSetView, now: float) -> str:
    taskset, status = view.taskset, view.taskset.status
    colour = _PHASE_COLOURS.get(status.phase, _GREY)
    words = [status.phase.value]
    if status.reason and status.reason != status.phase.value:
        words.append(f"({status.reason})")
    rest = [f"attempt {status.attempt}" if status.attempt > 1 else "", jobtext.running_time(status, now)]
    return (
        f"<div><b>{escape(taskset.name)}</b> "
        f'<b style="color: {colour}">{escape(" ".join(words))}</b> '
        f"{escape(' · '.join(word for word in rest if word))}</div>"
    )


def _tasks(tasks: Sequence[Task], now: float) -> str:
    if len(tasks) > SHOWN_TASKS:
        counts = Counter((task.role, task.state) for task in tasks)
        rows = [
            [escape(role), str(number), _state(state, state.value)]
            for (role, state), number in sorted(counts.items(), key=lambda item: (item[0][0], item[0][1].value))
        ]
        return _table(("Role", "Tasks", "State"), rows)
    return _table(("Role", "Task", "State", "Node", "Devices", "Time", "Memory", "Note"), (_row(t, now) for t in tasks))


def _row(task: Task, now: float) -> list[str]:
    memory = task.usage.peak_memory_bytes or task.usage.memory_bytes
    stopped = task.state is TaskState.FAILED and task.end_reason == "Stopped"
    number = str(task.index) if task.attempt == 1 else f"{task.index} (attempt {task.attempt})"
    return [
        escape(task.role),
        number,
        _state(TaskState.PENDING, "Stopped") if stopped else _state(task.state, task.state.value),
        escape(task.node),
        escape(", ".join(identity for ids in task.devices.values() for identity in ids)),
        jobtext.duration((task.finished_at or now) - task.started_at) if task.started_at else "",
        jobtext.size(memory) if memory else "",
        escape(_note(task, stopped)),
    ]


def _note(task: Task, stopped: bool) -> str:
    if stopped:
        return ""
    if task.signal is not None:
        words = f"signal {task.signal}"
    else:
        words = f"exit code {task.exit_code}" if task.exit_code else ""
    said = [word for word in (task.end_reason, words, task.message) if word]
    return ", ".join(said) or ", ".join(f"{name} {value:.4g}" for name, value in list(task.metrics.items())[:3])


def _roles(view: TaskSetView) -> str:
    rows = [
        [escape(role.name), str(role.count), escape(jobtext.amounts(role.resources.amounts()))]
        for role in view.taskset.spec.roles
    ]
    return _table(("Role", "Tasks", "Each needs"), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of cells that are HTML already."""
    top = "".join(f'<th style="{_CELL}">{name}</th>' for name in head)
    lines = ("".join(f'<td style="{_CELL}">{cell}</td>' for cell in row) for row in rows)
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return f'<table style="margin: 4px 0"><thead><tr>{top}</tr></thead>\n<tbody>{body}</tbody></table>'


def _state(state: TaskState, word: str) -> str:
    return f'<b style="color: {_STATE_COLOURS.get(state, _GREY)}">{escape(word)}</b>'


def _line(text: str, html: str = "") -> str:
    return f"<div>{escape(text)}{html}</div>"


def _foot(taskset: TaskSet, now: float) -> str:
    status = taskset.status
    at = datetime.fromtimestamp(now).strftime("%Y-%m-%d %H:%M:%S")
    rest = "" if status.phase.terminal else f"; octopus get {escape(taskset.name)} says how it is now"
    return f'<div style="color: {_GREY}; font-size: 90%">as of {at}{rest}</div>'
