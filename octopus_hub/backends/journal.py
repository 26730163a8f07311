"""What an embedded backend stores: batches of changed rows, and what a journal had at open.

Values only; the local backend's store writes them, the memory backend has no journal. Used by ``truth``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from octopus_hub.model.queue import Cohort, Queue
from octopus_hub.model.reservation import Reservation
from octopus_hub.model.task import Address, Task
from octopus_hub.model.taskset import TaskSet

Addresses = dict[tuple[str, int], Address]
NamedObject = Reservation | Queue | Cohort  # what an administrator puts: stored by kind and name


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """Which TaskSet a key made, and when."""

    uid: str
    at: float


@dataclass(frozen=True, slots=True)
class Batch:
    """What one call changes, all or nothing. ``durable``: it must also outlive a power cut."""

    tasksets: Sequence[TaskSet] = ()
    tasks: Sequence[Task] = ()
    gone_tasksets: Sequence[TaskSet] = ()  # with their addresses
    gone_tasks: Sequence[Task] = ()
    addresses: Mapping[str, Addresses | None] = field(default_factory=dict)  # None: freed
    keys: Mapping[tuple[str, str], IdempotencyKey] = field(default_factory=dict)
    expired_before: float | None = None  # forget idempotency keys older than this
    ledgers: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    objects: Sequence[NamedObject] = ()
    gone_objects: Sequence[NamedObject] = ()
    durable: bool = False


@dataclass(slots=True)
class Stored:
    """What a journal had at open."""

    tasksets: list[TaskSet] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    addresses: dict[str, Addresses] = field(default_factory=dict)
    keys: dict[tuple[str, str], IdempotencyKey] = field(default_factory=dict)
    ledgers: dict[str, dict[str, Any]] = field(default_factory=dict)
    objects: list[NamedObject] = field(default_factory=list)


Journal = Callable[[Batch], None]
