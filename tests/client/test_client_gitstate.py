"""The git state of a workspace, asked of the real git."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from octopus_hub.client.gitstate import git_state, without_credentials

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="there is no git here")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit."""
    git(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / "train.py").write_text("print(1)\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    return tmp_path


def git(folder: Path, *arguments: str) -> str:
    """Run git as an author."""
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


def test_commit_branch_and_changes(repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    assert git_state(repository) == {"commit": commit, "branch": "main", "dirty": False}
    (repository / "train.py").write_text("print(2)\n")
    assert git_state(repository) == {"commit": commit, "branch": "main", "dirty": True}


def test_a_new_file_is_a_change_and_a_detached_head_has_no_branch(repository: Path) -> None:
    git(repository, "checkout", "-q", "--detach")
    (repository / "new.py").touch()
    state = git_state(repository)
    assert state is not None
    assert "branch" not in state
    assert state["dirty"]


def test_only_the_workspace_counts(repository: Path) -> None:
    (repository / "part").mkdir()
    (repository / "part" / "x.py").touch()
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "part")
    (repository / "train.py").write_text("print(3)\n")
    state = git_state(repository / "part")
    assert state is not None
    assert not state["dirty"]


def test_the_remote_without_credentials(repository: Path) -> None:
    git(repository, "remote", "add", "origin", "https://ada:s3cret@git.example/ada/mnist.git?token=x")
    state = git_state(repository)
    assert state is not None
    assert state["remote"] == "https://git.example/ada/mnist.git"


@pytest.mark.parametrize(
    ("remote", "shown"),
    [
        ("git@git.example:ada/mnist.git", "git@git.example:ada/mnist.git"),
        ("ada:s3cret@git.example:mnist.git", "git.example:mnist.git"),
        ("ssh://ada:s3cret@git.example:22/mnist", "ssh://git.example:22/mnist"),
        ("https://[broken@x/mnist", ""),
        ("/srv/git/mnist.git", "/srv/git/mnist.git"),
    ],
)
def test_remotes(remote: str, shown: str) -> None:
    assert without_credentials(remote) == shown


def test_looking_runs_no_program_of_the_repository(repository: Path) -> None:
    marker = repository.parent / "ran"
    program = repository / "monitor"
    program.write_text(f"#!/bin/sh\ntouch {marker}\n")
    program.chmod(0o755)
    git(repository, "config", "core.fsmonitor", str(program))
    assert git_state(repository) is not None
    assert not marker.exists()


def test_no_state(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = Path(os.path.realpath("/proc"))
    assert git_state(outside) is None
    empty = tmp_path / "empty"
    empty.mkdir()
    git(empty, "init", "-q")
    assert git_state(empty) is None, "no commit yet"
    monkeypatch.setenv("PATH", str(empty))
    assert git_state(repository) is None, "no git on this machine"
