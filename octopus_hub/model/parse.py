"""From a user's document to a TaskSet, or every problem of it at once. Pure; called by ``TaskSet.parse``.

What only the service sets (``status``, ``resolved``, ``queuePlace`` and in the metadata ``namespace``, ``uid``, ``owner``,
``version`` and times) is dropped, so that what ``octopus get -o yaml`` printed can be submitted again. A null stands for
nothing only where a field is optional without a default; elsewhere it is an error, since it is mostly a value forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.jsontext import decode
from octopus_hub.model.problems import Problems, kind_of, short, shown
from octopus_hub.model.rules import TASKSET
from octopus_hub.model.taskset import API_VERSION, TaskSet

SEED_GROUP = "octopus.openi.pcl.cn/"


def parse_taskset(document: Mapping[str, Any] | bytes | str) -> TaskSet:
    """Return the TaskSet that a document describes; raises InvalidSpec with every problem found.

    Parameters
    ----------
    document : mapping, or JSON as text or bytes
        The wire form (camelCase). YAML is read by ``client.documents``.

    Raises
    ------
    InvalidSpec
        ``problems`` has every error, each ``path: what``.
    """
    data = decode(document) if isinstance(document, str | bytes) else document
    if not isinstance(data, Mapping):
        raise InvalidSpec(
            f"a TaskSet is a mapping, not {kind_of(data)}", [f"a TaskSet is a mapping, not {kind_of(data)}"]
        )
    _check_kind(data)
    problems = Problems()
    fields = TASKSET.read(data, "", problems)
    if problems:
        raise _invalid(data, problems.told())
    return msgspec.convert(_canonical(fields), TaskSet)


def _check_kind(data: Mapping[str, Any]) -> None:
    """A document of another kind has one problem only, whatever its fields."""
    version, kind = data.get("apiVersion", API_VERSION), data.get("kind", "TaskSet")
    if isinstance(version, str) and version.startswith(SEED_GROUP):
        what = f"apiVersion: {short(version)} is OpenI-Octopus's; convert the document first: octopus import FILE"
    elif version != API_VERSION:
        what = f"apiVersion: needs {API_VERSION}, not {_shown(version)}"
    elif kind != "TaskSet":
        what = f"kind: needs TaskSet, not {_shown(kind)}"
    elif "metadata" not in data and isinstance(data.get("items"), list | tuple):
        what = "items: this is a list of TaskSets; give one of them (octopus get NAME -o yaml)"
    else:
        return
    raise InvalidSpec(what, [what])


def _canonical(fields: dict[str, Any]) -> dict[str, Any]:
    """Take out what says nothing: devices asked for zero times."""
    for role in fields.get("spec", {}).get("roles", ()):
        resources = role.get("resources", {})
        if "devices" in resources:
            resources["devices"] = {name: count for name, count in resources["devices"].items() if count}
    return fields


def _invalid(data: Mapping[str, Any], problems: list[str]) -> InvalidSpec:
    if len(problems) == 1:
        return InvalidSpec(problems[0], problems)
    meta = data.get("metadata")
    name = meta.get("name") if isinstance(meta, Mapping) else None
    what = short(name) if isinstance(name, str) and name.isprintable() and name else "the TaskSet"
    return InvalidSpec(f"{what} can't be accepted; {len(problems)} things are wrong", problems)


def _shown(value: Any) -> str:
    return shown(value) if isinstance(value, str) else kind_of(value)
