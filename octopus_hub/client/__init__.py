"""What every other process uses to talk to the service: the client, jobs, and the task's side of metrics.

Names are loaded when they are used, so that importing this package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from octopus_hub.client.aio import AsyncClient
    from octopus_hub.client.failures import TaskSetFailed, WaitTimeout
    from octopus_hub.client.job import Job, run, submit
    from octopus_hub.client.sync import Client
    from octopus_hub.client.tasklog import log

__all__ = ["AsyncClient", "Client", "Job", "TaskSetFailed", "WaitTimeout", "log", "run", "submit"]

_HOMES = {
    "AsyncClient": "aio",
    "Client": "sync",
    "Job": "job",
    "TaskSetFailed": "failures",
    "WaitTimeout": "failures",
    "log": "tasklog",
    "run": "job",
    "submit": "job",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
