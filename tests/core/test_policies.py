"""The order each policy gives."""

from __future__ import annotations

import pytest

from octopus_hub.core.policies import POLICIES, STEADY
from tests.core.scheduling_builders import gang, snapshot

GANGS = [
    gang("c", at=1.0, priority=-100),
    gang("b", at=2.0, priority=0),
    gang("a", at=2.0, priority=0),
    gang("d", at=3.0, priority=100),
]

ORDERS = {
    "fifo": ["c", "a", "b", "d"],
    "priority": ["d", "a", "b", "c"],
}


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_order(name: str) -> None:
    ordered = POLICIES[name](GANGS, snapshot(), 0.0)
    assert [each.uid for each in ordered] == ORDERS[name]


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_order_is_total_and_loses_nothing(name: str) -> None:
    forwards = POLICIES[name](GANGS, snapshot(), 0.0)
    assert POLICIES[name](GANGS[::-1], snapshot(), 0.0) == forwards
    assert len(forwards) == len(GANGS)


def test_steady_policies_exist() -> None:
    assert set(POLICIES) >= STEADY
