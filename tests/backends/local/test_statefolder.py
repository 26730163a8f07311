"""The state folder: private, writable, on a local file system, held by one engine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from octopus_hub.backends.local.backend import LocalBackend
from octopus_hub.backends.local.statefolder import Lock, default_folder, disk_full, file_system, prepare
from octopus_hub.model.errors import StateError

REPOSITORY = Path(__file__).parents[3]


def mounts(tmp_path: Path, *lines: tuple[str, str]) -> Path:
    """A mountinfo file with these mounts (point, type) beside the root's."""
    path = tmp_path / "mountinfo"
    rows = [("/", "ext4"), *lines]
    path.write_text(
        "".join(
            f"{n} 1 0:{n} / {point} rw,relatime shared:1 - {kind} none rw\n" for n, (point, kind) in enumerate(rows)
        )
    )
    return path


@pytest.mark.parametrize("before", [None, 0o755, 0o777, 0o700, 0o750])
def test_it_is_made_private(tmp_path: Path, before: int | None) -> None:
    folder = tmp_path / "deep" / "state"
    if before is not None:
        folder.mkdir(parents=True)
        folder.chmod(before)
    assert prepare(folder) == folder
    assert folder.stat().st_mode & 0o777 == 0o700 and list(folder.iterdir()) == []


def test_tasks_of_separate_accounts_may_pass_through(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    folder.chmod(0o711)
    prepare(folder)
    assert folder.stat().st_mode & 0o777 == 0o711


def test_links_are_resolved_so_that_one_folder_has_one_name(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert prepare(tmp_path / "link") == tmp_path / "real"


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "9p", "fuse.sshfs", "lustre"])
def test_a_network_file_system_is_refused_with_another_place(tmp_path: Path, kind: str) -> None:
    fake = mounts(tmp_path, (str(tmp_path), kind))
    with pytest.raises(StateError, match=rf"network file system \({kind}\).*OCTOPUS_STATE=/var/tmp/octopus-hub-"):
        prepare(tmp_path / "state", fake)


def test_the_innermost_and_latest_mount_counts(tmp_path: Path) -> None:
    home = tmp_path / "a b"
    fake = mounts(tmp_path, (str(tmp_path), "nfs4"), (str(home).replace(" ", "\\040"), "xfs"), ("/var", "nfs4"))
    assert file_system(home / "state", fake) == "xfs"
    assert file_system(tmp_path / "elsewhere", fake) == "nfs4"
    assert file_system(tmp_path.with_name(tmp_path.name + "x"), fake) == "ext4"
    assert prepare(home / "state", fake).is_dir()
    over = mounts(tmp_path, (str(home).replace(" ", "\\040"), "xfs"), (str(home).replace(" ", "\\040"), "nfs"))
    assert file_system(home, over) == "nfs"
    assert file_system(home, tmp_path / "no such file") == ""


@pytest.mark.parametrize("place", ["/proc/octopus", "file/state"])
def test_a_folder_that_can_not_be_made(tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match=r"can't be used \(.*name a folder of your own"):
        prepare(Path(place))


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can give a folder away")
def test_a_folder_of_another_account_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12345)
    with pytest.raises(StateError, match="belongs to another account"):
        prepare(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="root may write anywhere; a process that is not has to be made")
def test_a_folder_that_can_not_be_written(tmp_path: Path) -> None:
    folder = Path(f"/tmp/octopus-unwritable-{os.getpid()}")  # pytest's own folder is closed to other accounts
    folder.mkdir()
    try:
        (folder / "state").mkdir()
        (folder / "state").chmod(0o500)
        os.chown(folder / "state", 65534, 65534)
        code = f"""
import os
from pathlib import Path
from octopus_hub.backends.local.statefolder import prepare
from octopus_hub.model.errors import StateError
os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    prepare(Path({str(folder)!r}, "new"))
except StateError as error:
    print(error)
"""
        done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
        assert "can't be used (Permission denied); name a folder of your own" in done.stdout
    finally:
        (folder / "state").rmdir()
        folder.rmdir()


def test_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OCTOPUS_STATE", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/anna")
    assert default_folder() == Path("/home/anna/.local/state/octopus-hub")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert default_folder() == Path("/state/octopus-hub")
    monkeypatch.setenv("OCTOPUS_STATE", "/elsewhere")
    assert default_folder() == Path("/elsewhere")


# --- the lock


def test_a_second_engine_is_told_who_holds_it(tmp_path: Path) -> None:
    code = f"""
import time
from pathlib import Path
from octopus_hub.backends.local.statefolder import Lock
lock = Lock(Path({str(tmp_path)!r}))
print("held", flush=True)
time.sleep(1000)
"""
    holder = subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY, stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        with pytest.raises(StateError, match=rf"process {holder.pid}\) uses .*kill {holder.pid}") as caught:
            Lock(tmp_path)
        assert caught.value.details["pid"] == holder.pid
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close() if holder.stdout else None
    lock = Lock(tmp_path)  # the kernel freed it
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    lock.release()
    Lock(tmp_path).release()


async def test_two_backends_on_one_folder(tmp_path: Path) -> None:
    first, second = LocalBackend(tmp_path / "state"), LocalBackend(tmp_path / "state")
    await first.open()
    with pytest.raises(StateError, match="another octopus"):
        await second.open()
    assert (await first.listing()).nodes
    await first.close()
    await second.open()
    assert second.epoch == 2
    await second.close()


def test_the_lock_is_not_inherited_by_tasks(tmp_path: Path) -> None:
    lock = Lock(tmp_path)
    child = subprocess.Popen(["sleep", "1000"])
    try:
        lock.release()
        Lock(tmp_path).release()
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize("number", [28, 122, 27])
def test_a_full_disk_has_a_way_out(tmp_path: Path, number: int) -> None:
    assert "octopus prune" in disk_full(tmp_path, OSError(number, "full")).message
    assert "is full" not in disk_full(tmp_path, PermissionError(13, "denied")).message
