"""Loads descriptors (frameworks, devices, storage kinds, hooks), checks them, and resolves those a TaskSet uses.

Packaged files come first; files of extra folders (``plugins/`` of the state folder) with the same name replace them.
Reads files only; starts nothing. Used by the service at submission, by the engine for devices, by ``octopus plan``.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import msgspec
import yaml

from octopus_hub.model.base import ApiStruct
from octopus_hub.model.descriptor import (
    Descriptors,
    DeviceDescriptor,
    DeviceParts,
    FrameworkDescriptor,
    HookDescriptor,
    RoleWiring,
    StorageDescriptor,
)
from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.parts import part_type, split
from octopus_hub.model.taskset import API_VERSION, TaskSet
from octopus_hub.plugins import checks

MAX_FILE_BYTES = 256 << 10
Descriptor = FrameworkDescriptor | DeviceDescriptor | StorageDescriptor | HookDescriptor


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of descriptor: where its files lie, what they hold, what else must be true of them."""

    folder: str
    struct: type[ApiStruct]
    check: Callable[[Any], Iterator[str]]
    parts: tuple[type[ApiStruct], ...] = ()  # structs inside it, for near matches of field names

    @property
    def fields(self) -> list[str]:
        """Every field name on the wire."""
        return [name for struct in (self.struct, *self.parts) for name in struct.__struct_encode_fields__]


@dataclass(frozen=True, slots=True)
class Registry:
    """Every descriptor known here, by name."""

    frameworks: Mapping[str, FrameworkDescriptor] = field(default_factory=dict)
    devices: Mapping[str, DeviceDescriptor] = field(default_factory=dict)
    storage: Mapping[str, StorageDescriptor] = field(default_factory=dict)
    hooks: Mapping[str, HookDescriptor] = field(default_factory=dict)

    @classmethod
    def load(cls, extra: Sequence[Path] = (), roots: Mapping[str, str] | None = None) -> Registry:
        """Read the packaged descriptors, then those of ``extra`` folders; raises InvalidSpec with every problem.

        ``roots`` gives storage kinds their allowed root (``storage.folder.root`` in octopus.yaml).
        """
        found: dict[str, dict[str, Any]] = {kind.folder: {} for kind in KINDS}
        problems: list[str] = []
        for place in (resources.files("octopus_hub.plugins"), *extra):
            for kind in KINDS:
                for file in _files(place / kind.folder):
                    descriptor = _read(file, kind, problems)
                    if descriptor is not None:
                        found[kind.folder][descriptor.name] = descriptor
        for name, root in (roots or {}).items():
            if name not in found["storage"]:
                problems.append(f"storage.{name}: unknown storage kind{_hint(name, found['storage'])}")
            elif not root.startswith("/"):
                problems.append(f"storage.{name}.root: {root!r} is not an absolute path")
            else:
                found["storage"][name] = msgspec.structs.replace(found["storage"][name], root=root)
        if problems:
            raise InvalidSpec("a plug-in can't be used", problems)
        return cls(**found)

    def resolve(self, taskset: TaskSet) -> Descriptors:
        """Return the content and digest of every descriptor the TaskSet uses; raises InvalidSpec with every problem."""
        problems = self.problems(taskset)
        if problems:
            raise InvalidSpec(problems[0], problems)
        asked = {
            split(kind)[0] for role in taskset.spec.roles for kind, count in role.resources.devices.items() if count
        }
        devices = {name: each for name, each in sorted(self.devices.items()) if name in asked or each.hide}
        kinds = sorted({volume.kind for role in taskset.spec.roles for volume in role.volumes})
        storage = {name: self.storage[name] for name in kinds}
        framework = self.frameworks[taskset.spec.framework]
        digests = {f"framework/{framework.name}": digest(framework)}
        digests |= {f"device/{name}": digest(each) for name, each in devices.items()}
        digests |= {f"storage/{name}": digest(each) for name, each in storage.items()}
        return Descriptors(framework=framework, devices=devices, storage=storage, digests=digests)

    def problems(self, taskset: TaskSet) -> list[str]:
        """Return what the TaskSet names and nobody here knows, each as ``path: what``."""
        spec = taskset.spec
        found: list[str] = []
        framework = self.frameworks.get(spec.framework)
        if framework is None:
            found.append(_unknown("spec.framework", "framework", spec.framework, self.frameworks))
        for position, role in enumerate(spec.roles):
            path = f"spec.roles[{position}]"
            if framework and framework.allowed_roles and role.name not in framework.allowed_roles:
                found.append(_unknown(f"{path}.name", f"role of {framework.name}", role.name, framework.allowed_roles))
            for kind in role.resources.devices:
                found.extend(self._not_to_be_had(kind, f"{path}.resources.devices"))
            for number, volume in enumerate(role.volumes):
                where = f"{path}.volumes[{number}]"
                storage = self.storage.get(volume.kind)
                if storage is None:
                    found.append(_unknown(f"{where}.kind", "storage kind", volume.kind, self.storage))
                else:
                    found.extend(checks.volume(volume, storage, where))
        return found

    def _not_to_be_had(self, kind: str, path: str) -> Iterator[str]:
        """Yield why devices of a type, or parts of that size, can't exist here."""
        whole, parts = split(kind)
        descriptor = self.devices.get(whole)
        if descriptor is None:
            yield _unknown(path, "device type", whole, self.devices)
        elif parts > 1 and descriptor.parts is None:
            yield f"{path}.{kind}: devices of type {whole} can't be divided; ask for whole ones ({whole}: 1)"
        elif descriptor.parts is not None and parts > descriptor.parts.max:
            most = descriptor.parts.max
            yield f"{path}.{kind}: a {whole} can be divided into at most {most} parts ({part_type(whole, most)})"


