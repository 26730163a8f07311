"""Users' files to plain mappings: YAML with any number of documents, or JSON; one sentence with the place when wrong.

Scalars are those of YAML 1.2 (as in JSON): ``on``, ``yes`` and ``1:30`` are texts, ``1e-3`` is a number, so ``on:`` needs
no quotes. Numbers remember how they were written. Values are built from the parser's events without recursion, bounded
in number, depth and what aliases stand for, and nothing but plain data can come out. Used by the command line.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from octopus_hub.model import jsontext
from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.jsontext import MOST_DIGITS, WrittenFloat, WrittenInt
from octopus_hub.model.problems import shown

MOST_VALUES = 100_000  # in a file, those behind aliases counted as often as they are used
DEEPEST = 64

_PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # events only; nothing is constructed by it
_TAG = "tag:yaml.org,2002:"
_WHOLE = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")  # 0777 is a text: its value is not the same everywhere
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")
_INFINITE = re.compile(r"([-+]?)\.(?:inf|Inf|INF)")
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_MERGE = "<<"
_ODD_LINE_ENDS = re.compile("[\x85\u2028\u2029\r]")


def load_documents(text: str, source: str) -> list[dict[str, Any]]:
    """Return the documents of a text, without the empty ones.

    Parameters
    ----------
    text : str
        YAML or JSON.
    source : str
        What messages call it: a file's name, or ``standard input``.

    Raises
    ------
    InvalidSpec
        One sentence with the line and column.
    """
    given = text.removeprefix("\ufeff")
    if given.lstrip()[:1] == "{" and _is_json(given):  # JSON may hold what YAML parsers refuse, such as tabs
        try:
            return [jsontext.decode(given)]
        except InvalidSpec as error:
            raise _invalid(source, None, error.message) from None
    builder = _Builder(source)
    try:
        for event in yaml.parse(given, Loader=_PARSER):
            builder.take(event)
    except yaml.YAMLError as error:
        raise _not_yaml(error, given, source) from None
    except UnicodeEncodeError:
        raise _invalid(source, None, "the text holds half a surrogate pair, which is no character") from None
    return builder.documents


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except RecursionError:
        return False
    except ValueError as error:
        return not isinstance(error, json.JSONDecodeError)  # a number with too many digits
    return True


@dataclass(slots=True)
class _Open:
    """A mapping or list that is being filled."""

    content: dict[str, Any] | list[Any]
    mark: Any
    anchor: str | None
    values_before: int
    key: str | None = None  # that waits for its value
    merging: bool = False  # the key is an unquoted <<
    lines: dict[str, int] = field(default_factory=dict)  # of keys
    merged: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class _Anchored:
    value: Any
    values: int  # how many values it stands for


class _Builder:
    """Builds values from events, with a stack of its own."""

    def __init__(self, source: str) -> None:
        self.documents: list[dict[str, Any]] = []
        self._source = source
        self._stack: list[_Open] = []
        self._anchors: dict[str, _Anchored | None] = {}  # None: still open
        self._values = 0

    def take(self, event: yaml.Event) -> None:
        """Take the next event."""
        match event:
            case yaml.DocumentStartEvent():
                self._anchors = {}
            case yaml.ScalarEvent():
                self._count(event, 1)
                value = self._scalar(event)
                if event.anchor:
                    self._anchors[event.anchor] = _Anchored(value, 1)
                self._put(value, event)
            case yaml.AliasEvent():
                self._alias(event)
            case yaml.MappingStartEvent():
                self._open({}, event, "map")
            case yaml.SequenceStartEvent():
                self._open([], event, "seq")
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._close(event)

    def _open(self, content: dict[str, Any] | list[Any], event: Any, kind: str) -> None:
        if event.tag not in (None, "!", f"{_TAG}{kind}"):
            raise self._wrong(event.start_mark, _no_tag(event.tag))
        if self._stack and isinstance(self._stack[-1].content, dict) and self._stack[-1].key is None:
            raise self._wrong(event.start_mark, "a key is a text, not a list or mapping")
        self._count(event, 1)
        if len(self._stack) >= DEEPEST:
            raise self._wrong(event.start_mark, f"the document is nested deeper than {DEEPEST} levels")
        if event.anchor:
            self._anchors[event.anchor] = None
        self._stack.append(_Open(content, event.start_mark, event.anchor, self._values))

    def _close(self, event: yaml.Event) -> None:
        done = self._stack.pop()
        if isinstance(done.content, dict):
            for other in done.merged:
                for key, value in other.items():
                    done.content.setdefault(key, value)
        if done.anchor:
            self._anchors[done.anchor] = _Anchored(done.content, self._values - done.values_before + 1)
        self._put(done.content, event, done.mark)

    def _alias(self, event: yaml.AliasEvent) -> None:
        name = str(event.anchor)
        if name not in self._anchors:
            raise self._wrong(event.start_mark, f"there is no anchor &{name} before *{name}")
        anchored = self._anchors[name]
        if anchored is None:
            raise self._wrong(event.start_mark, f"*{name} would contain itself")
        self._count(event, anchored.values)
        self._put(anchored.value, event)

    def _put(self, value: Any, event: Any, mark: Any = None) -> None:
        """Place a whole value: as a document, an entry, a key, or the value of the key before."""
        mark = mark or event.start_mark
        if not self._stack:
            if isinstance(value, dict):
                self.documents.append(value)
            elif value is not None:
                raise self._wrong(mark, "a document is a mapping of names to values (apiVersion, kind, metadata, spec)")
            return
        top = self._stack[-1]
        if isinstance(top.content, list):
            top.content.append(value)
        elif top.key is None:
            self._key(top, event, value)
        else:
            if top.merging:
                top.merged.extend(self._merge(value, mark))
            else:
                top.content[top.key] = value
            top.key = None

    def _key(self, top: _Open, event: Any, value: Any) -> None:
        mark = event.start_mark
        key = event.value if isinstance(event, yaml.ScalarEvent) else value
        if not isinstance(key, str):
            raise self._wrong(mark, "a key is a text, not a list or mapping")
        if value is None and not key:
            raise self._wrong(mark, "a key is missing before the colon")
        if key in top.lines:
            raise self._wrong(mark, f"the key {shown(key)} is given twice; first in line {top.lines[key]}")
        top.key, top.merging = key, key == _MERGE and _plain(event)
        top.lines[key] = mark.line + 1

    def _merge(self, value: Any, mark: Any) -> list[dict[str, Any]]:
        found = value if isinstance(value, list) else [value]
        if not all(isinstance(each, dict) for each in found):
            raise self._wrong(mark, "<< takes a mapping or a list of mappings")
        return found

    def _scalar(self, event: yaml.ScalarEvent) -> Any:
        text = str(event.value)
        if event.tag in (f"{_TAG}str", "!") or (event.tag is None and not _plain(event)):
            return text
        if event.tag is not None:
            raise self._wrong(event.start_mark, _no_tag(event.tag))
        return self._resolved(text, event.start_mark)

    def _resolved(self, text: str, mark: Any) -> Any:
        """Return what an unquoted text stands for."""
        if text in _WORDS:
            return _WORDS[text]
        if text[:1] not in "-+.0123456789":
            return text
        numeric = _WHOLE.fullmatch(text) or _BASED.fullmatch(text) or _FLOAT.fullmatch(text)
        if numeric and len(text) > MOST_DIGITS:
            raise self._wrong(mark, f"a number of {len(text)} digits is too large; put it in quotes if it is a text")
        if _WHOLE.fullmatch(text):
            return WrittenInt(text)
        if _BASED.fullmatch(text):
            return WrittenInt(text, 0)
        if _LEADING_ZERO.fullmatch(text):
            return text
        if _FLOAT.fullmatch(text):
            return WrittenFloat(text)
        infinite = _INFINITE.fullmatch(text)
        if infinite:
            return WrittenFloat(text, f"{infinite[1]}inf")
        return WrittenFloat(text, "nan") if text in (".nan", ".NaN", ".NAN") else text

    def _count(self, event: Any, values: int) -> None:
        self._values += values
        if self._values > MOST_VALUES:
            what = f"more than {MOST_VALUES} values, those behind aliases included; a TaskSet has some hundreds"
            raise self._wrong(event.start_mark, what)

    def _wrong(self, mark: Any, what: str) -> InvalidSpec:
        return _invalid(self._source, mark, what)


def _plain(event: Any) -> bool:
    return isinstance(event, yaml.ScalarEvent) and not event.style and bool(event.implicit[0])


def _no_tag(tag: str) -> str:
    return f"the tag {shown(tag.replace(_TAG, '!!'))} is not possible here; write plain values"


def _not_yaml(error: yaml.YAMLError, text: str, source: str) -> InvalidSpec:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    what = str(getattr(error, "problem", None) or getattr(error, "reason", None) or error).splitlines()[0]
    if mark is not None:
        lines = text.splitlines()
        line = lines[mark.line] if mark.line < len(lines) else ""
        if "\t" in line[: len(line) - len(line.lstrip())]:
            what = "lines are indented with spaces in YAML, not with tabs"
    kinds = "neither JSON nor YAML" if text.lstrip()[:1] == "{" else "not YAML"
    return _invalid(source, mark, f"this is {kinds}: {what}")


def _invalid(source: str, mark: Any, what: str) -> InvalidSpec:
    where = f", line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
    return InvalidSpec(f"{source}{where}: {what}", [f"{source}{where}: {what}"])


class _Dumper(yaml.SafeDumper):
    """Writes texts so that they read back equal: in quotes what looks like a number of YAML 1.2, odd line ends escaped."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """Return a node; the emitter would fold the line ends that are not in ASCII."""
        style = '"' if _ODD_LINE_ENDS.search(text) else None
        return self.represent_scalar(f"{_TAG}str", text, style=style)


_Dumper.add_representer(str, _Dumper.represent_text)

for _kind, _form in (("float", _FLOAT), ("int", _BASED)):
    _Dumper.add_implicit_resolver(f"{_TAG}{_kind}", re.compile(f"(?:{_form.pattern})$"), list("-+.0123456789"))


def dump_document(document: Any) -> str:
    """Return plain data as YAML that :func:`load_documents` reads back equal."""
    return str(yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120))
