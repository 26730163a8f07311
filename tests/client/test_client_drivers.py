"""Both clients against a real engine and service: every operation, the same results and the same errors."""

from __future__ import annotations

import hashlib
import json
import tarfile
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from octopus_hub.client import archive
from octopus_hub.client.calls import LogQuery
from octopus_hub.model.errors import Conflict, InvalidSpec, NotFound, OctopusError, Refused, Unauthenticated
from octopus_hub.model.status import Phase
from octopus_hub.model.taskset import Role, TaskSet
from tests.client.drivers import DRIVERS, Driver, connection_of, small
from tests.engine import RunningEngine


def ended(driver: Driver, taskset: TaskSet) -> TaskSet:
    """Return a TaskSet when it has ended and its record stands."""
    found: list[TaskSet] = []

    def settled(frame: Any) -> bool:
        found.extend(each for each in frame.tasksets if each.metadata.uid == taskset.metadata.uid)
        status = found[-1].status if found else taskset.status
        return status.phase.terminal and status.recorded_attempt >= status.attempt

    driver.take("stream", "-", taskset.name, until=settled)
    return found[-1]


def test_the_life_of_a_taskset(driver: Driver, tmp_path: Path) -> None:
    code = "echo hello; mkdir -p out; echo 1 > out/a.csv; echo 2 > out/b.csv"
    submitted = driver.call("submit", small("life", "sh", "-c", code, outputs=["out/*.csv"], labels={"a": "b"}))
    assert submitted.metadata.owner == "ada"
    done = ended(driver, submitted)
    assert done.status.phase is Phase.SUCCEEDED
    view = driver.call("get", submitted.name)
    assert view.taskset.metadata.uid == submitted.metadata.uid
    assert [each.taskset.name for each in driver.call("list", phase="Succeeded", label="a=b")].count(
        submitted.name
    ) == 1
    tasks = driver.call("tasks", submitted.name)
    assert [(task.role, task.index, task.exit_code) for task in tasks] == [("worker", 0, 0)]
    assert b"".join(driver.take("logs", submitted.name, LogQuery("worker", 0))) == b"hello\n"
    record = driver.call("record", submitted.name)
    assert [output.path for output in record.outputs] == ["worker-0/out/a.csv", "worker-0/out/b.csv"]
    assert driver.call("record", submitted.name, "-", 1) == record
    assert record in driver.call("records", submitted.name)
    files = driver.call("outputs", submitted.name, tmp_path / "results")
    assert [file.read_text() for file in files] == ["1\n", "2\n"]
    crate = driver.call("crate", submitted.name, tmp_path / "record.zip")
    assert json.loads(zipfile.ZipFile(crate).read("record.json"))["name"] == submitted.name
    again = driver.call("replay", record)
    assert again.name == f"{submitted.name}-2"
    assert ended(driver, again).status.phase is Phase.SUCCEEDED
    for name in (submitted.name, again.name):
        assert driver.call("delete", name) is None


def test_hold_release_stop(driver: Driver) -> None:
    held = driver.call("submit", small("wish", "sleep", "600", hold=True))
    assert driver.call("hold", held.name).spec.hold
    assert not driver.call("release", held.name).spec.hold
    driver.call("stop", held.name)
    assert ended(driver, held).status.phase is Phase.STOPPED
    assert driver.call("stop", held.name).status.phase is Phase.STOPPED, "may be repeated"
    with pytest.raises(Conflict, match="only a TaskSet that waits can be held"):
        driver.call("hold", held.name)
    driver.call("delete", held.name)


def test_a_dry_run_stores_nothing_and_a_key_creates_once(driver: Driver) -> None:
    assert driver.call("submit", small("dry"), dry_run=True).name == "dry"
    assert "dry" not in [each.taskset.name for each in driver.call("list")]
    key = f"key-{type(driver).__name__}"
    first = driver.call("submit", small("once"), key=key)
    assert driver.call("submit", small("once"), key=key).metadata.uid == first.metadata.uid
    assert driver.call("submit", small("once")).metadata.uid != first.metadata.uid


def test_the_place(driver: Driver) -> None:
    nodes = driver.call("nodes")
    assert [node.name for node in nodes] == ["node-a", "node-b"]
    assert [use.node for use in driver.call("node_use")] == nodes
    assert [queue["name"] for queue in driver.call("queues")] == ["default"]
    assert {"low", "normal", "high"} <= {each["name"] for each in driver.call("priorities")}
    assert any(image["default"] for image in driver.call("images"))
    assert driver.call("version")["version"]
    assert driver.call("whoami")["user"] == "ada"


