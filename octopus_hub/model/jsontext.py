"""JSON text to plain data, strictly: no key twice, no NaN, nothing too deep. Pure.

Numbers remember how they were written, so that ``LR: 1e-3`` and ``VERSION: 1.10`` reach an environment as written. The
loader of YAML in the client makes the same numbers.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.problems import shown

MOST_DIGITS = 400  # of one number; a float of 309 digits is infinite already


class WrittenInt(int):
    """A whole number that prints as it was written."""

    written: str

    def __new__(cls, text: str, base: int = 10) -> WrittenInt:
        made = super().__new__(cls, text, base)
        made.written = text
        return made

    def __str__(self) -> str:
        return self.written

    __repr__ = __str__


class WrittenFloat(float):
    """A number that prints as it was written."""

    written: str

    def __new__(cls, text: str, value: str | None = None) -> WrittenFloat:
        made = super().__new__(cls, text if value is None else value)
        made.written = text
        return made

    def __str__(self) -> str:
        return self.written

    __repr__ = __str__


def decode(text: str | bytes) -> Any:
    """Return the data; raises InvalidSpec with one sentence that says where the text is wrong."""
    try:
        given = text.decode("utf-8-sig") if isinstance(text, bytes) else text.removeprefix("\ufeff")
        return json.loads(
            given, object_pairs_hook=_mapping, parse_constant=_constant, parse_int=_whole, parse_float=WrittenFloat
        )
    except UnicodeDecodeError:
        raise _invalid("the document is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        what = error.msg[:1].lower() + error.msg[1:]
        raise _invalid(f"the document is not JSON: line {error.lineno}, column {error.colno}: {what}") from None
    except RecursionError:
        raise _invalid("the document is nested too deeply") from None


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _invalid(f"the key {shown(key)} is given twice in one mapping")
            seen.add(key)
    return found


def _constant(text: str) -> NoReturn:
    raise _invalid(f"{text} is not a number that JSON knows; give it as a text")


def _whole(text: str) -> WrittenInt:
    if len(text) > MOST_DIGITS:
        raise _invalid(f"a number of {len(text)} digits is too large")
    return WrittenInt(text)


def _invalid(what: str) -> InvalidSpec:
    return InvalidSpec(what, [what])
