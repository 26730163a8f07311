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

    name: str  # what spec.queue names
    policy: str = "fifo"  # the order in which waiting TaskSets are served: fifo or priority
    weight: int = 1  # room for fair share: not used yet
    cohort: str = ""  # room for cohorts: not used yet
    nominal: Amounts | None = None
    per_user: Amounts | None = None
    borrow: Amounts | None = None  # room for cohorts: not used yet
    lend: Amounts | None = None  # the same
    allowed_groups: list[str] = []  # empty: everyone
    allowed_users: list[str] = []  # beside the groups
    paused: bool = False  # nothing of it is started; what runs goes on
    kind: Literal["Queue"] = "Queue"


class PriorityClass(ApiStruct, frozen=True, kw_only=True):
    """A named priority; higher values go first under the ``priority`` policy."""

    name: str  # what spec.priority names
    value: int  # higher goes first
    description: str = ""  # for people


DEFAULT_PRIORITIES: tuple[PriorityClass, ...] = (
    PriorityClass(name="low", value=-100),
    PriorityClass(name="normal", value=0),
    PriorityClass(name="high", value=100),
)
