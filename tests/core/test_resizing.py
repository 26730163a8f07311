"""The life of an elastic gang through a resize: notice, an attempt that ends as Resized, the next one without queuing."""

from __future__ import annotations

from typing import Any

from lifecycle_builders import FAILED, RUNNING, SUCCEEDED, T0, World, replace, taskset, well

from octopus_hub.core import actions as act
from octopus_hub.core.exits import classify
from octopus_hub.core.plan import Resize
from octopus_hub.core.resizing import may_resize, shed
from octopus_hub.model.status import Phase, Span
from octopus_hub.model.task import Task
from octopus_hub.model.taskset import Completion, ElasticReplicas, PreemptionSpec, Restart, Role

NOTICE = PreemptionSpec(notice_seconds=45)


def elastic(least: int = 2, most: int = 6, **more: Any) -> Role:
    return Role("worker", replicas=ElasticReplicas(min=least, max=most), **more)


def busy(each: Task) -> dict[str, Any]:
    """Tasks get ready and then run on."""
    return {} if each.state is RUNNING else well(each)


def run_until(world: World, phase: Phase, outcome: Any = busy) -> None:
    for _ in range(60):
        step = world.step()
        world.admit()
        if world.status.phase is phase:
            return
        world.pass_time(outcome, step.wake_at)
    raise AssertionError(world.status)


def started(*roles: Role, **spec: Any) -> World:
    world = World(taskset(*(roles or (elastic(),)), phase=Phase.QUEUED, **spec), [])
    run_until(world, Phase.RUNNING)
    return world


def alive(world: World) -> list[str]:
    return sorted(each.name for each in world.rows() if not each.state.terminal)


def test_it_grows_without_queuing_in_an_attempt_of_its_own() -> None:
    world = started(preemption=NOTICE)
    world.resize({"worker": 5})
    assert (world.status.phase, world.status.reason) == (Phase.PREEMPTING, "Resizing")
    assert world.status.message == "grows: worker 2 -> 5; it goes on from its checkpoint"
    step = world.step()
    (stop,) = step.actions
    assert isinstance(stop, act.StopTasks) and (stop.grace_seconds, stop.why) == (45, "Resized")
    run_until(world, Phase.RUNNING)
    assert [entry.phase for entry in world.status.timeline][-4:] == [
        Phase.PREEMPTING, Phase.ADMITTED, Phase.STARTING, Phase.RUNNING
    ]  # fmt: skip
    assert world.status.attempt == 2 and world.taskset.size(world.taskset.spec.roles[0]) == 5
    assert len(alive(world)) == 5 and world.status.roles[0].running == 5
    assert world.status.recorded_attempt == 1, "the record of the first attempt is kept"
    assert not world.status.resize_to


def test_it_is_neither_a_failure_nor_a_preemption() -> None:
    world = started(elastic(restart=Restart(scope="gang", max_restarts=1, delay_seconds=0)))
    for size in (4, 2, 6, 3):
        world.resize({"worker": size})
        run_until(world, Phase.RUNNING)
    status = world.status
    assert status.attempt == 5 and status.preemptions == 0 and status.preempted_at == []
    assert (status.roles[0].restarts, status.roles[0].transient_restarts) == (0, 0)
    assert classify(Task(**_row(end_reason="Resized"))).failure_class == "transient"
    assert world.settle(well).phase is Phase.SUCCEEDED


def _row(**more: Any) -> dict[str, Any]:
    names = {"name": "a", "namespace": "n", "taskset": "t", "taskset_uid": "u", "role": "worker"}
    return {**names, "index": 0, "attempt": 1, "state": FAILED, **more}


def test_names_are_never_used_twice_when_it_shrinks_and_grows_again() -> None:
    world = started()
    for size in (6, 2, 6, 2, 5):
        world.resize({"worker": size})
        run_until(world, Phase.RUNNING)
    assert len(world.created) == len(set(world.created)) == 2 + 6 + 2 + 6 + 2 + 5
    assert len(alive(world)) == 5


