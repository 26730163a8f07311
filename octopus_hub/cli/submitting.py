"""Commands that take documents: ``submit``, ``plan``, ``import``, ``schema``."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from octopus_hub.cli import exits, show
from octopus_hub.cli.following import finish
from octopus_hub.cli.naming import pairs
from octopus_hub.client import jobtext, lease, submission
from octopus_hub.client.calls import NodeUse
from octopus_hub.client.documents import load_documents
from octopus_hub.client.job import Job
from octopus_hub.client.paths import expanded
from octopus_hub.client.room import room
from octopus_hub.client.sync import Client
from octopus_hub.model.answers import PlanAnswer, TaskSetView
from octopus_hub.model.errors import InvalidSpec, TooLarge, Unavailable
from octopus_hub.model.parts import WHAT, fraction
from octopus_hub.model.taskset import TaskSet

MAX_DOCUMENT_BYTES = 16 << 20


def submit(arguments: Namespace) -> int:
    """``octopus submit``."""
    tasksets = parsed(_documents_of(arguments))
    workspace = None if arguments.no_workspace else arguments.workspace
    code = exits.OK
    with Client() as client:
        jobs = []
        for taskset in tasksets:
            prepared = submission.prepare(taskset, workspace).tied(_tie)
            jobs.append(Job(client, TaskSetView(taskset=submission.create(client, prepared))))
            for notice in prepared.notices:
                show.note(notice)
            _submitted(jobs[-1], arguments.format)
        if arguments.watch:
            for job in jobs:
                code = max(code, finish(job))
    return code


def plan(arguments: Namespace) -> int:
    """``octopus plan``: validates here; asks the service, if there is one, whether it would run now."""
    tasksets = parsed(read_documents(arguments.file))
    answers: list[PlanAnswer | None] = [None] * len(tasksets)
    nodes: list[NodeUse] = []
    problem = ""
    if not arguments.offline:
        try:
            with Client() as client:
                answers = [client.plan(taskset) for taskset in tasksets]
                nodes = client.node_use() if arguments.format == "table" else []
        except Unavailable as error:
            problem = error.message
    if arguments.format != "table":
        plans = [_plan_document(taskset, answer) for taskset, answer in zip(tasksets, answers, strict=True)]
        show.show_document({"items": plans}, arguments.format)
    else:
        for taskset, answer in zip(tasksets, answers, strict=True):
            show.write(plan_text(taskset, answer, nodes) + "\n")
    if problem:
        show.note(f"whether it would run now is not known: {problem}")
    return exits.REFUSED if any(answer is not None and not answer.fits_empty for answer in answers) else exits.OK


def import_seed(arguments: Namespace) -> int:
    """``octopus import``."""
    from octopus_hub.model.seed import import_seed as convert

    results = [convert(document) for document in read_documents(arguments.file)]
    for result in results:
        for warning in result.warnings:
            show.note(warning)
    if not arguments.submit:
        documents = [result.taskset.to_dict() for result in results]
        _write_documents(documents, arguments.format)
        return exits.OK
    with Client() as client:
        for result in results:
            prepared = submission.prepare(result.taskset, arguments.workspace).tied(_tie)
            created = submission.create(client, prepared)
            for notice in prepared.notices:
                show.note(notice)
            show.write(f"submitted {created.name}\n")
    return exits.OK


def schema(arguments: Namespace) -> int:
    """``octopus schema``."""
    from octopus_hub.model.schema import json_schema

    show.show_document(json_schema(arguments.kind), "json")
    return exits.OK


def read_documents(file: str) -> list[dict[str, Any]]:
    """Return the documents of a file or of standard input; raises InvalidSpec, TooLarge."""
    source = "standard input" if file == "-" else file
    try:
        if file == "-":
            raw = sys.stdin.buffer.read(MAX_DOCUMENT_BYTES + 1)
        else:
            with expanded(file).open("rb") as content:
                raw = content.read(MAX_DOCUMENT_BYTES + 1)
    except FileNotFoundError:
        raise InvalidSpec(f"there is no file {file}") from None
    except OSError as error:
        raise InvalidSpec(f"{file} can't be read: {error.strerror}") from None
    if len(raw) > MAX_DOCUMENT_BYTES:
        raise TooLarge(f"{source} is larger than {MAX_DOCUMENT_BYTES >> 20} MiB; a TaskSet is a few kilobytes")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidSpec(f"{source} is not UTF-8 text") from None
    documents = load_documents(text, source)
    if not documents:
        raise InvalidSpec(f"{source} holds no document")
    return documents


def parsed(documents: list[dict[str, Any]]) -> list[TaskSet]:
    """Return the TaskSets; raises InvalidSpec, which says which document when there are several."""
    found: list[TaskSet] = []
    for number, document in enumerate(documents, 1):
        try:
            found.append(TaskSet.parse(document))
        except InvalidSpec as error:
            if len(documents) == 1:
                raise
            raise InvalidSpec(f"document {number} of {len(documents)}: {error.message}", error.problems) from None
    return found


def flat_document(arguments: Namespace) -> dict[str, Any]:
    """Return the document that ``--name ... -- command`` stands for."""
    resources: dict[str, Any] = {key: getattr(arguments, key) for key in ("cpu", "memory") if getattr(arguments, key)}
    devices = pairs(arguments.devices, "--devices", "TYPE=N")
    if devices:
        resources["devices"] = {name: _count(name, count) for name, count in devices.items()}
    role: dict[str, Any] = {"name": arguments.role, "replicas": arguments.replicas, "command": arguments.command_line}
    role |= _present(
        resources=resources,
        env=_environment(arguments.env),
        secrets=pairs(arguments.secret, "--secret", "NAME=SECRET"),
        image=arguments.image,
    )
    spec: dict[str, Any] = {"roles": [role]}
    spec |= _present(
        framework=arguments.framework,
        queue=arguments.queue,
        priority=arguments.priority,
        outputs=arguments.output,
        hold=arguments.hold,
        after=[{"name": name} for name in arguments.after],
    )
    if arguments.seed is not None:
        spec["seed"] = arguments.seed
    if arguments.max_runtime is not None:
        spec["lifetime"] = {"maxRuntimeSeconds": arguments.max_runtime}
    metadata = {"name": arguments.name, **_present(labels=pairs(arguments.label, "--label"))}
    return {"apiVersion": "octopus-hub.io/v1alpha1", "kind": "TaskSet", "metadata": metadata, "spec": spec}


def plan_text(taskset: TaskSet, answer: PlanAnswer | None, nodes: Sequence[NodeUse] = ()) -> str:
    """Return a plan as text; ``nodes`` show what is short where."""
    if answer is None:
        return f"{taskset.name}: valid; needs {jobtext.amounts(taskset.amounts())}"
    if answer.runs_now:
        spots = [
            f"{role} on {', '.join(f'{span.node} ({span.count})' for span in spans)}"
            for role, spans in (answer.placement or {}).items()
        ]
        return f"{taskset.name}: valid; would run now" + (f": {'; '.join(spots)}" if spots else "")
    why = str((answer.reason or {}).get("message", "")) or "no reason given"
    if answer.fits_empty:
        text = f"{taskset.name}: valid; would wait: {why}"
    else:
        text = f"{taskset.name}: valid, but would never run here: {why}"
    more = jobtext.facts(answer.facts, "place", "room", "unblock", "smaller", "estimate")
    table = room(taskset, nodes)
    return "\n".join([text, *more, *([table] if table else [])])


def _documents_of(arguments: Namespace) -> list[dict[str, Any]]:
    if arguments.file and (arguments.name or arguments.command_line):
        raise InvalidSpec("give a file, or --name and a command after --, not both")
    if arguments.file:
        return read_documents(arguments.file)
    if not arguments.name or not arguments.command_line:
        raise InvalidSpec("give a file, or --name NAME and the command after --: octopus submit --name NAME -- COMMAND")
    return [flat_document(arguments)]


def _tie(taskset: TaskSet) -> TaskSet:
    return lease.tie(taskset, kernel=False)


def _submitted(job: Job, style: str) -> None:
    if style == "table":
        show.write(f"submitted {job.name}\n")
    elif style == "name":
        show.write(f"{job.name}\n")
    else:
        _write_documents([job.view.taskset.to_dict()], style)


def _write_documents(documents: list[dict[str, Any]], style: str) -> None:
    for number, document in enumerate(documents):
        if number and style == "yaml":
            show.write("---\n")
        show.show_document(document, style)


def _plan_document(taskset: TaskSet, answer: PlanAnswer | None) -> dict[str, Any]:
    known = show.plain(answer) if answer is not None else {}
    return {"name": taskset.name, "valid": True, **known}


def _environment(given: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in given:
        if "=" in text:
            found |= pairs([text], "--env")
        elif text in os.environ:
            found[text] = os.environ[text]
        else:
            raise InvalidSpec(f"--env {text}: that variable is not set here; give a value with {text}=VALUE")
    return found


def _count(name: str, text: str) -> int | str:
    if fraction(text) is not None:
        return text
    try:
        return int(text)
    except ValueError:
        raise InvalidSpec(f"--devices {name}={text}: a whole number of devices, or {WHAT}") from None


def _present(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value}
