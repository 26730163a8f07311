"""All that will have left soon, counted together by node, so that looking at the room they leave costs nodes, not gangs.

Part of a cycle: gangs told to leave before it are counted when somebody first asks, those of the cycle as they are told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from octopus_hub.core.cluster import NONE_SUCH, Need
from octopus_hub.core.line import Shape
from octopus_hub.core.snapshot import Running, Waiting
from octopus_hub.core.trial import Trial


class Leavers:
    """What leaves, in the trial of a cycle.

    Attributes
    ----------
    gangs : list of Running
        Who leaves.
    """

    def __init__(self, trial: Trial, leaving: Iterable[Running]) -> None:
        self.gangs: list[Running] = []
        self._trial = trial
        self._nodes: dict[int, dict[int, int]] = {}
        self._needs: dict[int, Need] = {}  # the same as the trial takes it
        self._charges: list[tuple[Waiting, Mapping[str, int]]] = []
        for running in leaving:
            self.add(running)

    def add(self, running: Running) -> None:
        """Count one more."""
        self.gangs.append(running)
        footprint = self._trial.footprint(running)
        for at, need, _, _, count in footprint.takes:
            here = self._nodes.setdefault(at, {})
            for dimension, amount in need:
                if dimension != NONE_SUCH:
                    here[dimension] = here.get(dimension, 0) - amount * count
            self._needs[at] = tuple(here.items())
        if not self._trial.quotas.unlimited(running.gang.queue):
            self._charges.append((running.gang, footprint.total))

    def lift(self) -> None:
        """Take them off their nodes and quotas; for a look, soon to be rolled back."""
        for at, need in self._needs.items():
            self._trial.take(at, need, -1)
        self._lift_charges()

    def lift_for(self, shape: Shape) -> None:
        """The same as far as such a gang could use it: where all that leaves is kept for others, nothing is."""
        if shape.choices:
            self.lift()
            return
        wanted = [[dimension for dimension, _ in role.need if dimension not in (0, 1)] for role in shape.roles]
        free = self._trial.free
        for at, here in self._nodes.items():
            now = free[at]
            for dimensions in wanted:
                for dimension in dimensions:
                    if dimension == NONE_SUCH or now[dimension] + here.get(dimension, 0) <= 0:
                        break
                else:
                    self._trial.take(at, self._needs[at], -1)
                    break
        self._lift_charges()

    def _lift_charges(self) -> None:
        for gang, total in self._charges:
            self._trial.charge(gang, total, -1)

    def room(self, dimensions: Sequence[int]) -> int:
        """Return how much of these comes free, beside what is free now: on each node less what is kept there already."""
        found = 0
        for at, here in self._nodes.items():
            free = self._trial.free[at]
            for dimension in dimensions:
                more = here.get(dimension)
                if more:
                    now = free[dimension]
                    found += max(0, now + more) - max(0, now)
        return found
