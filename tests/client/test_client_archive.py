"""A folder as a workspace: what travels, what stays, and that the same content has the same digest."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octopus_hub.client import archive as archives
from octopus_hub.client.archive import Archive, pack, pack_home
from octopus_hub.client.failures import LocalFileError
from octopus_hub.model.errors import InvalidSpec, TooLarge


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A project."""
    work = tmp_path / "work"
    for name in (
        "train.py",
        "data/a.csv",
        "data/b.csv",
        "src/pkg/__init__.py",
        ".env",
        "__pycache__/x.pyc",
        ".git/HEAD",
    ):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(name)
    yield work


def members(archive: Archive) -> dict[str, tarfile.TarInfo]:
    """Return the members by name; the archive is what its digest says."""
    content = b"".join(archive.chunks())
    assert archive.digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert archive.size == len(content)
    with tarfile.open(fileobj=BytesIO(content)) as tar:
        found = {member.name: member for member in tar}
    assert archive.files == len(found)
    return found


def files(archive: Archive) -> set[str]:
    """Return names of the regular files."""
    return {name for name, member in members(archive).items() if member.isreg()}


def test_what_travels(folder: Path) -> None:
    assert files(pack(folder)) == {"train.py", "data/a.csv", "data/b.csv", "src/pkg/__init__.py", ".env"}
    assert all(not name.startswith("/") and ".." not in name for name in members(pack(folder)))


@pytest.mark.parametrize(
    ("lines", "left"),
    [
        ("*.csv", {"train.py", "src/pkg/__init__.py"}),
        ("data/", {"train.py", "src/pkg/__init__.py"}),
        ("/data/*\n!/data/b.csv", {"train.py", "src/pkg/__init__.py", "data/b.csv"}),
        ("a.csv", {"train.py", "src/pkg/__init__.py", "data/b.csv"}),
        ("/a.csv", {"train.py", "src/pkg/__init__.py", "data/a.csv", "data/b.csv"}),
        ("# comment\n\n  \n", {"train.py", "src/pkg/__init__.py", "data/a.csv", "data/b.csv"}),
        ("**/pkg", {"train.py", "data/a.csv", "data/b.csv"}),
        ("*\n!train.py", {"train.py"}),
        ("!__pycache__/\n!*.pyc", {"train.py", "src/pkg/__init__.py", "data/a.csv", "data/b.csv", "__pycache__/x.pyc"}),
    ],
)
def test_ignore_file_has_the_meaning_of_git(folder: Path, lines: str, left: set[str]) -> None:
    (folder / ".octopusignore").write_text(lines + "\n.env\n")
    assert files(pack(folder)) - {".octopusignore"} == left


def test_ignore_file_agrees_with_git_itself(folder: Path) -> None:
    """The rules are git's: git is asked about the same patterns."""
    patterns = "*.log\n!keep.log\nbuild/\n/top.txt\ndocs/**/*.md\n"
    for name in ("a.log", "keep.log", "sub/b.log", "build/x", "sub/build/y", "top.txt", "sub/top.txt", "docs/a/b/c.md"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / ".octopusignore").write_text(patterns)
    (folder / ".gitignore").write_text(patterns + "__pycache__/\n*.pyc\n")
    subprocess.run(["rm", "-r", str(folder / ".git")], check=True)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    asked = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    wanted = subprocess.run(asked, cwd=folder, check=True, capture_output=True, text=True).stdout.split()
    assert files(pack(folder)) == set(wanted)


def test_the_same_content_has_the_same_digest(folder: Path, tmp_path: Path) -> None:
    first = pack(folder)
    for path in folder.rglob("*"):
        os.utime(path, (1, 1))
    (folder / "train.py").chmod(0o600)
    copy = tmp_path / "copy"
    for name in sorted(files(first), reverse=True):  # another order of creation, another place
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text(name)
    assert first.digest == pack(folder).digest == pack(copy).digest
    (folder / "train.py").chmod(0o755)
    executable = pack(folder)
    assert executable.digest != first.digest
    assert members(executable)["train.py"].mode == 0o755
    assert {member.mode for name, member in members(first).items() if member.isreg()} == {0o644}
    assert {(m.uid, m.gid, m.uname, m.gname, m.mtime) for m in members(first).values()} == {(0, 0, "", "", 0)}


