"""From a user's document to a TaskSet, or every problem of it at once. Pure; called by ``TaskSet.parse``.

What the service sets (``status``, ``resolved``, ``queuePlace`` and in the metadata ``namespace``, ``uid``, ``owner``,
``version`` and times) is dropped, so that what ``octopus get -o yaml`` printed can be submitted again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.taskset import API_VERSION, TaskSet

SET_BY_SERVICE = ("status", "resolved", "queuePlace")
METADATA_SET_BY_SERVICE = (
    "namespace",
    "uid",
    "createdAt",
    "owner",
    "stopRequestedAt",
    "deletionRequestedAt",
    "version",
)


def parse_taskset(document: Mapping[str, Any] | bytes | str) -> TaskSet:
    """Return the TaskSet that a document describes; raises InvalidSpec with every problem found."""
    if isinstance(document, str | bytes):
        try:
            document = json.loads(document)
        except (ValueError, RecursionError) as error:
            raise InvalidSpec(f"the document is not JSON: {error}", [f"not JSON: {error}"]) from None
    if not isinstance(document, Mapping):
        raise InvalidSpec("a TaskSet is a mapping", ["a TaskSet is a mapping"])
    fields = {key: value for key, value in document.items() if key not in SET_BY_SERVICE}
    if fields.get("apiVersion", API_VERSION) != API_VERSION or fields.get("kind", "TaskSet") != "TaskSet":
        problem = f"kind: this is not a TaskSet of {API_VERSION}"
        raise InvalidSpec(problem, [problem])
    if isinstance(fields.get("metadata"), Mapping):
        meta = fields["metadata"]
        fields["metadata"] = {key: value for key, value in meta.items() if key not in METADATA_SET_BY_SERVICE}
    try:
        return msgspec.convert(fields, TaskSet)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$.")
        problem = f"{path.rstrip('`')}: {message}" if path else message
        raise InvalidSpec(problem, [problem]) from None
