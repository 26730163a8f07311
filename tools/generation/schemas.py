"""JSON Schemas of the kinds that users write or keep, and the index of the reference folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

from octopus_hub.model.schema import KINDS, json_schema

_KEPT = ("TaskSet", "Task", "Node", "Queue", "Cohort", "PriorityClass", "Reservation", "Record", "Frame")


def schema(kind: str) -> str:
    """Return one kind's schema as text."""
    return json.dumps(json_schema(kind), indent=2, ensure_ascii=False) + "\n"


def index_page() -> str:
    """Return the index of the reference folder."""
    lines = [
        "# Reference",
        "",
        "Everything here is generated from the sources by `make generate`; `make verify` fails when it differs.",
        "",
        "| page | what it lists |",
        "|---|---|",
        "| [taskset.md](taskset.md) | every field of a TaskSet: type, default, meaning |",
        "| [phases-and-reasons.md](phases-and-reasons.md) | phases, reasons to wait, ends of tasks, errors |",
        "| [cli.md](cli.md) | the `octopus` command |",
        "| [rest.md](rest.md), [openapi.json](openapi.json) | the service's API |",
        "| [configuration.md](configuration.md) | `octopus.yaml`, `octopus up`, the spawner |",
        "| [frameworks.md](frameworks.md) | frameworks, devices, storage kinds; what a task finds in its environment |",
        "",
        "JSON Schemas: " + ", ".join(f"[{kind}]({name})" for kind, name in zip(_KEPT, FILES, strict=True)) + ".",
    ]
    return "\n".join(lines) + "\n"


FILES: dict[str, Callable[[], str]] = {f"{kind.lower()}.schema.json": partial(schema, kind) for kind in _KEPT}
assert set(_KEPT) <= set(KINDS)
