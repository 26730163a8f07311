"""How commands print: a table for people; YAML, JSON or names for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from octopus_hub.client.jobtext import columns
from octopus_hub.model.answers import TaskSetView

Row = Sequence[str]


def plain(value: Any) -> Any:
    """Return the wire form as plain data."""
    if isinstance(value, TaskSetView):
        document = value.taskset.to_dict()
        if value.queue_place is not None:
            document["queuePlace"] = msgspec.to_builtins(value.queue_place)
        return document
    if hasattr(value, "to_dict"):
        return value.to_dict()
    return msgspec.to_builtins(value)


def show_many(
    items: Iterable[Any], style: str, header: Row, row: Callable[[Any], Row], name: Callable[[Any], str], none: str
) -> None:
    """Print a list of objects."""
    found = list(items)
    if style == "name":
        write("".join(f"{name(item)}\n" for item in found))
    elif style in ("json", "yaml"):
        show_document({"items": [plain(item) for item in found]}, style)
    elif found:
        write(columns(header, [row(item) for item in found]) + "\n")
    elif sys.stdout.isatty():
        sys.stderr.write(none + "\n")


def show_document(document: Any, style: str) -> None:
    """Print plain data as YAML or JSON."""
    if style == "json":
        write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
        return
    from octopus_hub.client.documents import dump_document

    write(dump_document(document))


def write(text: str) -> None:
    """Print; characters that the terminal's encoding lacks are shown as escapes instead of failing."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))


def write_bytes(chunk: bytes) -> None:
    """Print bytes as they are."""
    stream = getattr(sys.stdout, "buffer", None)
    if stream is None:
        sys.stdout.write(chunk.decode("utf-8", "replace"))
        return
    stream.write(chunk)
    stream.flush()


def note(sentence: str) -> None:
    """Say something beside the output."""
    sys.stderr.write(f"octopus: {sentence}\n")
