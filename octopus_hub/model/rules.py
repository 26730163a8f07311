"""What a TaskSet may say beyond the types of its fields: names, bounds, and what must agree with what. Pure.

:data:`TASKSET` is the shape of a user's document; ``model.parse`` reads with it and ``model.schema`` describes it. To add
a field: add it to its struct; where its type does not say enough, add its shape to :data:`MORE`; where it must agree
with other fields, extend a rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, get_args

from octopus_hub.model import placing
from octopus_hub.model import taskset as model
from octopus_hub.model.device_rules import Asked
from octopus_hub.model.fields import Dropped, Either, Fields, Items, More, OrList, OrNull, Shapes, Table
from octopus_hub.model.names import MOST_TASKSET_NAME, REPLAY_OF, RESERVED_PREFIX
from octopus_hub.model.placing_rules import device_models, entries, mapping, near
from octopus_hub.model.problems import Problems
from octopus_hub.model.quantity import cpu_text, memory_text, parse_cpu, parse_memory
from octopus_hub.model.shapes import BAD, Amount, Choice, Free, Number, Text, Whole

MOST_TASKS = 10_000  # of one TaskSet
MOST_ROLES = 50
MOST_DEVICES = 1_000  # of one type, of one task
MOST_ENVIRONMENT = 1 << 20  # bytes of a role's command and variables; Linux refuses more than 2 MiB for both
MOST_PARAMETERS = 100_000  # characters; they are one argument of papermill's
MOST_SECONDS = 10 * 366 * 86_400.0
ALL = "all"

_LABEL_PART = "[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_DOMAIN = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*"
_INSIDE = r"(?!/)(?!(?:.*/)?\.\.(?:/|$)).+"  # a relative path that stays inside

SET_FOR_TASKS = frozenset(
    f"OCTOPUS_{name}"
    for name in [
        "TASKSET",
        "NAMESPACE",
        "ROLE",
        "INDEX",
        "ATTEMPT",
        "RANK",
        "WORLD_SIZE",
        "REPLICAS",
        "MIN_REPLICAS",
        "MAX_REPLICAS",
        "HOST",
        "PORT",
        "PEERS",
        "SEED",
        "OUTPUTS",
        "METRICS",
        "DEVICES",
        "DEVICE_PART",
    ]
)


def _suggested(text: str) -> str:
    """Return a name like the text that may be used, as a hint."""
    name = re.sub("[^a-z0-9]+", "-", text.lower()).strip("-")[:MOST_TASKSET_NAME].rstrip("-")
    return f"; {name} would be one" if name else ""


def _as_list(value: Any) -> str:
    """Return how a command given as one text is written as a list."""
    if not isinstance(value, str) or not value.strip():
        return ""
    plain = re.fullmatch(r"[\w./=@ -]{1,80}", value)
    return f"; write [{', '.join(value.split())}]" if plain else '; write ["sh", "-c", "..."] for a shell command'


def _role_hint(text: str) -> str:
    name = re.sub("[^a-z0-9]+", "", text.lower()).lstrip("0123456789")[:15]
    return f"; {name} would be one" if name else ""


_NAME = Text(
    f"[a-z0-9](?:[a-z0-9-]{{0,{MOST_TASKSET_NAME - 2}}}[a-z0-9])?",
    f"a name of lower-case letters, digits and -, at most {MOST_TASKSET_NAME}, with no - at its ends",
    hint=_suggested,
)
_ROLE_NAME = Text(
    "[a-z][a-z0-9]{0,14}",
    "a role's name: lower-case letters and digits, at most 15, a letter first, no hyphen",
    hint=_role_hint,
)
_DNS_LABEL = Text("[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", "a name of lower-case letters, digits and -, at most 63")
_KIND = Text("[a-z][a-z0-9-]{0,30}", "a name of lower-case letters, digits and -, at most 31, a letter first")
_PORT_NAME = Text(
    "[a-z](?:[a-z0-9-]{0,13}[a-z0-9])?", "a port's name: lower-case letters, digits and -, at most 15, a letter first"
)
_WORD = Text(r"[^\s\x00-\x1f\x7f]{1,253}", "a name without spaces, at most 253 characters")
_WORD_OR_NONE = Text(r"[^\s\x00-\x1f\x7f]{0,253}", "a name without spaces, at most 253 characters")
_VARIABLE = Text("[A-Za-z_][A-Za-z0-9_]{0,254}", "a variable's name: letters, digits and _, no digit first")
_PARAMETER = Text("[A-Za-z_][A-Za-z0-9_]{0,254}", "a parameter's name: letters, digits and _, no digit first")
_LABEL_KEY = Text(
    f"(?:(?=.{{1,253}}/){_DOMAIN}/)?{_LABEL_PART}",
    "a label's key: letters, digits, -, _ and ., at most 63, with an optional domain before a /",
    most=317,
)
_LABEL_VALUE = Text(
    f"(?:{_LABEL_PART})?", "a label's value: letters, digits, -, _ and ., at most 63, or empty", loose=True
)
_SKU = Text(_LABEL_PART, "a device model: letters, digits, -, _ and ., at most 63", loose=True)
_TAINT = Text(
    rf"\*|(?:(?=[^=]{{1,253}}/){_DOMAIN}/)?{_LABEL_PART}(?:=(?:{_LABEL_PART})?)?",
    "a taint: key, key=value, or * for every taint",
    most=400,
)
_DIGEST = Text("sha256:[0-9a-f]{64}", "a digest: sha256: and 64 hexadecimal digits")
_PATH_INSIDE = Text(_INSIDE, "a relative path that stays inside (no / at its start, no ..)", most=1024)
_WORKING_DIR = Text(
    rf"|/workspace/?|(?:/workspace/)?{_INSIDE}",
    "a folder inside the workspace: relative, without .. (/workspace is the workspace itself)",
    most=1024,
)
_MOUNT_PATH = Text(r"(?!(?:.*/)\.\.(?:/|$))/+[^/].*", "an absolute path other than /, without ..", most=1024)
_NOTEBOOK = Text(rf"{_INSIDE}\.ipynb", "the path of a notebook (.ipynb) inside the workspace", most=1024)
_LOOSE = Text(loose=True)
_COMMAND = Items(_LOOSE, 10_000, words="a list of texts", example=_as_list)
_DURATION = Number(0, MOST_SECONDS, above=True, unit="seconds")
_DELAY = Number(0, MOST_SECONDS, unit="seconds")
_COUNT = Whole(1, MOST_TASKS)


def _metadata(found: dict[str, Any], path: str, problems: Problems) -> None:
    """Labels under our own prefix are the service's, but for the one that replay sets."""
    for kind in ("labels", "annotations"):
        for key in mapping(found, kind):
            if key.startswith(RESERVED_PREFIX) and key != REPLAY_OF:
                problems.add(f"{path}.{kind}.{key}", f"keys under {RESERVED_PREFIX} are octopus-hub's own; use another")


