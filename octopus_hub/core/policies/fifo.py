"""First in, first out: the longest waiting gang first, ties by uid."""

from __future__ import annotations

from collections.abc import Sequence

from octopus_hub.core.snapshot import Snapshot, Waiting


def order(waiting: Sequence[Waiting], snapshot: Snapshot, now: float) -> list[Waiting]:
    """Return the gangs of one queue in the order in which they are served."""
    return sorted(waiting, key=lambda gang: (gang.queued_at, gang.uid))
