"""Accounts per (queue, user): what was used up to when. Rebuilt from run records, so a crash loses nothing.

Seconds are wall seconds of an attempt from the start of its first task to its end, multiplied by what it held.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from octopus_hub.model.base import ApiStruct
from octopus_hub.model.record import Record
from octopus_hub.model.taskset import Role, Spec

KEEP_CHARGED = 1000


class Account(ApiStruct, frozen=True, kw_only=True):
    """Accumulated use of one owner in one queue."""

    attempts: int = 0
    cpu_seconds: float = 0.0
    memory_byte_seconds: float = 0.0
    device_seconds: dict[str, float] = {}


class Ledger(ApiStruct, frozen=True, kw_only=True):
    """All accounts as of a time. ``charged`` holds the last charges, so that none is counted twice."""

    as_of: float = 0.0
    accounts: dict[str, Account] = {}  # "queue/owner"
    charged: list[str] = []  # "uid/attempt"


def charge(ledger: Ledger, record: Record) -> Ledger:
    """Return the ledger with a record's use added; the same record twice changes nothing."""
    mark = f"{record.uid}/{record.attempt}"
    if mark in ledger.charged or record.finished_at is None:
        return ledger
    spec = msgspec.convert(record.spec, Spec)
    # a record's own start is that of the TaskSet's first attempt; each attempt is charged for itself
    begun = min((end.started_at for end in record.tasks if end.started_at is not None), default=record.started_at)
    seconds = max(0.0, record.finished_at - begun) if begun is not None else 0.0
    key = f"{spec.queue}/{record.owner}"
    account = ledger.accounts.get(key, Account())
    devices = dict(account.device_seconds)
    cpu = account.cpu_seconds
    memory = account.memory_byte_seconds
    for role in spec.roles:
        each = role.amounts(record.choices.get(role.name, 0)).times(_size(role, record))
        cpu += each.cpu_millis / 1000 * seconds
        memory += each.memory_bytes * seconds
        for name, count in each.devices.items():
            devices[name] = devices.get(name, 0.0) + count * seconds
    account = Account(
        attempts=account.attempts + 1, cpu_seconds=cpu, memory_byte_seconds=memory, device_seconds=devices
    )
    return Ledger(
        as_of=max(ledger.as_of, record.finished_at),
        accounts={**ledger.accounts, key: account},
        charged=[*ledger.charged, mark][-KEEP_CHARGED:],
    )


def _size(role: Role, record: Record) -> int:
    """Return how many tasks of a role the attempt had."""
    if not role.elastic:
        return role.count
    return len({end.index for end in record.tasks if end.role == role.name})


def rebuild(records: Iterable[Record]) -> Ledger:
    """Return the ledger that these records give."""
    ledger = Ledger()
    for record in sorted(records, key=lambda each: (each.finished_at or 0.0, each.uid, each.attempt)):
        ledger = charge(ledger, record)
    return ledger


def load(content: dict[str, Any]) -> Ledger:
    """Return a stored ledger."""
    return msgspec.convert(content, Ledger) if content else Ledger()


def store(ledger: Ledger) -> dict[str, Any]:
    """Return what is stored of a ledger."""
    stored: dict[str, Any] = msgspec.to_builtins(ledger)
    return stored
