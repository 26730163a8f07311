"""Every operation of the service as data: what is sent, whether it may be repeated, how the answer is read.

No I/O here: :mod:`octopus_hub.client.exchange` says what to do with a call, :mod:`sync` and :mod:`aio` do it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import msgspec

from octopus_hub.model.amounts import Amounts
from octopus_hub.model.answers import AnswerStruct, PlanAnswer, TaskSetView, WhyAnswer
from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.node import Node
from octopus_hub.model.record import Record
from octopus_hub.model.task import Task
from octopus_hub.model.taskset import TaskSet

T = TypeVar("T")
Plain = dict[str, Any]
OWN = "-"  # the caller's own namespace

# Names for lists: inside the clients `list` is a method.
Views = list[TaskSetView]
Tasks = list[Task]
Nodes = list[Node]
NodeUses = list["NodeUse"]
Records = list[Record]
Rows = list[Plain]
Names = list[str]


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request.

    Attributes
    ----------
    path : str
        Below the API base.
    body : bytes or callable
        Bytes, or a function that gives the chunks anew for each try.
    safe : bool
        Sending it twice does the same as once, so it may be tried again after a failure.
    decode : callable
        Bytes of a successful answer to the result.
    """

    method: str
    path: str
    decode: Callable[[bytes], T]
    params: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Callable[[], Iterator[bytes]] = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    safe: bool = True


class _Items(AnswerStruct, frozen=True, kw_only=True):
    items: list[TaskSetView] = []


class _Tasks(AnswerStruct, frozen=True, kw_only=True):
    items: list[Task] = []


class NodeUse(AnswerStruct, frozen=True, kw_only=True):
    """A node and what is taken of it, whoever took it."""

    node: Node
    used: Amounts = Amounts()
    state: str = ""  # closed, drained, reserved, or soon; "" is none of it


class _Nodes(AnswerStruct, frozen=True, kw_only=True):
    items: list[Node] = []
    used: dict[str, Amounts] = {}
    states: dict[str, str] = {}


class _Records(AnswerStruct, frozen=True, kw_only=True):
    items: list[Record] = []


class _PlainItems(AnswerStruct, frozen=True, kw_only=True):
    items: list[Any] = []


# --- TaskSets


def submit(taskset: TaskSet, *, key: str = "", dry_run: bool = False) -> Call[TaskSet]:
    """Create a TaskSet; with a key the same submission may be repeated. Raises InvalidSpec for a key that can't be one."""
    return Call(
        "POST",
        "/tasksets",
        _json(TaskSet),
        params={"dryRun": "true"} if dry_run else {},
        body=_document(taskset),
        headers=(_key(key) if key else {}) | _JSON,
        safe=bool(key) or dry_run,
    )


def list_tasksets(namespace: str = "", phase: str = "", label: str = "") -> Call[Views]:
    """List TaskSets; ``*`` is every namespace (admins)."""
    params = {"namespace": namespace, "phase": phase, "label": label}
    return Call("GET", "/tasksets", _items(_Items), params=_given(params))


def get_taskset(name: str, namespace: str = OWN) -> Call[TaskSetView]:
    """One TaskSet with its queue place and tasks."""
    return Call("GET", _taskset(namespace, name), _json(TaskSetView))


def delete_taskset(name: str, namespace: str = OWN) -> Call[None]:
    """Delete a TaskSet and everything of it but its records."""
    return Call("DELETE", _taskset(namespace, name), _nothing)


def intent(verb: str, name: str, namespace: str = OWN) -> Call[TaskSet]:
    """``stop``, ``hold`` or ``release``: each states a wish, so repeating it changes nothing."""
    return Call("POST", f"{_taskset(namespace, name)}/{verb}", _json(TaskSet))


