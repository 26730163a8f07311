"""Borrowing, lending, groups, tasks, budgets by example: who may, who may not, and what the reason says."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from octopus_hub.core.budget import changes_at, over_budget, window_end, window_start
from octopus_hub.core.quota import LAST, Quotas, beyond_queued
from octopus_hub.core.snapshot import Usage, Waiting, gang_total
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.queue import Budget, Cohort, Queue
from tests.core.scheduling_builders import amounts, gang, role

LAB = {"lab": Cohort(name="lab")}


def gpus(queue: str, count: int, owner: str = "ann", groups: tuple[str, ...] = ()) -> Waiting:
    return replace(
        gang(f"{queue}{count}", role(count=count, cpu=0, memory=0, gpu=1), queue=queue, owner=owner), groups=groups
    )


def quotas(*queues: Queue, cohorts: dict[str, Cohort] | None = None, **used: int) -> Quotas:
    usage = Usage(queues={name: amounts(gpu=count) for name, count in used.items()})
    return Quotas({queue.name: queue for queue in queues}, LAB if cohorts is None else cohorts, usage, {"gpu": 100})


def refusal(tree: Quotas, waiting: Waiting) -> str:
    reason = tree.check(waiting, gang_total(waiting.needs))
    return f"{reason.code}: {reason.message}" if reason else ""


def a(**fields: object) -> Queue:
    return Queue(**{"name": "a", "cohort": "lab", "nominal": amounts(gpu=4), **fields})  # type: ignore[arg-type]


def b(**fields: object) -> Queue:
    return Queue(**{"name": "b", "cohort": "lab", "nominal": amounts(gpu=4), **fields})  # type: ignore[arg-type]


BORROWING = [
    ("what a sibling leaves idle", [a(), b()], {}, 8, ""),
    ("not what it uses", [a(), b()], {"b": 2}, 7, "needs 7 gpu; queue a may use 4 gpu of its own and borrow up to 4 gpu"
     ", it uses 0 gpu now and can take 6 gpu more; the rest of cohort lab is in use"),
    ("a borrowing limit", [a(borrow=amounts(gpu=1)), b()], {}, 6, "needs 6 gpu; queue a may use 4 gpu of its own and "
     "borrow up to 1 gpu, so it can never start there"),
    ("nothing borrowed", [a(borrow=Amounts(devices={"gpu": 0})), b()], {"a": 4}, 1, "needs 1 gpu; queue a may use 4 gpu"
     " of its own, it uses 4 gpu now and can take 0 gpu more"),
    ("a lending limit", [a(), b(lend=amounts(gpu=1))], {}, 6, "needs 6 gpu; queue a may use 4 gpu of its own and borrow"
     " up to 1 gpu, so it can never start there"),
    ("what a queue without an amount may have", [a(nominal=None), b()], {}, 4, ""),
    ("a queue outside", [a(cohort=""), b()], {"a": 2}, 3, "needs 3 gpu; queue a allows 4 gpu at once and it uses 2 gpu now"),
]  # fmt: skip


@pytest.mark.parametrize(("case", "queues", "used", "count", "message"), BORROWING, ids=[case[0] for case in BORROWING])
def test_borrowing(case: str, queues: list[Queue], used: dict[str, int], count: int, message: str) -> None:
    assert refusal(quotas(*queues, **used), gpus("a", count)) == (f"QueueQuota: {message}" if message else "")


def test_a_cohort_bounds_what_its_members_take_from_elsewhere() -> None:
    cohorts = {
        "site": Cohort(name="site", nominal=amounts(gpu=10)),
        "lab": Cohort(name="lab", parent="site", borrow=amounts(gpu=3)),
    }
    tree = quotas(a(), b(), cohorts=cohorts)
    assert refusal(tree, gpus("a", 11)) == "", "4 + 4 + 3 borrowed by the lab"
    tree.charge(gpus("a", 11), {"gpu": 11}, 1)
    assert "can take 0 gpu more; the rest of cohort lab is in use" in refusal(tree, gpus("b", 1))
    assert tree.borrows("a") and not tree.borrows("b")
    assert tree.reclaimable(gpus("b", 4), {"gpu": 4}) == {"a"}
    assert tree.reclaimable(gpus("b", 5), {"gpu": 5}) == frozenset(), "it would borrow itself"


def test_a_sku_counts_as_itself_and_as_its_type() -> None:
    queue = Queue(name="a", nominal=Amounts(devices={"gpu": 4, "gpu:a100": 2}))
    tree = quotas(queue)
    asked = gang("1", role(count=3, cpu=0, memory=0, gpu=1, node_selector={"octopus-hub.io/sku": "a100"}), queue="a")
    other = gang("2", role(count=3, cpu=0, memory=0, gpu=1, node_selector={"octopus-hub.io/sku": "v100"}), queue="a")
    assert "needs 3 gpu:a100; queue a allows 2 gpu:a100 at once" in refusal(tree, asked)
    assert refusal(tree, other) == ""
    tree.charge(other, gang_total(other.needs), 1)
    assert "queue a allows 4 gpu at once and it uses 3 gpu" in refusal(tree, gpus("a", 2))


def test_where_only_skus_are_named_their_sum_is_the_type_and_others_are_zero() -> None:
    tree = quotas(Queue(name="a", nominal=Amounts(devices={"gpu:a100": 2, "gpu:h100": 1})))
    other = gang("2", role(cpu=0, memory=0, gpu=1, node_selector={"octopus-hub.io/sku": "v100"}), queue="a")
    assert refusal(tree, gpus("a", 3)) == ""
    assert "allows 3 gpu at once" in refusal(tree, gpus("a", 4))
    assert "allows 0 gpu:v100 at once" in refusal(tree, other)


def test_groups_are_bound_together_and_only_those_that_the_queue_admits() -> None:
    tree = quotas(Queue(name="a", per_group=amounts(gpu=4), allowed_groups=["lab"]))
    first, second = gpus("a", 3, "ann", ("lab", "all")), gpus("a", 2, "bob", ("lab", "all"))
    tree.charge(first, {"gpu": 3}, 1)
    assert refusal(tree, second) == "GroupQuota: needs 2 gpu; queue a allows each group 4 gpu and lab uses 3 gpu now"
    assert refusal(tree, gpus("a", 4, "cyd", ("all",))) == ""


def test_running_tasks_of_a_user_are_bound() -> None:
    tree = quotas(Queue(name="a", max_running_tasks_per_user=3))
    tree.charge(gpus("a", 2), {"gpu": 2}, 1)
    assert (
        refusal(tree, gpus("a", 2))
        == "UserQuota: needs 2 tasks; queue a allows each user 3 tasks at once and ann has 2 now"
    )
    assert "so it can never start there" in refusal(tree, gpus("a", 4))
    assert refusal(tree, gpus("a", 2, "bob")) == ""


def test_beyond_what_a_user_may_have_waiting_the_rest_waits_its_turn() -> None:
    order = [replace(gpus("a", 1), uid=str(at)) for at in range(4)]
    late = beyond_queued(Queue(name="a", max_queued_per_user=2), order)
    assert sorted(late) == ["2", "3"]
    assert late["3"].message.startswith("queue a lets 2 TaskSets of each user wait and ann has 4;")
    assert beyond_queued(Queue(name="a"), order) == {}


# --- budgets
def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


WINDOWS = [
    ("day", "2026-03-29T02:30:00", "2026-03-29T00:00:00", "2026-03-30T00:00:00"),
    ("day", "2026-03-29T00:00:00", "2026-03-29T00:00:00", "2026-03-30T00:00:00"),
    ("week", "2026-01-01T12:00:00", "2025-12-29T00:00:00", "2026-01-05T00:00:00"),
    ("month", "2024-02-29T23:59:59", "2024-02-01T00:00:00", "2024-03-01T00:00:00"),
    ("month", "2025-12-31T23:59:59", "2025-12-01T00:00:00", "2026-01-01T00:00:00"),
    ("month", "2026-01-31T00:00:00", "2026-01-01T00:00:00", "2026-02-01T00:00:00"),
]


@pytest.mark.parametrize(("window", "now", "start", "end"), WINDOWS)
def test_windows_are_calendar_ones_in_utc(window: str, now: str, start: str, end: str) -> None:
    assert window_start(window, at(now)) == at(start)  # type: ignore[arg-type]
    assert window_end(window, at(now)) == at(end)  # type: ignore[arg-type]


@pytest.mark.parametrize("action", ["finish", "stop", "low"])
def test_what_happens_at_the_end_of_a_budget(action: str) -> None:
    queue = Queue(name="a", budget=Budget(device_hours=10, window="week", at_end=action))  # type: ignore[arg-type]
    tree = quotas(queue)
    tree.sync(Usage(), {"a": 10 * 3600 - 1.0})
    assert tree.over_budget("a") == "" and refusal(tree, gpus("a", 1)) == ""
    tree.sync(Usage(), {"a": 10 * 3600.0})
    assert tree.over_budget("a") == action
    said = "Budget: queue a has 10 device-hours each week and used 10; the next begins on Monday (UTC)"
    assert refusal(tree, gpus("a", 1)) == ("" if action == "low" else said)
    assert refusal(tree, gang("cpu", role(), queue="a")) == "", "what uses no device spends none"


def test_a_budget_of_nothing_never_starts_anything_with_devices() -> None:
    tree = quotas(Queue(name="a", budget=Budget(device_hours=0)))
    reason = tree.check_empty(gpus("a", 1), {"gpu": 1})
    assert reason is not None and "so nothing with devices can ever start there" in reason.message


def test_when_a_budget_is_to_be_looked_at_again() -> None:
    queue = Queue(name="a", budget=Budget(device_hours=10, window="day"))
    now = at("2026-03-29T12:00:00")
    assert changes_at(queue, 3600.0 * 4, 2, now) == now + 3 * 3600, "6 hours left, two devices"
    assert changes_at(queue, 3600.0 * 4, 0, now) == at("2026-03-30T00:00:00")
    assert changes_at(queue, 3600.0 * 11, 2, now) == at("2026-03-30T00:00:00")
    assert changes_at(Queue(name="b"), 1e9, 5, now) is None
    assert over_budget(Queue(name="b"), 1e9) == ""


# --- shares
def test_shares_weigh_queues_and_their_cohorts() -> None:
    cohorts = {"x": Cohort(name="x", weight=1), "y": Cohort(name="y", weight=3)}
    queues = [Queue(name=name, cohort=name[0], weight=weight) for name, weight in (("x1", 1), ("x2", 1), ("y1", 2))]
    tree = quotas(*queues, cohorts=cohorts, x1=10, y1=60)
    assert tree.share("x1") == 800_000, "a tenth of what there is; an eighth is its part"
    assert tree.share("y1") == 800_000, "six tenths; three quarters are its part"
    assert tree.share("x2") == 0
    order = sorted(["x1", "x2", "y1"], key=tree.shares)
    assert order == ["x2", "x1", "y1"], "cohort x has 10 % by weight 1, cohort y 20 % by weight 3"


def test_a_weight_of_zero_is_served_when_nobody_else_waits() -> None:
    tree = quotas(Queue(name="a", weight=0), Queue(name="b"), b=99)
    assert tree.share("a") >= LAST > tree.share("b")
    assert tree.shares("a") > tree.shares("b")


def test_a_circle_of_cohorts_and_unknown_names_do_no_harm() -> None:
    cohorts = {"x": Cohort(name="x", parent="y"), "y": Cohort(name="y", parent="x", nominal=amounts(gpu=3))}
    tree = quotas(Queue(name="a", cohort="x"), cohorts=cohorts)
    assert refusal(tree, gpus("a", 3)) == "" and "never" in refusal(tree, gpus("a", 4))
    stranger = gpus("nowhere", 2)
    tree.charge(stranger, {"gpu": 2}, 1)
    assert tree.check(stranger, {"gpu": 2}) is None and tree.share("nowhere") == 0
