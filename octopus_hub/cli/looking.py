"""Commands that look: ``list``, ``get``, ``describe``, ``tasks``."""

from __future__ import annotations

import time
from argparse import Namespace

from octopus_hub.cli import exits, show
from octopus_hub.cli.naming import namespace_and_name
from octopus_hub.cli.progress import running_of_total
from octopus_hub.client import jobtext
from octopus_hub.client.sync import Client
from octopus_hub.model.answers import TaskSetView
from octopus_hub.model.status import QueuePlace, Status
from octopus_hub.model.task import Task

HEADER = ("NAME", "PHASE", "RUNNING", "QUEUE", "AGE", "TIME", "NOTE")
NOTE_WIDTH = 100


def list_(arguments: Namespace) -> int:
    """``octopus list``."""
    namespace = "*" if arguments.all_namespaces else arguments.namespace
    with Client() as client:
        views = client.list(namespace, arguments.phase or "", arguments.label or "")
    show_views(views, arguments.format, qualified=bool(namespace))
    return exits.OK


def get(arguments: Namespace) -> int:
    """``octopus get``."""
    with Client() as client:
        views = [client.get(name, namespace) for namespace, name in map(namespace_and_name, arguments.names)]
    if len(views) == 1 and arguments.format in ("json", "yaml"):
        show.show_document(show.plain(views[0]), arguments.format)
    else:
        show_views(views, arguments.format)
    return exits.OK


def describe(arguments: Namespace) -> int:
    """``octopus describe``."""
    namespace, name = namespace_and_name(arguments.name)
    with Client() as client:
        view = client.get(name, namespace)
        if view.tasks is None:
            view = TaskSetView(taskset=view.taskset, queue_place=view.queue_place, tasks=client.tasks(name, namespace))
    show.write(description(view, time.time()) + "\n")
    return exits.OK


def tasks(arguments: Namespace) -> int:
    """``octopus tasks``."""
    namespace, name = namespace_and_name(arguments.name)
    with Client() as client:
        found = client.tasks(name, namespace)
    if arguments.format == "table":
        show.write(jobtext.task_table(found, time.time()) + "\n" if found else "")
        return exits.OK
    show.show_many(found, arguments.format, (), lambda _: (), _task_name, "it has no tasks yet")
    return exits.OK


def show_views(views: list[TaskSetView], style: str, qualified: bool = False) -> None:
    """Print TaskSets."""
    now = time.time()

    def name(view: TaskSetView) -> str:
        meta = view.taskset.metadata
        return f"{meta.namespace}/{meta.name}" if qualified else meta.name

    def row(view: TaskSetView) -> tuple[str, ...]:
        taskset, status = view.taskset, view.taskset.status
        running, total = running_of_total(view)
        words = note(view)
        return (
            name(view),
            status.phase.value,
            f"{running}/{total}",
            taskset.spec.queue,
            jobtext.duration(jobtext.age_seconds(taskset, now)),
            jobtext.running_time(status, now),
            words if len(words) <= NOTE_WIDTH else words[: NOTE_WIDTH - 1] + "…",
        )

    show.show_many(views, style, HEADER, row, name, "no TaskSets; submit one with `octopus submit`")


def note(view: TaskSetView) -> str:
    """Return what is worth saying about a TaskSet in a list."""
    if view.queue_place is not None and view.taskset.status.phase.waiting:
        return jobtext.waiting(view.queue_place)
    return view.taskset.status.message


def description(view: TaskSetView, now: float) -> str:
    """Return everything about a TaskSet as text."""
    taskset, status, meta = view.taskset, view.taskset.status, view.taskset.metadata
    phase = status.phase.value + (f" ({status.reason})" if status.reason and status.reason != status.phase else "")
    facts = [
        ("Name", meta.name),
        ("Namespace", meta.namespace),
        ("Owner", meta.owner),
        ("Labels", ", ".join(f"{key}={value}" for key, value in sorted(meta.labels.items()))),
        ("Phase", phase),
        ("Message", status.message),
        ("Queue", taskset.spec.queue),
        ("Priority", taskset.spec.priority),
        ("Framework", taskset.spec.framework),
        ("Needs", jobtext.amounts(taskset.amounts())),
        ("Age", jobtext.duration(jobtext.age_seconds(taskset, now))),
        ("Ran", jobtext.running_time(status, now)),
        ("Attempt", str(status.attempt) if status.attempt else ""),
        ("Preempted by", status.preempted_by),
        ("Workspace", taskset.spec.workspace.digest or ""),
        ("Record", status.record),
    ]
    parts = ["\n".join(f"{label + ':':<14}{value}" for label, value in facts if value)]
    if view.queue_place is not None and status.phase.waiting:
        parts.append(why_waiting(view.queue_place))
    parts.append("Roles:\n" + jobtext.role_table(taskset))
    if view.tasks:
        parts.append("Tasks:\n" + jobtext.task_table(view.tasks, now))
    problems = jobtext.exceptional(status)
    if problems:
        parts.append("Problems:\n" + "\n".join(f"  {line}" for line in problems))
    if status.conditions:
        parts.append("Conditions:\n" + _conditions(status))
    if status.timeline:
        parts.append("Timeline:\n" + "\n".join(f"  {line}" for line in jobtext.timeline(status).splitlines()))
    return "\n\n".join(parts)


def why_waiting(place: QueuePlace) -> str:
    """Return why it waits: the sentence, then need against what is free."""
    lines = [f"Waits:        {jobtext.waiting(place)}"]
    need, free = place.need, place.free
    rows = [(name, str(count), str(free.devices.get(name, 0))) for name, count in sorted(need.devices.items())]
    if need.cpu_millis:
        rows.append(("CPU", f"{need.cpu_millis / 1000:g}", f"{free.cpu_millis / 1000:g}"))
    if need.memory_bytes:
        rows.append(("memory", jobtext.size(need.memory_bytes), jobtext.size(free.memory_bytes)))
    if rows:
        where = f" ON {place.where}" if place.where else ""
        lines.append(jobtext.columns(("RESOURCE", "NEEDS", f"FREE{where}"), rows, "  "))
    return "\n".join(lines)


def _conditions(status: Status) -> str:
    rows = [
        (condition.type, "yes" if condition.status else "no", condition.reason, condition.message)
        for condition in status.conditions
    ]
    return jobtext.columns(("TYPE", "HOLDS", "REASON", "MESSAGE"), rows, "  ")


def _task_name(task: Task) -> str:
    return task.name