def test_chunks_can_be_read_again_and_closed(folder: Path) -> None:
    packed = pack(folder)
    assert b"".join(packed.chunks()) == b"".join(packed.chunks())
    packed.close()
    with pytest.raises(ValueError, match="closed"):
        list(packed.chunks())


def test_links_inside_travel_links_outside_stay(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret")
    (folder / "inside").symlink_to("data/a.csv")
    (folder / "absolute").symlink_to(folder / "data")
    (folder / "data" / "up").symlink_to("../train.py")
    (folder / "outside").symlink_to(tmp_path / "secret")
    (folder / "up").symlink_to("../secret")
    (folder / "self").symlink_to(".")
    (folder / "dangling").symlink_to("no-such-file")
    packed = pack(folder)
    links = {name: member.linkname for name, member in members(packed).items() if member.issym()}
    assert links == {
        "inside": "data/a.csv",
        "absolute": "data",
        "data/up": "../train.py",
        "dangling": "no-such-file",
    }
    assert sorted(line.split(" -> ")[0] for line in packed.left_out) == ["outside", "self", "up"]
    assert b"s3cret" not in b"".join(packed.chunks())


def test_special_files_stay(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        place = os.getcwd()
        os.chdir(folder)
        try:
            server.bind("socket")
        finally:
            os.chdir(place)
        assert not {"pipe", "socket"} & set(members(pack(folder)))


def test_a_size_bound_names_the_biggest(folder: Path) -> None:
    (folder / "big.bin").write_bytes(bytes(3000))
    (folder / "bigger.bin").write_bytes(bytes(5000))
    with pytest.raises(TooLarge) as told:
        pack(folder, max_bytes=6000)
    assert "bigger.bin (4.9 kB), big.bin (2.9 kB)" in told.value.message
    assert ".octopusignore" in told.value.message
    assert told.value.details["limit_bytes"] == 6000
    with pytest.raises(TooLarge, match=r"holds (at least )?\d+ files, more than the 4"):
        pack(folder, max_files=4)
    (folder / ".octopusignore").write_text("*.bin")
    assert "big.bin" not in members(pack(folder, max_bytes=6000))


def test_a_very_large_folder_is_not_walked_to_its_end(folder: Path) -> None:
    for name in range(300):
        (folder / f"d{name}").mkdir()
        (folder / f"d{name}" / "f").touch()
    with pytest.raises(TooLarge, match="at least"):
        pack(folder, max_files=10)


def test_an_ignore_file_that_cannot_be_read(folder: Path) -> None:
    (folder / ".octopusignore").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidSpec, match=r"\.octopusignore can't be read"):
        pack(folder)
    (folder / ".octopusignore").write_bytes(b"a\n!\n")
    with pytest.raises(InvalidSpec, match=r"\.octopusignore: "):
        pack(folder)


def test_names_that_are_no_text_are_named(folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9")).touch()
    with pytest.raises(InvalidSpec, match="not UTF-8"):
        pack(folder)


@pytest.mark.parametrize("missing", ["nowhere", "train.py"])
def test_what_is_no_folder(folder: Path, missing: str) -> None:
    with pytest.raises(InvalidSpec, match="is not a folder"):
        pack(folder / missing)


AS_NOBODY = """
import os, sys
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
from pathlib import Path
from octopus_hub.client.archive import pack
from octopus_hub.model.errors import InvalidSpec
try:
    pack(Path(sys.argv[1]))
except InvalidSpec as error:
    print(error)
"""


@pytest.mark.parametrize("what", ["data", "train.py"], ids=["folder", "file"])
def test_what_cannot_be_read_is_named(folder: Path, what: str, tmp_path: Path) -> None:
    """Tried as an account that may not read it, which root always may."""
    for place in (*tmp_path.resolve().parents, tmp_path, folder):
        if place.stat().st_uid == os.geteuid() and str(place).startswith(str(Path("/tmp").resolve())):
            place.chmod(place.stat().st_mode | 0o055)
    (folder / what).chmod(0)
    root = Path(__file__).resolve().parents[2]
    code = (
        f"import sys; sys.path.insert(0, {str(root)!r})\n" + "import octopus_hub.client.archive, pathspec\n" + AS_NOBODY
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, timeout=120, check=False
    )
    (folder / what).chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert f"{folder / what} can't be read (Permission denied)" in done.stdout
    assert ".octopusignore" in done.stdout


def test_a_file_that_shrinks_while_it_is_packed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = archives._content

    def shrinking(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
        if path.name == "train.py":
            path.write_text("")
        real(tar, member, path)

    monkeypatch.setattr(archives, "_content", shrinking)
    with pytest.raises(InvalidSpec, match=r"train\.py became shorter while it was packed"):
        pack(folder)


def test_a_file_that_grows_is_packed_as_it_was(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = archives._content

    def growing(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
        path.write_text(path.read_text() + "more")
        real(tar, member, path)

    monkeypatch.setattr(archives, "_content", growing)
    assert members(pack(folder))["train.py"].size == len("train.py")


def test_no_room_for_the_archive(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "noise.bin").write_bytes(os.urandom(1 << 20))
    monkeypatch.setattr(archives, "_IN_MEMORY_BYTES", 1024)
    monkeypatch.setattr(archives.tempfile, "tempdir", "/nonexistent")
    with pytest.raises(LocalFileError, match="make room or set TMPDIR"):
        pack(folder)


# --- home folders


def test_a_home_folder_goes_only_while_it_is_small(folder: Path) -> None:
    packed = pack_home(folder)
    assert packed is not None
    assert files(packed) == {"train.py", "data/a.csv", "data/b.csv", "src/pkg/__init__.py"}, "nothing hidden"
    assert pack_home(folder, max_files=3) is None
    assert pack_home(folder, max_bytes=10) is None


def test_what_is_a_home_folder(tmp_path: Path) -> None:
    home = tmp_path / "ada"
    home.mkdir()
    (tmp_path / "link").symlink_to(home)
    assert archives.is_home(home, home)
    assert archives.is_home(tmp_path, home), "a folder above holds the home folder too"
    assert archives.is_home(tmp_path / "link", home)
    assert not archives.is_home(home / "project", home)
    assert not archives.is_home(tmp_path / "bob", home)


def test_an_archive_from_a_file(tmp_path: Path, folder: Path) -> None:
    content = b"".join(pack(folder).chunks())
    (tmp_path / "workspace.tar.gz").write_bytes(content)
    found = archives.read(tmp_path / "workspace.tar.gz")
    assert (found.digest, found.size) == (f"sha256:{hashlib.sha256(content).hexdigest()}", len(content))
    assert b"".join(found.chunks()) == content
    with pytest.raises(InvalidSpec, match="can't be read"):
        archives.read(tmp_path / "nothing")


NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=12
)


@settings(max_examples=40)
@given(st.dictionaries(NAMES.filter(lambda name: name not in (".", "..", ".octopusignore")), st.binary(max_size=50)))
def test_any_names_and_content_come_back(tmp_path_factory: pytest.TempPathFactory, content: dict[str, bytes]) -> None:
    folder = tmp_path_factory.mktemp("any")
    written = {}
    for name, data in content.items():
        if len(name.encode()) < 200:
            (folder / name).write_bytes(data)
            written[name] = data
    packed = pack(folder)
    with tarfile.open(fileobj=BytesIO(b"".join(packed.chunks()))) as tar:
        found = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    ignored = {name for name in written if name.endswith(".pyc") or name == ".DS_Store"}
    assert {name: data for name, data in written.items() if name not in ignored} == found
