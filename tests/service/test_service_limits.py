"""Bounds: bodies, rates, slots; and how every error is told."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from typing import Any

import httpx
import pytest

from octopus_hub.model.errors import OctopusError, RateLimited, error_classes
from octopus_hub.service.errors import problem_of
from octopus_hub.service.limits import Buckets, Slots
from octopus_hub.service.settings import ServiceSettings
from tests.service.running import LOCAL, Running, document, running

HUNDRED_MEGABYTES = 100 * 10**6


# --- token buckets and slots


def test_a_bucket_gives_its_burst_then_its_rate() -> None:
    now = [0.0]
    buckets = Buckets(2.0, 3.0, lambda: now[0])
    for _ in range(3):
        buckets.take("alice")
    with pytest.raises(RateLimited) as refused:
        buckets.take("alice")
    assert refused.value.details["retry_after_seconds"] == 0.5
    buckets.take("bob")
    now[0] = 0.5
    buckets.take("alice")
    with pytest.raises(RateLimited):
        buckets.take("alice")
    now[0] = 1000.0
    for _ in range(3):
        buckets.take("alice")
    with pytest.raises(RateLimited):
        buckets.check("alice")


def test_buckets_of_many_addresses_are_forgotten_when_full_again() -> None:
    now = [0.0]
    buckets = Buckets(1.0, 2.0, lambda: now[0])
    for number in range(10_000):
        buckets.take(str(number))
    now[0] = 10.0
    buckets.take("one more")
    assert len(buckets._levels) == 1


def test_slots_come_back() -> None:
    slots = Slots(1)
    with slots.hold("alice"), slots.hold("bob"), pytest.raises(RateLimited), slots.hold("alice"):
        pass
    with slots.hold("alice"):
        pass


async def test_too_many_requests_are_told_when_to_come_back() -> None:
    async with running(ServiceSettings(requests_per_second=0.5, burst=3)) as service:
        client = service.client("alice-token")
        assert [(await client.get("whoami")).status_code for _ in range(4)] == [200, 200, 200, 429]
        answer = await client.get("whoami")
        assert answer.headers["Retry-After"] == "2" and answer.json()["code"] == "rate_limited"
        assert (await service.client("bob-token").get("whoami")).status_code == 200
        service.clock[0] += 2.0
        assert (await client.get("whoami")).status_code == 200


async def test_guessing_tokens_is_slowed_down_without_asking_the_hub() -> None:
    async with running(ServiceSettings(failures_per_second=1, failure_burst=5)) as service:
        statuses = [(await service.client(f"guess-{number}").get("whoami")).status_code for number in range(8)]
        assert statuses == [401] * 5 + [429] * 3
        assert service.hub.asked == 5


async def test_guesses_of_others_do_not_shut_out_who_was_let_in() -> None:
    async with running(ServiceSettings(failures_per_second=1, failure_burst=2)) as service:
        alice, local = service.client("alice-token"), service.client(LOCAL)
        assert (await alice.get("whoami")).status_code == 200
        assert [(await service.client(f"g{n}").get("whoami")).status_code for n in range(3)] == [401, 401, 429]
        assert (await alice.get("whoami")).status_code == 200
        assert (await local.get("whoami")).status_code == 200
        assert (await service.client("bob-token").get("whoami")).status_code == 429  # until the guessing stops
        del service.hub.tokens["alice-token"]
        service.oauth.cache.clear()
        service.clock[0] += 1.0
        assert (await alice.get("whoami")).status_code == 401
        assert (await alice.get("whoami")).status_code == 429  # no longer known


async def test_streams_of_one_user_are_bounded() -> None:
    async with running(ServiceSettings(streams_per_user=1)) as service:
        client = service.client("alice-token")
        async with client.stream("GET", "stream") as first:
            assert first.status_code == 200
            assert (await client.get("stream")).status_code == 429
        await service.until(lambda: len(service.app.settings["service"].streams) == 0)
        async with client.stream("GET", "stream") as again:
            assert again.status_code == 200


# --- bodies


async def _head_only(service: Running, length: str, extra: str = "") -> bytes:
    """Announce a body and send none of it; return the whole answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(
        (
            "POST /services/octopus/api/v1/tasksets HTTP/1.1\r\nHost: x\r\nAuthorization: token alice-token\r\n"
            f"Content-Type: application/json\r\nContent-Length: {length}\r\n{extra}\r\n"
        ).encode()
    )
    async with asyncio.timeout(20):
        answer = await reader.read()  # until the service closes
    writer.close()
    return answer


