"""The scheduler's answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from octopus_hub.core.reason import Reason
from octopus_hub.model.status import Span


@dataclass(frozen=True, slots=True)
class Admission:
    """A gang that starts now, and where every member goes (role -> spans covering 0 .. count - 1)."""

    uid: str
    placement: Mapping[str, tuple[Span, ...]]


EvictionRule = Literal["priority", "service", "fairness", "reclaim", "window", "budget"]


@dataclass(frozen=True, slots=True)
class Eviction:
    """A gang that is preempted for another, whole, with notice.

    ``by`` is the uid of the claimant (the name of a window for rule ``window``, of the queue for ``budget``). The claimant is admitted by a later
    cycle, once what it waits for has gone; until then nobody else gets that room.
    """

    uid: str
    by: str
    rule: EvictionRule


@dataclass(frozen=True, slots=True)
class Resize:
    """An elastic gang that goes on with other numbers of tasks: a new attempt with this whole placement."""

    uid: str
    placement: Mapping[str, tuple[Span, ...]]
    rule: Literal["grow", "shrink"]
    by: str = ""  # uid of the claimant for which it shrinks


@dataclass(frozen=True, slots=True)
class Fault:
    """A policy plug-in that raised or returned nonsense; the order of before was kept."""

    queue: str
    policy: str
    message: str


@dataclass(frozen=True, slots=True)
class Waits:
    """Why a gang stays: its place in its queue (1 is next) and the reason in numbers."""

    place: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything one scheduling cycle decided. ``memo`` only speeds up the next cycle; it never changes a Plan."""

    admissions: tuple[Admission, ...] = ()
    evictions: tuple[Eviction, ...] = ()
    resizes: tuple[Resize, ...] = ()
    faults: tuple[Fault, ...] = ()
    waits: Mapping[str, Waits] = field(default_factory=dict)  # by uid
    wake_at: float | None = None
    memo: Any = None
