"""The ``octopus`` command: the client in a shell.

Maps every error to one sentence on standard error and a documented exit code; never shows a traceback for what a user
did. The commands' modules are loaded when they run, so that ``octopus --help`` needs none of them.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence

from octopus_hub.cli import exits
from octopus_hub.cli.parser import build_parser
from octopus_hub.model.errors import OctopusError

Command = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(given)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Whoever read us has enough (`octopus list | head`); the interpreter must not complain at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.PIPE_CLOSED
    except KeyboardInterrupt as interrupt:
        _complain(str(interrupt) or "interrupted")
        return exits.INTERRUPTED
    except OctopusError as error:
        _complain(str(error))
        return exits.exit_code(error)


def _run(argv: list[str]) -> int:
    if argv[:1] == ["up"]:
        from octopus_hub.cli.local import up

        return up(argv[1:])
    parser = build_parser()
    own, command = _split_command(argv)
    try:
        arguments = parser.parse_args(own)
    except SystemExit as done:  # argparse has printed what is wrong, or the help that was asked for
        return int(done.code or 0)
    if not hasattr(arguments, "run"):
        parser.print_help(sys.stderr)
        return exits.USAGE
    if hasattr(arguments, "command_line"):
        arguments.command_line = command
    elif command:
        _complain(f"`octopus {arguments.verb}` takes no command after --")
        return exits.USAGE
    module, _, function = arguments.run.partition(":")
    run: Command = getattr(importlib.import_module(f"octopus_hub.cli.{module}"), function)
    return run(arguments)


def _split_command(argv: list[str]) -> tuple[list[str], list[str]]:
    """Split at the first ``--``: what follows belongs to the user's program, whatever it looks like."""
    if "--" not in argv:
        return argv, []
    place = argv.index("--")
    return argv[:place], argv[place + 1 :]


def _complain(sentence: str) -> None:
    sys.stderr.write(f"octopus: {sentence}\n")


__all__ = ["main"]
