"""A record as an in-toto statement with SLSA provenance: which content came out of which run of which content. Pure.

Formats: https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md, https://slsa.dev/spec/v1.0/provenance.
It is not signed: it says what the service recorded, and its digests can be checked. Called by ``runs.crate``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from octopus_hub.model.canonical import digest
from octopus_hub.model.record import Record

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "https://octopus-hub.io/TaskSet/v1alpha1"
BUILDER = "https://octopus-hub.io/engine"
Plain = dict[str, Any]


def statement(record: Record) -> Plain:
    """Return the statement; its first subject is the record itself (digest of its canonical form), then its outputs."""
    subjects = [_resource("record", digest(record))]
    subjects += [_resource(f"outputs/{output.path}", output.digest) for output in record.outputs]
    return {
        "_type": STATEMENT,
        "subject": subjects,
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"spec": record.spec},
                "internalParameters": {"specDigest": record.spec_digest, "seed": record.seed},
                "resolvedDependencies": _dependencies(record),
            },
            "runDetails": {
                "builder": {"id": BUILDER, "version": {"octopus-hub": record.product_version}},
                "metadata": _times(record),
            },
        },
    }


def _dependencies(record: Record) -> list[Plain]:
    found: list[Plain] = []
    if record.workspace:
        found.append(_resource("workspace", record.workspace))
    if record.git and record.git.get("commit"):
        git = {"name": "git", "digest": {"gitCommit": str(record.git["commit"])}}
        remote = record.git.get("remote")
        found.append({**git, "uri": f"git+{remote}"} if remote else git)
    for role, environment in record.environments.items():
        found.append(
            {**_resource(f"environment of {role}", environment.digest), "annotations": {"name": environment.image}}
        )
    for name, value in dict(record.resolved.get("descriptors", {}).get("digests", {})).items():
        found.append(_resource(name, value))
    for each in record.inputs:
        stated = {"digest": _digest_set(str(each["digest"]))} if each.get("digest") else {}
        found.append({"uri": str(each.get("uri")), **stated})
    return found


def _times(record: Record) -> Plain:
    times = {"startedOn": record.started_at, "finishedOn": record.finished_at}
    known = {name: _time(at) for name, at in times.items() if at is not None}
    return {"invocationId": f"{record.uid}/{record.attempt}", **known}


def _resource(name: str, value: str) -> Plain:
    return {"name": name, "digest": _digest_set(value)}


def _digest_set(value: str) -> Plain:
    algorithm, _, hexadecimal = value.partition(":")
    return {algorithm: hexadecimal} if hexadecimal else {"sha256": value}


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
