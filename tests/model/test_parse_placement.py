"""What a document may say about where its tasks run, and what it may not, with what the user is told."""

from __future__ import annotations

from typing import Any

import pytest

from octopus_hub.model.placing import SkuChoice
from octopus_hub.model.taskset import TaskSet
from tests.model.cases import W, document, problems_of, spec

P = f"{W}.placement"


def asking(gpus: int | None, **placement: Any) -> dict[str, Any]:
    resources = {} if gpus is None else {"resources": {"devices": {"gpu": gpus}}}
    return document(placement=placement, **resources)


REFUSED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no device models": (asking(1, sku=[]), [f"{P}.sku: is empty"]),
    "an empty device model": (
        asking(1, sku=["a100", ""]),
        [f"{P}.sku[1]: the empty text is not a device model: letters, digits, -, _ and ., at most 63"],
    ),
    "a number of devices of none": (
        asking(None, sku=["a100", {"sku": "v100", "devices": 2}]),
        [f"{P}.sku[1].devices: needs one device type in resources.devices; the role asks for none"],
    ),
    "a number of devices of two types": (
        document(placement={"sku": [{"sku": "v100", "devices": 2}]}, resources={"devices": {"gpu": 1, "npu": 1}}),
        [f"{P}.sku[0].devices: needs one device type in resources.devices; the role asks for gpu, npu"],
    ),
    "no devices of a model": (
        asking(1, sku=[{"sku": "v100", "devices": 0}]),
        [f"{P}.sku[0].devices: 0 is not from 1 to 1000"],
    ),
    "a taint of two words": (
        asking(1, tolerations=["old gpu"]),
        [f"{P}.tolerations[0]: 'old gpu' is not a taint: key, key=value, or * for every taint"],
    ),
    "near itself": (
        asking(1, near="worker"),
        [f"{P}.near: is the role itself; name another, or keep its tasks together with placement.topology"],
    ),
    "near nobody": (asking(1, near="ps"), [f"{P}.near: there is no role ps"]),
    "near a role that is near another": (
        document(
            spec(
                roles=[
                    {"name": "a", "command": ["x"], "placement": {"near": "b"}},
                    {"name": "b", "command": ["x"], "placement": {"near": "c"}},
                    {"name": "c", "command": ["x"]},
                ]
            )
        ),
        ["spec.roles[0].placement.near: b goes near a role itself; name a role that does not"],
    ),
    "no level": (asking(1, topology={"level": []}), [f"{P}.topology.level: is empty"]),
    "no task in a domain": (
        asking(1, spread={"level": "rack", "maxPerDomain": 0}),
        [f"{P}.spread.maxPerDomain: 0 is not from 1 to 10000"],
    ),
    "spread without a level": (asking(1, spread={}), [f"{P}.spread.level: is missing"]),
}


@pytest.mark.parametrize(("given", "told"), REFUSED.values(), ids=REFUSED)
def test_refused(given: dict[str, Any], told: list[str]) -> None:
    assert problems_of(given) == told


def test_device_models_are_one_or_several_with_their_own_numbers() -> None:
    (one,) = TaskSet.parse(asking(1, sku="a100")).spec.roles
    assert one.placement.skus == [SkuChoice(sku="a100")]
    (several,) = TaskSet.parse(asking(1, sku=["a100", {"sku": "v100", "devices": 2}])).spec.roles
    assert several.placement.skus == [SkuChoice(sku="a100"), SkuChoice(sku="v100", devices=2)]
    assert [several.amounts(choice).devices for choice in (0, 1)] == [{"gpu": 1}, {"gpu": 2}]


def test_levels_tolerations_and_spread() -> None:
    given = asking(
        1,
        topology={"level": ["rack", "topology.kubernetes.io/zone"]},
        tolerations=["course=ml", "octopus-hub.io/old", "*"],
        spread={"level": "rack", "maxPerDomain": 2},
    )
    (role,) = TaskSet.parse(given).spec.roles
    assert role.placement.topology is not None and role.placement.topology.levels == [
        "rack",
        "topology.kubernetes.io/zone",
    ]
    assert role.placement.tolerations == ["course=ml", "octopus-hub.io/old", "*"]
    assert role.placement.spread is not None and role.placement.spread.max_per_domain == 2
    assert TaskSet.parse(TaskSet.parse(given).to_dict()).spec == TaskSet.parse(given).spec
