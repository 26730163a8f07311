"""A record's folder as a research object: RO-Crate 1.1 with the Process Run Crate 0.5 profile, and an in-toto statement.

Layout (of the folder beside ``record.json`` and of the zip): ``ro-crate-metadata.json``, ``provenance.intoto.json``,
``environments/{role}.txt``, ``workspace.tar.gz``, ``logs/``, ``outputs/``. The same record gives the same bytes. Imports
``rocrate`` (27 MB of memory), so it is imported itself only where a crate is made: ``runs.record``, ``runs.archives``.

Formats: https://w3id.org/ro/crate/1.1, https://w3id.org/ro/wfrun/process/0.5,
https://in-toto.io/Statement/v1 with https://slsa.dev/provenance/v1.
"""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import msgspec
from rocrate.model import ContextEntity
from rocrate.rocrate import ROCrate

from octopus_hub.model.canonical import digest
from octopus_hub.model.record import Environment, OutputFile, Record, to_json
from octopus_hub.model.status import Phase
from octopus_hub.runs.provenance import statement

METADATA, RECORD, WORKSPACE = "ro-crate-metadata.json", "record.json", "workspace.tar.gz"
PROVENANCE = "provenance.intoto.json"
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
CONTEXT = "https://w3id.org/ro/terms/workflow-run/context"
MOST_FILES = 1000  # more outputs or logs than this are described as one folder
Plain = dict[str, Any]


def descriptions(record: Record, *, code: bool = True) -> dict[str, bytes]:
    """Return the files that describe a record; ``code`` says whether its workspace lies beside them."""
    environments = {environment_path(role): lock(each) for role, each in record.environments.items()}
    return {
        METADATA: _text(metadata(record, code=code and record.workspace is not None)),
        PROVENANCE: _text(statement(without_place(record))),
        **{path: text.encode() for path, text in environments.items()},
    }


def record_file(record: Record) -> bytes:
    """Return ``record.json`` as it travels: without the folder it had here."""
    return to_json(without_place(record))


def without_place(record: Record) -> Record:
    """Return the record without the folder where it is kept."""
    return msgspec.structs.replace(record, path="")


def environment_path(role: str) -> str:
    """Return where the lock of a role's environment lies."""
    return f"environments/{role}.txt"


def lock(environment: Environment) -> str:
    """Return an environment as a requirements file."""
    head = [f"# {environment.image} {environment.digest}", f"# python {environment.python} {environment.platform}"]
    return "\n".join([*head, *environment.lock]) + "\n"


def metadata(record: Record, *, code: bool) -> Plain:
    """Return the JSON-LD document."""
    crate = ROCrate(version="1.1")
    crate.metadata.extra_contexts.append(CONTEXT)
    _describe_root(crate, record)
    crate.add_file(
        dest_path=RECORD, properties=_file("The record", "application/json", digest=digest(without_place(record)))
    )
    crate.add_file(dest_path=PROVENANCE, properties=_file("in-toto statement, SLSA provenance", "application/json"))
    program = _program(crate, record, code)
    action = crate.add_action(
        program,
        identifier=f"#{record.uid or record.name}-{record.attempt}",
        object=_objects(crate, record, code) or None,
        result=_results(crate, record) or None,
        properties=_action(record),
    )
    owner = record.owner or record.namespace
    action["agent"] = _add(crate, f"#{quote(owner, safe='')}", "Person", name=owner)
    crate.root_dataset["mentions"] = action
    _logs(crate, record)
    document: Plain = crate.metadata.generate()
    return document


def _logs(crate: Any, record: Record) -> None:
    kept = [task for task in record.tasks if task.log]
    if len(kept) > MOST_FILES:
        crate.add_directory(dest_path="logs/", properties={"name": f"Logs of {len(kept)} tasks"})
        return
    for task in kept:
        crate.add_file(dest_path=task.log, properties=_file(f"Log of {task.role} {task.index}", "text/plain"))


def _describe_root(crate: Any, record: Record) -> None:
    root = crate.root_dataset
    crate.name = f"{record.name}, attempt {record.attempt}"
    crate.description = (
        f"Run {record.name} of {record.owner or record.namespace} by octopus-hub: {record.phase.value}."
        + (f" {record.message}" if record.message else "")
    )
    root["datePublished"] = (
        _time(record.finished_at or record.started_at or record.queued_at) or "1970-01-01T00:00:00+00:00"
    )
    root["license"] = _add(
        crate,
        "#no-licence-given",
        "CreativeWork",
        name="No licence given",
        description="The owner has not said under which terms others may use this run; ask before you do.",
    )
    root["conformsTo"] = _add(crate, PROFILE, "CreativeWork", name="Process Run Crate", version="0.5")


