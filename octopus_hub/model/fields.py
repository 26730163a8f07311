"""Shapes of lists, mappings and structs, made from the structs of the model themselves. Pure.

A field whose shape is not in the given table gets one from its type, so a new field of the API is read, checked for
its type and described in the schema without a word here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import inspect

from octopus_hub.model.problems import Problems, kind_of, near, short
from octopus_hub.model.shapes import BAD, LARGEST_WHOLE, Choice, Flag, Free, Number, Schema, Shape, Text, Whole

MOST_ITEMS = 1000
MOST_FREE = 64 * 1024

Rule = Callable[[dict[str, Any], str, Problems], None]
"""A check over the fields of one struct that were given, by their wire names; what could not be read is BAD."""


@dataclass(frozen=True, slots=True)
class Items:
    """A list of one shape."""

    item: Shape
    most: int = MOST_ITEMS
    least: int = 0
    words: str = "a list"
    example: Callable[[Any], str] | None = None  # how a value of another kind is written as a list

    def read(self, value: Any, path: str, problems: Problems) -> Any:
        """Return the list; items that can't be read stay in their places as BAD."""
        if not isinstance(value, list | tuple):
            hint = self.example(value) if self.example else ""
            problems.add(path, f"needs {self.words}, not {kind_of(value)}{hint}")
            return BAD
        if not self.least <= len(value) <= self.most:
            what = f"has {len(value)} entries, at most {self.most} are possible" if value else "is empty"
            problems.add(path, what)
            return BAD
        return [self.item.read(each, f"{path}[{at}]", problems) for at, each in enumerate(value)]

    def schema(self, definitions: Schema) -> Schema:
        """See Shape."""
        found: Schema = {"type": "array", "items": self.item.schema(definitions), "maxItems": self.most}
        return {**found, "minItems": self.least} if self.least else found


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping of names to values of one shape."""

    key: Text
    value: Shape
    most: int = MOST_ITEMS
    what: str = "a mapping of names to values"

    def read(self, value: Any, path: str, problems: Problems) -> Any:
        """Return the entries that can be read."""
        if not isinstance(value, Mapping):
            problems.add(path, f"needs {self.what}, not {kind_of(value)}")
            return BAD
        if len(value) > self.most:
            problems.add(path, f"has {len(value)} entries, at most {self.most} are possible")
            return BAD
        found: dict[str, Any] = {}
        for name, each in value.items():
            where = f"{path}.{short(str(name))}"
            key, content = self.key.read(name, where, problems), self.value.read(each, where, problems)
            if key is not BAD and content is not BAD:
                found[key] = content
        return found

    def schema(self, definitions: Schema) -> Schema:
        """See Shape."""
        found: Schema = {"type": "object", "additionalProperties": self.value.schema(definitions)}
        if self.key.pattern:
            found["propertyNames"] = self.key.schema(definitions)
        return {**found, "maxProperties": self.most}


@dataclass(frozen=True, slots=True)
class Either:
    """A value of a simple kind, or a mapping (or a fixed text)."""

    plain: Shape
    other: Shape

    def read(self, value: Any, path: str, problems: Problems) -> Any:
        """See Shape."""
        chosen = self.other if isinstance(value, str if isinstance(self.other, Choice) else Mapping) else self.plain
        return chosen.read(value, path, problems)

    def schema(self, definitions: Schema) -> Schema:
        """See Shape."""
        return {"anyOf": [self.plain.schema(definitions), self.other.schema(definitions)]}


@dataclass(frozen=True, slots=True)
class OrList:
    """A single value, or a list of some."""

    single: Shape
    items: Items

    def read(self, value: Any, path: str, problems: Problems) -> Any:
        """See Shape."""
        return (self.items if isinstance(value, list | tuple) else self.single).read(value, path, problems)

    def schema(self, definitions: Schema) -> Schema:
        """See Shape."""
        return {"anyOf": [self.single.schema(definitions), self.items.schema(definitions)]}


@dataclass(frozen=True, slots=True)
class OrNull:
    """A value that may be null."""

    shape: Shape

    def read(self, value: Any, path: str, problems: Problems) -> Any:
        """See Shape."""
        return None if value is None else self.shape.read(value, path, problems)

    def schema(self, definitions: Schema) -> Schema:
        """See Shape."""
        return {"anyOf": [self.shape.schema(definitions), {"type": "null"}]}


@dataclass(frozen=True, slots=True)
class Dropped:
    """A field that only the service sets: accepted, whatever it holds, and left out."""

    def read(self, value: Any, path: str, problems: Problems) -> Any:
        """See Shape."""
        return BAD

    def schema(self, definitions: Schema) -> Schema:
        """See Shape."""
        return {"description": "Set by the service; ignored in a document that is submitted."}


@dataclass(frozen=True)
class Fields:
    """A struct: its fields by their wire names, the required ones, and the rule over all of them."""

    name: str
    summary: str
    shapes: dict[str, Shape] = field(default_factory=dict)
    required: dict[str, Shape] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)
    hints: Mapping[str, str] = field(default_factory=dict)  # unknown field -> where it belongs
    rule: Rule | None = None
    rule_schema: Schema = field(default_factory=dict)  # what JSON Schema can say of the rule

    def read(self, value: Any, path: str, problems: Problems) -> Any:
        """Return the fields that were given; those that can't be read are BAD."""
        if not isinstance(value, Mapping):
            problems.add(path, f"needs a mapping, not {kind_of(value)}")
            return BAD
        found: dict[str, Any] = {}
        for key, each in value.items():
            # YAML 1.1 readers take an unquoted ``on`` for true
            name = "on" if key is True and "on" in self.shapes else key
            where = f"{path}.{short(str(name))}" if path else short(str(name))
            shape = self.shapes.get(name) if isinstance(name, str) else None
            if shape is None:
                problems.add(where, f"unknown field; {self._hint(str(name))}")
            elif each is None and not isinstance(shape, OrNull | Dropped):
                problems.add(where, "has no value; give one or leave the field out")
                found[name] = BAD
            elif not isinstance(shape, Dropped):
                found[name] = shape.read(each, where, problems)
        for name, shape in self.required.items():
            if name not in found:
                _missing(shape, f"{path}.{name}" if path else name, problems)
        if self.rule is not None:
            self.rule(found, path, problems)
        return found

    def schema(self, definitions: Schema) -> Schema:
        """See Shape."""
        if self.name not in definitions:
            definitions[self.name] = {}  # its place, in the order of the structs
            properties = {name: shape.schema(definitions) for name, shape in self.shapes.items()}
            for name, default in self.defaults.items():
                properties[name] = {**properties[name], "default": default}
            found: Schema = {"title": self.name, "type": "object", "description": self.summary}
            found |= {"properties": properties, "additionalProperties": False}
            if self.required:
                found["required"] = list(self.required)
            definitions[self.name] = {**found, **self.rule_schema}
        return {"$ref": f"#/$defs/{self.name}"}

    def _hint(self, name: str) -> str:
        known = self.hints.get(name)
        if known is not None:
            return known
        return near(name, [each for each, shape in self.shapes.items() if not isinstance(shape, Dropped)])


