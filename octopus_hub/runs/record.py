"""Writes the record of every attempt, whatever its end (design, law 13). Called by the controller's apply."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from octopus_hub._version import __version__
from octopus_hub.backends.base import Backend
from octopus_hub.core.exits import classify
from octopus_hub.core.verdict import describe
from octopus_hub.model.record import RECORD_SCHEMA_VERSION, Record, TaskEnd
from octopus_hub.model.status import Phase
from octopus_hub.model.task import Task, TaskState
from octopus_hub.model.taskset import TaskSet
from octopus_hub.runs.capture import Captured, capture, last_attempts, stated_inputs, tasks_in_order

NOT_ITS_FAULT = ("Stopped", "Preempted", "Evicted", "Resized")

log = logging.getLogger(__name__)


class RecordWriter:
    """Collects what an attempt left and stores its record in the backend."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def record(self, taskset: TaskSet, tasks: Sequence[Task], attempt: int) -> Record:
        """Collect outputs, then store the record; doing it again replaces it by an equal one."""
        found = await capture(self._backend, taskset, tasks)
        return await self._backend.put_record(build(taskset, tasks, attempt, found), beside)


def beside(record: Record) -> Mapping[str, bytes]:
    """Return the files that make the record's folder a research object crate; none where ``rocrate`` is missing.

    Called in a worker thread by a backend that keeps records as folders.
    """
    try:
        from octopus_hub.runs.crate import WORKSPACE, descriptions

        return descriptions(record, code=Path(record.path, WORKSPACE).is_file())
    except ModuleNotFoundError as error:
        log.info("the record of %s has no ro-crate-metadata.json (%s); install octopus-hub[runs]", record.name, error)
    except Exception:
        log.exception("the record of %s is kept without its ro-crate-metadata.json", record.name)  # law 13 comes first
    return {}


def build(taskset: TaskSet, tasks: Sequence[Task], attempt: int, found: Captured) -> Record:
    """Return the record of an attempt; pure."""
    spec, meta, resolved = taskset.spec, taskset.metadata, taskset.resolved
    ends = [_end(task) for task in tasks_in_order(tasks)]
    record = Record(
        schema_version=RECORD_SCHEMA_VERSION,
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid,
        owner=meta.owner,
        attempt=attempt,
        phase=taskset.status.phase,
        spec=msgspec.to_builtins(spec),
        spec_digest=resolved.spec_digest,
        resolved=msgspec.to_builtins(resolved),
        workspace=spec.workspace.digest,
        git=spec.workspace.git,
        environments=found.environments,
        parameters=spec.run.parameters if spec.run else {},
        inputs=stated_inputs(spec.inputs),
        seed=spec.seed,
        timeline=taskset.status.timeline,
        started_at=min((task.started_at for task in tasks if task.started_at is not None), default=None),
        tasks=ends,
        choices=taskset.status.choices,
        served_seconds=taskset.status.served_seconds,
        metrics=_metrics(taskset, tasks),
        outputs=found.outputs,
        cells=found.cells,
        product_version=__version__,
    )
    last = taskset.status.phase.terminal and attempt == taskset.status.attempt
    ended = _ended(record, taskset) if last else _gone_by(record, taskset, tasks)
    if ended.started_at and ended.finished_at and ended.finished_at < ended.started_at:
        ended = msgspec.structs.replace(ended, finished_at=ended.started_at)  # a clock was set back in between
    if found.problems:
        words = [ended.message.rstrip(".") + "." if ended.message else "", *found.problems]
        ended = msgspec.structs.replace(ended, message=" ".join(word for word in words if word))
    return ended


def _ended(record: Record, taskset: TaskSet) -> Record:
    """Complete the record of the last attempt: what the status says."""
    status = taskset.status
    return msgspec.structs.replace(
        record,
        reason=status.reason,
        message=status.message,
        queued_at=status.queued_at,
        admitted_at=status.admitted_at,
        started_at=record.started_at or status.starting_at,
        finished_at=status.finished_at,
    )


def _gone_by(record: Record, taskset: TaskSet, tasks: Sequence[Task]) -> Record:
    """Complete the record of an attempt before another: its tasks tell, for the status may speak of the next already."""
    failed = [task for task in tasks if task.state is TaskState.FAILED]
    own = [task for task in failed if task.end_reason not in NOT_ITS_FAULT]
    first = min(own or failed, key=lambda task: (task.finished_at or 0.0, task.role, task.index), default=None)
    return msgspec.structs.replace(
        record,
        phase=Phase.FAILED if own else Phase.STOPPED,
        reason=(first.end_reason if first else "") or "TaskFailed",
        message=describe(first) if first else "its tasks left no trace",
        final=False,
        queued_at=taskset.status.queued_at,
        finished_at=max((task.finished_at for task in tasks if task.finished_at is not None), default=None),
    )


def _metrics(taskset: TaskSet, tasks: Sequence[Task]) -> dict[str, float]:
    """Return what the first task of each role reported last; the main role's word counts over the others'."""
    order = [role.name for role in sorted(taskset.spec.roles, key=lambda role: role.main)]
    latest = last_attempts(tasks)
    first = [task for task in tasks if task.index == 0 and task.name in latest and task.role in order]
    first.sort(key=lambda task: order.index(task.role))
    return {name: value for task in first for name, value in task.metrics.items()}


def _end(task: Task) -> TaskEnd:
    exit_ = classify(task)
    return TaskEnd(
        name=task.name,
        role=task.role,
        index=task.index,
        attempt=task.attempt,
        node=task.node,
        devices=task.devices,
        state=task.state.value,
        exit_code=task.exit_code,
        signal=task.signal,
        failure_class=exit_.failure_class,
        cause=exit_.cause,
        advice=exit_.advice,
        started_at=task.started_at,
        finished_at=task.finished_at,
        peak_memory_bytes=task.usage.peak_memory_bytes,
        cpu_seconds=task.usage.cpu_seconds,
        metrics=task.metrics,
        log=f"logs/{task.role}-{task.index}-{task.attempt}.log",
        log_bytes=task.log_bytes,
    )
