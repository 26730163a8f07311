"""The command line's reference page, made from the parser. Called by ``tools/generate.py``."""

from __future__ import annotations

import argparse

from octopus_hub.cli import exits
from octopus_hub.cli.parser import build_parser

HEADER = """# The `octopus` command

Generated from the command's own parser by `make generate`; do not edit.

The command finds the service by itself: in a terminal of a hub's server by that server's environment, in the account
that ran `make run` by its `client.json`; `OCTOPUS_URL` and `OCTOPUS_TOKEN` override both. A NAME may be written
NAMESPACE/NAME. Results go to standard output, everything said beside them to standard error.
"""


def reference_page() -> str:
    """Return the page as Markdown; the same on every machine."""
    parser = build_parser()
    parts = [HEADER, "## Exit codes\n", "| code | meaning |\n|---|---|"]
    parts += [f"| {code} | {meaning} |" for code, meaning in exits.MEANINGS.items()]
    parts.append("\n## Commands\n\n| command | |\n|---|---|")
    commands = _commands(parser)
    texts = {choice.dest: choice.help or "" for choice in _choices(parser)}
    parts += [f"| [`{verb}`](#{verb}) | {texts.get(verb, '')} |" for verb in commands]
    parts += [_section(verb, command) for verb, command in commands.items()]
    return "\n".join(parts) + "\n"


def _section(verb: str, parser: argparse.ArgumentParser) -> str:
    lines = [f"\n## {verb}\n", f"{parser.description or ''}\n"]
    actions = [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]
    if verb == "up":
        lines.append("Its own options: `octopus up --help`.")
    rows = [f"| {_call(action)} | {action.help or ''} |" for action in actions]
    if rows:
        lines += ["| argument | |\n|---|---|", *rows]
    return "\n".join(lines)


def _call(action: argparse.Action) -> str:
    if not action.option_strings:
        name = str(action.metavar or "|".join(map(str, action.choices or ())) or action.dest.upper())
        return f"`{name}{' ...' if action.nargs == '+' else ''}`".replace("|", "\\|")
    value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
    return ", ".join(f"`{option}{value}`" for option in action.option_strings)


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    return dict(_subparsers(parser).choices)


def _choices(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return list(_subparsers(parser)._choices_actions)


def _subparsers(parser: argparse.ArgumentParser) -> argparse._SubParsersAction[argparse.ArgumentParser]:
    return next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
