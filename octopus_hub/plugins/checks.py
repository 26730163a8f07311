"""What must be true of a descriptor beyond its types: names, templates, references, programs.

Each check yields every problem as ``field: what``; the caller knows the file. Pure. Called by ``plugins.registry`` only.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

from octopus_hub.model.descriptor import (
    DeviceDescriptor,
    DeviceParts,
    FrameworkDescriptor,
    HookDescriptor,
    RoleWiring,
    StorageDescriptor,
)
from octopus_hub.model.parts import MOST_PARTS, part_type, split
from octopus_hub.model.taskset import Volume
from octopus_hub.model.template import Placeholder, TemplateError, parse

MAIN_PORT = "main"
DISCOVERIES = ("none", "nvml", "declared", "command")
PROVIDERS = ("scratch", "folder")
PART_FIELDS = ("{parts}", "{percent}")
STAGES = ("expand", "prepare", "finish")

_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_ROLE = re.compile(r"[a-z][a-z0-9]{0,14}")
_BRACES = re.compile(r"\{[^{}]*\}?|\}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def framework(descriptor: FrameworkDescriptor) -> Iterator[str]:
    """Yield what is wrong with a framework."""
    yield from _name(descriptor.name)
    allowed = descriptor.allowed_roles
    for field, names in (("rankOrder", descriptor.rank_order), ("serviceRoles", descriptor.service_roles)):
        yield from (_unknown(field, "role", name, allowed) for name in names if allowed and name not in allowed)
    for role in (*allowed, *(name for name in descriptor.roles if name != "*")):
        if not _ROLE.fullmatch(role):
            yield f"roles: {role!r} is not a role name ([a-z][a-z0-9]{{0,14}})"
    for role, wiring in descriptor.roles.items():
        if role != "*" and allowed and role not in allowed:
            yield _unknown("roles", "role", role, allowed)
        yield from _wiring(f"roles.{role}", wiring, descriptor)


def _wiring(path: str, wiring: RoleWiring, descriptor: FrameworkDescriptor) -> Iterator[str]:
    ports = {MAIN_PORT, *(port for each in descriptor.roles.values() for port in each.ports)}
    for name, text in wiring.env.items():
        where = f"{path}.env.{name}"
        if not _VARIABLE.fullmatch(name):
            yield f"{where}: not a name of a variable"
        if name.startswith("OCTOPUS_"):
            yield f"{where}: variables named OCTOPUS_* are set by octopus-hub"
        yield from _template(where, text, ports, descriptor.allowed_roles)
    for file, text in wiring.files.items():
        where = f"{path}.files.{file}"
        if file.startswith("/") or ".." in file.split("/") or not file:
            yield f"{where}: a file is named relative to the task's folder, without .."
        yield from _template(where, text, ports, descriptor.allowed_roles)


def _template(where: str, text: str, ports: set[str], roles: list[str]) -> Iterator[str]:
    try:
        parts = parse(text)
    except TemplateError as error:
        yield f"{where}: {error}"
        return
    for part in parts:
        if not isinstance(part, Placeholder):
            continue
        for port in part.ports:
            if port not in ports:
                yield _unknown(where, "port", port, sorted(ports))
        for role in part.roles:
            if role != "*" and roles and role not in roles:
                yield _unknown(where, "role", role, roles)


def device(descriptor: DeviceDescriptor) -> Iterator[str]:
    """Yield what is wrong with a device type."""
    yield from _name(descriptor.name)
    if descriptor.discovery not in DISCOVERIES:
        yield _unknown("discovery", "way", descriptor.discovery, DISCOVERIES)
    if (descriptor.discovery == "command") != bool(descriptor.command):
        yield "command: a program that lists the devices is needed with discovery: command, and only there"
    for name, text in descriptor.env.items():
        if not _VARIABLE.fullmatch(name):
            yield f"env.{name}: not a name of a variable"
        if text != "{ids}":
            yield f"env.{name}: the value is {{ids}} (the assigned ids with commas), not {text!r}"
    if split(descriptor.name)[1] > 1:
        yield f"name: {descriptor.name!r} is the name of a part of {split(descriptor.name)[0]}; take another"
    if descriptor.parts is not None:
        yield from _parts(descriptor, descriptor.parts)


def _parts(descriptor: DeviceDescriptor, parts: DeviceParts) -> Iterator[str]:
    if not 2 <= parts.max < MOST_PARTS:
        yield f"parts.max: {parts.max} is not between 2 and {MOST_PARTS - 1}"
    elif not _NAME.fullmatch(part_type(descriptor.name, parts.max)):
        yield f"name: {descriptor.name!r} is too long for parts, whose type is {part_type('NAME', parts.max)}"
    for name, text in parts.env.items():
        where = f"parts.env.{name}"
        if not _VARIABLE.fullmatch(name):
            yield f"{where}: not a name of a variable"
        elif name.startswith("OCTOPUS_") or name in descriptor.env:
            yield f"{where}: is set already; take it out"
        if unknown := [each for each in _BRACES.findall(text) if each not in PART_FIELDS]:
            yield _unknown(where, "placeholder", unknown[0], PART_FIELDS)


def storage(descriptor: StorageDescriptor) -> Iterator[str]:
    """Yield what is wrong with a storage kind."""
    yield from _name(descriptor.name)
    if descriptor.provider not in PROVIDERS:
        yield _unknown("provider", "provider", descriptor.provider, PROVIDERS)
    if descriptor.root and (not descriptor.root.startswith("/") or ".." in descriptor.root.split("/")):
        yield f"root: {descriptor.root!r} is not an absolute path without .."


def hook(descriptor: HookDescriptor) -> Iterator[str]:
    """Yield what is wrong with a hook."""
    yield from _name(descriptor.name)
    if bool(descriptor.http) == bool(descriptor.command):
        yield "http, command: exactly one of the two is needed"
    if descriptor.http and not descriptor.http.startswith(("http://", "https://")):
        yield f"http: {descriptor.http!r} is not an http:// or https:// address"
    if not descriptor.stages:
        yield f"stages: at least one stage is needed ({', '.join(STAGES)})"
    yield from (_unknown("stages", "stage", stage, STAGES) for stage in descriptor.stages if stage not in STAGES)
    for field, value, least, most in (
        ("timeoutSeconds", descriptor.timeout_seconds, 0.1, 600.0),
        ("retries", descriptor.retries, 0, 10),
        ("parallel", descriptor.parallel, 1, 64),
    ):
        if not least <= value <= most:
            yield f"{field}: {value:g} is not between {least:g} and {most:g}"


def volume(asked: Volume, descriptor: StorageDescriptor, where: str) -> Iterator[str]:
    """Yield why a volume of this kind can't be had: no root here, or a path that leaves it."""
    if descriptor.provider != "folder":
        return
    if not descriptor.root:
        yield (
            f"{where}.kind: {descriptor.name} has no allowed root on this machine; its administrator names one "
            f"in octopus.yaml (storage.{descriptor.name}.root)"
        )
    path = asked.parameters.get("path", "")
    if path.startswith("/") or ".." in path.split("/") or "\0" in path:
        yield f"{where}.parameters.path: {path!r} leaves the allowed root; name a folder below it"


def _name(name: str) -> Iterator[str]:
    if not _NAME.fullmatch(name):
        yield f"name: {name!r} is not a name ([a-z][a-z0-9-]{{0,30}})"


def _unknown(where: str, what: str, name: str, known: list[str] | tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"{where}: unknown {what} {name!r}; {hint}known are {', '.join(known)}"
