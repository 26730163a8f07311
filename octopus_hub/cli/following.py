"""Commands that follow what happens: ``logs``, ``events``, ``wait``. All are pushed to; none polls."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence

from octopus_hub.cli import exits, show
from octopus_hub.cli.naming import namespace_and_name
from octopus_hub.cli.progress import Progress
from octopus_hub.client import jobtext
from octopus_hub.client.aio import AsyncClient
from octopus_hub.client.calls import LogQuery
from octopus_hub.client.failures import WaitTimeout
from octopus_hub.client.job import Job
from octopus_hub.client.jobtext import because
from octopus_hub.client.sync import Client
from octopus_hub.model.answers import Frame, TaskSetView
from octopus_hub.model.errors import NotFound
from octopus_hub.model.status import Phase, TimelineEntry
from octopus_hub.model.task import Task
from octopus_hub.model.taskset import TaskSet


def wait(arguments: Namespace) -> int:
    """``octopus wait``."""
    end = None if arguments.timeout is None else time.monotonic() + arguments.timeout
    code = exits.OK
    with Client() as client:
        jobs = [Job.find(name, namespace, client) for namespace, name in map(namespace_and_name, arguments.names)]
        for job in jobs:
            try:
                code = max(code, finish(job, None if end is None else max(0.0, end - time.monotonic())))
            except WaitTimeout:
                phase = job.view.taskset.status.phase.value
                raise WaitTimeout(
                    f"{job.name} is {phase} after {arguments.timeout:g} s; waiting has ended, the TaskSet goes on"
                ) from None
    return code


def finish(job: Job, timeout: float | None = None) -> int:
    """Wait for a job with a progress line, say how it ended, return the exit code."""
    try:
        with Progress() as progress:
            if not job.view.taskset.status.phase.terminal:
                for view in job.watch(timeout):
                    progress.update(view)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{job.name} keeps running; `octopus stop {job.name}` stops it") from None
    if job.view.taskset.status.phase == Phase.SUCCEEDED:
        ran = jobtext.running_time(job.view.taskset.status, time.time())
        show.note(f"{job.name} succeeded" + (f" after {ran}" if ran else ""))
        return exits.OK
    show.note(jobtext.why_failed(job.view))
    if told := _member_at_fault(job):
        show.note(f"its log: octopus logs {job.name} --role {told[0]} --index {told[1]}")
    return exits.FAILED


def _member_at_fault(job: Job) -> tuple[str, int] | None:
    """Return the task that the reason names, else the first that is worth a word."""
    status = job.view.taskset.status
    found = [(role.name, task.index) for role in status.roles for task in role.exceptional]
    named = [(role, index) for role, index in found if f"{role} {index} " in status.message]
    return next(iter(named or found), None)


# --- logs


def logs(arguments: Namespace) -> int:
    """``octopus logs``: one task's bytes as they are; several tasks' lines with their names before them."""
    namespace, name = namespace_and_name(arguments.name)
    with Client() as client:
        view = client.get(name, namespace)
        chosen = members(view.taskset, arguments.role, arguments.index)
        if arguments.attempt is not None and not arguments.follow:
            check_attempt(view, chosen, arguments.attempt)
        queries = [LogQuery(role, index, arguments.attempt, arguments.follow, arguments.tail) for role, index in chosen]
        if len(queries) == 1:
            for chunk in client.logs(name, queries[0], namespace):
                show.write_bytes(chunk)
            return exits.OK
        if not arguments.follow:
            absent = [error for query in queries if (error := _print_prefixed(client, name, namespace, query))]
            if len(absent) == len(queries):
                raise absent[0]
            return exits.OK
    asyncio.run(_follow_all(name, namespace, queries))
    return exits.OK


def members(taskset: TaskSet, role: str | None, index: int | None) -> list[tuple[str, int]]:
    """Return the tasks that are meant; raises NotFound naming what there is."""
    names = [each.name for each in taskset.spec.roles]
    if role is not None and role not in names:
        raise NotFound(f"{taskset.name} has no role {role!r}; its roles are {', '.join(names)}")
    chosen = [each for each in taskset.spec.roles if role in (None, each.name)]
    found = [
        (each.name, number)
        for each in chosen
        for number in range(taskset.size(each) if index is None else each.most)  # earlier attempts may have had more
        if index in (None, number)
    ]
    if not found:
        raise NotFound(
            f"{taskset.name} has no task {index}; the roles have {', '.join(f'{r.name} {r.most}' for r in chosen)}"
        )
    return found


def check_attempt(view: TaskSetView, chosen: Sequence[tuple[str, int]], attempt: int) -> None:
    """Raise NotFound for an attempt that none of these tasks has had yet; the log of such a one would just be empty."""
    had = [task.attempt for task in view.tasks or () if task.identity in chosen]
    if had and not 1 <= attempt <= max(had):
        raise NotFound(f"{view.taskset.name} has no attempt {attempt} there; the last one is {max(had)}")


LONGEST_LINE = 1 << 16


class Prefixer:
    """Puts a task's name before each of its lines, wherever the chunks were cut."""

    def __init__(self, query: LogQuery) -> None:
        self._prefix = f"[{query.role}-{query.index}] ".encode()
        self._rest = b""

    def feed(self, chunk: bytes) -> bytes:
        """Return the lines that this chunk completes; a line without an end is cut at ``LONGEST_LINE``."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        while len(self._rest) > LONGEST_LINE:
            lines.append(self._rest[:LONGEST_LINE])
            self._rest = self._rest[LONGEST_LINE:]
        return b"".join(self._prefix + line + b"\n" for line in lines)

    def end(self) -> bytes:
        """Return what is left."""
        return self._prefix + self._rest + b"\n" if self._rest else b""


def _print_prefixed(client: Client, name: str, namespace: str, query: LogQuery) -> NotFound | None:
    prefixer = Prefixer(query)
    try:
        for chunk in client.logs(name, query, namespace):
            show.write_bytes(prefixer.feed(chunk))
    except NotFound as error:
        return error  # this task has not begun (or had no such attempt); others may have
    show.write_bytes(prefixer.end())
    return None


async def _follow_all(name: str, namespace: str, queries: list[LogQuery]) -> None:
    async def one(client: AsyncClient, query: LogQuery) -> None:
        prefixer = Prefixer(query)
        try:
            async for chunk in client.logs(name, query, namespace):
                show.write_bytes(prefixer.feed(chunk))
        except NotFound:
            return
        show.write_bytes(prefixer.end())

    async with AsyncClient() as client:
        await asyncio.gather(*(one(client, query) for query in queries))


# --- events


def events(arguments: Namespace) -> int:
    """``octopus events``."""
    namespace, name = namespace_and_name(arguments.name) if arguments.name else ("", "")
    with Client() as client:
        if not arguments.follow:
            tasksets = [client.get(name, namespace).taskset] if name else [view.taskset for view in client.list()]
            past = sorted((event for taskset in tasksets for event in _phases(taskset)), key=_time_of)
            printer = EventPrinter(arguments.format, past)
            for event in past:
                printer.show(event)
            return exits.OK
        if name:
            client.get(name, namespace)  # a name that does not exist is an error, not silence
        happenings, printer = Happenings(), EventPrinter(arguments.format)
        for frame in client.stream(namespace, name):
            for event in happenings.of(frame):
                printer.show(event)
    return exits.OK


Event = dict[str, object]


class Happenings:
    """Turns frames into events: what the frame says that was not known before."""

    def __init__(self) -> None:
        self._phases: dict[str, float] = {}
        self._states: dict[str, str] = {}
        self._started = False

    def of(self, frame: Frame) -> Iterator[Event]:
        """Yield the events of a frame, oldest first. The first snapshot tells phases only, as history."""
        found: list[Event] = []
        for taskset in frame.tasksets:
            known = self._phases.get(taskset.metadata.uid, 0.0)
            phases = _phases(taskset)
            found += [event for event in phases if _time_of(event) > known]
            self._phases[taskset.metadata.uid] = _time_of(phases[-1])
        for task in frame.tasks:
            key = f"{task.namespace}/{task.name}"
            if self._states.get(key) != task.state.value:
                self._states[key] = task.state.value
                if self._started:
                    found.append(_task_event(task))
        self._started = True
        yield from sorted(found, key=_time_of)


def _time_of(event: Event) -> float:
    return float(str(event["at"]))


def _phases(taskset: TaskSet) -> list[Event]:
    meta = taskset.metadata
    timeline = taskset.status.timeline or [TimelineEntry(phase=taskset.status.phase, at=meta.created_at)]
    return [
        {"at": entry.at, "taskset": f"{meta.namespace}/{meta.name}", "what": entry.phase.value, "why": because(entry)}
        for entry in timeline
    ]


def _task_event(task: Task) -> Event:
    at = task.finished_at or task.started_at or task.bound_at or task.created_at
    why = ", ".join(word for word in (task.end_reason, task.message) if word)
    member = f"{task.role} {task.index}"
    return {
        "at": at,
        "taskset": f"{task.namespace}/{task.taskset}",
        "task": member,
        "what": task.state.value,
        "why": why,
    }


class EventPrinter:
    """Prints events: JSON lines for programs, else columns that grow with what comes (``known`` is what will)."""

    def __init__(self, style: str, known: Iterable[Event] = ()) -> None:
        self._style = style
        self._widths = [0, 0, 0]
        for event in known:
            self._grow(_words(event))

    def show(self, event: Event) -> None:
        """Print one, at once."""
        if self._style == "json":
            show.write(json.dumps(event) + "\n")
        else:
            words = _words(event)
            self._grow(words)
            cells = [word.ljust(width) for word, width in zip(words, self._widths, strict=True) if width]
            line = [jobtext.moment(_time_of(event), time.time()), *cells, str(event["why"])]
            show.write("  ".join(line).rstrip() + "\n")
        sys.stdout.flush()

    def _grow(self, words: Sequence[str]) -> None:
        self._widths = [max(width, len(word)) for width, word in zip(self._widths, words, strict=True)]


def _words(event: Event) -> tuple[str, str, str]:
    return str(event["taskset"]), str(event.get("task", "")), str(event["what"])