def _spec(found: dict[str, Any], path: str, problems: Problems) -> None:
    roles = entries(found, "roles")
    _unique(roles, "name", f"{path}.roles", problems)
    near(roles, f"{path}.roles", problems)
    mains = [at for at, role in roles if role.get("main") is True]
    for at in mains[1:]:
        problems.add(f"{path}.roles[{at}].main", f"only one role can be the main one, and roles[{mains[0]}] is already")
    if found.get("run") is None:
        for at, role in roles:
            if not role.get("command") and not role.get("args"):
                what = "is missing; a role needs a command (a list of texts), unless spec.run names a notebook"
                problems.add(f"{path}.roles[{at}].command", what)
    bounds = [_bounds(role) for _, role in roles]
    most = sum(most for _, most in bounds)
    if most > MOST_TASKS:
        problems.add(f"{path}.roles", f"ask for {most} tasks in all, at most {MOST_TASKS} are possible in one TaskSet")
    least = mapping(found, "gang").get("minAvailable", ALL)
    if isinstance(least, int) and all(each for each, _ in bounds) and least != sum(each for each, _ in bounds):
        what = f"{least} is not all tasks; gangs start whole so far, so write {ALL} or leave it out"
        problems.add(f"{path}.gang.minAvailable", what)


def _role(found: dict[str, Any], path: str, problems: Problems) -> None:
    _completion(found, path, problems)
    device_models(found, path, problems)
    for name, field in (("ports", "name"), ("volumes", "name"), ("events", "on")):
        _unique(entries(found, name), field, f"{path}.{name}", problems)
    _mounts(found, path, problems)
    _environment(found, path, problems)
    command = found.get("command")
    if isinstance(command, list) and command[:1] == [""]:
        problems.add(f"{path}.command[0]", "is empty; the first entry is the program")


def _mounts(found: dict[str, Any], path: str, problems: Problems) -> None:
    seen: dict[str, int] = {}
    for at, volume in entries(found, "volumes"):
        place = volume.get("mountPath")
        if isinstance(place, str):
            place = "/" + "/".join(part for part in place.split("/") if part not in ("", "."))
            if seen.setdefault(place, at) != at:
                problems.add(f"{path}.volumes[{at}].mountPath", f"{place} is already where volumes[{seen[place]}] is")


