"""Who waits: what the scheduler is shown of each waiting TaskSet, and why some are not shown at all.

Rendered once per TaskSet and kept until something in it changes, because a queue may hold ten thousand: a look costs
what changed since the one before. Decides nothing and writes nothing; used by the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Set

import msgspec

from octopus_hub.control.cache import Cache
from octopus_hub.control.gangs import queued_at, waiting_gang
from octopus_hub.core.lifecycle import after_reason
from octopus_hub.core.reason import Reason
from octopus_hub.core.snapshot import Waiting
from octopus_hub.model.status import Phase
from octopus_hub.model.taskset import TaskSet


class WaitingRoom:
    """The waiting TaskSets of a cache. ``unseen`` gives those for which something was ordered that was not seen yet."""

    def __init__(self, cache: Cache, unseen: Callable[[], Set[str]]) -> None:
        self._cache = cache
        self._unseen = unseen
        self._here: dict[str, Waiting | None] = {}  # by uid, as it was rendered; None: to be rendered again
        self._open: dict[str, None] = {}  # of these, who has to be looked at
        self._withheld: dict[str, Reason] = {}
        self._ready: dict[str, Waiting] = {}  # whom the scheduler sees
        self._shown: list[Waiting] = []  # the same at the last look
        self._joined: dict[str, Waiting] = {}  # since then
        self._left: dict[str, Waiting] = {}

    def __len__(self) -> int:
        return len(self._here)

    def note(self, taskset: TaskSet) -> bool:
        """Take note of a TaskSet as it is now; returns whether the scheduler has to look."""
        uid = taskset.metadata.uid
        if not taskset.status.phase.waiting:
            return self.leave(uid)
        known = self._here.get(uid)
        if (
            known is None
            or taskset.status.avoid
            or known.queued_at != queued_at(taskset)
            or known.scaled_at != taskset.metadata.scaled_at
        ):
            self._here[uid] = None
        self._open[uid] = None
        return True

    def leave(self, uid: str) -> bool:
        """Forget one that waits no longer; returns whether it was here."""
        if uid not in self._here:
            return False
        del self._here[uid]
        self._open.pop(uid, None)
        self._withheld.pop(uid, None)
        self._hide(uid)
        return True

    def tasksets(self) -> list[TaskSet]:
        """Return all that wait."""
        return [self._cache.tasksets[uid] for uid in self._here if uid in self._cache.tasksets]

    def gather(self) -> tuple[list[Waiting], dict[str, Reason]]:
        """Return what the scheduler looks at, and the reasons of those that are withheld from it.

        The list is the same object as long as nothing in it changes.
        """
        unseen = self._unseen()
        self._open.update(dict.fromkeys(uid for uid in unseen if uid in self._ready))
        for uid in list(self._open):
            if self._settled(uid, unseen):
                self._open.pop(uid, None)
        if self._joined or self._left:
            self._shown = list(self._ready.values())
        return self._shown, self._withheld

    def moved(self) -> tuple[tuple[Waiting, ...], tuple[Waiting, ...]]:
        """Return who was shown for the first time (as it is now), and who is not any more, since the last call."""
        found = tuple(self._joined.values()), tuple(self._left.values())
        self._joined.clear()
        self._left.clear()
        return found

    def withheld(self, taskset: TaskSet) -> Reason | None:
        """Return why the scheduler must not see a TaskSet (held, or waiting for another); None if it may."""
        if taskset.spec.hold:
            return Reason(code="Held", message=f"held; octopus release {taskset.name} lets it queue")
        if not taskset.spec.after:
            return None
        namespace = taskset.metadata.namespace
        others: dict[str, Phase | None] = {}
        for after in taskset.spec.after:
            uid = self._cache.by_key.get((namespace, after.name))
            others[after.name] = self._cache.tasksets[uid].status.phase if uid else None
        return after_reason(taskset, others)

    def fail_dependent(self, taskset: TaskSet, now: float) -> TaskSet:
        """A TaskSet whose ``after`` can no longer be fulfilled ends like a stopped one, and says why."""
        if not taskset.spec.after or not taskset.status.phase.waiting or taskset.metadata.stop_requested_at:
            return taskset
        reason = self.withheld(taskset)
        if reason is None or reason.code != "DependencyFailed":
            return taskset
        self.leave(taskset.metadata.uid)
        metadata = msgspec.structs.replace(taskset.metadata, stop_requested_at=now)
        status = msgspec.structs.replace(taskset.status, reason=reason.code, message=reason.message)
        return msgspec.structs.replace(taskset, metadata=metadata, status=status)

    def _settled(self, uid: str, unseen: Set[str]) -> bool:
        """Show or hide one; returns whether nothing but a note of it can change that."""
        taskset = self._cache.tasksets.get(uid)
        if taskset is None:
            self.leave(uid)
            return True
        reason = self.withheld(taskset)
        if reason is not None:
            self._withheld[uid] = reason
            self._hide(uid)
            return taskset.spec.hold
        self._withheld.pop(uid, None)
        if taskset.status.phase is not Phase.QUEUED or uid in unseen:
            self._hide(uid)
            return False
        if any(not task.state.terminal for task in self._cache.tasks_of(uid)):
            self._hide(uid)  # members of a withdrawn attempt are still dying
            return False
        gang = self._here[uid]
        if gang is None:
            gang = self._here[uid] = as_waiting(taskset, self._cache)
        if self._ready.get(uid) is not gang:
            self._hide(uid)
            self._ready[uid] = self._joined[uid] = gang
        return not taskset.spec.after

    def _hide(self, uid: str) -> None:
        gang = self._ready.pop(uid, None)
        if gang is not None and self._joined.pop(uid, None) is None:
            self._left[uid] = gang


def as_waiting(taskset: TaskSet, cache: Cache) -> Waiting:
    """Return a TaskSet as the scheduler sees it while it waits."""
    return waiting_gang(taskset, cache.priorities, estimate=cache.estimate(taskset), traits=cache.traits(taskset))
