"""``octopus_hub.log`` inside a task and outside."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import pytest

from octopus_hub import checkpoint, log


class Tensor:
    """What has one element and knows ``float``."""

    def __float__(self) -> float:
        return 0.5


@pytest.fixture
def metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a task."""
    file = tmp_path / "metrics.jsonl"
    monkeypatch.setenv("OCTOPUS_METRICS", str(file))
    return file


def lines(file: Path) -> list[dict[str, Any]]:
    """Return what was logged."""
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_values(metrics: Path) -> None:
    log(step=100, loss=0.25, accuracy=Tensor())
    log(loss=float("nan"), rate=float("inf"), count=3)
    log(step=1)
    first, second = lines(metrics)
    assert (first["step"], first["metrics"]) == (100, {"loss": 0.25, "accuracy": 0.5})
    assert (second["step"], second["metrics"]) == (None, {"loss": None, "rate": None, "count": 3.0})
    assert first["time"] <= second["time"]
    assert metrics.stat().st_mode & 0o777 == 0o600


def test_outside_a_task_nothing_happens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("OCTOPUS_METRICS", raising=False)
    monkeypatch.chdir(tmp_path)
    log(step=1, loss=0.5)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_is_the_time_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "checkpoint"
    monkeypatch.setenv("OCTOPUS_CHECKPOINT_REPORT", str(file))
    checkpoint()
    os.utime(file, (1.0, 1.0))
    before = time.time()
    checkpoint()
    assert before - 1 <= file.stat().st_mtime <= time.time() + 1
    monkeypatch.delenv("OCTOPUS_CHECKPOINT_REPORT")
    monkeypatch.chdir(tmp_path)
    checkpoint()
    assert list(tmp_path.iterdir()) == [file], "outside a task nothing happens"


def test_what_is_no_number_is_named(metrics: Path) -> None:
    with pytest.raises(TypeError, match=r"octopus_hub\.log: model is not a number: 'resnet'"):
        log(model="resnet")
    assert not metrics.exists()


def _many(start: int) -> None:
    for number in range(200):
        log(step=start + number, loss=number)


def test_lines_of_several_processes_do_not_mix(metrics: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_many, args=(1000 * each,)) for each in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert sorted(line["step"] for line in lines(metrics)) == sorted(1000 * w + n for w in range(4) for n in range(200))
