"""Calls about reservations, and about draining, closing and opening nodes, as data. No I/O.

All but looking needs an administrator's token. Times are Unix seconds, RFC 3339 texts, or wall clock times of ``zone``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from octopus_hub.client.calls import Call, Plain, Rows

_JSON = {"Content-Type": "application/json"}
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def get_all() -> Call[Rows]:
    """Every reservation and drain with its state."""
    return Call("GET", "/reservations", lambda body: list(_decode(body).get("items", ())))


def put(name: str, document: Mapping[str, Any]) -> Call[Plain]:
    """Reserve nodes, in place of the reservation of that name."""
    return Call("PUT", f"/reservations/{_part(name)}", _decode, body=_body(document), headers=_JSON)


def remove(name: str) -> Call[None]:
    """Remove a reservation."""
    return Call("DELETE", f"/reservations/{_part(name)}", lambda _: None)


def drain(node: str, document: Mapping[str, Any]) -> Call[Plain]:
    """Drain a node: ``at``, ``until``, ``graceSeconds``, ``zone``, ``reason``."""
    return Call("POST", f"/nodes/{_part(node)}/drain", _decode, body=_body(document), headers=_JSON)


def close(node: str, reason: str) -> Call[Plain]:
    """Start nothing more on a node."""
    return Call("POST", f"/nodes/{_part(node)}/close", _decode, body=_body({"reason": reason}), headers=_JSON)


def open_(node: str) -> Call[None]:
    """Take back a drain or a close."""
    return Call("POST", f"/nodes/{_part(node)}/open", lambda _: None)


def _body(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document).encode()


def _part(name: str) -> str:
    # a lone dot segment would be folded away by URL normalisation and reach another path
    return quote(name, safe="") if name.strip(".") else name.replace(".", "%2E")
