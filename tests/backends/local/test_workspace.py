"""Workspace archives: good ones arrive whole, bad ones are refused and write nothing outside."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from octopus_hub.backends.local.workspace import unpack
from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.task import TaskState
from tests.backends.local.tasks import Bench

Member = tuple[str, bytes, bytes | str]  # name, type, content or link target


def archive(path: Path, *members: Member, **fields: Any) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            info.mode = fields.get("mode", 0o644)
            if isinstance(content, bytes):
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            else:
                info.linkname = content
                tar.addfile(info)
    return path


FILE, DIR, SYM, LINK = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


def test_good_archive(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    path = archive(
        tmp_path / "a.tar.gz",
        ("./", DIR, ""),
        ("./train.py", FILE, b"print(1)"),
        ("pkg/deep/mod.py", FILE, b"x = 1"),
        ("pkg/data", SYM, "deep/mod.py"),
        ("pkg/up", SYM, "../train.py"),
        ("hard.py", LINK, "train.py"),
        mode=0o755,
    )
    unpack(path, work)
    assert (work / "train.py").read_text() == "print(1)" == (work / "hard.py").read_text()
    assert (work / "pkg" / "data").read_text() == "x = 1" and (work / "pkg" / "up").read_text() == "print(1)"
    assert (work / "train.py").stat().st_mode & 0o100 and not (work / "train.py").stat().st_mode & 0o022


BAD: dict[str, list[Member]] = {
    "absolute name": [("/etc/evil", FILE, b"x")],
    "dot dot": [("../evil", FILE, b"x")],
    "dot dot inside": [("a/../../evil", FILE, b"x")],
    "link to absolute": [("a", SYM, "/etc/passwd")],
    "link out": [("a", SYM, "../evil")],
    "link out from a folder": [("d/a", SYM, "../../evil")],
    "link down and up": [("d", SYM, "."), ("a", SYM, "d/..")],
    "write through a link": [("d", SYM, "."), ("d/evil", FILE, b"x")],
    "folder through a link": [("d", SYM, "."), ("d/e/f", FILE, b"x")],
    "hard link out": [("a", LINK, "../evil")],
    "hard link absolute": [("a", LINK, "/etc/passwd")],
    "hard link to nothing": [("a", LINK, "nothing")],
    "hard link to a link": [("s", SYM, "t"), ("a", LINK, "s")],
    "character device": [("a", tarfile.CHRTYPE, "")],
    "block device": [("a", tarfile.BLKTYPE, "")],
    "pipe": [("a", tarfile.FIFOTYPE, "")],
    "file over a folder": [("a/b", FILE, b"x"), ("a", FILE, b"x")],
}


@pytest.mark.parametrize("name", BAD)
def test_bad_archives_are_refused(tmp_path: Path, name: str) -> None:
    work = tmp_path / "state" / "work"
    work.mkdir(parents=True)
    path = archive(tmp_path / "a.tar.gz", *BAD[name])
    with pytest.raises(InvalidSpec, match="the workspace archive is refused"):
        unpack(path, work)
    assert [entry.name for entry in work.parent.iterdir()] == ["work"]
    assert not list(tmp_path.rglob("evil"))


def test_bombs_are_refused(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    path = archive(tmp_path / "a.tar.gz", ("zeros", FILE, bytes(8 << 20)))
    assert path.stat().st_size < 100_000
    with pytest.raises(InvalidSpec, match="larger than 4 MiB"):
        unpack(path, work, max_bytes=4 << 20)
    path = archive(tmp_path / "b.tar.gz", *[(f"f{number}", FILE, b"") for number in range(11)])
    with pytest.raises(InvalidSpec, match="more than 10 files"):
        unpack(path, work, max_members=10)


@pytest.mark.parametrize("content", [b"", b"not gzip", gzip.compress(b"not tar" * 200, mtime=0), None])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.tar.gz"
    if content is None:  # cut off in the middle
        whole = archive(tmp_path / "b.tar.gz", ("f", FILE, os.urandom(100_000))).read_bytes()
        content = whole[: len(whole) // 2]
    path.write_bytes(content)
    with pytest.raises(InvalidSpec, match=r"not a readable tar\.gz"):
        unpack(path, tmp_path)


async def test_a_task_runs_in_its_workspace(bench: Bench, tmp_path: Path) -> None:
    bench.blobs["sha256:1"] = archive(tmp_path / "a.tar.gz", ("run.sh", FILE, b"echo from $PWD"))
    end = await bench.run(["sh", "run.sh"], workspace="sha256:1")
    assert end.state is TaskState.SUCCEEDED
    assert await bench.log(end) == f"from {bench.folder(end) / 'work'}\n".encode()


async def test_a_bad_workspace_fails_the_task_before_the_barrier(bench: Bench, tmp_path: Path) -> None:
    bench.blobs["sha256:1"] = archive(tmp_path / "a.tar.gz", ("../evil", FILE, b"x"))
    end = await bench.ended(await bench.start(["true"], workspace="sha256:1"))
    assert (end.end_reason, end.bound_at) == ("ImageMissing", None) and "'../evil' leaves the folder" in end.message
    end = await bench.ended(await bench.start(["true"], 1, workspace="sha256:gone"))
    assert end.end_reason == "ImageMissing" and "sha256:gone" in end.message


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/../../evil"])
async def test_rendered_files_stay_inside(bench: Bench, name: str) -> None:
    end = await bench.ended(await bench.start(["true"], files={name: "x"}))
    assert end.end_reason == "ImageMissing" and f"{name!r} leaves the task's folder" in end.message


async def test_the_working_folder_stays_inside(bench: Bench, tmp_path: Path) -> None:
    bench.blobs["sha256:1"] = archive(tmp_path / "a.tar.gz", ("sub/x", FILE, b""))
    end = await bench.ended(await bench.start(["true"], workspace="sha256:1", working_dir="sub/../.."))
    assert end.end_reason == "ImageMissing" and "leaves the task's folder" in end.message
    for index, (folder, expected) in enumerate(
        [("sub", "/work/sub"), ("/workspace/sub", "/work/sub"), ("/workspace", "/work")]
    ):
        end = await bench.run(["pwd"], index + 1, workspace="sha256:1", working_dir=folder)
        assert (await bench.log(end)).decode().strip().endswith(expected)
    end = await bench.run(["true"], 9, workspace="sha256:1", working_dir="missing")
    assert end.end_reason == "NotExecutable" and "missing" in end.message
