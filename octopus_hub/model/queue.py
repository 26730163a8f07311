"""Queues and priority classes."""

from __future__ import annotations

from typing import Literal

from octopus_hub.model.amounts import Amounts
from octopus_hub.model.base import ApiStruct


class Queue(ApiStruct, frozen=True, kw_only=True):
    """A queue: who may use it, how much it may use at once, in which order it serves.

    Attributes
    ----------
    nominal : Amounts, optional
        Bound on what all admitted TaskSets of the queue use; None is unbounded. A device type not named is unbounded
        while ``nominal.devices`` is empty, else zero.
    per_user : Amounts, optional
        The same per owner.
    """

    name: str
    policy: str = "fifo"
    weight: int = 1
    cohort: str = ""
    nominal: Amounts | None = None
    per_user: Amounts | None = None
    borrow: Amounts | None = None  # room for cohorts: not used yet
    lend: Amounts | None = None
    allowed_groups: list[str] = []  # empty: everyone
    allowed_users: list[str] = []
    paused: bool = False
    kind: Literal["Queue"] = "Queue"


class PriorityClass(ApiStruct, frozen=True, kw_only=True):
    """A named priority; higher values go first under the ``priority`` policy."""

    name: str
    value: int
    description: str = ""


DEFAULT_PRIORITIES: tuple[PriorityClass, ...] = (
    PriorityClass(name="low", value=-100),
    PriorityClass(name="normal", value=0),
    PriorityClass(name="high", value=100),
)
