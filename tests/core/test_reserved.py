"""What a gang is told that waits because of a window: who has the nodes, until when, what would start now."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopus_hub.core.calendar import closed
from octopus_hub.core.reserved import length, reserved_reason, set_aside
from octopus_hub.core.snapshot import Window
from tests.core.calendar_builders import HOUR, some_windows, waiting, window
from tests.core.scheduling_builders import amounts, role

FOUR = window(nodes=("a", "b", "c", "d"), queues=("course-ml",))
DRAIN = window("drain.a", 10 * HOUR, None, nodes=["a"], queues=(), purpose="drain", message="new fan")
RESERVED = "4 nodes are reserved for course-ml from 10:00 to 12:00 (UTC)"

TABLE = [
    (
        "no maximum runtime",
        [FOUR],
        8 * HOUR + 35 * 60,
        waiting(),
        f"{RESERVED}; without a maximum runtime (lifetime.maxRuntimeSeconds) it can't start there before 12:00; "
        "with one below 1 h 25 min it could start now",
    ),
    (
        "what preparing and ending take is kept off",
        [FOUR],
        8 * HOUR + 35 * 60,
        waiting(overhead=600.0),
        f"{RESERVED}; without a maximum runtime (lifetime.maxRuntimeSeconds) it can't start there before 12:00; "
        "with one below 1 h 15 min it could start now",
    ),
    (
        "too long a maximum runtime",
        [FOUR],
        9 * HOUR,
        waiting(max_runtime=3 * HOUR + 600, overhead=600.0),
        f"{RESERVED}; with a maximum runtime of 3 h it could run into that time, so it can't start there before 12:00; "
        "with one below 50 min it could start now",
    ),
    (
        "no time left",
        [FOUR],
        10 * HOUR - 30,
        waiting(),
        f"{RESERVED}; without a maximum runtime (lifetime.maxRuntimeSeconds) it can't start there before 12:00",
    ),
    (
        "while it is",
        [FOUR],
        11 * HOUR,
        waiting(max_runtime=60.0),
        "4 nodes are reserved for course-ml until 12:00 (UTC); it can't start there before 12:00",
    ),
    (
        "a drain has no end",
        [DRAIN],
        11 * HOUR,
        waiting(),
        "a is drained: new fan; it can't start there before that is taken back (octopus nodes open)",
    ),
    (
        "several",
        [DRAIN, FOUR],
        11 * HOUR,
        waiting(),
        "a is drained: new fan (1 more like it); it can't start there before 12:00",
    ),
]


@pytest.mark.parametrize(("rule", "windows", "now", "gang", "message"), TABLE, ids=[case[0] for case in TABLE])
def test_reason(rule: str, windows: list[Window], now: float, gang: Any, message: str) -> None:
    reason = reserved_reason(windows, gang, now, could_start=True)
    assert reason is not None
    assert (reason.code, reason.message) == ("Reserved", message)
    assert reason.where in {each.name for each in windows}


def test_nothing_is_promised_that_would_not_be_so() -> None:
    reason = reserved_reason([FOUR], waiting(needs=(role(count=3, cpu=2, gpu=1),)), 9 * HOUR, could_start=False)
    assert reason is not None
    assert "could start now" not in reason.message
    assert reason.need == amounts(cpu=6, memory=3, gpu=3)


def test_who_is_let_in_or_ends_before_is_told_nothing() -> None:
    for gang in (waiting(queue="course-ml"), waiting(max_runtime=HOUR)):
        assert reserved_reason([FOUR], gang, 9 * HOUR, could_start=True) is None
    assert reserved_reason([FOUR], waiting(), 12 * HOUR, could_start=True) is None


def test_times_are_those_of_the_windows_zone() -> None:
    each = window(start=86_400 + 9 * HOUR, end=86_400 + 11 * HOUR, zone="Europe/Berlin", owners=["tea"])
    assert (
        set_aside(each, 86_400 + 8 * HOUR) == "2 nodes are reserved for course, tea from 10:00 to 12:00 (Europe/Berlin)"
    )
    assert set_aside(each, HOUR).startswith(
        "2 nodes are reserved for course, tea from Fri 2 Jan 10:00 to Fri 2 Jan 12:00"
    )


def test_other_words() -> None:
    closed_now = window("drain.a", 0.0, None, nodes=["a"], queues=(), purpose="closed")
    assert set_aside(closed_now, HOUR) == "a is closed"
    assert set_aside(DRAIN, HOUR) == "a is drained from 10:00 on (UTC): new fan"
    assert set_aside(window(queues=(), purpose="maintenance"), 11 * HOUR) == (
        "2 nodes are set aside for maintenance until 12:00 (UTC)"
    )
    assert [length(seconds) for seconds in (59.9, 60, 3600, 5100, 86_400, 90_000)] == [
        "59 s",
        "1 min",
        "1 h",
        "1 h 25 min",
        "1 d",
        "1 d 1 h",
    ]


@given(
    some_windows(),
    st.integers(0, 60 * 60).map(lambda minutes: minutes * 60.0),
    st.one_of(st.none(), st.integers(1, 50).map(lambda hours: hours * HOUR)),
)
def test_there_is_a_reason_exactly_when_nodes_are_closed(
    windows: tuple[Window, ...], now: float, max_runtime: float | None
) -> None:
    gang = waiting(max_runtime=max_runtime)
    until = None if max_runtime is None else now + max_runtime
    shut = closed(windows, now, until, gang.queue, gang.owner)
    reason = reserved_reason(windows, gang, now, could_start=True)
    assert (reason is not None) == bool(shut)
    if reason is not None and "could start now" in reason.message:  # what it promises holds
        first = min(each.start for each in windows if each.name == reason.where)
        assert not closed(windows, now, first, gang.queue, gang.owner)
