"""Clocks, keys and streams of a running engine: a clock set back, two submitters at once, readers that do not read."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from octopus_hub.model.status import Phase
from tests.faults.faulty import WAITS, Faulty, document, faulty
from tests.product import alive, until

HOUR = 3600.0


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Faulty]:
    with faulty(tmp_path, start=False) as own:
        yield own


# --- a clock set back


def test_a_clock_set_back_while_it_runs_and_while_it_does_not(own: Faulty) -> None:
    clock = own.folder / "clock"
    clock.write_text("0")
    own.start(FAULT_CLOCK=str(clock))
    headers = {"Idempotency-Key": "the-same"}
    first = own.client().post("tasksets", json=document("keyed"), headers=headers).json()["metadata"]["uid"]
    restart = {"scope": "task", "maxRestarts": 2, "delaySeconds": 1}
    own.submit("running", WAITS + "exit 0")
    own.submit("again", "echo started >> starts; [ $OCTOPUS_ATTEMPT = 3 ]", role={"restart": restart})
    own.up("running")
    own.up("again")
    clock.write_text(str(-HOUR))
    again = own.client().post("tasksets", json=document("keyed"), headers=headers)
    assert (again.status_code, again.json()["metadata"]["uid"]) == (200, first)
    own.submit("after", "echo started >> starts")
    assert own.ended("after")[0]["phase"] == "Succeeded"
    parents = [own.parent(folder).pid for folder in own.folders("running")]
    own.kill()
    clock.write_text(str(-2 * HOUR))
    own.start(FAULT_CLOCK=str(clock))
    assert own.phase("running") is Phase.RUNNING and alive(parents) == parents
    own.go("running")
    (running, retried) = own.ended("running", "again")
    assert (running["phase"], retried["phase"]) == ("Succeeded", "Succeeded")
    assert own.starts("running") == 1 and own.starts("again") == 3
    for name in ("running", "again", "after"):
        record = own.record(name)
        for each in (record, *record["tasks"]):
            if each.get("startedAt") and each.get("finishedAt"):
                assert each["finishedAt"] >= each["startedAt"], (name, each)


# --- keys


def test_two_submitters_with_one_key_at_once_on_either_side_of_a_crash(own: Faulty) -> None:
    own.start("rows stored")  # dies when the tasks of the first are about to start
    headers = {"Idempotency-Key": "one-key"}
    barrier = threading.Barrier(8)

    def submit(number: int) -> dict[str, Any] | None:
        with httpx.Client(
            base_url=own.url, headers={"Authorization": f"Bearer {own.token}"}, trust_env=False
        ) as client:
            barrier.wait()
            try:
                answer = client.post("tasksets", json=document("once"), headers=headers, timeout=60)
            except httpx.TransportError:
                return None  # its answer was lost in the crash
            assert answer.status_code in (200, 201), answer.text
            found: dict[str, Any] = answer.json()
            return found

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(submit, range(8)))
    own.wait()
    own.start()
    last = own.client().post("tasksets", json=document("once"), headers=headers)
    assert last.status_code == 200
    uids = {answer["metadata"]["uid"] for answer in [*answers, last.json()] if answer}
    assert len(uids) == 1
    own.ended("once")
    assert [row["taskset"]["metadata"]["name"] for row in own.client().get("tasksets").json()["items"]] == ["once"]


# --- readers that do not read


@pytest.mark.xdist_group("faults")
def test_stream_clients_that_do_not_read_slow_nobody(engine: Faulty) -> None:
    until(lambda: engine.client().get("whoami").status_code == 200, "what tests before asked too often is forgotten")
    address = urlsplit(engine.url)
    head = f"GET {address.path}stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {engine.token}\r\n\r\n".encode()
    deaf = []
    for _ in range(10):
        each = socket.socket()
        each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        each.connect((str(address.hostname), address.port or 0))
        each.sendall(head)
        deaf.append(each)
    try:
        with engine.client().stream("GET", "stream") as frames:
            lines = frames.iter_lines()
            assert "snapshot" in next(lines)
            name = engine.submit(
                "streamed", "for i in 1 2 3; do echo $i; done", role={"replicas": 20, "resources": {"cpu": "10m"}}
            )
            seen = _seen(lines, name)
        assert seen[-1] == "Succeeded"
        engine.ended(name)
        began = time.monotonic()
        for _ in range(20):
            assert engine.client().get("whoami").status_code == 200
        assert time.monotonic() - began < 30
    finally:
        for each in deaf:
            each.close()
    engine.octopus("delete", "streamed")


def _seen(lines: Iterator[str], name: str) -> list[str]:
    """Return the phases of a TaskSet as a stream tells them, up to its end."""
    phases: list[str] = []
    for line in lines:
        for row in json.loads(line[6:]).get("tasksets", []) if line.startswith("data: ") else ():
            if row["metadata"]["name"] == name:
                phases.append(row.get("status", {}).get("phase", "Queued"))
        if phases and Phase(phases[-1]).terminal:
            break
    return phases


@pytest.mark.xdist_group("faults")
def test_a_follower_that_does_not_read_is_dropped_and_its_task_goes_on(engine: Faulty) -> None:
    name = engine.submit("talks", "head -c 40000000 /dev/zero | tr '\\0' 'x'; echo; echo the end")
    address = urlsplit(engine.url)
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect((str(address.hostname), address.port or 0))
        path = f"{address.path}tasksets/-/{name}/logs?follow=true"
        deaf.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {engine.token}\r\n\r\n".encode())
        assert engine.ended(name)[0]["phase"] == "Succeeded"
        assert engine.text(name).endswith("x\nthe end\n")
        until(lambda: "was dropped" in engine.log.read_text(), "the follower is dropped")
    engine.octopus("delete", "talks")


@pytest.mark.xdist_group("faults")
def test_streams_of_one_user_are_bounded(engine: Faulty) -> None:
    opened: list[Any] = []
    try:
        while True:
            request = engine.client().build_request("GET", "stream")
            answer = engine.client().send(request, stream=True)
            opened.append(answer)
            if answer.status_code != 200:
                break
        assert answer.status_code == 429 and len(opened) <= 60
    finally:
        for each in opened:
            each.close()
    until(lambda: _status(engine) == 200, "their slots come free")


def _status(engine: Faulty) -> int:
    with engine.client().stream("GET", "stream") as answer:
        return answer.status_code


def test_connections_that_are_only_opened_use_up_no_files(own: Faulty) -> None:
    own.start(FAULT_FILES="200")
    own.submit("running", WAITS + "exit 0")
    own.up("running")
    address = urlsplit(own.url)
    silent = []
    try:
        for _ in range(300):
            each = socket.create_connection((str(address.hostname), address.port or 0))
            each.sendall(b"GET / HT")
            silent.append(each)
        until(lambda: "connections are refused" in own.log.read_text(), "what is too much is refused")
        assert own.process is not None
        assert psutil.Process(own.process.pid).num_fds() < 150
        own.go("running")
        until(lambda: (own.folders("running")[0] / "exit.json").exists(), "the task ends")
    finally:
        for each in silent:
            each.close()
    until(lambda: _answers(own), "the service answers again")
    assert own.ended("running")[0]["phase"] == "Succeeded"
    assert len(own.log.read_text()) < 20_000 and "Traceback" not in own.log.read_text()


def _answers(own: Faulty) -> bool:
    try:
        return own.client().get("whoami").status_code == 200
    except httpx.TransportError:
        return False
