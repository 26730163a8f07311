"""Queue policies: who goes first, and who makes room for whom. One file each, one line each in ``POLICIES``."""

from __future__ import annotations

from octopus_hub.core.policies import fair, fifo, gittins, las, predicted, priority
from octopus_hub.core.policies.policy import Moment, Policy, Rank

__all__ = ["POLICIES", "Moment", "Policy", "Rank"]

POLICIES: dict[str, Policy] = {
    "fair": fair.POLICY,
    "fifo": fifo.POLICY,
    "gittins": gittins.POLICY,
    "las": las.POLICY,
    "predicted": predicted.POLICY,
    "priority": priority.POLICY,
}
