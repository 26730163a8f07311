"""Accounts per (queue, user): what was used up to when. Rebuilt from run records, so a crash loses nothing.

Seconds are wall seconds of an attempt from the start of its first task to its end, multiplied by what it held. Fair
shares look at use that is forgotten by half in every ``HALF_LIFE_SECONDS``, budgets at that of a calendar window;
both in device-seconds (shares: CPU-seconds of what holds no device). What runs is added by whoever asks. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

import msgspec

from octopus_hub.control.lives import LIVES_APART, Lives
from octopus_hub.core.budget import Window, window_start
from octopus_hub.core.estimate import error, estimate, fingerprint, learn, median
from octopus_hub.core.history import Life
from octopus_hub.model.base import ApiStruct
from octopus_hub.model.parts import worth
from octopus_hub.model.record import Record
from octopus_hub.model.status import Phase
from octopus_hub.model.task import TaskState
from octopus_hub.model.taskset import Role, Spec

LEDGER_VERSION = 4  # grows when what is kept changes
KEEP_CHARGED = 1000
KEEP_ERRORS = 500
HALF_LIFE_SECONDS = 7 * 86_400.0
_LN_2 = 0.6931471805599453
WINDOWS: tuple[Window, ...] = get_args(Window)


class Account(ApiStruct, frozen=True, kw_only=True):
    """Accumulated use of one owner in one queue."""

    attempts: int = 0
    preemptions: int = 0
    cpu_seconds: float = 0.0
    memory_byte_seconds: float = 0.0
    device_seconds: dict[str, float] = {}
    recent: float = 0.0  # decayed use
    recent_at: float = 0.0  # as of then


class Spent(ApiStruct, frozen=True, kw_only=True):
    """Device-seconds of a queue in the calendar window that began at ``start``."""

    start: float
    seconds: float = 0.0


class Ledger(ApiStruct, frozen=True, kw_only=True):
    """All accounts as of a time. ``charged`` holds the last charges, so that none is counted twice."""

    version: int = LEDGER_VERSION
    as_of: float = 0.0
    accounts: dict[str, Account] = {}  # "queue/owner"
    spent: dict[str, Spent] = {}  # "queue/day", "queue/week", "queue/month"
    durations: dict[str, Sequence[float]] = {}  # run times of what succeeded, by owner and by owner and command
    errors: list[float] = []  # of the last estimates, see core.estimate
    ended: int = 0  # how many gangs ended by themselves, ever
    lives: list[Life] = []  # of the last of them, whole: those that are not in the stored counts yet (control.lives)
    charged: list[str] = []  # "uid/attempt"


def charge(ledger: Ledger, record: Record) -> Ledger:
    """Return the ledger with a record's use added; the same record twice changes nothing."""
    mark = f"{record.uid}/{record.attempt}"
    if mark in ledger.charged or record.finished_at is None:
        return ledger
    spec = msgspec.convert(record.spec, Spec)
    # a record's own start is that of the TaskSet's first attempt; each attempt is charged for itself
    begun = min((end.started_at for end in record.tasks if end.started_at is not None), default=record.started_at)
    begun = record.finished_at if begun is None else min(begun, record.finished_at)
    key = f"{spec.queue}/{record.owner}"
    account, devices, width = _charged(ledger.accounts.get(key, Account()), spec, record, begun)
    charged = Ledger(
        as_of=max(ledger.as_of, record.finished_at),
        accounts={**ledger.accounts, key: account},
        spent={**ledger.spent, **_spent(ledger.spent, spec.queue, devices, begun, record.finished_at)},
        durations=ledger.durations,
        errors=ledger.errors,
        ended=ledger.ended,
        lives=ledger.lives,
        charged=[*ledger.charged, mark][-KEEP_CHARGED:],
    )
    seconds = record.served_seconds + record.finished_at - begun
    if _by_itself(record):
        life = Life(record.owner, width, kin(record.owner, spec), round(seconds, 1))
        charged = msgspec.structs.replace(charged, ended=ledger.ended + 1, lives=[*ledger.lives, life])
    if record.final and record.phase is Phase.SUCCEEDED:
        charged = _learned(charged, spec, record, seconds)
    return charged


def _by_itself(record: Record) -> bool:
    """Say whether it ran to its own end, good or bad: not stopped, not lost with its node, and it did run."""
    if not record.final or all(end.started_at is None for end in record.tasks):
        return False
    if record.phase is Phase.SUCCEEDED:
        return True
    own = (end.state == TaskState.FAILED.value and end.failure_class != "transient" for end in record.tasks)
    return record.phase is Phase.FAILED and any(own)


def kin(owner: str, spec: Spec) -> str:
    """Return what TaskSets have in common that are expected to run alike."""
    return f"{owner}/{fingerprint(spec)}"


def _charged(account: Account, spec: Spec, record: Record, begun: float) -> tuple[Account, float, float]:
    """Return the account with an attempt added, how many devices that held, and its width (CPUs without devices).

    What is charged for a part of a device is its part; the width counts it as one, as the scheduler does.
    """
    ended = record.finished_at or begun
    seconds, held, wide, cpus = ended - begun, 0.0, 0, 0.0
    cpu, memory, devices = account.cpu_seconds, account.memory_byte_seconds, dict(account.device_seconds)
    for role in spec.roles:
        each = role.amounts(record.choices.get(role.name, 0)).times(_size(role, record))
        cpus += each.cpu_millis / 1000
        memory += each.memory_bytes * seconds
        for name, count in each.devices.items():
            devices[name] = devices.get(name, 0.0) + count * seconds
            held += worth(name, count)
            wide += count
    at = max(account.recent_at, ended)
    return (
        Account(
            attempts=account.attempts + 1,
            preemptions=account.preemptions + (record.reason == "Preempted"),
            cpu_seconds=cpu + cpus * seconds,
            memory_byte_seconds=memory,
            device_seconds=devices,
            recent=decayed(account.recent, at - account.recent_at) + burst(held or cpus, begun, ended, at),
            recent_at=at,
        ),
        held,
        float(wide or max(1.0, cpus)),
    )


