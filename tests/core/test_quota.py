"""Quota rules by table: which bound refuses, which does not, and what the reason says."""

from __future__ import annotations

import pytest

from octopus_hub.core.quota import limit
from octopus_hub.core.reason import CPU, MEMORY, Reason
from octopus_hub.core.snapshot import Snapshot, Waiting, gang_total
from octopus_hub.core.trial import Trial
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.queue import Queue
from octopus_hub.model.status import Span
from tests.core.scheduling_builders import amounts, gang, node, role, snapshot


def running(owner: str, count: int) -> tuple:
    return gang(f"r-{owner}", role(count=count, gpu=1), owner=owner), {
        "worker": (Span(node="a", first=0, count=count),)
    }


# (case, nominal, per user, in use by (ann, bob), ann's new gang, expected code, expected message)
CASES = [
    ("no quota", None, None, (4, 4), role(count=9, gpu=1), None, ""),
    ("within the queue's", amounts(gpu=8), None, (2, 2), role(count=4, gpu=1), None, ""),
    (
        "over the queue's",
        amounts(gpu=8),
        None,
        (2, 3),
        role(count=4, gpu=1),
        "QueueQuota",
        "needs 4 gpu; queue q allows 8 gpu at once and it uses 5 gpu now",
    ),
    (
        "over the user's",
        None,
        amounts(gpu=4),
        (2, 4),
        role(count=3, gpu=1),
        "UserQuota",
        "needs 3 gpu; queue q allows each user 4 gpu and ann uses 2 gpu now",
    ),
    ("another user's use does not count", None, amounts(gpu=4), (0, 4), role(count=4, gpu=1), None, ""),
    (
        "larger than the quota itself",
        amounts(gpu=2),
        None,
        (0, 0),
        role(count=3, gpu=1),
        "QueueQuota",
        "needs 3 gpu; queue q allows 2 gpu at once, so it can never start there",
    ),
    (
        "a device type that a device quota does not name is zero",
        amounts(gpu=8),
        None,
        (0, 0),
        role(npu=1),
        "QueueQuota",
        "needs 1 npu; queue q allows 0 npu at once, so it can never start there",
    ),
    ("device types are free while no device is named", amounts(cpu=64), None, (0, 0), role(npu=1), None, ""),
    ("0 CPU and memory are no limit", amounts(gpu=8), None, (0, 0), role(cpu=99, memory=99, gpu=1), None, ""),
    (
        "CPU",
        amounts(cpu=4),
        None,
        (1, 0),
        role(count=2, cpu=2),
        "QueueQuota",
        "needs 4 CPU; queue q allows 4 CPU at once and it uses 1 CPU now",
    ),
    (
        "memory",
        None,
        amounts(memory=4),
        (1, 0),
        role(memory=4),
        "UserQuota",
        "needs 4 GiB memory; queue q allows each user 4 GiB memory and ann uses 1 GiB memory now",
    ),
]


def check(where: Snapshot | Trial, waiting: Waiting) -> Reason | None:
    """Return why the quotas refuse a gang now, or None."""
    trial = Trial(where) if isinstance(where, Snapshot) else where
    return trial.quotas.check(waiting, gang_total(waiting.needs))


@pytest.mark.parametrize(
    ("case", "nominal", "per_user", "used", "need", "code", "message"), CASES, ids=[case[0] for case in CASES]
)
def test_check(
    case: str, nominal: Amounts, per_user: Amounts, used: tuple, need: object, code: str, message: str
) -> None:
    queue = Queue(name="q", nominal=nominal, per_user=per_user)
    held = [running(owner, count) for owner, count in zip(("ann", "bob"), used, strict=True) if count]
    view = snapshot(node("a", gpu=64, cpu=1000), queues=[queue], running=held)
    reason = check(view, gang("g", need, owner="ann"))
    assert (reason.code if reason else None, reason.message if reason else "") == (code, message)


def test_reason_carries_need_free_and_where() -> None:
    view = snapshot(node("a", gpu=8), queues=[Queue(name="q", per_user=amounts(gpu=4))], running=[running("ann", 3)])
    reason = check(view, gang("g", role(count=2, gpu=1)))
    assert reason is not None
    assert (reason.need, reason.free, reason.where) == (amounts(gpu=2), amounts(gpu=1), "ann")


def test_a_quota_that_shrank_below_the_use_refuses_what_adds_to_it_only() -> None:
    queue = Queue(name="q", nominal=amounts(gpu=2))
    view = snapshot(node("a", gpu=8), queues=[queue], running=[running("ann", 4)])
    assert check(view, gang("g", role(gpu=1))) is not None
    assert check(view, gang("h", role(cpu=1))) is None, "it needs no gpu"


def test_what_a_trial_admitted_counts() -> None:
    view = snapshot(node("a", gpu=8), queues=[Queue(name="q", nominal=amounts(gpu=4))])
    trial = Trial(view)
    first = gang("g", role(count=3, gpu=1))
    assert check(trial, first) is None
    trial.add(first, {"worker": (Span(node="a", first=0, count=3),)})
    assert check(trial, gang("h", role(count=2, gpu=1))) is not None
    assert check(view, gang("h", role(count=2, gpu=1))) is None


def test_limit() -> None:
    assert limit(Amounts(), CPU) is None
    assert limit(amounts(cpu=2), CPU) == 2000
    assert limit(amounts(cpu=2), MEMORY) is None
    assert limit(amounts(cpu=2), "gpu") is None
    assert limit(amounts(gpu=2), "npu") == 0
