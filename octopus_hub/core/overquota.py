"""The words of quotas: which rule refuses a gang, what is used, what is left (design, law 9). Decides nothing."""

from __future__ import annotations

from collections.abc import Mapping

from octopus_hub.core.budget import left, over_budget
from octopus_hub.core.cohort import Node
from octopus_hub.core.reason import CPU, MEMORY, Reason, ReasonCode, quantity, unflat
from octopus_hub.core.snapshot import Waiting
from octopus_hub.model.queue import Budget, Queue

Figures = tuple[str, int, int, int]  # resource, needed, used now, bound

_NEXT = {"day": "tomorrow", "week": "on Monday", "month": "on the first of next month"}


def tree(node: Node, resource: str, amount: int, room: int) -> Reason:
    """Return why the queue and its cohorts have no room for so much more."""
    used = node.used.get(resource, 0)
    if node.parent is None:
        bounds = node.bound(resource)
        bound = bounds.quota if bounds else 0
        rule = f"queue {node.name} allows {quantity(resource, bound)} at once"
        return _simple("QueueQuota", (resource, amount, used, bound), rule, "it uses", node.name)
    most = node.available(resource, empty=True) or 0
    rule = f"queue {node.name} may use {_most(node, resource, most)}"
    if amount > most:
        message = f"needs {quantity(resource, amount)}; {rule}, so it can never start there"
        room = most
    else:
        message = (
            f"needs {quantity(resource, amount)}; {rule}, it uses {quantity(resource, used)} now"
            f" and can take {quantity(resource, room)} more{_lenders(node, resource, used + room, most)}"
        )
    return _reason("QueueQuota", message, {resource: amount}, {resource: room}, node.name)


def user(queue: Queue, gang: Waiting, figures: Figures) -> Reason:
    """Return why the owner would use too much."""
    rule = f"queue {queue.name} allows each user {quantity(figures[0], figures[3])}"
    return _simple("UserQuota", figures, rule, f"{gang.owner} uses", gang.owner)


def group(queue: Queue, name: str, figures: Figures) -> Reason:
    """Return why a group of the owner would use too much."""
    rule = f"queue {queue.name} allows each group {quantity(figures[0], figures[3])}"
    return _simple("GroupQuota", figures, rule, f"{name} uses", name)


def tasks(queue: Queue, gang: Waiting, figures: tuple[int, int, int]) -> Reason:
    """Return why the owner would have too many tasks; needed, running, allowed."""
    count, have, most = figures
    rule = f"queue {queue.name} allows each user {_tasks(most)} at once"
    if count > most:
        message = f"needs {_tasks(count)}; {rule}, so it can never start there"
    else:
        message = f"needs {_tasks(count)}; {rule} and {gang.owner} has {have} now"
    return Reason(code="UserQuota", message=message, where=gang.owner)


def queued(queue: Queue, owner: str, have: int) -> Reason:
    """Return why one of too many TaskSets in the queue is not looked at yet."""
    message = (
        f"queue {queue.name} lets {queue.max_queued_per_user} TaskSets of each user wait and {owner} has {have};"
        " it is looked at when those before it have started"
    )
    return Reason(code="UserQuota", message=message, where=owner)


def spent_out(queue: Queue, total: Mapping[str, int], spent: float) -> Reason | None:
    """Return why a gang with devices can't start on the queue's budget, or None."""
    budget = queue.budget
    if budget is None or over_budget(queue, spent) not in ("finish", "stop") or not _devices(total):
        return None
    hours = f"{(budget.device_hours * 3600 - left(budget, spent)) / 3600:.1f}".removesuffix(".0")
    message = f"{_rule(queue, budget)} and used {hours}; the next begins {_NEXT[budget.window]} (UTC)"
    return _reason("Budget", message, _devices(total), {}, queue.name)


def no_budget(queue: Queue, total: Mapping[str, int]) -> Reason | None:
    """Return why a gang with devices can never start, or None."""
    budget = queue.budget
    if budget is None or budget.device_hours > 0 or budget.at_end == "low" or not _devices(total):
        return None
    message = f"{_rule(queue, budget)}, so nothing with devices can ever start there"
    return _reason("Budget", message, _devices(total), {}, queue.name)


def _rule(queue: Queue, budget: Budget) -> str:
    return f"queue {queue.name} has {budget.device_hours} device-hours each {budget.window}"


def _devices(total: Mapping[str, int]) -> dict[str, int]:
    return {name: amount for name, amount in total.items() if name not in (CPU, MEMORY)}


def _most(node: Node, resource: str, most: int) -> str:
    bounds = node.bound(resource)
    own = bounds.quota if bounds else 0
    borrowed = most - own
    mine = f"{quantity(resource, own)} of its own"
    return f"{mine} and borrow up to {quantity(resource, borrowed)}" if borrowed > 0 else mine


def _lenders(node: Node, resource: str, reach: int, most: int) -> str:
    """Say which cohort has nothing left, where that is why."""
    if reach >= most or node.parent is None:
        return ""
    return f"; the rest of cohort {node.parent.name} is in use"


def _tasks(count: int) -> str:
    return "1 task" if count == 1 else f"{count} tasks"


def _simple(code: ReasonCode, figures: Figures, rule: str, holder: str, where: str) -> Reason:
    resource, amount, have, bound = figures
    if amount > bound:
        message = f"needs {quantity(resource, amount)}; {rule}, so it can never start there"
    else:
        message = f"needs {quantity(resource, amount)}; {rule} and {holder} {quantity(resource, have)} now"
    return _reason(code, message, {resource: amount}, {resource: max(0, bound - have)}, where)


def _reason(code: ReasonCode, message: str, need: dict[str, int], free: dict[str, int], where: str) -> Reason:
    return Reason(code=code, message=message, need=unflat(need), free=unflat(free), where=where)
