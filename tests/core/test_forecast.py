"""Start estimates: the range holds the true start where ends are known, and says what it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octopus_hub.core.forecast import UNKNOWN, Estimate, forecast, in_front, span, words
from octopus_hub.core.schedule import schedule
from octopus_hub.core.snapshot import Running, Snapshot, Waiting, held
from octopus_hub.model.queue import Queue
from tests.core.scheduling_builders import gang, node, role

HOUR = 3600.0


def world(
    *running: tuple[Waiting, float],
    gpus: int = 4,
    nodes: int = 1,
    queues: Sequence[Queue] = (Queue(name="q", policy="fifo", backfill="none"),),
) -> Snapshot:
    """Nodes on which these run, each since so long before 0, placed by the scheduler."""
    bare = Snapshot(
        nodes=tuple(node(f"n{at}", gpu=gpus) for at in range(nodes)), queues={queue.name: queue for queue in queues}
    )
    plan = schedule(bare, [each for each, _ in running], 0.0)
    placements = {admission.uid: admission.placement for admission in plan.admissions}
    assert len(placements) == len(running)
    rows = {each.uid: Running(each, placements[each.uid], -ago) for each, ago in running}
    usage = held((row.gang, row.placement) for row in rows.values())
    return replace(bare, usage=usage, running=rows)


def of(uid: str, gpus: int = 4, at: float = 0.0, **more: Any) -> Waiting:
    return replace(gang(uid, role(count=gpus, gpu=1), at=at), **more)


def one(view: Snapshot, waiting: Sequence[Waiting], uid: str) -> Estimate:
    return forecast(view, waiting, 0.0, [uid])[uid]


def test_by_maximum_runtimes() -> None:
    view = world((of("a", 2, max_runtime=HOUR), 600.0), (of("b", 2, max_runtime=2 * HOUR), 600.0))
    found = one(view, [of("c")], "c")
    assert found.latest == 2 * HOUR - 600.0
    assert found.earliest is not None and 0 < found.earliest < 600.0
    assert found.basis == "by the maximum runtimes of 2 TaskSets before it"


def test_by_earlier_runs() -> None:
    found = one(world((of("a", estimate=HOUR), 600.0)), [of("c")], "c")
    assert found.earliest == pytest.approx((HOUR - 600) / 2)
    assert found.latest == pytest.approx(2 * HOUR - 600)
    assert found.basis == "by run times of earlier runs"


def test_by_the_time_they_have_run() -> None:
    found = one(world((of("a"), HOUR)), [of("c")], "c")
    assert (found.earliest, found.latest) == (HOUR / 4, HOUR * 4)
    assert (
        found.basis == "a guess: 1 TaskSet before it has no maximum runtime, and goes by how long such have run so far"
    )


def test_what_has_just_begun_and_has_no_bound_gives_no_estimate() -> None:
    assert one(world((of("a"), 5.0)), [of("c")], "c") == UNKNOWN


def test_those_before_it_run_first() -> None:
    view = world((of("a", max_runtime=HOUR), 0.0))
    waiting = [of("b", at=1.0, max_runtime=HOUR), of("c", at=2.0)]
    assert one(view, waiting, "c").latest == 2 * HOUR
    assert one(view, waiting, "b").latest == HOUR


def test_room_that_is_there() -> None:
    assert one(world(), [of("c")], "c") == Estimate(0.0, 0.0, "there is room for it")


def test_those_that_leave_end_within_their_notice() -> None:
    view = world((of("a", notice=30.0), HOUR))
    leaving = replace(view.running["a"], leaving=True, claimed_by="c")
    found = one(replace(view, running={"a": leaving}), [of("c", at=-1.0)], "c")
    assert found == Estimate(30.0, 30.0, "others are asked to make room, or stop already")


def test_a_preempting_policy_is_played_forward() -> None:
    """A victim leaves after its notice, and waits again behind the claimant."""
    queue = Queue(name="q", policy="priority", backfill="none")
    view = world((of("a", notice=30.0), HOUR), queues=[queue])
    found = forecast(view, [of("c", priority=100, max_runtime=HOUR), of("d", at=-1.0)], 0.0, ["c", "d"])
    assert (found["c"].earliest, found["c"].latest) == (30.0, 30.0)
    assert found["d"].latest is not None and found["d"].latest > HOUR


def test_who_can_be_overlooked() -> None:
    view = world((of("a", max_runtime=HOUR), 0.0))
    waiting = [of(f"w{at:02d}", at=float(at)) for at in range(20)]
    waits = schedule(view, waiting, 0.0).waits
    assert [each.uid for each in in_front(waiting, waits, ["w05"], line=3)] == [f"w{at:02d}" for at in range(6)]
    assert len(in_front(waiting, waits, ["w00"], line=12)) == 12


def test_it_stops_when_asked() -> None:
    view = world((of("a", max_runtime=HOUR), 0.0))
    found = forecast(view, [of("c")], 0.0, ["c"], stop=lambda: True)["c"]
    assert found == Estimate(0.0, None, "more has to end before it than is looked ahead")


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(0.0, 0.0, ""), "at once"),
        (Estimate(0.0, 90.0, ""), "within 1.5 min"),
        (Estimate(300.0, 7200.0, ""), "in 5 min to 2 h"),
        (Estimate(3600.0, 3601.0, ""), "in about 60 min"),
        (Estimate(5400.0, None, ""), "not before 1.5 h from now"),
        (Estimate(0.0, None, ""), "at no known time"),
        (UNKNOWN, "at no known time"),
    ],
)
def test_words(estimate: Estimate, text: str) -> None:
    assert words(estimate) == text


def test_spans() -> None:
    texts = [span(at) for at in (0.2, 45, 61, 600, 5400, 36000, 86400, 260000)]
    assert texts == ["0 s", "45 s", "1 min", "10 min", "1.5 h", "10 h", "24 h", "3 days"]


# --- laws

JOBS = st.lists(st.tuples(st.integers(1, 8), st.integers(1, 40)), min_size=1, max_size=12)


@settings(max_examples=150, deadline=None)
@given(JOBS, JOBS, st.sampled_from(["fifo", "priority", "las"]), st.sampled_from(["none", "reserve", "any"]))
def test_the_true_start_is_inside_where_ends_are_exact(
    before: list[tuple[int, int]], jobs: list[tuple[int, int]], policy: str, backfill: Any
) -> None:
    """Law 9: with deadlines that are the true ends and no arrivals, everything starts inside its range."""
    queue = Queue(name="q", policy=policy, backfill=backfill)
    bare = Snapshot(nodes=(node("n0", gpu=8), node("n1", gpu=8)), queues={"q": queue})
    gangs = [of(f"r{at}", count, float(at), max_runtime=minutes * 60.0) for at, (count, minutes) in enumerate(before)]
    plan = schedule(bare, gangs, 0.0)
    by_uid = {each.uid: each for each in gangs}
    running = {each.uid: Running(by_uid[each.uid], each.placement, 0.0) for each in plan.admissions}
    waiting = [each for each in gangs if each.uid not in running]
    waiting += [of(f"w{at}", count, 10.0 + at, max_runtime=mins * 60.0) for at, (count, mins) in enumerate(jobs)]
    view = replace(bare, running=running, usage=held((row.gang, row.placement) for row in running.values()))
    found = forecast(view, waiting, 30.0, [each.uid for each in waiting])
    truth = played(view, waiting, 30.0)
    for uid, estimate in found.items():
        assert estimate.earliest is not None and estimate.latest is not None
        assert estimate.earliest <= truth[uid] - 30.0 <= estimate.latest


def played(view: Snapshot, waiting: list[Waiting], now: float) -> dict[str, float]:
    """The obvious simulation without memory: each runs to its deadline; evicted ones wait again after their notice."""
    running, started = dict(view.running), {}
    waits = {each.uid: each for each in waiting}
    leaves: dict[str, float] = {}
    while True:
        usage = held((row.gang, row.placement) for row in running.values())
        plan = schedule(replace(view, running=dict(running), usage=usage), list(waits.values()), now)
        for admission in plan.admissions:
            each = waits.pop(admission.uid)
            started.setdefault(each.uid, now)
            running[each.uid] = Running(each, admission.placement, now)
        for eviction in plan.evictions:
            running[eviction.uid] = replace(running[eviction.uid], leaving=True, claimed_by=eviction.by)
            leaves[eviction.uid] = now + running[eviction.uid].gang.notice
        if not waits:
            return started
        ends = {uid: leaves.get(uid, row.deadline or 0.0) for uid, row in running.items()}
        times = [*ends.values(), *([plan.wake_at] if plan.wake_at is not None else [])]
        now = min(at for at in times if at > now)
        for uid, at in ends.items():
            if at <= now:
                row = running.pop(uid)
                if leaves.pop(uid, None) is not None:
                    served = row.gang.served + at - row.since
                    waits[uid] = replace(row.gang, served=served, preempted_at=(*row.gang.preempted_at, at))
