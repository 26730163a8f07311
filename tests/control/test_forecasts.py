"""Start estimates beside the path of scheduling: on the boards of a running controller, with pauses, never in its way."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from octopus_hub.control import forecasts
from octopus_hub.control.boards import boards
from octopus_hub.control.forecasts import Forecasts, estimates
from octopus_hub.core.forecast import Estimate
from octopus_hub.core.plan import Waits
from octopus_hub.core.reason import Reason
from octopus_hub.core.snapshot import NodeView, RoleNeed, Running, Snapshot, Waiting, held
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.queue import Queue
from octopus_hub.model.status import Span
from octopus_hub.model.taskset import Metadata, Spec, TaskSet

NEEDS = (RoleNeed("worker", 1, Amounts(devices={"gpu": 4})),)


def gang(uid: str, at: float = 0.0) -> Waiting:
    return Waiting(uid, "ann", uid, "ann", "q", 0, at, NEEDS, max_runtime=3600.0)


def busy() -> Snapshot:
    """One node, taken for half an hour more at most."""
    running = Running(gang("r"), {"worker": (Span(node="n", first=0, count=1),)}, since=-1800.0)
    return Snapshot(
        nodes=(NodeView("n", Amounts(devices={"gpu": 4})),),
        usage=held([(running.gang, running.placement)]),
        queues={"q": Queue(name="q", policy="fifo", backfill="none")},
        running={"r": running},
    )


def test_the_first_of_each_queue_have_an_estimate() -> None:
    waiting = [gang(f"w{at:02d}", float(at)) for at in range(forecasts.PLACES + 5)]
    found = estimates(busy(), waiting, 0.0, time.monotonic() + 600)
    assert sorted(found) == [gang.uid for gang in waiting[: forecasts.PLACES]]
    assert found["w00"].latest == 1800.0
    assert found["w01"].latest == 1800.0 + 3600.0


def test_boards_tell_them_with_two_digits() -> None:
    taskset = TaskSet(metadata=Metadata(name="w", uid="w"), spec=Spec(queue="q"))
    reason = Reason(code="NoFit", message="no room")
    (place,) = boards(
        [taskset], {"w": Waits(1, reason)}, {}, ["q"], 5.0, starts={"w": Estimate(456.7, 1800.0, "by a guess")}
    )["q"].places
    assert (place.earliest_seconds, place.latest_seconds, place.estimate_seconds) == (460.0, 1800.0, 920.0)
    assert place.basis == "by a guess"


async def test_they_are_computed_aside_and_told() -> None:
    told = asyncio.Event()
    kept = Forecasts(told.set)
    waiting = [gang("w")]
    kept.consider(busy(), waiting, 0.0)
    assert kept.found == {}, "nobody waits for it"
    await asyncio.wait_for(told.wait(), 20)
    assert kept.found["w"].latest == 1800.0
    kept.consider(busy(), [], 1.0)
    assert kept.found == {}
    kept.close()


async def test_there_is_a_pause_and_the_latest_state_counts() -> None:
    told = asyncio.Event()
    kept = Forecasts(told.set)
    view = busy()
    kept.consider(view, [gang("w")], 0.0)
    await asyncio.wait_for(told.wait(), 20)
    due = kept._not_before
    assert due >= asyncio.get_running_loop().time() + forecasts.PAUSE_SECONDS / 2
    waiting = [gang("w"), gang("x", 1.0)]
    kept.consider(replace(view, running=dict(view.running)), waiting, 1.0)
    assert kept._timer is not None and kept._timer.when() == due
    kept.consider(view, [gang("w")], 2.0)
    assert kept._timer.when() >= due + forecasts.SAME_SECONDS / 2, "nothing has changed but the time"
    kept.close()


async def test_a_crowd_is_not_played_forward() -> None:
    kept = Forecasts(lambda: None)
    kept.consider(busy(), [gang(f"w{at}", float(at)) for at in range(forecasts.MOST_GANGS)], 0.0)
    assert kept._timer is None and kept._task is None and kept.found == {}


async def test_what_fails_there_stays_there() -> None:
    told = asyncio.Event()
    kept = Forecasts(told.set)
    broken = replace(busy(), running={"r": None})  # type: ignore[dict-item]
    kept.consider(broken, [gang("w")], 0.0)
    await asyncio.wait_for(told.wait(), 20)
    assert kept.found == {}
    kept.close()
