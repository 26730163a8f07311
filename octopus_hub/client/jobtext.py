"""A TaskSet as readable text: the view of a job where there are no widgets, and the tables of the command line.

Pure: values and the present time in, text out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

from octopus_hub.model.amounts import Amounts
from octopus_hub.model.answers import Fact, TaskSetView, WhyAnswer
from octopus_hub.model.status import QueuePlace, Status, TimelineEntry
from octopus_hub.model.task import Task, TaskState
from octopus_hub.model.taskset import Role, TaskSet

SHOWN_TASKS = 50
COMMAND_WIDTH = 60
WITHDRAWN = ("StartFailed", "BindTimeout")  # reasons in Queued: it was tried, and its message says what went wrong
STOPPED = "Stopped"  # a task that we ended has not failed
_CONTROL = dict.fromkeys((*range(32), *range(127, 160)), " ")


class Text(str):
    """Text that shows itself as it is, also as the last value of a notebook's cell."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def columns(header: Sequence[str], rows: Iterable[Sequence[str]], indent: str = "") -> str:
    """Return rows aligned under a header; control characters of cells are blanked."""
    table = [list(header), *([one_line(cell) for cell in row] for row in rows)]
    widths = [max(len(row[number]) for row in table) for number in range(len(header))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table)
    return "\n".join(indent + line for line in lines)


def summary(view: TaskSetView, now: float) -> str:
    """Return the whole view: phase, why it waits, tasks, what went wrong."""
    taskset, status = view.taskset, view.taskset.status
    parts = [headline(taskset, now)]
    if view.queue_place is not None and status.phase.waiting:
        parts.append("  " + waiting(view.queue_place))
        parts += [f"  last try: {tried}" for tried in (last_try(status),) if tried]
        parts += [f"  preempted {text}" for text in (preempted(status, now),) if text]
    elif status.message:
        parts.append("  " + one_line(status.message))
    if view.tasks:
        parts.append(task_table(view.tasks, now))
    elif taskset.spec.roles:
        parts.append(role_table(taskset))
    parts += [f"  {line}" for line in exceptional(status, but=status.message)]
    if status.record:
        parts.append(f"  record: {status.record}")
    return "\n".join(parts)


def headline(taskset: TaskSet, now: float) -> str:
    """Return name, phase and time in one line."""
    status = taskset.status
    words = [taskset.name, status.phase.value]
    if status.reason and status.reason != status.phase.value:
        words[-1] += f" ({status.reason})"
    if status.attempt > 1:
        words.append(f"attempt {status.attempt}")
    words.append(running_time(status, now) if status.started_at else f"{duration(age_seconds(taskset, now))} old")
    return "  ".join(words)


def waiting(place: QueuePlace) -> str:
    """Return why it waits, in numbers."""
    message = one_line(place.message)
    text = f"place {place.place} in its queue: {message}" if place.place else message  # 0: it does not queue yet
    if place.earliest_seconds is not None or place.estimate_seconds is not None:
        basis = f" ({place.basis})" if place.basis else ""
        text += f"; {starts(place)}{basis}"
    return text


def starts(place: QueuePlace) -> str:
    """Return when it is expected to start: ``starts in 5m00s to 2h00m``."""
    early, late = place.earliest_seconds, place.latest_seconds
    if early is None:
        return f"about {duration(place.estimate_seconds or 0.0)} more"
    if late is None:
        return f"starts in {duration(early)} or later"
    if duration(early) == duration(late):
        return f"starts in about {duration(late)}"
    return f"starts in {duration(early)} to {duration(late)}" if early >= 1 else f"starts within {duration(late)}"


def reasons(answer: WhyAnswer) -> Text:
    """Return why a TaskSet waits, runs here or ended, a line for each fact."""
    return Text("\n".join([answer.name, *facts(answer.facts)]))


def facts(found: Iterable[Fact], *kinds: str) -> list[str]:
    """Return a line for each fact, of these kinds only where some are named."""
    return [f"  {one_line(fact.message)}" for fact in found if not kinds or fact.kind in kinds]


def last_try(status: Status) -> str:
    """Return what ended its last try to start, while it waits for the next."""
    return one_line(status.message) if status.phase.waiting and status.reason in WITHDRAWN else ""


def preempted(status: Status, now: float) -> str:
    """Return for whom it made room last, by which rule and when, and how often that happened within a day."""
    if not status.preempted_at:
        return ""
    last = status.preempted_at[-1]
    today = sum(1 for at in status.preempted_at if at > now - 86_400)
    times = "once" if today == 1 else f"{today} times"
    rule = f", by the rule of {status.preempted_rule}" if status.preempted_rule else ""
    text = f"for {one_line(status.preempted_by)}{rule}, at {moment(last, now)}; {times} within a day"
    if status.served_seconds:
        text += f"; {duration(status.served_seconds)} of work are kept"
    return text


def role_table(taskset: TaskSet) -> str:
    """Return the roles of a TaskSet that has no tasks yet."""
    rows = [
        (role.name, tasks_of(taskset, role), amounts(taskset.each(role)), _command(role)) for role in taskset.spec.roles
    ]
    return columns(("ROLE", "TASKS", "EACH NEEDS", "COMMAND"), rows, "  ")


def tasks_of(taskset: TaskSet, role: Role) -> str:
    """Return how many tasks a role has: ``4``, ``4 of 2..8`` for an elastic one that is placed, ``2..8`` before."""
    if isinstance(role.replicas, int):
        return str(role.replicas)
    bounds = f"{role.replicas.min}..{role.replicas.max}"
    return f"{taskset.size(role)} of {bounds}" if taskset.status.placement.get(role.name) else bounds


