"""Output files by pattern, never through links; metrics of damaged files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from octopus_hub import log
from octopus_hub.backends.local.outputs import collect, last_metrics
from tests.backends.local.tasks import Bench


@pytest.fixture
def work(tmp_path: Path) -> Path:
    work = tmp_path / "work"
    for name in ("a.csv", "out/b.csv", "out/c.txt", "out/deep/d.csv", "model/w.bin", "outputs/e/f.json"):
        path = work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return work


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ([], []),
        (["*.csv"], ["a.csv"]),
        (["out/*.csv"], ["out/b.csv"]),
        (["./out/*.csv"], ["out/b.csv"]),
        (["**/*.csv"], ["a.csv", "out/b.csv", "out/deep/d.csv"]),
        (["out/**"], ["out/b.csv", "out/c.txt", "out/deep/d.csv"]),
        (["model"], ["model/w.bin"]),
        (["model/"], ["model/w.bin"]),
        (["out/?.txt", "a.csv"], ["a.csv", "out/c.txt"]),
        (["../*", "/etc/passwd", "nothing"], []),
    ],
)
def test_patterns(work: Path, patterns: list[str], expected: list[str]) -> None:
    assert [name for name, _ in collect(work, patterns)] == sorted([*expected, "outputs/e/f.json"])


def test_links_and_pipes_are_skipped(work: Path) -> None:
    (work / "out" / "passwd.csv").symlink_to("/etc/passwd")
    (work / "etc").symlink_to("/etc")
    os.mkfifo(work / "out" / "pipe.csv")
    assert [name for name, _ in collect(work, ["out/*.csv", "etc/**"])] == ["out/b.csv", "outputs/e/f.json"]


def test_the_number_is_bounded(work: Path) -> None:
    assert len(collect(work, ["**"], max_files=3)) == 3


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", {}),
        (b'{"metrics": {"loss": 1}}\n{"metrics": {"loss": 0.5, "lr": 2}}\n', {"loss": 0.5, "lr": 2.0}),
        (b'{"time": 1.5, "step": 3, "metrics": {"loss": 1}}\nhalf a li', {"loss": 1.0}),
        (b'\xff\xfe\n[1]\n3\n{"loss": 1}\n{"metrics": [1]}\n', {}),
        (b'{"metrics": {"loss": NaN, "name": "x", "ok": 1, "huge": 1e999, "yes": true}}\n', {"ok": 1.0}),
        (b"[" * 60000 + b'\n{"metrics": {"a": 1}}\n', {"a": 1.0}),
    ],
)
def test_metrics(tmp_path: Path, content: bytes, expected: dict[str, float]) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(content)
    assert last_metrics(path) == expected


def test_what_a_task_logs_is_what_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCTOPUS_METRICS", str(tmp_path / "metrics.jsonl"))
    log(step=1, loss=0.5, accuracy=0.1)
    log(step=2, loss=0.25)
    assert last_metrics(tmp_path / "metrics.jsonl") == {"loss": 0.25, "accuracy": 0.1}


def test_metrics_are_not_read_through_a_link_or_pipe(tmp_path: Path) -> None:
    (tmp_path / "real").write_text('{"metrics": {"a": 1}}')
    (tmp_path / "link").symlink_to("real")
    os.mkfifo(tmp_path / "pipe")
    assert last_metrics(tmp_path / "link") == last_metrics(tmp_path / "pipe") == last_metrics(tmp_path / "no") == {}


async def test_outputs_of_a_task(bench: Bench) -> None:
    end = await bench.run(["sh", "-c", "mkdir out; echo 1 > out/a.csv; echo 2 > $OCTOPUS_OUTPUTS/b"])
    found = await bench.runner.collect("anna", end.name, ["out/*.csv"])
    assert [(name, path.read_text()) for name, path in found] == [("out/a.csv", "1\n"), ("outputs/b", "2\n")]
    await bench.runner.forget("anna", "job")
    assert not bench.folder(end).parent.exists()
    assert await bench.runner.collect("anna", end.name, ["**"]) == []
