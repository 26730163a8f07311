"""Names that reach the file system, volumes, accounts."""

from __future__ import annotations

from pathlib import Path

import pytest

from octopus_hub.backends.local.limits import Cgroups
from octopus_hub.backends.local.logfile import Geometry
from octopus_hub.backends.local.prepare import Layout, inside, safe_part
from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.task import Mount
from tests.backends.local.tasks import Bench


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(root=tmp_path, marker="m", geometry=Geometry.of(1000), blob_path=Path, cgroups=Cgroups(None))


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc", "a\0b", "x" * 256])
def test_names_that_are_no_path_component(layout: Layout, name: str) -> None:
    with pytest.raises(InvalidSpec):
        safe_part(name)
    for place in ((name, "job", "t"), ("anna", name, "t"), ("anna", "job", name)):
        with pytest.raises(InvalidSpec):
            layout.folder(*place)
    with pytest.raises(InvalidSpec):
        layout.find("anna", name)


def test_a_task_is_found_by_its_name(layout: Layout) -> None:
    for taskset in ("a", "a-b"):
        layout.folder("anna", taskset, f"{taskset}-worker-0-1").mkdir(parents=True)
    assert layout.find("anna", "a-b-worker-0-1") == layout.folder("anna", "a-b", "a-b-worker-0-1")
    assert layout.find("anna", "a-worker-0-1") == layout.folder("anna", "a", "a-worker-0-1")
    assert layout.find("bob", "a-worker-0-1") is None
    assert layout.find("anna", "a-worker-0-2") is None
    assert layout.find("anna", "*") is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [("", ""), (".", ""), ("/workspace", ""), ("/workspace/a", "a"), ("a/b", "a/b"), ("/data", "data")],
)
def test_working_folder(given: str, expected: str) -> None:
    assert inside(given) == expected


async def test_volumes(bench: Bench, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "x").write_text("data")
    mounts = [
        Mount(name="my-data", kind="folder", mount_path="/data", source=str(shared)),
        Mount(name="tmp", kind="scratch", mount_path="/scratch/deep"),
    ]
    code = "cat data/x $OCTOPUS_VOLUME_MY_DATA/x; echo 1 > $OCTOPUS_VOLUME_TMP/y; cat scratch/deep/y"
    end = await bench.run(["sh", "-c", code], mounts=mounts)
    assert await bench.log(end) == b"datadata1\n"
    await bench.runner.forget("anna", "job")
    assert (shared / "x").exists() and not bench.folder(end).exists()


async def test_a_volume_that_does_not_exist(bench: Bench) -> None:
    mount = Mount(name="data", kind="folder", mount_path="/data", source="/no/such/folder")
    end = await bench.ended(await bench.start(["true"], mounts=[mount]))
    assert end.end_reason == "ImageMissing" and "/no/such/folder" in end.message


async def test_a_volume_that_leaves_its_root_through_a_link(bench: Bench, tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    for folder in (root / "inside", outside):
        folder.mkdir(parents=True)
    (root / "out").symlink_to(outside)
    (root / "in").symlink_to(root / "inside")
    for index, (name, reason) in enumerate({"in": "", "out": "ImageMissing"}.items()):
        mount = Mount(name="data", kind="folder", mount_path="/data", source=str(root / name), root=str(root))
        end = await bench.run(["true"], index, mounts=[mount])
        assert end.end_reason == reason, end.message
    assert "leaves the allowed root" in end.message


async def test_a_working_folder_that_is_not_there_and_too_many_arguments_are_final(bench: Bench) -> None:
    end = await bench.run(["sh", "-c", "true"], working_dir="no/such")
    assert end.end_reason == "NotExecutable" and "can't enter the folder" in end.message
    end = await bench.run(["sh", "-c", "true", *["x" * 100_000] * 40], 1)
    assert end.end_reason == "NotExecutable" and "too large" in end.message
