"""The rules of a scheduling cycle by example (the module's docstring numbers them), and what is refused at submit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from octopus_hub.core.plan import Plan
from octopus_hub.core.schedule import explain, schedule
from octopus_hub.core.snapshot import RoleNeed, Snapshot, Waiting
from octopus_hub.model.queue import Queue
from octopus_hub.model.status import Span
from tests.core.scheduling_builders import admitted, amounts, gang, node, role, snapshot

EIGHT = node("a", cpu=64, memory=256, gpu=8)


def gpus(uid: str, count: int, **rest: object) -> Waiting:
    return gang(uid, role(count=count, gpu=1), **rest)  # type: ignore[arg-type]


def started(plan: Plan) -> list[str]:
    return [admission.uid for admission in plan.admissions]


def codes(plan: Plan) -> dict[str, str]:
    return {uid: waits.reason.code for uid, waits in plan.waits.items()}


def on_a(count: int, uid: str = "r", **rest: object) -> tuple:
    return gpus(uid, count, **rest), {"worker": (Span(node="a", first=0, count=count),)}


def test_rule_1_the_head_blocks_its_queue_for_nodes() -> None:
    view = snapshot(EIGHT, running=[on_a(4)])
    plan = schedule(view, [gpus("1", 6, at=1.0), gpus("2", 1, at=2.0)], 0.0)
    assert started(plan) == []
    assert codes(plan) == {"1": "NoFit", "2": "BehindInQueue"}
    assert (plan.waits["1"].place, plan.waits["2"].place) == (1, 2)
    assert plan.waits["2"].reason.message == (
        "behind ann/job-1 in queue q, which waits first: "
        "role worker needs 6 x 1 gpu, largest free 4 on a; 4 of 8 gpu in use by 1 TaskSet"
    )


def test_rule_1_the_head_blocks_its_queue_for_the_queues_quota() -> None:
    view = snapshot(
        EIGHT, queues=[Queue(name="q", nominal=amounts(gpu=4), policy="fifo", backfill="none")], running=[on_a(2)]
    )
    plan = schedule(view, [gpus("1", 3, at=1.0), gpus("2", 1, at=2.0)], 0.0)
    assert codes(plan) == {"1": "QueueQuota", "2": "BehindInQueue"}


def test_rule_1_a_users_quota_blocks_that_user_only() -> None:
    view = snapshot(
        EIGHT, queues=[Queue(name="q", per_user=amounts(gpu=3), policy="fifo", backfill="none")], running=[on_a(2)]
    )
    waiting = [gpus("1", 2, at=1.0), gpus("2", 1, at=2.0), gpus("3", 2, at=3.0, owner="bob")]
    plan = schedule(view, waiting, 0.0)
    assert started(plan) == ["3"]
    assert codes(plan) == {"1": "UserQuota", "2": "BehindInQueue"}
    assert plan.waits["2"].reason.where == "ann/job-1"


SIDESTEPS = [
    ("never fits", gpus("1", 9, at=1.0), {}, "NeverFits"),
    ("unknown queue", gpus("1", 1, at=1.0, queue="nowhere"), {}, "QueueUnknown"),
    ("larger than the queue's quota", gpus("1", 5, at=1.0), {"nominal": amounts(gpu=4)}, "QueueQuota"),
    ("larger than the user's quota", gpus("1", 5, at=1.0), {"per_user": amounts(gpu=4)}, "UserQuota"),
    ("only nodes in back-off are left", gpus("1", 2, at=1.0, avoid={"a": 30.0}), {}, "BackOff"),
]


@pytest.mark.parametrize(("case", "first", "quota", "code"), SIDESTEPS, ids=[case[0] for case in SIDESTEPS])
def test_rule_2_what_cannot_start_blocks_nobody(case: str, first: Waiting, quota: dict, code: str) -> None:
    view = snapshot(EIGHT, queues=[Queue(name="q", **quota, policy="fifo", backfill="none")])
    plan = schedule(view, [first, gpus("2", 2, at=2.0)], 0.0)
    assert started(plan) == ["2"]
    assert codes(plan) == {"1": code}
    assert plan.wake_at == (30.0 if code == "BackOff" else None)


def test_rule_2_a_gang_for_a_node_that_is_down_blocks_nobody() -> None:
    view = snapshot(node("a", gpu=8, usable=False), node("b", gpu=2))
    plan = schedule(view, [gpus("1", 4, at=1.0), gpus("2", 2, at=2.0)], 0.0)
    assert started(plan) == ["2"]
    assert codes(plan) == {"1": "NoFit"}
    assert plan.waits["1"].reason.message.endswith("waits for nodes that are down or closed: a")


def test_back_off_ends() -> None:
    waiting = [gpus("1", 2, avoid={"a": 30.0})]
    first = schedule(snapshot(EIGHT), waiting, 0.0)
    assert (started(first), first.wake_at) == ([], 30.0)
    assert started(schedule(snapshot(EIGHT), waiting, 30.0, first.memo)) == ["1"]


def test_a_paused_queue_starts_nothing_and_says_so() -> None:
    view = snapshot(
        EIGHT,
        queues=[
            Queue(name="q", paused=True, policy="fifo", backfill="none"),
            Queue(name="other", policy="fifo", backfill="none"),
        ],
    )
    plan = schedule(view, [gpus("1", 1), gpus("2", 1), gpus("3", 1, queue="other")], 0.0)
    assert started(plan) == ["3"]
    assert codes(plan) == {"1": "QueuePaused", "2": "QueuePaused"}


def test_rule_3_queues_take_turns_by_how_long_their_heads_wait() -> None:
    queues = [Queue(name="q", policy="fifo", backfill="none"), Queue(name="p", policy="priority", backfill="none")]
    waiting = [
        gpus("1", 3, at=1.0),
        gpus("2", 3, at=2.0, queue="p", priority=100),
        gpus("3", 3, at=3.0),
        gpus("4", 2, at=4.0, queue="p", priority=100),
    ]
    plan = schedule(snapshot(EIGHT, queues=queues), waiting, 0.0)
    assert started(plan) == ["1", "2"]
    assert codes(plan) == {"3": "NoFit", "4": "NoFit"}


def test_rule_3_the_queue_with_the_lowest_share_by_weight_goes_first() -> None:
    queues = [
        Queue(name="q", weight=1, policy="fifo", backfill="none"),
        Queue(name="heavy", weight=4, policy="fifo", backfill="none"),
    ]
    view = snapshot(EIGHT, queues=queues, running=[on_a(1), on_a(3, "h", queue="heavy")])
    waiting = [gpus("old", 4, at=1.0), gpus("young", 4, at=2.0, queue="heavy")]
    assert started(schedule(view, waiting, 0.0)) == ["young"], "3 of 8 at weight 4 is less than 1 of 8 at weight 1"


def test_rule_3_priority_orders_within_its_queue_only() -> None:
    queues = [Queue(name="q", policy="fifo", backfill="none"), Queue(name="p", policy="priority", backfill="none")]
    waiting = [gpus("old", 8, at=1.0), gpus("urgent", 8, at=2.0, queue="p", priority=100)]
    assert started(schedule(snapshot(EIGHT, queues=queues), waiting, 0.0)) == ["old"]


def two_queues(*running: tuple) -> Snapshot:
    return snapshot(
        EIGHT,
        queues=[Queue(name="q", policy="fifo", backfill="none"), Queue(name="other", policy="fifo", backfill="none")],
        running=running,
    )


KEPT = [
    ("a younger gang does not take what the head gathers", 4, role(count=1, gpu=1), False),
    ("however little is missing", 2, role(count=1, gpu=1), False),
    ("it may take other resources of the node", 4, role(count=4, cpu=2), True),
    ("unless the head needs those as well", 4, role(count=1, cpu=60), False),
]


@pytest.mark.parametrize(("case", "busy", "need", "starts"), KEPT, ids=[case[0] for case in KEPT])
def test_rule_4_nodes_are_kept_for_a_blocked_head(case: str, busy: int, need: RoleNeed, starts: bool) -> None:
    waiting = [gpus("head", 7, at=1.0), gang("young", need, at=2.0, queue="other")]
    plan = schedule(two_queues(on_a(busy, queue="other")), waiting, 0.0)
    assert started(plan) == (["young"] if starts else [])


def test_rule_4_other_nodes_stay_open_to_younger_gangs() -> None:
    view = replace(two_queues(on_a(4, queue="other")), nodes=(EIGHT, node("b", gpu=4)))
    waiting = [gang("head", role(gpu=8), at=1.0), gpus("young", 4, at=2.0, queue="other")]
    plan = schedule(view, waiting, 0.0)
    assert started(plan) == ["young"]
    assert plan.admissions[0].placement["worker"] == (Span(node="b", first=0, count=4),)


def test_rule_4_the_reason_names_whom_nodes_are_kept_for() -> None:
    plan = schedule(
        two_queues(on_a(4, queue="other")), [gpus("head", 7, at=1.0), gpus("young", 1, at=2.0, queue="other")], 0.0
    )
    assert codes(plan) == {"head": "NoFit", "young": "NoFit"}
    assert plan.waits["young"].reason.message == (
        "role worker needs 1 x 1 gpu, largest free 0; 4 of 8 gpu in use by 1 TaskSet; "
        "7 gpu kept for ann/job-head, which waits longer"
    )


def test_rule_4_a_steady_stream_of_small_gangs_does_not_starve_a_large_one() -> None:
    large = gpus("large", 8, at=1.0)
    running = [on_a(1, f"r{at}", queue="other") for at in range(8)]  # one ends per cycle, one arrives per cycle
    waiting = [large]
    for cycle in range(9):
        waiting.append(gpus(f"small-{cycle}", 1, at=2.0 + cycle, queue="other"))
        plan = schedule(two_queues(*running), waiting, 0.0)
        running += [(each, placement) for each, placement in admitted(plan, waiting)]
        waiting = [each for each in waiting if each.uid in plan.waits]
        if large not in waiting:
            break
        running = running[1:]
    assert large not in waiting
    assert cycle == 8, "it starts when the last of the eight has ended"


def test_the_memo_of_an_unchanged_world_is_the_same_plan() -> None:
    view = snapshot(EIGHT, running=[on_a(4)])
    waiting = [gpus("1", 6, at=1.0), gpus("2", 1, at=2.0)]
    first = schedule(view, waiting, 0.0)
    assert schedule(replace(view), list(waiting), 5.0, first.memo) is first
    assert schedule(view, waiting[1:], 5.0, first.memo) is not first


def test_an_unknown_policy_serves_first_in_first_out() -> None:
    view = snapshot(EIGHT, queues=[Queue(name="q", policy="lottery", backfill="none")])
    assert started(schedule(view, [gpus("2", 1, at=2.0), gpus("1", 1, at=1.0)], 0.0)) == ["1", "2"]


def test_nothing_waits() -> None:
    plan = schedule(snapshot(EIGHT), [], 0.0)
    assert (plan.admissions, plan.waits, plan.wake_at) == ((), {}, None)


def test_no_nodes() -> None:
    plan = schedule(snapshot(), [gpus("1", 1)], 0.0)
    assert codes(plan) == {"1": "NeverFits"}


EXPLAINED = [
    ("fits", role(count=8, gpu=1), {}, None, ""),
    ("busy now is no refusal", role(count=8, gpu=1), {"busy": 8}, None, ""),
    (
        "one task too large",
        role(count=3, gpu=4),
        {"gpu": 2},
        "NeverFits",
        "needs 3 x 4 gpu, the largest node has 2 (a)",
    ),
    ("too many tasks", role(count=9, gpu=1), {}, "NeverFits", "needs 9 x 1 gpu, all nodes together have room for 8"),
    ("device unknown", role(npu=1), {}, "NeverFits", "no node has a npu"),
    ("a node that is down counts", role(count=8, gpu=1), {"usable": False}, None, ""),
    ("queue unknown", role(), {"queue": "nowhere"}, "QueueUnknown", "there is no queue nowhere"),
    (
        "over quota for ever",
        role(count=5, gpu=1),
        {"nominal": 4},
        "QueueQuota",
        "allows 4 gpu at once, so it can never",
    ),
]


@pytest.mark.parametrize(("case", "need", "world", "code", "says"), EXPLAINED, ids=[case[0] for case in EXPLAINED])
def test_explain_at_submit(case: str, need: object, world: dict, code: str | None, says: str) -> None:
    nominal = amounts(gpu=world["nominal"]) if "nominal" in world else None
    view = snapshot(
        node("a", cpu=64, memory=256, usable=world.get("usable", True), gpu=world.get("gpu", 8)),
        queues=[Queue(name="q", nominal=nominal, policy="fifo", backfill="none")],
        running=[on_a(world["busy"])] if "busy" in world else [],
    )
    reason = explain(view, gang("g", need, queue=world.get("queue", "q")))  # type: ignore[arg-type]
    assert (reason.code if reason else None) == code
    assert says in (reason.message if reason else "")
