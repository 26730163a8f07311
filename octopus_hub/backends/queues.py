"""Queues and cohorts of an embedded backend: what the configuration declares, and what was put since.

A live definition wins over the declared one until it is reset. Changes that would break the tree, or take away what
something still uses, are refused. Part of ``truth``; stores through the journal first and then tells watchers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Generic, Literal, TypeVar

from octopus_hub.backends.journal import Batch, NamedObject
from octopus_hub.model.errors import Conflict, InvalidSpec, NotFound
from octopus_hub.model.queue import Cohort, Queue
from octopus_hub.model.queuerules import tree_problems

Kind = TypeVar("Kind", Queue, Cohort)
Emit = Callable[[Literal["put", "deleted"], NamedObject], None]
InUse = Callable[[str], int]  # how many TaskSets wait or run in a queue


class Live(Generic[Kind]):
    """The objects of one kind: declared ones, live ones over them."""

    def __init__(self, rows: Iterable[Kind], commit: Callable[[Batch], None], emit: Emit) -> None:
        self.live: dict[str, Kind] = {each.name: each for each in rows}
        self.declared: dict[str, Kind] = {}
        self.now: dict[str, Kind] = dict(self.live)  # what counts
        self._commit = commit
        self._emit = emit

    @property
    def differing(self) -> list[str]:
        """Names whose live definition is another than the declared one."""
        return [name for name, live in self.live.items() if name in self.declared and self.declared[name] != live]

    def declare(self, new: Kind) -> None:
        """Take what the configuration says; not stored, and not what counts where a live one is."""
        self.declared[new.name] = new
        if new.name not in self.live and self.now.get(new.name) != new:
            self.now[new.name] = new
            self._emit("put", new)

    def put(self, new: Kind) -> None:
        """Store a live one."""
        if self.now.get(new.name) == new:
            return
        self._commit(Batch(objects=(new,), durable=True))
        self.live[new.name] = self.now[new.name] = new
        self._emit("put", new)

    def drop(self, name: str) -> None:
        """Forget the live one; the declared one counts again, or there is none any more."""
        gone = self.live[name]
        self._commit(Batch(gone_objects=(gone,), durable=True))
        del self.live[name]
        back = self.declared.get(name)
        if back is None:
            del self.now[name]
            self._emit("deleted", gone)
        elif back != gone:
            self.now[name] = back
            self._emit("put", back)


class Queues:
    """Both kinds and what holds between them."""

    def __init__(
        self, stored: Iterable[NamedObject], commit: Callable[[Batch], None], emit: Emit, in_use: InUse
    ) -> None:
        rows = list(stored)
        self.queues = Live((each for each in rows if isinstance(each, Queue)), commit, emit)
        self.cohorts = Live((each for each in rows if isinstance(each, Cohort)), commit, emit)
        self._in_use = in_use

    def put(self, new: Queue | Cohort) -> None:
        """Store a live definition; raises InvalidSpec for one that the tree can't have."""
        if isinstance(new, Queue):
            self._check({**self.queues.now, new.name: new}, self.cohorts.now)
            self.queues.put(new)
        else:
            self._check(self.queues.now, {**self.cohorts.now, new.name: new})
            self.cohorts.put(new)

    def delete_queue(self, name: str) -> None:
        """Remove a queue; raises NotFound, Conflict while it is declared or in use."""
        self._removable(self.queues, name, "queue")
        held = self._in_use(name)
        if held:
            some = "1 TaskSet waits or runs" if held == 1 else f"{held} TaskSets wait or run"
            raise Conflict(
                f"{some} in queue {name}; pause it (octopus queues set {name} paused=true) and delete it when they have ended",
                name=name,
            )
        self.queues.drop(name)

    def delete_cohort(self, name: str) -> None:
        """Remove a cohort; raises NotFound, Conflict while it is declared or has members."""
        self._removable(self.cohorts, name, "cohort")
        members = [
            *(f"queue {each.name}" for each in self.queues.now.values() if each.cohort == name),
            *(f"cohort {each.name}" for each in self.cohorts.now.values() if each.parent == name),
        ]
        if members:
            more = f" and {len(members) - 3} more" if len(members) > 3 else ""
            belong = "belongs" if len(members) == 1 else "belong"
            raise Conflict(
                f"{', '.join(members[:3])}{more} {belong} to cohort {name}; take out what is in it", name=name
            )
        self.cohorts.drop(name)

    def reset_queue(self, name: str) -> None:
        """Go back to what is declared; raises NotFound, and Conflict where nothing is."""
        self._resettable(self.queues, name, "queue")
        if name in self.queues.live:
            self._check({**self.queues.now, name: self.queues.declared[name]}, self.cohorts.now)
            self.queues.drop(name)

    def reset_cohort(self, name: str) -> None:
        """Go back to what is declared; raises NotFound, and Conflict where nothing is."""
        self._resettable(self.cohorts, name, "cohort")
        if name in self.cohorts.live:
            self._check(self.queues.now, {**self.cohorts.now, name: self.cohorts.declared[name]})
            self.cohorts.drop(name)

    def _check(self, queues: Mapping[str, Queue], cohorts: Mapping[str, Cohort]) -> None:
        before = set(tree_problems(self.queues.now, self.cohorts.now))
        told = [f"{name}: {what}" for name, what in tree_problems(queues, cohorts) if (name, what) not in before]
        if told:
            raise InvalidSpec(told[0] if len(told) == 1 else f"the tree would have {len(told)} problems", told)

    def _removable(self, rows: Live[Kind], name: str, what: str) -> None:
        if name not in rows.now:
            raise NotFound(f"there is no {what} {name}; octopus {what}s shows those that exist")
        if name in rows.declared:
            raise Conflict(
                f"{what} {name} is declared in the configuration file; take it out there and start octopus again",
                name=name,
            )

    def _resettable(self, rows: Live[Kind], name: str, what: str) -> None:
        if name not in rows.now:
            raise NotFound(f"there is no {what} {name}; octopus {what}s shows those that exist")
        if name not in rows.declared:
            raise Conflict(
                f"{what} {name} is not in the configuration file, so there is nothing to go back to; to remove it: "
                f"octopus {what}s delete {name}",
                name=name,
            )
