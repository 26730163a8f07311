"""What is taken along with a TaskSet, and what the user is told about it."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from octopus_hub.client import submission
from octopus_hub.client.submission import create, prepare
from octopus_hub.model.errors import InvalidSpec, Refused
from octopus_hub.model.taskset import Input, Role, TaskSet, Workspace

ROLES = [Role("worker", command=["true"])]


def plain(**spec: object) -> TaskSet:
    """Return a TaskSet."""
    return TaskSet("mnist", roles=ROLES, **spec)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder outside the home folder."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "train.py").write_text("print(1)\n")
    return folder


def test_a_workspace_goes_along(project: Path) -> None:
    prepared = prepare(plain(), project)
    assert prepared.archive is not None
    assert prepared.taskset.spec.workspace.digest == prepared.archive.digest
    assert prepared.taskset.spec.workspace.git is None
    assert prepared.notices == []
    prepared.close()


def test_its_git_state_goes_along(project: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=project, check=True)
    commit = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "first"]
    subprocess.run(commit, cwd=project, check=True)
    git = prepare(plain(), project).taskset.spec.workspace.git
    assert git is not None
    assert git["dirty"]


@pytest.mark.parametrize(
    ("taskset", "workspace"),
    [(plain(), None), (plain(workspace=Workspace(snapshot=False)), ".")],
    ids=["no folder", "not wanted"],
)
def test_nothing_goes_along(taskset: TaskSet, workspace: str | None, project: Path) -> None:
    prepared = prepare(taskset, workspace and project)
    assert prepared.archive is None
    assert not prepared.taskset.spec.workspace.snapshot


def test_a_stated_digest_is_kept(project: Path) -> None:
    digest = "sha256:" + "0" * 64
    stated = plain(workspace=Workspace(digest=digest))
    for workspace in (project, None):
        prepared = prepare(stated, workspace)
        assert (prepared.archive, prepared.taskset.spec.workspace.digest) == (None, digest)


def test_links_that_lead_out_are_told(project: Path) -> None:
    for number in range(12):
        (project / f"link{number:02}").symlink_to("/etc/hostname")
    notices = prepare(plain(), project).notices
    assert notices[0] == "left out of the workspace, since it leads elsewhere: link00 -> /etc/hostname"
    assert notices[-1] == "and 2 more links of that kind"
    assert len(notices) == 11


@pytest.mark.parametrize("where", [".", ".."], ids=["home", "above"])
def test_a_large_home_folder_stays(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "homes" / "ada"
    home.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    (home / "train.py").touch()
    (home / ".ssh").mkdir()
    (home / ".ssh" / "id_ed25519").write_text("s3cret")
    small = prepare(plain(), home / where)
    assert small.archive is not None
    assert b"s3cret" not in b"".join(small.archive.chunks())
    monkeypatch.setattr(submission.archives.pack_home, "__kwdefaults__", {"max_bytes": 1 << 20, "max_files": 0})
    large = prepare(plain(), home / where)
    assert large.archive is None
    assert "is your home folder" in large.notices[0]


def test_an_account_without_a_home_folder(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda uid: (_ for _ in ()).throw(KeyError(uid)))
    assert prepare(plain(), project).archive is not None
    with pytest.raises(InvalidSpec, match="no such home folder"):
        prepare(plain(), "~/project")


def test_every_problem_of_a_document_is_told_before_anything_is_packed(project: Path) -> None:
    with pytest.raises(InvalidSpec) as told:
        prepare({"kind": "TaskSet", "spec": {"roles": [{"name": "W", "replica": 2}]}}, project / "nowhere")
    assert any("did you mean replicas?" in problem for problem in told.value.problems)


# --- inputs


def test_inputs_that_can_be_read_get_their_digest(project: Path) -> None:
    (project / "data.csv").write_text("1\n")
    (project / "many").mkdir()
    (project / "many" / "a").write_text("a")
    given = [Input(uri="data.csv"), Input(uri=(project / "many").as_uri()), Input(uri="s3://bucket/x")]
    prepared = prepare(plain(inputs=given), project)
    file, folder, foreign = prepared.taskset.spec.inputs
    assert file.uri == (project / "data.csv").as_uri()
    assert file.digest == f"sha256:{hashlib.sha256(b'1' + os.linesep.encode()).hexdigest()}"
    listing = f"{hashlib.sha256(b'a').hexdigest()}  a\n"
    assert folder.digest == f"sha256:{hashlib.sha256(listing.encode()).hexdigest()}"
    assert foreign == given[2]
    assert prepared.notices == []


def test_an_input_that_is_not_there_is_declared_all_the_same(project: Path) -> None:
    prepared = prepare(plain(inputs=[Input(uri="nothing.csv")]), project)
    assert prepared.taskset.spec.inputs[0].digest is None
    assert "is recorded as it is declared" in prepared.notices[0]


def test_a_digest_that_is_not_the_inputs_is_refused(project: Path) -> None:
    wrong = Input(uri="train.py", digest="sha256:" + "0" * 64)
    with pytest.raises(InvalidSpec, match=r"spec\.inputs\[0\]\.digest: train\.py has sha256:"):
        prepare(plain(inputs=[wrong]), project)


# --- creation


class Refusing:
    """A service that takes files and refuses TaskSets."""

    def upload(self, archive: object) -> None:
        """Take it."""

    def submit(self, taskset: TaskSet, *, key: str | None = None, dry_run: bool = False) -> TaskSet:
        """Refuse it."""
        raise Refused("no room for you")


def test_temporary_files_are_given_back_whatever_happens(project: Path) -> None:
    prepared = prepare(plain(), project)
    with pytest.raises(Refused):
        create(Refusing(), prepared)
    assert prepared.archive is not None
    with pytest.raises(ValueError, match="closed"):
        list(prepared.archive.chunks())

    def untied(_: TaskSet) -> TaskSet:
        raise InvalidSpec("nothing to tie it to")

    prepared = prepare(plain(), project)
    with pytest.raises(InvalidSpec):
        prepared.tied(untied)
    assert prepared.archive is not None
    with pytest.raises(ValueError, match="closed"):
        list(prepared.archive.chunks())