def _environment(found: dict[str, Any], path: str, problems: Problems) -> None:
    env, secrets = mapping(found, "env"), mapping(found, "secrets")
    for name in sorted(SET_FOR_TASKS.intersection([*env, *secrets])):
        field = "env" if name in env else "secrets"
        problems.add(f"{path}.{field}.{name}", "is set by octopus-hub for every task; use another name")
    for name in sorted(set(env).intersection(secrets)):
        problems.add(f"{path}.secrets.{name}", "is given in env too; take it out of one of the two")
    given = [found.get(name) for name in ("command", "args")]
    arguments = [text for each in given if isinstance(each, list) for text in each if isinstance(text, str)]
    size = sum(len(text.encode()) for text in [*env, *env.values(), *arguments])
    if size > MOST_ENVIRONMENT:
        what = f"command and variables have {size} bytes, at most {MOST_ENVIRONMENT} are possible; put data into files"
        problems.add(path, what)


def _completion(found: dict[str, Any], path: str, problems: Problems) -> None:
    completion = mapping(found, "completion")
    least, failures = completion.get("minSucceeded"), completion.get("maxFailed", 0)
    count = _bounds(found)[0]
    if not count or BAD in (least, failures):
        return
    if least is not None and least > count:
        problems.add(f"{path}.completion.minSucceeded", f"{least} can't succeed of {_tasks(count)}")
    elif failures > count:
        problems.add(f"{path}.completion.maxFailed", f"{failures} can't fail of {_tasks(count)}")
    elif least is not None and least + failures > count:
        what = f"{least} must succeed and {failures} may fail, but there {_are(count)}; lower one of the two"
        problems.add(f"{path}.completion", what)


def _elastic(found: dict[str, Any], path: str, problems: Problems) -> None:
    least, most = found.get("min"), found.get("max")
    if isinstance(least, int) and isinstance(most, int) and least > most:
        problems.add(path, f"min {least} is more than max {most}")


def _bounds(role: dict[str, Any]) -> tuple[int, int]:
    """Return the least and the most tasks of a role; zeros where they could not be read."""
    replicas = role.get("replicas", 1)
    given = (replicas.get("min"), replicas.get("max")) if isinstance(replicas, dict) else (replicas, replicas)
    least, most = (each if isinstance(each, int) else 0 for each in given)
    return least, most


def _unique(entries: Iterable[tuple[int, dict[str, Any]]], field: str, path: str, problems: Problems) -> None:
    """Tell every entry that repeats what an earlier one has."""
    seen: dict[str, int] = {}
    for at, entry in entries:
        value = entry.get(field)
        if isinstance(value, str) and seen.setdefault(value, at) != at:
            problems.add(f"{path}[{at}].{field}", f"{value} is already that of entry {seen[value]}")


def _tasks(count: int) -> str:
    return f"{count} {'task' if count == 1 else 'tasks'}"


def _are(count: int) -> str:
    return f"{'is' if count == 1 else 'are'} {_tasks(count)}"


_SET_BY_USERS = ("name", "labels", "annotations", "exact_name")
_UNDER_SPEC = {
    name: f"it belongs under spec (spec.{name})" for name in ("roles", "queue", "framework", "run", "outputs")
}
_UNDER_METADATA = {"name": "it belongs under metadata (metadata.name)"}
_UNDER_RESOURCES = {
    name: f"it belongs under resources (resources.{name})" for name in ("cpu", "memory", "devices", "shm")
}
_AS_DEVICES = dict.fromkeys(("gpu", "gpus", "nvidia.com/gpu"), "write resources: {devices: {gpu: 1}}")
_PLAIN_RESOURCES = "write cpu, memory and devices here, without limits and requests; they are both"
_STARTS_SOMETHING = [
    {"required": [name], "properties": {name: {"minItems": 1}}} for name in ("command", "args")
]  # a role that starts something by itself

