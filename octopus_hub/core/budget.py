"""Budgets: device-hours of a queue in a calendar window (UTC).

Pure date arithmetic and one rule. ``control.ledger`` sums what a queue used since :func:`window_start`; ``quota`` and
``schedule`` ask what follows from it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Literal

from octopus_hub.model.queue import Budget, Queue

Window = Literal["day", "week", "month"]
Action = Literal["", "finish", "stop", "low"]  # "": there is some left

COUNTED_SECONDS = 60.0  # what queues spent is worked out anew at full minutes

_HOUR = 3600


def window_start(window: Window, now: float) -> float:
    """Return when the window that holds ``now`` began: midnight, Monday's, or that of the first of the month (UTC)."""
    return _midnight(window, now).timestamp()


def window_end(window: Window, now: float) -> float:
    """Return when the next window begins."""
    start = _midnight(window, now)
    if window == "day":
        return (start + timedelta(days=1)).timestamp()
    if window == "week":
        return (start + timedelta(days=7)).timestamp()
    return (start + timedelta(days=32)).replace(day=1).timestamp()


def left(budget: Budget, spent: float) -> float:
    """Return the device-seconds that are left; negative when more was used."""
    return budget.device_hours * _HOUR - spent


def over_budget(queue: Queue, spent: float) -> Action:
    """Return what happens to a queue that used so many device-seconds in the current window.

    ``finish``: nothing that uses devices starts. ``stop``: nor does it go on, it is stopped with notice. ``low``: it
    goes behind all others and makes room for anybody. A new window ends all of them.
    """
    budget = queue.budget
    if budget is None or left(budget, spent) > 0:
        return ""
    return budget.at_end


def changes_at(queue: Queue, spent: float, devices: float, as_of: float) -> float | None:
    """Return when :func:`over_budget` may answer differently if ``devices`` stay in use; None without a budget.

    ``spent`` is as of ``as_of``. What wakes the scheduler.
    """
    budget = queue.budget
    if budget is None:
        return None
    end = window_end(budget.window, as_of)
    rest = left(budget, spent)
    return min(end, as_of + rest / devices) if devices > 0 and rest > 0 else end


def seen_at(moment: float) -> float:
    """Return when what is spent by a moment has been counted."""
    return ceil(moment / COUNTED_SECONDS) * COUNTED_SECONDS


def _midnight(window: Window, now: float) -> datetime:
    day = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if window == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if window == "month" else day
