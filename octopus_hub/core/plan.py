"""The scheduler's answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from octopus_hub.core.reason import Reason
from octopus_hub.model.status import Span


@dataclass(frozen=True, slots=True)
class Admission:
    """A gang that starts now, and where every member goes (role -> spans covering 0 .. count - 1)."""

    uid: str
    placement: Mapping[str, tuple[Span, ...]]


@dataclass(frozen=True, slots=True)
class Eviction:
    """A gang that is preempted for another."""

    uid: str
    by: str
    rule: str


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
    waits: Mapping[str, Waits] = field(default_factory=dict)  # by uid
    wake_at: float | None = None
    memo: Any = None