def test_all_of_the_attempts_size_must_succeed() -> None:
    for completion, phase in ((Completion(), Phase.FAILED), (Completion(max_failed=1), Phase.SUCCEEDED)):
        world = started(elastic(completion=completion))
        world.resize({"worker": 4})
        run_until(world, Phase.RUNNING)
        last = {each.index: each.name for each in world.rows() if not each.state.terminal}
        for index, name in last.items():
            ends = {"state": FAILED, "exit_code": 1} if index == 3 else {"state": SUCCEEDED, "exit_code": 0}
            world.set(name, **ends, finished_at=world.now)
        assert world.settle(well).phase is phase


def test_who_succeeds_within_the_notice_has_succeeded() -> None:
    world = started()
    world.resize({"worker": 4})
    for name in alive(world):
        world.set(name, state=SUCCEEDED, exit_code=0, finished_at=world.now)
    assert world.settle(well).phase is Phase.SUCCEEDED
    assert world.status.attempt == 1 and not world.status.resize_to


def test_a_stop_during_the_resize_wins() -> None:
    world = started()
    world.resize({"worker": 4})
    metadata = replace(world.taskset.metadata, stop_requested_at=world.now)
    world.taskset = replace(world.taskset, metadata=metadata)
    status = world.settle(well)
    assert (status.phase, status.attempt, status.resize_to) == (Phase.STOPPED, 1, {})


def test_a_node_lost_during_the_resize_sends_it_back_to_the_queue() -> None:
    world = started()
    world.resize({"worker": 4})
    first, second = alive(world)
    world.set(first, state=FAILED, end_reason="NodeLost", finished_at=world.now)
    world.set(second, state=FAILED, end_reason="Resized", finished_at=world.now)
    world.step()
    assert (world.status.phase, world.status.reason) == (Phase.QUEUED, "NodeLost")
    assert world.status.placement == {} and world.status.resize_to == {}
    assert "n1" in world.status.message and world.status.queued_at == T0 - 10
    assert world.settle(well).phase is Phase.SUCCEEDED


def test_a_new_attempt_that_can_t_be_prepared_queues_again_at_its_minimum() -> None:
    world = started()
    world.resize({"worker": 4})
    run_until(world, Phase.STARTING)
    world.step()
    for name in alive(world):
        world.set(name, state=FAILED, end_reason="StartFailed", finished_at=world.now)
    world.step()
    assert (world.status.phase, world.status.reason) == (Phase.QUEUED, "StartFailed")
    assert world.status.attempt == 1 and world.taskset.size(world.taskset.spec.roles[0]) == 2
    assert world.settle(well).phase is Phase.SUCCEEDED


def test_the_time_limit_goes_on_over_a_resize() -> None:
    world = started()
    before = world.status.started_at
    world.resize({"worker": 4})
    run_until(world, Phase.RUNNING)
    assert world.status.started_at == before and (world.status.admitted_at or 0) > (before or 0)


def test_only_a_running_gang_is_resized_and_only_within_its_bounds() -> None:
    world = started()

    def asked(count: int) -> Resize:
        return Resize("u1", {"worker": (Span(node="n1", first=0, count=count),)}, "grow")

    assert may_resize(world.taskset, asked(6))
    assert not any(may_resize(world.taskset, asked(count)) for count in (1, 2, 7))
    for phase in Phase:
        if phase is not Phase.RUNNING:
            assert not may_resize(replace(world.taskset, status=replace(world.status, phase=phase)), asked(4))
    leaving = replace(world.taskset.metadata, stop_requested_at=1.0)
    assert not may_resize(replace(world.taskset, metadata=leaving), asked(4))


def test_what_a_resize_gives_up() -> None:
    def spans(*where: tuple[str, int]) -> list[Span]:
        found, first = [], 0
        for node, count in where:
            found.append(Span(node=node, first=first, count=count))
            first += count
        return found

    before = {"worker": spans(("a", 3), ("b", 2), ("c", 1)), "ps": spans(("a", 1))}
    after = {"worker": spans(("a", 1), ("b", 2)), "ps": spans(("a", 1))}
    assert shed(before, after) == {
        "worker": (Span(node="a", first=1, count=2), Span(node="c", first=5, count=1)),
    }
    assert shed(after, before) == {}
