"""Commands that look: ``list``, ``get``, ``describe``, ``why``, ``tasks``."""

from __future__ import annotations

import textwrap
import time
from argparse import Namespace
from collections.abc import Sequence

from octopus_hub.cli import exits, show
from octopus_hub.cli.naming import namespace_and_name, pairs
from octopus_hub.cli.progress import running_of_total
from octopus_hub.client import jobtext
from octopus_hub.client.calls import NodeUse
from octopus_hub.client.room import room, shortages
from octopus_hub.client.sync import Client
from octopus_hub.model.answers import TaskSetView
from octopus_hub.model.status import Phase, QueuePlace, Status
from octopus_hub.model.task import Task
from octopus_hub.model.taskset import TaskSet

BEHIND = "BehindInQueue"
QUOTAS = ("QueueQuota", "UserQuota")
WITHHELD = ("Held", "WaitingFor", "DependencyFailed", "QueuePaused", "QueueUnknown")  # room is not what it waits for
TIES = {
    "kernel": "its kernel: it is stopped when that ends",
    "server": "its notebook server: it is stopped when that ends",
}
HEADER = ("NAME", "PHASE", "RUNNING", "QUEUE", "AGE", "TIME", "NOTE")


def list_(arguments: Namespace) -> int:
    """``octopus list``."""
    namespace = "*" if arguments.all_namespaces else arguments.namespace
    if arguments.label:
        pairs([arguments.label], "--label")
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
        nodes = client.node_use() if view.taskset.status.phase == Phase.QUEUED else []
    show.write(description(view, time.time(), nodes) + "\n")
    return exits.OK


def why(arguments: Namespace) -> int:
    """``octopus why``."""
    namespace, name = namespace_and_name(arguments.name)
    with Client() as client:
        answer = client.why(name, namespace)
    if arguments.format == "table":
        show.write(jobtext.reasons(answer) + "\n")
    else:
        show.show_document(show.plain(answer), arguments.format)
    return exits.OK


def tasks(arguments: Namespace) -> int:
    """``octopus tasks``."""
    namespace, name = namespace_and_name(arguments.name)
    with Client() as client:
        found = client.tasks(name, namespace)
    if arguments.format == "table":
        if found:
            show.write(textwrap.dedent(jobtext.task_table(found, time.time())) + "\n")
        else:
            show.aside(f"{name} has no tasks now")
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
        return (
            name(view),
            status.phase.value,
            f"{running}/{total}",
            taskset.spec.queue,
            jobtext.duration(jobtext.age_seconds(taskset, now)),
            jobtext.running_time(status, now),
            note(view),
        )

    show.show_many(views, style, HEADER, row, name, "no TaskSets; submit one with `octopus submit`")


def note(view: TaskSetView) -> str:
    """Return what is worth saying about a TaskSet in a list."""
    if view.queue_place is not None and view.taskset.status.phase.waiting:
        tried = jobtext.last_try(view.taskset.status)
        return jobtext.waiting(view.queue_place) + (f"; last try: {tried}" if tried else "")
    return view.taskset.status.message


def description(view: TaskSetView, now: float, nodes: Sequence[NodeUse] = ()) -> str:
    """Return everything about a TaskSet as text; ``nodes`` show what is free while it waits."""
    taskset, status, meta = view.taskset, view.taskset.status, view.taskset.metadata
    phase = status.phase.value + (f" ({status.reason})" if status.reason and status.reason != status.phase else "")
    waits = view.queue_place if status.phase.waiting else None
    facts = [
        ("Name", meta.name),
        ("Namespace", meta.namespace),
        ("Owner", meta.owner if meta.owner != meta.namespace else ""),
        ("Labels", ", ".join(f"{key}={value}" for key, value in sorted(meta.labels.items()))),
        ("Phase", phase),
        ("Message", jobtext.one_line(status.message) if waits is None else ""),
        ("Last try", jobtext.last_try(status)),
        ("Queue", taskset.spec.queue),
        ("Priority", taskset.spec.priority),
        ("Framework", taskset.spec.framework),
        ("After", ", ".join(f"{each.name} ({each.on})" for each in taskset.spec.after)),
        ("Tied to", TIES.get(taskset.spec.lifetime.mode, "")),
        ("Needs", jobtext.amounts(taskset.amounts())),
        ("Age", jobtext.duration(jobtext.age_seconds(taskset, now))),
        ("Ran", jobtext.running_time(status, now)),
        ("Attempt", str(status.attempt) if status.attempt else ""),
        ("Preempted", jobtext.preempted(status, now)),
        ("Workspace", taskset.spec.workspace.digest or ""),
        ("Record", status.record),
    ]
    parts = ["\n".join(f"{label + ':':<14}{value}" for label, value in facts if value)]
    if waits is not None:
        parts.append(why_waiting(waits, taskset, nodes))
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


def why_waiting(place: QueuePlace, taskset: TaskSet, nodes: Sequence[NodeUse]) -> str:
    """Return why it waits: the sentence, what is left of a quota, and what it needs against what is free where."""
    lines = [f"{'Waits:':<14}{jobtext.waiting(place).removeprefix('waits ')}"]
    if place.code in QUOTAS:
        lines.append(f"{'Quota left:':<14}{jobtext.amounts(place.free)} of the {jobtext.amounts(place.need)} it needs")
    if place.code == BEHIND and nodes and not shortages(taskset, nodes):
        lines.append(f"{'Room:':<14}enough for it now; what stands before it in queue {taskset.spec.queue} goes first")
    if place.code not in WITHHELD and (table := room(taskset, nodes)):
        lines.append(table)
    return "\n".join(lines)


def _conditions(status: Status) -> str:
    rows = [
        (condition.type, "yes" if condition.status else "no", condition.reason, condition.message)
        for condition in status.conditions
    ]
    return jobtext.columns(("TYPE", "HOLDS", "REASON", "MESSAGE"), rows, "  ")


def _task_name(task: Task) -> str:
    return task.name
