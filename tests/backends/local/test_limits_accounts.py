"""Tasks as other system accounts: their folders are theirs, the state folder stays closed. Needs root."""

from __future__ import annotations

import pwd
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from octopus_hub.backends.local.prepare import Account, give_away
from octopus_hub.model.task import TaskState
from tests.backends.local.conftest import sweep
from tests.backends.local.tasks import Bench

CAP_CHOWN, CAP_SETUID = 1 << 0, 1 << 7


def may_change_accounts() -> bool:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff:"))
    return int(line.split()[1], 16) & (CAP_CHOWN | CAP_SETUID) == CAP_CHOWN | CAP_SETUID


pytestmark = pytest.mark.skipif(not may_change_accounts(), reason="only root can run tasks as other accounts")
ACCOUNT, OTHER = "nobody", "daemon"


@pytest.fixture
async def separate() -> AsyncIterator[Bench]:
    root = Path(tempfile.mkdtemp(prefix="octopus-accounts-", dir="/tmp"))  # pytest's own folder is closed to others
    (root / "octopus.db").write_text("rows")
    (root / "octopus.db").chmod(0o644)
    bench = Bench(root, separate_accounts=True)
    await bench.runner.adopt([])
    yield bench
    await sweep(bench)
    shutil.rmtree(root)


async def test_a_task_is_its_owner_and_nobody_else(separate: Bench) -> None:
    entry = pwd.getpwnam(ACCOUNT)
    code = "id -u; id -g; id -G; echo $USER; touch mine $TMPDIR/t $OCTOPUS_OUTPUTS/o && stat -c %u mine; pwd"
    end = await separate.run(["sh", "-c", code], owner=ACCOUNT)
    assert end.state is TaskState.SUCCEEDED, end.message
    lines = (await separate.log(end)).decode().split("\n")
    assert lines[:2] == [str(entry.pw_uid), str(entry.pw_gid)]
    assert "0" not in lines[2].split() and lines[3] == ACCOUNT and lines[4] == str(entry.pw_uid)
    assert lines[5] == str(separate.folder(end) / "work")
    assert [name for name, _ in await separate.runner.collect("anna", end.name, [])] == ["outputs/o"]


async def test_what_is_not_its_own_is_closed(separate: Bench) -> None:
    first = await separate.run(["sh", "-c", "echo up; echo secret > result"], owner=ACCOUNT)
    folder = separate.folder(first)
    code = f"cat {separate.root}/octopus.db; ls {separate.root}; ls {separate.root}/tasks; cat {folder}/work/result"
    code += f"; cat {folder}/log {folder}/spec.json; echo done"
    end = await separate.run(["sh", "-c", code], 1, owner=OTHER)
    lines = (await separate.log(end)).decode().splitlines()
    assert lines[-1] == "done" and len(lines) == 7
    assert all("Permission denied" in line for line in lines[:-1]), lines


async def test_a_stop_reaches_another_account(separate: Bench) -> None:
    task = await separate.running(["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.02; done"], owner=ACCOUNT)
    await separate.logged(task, b"up")
    await separate.runner.stop([task], 0, "user's stop")
    assert (await separate.ended(task)).signal == 9
    assert separate.strays(task) == []


@pytest.mark.parametrize(("owner", "words"), [("no-such-account", "no system account"), ("root", "do not run as root")])
async def test_accounts_that_can_not_be_used(separate: Bench, owner: str, words: str) -> None:
    end = await separate.ended(await separate.start(["true"], owner=owner))
    assert end.end_reason == "ImageMissing" and words in end.message


def test_a_folder_is_given_away_when_nothing_in_it_is_left_to_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its new owner could otherwise put a link in the place of what root is about to give him."""
    (tmp_path / "work" / "deep" / "deeper").mkdir(parents=True)
    (tmp_path / "work" / "deep" / "file").write_text("x")
    given: list[str] = []
    monkeypatch.setattr("os.chown", lambda path, *owner, **options: given.append(str(path)))
    give_away(Account("x", 1, 1, "/"), tmp_path / "work", tmp_path / "none")
    inside = [Path(path).relative_to(tmp_path).as_posix() for path in given]
    assert sorted(inside) == ["work", "work/deep", "work/deep/deeper", "work/deep/file"]
    for path in inside:
        assert all(inside.index(path) > inside.index(other) for other in inside if other.startswith(f"{path}/"))


async def test_what_an_engine_left_half_prepared_is_made_anew(separate: Bench) -> None:
    """It may have been given away already, so nothing in it is to be trusted by root."""
    folder = separate.root / "tasks" / "anna" / "job" / "job-worker-0-1"
    (folder / "work").mkdir(parents=True)
    (folder / "work" / "outputs").symlink_to("/etc")
    (folder / "volumes").symlink_to("/etc")
    end = await separate.run(["sh", "-c", "test -d outputs && ! test -L outputs"], owner=ACCOUNT)
    assert end.state is TaskState.SUCCEEDED, end.message
    assert not (folder / "volumes").is_symlink()
