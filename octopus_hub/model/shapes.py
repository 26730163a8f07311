"""Shapes of single values: what a field of a document accepts, how it is read, how JSON Schema says the same. Pure.

A shape reads a value into plain data and adds what is wrong to the problems; it returns :data:`BAD` then, so that the
rest of the document is still read. Shapes of lists, mappings and structs are in :mod:`octopus_hub.model.fields`; which
field has which shape is in :mod:`octopus_hub.model.rules`.
"""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.problems import Problems, kind_of, near, short, shown

Schema = dict[str, Any]


class _Bad:
    """What a shape returns for a value that it could not read."""

    def __repr__(self) -> str:
        return "BAD"


BAD: Final = _Bad()

MOST_TEXT = 100_000  # bytes of one text; Linux refuses arguments and variables over 128 KiB
LARGEST_WHOLE = 2**63 - 1
DEEPEST = 20  # levels of free data
_UNSENDABLE = re.compile("[\x00\ud800-\udfff]")


class Shape(Protocol):
    """See the module's docstring."""

    def read(self, value: Any, path: str, problems: Problems) -> Any:
        """Return plain data, or BAD after adding what is wrong."""

    def schema(self, definitions: Schema) -> Schema:
        """Return the JSON Schema; shared parts go to ``definitions``."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text. ``words`` says what the pattern asks for; ``loose`` takes numbers and booleans as they were written."""

    pattern: str = ""
    words: str = ""
    most: int = MOST_TEXT
    least: int = 0
    loose: bool = False
    hint: Callable[[str], str] | None = None  # what may be said about a text that does not match

    def read(self, value: Any, path: str, problems: Problems) -> Any:
        """See Shape."""
        if self.loose and isinstance(value, bool):
            value = str(value).lower()
        elif self.loose and isinstance(value, numbers.Real):
            value = str(value)
        if not isinstance(value, str):
            problems.add(path, f"needs {self.words or 'a text'}, not {kind_of(value)}{self._quotes(value)}")
            return BAD
        wrong = self._wrong(value)
        if wrong:
            problems.add(path, wrong)
            return BAD
        return value

    def schema(self, definitions: Schema) -> Schema:
        """See Shape."""
        found: Schema = {"type": ["string", "number", "boolean"] if self.loose else "string"}
        if self.pattern:
            found["pattern"] = f"^(?:{self.pattern})$"
        if self.least:
            found["minLength"] = self.least
        if self.most != MOST_TEXT:
            found["maxLength"] = self.most
        if self.words:
            found["description"] = self.words
        return found

    def _wrong(self, value: str) -> str:
        if _UNSENDABLE.search(value):
            return f"{shown(value)} holds a character that can't be passed on (NUL or half a surrogate pair)"
        if len(value) < self.least and not self.words:
            return "is empty"
        if len(value) > self.most:
            return f"has {len(value)} characters, at most {self.most} are possible"
        if self.pattern and not re.fullmatch(self.pattern, value):
            hint = self.hint(value) if self.hint else ""
            return f"{shown(value) if value else 'the empty text'} is not {self.words}{hint}"
        return ""

    def _quotes(self, value: Any) -> str:
        if self.loose or isinstance(value, Mapping | list | tuple) or value is None:
            return ""
        return "; put it in quotes"


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number within bounds."""

    least: int = -LARGEST_WHOLE
    most: int = LARGEST_WHOLE

    def read(self, value: Any, path: str, problems: Problems) -> Any:
        """See Shape."""
        if isinstance(value, float) and math.isfinite(value) and value == int(value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, numbers.Integral):
            problems.add(path, f"needs a whole number{self._range()}, not {kind_of(value)}")
            return BAD
        number = int(value)
        if not self.least <= number <= self.most:
            kind = "" if self._range().startswith(" from") else " a number" if self._range() else " a possible number"
            problems.add(path, f"{short(str(number))} is not{kind}{self._range()}")
            return BAD
        return number

    def schema(self, definitions: Schema) -> Schema:
        """See Shape."""
        return {"type": "integer", "minimum": self.least, "maximum": self.most}

    def _range(self) -> str:
        if self.most == LARGEST_WHOLE:
            return f" of {self.least} or more" if self.least != -LARGEST_WHOLE else ""
        return f" from {self.least} to {self.most}"


@dataclass(frozen=True, slots=True)
class Number:
    """A finite number within bounds; ``above`` excludes the lower bound."""

    least: float
    most: float
    above: bool = False
    unit: str = ""

    def read(self, value: Any, path: str, problems: Problems) -> Any:
        """See Shape."""
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            problems.add(path, f"needs a number{self._unit()}{self._range()}, not {kind_of(value)}")
            return BAD
        number = _float(value)
        inside = self.least < number <= self.most if self.above else self.least <= number <= self.most
        if not inside:  # NaN is never inside
            problems.add(path, f"{short(str(value))} is not a number{self._unit()}{self._range()}")
            return BAD
        return number

    def schema(self, definitions: Schema) -> Schema:
        """See Shape."""
        return {"type": "number", "exclusiveMinimum" if self.above else "minimum": self.least, "maximum": self.most}

    def _unit(self) -> str:
        return f" of {self.unit}" if self.unit else ""

    def _range(self) -> str:
        least, most = f"{self.least:g}", f"{self.most:.12g}"
        return f" above {least}, at most {most}" if self.above else f" from {least} to {most}"


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""

    def read(self, value: Any, path: str, problems: Problems) -> Any:
        """See Shape."""
        if isinstance(value, bool):
            return value
        problems.add(path, f"needs true or false, not {kind_of(value)}")
        return BAD

    def schema(self, definitions: Schema) -> Schema:
        """See Shape."""
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few texts."""

    values: tuple[str, ...]

    def read(self, value: Any, path: str, problems: Problems) -> Any:
        """See Shape."""
        if isinstance(value, str) and value in self.values:
            return str(value)
        if isinstance(value, str):
            hint = near(value, self.values)
            close = f"; {hint}" if hint.startswith("did") else ""
            problems.add(path, f"{shown(value)} is not one of {', '.join(self.values)}{close}")
        else:
            problems.add(path, f"needs one of {', '.join(self.values)}, not {kind_of(value)}")
        return BAD

    def schema(self, definitions: Schema) -> Schema:
        """See Shape."""
        return {"enum": list(self.values)}


