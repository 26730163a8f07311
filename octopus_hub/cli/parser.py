"""The command line's grammar. The reference page and the shells' completion are made from it.

Imports nothing of the product but other definitions: a command names the function that runs it (``module:function``), loaded when needed.
"""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from octopus_hub._version import __version__
from octopus_hub.cli import simulating_options

FORMATS = ("table", "yaml", "json", "name")
NAME = "NAME or NAMESPACE/NAME"


class _Parser(argparse.ArgumentParser):
    """One sentence for what is wrong, and no abbreviations: an option added later must not change what a script means."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        """Say it and exit."""
        see = "" if "--help" in message else f"; see `{self.prog} --help`"
        self.exit(2, f"{self.prog}: {message.removeprefix('argument ').removeprefix('COMMAND: ')}{see}\n")

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            known = [str(choice) for choice in action.choices]
            close = difflib.get_close_matches(str(value), known, 1)
            if close:
                hint = f"did you mean {close[0]}?"
            else:
                hint = f"there are {', '.join(known)}" if len(known) < 10 else "`octopus --help` lists them"
            what = "command " if action.dest == "verb" else ""
            raise argparse.ArgumentError(action, f"there is no {what}{value!r}; {hint}")


def unknown_words(parser: argparse.ArgumentParser, arguments: argparse.Namespace, words: Sequence[str]) -> str:
    """Return the sentence about words of a command line that its command does not know."""
    verb = str(arguments.verb)
    command = command_of(parser, verb)
    first = words[0]
    if first.startswith("-"):
        options = [option for action in command._actions for option in action.option_strings]
        close = difflib.get_close_matches(first.partition("=")[0], options, 1)
        hint = f"did you mean {close[0]}?" if close else f"`octopus {verb} --help` lists its options"
        return f"`octopus {verb}` has no option {first.partition('=')[0]}; {hint}"
    if verb == "submit":
        return "the command of a TaskSet comes after --, as in: octopus submit --name NAME -- COMMAND"
    return f"`octopus {verb}` has no use for {first!r}; see `octopus {verb} --help`"


def command_of(parser: argparse.ArgumentParser, verb: str) -> argparse.ArgumentParser:
    """Return a command's own parser."""
    action = next(each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
    found: argparse.ArgumentParser = action.choices[verb]
    return found


def _replicas(text: str) -> int | dict[str, int]:
    """Return ``4`` as a number, ``2..8`` as the bounds of an elastic role."""
    least, dots, most = text.partition("..")
    return {"min": _whole(least), "max": _whole(most)} if dots else _whole(text)


def _whole(text: str) -> int:
    try:
        number = int(text) if text.isascii() else -1
    except ValueError:
        number = -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return number


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < 1e10:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return number


if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[_Parser]


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command."""
    parser = _Parser(
        prog="octopus",
        description="Submit, watch and replay distributed jobs (TaskSets).",
        epilog="Exit codes: 0 ok, 1 the TaskSet failed, 2 usage, 3 refused, 4 not found, 5 service not reachable; "
        "130 interrupted.",
    )
    parser.add_argument("--version", action="version", version=f"octopus {__version__}")
    commands = parser.add_subparsers(dest="verb", metavar="COMMAND", parser_class=_Parser)
    _submitting(commands)
    _looking(commands)
    _following(commands)
    _changing(commands)
    _cluster(commands)
    _records(commands)
    _machine(commands)
    _simulating(commands)
    return parser


def _add(commands: Commands, verb: str, run: str, text: str) -> _Parser:
    parser = commands.add_parser(verb, help=text[0].lower() + text[1:], description=f"{text}.")
    parser.set_defaults(run=run)
    return parser


def _submitting(commands: Commands) -> None:
    submit = _add(commands, "submit", "submitting:submit", "Submit TaskSets: a YAML file, or a command after --")
    submit.usage = "octopus submit FILE [options]\n       octopus submit --name NAME [options] -- COMMAND ..."
    submit.add_argument("file", nargs="?", metavar="FILE", help="YAML or JSON document(s); - reads standard input")
    submit.set_defaults(command_line=[])
    _flat_form(submit)
    submit.add_argument(
        "--workspace", default=".", metavar="DIR", help="folder whose files tasks get (default: this one)"
    )
    submit.add_argument("--no-workspace", action="store_true", help="take no files along")
    submit.add_argument("--watch", "-w", action="store_true", help="wait for the end; exit 1 unless it succeeds")
    _format(submit)

    plan = _add(
        commands, "plan", "submitting:plan", "Say whether a TaskSet is valid and would run now, or what is short"
    )
    plan.add_argument("file", metavar="FILE", help="YAML or JSON document(s); - reads standard input")
    plan.add_argument("--offline", action="store_true", help="check the document only; asks no service")
    _format(plan, ("table", "yaml", "json"))

    imports = _add(
        commands, "import", "submitting:import_seed", "Convert a TaskSet of the seed platform (octopus.openi.pcl.cn)"
    )
    imports.add_argument("file", metavar="FILE", help="its YAML; - reads standard input")
    imports.add_argument("--submit", action="store_true", help="submit the result instead of printing it")
    imports.add_argument("--workspace", metavar="DIR", help="with --submit: folder whose files tasks get")
    _format(imports, ("yaml", "json"))

    schema = _add(commands, "schema", "submitting:schema", "Print the JSON Schema of a kind")
    schema.add_argument("kind", nargs="?", default="TaskSet", metavar="KIND", help="default: TaskSet")


def _flat_form(submit: _Parser) -> None:
    group = submit.add_argument_group("a command instead of a file")
    group.add_argument("--name", metavar="NAME", help="name of the TaskSet; a taken one gets a suffix")
    group.add_argument("--role", default="worker", metavar="ROLE", help="name of its role (default: worker)")
    group.add_argument(
        "--replicas", type=_replicas, default=1, metavar="N", help="tasks of the role; 2..8 lets it grow and shrink"
    )
    group.add_argument(
        "--devices", action="append", default=[], metavar="TYPE=N", help="devices per task, e.g. gpu=1 or gpu=0.25"
    )
    group.add_argument("--cpu", metavar="CPUS", help="CPU per task, e.g. 2 or 500m")
    group.add_argument("--memory", metavar="SIZE", help="memory per task, e.g. 8Gi")
    group.add_argument(
        "--env", action="append", default=[], metavar="NAME=VALUE", help="environment; NAME alone copies ours"
    )
    group.add_argument("--secret", action="append", default=[], metavar="NAME=SECRET", help="environment from a secret")
    group.add_argument("--image", metavar="IMAGE", help="environment to run in")
    group.add_argument("--framework", metavar="NAME", help="how tasks are wired, e.g. pytorch (default: script)")
    group.add_argument("--queue", metavar="QUEUE", help="default: your own")
    group.add_argument("--priority", metavar="CLASS", help="low, normal, high or what your site defines")
    group.add_argument(
        "--output", action="append", default=[], metavar="GLOB", help="files to collect, e.g. 'out/*.csv'"
    )
    group.add_argument("--label", action="append", default=[], metavar="KEY=VALUE", help="labels")
    group.add_argument("--after", action="append", default=[], metavar="NAME", help="start when that one has succeeded")
    group.add_argument("--max-runtime", type=_seconds, metavar="SECONDS", help="stop it after so long")
    group.add_argument("--seed", type=_whole, metavar="N", help="OCTOPUS_SEED of the tasks (default: drawn)")
    group.add_argument("--hold", action="store_true", help="keep it from starting until released")


def _looking(commands: Commands) -> None:
    listing = _add(commands, "list", "looking:list_", "List TaskSets")
    listing.add_argument("--phase", metavar="PHASE", help="only those in this phase, e.g. Running")
    listing.add_argument("--label", metavar="KEY=VALUE", help="only those with this label")
    listing.add_argument("-A", "--all-namespaces", action="store_true", help="everyone's (admins)")
    listing.add_argument("-n", "--namespace", default="", metavar="NAMESPACE", help="default: your own")
    _format(listing)
    _format(_named(_add(commands, "get", "looking:get", "Show TaskSets"), many=True))
    describe = _add(
        commands,
        "describe",
        "looking:describe",
        "Tell everything about a TaskSet: why it waits, in numbers; what failed",
    )
    _named(describe)
    why = _add(commands, "why", "looking:why", "Say why a TaskSet waits, runs where it does, or ended as it did")
    _format(_named(why), ("table", "yaml", "json"))
    tasks = _add(commands, "tasks", "looking:tasks", "List the tasks of a TaskSet")
    _format(_named(tasks))


def _following(commands: Commands) -> None:
    logs = _named(_add(commands, "logs", "following:logs", "Print the logs of a TaskSet's tasks"))
    logs.add_argument("-f", "--follow", action="store_true", help="go on until the tasks end")
    logs.add_argument("--role", metavar="ROLE", help="default: every role")
    logs.add_argument("--index", type=_whole, metavar="N", help="default: every task of the role")
    logs.add_argument("--attempt", type=_whole, metavar="N", help="default: the last")
    logs.add_argument("--tail", type=_whole, metavar="LINES", help="the last lines only")

    events = _add(
        commands, "events", "following:events", "Print what happened: phases of TaskSets, with -f also states of tasks"
    )
    events.add_argument("name", nargs="?", metavar="NAME", help="default: all of yours")
    events.add_argument("-f", "--follow", action="store_true", help="go on with what happens from now")
    _format(events, ("table", "json"))

    wait = _named(_add(commands, "wait", "following:wait", "Wait for the end; exit 1 unless all succeeded"), many=True)
    wait.add_argument(
        "--timeout", type=_seconds, metavar="SECONDS", help="give up after so long (the TaskSet keeps running)"
    )


def _changing(commands: Commands) -> None:
    for verb, text in (
        ("stop", "Stop TaskSets; their records are written"),
        ("hold", "Keep waiting TaskSets from starting"),
        ("release", "Let held TaskSets start"),
        ("delete", "Delete TaskSets and their logs; their records stay"),
    ):
        _named(_add(commands, verb, f"changing:{verb}", text), many=True)
    scale = _named(_add(commands, "scale", "changing:scale", "Wish another size of elastic roles of a TaskSet"))
    scale.add_argument("sizes", nargs="+", metavar="ROLE=N", help="tasks it shall have; ROLE=any takes the wish back")
    prune = _add(commands, "prune", "changing:prune", "Delete TaskSets that ended a while ago; their records stay")
    prune.add_argument("--older-than", default="7d", metavar="AGE", help="e.g. 0s, 90m, 12h, 7d (default: 7d)")
    prune.add_argument("--dry-run", action="store_true", help="only say which")


def _cluster(commands: Commands) -> None:
    _calendar(commands)
    for kind, text in (
        ("queue", "List queues with their use, limits and how many wait; show, create, set, delete or reset one"),
        ("cohort", "List cohorts of queues that lend each other; show, create, set, delete or reset one"),
    ):
        _definitions(_add(commands, f"{kind}s", f"queues:{kind}s", text), kind)
    version = _add(commands, "version", "cluster:version", "Print the versions of this client and of the service")
    _format(version, ("table", "yaml", "json"))
    secrets = _add(
        commands, "secrets", "cluster:secrets", "List secrets by name, set or delete one; values are never shown"
    )
    secrets.add_argument("action", nargs="?", choices=("list", "set", "delete"), default="list")
    secrets.add_argument("name", nargs="?", metavar="NAME", help="set reads the value from standard input")


def _calendar(commands: Commands) -> None:
    nodes = _add(commands, "nodes", "cluster:nodes", "List nodes with their devices; drain, close or open some")
    nodes.add_argument(
        "action", nargs="?", choices=("list", "drain", "close", "open"), default="list", metavar="ACTION",
        help="list, drain, close, open (default: list)",
    )  # fmt: skip
    nodes.add_argument("names", nargs="*", metavar="NAME", help="drain: work makes room; close: what runs finishes")
    nodes.add_argument(
        "--at", default="", metavar="TIME", help="when the drain begins, e.g. 'Mon 10:00' (default: now)"
    )
    nodes.add_argument("--until", default="", metavar="TIME", help="when it ends (default: octopus nodes open NAME)")
    nodes.add_argument("--grace", default="", metavar="AGE", help="take nothing new at once, drain after 30m, 2h, ...")
    nodes.add_argument("--reason", default="", help="shown to who asks why")
    nodes.add_argument("--zone", default="", help="time zone of the times (default: this machine's)")
    _format(nodes)
    parser = _add(commands, "reservations", "reservations:reservations", "List, add or delete reservations of nodes")
    parser.add_argument(
        "action", nargs="?", choices=("list", "add", "delete"), default="list", metavar="ACTION",
        help="list, add, delete (default: list)",
    )  # fmt: skip
    parser.add_argument("name", nargs="?", default="", metavar="NAME")
    parser.add_argument(
        "--from", dest="start", default="", metavar="TIME", help="e.g. 10:00, 'Mon 10:00', 2026-11-30T10:00"
    )
    parser.add_argument("--to", dest="end", default="", metavar="TIME", help="12:00 is the first after the start")
    parser.add_argument("--nodes", dest="count", type=_whole, metavar="N", help="so many whole nodes")
    repeated: tuple[tuple[str, str, str, str], ...] = (
        ("--node", "nodes", "NAME", "this node; may be repeated"),
        ("--devices", "devices", "TYPE=N", "as many whole nodes as have so many devices"),
        ("--selector", "selector", "KEY=VALUE", "only nodes with this label"),
        ("--queue", "queues", "QUEUE", "whose TaskSets may use them; may be repeated"),
        ("--owner", "owners", "USER", "the same, by user"),
    )
    for option, field, metavar, text in repeated:
        parser.add_argument(option, dest=field, action="append", default=[], metavar=metavar, help=text)
    parser.add_argument("--every", default="", choices=("", "day", "week"), metavar="PERIOD", help="day or week")
    parser.add_argument("--until", default="", metavar="TIME", help="of --every: the last start is before it")
    parser.add_argument("--zone", default="", help="time zone of the times (default: this machine's)")
    parser.add_argument("--purpose", default="", metavar="WHAT", help="course, maintenance (needs no queue) or other")
    parser.add_argument("--message", default="", help="shown to who asks why")
    parser.add_argument("--lead", default="", metavar="AGE", help="so long ahead endless work keeps off (default: 1d)")
    _format(parser)


def _definitions(parser: _Parser, kind: str) -> None:
    actions = ("list", "show", "create", "set", "delete", "reset")
    parser.add_argument(
        "action",
        nargs="?",
        choices=actions,
        default="list",
        metavar="ACTION",
        help=f"{', '.join(actions)} (default: list)",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="reset goes back to the configuration file")
    parser.add_argument(
        "fields",
        nargs="*",
        default=[],
        metavar="FIELD=VALUE",
        help="e.g. weight=3 nominal.devices.gpu=8; null takes back",
    )
    parser.add_argument(
        "-f", "--file", default="", metavar="FILE", help=f"set {kind}s from YAML; - reads standard input"
    )
    _format(parser, (*FORMATS, "wide"))


def _records(commands: Commands) -> None:
    replay = _add(commands, "replay", "records:replay", "Run a record again and say what differs")
    replay.add_argument("record", metavar="RECORD", help="a record's folder, its record.json, or NAME[@ATTEMPT]")
    replay.add_argument("--watch", "-w", action="store_true", help="wait for the end; exit 1 unless it succeeds")
    _format(replay)
    records = _add(commands, "records", "records:list_", "List records, newest first")
    records.add_argument("name", nargs="?", metavar="NAME", help="only this TaskSet's")
    _format(records)
    outputs = _named(
        _add(commands, "outputs", "records:outputs", "Download the outputs of a TaskSet, checked by their digests")
    )
    outputs.add_argument("--to", metavar="DIR", help="default: NAME-outputs")


def _machine(commands: Commands) -> None:
    up = commands.add_parser(
        "up",
        help="start the workbench on this machine",
        add_help=False,
        description="Start the workbench on this machine.",
    )
    up.set_defaults(run="local:up_without_arguments")
    install = _add(commands, "install-proxy", "local:install_proxy", "Install the hub's proxy beside this environment")
    install.set_defaults(run="local:install_proxy")
    completion = _add(commands, "completion", "local:completion", "Print a shell's completion script")
    completion.add_argument("shell", choices=("bash", "zsh"))


def _simulating(commands: Commands) -> None:
    simulate = _add(commands, "simulate", "simulating:simulate", "Run jobs through the scheduler in simulated time")
    simulating_options.add(simulate)
    _format(simulate, ("table", "json"))


def _named(parser: _Parser, many: bool = False) -> _Parser:
    if many:
        parser.add_argument("names", nargs="+", metavar="NAME", help=NAME)
    else:
        parser.add_argument("name", metavar="NAME", help=NAME)
    return parser


def _format(parser: _Parser, choices: Sequence[str] = FORMATS) -> None:
    parser.add_argument(
        "-o",
        "--format",
        dest="format",
        choices=choices,
        default=choices[0],
        metavar="FORMAT",
        help=f"{', '.join(choices)} (default: {choices[0]})",
    )
