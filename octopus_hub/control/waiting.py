"""Who waits: what the scheduler is shown of each waiting TaskSet, and why some are not shown at all.

Rendered once per TaskSet and kept until something in it changes, because a queue may hold ten thousand. Decides nothing
and writes nothing; used by the loop.
"""

from __future__ import annotations

from collections.abc import Callable

from octopus_hub.control.cache import Cache
from octopus_hub.control.gangs import queued_at, waiting_gang
from octopus_hub.core.lifecycle import after_reason
from octopus_hub.core.reason import Reason
from octopus_hub.core.snapshot import Waiting
from octopus_hub.model.status import Phase
from octopus_hub.model.taskset import TaskSet

_ABSENT = object()


class WaitingRoom:
    """The waiting TaskSets of a cache. ``unseen`` says whether something ordered for one was not seen yet."""

    def __init__(self, cache: Cache, unseen: Callable[[str], bool]) -> None:
        self._cache = cache
        self._unseen = unseen
        self._shown: dict[str, Waiting | None] = {}  # by uid; None: to be rendered again

    def note(self, taskset: TaskSet) -> bool:
        """Take note of a TaskSet as it is now; returns whether the scheduler has to look."""
        uid = taskset.metadata.uid
        if not taskset.status.phase.waiting:
            return self.leave(uid)
        known = self._shown.get(uid)
        if (
            known is None
            or taskset.status.avoid
            or known.queued_at != queued_at(taskset)
            or known.scaled_at != taskset.metadata.scaled_at
        ):
            self._shown[uid] = None
        return True

    def leave(self, uid: str) -> bool:
        """Forget one that waits no longer; returns whether it was here."""
        return self._shown.pop(uid, _ABSENT) is not _ABSENT

    def tasksets(self) -> list[TaskSet]:
        """Return all that wait."""
        return [self._cache.tasksets[uid] for uid in self._shown if uid in self._cache.tasksets]

    def gather(self) -> tuple[list[Waiting], dict[str, Reason]]:
        """Return what the scheduler looks at, and the reasons of those that are withheld from it."""
        waiting: list[Waiting] = []
        withheld: dict[str, Reason] = {}
        for uid in list(self._shown):
            taskset = self._cache.tasksets.get(uid)
            if taskset is None:
                self.leave(uid)
                continue
            reason = self.withheld(taskset)
            if reason is not None:
                withheld[uid] = reason
                continue
            if taskset.status.phase is not Phase.QUEUED or self._unseen(uid):
                continue
            if any(not task.state.terminal for task in self._cache.tasks_of(uid)):
                continue  # members of a withdrawn attempt are still dying
            gang = self._shown[uid] or as_waiting(taskset, self._cache)
            self._shown[uid] = gang
            waiting.append(gang)
        return waiting, withheld

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


def as_waiting(taskset: TaskSet, cache: Cache) -> Waiting:
    """Return a TaskSet as the scheduler sees it while it waits."""
    return waiting_gang(taskset, cache.priorities, estimate=cache.estimate(taskset))