def scale(name: str, sizes: Mapping[str, int | None], namespace: str = OWN) -> Call[TaskSet]:
    """Wish sizes of elastic roles; None takes a wish back. Repeating it changes nothing."""
    body = msgspec.json.encode({"sizes": dict(sizes)})
    return Call("POST", f"{_taskset(namespace, name)}/scale", _json(TaskSet), body=body, headers=_JSON)


def list_tasks(name: str, namespace: str = OWN) -> Call[Tasks]:
    """Rows of a TaskSet's tasks."""
    return Call("GET", f"{_taskset(namespace, name)}/tasks", _items(_Tasks))


def why(name: str, namespace: str = OWN) -> Call[WhyAnswer]:
    """Why a TaskSet waits, runs where it does, or ended as it did."""
    return Call("GET", f"{_taskset(namespace, name)}/why", _json(WhyAnswer))


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which log, and how much of it. ``tail`` counts lines; None is all that is kept."""

    role: str = ""
    index: int | None = None
    attempt: int | None = None
    follow: bool = False
    tail: int | None = None


def read_log(name: str, query: LogQuery, namespace: str = OWN) -> Call[bytes]:
    """A task's log; read it as a stream."""
    params = {
        "role": query.role,
        "index": _number(query.index),
        "attempt": _number(query.attempt),
        "follow": "true" if query.follow else "",
        "tail": _number(query.tail),
    }
    return Call("GET", f"{_taskset(namespace, name)}/logs", bytes, params=_given(params), headers=_accept("text/plain"))


def stream(namespace: str = "", name: str = "") -> Call[bytes]:
    """Server-sent events: a snapshot, then what changes; read it as a stream."""
    params = _given({"namespace": namespace, "name": name})
    return Call("GET", "/stream", bytes, params=params, headers=_accept("text/event-stream"))


def hold_lease(lease: str) -> Call[bytes]:
    """Hold a lease while the answer is read: TaskSets tied to it live so long."""
    return Call("GET", f"/leases/{_part(lease)}", bytes, headers=_accept("text/event-stream"))


# --- the cluster


def list_nodes() -> Call[Nodes]:
    """Nodes with capacity and devices."""
    return Call("GET", "/nodes", _items(_Nodes))


def list_node_use() -> Call[NodeUses]:
    """The same with what is taken of each."""
    return Call("GET", "/nodes", _node_use)


def list_queues() -> Call[Rows]:
    """Queues with their usage and board, as plain data."""
    return Call("GET", "/queues", _items(_PlainItems))


def list_cohorts() -> Call[Rows]:
    """Cohorts with members and use, as plain data."""
    return Call("GET", "/cohorts", _items(_PlainItems))


def list_priorities() -> Call[Rows]:
    """Priority classes."""
    return Call("GET", "/priorities", _items(_PlainItems))


def list_images() -> Call[Rows]:
    """Environments that ``image`` can name."""
    return Call("GET", "/images", _items(_PlainItems))


def plan(taskset: TaskSet) -> Call[PlanAnswer]:
    """Say whether it would run now, and if not, what is short where."""
    return Call("POST", "/plan", _json(PlanAnswer), body=_document(taskset), headers=_JSON)


# --- records


def list_records(name: str = "") -> Call[Records]:
    """The caller's records, newest first."""
    return Call("GET", "/records", _items(_Records), params=_given({"name": name}))


def get_record(name: str, namespace: str = OWN, attempt: int | None = None) -> Call[Record]:
    """The record of a TaskSet (its last attempt's, or that of ``attempt``)."""
    return Call("GET", _record(namespace, name), _json(Record), params=_given({"attempt": _number(attempt)}))


def read_outputs(name: str, namespace: str = OWN, attempt: int | None = None) -> Call[bytes]:
    """The collected outputs as tar.gz; read it as a stream."""
    return Call("GET", f"{_record(namespace, name)}/outputs", bytes, params=_given({"attempt": _number(attempt)}))