@dataclass(frozen=True, slots=True)
class Amount:
    """A Kubernetes quantity, read into its canonical text."""

    parse: Callable[[str], int]
    text: Callable[[int], str]
    least: int
    most: int
    words: str

    def read(self, value: Any, path: str, problems: Problems) -> Any:
        """See Shape."""
        if isinstance(value, bool) or not isinstance(value, str | numbers.Real):
            problems.add(path, f"needs {self.words}, not {kind_of(value)}")
            return BAD
        try:
            size = self.parse(str(value))
        except InvalidSpec as error:
            problems.add(path, error.message)
            return BAD
        if not self.least <= size <= self.most:
            bounds = f"{self.text(self.least)} to {self.text(self.most)}"
            problems.add(path, f"{short(str(value))} is not within what one task may ask for ({bounds})")
            return BAD
        return self.text(size)

    def schema(self, definitions: Schema) -> Schema:
        """See Shape."""
        return {
            "type": ["string", "number"],
            "pattern": r"^\+?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3}|[KMGTPE]i|[numkMGTPE])?$",
            "minimum": 0,
            "description": self.words,
        }


@dataclass(frozen=True, slots=True)
class Free:
    """Any JSON data, bounded in size and depth; ``mapping`` asks for a mapping at the top."""

    most: int
    mapping: bool = True
    key: Text = Text()

    def read(self, value: Any, path: str, problems: Problems) -> Any:
        """See Shape."""
        if self.mapping and not isinstance(value, Mapping):
            problems.add(path, f"needs a mapping of names to values, not {kind_of(value)}")
            return BAD
        before, budget = len(problems), [self.most]
        found = self._plain(value, path, problems, budget, 1)
        if budget[0] < 0 and len(problems) == before:
            problems.add(path, f"is too large; at most {self.most} characters are possible")
        return BAD if len(problems) > before else found

    def schema(self, definitions: Schema) -> Schema:
        """See Shape."""
        if not self.mapping:
            return {}
        return {"type": "object", **({"propertyNames": self.key.schema(definitions)} if self.key.pattern else {})}

    def _plain(self, value: Any, path: str, problems: Problems, budget: list[int], level: int) -> Any:
        """Return a copy in plain JSON types."""
        budget[0] -= 2
        if budget[0] < 0:
            return BAD
        if isinstance(value, Mapping | list | tuple):
            if level > DEEPEST:
                problems.add(path, f"is nested deeper than {DEEPEST} levels")
                return BAD
            if isinstance(value, Mapping):
                return self._mapping(value, path, problems, budget, level)
            return [self._plain(each, f"{path}[{at}]", problems, budget, level + 1) for at, each in enumerate(value)]
        if isinstance(value, str):
            budget[0] -= len(value)
            return Text(most=self.most).read(value, path, problems)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, numbers.Integral):
            return Whole().read(value, path, problems)
        return Number(-math.inf, math.inf).read(value, path, problems) if _finite(value, path, problems) else BAD

    def _mapping(self, value: Mapping[Any, Any], path: str, problems: Problems, budget: list[int], level: int) -> Any:
        found: dict[str, Any] = {}
        for name, each in value.items():
            where = f"{path}.{short(str(name))}"
            budget[0] -= len(str(name))
            key = (self.key if level == 1 else Text()).read(name, where, problems)
            found[key if key is not BAD else str(name)] = self._plain(each, where, problems, budget, level + 1)
        return found


def _float(value: numbers.Real) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _finite(value: Any, path: str, problems: Problems) -> bool:
    if not isinstance(value, numbers.Real):
        problems.add(path, f"needs a text, number, true or false, list or mapping, not {kind_of(value)}")
        return False
    if not math.isfinite(_float(value)):
        problems.add(path, f"{value} is not a finite number; give it as a text")
        return False
    return True
