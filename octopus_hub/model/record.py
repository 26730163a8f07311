"""The run record: what ran, with what, what came out. Written at the end of every attempt, whatever its end.

``schema_version`` grows when a field is added, removed or changes its meaning; readers accept every version up to
their own (what an older version lacks has its default) and refuse a newer one with the way out.
"""

from __future__ import annotations

from typing import Any

import msgspec

from octopus_hub.model.base import ApiStruct
from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.status import Phase, TimelineEntry

RECORD_SCHEMA_VERSION = 1


class TaskEnd(ApiStruct, frozen=True, kw_only=True):
    """How one task ended."""

    name: str
    role: str
    index: int
    attempt: int
    node: str = ""
    devices: dict[str, list[str]] = {}
    state: str = ""
    exit_code: int | None = None
    signal: int | None = None
    failure_class: str = ""
    cause: str = ""
    advice: str = ""
    started_at: float | None = None
    finished_at: float | None = None
    peak_memory_bytes: int = 0
    cpu_seconds: float = 0.0
    metrics: dict[str, float] = {}
    log: str = ""  # relative path of the kept log
    log_bytes: int = 0


class OutputFile(ApiStruct, frozen=True, kw_only=True):
    """A collected output; its content is a blob of the store and a file beside the record."""

    path: str  # {role}-{index}/relative path
    digest: str
    size: int


class Environment(ApiStruct, frozen=True, kw_only=True):
    """The software a run used."""

    image: str = ""  # name
    digest: str = ""  # sha256 of the environment's lock
    lock: list[str] = []  # name==version lines
    python: str = ""
    platform: str = ""


class Cell(ApiStruct, frozen=True, kw_only=True):
    """What one cell of a notebook run did, by our own ledger (papermill's metadata can't tell a dead kernel)."""

    index: int  # in the notebook as submitted, from 0; -1: the parameters that were put in
    status: str  # completed | failed | dead kernel | exited | interrupted
    started_at: float | None = None
    ended_at: float | None = None
    error: str = ""


class Record(ApiStruct, frozen=True, kw_only=True):
    """The record of one attempt."""

    schema_version: int = 1  # stays 1 for ever: what does not state its version is of the first
    kind: str = "Record"
    namespace: str
    name: str
    uid: str
    owner: str = ""
    attempt: int
    phase: Phase
    reason: str = ""
    message: str = ""
    final: bool = True  # false: an attempt that was followed by another
    spec: dict[str, Any]  # wire form of the spec as it ran (secrets by name only)
    spec_digest: str = ""
    resolved: dict[str, Any] = {}
    workspace: str | None = None  # blob digest of the code
    git: dict[str, Any] | None = None
    environments: dict[str, Environment] = {}  # by role
    parameters: dict[str, Any] = {}
    inputs: list[dict[str, Any]] = []  # uri, digest where it is known, note where the content is not vouched for
    seed: int | None = None
    queued_at: float | None = None
    admitted_at: float | None = None
    started_at: float | None = None  # the first program of this attempt ran
    finished_at: float | None = None
    timeline: list[TimelineEntry] = []
    tasks: list[TaskEnd] = []
    choices: dict[str, int] = {}  # role -> which entry of its placement.sku it ran on; 0 is left out
    served_seconds: float = 0.0  # ran in earlier attempts that were preempted, and went on from there
    metrics: dict[str, float] = {}
    outputs: list[OutputFile] = []
    cells: dict[str, list[Cell]] = {}  # by task, in the order they ran; of notebook runs
    product_version: str = ""
    path: str = ""  # folder of the record on the machine that keeps it

    def __repr__(self) -> str:  # the whole is thousands of characters; it stands in record.json
        return f"<Record {self.namespace}/{self.name}@{self.attempt} {self.phase.value} {self.path}>"


def to_json(record: Record) -> bytes:
    """Return the content of ``record.json``: readable, and its kind and version always stated."""
    stated = {"kind": record.kind, "schemaVersion": record.schema_version}
    return msgspec.json.format(msgspec.json.encode({**stated, **msgspec.to_builtins(record)}), indent=2)


def from_json(content: bytes) -> Record:
    """Return the record that a ``record.json`` holds; raises InvalidSpec for a later version or what is no record."""
    try:
        version = msgspec.json.decode(content, type=_Version).schema_version
        if version > RECORD_SCHEMA_VERSION:
            raise InvalidSpec(
                f"it has the schema version {version}, and this octopus-hub knows up to {RECORD_SCHEMA_VERSION}: "
                "upgrade octopus-hub"
            )
        return _decode(content)
    except msgspec.MsgspecError as error:
        raise InvalidSpec(f"it is not a record: {error}") from None


class _Version(msgspec.Struct, rename="camel"):
    schema_version: int = 1


_decode = msgspec.json.Decoder(Record).decode
