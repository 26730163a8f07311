"""What to do with a call: send, pause, send again, or give up. A generator without I/O; two short drivers run it.

Tried again: what is safe to repeat, after a lost connection or a 429, 502 or 503; and anything at all when no
connection came about, since nothing was sent. Every refusal becomes the error class that the service raised.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from octopus_hub.client.calls import Call, T
from octopus_hub.client.connection import Connection
from octopus_hub.model.errors import OctopusError, Unauthenticated, Unavailable, error_classes

TRIES = 5
CONNECT_TRIES = 3
FIRST_DELAY_SECONDS = 0.2
LONGEST_DELAY_SECONDS = 8.0
LONGEST_RETRY_AFTER_SECONDS = 30.0
RETRIED_STATUS = frozenset({429, 502, 503})
_OF_PROBLEM = frozenset({"type", "title", "status", "code", "detail", "instance"})


@dataclass(frozen=True, slots=True)
class Answer:
    """A response. ``raw`` is the transport's own object; ``body`` stays empty while that one is still streaming."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    raw: Any = None


@dataclass(frozen=True, slots=True)
class Lost:
    """No response. ``sent`` says whether the service may have got the request."""

    why: str
    sent: bool


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait before the next try."""

    seconds: float


class StreamLost(Unavailable):
    """The connection of a stream broke."""

    code = "stream_lost"

    def __init__(self, why: str) -> None:
        super().__init__(f"the connection to the octopus service was lost ({why})")
        self.why = why


class Patience:
    """How long a stream that has been open is tried again: a service that restarts is back within a minute."""

    def __init__(self, connection: Connection, clock: Callable[[], float], seconds: float = 60.0) -> None:
        self._connection = connection
        self._clock = clock
        self._seconds = seconds
        self._last_seen: float | None = None
        self._failures = 0

    def seen(self) -> None:
        """A frame came."""
        self._last_seen = self._clock()
        self._failures = 0

    def excuse(self, error: Unavailable) -> str:
        """Return why the stream ended; raises it again when the service was never reached."""
        if self._last_seen is None and not isinstance(error, StreamLost):
            raise error
        return getattr(error, "why", "no connection")

    def pause(self, why: str) -> float:
        """Return how long to wait before the next try; raises Unavailable when the patience is over."""
        self._failures += 1
        since = self._clock() - self._last_seen if self._last_seen is not None else self._seconds
        if self._failures > 1 and since >= self._seconds:
            raise unreachable(self._connection, why)
        return min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** min(self._failures - 1, 10))


Steps = Generator[Call[Any] | Pause, Answer | Lost | None, Answer]


def exchange(call: Call[Any], connection: Connection, jitter: Callable[[], float]) -> Steps:
    """Yield what to do, take what came of it, return the successful answer; raises OctopusError."""
    tried = unsent = 0  # of these, the last ones that found nobody
    perhaps_done = False  # an earlier try may have reached the service
    while True:
        outcome = yield call
        tried += 1
        if isinstance(outcome, Answer) and outcome.status < 300:
            return outcome
        if perhaps_done and call.method == "DELETE" and isinstance(outcome, Answer) and outcome.status == 404:
            return Answer(204, outcome.headers)  # that try has deleted it
        perhaps_done |= isinstance(outcome, Lost) and outcome.sent
        unsent = unsent + 1 if isinstance(outcome, Lost) and not outcome.sent else 0
        delay = None if unsent >= CONNECT_TRIES else _delay_before_retry(call, outcome, tried, jitter)
        if delay is None:
            if isinstance(outcome, Answer):
                raise error_of(outcome, connection)
            raise unreachable(connection, outcome.why if outcome else "nothing came back")
        yield Pause(delay)


def decode(call: Call[T], answer: Answer) -> T:
    """Return the result of a call; an answer we can't read is the service's fault or that of a version between."""
    try:
        return call.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unavailable(
            f"the answer to {call.method} {call.path} can't be read ({error}); "
            "is it an octopus service, and as new as this client?"
        ) from error


def unreachable(connection: Connection, why: str) -> Unavailable:
    """The error for a service that does not answer."""
    return Unavailable(
        f"the octopus service at {connection.url} can't be reached ({why}); start it with `make run` "
        f"(or `octopus up`), or correct the address from {connection.source or 'the caller'}"
    )


def error_of(answer: Answer, connection: Connection) -> OctopusError:
    """Return the error of a refusing answer: its class by code, else by status."""
    problem = _problem(answer)
    classes = error_classes()
    details = {
        key: value for key, value in problem.items() if key not in _OF_PROBLEM and key not in ("message", "self")
    }
    if answer.status == 429 and "retry_after_seconds" not in details:
        details["retry_after_seconds"] = _retry_after(answer)
    kind = classes.get(str(problem.get("code", "")))
    if kind is None or not problem:
        kind = _by_status(answer.status, classes)
    message = str(problem.get("detail") or problem.get("title") or _plain_message(answer, connection))
    return _build(kind, message, details)


def _delay_before_retry(
    call: Call[Any], outcome: Answer | Lost | None, tried: int, jitter: Callable[[], float]
) -> float | None:
    back_off = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** (tried - 1)) * (0.5 + jitter())
    if tried >= TRIES:
        return None
    if isinstance(outcome, Lost) and not outcome.sent:
        return back_off
    if not call.safe:
        return None
    if isinstance(outcome, Answer):
        if outcome.status not in RETRIED_STATUS:
            return None
        asked = _retry_after(outcome)
        if asked is not None:
            return max(asked, back_off) if asked <= LONGEST_RETRY_AFTER_SECONDS else None
    return back_off


def _retry_after(answer: Answer) -> float | None:
    try:
        return max(0.0, float(answer.headers.get("retry-after", "")))
    except ValueError:
        return None  # absent, or a date: our own back-off then


def _problem(answer: Answer) -> dict[str, Any]:
    if "json" not in answer.headers.get("content-type", ""):
        return {}
    try:
        found = json.loads(answer.body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _by_status(status: int, classes: Mapping[str, type[OctopusError]]) -> type[OctopusError]:
    if 300 <= status < 400:
        return Unauthenticated  # a hub sends who has no token to its log-in page
    if status in (502, 503, 504):
        return Unavailable
    candidates = [
        kind for kind in classes.values() if kind.status == status and kind.__module__ == OctopusError.__module__
    ]
    return candidates[0] if candidates else OctopusError


def _plain_message(answer: Answer, connection: Connection) -> str:
    if answer.status in (401, 403) or 300 <= answer.status < 400:
        return (
            f"the service does not accept the token from {connection.source or 'the caller'}; get a new one at the hub"
        )
    if answer.status == 413:
        return "the service refuses a body of this size"
    if answer.status in (502, 503, 504):
        return (
            f"the octopus service at {connection.url} does not answer (HTTP {answer.status}); "
            "is `make run` (or `octopus up`) still running?"
        )
    if answer.status == 404:
        return f"nothing was found at {connection.url} (HTTP 404); is it an octopus service?"
    return f"the service answered HTTP {answer.status}"


def _build(kind: type[OctopusError], message: str, details: dict[str, Any]) -> OctopusError:
    try:
        return kind(message, **details)
    except TypeError:  # an additional field that this class's constructor has another use for
        error = kind(message)
        error.details.update(details)
        return error
