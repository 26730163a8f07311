"""What ran here before, from its run records: last month again, with another policy. Pure, but for reading a folder.

A job is a TaskSet that has ended: submitted when it first queued, with the time that its attempts ran in all as its
duration. Attempts that never ran count nothing. What a record contradicts itself in is told with its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from octopus_hub.core.estimate import fingerprint
from octopus_hub.core.expand import needs
from octopus_hub.core.snapshot import NodeView, RoleNeed
from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.node import Node
from octopus_hub.model.problems import Problems
from octopus_hub.model.queue import DEFAULT_PRIORITIES
from octopus_hub.model.record import Record, from_json
from octopus_hub.model.taskset import Metadata, Spec, TaskSet
from octopus_hub.simulate.jobs import LONGEST_SECONDS, Job, Trace, collect, noted

FILE = "record.json"
_PRIORITIES = {each.name: each.value for each in DEFAULT_PRIORITIES}


def parse(records: Iterable[Record], *, since: float = 0.0, first: int | None = None, strict: bool = False) -> Trace:
    """Return the jobs that were submitted from ``since`` on (seconds since the epoch)."""
    attempts: dict[str, list[Record]] = {}
    for record in records:
        attempts.setdefault(record.uid, []).append(record)
    problems, shapes = Problems(), _Shapes()
    trace = collect(_jobs(attempts, problems, shapes, since), problems, first=first, strict=strict)
    return noted(trace, (shapes.going_on, "left out, because not ended", "TaskSet"))


def read(folder: Path, *, since: float = 0.0, first: int | None = None, strict: bool = False) -> Trace:
    """Read the records in a folder and below it: a state folder, or copies of records.

    Raises
    ------
    InvalidSpec
        There are none, or one can't be read.
    """
    files = sorted(folder.rglob(FILE))
    if not files:
        raise InvalidSpec(f"no {FILE} lies in {folder} or below it; give a state folder, or one with copies of records")
    return parse(_read(files), since=since, first=first, strict=strict)


def nodes_of(nodes: Iterable[Node]) -> tuple[NodeView, ...]:
    """Return nodes as they are declared, as the pool of a simulation."""
    return tuple(NodeView(node.name, node.capacity, node.labels) for node in nodes)


def _read(files: Iterable[Path]) -> Iterator[Record]:
    for file in files:
        try:
            yield from_json(file.read_bytes())
        except OSError as error:
            raise InvalidSpec(f"{file} can't be read: {error.strerror or error}") from None
        except InvalidSpec as error:
            raise InvalidSpec(f"{file}: {error.message}") from None


class _Shapes:
    """Makes the roles of a job; equal ones once, so that they are looked at once."""

    def __init__(self) -> None:
        self.going_on = 0
        self._known: dict[str, tuple[RoleNeed, ...]] = {}

    def needs(self, spec: Spec) -> tuple[RoleNeed, ...]:
        found = needs(TaskSet(metadata=Metadata(name="history"), spec=spec))
        return self._known.setdefault(repr(found), found)


def _jobs(attempts: dict[str, list[Record]], problems: Problems, shapes: _Shapes, since: float) -> Iterator[Job]:
    for uid, records in attempts.items():
        records.sort(key=lambda record: record.attempt)
        last = records[-1]
        if not last.final:
            shapes.going_on += 1
            continue
        try:
            job = _job(uid, records, shapes)
        except (ValueError, msgspec.ValidationError) as wrong:
            problems.add(f"{last.namespace}/{last.name}", str(wrong))
            continue
        if job is not None and job.submitted >= since:
            yield job


def _job(uid: str, records: list[Record], shapes: _Shapes) -> Job | None:
    last = records[-1]
    spec = msgspec.convert(last.spec, Spec)
    seconds, end = 0.0, None
    for record in records:
        begun = min((task.started_at for task in record.tasks if task.started_at is not None), default=None)
        if begun is None or record.finished_at is None:
            continue
        if record.finished_at < begun:
            raise ValueError(f"attempt {record.attempt} ended {begun - record.finished_at:g} s before it began")
        if end is not None and begun < end:
            raise ValueError(f"attempt {record.attempt} began {end - begun:g} s before the one before it ended")
        seconds, end = seconds + record.finished_at - begun, record.finished_at
    if end is None:
        return None  # it never ran
    queued = min((record.queued_at for record in records if record.queued_at is not None), default=None)
    if queued is None or not 0 < queued <= end - seconds:
        raise ValueError("queued after it began" if queued else "when it was queued is missing")
    if seconds > LONGEST_SECONDS:
        raise ValueError(f"ran {seconds:g} s: nothing has run for so long")
    roles = shapes.needs(spec)
    return Job(
        uid=uid,
        submitted=queued,
        duration=seconds,
        gpus=sum(need.count * sum(need.each.devices.values()) for need in roles),
        cluster=spec.queue,
        priority=_PRIORITIES.get(spec.priority, 0),
        owner=last.owner,
        command=fingerprint(spec),
        max_runtime=spec.lifetime.max_runtime_seconds,
        needs=roles,
    )
