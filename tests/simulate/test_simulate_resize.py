"""Elastic jobs in the simulation: a resize is a notice, a restart, and another speed; production schedules them too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from octopus_hub.core.plan import Admission, Plan, Resize
from octopus_hub.core.snapshot import Snapshot, Waiting
from octopus_hub.model.status import Span
from octopus_hub.simulate.events import simulate
from octopus_hub.simulate.generate import generate, parse_load
from octopus_hub.simulate.jobs import Job
from octopus_hub.simulate.pool import BrokenPlan
from octopus_hub.simulate.report import report
from octopus_hub.simulate.setup import Setup

SETUP = Setup(gpus=16, notice_seconds=10, restart_seconds=5)


def place(*counts: int) -> dict[str, tuple[Span, ...]]:
    spans, first = [], 0
    for at, count in enumerate(counts):
        if count:
            spans.append(Span(node=f"node-{at:05d}", first=first, count=count))
            first += count
    return {"worker": tuple(spans)}


def at_20(resize: Resize, start: dict[str, tuple[Span, ...]], seen: list[Snapshot] | None = None) -> Any:
    """Return a scheduler that admits everything at ``start``, resizes at 20, and looks again at 25."""

    def scheduler(snapshot: Snapshot, waiting: Sequence[Waiting], now: float, memo: Any) -> Plan:
        if seen is not None:
            seen.append(snapshot)
        admissions = tuple(Admission(uid=gang.uid, placement=start) for gang in waiting)
        wake_at = {0: 20.0, 20: 25.0}.get(int(now))
        return Plan(admissions=admissions, resizes=(resize,) if now == 20 else (), wake_at=wake_at)

    return scheduler


def test_a_job_that_grows_pays_notice_and_restart_and_is_as_much_faster() -> None:
    seen: list[Snapshot] = []
    scheduler = at_20(Resize("1", place(4, 4), "grow"), place(4), seen)
    outcome = simulate([Job("1", 0, 100, 4, "vc", most=8)], SETUP, schedule=scheduler)
    (job,) = outcome.ran
    assert job.ended == 20 + 10 + 5 + 80 / 2  # 20 of 100 done, the rest at twice the speed
    assert (job.preemptions, job.resizes) == (0, 1)
    assert (job.notice_gpu_seconds, job.restart_gpu_seconds, job.lost_gpu_seconds) == (80.0, 40.0, 0.0)
    assert outcome.held == ((0, 20, "vc", 4), (20, 30, "vc", 8), (30, 75, "vc", 8))
    during, after = (seen[at].running["1"] for at in (2, 3))
    assert (during.leaving, during.placement, during.sheds, during.gang.served) == (True, place(4, 4), {}, 0.0)
    assert (after.leaving, after.since, after.gang.served) == (False, 30.0, 20.0)
    assert seen[2].usage.nodes["node-00001"].devices == {"gpu": 4}


def test_one_that_shrinks_holds_what_it_gives_up_until_its_notice_is_over() -> None:
    seen: list[Snapshot] = []
    scheduler = at_20(Resize("1", place(0, 4), "shrink", by="2"), place(4, 4), seen)
    outcome = simulate([Job("1", 0, 100, 4, "vc", most=8)], SETUP, schedule=scheduler)
    assert outcome.ran[0].ended == 20 + 10 + 5 + (100 - 40)
    assert outcome.held == ((0, 20, "vc", 8), (20, 30, "vc", 8), (30, 95, "vc", 4))
    during = seen[2].running["1"]
    assert (during.claimed_by, during.sheds) == ("2", {"worker": place(4)["worker"]})
    assert [seen[2].usage.nodes[f"node-0000{at}"].devices["gpu"] for at in (0, 1)] == [4, 4]
    assert "node-00000" not in seen[3].usage.nodes


@pytest.mark.parametrize("wrong", [Resize("1", place(8, 1), "grow"), Resize("1", place(3), "shrink")])
def test_a_resize_beyond_its_bounds_ends_the_simulation(wrong: Resize) -> None:
    with pytest.raises(BrokenPlan):
        simulate([Job("1", 0, 100, 4, "vc", most=8)], SETUP, schedule=at_20(wrong, place(4)))


def test_elastic_jobs_under_the_production_scheduler_all_end_and_not_later_on_average() -> None:
    trace = generate(parse_load("jobs=60,load=0.4,elastic=1,sizes=4:1:20000,users=3,sigma=0.5"), 1, 64)
    outcome = simulate(trace.jobs, Setup(gpus=64, policy="fifo"))
    assert not outcome.stuck
    assert {each.job.uid for each in outcome.ran} == {job.uid for job in trace.jobs}
    fixed = simulate(
        generate(parse_load("jobs=60,load=0.4,sizes=4:1:20000,users=3,sigma=0.5"), 1, 64).jobs, Setup(gpus=64)
    )
    assert (report(outcome).jct_avg_hours or 0) <= (report(fixed).jct_avg_hours or 0)
