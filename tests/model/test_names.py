"""Names of tasks, tenants and TaskSets (law 6)."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from octopus_hub.model.names import MOST_TASKSET_NAME, namespace_of, next_name, task_name

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
_names = st.from_regex(NAME, fullmatch=True)
_roles = st.from_regex(r"[a-z][a-z0-9]{0,14}", fullmatch=True)


@unhurried
@given(
    st.tuples(_names, _roles, st.integers(0, 9999), st.integers(1, 99)),
    st.tuples(_names, _roles, st.integers(0, 9999), st.integers(1, 99)),
)
def test_tasks_have_different_names(one: tuple[str, str, int, int], other: tuple[str, str, int, int]) -> None:
    assert (task_name(*one) == task_name(*other)) == (one == other)


def test_host_names_of_the_longest_names_are_dns_labels() -> None:
    assert LABEL.fullmatch(task_name("a" * MOST_TASKSET_NAME, "w" * 15, 9999, 1))


@pytest.mark.parametrize(
    ("user", "namespace"),
    [
        ("alice", "alice"),
        ("a-b", "a-b"),
        ("Alice", "alice---3bc51062"),
        ("alice@example.org", "alice-example-org---7a64adf2"),
        ("a---b", "a-b---"),
        ("-", "user---"),
        ("", "user---e3b0c442"),
        ("ü", "user---"),
        ("\ud800", "user---"),
        ("../../etc", "etc---"),
    ],
)
def test_namespaces(user: str, namespace: str) -> None:
    found = namespace_of(user)
    assert LABEL.fullmatch(found)
    if namespace.endswith("---"):
        assert re.fullmatch(rf"{namespace}[0-9a-f]{{8}}", found)
    else:
        assert found == namespace


@unhurried
@given(st.text(max_size=80) | _names, st.text(max_size=80) | _names)
def test_two_users_never_share_a_namespace(one: str, other: str) -> None:
    found = namespace_of(one), namespace_of(other)
    assert (found[0] == found[1]) == (one == other)
    assert all(LABEL.fullmatch(each) for each in found)


@unhurried
@given(_names, st.sets(st.integers(2, 30)))
def test_a_taken_name_gets_the_first_free_number(name: str, numbers: set[int]) -> None:
    assert next_name(name, set()) == name
    taken = {name}
    for number in sorted(numbers):
        suffix = f"-{number}"
        taken.add(name[: MOST_TASKSET_NAME - len(suffix)].rstrip("-") + suffix)
    found = next_name(name, taken)
    assert found not in taken and NAME.fullmatch(found)
    free = next(number for number in range(2, 40) if number not in numbers)
    assert found.endswith(f"-{free}") or name.endswith(tuple(f"-{number}" for number in range(2, 40)))


def test_numbers_follow_each_other() -> None:
    taken: set[str] = set()
    for expected in ("mnist", "mnist-2", "mnist-3"):
        taken.add(next_name("mnist", taken))
        assert expected in taken
    assert next_name("a" * 40, {"a" * 40}) == "a" * 38 + "-2"
    assert next_name("a" * 37 + "-bc", {"a" * 37 + "-bc"}) == "a" * 37 + "-2"
