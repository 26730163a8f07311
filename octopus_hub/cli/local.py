"""Commands about this machine: ``up``, ``install-proxy``, ``completion``. Server packages are loaded here only."""

from __future__ import annotations

import importlib
from argparse import ArgumentParser, Namespace, _SubParsersAction
from collections.abc import Callable, Sequence
from typing import Any

from octopus_hub.cli import exits, show
from octopus_hub.model.errors import InvalidSpec


def up(argv: Sequence[str]) -> int:
    """``octopus up``: everything after it is for the workbench's own command line."""
    run: Callable[[Sequence[str]], int] = _from_extra("octopus_hub.app", "main")
    return run(argv)


def up_without_arguments(_: Namespace) -> int:
    """``octopus up`` when it was parsed like any other command."""
    return up([])


def install_proxy(_: Namespace) -> int:
    """``octopus install-proxy``."""
    install: Callable[[], None] = _from_extra("octopus_hub.hub.proxy", "install_proxy")
    install()
    return exits.OK


def completion(arguments: Namespace) -> int:
    """``octopus completion``."""
    from octopus_hub.cli.parser import build_parser

    complete: Callable[..., str] = _from_extra("shtab", "complete")
    parser = build_parser()
    _say_what_completes(parser)
    show.write(complete(parser, shell=arguments.shell, preamble=PREAMBLE) + "\n")
    return exits.OK


# Names are asked of the service; where it does not answer at once, nothing is offered.
_NAMES = "octopus list -o name 2>/dev/null"
PREAMBLE = {
    "bash": f'_octopus_names() {{ compgen -W "$({_NAMES})" -- "$1"; }}\n',
    "zsh": f'_octopus_names() {{ local -a names; names=(${{(f)"$({_NAMES})"}}); compadd -a names; }}\n',
}
_COMPLETED = {
    "NAME": {"bash": "_octopus_names", "zsh": "_octopus_names"},
    "RECORD": {"bash": "_octopus_names", "zsh": "_octopus_names"},
    "FILE": {"bash": "_shtab_compgen_files", "zsh": "_files"},
    "DIR": {"bash": "_shtab_compgen_dirs", "zsh": "_files -/"},
}
_NEW_NAMES = ("submit", "secrets")  # their NAME is not that of a TaskSet that is there


def _say_what_completes(parser: ArgumentParser) -> None:
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            for verb, command in action.choices.items():
                if verb not in _NEW_NAMES:
                    _say_what_completes(command)
                else:
                    _mark(command, ("FILE", "DIR"))
    _mark(parser, tuple(_COMPLETED))


def _mark(parser: ArgumentParser, kinds: tuple[str, ...]) -> None:
    for action in parser._actions:
        if action.metavar in kinds:
            action.complete = _COMPLETED[str(action.metavar)]  # type: ignore[attr-defined]  # read by shtab


def _from_extra(module: str, name: str) -> Any:
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("octopus_hub"):
            raise
        raise InvalidSpec(f"{error.name} is not installed; install it with: pip install 'octopus-hub[hub]'") from None
