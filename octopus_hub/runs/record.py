"""Writes the record of every attempt, whatever its end (design, law 13). Called by the controller's apply."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import msgspec

from octopus_hub._version import __version__
from octopus_hub.backends.base import Backend
from octopus_hub.core.exits import classify
from octopus_hub.model.errors import OctopusError
from octopus_hub.model.record import Environment, OutputFile, Record, TaskEnd
from octopus_hub.model.task import Task
from octopus_hub.model.taskset import TaskSet

log = logging.getLogger(__name__)


class RecordWriter:
    """Collects what an attempt left and stores its record in the backend."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def record(self, taskset: TaskSet, tasks: Sequence[Task], attempt: int) -> Record:
        """Collect outputs, then store the record; doing it again replaces it by an equal one."""
        outputs, problems = await self._collect(taskset, tasks)
        record = build(taskset, tasks, attempt, outputs, await self._environments(taskset))
        if problems:
            record = msgspec.structs.replace(record, message=" ".join([record.message, *problems]).strip())
        return await self._backend.put_record(record)

    async def _collect(self, taskset: TaskSet, tasks: Sequence[Task]) -> tuple[list[OutputFile], list[str]]:
        found: list[OutputFile] = []
        problems: list[str] = []
        if not taskset.spec.outputs:
            return found, problems
        for task in sorted(tasks, key=lambda each: (each.role, each.index, each.attempt)):
            try:
                files = await self._backend.collect_outputs(task.namespace, task.name, taskset.spec.outputs)
            except OctopusError as error:
                log.warning("outputs of %s were not collected: %s", task.name, error)
                problems.append(f"Outputs of {task.role} {task.index} were not collected: {error}")
                continue
            prefix = f"{task.role}-{task.index}"
            found.extend(msgspec.structs.replace(file, path=f"{prefix}/{file.path}") for file in files)
        return found, problems

    async def _environments(self, taskset: TaskSet) -> dict[str, Environment]:
        environments: dict[str, Environment] = {}
        for role, digest in taskset.resolved.images.items():
            try:
                environments[role] = (await self._backend.resolve_image(digest)).environment
            except OctopusError as error:
                log.warning("the environment of %s can't be described: %s", role, error)
                name = taskset.resolved.image_names.get(role, "")
                environments[role] = Environment(image=name, digest=digest)
        return environments


def build(
    taskset: TaskSet,
    tasks: Sequence[Task],
    attempt: int,
    outputs: list[OutputFile],
    environments: dict[str, Environment],
) -> Record:
    """Return the record of an attempt; pure."""
    status, spec, meta = taskset.status, taskset.spec, taskset.metadata
    ends = [_end(task) for task in sorted(tasks, key=lambda each: (each.role, each.index, each.attempt))]
    metrics = {name: value for task in tasks for name, value in task.metrics.items() if task.index == 0}
    finished = max((task.finished_at for task in tasks if task.finished_at is not None), default=status.finished_at)
    return Record(
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid,
        owner=meta.owner,
        attempt=attempt,
        phase=status.phase,
        reason=status.reason,
        message=status.message,
        final=status.phase.terminal,
        spec=msgspec.to_builtins(spec),
        spec_digest=taskset.resolved.spec_digest,
        resolved=msgspec.to_builtins(taskset.resolved),
        workspace=spec.workspace.digest,
        git=spec.workspace.git,
        environments=environments,
        parameters=spec.run.parameters if spec.run else {},
        inputs=[msgspec.to_builtins(each) for each in spec.inputs],
        seed=spec.seed,
        queued_at=status.queued_at,
        admitted_at=status.admitted_at,
        started_at=status.started_at or status.starting_at,
        finished_at=status.finished_at if status.phase.terminal else finished,
        timeline=status.timeline,
        tasks=ends,
        metrics=metrics,
        outputs=outputs,
        product_version=__version__,
    )


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