@dataclass(frozen=True)
class More:
    """What the types of a struct's fields do not say.

    Attributes
    ----------
    shapes : dict
        By Python name of the field: its shape, or a function of the maker that returns it.
    needed : tuple of str
        Wire names of fields that must be given although the struct has a default.
    hints : dict
        For fields that the struct does not have: where they belong.
    dropped : tuple of str
        Wire names of fields that are accepted and left out though the struct does not have them.
    rule, rule_schema
        A check over all fields, and what JSON Schema can say of it.
    """

    shapes: Mapping[str, Shape | Callable[[Shapes], Shape]] = field(default_factory=dict)
    needed: tuple[str, ...] = ()
    hints: Mapping[str, str] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    rule: Rule | None = None
    rule_schema: Schema = field(default_factory=dict)


class Shapes:
    """Makes the shapes of structs; ``more`` says what their types do not."""

    def __init__(self, more: Mapping[type, More]) -> None:
        self._more = more
        self._made: dict[type, Fields] = {}

    def of(self, cls: type[msgspec.Struct]) -> Fields:
        """Return the shape of a struct."""
        if cls in self._made:
            return self._made[cls]
        more = self._more.get(cls, More())
        summary = " ".join((cls.__doc__ or "").split("\n\n")[0].split())
        made = Fields(cls.__name__, summary, hints=more.hints, rule=more.rule, rule_schema=more.rule_schema)
        self._made[cls] = made
        info = inspect.type_info(cls)
        assert isinstance(info, inspect.StructType)
        for each in info.fields:
            given = more.shapes.get(each.name) or self._from_type(each.type)
            shape = given(self) if callable(given) else given
            made.shapes[each.encode_name] = shape
            if each.required or each.encode_name in more.needed:
                made.required[each.encode_name] = shape
            elif not isinstance(shape, Fields | Dropped) and each.default not in (msgspec.NODEFAULT, None):
                made.defaults[each.encode_name] = msgspec.to_builtins(each.default)
        made.shapes.update({name: Dropped() for name in more.dropped})
        return made

    def _from_type(self, info: inspect.Type) -> Shape:
        match info:
            case inspect.StructType():
                return self.of(info.cls)
            case inspect.ListType():
                return Items(self._from_type(info.item_type))
            case inspect.DictType():
                if isinstance(info.value_type, inspect.AnyType):
                    return Free(MOST_FREE)
                return Table(Text(), self._from_type(info.value_type))
            case inspect.LiteralType():
                return Choice(tuple(str(value) for value in info.values))
            case inspect.UnionType():
                return self._union(info)
            case inspect.StrType():
                return Text()
            case inspect.BoolType():
                return Flag()
            case inspect.IntType():
                return Whole()
            case inspect.FloatType():
                return Number(-LARGEST_WHOLE, LARGEST_WHOLE)
        raise TypeError(f"no shape for {info}")

    def _union(self, info: inspect.UnionType) -> Shape:
        kinds = [each for each in info.types if not isinstance(each, inspect.NoneType)]
        composite = [each for each in kinds if isinstance(each, inspect.StructType | inspect.LiteralType)]
        simple = [each for each in kinds if each not in composite]
        shape = (
            self._from_type(kinds[0])
            if len(kinds) == 1
            else Either(self._from_type(simple[0]), self._from_type(composite[0]))
        )
        return OrNull(shape) if len(kinds) < len(info.types) else shape


def _missing(shape: Shape, where: str, problems: Problems) -> None:
    if isinstance(shape, Fields) and shape.required:
        for name, inner in shape.required.items():
            _missing(inner, f"{where}.{name}", problems)
    else:
        problems.add(where, "is missing")
