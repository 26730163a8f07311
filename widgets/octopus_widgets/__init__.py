"""Live views of TaskSets for notebooks (anywidget).

``GangView(job)`` is the live view of one TaskSet; :func:`show` is what a job calls to display itself: the view, and beside
it a plain-HTML output for the notebook that is opened again without a kernel. Names are imported when they are first
used, so that finding the package costs nothing. May use ``octopus_hub.client`` and ``octopus_hub.model`` only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from octopus_widgets.gang_view import GangView
    from octopus_widgets.shown import show

__all__ = ["GangView", "show"]

_PLACES = {"GangView": "octopus_widgets.gang_view", "show": "octopus_widgets.shown"}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PLACES[name]), name)
