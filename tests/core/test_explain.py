"""What-if answers, and what ties them to the scheduler: what it names does start, and what it says starts does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings

from octopus_hub.core.explain import Choices, Smaller, plan
from octopus_hub.core.forecast import GUESS, USUAL_SECONDS
from octopus_hub.core.schedule import schedule
from octopus_hub.core.snapshot import Running, Snapshot, Waiting, held
from octopus_hub.model.names import SKU_LABEL
from octopus_hub.model.queue import Queue
from tests.core.scheduling_builders import amounts, gang, gangs, node, role, situations

WORKER = Choices(roles=("worker",))


def strict(name: str, **more: Any) -> Queue:
    return Queue(name=name, **{"policy": "fifo", "backfill": "none"} | more)


def view_of(*running: Waiting, queues: Sequence[Queue] = (strict("q"),), nodes: Any = ()) -> Snapshot:
    bare = Snapshot(nodes=nodes or (node("n0", gpu=4), node("n1", gpu=4)), queues={each.name: each for each in queues})
    placed = {each.uid: each.placement for each in schedule(bare, running, 0.0).admissions}
    assert len(placed) == len(running)
    rows = {each.uid: Running(each, placed[each.uid], -3600.0) for each in running}
    return replace(bare, running=rows, usage=held((row.gang, row.placement) for row in rows.values()))


def of(uid: str, gpus: int, at: float = 0.0, **more: Any) -> Waiting:
    return replace(gang(uid, role(count=gpus, gpu=1), at=at), **more)


def test_it_would_start() -> None:
    found = plan(view_of(), [], of("c", 2), 0.0)
    assert (found.outcome, sum(span.count for span in found.placement["worker"])) == ("starts", 2)
    assert found.reason is None and found.estimate is None and not found.smaller


def test_it_would_wait_and_says_for_what() -> None:
    found = plan(view_of(of("a", 6, max_runtime=7200.0)), [], of("c", 4), 0.0, choices=WORKER)
    assert (found.outcome, found.place, found.before) == ("waits", 1, ())
    assert found.reason is not None and "6 of 8 gpu in use" in found.reason.message
    assert found.unblock == ("2 gpu more free",)
    assert found.smaller == (Smaller("tasks", "2 of 4 tasks of role worker would start now", role="worker", tasks=2),)
    assert found.estimate is not None and found.estimate.latest == 3600.0


def test_roles_that_may_not_shrink_don_t() -> None:
    assert plan(view_of(of("a", 6)), [], of("c", 4), 0.0).smaller == ()


def test_it_stands_behind_others() -> None:
    waiting = [of(f"w{at}", 8, at=float(at)) for at in range(7)]
    found = plan(view_of(of("a", 6)), waiting, of("c", 1, at=9.0), 0.0)
    assert (found.place, found.before) == (8, tuple(f"ann/job-w{at}" for at in range(5)))
    assert found.unblock == ("the start of ann/job-w0, which waits first",)


def test_one_of_those_that_wait_already_is_asked_about_itself() -> None:
    waiting = [of("w", 8, at=0.0), of("c", 8, at=1.0)]
    assert plan(view_of(of("a", 6)), waiting, waiting[1], 0.0).place == 2


def test_a_shorter_one_would_overtake() -> None:
    queue = strict("q", backfill="reserve")
    view = view_of(of("a", 6, max_runtime=3600.0 + 4 * 3600.0), queues=[queue])
    found = plan(view, [of("head", 8)], of("c", 2, at=1.0), 0.0)
    assert found.unblock[-1] == "a maximum runtime of 4 h or less, with which it would start now"
    assert found.estimate is not None and found.estimate.latest == 4 * 3600.0 + GUESS * USUAL_SECONDS, (
        "after the head, of which nothing is known"
    )


def test_others_make_room() -> None:
    view = view_of(of("a", 8), queues=[strict("q", policy="priority")])
    found = plan(view, [], of("c", 8, at=1.0, priority=100), 0.0)
    assert found.outcome == "evicts"
    assert [(each.name, each.rule) for each in found.makes_room] == [("ann/job-a", "priority")]
    assert found.estimate is not None and found.estimate.latest == 60.0


def test_it_never_fits() -> None:
    found = plan(view_of(), [], of("c", 9), 0.0, choices=WORKER)
    assert found.outcome == "never" and found.reason is not None and found.reason.code == "NeverFits"
    assert [each.tasks for each in found.smaller] == [8]


def test_another_queue_and_another_model() -> None:
    nodes = (
        node("n0", gpu=4, labels={SKU_LABEL: "a100"}),
        node("n1", gpu=4, labels={SKU_LABEL: "v100"}),
    )
    queues = [strict("q", nominal=amounts(gpu=1)), strict("r")]
    asked = gang("c", role(count=2, gpu=1, node_selector={SKU_LABEL: "a100"}))
    found = plan(view_of(queues=queues, nodes=nodes), [], asked, 0.0, choices=Choices(queues=("q", "r")))
    assert [(each.kind, each.queue) for each in found.smaller] == [("queue", "r")]
    busy = view_of(gang("a", role(count=4, gpu=1, node_selector={SKU_LABEL: "a100"})), nodes=nodes)
    other = plan(busy, [], asked, 0.0)
    assert [(each.kind, each.message) for each in other.smaller] == [
        ("sku", "on v100 instead of a100 it would start now")
    ]


@pytest.mark.parametrize(
    ("queue", "running", "unblock"),
    [
        (strict("q", nominal=amounts(gpu=3)), 2, "1 gpu more of what queue q may use at once"),
        (strict("q", per_user=amounts(gpu=3)), 2, "1 gpu more of what its owner may use at once"),
        (strict("q", paused=True), 0, "an administrator who lets queue q go on"),
    ],
)
def test_what_would_unblock_it(queue: Queue, running: int, unblock: str) -> None:
    view = view_of(*[of("a", running)] * bool(running), queues=[replaced(queue, paused=False)])
    found = plan(replace(view, queues={"q": queue}), [], of("c", 2), 0.0)
    assert found.unblock == (unblock,)


def replaced(queue: Queue, **more: Any) -> Queue:
    import msgspec

    return msgspec.structs.replace(queue, **more)


def test_it_stops_when_asked() -> None:
    found = plan(view_of(of("a", 6)), [], of("c", 4), 0.0, choices=WORKER, stop=lambda: True)
    assert found.outcome == "waits" and found.smaller == ()


# --- laws


@settings(max_examples=120, deadline=None)
@given(situations(), gangs(most=1, prefix="new"))
def test_what_it_says_holds(situation: Any, new: list[Waiting]) -> None:
    """Law 9: said to start, it is admitted; said to wait or never to fit, it is not; a smaller shape named does start."""
    view, waiting, now = situation
    for candidate in (new or waiting)[:1]:
        others = [each for each in waiting if each.uid != candidate.uid]
        choices = Choices(roles=tuple(need.role for need in candidate.needs), queues=tuple(view.queues))
        found = plan(view, waiting, candidate, now, choices=choices)
        admitted = {each.uid: each.placement for each in schedule(view, [*others, candidate], now).admissions}
        assert (found.outcome == "starts") == (candidate.uid in admitted)
        assert found.outcome != "starts" or found.placement == admitted[candidate.uid]
        for smaller in found.smaller:
            again = schedule(view, [*others, as_named(candidate, smaller)], now)
            assert candidate.uid in {each.uid for each in again.admissions}
        for larger in [each for each in found.smaller if each.kind == "tasks"]:
            count = next(need.count for need in candidate.needs if need.role == larger.role)
            assert 1 <= larger.tasks < count


def as_named(candidate: Waiting, smaller: Smaller) -> Waiting:
    if smaller.kind == "queue":
        return replace(candidate, queue=smaller.queue)
    if smaller.kind == "tasks":
        needs = [replace(n, count=smaller.tasks) if n.role == smaller.role else n for n in candidate.needs]
    else:
        needs = [
            replace(n, node_selector={**n.node_selector, SKU_LABEL: smaller.sku}) if SKU_LABEL in n.node_selector else n
            for n in candidate.needs
        ]
    return replace(candidate, needs=tuple(needs))
