"""Bad documents and bad requests against a running engine: each a sentence, nothing stored, everybody else goes on."""

from __future__ import annotations

import json
import random
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from octopus_hub.model.status import Phase
from tests.faults.faulty import Faulty, document

pytestmark = pytest.mark.xdist_group("faults")
BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{after}: &{after} [{','.join([f'*{before}'] * 10)}]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.fixture(autouse=True)
def nothing_is_stored(engine: Faulty) -> Iterator[None]:
    """The service answers after it, in time, and knows no TaskSet more than before."""
    before = set(_names(engine))
    yield
    began = time.monotonic()
    assert set(_names(engine)) <= before
    assert time.monotonic() - began < 20
    assert "Traceback" not in engine.log.read_text()


def _names(engine: Faulty) -> list[str]:
    return [row["taskset"]["metadata"]["name"] for row in engine.client().get("tasksets").json()["items"]]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"metadata: {name: x\nspec: [", "not YAML"),
        (b"a:\n\t- b\n", "not YAML"),
        (BOMB.encode(), "more than 100000 values"),
        (b"[" * 100_000, "nesting"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"", "no document"),
        (b"- 1\n- 2\n", "a document is a mapping"),
        (b"x: !!python/object/apply:os.system [touch /tmp/owned]\n", "line 1"),
        (b"a: " + b"x" * (17 << 20), "larger than 16 MiB"),
    ],
    ids=["unclosed", "tab", "alias bomb", "deep", "binary", "empty", "list", "python tag", "17 MB"],
)
def test_files_that_are_no_taskset(engine: Faulty, tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "f.yaml").write_bytes(content)
    done = engine.octopus("submit", "f.yaml", cwd=tmp_path, code=None)
    assert done.returncode in (2, 3) and done.stdout == ""
    assert words in done.stderr and done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"replicas": 10_001}, "10001 is not from 1 to 10000"),
        ({"replicas": 10**30}, "is not from 1 to 10000"),
        ({"resources": {"cpu": "-1"}}, "resources.cpu: '-1' is negative"),
        ({"resources": {"cpu": -0.5}}, "resources.cpu"),
        ({"resources": {"memory": "-1Gi"}}, "resources.memory: '-1Gi' is negative"),
        ({"resources": {"devices": {"virtual": -1}}}, "devices.virtual: -1 is not from 0 to 1000"),
        ({"resources": {"cpu": "NaN"}}, "'NaN' is not an amount of CPU"),
        ({"resources": {"memory": "inf"}}, "'inf' is not an amount of memory"),
        ({"resources": {"cpu": "1e400"}}, "resources.cpu"),
        ({"name": "worker-1"}, "no hyphen"),
        ({"name": "ws" * 10}, "at most 15"),
        ({"env": {"A=B": "x"}}, "env"),
        ({"command": ["a\0b"]}, "NUL"),
        ({"replica": 3}, "unknown field; did you mean replicas?"),
        ({"image": "no-such-image"}, "no image no-such-image"),
        ({"secrets": {"TOKEN": "no-such-secret"}}, "there is no secret no-such-secret"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_roles_that_can_not_be(engine: Faulty, change: dict[str, Any], words: str) -> None:
    role = {"name": "w", "command": ["true"], **change}
    answer = engine.client().post("tasksets", json=document("bad", roles=[role]))
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_spec")
    assert words in "\n".join(answer.json()["problems"]), answer.text


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "1" + "0" * 5000])
def test_numbers_that_are_none(engine: Faulty, number: str) -> None:
    body = json.dumps(document("bad", seed="here")).replace('"here"', number)
    answer = engine.client().post("tasksets", content=body)
    assert answer.status_code == 422, answer.text


@pytest.mark.parametrize(
    "name", ["", "-a", "a-", "A", "a_b", "a.b", "a b", "ä", "../x", "a/b", "a\0", "x" * 41, "\u202e", "🐙"]
)
def test_names_that_are_no_dns_labels(engine: Faulty, name: str) -> None:
    answer = engine.client().post("tasksets", json=document(name))
    assert answer.status_code == 422 and "metadata.name" in answer.text


