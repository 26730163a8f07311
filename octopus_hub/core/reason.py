"""A refusal as a value: why something can't run now, in numbers (design, law 9)."""

from __future__ import annotations

from typing import Literal

from octopus_hub.model.amounts import Amounts
from octopus_hub.model.base import ApiStruct

ReasonCode = Literal[
    "Held",  # spec.hold
    "WaitingFor",  # spec.after not fulfilled
    "DependencyFailed",  # spec.after can no longer be fulfilled
    "QueuePaused",
    "QueueUnknown",
    "BehindInQueue",  # strict order: something before it does not fit yet
    "QueueQuota",
    "UserQuota",
    "NoFit",  # fits an empty cluster, not now
    "NeverFits",  # does not fit an empty cluster
    "BackOff",  # nodes avoided after failed binds
]


class Reason(ApiStruct, frozen=True, kw_only=True):
    """Why a gang is not admitted.

    Attributes
    ----------
    message : str
        One sentence with the numbers and what would unblock it.
    need, free : Amounts
        What was missing it compared: the gang's (or role's) need and what was free.
    where : str
        Node, queue or user that was the limit.
    """

    code: ReasonCode
    message: str
    need: Amounts = Amounts()
    free: Amounts = Amounts()
    where: str = ""
