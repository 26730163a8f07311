"""What is tried again, after which pause, and which error a refusal becomes. No network: the generator is fed by hand."""

from __future__ import annotations

from typing import Any

import pytest

from octopus_hub.client import calls, exchange
from octopus_hub.client.calls import Call
from octopus_hub.client.connection import Connection
from octopus_hub.client.exchange import Answer, Lost, Patience, Pause, StreamLost
from octopus_hub.client.failures import LocalFileError, TaskSetFailed, WaitTimeout
from octopus_hub.model.errors import (
    Conflict,
    InvalidSpec,
    NotFound,
    OctopusError,
    RateLimited,
    Refused,
    Unauthenticated,
    Unavailable,
    error_classes,
)
from octopus_hub.model.taskset import Role, TaskSet
from octopus_hub.service.errors import problem_of

CONNECTION = Connection("http://127.0.0.1:8000/services/octopus", "token", "OCTOPUS_URL")
TASKSET = TaskSet("mnist", roles=[Role("worker", command=["true"])])
SAFE, UNSAFE, DELETE = calls.whoami(), calls.submit(TASKSET), calls.delete_taskset("mnist")
NEVER_SENT, MAYBE_SENT = Lost("connection refused", sent=False), Lost("connection reset", sent=True)
OK = Answer(200, {}, b"{}")


def answer(status: int, **headers: str) -> Answer:
    """Return an answer without a body."""
    return Answer(status, headers)


def play(
    call: Call[Any], outcomes: list[Answer | Lost], jitter: float = 0.5
) -> tuple[Answer | OctopusError, list[float]]:
    """Feed outcomes to an exchange; return its end and the pauses it asked for. The last outcome repeats."""
    steps, pauses = exchange.exchange(call, CONNECTION, lambda: jitter), []
    outcome: Answer | Lost | None = None
    sends = iter([*outcomes, *[outcomes[-1]] * 50])
    try:
        while True:
            step = steps.send(outcome)
            if isinstance(step, Pause):
                pauses.append(step.seconds)
                outcome = None
            else:
                assert step is call
                outcome = next(sends)
    except StopIteration as done:
        return done.value, pauses
    except OctopusError as error:
        return error, pauses


@pytest.mark.parametrize(
    ("call", "outcomes", "pauses", "end"),
    [
        pytest.param(SAFE, [OK], [], Answer, id="first try"),
        pytest.param(SAFE, [MAYBE_SENT, OK], [0.2], Answer, id="a lost answer to a safe call"),
        pytest.param(SAFE, [answer(503), answer(502), OK], [0.2, 0.4], Answer, id="a service that restarts"),
        pytest.param(SAFE, [MAYBE_SENT], [0.2, 0.4, 0.8, 1.6], Unavailable, id="five tries, then told"),
        pytest.param(SAFE, [NEVER_SENT], [0.2, 0.4], Unavailable, id="nobody listens: three tries, then told"),
        pytest.param(SAFE, [MAYBE_SENT, MAYBE_SENT, NEVER_SENT, OK], [0.2, 0.4, 0.8], Answer, id="gone for a moment"),
        pytest.param(SAFE, [MAYBE_SENT, NEVER_SENT], [0.2, 0.4, 0.8], Unavailable, id="and then for good"),
        pytest.param(SAFE, [answer(500)], [], OctopusError, id="a fault of the service is not repeated"),
        pytest.param(SAFE, [answer(404)], [], NotFound, id="a refusal is final"),
        pytest.param(SAFE, [answer(409)], [], Conflict, id="a conflict is final"),
        pytest.param(SAFE, [answer(302)], [], Unauthenticated, id="sent to a log-in page"),
        pytest.param(UNSAFE, [MAYBE_SENT, OK], [], Unavailable, id="a lost answer to an unsafe call is not repeated"),
        pytest.param(UNSAFE, [answer(503), OK], [], Unavailable, id="nor is a refusal of one"),
        pytest.param(UNSAFE, [NEVER_SENT, OK], [0.2], Answer, id="what was never sent may be sent"),
        pytest.param(SAFE, [answer(429, **{"retry-after": "3"}), OK], [3.0], Answer, id="waits as long as asked"),
        pytest.param(SAFE, [answer(429, **{"retry-after": "0"}), OK], [0.2], Answer, id="not less than the back-off"),
        pytest.param(SAFE, [answer(429, **{"retry-after": "3600"})], [], RateLimited, id="an hour is not waited"),
        pytest.param(
            SAFE, [answer(429, **{"retry-after": "Wed, 21 Oct"}), OK], [0.2], Answer, id="a date: our back-off"
        ),
        pytest.param(DELETE, [MAYBE_SENT, answer(404)], [0.2], Answer, id="a delete whose answer was lost is done"),
        pytest.param(DELETE, [answer(503), answer(404)], [0.2], NotFound, id="one that was refused before is not"),
        pytest.param(DELETE, [answer(404)], [], NotFound, id="nothing to delete"),
    ],
)
def test_tries(call: Call[Any], outcomes: list[Answer | Lost], pauses: list[float], end: type) -> None:
    result, paused = play(call, outcomes)
    assert isinstance(result, end), result
    assert paused == pytest.approx(pauses)


