"""The order each policy gives, and whom it lets make room for whom."""

from __future__ import annotations

from dataclasses import replace

import pytest

from octopus_hub.core.policies import POLICIES, Moment
from octopus_hub.core.snapshot import Running, Waiting
from octopus_hub.model.queue import Queue
from tests.core.scheduling_builders import gang, role, snapshot

HOUR = 3600.0
GANGS = [
    gang("c", at=1.0, priority=-100),
    gang("b", at=2.0, priority=0),
    gang("a", at=2.0, priority=0),
    gang("d", at=3.0, priority=100),
]

ORDERS = {
    "fair": ["d", "a", "b", "c"],  # of one owner
    "fifo": ["c", "a", "b", "d"],
    "gittins": ["c", "a", "b", "d"],  # nothing is known of any
    "las": ["c", "a", "b", "d"],  # none has been served yet
    "predicted": ["c", "a", "b", "d"],
    "priority": ["d", "a", "b", "c"],
}


def moment(name: str, now: float = 0.0, **uses: float) -> Moment:
    return Moment(Queue(name="q", policy=name), now, snapshot(), uses)


def ordered(name: str, gangs: list[Waiting]) -> list[str]:
    return [each.uid for each in sorted(gangs, key=lambda each: POLICIES[name].rank(each, moment(name)))]


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_order(name: str) -> None:
    assert ordered(name, GANGS) == ORDERS[name]


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_order_is_total(name: str) -> None:
    assert ordered(name, GANGS[::-1]) == ORDERS[name]


def gpus(uid: str, count: int, **rest: object) -> Waiting:
    return replace(gang(uid, role(count=count, gpu=1)), **rest)  # type: ignore[arg-type]


SERVICE = [
    ("a new one makes one with an hour of service give way", gpus("new", 1), gpus("old", 1), 1.0, True),
    ("within the first level nobody gives way", gpus("new", 1), gpus("old", 1), 0.4, False),
    ("equal service", gpus("new", 1, served=HOUR), gpus("old", 1), 1.0, False),
    ("service counts the devices", gpus("new", 1), gpus("old", 8), 0.1, True),
    ("and the attempts before", gpus("new", 1), gpus("old", 1, served=HOUR), 0.0, True),
    ("the one with more service never claims", gpus("new", 1, served=9 * HOUR), gpus("old", 1), 1.0, False),
]


@pytest.mark.parametrize(
    ("case", "claimant", "victim", "hours", "gives_way"), SERVICE, ids=[each[0] for each in SERVICE]
)
def test_las_gives_way_by_level(case: str, claimant: Waiting, victim: Waiting, hours: float, gives_way: bool) -> None:
    policy, now = POLICIES["las"], moment("las", hours * HOUR)
    assert policy.claim is not None and policy.standing is not None
    assert (policy.standing(Running(victim, {}, 0.0), now)[0] > policy.claim(claimant, now)) == gives_way


def test_predicted_prefers_the_shorter_rest_and_falls_back_to_service() -> None:
    short = gpus("short", 1, estimate=0.4 * HOUR, queued_at=9.0)
    long = gpus("long", 1, estimate=90 * HOUR, queued_at=1.0)
    nearly_done = gpus("nearly", 1, estimate=90 * HOUR, served=89.9 * HOUR, queued_at=2.0)
    unknown = gpus("unknown", 1, queued_at=3.0)
    assert ordered("predicted", [long, nearly_done, short, unknown]) == ["nearly", "unknown", "short", "long"]


def test_fair_never_lets_two_evict_each_other() -> None:
    """After the exchange the one that went has no claim against the one that came (no cycle)."""
    policy = POLICIES["fair"]
    assert policy.claim is not None and policy.standing is not None
    for mine in (0.0, 1.0, 10.0, 300.0):
        for theirs in (1.0, 3.0, 40.0, 1000.0):
            for width in (1, 2, 8):
                came, went = gpus("came", width, owner="ann"), gpus("went", width, owner="bob")
                before = moment("fair", ann=mine * HOUR, bob=(theirs + width) * HOUR)
                if policy.standing(Running(went, {}, 0.0), before)[0] <= policy.claim(came, before):
                    continue
                after = moment("fair", ann=(mine + width) * HOUR, bob=theirs * HOUR)
                assert policy.standing(Running(came, {}, 0.0), after)[0] <= policy.claim(went, after)
