"""Import of the TaskSet of the seed platform (OpenI-Octopus, ``octopus.openi.pcl.cn/v1alpha1``). Pure.

Called by ``octopus import``. The seed's meaning, after its user manual: a role fails once ``maxFailed`` tasks failed (ours
tolerates ``maxFailed``, so it is one less) and succeeds once ``minSucceeded`` did; ``retryPolicy`` of a role restarts
single tasks, that of the TaskSet all of them; an event of a role without a rule of its own follows ``RoleCompleted``;
without any, failure of a role fails the TaskSet and success waits for the other roles.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.jsontext import decode
from octopus_hub.model.names import MOST_TASKSET_NAME, RESERVED_PREFIX
from octopus_hub.model.parse import SEED_GROUP, parse_taskset
from octopus_hub.model.problems import Problems, kind_of, shown
from octopus_hub.model.rules import MORE
from octopus_hub.model.seedpod import entries, mapping, role_fields, unmapped
from octopus_hub.model.shapes import BAD
from octopus_hub.model.taskset import API_VERSION, Metadata, TaskSet

MOST_RESTARTS = 1000
_EVENTS = ("RoleFailed", "RoleSucceeded", "RoleCompleted")
_ACTIONS = ("TaskSetFailed", "TaskSetSucceeded", "TaskSetCompleted", "NoAction")
_OURS = {"TaskSetFailed": "FailTaskSet", "TaskSetSucceeded": "SucceedTaskSet", "NoAction": "Ignore"}
_SERVER_SET = {
    "creationTimestamp",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
}


@dataclass(frozen=True, slots=True)
class Imported:
    """A converted TaskSet; ``warnings`` lists what has no equivalent or another meaning, each ``path: what``."""

    taskset: TaskSet
    warnings: list[str] = field(default_factory=list)


def import_seed(document: Mapping[str, Any] | bytes | str) -> Imported:
    """Convert a TaskSet of the seed platform.

    Raises
    ------
    InvalidSpec
        It is not one, or what it says is no TaskSet here either; every problem with its path.
    """
    data = decode(document) if isinstance(document, bytes | str) else document
    if not isinstance(data, Mapping):
        raise _invalid([f"a TaskSet is a mapping, not {kind_of(data)}"])
    version, kind = data.get("apiVersion"), data.get("kind")
    if not isinstance(version, str) or not version.startswith(SEED_GROUP) or kind != "TaskSet":
        known = "; it is a TaskSet of ours already: octopus submit FILE" if version == API_VERSION else ""
        raise _invalid([f"apiVersion: this is not a TaskSet of {SEED_GROUP}v1alpha1{known}"])
    return _Conversion().convert(data)


class _Conversion:
    """One document on its way; collects warnings and problems."""

    def __init__(self) -> None:
        self._warnings: list[str] = []
        self._problems = Problems()
        self._role_names: set[str] = set()

    def convert(self, data: Mapping[str, Any]) -> Imported:
        """Return the result; raises InvalidSpec."""
        spec = mapping(data.get("spec"))
        unmapped(data, {"apiVersion", "kind", "metadata", "spec", "status"}, "document", self._note)
        unmapped(spec, {"retryPolicy", "roles"}, "spec", self._note)
        given = spec.get("roles")
        if not isinstance(given, list | tuple) or not given:
            self._problems.add("spec.roles", "needs a list with at least one role")
        gang = mapping(spec.get("retryPolicy"))
        roles = [self._role(role, f"spec.roles[{at}]", gang) for at, role in enumerate(entries(given))]
        metadata = self._metadata(mapping(data.get("metadata")))
        if self._problems:
            raise _invalid(self._problems.told())
        return Imported(parse_taskset({"metadata": metadata, "spec": {"roles": roles}}), self._warnings)

    def _metadata(self, given: Mapping[str, Any]) -> dict[str, Any]:
        unmapped(given, {"name", "namespace", "labels", "annotations", *_SERVER_SET}, "metadata", self._note)
        if given.get("namespace"):
            self._note("metadata.namespace", f"{given['namespace']} is not taken over; a TaskSet is its submitter's")
        wanted = str(given.get("name", ""))
        name = re.sub("[^a-z0-9]+", "-", wanted.lower()).strip("-")[:MOST_TASKSET_NAME].rstrip("-")
        if not name:
            self._problems.add("metadata.name", "is missing")
        elif name != wanted:
            self._note("metadata.name", f"{shown(wanted)} is called {name} here")
        found: dict[str, Any] = {"name": name}
        for kind in ("labels", "annotations"):
            kept = self._labels(mapping(given.get(kind)), kind)
            if kept:
                found[kind] = kept
        return found

    def _labels(self, given: Mapping[str, Any], kind: str) -> dict[str, Any]:
        shape = MORE[Metadata].shapes[kind]
        kept: dict[str, Any] = {}
        for key, value in given.items():
            problems = Problems()
            read = shape.read({key: value}, f"metadata.{kind}", problems)  # type: ignore[union-attr]
            if problems or read is BAD or key.startswith(RESERVED_PREFIX):
                self._note(f"metadata.{kind}.{key}", "is no possible label here and was left out")
            elif key != "kubectl.kubernetes.io/last-applied-configuration":
                kept.update(read)
        return kept

    def _role(self, given: Mapping[str, Any], path: str, gang: Mapping[str, Any]) -> dict[str, Any]:
        taken = {"name", "replicas", "completionPolicy", "retryPolicy", "eventPolicy", "template"}
        unmapped(given, taken, path, self._note)
        found: dict[str, Any] = {"name": self._role_name(given, path)}
        replicas = given.get("replicas", 1)
        if replicas != 1:
            found["replicas"] = replicas
        found |= role_fields(mapping(given.get("template")), f"{path}.template", self._note)
        count = replicas if isinstance(replicas, int) and not isinstance(replicas, bool) else 0
        for name, value in (
            ("completion", self._completion(mapping(given.get("completionPolicy")), f"{path}.completionPolicy", count)),
            ("restart", self._restart(mapping(given.get("retryPolicy")), gang, f"{path}.retryPolicy")),
            ("events", self._events(entries(given.get("eventPolicy")), f"{path}.eventPolicy")),
        ):
            if value:
                found[name] = value
        return found

    def _role_name(self, given: Mapping[str, Any], path: str) -> str:
        wanted = str(given.get("name", ""))
        base = re.sub("[^a-z0-9]+", "", wanted.lower()).lstrip("0123456789")[:15] or "role"
        name, number = base, 2
        while name in self._role_names:
            name, number = f"{base[: 15 - len(str(number))]}{number}", number + 1
        self._role_names.add(name)
        if name != wanted:
            self._note(f"{path}.name", f"{shown(wanted)} is called {name} here (letters and digits, at most 15)")
        return name

    def _completion(self, given: Mapping[str, Any], path: str, replicas: int) -> dict[str, int]:
        """Return when the role ends; what could never be used is lowered, which changes nothing."""
        unmapped(given, {"maxFailed", "minSucceeded"}, path, self._note)
        found: dict[str, int] = {}
        least = self._number(given, "minSucceeded", path)
        if least is not None and least > 0:
            found["minSucceeded"] = min(least, replicas) if replicas else least
            if replicas and least > replicas:
                self._note(f"{path}.minSucceeded", f"{least} of {replicas} can't succeed; all have to")
        elif least is not None:
            self._note(
                f"{path}.minSucceeded", f"{least} is not a number of tasks; all that may not fail have to succeed"
            )
        most = self._number(given, "maxFailed", path)
        room = max(0, replicas - found.get("minSucceeded", 0))
        if most is not None and most > 0:
            found["maxFailed"] = min(most - 1, room)
        elif most is not None and most < 0:
            self._note(f"{path}.maxFailed", f"{most} sets no bound; {room} of {replicas} may fail here")
            found["maxFailed"] = room
        elif most is not None:
            self._note(f"{path}.maxFailed", "0 failed the role before any task did; here no task may fail")
        return {name: value for name, value in found.items() if value}

    def _restart(self, given: Mapping[str, Any], gang: Mapping[str, Any], path: str) -> dict[str, Any]:
        unmapped(given, {"retry", "delay", "maxRetryCount"}, path, self._note)
        if not isinstance(given.get("retry", False), bool):
            self._problems.add(f"{path}.retry", f"needs true or false, not {kind_of(given['retry'])}")
        own, whole = given.get("retry") is True, gang.get("retry") is True
        if own and whole:
            self._note(path, "tasks of the role restart singly; the retry of the whole TaskSet has no effect on it")
        if not own and not whole:
            return {}
        policy = given if own else gang
        most, delay = self._number(policy, "maxRetryCount", path) or 0, self._number(policy, "delay", path) or 0
        if most > MOST_RESTARTS:
            self._note(f"{path}.maxRetryCount", f"{most} is more than is possible; it is {MOST_RESTARTS} here")
        scope = "task" if own else "gang"
        return {"scope": scope, "maxRestarts": min(most, MOST_RESTARTS), "delaySeconds": delay}

    def _events(self, given: list[Mapping[str, Any]], path: str) -> list[dict[str, str]]:
        """Return the events, the special ones first, since ours are tried in order."""
        rules: dict[str, str] = {}
        for at, each in enumerate(given):
            event, action = str(each.get("event", "")), str(each.get("action", ""))
            if event not in _EVENTS or action not in _ACTIONS:
                self._note(f"{path}[{at}]", f"{shown(event)} with {shown(action)} is no rule of the seed platform")
            else:
                rules.setdefault(event, action)
        found = []
        for event, verdict in (("RoleFailed", "TaskSetFailed"), ("RoleSucceeded", "TaskSetSucceeded")):
            action = rules.get(event, rules.get("RoleCompleted", ""))
            if action == "TaskSetCompleted":
                action = verdict  # the TaskSet ends as the role did
            if action and not (event == "RoleSucceeded" and action == "NoAction"):  # that is what happens anyway
                found.append({"on": event, "do": _OURS[action]})
        return found

    def _number(self, given: Mapping[str, Any], name: str, path: str) -> int | None:
        value = given.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            self._problems.add(f"{path}.{name}", f"needs a whole number, not {kind_of(value)}")
            return None
        return int(value)

    def _note(self, path: str, what: str) -> None:
        self._warnings.append(f"{path}: {what}")


def _invalid(problems: list[str]) -> InvalidSpec:
    if len(problems) == 1:
        return InvalidSpec(problems[0], problems)
    return InvalidSpec(f"the document can't be converted; {len(problems)} things are wrong", problems)
