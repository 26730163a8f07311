"""Placement against brute force: what it finds fits, and where the search may end it finds what there is."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from octopus_hub.core import placement, search
from octopus_hub.core.packing import spread
from octopus_hub.core.placement import find
from octopus_hub.core.snapshot import RoleNeed, Snapshot
from octopus_hub.core.trial import Trial
from tests.core.placement_brute import (
    as_spread,
    brute,
    distributions,
    fits,
    small_clusters,
    small_needs,
    waiting,
)
from tests.core.scheduling_builders import amounts, assert_whole, node, snapshot

exactness = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

Needs = tuple[RoleNeed, ...]


def check(view: Snapshot, needs: Needs, excluded: frozenset[int] = frozenset()) -> bool:
    """Place, check what was found, and return whether something was."""
    trial = Trial(view)
    before = [list(free) for free in trial.free]
    found = find(trial, waiting(needs), excluded)
    assert trial.free == before, "the trial is left as it was"
    if found is not None:
        assert_whole(waiting(needs), found)
        lies = as_spread(view, found)
        assert fits(view, needs, lies)
        assert not excluded.intersection(*[[at for role in lies.values() for at in role]])
    return found is not None


@exactness
@given(small_clusters(), small_needs(1), st.sets(st.integers(0, 3), max_size=2))
def test_one_role_fits_if_and_only_if_it_fits(view: Snapshot, needs: Needs, excluded: set[int]) -> None:
    kept_off = frozenset(at for at in excluded if at < len(view.nodes))
    left = snapshot(*(each for at, each in enumerate(view.nodes) if at not in kept_off))
    assert check(view, needs, kept_off) == brute(left, needs)


@exactness
@given(small_clusters(), small_needs(1), st.integers(1, 3))
def test_equal_roles_fit_if_and_only_if_they_fit(view: Snapshot, needs: Needs, more: int) -> None:
    (first,) = needs
    plain = RoleNeed(
        "a",
        first.count,
        first.each,
        first.node_selector,
        first.topology,
        first.topology_required,
        None,
        first.tolerates,
    )
    second = RoleNeed("b", more, *[getattr(plain, name) for name in RoleNeed.__slots__[2:]])
    assert check(view, (plain, second)) == brute(view, (plain, second))


@exactness
@given(small_clusters(), st.integers(2, 3).flatmap(small_needs))
def test_a_placement_of_different_roles_fits_and_none_is_missed(view: Snapshot, needs: Needs) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "STEPS", 10**6)  # so that the search ends by itself
        assert check(view, needs) == brute(view, needs)


def test_misses_of_packing_alone_and_with_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gangs that fit by construction and leave little room: packing in four orders misses some, the search few."""
    draw = random.Random(9)
    cases = [planted(draw, nodes=8, roles=3) for _ in range(60)]
    found = sum(check(view, needs) for view, needs in cases)
    monkeypatch.setattr(placement, "search", lambda *_: None)
    packed = sum(check(view, needs) for view, needs in cases)
    assert packed < 40
    assert found >= 58


def planted(draw: random.Random, nodes: int, roles: int) -> tuple[Snapshot, Needs]:
    """Return nodes that a gang fills almost whole, and the gang."""
    sizes = [(draw.randint(1, 8), draw.randint(1, 16), draw.choice((0, 0, 1, 2, 4))) for _ in range(roles)]
    counts = [0] * roles
    views = []
    for at in range(nodes):
        sums = [draw.randint(0, 3), draw.randint(0, 3), draw.randint(0, 1)]
        for _ in range(draw.randint(1, 5)):
            kind = draw.randrange(roles)
            counts[kind] += 1
            sums = [have + more for have, more in zip(sums, sizes[kind], strict=True)]
        views.append(node(f"n{at}", cpu=sums[0], memory=sums[1], gpu=sums[2]))
    needs = tuple(
        RoleNeed("abcdef"[at], counts[at], amounts(cpu, memory, gpu=gpus))
        for at, (cpu, memory, gpus) in enumerate(sizes)
        if counts[at]
    )
    return snapshot(*views), needs


def test_the_search_gives_up_within_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing fits and every bound holds: the only way to know is to try everything, so it is not tried to the end."""
    views = [node(f"n{at}", cpu=7, memory=64) for at in range(40)]
    needs = (RoleNeed("a", 40, amounts(4, 1)), RoleNeed("b", 40, amounts(3, 1)), RoleNeed("c", 1, amounts(5, 1)))
    steps: list[int] = []
    real = search._Search._combine

    def counted(self: search._Search, *args: object) -> None:
        steps.append(1)
        real(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(search._Search, "_combine", counted)
    assert not check(snapshot(*views), needs)
    assert len(steps) <= 20 * search.STEPS


def test_two_hundred_nodes_for_which_roles_compete_are_searched_without_deep_recursion() -> None:
    views = [node(f"n{at:04}", cpu=7, memory=64) for at in range(1000)]
    needs = (RoleNeed("a", 100, amounts(4, 1)), RoleNeed("b", 100, amounts(3, 1)))
    assert check(snapshot(*views), needs)


@exactness
@given(st.lists(st.integers(0, 6), max_size=5), st.integers(0, 12), st.sampled_from([None, 1, 2, 4]))
def test_spread_is_exact_and_as_even_as_can_be(rooms: list[int], tasks: int, most: int | None) -> None:
    rooms = sorted(rooms, reverse=True)
    shares = spread(rooms, tasks, most)
    possible = [
        [counts.get(at, 0) for at in range(len(rooms))]
        for counts in distributions(tasks, range(len(rooms)))
        if all(counts.get(at, 0) <= (room if most is None else min(room, most)) for at, room in enumerate(rooms))
    ]
    if shares is None:
        assert not possible
        return
    assert shares in possible
    if most is None:
        assert max(shares, default=0) == min(max(each, default=0) for each in possible)