def read_crate(name: str, namespace: str = OWN, attempt: int | None = None) -> Call[bytes]:
    """The record as a research object crate (zip); read it as a stream."""
    return Call("GET", f"{_record(namespace, name)}/record.zip", bytes, params=_given({"attempt": _number(attempt)}))


def replay(record: Mapping[str, Any], *, key: str) -> Call[TaskSet]:
    """Run a record again: a whole record, or ``{namespace, name, attempt}``."""
    body = msgspec.json.encode({"record": dict(record)})
    return Call("POST", "/replay", _json(TaskSet), body=body, headers=_key(key) | _JSON)


# --- blobs and secrets


def has_blob(digest: str) -> Call[bool]:
    """Whether the service holds that content; the clients give NotFound as False."""
    return Call("HEAD", _blob(digest), lambda _: True)


def put_blob(digest: str, size: int, chunks: Callable[[], Iterator[bytes]]) -> Call[None]:
    """Store content under its digest."""
    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
    return Call("PUT", _blob(digest), _nothing, body=chunks, headers=headers)


def get_blob(digest: str) -> Call[bytes]:
    """Content by its digest."""
    return Call("GET", _blob(digest), bytes)


def list_secrets() -> Call[Names]:
    """Names of the caller's secrets; values are never given out."""
    return Call("GET", "/secrets", _names)


def put_secret(name: str, value: str) -> Call[None]:
    """Store a secret."""
    return Call("PUT", f"/secrets/{_part(name)}", _nothing, body=msgspec.json.encode({"value": value}), headers=_JSON)


def delete_secret(name: str) -> Call[None]:
    """Remove a secret."""
    return Call("DELETE", f"/secrets/{_part(name)}", _nothing)


# --- the service itself


def version() -> Call[Plain]:
    """The service's version."""
    return Call("GET", "/version", _json(Plain))


def whoami() -> Call[Plain]:
    """Who the token belongs to."""
    return Call("GET", "/whoami", _json(Plain))


_JSON = {"Content-Type": "application/json"}


def _document(taskset: TaskSet) -> bytes:
    return msgspec.json.encode(taskset.to_dict())


def _json(kind: type[T]) -> Callable[[bytes], T]:
    decoder = msgspec.json.Decoder(kind)
    return decoder.decode


def _items(kind: type[Any]) -> Callable[[bytes], Any]:
    decoder = msgspec.json.Decoder(kind)
    return lambda body: decoder.decode(body).items


def _names(body: bytes) -> list[str]:
    items = msgspec.json.decode(body, type=_PlainItems).items
    return [str(item["name"]) if isinstance(item, dict) else str(item) for item in items]


_NODES = msgspec.json.Decoder(_Nodes)


def _node_use(body: bytes) -> NodeUses:
    answer = _NODES.decode(body)
    return [
        NodeUse(node=node, used=answer.used.get(node.name, Amounts()), state=answer.states.get(node.name, ""))
        for node in answer.items
    ]


def _nothing(_: bytes) -> None:
    return None


def _accept(kind: str) -> dict[str, str]:
    return {"Accept": kind}


def _key(key: str) -> dict[str, str]:
    if not (key.isascii() and key.isprintable() and " " not in key and len(key) <= 200):
        raise InvalidSpec("an idempotency key has 1 to 200 printable ASCII characters without spaces")
    return {"Idempotency-Key": key}


def _given(params: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in params.items() if value}


def _number(value: int | None) -> str:
    return "" if value is None else str(value)


def _part(text: str) -> str:
    # A lone dot segment would be folded away by URL normalisation and reach another path.
    return quote(text, safe="") if text.strip(".") else text.replace(".", "%2E")


def _taskset(namespace: str, name: str) -> str:
    return f"/tasksets/{_part(namespace)}/{_part(name)}"


def _record(namespace: str, name: str) -> str:
    return f"/records/{_part(namespace)}/{_part(name)}"


def _blob(digest: str) -> str:
    return f"/blobs/{_part(digest)}"