def test_pauses_are_spread_and_bounded() -> None:
    assert play(SAFE, [MAYBE_SENT, OK], jitter=0.0)[1] == pytest.approx([0.1])
    assert play(SAFE, [MAYBE_SENT, OK], jitter=0.999)[1][0] < 0.3
    assert max(play(SAFE, [MAYBE_SENT], jitter=0.999)[1]) <= 1.5 * exchange.LONGEST_DELAY_SECONDS


def test_the_sentence_for_a_service_that_is_away() -> None:
    error, _ = play(SAFE, [NEVER_SENT])
    assert str(error) == (
        "the octopus service at http://127.0.0.1:8000/services/octopus can't be reached (connection refused); "
        "start it with `make run` (or `octopus up`), or correct the address from OCTOPUS_URL"
    )


# --- errors


def refusal(error: OctopusError) -> Answer:
    """Return what the service answers with for an error."""
    problem = problem_of(error)
    return Answer(problem.status, {"content-type": "application/problem+json"}, problem.body)


def _example(kind: type[OctopusError]) -> OctopusError:
    if kind is InvalidSpec:
        return InvalidSpec("two things are wrong", ["spec.a: is wrong", "spec.b: too"], hint="x")
    return kind("one sentence with the way out", usage=3, limit=2, rule="openTaskSets")


REACHING = [kind for kind in error_classes().values() if kind.__module__ == OctopusError.__module__]


@pytest.mark.parametrize("kind", REACHING, ids=lambda kind: kind.__name__)
def test_an_error_of_the_service_arrives_as_the_same_error(kind: type[OctopusError]) -> None:
    sent = _example(kind)
    arrived = exchange.error_of(refusal(sent), CONNECTION)
    assert type(arrived) is kind
    assert (arrived.message, str(arrived)) == (sent.message, str(sent))
    assert {key: value for key, value in arrived.details.items() if key in sent.details} == sent.details
    if isinstance(sent, InvalidSpec):
        assert isinstance(arrived, InvalidSpec)
        assert arrived.problems == sent.problems


def test_every_class_has_a_code_of_its_own() -> None:
    codes = [kind.code for kind in error_classes().values()]
    assert len(codes) == len(set(codes))
    assert {TaskSetFailed, WaitTimeout, LocalFileError, StreamLost} <= set(error_classes().values())


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, Unauthenticated),
        (401, Unauthenticated),
        (403, Refused),
        (404, NotFound),
        (409, Conflict),
        (413, error_classes()["too_large"]),
        (422, InvalidSpec),
        (429, RateLimited),
        (502, Unavailable),
        (503, Unavailable),
        (504, Unavailable),
        (418, OctopusError),
    ],
)
def test_an_answer_that_is_none_of_ours_is_judged_by_its_status(status: int, kind: type[OctopusError]) -> None:
    """A hub's proxy, a web server in between: HTML, nothing, or JSON that is no object."""
    for headers, body in (
        ({"content-type": "text/html"}, b"<html>Bad gateway</html>"),
        ({}, b""),
        ({"content-type": "application/json"}, b"[1]"),
        ({"content-type": "application/json"}, b"{not json"),
    ):
        error = exchange.error_of(Answer(status, headers, body), CONNECTION)
        assert type(error) is kind
        assert "<html>" not in error.message
        assert len(error.message) > 20


def test_an_unknown_code_is_judged_by_status_and_keeps_its_words() -> None:
    body = b'{"code": "invented_tomorrow", "detail": "no more than 3 of these", "status": 403, "limit": 3}'
    error = exchange.error_of(Answer(403, {"content-type": "application/problem+json"}, body), CONNECTION)
    assert type(error) is Refused
    assert (error.message, error.details) == ("no more than 3 of these", {"limit": 3})


def test_fields_of_a_problem_never_break_an_error() -> None:
    body = b'{"code": "invalid_spec", "detail": "no", "message": "x", "self": 1, "problems": 7}'
    error = exchange.error_of(Answer(422, {"content-type": "application/json"}, body), CONNECTION)
    assert isinstance(error, OctopusError)
    assert error.message == "no"


def test_an_answer_that_is_no_json_is_told() -> None:
    with pytest.raises(Unavailable, match="GET /whoami can't be read"):
        exchange.decode(SAFE, Answer(200, {}, b"<html>"))


# --- patience of streams


def test_patience_ends_a_minute_after_the_last_frame() -> None:
    now = [0.0]
    patience = Patience(CONNECTION, lambda: now[0])
    lost = StreamLost("connection reset")
    assert patience.excuse(lost) == "connection reset"
    patience.seen()
    pauses = [patience.pause("connection reset") for _ in range(8)]
    assert pauses == sorted(pauses)
    assert pauses[0] == exchange.FIRST_DELAY_SECONDS
    assert pauses[-1] == exchange.LONGEST_DELAY_SECONDS
    now[0] = 61.0
    with pytest.raises(Unavailable, match="connection reset"):
        patience.pause("connection reset")
    patience.seen()
    assert patience.pause("it ended the stream") == exchange.FIRST_DELAY_SECONDS, "a frame renews it"


def test_a_service_that_was_never_there_is_told_at_once() -> None:
    patience = Patience(CONNECTION, lambda: 0.0)
    with pytest.raises(Unavailable, match="away"):
        patience.excuse(Unavailable("away"))
