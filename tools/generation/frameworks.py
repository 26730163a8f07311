"""The page of frameworks, devices and storage kinds: the packaged descriptors, and the variables every task gets."""

from __future__ import annotations

from octopus_hub.model.descriptor import DeviceDescriptor, FrameworkDescriptor, StorageDescriptor
from octopus_hub.plugins.registry import Registry
from tools.generation.phases import table

HEADER = """# Frameworks, devices, storage kinds

Generated from the packaged descriptors by `make generate`; do not edit. More are files, not code: [add a
framework](../how-to/add-a-framework.md), [a device type](../how-to/add-a-device.md), [a storage
kind](../how-to/add-a-storage-kind.md).

## What every task finds

"""

# Set by core.expand and the backend; a test compares the names with a task that ran.
VARIABLES: dict[str, str] = {
    "OCTOPUS_TASKSET": "name of the TaskSet",
    "OCTOPUS_NAMESPACE": "its owner's namespace",
    "OCTOPUS_ROLE": "role of the task",
    "OCTOPUS_INDEX": "index within the role, from 0",
    "OCTOPUS_REPLICAS": "number of tasks of the role in this attempt",
    "OCTOPUS_MIN_REPLICAS": "of an elastic role: the fewest it runs with",
    "OCTOPUS_MAX_REPLICAS": "of an elastic role: the most it runs with",
    "OCTOPUS_RANK": "rank within the gang, from 0; stable over restarts",
    "OCTOPUS_WORLD_SIZE": "number of tasks of the gang",
    "OCTOPUS_ATTEMPT": "attempt of the task, from 1",
    "OCTOPUS_HOST": "address at which peers reach the task",
    "OCTOPUS_PORT": "its own port `main`, reserved for it",
    "OCTOPUS_PEERS": "JSON file: role -> list of `{host, ports: {name: port}}`",
    "OCTOPUS_SEED": "the TaskSet's seed, drawn at submission where none is given",
    "OCTOPUS_OUTPUTS": "a folder whose files are collected; `spec.outputs` collects others",
    "OCTOPUS_METRICS": "file of JSON lines that `octopus_hub.log(step=, name=value)` appends to",
    "OCTOPUS_CHECKPOINTS": "folder that all tasks of the TaskSet share and that outlives its attempts: checkpoints go there",
    "OCTOPUS_CHECKPOINT_REPORT": "file whose time says when the task last saved its work: `octopus_hub.checkpoint()`, or `touch`",
    "OCTOPUS_TASK_MARKER": "marks the processes of the task, so that strays are found; leave it as it is",
    "OCTOPUS_DEVICES": "ids of the assigned devices, with commas",
}

_TEXT_AFTER = """
A volume adds `OCTOPUS_VOLUME_{NAME}`, the real path behind its mount path; a [part of a
device](../how-to/divide-devices.md) adds `OCTOPUS_DEVICE_PART`, such as `1/4`. The working directory is the unpacked
workspace. Nothing else of the machine's environment reaches a task, apart from `PATH`, `HOME`, `USER`, `LANG` and
`TMPDIR`; `OMP_NUM_THREADS` follows the CPU request unless the role sets it.
"""


def page() -> str:
    """Return the page."""
    registry = Registry.load()
    parts = [HEADER + table(("variable", ""), [(f"`{name}`", text) for name, text in VARIABLES.items()]), _TEXT_AFTER]
    parts.append("## Frameworks\n")
    parts += [_framework(each) for _, each in sorted(registry.frameworks.items())]
    parts.append(_devices([each for _, each in sorted(registry.devices.items())]))
    parts.append(_storage([each for _, each in sorted(registry.storage.items())]))
    return "\n".join(parts)


def _framework(each: FrameworkDescriptor) -> str:
    lines = [f"### {each.name}\n", f"{each.description}\n"]
    facts = {
        "Roles": ", ".join(f"`{name}`" for name in each.allowed_roles) or "any",
        "order of ranks": ", ".join(f"`{name}`" for name in each.rank_order) or "that of the spec",
        "serve the others and need not end": ", ".join(f"`{name}`" for name in each.service_roles) or "none",
    }
    lines.append("; ".join(f"{what}: {names}" for what, names in facts.items()) + ".\n")
    rows = [
        ("every role" if role == "*" else f"`{role}`", f"`{name}`", f"`{' '.join(value.split())}`")
        for role, wiring in each.roles.items()
        for name, value in wiring.env.items()
    ]
    if rows:
        lines.append(table(("role", "variable", "value"), rows) + "\n")
    if each.source:
        lines.append(f"After <{each.source}>.\n")
    return "\n".join(lines)


def _devices(found: list[DeviceDescriptor]) -> str:
    rows = [
        (
            f"`{each.name}`",
            each.description,
            each.discovery,
            ", ".join(f"`{name}`" for name in each.env),
            *(
                (f"at most {each.parts.max}", ", ".join(f"`{name}`" for name in each.parts.env))
                if each.parts is not None
                else ("none", "")
            ),
        )
        for each in found
    ]
    head = ("type", "", "found by", "variables", "parts", "variables of parts")
    return "## Devices\n\n" + table(head, rows) + "\n"


def _storage(found: list[StorageDescriptor]) -> str:
    rows = [(f"`{each.name}`", each.provider, each.description) for each in found]
    return "## Storage kinds\n\n" + table(("kind", "provider", ""), rows) + "\n"
