"""Parts of devices: a device divided into n equal parts offers n of a type of its own, whose name says n. Pure.

``gpu`` divided into 4 is four of ``gpu-1of4``. Parts are counted whole like every other device type, so quotas,
placement, reasons and records need not know of them; only the names here, who assigns devices and who renders tasks do.
A fraction that a user writes (``gpu: 0.25``, ``gpu: 1/4``) is the same as one such part. What parts bound is a matter of
the device: see ``docs/how-to/divide-devices.md``.
"""

from __future__ import annotations

import numbers
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

MOST_PARTS = 1000  # that a name can say; a device type's descriptor allows fewer
NEAR = 0.01  # how far n times a fraction may be from 1: 0.33 is a third, 0.3 is not
WHAT = "one of n equal parts, such as 0.5, 0.25 or 1/3"

_PART = re.compile(r"([a-z][a-z0-9-]*?)-1of([1-9][0-9]{0,2})")
_DECIMAL = re.compile(r"0?\.[0-9]{1,20}")
_QUOTIENT = re.compile(r"1 ?/ ?([1-9][0-9]{0,2})")


def part_type(kind: str, parts: int) -> str:
    """Return the type of one of so many equal parts of a device; of an undivided one that is its own type."""
    return f"{kind}-1of{parts}" if parts > 1 else kind


@lru_cache(4096)  # asked again and again for the few types that there are
def split(kind: str) -> tuple[str, int]:
    """Return (type of the device, parts it is divided into); 1 of a type that is no part."""
    found = _PART.fullmatch(kind)
    if found is None or int(found[2]) < 2:
        return kind, 1
    return found[1], int(found[2])


def worth(kind: str, count: int) -> float:
    """Return how many whole devices so many of a type are worth: four of ``gpu-1of4`` one."""
    return count / split(kind)[1]


def fraction(value: Any) -> int | None:
    """Return n where a value means the n-th part of a device, None where it means something else."""
    if isinstance(value, str):
        quotient = _QUOTIENT.fullmatch(value)
        if quotient is not None:
            return int(quotient[1]) if int(quotient[1]) > 1 else None
        if not _DECIMAL.fullmatch(value):
            return None
        value = float(value)
    if isinstance(value, bool | numbers.Integral) or not isinstance(value, numbers.Real):
        return None
    share = float(value)
    if not 1 / MOST_PARTS < share < 1:  # NaN is not
        return None
    parts = round(1 / share)
    return parts if parts > 1 and abs(parts * share - 1) <= NEAR + 1e-9 else None


def in_parts(devices: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is asked for with each fraction as one part; what is no fraction is left as it is."""
    found: dict[str, Any] = {}
    added: list[str] = []
    for kind, count in devices.items():
        parts = fraction(count) if isinstance(kind, str) and split(kind)[1] == 1 else None
        if parts is None:
            found[kind] = count
        else:
            added.append(part_type(kind, parts))
    for name in added:
        given = found.get(name, 0)
        found[name] = given + 1 if isinstance(given, int) else given
    return found


def mixed(kinds: Iterable[str]) -> str:
    """Say why these types can't be asked for together, "" if they can: a task sees a device whole or in parts of one size."""
    seen: dict[str, str] = {}
    for kind in kinds:
        other = seen.setdefault(split(kind)[0], kind)
        if other != kind:
            return f"asks for {other} and {kind}; a task takes whole devices of a type or parts of one size, not both"
    return ""
