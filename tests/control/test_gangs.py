"""What the scheduler is shown of a TaskSet: one that waits, one that holds its place; kept up to date row by row."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from octopus_hub.backends.base import Change
from octopus_hub.control.cache import Cache
from octopus_hub.control.gangs import running_gang, waiting_gang
from octopus_hub.core.draft import GRACE_SECONDS
from octopus_hub.core.lifecycle import advance
from octopus_hub.model.queue import PriorityClass
from octopus_hub.model.status import Phase, Span, Status, TimelineEntry
from octopus_hub.model.task import Task, TaskState, Usage
from octopus_hub.model.taskset import Gang, Lifetime, Metadata, PreemptionSpec, Role, Spec, TaskSet

T0 = 1_700_000_000.0
PRIORITIES = {"high": PriorityClass(name="high", value=100)}
PLACES = {"w": [Span(node="n1", first=0, count=2)]}
HOLDING = (Phase.ADMITTED, Phase.STARTING, Phase.RUNNING, Phase.RESTARTING, Phase.PREEMPTING, Phase.STOPPING)

replace = msgspec.structs.replace


def taskset(
    phase: Phase = Phase.RUNNING, *, meta: dict[str, Any] | None = None, spec: Any = None, **status: Any
) -> Any:
    placed = {} if phase.waiting else {"placement": PLACES, "admitted_at": T0, "attempt": 1}
    return TaskSet(
        metadata=Metadata(name="job", namespace="anna", owner="anna", uid="u1", version=1, **(meta or {})),
        spec=Spec(roles=[Role("w", replicas=2, command=["x"])], queue="default", priority="high", **(spec or {})),
        status=Status(phase=phase, **{"queued_at": T0 - 50, **placed, **status}),
    )


def task(index: int, checkpoint_at: float | None, gang_attempt: int = 1, state: TaskState = TaskState.RUNNING) -> Task:
    return Task(
        name=f"job-w-{index}-{gang_attempt}",
        namespace="anna",
        taskset="job",
        taskset_uid="u1",
        role="w",
        index=index,
        attempt=gang_attempt,
        gang_attempt=gang_attempt,
        state=state,
        node="n1",
        usage=Usage(checkpoint_at=checkpoint_at),
    )


def test_what_waits_shows_what_it_had_and_what_it_bears() -> None:
    spec = {
        "preemption": PreemptionSpec(allowed=False, min_runtime_seconds=30, resumes="always"),
        "lifetime": Lifetime(max_runtime_seconds=3600),
        "gang": Gang(timeout_seconds=100),
    }
    waits = taskset(
        Phase.QUEUED, meta={"groups": ["vision"]}, spec=spec, served_seconds=77.0, preempted_at=[T0, T0 + 1]
    )
    gang = waiting_gang(waits, PRIORITIES, estimate=12.0)
    assert (gang.priority, gang.queued_at, gang.groups, gang.estimate) == (100, T0 - 50, ("vision",), 12.0)
    assert (gang.preemptible, gang.min_runtime, gang.resumes, gang.served) == (False, 30, True, 77.0)
    assert gang.preempted_at == (T0, T0 + 1)
    assert gang.max_runtime == 100 + 3600 + GRACE_SECONDS


@pytest.mark.parametrize(
    ("resumes", "checkpoint_at", "served"),
    [("auto", None, 0.0), ("auto", T0, 77.0), ("never", T0, 0.0), ("always", None, 77.0)],
)
def test_served_counts_only_for_what_goes_on(resumes: Any, checkpoint_at: float | None, served: float) -> None:
    spec = {"preemption": PreemptionSpec(resumes=resumes)}
    gang = waiting_gang(taskset(Phase.QUEUED, spec=spec, served_seconds=77.0, checkpoint_at=checkpoint_at), {})
    assert (gang.served, gang.resumes) == (served, served > 0)


def test_what_was_saved_counts_also_when_the_gang_was_never_seen_running() -> None:
    ended = [
        replace(task(at, T0 + 30, state=TaskState.FAILED), started_at=T0 + 10 + at, finished_at=T0 + 31, signal=15)
        for at in range(2)
    ]
    step = advance(taskset(Phase.PREEMPTING, reason="Preempted", preemptions=1), ended, T0 + 40)
    assert step.status.phase is Phase.QUEUED, step
    assert (step.status.served_seconds, step.status.checkpoint_at) == (20.0, T0 + 30)


def test_everything_that_holds_its_place_runs_and_nothing_else() -> None:
    for phase in Phase:
        running = running_gang(taskset(phase), [], {})
        assert (running is not None) == (phase in HOLDING), phase
        if running is not None:
            assert running.placement == {"w": tuple(PLACES["w"])} and running.since == T0
            assert running.leaving == (phase in (Phase.PREEMPTING, Phase.STOPPING))


@pytest.mark.parametrize("wish", ["stop_requested_at", "deletion_requested_at"])
def test_what_was_asked_to_stop_leaves(wish: str) -> None:
    running = running_gang(taskset(meta={wish: T0 + 9}), [], {})
    assert running is not None and running.leaving and running.deadline == T0 + 9 + GRACE_SECONDS
    assert running.claimed_by == ""


def test_what_is_withdrawn_leaves() -> None:
    running = running_gang(taskset(Phase.STARTING, stopping_at=T0 + 5), [], {})
    assert running is not None and running.leaving and running.deadline == T0 + 5 + GRACE_SECONDS


def test_what_is_preempted_is_claimed_until_its_notice_is_over() -> None:
    asked = TimelineEntry(phase=Phase.PREEMPTING, at=T0 + 40)
    leaving = taskset(Phase.PREEMPTING, preempted_for="u2", timeline=[asked])
    running = running_gang(leaving, [], {})
    assert running is not None and running.leaving and running.claimed_by == "u2"
    assert running.deadline == T0 + 40 + 60
    assert (running_gang(taskset(preempted_for="u2", preempted_at=[T0]), [], {}) or running).claimed_by == ""


@pytest.mark.parametrize("started_at", [None, T0 + 3.0, T0 + 99.0])
def test_its_deadline_is_no_earlier_than_its_end_is_enforced(started_at: float | None) -> None:
    """Law 8 rests on it: what is kept behind it must not find it still there."""
    spec = {"lifetime": Lifetime(max_runtime_seconds=3600), "gang": Gang(timeout_seconds=100)}
    holds = taskset(Phase.RUNNING, spec=spec, started_at=started_at, starting_at=T0 + 0.01)
    running = running_gang(holds, [], {})
    assert running is not None and running.deadline is not None
    rows = [task(index, None) for index in range(2)]
    asked = next(at for at in range(5000) if advance(holds, rows, T0 + at).status.phase is Phase.STOPPING)
    assert T0 + asked + GRACE_SECONDS <= running.deadline + 1
    waits = waiting_gang(replace(holds, status=Status()), {})
    assert waits.max_runtime is not None and running.deadline <= T0 + waits.max_runtime


def test_its_checkpoint_is_the_oldest_of_those_that_its_tasks_wrote_last() -> None:
    rows = [task(0, T0 + 30), task(1, None), task(2, T0 + 20), task(0, T0 + 1, gang_attempt=0)]
    running = running_gang(taskset(), rows, {})
    assert running is not None and running.checkpoint_at == T0 + 20
    assert running.gang.resumes, "it has reported a checkpoint"
    assert not (running_gang(taskset(), [task(0, None)], {}) or running).gang.resumes


# --- the cache keeps them


def put(cache: Cache, item: Any, type_: Any = "put") -> None:
    cache.apply(Change(revision=cache.revision + 1, type=type_, object=item))


def test_a_snapshot_shows_the_same_objects_while_nothing_relevant_changes() -> None:
    cache = Cache()
    put(cache, taskset())
    put(cache, task(0, None))
    first = cache.snapshot()
    assert first.running["u1"].since == T0
    put(cache, replace(task(0, None), log_bytes=7, metrics={"loss": 1.0}))
    put(cache, replace(taskset(idle_since=5.0), metadata=replace(taskset().metadata, version=2)))
    second = cache.snapshot()
    assert second.running is first.running and second.usage is first.usage and second.queues is first.queues
    put(cache, task(0, T0 + 5))
    third = cache.snapshot()
    assert third.running["u1"].checkpoint_at == T0 + 5 and first.running["u1"].checkpoint_at is None


def test_what_ended_or_is_gone_runs_no_more() -> None:
    cache = Cache()
    put(cache, taskset())
    ended = taskset(Phase.SUCCEEDED, meta=None)
    put(cache, replace(ended, metadata=replace(ended.metadata, version=2)))
    assert cache.snapshot().running == {}
    other = taskset()
    put(cache, replace(other, metadata=replace(other.metadata, uid="u2", name="other")))
    assert list(cache.snapshot().running) == ["u2"]
    put(cache, cache.tasksets["u2"], "deleted")
    assert cache.snapshot().running == {} and cache.running("u2") is None
