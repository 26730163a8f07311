"""Generated loads: what is asked for comes out, the same for the same seed; parts of traces."""

from __future__ import annotations

from math import log
from statistics import fmean, pvariance

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octopus_hub.model.errors import InvalidSpec
from octopus_hub.simulate.generate import DAY, START, generate, limited, parse_load, sizes_of
from octopus_hub.simulate.jobs import Job, Trace
from octopus_hub.simulate.parts import between, part


def test_the_same_seed_gives_the_same_jobs_and_another_one_others() -> None:
    load = parse_load("jobs=500")
    assert generate(load, 1, 64) == generate(load, 1, 64)
    assert generate(load, 1, 64) != generate(load, 2, 64)


@settings(max_examples=25, deadline=None)
@given(
    jobs=st.integers(1, 400),
    users=st.integers(1, 30),
    sizes=st.sampled_from(["philly", "small", "large", "3:1:50+1:9:10"]),
    load=st.sampled_from([0.1, 0.9, 2.0]),
    seed=st.integers(0, 5),
)
def test_a_load_has_its_number_of_jobs_users_and_sizes(
    jobs: int, users: int, sizes: str, load: float, seed: int
) -> None:
    trace = generate(parse_load(f"jobs={jobs},users={users},sizes={sizes},load={load}"), seed, 64)
    assert len(trace.jobs) == jobs
    assert len({job.uid for job in trace.jobs}) == jobs
    assert list(trace.jobs) == sorted(trace.jobs, key=lambda job: (job.submitted, job.uid))
    assert {job.gpus for job in trace.jobs} <= set(sizes_of(sizes))
    assert len({job.owner for job in trace.jobs}) <= users
    assert all(job.duration > 0 and job.owner and job.command and job.cluster for job in trace.jobs)
    work = sum(job.duration * job.gpus for job in trace.jobs)
    span = work / (load * 64)
    assert all(START <= job.submitted <= START + span + 1 for job in trace.jobs)


def test_large_loads_have_the_shares_the_wave_and_the_heavy_users_they_name() -> None:
    jobs = generate(parse_load("jobs=20000,users=20,load=0.5"), 3, 416).jobs
    ones = sum(job.gpus == 1 for job in jobs) / len(jobs)
    eights = sum(job.gpus == 8 for job in jobs) / len(jobs)
    assert 0.90 < ones < 0.96
    assert 0.01 < eights < 0.03
    by_owner = [sum(job.owner == f"user-{at:02d}" for job in jobs) for at in (0, 1, 19)]
    assert by_owner[0] > 1.5 * by_owner[1] > 5 * by_owner[2]
    days = int((jobs[-1].submitted - START) // DAY)
    whole = [job for job in jobs if job.submitted < START + days * DAY]
    noon = sum(0.25 <= job.submitted % DAY / DAY < 0.75 for job in whole)
    assert noon > 1.3 * (len(whole) - noon)


def test_history_predicts_as_much_as_is_asked_for() -> None:
    def within(predictable: float) -> float:
        jobs = generate(parse_load(f"jobs=20000,predictable={predictable},users=5,commands=3"), 1, 416).jobs
        logs: dict[tuple[str, str], list[float]] = {}
        for job in jobs:
            logs.setdefault((job.owner, job.command), []).append(log(job.duration))
        return fmean([pvariance(each) for each in logs.values() if len(each) > 50])

    assert within(1.0) < 0.01
    assert within(0.7) == pytest.approx(4 * 0.3, rel=0.15)
    assert within(0.0) == pytest.approx(4, rel=0.15)


def test_elastic_commands_may_grow_to_twice_their_size() -> None:
    jobs = generate(parse_load("jobs=200,elastic=1"), 1, 64).jobs
    assert all(job.most == 2 * job.gpus for job in jobs)
    assert all(job.most is None for job in generate(parse_load("jobs=200"), 1, 64).jobs)


def test_maximum_runtimes_are_guesses_that_cut_nothing_off() -> None:
    trace = generate(parse_load("jobs=300"), 1, 64)
    limits = [(job.max_runtime or 0) / (60 + job.duration) for job in limited(trace, 3, 1, 60).jobs]
    assert all((job.max_runtime or 0) >= 60 + job.duration for job in limited(trace, 3, 1, 60).jobs)
    assert 1.5 < fmean(limits) < 2.1
    with pytest.raises(InvalidSpec, match="cut jobs off"):
        limited(trace, 0.5, 1, 60)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("jbos=5", "has no 'jbos'.*jobs"),
        ("jobs=many", "jobs of a generated load is 'many'"),
        ("jobs=1.5", "jobs of a generated load is '1.5'"),
        ("jobs=0", "jobs of a generated load can't be 0"),
        ("load=0", "load .* can't be 0"),
        ("load=nan", "load .* can't be nan"),
        ("users=-1", "users .* can't be -1"),
        ("sigma=inf", "sigma .* can't be inf"),
        ("sizes=phily", "philly"),
        ("sizes=1:0:5", "are positive"),
        ("sizes=0:1:5", "are positive"),
        ("sizes=1:1:nan", "are positive"),
    ],
)
def test_loads_that_cannot_be_are_refused(words: str, told: str) -> None:
    with pytest.raises(InvalidSpec, match=told):
        parse_load(words)


def test_parts_are_equal_and_together_the_whole() -> None:
    trace = Trace(tuple(Job(f"{at:02d}", at * 3600.0 * 24, 1, 1, "a") for at in range(7)))
    halves = [part(trace, f"{which}/2").jobs for which in (1, 2)]
    assert [len(half) for half in halves] == [3, 4]
    assert halves[0] + halves[1] == trace.jobs
    assert part(trace, None) is trace
    for words in ("0/2", "3/2", "half", "1/0", "-1/2"):
        with pytest.raises(InvalidSpec, match="not like 1/2"):
            part(trace, words)


def test_dates_cut_a_trace_the_first_included_the_last_not() -> None:
    trace = Trace(tuple(Job(f"{at:02d}", 366 * DAY + at * DAY, 1, 1, "a") for at in range(5)))  # from 2 January 1971
    assert [job.uid for job in between(trace, "1971-01-03", "1971-01-05").jobs] == ["01", "02"]
    assert len(between(trace, None, None).jobs) == 5
    for since, until, told in (("1971-01-05", "1971-01-05", "nothing lies"), ("soon", None, "--from is 'soon'")):
        with pytest.raises(InvalidSpec, match=told):
            between(trace, since, until)
