"""The simulation against hand-computed examples, a plain FIFO simulator, and the laws of scheduling.

Where a test needs evictions at known moments, a scheduler made for it stands in for the production one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octopus_hub.core.plan import Admission, Eviction, Plan
from octopus_hub.core.schedule import schedule
from octopus_hub.core.snapshot import Placement, Snapshot, Waiting, held
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.queue import QueuePreemption
from octopus_hub.model.status import Span
from octopus_hub.simulate.events import simulate
from octopus_hub.simulate.jobs import Job
from octopus_hub.simulate.outcome import Outcome
from octopus_hub.simulate.pool import BrokenPlan, Decayed
from octopus_hub.simulate.report import jain, percentile, report
from octopus_hub.simulate.setup import Setup, shares_of


def job(number: int, at: float, lasts: float, gpus: int, priority: int = 0, cluster: str = "vc") -> Job:
    return Job(f"{number:08d}", at, lasts, gpus, cluster, priority)


JOBS = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 12), st.integers(1, 20), st.integers(-1, 1)), max_size=30
).map(
    lambda rows: [
        job(number, float(at), float(lasts), gpus, rank) for number, (at, lasts, gpus, rank) in enumerate(rows)
    ]
)


def on(gpus: int, policy: str = "fifo", **more: Any) -> Setup:
    return Setup(gpus=gpus, policy=policy, **more)


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


def spread(snapshot: Snapshot, taken: dict[str, int], count: int) -> Placement | None:
    """Place ``count`` tasks of one GPU on the first nodes with room; ``taken`` grows."""
    spans, first = [], 0
    for node in snapshot.nodes:
        used = snapshot.usage.nodes[node.name].devices["gpu"] if node.name in snapshot.usage.nodes else 0
        room = min(count - first, 8 - used - taken.get(node.name, 0))
        if room > 0:
            spans.append(Span(node=node.name, first=first, count=room))
            first += room
    if first < count:
        return None
    for span in spans:
        taken[span.node] = taken.get(span.node, 0) + span.count
    return {"worker": tuple(spans)}


def urgent_first(snapshot: Snapshot, waiting: Sequence[Waiting], now: float, memo: Any) -> Plan:
    """Admit by priority; where the first does not fit, evict all that run with a lower priority."""
    admissions, evictions, taken = [], [], {}  # type: ignore[var-annotated]
    for gang in sorted(waiting, key=lambda gang: (-gang.priority, gang.queued_at, gang.uid)):
        placement = spread(snapshot, taken, gang.needs[0].count)
        if placement is not None:
            admissions.append(Admission(uid=gang.uid, placement=placement))
            continue
        for uid, running in snapshot.running.items():
            if running.gang.priority < gang.priority and not running.leaving:
                evictions.append(Eviction(uid=uid, by=gang.uid, rule="priority"))
        break
    return Plan(admissions=tuple(admissions), evictions=tuple(evictions))


def test_five_jobs_computed_by_hand() -> None:
    """8 GPUs: 1 takes 6 until 10; 2 (4 GPUs) waits for it, and 3 behind 2, although its GPU is free; 4 for all."""
    jobs = [job(1, 0, 10, 6), job(2, 1, 5, 4), job(3, 2, 20, 1), job(4, 3, 2, 8), job(5, 4, 1, 1)]
    outcome = simulate(jobs, on(8))
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
    assert figures.wait_hours["8+"] == pytest.approx(27 / 3600)
    assert figures.wait_hours[">8"] is None
    assert figures.makespan_hours == pytest.approx(33 / 3600)
    assert figures.utilisation == pytest.approx((60 + 20 + 20 + 16 + 1) / (33 * 8))
    assert figures.jain_clusters == pytest.approx(1.0)
    assert figures.jain_users is None  # the trace names none
    # something waits from 1 to 32: 2 GPUs are free until 10, 3 until 15, 7 until 30, always on the node that is used
    assert outcome.idle_gpu_seconds == outcome.broken_gpu_seconds == 2 * 9 + 3 * 5 + 7 * 15
    assert figures.fragmentation == 1.0


def test_the_policy_priority_lets_higher_ones_go_first() -> None:
    jobs = [job(1, 0, 10, 8), job(2, 1, 5, 8), job(3, 2, 5, 8, priority=1)]
    calm = QueuePreemption(within=False)
    assert [each.job.uid[-1] for each in simulate(jobs, on(8, "priority", preemption=calm)).ran] == ["1", "3", "2"]
    assert [each.job.uid[-1] for each in simulate(jobs, on(8, "fifo", preemption=calm)).ran] == ["1", "2", "3"]


def test_an_evicted_job_pays_notice_and_restart_and_goes_on_where_it_was() -> None:
    jobs = [job(1, 0, 100, 8), job(2, 40, 50, 8, priority=1)]
    outcome = simulate(jobs, on(8, notice_seconds=10, restart_seconds=7), schedule=urgent_first)
    urgent, victim = outcome.ran
    assert (urgent.job.uid[-1], urgent.started, urgent.ended, urgent.preemptions) == ("2", 50.0, 100.0, 0)
    # 40 done, notice until 50, waits until 100, restarts until 107, does the other 60
    assert (victim.started, victim.ended, victim.preemptions) == (0.0, 167.0, 1)
    assert (victim.notice_gpu_seconds, victim.restart_gpu_seconds, victim.lost_gpu_seconds) == (80.0, 56.0, 0.0)
    figures = report(outcome)
    assert figures.preemptions == 1
    assert figures.overhead_share == pytest.approx(17 / 167)
    assert outcome.held == ((0.0, 50.0, "vc", 8), (50.0, 100.0, "vc", 8), (100.0, 167.0, "vc", 8))


def test_one_that_writes_no_checkpoints_starts_again_from_nothing() -> None:
    jobs = [job(1, 0, 100, 8), job(2, 40, 50, 8, priority=1)]
    outcome = simulate(jobs, on(8, notice_seconds=10, restart_seconds=7, checkpointing=0), schedule=urgent_first)
    assert outcome.ran[1].ended == 207.0
    assert outcome.ran[1].lost_gpu_seconds == 320.0
    assert report(outcome).lost_work_gpu_hours == pytest.approx(40 * 8 / 3600)


def test_the_scheduler_sees_the_victim_leave_and_come_back_in_its_place() -> None:
    seen: list[tuple[float, list[str], dict[str, tuple[bool, str]], tuple[float, tuple[float, ...]]]] = []

    def watched(snapshot: Snapshot, waiting: Sequence[Waiting], now: float, memo: Any) -> Plan:
        running = {uid[-1]: (each.leaving, each.claimed_by[-1:]) for uid, each in snapshot.running.items()}
        seen.append((now, [gang.uid[-1] for gang in waiting], running, (waiting[0].served, waiting[0].preempted_at)))
        return urgent_first(snapshot, waiting, now, memo)

    jobs = [job(1, 0, 100, 8), job(2, 40, 50, 8, priority=1), job(3, 41, 5, 1)]
    simulate(jobs, on(8, notice_seconds=10, restart_seconds=7), schedule=watched)
    assert seen == [
        (0.0, ["1"], {}, (0.0, ())),
        (40.0, ["2"], {"1": (False, "")}, (0.0, ())),
        (41.0, ["2", "3"], {"1": (True, "2")}, (0.0, ())),
        (50.0, ["1", "2", "3"], {}, (40.0, (40.0,))),
        (100.0, ["1", "3"], {}, (40.0, (40.0,))),
        (167.0, ["3"], {}, (0.0, ())),
    ]


def test_a_share_of_the_jobs_checkpoints_and_always_the_same_ones() -> None:
    jobs = [job(number, 0, 1, 1) for number in range(1000)]
    half = [on(8, checkpointing=0.5).resumes(each) for each in jobs]
    assert 400 < sum(half) < 600
    assert half == [on(16, checkpointing=0.5).resumes(each) for each in jobs]
    more = [on(8, checkpointing=0.6).resumes(each) for each in jobs]
    assert all(later or not earlier for earlier, later in zip(half, more, strict=True))


@settings(max_examples=60, deadline=None)
@given(jobs=JOBS)
def test_it_equals_a_plain_fifo_simulator(jobs: list[Job]) -> None:
    outcome = simulate(jobs, on(16))
    fitting = [each for each in jobs if each.gpus <= 16]
    assert starts(outcome) == plain_fifo(fitting, 16)
    assert {each.uid for each in outcome.refused} == {each.uid for each in jobs if each.gpus > 16}


@settings(max_examples=80, deadline=None)
@given(jobs=JOBS, policy=st.sampled_from(["fifo", "priority", "urgent"]), share=st.sampled_from([0.0, 0.5, 1.0]))
def test_laws_gangs_are_whole_nothing_is_used_twice_and_what_the_scheduler_sees_is_true(
    jobs: list[Job], policy: str, share: float
) -> None:
    scheduler = urgent_first if policy == "urgent" else schedule
    setup = on(24, "fifo" if policy == "urgent" else policy, checkpointing=share, notice_seconds=1, restart_seconds=2)

    def watched(snapshot: Snapshot, waiting: Sequence[Waiting], now: float, memo: Any) -> Plan:
        usage = held((each.gang, each.placement) for each in snapshot.running.values())
        assert snapshot.usage.nodes == usage.nodes
        assert all(amounts.devices["gpu"] <= 8 for amounts in usage.nodes.values())
        some = {name: amounts for name, amounts in snapshot.usage.queues.items() if amounts != Amounts()}
        assert some == usage.queues
        for each in snapshot.running.values():
            assert sum(span.count for span in each.placement["worker"]) == each.gang.needs[0].count
        assert list(waiting) == sorted(waiting, key=lambda gang: (gang.queued_at, gang.uid))
        assert not {gang.uid for gang in waiting} & set(snapshot.running)
        return scheduler(snapshot, waiting, now, memo)

    outcome = simulate(jobs, setup, schedule=watched)
    assert len(outcome.ran) + len(outcome.refused) == len(jobs)
    assert not outcome.stuck
    for each in outcome.ran:
        lost = each.restart_gpu_seconds + each.lost_gpu_seconds + each.notice_gpu_seconds
        assert each.started >= each.job.submitted
        assert each.ended >= each.started + each.job.duration + lost / each.job.gpus - 1e-6
    mine = sum((until - since) * gpus for since, until, _, gpus in outcome.held)
    work = sum(
        each.job.duration * each.job.gpus + each.restart_gpu_seconds + each.lost_gpu_seconds + each.notice_gpu_seconds
        for each in outcome.ran
    )
    assert mine == pytest.approx(work)  # every GPU-second that was held is accounted for


@settings(max_examples=40, deadline=None)
@given(jobs=JOBS, policy=st.sampled_from(["fifo", "priority"]))
def test_the_same_again_and_without_what_the_scheduler_remembers(jobs: list[Job], policy: str) -> None:
    outcome = simulate(jobs, on(24, policy))
    assert simulate(list(reversed(jobs)), on(24, policy)) == outcome
    forgetful = simulate(
        jobs, on(24, policy), schedule=lambda snapshot, waiting, now, memo: schedule(snapshot, waiting, now)
    )
    assert forgetful.ran == outcome.ran


def test_a_cycle_is_asked_for_when_the_scheduler_wants_to_be_woken() -> None:
    asked: list[float] = []

    def patient(snapshot: Snapshot, waiting: Sequence[Waiting], now: float, memo: Any) -> Plan:
        asked.append(now)
        return urgent_first(snapshot, waiting, now, memo) if now >= 30 else Plan(wake_at=now + 10)

    outcome = simulate([job(1, 5, 10, 1)], on(8), schedule=patient)
    assert asked == [5.0, 15.0, 25.0, 35.0]
    assert outcome.ran[0].ended == 45.0


def test_what_never_starts_is_told_and_does_not_go_on_for_ever() -> None:
    never = simulate([job(1, 0, 1, 1)], on(8), schedule=lambda *_: Plan())
    assert [each.uid for each in never.stuck] == ["00000001"]
    waking = simulate([job(1, 0, 1, 1)], on(8), schedule=lambda snapshot, waiting, now, memo: Plan(wake_at=now + 1))
    assert len(waking.stuck) == 1


@pytest.mark.parametrize("broken", ["too much", "twice", "half a gang", "evicts nobody"])
def test_a_scheduler_that_breaks_a_promise_ends_the_simulation(broken: str) -> None:
    def wrong(snapshot: Snapshot, waiting: Sequence[Waiting], now: float, memo: Any) -> Plan:
        if broken == "evicts nobody":
            return Plan(evictions=(Eviction(uid="nobody", by=waiting[0].uid, rule="priority"),))
        span = Span(node="node-00000", first=0, count=2 if broken == "half a gang" else 3)
        given = [Admission(uid=gang.uid, placement={"worker": (span,)}) for gang in waiting]
        return Plan(admissions=(*given, *given) if broken == "twice" else tuple(given))

    jobs = [job(number, 0, 1, 3) for number in range(3 if broken == "too much" else 1)]
    with pytest.raises(BrokenPlan):
        simulate(jobs, on(16), schedule=wrong)


def test_queues_by_cluster_share_the_pool_by_use_or_equally() -> None:
    seen: list[Snapshot] = []

    def watched(snapshot: Snapshot, waiting: Sequence[Waiting], now: float, memo: Any) -> Plan:
        seen.append(snapshot)
        return urgent_first(snapshot, waiting, now, memo)

    jobs = [job(1, 0, 30, 1, cluster="a"), job(2, 0, 10, 1, cluster="b")]
    simulate(jobs, on(8, queues="cluster"), schedule=watched)
    simulate(jobs, on(8, queues="cluster", shares="equal"), schedule=watched)
    gpus = [
        {name: queue.nominal.devices["gpu"] for name, queue in each.queues.items() if queue.nominal} for each in seen
    ]
    assert gpus == [{"a": 6, "b": 2}, {"a": 4, "b": 4}]
    assert all(queue.cohort in each.cohorts for each in seen for queue in each.queues.values())
    assert shares_of({"a": 1.0, "b": 1.0, "c": 1.0}, 8) == {"a": 3, "b": 3, "c": 2}
    assert shares_of({"a": 0.0, "b": 0.0}, 4) == {"a": 2, "b": 2}


def test_tasks_of_8_gpus_need_whole_nodes() -> None:
    jobs = [job(1, 0, 10, 1), job(2, 0, 5, 16), job(3, 0, 5, 12)]
    assert starts(simulate(jobs, on(24))) == {"00000001": 0.0, "00000002": 0.0, "00000003": 5.0}
    outcome = simulate(jobs[:2], on(16, task_gpus=8))
    assert starts(outcome) == {"00000001": 0.0, "00000002": 10.0}
    assert outcome.broken_gpu_seconds == 7 * 10
    assert outcome.idle_gpu_seconds == 15 * 10
    assert [len(each.job.uid) for each in simulate(jobs[2:], on(16, task_gpus=8)).ran] == [8]


def test_use_decays_by_half_in_a_half_life() -> None:
    used = Decayed(100.0)
    used.hold(("q", "u"), 2, 0.0)
    used.hold(("q", "u"), -2, 10.0)
    at_ten = used.upto(10.0)["q", "u"]
    assert 18 < at_ten < 20
    assert used.upto(110.0)["q", "u"] == pytest.approx(at_ten / 2)


@pytest.mark.parametrize(
    ("setup", "told"),
    [
        (on(12), "multiple of 8"),
        (on(0), "8"),
        (on(8, "fiffo"), "fifo?"),
        (on(8, "fifo+some"), "there is no backfill 'some'"),
        (on(8, checkpointing=1.5), "no share"),
        (on(8, task_gpus=9), "no node has 9 GPUs"),
        (on(8, queues="clusters"), "cluster?"),
        (on(8, shares="some"), "shares"),
    ],
)
def test_settings_that_cannot_be_are_refused(setup: Setup, told: str) -> None:
    with pytest.raises(InvalidSpec, match=told.replace("?", r"\?")):
        simulate([], setup)


def test_figures_of_nothing_and_of_known_values() -> None:
    assert report(simulate([], on(8))).jct_avg_hours is None
    assert [percentile([1, 2, 3, 4], percent) for percent in (50, 90, 99)] == [2, 4, 4]
    assert jain([1, 0, 0, 0]) == 0.25
    assert jain([]) is None


def test_run_times_are_estimated_from_what_ended_before_the_submission() -> None:
    seen: dict[str, float | None] = {}

    def watched(snapshot: Snapshot, waiting: Sequence[Waiting], now: float, memo: Any) -> Plan:
        seen.update({gang.uid: gang.estimate for gang in waiting})
        return urgent_first(snapshot, waiting, now, memo)

    def of(uid: str, at: float, lasts: float, owner: str) -> Job:
        return Job(uid, at, lasts, 1, "vc", owner=owner, command="train")

    jobs = [of("a", 0, 10, "ada"), of("b", 5, 10, "ada"), of("c", 20, 40, "ada"), of("d", 20, 5, "bob")]
    outcome = simulate(jobs, on(8), schedule=watched)
    assert seen == {"a": None, "b": None, "c": 10.0, "d": None}
    figures = report(outcome)
    assert figures.estimated == 1
    assert figures.estimate_factor == pytest.approx(4.0)


def test_one_that_is_preempted_over_and_over_and_begins_again_is_given_up() -> None:
    def cruel(snapshot: Snapshot, waiting: Sequence[Waiting], now: float, memo: Any) -> Plan:
        running = [uid for uid, each in snapshot.running.items() if not each.leaving and now - each.since >= 3600]
        evictions = tuple(Eviction(uid=uid, by="2", rule="priority") for uid in running)
        placed = {gang.uid: spread(snapshot, {}, gang.needs[0].count) for gang in waiting if gang.uid == "1"}
        admissions = tuple(Admission(uid=uid, placement=place) for uid, place in placed.items() if place is not None)
        return Plan(admissions=admissions, evictions=evictions, wake_at=now + 3600)

    jobs = [Job("1", 0, 7200, 8, "vc"), Job("2", 0, 1, 8, "vc")]
    outcome = simulate(jobs, on(8, checkpointing=0), schedule=cruel)
    assert [each.uid for each in outcome.stuck] == ["1", "2"]
    assert 3000 < outcome.cycles < 40_000
