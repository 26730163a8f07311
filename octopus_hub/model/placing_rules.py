"""What must agree where a document says where its tasks run, and how rules look into what was read. Pure."""

from __future__ import annotations

from typing import Any

from octopus_hub.model.problems import Problems, short
from octopus_hub.model.shapes import BAD


def mapping(found: dict[str, Any], name: str) -> dict[str, Any]:
    value = found.get(name)
    return value if isinstance(value, dict) else {}


def entries(found: dict[str, Any], name: str) -> list[tuple[int, dict[str, Any]]]:
    """Return the readable entries of a list with their places."""
    value = found.get(name)
    entries = value if isinstance(value, list) else []
    return [(at, each) for at, each in enumerate(entries) if isinstance(each, dict)]


def near(roles: list[tuple[int, dict[str, Any]]], path: str, problems: Problems) -> None:
    """A role goes near one that is placed before it."""
    near = {role.get("name"): mapping(role, "placement").get("near") for _, role in roles}
    for at, role in roles:
        target = near[role.get("name")]
        if not isinstance(target, str):
            continue
        where = f"{path}[{at}].placement.near"
        if target == role.get("name"):
            problems.add(where, "is the role itself; name another, or keep its tasks together with placement.topology")
        elif target not in near:
            problems.add(where, f"there is no role {short(target)}")
        elif isinstance(near[target], str):
            problems.add(where, f"{target} goes near a role itself; name a role that does not")


def device_models(found: dict[str, Any], path: str, problems: Problems) -> None:
    """Numbers of devices of a model stand for the one type that the role asks for."""
    given = mapping(found, "placement").get("sku")
    models = given if isinstance(given, list) else []
    counted = [
        at for at, each in enumerate(models) if isinstance(each, dict) and each.get("devices") not in (None, BAD)
    ]
    types = [kind for kind, count in mapping(mapping(found, "resources"), "devices").items() if count]
    if len(types) == 1:
        return
    for at in counted:
        what = f"the role asks for {', '.join(types) or 'none'}"
        problems.add(f"{path}.placement.sku[{at}].devices", f"needs one device type in resources.devices; {what}")
