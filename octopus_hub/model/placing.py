"""Where the tasks of a TaskSet may run: the part of its spec that only the scheduler reads. Pure data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from octopus_hub.model.base import ApiStruct


def tolerates(tolerated: Iterable[str], taints: Iterable[str]) -> bool:
    """Say whether every taint is tolerated: by its full text, by its key (what is before ``=``), or by ``*``."""
    known = frozenset(tolerated)
    return "*" in known or all(taint in known or taint.partition("=")[0] in known for taint in taints)


class Topology(ApiStruct, frozen=True, kw_only=True):
    """Packing by a node label level."""

    level: str | list[str]  # a node label: tasks go to nodes that share its value; of a list the first that can be kept
    mode: Literal["preferred", "required"] = "preferred"  # try, or wait until it can be so

    @property
    def levels(self) -> list[str]:
        """The levels in the order in which they are tried."""
        return [self.level] if isinstance(self.level, str) else self.level


class SkuChoice(ApiStruct, frozen=True, kw_only=True):
    """A device model, with how many devices of it a task takes."""

    sku: str  # device model, the node label octopus-hub.io/sku
    devices: int | None = None  # of each task in place of what resources.devices asks for


class SpreadOver(ApiStruct, frozen=True, kw_only=True):
    """Spreading over failure domains."""

    level: str  # a node label: nodes that share its value may fail together; node for single nodes
    max_per_domain: int | None = None  # tasks in one domain; without it as evenly as there is room


class PlacementPreferences(ApiStruct, frozen=True, kw_only=True):
    """Where a role's tasks may run."""

    node_selector: dict[str, str] = {}  # labels that a node must have
    topology: Topology | None = None  # keep the role's tasks close together
    sku: str | list[str | SkuChoice] | None = None  # device model, or several, the preferred ones first
    tolerations: list[str] = []  # taints of nodes that it bears: key, key=value, or * for all
    near: str | None = None  # a role: tasks go to its nodes where there is room
    spread: SpreadOver | None = None  # keep the role's tasks apart

    @property
    def skus(self) -> list[SkuChoice]:
        """The device models in the order in which they are tried."""
        given = self.sku if isinstance(self.sku, list) else [self.sku] if self.sku else []
        return [SkuChoice(sku=each) if isinstance(each, str) else each for each in given]


class GangPlacement(ApiStruct, frozen=True, kw_only=True):
    """Where the whole gang runs."""

    topology: Topology | None = None  # keep all roles close together that say nothing else for themselves
