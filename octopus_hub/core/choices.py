"""Roles that would run on more than one device model: which ways there are, and which one was chosen.

A role's :attr:`RoleNeed.choices` are further ways to run each of its tasks, after ``each`` and ``node_selector``, which
are the first way. All tasks of a role go the same way. A placement says which way in :attr:`Placed.choices`; whoever
counts what it holds takes :func:`chosen` needs. Used by ``placement``, ``snapshot.Trial`` and ``control``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice, product
from typing import TYPE_CHECKING

from octopus_hub.model.status import Span

if TYPE_CHECKING:
    from octopus_hub.core.snapshot import RoleNeed

MOST_WAYS = 64  # combinations over the roles of one gang that are tried, the preferred ones first


class Placed(dict[str, tuple[Span, ...]]):
    """Where every member of a gang goes, by role; ``choices`` says which of a role's choices it got (0: the first)."""

    def __init__(self, spans: Mapping[str, tuple[Span, ...]], choices: Mapping[str, int] | None = None) -> None:
        super().__init__(spans)
        self.choices: Mapping[str, int] = choices or {}


def choices_of(placement: Mapping[str, Sequence[Span]]) -> Mapping[str, int]:
    """Return the choices of a placement; roles that are not named got their first."""
    return placement.choices if isinstance(placement, Placed) else {}


def chosen(needs: Sequence[RoleNeed], choices: Mapping[str, int]) -> tuple[RoleNeed, ...]:
    """Return what the gang needs once the choices are made; roles without a choice stay as they are."""
    if not any(need.choices for need in needs):
        return tuple(needs)
    return tuple(_narrow(need, choices.get(need.role, 0)) if need.choices else need for need in needs)


def ways(needs: Sequence[RoleNeed]) -> Iterator[dict[str, int]]:
    """Yield the combinations of choices, those nearest to every role's first choice first."""
    open_roles = [need for need in needs if need.choices and need.count]
    if not open_roles:
        yield {}
        return
    combinations = islice(product(*(range(1 + len(need.choices)) for need in open_roles)), 100 * MOST_WAYS)
    for picks in sorted(combinations, key=lambda picks: (sum(picks), picks))[:MOST_WAYS]:
        yield {need.role: pick for need, pick in zip(open_roles, picks, strict=True)}


def _narrow(need: RoleNeed, pick: int) -> RoleNeed:
    if not pick or pick > len(need.choices):
        return replace(need, choices=())
    way = need.choices[pick - 1]
    return replace(need, each=way.each, node_selector=way.node_selector, choices=())
