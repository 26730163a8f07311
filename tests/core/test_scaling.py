"""Wishes about the size of elastic roles: which are possible, and what the refusals say."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from octopus_hub.core.expand import needs
from octopus_hub.core.scaling import unfulfilled, wished_sizes
from octopus_hub.model.errors import Conflict, InvalidSpec
from octopus_hub.model.status import Phase, Span, Status
from octopus_hub.model.taskset import ElasticReplicas, Metadata, Role, Spec, TaskSet

replace = msgspec.structs.replace


def train(phase: Phase = Phase.RUNNING, **meta: Any) -> TaskSet:
    roles = [Role("worker", replicas=ElasticReplicas(min=2, max=8)), Role("ps"), Role("eval", replicas=3)]
    status = Status(phase=phase, placement={"worker": [Span(node="a", first=0, count=4)]}, admitted_at=100.0)
    return TaskSet(metadata=Metadata(name="train", **meta), spec=Spec(roles=roles), status=status)


def test_wishes_are_kept_by_role_and_taken_back() -> None:
    assert wished_sizes(train(), {"worker": 6}) == {"worker": 6}
    assert wished_sizes(train(sizes={"worker": 6}), {"worker": 2}) == {"worker": 2}
    assert wished_sizes(train(sizes={"worker": 6}), {"worker": None}) == {}


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"worker": 9}, "role worker of train can have 2 to 8 tasks, not 9"),
        ({"worker": 1}, "role worker of train can have 2 to 8 tasks, not 1"),
        (
            {"ps": 2},
            "role ps of train always has 1 task; submit it with replicas: {min, max} to scale it",
        ),
        (
            {"eval": 3},
            "role eval of train always has 3 tasks; submit it with replicas: {min, max} to scale it",
        ),
        ({"wrker": 3}, "train has no role 'wrker'; did you mean worker?"),
        ({}, "name a role and how many tasks it shall have, as in worker=6"),
    ],
)
def test_what_can_t_be_is_refused_in_one_sentence(sizes: dict[str, int], message: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        wished_sizes(train(), sizes)
    assert caught.value.message.startswith(message)


def test_what_has_ended_can_t_be_scaled() -> None:
    with pytest.raises(Conflict, match="train is Succeeded; only a TaskSet that has not ended can be scaled"):
        wished_sizes(train(Phase.SUCCEEDED), {"worker": 3})


def test_the_scheduler_is_shown_the_wish_as_the_most() -> None:
    assert [(need.count, need.most) for need in needs(train())] == [(2, 8), (1, None), (3, None)]
    assert needs(train(sizes={"worker": 6}))[0].most == 6


def test_a_wish_is_open_until_the_attempt_has_that_size() -> None:
    assert unfulfilled(train(sizes={"worker": 6}, scaled_at=101.0))
    assert not unfulfilled(train(sizes={"worker": 4}, scaled_at=101.0)), "it has four"
    assert not unfulfilled(train(sizes={"worker": 6}, scaled_at=99.0)), "an older wish is the reviews'"
    assert not unfulfilled(train(Phase.QUEUED, sizes={"worker": 6}, scaled_at=101.0))
    assert not unfulfilled(train())
