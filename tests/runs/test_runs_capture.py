"""What is captured: at submission by the client (code, git, inputs), at the end from the task (cells, outputs)."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopus_hub.client.archive import pack, read
from octopus_hub.client.inputs import MAX_BYTES, changes, digest_of, local_path, with_digests
from octopus_hub.client.submission import prepare
from octopus_hub.model.errors import InvalidSpec, TooLarge
from octopus_hub.model.taskset import Input, Role, TaskSet
from octopus_hub.runs.capture import UNVOUCHED, read_cells, stated_inputs
from tests.runs.engine import Engine


def sha(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


# --- code


def test_the_workspace_is_content_addressed_without_what_is_ignored(tmp_path: Path) -> None:
    for name in ("train.py", "data/big.bin", "data/keep.csv", ".git/config", "__pycache__/x.pyc"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / ".octopusignore").write_text("data/*\n!data/keep.csv\n")
    packed = pack(tmp_path)
    content = b"".join(packed.chunks())
    assert packed.digest == sha(content)
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        assert [m.name for m in tar if m.isfile()] == [".octopusignore", "data/keep.csv", "train.py"]
    os.utime(tmp_path / "train.py", (1, 1))
    assert pack(tmp_path).digest == packed.digest, "times are no content"
    (tmp_path / "train.py").write_text("other")
    assert pack(tmp_path).digest != packed.digest


def test_a_workspace_that_is_too_large_names_the_biggest_files(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"x" * 3000)
    (tmp_path / "small").write_bytes(b"x")
    with pytest.raises(TooLarge, match=r"model\.bin .*\.octopusignore"):
        pack(tmp_path, max_bytes=1000)


def test_git_state_comes_along(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(
            ["git", "-C", str(tmp_path), *identity, *words], check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "-q", "-b", "main")
    (tmp_path / "a.py").write_text("1")
    git("add", "a.py")
    git("commit", "-q", "-m", "first")
    git("remote", "add", "origin", "https://user:secret@example.org/lab/code.git")
    taskset = TaskSet("job", roles=[Role("main", command=["true"])])
    clean = prepare(taskset, tmp_path).taskset.spec.workspace
    commit = git("rev-parse", "HEAD")
    remote = "https://example.org/lab/code.git"
    assert clean.git == {"commit": commit, "dirty": False, "branch": "main", "remote": remote}
    (tmp_path / "a.py").write_text("2")
    dirty = prepare(taskset, tmp_path).taskset.spec.workspace
    assert dirty.git is not None and dirty.git["dirty"] is True
    assert dirty.digest != clean.digest


def test_an_archive_that_lies_packed_is_read_with_its_digest(tmp_path: Path) -> None:
    (tmp_path / "w.tar.gz").write_bytes(b"content")
    archive = read(tmp_path / "w.tar.gz")
    assert (archive.digest, archive.size, b"".join(archive.chunks())) == (sha(b"content"), 7, b"content")
    archive.close()
    with pytest.raises(InvalidSpec, match="can't be read"):
        read(tmp_path / "none")


# --- inputs


def test_local_inputs_get_their_digest(tmp_path: Path) -> None:
    (tmp_path / "a b.csv").write_bytes(b"1,2")
    (tmp_path / "set").mkdir()
    (tmp_path / "set/x").write_bytes(b"x")
    whole = (tmp_path / "a b.csv").as_uri()
    given = ["a b.csv", whole, str(tmp_path / "a b.csv"), str(tmp_path / "set"), "https://e.org/d", "s3://bucket/d"]
    found, notices = with_digests([Input(uri=uri) for uri in given], tmp_path)
    folder = sha(f"{sha(b'x').removeprefix('sha256:')}  x\n".encode())
    assert [each.digest for each in found] == [*[sha(b"1,2")] * 3, folder, None, None]
    assert [each.uri for each in found] == [whole, *given[1:]], "a relative path means nothing elsewhere"
    assert notices == []


def test_inputs_that_can_not_be_hashed_are_recorded_with_a_notice(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    found, notices = with_digests([Input(uri="none.csv"), Input(uri="huge")], tmp_path)
    assert [each.digest for each in found] == [None, None]
    assert "there is no file" in notices[0] and "larger than 16 GiB; give its digest" in notices[1]


def test_a_given_digest_is_checked(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    right, other = Input(uri="a", digest=sha(b"1")), Input(uri="a", digest="md5:abc")
    assert [each.digest for each in with_digests([right, other], tmp_path)[0]] == [sha(b"1"), "md5:abc"]
    with pytest.raises(InvalidSpec) as caught:
        with_digests([right, Input(uri="a", digest=sha(b"2"))], tmp_path)
    assert caught.value.problems == [f"spec.inputs[1].digest: a has {sha(b'1')} now, not {sha(b'2')}"]


def test_a_changed_input_stops_a_replay(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"1")
    declared, _ = with_digests([Input(uri="a"), Input(uri="https://e.org/x", digest=sha(b"0"))], tmp_path)
    assert changes(declared) == []
    path.write_bytes(b"2")
    assert len(changes(declared)) == 1 and "its content changed" in changes(declared)[0]
    path.unlink()
    assert "there is no file" in changes(declared)[0]


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("a/b", "/base/a/b"),
        ("../x", "/x"),
        ("/a%20b", "/a%20b"),
        ("file:///a%20b", "/a b"),
        ("file://localhost/a", "/a"),
        ("file://elsewhere/a", None),
        ("https://e.org/a", None),
        ("C:\\data", None),
        ("http://[broken", None),
        ("", None),
    ],
)
def test_which_uris_are_files_here(uri: str, expected: str | None) -> None:
    found = local_path(uri, Path("/base"))
    assert (str(found) if found else None) == expected


def test_folders_differ_by_names_and_content(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/a").write_bytes(b"1")
    first = digest_of(tmp_path / "d")
    (tmp_path / "d/a").rename(tmp_path / "d/b")
    assert digest_of(tmp_path / "d") != first


def test_the_record_says_for_which_inputs_nobody_vouches() -> None:
    assert stated_inputs([Input(uri="https://e.org/x"), Input(uri="file:///a", digest="sha256:1")]) == [
        {"uri": "https://e.org/x", "note": UNVOUCHED},
        {"uri": "file:///a", "digest": "sha256:1"},
    ]


async def test_a_submission_captures_and_the_record_keeps(engine: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "data.csv").write_bytes(b"1")
    (folder / "go.sh").write_text("cat data.csv")
    taskset = TaskSet("job", roles=[Role("main", command=["sh", "go.sh"])], inputs=[Input(uri="data.csv")], seed=3)
    prepared = prepare(taskset, folder)
    assert prepared.archive is not None

    async def once() -> Any:
        yield b"".join(prepared.archive.chunks())  # type: ignore[union-attr]

    await engine.backend.put_blob(once(), digest=prepared.archive.digest, limit=1 << 20)
    record = await engine.recorded(await engine.create(prepared.taskset))
    prepared.close()
    assert record.inputs == [{"uri": (folder / "data.csv").as_uri(), "digest": sha(b"1")}]
    assert record.workspace == prepared.archive.digest and record.seed == 3
    assert Path(record.path, "logs/main-0-1.log").read_bytes() == b"1"


# --- cells


def line(**fields: Any) -> str:
    return json.dumps(fields) + "\n"


def test_cells_of_a_ledger() -> None:
    text = (
        line(index=-1, status="running", started=1.0)
        + line(index=-1, status="completed", started=1.0, ended=2.0)
        + line(index=0, status="running", started=2.0)
        + line(index=0, status="failed", started=2.0, ended=3.0, error="E: x")
        + line(index=1, status="running", started=3.0)
    )
    found = [(cell.index, cell.status, cell.ended_at, cell.error) for cell in read_cells(text.encode())]
    assert found == [(-1, "completed", 2.0, ""), (0, "failed", 3.0, "E: x"), (1, "interrupted", None, "")]


@given(st.binary(max_size=300) | st.lists(st.sampled_from(["{", "[1]", '{"index": 1e999}', '{"index": null}', '"x"']))
       .map(lambda lines: "\n".join(lines).encode()))  # fmt: skip
def test_a_ledger_that_user_code_damaged_is_no_error(content: bytes) -> None:
    good = line(index=5, status="completed", started=1.0, ended=2.0).encode()
    assert [cell.index for cell in read_cells(content + b"\n" + good)][-1] == 5


def test_a_ledger_is_bounded() -> None:
    text = "".join(line(index=at, status="x" * 1000, started=1.0, ended=1.0, error="e" * 9000) for at in range(6000))
    found = read_cells(text.encode())
    assert len(found) == 5000 and len(found[0].status) == 40 and len(found[0].error) == 500
