"""The readable exit table: what an ended task's exit code, signal and end reason mean, and what to do about it.

Pure; knows one task, nothing of its gang. Called by ``lifecycle`` (may it be tried again? what shall the message say?)
and by ``runs.record`` (class, cause and advice of every task of a record).

Classes (design, law 4): ``permanent`` is the user's to correct, ``transient`` the platform's fault, ``unknown`` can be
either. Only transient failures leave the user's retries alone. Exit codes above 128 are read as 128 + signal, as
shells report them (POSIX 2.8.2); 126 and 127 are "found, not executable" and "not found" (the same place).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from octopus_hub.model.task import FailureClass, Task, TaskState

GIB = 2**30
MIB = 2**20
KIB = 2**10


@dataclass(frozen=True, slots=True)
class Exit:
    """What an end means.

    Attributes
    ----------
    failure_class : str
        ``permanent``, ``transient``, ``unknown``, or ``""`` when the task did not fail.
    cause, advice : str
        In words, without a full stop; ``advice`` may be empty.
    retry : bool
        Trying again as it is can help. False for a command that can't be started at all.
    """

    failure_class: FailureClass | Literal[""]
    cause: str
    advice: str = ""
    retry: bool = True


_CODES: dict[int, Exit] = {
    0: Exit("unknown", "ended with exit code 0 but was reported as failed", "read the task's log"),
    1: Exit("unknown", "the program ended with an error (exit code 1)", "read the end of the task's log"),
    2: Exit("permanent", "the program refused its arguments (exit code 2)", "check command and args; read the log"),
    126: Exit(
        "permanent",
        "the command was found but can't be executed (exit code 126)",
        "make the file executable or start it through its interpreter",
        retry=False,
    ),
    127: Exit(
        "permanent",
        "the command was not found (exit code 127)",
        "check the command's spelling and that the image has it",
        retry=False,
    ),
}

# number -> (name, words, class, advice); Linux numbers (signal(7), x86 and arm)
_SIGNALS: dict[int, tuple[str, str, FailureClass, str]] = {
    1: ("SIGHUP", "its terminal or parent went away", "unknown", "do not tie the program to a terminal"),
    2: ("SIGINT", "interrupted from the keyboard or by a program", "unknown", "find out who interrupted it"),
    3: ("SIGQUIT", "asked to quit", "unknown", "find out who sent the signal"),
    4: (
        "SIGILL",
        "an instruction this processor does not know",
        "permanent",
        "use a build of the program and its libraries for this processor",
    ),
    5: ("SIGTRAP", "a breakpoint or a check that failed", "permanent", "debug the program"),
    6: ("SIGABRT", "the program gave up by itself (abort)", "permanent", "read the assertion or error in the log"),
    7: (
        "SIGBUS",
        "memory that is not there, often a full shared-memory area",
        "permanent",
        "ask for more shm, or check that no mapped file was cut",
    ),
    8: ("SIGFPE", "an impossible computation such as an integer division by zero", "permanent", "debug the program"),
    9: (
        "SIGKILL",
        "killed from outside",
        "unknown",
        "often the machine ran out of memory: look at the task's memory use",
    ),
    10: ("SIGUSR1", "a signal the program did not handle", "unknown", "handle the signal or do not send it"),
    11: (
        "SIGSEGV",
        "access to memory that is not its own",
        "permanent",
        "debug native code and check that library versions match",
    ),
    12: ("SIGUSR2", "a signal the program did not handle", "unknown", "handle the signal or do not send it"),
    13: ("SIGPIPE", "wrote to a connection that the other side had closed", "unknown", "look at the peer's log"),
    14: ("SIGALRM", "its own alarm rang", "permanent", "the program set a time limit and passed it"),
    15: ("SIGTERM", "asked to end, not by octopus", "unknown", "find out who sent the signal"),
    24: ("SIGXCPU", "used up its CPU time limit", "permanent", "raise the CPU time limit or do less work"),
    25: ("SIGXFSZ", "wrote a file above the file size limit", "permanent", "write smaller files or raise the limit"),
    31: ("SIGSYS", "a system call that is forbidden here", "permanent", "the program needs a right that tasks lack"),
}

# end reasons that say all by themselves; OOMKilled is worked out with its numbers below
_REASONS: dict[str, Exit] = {
    "CommandNotFound": Exit(
        "permanent", "the command was not found", "check its spelling and that the image has it", retry=False
    ),
    "NotExecutable": Exit(
        "permanent",
        "the command can't be executed",
        "make the file executable or start it through its interpreter",
        retry=False,
    ),
    "ImageMissing": Exit(
        "permanent",
        "something the task needs does not exist (image, workspace, volume or secret)",
        "check the names in the TaskSet and submit again",
        retry=False,
    ),
    "Refused": Exit("permanent", "it was refused", "see the words of who refused it", retry=False),
    "StartFailed": Exit("transient", "the task could not be prepared", "nothing to do, it is tried again elsewhere"),
    "NodeLost": Exit("transient", "its node was lost", "nothing to do; a checkpoint saves the work done so far"),
    "Evicted": Exit("transient", "it was evicted from its node", "ask for what the task really uses"),
    "Preempted": Exit("transient", "it was preempted for other work", "nothing to do, it queues again"),
    "Resized": Exit("transient", "its gang goes on with another number of tasks", "nothing to do"),
    "Stopped": Exit("transient", "it was stopped by octopus"),
    "Vanished": Exit("transient", "it vanished without a trace", "nothing to do; the machine may have restarted"),
    "DiskFull": Exit("unknown", "the disk was full", "remove old outputs (octopus prune) or write less"),
}

VANISHED = _REASONS["Vanished"]


def classify(task: Task) -> Exit:
    """Say how a task ended: class, cause and advice. Total: every combination of fields has an answer."""
    if task.state is TaskState.SUCCEEDED:
        return Exit("", "succeeded")
    if task.state is not TaskState.FAILED:
        return Exit("", "its node can't be reached" if task.state is TaskState.UNKNOWN else "has not ended")
    if task.end_reason == "OOMKilled":
        return _out_of_memory(task)
    known = _REASONS.get(task.end_reason)
    if known is not None:
        return _with_words(known, task.message)
    return _with_words(_by_number(task), task.message)


def failure_class(task: Task) -> FailureClass:
    """Return only the class of a failed task; cheap, for counting thousands."""
    if task.end_reason:
        known = _REASONS.get(task.end_reason)
        return "permanent" if known is None else known.failure_class or "unknown"
    return _by_number(task).failure_class or "unknown"


def may_retry(task: Task) -> bool:
    """Say whether trying the failed task again as it is can help."""
    if task.end_reason:
        known = _REASONS.get(task.end_reason)
        return known is None or known.retry
    return task.signal is not None or task.exit_code not in (126, 127)


def format_bytes(size: int) -> str:
    """Return ``8.0 GiB``, ``512.0 MiB``, ``3.5 KiB``, ``17 B``."""
    for unit, factor in (("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{max(0, size)} B"


def signal_name(number: int) -> str:
    """Return ``SIGSEGV`` for 11, ``signal 40`` for one without a name here."""
    known = _SIGNALS.get(number)
    return known[0] if known else f"signal {number}"


def _out_of_memory(task: Task) -> Exit:
    limit, used = task.memory_limit_bytes, max(task.usage.peak_memory_bytes, task.usage.memory_bytes)
    advice = "ask for more memory or lower the batch size"
    if limit and used:
        return Exit("permanent", f"killed for memory: used {format_bytes(used)} of {format_bytes(limit)}", advice)
    if limit:
        return Exit("permanent", f"killed for memory: its limit is {format_bytes(limit)}", advice)
    return Exit("permanent", "killed for memory", advice)


def _by_number(task: Task) -> Exit:
    number, code = task.signal, task.exit_code
    if number is None and code is not None:
        known = _CODES.get(code)
        if known is not None:
            return known
        if code < 0:  # Python's subprocess reports a signal as its negative number
            number = -code
        elif 128 < code <= 192:
            number = code - 128
        else:
            return Exit(
                "unknown", f"the program ended with exit code {code}", "the number is the program's own; read its log"
            )
    if number is None:
        return Exit("unknown", "it ended, how is not known", "read the end of the task's log")
    name, words, kind, advice = _SIGNALS.get(
        number, (f"signal {number}", "a signal the program did not handle", "unknown", "find out who sent the signal")
    )
    return Exit(kind, f"ended by {name}: {words}", advice)


def _with_words(exit_: Exit, message: str) -> Exit:
    """Add the backend's own words: which file was missing, which limit was hit."""
    words = message.strip().rstrip(".")
    if not words or words in exit_.cause:
        return exit_
    return Exit(exit_.failure_class, f"{exit_.cause}: {words[:500]}", exit_.advice, exit_.retry)
