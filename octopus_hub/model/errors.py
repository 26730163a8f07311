"""Exceptions of octopus-hub: one tree, each with a stable code and an HTTP status.

::

    OctopusError
    ├── InvalidSpec        422  invalid_spec       the document itself is wrong; carries every problem found
    ├── Refused            403  refused            a rule (policy, quota, scope) forbids it; names the rule
    │   └── TooLarge       413  too_large          over a size bound
    ├── Unauthenticated    401  unauthenticated    no token, or a forged or expired one
    ├── NotFound           404  not_found          no such object, or not yours: the two are not told apart
    ├── Conflict           409  conflict           the object changed, or its phase does not allow it
    ├── RateLimited        429  rate_limited       carries ``retry_after_seconds``
    ├── Unavailable        503  unavailable        the service (or what is behind it) can't be reached
    └── StateError         500  state_error        the state folder is locked, damaged, full, or of another version

Messages are for users: one sentence with the way out. A refusal inside scheduling is a value
(:class:`octopus_hub.core.reason.Reason`), never one of these.
"""

from __future__ import annotations

from typing import Any, ClassVar


class OctopusError(Exception):
    """Base of all errors of this product.

    Parameters
    ----------
    message : str
        One sentence fit for a user, with the way out.
    details : dict, optional
        JSON-able facts (numbers, names) for programs.
    """

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details: dict[str, Any] = details

    def __str__(self) -> str:
        return self.message

    def _render_traceback_(self) -> list[str]:
        """What notebooks show (IPython asks for it): the sentence and the caller's own line, not our frames."""
        where, step = "", self.__traceback__
        while step is not None:
            frame, line = step.tb_frame, step.tb_lineno
            if not str(frame.f_globals.get("__name__", "")).startswith(("octopus_", "IPython")):
                file = frame.f_code.co_filename
                cell = "ipykernel" in file or file.startswith("<")
                where = f"line {line} of the cell" if cell else f"{file}, line {line}"
            step = step.tb_next
        return [f"{type(self).__name__}: {self}", *([f"  ({where})"] if where else [])]


class InvalidSpec(OctopusError):
    """A document that can't be accepted; ``problems`` lists every error found, each ``path: what``."""

    code = "invalid_spec"
    status = 422

    def __init__(self, message: str, problems: list[str] | None = None, **details: Any) -> None:
        self.problems: list[str] = list(problems or [])
        super().__init__(message, problems=self.problems, **details)

    def __str__(self) -> str:
        if not self.problems or self.problems == [self.message]:
            return self.message
        return "\n".join([self.message, *(f"  {problem}" for problem in self.problems)])


class Refused(OctopusError):
    """A rule forbids it; the message names the rule, the usage and the limit."""

    code = "refused"
    status = 403


class TooLarge(Refused):
    """Over a size bound (body, archive, notebook)."""

    code = "too_large"
    status = 413


class Unauthenticated(OctopusError):
    """No token, or one that is forged or expired."""

    code = "unauthenticated"
    status = 401


class NotFound(OctopusError):
    """No such object, or not the caller's."""

    code = "not_found"
    status = 404


class Conflict(OctopusError):
    """The object changed meanwhile, or its phase does not allow the call."""

    code = "conflict"
    status = 409


class RateLimited(OctopusError):
    """Too many requests; ``details['retry_after_seconds']`` says when to try again."""

    code = "rate_limited"
    status = 429


class Unavailable(OctopusError):
    """The service, or something it needs, can't be reached now."""

    code = "unavailable"
    status = 503


class StateError(OctopusError):
    """The state folder is locked by another engine, damaged, full, or of another schema version."""

    code = "state_error"
    status = 500


def error_classes() -> dict[str, type[OctopusError]]:
    """Every error class by its code; the client maps responses back with it."""
    found: dict[str, type[OctopusError]] = {}
    stack: list[type[OctopusError]] = [OctopusError]
    while stack:
        cls = stack.pop()
        if "code" in vars(cls):  # a subclass without a code of its own is told as its parent
            found[cls.code] = cls
        stack.extend(cls.__subclasses__())
    return found
