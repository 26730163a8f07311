"""octopus-hub: distributed research jobs from notebooks. The public names, and nothing else.

Names are loaded when they are used: ``import octopus_hub`` inside a task costs next to nothing.
See docs/concepts.md for what each package may do.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from octopus_hub._version import __version__

if TYPE_CHECKING:
    from octopus_hub.client.failures import TaskSetFailed, WaitTimeout
    from octopus_hub.client.job import Job, run, submit
    from octopus_hub.client.sync import Client
    from octopus_hub.client.tasklog import checkpoint, log
    from octopus_hub.model.errors import OctopusError
    from octopus_hub.model.placing import GangPlacement, PlacementPreferences, SkuChoice, SpreadOver, Topology
    from octopus_hub.model.taskset import (
        After,
        Completion,
        ElasticReplicas,
        Gang,
        Idle,
        Input,
        Lifetime,
        Port,
        PreemptionSpec,
        Resources,
        Restart,
        Role,
        RoleEvent,
        RunSpec,
        TaskSet,
        Volume,
    )

__all__ = [
    "After",
    "Client",
    "Completion",
    "ElasticReplicas",
    "Gang",
    "GangPlacement",
    "Idle",
    "Input",
    "Job",
    "Lifetime",
    "OctopusError",
    "PlacementPreferences",
    "Port",
    "PreemptionSpec",
    "Resources",
    "Restart",
    "Role",
    "RoleEvent",
    "RunSpec",
    "SkuChoice",
    "SpreadOver",
    "TaskSet",
    "TaskSetFailed",
    "Topology",
    "Volume",
    "WaitTimeout",
    "__version__",
    "checkpoint",
    "log",
    "run",
    "submit",
]

_PLACING = "octopus_hub.model.placing"
_HOMES = {
    "Client": "octopus_hub.client.sync",
    "Job": "octopus_hub.client.job",
    "OctopusError": "octopus_hub.model.errors",
    "TaskSetFailed": "octopus_hub.client.failures",
    "WaitTimeout": "octopus_hub.client.failures",
    "checkpoint": "octopus_hub.client.tasklog",
    "log": "octopus_hub.client.tasklog",
    **dict.fromkeys(("GangPlacement", "PlacementPreferences", "SkuChoice", "SpreadOver", "Topology"), _PLACING),
    "run": "octopus_hub.client.job",
    "submit": "octopus_hub.client.job",
}
_MODEL = "octopus_hub.model.taskset"  # home of everything else: what a TaskSet is written with


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES.get(name, _MODEL)), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
