"""The ``octopus`` command: the client in a shell.

Maps every error to one sentence on standard error and a documented exit code; never shows a traceback for what a user
did. The commands' modules are loaded when they run, so that ``octopus --help`` needs none of them.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Sequence

from octopus_hub.cli import exits
from octopus_hub.cli.parser import build_parser, unknown_words
from octopus_hub.model.errors import InvalidSpec, OctopusError

DEBUG = "OCTOPUS_DEBUG"
Command = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    try:
        _streams()
        code = _run(given)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        _drop_output()  # whoever read us has enough (`octopus list | head`)
        return exits.PIPE_CLOSED
    except KeyboardInterrupt as interrupt:
        _complain(str(interrupt) or "interrupted")
        return exits.INTERRUPTED
    except OctopusError as error:
        _complain(str(error))
        return exits.exit_code(error)
    except OSError as error:
        _drop_output()
        _complain(f"the output can't be written: {error.strerror or error}")
        return exits.FAILED
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        what = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        _complain(
            f"this is a mistake in octopus itself ({what}); {DEBUG}=1 before the command shows where; report that"
        )
        return exits.FAULT


def _run(argv: list[str]) -> int:
    for word in argv:
        if not _is_text(word):
            raise InvalidSpec(f"{word.encode('utf-8', 'surrogateescape')!r} is not UTF-8 text")
    if argv[:1] == ["up"]:
        from octopus_hub.cli.local import up

        return up(argv[1:])
    parser = build_parser()
    own, command = _split_command(argv)
    try:
        arguments, unknown = parser.parse_known_args(own)
    except SystemExit as done:  # argparse has printed what is wrong, or the help that was asked for
        return int(done.code or 0)
    if not hasattr(arguments, "run"):
        parser.print_help(sys.stderr)
        return exits.USAGE
    if unknown:
        raise InvalidSpec(unknown_words(parser, arguments, unknown))
    if hasattr(arguments, "command_line"):
        arguments.command_line = command
    elif command:
        raise InvalidSpec(f"`octopus {arguments.verb}` takes no command after --")
    module, _, function = arguments.run.partition(":")
    return _command(module, function)(arguments)


def _command(module: str, function: str) -> Command:
    """Import what a verb runs; only ``octopus simulate`` needs more than the client's packages."""
    try:
        found: Command = getattr(importlib.import_module(f"octopus_hub.cli.{module}"), function)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("octopus_hub"):
            raise
        words = f"{error.name} is not installed; install it with: pip install 'octopus-hub[simulate]'"
        raise InvalidSpec(words) from None
    return found


def _streams() -> None:
    """A shell may have closed them (`octopus list >&-`)."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  (for as long as the process lives)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    if sys.stdin is None:
        sys.stdin = open(os.devnull)  # noqa: SIM115


def _drop_output() -> None:
    """Lose what is left in the buffer, so that the interpreter does not complain at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_text(word: str) -> bool:
    try:
        word.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _split_command(argv: list[str]) -> tuple[list[str], list[str]]:
    """Split at the first ``--``: what follows belongs to the user's program, whatever it looks like."""
    if "--" not in argv:
        return argv, []
    place = argv.index("--")
    return argv[:place], argv[place + 1 :]


def _complain(sentence: str) -> None:
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    with contextlib.suppress(OSError):
        sys.stderr.write(f"octopus: {sentence}\n".encode(encoding, "backslashreplace").decode(encoding))


__all__ = ["main"]
