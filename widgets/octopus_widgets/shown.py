"""How a job shows itself in a notebook: the live view and, beside it, a plain-HTML output.

Two outputs, because a notebook that is opened again shows "model not found" for a widget and then ignores any HTML in
the same output. While a widget lives, its page hides the plain output by a style rule; where no widget lives it is what
is left to be seen.

Who keeps the plain output up to date: this kernel's follower (:mod:`follower`), one thread for all jobs, through the
output's display id. It rewrites the output when the phase, the attempt, the message or the record changes, which is a
handful of times in a job's life, and gives the widget's traits the same view, so that a page opened later starts with
it. A page must be open for the update to reach the notebook's file: Jupyter keeps outputs in the browser.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from octopus_hub.client.following import Following
from octopus_hub.model.answers import Frame, TaskSetView
from octopus_hub.model.errors import OctopusError
from octopus_widgets.follower import follower_of
from octopus_widgets.gang_view import GangView
from octopus_widgets.html import render

if TYPE_CHECKING:
    from octopus_hub.client.job import Job


def show(job: Job) -> GangView:
    """Display a job in the running cell; returns the live view."""
    from IPython.display import display

    with contextlib.suppress(OctopusError):  # as last seen, then; the view says by itself whether it is live
        job.status()
    view = GangView(job)
    display(view)
    handle = display({"text/html": render(job.view, time.time())}, raw=True, display_id=True)
    shown = Shown(job.view, lambda html: handle.update({"text/html": html}, raw=True), view.renew)
    if not shown.done:
        follower_of(job.client, job.namespace).add(shown)
    return view


class Shown:
    """Renews what stands beside a live view; told by the follower's thread.

    Parameters
    ----------
    view : TaskSetView
        What is shown now.
    write : callable
        Replaces the plain output.
    renew : callable
        Gives the live view's traits a newer picture.
    """

    def __init__(
        self, view: TaskSetView, write: Callable[[str], object], renew: Callable[[TaskSetView], object]
    ) -> None:
        self._following = Following(view.taskset)
        self._write = write
        self._renew = renew
        self._last = _marks(view)
        self.uid = view.taskset.metadata.uid
        self.done = _settled(view)

    def frame(self, frame: Frame) -> None:
        """Take a frame; write if it is a new phase or a new end."""
        self._following.apply(frame)
        if frame.snapshot and self._following.unknown:
            return  # too new for that snapshot; what follows knows it
        view = self._following.view
        self.done = _settled(view) or self._following.gone
        if _marks(view) != self._last:
            self._last = _marks(view)
            self._write(render(view, time.time()))
            self._renew(view)

    def lost(self, message: str) -> None:
        """The plain output says of which time it is; there is nothing to add."""


def _marks(view: TaskSetView) -> tuple[object, ...]:
    status = view.taskset.status
    return status.phase, status.attempt, status.reason, status.message, status.recorded_attempt, status.record


def _settled(view: TaskSetView) -> bool:
    status = view.taskset.status
    return status.phase.terminal and status.recorded_attempt >= status.attempt
