"""Quotas: what a queue and each of its users may use at once.

A limit of 0 CPU or memory means "not limited" (a quota names what it limits); a device type that the quota does not
name is not limited while the quota names none, else zero. Integers only. Borrowing and lending between the queues of
a cohort will widen :func:`limit`; nothing else asks for a queue's nominal amount. Used by ``schedule``.
"""

from __future__ import annotations

from collections.abc import Mapping

from octopus_hub.core.reason import CPU, MEMORY, Reason, ReasonCode, quantity, unflat
from octopus_hub.core.snapshot import Snapshot, Trial, Waiting, gang_total
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.queue import Queue


def check(where: Snapshot | Trial, gang: Waiting) -> Reason | None:
    """Return why the quotas refuse ``gang`` now, or None."""
    trial = where.trial() if isinstance(where, Snapshot) else where
    queue = trial.queues.get(gang.queue)
    if queue is None or (queue.nominal is None and queue.per_user is None):
        return None
    need = gang_total(gang.needs)
    return _over(queue, gang, need, trial.queue_used(gang.queue), user=False) or _over(
        queue, gang, need, trial.user_used(gang.queue, gang.owner), user=True
    )


def check_empty(queue: Queue, gang: Waiting) -> Reason | None:
    """Return why the quotas refuse ``gang`` even when nothing is in use, or None."""
    if queue.nominal is None and queue.per_user is None:
        return None
    need = gang_total(gang.needs)
    return _over(queue, gang, need, {}, user=False) or _over(queue, gang, need, {}, user=True)


def limit(quota: Amounts, resource: str) -> int | None:
    """Return the bound on a resource, or None where it is not limited."""
    if resource == CPU:
        return quota.cpu_millis or None
    if resource == MEMORY:
        return quota.memory_bytes or None
    return quota.devices.get(resource, 0) if quota.devices else None


def _over(
    queue: Queue, gang: Waiting, need: Mapping[str, int], used: Mapping[str, int], *, user: bool
) -> Reason | None:
    quota = queue.per_user if user else queue.nominal
    if quota is None:
        return None
    for resource, amount in need.items():
        bound = limit(quota, resource)
        have = used.get(resource, 0)
        if bound is not None and have + amount > bound:
            return _reason(queue, gang, (resource, amount, have, bound), user=user)
    return None


def _reason(queue: Queue, gang: Waiting, figures: tuple[str, int, int, int], *, user: bool) -> Reason:
    resource, amount, have, bound = figures
    code: ReasonCode = "UserQuota" if user else "QueueQuota"
    rule = (
        f"queue {queue.name} allows each user {quantity(resource, bound)}"
        if user
        else (f"queue {queue.name} allows {quantity(resource, bound)} at once")
    )
    holder = f"{gang.owner} uses" if user else "it uses"
    if amount > bound:
        message = f"needs {quantity(resource, amount)}; {rule}, so it can never start there"
    else:
        message = f"needs {quantity(resource, amount)}; {rule} and {holder} {quantity(resource, have)} now"
    return Reason(
        code=code,
        message=message,
        need=unflat({resource: amount}),
        free=unflat({resource: max(0, bound - have)}),
        where=gang.owner if user else queue.name,
    )
