"""The canonical form of API objects and its digest: equal objects have equal bytes, whatever the order of keys. Pure."""

from __future__ import annotations

import hashlib

import msgspec

from octopus_hub.model.base import ApiStruct


def canonical(value: ApiStruct) -> bytes:
    """Return compact JSON with sorted keys; fields that have their default are left out."""
    return msgspec.json.encode(value, order="sorted")


def digest(value: ApiStruct) -> str:
    """Return ``sha256:<hex>`` of the canonical form."""
    return f"sha256:{hashlib.sha256(canonical(value)).hexdigest()}"
