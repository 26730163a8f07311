"""Base of all API structs: frozen, keyword-only on the wire in camelCase, unknown fields forbidden."""

from __future__ import annotations

import msgspec


class ApiStruct(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename="camel",
    forbid_unknown_fields=True,
    omit_defaults=True,
):
    """Base class of API objects.

    Field names are ``snake_case`` in Python and ``camelCase`` on the wire; fields that have their default
    are left out of the wire form (those that only equal it may stay; ``model.canonical`` leaves them out too).
    """