def _program(crate: Any, record: Record, code: bool) -> Any:
    """Add what was run: the commands of the roles, their environments, the code."""
    needs = [
        crate.add_file(
            dest_path=environment_path(role),
            properties=_file(f"Environment {each.image} of role {role}", "text/plain", identifier=each.digest),
        )
        for role, each in record.environments.items()
    ]
    described: Plain = (
        {"description": _commands(record), "softwareRequirements": needs}
        if needs
        else {"description": _commands(record)}
    )
    if code:
        about = _file("The code", "application/gzip", digest=record.workspace or "")
        archive = crate.add_file(dest_path=WORKSPACE, properties={**about, "@type": ["File", "SoftwareSourceCode"]})
        if record.git and record.git.get("commit"):
            archive["version"] = record.git["commit"] + (" with changes" if record.git.get("dirty") else "")
            if record.git.get("remote"):
                archive["codeRepository"] = record.git["remote"]
        described["hasPart"] = archive
    version = str(record.git["commit"]) if record.git and record.git.get("commit") else record.spec_digest or "unknown"
    return _add(crate, "#program", "SoftwareApplication", name=record.name, softwareVersion=version, **described)


def _commands(record: Record) -> str:
    run = record.spec.get("run")
    lines = [f"notebook {run.get('notebook')}"] if isinstance(run, dict) else []
    for role in record.spec.get("roles", []):
        command = [*role.get("command", []), *role.get("args", [])]
        if command:
            lines.append(f"{role.get('name')}: {' '.join(command)}")
    return "; ".join(lines)[:2000] or "no command"


def _action(record: Record) -> Plain:
    done = record.phase is Phase.SUCCEEDED
    status = "http://schema.org/CompletedActionStatus" if done else "http://schema.org/FailedActionStatus"
    times = {"startTime": _time(record.started_at), "endTime": _time(record.finished_at)}
    error = {} if done else {"error": record.message or record.reason or record.phase.value}
    return {
        "@type": "CreateAction",
        "name": f"{record.name}, attempt {record.attempt}",
        "actionStatus": status,
        **{name: time for name, time in times.items() if time},
        **error,
    }


def _objects(crate: Any, record: Record, code: bool) -> list[Any]:
    """Return what went in: code, declared inputs, parameters, seed."""
    found = [crate.dereference(WORKSPACE)] if code else []
    for at, each in enumerate(record.inputs):
        extra = {"identifier": each["digest"]} if each.get("digest") else {"description": str(each.get("note", ""))}
        found.append(
            _add(crate, f"#input-{at}", "CreativeWork", name=str(each.get("uri")), url=each.get("uri"), **extra)
        )
    values = {f"#parameter-{quote(name, safe='')}": (name, value) for name, value in record.parameters.items()}
    if record.seed is not None:
        values["#seed"] = ("seed", record.seed)
    for place, (name, value) in values.items():
        plain = value if isinstance(value, str | int) else json.dumps(value)
        found.append(_add(crate, place, "PropertyValue", name=name, value=plain))
    return found


def _results(crate: Any, record: Record) -> list[Any]:
    """Return what came out: files and metrics."""
    found = _output_files(crate, record.outputs)
    for name, value in record.metrics.items():
        found.append(_add(crate, f"#metric-{quote(name, safe='')}", "PropertyValue", name=name, value=value))
    return found


def _output_files(crate: Any, outputs: Sequence[OutputFile]) -> list[Any]:
    if len(outputs) > MOST_FILES:
        words = f"{len(outputs)} files; record.json lists them with their digests"
        return [crate.add_directory(dest_path="outputs/", properties={"name": "Outputs", "description": words})]
    return [
        crate.add_file(
            dest_path=f"outputs/{each.path}",
            properties={
                **_file(
                    each.path, mimetypes.guess_type(each.path)[0] or "application/octet-stream", digest=each.digest
                ),
                "contentSize": str(each.size),
            },
        )
        for each in outputs
    ]


def _add(crate: Any, at: str, kind: str, /, **properties: Any) -> Any:
    plain = {name: value for name, value in properties.items() if isinstance(value, str | int | float) and value != ""}
    entity = crate.add(ContextEntity(crate, at, properties={"@type": kind, **plain}))
    for name, value in properties.items():
        if name not in plain and value not in ("", None):
            entity[name] = value  # references to other entities
    return entity


def _file(name: str, kind: str, *, digest: str = "", identifier: str = "") -> Plain:
    found = {"name": name, "encodingFormat": kind, "identifier": identifier, "sha256": digest.removeprefix("sha256:")}
    return {key: value for key, value in found.items() if value}


def _time(at: float | None) -> str:
    return "" if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def _text(document: Plain) -> bytes:
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False, default=str).encode()