def test_plan(driver: Driver) -> None:
    fits = driver.call("plan", small("plan"))
    assert (fits.fits_empty, fits.runs_now) == (True, True)
    never = driver.call("plan", TaskSet("plan", roles=[Role("w", devices={"virtual": 5}, command=["x"])]))
    assert not never.fits_empty
    assert "the largest node has 4" in never.reason["message"]
    assert (fits.outcome, never.outcome) == ("starts", "never")
    most = driver.call("plan", TaskSet("plan", roles=[Role("w", replicas=9, devices={"virtual": 1}, command=["x"])]))
    assert [(each.role, each.tasks) for each in most.smaller] == [("w", 8)], "found by the scheduler, of 2 x 4"


def test_why(driver: Driver) -> None:
    held = TaskSet.parse({**small("why").to_dict(), "spec": {**small("why").to_dict()["spec"], "hold": True}})
    name = driver.call("submit", held).name
    answer = driver.call("why", name)
    assert (answer.name, answer.phase, answer.outcome) == (name, "Held", "")
    assert [fact.kind for fact in answer.facts] == ["state", "short"]
    assert answer.facts[1].message == f"it is held; octopus release {name} lets it queue"
    driver.call("delete", name)


def test_blobs(driver: Driver, tmp_path: Path) -> None:
    (tmp_path / type(driver).__name__).write_text("content")
    packed = archive.pack(tmp_path)
    assert not driver.call("has_blob", packed.digest)
    driver.call("upload", packed)
    driver.call("upload", packed)
    assert driver.call("has_blob", packed.digest)
    content = driver.call("blob", packed.digest)
    assert f"sha256:{hashlib.sha256(content).hexdigest()}" == packed.digest
    with tarfile.open(fileobj=BytesIO(content)) as tar:
        assert tar.getnames() == [type(driver).__name__]


def test_secrets(driver: Driver) -> None:
    driver.call("put_secret", "hf-token", "s3cret")
    assert "hf-token" in driver.call("secrets")
    driver.call("delete_secret", "hf-token")
    assert "hf-token" not in driver.call("secrets")


@pytest.mark.parametrize(
    ("method", "arguments", "error", "words"),
    [
        ("get", ("no-such",), NotFound, "there is no TaskSet no-such"),
        ("get", ("../../secrets",), NotFound, "there is no TaskSet"),
        ("get", ("x", "bob"), NotFound, "there is no TaskSet x"),
        ("stop", ("no-such",), NotFound, "no-such"),
        ("delete", ("no-such",), NotFound, "no-such"),
        ("record", ("no-such",), NotFound, "no-such"),
        ("delete_secret", ("no-such",), NotFound, "no-such"),
        ("list", ("", "Nope"), InvalidSpec, "there is no phase Nope"),
        ("submit", (small("q", queue="nope"),), InvalidSpec, "there is no queue nope"),
        (
            "submit",
            (TaskSet("big", roles=[Role("w", devices={"virtual": 9}, command=["x"])]),),
            Refused,
            "largest node",
        ),
        ("replay", ({"namespace": "-", "name": "no-such"},), NotFound, "no-such"),
    ],
)
def test_refusals(driver: Driver, method: str, arguments: Any, error: type[OctopusError], words: str) -> None:
    with pytest.raises(error, match=words):
        driver.call(method, *arguments)


def test_a_log_that_is_not_there(driver: Driver) -> None:
    with pytest.raises(NotFound, match="no-such"):
        driver.take("logs", "no-such", LogQuery())


@pytest.mark.parametrize("kind", DRIVERS, ids=lambda kind: kind.__name__)
def test_a_forged_token(kind: Any, account: RunningEngine) -> None:
    with kind(connection_of(account)[0], "forged") as driver, pytest.raises(Unauthenticated):
        driver.call("list")


@pytest.mark.parametrize("kind", DRIVERS, ids=lambda kind: kind.__name__)
def test_a_proxy_of_the_environment_is_ignored_on_loopback(
    kind: Any, account: RunningEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with kind(*connection_of(account)) as driver:
        assert driver.call("whoami")["user"] == "ada"
