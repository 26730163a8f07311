"""Commands about this machine: ``up``, ``install-proxy``, ``completion``. Server packages are loaded here only."""

from __future__ import annotations

import importlib
from argparse import Namespace
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
    show.write(complete(build_parser(), shell=arguments.shell) + "\n")
    return exits.OK


def _from_extra(module: str, name: str) -> Any:
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("octopus_hub"):
            raise
        raise InvalidSpec(f"{error.name} is not installed; install it with: pip install 'octopus-hub[hub]'") from None