MORE: dict[type, More] = {
    model.TaskSet: More(
        shapes={
            "api_version": Choice((model.API_VERSION,)),
            "kind": Choice(("TaskSet",)),
            "resolved": Dropped(),
            "status": Dropped(),
        },
        needed=("spec",),
        dropped=("queuePlace",),
        hints={**_UNDER_SPEC, **_UNDER_METADATA},
    ),
    model.Metadata: More(
        shapes={
            "name": _NAME,
            "labels": Table(_LABEL_KEY, _LABEL_VALUE, 64),
            "annotations": Table(_LABEL_KEY, _LOOSE, 64),
            **{name: Dropped() for name in model.Metadata.__struct_fields__ if name not in _SET_BY_USERS},
        },
        rule=_metadata,
    ),
    model.Spec: More(
        shapes={
            "roles": lambda shapes: Items(shapes.of(model.Role), MOST_ROLES, 1, "a list of roles"),
            "queue": _WORD_OR_NONE,
            "priority": _WORD,
            "framework": _WORD,
            "outputs": Items(_PATH_INSIDE, 100, words="a list of patterns"),
            "seed": OrNull(Whole(0)),
        },
        needed=("roles",),
        hints={"role": "did you mean roles?", **_UNDER_METADATA},
        rule=_spec,
        rule_schema={
            "anyOf": [
                {"required": ["run"], "properties": {"run": {"type": "object"}}},
                {"properties": {"roles": {"items": {"anyOf": _STARTS_SOMETHING}}}},
            ]
        },
    ),
    model.After: More(shapes={"name": _NAME}),
    model.Gang: More(shapes={"min_available": Either(_COUNT, Choice((ALL,))), "timeout_seconds": _DURATION}),
    model.Lifetime: More(
        shapes={
            "max_runtime_seconds": OrNull(_DURATION),
            "ttl_seconds_after_finished": OrNull(_DELAY),
            "lease": _WORD_OR_NONE,
        }
    ),
    model.Idle: More(shapes={"util_below_percent": Number(0, 100), "for_seconds": _DURATION}),
    model.PreemptionSpec: More(shapes={"notice_seconds": _DELAY, "min_runtime_seconds": OrNull(_DELAY)}),
    model.Workspace: More(shapes={"digest": OrNull(_DIGEST), "git": OrNull(Free(16 * 1024))}),
    model.Input: More(shapes={"uri": Text(r"\S(?:.*\S)?", "an address", most=2048), "digest": OrNull(_DIGEST)}),
    model.RunSpec: More(shapes={"notebook": _NOTEBOOK, "parameters": Free(MOST_PARAMETERS, key=_PARAMETER)}),
    model.Role: More(
        shapes={
            "name": _ROLE_NAME,
            "replicas": lambda shapes: Either(_COUNT, shapes.of(model.ElasticReplicas)),
            "image": _WORD_OR_NONE,
            "command": _COMMAND,
            "args": _COMMAND,
            "env": Table(_VARIABLE, _LOOSE, 10_000),
            "secrets": Table(_VARIABLE, _DNS_LABEL),
            "working_dir": _WORKING_DIR,
            "template": Free(64 * 1024),
        },
        hints={**_UNDER_RESOURCES, **_AS_DEVICES, "count": "did you mean replicas?", "cmd": "did you mean command?"},
        rule=_role,
    ),
    model.ElasticReplicas: More(shapes={"min": _COUNT, "max": _COUNT}, rule=_elastic),
    model.Resources: More(
        shapes={
            "cpu": Amount(parse_cpu, cpu_text, 1, 10**8, "an amount of CPU, such as 2, 0.5 or 500m"),
            "memory": Amount(parse_memory, memory_text, 2**20, 2**46, "an amount of memory, such as 8Gi or 512Mi"),
            "shm": Amount(parse_memory, memory_text, 0, 2**46, "an amount of memory, such as 2Gi"),
            "devices": Asked.of(_KIND, MOST_DEVICES),
        },
        hints={
            **dict.fromkeys(_AS_DEVICES, "write devices: {gpu: 1}"),
            **dict.fromkeys(("limits", "requests"), _PLAIN_RESOURCES),
        },
    ),
    model.Volume: More(
        shapes={
            "kind": _KIND,
            "name": _DNS_LABEL,
            "mount_path": _MOUNT_PATH,
            "parameters": Table(_WORD, _LOOSE, 32),
        }
    ),
    model.Port: More(shapes={"name": _PORT_NAME, "port": OrNull(Whole(1, 65_535))}),
    model.Completion: More(shapes={"min_succeeded": OrNull(Whole(0, MOST_TASKS)), "max_failed": Whole(0, MOST_TASKS)}),
    model.Restart: More(
        shapes={
            "scope": Choice(get_args(model.RestartScope)),
            "max_restarts": Whole(0, 1000),
            "delay_seconds": _DELAY,
        }
    ),
    model.RoleEvent: More(
        shapes={"on": Choice(get_args(model.EventTrigger)), "do": Choice(get_args(model.EventAction))}
    ),
    placing.Topology: More(shapes={"level": OrList(_LABEL_KEY, Items(_LABEL_KEY, 8, 1, "a list of labels"))}),
    placing.SpreadOver: More(shapes={"level": _LABEL_KEY, "max_per_domain": OrNull(_COUNT)}),
    placing.SkuChoice: More(shapes={"sku": _SKU, "devices": OrNull(Whole(1, MOST_DEVICES))}),
    placing.PlacementPreferences: More(
        shapes={
            "node_selector": Table(_LABEL_KEY, _LABEL_VALUE, 64),
            "sku": lambda shapes: OrNull(
                OrList(_LABEL_VALUE, Items(Either(_SKU, shapes.of(placing.SkuChoice)), 8, 1, "a list of device models"))
            ),
            "tolerations": Items(_TAINT, 64, words="a list of taints"),
            "near": OrNull(_ROLE_NAME),
        }
    ),
}

TASKSET: Fields = Shapes(MORE).of(model.TaskSet)
