"""A client whose stream a test feeds, for the threads of a kernel. The real client is tried in test_widget_kernel.py."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

from octopus_hub.client.calls import LogQuery
from octopus_hub.client.connection import Connection
from octopus_hub.client.job import Job
from octopus_hub.model.answers import Frame, TaskSetView
from octopus_hub.model.errors import NotFound, OctopusError, Unavailable
from octopus_hub.model.taskset import TaskSet

DEADLINE = 20.0


class FedClient:
    """Streams what it is fed; an error that it is fed is raised."""

    def __init__(self) -> None:
        self.connection = Connection(url=f"http://127.0.0.1:1/services/octopus-{id(self)}")
        self.fed: queue.Queue[Frame | OctopusError] = queue.Queue()
        self.streams: list[tuple[str, str]] = []
        self.stopped: list[str] = []
        self.refusal: OctopusError | None = None
        self.known: TaskSetView | None = None
        self.log = b"line 1\nline 2\n"
        self.queries: list[LogQuery] = []

    def stream(self, namespace: str = "", name: str = "", **_: Any) -> Iterator[Frame]:
        """Yield what is fed."""
        self.streams.append((namespace, name))
        while True:
            try:
                item = self.fed.get(timeout=DEADLINE)
            except queue.Empty:
                raise Unavailable("nothing was fed") from None
            if isinstance(item, OctopusError):
                raise item
            yield item

    def get(self, name: str, namespace: str = "-") -> TaskSetView:
        """Return what is known."""
        if self.known is None:
            raise NotFound(f"there is no TaskSet {name}")
        return self.known

    def stop(self, name: str, namespace: str = "-") -> TaskSet:
        """Note it, or refuse it."""
        if self.refusal:
            raise self.refusal
        self.stopped.append(f"{namespace}/{name}")
        return self.get(name, namespace).taskset

    def logs(self, name: str, query: LogQuery, namespace: str = "-") -> Iterator[bytes]:
        """Yield the log."""
        self.queries.append(query)
        yield self.log

    def job(self, view: TaskSetView) -> Job:
        """Return a job of this client."""
        self.known = view
        return Job(self, view)  # type: ignore[arg-type]
