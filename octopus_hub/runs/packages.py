"""What differs between two environments, by their locks. Pure; called by ``runs.replay`` and ``runs.compare``."""

from __future__ import annotations

from collections.abc import Iterable

from octopus_hub.model.record import Environment

SHOWN = 20


def changes(before: Environment, now: Environment) -> list[str]:
    """Return the differences in words: ``numpy 1.26.4 -> 2.1.0``, ``+ foo 1.0`` (new), ``- bar 2.0`` (missing)."""
    found = [
        f"{what} {was or 'unknown'} -> {is_ or 'unknown'}"
        for what, was, is_ in (("python", before.python, now.python), ("platform", before.platform, now.platform))
        if was != is_
    ]
    old, new = _versions(before.lock), _versions(now.lock)
    for name in sorted(old.keys() | new.keys()):
        if name not in old:
            found.append(f"+ {name} {new[name]}")
        elif name not in new:
            found.append(f"- {name} {old[name]}")
        elif old[name] != new[name]:
            found.append(f"{name} {old[name]} -> {new[name]}")
    return found


def instructions(before: Environment, now: Environment) -> str:
    """Say how to get the earlier environment back."""
    if before.python != now.python or before.platform != now.platform:
        return f"make an environment with Python {before.python} on {before.platform} and the packages of the record"
    old, new = _versions(before.lock), _versions(now.lock)
    wanted = [f"{name}=={version}" for name, version in sorted(old.items()) if new.get(name) != version]
    surplus = sorted(new.keys() - old.keys())
    steps = [f"pip install {' '.join(wanted[:SHOWN])}"] if wanted else []
    steps += [f"pip uninstall {' '.join(surplus[:SHOWN])}"] if surplus else []
    rest = " and the rest of the record's lock" if len(wanted) > SHOWN or len(surplus) > SHOWN else ""
    return f"put it back ({'; '.join(steps)}{rest}), or submit the TaskSet anew to run with what is there now"


def _versions(lock: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lock:
        name, _, version = line.partition("==")
        found[name.lower().replace("_", "-").replace(".", "-")] = version
    return found
