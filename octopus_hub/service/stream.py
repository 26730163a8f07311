"""Live streams: a snapshot, then what changed, joined to a few frames a second. Level, not edge: nothing is lost.

A stream keeps at most one pending row per object, so its memory is bounded by what its user can see, and a reader that
does not read holds one frame until it is dropped. Rows are encoded once for all streams. No polling: the cache calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import msgspec

from octopus_hub.backends.base import Change
from octopus_hub.control.cache import Cache
from octopus_hub.model.node import Node
from octopus_hub.model.status import Board, QueuePlace
from octopus_hub.model.task import Task
from octopus_hub.model.taskset import TaskSet
from octopus_hub.service.views import Rows, redacted

TaskKey = tuple[str, str]
KEEP_ALIVE = b": keep-alive\n\n"


class Stream:
    """What one reader has not seen yet.

    Parameters
    ----------
    namespace : str, optional
        None sees every tenant (administrators).
    name : str
        Only TaskSets of that name; "" is all.
    """

    def __init__(self, streams: Streams, namespace: str | None, name: str) -> None:
        self._streams = streams
        self.namespace = namespace
        self.name = name
        self.wake = asyncio.Event()
        self.whole = True  # a snapshot is due
        self._tasksets: dict[str, TaskSet | None] = {}
        self._tasks: dict[TaskKey, Task | None] = {}
        self._nodes: dict[str, Node] = {}
        self._places: dict[str, QueuePlace] = {}

    def sees(self, item: TaskSet | Task) -> bool:
        """Say whether a row is inside this stream's border."""
        meta = item.metadata if isinstance(item, TaskSet) else item
        name = item.name if isinstance(item, TaskSet) else item.taskset
        return self.namespace in (None, meta.namespace) and (not self.name or name == self.name)

    def note(self, change: Change) -> None:
        """Take a change; a later one of the same row replaces it."""
        item = change.object
        put = change.type == "put"
        if isinstance(item, TaskSet):
            if not self.sees(item):
                return
            self._tasksets[item.metadata.uid] = item if put else None
            if not put:
                self._places.pop(item.metadata.uid, None)
        elif isinstance(item, Task):
            if not self.sees(item):
                return
            self._tasks[item.namespace, item.name] = item if put else None
        elif isinstance(item, Node):
            self._nodes[item.name] = item
            self.whole |= not put  # a frame has no word for a node that is gone
        self.wake.set()

    def note_place(self, taskset: TaskSet, place: QueuePlace) -> None:
        """Take a changed queue place."""
        if self.sees(taskset):
            self._places[place.uid] = place
            self.wake.set()

    def frame(self) -> bytes:
        """Return the next frame as an event; nothing is pending after it."""
        self.wake.clear()
        body = self._snapshot() if self.whole else self._delta()
        event = b"snapshot" if self.whole else b"delta"
        self.whole = False
        self._tasksets, self._tasks, self._nodes, self._places = {}, {}, {}, {}
        return b"event: %b\nid: %d\ndata: %b\n\n" % (event, self._streams.cache.revision, body)

    def _snapshot(self) -> bytes:
        cache = self._streams.cache
        tasksets = [taskset for taskset in cache.tasksets.values() if self.sees(taskset)]
        if self.namespace is None and not self.name:
            tasks = list(cache.tasks.values())
        else:
            tasks = [task for taskset in tasksets for task in cache.tasks_of(taskset.metadata.uid)]
        places = {
            taskset.metadata.uid: place
            for taskset in tasksets
            if (place := cache.place_of(taskset.metadata.uid)) is not None
        }
        return self._encode(tasksets, tasks, cache.nodes.values(), places)

    def _delta(self) -> bytes:
        removed = {
            "tasksets": [uid for uid, row in self._tasksets.items() if row is None],
            "tasks": ["/".join(key) for key, row in self._tasks.items() if row is None],
        }
        gone = {kind: names for kind, names in removed.items() if names}
        tasksets = [row for row in self._tasksets.values() if row is not None]
        tasks = [row for row in self._tasks.values() if row is not None]
        return self._encode(tasksets, tasks, self._nodes.values(), self._places, gone)

    def _encode(
        self,
        tasksets: Iterable[TaskSet],
        tasks: Iterable[Task],
        nodes: Iterable[Node],
        places: dict[str, QueuePlace],
        removed: dict[str, list[str]] | None = None,
    ) -> bytes:
        rows = self._streams.rows
        parts = [b'{"revision":%d' % self._streams.cache.revision]
        lists = (
            (b"tasksets", [rows.encode(("taskset", row.metadata.uid), row) for row in tasksets]),
            (b"tasks", [rows.encode(("task", row.namespace, row.name), row) for row in tasks]),
            (b"nodes", [rows.encode(("node", row.name), row) for row in nodes]),
        )
        parts += [b',"%b":[%b]' % (name, b",".join(encoded)) for name, encoded in lists if encoded]
        told = [b'"%b":%b' % (uid.encode(), self._place(uid, place)) for uid, place in places.items()]
        if told:
            parts.append(b',"places":{%b}' % b",".join(told))
        if removed:
            parts.append(b',"removed":' + msgspec.json.encode(removed))
        return b"".join([*parts, b"}"])

    def _place(self, uid: str, place: QueuePlace) -> bytes:
        """Administrators read places as they are, others without the names of foreign TaskSets."""
        taskset = self._streams.cache.tasksets.get(uid)
        if self.namespace is not None or taskset is None:
            place = redacted(place, taskset.metadata.namespace if taskset else "")
        return msgspec.json.encode(place)


