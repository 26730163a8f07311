"""What the model's sources say about each field and name: the comment beside it, or its entry under ``Attributes``.

Reads the source of a class or of an assignment with the tokenizer, so that a reference page says what the code says.
"""

from __future__ import annotations

import inspect
import io
import re
import textwrap
import tokenize
from typing import Any

import msgspec

_ATTRIBUTE = re.compile(r"^(\w+(?:, \w+)*) : .*$")


def documented(struct: type[msgspec.Struct]) -> dict[str, str]:
    """Return what is said about each field of a struct, by its name on the wire; "" where nothing is."""
    said = {**_attributes(inspect.getdoc(struct) or ""), **_comments(inspect.getsource(struct))}
    names = zip(struct.__struct_fields__, struct.__struct_encode_fields__, strict=True)
    return {wire: said.get(name, "") for name, wire in names}


def members(source: str) -> dict[str, str]:
    """Return the comment beside each ``NAME = ...`` of a class body, by name."""
    return _comments(source)


def literals(module: Any, name: str) -> dict[str, str]:
    """Return the comment beside each string of an assignment ``NAME = Literal[...]``, one string per line."""
    source = inspect.getsource(module)
    start = source.index(f"\n{name} = Literal[")
    body = source[start : source.index("\n]", start)]
    found = re.findall(r'^\s+"(\w*)",(?:\s+# (.*))?$', body, re.MULTILINE)
    return dict(found)


def summary(thing: Any) -> str:
    """Return the first paragraph of a docstring on one line, without double backticks."""
    return plain((inspect.getdoc(thing) or "").split("\n\n")[0])


def plain(text: str) -> str:
    """Return reStructuredText's inline marks as Markdown's."""
    text = re.sub(r":\w+:`~?([\w.]+)`", lambda found: f"`{found[1].split('.')[-1]}`", text)
    return " ".join(text.replace("``", "`").split())


def cell(text: str) -> str:
    """Return text fit for a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ")


def _attributes(doc: str) -> dict[str, str]:
    """Return the entries of a numpy-style ``Attributes`` section."""
    if "\nAttributes\n---" not in doc:
        return {}
    section = doc.split("\nAttributes\n", 1)[1].split("\n", 1)[1]
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in section.splitlines():
        match = _ATTRIBUTE.match(line)
        if match:
            current = []
            found.update(dict.fromkeys(match[1].split(", "), current))
        elif line.startswith(" "):
            current.append(line.strip())
    return {name: plain(" ".join(lines)).rstrip(".") for name, lines in found.items()}


def _comments(source: str) -> dict[str, str]:
    """Return the comment at the end of each line that begins with a name of the class body."""
    found: dict[str, str] = {}
    name, depth = "", 0
    for token in tokenize.generate_tokens(io.StringIO(textwrap.dedent(source)).readline):
        if token.type == tokenize.OP and token.string in "([{":
            depth += 1
        elif token.type == tokenize.OP and token.string in ")]}":
            depth -= 1
        elif token.type == tokenize.NAME and token.start[1] == 4 and depth == 0:
            name = token.string
        elif token.type == tokenize.COMMENT and name and token.line.lstrip().startswith(name):
            found[name] = plain(token.string.lstrip("# "))
    return found
