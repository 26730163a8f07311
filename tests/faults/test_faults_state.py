"""A state folder that is of another version, damaged, full, tidied up by hand or configured anew under what runs."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from octopus_hub.backends.local import config
from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.status import Phase
from tests.engine import BIN, NODES
from tests.faults.faulty import WAITS, Faulty, document, faulty
from tests.product import until


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Faulty]:
    with faulty(tmp_path) as own:
        yield own


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder that was in use: an ended TaskSet, a held one, a secret; with a backup of all that."""
    with faulty(tmp_path_factory.mktemp("used")) as own:
        own.submit("done", "echo result > outputs/r")
        own.submit("held", ["true"], hold=True)
        assert own.client().put("secrets/token", json={"value": "s3cret"}).status_code == 204
        own.ended("done")
        own.restart()
        own.kill()
        edited(own)
    return own.state


@pytest.fixture
def left(tmp_path: Path, used: Path) -> Iterator[Faulty]:
    """A copy of it that has no engine now."""
    with faulty(tmp_path, start=False) as own:
        shutil.copytree(used, own.state, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".events", "control"))
        yield own


def up(own: Faulty, *options: str) -> str:
    """Run ``octopus up``, which must refuse in one sentence; returns it."""
    done = own.octopus("up", "--port", "0", *options, code=1)
    lines = (done.stdout + done.stderr).splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def edited(own: Faulty, *statements: str) -> None:
    db = sqlite3.connect(own.state / "octopus.db", isolation_level=None)
    for statement in statements:
        db.execute(statement)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


def is_whole(own: Faulty) -> None:
    """Everything of the fixture ``left`` is there."""
    assert own.phase("done") is Phase.SUCCEEDED and own.phase("held") is Phase.HELD
    assert own.record("done")["outputs"][0]["path"] == "w-0/outputs/r"
    role = {"secrets": {"TOKEN": "token"}}
    name = own.submit("uses-secret", "test $TOKEN = s3cret", role=role)
    assert own.ended(name)[0]["phase"] == "Succeeded"


# --- versions


def test_a_state_of_an_older_version_is_migrated(left: Faulty) -> None:
    newer = ("addresses", "images", "objects")  # than version 1
    edited(left, *(f"DROP TABLE {each}" for each in newer), "PRAGMA user_version = 1")
    left.start()
    is_whole(left)
    left.kill()
    db = sqlite3.connect(left.state / "octopus.db")
    assert db.execute("PRAGMA user_version").fetchone()[0] > 1
    before = sqlite3.connect(left.state / "octopus.db.v1.bak")
    assert before.execute("PRAGMA user_version").fetchone()[0] == 1
    assert before.execute("SELECT count(*) FROM tasksets").fetchone()[0] == 2


def test_a_state_of_a_newer_version_is_refused_and_left_alone(left: Faulty) -> None:
    edited(left, "PRAGMA user_version = 99")
    before = (left.state / "octopus.db").read_bytes()
    said = up(left)
    assert "has schema version 99" in said and "install the newer octopus-hub" in said
    assert (left.state / "octopus.db").read_bytes() == before


# --- damage