def test_an_unknown_queue_names_those_there_are(engine: Faulty) -> None:
    answer = engine.client().post("tasksets", json=document("bad", queue="defualt"))
    assert answer.status_code == 422
    assert "there is no queue defualt; did you mean default?" in answer.json()["detail"]


def test_more_devices_than_any_node_has_is_refused_with_the_numbers(engine: Faulty) -> None:
    role = {"name": "w", "command": ["true"], "resources": {"devices": {"virtual": 5}}}
    answer = engine.client().post("tasksets", json=document("wide", roles=[role]))
    assert (answer.status_code, answer.json()["code"], answer.json()["rule"]) == (403, "refused", "NeverFits")
    assert "needs 1 x 5 virtual, the largest node has 4" in answer.json()["detail"]
    many = engine.client().post(
        "tasksets", json=document("many", roles=[{**role, "replicas": 9, "resources": {"devices": {"virtual": 1}}}])
    )
    assert many.status_code == 403 and "8" in many.json()["detail"], "nine on eight devices"


def test_devices_that_are_busy_now_are_waited_for(engine: Faulty) -> None:
    four = {"resources": {"devices": {"virtual": 4}}, "replicas": 2}
    first = engine.submit("all-devices", "while :; do sleep 0.1; done", role=four)
    engine.until(first, Phase.RUNNING)
    second = engine.submit("patient", ["true"], role={"resources": {"devices": {"virtual": 1}}})
    view = engine.get(second)
    assert engine.phase(second) is Phase.QUEUED, view
    told = engine.octopus("describe", second).stdout
    assert "1 virtual" in told and "0" in told
    engine.client().post(f"tasksets/-/{first}/stop")
    assert [end["phase"] for end in engine.ended(first, second)] == ["Stopped", "Succeeded"]
    for name in (first, second):
        engine.octopus("delete", name)
    engine.octopus("wait", second, code=4)


def test_a_body_of_100_mb_is_refused_before_it_is_read(engine: Faulty) -> None:
    address = urlsplit(engine.url)
    with socket.create_connection((str(address.hostname), address.port or 0), timeout=60) as plain:
        plain.sendall(_head(engine, "POST", "tasksets", f"Content-Length: {100 << 20}"))
        plain.sendall(b"x" * 65536)
        answer = plain.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413 ")
    piece = b"x" * (1 << 20)
    chunked = engine.client().post("tasksets", content=(piece for _ in range(100)))
    assert chunked.status_code == 413 and chunked.json()["code"] == "too_large"


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["X-Long: " + "x" * 70_000], (400, 431, 0)),
        ([f"X-{number}: y" for number in range(10_000)], (400, 431, 0)),
        (["Content-Length: -1"], (400,)),
        (["Content-Length: 5", "Content-Length: 6"], (400,)),
        (["Content-Length: 5", "Transfer-Encoding: chunked"], (400,)),
        (["Transfer-Encoding: gzip, chunked"], (400, 501)),
        (["Idempotency-Key: " + "k" * 300, "Content-Length: 2"], (422,)),
        (["Idempotency-Key: \x01", "Content-Length: 2"], (400, 422)),
    ],
    ids=["a long one", "many", "negative length", "two lengths", "smuggled", "coding", "long key", "key"],
)
def test_headers_that_are_no_good(engine: Faulty, lines: list[str], status: tuple[int, ...]) -> None:
    assert _status(engine, "POST", "tasksets", *lines, body=b"{}") in status


def test_slow_senders_hold_nobody_up(engine: Faulty) -> None:
    address = urlsplit(engine.url)
    slow = [socket.create_connection((str(address.hostname), address.port or 0)) for _ in range(100)]
    try:
        for number, each in enumerate(slow):
            head = _head(engine, "POST", "tasksets", "Content-Length: 100")
            each.sendall(head[: 20 + number] if number % 2 else head + b"{")
        began = time.monotonic()
        for _ in range(20):
            assert engine.client().get("whoami").status_code == 200
        assert time.monotonic() - began < 30
    finally:
        for each in slow:
            each.close()


