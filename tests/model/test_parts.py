"""Parts of devices by name, and the fractions that stand for one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopus_hub.model.parts import MOST_PARTS, fraction, in_parts, mixed, part_type, split
from octopus_hub.model.taskset import Role, TaskSet
from tests.model.cases import document


@given(st.from_regex("[a-z][a-z0-9-]{0,20}", fullmatch=True), st.integers(1, MOST_PARTS - 1))
def test_a_name_says_into_how_many(kind: str, parts: int) -> None:
    name = part_type(kind, parts)
    assert split(name) == ((kind, parts) if parts > 1 else split(kind))


@pytest.mark.parametrize("name", ["gpu", "gpu-1of1", "gpu-1of0", "gpu-1of04", "gpu-2of4", "1of4", "gpu-1of4x"])
def test_what_is_no_part(name: str) -> None:
    assert split(name) == (name, 1)


@given(st.integers(2, MOST_PARTS - 1))
def test_every_nth_part_is_found(parts: int) -> None:
    assert fraction(1 / parts) == fraction(f"1/{parts}") == fraction(f"{1 / parts:.8f}") == parts


@pytest.mark.parametrize(
    ("value", "parts"), [(0.33, 3), (0.333, 3), ("1 / 4", 4), (".5", 2), (0.167, 6), (0.0625, 16), (0.11, 9)]
)
def test_people_round(value: Any, parts: int) -> None:
    assert fraction(value) == parts


@pytest.mark.parametrize(
    "value", [0, 1, 2, 1.0, 0.0, 0.3, 0.17, 0.75, 1.5, -0.5, float("nan"), float("inf"), True, None, "1/1", "2/4", "x"]
)
def test_what_is_no_nth_part(value: Any) -> None:
    assert fraction(value) is None


def test_a_fraction_is_one_part_beside_those_asked_for_by_name() -> None:
    assert in_parts({"gpu": 0.25, "gpu-1of4": 2, "npu": 3}) == {"gpu-1of4": 3, "npu": 3}
    assert in_parts({"gpu": 0.3, "gpu-1of2": 0.5}) == {"gpu": 0.3, "gpu-1of2": 0.5}, "refused later, with words"
    assert mixed(["gpu", "npu-1of2"]) == "" and "gpu and gpu-1of4" in mixed(["gpu", "gpu-1of4"])


def test_documents_and_python_say_it_the_same_way() -> None:
    parsed = TaskSet.parse(document(resources={"devices": {"gpu": "1/4", "npu": 0.5}}))
    assert parsed.spec.roles[0].amounts().devices == {"gpu-1of4": 1, "npu-1of2": 1}
    role = Role("worker", devices={"gpu": 0.25, "npu": 0.5}, command=["true"])
    assert role.amounts().devices == {"gpu-1of4": 1, "npu-1of2": 1}
    again = TaskSet.parse(TaskSet("mnist", roles=[role]).to_dict())
    assert again.spec.roles[0].resources == parsed.spec.roles[0].resources
