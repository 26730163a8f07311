"""What the service answers beyond plain API objects: views that join a TaskSet with its queue place, stream frames, plans.

The service writes these, the client reads them. Unlike API objects they accept unknown fields, so that an older
client can read a newer service.
"""

from __future__ import annotations

from typing import Any

import msgspec

from octopus_hub.model.node import Node
from octopus_hub.model.status import QueuePlace, Span
from octopus_hub.model.task import Task
from octopus_hub.model.taskset import TaskSet


class AnswerStruct(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Base of answers: camelCase on the wire, defaults left out, unknown fields accepted."""


class TaskSetView(AnswerStruct, frozen=True, kw_only=True):
    """A TaskSet with what is stored elsewhere: why it waits (from its queue's board) and its tasks' rows."""

    taskset: TaskSet
    queue_place: QueuePlace | None = None
    tasks: list[Task] | None = None


class Removed(AnswerStruct, frozen=True, kw_only=True):
    """What is gone since the frame before: uids of TaskSets, ``namespace/name`` of tasks."""

    tasksets: list[str] = []
    tasks: list[str] = []


class Frame(AnswerStruct, frozen=True, kw_only=True):
    """One frame of a stream: everything (a snapshot) or full rows of what changed (a delta)."""

    revision: int
    snapshot: bool = False  # set by the reader from the event's name
    tasksets: list[TaskSet] = []
    tasks: list[Task] = []
    nodes: list[Node] = []
    places: dict[str, QueuePlace] = {}  # by uid
    removed: Removed = Removed()


class StartEstimate(AnswerStruct, frozen=True, kw_only=True):
    """When it starts, in seconds from now; without ``earliest_seconds`` nothing is known, without the other no bound."""

    earliest_seconds: float | None = None
    latest_seconds: float | None = None
    basis: str = ""


class MakesRoom(AnswerStruct, frozen=True, kw_only=True):
    """A TaskSet that is asked to go, or (rule ``shrink``) to give up tasks."""

    taskset: str
    rule: str = ""


class OtherShape(AnswerStruct, frozen=True, kw_only=True):
    """A shape that would start now: fewer ``tasks`` of ``role``, on another ``sku``, or in another ``queue``."""

    kind: str
    message: str
    role: str = ""
    tasks: int = 0
    sku: str = ""
    queue: str = ""


class Fact(AnswerStruct, frozen=True, kw_only=True):
    """A sentence about a TaskSet, and what it is about."""

    kind: str
    message: str


class WhatIfAnswer(AnswerStruct, frozen=True, kw_only=True):
    """What becomes of a TaskSet in the queue. ``reason`` has the wire form of ``core.reason.Reason``.

    Attributes
    ----------
    outcome : str
        ``starts`` now, ``evicts`` others and starts then, ``waits``, or ``never`` fits; "" for one that does not queue.
    place : int
        In its queue; 1 is next.
    before : list of str
        The first of those that stand before it.
    unblock : list of str
        What would let it start.
    facts : list of Fact
        The same in sentences, the most important first.
    """

    outcome: str = ""
    reason: dict[str, Any] | None = None
    place: int = 0
    before: list[str] = []
    makes_room: list[MakesRoom] = []
    estimate: StartEstimate | None = None
    smaller: list[OtherShape] = []
    unblock: list[str] = []
    facts: list[Fact] = []


class PlanAnswer(WhatIfAnswer, frozen=True, kw_only=True):
    """What would happen if this TaskSet were submitted now."""

    fits_empty: bool
    runs_now: bool
    placement: dict[str, list[Span]] | None = None


class WhyAnswer(WhatIfAnswer, frozen=True, kw_only=True):
    """Why a TaskSet waits, runs here, was preempted, or ended as it did."""

    name: str
    namespace: str
    phase: str
