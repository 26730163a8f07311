"""Commands about records: ``replay``, ``records``, ``outputs``."""

from __future__ import annotations

import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import msgspec

from octopus_hub.cli import exits, show
from octopus_hub.cli.following import finish
from octopus_hub.cli.naming import namespace_and_name
from octopus_hub.client import archive as archives
from octopus_hub.client import inputs, jobtext
from octopus_hub.client.job import Job
from octopus_hub.client.paths import expanded
from octopus_hub.client.sync import Client
from octopus_hub.model.answers import TaskSetView
from octopus_hub.model.errors import Conflict, InvalidSpec, NotFound
from octopus_hub.model.record import Record, from_json
from octopus_hub.model.taskset import Spec
from octopus_hub.runs.compare import compare, render

MOST_BYTES = 64 << 20  # a record with tens of thousands of outputs has a few


def replay(arguments: Namespace) -> int:
    """``octopus replay``: check what can be checked here, run it again, with ``--watch`` say what differs at the end."""
    with Client() as client:
        given = read_record(arguments.record)
        original = given if isinstance(given, Record) else client.record(**given)
        _inputs_unchanged(original)
        _take_code_along(client, original, expanded(arguments.record))
        created = client.replay(given)
        job = Job(client, TaskSetView(taskset=created))
        if arguments.format == "table":
            show.write(f"submitted {created.name}\n")
        else:
            _show_one(job, arguments.format)
        if not arguments.watch:
            return exits.OK
        code = finish(job)
        _tell_differences(original, job, arguments.format)
        return code


def _inputs_unchanged(record: Record) -> None:
    """Raise InvalidSpec if inputs that this account can read are not what they were."""
    spec = msgspec.convert(record.spec, Spec)
    problems = inputs.changes(spec.inputs)
    if problems:
        raise InvalidSpec(
            f"{record.name} can't be replayed as it ran: {problems[0]}; put the input back, or submit the TaskSet anew",
            problems,
        )


def _take_code_along(client: Client, record: Record, place: Path) -> None:
    """Upload the code that lies beside a record's file, should the service not have it (any more)."""
    packed = (place if place.is_dir() else place.parent) / "workspace.tar.gz"
    if not record.workspace or not place.exists() or not packed.is_file() or client.has_blob(record.workspace):
        return
    archive = archives.read(packed)
    try:
        if archive.digest != record.workspace:
            raise InvalidSpec(
                f"{packed} is not the code of this record: it has {archive.digest}, not {record.workspace}"
            )
        client.upload(archive)
    finally:
        archive.close()


def _tell_differences(original: Record, job: Job, style: str) -> None:
    try:
        text = render(compare(original, job.record))
    except NotFound:
        show.note(f"{job.name} left no record to compare: it ended before it started")
        return
    if style == "table":
        show.write(f"{text}\n")
    else:
        show.note(text)


def list_(arguments: Namespace) -> int:
    """``octopus records``."""
    with Client() as client:
        found = client.records(arguments.name or "")
    header = ("NAME", "ATTEMPT", "PHASE", "ENDED", "RAN", "OUTPUTS", "PATH")
    show.show_many(
        found, arguments.format, header, _row, lambda record: f"{record.name}@{record.attempt}", "no records"
    )
    return exits.OK


def outputs(arguments: Namespace) -> int:
    """``octopus outputs``."""
    namespace, name = namespace_and_name(arguments.name)
    with Client() as client:
        try:
            job = Job.find(name, namespace, client)
            if not job.view.taskset.status.phase.terminal:
                raise Conflict(f"{name} has not ended; `octopus wait {name}` first")
            files = job.outputs.download(arguments.to)
        except NotFound:  # it was deleted; its records stay
            files = tuple(client.outputs(name, arguments.to or f"{name}-outputs", namespace))
    show.write("".join(f"{file}\n" for file in files))
    if not files:
        show.note(f"{name} left no outputs; declare them with --output or spec.outputs")
    return exits.OK


def read_record(text: str) -> Record | dict[str, Any]:
    """Return a record from a folder, a file, or how the service finds it."""
    path = expanded(text)
    if path.is_dir():
        path = path / "record.json"
    if path.is_file() or text.endswith(".json") or text.startswith((".", "/", "~")):
        return _read_file(path)
    found, at, attempt = text.partition("@")
    namespace, name = namespace_and_name(found)
    if at and not attempt.isdecimal():
        raise InvalidSpec(f"{text!r}: the attempt is a number, e.g. {found}@1")
    reference: dict[str, Any] = {"namespace": namespace, "name": name}
    return {**reference, "attempt": int(attempt)} if at else reference


def _read_file(path: Path) -> Record:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise InvalidSpec(f"it is larger than {MOST_BYTES >> 20} MiB, so it is no record")
        return from_json(content)
    except FileNotFoundError:
        raise InvalidSpec(f"there is no {path}; give a record's folder, its record.json, or NAME[@ATTEMPT]") from None
    except OSError as error:
        raise InvalidSpec(f"{path} can't be read: {error.strerror}") from None
    except InvalidSpec as error:
        raise InvalidSpec(f"{path} can't be replayed: {error.message}") from None


def _row(record: Record) -> tuple[str, ...]:
    ran = (record.finished_at or 0.0) - record.started_at if record.started_at and record.finished_at else None
    return (
        record.name,
        str(record.attempt),
        record.phase.value if record.final else f"{record.phase.value} (restarted)",
        jobtext.moment(record.finished_at, time.time()) if record.finished_at else "",
        jobtext.duration(ran) if ran is not None else "",
        str(len(record.outputs)),
        record.path,
    )


def _show_one(job: Job, style: str) -> None:
    if style == "name":
        show.write(f"{job.name}\n")
    else:
        show.show_document(show.plain(job.view), style)
