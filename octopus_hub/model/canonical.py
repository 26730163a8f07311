"""The canonical form of API objects and its digest: equal objects have equal bytes, whatever the order of keys. Pure.

The wire form alone will not do: ``omit_defaults`` leaves out only what is the very default, not what equals it, so a
document that spells a default out would have another digest.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any, get_args

import msgspec

from octopus_hub.model.base import ApiStruct


def canonical(value: ApiStruct) -> bytes:
    """Return compact JSON with sorted keys; fields that equal their default are left out."""
    return msgspec.json.encode(_plain(value), order="sorted")


def digest(value: ApiStruct) -> str:
    """Return ``sha256:<hex>`` of the canonical form."""
    return f"sha256:{hashlib.sha256(canonical(value)).hexdigest()}"


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        found = {}
        for name, wire_name, default, is_float in _fields(type(value)):
            content = getattr(value, name)
            if content != default:
                found[wire_name] = float(content) if is_float and isinstance(content, int) else _plain(content)
        return found
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


@cache
def _fields(cls: type[msgspec.Struct]) -> tuple[tuple[str, str, Any, bool], ...]:
    """Return name, wire name, default and whether it is a float of each field."""
    return tuple(
        (
            each.name,
            each.encode_name,
            each.default if each.default_factory is msgspec.NODEFAULT else each.default_factory(),
            float in (each.type, *get_args(each.type)),
        )
        for each in msgspec.structs.fields(cls)
    )
