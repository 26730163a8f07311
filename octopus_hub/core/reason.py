"""A refusal as a value: why something can't run now, in numbers (design, law 9), and how numbers are worded.

Decides nothing and formats amounts only; quota, placement and schedule make reasons, control and service show them.
"""

from __future__ import annotations

from typing import Literal

from octopus_hub.model.amounts import Amounts
from octopus_hub.model.base import ApiStruct

ReasonCode = Literal[
    "Held",  # spec.hold
    "WaitingFor",  # spec.after not fulfilled
    "DependencyFailed",  # spec.after can no longer be fulfilled
    "QueuePaused",  # the queue starts nothing for now
    "QueueUnknown",  # its queue is no longer configured
    "BehindInQueue",  # strict order: something before it does not fit yet
    "QueueQuota",  # the bound of the whole queue (nominal)
    "UserQuota",  # the bound of one owner in the queue (perUser)
    "GroupQuota",  # the bound of one group of the owner in the queue (perGroup)
    "Budget",  # the queue's device-hours of the calendar window are used up
    "NoFit",  # fits an empty cluster, not now
    "NeverFits",  # does not fit an empty cluster
    "BackOff",  # nodes avoided after failed binds
    "Preempting",  # others were asked to make room for it
    "Reserved",  # nodes are set aside for a time (reservation, drain) and it may still run then
]

CPU = "cpu_millis"
MEMORY = "memory_bytes"
_UNITS = (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


class Reason(ApiStruct, frozen=True, kw_only=True):
    """Why a gang is not admitted.

    Attributes
    ----------
    message : str
        One sentence with the numbers and what would unblock it.
    need, free : Amounts
        What was missing it compared: the gang's (or role's) need and what was free.
    where : str
        Node, queue or user that was the limit.
    """

    code: ReasonCode
    message: str
    need: Amounts = Amounts()
    free: Amounts = Amounts()
    where: str = ""


def flat(amounts: Amounts) -> dict[str, int]:
    """Return the non-zero entries by resource name: ``cpu_millis``, ``memory_bytes``, device types."""
    entries = {name: count for name, count in amounts.devices.items() if count}
    if amounts.memory_bytes:
        entries[MEMORY] = amounts.memory_bytes
    if amounts.cpu_millis:
        entries[CPU] = amounts.cpu_millis
    return entries


def unflat(entries: dict[str, int]) -> Amounts:
    """Return the Amounts of what :func:`flat` gives."""
    return Amounts(
        cpu_millis=entries.get(CPU, 0),
        memory_bytes=entries.get(MEMORY, 0),
        devices={name: count for name, count in entries.items() if count and name not in (CPU, MEMORY)},
    )


def figure(resource: str, amount: int) -> str:
    """Return the bare number as people read it: ``2.5`` (CPU), ``8 GiB``, ``4``."""
    if resource == CPU:
        return f"{amount / 1000:g}"
    if resource == MEMORY:
        for unit, factor in _UNITS:
            if abs(amount) >= factor:
                return f"{round(amount / factor, 2):g} {unit}"
        return f"{amount} bytes"
    return str(amount)


def unit(resource: str) -> str:
    """Return the word for a resource."""
    return {CPU: "CPU", MEMORY: "memory"}.get(resource, resource)


def quantity(resource: str, amount: int) -> str:
    """Return number and word: ``2.5 CPU``, ``8 GiB memory``, ``4 gpu``."""
    return f"{figure(resource, amount)} {unit(resource)}"


def quantities(entries: dict[str, int]) -> str:
    """Return several quantities in one phrase, devices first."""
    return " + ".join(quantity(resource, amount) for resource, amount in entries.items()) or "nothing"
