"""JSON Schemas of API objects, made from the model. Pure; used by the service, the command line and the generator.

The schema of a TaskSet is that of a user's document: it says what ``model.parse`` accepts, as far as JSON Schema can.
Those of the other kinds say what the service answers.
"""

from __future__ import annotations

from typing import Any

import msgspec

from octopus_hub.model.answers import Frame, PlanAnswer, TaskSetView, WhyAnswer
from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.node import Node
from octopus_hub.model.queue import Cohort, PriorityClass, Queue
from octopus_hub.model.record import Record
from octopus_hub.model.reservation import RESERVATION, Reservation
from octopus_hub.model.rules import TASKSET
from octopus_hub.model.status import Board
from octopus_hub.model.task import Task
from octopus_hub.model.taskset import API_VERSION, TaskSet

DIALECT = "https://json-schema.org/draft/2020-12/schema"
KINDS: dict[str, type[Any]] = {
    each.__name__: each
    for each in (
        TaskSet,
        Task,
        Node,
        Queue,
        Cohort,
        PriorityClass,
        Reservation,
        Board,
        Record,
        TaskSetView,
        Frame,
        PlanAnswer,
        WhyAnswer,
    )
}


def json_schema(kind: str = "TaskSet") -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of one kind, in any case; raises InvalidSpec for an unknown one."""
    known = {name.lower(): name for name in KINDS}
    name = known.get(kind.lower())
    if name is None:
        raise InvalidSpec(f"there is no schema of {kind}; there are {', '.join(sorted(KINDS))}")
    header = {"$schema": DIALECT, "$id": f"{API_VERSION}/{name}"}
    documents = {"TaskSet": TASKSET, "Reservation": RESERVATION}
    if name in documents:
        definitions: dict[str, Any] = {}
        return {**header, **documents[name].schema(definitions), "$defs": definitions}
    return {**header, **msgspec.json.schema(KINDS[name])}