def digest(descriptor: ApiStruct) -> str:
    """Return ``sha256:<hex>`` of the descriptor's canonical wire form."""
    return "sha256:" + hashlib.sha256(msgspec.json.encode(descriptor, order="sorted")).hexdigest()


def _files(folder: Traversable | Path) -> list[Traversable | Path]:
    if not folder.is_dir():
        return []
    return sorted((file for file in folder.iterdir() if file.name.endswith((".yaml", ".yml"))), key=lambda f: f.name)


def _read(file: Traversable | Path, kind: Kind, problems: list[str]) -> Any:
    """Return the descriptor in a file, or None after telling what is wrong with it."""
    try:
        document = _document(file)
        document = {key: value for key, value in document.items() if key not in ("apiVersion", "kind")} | _header(
            document, kind
        )
        descriptor = msgspec.convert(document, kind.struct)
    except (ValueError, OSError, yaml.YAMLError) as error:
        problems.append(f"{file}: {_explain(str(error), kind)}")
        return None
    told = [f"{file}: {problem}" for problem in kind.check(descriptor)]
    problems.extend(told)
    return None if told else _with_own_programs(descriptor, file)


def _document(file: Traversable | Path) -> dict[str, Any]:
    with file.open("rb") as stream:
        content = stream.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise ValueError(f"it is larger than {MAX_FILE_BYTES >> 10} KiB")
    document = yaml.safe_load(content)
    if not isinstance(document, dict):
        raise ValueError("it holds no mapping of fields")
    return document


def _header(document: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
    """Check apiVersion and kind, which may be left out."""
    wanted = {"apiVersion": API_VERSION, "kind": kind.struct.__name__.removesuffix("Descriptor")}
    for key, value in wanted.items():
        if document.get(key, value) != value:
            raise ValueError(f"{key}: {document[key]!r} is not {value}, which the folder {kind.folder} holds")
    return wanted


def _explain(message: str, kind: Kind) -> str:
    """Return the reader's words in ours: path first, and a near match for an unknown field."""
    what, _, place = message.partition(" - at `$.")
    path = f"{place.rstrip('`')}: " if place else ""
    if "unknown field `" in what:
        name = what.split("`")[1]
        return f"{path}{name}: unknown field{_hint(name, kind.fields)}"
    return f"{path}{what}"


def _with_own_programs(descriptor: Any, file: Traversable | Path) -> Any:
    """A program named ``./x`` lies beside the file that names it."""
    command = getattr(descriptor, "command", [])
    if not command or not command[0].startswith("./") or not isinstance(file, Path):
        return descriptor
    program = str((file.parent / command[0]).absolute())
    return msgspec.structs.replace(descriptor, command=[program, *command[1:]])


def _unknown(path: str, what: str, name: str, known: Iterable[str]) -> str:
    return f"{path}: unknown {what} {name!r}{_hint(name, known)}"


def _hint(name: str, known: Iterable[str]) -> str:
    names = sorted(set(known))
    near = difflib.get_close_matches(name, names, n=1)
    listed = f"known are {', '.join(names)}" if names else "none is known here"
    return f"; did you mean {near[0]}? ({listed})" if near else f"; {listed}"


# Every kind of descriptor, in the order they are read.
KINDS: tuple[Kind, ...] = (
    Kind("frameworks", FrameworkDescriptor, checks.framework, (RoleWiring,)),
    Kind("devices", DeviceDescriptor, checks.device, (DeviceParts,)),
    Kind("storage", StorageDescriptor, checks.storage),
    Kind("hooks", HookDescriptor, checks.hook),
)
