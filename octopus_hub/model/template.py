"""The value-template language of descriptors: its grammar and its names.

A template is text with placeholders: ``{rank}``, ``{port:main}``, ``{hosts:worker,chief:main}``. A brace that is not
followed by a letter is just a brace, so JSON can be written as it is. Checked by ``plugins.registry`` when a descriptor
is loaded, filled by ``core.template`` when tasks are rendered. Pure; knows nothing about tasks.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from functools import lru_cache

_PLACEHOLDER = re.compile(r"\{([A-Za-z_][\w.]*)((?::[^{}]*)?)\}")
_OPENING = re.compile(r"\{(?=[A-Za-z_])")

DISTRIBUTED, ELASTIC = "distributed", "elastic"
CONDITIONS = (DISTRIBUTED, ELASTIC)


@dataclass(frozen=True, slots=True)
class Name:
    """What a placeholder's name stands for, and the arguments it takes."""

    meaning: str
    least: int = 0
    most: int = 0
    port_at: int | None = None  # which argument names a port
    roles_at: int | None = None  # which argument names roles


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A parsed placeholder; ``json`` asks for the value as JSON instead of text."""

    name: str
    args: tuple[str, ...] = ()
    json: bool = False

    @property
    def ports(self) -> tuple[str, ...]:
        """Names of ports it needs."""
        at = NAMES[self.name].port_at
        return self.args[at : at + 1] if at is not None else ()

    @property
    def roles(self) -> tuple[str, ...]:
        """Names of roles it mentions (``*`` is all)."""
        at = NAMES[self.name].roles_at
        return tuple(self.args[at].split(",")) if at is not None else ()


class TemplateError(ValueError):
    """A template that can't be parsed; the message is one sentence without the place, which the caller knows."""


@lru_cache(maxsize=1024)
def parse(text: str) -> tuple[str | Placeholder, ...]:
    """Return literal texts and placeholders in order; raises TemplateError."""
    parts: list[str | Placeholder] = []
    done = 0
    for opening in _OPENING.finditer(text):
        if opening.start() < done:
            continue
        match = _PLACEHOLDER.match(text, opening.start())
        if match is None:
            raise TemplateError(f"{text[opening.start() :][:20]!r} is not closed; write {{open}} for a plain brace")
        parts.append(text[done : match.start()])
        parts.append(_placeholder(match[1], tuple(match[2].split(":")[1:])))
        done = match.end()
    parts.append(text[done:])
    return tuple(part for part in parts if part != "")


def _placeholder(name: str, args: tuple[str, ...]) -> Placeholder:
    if name == "json":
        if not args or args[0] in ("json", "when", "open"):
            raise TemplateError("{json:...} needs a placeholder, as in {json:hosts:worker:main}")
        inner = _placeholder(args[0], args[1:])
        return Placeholder(inner.name, inner.args, json=True)
    known = NAMES.get(name)
    if known is None:
        near = difflib.get_close_matches(name, [*NAMES, "json"], n=1)
        hint = f"did you mean {{{near[0]}}}?" if near else "known are " + ", ".join([*NAMES, "json"])
        raise TemplateError(f"unknown placeholder {{{name}}}; {hint}")
    if not known.least <= len(args) <= known.most or not all(args):
        wanted = str(known.least) if known.least == known.most else f"{known.least} to {known.most}"
        raise TemplateError(f"{{{':'.join((name, *args))}}} needs {wanted} arguments after the name, not {len(args)}")
    if name == "when" and args[0] not in CONDITIONS:
        raise TemplateError(f"unknown condition {args[0]!r}; known are {', '.join(CONDITIONS)}")
    return Placeholder(name, args)


# Every placeholder there is. A role list is names with commas, or * for every role, in rank order.
NAMES: dict[str, Name] = {
    "taskset": Name("name of the TaskSet"),
    "namespace": Name("namespace of its owner"),
    "role": Name("role of the task"),
    "index": Name("index of the task within its role, from 0"),
    "attempt": Name("attempt of the task, from 1"),
    "gang_attempt": Name("attempt of the whole gang, from 1"),
    "replicas": Name("number of tasks of the task's role"),
    "rank": Name("rank of the task within the gang, from 0"),
    "world_size": Name("number of tasks of the gang"),
    "sizes": Name("least and present number of tasks, 2:5; of a gang without elastic roles just 5"),
    "local_rank": Name("how many tasks of lower rank share the task's node"),
    "local_world_size": Name("number of tasks of the gang on the task's node"),
    "device_count": Name("devices of the task, of all types; at least 1, and 1 for parts of one"),
    "node": Name("name of the task's node"),
    "hostname": Name("host name of the task, the same over attempts"),
    "host": Name("address at which peers reach the task"),
    "port": Name("a port of the task; without a name: main", most=1, port_at=0),
    "seed": Name("the TaskSet's seed, empty if it has none"),
    "master.host": Name("address of rank 0"),
    "master.port": Name("a port of rank 0; without a name: main", most=1, port_at=0),
    "count": Name("number of tasks of these roles", least=1, most=1, roles_at=0),
    "processes": Name("one for each device of the tasks of these roles, at least one for each task", 1, 1, roles_at=0),
    "processes.least": Name("the same when elastic roles have their minimum", 1, 1, roles_at=0),
    "slots": Name("host:processes of each host of these roles, with commas", least=1, most=1, roles_at=0),
    "hosts": Name("host:port of each task of these roles, with commas", least=2, most=2, roles_at=0, port_at=1),
    "cluster": Name(
        "JSON object: role -> list of host:port, for those of these roles that exist",
        least=2,
        most=2,
        roles_at=0,
        port_at=1,
    ),
    "when": Name(
        "nothing; but the variable is set only if there is more than one task (distributed), or a role may have "
        "different numbers of tasks (elastic)",
        least=1,
        most=1,
    ),
    "open": Name("an opening brace"),
}
