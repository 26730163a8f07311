"""One thread per kernel and namespace that follows the service's stream for every view that wants it. Nothing polls.

It runs while there are listeners that something can still happen to, and ends with the frame that settles the last one.
A listener that joins later starts with a snapshot of what the thread knows. When the service stays away, listeners are
told once and the thread goes on trying, with pauses up to a minute: the snapshot that comes first then repairs all.
"""

from __future__ import annotations

import logging
import threading
from typing import Protocol

from octopus_hub.client.connection import Connection
from octopus_hub.client.sync import Client
from octopus_hub.model.answers import Frame, Removed
from octopus_hub.model.errors import OctopusError
from octopus_hub.model.node import Node
from octopus_hub.model.status import QueuePlace
from octopus_hub.model.task import Task
from octopus_hub.model.taskset import TaskSet

FIRST_PAUSE_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 60.0
log = logging.getLogger(__name__)


class Listener(Protocol):
    """Who is told about one TaskSet. Called by the follower's thread."""

    @property
    def uid(self) -> str:
        """Which TaskSet."""

    @property
    def done(self) -> bool:
        """Nothing further can come, or nobody is interested any more."""

    def frame(self, frame: Frame) -> None:
        """Take what a frame says about that TaskSet."""

    def lost(self, message: str) -> None:
        """The service can't be reached; a snapshot follows when it can."""


class Mirror:
    """What the frames so far add up to: TaskSets of one namespace, and rows of tasks where they may still be asked for."""

    def __init__(self) -> None:
        self.begun = False
        self._tasksets: dict[str, TaskSet] = {}
        self._tasks: dict[str, dict[str, Task]] = {}  # by uid, then "namespace/name"
        self._places: dict[str, QueuePlace] = {}
        self._nodes: dict[str, Node] = {}
        self._revision = 0

    def apply(self, frame: Frame, wanted: set[str]) -> None:
        """Take a frame in; rows of ended TaskSets are kept only where they are wanted."""
        if frame.snapshot:
            self.begun = True
            for known in (self._tasksets, self._tasks, self._places, self._nodes):
                known.clear()  # level, not edge: nothing of before counts
        self._revision = frame.revision
        self._tasksets.update({taskset.metadata.uid: taskset for taskset in frame.tasksets})
        self._places.update(frame.places)
        self._nodes.update({node.name: node for node in frame.nodes})
        for task in frame.tasks:
            self._tasks.setdefault(task.taskset_uid, {})[f"{task.namespace}/{task.name}"] = task
        for name in frame.removed.tasks:
            for rows in self._tasks.values():
                rows.pop(name, None)
        ended = [uid for uid, taskset in self._tasksets.items() if taskset.status.phase.terminal and uid not in wanted]
        for uid in (*ended, *frame.removed.tasksets):
            self._tasks.pop(uid, None)
        for uid in frame.removed.tasksets:
            self._tasksets.pop(uid, None)
            self._places.pop(uid, None)

    def snapshot(self, uid: str) -> Frame:
        """Return what is known of one TaskSet."""
        taskset = self._tasksets.get(uid)
        return Frame(
            revision=self._revision,
            snapshot=True,
            tasksets=[taskset] if taskset is not None else [],
            tasks=list(self._tasks.get(uid, {}).values()),
            nodes=list(self._nodes.values()),
            places={uid: self._places[uid]} if uid in self._places else {},
        )


def part_for(frame: Frame, uid: str, namespace: str) -> Frame | None:
    """Return what a frame says about one TaskSet, None if that is nothing. A snapshot always says something."""
    tasksets = [taskset for taskset in frame.tasksets if taskset.metadata.uid == uid]
    tasks = [task for task in frame.tasks if task.taskset_uid == uid]
    places = {uid: frame.places[uid]} if uid in frame.places else {}
    gone = [uid] if uid in frame.removed.tasksets else []
    rows = [name for name in frame.removed.tasks if name.startswith(f"{namespace}/")]
    if not (frame.snapshot or tasksets or tasks or places or gone or rows or frame.nodes):
        return None
    return Frame(
        revision=frame.revision,
        snapshot=frame.snapshot,
        tasksets=tasksets,
        tasks=tasks,
        nodes=frame.nodes,
        places=places,
        removed=Removed(tasksets=gone, tasks=rows),
    )


class Follower:
    """Follows the stream of one namespace.

    Parameters
    ----------
    client : Client
        How to reach the service; its connections are safe to share between threads.
    namespace : str
        Whose TaskSets.
    """

    def __init__(self, client: Client, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self._lock = threading.RLock()
        self._listeners: list[Listener] = []
        self._mirror = Mirror()
        self._thread: threading.Thread | None = None
        self._hurry = threading.Event()

    @property
    def running(self) -> bool:
        """Whether a thread follows the stream."""
        return self._thread is not None

    def add(self, listener: Listener) -> None:
        """Tell a listener everything from now on, beginning with a snapshot."""
        with self._lock:
            self._listeners.append(listener)
            if self._thread is None:
                self._mirror = Mirror()
                self._thread = threading.Thread(target=self._run, name="octopus-follower", daemon=True)
                self._thread.start()
            elif self._mirror.begun:
                self._tell(listener, self._mirror.snapshot(listener.uid))
        self._hurry.set()

    def join(self, timeout: float | None = None) -> None:
        """Wait for the thread's end (tests)."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout)

    def _run(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                for frame in self._client.stream(self._namespace):
                    pause = FIRST_PAUSE_SECONDS
                    if not self._take(frame):
                        return
                why = "the service ended the stream"
            except OctopusError as error:
                why = error.message
            except Exception as error:  # a view is never what stops a user
                log.exception("following the octopus service failed")
                why = f"following it failed ({type(error).__name__}); see the kernel's log"
            if not self._lost(why):
                return
            self._hurry.clear()
            self._hurry.wait(pause)
            pause = min(LONGEST_PAUSE_SECONDS, pause * 2)

    def _take(self, frame: Frame) -> bool:
        with self._lock:
            self._mirror.apply(frame, {listener.uid for listener in self._listeners})
            for listener in self._listeners:
                part = part_for(frame, listener.uid, self._namespace)
                if part is not None:
                    self._tell(listener, part)
            return self._goes_on()

    def _lost(self, why: str) -> bool:
        with self._lock:
            for listener in self._listeners:
                listener.lost(why)
            return self._goes_on()

    def _goes_on(self) -> bool:
        """Forget who is done; under the lock, so that a listener never joins a thread that is about to end."""
        self._listeners = [listener for listener in self._listeners if not listener.done]
        if not self._listeners:
            self._thread = None
        return bool(self._listeners)

    def _tell(self, listener: Listener, frame: Frame) -> None:
        try:
            listener.frame(frame)
        except Exception:  # one view's trouble is not the others'
            log.exception("a view could not take a frame")


_followers: dict[tuple[Connection, str], Follower] = {}
_lock = threading.Lock()


def follower_of(client: Client, namespace: str) -> Follower:
    """Return this kernel's follower of a namespace."""
    with _lock:
        key = (client.connection, namespace)
        if key not in _followers:
            _followers[key] = Follower(client, namespace)
        return _followers[key]
