"""Everything the service's stream has said, merged: what a page that comes later is given at once. Pure.

Rows are kept as the bytes that came; only what names them is read, so a service that is newer than this extension, with
fields that it does not know, passes through.
"""

from __future__ import annotations

import msgspec

from octopus_hub.model.answers import Removed
from octopus_hub.model.status import Phase, Status

_WAITING = frozenset(phase.value for phase in Phase if phase.waiting)


class _Frame(msgspec.Struct, frozen=True):
    revision: int
    tasksets: list[msgspec.Raw] = []
    tasks: list[msgspec.Raw] = []
    nodes: list[msgspec.Raw] = []
    places: dict[str, msgspec.Raw] = {}
    removed: Removed = Removed()


class _Meta(msgspec.Struct, frozen=True):
    uid: str


class _Status(msgspec.Struct, frozen=True):
    phase: str = Status().phase.value  # defaults are left out on the wire


class _TaskSet(msgspec.Struct, frozen=True):
    metadata: _Meta
    status: _Status = _Status()


class _Task(msgspec.Struct, frozen=True):
    namespace: str
    name: str


class _Node(msgspec.Struct, frozen=True):
    name: str


_FRAME = msgspec.json.Decoder(_Frame)
_TASKSET = msgspec.json.Decoder(_TaskSet)
_TASK = msgspec.json.Decoder(_Task)
_NODE = msgspec.json.Decoder(_Node)


class Merged:
    """The present rows. Empty until the first snapshot."""

    def __init__(self) -> None:
        self.revision: int | None = None
        self._tasksets: dict[str, bytes] = {}
        self._tasks: dict[str, bytes] = {}
        self._nodes: dict[str, bytes] = {}
        self._places: dict[str, bytes] = {}
        self._text = b""  # of the snapshot, until something changes

    def snapshot(self, data: bytes) -> None:
        """Take a snapshot instead of all that was; raises msgspec.DecodeError, and then nothing has changed."""
        fresh = Merged()
        fresh.delta(data)
        self.__dict__.update(fresh.__dict__)

    def delta(self, data: bytes) -> None:
        """Take what changed; raises msgspec.DecodeError."""
        frame = _FRAME.decode(data)
        tasksets = [(_TASKSET.decode(row), row) for row in frame.tasksets]
        tasks = [(_TASK.decode(row), row) for row in frame.tasks]
        nodes = [(_NODE.decode(row), row) for row in frame.nodes]
        self._text = b""
        self.revision = frame.revision
        for taskset, row in tasksets:
            self._tasksets[taskset.metadata.uid] = bytes(row)
        for task, row in tasks:
            self._tasks[f"{task.namespace}/{task.name}"] = bytes(row)
        for node, row in nodes:
            self._nodes[node.name] = bytes(row)
        for uid, row in frame.places.items():
            self._places[uid] = bytes(row)
        for taskset, _ in tasksets:
            if taskset.status.phase not in _WAITING:
                self._places.pop(taskset.metadata.uid, None)
        for uid in frame.removed.tasksets:
            self._tasksets.pop(uid, None)
            self._places.pop(uid, None)
        for name in frame.removed.tasks:
            self._tasks.pop(name, None)

    @property
    def text(self) -> bytes:
        """All of it as the snapshot that pages are sent."""
        if not self._text:
            lists = (("tasksets", self._tasksets), ("tasks", self._tasks), ("nodes", self._nodes))
            parts = [b'{"type":"snapshot","revision":%d' % (self.revision or 0)]
            parts += [b',"%b":[%b]' % (name.encode(), b",".join(rows.values())) for name, rows in lists]
            places = [msgspec.json.encode(uid) + b":" + row for uid, row in self._places.items()]
            self._text = b"".join([*parts, b',"places":{%b}}' % b",".join(places)])
        return self._text


def delta_text(data: bytes) -> bytes:
    """Return the service's delta as pages are sent it: the same object with its type in front."""
    return b'{"type":"delta",' + data.lstrip()[1:]
