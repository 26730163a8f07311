"""The policy that the guide writes is one: it orders, it preempts, and it is fenced like the others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from octopus_hub.core.plan import Plan
from octopus_hub.core.policies import POLICIES
from octopus_hub.core.policies.policy import Policy
from octopus_hub.core.schedule import schedule
from octopus_hub.core.snapshot import Running, Waiting
from octopus_hub.model.queue import Queue
from octopus_hub.model.status import Span
from tests.core.scheduling_builders import gang, node, role, snapshot
from tests.docs.pages import ROOT, blocks

GUIDE = ROOT / "docs/how-to/add-a-policy.md"
HOUR = 3600.0


def programs() -> list[str]:
    return [block.text for block in blocks() if block.page == GUIDE and block.language == "python"]


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Policy]:
    """The policy as the guide has it after each of its first two programs; the last one is in the table."""
    names: dict[str, Any] = {}
    found = []
    for program in programs()[:2]:
        exec(compile(program, str(GUIDE), "exec"), names)
        found.append(names["POLICY"])
    monkeypatch.setitem(POLICIES, "shortest", found[-1])
    return found


def one(uid: str, hours: float | None, **rest: Any) -> Waiting:
    made = gang(uid, role(gpu=1), **rest)
    return replace(made, max_runtime=None if hours is None else hours * HOUR)


def plan(policy: str, waiting: list[Waiting], running: list[Waiting], now: float) -> Plan:
    view = snapshot(
        node("a", gpu=1),
        running=[(each, {"worker": (Span(node="a", first=0, count=1),)}) for each in running],
        queues=[Queue(name="q", policy=policy)],
    )
    lives = {each.uid: Running(each, {"worker": (Span(node="a", first=0, count=1),)}, 0.0) for each in running}
    return schedule(replace(view, running=lives), waiting, now)


def test_the_first_program_only_orders(written: list[Policy], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(POLICIES, "shortest", written[0])
    waiting = [one("unknown", None, at=1.0), one("long", 9.0, at=2.0), one("short", 1.0, at=3.0)]
    assert [each.uid for each in plan("shortest", waiting, [], 10.0).admissions] == ["short"]
    assert plan("shortest", waiting, [one("runs", 90.0)], 2 * HOUR).evictions == ()


def test_the_second_one_lets_the_much_shorter_go_first(written: list[Policy]) -> None:
    evicted = plan("shortest", [one("short", 1.0)], [one("runs", 90.0)], 2 * HOUR).evictions
    assert [(each.uid, each.by, each.rule) for each in evicted] == [("runs", "short", "service")]
    assert not plan("shortest", [one("as long", 88.0)], [one("runs", 90.0)], 2 * HOUR).evictions
    spared = replace(one("runs", 90.0), resumes=False)
    assert not plan("shortest", [one("short", 1.0)], [spared], 2 * HOUR).evictions


def test_every_field_of_a_policy_is_in_the_table(written: list[Policy]) -> None:
    text = GUIDE.read_text()
    assert not [name for name in Policy.__dataclass_fields__ if f"`{name}`" not in text]
