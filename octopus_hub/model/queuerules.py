"""Documents of queues and cohorts: what each field may hold, the tree that they make, and how they are written back. Pure.

The configuration file, ``PUT`` and ``PATCH`` read them with the same rules; every problem of a document is told at
once, each with its path. Policies are known to ``core`` only, so their names are given by the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from octopus_hub.model.amounts import Amounts
from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.fields import Fields, Items, More, OrNull, Shapes, Table
from octopus_hub.model.problems import Problems, kind_of, near, short, shown
from octopus_hub.model.quantity import cpu_text, memory_text, parse_cpu, parse_memory
from octopus_hub.model.queue import Budget, Cohort, PriorityClass, Queue, QueuePreemption
from octopus_hub.model.shapes import BAD, Number, Schema, Text, Whole

MOST = 2**53  # of any amount: what JSON and JavaScript keep exactly
MOST_WEIGHT = 1_000_000
MOST_PRIORITY = 2**31 - 1
DEEPEST = 32  # cohorts within each other
_YEAR = 366 * 86_400

Kind = TypeVar("Kind")

_PARSE: Mapping[str, tuple[str, Callable[[str], int]]] = {
    "cpu": ("cpuMillis", parse_cpu),
    "memory": ("memoryBytes", parse_memory),
}


@dataclass(frozen=True, slots=True)
class QuotaAmounts:
    """Amounts of a quota: ``cpu`` and ``memory`` as quantities (or ``cpuMillis``, ``memoryBytes``), ``devices``."""

    def read(self, value: Any, path: str, problems: Problems) -> Any:
        """See Shape."""
        if not isinstance(value, Mapping):
            problems.add(
                path, f"needs a mapping such as {{cpu: 16, memory: 64Gi, devices: {{gpu: 4}}}}, not {kind_of(value)}"
            )
            return BAD
        found: dict[str, Any] = {}
        for key, each in value.items():
            where, name = f"{path}.{short(str(key))}", str(key)
            if name in _PARSE:
                name, read = _PARSE[name][0], _quantity(each, where, problems, _PARSE[name][1])
            elif name in ("cpuMillis", "memoryBytes"):
                read = Whole(0, MOST).read(each, where, problems)
            elif name == "devices":
                read = _DEVICES.read(each, where, problems)
            else:
                problems.add(where, f"unknown field; {near(name, ('cpu', 'memory', 'devices'))}")
                continue
            if name in found:
                problems.add(where, "is given twice, with a unit and without")
            found[name] = read
        return BAD if BAD in found.values() else found

    def schema(self, definitions: Schema) -> Schema:
        """See Shape."""
        quantity: Schema = {"type": ["string", "number"]}
        plain: Schema = {"type": "integer", "minimum": 0, "maximum": MOST}
        properties = {"cpu": quantity, "memory": quantity, "cpuMillis": plain, "memoryBytes": plain}
        properties["devices"] = _DEVICES.schema(definitions)
        return {"type": "object", "properties": properties, "additionalProperties": False}


def _quantity(value: Any, path: str, problems: Problems, parse: Callable[[str], int]) -> Any:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        problems.add(path, f"needs an amount, not {kind_of(value)}")
        return BAD
    try:
        size = parse(str(value))
    except InvalidSpec as error:
        problems.add(path, error.message)
        return BAD
    if size > MOST:
        problems.add(path, f"{short(str(value))} is more than 2^53, the most that a quota can be")
        return BAD
    return size


_WORD = Text(r"[^\s\x00-\x1f\x7f/]{1,253}", "a name without spaces and slashes, at most 253 characters")
_COHORT = Text(r"[^\s\x00-\x1f\x7f/]{0,253}", "the name of a cohort")
_DEVICE = Text(
    r"[^\s\x00-\x1f\x7f:]{1,253}(?::[^\s\x00-\x1f\x7f:]{1,63})?",
    "a device type such as gpu, or one with a SKU: gpu:a100",
)
_DEVICES = Table(_DEVICE, Whole(0, MOST), 64, "a mapping of device types to numbers, such as gpu: 8")
_AMOUNTS = OrNull(QuotaAmounts())
_BOUNDS = {"nominal": _AMOUNTS, "borrow": _AMOUNTS, "lend": _AMOUNTS}
_SECONDS = Number(0, _YEAR, unit="seconds")
_USERS = Items(_WORD, 10_000, words="a list of names")

_MORE: dict[type, More] = {
    Queue: More(
        shapes={
            **_BOUNDS,
            "name": _WORD,
            "policy": Text(),
            "weight": Whole(0, MOST_WEIGHT),
            "cohort": _COHORT,
            "per_user": _AMOUNTS,
            "per_group": _AMOUNTS,
            "max_running_tasks_per_user": OrNull(Whole(0, MOST)),
            "max_queued_per_user": OrNull(Whole(0, MOST)),
            "allowed_groups": _USERS,
            "allowed_users": _USERS,
        },
        hints={"groups": "did you mean allowedGroups?", "users": "did you mean allowedUsers?"},
        dropped=("used", "usedByYou", "borrowed", "lent", "share", "running", "preemptionsToday", "budgetUse", "board"),
    ),
    Cohort: More(
        shapes={**_BOUNDS, "name": _WORD, "parent": _COHORT, "weight": Whole(0, MOST_WEIGHT)},
        dropped=("queues", "cohorts", "used"),
    ),
    Budget: More(shapes={"device_hours": Whole(0, MOST // 3600)}, hints={"hours": "did you mean deviceHours?"}),
    QueuePreemption: More(
        shapes={
            "min_runtime_seconds": _SECONDS,
            "per_day": Whole(0, 86_400),
            "review_seconds": Number(1, _YEAR, unit="seconds"),
        }
    ),
    PriorityClass: More(shapes={"name": _WORD, "value": Whole(-MOST_PRIORITY - 1, MOST_PRIORITY)}),
}
_SHAPES = Shapes(_MORE)
QUEUE: Fields = _SHAPES.of(Queue)
COHORT: Fields = _SHAPES.of(Cohort)
PRIORITY: Fields = _SHAPES.of(PriorityClass)


def read_queue(document: Any, path: str, policies: Collection[str], problems: Problems) -> Queue | None:
    """Return the queue of a document, or None after adding what is wrong with it."""
    before = len(problems)
    found = QUEUE.read(document, path, problems)
    policy = found.get("policy", Queue(name="").policy) if found is not BAD else BAD
    if policy is not BAD and policy not in policies:
        where = f"{path}.policy" if path else "policy"
        problems.add(where, f"unknown policy {shown(policy)}; {near(policy, policies)}")
    return msgspec.convert(found, Queue) if len(problems) == before else None


def read_cohort(document: Any, path: str, problems: Problems) -> Cohort | None:
    """Return the cohort of a document, or None after adding what is wrong with it."""
    before = len(problems)
    found = COHORT.read(document, path, problems)
    return msgspec.convert(found, Cohort) if len(problems) == before else None


def parse_queue(document: Any, name: str, policies: Collection[str]) -> Queue:
    """Return the queue that is put under a name; raises InvalidSpec with every problem."""
    problems = Problems()
    queue = read_queue(_named(document, name, problems), "", policies, problems)
    return _whole(queue, "queue", problems)


def parse_cohort(document: Any, name: str) -> Cohort:
    """Return the cohort that is put under a name; raises InvalidSpec with every problem."""
    problems = Problems()
    return _whole(read_cohort(_named(document, name, problems), "", problems), "cohort", problems)


def tree_problems(queues: Mapping[str, Queue], cohorts: Mapping[str, Cohort]) -> list[tuple[str, str]]:
    """Return what is wrong with the tree: (name of the queue or cohort, one sentence)."""
    found: list[tuple[str, str]] = []
    for name, queue in queues.items():
        if queue.cohort and queue.cohort not in cohorts:
            found.append((name, f"there is no cohort {queue.cohort}; {_known(queue.cohort, cohorts)}"))
    for name, cohort in cohorts.items():
        chain = [name]
        while (parent := cohorts[chain[-1]].parent) and parent in cohorts and parent not in chain:
            chain.append(parent)
        if cohort.parent and cohort.parent not in cohorts:
            found.append((name, f"there is no cohort {cohort.parent}; {_known(cohort.parent, cohorts)}"))
        elif parent == name:
            circle = " -> ".join([*chain, name])
            found.append((name, f"the cohorts {circle} go in a circle; let one of them have no parent"))
        elif len(chain) > DEEPEST:
            found.append((name, f"it is {len(chain)} cohorts deep, at most {DEEPEST} are possible"))
    return found


def document_of(thing: Queue | Cohort) -> dict[str, Any]:
    """Return a queue or cohort as people write it: quantities with units, defaults left out, the name first."""
    fresh = type(thing)(name="")
    found: dict[str, Any] = {"name": thing.name}
    for field in msgspec.structs.fields(thing):
        name, value = field.encode_name, getattr(thing, field.name)
        if isinstance(value, Amounts):
            found[name] = amounts_document(value)
        elif name == "policy" or value != getattr(fresh, field.name):
            found[name] = msgspec.to_builtins(value)
    return found


def amounts_document(amounts: Amounts) -> dict[str, Any]:
    """Return amounts with units; what is not named is left out."""
    found: dict[str, Any] = {}
    if amounts.cpu_millis:
        found["cpu"] = cpu_text(amounts.cpu_millis)
    if amounts.memory_bytes:
        found["memory"] = memory_text(amounts.memory_bytes)
    if amounts.devices:
        found["devices"] = dict(amounts.devices)
    return found


def merged(document: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document with a JSON merge patch applied (RFC 7396): null removes."""
    found = dict(document)
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        elif isinstance(value, Mapping):
            known = found.get(key)
            found[key] = merged(known if isinstance(known, Mapping) else {}, value)
        else:
            found[key] = value
    return found


def _named(document: Any, name: str, problems: Problems) -> Any:
    if not isinstance(document, Mapping):
        return document
    given = document.get("name", name)
    if given != name:
        problems.add("name", f"{shown(str(given))} is not {name}, under which it is put; leave the field out")
    return {**document, "name": name}


def _whole(found: Kind | None, what: str, problems: Problems) -> Kind:
    if found is None or problems:
        told = problems.told()
        raise InvalidSpec(told[0] if len(told) == 1 else f"the {what} has {len(told)} problems", told)
    return found


def _known(name: str, cohorts: Collection[str]) -> str:
    return near(name, cohorts) if cohorts else "none is defined"