@pytest.mark.parametrize("extra", ["", "Expect: 100-continue\r\n"])
async def test_a_body_of_100_mb_is_refused_before_any_of_it_is_read(service: Running, extra: str) -> None:
    answer = await _head_only(service, str(HUNDRED_MEGABYTES), extra)
    head, body = answer.split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 413") and b"application/problem+json" in head
    problem = json.loads(body)
    assert problem["code"] == "too_large" and problem["limit"] == 8 * 2**20


async def test_a_client_that_sends_100_mb_reads_the_refusal(service: Running) -> None:
    async def chunks() -> Any:
        for _ in range(100):
            yield b" " * 10**6

    headers = {"Content-Length": str(HUNDRED_MEGABYTES)}
    answer = await service.client("alice-token").post("tasksets", content=chunks(), headers=headers)
    assert answer.status_code == 413 and answer.json()["code"] == "too_large"


async def test_a_body_without_a_length_is_bounded_too() -> None:
    async with running(ServiceSettings(json_bytes=1000)) as service:

        async def chunks() -> Any:
            for _ in range(50):
                yield b" " * 100

        answer = await service.client("alice-token").post("tasksets", content=chunks())
        assert answer.status_code == 413
        assert not service.backend.truth.tasksets


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"TaskSet"',
        b"\xff\xfe",
        b'{"metadata": {"name": "\xff"}}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"apiVersion":"octopus-hub.io/v1alpha1","kind":"TaskSet","metadata":{"name":"x"},"spec":NaN}',
        b"metadata: {name: yaml}\n",
        b'{"metadata":{"name":"x"},"spec":' + b'{"roles":' * 400 + b"1" + b"}" * 401,
    ],
)
@pytest.mark.parametrize("path", ["tasksets", "plan", "replay"])
async def test_what_is_no_document_is_invalid_and_never_a_bug(service: Running, path: str, body: bytes) -> None:
    answer = await service.client("alice-token").post(path, content=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] == "invalid_spec" and answer.json()["detail"]


