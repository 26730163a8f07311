"""Integer amounts of resources: what a task asks for, what a node has, what a quota allows.

Always integers (milli-CPUs, bytes, whole devices), so that sums are exact (design, law 7).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from octopus_hub.model.base import ApiStruct


class Amounts(ApiStruct, frozen=True, kw_only=True):
    """A vector of resources.

    Attributes
    ----------
    cpu_millis : int
        Thousandths of a CPU core.
    memory_bytes : int
        Bytes of memory.
    devices : dict of str to int
        Whole devices by device type (``gpu``, ``virtual``, ...); zero entries are left out.
    """

    cpu_millis: int = 0
    memory_bytes: int = 0
    devices: dict[str, int] = {}

    def plus(self, other: Amounts) -> Amounts:
        """Return the sum."""
        return Amounts(
            cpu_millis=self.cpu_millis + other.cpu_millis,
            memory_bytes=self.memory_bytes + other.memory_bytes,
            devices=_combine(self.devices, other.devices, 1),
        )

    def minus(self, other: Amounts) -> Amounts:
        """Return the difference; entries may become negative (callers that forbid it check :meth:`fits_in`)."""
        return Amounts(
            cpu_millis=self.cpu_millis - other.cpu_millis,
            memory_bytes=self.memory_bytes - other.memory_bytes,
            devices=_combine(self.devices, other.devices, -1),
        )

    def times(self, count: int) -> Amounts:
        """Return the vector multiplied by ``count``."""
        return Amounts(
            cpu_millis=self.cpu_millis * count,
            memory_bytes=self.memory_bytes * count,
            devices={name: amount * count for name, amount in self.devices.items() if amount * count},
        )

    def most(self, other: Amounts) -> Amounts:
        """Return the larger of each entry."""
        names = dict.fromkeys((*self.devices, *other.devices))
        return Amounts(
            cpu_millis=max(self.cpu_millis, other.cpu_millis),
            memory_bytes=max(self.memory_bytes, other.memory_bytes),
            devices={name: max(self.devices.get(name, 0), other.devices.get(name, 0)) for name in names},
        )

    def fits_in(self, free: Amounts) -> bool:
        """Say whether every entry is at most the one of ``free``."""
        return (
            self.cpu_millis <= free.cpu_millis
            and self.memory_bytes <= free.memory_bytes
            and all(amount <= free.devices.get(name, 0) for name, amount in self.devices.items())
        )


def total(parts: Iterable[Amounts]) -> Amounts:
    """Return the sum of ``parts``."""
    cpu_millis = 0
    memory_bytes = 0
    devices: dict[str, int] = {}
    for part in parts:
        cpu_millis += part.cpu_millis
        memory_bytes += part.memory_bytes
        for name, amount in part.devices.items():
            devices[name] = devices.get(name, 0) + amount
    return Amounts(
        cpu_millis=cpu_millis,
        memory_bytes=memory_bytes,
        devices={name: amount for name, amount in devices.items() if amount},
    )


def _combine(left: Mapping[str, int], right: Mapping[str, int], sign: int) -> dict[str, int]:
    result = dict(left)
    for name, amount in right.items():
        result[name] = result.get(name, 0) + sign * amount
    return {name: amount for name, amount in result.items() if amount}
