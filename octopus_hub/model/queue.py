"""Queues and priority classes."""

from __future__ import annotations

from typing import Literal

from octopus_hub.model.amounts import Amounts
from octopus_hub.model.base import ApiStruct


class QueuePreemption(ApiStruct, frozen=True, kw_only=True):
    """When a queue's running TaskSets make room for waiting ones. Whole gangs, with notice, never in a circle."""

    within: bool = True  # for those that the queue's policy puts before them
    reclaim: bool = True  # for queues of the cohort that take back what they lent
    min_runtime_seconds: float = 1800.0  # an attempt is left alone for so long, unless the TaskSet asks for more
    per_day: int = 24  # preemptions of one TaskSet within 24 hours
    review_seconds: float = 3600.0  # how often service and run times are looked at anew
    patience_seconds: float = 5184000.0  # who has waited for so long goes first (gittins, las, predicted); 60 days


class Budget(ApiStruct, frozen=True, kw_only=True):
    """Device-hours of a queue in a calendar window (UTC), and what happens to what runs when they are used up."""

    device_hours: int
    window: Literal["day", "week", "month"] = "month"
    at_end: Literal["finish", "stop", "low"] = "finish"  # let it finish, stop it with notice, or lowest priority


class Cohort(ApiStruct, frozen=True, kw_only=True):
    """A group of queues and cohorts that lend each other what they don't use. A tree: ``parent`` names the next."""

    name: str
    parent: str = ""
    weight: int = 1  # against its siblings
    nominal: Amounts | None = None  # beside what its members bring
    borrow: Amounts | None = None
    lend: Amounts | None = None
    kind: Literal["Cohort"] = "Cohort"


class Queue(ApiStruct, frozen=True, kw_only=True):
    """A queue: who may use it, how much it may use at once, in which order it serves.

    Attributes
    ----------
    nominal : Amounts, optional
        Bound on what all admitted TaskSets of the queue use; None is unbounded. A device type not named is unbounded
        while ``nominal.devices`` is empty, else zero.
        In a cohort it is what the queue brings: a resource that a queue or cohort of the tree names is bounded for all
        of the tree, and who doesn't name it borrows. ``gpu:a100`` bounds a device type's SKU.
    per_user : Amounts, optional
        The same per owner.
    per_group : Amounts, optional
        The same for all owners of a group together; of the allowed groups, where the queue names any.
    """

    name: str  # what spec.queue names
    policy: str = "gittins"  # the order in which waiting TaskSets are served
    backfill: Literal["none", "reserve", "any"] = "any"  # who may overtake one that has to wait for room
    preemption: QueuePreemption = QueuePreemption()  # which running TaskSets make room, and how often
    weight: int = 1  # its share of what is contended, against other queues of its cohort
    cohort: str = ""  # the cohort that it borrows from and lends to
    nominal: Amounts | None = None
    per_user: Amounts | None = None
    per_group: Amounts | None = None
    borrow: Amounts | None = None  # most it uses beyond nominal; None: whatever the cohort lends
    lend: Amounts | None = None  # most of its nominal that others may use; None: all of it
    max_running_tasks_per_user: int | None = None  # of admitted TaskSets
    max_queued_per_user: int | None = None  # TaskSets that wait
    budget: Budget | None = None  # device-hours in a calendar window
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
