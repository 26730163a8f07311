"""The live view of one TaskSet in a notebook.

The browser is fed by the Jupyter server extension (one WebSocket per page), not by the kernel, so it stays live while
the kernel is busy and Stop reaches the service at once. Where a page can't reach the extension (VS Code, Colab), it
asks the kernel by a message, and a thread of the kernel sends the same frames; messages to a kernel are heard when it is
idle, what its threads send arrives even while a cell runs. The traits carry enough for a first picture without a round
trip, and are renewed at phase changes (see :mod:`shown`).

Messages from the page: ``hello`` (answered with the kernel's clock), ``follow``, ``unfollow``, and with an ``id`` ``stop``
and ``log`` (answered with ``{"type": "answer", "id", "text" | "error"}``).
"""

from __future__ import annotations

import os
import sys
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import msgspec
import traitlets

from octopus_hub.client import jobtext
from octopus_hub.client.calls import LogQuery
from octopus_hub.client.following import Following
from octopus_hub.model.answers import Frame, Removed, TaskSetView
from octopus_hub.model.errors import NotFound, OctopusError
from octopus_widgets.follower import follower_of

if TYPE_CHECKING:
    from octopus_hub.client.job import Job

STATIC = Path(__file__).parent / "static"
MOST_TASKS_IN_TRAIT = 1000  # rows beyond that come with the first frame only
LOG_BYTES = 200_000


class GangView(anywidget.AnyWidget):
    """The live view of a job.

    Parameters
    ----------
    job : Job
        As ``submit`` returns it. Only its name is kept in step: the view asks for nothing but what it shows.
    """

    _esm = STATIC / "gang_view.js"

    namespace = traitlets.Unicode().tag(sync=True)
    name = traitlets.Unicode().tag(sync=True)
    uid = traitlets.Unicode().tag(sync=True)
    view = traitlets.Unicode().tag(sync=True)  # a TaskSetView as JSON, of when it last changed its phase
    now = traitlets.Float().tag(sync=True)  # the kernel's clock when the view was made

    def __init__(self, job: Job, **kwargs: Any) -> None:
        super().__init__(
            namespace=job.namespace, name=job.name, uid=job.uid, view=as_json(job.view), now=time.time(), **kwargs
        )
        self._job = job
        self._feed: Feed | None = None
        self.on_msg(self._hear)
        if page_without_extension():
            self.follow()

    def renew(self, view: TaskSetView) -> None:
        """Give pages that are opened later, or can't be live, a newer picture to start with."""
        self.now = time.time()
        self.view = as_json(view)

    def follow(self) -> None:
        """Send the page frames from a thread of this kernel."""
        if self._feed is None or self._feed.done:
            self._feed = Feed(self, self._job.view)
            follower_of(self._job.client, self.namespace).add(self._feed)

    def unfollow(self) -> None:
        """Send no more frames."""
        if self._feed is not None:
            self._feed.done = True
            self._feed = None

    def _hear(self, _: Any, content: dict[str, Any], buffers: Any) -> None:
        kind = content.get("type")
        if kind == "hello":
            self.send({"type": "clock", "now": time.time()})
        elif kind == "follow":
            self.follow()
        elif kind == "unfollow":
            self.unfollow()
        elif kind in ("stop", "log"):
            self.send({"type": "answer", "id": content.get("id"), **self._answer(kind, content)})

    def _answer(self, kind: str, content: dict[str, Any]) -> dict[str, str]:
        try:
            if kind == "stop":
                self._job.client.stop(self.name, self.namespace)
                return {"text": ""}
            query = msgspec.convert({key: content.get(key) for key in ("role", "index", "attempt", "tail")}, LogQuery)
            parts = islice(self._job.client.logs(self.name, query, self.namespace), 1000)
            return {"text": b"".join(parts)[-LOG_BYTES:].decode("utf-8", "replace")}
        except OctopusError as error:
            return {"error": error.message}
        except msgspec.ValidationError as error:
            return {"error": f"the page asked for a log that can't be: {error}"}

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """The live view, and as text the table that a terminal shows."""
        bundle = super()._repr_mimebundle_(**kwargs)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle or {}, {})
        return {**data, "text/plain": jobtext.summary(self._job.view, time.time())}, metadata


class Feed:
    """Sends the frames of one TaskSet to the pages of a view; told by the follower's thread."""

    def __init__(self, widget: GangView, view: TaskSetView) -> None:
        self._widget = widget
        self._following = Following(view.taskset)
        self.uid = view.taskset.metadata.uid
        self.done = False

    def frame(self, frame: Frame) -> None:
        """Pass a frame on."""
        self._following.apply(frame)
        if self._following.unknown and frame.snapshot and self._deleted():
            frame = Frame(revision=frame.revision, removed=Removed(tasksets=[self.uid]))
        content = msgspec.to_builtins(frame)
        content.pop("snapshot", None)
        if self.done:
            return
        self._widget.send({"type": "snapshot" if frame.snapshot else "delta", **content})
        status = self._following.view.taskset.status
        settled = status.phase.terminal and status.recorded_attempt >= status.attempt
        self.done = settled or bool(frame.removed.tasksets)

    def lost(self, message: str) -> None:
        """Say that nothing comes at present."""
        if not self.done:
            self._widget.send({"type": "status", "state": "reconnecting", "message": message})

    def _deleted(self) -> bool:
        """It is not in the stream: deleted, or too new for that snapshot."""
        job = self._widget._job
        try:
            return job.client.get(job.name, job.namespace).taskset.metadata.uid != self.uid
        except NotFound:
            return True


def as_json(view: TaskSetView) -> str:
    """Return a view for the page; rows of a large gang are left to the stream."""
    if view.tasks is not None and len(view.tasks) > MOST_TASKS_IN_TRAIT:
        view = msgspec.structs.replace(view, tasks=None)
    return msgspec.json.encode(view).decode()


def page_without_extension() -> bool:
    """Say whether this kernel was started by a program whose pages can't reach a Jupyter server extension.

    Such a page asks for frames by a message as well, but a message is heard only when the running cell has ended.
    """
    return "google.colab" in sys.modules or any(name in os.environ for name in ("VSCODE_PID", "COLAB_RELEASE_TAG"))