@pytest.mark.parametrize("harm", ["header", "pages", "cut", "row"])
def test_a_damaged_database_tells_the_way_back_and_the_way_works(left: Faulty, harm: str) -> None:
    path = left.state / "octopus.db"
    content = bytearray(path.read_bytes())
    if harm == "row":
        edited(left, "UPDATE tasksets SET body = x'00ff'")
    else:
        harmed = {
            "header": b"\0garbage" * 20 + content[160:],
            "pages": content[:4096] + os.urandom(len(content) - 4096),
            "cut": content[: len(content) // 2],
        }
        path.write_bytes(harmed[harm])
    said = up(left)
    assert "is damaged" in said and "put the last backup in its place" in said
    way = said.partition("in its place: ")[2].partition(";")[0]
    subprocess.run(["sh", "-c", way], check=True)
    left.start()
    is_whole(left)


def test_a_damaged_key_is_told_where_it_matters(left: Faulty) -> None:
    (left.state / "secrets.key").write_text("not a key")
    left.start()
    name = left.submit("uses-secret", "test $TOKEN = s3cret", role={"secrets": {"TOKEN": "token"}})
    left.submit("other", ["true"])
    assert left.ended("other")[0]["phase"] == "Succeeded", "who needs no secret goes on"
    until(lambda: "is not a key" in str(left.status(name)) or "is not a key" in left.log.read_text(), "it is said why")
    answer = left.client().put("secrets/again", json={"value": "x"})
    assert answer.status_code == 500 and "is not a key; put the right one back" in answer.json()["detail"]


def test_a_damaged_record_is_told_and_hides_no_other(left: Faulty) -> None:
    left.start()
    left.submit("second", ["true"])
    left.ended("second")
    file = Path(left.record("done")["path"], "record.json")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    names = [row["name"] for row in left.client().get("records").json()["items"]]
    assert names == ["second"]
    answer = left.client().get("records/-/done")
    assert answer.status_code == 500 and "restore the file from a copy" in answer.json()["detail"]
    file.write_bytes(whole)
    assert left.record("done")["name"] == "done"


def test_damaged_small_files_are_made_anew(left: Faulty) -> None:
    for name in ("client.json", "client_token", "service_cookie_secret"):
        (left.state / name).write_bytes(b"")
    left.start()
    is_whole(left)


# --- by hand, while it runs


def test_the_database_removed_while_it_runs_is_told_and_rescued(own: Faulty) -> None:
    own.submit("running", WAITS + "exit 0")
    own.up("running")
    for path in own.state.glob("octopus.db*"):
        path.unlink()
    answer = own.client().post("tasksets", json=document("lost"))
    assert answer.status_code == 500 and "was removed or replaced while octopus ran" in answer.json()["detail"]
    own.kill()
    assert answer.json()["detail"].count("octopus.db.rescued") >= 1
    way = answer.json()["detail"].partition("stop octopus, then ")[2]
    subprocess.run(["sh", "-c", way], check=True)
    own.start()
    own.go("running")
    assert own.ended("running")[0]["phase"] == "Succeeded" and own.starts("running") == 1


def test_folders_removed_while_it_runs_cost_what_was_in_them_only(own: Faulty) -> None:
    own.submit("done", "echo x > outputs/r")
    own.ended("done")
    own.submit("running", WAITS + "exit 0")
    own.up("running")
    shutil.rmtree(own.state / "blobs")
    shutil.rmtree(own.state / "records")
    (own.state / "tasks" / ".events").unlink()
    (own.state / "lock").unlink()
    answer = own.client().get("records/-/done")
    assert answer.status_code == 404
    assert own.client().get("records").json()["items"] == []
    own.go("running")
    assert own.ended("running")[0]["phase"] == "Succeeded"
    own.submit("after", "echo y > outputs/r")
    own.ended("after")
    assert own.record("after")["outputs"][0]["path"] == "w-0/outputs/r"
    assert "another octopus" in up(own), "the folder itself is locked, too"


def test_a_taskset_whose_folder_is_removed_while_it_runs_ends(own: Faulty) -> None:
    own.submit("pulled", "while :; do sleep 0.05; done")
    own.until("pulled", Phase.RUNNING)
    shutil.rmtree(own.state / "tasks" / "ada" / "pulled")
    own.submit("other", ["true"])
    assert own.ended("other")[0]["phase"] == "Succeeded"
    own.client().post("tasksets/-/pulled/stop")
    (status,) = own.ended("pulled")
    assert status["phase"] in ("Stopped", "Failed")
    until(lambda: own.strays("pulled") == [], "nothing of it is left")


# --- octopus.yaml


NONSENSE = [
    ("nodes: [", "octopus.yaml is not YAML, line 1"),
    ("- a\n- b\n", "a mapping of names to values, not a list"),
    ("nods: []", "nods: unknown field; did you mean nodes?"),
    ("nodes: [{name: a, cpu: -1}]", "'-1' is negative"),
    ("\0", "octopus.yaml is not YAML"),
    ("nodes: 5", "nodes: a list, not a number"),
    ("nodes: [{name: a}, {name: a}]", "a is declared twice"),
    ("queues: [{name: default, policy: nope}]", "queues[0]"),
    ("queues: [{name: other}]\nqueues: 3", "queues"),
    ("limits: {log: 1}", "limits.log: at least 1Mi"),
    ("accounts: {separate: maybe}", "accounts.separate: true or false"),
    ("a: &a [*a]", "a: unknown field"),
    ("x" * (2 << 20), "larger than"),
]


@pytest.mark.parametrize(("text", "words"), NONSENSE[:4])
def test_nonsense_in_octopus_yaml_is_told_at_the_start(tmp_path: Path, text: str, words: str) -> None:
    with faulty(tmp_path, text, start=False) as own:
        said = up_lines(own)
    assert words in said, said


@pytest.mark.parametrize(("text", "words"), NONSENSE[4:], ids=lambda value: value[:24])
def test_other_nonsense(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "octopus.yaml").write_text(text)
    with pytest.raises(InvalidSpec) as refusal:
        config.load(tmp_path / "octopus.yaml")
    assert words in str(refusal.value)


def up_lines(own: Faulty) -> str:
    """Like ``up``, where several problems are told at once, one a line."""
    done = own.octopus("up", "--port", "0", code=1)
    assert "Traceback" not in done.stderr + done.stdout and len(done.stderr) < 2000
    return done.stderr + done.stdout


def test_nodes_devices_and_queues_taken_away_under_what_runs(tmp_path: Path) -> None:
    queues = "queues: [{name: default}, {name: extra}]\n"
    with faulty(tmp_path, NODES + queues) as own:
        virtual = {"resources": {"devices": {"virtual": 4}}, "replicas": 2}
        own.submit("spread", WAITS + "exit 0", role=virtual)
        own.up("spread", 2)
        own.submit("waits", ["true"], role={"resources": {"devices": {"virtual": 3}}})
        own.submit("extra", ["true"], role={"resources": {"devices": {"virtual": 1}}}, queue="extra")
        own.kill()
        (own.state / "octopus.yaml").write_text(
            'nodes: [{name: node-b, cpu: "2", memory: 4Gi, devices: {virtual: 2}}]\n'
        )
        own.start()
        assert own.phase("spread") is Phase.RUNNING and own.starts("spread") == 2, "what runs is left to run"
        until(lambda: _why(own, "waits"), "the waiting say why")
        assert own.phase("waits") is Phase.QUEUED
        answer = own.client().post(
            "tasksets", json=document("wide", roles=[{"name": "w", "command": ["true"], **virtual}])
        )
        assert answer.status_code == 403
        one = own.submit("one", ["true"], role={"resources": {"devices": {"virtual": 1}}})
        assert own.phase(one) is Phase.QUEUED, "nothing starts on devices that are still in use"
        own.go("spread")
        assert [end["phase"] for end in own.ended("spread", one)] == ["Succeeded", "Succeeded"]
        assert _why(own, "extra") or own.phase("extra") is Phase.SUCCEEDED
        for name in ("waits", "extra"):
            own.client().post(f"tasksets/-/{name}/stop")
        own.ended("waits", "extra")


def _why(own: Faulty, name: str) -> str:
    view = own.get(name)
    return str(
        (view.get("queuePlace") or {}).get("message", "") or view["taskset"].get("status", {}).get("message", "")
    )


# --- a full disk


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Faulty]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk can't be mounted here")
    try:
        with faulty(disk, log=tmp_path / "engine.log") as own:
            yield own
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(folder: Path) -> Path:
    with open(folder / "filler", "wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return folder / "filler"


def test_a_full_disk_is_told_and_all_goes_on_when_it_has_room_again(small: Faulty) -> None:
    small.submit("running", WAITS + "echo result > outputs/r; exit 0")
    small.up("running")
    filler = fill(small.folder)
    refusals: list[Any] = []

    def refused() -> bool:
        answer = small.client().post("tasksets", json=document("more"))
        refusals.append(answer)
        return bool(answer.status_code == 500)

    until(refused, "a submission is refused")  # the database may have had some room of its own
    assert "is full" in refusals[-1].json()["detail"] and "free some space" in refusals[-1].json()["detail"]
    assert small.client().get("tasksets").status_code == 200
    content = os.urandom(1 << 20)
    blob = small.client().put(f"blobs/sha256:{hashlib.sha256(content).hexdigest()}", content=content)
    assert blob.status_code == 500 and "is full" in blob.json()["detail"]
    filler.unlink()
    small.go("running")
    (status,) = small.ended("running")
    assert status["phase"] == "Succeeded"
    name = small.submit("after", ["true"])
    assert small.ended(name)[0]["phase"] == "Succeeded"
    small.restart()
    assert small.phase("running") is Phase.SUCCEEDED
    accepted = [answer.json()["metadata"]["name"] for answer in refusals if answer.status_code == 201]
    for each in accepted:
        assert small.client().get(f"tasksets/-/{each}").status_code == 200, "what was accepted is there"


def test_octopus_up_on_a_full_disk(small: Faulty) -> None:
    small.kill()
    fill(small.folder)
    done = subprocess.run(
        [str(BIN / "octopus"), "up", "--port", "0"],
        env=small.environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    lines = (done.stdout + done.stderr).splitlines()
    assert len(lines) == 1 and ("full" in lines[0] or "No space" in lines[0]), lines
