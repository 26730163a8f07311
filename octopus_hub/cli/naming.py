"""How TaskSets and pairs are named on a command line."""

from __future__ import annotations

from collections.abc import Iterable

from octopus_hub.client.calls import OWN
from octopus_hub.model.errors import InvalidSpec


def namespace_and_name(text: str) -> tuple[str, str]:
    """Return the two parts of ``NAMESPACE/NAME``; ``-`` is the caller's own namespace."""
    namespace, slash, name = text.rpartition("/")
    if not name or (slash and not namespace) or "/" in namespace:
        raise InvalidSpec(f"{text!r} names no TaskSet; give NAME or NAMESPACE/NAME")
    return namespace or OWN, name


def pairs(given: Iterable[str], option: str, form: str = "KEY=VALUE") -> dict[str, str]:
    """Return ``KEY=VALUE`` arguments as a mapping; ``form`` is what the option's help calls it."""
    found: dict[str, str] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise InvalidSpec(f"{option} takes {form}, not {text!r}")
        if key in found:
            raise InvalidSpec(f"{option} gives {key} twice")
        found[key] = value
    return found


def seconds(text: str) -> float:
    """Return seconds of ``30s``, ``90m``, ``12h``, ``7d``."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    try:
        amount = float(text[:-1]) * units[text[-1:]]
    except (ValueError, KeyError):
        amount = -1.0
    if not 0 <= amount < 1e10:
        raise InvalidSpec(f"{text!r} is no age; write it like 30s, 90m, 12h or 7d")
    return amount
