"""Every error as an answer of RFC 9457 (``application/problem+json``), in the service's words and form."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec
from tornado.web import HTTPError

from octopus_hub.model.errors import OctopusError

MEDIA_TYPE = "application/problem+json"
_DETAILS = {
    403: (
        "refused",
        "this Jupyter server refuses the request; log in to it again, and send its _xsrf cookie back in the header "
        "X-XSRFToken",
    ),
    404: ("not_found", "there is nothing here for this page"),
    405: ("method_not_allowed", "this method is not possible here"),
}
_OF_PROBLEM = frozenset({"type", "title", "status", "code", "detail"})


def problem_of(error: BaseException | None, status: int = 500) -> tuple[int, bytes]:
    """Return status and body of the answer; nothing internal is told."""
    if isinstance(error, OctopusError):
        details = {key: value for key, value in error.details.items() if key not in _OF_PROBLEM and value}
        return error.status, _document(error.code, error.status, error.message, details)
    if isinstance(error, HTTPError):
        status = error.status_code
    elif error is not None:
        status = 500
    words = HTTPStatus(status).phrase.lower() if status in HTTPStatus._value2member_map_ else "error"
    fallback = ("bad_request", f"the request was not understood: {words}")
    if status >= 500:
        fallback = ("error", "something went wrong in the Jupyter server; its log says what")
    code, detail = _DETAILS.get(status, fallback)
    return status, _document(code, status, detail, {})


def _document(code: str, status: int, detail: str, details: dict[str, Any]) -> bytes:
    kind = f"urn:octopus-hub:problem:{code}"
    head = {"type": kind, "title": code.replace("_", " "), "status": status, "code": code, "detail": detail}
    return msgspec.json.encode({**head, **details})