def task_table(tasks: Sequence[Task], now: float) -> str:
    """Return a line for each task; the calm ones of a large gang are counted instead."""
    shown = list(tasks) if len(tasks) <= SHOWN_TASKS else _notable(tasks)
    rows = [_task_row(task, now) for task in shown]
    text = columns(("ROLE", "TASK", "STATE", "NODE", "DEVICES", "TIME", "MEMORY", "NOTE"), rows, "  ")
    if len(shown) < len(tasks):
        counts = Counter((task.role, task.state.value) for task in tasks)
        text += "".join(f"\n  {role}: {count} {state}" for (role, state), count in sorted(counts.items()))
    return text


def exceptional(status: Status, but: str = "") -> list[str]:
    """Return a line for each task that is worth a word, without one that the sentence ``but`` has told already."""
    return [
        one_line(f"{role.name} {task.index}: {task.cause or task.state}" + (f"; {task.advice}" if task.advice else ""))
        for role in status.roles
        for task in role.exceptional
        if not (task.cause and f"{role.name} {task.index} " in but and task.cause in but)
    ]


def timeline(status: Status) -> Text:
    """Return the phase changes with the time since the first."""
    if not status.timeline:
        return Text("nothing has happened yet")
    first = status.timeline[0].at
    rows = [
        (clock(entry.at), f"+{entry.at - first:.1f} s", entry.phase.value, because(entry)) for entry in status.timeline
    ]
    return Text(columns(("TIME", "SINCE", "PHASE", "REASON"), rows))


def because(entry: TimelineEntry) -> str:
    """Return why a phase came, unless that is the phase's own name."""
    return "" if entry.reason == entry.phase.value else entry.reason


def why_failed(view: TaskSetView) -> str:
    """Return one sentence or a few lines about an end that was no success."""
    status = view.taskset.status
    why = one_line(status.message) or status.reason or "no reason given"
    lines = [f"{view.taskset.name} {status.phase.value.lower()}: {why}"]
    lines += [f"  {line}" for line in exceptional(status, but=lines[0])]
    return "\n".join(lines)


def amounts(value: Amounts) -> str:
    """Return a vector of resources as people write it."""
    parts = [f"{count} {name}" for name, count in sorted(value.devices.items())]
    if value.cpu_millis:
        parts.append(f"{value.cpu_millis / 1000:g} CPU")
    if value.memory_bytes:
        parts.append(size(value.memory_bytes))
    return ", ".join(parts) or "nothing"


def size(count: int) -> str:
    """Return bytes in a binary unit."""
    for unit, factor in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}" if count < 1000 * factor else f"{count / factor:.0f} {unit}"
    return f"{count} B"


def duration(seconds: float) -> str:
    """Return ``12s``, ``3m05s``, ``2h07m``, ``4d03h``."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"


def clock(at: float) -> str:
    """Return the local time of day."""
    return datetime.fromtimestamp(at).strftime("%H:%M:%S")


def moment(at: float, now: float) -> str:
    """Return the local time of day, with the date unless it is today's."""
    then = datetime.fromtimestamp(at)
    today = then.date() == datetime.fromtimestamp(now).date()
    return then.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M")


def running_time(status: Status, now: float) -> str:
    """Return how long it runs or ran."""
    if status.started_at is None:
        return ""
    return duration((status.finished_at or now) - status.started_at)


def age_seconds(taskset: TaskSet, now: float) -> float:
    """Return the time since it was submitted."""
    return now - taskset.metadata.created_at if taskset.metadata.created_at else 0.0


def one_line(text: str) -> str:
    """Return a text in which nothing writes elsewhere on a terminal: control characters become blanks."""
    return text.translate(_CONTROL)


def cut(text: str, width: int) -> str:
    """Return a text, cut to a width."""
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


def _command(role: Role) -> str:
    return cut(" ".join([*role.command, *role.args]), COMMAND_WIDTH)


def _task_row(task: Task, now: float) -> tuple[str, ...]:
    devices = ",".join(identity for ids in task.devices.values() for identity in ids)
    time = duration((task.finished_at or now) - task.started_at) if task.started_at else ""
    memory = task.usage.memory_bytes or task.usage.peak_memory_bytes
    number = str(task.index) if task.attempt == 1 else f"{task.index} (attempt {task.attempt})"
    stopped = task.state is TaskState.FAILED and task.end_reason == STOPPED
    state = STOPPED if stopped else task.state.value
    return task.role, number, state, task.node, devices, time, size(memory) if memory else "", _note(task)


def _note(task: Task) -> str:
    if task.end_reason == STOPPED:
        return task.message
    if task.end_reason or task.signal is not None or task.exit_code:
        words = [task.end_reason, f"signal {task.signal}" if task.signal is not None else ""]
        if task.exit_code and task.signal is None:
            words.append(f"exit code {task.exit_code}")
        return ", ".join([*(word for word in words if word), *([task.message] if task.message else [])])
    return task.message or ", ".join(f"{name} {value:.4g}" for name, value in list(task.metrics.items())[:3])


def _notable(tasks: Sequence[Task]) -> list[Task]:
    usual = Counter(task.state for task in tasks).most_common(1)[0][0]
    return [task for task in tasks if task.state != usual][:SHOWN_TASKS]
