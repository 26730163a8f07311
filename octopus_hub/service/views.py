"""What a user may read of the cache: look-ups inside a tenant's border, rows as bytes, words without others' names.

Pure apart from the cache it is given; handlers and streams call it.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from octopus_hub.control.cache import Cache
from octopus_hub.model.errors import NotFound, Refused
from octopus_hub.model.status import QueuePlace
from octopus_hub.model.task import Task
from octopus_hub.model.taskset import API_VERSION, TaskSet
from octopus_hub.service.identity import Identity

OWN = "-"
_SAFE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9])?")
_TENANT = re.compile(r"(?<![A-Za-z0-9./-])(?=[0-9-]*[a-z])([a-z0-9][a-z0-9-]*)/([a-z0-9][a-z0-9-]*)")
_HEAD = f'{{"apiVersion":"{API_VERSION}","kind":"TaskSet",'.encode()
_ENCODER = msgspec.json.Encoder()
ROWS_KEPT = 100_000


def namespace_of_path(who: Identity, namespace: str) -> str:
    """Return the namespace a path or query names; says nothing about whether the caller may see it."""
    if namespace in ("", OWN):
        if not who.namespace:
            raise Refused("the token of a hub service has no namespace of its own; name one")
        return who.namespace
    return namespace


def visible(who: Identity, namespace: str) -> bool:
    """Say whether objects of that namespace exist for the caller."""
    return who.admin or namespace == who.namespace


def own_namespace(who: Identity, namespace: str) -> str:
    """Return the namespace a query names; NotFound says the same about a foreign and a missing one."""
    namespace = namespace_of_path(who, namespace)
    if not visible(who, namespace):
        raise NotFound(f"there is no namespace {shown(namespace)}; leave it out to see what is yours")
    return namespace


def find(cache: Cache, who: Identity, namespace: str, name: str) -> TaskSet:
    """Return a TaskSet by path; NotFound says the same about a missing and a foreign one."""
    namespace = namespace_of_path(who, namespace)
    uid = cache.by_key.get((namespace, name)) if visible(who, namespace) else None
    taskset = cache.tasksets.get(uid) if uid is not None else None
    if taskset is None:
        raise NotFound(f"there is no TaskSet {shown(name)}; see `octopus list`")
    return taskset


def safe_name(text: str, what: str) -> str:
    """Return a name that may become a part of a path; raises NotFound for any other, since nothing has such a name."""
    if not _SAFE.fullmatch(text):
        raise NotFound(f"there is no {what} {shown(text)}")
    return text


def shown(text: str) -> str:
    """Return a caller's text as it may stand in a message: short and printable."""
    return "".join(char if char.isprintable() else "?" for char in text[:80])


def redacted(place: QueuePlace, namespace: str) -> QueuePlace:
    """Return a queue place without names of other tenants' TaskSets."""

    def other(match: re.Match[str]) -> str:
        return match.group(0) if match.group(1) == namespace else "another user's TaskSet"

    message, where = _TENANT.sub(other, place.message), _TENANT.sub(other, place.where)
    if (message, where) == (place.message, place.where):
        return place
    return msgspec.structs.replace(place, message=message, where=where)


def without_others(value: Any, namespace: str) -> Any:
    """Return plain data without names of other tenants' TaskSets in its texts."""
    if isinstance(value, str):
        return _TENANT.sub(
            lambda match: match.group(0) if match.group(1) == namespace else "another user's TaskSet", value
        )
    if isinstance(value, list):
        return [without_others(each, namespace) for each in value]
    if isinstance(value, dict):
        return {key: without_others(each, namespace) for key, each in value.items()}
    return value


def place_for(cache: Cache, who: Identity, taskset: TaskSet) -> QueuePlace | None:
    """Return a waiting TaskSet's place as the caller may read it."""
    place = cache.place_of(taskset.metadata.uid)
    if place is None or who.admin:
        return place
    return redacted(place, taskset.metadata.namespace)


def taskset_json(taskset: TaskSet) -> bytes:
    """Return the wire form, with apiVersion and kind (which encoding leaves out as defaults)."""
    return _HEAD + _ENCODER.encode(taskset)[1:]


def view_json(cache: Cache, who: Identity, taskset: TaskSet, tasks: list[Task] | None = None) -> bytes:
    """Return the wire form of a TaskSetView."""
    parts = [b'{"taskset":', taskset_json(taskset)]
    place = place_for(cache, who, taskset)
    if place is not None:
        parts += [b',"queuePlace":', _ENCODER.encode(place)]
    if tasks is not None:
        parts += [b',"tasks":', _ENCODER.encode(tasks)]
    return b"".join([*parts, b"}"])


class Rows:
    """The bytes of rows, encoded once however many streams send them; known by the identity of the (frozen) object."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], tuple[object, bytes]] = {}

    def encode(self, key: tuple[str, ...], row: Any) -> bytes:
        """Return the row's bytes."""
        known = self._known.get(key)
        if known is not None and known[0] is row:
            return known[1]
        encoded = taskset_json(row) if isinstance(row, TaskSet) else _ENCODER.encode(row)
        if len(self._known) >= ROWS_KEPT:
            self._known.clear()
        self._known[key] = (row, encoded)
        return encoded

    def clear(self) -> None:
        """Forget everything (when nobody listens)."""
        self._known.clear()