class Streams:
    """Gives every change of the cache to the streams that may see it."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self.rows = Rows()
        self.closed = asyncio.Event()
        self._open: dict[str | None, set[Stream]] = {}
        self._places: dict[str, dict[str, QueuePlace]] = {}  # queue -> uid -> last told
        self._unsubscribe: Callable[[], None] | None = None

    def open(self, namespace: str | None, name: str) -> Stream:
        """Return a new stream; its first frame is a snapshot."""
        if self._unsubscribe is None:
            self._places = {name: _by_uid(board) for name, board in self.cache.boards.items()}
            self._unsubscribe = self.cache.subscribe(self._changed)
        stream = Stream(self, namespace, name)
        self._open.setdefault(namespace, set()).add(stream)
        return stream

    def shut(self, stream: Stream) -> None:
        """Forget a stream; with the last one, everything kept for streams."""
        streams = self._open.get(stream.namespace, set())
        streams.discard(stream)
        if not streams:
            self._open.pop(stream.namespace, None)
        if not self._open and self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
            self.rows.clear()
            self._places.clear()

    def close(self) -> None:
        """Wake every stream for its end."""
        self.closed.set()
        for streams in self._open.values():
            for stream in streams:
                stream.wake.set()

    def __len__(self) -> int:
        return sum(len(streams) for streams in self._open.values())

    def _changed(self, change: Change) -> None:
        item = change.object
        if isinstance(item, Board):
            self._board(item)
        elif isinstance(item, TaskSet | Task):
            namespace = item.metadata.namespace if isinstance(item, TaskSet) else item.namespace
            for key in (namespace, None):
                for stream in self._open.get(key, ()):
                    stream.note(change)
        elif isinstance(item, Node):
            for streams in self._open.values():
                for stream in streams:
                    stream.note(change)

    def _board(self, board: Board) -> None:
        before = self._places.get(board.queue, {})
        after = self._places[board.queue] = _by_uid(board)
        for uid, place in after.items():
            taskset = self.cache.tasksets.get(uid)
            if taskset is None or before.get(uid) == place:
                continue
            for key in (taskset.metadata.namespace, None):
                for stream in self._open.get(key, ()):
                    stream.note_place(taskset, place)


def _by_uid(board: Board) -> dict[str, QueuePlace]:
    return {place.uid: place for place in board.places}
