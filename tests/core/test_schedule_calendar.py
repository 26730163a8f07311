"""The calendar in scheduling: placed only where it ends in time, told why not, asked to leave, looked at again in time."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from octopus_hub.core.plan import Eviction
from octopus_hub.core.schedule import schedule
from octopus_hub.core.snapshot import Snapshot, Window, held
from octopus_hub.model.queue import Queue
from tests.core.calendar_builders import HOUR, NAMES, running, some_windows, waiting, window
from tests.core.scheduling_builders import node, role, tasks_by_node

QUEUES = {name: Queue(name=name) for name in ("q", "course", "lab")}
TWO = (node("n0", gpu=4), node("n1", gpu=4))
FOUR = {"needs": (role(count=4, gpu=1),)}


def at(*present: Any, nodes: Any = TWO, windows: Any = ()) -> Snapshot:
    pairs = [(each.gang, each.placement) for each in present]
    rows = {each.gang.uid: each for each in present}
    return Snapshot(nodes=nodes, usage=held(pairs), queues=QUEUES, running=rows, windows=tuple(windows))


def test_all_room_is_set_aside_and_that_is_the_reason() -> None:
    plan = schedule(at(windows=[window()]), [waiting("g", **FOUR)], 11 * HOUR)
    reason = plan.waits["g"].reason
    assert (reason.code, reason.where, plan.wake_at) == ("Reserved", "w", 12 * HOUR)
    assert reason.message == "2 nodes are reserved for course until 12:00 (UTC); it can't start there before 12:00"


def test_a_closed_node_has_room_that_nobody_gets() -> None:
    shut = window("drain.n0", 0.0, None, nodes=["n0"], queues=(), purpose="closed")
    full = running("r", "n1", needs=(role(count=1, gpu=4),), queue="q")
    reason = schedule(at(full, windows=[shut]), [waiting("g", **FOUR)], HOUR).waits["g"].reason
    assert reason.message == "n0 is closed; it can't start there before that is taken back (octopus nodes open)"
    more = schedule(at(full, windows=[shut]), [waiting("g", needs=(role(count=5, gpu=1),))], HOUR).waits["g"].reason
    assert more.code != "Reserved", "it would not fit there either"


def test_short_work_fills_the_nodes_ahead_and_long_work_does_not_hold_it_up() -> None:
    gangs = [waiting("long", **FOUR), waiting("short", **FOUR, max_runtime=HOUR)]
    plan = schedule(at(windows=[window()]), gangs, 9 * HOUR)
    assert [each.uid for each in plan.admissions] == ["short"]
    assert plan.waits["long"].reason.message.endswith("with one below 1 h it could start now")


def test_nobody_waits_and_still_the_nodes_are_cleared() -> None:
    plan = schedule(at(running("r", "n0"), windows=[window()]), [], 10 * HOUR)
    assert plan.evictions == (Eviction("r", "w", "window"),)
    before = schedule(at(running("r", "n0"), windows=[window()]), [], 9 * HOUR)
    assert (before.evictions, before.wake_at) == ((), 10 * HOUR - 60.0)


@given(some_windows(), st.integers(-24, 60), st.lists(st.tuples(st.integers(1, 20), st.integers(0, 40)), max_size=6))
def test_no_plan_puts_a_gang_where_it_may_outlast_a_start(
    windows: tuple[Window, ...], hour: int, shapes: list[tuple[int, int]]
) -> None:
    """Promise to those who reserve, through the whole of scheduling; ``0`` hours is no maximum runtime."""
    now = hour * HOUR
    gangs = [
        waiting(f"g{number}", owner="cat", needs=(role(count=count, gpu=1),), max_runtime=hours * HOUR or None)
        for number, (count, hours) in enumerate(shapes)
    ]
    by_uid = {gang.uid: gang for gang in gangs}
    plan = schedule(at(nodes=tuple(node(name, gpu=4) for name in NAMES), windows=windows), gangs, now)
    for admission in plan.admissions:
        limit = by_uid[admission.uid].max_runtime
        used = set(tasks_by_node(admission.placement))
        for each in windows:
            if used & each.nodes and now >= each.start - each.ahead and (each.end is None or now < each.end):
                assert limit is not None and now + limit <= each.start