def _head(engine: Faulty, method: str, path: str, *lines: str) -> bytes:
    first = f"{method} {urlsplit(engine.url).path}{path} HTTP/1.1"
    return "\r\n".join([first, "Host: x", f"Authorization: Bearer {engine.token}", *lines, "", ""]).encode("latin-1")


def _status(engine: Faulty, method: str, path: str, *lines: str, body: bytes = b"") -> int:
    """Return the status of a request as it stands; 0 where the connection is only closed."""
    address = urlsplit(engine.url)
    with socket.create_connection((str(address.hostname), address.port or 0), timeout=60) as plain:
        plain.sendall(_head(engine, method, path, *lines) + body)
        answer = plain.recv(65536)
    return int(answer.split()[1]) if answer else 0


# --- anything at all

ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    10_001,
    10**30,
    1.5,
    1e308,
    "",
    "-1",
    "NaN",
    "9" * 400,
    "a\0b",
    "../../x",
    "/etc/passwd",
]
ODD += [
    "x" * 5000,
    "é",
    "\u202e",
    "\r\nX: y",
    [],
    {},
    [[]],
    [None],
    {"": ""},
    {"a": None},
    [1, 2],
    ["x"] * 100,
    {"min": 5, "max": 2},
]
WHOLE = document(
    "whole",
    roles=[
        {
            "name": "w", "replicas": 2, "main": True, "command": ["true"], "args": ["a"], "env": {"A": "1"}, "workingDir": "x",
            "resources": {"cpu": "1", "memory": "1Gi", "devices": {"virtual": 1}, "shm": "1Gi"},
            "volumes": [{"kind": "scratch", "name": "s", "mountPath": "/d"}], "ports": [{"name": "p", "port": 80}],
            "completion": {"maxFailed": 0}, "restart": {"scope": "gang", "maxRestarts": 1, "delaySeconds": 1},
            "events": [{"on": "RoleFailed", "do": "Ignore"}], "placement": {"nodeSelector": {}}, "template": {},
        }
    ],
    hold=True, queue="default", priority="normal", framework="pytorch", gang={"minAvailable": "all", "timeoutSeconds": 600},
    after=[{"name": "p", "on": "Succeeded"}], lifetime={"mode": "detached", "maxRuntimeSeconds": 10}, outputs=["out/*"],
    preemption={"allowed": True}, workspace={"snapshot": False}, seed=1, inputs=[], run=None,
)  # fmt: skip


def test_random_documents_are_answered_and_never_a_bug(engine: Faulty) -> None:
    chance = random.Random(20)
    client = engine.client()
    places = list(_places(WHOLE))
    for _ in range(250):
        body = json.loads(json.dumps(WHOLE))
        for path in chance.sample(places, chance.choice([1, 1, 2, 4])):
            _put(body, path, chance.choice(ODD))
        text = json.dumps(body)
        if chance.random() < 0.2:
            at = chance.randrange(len(text))
            text = (
                text[:at] + chance.choice(["NaN", "1e999", '"\\ud800"', "{", "]", '"', "\0", "\xff"]) + text[at + 1 :]
            )
        answer = _patient(client, chance.choice(["plan", "tasksets?dryRun=true"]), text)
        assert answer.status_code in (200, 403, 413, 422), (answer.text, text)
        if answer.status_code != 200:
            told = answer.json()
            assert told["detail"] and not any(
                word in answer.text for word in ("msgspec", "NoneType", "object at 0x")
            ), told


def _places(node: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key, each in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield (*here, key)
        yield from _places(each, (*here, key))


def _put(body: Any, path: tuple[Any, ...], value: Any) -> None:
    try:
        for key in path[:-1]:
            body = body[key]
        body[path[-1]] = value
    except (TypeError, KeyError, IndexError):
        return  # an earlier change took the place away


def _patient(client: httpx.Client, path: str, text: str) -> httpx.Response:
    while True:
        answer = client.post(path, content=text.encode("utf-8", "surrogatepass"))
        if answer.status_code != 429:
            return answer
        time.sleep(float(answer.headers["Retry-After"]))
