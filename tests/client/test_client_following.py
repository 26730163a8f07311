"""One TaskSet seen through frames."""

from __future__ import annotations

from typing import Any

from octopus_hub.client.following import Following
from octopus_hub.model.answers import Frame, Removed
from octopus_hub.model.status import Phase, QueuePlace, Status
from octopus_hub.model.task import Task, TaskState
from octopus_hub.model.taskset import Metadata, Role, Spec, TaskSet

UID = "uid-1"


def taskset(phase: Phase, version: int, uid: str = UID) -> TaskSet:
    """Return a TaskSet as the service shows it."""
    meta = Metadata(name="mnist", namespace="ada", uid=uid, version=version)
    return TaskSet(
        metadata=meta, spec=Spec(roles=[Role("worker", replicas=2, command=["x"])]), status=Status(phase=phase)
    )


def task(index: int, state: TaskState = TaskState.RUNNING, uid: str = UID, attempt: int = 1) -> Task:
    """Return a row."""
    return Task(
        name=f"mnist-worker-{index}-{attempt}",
        namespace="ada",
        taskset="mnist",
        taskset_uid=uid,
        role="worker",
        index=index,
        attempt=attempt,
        state=state,
    )


def snapshot(*tasksets: TaskSet, tasks: Any = (), **fields: Any) -> Frame:
    """Return a first frame."""
    return Frame(revision=1, snapshot=True, tasksets=list(tasksets), tasks=list(tasks), **fields)


def delta(**fields: Any) -> Frame:
    """Return a later frame."""
    return Frame(revision=2, **fields)


def states(following: Following) -> dict[int, str]:
    """Return the tasks' states."""
    return {each.index: each.state.value for each in following.view.tasks or ()}


def test_a_snapshot_then_what_changes() -> None:
    following = Following(taskset(Phase.QUEUED, 1))
    place = QueuePlace(uid=UID, place=2, code="NoFit", message="needs 2 gpu")
    assert following.apply(snapshot(taskset(Phase.QUEUED, 1), places={UID: place}))
    assert following.view.queue_place == place
    assert following.apply(delta(tasksets=[taskset(Phase.STARTING, 2)], tasks=[task(1), task(0, TaskState.BOUND)]))
    assert following.view.queue_place is None, "what starts has no place"
    assert states(following) == {0: "Bound", 1: "Running"}
    assert [each.index for each in following.view.tasks or ()] == [0, 1]
    assert following.apply(delta(tasks=[task(0)]))
    assert states(following) == {0: "Running", 1: "Running"}
    assert not following.apply(delta(tasks=[]))


def test_a_place_changes_without_the_taskset() -> None:
    following = Following(taskset(Phase.QUEUED, 1))
    following.apply(snapshot(taskset(Phase.QUEUED, 1)))
    assert following.apply(delta(places={UID: QueuePlace(uid=UID, place=1, code="NoFit", message="x")}))
    assert following.view.queue_place is not None


def test_others_are_nothing_to_it() -> None:
    following = Following(taskset(Phase.RUNNING, 1))
    following.apply(snapshot(taskset(Phase.RUNNING, 1), tasks=[task(0)]))
    other = delta(
        tasksets=[taskset(Phase.FAILED, 9, "uid-2")],
        tasks=[task(0, TaskState.FAILED, "uid-2", attempt=2)],
        places={"uid-2": QueuePlace(uid="uid-2", place=1, code="NoFit", message="x")},
        removed=Removed(tasksets=["uid-2"], tasks=["bob/mnist-worker-0-1"]),
    )
    assert not following.apply(other)
    assert (following.view.taskset.status.phase, states(following)) == (Phase.RUNNING, {0: "Running"})
    assert not following.gone


def test_an_older_row_never_wins() -> None:
    following = Following(taskset(Phase.RUNNING, 5))
    following.apply(delta(tasksets=[taskset(Phase.QUEUED, 4)]))
    assert following.view.taskset.status.phase is Phase.RUNNING


def test_a_new_snapshot_forgets_what_went_in_between() -> None:
    following = Following(taskset(Phase.RUNNING, 1))
    following.apply(snapshot(taskset(Phase.RUNNING, 1), tasks=[task(0), task(1)]))
    assert following.apply(snapshot(taskset(Phase.RUNNING, 1), tasks=[task(1)]))
    assert states(following) == {1: "Running"}


def test_removed_tasks_and_removed_tasksets() -> None:
    following = Following(taskset(Phase.RUNNING, 1))
    following.apply(snapshot(taskset(Phase.RUNNING, 1), tasks=[task(0), task(1)]))
    assert following.apply(delta(removed=Removed(tasks=["ada/mnist-worker-0-1"])))
    assert states(following) == {1: "Running"}
    assert following.apply(delta(removed=Removed(tasksets=[UID])))
    assert following.gone


def test_a_snapshot_without_it_leaves_the_question_open() -> None:
    """It may be deleted, or newer than the snapshot; a later snapshot that holds it settles that."""
    following = Following(taskset(Phase.QUEUED, 1))
    assert following.apply(snapshot())
    assert following.unknown
    assert not following.gone
    following.apply(snapshot(taskset(Phase.QUEUED, 1)))
    assert not following.unknown