@pytest.mark.parametrize(
    "body", [b"s3cr3t", b'{"value": 12345}', b'{"valve": "s3cr3t"}', b'{"value": "s3cr3t"', b'{"value":"\\ud800"}']
)
async def test_a_malformed_secret_never_comes_back(
    service: Running, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    answer = await service.client("alice-token").put("secrets/token", content=body)
    assert answer.status_code == 422
    assert "s3cr3t" not in answer.text and "12345" not in answer.text and "s3cr3t" not in caplog.text


async def test_secrets_are_write_only_bounded_and_removable() -> None:
    async with running(ServiceSettings(secrets_per_user=2, secret_bytes=10)) as service:
        client = service.client("alice-token")
        assert (await client.put("secrets/one", json={"value": "s3cr3t"})).status_code == 204
        assert (await client.put("secrets/two", json={"value": "ä" * 5})).status_code == 204
        assert (await client.put("secrets/two", json={"value": "ä" * 6})).status_code == 413
        assert (await client.put("secrets/three", json={"value": "x"})).status_code == 403
        assert (await client.put("secrets/one", json={"value": "new"})).status_code == 204
        listed = await client.get("secrets")
        assert listed.json() == {"items": [{"name": "one"}, {"name": "two"}]}
        assert (await client.get("secrets/one")).status_code == 405
        assert (await client.delete("secrets/one")).status_code == 204
        assert (await client.delete("secrets/one")).status_code == 404


# --- errors


async def test_unknown_paths_and_methods_are_problems_too(service: Running) -> None:
    client = service.client("alice-token")
    missing = await client.get("nothing/here")
    assert missing.status_code == 404 and missing.headers["Content-Type"] == "application/problem+json"
    assert missing.json()["code"] == "not_found"
    wrong = await client.patch("tasksets", json={})
    assert wrong.status_code == 405 and wrong.headers["Allow"] == "GET, POST"
    assert wrong.json()["code"] == "method_not_allowed"
    outside = await httpx.AsyncClient(trust_env=False).get(f"http://127.0.0.1:{service.port}/")
    assert outside.status_code == 404 and outside.json()["code"] == "not_found"


async def test_a_bug_tells_an_id_and_nothing_else(service: Running, caplog: pytest.LogCaptureFixture) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("/home/owner/secret/path")

    service.cache.snapshot = broken  # type: ignore[assignment,method-assign]
    answer = await service.client("alice-token").get("nodes")
    assert answer.status_code == 500
    assert "RuntimeError" not in answer.text and "/home" not in answer.text
    identifier = answer.json()["id"]
    assert re.fullmatch(r"[0-9a-f]{12}", identifier) and identifier in caplog.text and "RuntimeError" in caplog.text


def test_every_error_class_keeps_its_code_and_status() -> None:
    ours = {code: cls for code, cls in error_classes().items() if cls.__module__ == OctopusError.__module__}
    assert len(ours) == 10
    for code, cls in ours.items():
        problem = problem_of(cls("words for a user", rule="r", status=999, code="forged"))
        assert (problem.status, problem.document["code"], problem.document["status"]) == (cls.status, code, cls.status)
        assert problem.document["detail"] == "words for a user" and problem.document["rule"] == "r"
        assert problem.document["type"] == f"urn:octopus-hub:problem:{code}"


def test_what_is_no_error_of_ours_tells_nothing() -> None:
    problem = problem_of(KeyError("secret"))
    assert problem.status == 500 and "secret" not in str(problem.document)


async def test_every_answer_carries_the_headers_of_a_service_without_other_origins(service: Running) -> None:
    client = service.client("alice-token", Origin="https://evil.example")
    for answer in (
        await client.get("whoami"),
        await client.get("nothing"),
        await client.post("tasksets", content=b"{"),
    ):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]
        assert "tornado" not in answer.headers["Server"].lower()


# --- probes


async def test_probes_and_metrics() -> None:
    from prometheus_client import CollectorRegistry, Counter

    registry = CollectorRegistry()
    Counter("octopus_tries", "Tries", registry=registry).inc()
    async with running(ServiceSettings(metrics=registry)) as service:
        base = f"http://127.0.0.1:{service.port}/services/octopus"
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(f"{base}/healthz")).json()["status"] == "ok"
            assert (await client.get(f"{base}/readyz")).json()["status"] == "ready"
            assert (await client.get(f"{base}/metrics")).status_code == 401
            told = await client.get(f"{base}/metrics", headers={"Authorization": "token root-token"})
            assert "octopus_tries_total 1.0" in told.text
            denied = await client.get(f"{base}/metrics", headers={"Authorization": "token alice-token"})
            assert denied.status_code == 403
            service.cache.queues.clear()
            assert (await client.get(f"{base}/readyz")).status_code == 503
    async with running(ServiceSettings(public_metrics=True)) as service, httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"http://127.0.0.1:{service.port}/services/octopus/metrics")).status_code == 200


async def test_schemas_and_openapi_are_valid(service: Running) -> None:
    import jsonschema

    client = service.client("alice-token")
    schema = (await client.get("schema/taskset")).json()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document(), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**document(), "extra": 1}, schema)
    described = (await client.get("openapi.json")).json()
    assert described["openapi"] == "3.1.0"
    assert described["servers"] == [{"url": "/services/octopus/api/v1"}]
    for part in described["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(part)
    assert (await client.get("schema/nonsense")).status_code == 404
    version = (await client.get("version")).json()
    assert version["api"] == "v1" and version["version"]
