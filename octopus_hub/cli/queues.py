"""``octopus queues`` and ``octopus cohorts``: who may use how much, who borrows, and changing it while everything runs."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from octopus_hub.cli import exits, show
from octopus_hub.client import jobtext
from octopus_hub.client.definitions import Kind
from octopus_hub.client.sync import Client
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.errors import InvalidSpec, NotFound
from octopus_hub.model.queue import Cohort, Queue
from octopus_hub.model.queuerules import document_of

Definition = TypeVar("Definition", bound=Queue | Cohort)

QUEUES = ("NAME", "POLICY", "STATE", "WAITING", "USED", "BY YOU", "AT MOST", "EACH USER AT MOST")
WIDE = (
    *("NAME", "COHORT", "WEIGHT", "POLICY", "BACKFILL", "STATE", "NOMINAL", "USED", "BORROWED", "LENT", "SHARE"),
    *("BUDGET", "WAITING", "RUNNING", "PREEMPTED TODAY"),
)
COHORTS = ("NAME", "PARENT", "WEIGHT", "NOMINAL", "USED", "QUEUES", "COHORTS")
_USUAL = Queue(name="")  # answers leave out what is as usual
LAST = 10**18  # a share from here on: a weight of 0


def queues(arguments: Namespace) -> int:
    """``octopus queues``."""
    if arguments.action != "list":
        return _one("queue", arguments)
    _nothing_more(arguments)
    with Client() as client:
        found = client.queues()
    if arguments.format == "wide":
        show.show_rows(WIDE, [_wide_row(item) for item in found], "no queues")
    else:
        show.show_many(found, arguments.format, QUEUES, _queue_row, _name, "no queues")
    return exits.OK


def cohorts(arguments: Namespace) -> int:
    """``octopus cohorts``."""
    if arguments.action != "list":
        return _one("cohort", arguments)
    _nothing_more(arguments)
    with Client() as client:
        found = client.cohorts()
    style = "table" if arguments.format == "wide" else arguments.format
    show.show_many(found, style, COHORTS, _cohort_row, _name, "no cohorts")
    return exits.OK


def _one(kind: Kind, arguments: Namespace) -> int:
    """Do something with one of them."""
    action, name = arguments.action, arguments.name
    if action == "set" and arguments.file:
        return _put_file(kind, arguments)
    if arguments.file:
        raise InvalidSpec(f"-f belongs to `octopus {kind}s set`")
    if not name:
        raise InvalidSpec(f"name the {kind}: octopus {kind}s {action} NAME")
    if arguments.fields and action not in ("set", "create"):
        raise InvalidSpec(f"octopus {kind}s {action} takes no fields, but {arguments.fields[0]!r} was given")
    with Client() as client:
        if action == "show":
            _show(kind, client.definition(kind, name), arguments.format)
        elif action == "delete":
            client.remove(kind, name)
            show.write(f"deleted {kind} {name}\n")
        elif action == "reset":
            client.reset(kind, name)
            show.write(f"{kind} {name} is as in the configuration file\n")
        else:
            _write(client, kind, arguments)
    return exits.OK


def _write(client: Client, kind: Kind, arguments: Namespace) -> None:
    fields, name = given_fields(arguments.fields), arguments.name
    if arguments.action == "create":
        try:
            client.definition(kind, name)
        except NotFound:
            client.define(kind, name, fields)
            show.write(f"created {kind} {name}\n")
            return
        raise InvalidSpec(f"there is a {kind} {name} already; to change it: octopus {kind}s set {name} FIELD=VALUE")
    if not fields:
        raise InvalidSpec(f"say what to change: octopus {kind}s set {name} weight=3 nominal.devices.gpu=8")
    try:
        client.change(kind, name, fields)
    except NotFound as error:
        raise NotFound(f"{error.message}; to make it: octopus {kind}s create {name}") from None
    show.write(f"changed {kind} {name}\n")


def _put_file(kind: Kind, arguments: Namespace) -> int:
    from octopus_hub.cli.submitting import read_documents

    if arguments.fields:
        raise InvalidSpec("give a file or fields, not both")
    with Client() as client:
        for document in read_documents(arguments.file):
            name = document.get("name") or arguments.name
            if not isinstance(name, str):
                raise InvalidSpec(f"name: is missing in {arguments.file}; which {kind} is it?")
            if arguments.name and arguments.name != name:
                raise InvalidSpec(f"{arguments.file} is about {name}, not {arguments.name}")
            client.define(kind, name, document)
            show.write(f"stored {kind} {name}\n")
    return exits.OK


def given_fields(words: list[str]) -> dict[str, Any]:
    """Return ``nominal.devices.gpu=8 paused=true`` as nested data; values are read as YAML, an empty one is null."""
    import yaml

    found: dict[str, Any] = {}
    for word in words:
        path, equals, text = word.partition("=")
        keys = path.split(".")
        if not equals or not all(keys):
            raise InvalidSpec(f"{word!r} is not FIELD=VALUE, such as weight=3 or nominal.devices.gpu=8")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            raise InvalidSpec(f"{path}: {text!r} can't be read; put it in quotes") from None
        inside = found
        for key in keys[:-1]:
            inside = inside.setdefault(key, {})
            if not isinstance(inside, dict):
                raise InvalidSpec(f"{path} is given beside {'.'.join(keys[:-1])}; give one of them")
        if keys[-1] in inside:
            raise InvalidSpec(f"{path} is given twice")
        inside[keys[-1]] = value
    return found


def _show(kind: Kind, item: dict[str, Any], style: str) -> None:
    """Print a definition as it can be put again (table), or everything about it."""
    if style == "name":
        show.write(f"{_name(item)}\n")
    elif style in ("yaml", "json"):
        show.show_document(item, style)
    else:
        show.show_document(document_of(_defined(item, Queue if kind == "queue" else Cohort)), "yaml")


def _defined(item: dict[str, Any], kind: type[Definition]) -> Definition:
    """Return the definition in an answer, without the figures beside it."""
    return msgspec.convert({name: item[name] for name in kind.__struct_encode_fields__ if name in item}, kind)


def _nothing_more(arguments: Namespace) -> None:
    if arguments.name or arguments.file:
        raise InvalidSpec(f"octopus {arguments.verb} list takes no name; octopus {arguments.verb} show NAME has one")


# --- rows
def _queue_row(item: dict[str, Any]) -> tuple[str, ...]:
    board = item.get("board") or {}
    return (
        _name(item),
        str(item.get("policy", _USUAL.policy)),
        _state(item),
        str(board.get("waiting", 0)),
        _amounts(item.get("used"), "nothing"),
        _amounts(item.get("usedByYou"), "nothing"),
        _amounts(item.get("nominal"), "unbounded"),
        _amounts(item.get("perUser"), "unbounded"),
    )


def _wide_row(item: dict[str, Any]) -> tuple[str, ...]:
    board = item.get("board") or {}
    return (
        _name(item),
        str(item.get("cohort", "")) or "-",
        str(item.get("weight", 1)),
        str(item.get("policy", _USUAL.policy)),
        str(item.get("backfill", _USUAL.backfill)),
        _state(item),
        _amounts(item.get("nominal"), "borrows" if item.get("cohort") else "unbounded"),
        _amounts(item.get("used"), "nothing"),
        _amounts(item.get("borrowed"), "nothing"),
        _amounts(item.get("lent"), "nothing"),
        share_text(int(item.get("share", 0))),
        _budget(item.get("budgetUse"), time.time()),
        str(board.get("waiting", 0)),
        str(item.get("running", 0)),
        str(item.get("preemptionsToday", 0)),
    )


def _cohort_row(item: dict[str, Any]) -> tuple[str, ...]:
    return (
        _name(item),
        str(item.get("parent", "")) or "-",
        str(item.get("weight", 1)),
        _amounts(item.get("nominal"), "its members'"),
        _amounts(item.get("used"), "nothing"),
        ", ".join(item.get("queues") or ()) or "none",
        ", ".join(item.get("cohorts") or ()) or "none",
    )


def share_text(millionths: int) -> str:
    """Return a share against what the queue's weight gives it: 100 % is exactly that."""
    return "last" if millionths >= LAST else f"{millionths / 10_000:.0f} %"


def _budget(use: Mapping[str, Any] | None, now: float) -> str:
    if not use:
        return "-"
    days = max(0, int((use["until"] - now) / 86_400))
    words = {"": "", "finish": ", starts nothing", "stop": ", stopped", "low": ", goes last"}
    state = words.get(str(use.get("action", "")), "")
    return f"{use['usedHours']:.1f} h used, {max(0.0, use['leftHours']):.1f} h left{state}, {days} d to go"


def _state(item: dict[str, Any]) -> str:
    told = [str(each.get("type", "")) for each in (item.get("board") or {}).get("conditions", ())]
    return ", ".join(["paused" if item.get("paused") else "open", *told])


def _name(item: dict[str, Any]) -> str:
    return str(item.get("name", ""))


def _amounts(value: dict[str, Any] | None, absent: str) -> str:
    if value is None:
        return absent
    return jobtext.amounts(
        Amounts(
            cpu_millis=int(value.get("cpuMillis", 0)),
            memory_bytes=int(value.get("memoryBytes", 0)),
            devices={str(name): int(count) for name, count in (value.get("devices") or {}).items()},
        )
    )
