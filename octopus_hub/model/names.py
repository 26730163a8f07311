"""Names: of tasks, of namespaces, and what is tried when a name is taken (design, law 6). Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container

MOST_TASKSET_NAME = 40
SKU_LABEL = "octopus-hub.io/sku"  # of nodes: the model of their devices
RESERVED_PREFIX = "octopus-hub.io/"  # of labels and annotations that only the service sets
REPLAY_OF = f"{RESERVED_PREFIX}replay-of"  # {name}.{attempt} of the record that a TaskSet repeats; may be kept by users
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_HASHED = "---"  # between what is readable of a user's name and the digest that makes it unique


def task_name(taskset: str, role: str, index: int, attempt: int) -> str:
    """Return the name of a task; the same input always gives the same name, so creating twice creates once."""
    return f"{taskset}-{role}-{index}-{attempt}"


def namespace_of(user: str) -> str:
    """Return the tenant of a hub user: the name itself where it is a DNS label, else a slug with a digest.

    Two users never share a namespace: what is not a label gets ``{readable part}---{8 hex digits of its sha256}``, and
    a label that holds the separator is treated the same (the rule of kubespawner's safe slugs).
    """
    if _LABEL.fullmatch(user) and _HASHED not in user:
        return user
    readable = re.sub(r"[^a-z0-9]+", "-", user.lower()).strip("-")[:40].rstrip("-")
    digest = hashlib.sha256(user.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{readable or 'user'}{_HASHED}{digest}"


def next_name(name: str, taken: Container[str]) -> str:
    """Return ``name`` if it is free, else the first free of ``name-2``, ``name-3``, ...

    The result has at most 40 characters: a long name is cut to make room for the number.
    """
    if name not in taken:
        return name
    number = 2
    while True:
        suffix = f"-{number}"
        candidate = name[: MOST_TASKSET_NAME - len(suffix)].rstrip("-") + suffix
        if candidate not in taken:
            return candidate
        number += 1
