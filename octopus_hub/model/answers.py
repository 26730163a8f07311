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


class PlanAnswer(AnswerStruct, frozen=True, kw_only=True):
    """What would happen if this TaskSet were submitted now. ``reason`` has the wire form of ``core.reason.Reason``."""

    fits_empty: bool
    runs_now: bool
    reason: dict[str, Any] | None = None
    placement: dict[str, list[Span]] | None = None
