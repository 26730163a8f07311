"""How long a TaskSet may run, from what ran before it: a small table of run times, and the median of the last of them.

Pure. Looked up by owner and command first (the same program again), by owner else; nothing is claimed of somebody's
first runs. Numbers in a command are left out, so that a sweep over learning rates shares its history. ``control.ledger``
keeps the table and how good the estimates were; the policy ``predicted`` and estimated starts rest on them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from math import log

from octopus_hub.model.taskset import Spec

KEPT = 15  # run times of one owner, or of one command of an owner
KEYS = 1_000  # owners and commands that are remembered, those used last
LEAST_OF_OWNER = 3  # runs of an owner before they say something about another command
LEAST_SECONDS = 1.0  # shorter runs are no better known than that

History = Mapping[str, Sequence[float]]  # seconds by key, the latest last

_NUMBERS = re.compile(r"\d+(?:[._]\d+)*(?:e[+-]?\d+)?", re.IGNORECASE)


def fingerprint(spec: Spec) -> str:
    """Return what two TaskSets that run the same program have in common."""
    parts: list[object] = [spec.framework, spec.run.notebook if spec.run is not None else ""]
    for role in spec.roles:
        words = " ".join([*role.command, *role.args])
        parts.append((role.name, role.image, _NUMBERS.sub("#", words)))
    return hashlib.blake2b(repr(parts).encode(), digest_size=6).hexdigest()


def estimate(history: History, owner: str, command: str) -> float | None:
    """Return the seconds that a run may take: the median of the last runs like it; None while there are none."""
    same = history.get(f"{owner}/{command}")
    if same:
        return median(same)
    owned = history.get(owner, ())
    return median(owned) if len(owned) >= LEAST_OF_OWNER else None


def learn(history: History, owner: str, command: str, seconds: float) -> dict[str, Sequence[float]]:
    """Return the history with one more run in it; what was not used for longest is forgotten."""
    fresh = dict(history)
    for key in (owner, f"{owner}/{command}"):
        fresh[key] = [*fresh.pop(key, ()), round(max(LEAST_SECONDS, seconds), 1)][-KEPT:]
    for key in list(fresh)[: max(0, len(fresh) - KEYS)]:
        del fresh[key]
    return fresh


def error(guessed: float, seconds: float) -> float:
    """Return how wrong an estimate was: |log(actual / estimate)|; 0.69 is a factor of two either way."""
    return abs(log(max(LEAST_SECONDS, seconds) / max(LEAST_SECONDS, guessed)))


def median(values: Sequence[float]) -> float:
    """Return the middle value; of an even number the mean of both."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
