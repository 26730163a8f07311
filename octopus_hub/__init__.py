"""octopus-hub: distributed research jobs from notebooks. The public names, and nothing else.

Names are loaded when they are used: ``import octopus_hub`` inside a task costs next to nothing.
See docs/concepts.md for what each package may do.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from octopus_hub._version import __version__

if TYPE_CHECKING:
    from octopus_hub.client.job import run, submit
    from octopus_hub.client.sync import Client
    from octopus_hub.client.tasklog import log
    from octopus_hub.model.errors import OctopusError
    from octopus_hub.model.taskset import Role, TaskSet

__all__ = ["Client", "OctopusError", "Role", "TaskSet", "__version__", "log", "run", "submit"]

_HOMES = {
    "Client": "octopus_hub.client.sync",
    "OctopusError": "octopus_hub.model.errors",
    "Role": "octopus_hub.model.taskset",
    "TaskSet": "octopus_hub.model.taskset",
    "log": "octopus_hub.client.tasklog",
    "run": "octopus_hub.client.job",
    "submit": "octopus_hub.client.job",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
