"""The facts that `octopus why` tells, word by word, for every state of a TaskSet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from octopus_hub.core import why
from octopus_hub.core.explain import Going, Smaller, WhatIf
from octopus_hub.core.forecast import Estimate
from octopus_hub.core.reason import Reason
from octopus_hub.core.snapshot import Running, Snapshot, Window
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.queue import Cohort, Queue, QueuePreemption
from octopus_hub.model.status import ExceptionalTask, Phase, RoleStatus, Span, Status
from octopus_hub.model.taskset import Metadata, Spec, TaskSet
from tests.core.scheduling_builders import gang, node, role

NOW = 10_000.0
PLACED = {"worker": (Span(node="n1", first=0, count=2), Span(node="n2", first=2, count=1))}
RULES = QueuePreemption(min_runtime_seconds=600.0, per_day=2)


def taskset(phase: Phase, **status: Any) -> TaskSet:
    meta = Metadata(name="job", namespace="ann", uid="c", created_at=NOW - 720)
    return TaskSet(metadata=meta, spec=Spec(queue="q"), status=Status(phase=phase, **status))


def texts(facts: Any) -> list[str]:
    return [f"{fact.kind}: {fact.message}" for fact in facts]


def test_one_that_waits() -> None:
    found = WhatIf(
        "waits",
        reason=Reason(code="NoFit", message="needs 4 gpu, 2 are free"),
        place=7,
        before=("ann/a", "bob/b"),
        estimate=Estimate(300.0, 7200.0, "by the maximum runtimes of 3 TaskSets before it"),
        smaller=(Smaller("tasks", "2 of 4 tasks of role worker would start now"),),
        unblock=("2 gpu more free", "a maximum runtime of 60 min or less, with which it would start now"),
    )
    assert texts(why.waiting(taskset(Phase.QUEUED), NOW, found)) == [
        "state: has waited in queue q for 12 min",
        "place: place 7 in queue q, after ann/a, bob/b and 4 more",
        "short: needs 4 gpu, 2 are free",
        "unblock: what would unblock it: 2 gpu more free; or a maximum runtime of 60 min or less, "
        "with which it would start now",
        "smaller: 2 of 4 tasks of role worker would start now",
        "estimate: starts in 5 min to 2 h (by the maximum runtimes of 3 TaskSets before it)",
    ]


def test_one_for_which_others_make_room() -> None:
    found = WhatIf(
        "evicts",
        reason=Reason(code="Preempting", message="1 TaskSet makes room for it"),
        place=1,
        makes_room=(Going("r", "ann/r", "priority"), Going("s", "ann/s", "shrink"), Going("t", "ann/t", "")),
        estimate=Estimate(60.0, 60.0, "others are asked to make room, or stop already"),
    )
    assert texts(why.waiting(taskset(Phase.QUEUED), NOW, found))[2:] == [
        "short: 1 TaskSet makes room for it",
        "room: ann/r makes room for it: its priority is higher",
        "room: ann/s makes room for it: an elastic TaskSet gives back tasks beyond its minimum",
        "room: ann/t makes room for it",
        "estimate: starts in about 1 min (others are asked to make room, or stop already)",
    ]


def test_one_that_was_preempted() -> None:
    was = {"preempted_at": [NOW - 180], "preempted_by": "ann/big", "preempted_rule": "service", "reason": "Preempted"}
    found = WhatIf("waits", estimate=Estimate(None, None, "nothing bounds what runs: no estimate"))
    assert texts(why.waiting(taskset(Phase.QUEUED, **was, served_seconds=7200.0), NOW, found))[1:] == [
        "preempted: was preempted 3 min ago for ann/big: it has had less service, or is expected to need less",
        "kept: it keeps its place in the queue; 2 h of its work are kept",
        "estimate: no start can be foreseen (nothing bounds what runs: no estimate)",
    ]
    again = texts(why.waiting(taskset(Phase.QUEUED, **was), NOW, found))
    assert again[2] == "kept: it keeps its place in the queue; it starts again from nothing"


def test_one_that_the_scheduler_does_not_see_and_one_that_is_about_to_start() -> None:
    assert texts(why.waiting(taskset(Phase.HELD), NOW, None, "it is held")) == [
        "state: held for 12 min",
        "short: it is held",
    ]
    failed = taskset(Phase.QUEUED, reason="StartFailed", message="no more ports")
    assert texts(why.waiting(failed, NOW, WhatIf("starts")))[1:] == [
        "tried: its last try failed: no more ports",
        "short: there is room for it: it starts at the next look",
    ]


def running(ago: float = 3600.0, **more: Any) -> Running:
    return Running(replace(gang("c", role(count=3, gpu=1), at=NOW - ago - 300), **more), PLACED, NOW - ago)


def test_one_that_runs() -> None:
    view = Snapshot(nodes=(), queues={"q": Queue(name="q", policy="las", backfill="none", preemption=RULES)})
    facts = why.holding(taskset(Phase.RUNNING, attempt=2), running(max_runtime=7200.0), view, NOW)
    assert texts(facts) == [
        "state: Running for 60 min, attempt 2",
        "admitted: was admitted to queue q after 5 min",
        "placed: worker runs on n1 (2), n2 (1)",
        "preempt: could preempt it: TaskSets of queue q that have had less device time, by a factor of two or more",
        "end: ends in 60 min at the latest",
    ]
    second = why.holding(taskset(Phase.RUNNING, choices={"worker": 1}), running(), view, NOW)
    assert second[2].message == "worker runs on n1 (2), n2 (1), in its choice 2 of device models"
    leaving = replace(running(), leaving=True)
    words = "makes room for ann/x"
    assert texts(why.holding(taskset(Phase.PREEMPTING, message=words), leaving, view, NOW))[1:] == [
        f"preempted: {words}",
        "admitted: was admitted to queue q after 5 min",
        "placed: worker runs on n1 (2), n2 (1)",
    ]


@pytest.mark.parametrize(
    ("queue", "of", "sentences"),
    [
        ({"policy": "fifo"}, {}, ["nothing can preempt it: queue q has policy fifo and takes no part in a cohort"]),
        (
            {"policy": "priority"},
            {"preemptible": False},
            ["nothing can preempt it: its preemption is not allowed (preemption.allowed)"],
        ),
        ({"policy": "priority"}, {}, ["could preempt it: TaskSets of queue q with a higher priority"]),
        (
            {"policy": "priority"},
            {"min_runtime": 5400.0},
            [
                "nothing can preempt it for 30 min more: it is left alone at first",
                "then could preempt it: TaskSets of queue q with a higher priority",
            ],
        ),
        (
            {"policy": "priority", "preemption": msgspec.structs.replace(RULES, per_day=0)},
            {},
            ["nothing can preempt it: queue q allows none (preemption.perDay)"],
        ),
        (
            {"policy": "fifo", "cohort": "lab", "nominal": Amounts(devices={"gpu": 2})},
            {},
            ["could preempt it: queues of cohort lab that take back what they lent; queue q uses more than its own"],
        ),
        (
            {"policy": "fifo", "cohort": "lab", "nominal": Amounts(devices={"gpu": 3})},
            {},
            [
                "could preempt it: queues of cohort lab that take back what they lent; "
                "queue q does not now use more than its own"
            ],
        ),
    ],
)
def test_what_could_preempt_it(queue: dict[str, Any], of: dict[str, Any], sentences: list[str]) -> None:
    from octopus_hub.core.snapshot import held

    runs = running(**of)
    rules = Queue(**{"name": "q", "backfill": "none", "preemption": RULES} | queue)
    view = Snapshot(
        nodes=(node("n1", gpu=4), node("n2", gpu=4)),
        queues={"q": rules, "other": Queue(name="other", cohort="lab", nominal=Amounts(devices={"gpu": 8}))},
        cohorts={"lab": Cohort(name="lab")},
        usage=held([(runs.gang, runs.placement)]),
        running={"c": runs},
    )
    assert why.threats(runs, rules, view, NOW) == sentences


def test_a_reservation_takes_its_nodes() -> None:
    course = Window("course", NOW + 7200.0, NOW + 9000.0, frozenset({"n1", "n9"}), frozenset({"teaching"}))
    rules = Queue(name="q", policy="fifo", backfill="none", preemption=RULES)
    view = Snapshot(nodes=(), queues={"q": rules}, windows=(course,))
    assert why.threats(running(), rules, view, NOW) == ["reservation course takes n1 in 2 h"]
    own = replace(view, windows=(replace(course, queues=frozenset({"q"})),))
    assert why.threats(running(), rules, own, NOW)[0].startswith("nothing can preempt it")


def test_one_that_ended() -> None:
    lost = ExceptionalTask(index=2, attempt=1, state="Failed", cause="killed for memory", advice="ask for more")
    status = {"roles": [RoleStatus(name="worker", exceptional=[lost])], "preemptions": 2}
    assert texts(why.ended(taskset(Phase.FAILED, message="worker failed", **status))) == [
        "state: Failed: worker failed",
        "task: worker 2: killed for memory; ask for more",
        "preempted: was preempted 2 times",
    ]
    assert texts(why.ended(taskset(Phase.SUCCEEDED, reason="Succeeded"))) == ["state: Succeeded"]
