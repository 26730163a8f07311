"""Running a record again: the document to submit, after everything it stands on was checked to be there unchanged.

The document names images by digest and carries code, inputs, parameters and seed as they were. What places a run in
time (``after``, ``hold``, a lifetime tied to a kernel or server) is left out. Called by ``runs.archives``; the service
submits the document like any other.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from octopus_hub.backends.base import Backend, Image
from octopus_hub.model.descriptor import Descriptors
from octopus_hub.model.errors import InvalidSpec, NotFound, OctopusError
from octopus_hub.model.record import RECORD_SCHEMA_VERSION, Environment, Record
from octopus_hub.model.taskset import Metadata, Resolved, Spec, TaskSet
from octopus_hub.runs.packages import changes, instructions

REPLAY_OF = "octopus-hub.io/replay-of"
LONGEST_LABEL = 63
SHOWN = 6


async def replay(
    backend: Backend, record: Record, descriptors: Callable[[TaskSet], Descriptors] | None = None
) -> TaskSet:
    """Return the document that runs a record again.

    Raises
    ------
    InvalidSpec
        With every digest that can't be had, and every environment or descriptor that differs, each with the way out.
    """
    spec, resolved = _read(record)
    problems = [
        *await _code(backend, record),
        *await _environments(backend, record, resolved),
    ]
    roles = [msgspec.structs.replace(role, image=resolved.images.get(role.name, role.image)) for role in spec.roles]
    lifetime = msgspec.structs.replace(spec.lifetime, mode="detached", lease="")
    document = TaskSet(
        metadata=Metadata(name=record.name, labels={REPLAY_OF: label(record)}),
        spec=msgspec.structs.replace(spec, roles=roles, after=[], hold=False, lifetime=lifetime),
    )
    if descriptors is not None:
        problems += _wiring(resolved.descriptors, document, descriptors)
    if problems:
        raise InvalidSpec(summary(record, problems), problems)
    return document


def label(record: Record) -> str:
    """Return what the label says: ``{namespace}.{name}.{attempt}``, without the namespace where that is too long."""
    whole = f"{record.namespace}.{record.name}.{record.attempt}"
    return whole if len(whole) <= LONGEST_LABEL else f"{record.name}.{record.attempt}"


def missing_code(record: Record) -> str:
    """Say that the code of a record is not here (or not its reader's: the two are not told apart)."""
    return (
        f"workspace: the code {record.workspace} is not here; replay the record's folder "
        "(octopus replay FOLDER takes its workspace.tar.gz along), or submit the code again"
    )


def _read(record: Record) -> tuple[Spec, Resolved]:
    if record.schema_version > RECORD_SCHEMA_VERSION:
        raise InvalidSpec(
            f"the record of {record.name} has the schema version {record.schema_version}; this service knows up to "
            f"{RECORD_SCHEMA_VERSION}: upgrade it"
        )
    try:
        return msgspec.convert(record.spec, Spec), msgspec.convert(record.resolved, Resolved)
    except msgspec.ValidationError as error:
        raise InvalidSpec(f"the record of {record.name} can't be read: {error}", [f"record: {error}"]) from None


async def _code(backend: Backend, record: Record) -> list[str]:
    """Say what is wrong with the workspace's blob."""
    if not record.workspace:
        return []
    try:
        path = await backend.blob_path(record.workspace)
        found = await asyncio.to_thread(_digest, path)
    except (NotFound, OSError):
        return [missing_code(record)]
    if found != record.workspace:
        return [
            f"workspace: the stored code {record.workspace} is damaged (it has {found} now); restore it from a copy"
        ]
    return []


async def _environments(backend: Backend, record: Record, resolved: Resolved) -> list[str]:
    """Say for every role whose environment is not what it was, what differs."""
    problems: list[str] = []
    for role, digest in resolved.images.items():
        before = record.environments.get(role, Environment(image=resolved.image_names.get(role, ""), digest=digest))
        try:
            now = await _present(backend, before, digest)
        except OctopusError as error:
            problems.append(f"image of {role}: {error.message}")
            continue
        if now.digest != digest:
            problems.append(f"image of {role}: {_differs(before, now.environment)}")
    return problems


async def _present(backend: Backend, before: Environment, digest: str) -> Image:
    """Return what a digest's environment is today (a backend may remember one that is long gone)."""
    try:
        remembered = await backend.resolve_image(digest)
    except (InvalidSpec, NotFound):  # never seen here: the record comes from another machine
        return await backend.resolve_image(before.image)
    return await backend.resolve_image(remembered.name)


def _differs(before: Environment, now: Environment) -> str:
    found = changes(before, now)
    if not found:
        return f"the environment {before.image} is another one now ({now.digest}); submit the TaskSet anew to use it"
    shown = ", ".join(found[:SHOWN]) + (f" and {len(found) - SHOWN} more" if len(found) > SHOWN else "")
    return f"the environment {before.image} changed: {shown}; {instructions(before, now)}"


def _wiring(before: Descriptors, document: TaskSet, descriptors: Callable[[TaskSet], Descriptors]) -> Sequence[str]:
    """Say which descriptors are not what they were."""
    try:
        now = descriptors(document)
    except InvalidSpec as error:
        return error.problems or [error.message]
    return [
        f"{name}: this descriptor changed since the run; put its earlier file back, or submit the TaskSet anew"
        for name in sorted(before.digests.keys() | now.digests.keys())
        if before.digests.get(name) != now.digests.get(name) and before.digests
    ]


def summary(record: Record, problems: Sequence[str]) -> str:
    """Return the sentence before the problems."""
    what = f"{record.name} (attempt {record.attempt}) can't be replayed as it ran"
    return f"{what}: {problems[0]}" if len(problems) == 1 else f"{what}; {len(problems)} things differ"


def _digest(path: Path) -> str:
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            sha.update(chunk)
    return f"sha256:{sha.hexdigest()}"
