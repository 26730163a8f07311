"""How commands print: a table for people; YAML, JSON or names for programs."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from octopus_hub.client.jobtext import columns, cut
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
    else:
        show_rows(header, [row(item) for item in found], none)


def show_rows(header: Row, rows: Sequence[Row], none: str) -> None:
    """Print a table."""
    if rows:
        write(fitted(columns(header, rows)) + "\n")
    else:
        aside(none)


def fitted(text: str) -> str:
    """Return a table cut to the terminal's width; whole where a program reads it."""
    if not sys.stdout.isatty():
        return text
    width = max(40, shutil.get_terminal_size().columns)
    return "\n".join(cut(line, width) for line in text.splitlines())


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


def aside(sentence: str) -> None:
    """Say at a terminal that there is nothing to show; a program sees that by itself."""
    if sys.stdout.isatty():
        sys.stderr.write(f"{sentence}\n")


def note(sentence: str) -> None:
    """Say something beside the output."""
    sys.stderr.write(f"octopus: {sentence}\n")
