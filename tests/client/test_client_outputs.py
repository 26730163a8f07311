"""Outputs that are received: nothing is written that the record does not name, nothing outside the folder."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from octopus_hub.client.failures import LocalFileError
from octopus_hub.client.outputs import plain_record, receiver, write_whole
from octopus_hub.model.errors import Unavailable
from octopus_hub.model.record import OutputFile, Record
from octopus_hub.model.status import Phase

CONTENT = {"worker-0/out/a.csv": b"1\n", "worker-1/out/b.csv": b"2\n"}


def record(content: dict[str, bytes]) -> Record:
    """Return a record with these outputs."""
    outputs = [
        OutputFile(path=path, digest=f"sha256:{hashlib.sha256(data).hexdigest()}", size=len(data))
        for path, data in content.items()
    ]
    return Record(
        namespace="ada", name="mnist", uid="u", attempt=1, phase=Phase.SUCCEEDED, spec={"roles": []}, outputs=outputs
    )


def packed(content: dict[str, bytes], change: Callable[[tarfile.TarInfo], object] = lambda _: None) -> bytes:
    """Return an archive, each member changed before it is written."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            change(member)
            tar.addfile(member, io.BytesIO(data) if member.isreg() else None)
    return buffer.getvalue()


def receive(archive: bytes, folder: Path, expected: dict[str, bytes] | None = None, step: int = 7) -> list[Path]:
    """Receive an archive in small pieces."""
    with receiver(record(CONTENT if expected is None else expected), folder) as into:
        for start in range(0, len(archive), step):
            into.write(archive[start : start + step])
        return into.unpack()


def everything(folder: Path) -> dict[str, bytes]:
    """Return what lies in a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_files_arrive(tmp_path: Path) -> None:
    written = receive(packed(CONTENT), tmp_path / "deep" / "results")
    assert [str(path.relative_to(tmp_path / "deep" / "results")) for path in written] == sorted(CONTENT)
    assert everything(tmp_path / "deep" / "results") == CONTENT
    (tmp_path / "deep" / "results" / "mine.txt").write_text("stays")
    receive(packed(CONTENT), tmp_path / "deep" / "results")
    assert everything(tmp_path / "deep" / "results") == CONTENT | {"mine.txt": b"stays"}, "may be repeated"


@pytest.mark.parametrize("name", ["../escape", "/tmp/escape", "a/../../escape", "..", "worker-0/../../escape"])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "results"
    with pytest.raises(Unavailable, match="leads out of the folder"):
        receive(packed({name: b"x"}), folder, {name: b"x"})
    assert everything(tmp_path) == {}


def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "results"
    elsewhere.mkdir()
    folder.mkdir()
    (folder / "worker-0").symlink_to(elsewhere)
    with pytest.raises(LocalFileError, match="is a link out of"):
        receive(packed(CONTENT), folder)
    assert everything(elsewhere) == {}
    (folder / "worker-0").unlink()
    (folder / "worker-0" / "out").mkdir(parents=True)
    (elsewhere / "victim").write_text("mine")
    (folder / "worker-0" / "out" / "a.csv").symlink_to(elsewhere / "victim")
    receive(packed(CONTENT), folder)
    assert (elsewhere / "victim").read_text() == "mine", "the link is replaced, not what it leads to"


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_only_files_are_taken(tmp_path: Path, kind: bytes) -> None:
    def change(member: tarfile.TarInfo) -> None:
        if member.name == "worker-1/out/b.csv":
            member.type, member.linkname, member.size = kind, "/etc/passwd", 0

    with pytest.raises(Unavailable, match=r"outputs are missing.*worker-1/out/b\.csv"):
        receive(packed(CONTENT, change), tmp_path / "results")
    assert everything(tmp_path / "results") == {"worker-0/out/a.csv": b"1\n"}


def test_other_content_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"worker-0/out/a\.csv differs from the record"):
        receive(packed(CONTENT | {"worker-0/out/a.csv": b"3\n"}), tmp_path)
    assert not (tmp_path / "worker-0/out/a.csv").exists()


def test_another_size_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="it has 1000000 bytes, not 2"):
        receive(packed(CONTENT | {"worker-0/out/a.csv": bytes(1_000_000)}), tmp_path)
    assert everything(tmp_path) == {}


def test_what_the_record_does_not_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"\.bashrc differs from the outputs in the record: it is not among them"):
        receive(packed({".bashrc": b"evil"} | CONTENT), tmp_path)
    assert everything(tmp_path) == {}


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"missing.*worker-1/out/b\.csv"):
        receive(packed({"worker-0/out/a.csv": b"1\n"}), tmp_path)


@pytest.mark.parametrize("keep", [0, 1, 10, 60, 100])
def test_an_archive_that_was_cut_is_told(tmp_path: Path, keep: int) -> None:
    whole = packed(CONTENT)
    with pytest.raises(Unavailable, match=r"damaged|missing"):
        receive(whole[:keep], tmp_path)


def test_an_archive_that_is_none(tmp_path: Path) -> None:
    for content in (b"hello", b"\x1f\x8bgarbage" * 20, packed(CONTENT)[:40] + b"\0" * 50):
        with pytest.raises(Unavailable, match=r"damaged|missing"):
            receive(content, tmp_path)


def test_a_folder_that_takes_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LocalFileError, match="can't take the outputs"):
        receive(packed(CONTENT), tmp_path / "file")
    (tmp_path / "results" / "worker-0" / "out" / "a.csv").mkdir(parents=True)
    with pytest.raises(LocalFileError, match="can't be written"):
        receive(packed(CONTENT), tmp_path / "results")
    assert not list((tmp_path / "results").rglob(".a.csv*")), "nothing half is left"


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    def breaking() -> object:
        yield b"half"
        raise Unavailable("lost")

    (tmp_path / "record.zip").write_text("old")
    with pytest.raises(Unavailable):
        write_whole(tmp_path / "record.zip", breaking())  # type: ignore[arg-type]
    assert everything(tmp_path) == {"record.zip": b"old"}
    digest = write_whole(tmp_path / "record.zip", [b"ne", b"w"])
    assert digest == f"sha256:{hashlib.sha256(b'new').hexdigest()}"
    with pytest.raises(LocalFileError, match="can't be written"):
        write_whole(tmp_path / "nowhere" / "x", [b"x"])


def test_a_record_in_its_wire_form() -> None:
    plain = plain_record(record(CONTENT))
    assert plain["name"] == "mnist"
    assert plain_record({"namespace": "-", "name": "x"}) == {"namespace": "-", "name": "x"}
