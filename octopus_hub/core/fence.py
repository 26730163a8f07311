"""Policies are plug-ins: one that raises or answers nonsense is fenced, told of, and harms no queue but its own.

Ranks are fenced where orders are kept (``core.line``), standings where herds are (``core.herd``). Used by ``schedule``
only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from octopus_hub.core.memo import Memo
from octopus_hub.core.policies import Moment
from octopus_hub.core.snapshot import Waiting

Answer = TypeVar("Answer")


def ask(
    memo: Memo,
    moment: Moment,
    gang: Waiting,
    question: Callable[[Waiting, Moment], Answer],
    valid: Callable[[object], bool],
    otherwise: Answer,
) -> Answer:
    """Return what a function of a policy says of a gang; ``otherwise`` if it raises or the answer isn't ``valid``."""
    try:
        answer = question(gang, moment)
        if valid(answer):
            return answer
        fault = f"policy {moment.queue.policy} gave {answer!r} for {gang.name}"
    except Exception as error:
        fault = f"policy {moment.queue.policy} failed for {gang.name}: {type(error).__name__}: {error}"
    memo.fault(moment.queue.name, gang.uid, fault)
    return otherwise


def level(answer: object) -> bool:
    """Say whether it is the level of a claimant, or that it can't claim yet."""
    return answer is None or isinstance(answer, int)


def truth(answer: object) -> bool:
    """Say whether it is yes or no."""
    return isinstance(answer, bool)
