"""The simulation against a hand-computed example, a plain FIFO simulator, and the laws of scheduling."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octopus_hub.model.errors import InvalidSpec
from octopus_hub.simulate.events import Outcome, simulate
from octopus_hub.simulate.philly import Job
from octopus_hub.simulate.report import jain, percentile, report


def job(number: int, at: float, lasts: float, gpus: int, priority: int = 0) -> Job:
    return Job(f"{number:08d}", at, lasts, gpus, "vc", priority)


JOBS = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 12), st.integers(1, 20), st.integers(-1, 1)), max_size=30
).map(
    lambda rows: [
        job(number, float(at), float(lasts), gpus, rank) for number, (at, lasts, gpus, rank) in enumerate(rows)
    ]
)


def starts(outcome: Outcome) -> dict[str, float]:
    return {each.job.uid: each.started for each in outcome.ran}


def plain_fifo(jobs: list[Job], gpus: int) -> dict[str, float]:
    """Each job starts as soon as it is submitted, all before it have started, and so many GPUs are free."""
    found: dict[str, float] = {}
    running: list[tuple[float, int]] = []
    now = 0.0
    for each in sorted(jobs, key=lambda each: (each.submitted, each.uid)):
        now = max(now, each.submitted)
        while sum(count for end, count in running if end > now) + each.gpus > gpus:
            now = min(end for end, _ in running if end > now)
        found[each.uid] = now
        running.append((now + each.duration, each.gpus))
    return found


def test_five_jobs_computed_by_hand() -> None:
    """8 GPUs: 1 takes 6 until 10; 2 (4 GPUs) waits for it, and 3 behind 2, although its GPU is free; 4 for all."""
    jobs = [job(1, 0, 10, 6), job(2, 1, 5, 4), job(3, 2, 20, 1), job(4, 3, 2, 8), job(5, 4, 1, 1)]
    outcome = simulate(jobs, 8)
    assert starts(outcome) == {
        jobs[0].uid: 0.0,
        jobs[1].uid: 10.0,
        jobs[2].uid: 10.0,
        jobs[3].uid: 30.0,
        jobs[4].uid: 32.0,
    }
    figures = report(outcome)
    assert figures.jct_avg_hours == pytest.approx((10 + 14 + 28 + 29 + 29) / 5 / 3600)
    assert figures.wait_hours["1"] == pytest.approx((8 + 28) / 2 / 3600)
    assert figures.wait_hours["8"] == pytest.approx((0 + 27) / 2 / 3600)
    assert figures.wait_hours[">8"] is None
    assert figures.makespan_hours == pytest.approx(33 / 3600)
    assert figures.utilisation == pytest.approx((60 + 20 + 20 + 16 + 1) / (33 * 8))
    assert figures.jain == pytest.approx(1.0)


def test_the_policy_priority_lets_higher_ones_go_first() -> None:
    jobs = [job(1, 0, 10, 8), job(2, 1, 5, 8), job(3, 2, 5, 8, priority=1)]
    assert [each.job.uid[-1] for each in simulate(jobs, 8, "priority").ran] == ["1", "3", "2"]
    assert [each.job.uid[-1] for each in simulate(jobs, 8, "fifo").ran] == ["1", "2", "3"]


@settings(max_examples=60, deadline=None)
@given(jobs=JOBS)
def test_it_equals_a_plain_fifo_simulator(jobs: list[Job]) -> None:
    outcome = simulate(jobs, 16)
    fitting = [each for each in jobs if each.gpus <= 16]
    assert starts(outcome) == plain_fifo(fitting, 16)
    assert {each.uid for each in outcome.refused} == {each.uid for each in jobs if each.gpus > 16}


@settings(max_examples=60, deadline=None)
@given(jobs=JOBS, policy=st.sampled_from(["fifo", "priority"]))
def test_laws_gangs_are_whole_and_no_gpu_is_used_twice(jobs: list[Job], policy: str) -> None:
    outcome = simulate(jobs, 24, policy)
    assert len(outcome.ran) + len(outcome.refused) == len(jobs)
    for each in outcome.ran:
        assert each.started >= each.job.submitted
        assert sum(count for _, count in each.nodes) == each.job.gpus
        used: dict[str, int] = {}
        for other in outcome.ran:
            if other.started <= each.started < other.ended:
                for node, count in other.nodes:
                    used[node] = used.get(node, 0) + count
        assert max(used.values(), default=0) <= 8


@settings(max_examples=60, deadline=None)
@given(jobs=JOBS, policy=st.sampled_from(["fifo", "priority"]))
def test_the_same_again_and_whatever_part_of_the_queue_a_cycle_sees(jobs: list[Job], policy: str) -> None:
    outcome = simulate(jobs, 24, policy)
    assert simulate(list(reversed(jobs)), 24, policy) == outcome
    for window in (1, 1000):
        assert simulate(jobs, 24, policy, window).ran == outcome.ran


@pytest.mark.parametrize(
    ("gpus", "policy", "told"), [(12, "fifo", "multiple of 8"), (0, "fifo", "8"), (8, "fiffo", "fifo?")]
)
def test_settings_that_cannot_be_are_refused(gpus: int, policy: str, told: str) -> None:
    with pytest.raises(InvalidSpec, match=told.replace("?", r"\?")):
        simulate([], gpus, policy)


def test_figures_of_nothing_and_of_known_values() -> None:
    assert report(simulate([], 8)).jct_avg_hours is None
    assert [percentile([1, 2, 3, 4], percent) for percent in (50, 90, 99)] == [2, 4, 4]
    assert jain([1, 0, 0, 0]) == 0.25
    assert jain([]) is None
