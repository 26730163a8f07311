"""What differs from the snapshot that the scheduler saw last, so that it need not compare all with all.

Kept by the cache as its rows change, from the first time on that somebody asks. Pure but for what it keeps.
"""

from __future__ import annotations

from collections.abc import Iterable

from octopus_hub.core.snapshot import Delta, Running, Waiting

Moved = tuple[tuple[Waiting, ...], tuple[Waiting, ...]]  # who came, and who left, of those that wait


class Differences:
    """Collects what differs since :meth:`take` was called last."""

    def __init__(self) -> None:
        self._asked = False  # what happened before the first time is of no use to anybody
        self._token = object()
        self._started: dict[str, Running] = {}
        self._ended: dict[str, None] = {}
        self._nodes: dict[str, None] = {}

    def runs(self, gang: Running) -> None:
        """Note how a gang runs from now on."""
        if self._asked:
            uid = gang.gang.uid
            self._started[uid] = gang
            self._ended.pop(uid, None)  # one that is back differs, no more

    def ended(self, uid: str) -> None:
        """Note that a gang runs no longer."""
        if self._asked:
            self._started.pop(uid, None)
            self._ended[uid] = None

    def used(self, nodes: Iterable[str]) -> None:
        """Note that something else is used on these nodes."""
        if self._asked:
            self._nodes.update(dict.fromkeys(nodes))

    def take(self, joined: tuple[Waiting, ...], left: tuple[Waiting, ...]) -> Delta:
        """Return the differences, with those of who waits, and begin anew."""
        before, self._token, self._asked = self._token, object(), True
        delta = Delta(
            before=before,
            after=self._token,
            joined=joined,
            left=left,
            started=tuple(self._started.values()),
            ended=tuple(self._ended),
            nodes=tuple(self._nodes),
        )
        for noted in (self._started, self._ended, self._nodes):
            noted.clear()
        return delta