def _spent(known: Mapping[str, Spent], queue: str, devices: float, begun: float, ended: float) -> dict[str, Spent]:
    """Return the windows of a queue with an attempt added, as far as it lies in the latest ones."""
    found: dict[str, Spent] = {}
    for window in WINDOWS if devices else ():
        key, start = f"{queue}/{window}", window_start(window, ended)
        before = known.get(key)
        if before is None or before.start < start:
            before = Spent(start=start)
        seconds = before.seconds + devices * max(0.0, ended - max(begun, before.start))
        found[key] = Spent(start=before.start, seconds=seconds)
    return found


def _learned(ledger: Ledger, spec: Spec, record: Record, seconds: float) -> Ledger:
    """Return the ledger with a run time in its history, and how far off the estimate of it was."""
    command = fingerprint(spec)
    guessed = estimate(ledger.durations, record.owner, command)
    errors = ledger.errors if guessed is None else [*ledger.errors, round(error(guessed, seconds), 3)][-KEEP_ERRORS:]
    durations = learn(ledger.durations, record.owner, command, seconds)
    return msgspec.structs.replace(ledger, durations=durations, errors=errors)


def decayed(value: float, seconds: float, half_life: float = HALF_LIFE_SECONDS) -> float:
    """Return what is left of a use after a time."""
    return float(value * 2.0 ** (-max(0.0, seconds) / half_life))


def burst(rate: float, begun: float, ended: float, at: float, half_life: float = HALF_LIFE_SECONDS) -> float:
    """Return what is left at ``at`` of a use at a steady rate from ``begun`` to ``ended``: the integral of the decay.

    So it does not matter whether an attempt is charged in one piece, in many, or while it still runs.
    """
    if ended <= begun:
        return 0.0
    to_end = 2.0 ** (-max(0.0, at - ended) / half_life)
    to_begin = 2.0 ** (-max(0.0, at - begun) / half_life)
    return float(rate * half_life / _LN_2 * (to_end - to_begin))


def attained(ledger: Ledger, at: float) -> dict[tuple[str, str], float]:
    """Return the decayed use of each (queue, owner) by what has ended."""
    found: dict[tuple[str, str], float] = {}
    for key, account in ledger.accounts.items():
        queue, _, owner = key.partition("/")
        found[queue, owner] = decayed(account.recent, at - account.recent_at)
    return found


def spent(ledger: Ledger, queue: str, window: Window, at: float) -> float:
    """Return the device-seconds that a queue used in the window of that time, by what has ended."""
    known = ledger.spent.get(f"{queue}/{window}")
    return known.seconds if known is not None and known.start >= window_start(window, at) else 0.0


def expected(ledger: Ledger, owner: str, spec: Spec) -> float | None:
    """Return for how long a run may take in all, None while nothing is known."""
    return estimate(ledger.durations, owner, fingerprint(spec))


def typical_error(ledger: Ledger) -> float | None:
    """Return the median of |log(actual / estimate)| over the last runs that had an estimate."""
    return median(ledger.errors) if ledger.errors else None


def _size(role: Role, record: Record) -> int:
    """Return how many tasks of a role the attempt had."""
    if not role.elastic:
        return role.count
    return len({end.index for end in record.tasks if end.role == role.name})


def counted(ledger: Ledger, lives: Lives) -> Ledger:
    """Return the ledger without its lives, which are counted from now on."""
    lives.take(ledger.ended, ledger.lives)
    return msgspec.structs.replace(ledger, lives=[])


def rebuild(records: Iterable[Record]) -> tuple[Ledger, Lives]:
    """Return the ledger that these records give, and the counts that belong to it."""
    ledger, lives = Ledger(), Lives()
    for record in sorted(records, key=lambda each: (each.finished_at or 0.0, each.uid, each.attempt)):
        ledger = charge(ledger, record)
        if len(ledger.lives) >= LIVES_APART:
            ledger = counted(ledger, lives)
    return ledger, lives


def load(content: dict[str, Any], counts: dict[str, Any]) -> tuple[Ledger, Lives] | None:
    """Return a stored ledger and its counts; None where one is absent, of another version or does not fit the other.

    Then both are rebuilt from the records.
    """
    if content.get("version") != LEDGER_VERSION or counts.get("version", LEDGER_VERSION) != LEDGER_VERSION:
        return None
    ledger = msgspec.convert(content, Ledger)
    lives = Lives.of(counts)
    return (ledger, lives) if lives.fits(ledger.ended, ledger.lives) else None


def store(ledger: Ledger) -> dict[str, Any]:
    """Return what is stored of a ledger."""
    stored: dict[str, Any] = msgspec.to_builtins(ledger)
    return {**stored, "version": LEDGER_VERSION}


def store_counts(lives: Lives) -> dict[str, Any]:
    """Return what is stored of the counts; before the ledger that has fewer lives for it."""
    return {**lives.content(), "version": LEDGER_VERSION}
