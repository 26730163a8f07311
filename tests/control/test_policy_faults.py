"""A policy plug-in that raises: the order of before is kept, a counter goes up, the queue's board says so until it is well."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from octopus_hub.cli.queues import _state
from octopus_hub.control.boards import POLICY_FAULT, conditions
from octopus_hub.core.plan import Fault
from octopus_hub.core.policies import POLICIES, fifo
from octopus_hub.core.policies.policy import Policy
from octopus_hub.model.status import Board, Phase
from octopus_hub.service.identity import Identity
from octopus_hub.service.queueview import QueueFigures
from tests.control.engines import Engine, World
from tests.control.played import clock, job, queue, role
from tests.control.timetravel import travel

WHOLE = {"virtual": 4}


def test_a_policy_that_raises_is_counted_and_told_and_starts_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = [True]

    def rank(gang: Any, moment: Any) -> Any:
        if broken[0]:
            raise ZeroDivisionError("no weights")
        return fifo.POLICY.rank(gang, moment)

    monkeypatch.setitem(POLICIES, "plugin", Policy(rank))

    async def main() -> None:
        world = World(queues=[queue(policy="plugin"), queue("other")])
        async with Engine(world.backend) as engine:
            for name in ("one", "two", "three"):
                await world.backend.create(job(name, role("w", "run 100", 2, devices=WHOLE)))
                await asyncio.sleep(1)
            await world.phase("one", Phase.RUNNING)
            await asyncio.sleep(3)
            board = world.backend.truth.boards["default"]
            (condition,) = board.conditions
            assert (condition.type, condition.reason) == (POLICY_FAULT, "plugin") and "no weights" in condition.message
            assert [place.uid for place in board.places] == [
                world.named(name).metadata.uid for name in ("two", "three")
            ]
            assert not world.backend.truth.boards["other"].conditions
            figures = QueueFigures(engine.cache, Identity("anna", "anna", frozenset(), frozenset()), clock())
            item = figures.queue(engine.cache.queues["default"])
            assert _state(item) == f"open, {POLICY_FAULT}", "as octopus queues shows it"
            get = engine.controller.metrics.registry.get_sample_value
            assert (get("octopus_policy_faults_total", {"queue": "default", "policy": "plugin"}) or 0) >= 1
            broken[0] = False
            await world.ended("one", "two", "three")
            assert world.backend.truth.boards["default"].conditions == []

    travel(main())


def test_a_fault_that_lasts_keeps_its_time_and_another_one_gets_its_own() -> None:
    first = Fault("default", "plugin", "no weights")
    began = conditions([first], {}, 5.0)
    boards = {"default": Board(queue="default", conditions=began["default"])}
    assert conditions([first], boards, 9.0) == began
    (later,) = conditions([Fault("default", "plugin", "other words")], boards, 9.0)["default"]
    assert later.at == 9.0
    assert conditions([], boards, 9.0) == {}
    assert Board(queue="default", at=1.0).says(Board(queue="default", at=2.0))
    assert not Board(queue="default").says(boards["default"])
