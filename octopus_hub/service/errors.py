"""One mapping of every exception to an answer of RFC 9457 (``application/problem+json``).

What we raise on purpose keeps its code, status and words; everything else is a 500 without internals, with an id that
stands in the log. Called by the handlers' ``write_error`` only.
"""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import msgspec
from tornado.web import HTTPError

from octopus_hub.model.errors import OctopusError, RateLimited

MEDIA_TYPE = "application/problem+json"
_OWN = frozenset({"type", "title", "status", "code", "detail"})
_HTTP_CODES = {400: "bad_request", 401: "unauthenticated", 403: "refused", 404: "not_found", 405: "method_not_allowed"}


@dataclass(frozen=True, slots=True)
class Problem:
    """A status, headers and the document. ``id`` is set for what nobody meant to happen."""

    status: int
    document: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)
    id: str = ""

    @property
    def body(self) -> bytes:
        """The document's bytes."""
        return msgspec.json.encode(self.document)


def problem_of(error: BaseException | None, status: int = 500) -> Problem:
    """Return the answer to an exception (``status`` counts only where there is none)."""
    if isinstance(error, OctopusError):
        return _of_ours(error)
    if isinstance(error, HTTPError):
        status = error.status_code
    elif error is not None:
        status = 500
    if status < 500:
        # tornado's own refusals: arguments that are not UTF-8, methods that don't exist
        words = HTTPStatus(status).phrase.lower() if status in HTTPStatus._value2member_map_ else "bad request"
        return Problem(
            status,
            _document(_HTTP_CODES.get(status, "bad_request"), status, f"The request was not understood: {words}."),
        )
    identifier = uuid.uuid4().hex[:12]
    detail = f"Something went wrong inside the service; the log says what under {identifier}."
    return Problem(status, {**_document("error", status, detail), "id": identifier}, id=identifier)


def _of_ours(error: OctopusError) -> Problem:
    headers: dict[str, str] = {}
    if isinstance(error, RateLimited):
        headers["Retry-After"] = str(max(1, math.ceil(float(error.details.get("retry_after_seconds", 1)))))
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="octopus"'
    details = {name: value for name, value in error.details.items() if name not in _OWN and value not in (None, [])}
    return Problem(error.status, {**_document(error.code, error.status, error.message), **details}, headers)


def _document(code: str, status: int, detail: str) -> dict[str, Any]:
    return {
        "type": f"urn:octopus-hub:problem:{code}",
        "title": code.replace("_", " "),
        "status": status,
        "code": code,
        "detail": detail,
    }
