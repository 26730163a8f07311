"""From a TaskSet in a program to a TaskSet at the service: check it, take the workspace along, create it.

Called by :func:`octopus_hub.submit` and the command line.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import msgspec

from octopus_hub.client import archive as archives
from octopus_hub.client import inputs
from octopus_hub.client.archive import Archive
from octopus_hub.client.gitstate import git_state
from octopus_hub.client.paths import expanded
from octopus_hub.model.errors import InvalidSpec, OctopusError
from octopus_hub.model.problems import kind_of
from octopus_hub.model.taskset import TaskSet, Workspace


@dataclass(frozen=True, slots=True)
class Submission:
    """A checked TaskSet with its packed workspace.

    Attributes
    ----------
    notices : list of str
        What the user should know: links left out, a home folder not taken along.
    """

    taskset: TaskSet
    archive: Archive | None = None
    notices: list[str] = field(default_factory=list)

    def tied(self, tie: Callable[[TaskSet], TaskSet]) -> Submission:
        """Return it with the TaskSet's lifetime tied as ``client.lease.tie`` says; gives files back if that can't be."""
        try:
            return replace(self, taskset=tie(self.taskset))
        except OctopusError:
            self.close()
            raise

    def close(self) -> None:
        """Give temporary files back."""
        if self.archive is not None:
            self.archive.close()


class _Sink(Protocol):
    def upload(self, archive: Archive) -> None: ...

    def submit(self, taskset: TaskSet, *, key: str | None = None, dry_run: bool = False) -> TaskSet: ...


def prepare(taskset: TaskSet | Mapping[str, Any], workspace: str | os.PathLike[str] | None) -> Submission:
    """Check a TaskSet, hash its inputs, pack its workspace; raises InvalidSpec with every problem, TooLarge."""
    checked = TaskSet.parse(_document(taskset))
    hashed, notices = inputs.with_digests(checked.spec.inputs, expanded(workspace or "."))
    done = _pack(_with(checked, inputs=hashed), workspace)
    return Submission(done.taskset, done.archive, [*notices, *done.notices])


def _document(taskset: Any) -> Mapping[str, Any]:
    if isinstance(taskset, TaskSet):
        return taskset.to_dict()
    if isinstance(taskset, Mapping):
        return taskset
    given = f"a {type(taskset).__name__}" if isinstance(taskset, msgspec.Struct) else kind_of(taskset)
    hint = "; a file is submitted by the command `octopus submit FILE`" if isinstance(taskset, str) else ""
    raise InvalidSpec(f'a TaskSet is submitted, not {given}: TaskSet("name", roles=[Role(...)]){hint}')


def _pack(checked: TaskSet, workspace: str | os.PathLike[str] | None) -> Submission:
    wanted = checked.spec.workspace
    if workspace is None or not wanted.snapshot:
        stated = Workspace(snapshot=False, digest=wanted.digest, git=wanted.git)
        return Submission(_with(checked, workspace=stated))
    if wanted.digest:
        return Submission(checked)
    folder = expanded(workspace)
    if archives.is_home(folder, _home()):
        packed = archives.pack_home(folder)
        if packed is None:
            return Submission(
                _with(checked, workspace=Workspace(snapshot=False)),
                notices=[
                    f"no files were taken along: {folder.resolve()} is your home folder and holds more than a few "
                    "files; work in a folder of its own, or give workspace= (--workspace)"
                ],
            )
    else:
        packed = archives.pack(folder)
    state = Workspace(snapshot=True, digest=packed.digest, git=git_state(folder))
    notices = [f"left out of the workspace, since it leads elsewhere: {link}" for link in packed.left_out[:10]]
    if len(packed.left_out) > len(notices):
        notices.append(f"and {len(packed.left_out) - len(notices)} more links of that kind")
    return Submission(_with(checked, workspace=state), packed, notices)


def create(client: _Sink, submission: Submission, *, key: str | None = None) -> TaskSet:
    """Upload what the service lacks, then create the TaskSet."""
    try:
        if submission.archive is not None:
            client.upload(submission.archive)
        return client.submit(submission.taskset, key=key)
    finally:
        submission.close()


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # an account without an entry and without HOME, as in some containers
        return Path("/")


def _with(taskset: TaskSet, **changes: Any) -> TaskSet:
    return msgspec.structs.replace(taskset, spec=msgspec.structs.replace(taskset.spec, **changes))
