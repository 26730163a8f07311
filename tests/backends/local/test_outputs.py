"""Output files by pattern, never through links; metrics of damaged files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from octopus_hub import log
from octopus_hub.backends.local.blobs import Blobs
from octopus_hub.backends.local.outputs import collect, last_metrics
from octopus_hub.model.errors import StateError
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


@pytest.mark.parametrize("pattern", ["/".join(["**"] * 40 + ["none"]), "/".join(["**/a"] * 20 + ["none"])])
def test_patterns_of_any_kind_are_judged_at_once(work: Path, pattern: str) -> None:
    deep = work.joinpath(*["a"] * 60)
    deep.mkdir(parents=True)
    (deep / "file").write_text("x")
    assert [name for name, _ in collect(work, [pattern])] == ["outputs/e/f.json"]


def test_a_link_in_place_of_the_work_folder_gives_nothing(tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "outputs").mkdir(parents=True)
    (tmp_path / "elsewhere" / "outputs" / "a").write_text("x")
    (tmp_path / "work").symlink_to("elsewhere")
    assert collect(tmp_path / "work", ["**"]) == []


def test_a_folder_that_can_not_be_read_is_told_where_outputs_may_be_in_it(work: Path) -> None:
    (work / "out" / "deep").chmod(0)
    with as_somebody(work):
        assert [name for name, _ in collect(Path(), ["out/*.csv"])] == ["out/b.csv", "outputs/e/f.json"]
        with pytest.raises(StateError, match="'deep' among its outputs can't be read: permission denied"):
            collect(Path(), ["out/**"])


def test_a_file_swapped_for_anothers_is_not_taken(work: Path) -> None:
    blobs = Blobs(work.parent)
    blobs.open()
    for place in (work / "a.csv", work / "link"):
        with pytest.raises(FileNotFoundError):
            blobs.put_file(place, owner=4711)
    (work / "link").symlink_to("a.csv")
    with pytest.raises(FileNotFoundError):
        blobs.put_file(work / "link", owner=os.getuid())
    assert blobs.put_file(work / "a.csv", owner=os.getuid())[1] == 5


def test_a_hole_stays_a_hole(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    blobs.open()
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(64 << 20)
        file.write(b"head")
        file.seek(32 << 20)
        file.write(b"middle")
    digest, size = blobs.put_file(tmp_path / "sparse")
    kept = blobs.path(digest)
    assert size == 64 << 20 and kept.stat().st_blocks * 512 < 8 << 20
    assert kept.read_bytes() == (tmp_path / "sparse").read_bytes()


@contextlib.contextmanager
def as_somebody(folder: Path) -> Iterator[None]:
    """Be in the folder, as its owner and no one else: rights do not apply to root."""
    with contextlib.chdir(folder):
        if os.geteuid() != 0:
            yield
            return
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, 65534, 65534)
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)


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
        (b'{"metrics": {"a": 1%s, "b": 2}}\n{"metrics": {"c": 3}}\n' % (b"0" * 400), {"b": 2.0, "c": 3.0}),
        (b'{"metrics": {"\\ud800": 1}}\n', {"?": 1.0}),
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
