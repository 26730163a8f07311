"""``octopus replay`` against a real engine and service: runs again, says what differs, refuses what changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine import RunningEngine
from tests.engine import engine as running_engine

TRAIN = """
import os, pathlib, octopus_hub
pathlib.Path("result.txt").write_text(pathlib.Path("/proc/uptime").read_text() if os.path.exists({flag!r}) else "same")
octopus_hub.log(accuracy=0.5 if not os.path.exists({flag!r}) else 0.75)
"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    with running_engine(tmp_path_factory.mktemp("replay")) as started:
        yield started


@pytest.fixture(scope="module")
def project(engine: RunningEngine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run ``first``; the file ``flag`` beside it makes the next run come out differently."""
    place = tmp_path_factory.mktemp("project")
    folder = place / "code"
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN.format(flag=str(place / "flag")))
    (place / "data.csv").write_text("1")
    (place / "first.yaml").write_text(
        json.dumps(
            {
                "apiVersion": "octopus-hub.io/v1alpha1",
                "kind": "TaskSet",
                "metadata": {"name": "first"},
                "spec": {
                    "roles": [{"name": "main", "command": ["python", "train.py"]}],
                    "outputs": ["result.txt"],
                    "inputs": [{"uri": (place / "data.csv").as_uri()}],
                },
            }
        )
    )
    engine.octopus("submit", str(place / "first.yaml"), "--workspace", str(folder), "--watch")
    return place


def test_a_replay_that_is_watched_says_that_all_is_the_same(engine: RunningEngine, project: Path) -> None:
    said = engine.octopus("replay", "first", "--watch").stdout.splitlines()
    assert said[0].startswith("submitted first-")
    assert said[1].startswith("first@1 and first-") and said[1].endswith(": the same in all that counts")
    assert "same: end Succeeded, exits of 1 task, code, settings, parameters and seed, 1 input" in said[2]
    assert "1 metric, 1 output" in said[2]


def test_what_differs_is_printed_at_the_end(engine: RunningEngine, project: Path) -> None:
    (project / "flag").touch()
    try:
        said = engine.octopus("replay", "first@1", "--watch").stdout
    finally:
        (project / "flag").unlink()
    assert "2 things differ" in said
    assert "metric accuracy: 0.5 -> 0.75 (+0.25, +50.00%)" in said
    assert "output main-0/result.txt: sha256:" in said and "(changed)" in said


def test_a_changed_input_is_refused(engine: RunningEngine, project: Path) -> None:
    (project / "data.csv").write_text("2")
    try:
        refused = engine.octopus("replay", "first", code=2)
    finally:
        (project / "data.csv").write_text("1")
    assert "first can't be replayed as it ran: input file://" in refused.stderr
    assert "its content changed" in refused.stderr and "Traceback" not in refused.stderr


def test_the_record_folder_alone_runs_on_an_engine_that_never_saw_the_code(
    engine: RunningEngine, project: Path, tmp_path: Path
) -> None:
    records = json.loads(engine.octopus("records", "first", "-o", "json").stdout)["items"]
    place = tmp_path / "taken"
    shutil.copytree(records[-1]["path"], place)
    with running_engine(tmp_path) as other:
        said = other.octopus("replay", str(place), "--watch").stdout
        assert "the same in all that counts" in said, said
        (place / "workspace.tar.gz").unlink()
        assert "has_blob" not in other.octopus("replay", str(place / "record.json")).stdout, "known there by now"


def test_a_folder_whose_code_was_changed_is_refused(engine: RunningEngine, project: Path, tmp_path: Path) -> None:
    records = json.loads(engine.octopus("records", "first", "-o", "json").stdout)["items"]
    place = tmp_path / "taken"
    shutil.copytree(records[-1]["path"], place)
    (place / "workspace.tar.gz").chmod(0o600)
    (place / "workspace.tar.gz").write_bytes(b"other")
    with running_engine(tmp_path) as other:
        refused = other.octopus("replay", str(place), code=2)
    assert "is not the code of this record" in refused.stderr


def test_a_record_that_does_not_exist(engine: RunningEngine) -> None:
    assert "no record of nothing" in engine.octopus("replay", "nothing", code=4).stderr
