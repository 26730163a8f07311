"""The page of every field of a TaskSet, in the order of the document."""

from __future__ import annotations

from typing import Any

from octopus_hub.model import amounts, descriptor, placing, status, taskset
from tools.generation.fields import documented, summary
from tools.generation.shapes import definitions, field_table

HEADER = """# Fields of a TaskSet

Generated from `octopus_hub/model` by `make generate`; do not edit. The [JSON Schema](taskset.schema.json) says the same
to programs. An unknown field is an error with its path and a near match. A field that has its default may be left out,
and is left out in what the service answers.

```yaml taskset
apiVersion: octopus-hub.io/v1alpha1
kind: TaskSet
metadata: {name: mnist}
spec:
  roles:
  - name: worker
    replicas: 2
    command: [python, train.py]
    resources: {cpu: "1", memory: 1Gi, devices: {virtual: 1}}
```

Quantities are Kubernetes' own: `500m` and `0.5` are half a CPU, `8Gi` is 8 x 2^30 bytes, `8G` is 8 x 10^9.

In Python the flat form moves fields to their place: `Role("worker", replicas=2, devices={"gpu": 1}, memory="8Gi")` is a
role with `resources`, `TaskSet("mnist", roles=[...], queue="research", labels={...})` a TaskSet with `metadata` and `spec`.
Python's names are those below in snake case: `maxRestarts` is `max_restarts`. What is nested is given as its class or as
a mapping with the names below:

```python
from octopus_hub import Lifetime, Restart, Role, TaskSet

worker = Role("worker", command=["python", "train.py"], restart=Restart(scope="gang", max_restarts=2))
TaskSet("mnist", roles=[worker], lifetime=Lifetime(mode="kernel"), after=[{"name": "prepare"}])
```
"""
_WRITTEN = ("TaskSet", "Metadata", "Spec", "Role")
_ADDED = "## What the service adds\n\n`resolved` and `status` are the service's; what a submitted document has there is left out.\n"
_ADDED_FROM = "Resolved"


def page() -> str:
    """Return the page."""
    found = definitions(taskset.TaskSet)
    parts = [HEADER, "## What you write\n"]
    for name, schema in found.items():
        if name == _ADDED_FROM:
            parts.append(_ADDED)
        parts.append(section(name, schema))
    return "\n".join(parts)


def section(name: str, schema: dict[str, Any]) -> str:
    """Return a struct's or an enumeration's section."""
    kind = _class(name)
    lines = [f"### {name}\n", f"{summary(kind)}\n"]
    if "properties" in schema:
        lines.append(field_table(kind, schema))
    else:
        lines.append(", ".join(f"`{value}`" for value in schema["enum"]))
    return "\n".join(lines) + "\n"


def undocumented() -> list[str]:
    """Return the fields that a user writes and the sources say nothing about."""
    missing: list[str] = []
    for name, schema in definitions(taskset.TaskSet).items():
        if name == _ADDED_FROM:
            break
        if "properties" in schema:
            missing += [f"{name}.{field}" for field, text in documented(_class(name)).items() if not text]
    return missing


def _class(name: str) -> Any:
    return next(
        getattr(module, name) for module in (taskset, placing, status, descriptor, amounts) if hasattr(module, name)
    )
