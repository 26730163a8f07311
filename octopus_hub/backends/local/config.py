"""``octopus.yaml`` of the one-machine product as frozen values: nodes, queues, cohorts, images, storage and the like.

Reads and checks; every problem of the file is told at once, each with its path. Looks at no machine: nodes and images
are resolved later. Called by ``octopus up`` before the backend opens.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from octopus_hub.core.policies import POLICIES
from octopus_hub.model.errors import InvalidSpec, OctopusError
from octopus_hub.model.problems import Problems
from octopus_hub.model.quantity import parse_memory
from octopus_hub.model.queue import DEFAULT_PRIORITIES, Cohort, PriorityClass, Queue
from octopus_hub.model.queuerules import PRIORITY, read_cohort, read_queue, tree_problems

FILE = "octopus.yaml"
LIMIT_BYTES = 1 << 20
DEFAULT_QUEUE = "default"


class Limits(msgspec.Struct, frozen=True):
    """Bounds, in bytes."""

    log: int = 64 << 20  # kept of a task's log
    blob: int = 1 << 30  # one uploaded blob


class Config(msgspec.Struct, frozen=True):
    """What the file says, defaults filled in."""

    nodes: tuple[dict[str, Any], ...] = ()  # as declared; nodes.py reads them
    queues: tuple[Queue, ...] = (Queue(name=DEFAULT_QUEUE),)
    cohorts: tuple[Cohort, ...] = ()
    priorities: tuple[PriorityClass, ...] = DEFAULT_PRIORITIES
    images: dict[str, str] = {}  # name -> folder of a virtual environment, or its interpreter
    separate_accounts: bool = False  # run each task as the system account of its owner
    storage: dict[str, str] = {}  # kind -> root folder
    limits: Limits = Limits()


def load(path: Path | None) -> Config:
    """Return the configuration in a file; the defaults when there is none. Raises InvalidSpec."""
    if path is None or not path.exists():
        return Config()
    try:
        if path.stat().st_size > LIMIT_BYTES:
            raise InvalidSpec(f"{path} is larger than {LIMIT_BYTES} bytes")
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise InvalidSpec(f"{path} is not YAML{where}: {getattr(error, 'problem', None) or error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSpec(f"{path} can't be read: {error}") from None
    return parse(document, str(path))


def parse(document: Any, source: str = FILE) -> Config:
    """Return the configuration that a document describes."""
    if document is None:
        return Config()
    reader = _Reader()
    fields: dict[str, Any] = {}
    readers: dict[str, Callable[[Any], Any]] = {
        "nodes": reader.nodes,
        "queues": reader.queues,
        "cohorts": reader.cohorts,
        "priorities": reader.priorities,
        "images": reader.images,
        "accounts": reader.accounts,
        "storage": reader.storage,
        "limits": reader.limits,
    }
    for key, value in reader.mapping("", document, readers).items():
        if value is not None:
            fields["separate_accounts" if key == "accounts" else key] = readers[key](value)
    if not reader.problems:
        reader.tree(fields.get("queues", ()), fields.get("cohorts", ()))
    if reader.problems:
        raise InvalidSpec(f"{source} can't be used", reader.problems)
    return Config(**fields)


class _Reader:
    """Reads the parts of the file and collects what is wrong with them."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def nodes(self, value: Any) -> tuple[dict[str, Any], ...]:
        found = tuple(entry for _, entry in self._entries("nodes", value))
        return found

    def queues(self, value: Any) -> tuple[Queue, ...]:
        problems = Problems()
        entries = self._entries("queues", value)
        found = [read_queue(entry, where, POLICIES, problems) for where, entry in entries]
        self.problems += problems.told()
        return tuple(queue for queue in found if queue is not None)

    def cohorts(self, value: Any) -> tuple[Cohort, ...]:
        problems = Problems()
        found = [read_cohort(entry, where, problems) for where, entry in self._entries("cohorts", value)]
        self.problems += problems.told()
        return tuple(cohort for cohort in found if cohort is not None)

    def priorities(self, value: Any) -> tuple[PriorityClass, ...]:
        problems = Problems()
        read = [PRIORITY.read(entry, where, problems) for where, entry in self._entries("priorities", value)]
        self.problems += problems.told()
        found = [] if problems else [msgspec.convert(fields, PriorityClass) for fields in read]
        mine = {each.name for each in found}
        return (*(each for each in DEFAULT_PRIORITIES if each.name not in mine), *found)

    def tree(self, queues: tuple[Queue, ...], cohorts: tuple[Cohort, ...]) -> None:
        """Look at queues and cohorts together, once each of them could be read."""
        known = {cohort.name: cohort for cohort in cohorts}
        for name, what in tree_problems({queue.name: queue for queue in queues}, known):
            self.problems.append(f"{name}: {what}")

    def images(self, value: Any) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, entry in self.mapping("images", value).items():
            where = f"images.{name}"
            python = self.mapping(where, entry, ("python",)).get("python")
            if not isinstance(python, str) or not Path(python).expanduser().is_absolute():
                self.problems.append(f"{where}.python: the absolute path of a virtual environment or an interpreter")
                continue
            found[str(name)] = str(Path(python).expanduser())
        return found

    def accounts(self, value: Any) -> bool:
        separate = self.mapping("accounts", value, ("separate",)).get("separate", False)
        if not isinstance(separate, bool):
            self.problems.append("accounts.separate: true or false")
            return False
        return separate

    def storage(self, value: Any) -> dict[str, str]:
        found: dict[str, str] = {}
        for kind, entry in self.mapping("storage", value).items():
            where = f"storage.{kind}"
            root = self.mapping(where, entry, ("root",)).get("root")
            if not isinstance(root, str) or not Path(root).is_absolute():
                self.problems.append(f"{where}.root: the absolute path of a folder")
                continue
            found[str(kind)] = root
        return found

    def limits(self, value: Any) -> Limits:
        fields: dict[str, int] = {}
        for key, entry in self.mapping("limits", value, Limits.__struct_fields__).items():
            size = self._quantity(f"limits.{key}", entry, parse_memory)
            if size is not None and size < 1 << 20:
                self.problems.append(f"limits.{key}: at least 1Mi, not {entry}")
            elif size is not None:
                fields[key] = size
        return Limits(**fields)

    # --- pieces
    def mapping(self, where: str, value: Any, known: Collection[str] | None = None) -> Mapping[str, Any]:
        """Return a mapping's known entries; unknown ones are problems, with a near match."""
        if not isinstance(value, Mapping):
            self.problems.append(f"{where or 'the file'}: a mapping of names to values, not {_kind(value)}")
            return {}
        if known is None:
            return value
        for key in value:
            if key not in known:
                near = difflib.get_close_matches(str(key), list(known), 1)
                hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
                self.problems.append(f"{where + '.' if where else ''}{key}: unknown field; {hint}")
        return {key: entry for key, entry in value.items() if key in known}

    def _entries(self, where: str, value: Any) -> list[tuple[str, dict[str, Any]]]:
        """Return the entries of a list of mappings, refusing one name twice."""
        if not isinstance(value, list):
            self.problems.append(f"{where}: a list, not {_kind(value)}")
            return []
        found: list[tuple[str, dict[str, Any]]] = []
        names: set[Any] = set()
        for position, entry in enumerate(value):
            here = f"{where}[{position}]"
            if not isinstance(entry, Mapping):
                self.problems.append(f"{here}: a mapping with a name, not {_kind(entry)}")
                continue
            name = entry.get("name")
            if not isinstance(name, str) or not name:
                self.problems.append(f"{here}.name: a name is needed")
            elif name in names:
                self.problems.append(f"{here}.name: {name} is declared twice")
            else:
                names.add(name)
                found.append((here, dict(entry)))
        return found

    def _quantity(self, where: str, value: Any, parse_one: Callable[[str], int]) -> int | None:
        try:
            found = parse_one(str(value))
        except (ValueError, OverflowError, OctopusError) as error:
            self.problems.append(f"{where}: {error}")
            return None
        if found < 0:
            self.problems.append(f"{where}: {value} is negative")
            return None
        return found


def _kind(value: Any) -> str:
    return {str: "text", int: "a number", float: "a number", list: "a list", type(None): "nothing"}.get(
        type(value), type(value).__name__
    )
