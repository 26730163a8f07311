"""Errors that only a caller meets: a run that ended badly, a wait that took too long, a file here that can't be written."""

from __future__ import annotations

from octopus_hub.model.errors import OctopusError


class TaskSetFailed(OctopusError):
    """A TaskSet that was waited for did not succeed; the message says which task ended how."""

    code = "taskset_failed"
    status = 424


class WaitTimeout(OctopusError, TimeoutError):
    """The TaskSet had not ended within the given time; it keeps running."""

    code = "wait_timeout"
    status = 408


class LocalFileError(OctopusError):
    """A file of the caller's machine can't be written."""

    code = "local_file"
