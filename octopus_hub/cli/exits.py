"""Exit codes of the ``octopus`` command, and which error means which."""

from __future__ import annotations

from octopus_hub.model.errors import OctopusError

OK = 0
FAILED = 1
USAGE = 2
REFUSED = 3
NOT_FOUND = 4
UNREACHABLE = 5
FAULT = 70  # EX_SOFTWARE
INTERRUPTED = 130
PIPE_CLOSED = 141

MEANINGS = {
    OK: "done",
    FAILED: "the TaskSet failed or was stopped, or had not ended in the given time; or a file here could not be written",
    USAGE: "the command line or the document is wrong",
    REFUSED: "a rule, a size bound, the token or the TaskSet's phase forbids it",
    NOT_FOUND: "no such object, or it is not yours",
    UNREACHABLE: "the service can't be reached, or could not answer",
    FAULT: "a mistake in this command itself",
    INTERRUPTED: "interrupted by Ctrl-C",
    PIPE_CLOSED: "the reader of the output went away",
}

_BY_CODE = {
    "invalid_spec": USAGE,
    "refused": REFUSED,
    "too_large": REFUSED,
    "unauthenticated": REFUSED,
    "conflict": REFUSED,
    "rate_limited": REFUSED,
    "not_found": NOT_FOUND,
    "gone": NOT_FOUND,
    "unavailable": UNREACHABLE,
    "stream_lost": UNREACHABLE,
    "state_error": UNREACHABLE,
    "error": UNREACHABLE,
    "taskset_failed": FAILED,
    "wait_timeout": FAILED,
    "local_file": FAILED,
}


def exit_code(error: OctopusError) -> int:
    """Return the exit code of an error."""
    return _BY_CODE.get(error.code, _BY_CODE["error"])
