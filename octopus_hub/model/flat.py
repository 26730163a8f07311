"""The flat form: ``TaskSet("name", roles=[Role("worker", devices={"gpu": 1}, command=[...])])``.

A metaclass moves flat arguments to where the full form has them and passes everything else through, so that
``msgspec.convert`` (which calls the class with plain field names) and users share one constructor.
"""

from __future__ import annotations

import numbers
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.problems import near


class WrongArgument(InvalidSpec, TypeError):
    """An argument of the flat form that can't be meant; a TypeError, as Python says it, and one of our errors."""


class FlatMeta(msgspec.StructMeta):
    """Metaclass of structs that accept a flat form; the class says how in ``__flatten__``."""

    if not TYPE_CHECKING:  # hidden from the type checker, which sees the full form only

        def __call__(cls, *args: Any, **kwargs: Any) -> Any:
            flatten = getattr(cls, "__flatten__", None)
            if flatten is not None:
                args, kwargs = flatten(args, kwargs)
            return super().__call__(*args, **kwargs)


def known_fields(cls: type[msgspec.Struct], given: dict[str, Any], flat: Iterable[str]) -> dict[str, Any]:
    """Return the arguments; raises WrongArgument with a near match for one that neither form has."""
    known = [*cls.__struct_fields__, *(name for name in flat if name not in cls.__struct_fields__)]
    for name in given:
        if name not in known:
            raise WrongArgument(f"{cls.__name__} has no field {name}; {near(name, known)}")
    return given


def plain_value(value: Any) -> Any:
    """Return what a value of another library stands for in a document: a path's text, a plain number or list."""
    if hasattr(value, "__fspath__"):
        return value.__fspath__()
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    if hasattr(value, "tolist"):  # arrays, and their scalars that are no registered numbers
        return value.tolist()
    raise WrongArgument(f"a TaskSet can't hold a {type(value).__name__}; give texts, numbers, lists or dictionaries")
