"""Calls about the definitions of queues and cohorts as data; changing them needs an administrator's token. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote

import msgspec

from octopus_hub.client.calls import Call, Plain

Kind = Literal["queue", "cohort"]

_JSON = {"Content-Type": "application/json"}
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def get(kind: Kind, name: str) -> Call[Plain]:
    """One definition with its use."""
    return Call("GET", _path(kind, name), _decode)


def define(kind: Kind, name: str, document: Mapping[str, Any]) -> Call[Plain]:
    """Put a whole definition in place of the one of that name."""
    return Call("PUT", _path(kind, name), _decode, body=_body(document), headers=_JSON)


def change(kind: Kind, name: str, fields: Mapping[str, Any]) -> Call[Plain]:
    """Change some fields (a JSON merge patch); None takes one back to its default. Repeating it changes nothing."""
    return Call("PATCH", _path(kind, name), _decode, body=_body(fields), headers=_JSON)


def remove(kind: Kind, name: str) -> Call[None]:
    """Remove a definition that nothing uses."""
    return Call("DELETE", _path(kind, name), lambda _: None)


def reset(kind: Kind, name: str) -> Call[Plain]:
    """Go back to what the configuration file says."""
    return Call("POST", f"{_path(kind, name)}/reset", _decode)


def _body(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document).encode()  # numbers of a file remember how they were written; only json takes those


def _path(kind: Kind, name: str) -> str:
    # a lone dot segment would be folded away by URL normalisation and reach another path
    part = quote(name, safe="") if name.strip(".") else name.replace(".", "%2E")
    return f"/{kind}s/{part}"
