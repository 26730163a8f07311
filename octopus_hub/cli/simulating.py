"""``octopus simulate``: jobs through the scheduler on this machine; only ``--history`` asks the service."""

from __future__ import annotations

import re
import time
from argparse import Namespace
from dataclasses import replace
from itertools import product
from pathlib import Path

import msgspec

from octopus_hub.cli import exits, show
from octopus_hub.client.paths import expanded
from octopus_hub.client.sync import Client
from octopus_hub.core.snapshot import NodeView
from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.problems import shown
from octopus_hub.model.queue import QueuePreemption
from octopus_hub.simulate import generate, history, openb, parts, plots, sources
from octopus_hub.simulate.compare import Result, compare
from octopus_hub.simulate.jobs import Trace
from octopus_hub.simulate.report import ESTIMATES_HEADER, HEADER, estimates_row, row
from octopus_hub.simulate.setup import Setup

MOST_TOLD = 5
_AGE = {"d": 86400.0, "h": 3600.0, "w": 7 * 86400.0}


def simulate(arguments: Namespace) -> int:
    """Run the jobs under each policy, on each size of the pool, and print the figures side by side."""
    sources_named = [bool(arguments.trace), arguments.history is not None, bool(arguments.generate)]
    if sum(sources_named) != 1:
        raise InvalidSpec("name one source of jobs: a TRACE, --history or --generate")
    if arguments.plot:
        plots.require()
    setups = _setups(arguments)
    trace = _trace(arguments, setups[0])
    _tell(trace)
    if not trace.jobs:
        raise InvalidSpec(f"{arguments.trace or 'the source'} holds no jobs")
    results = compare(trace.jobs, setups, arguments.processes)
    _show(arguments.format, trace, results)
    if arguments.plot:
        for path in plots.draw(results, expanded(arguments.plot)):
            show.note(f"wrote {path}")
    return exits.OK


def _setups(arguments: Namespace) -> list[Setup]:
    """Return every combination that is asked for, each of which can be simulated: told before anything is read."""
    policies = _list(arguments.policy, "--policy")
    sizes = [_size(word) for word in _list(arguments.gpus, "--gpus")] if arguments.gpus else [0]
    shares = [_share(word) for word in _list(arguments.checkpointing, "--checkpointing")]
    if arguments.gpus and arguments.nodes:
        raise InvalidSpec("the pool is made of --gpus or of --nodes; give one of them")
    nodes = () if arguments.gpus else _nodes(arguments)
    found = [
        Setup(
            gpus=gpus,
            policy=policy,
            preemption=_preemption(arguments),
            queues=arguments.queues,
            shares=arguments.shares,
            notice_seconds=arguments.notice,
            restart_seconds=arguments.restart_cost,
            checkpointing=share,
            task_gpus=arguments.task_gpus,
            nodes=nodes,
            estimates=arguments.estimates,
        )
        for gpus, share, policy in product(sizes, shares, policies)
    ]
    for setup in found:
        setup.check()
    return found


def _preemption(arguments: Namespace) -> QueuePreemption:
    given = {
        "min_runtime_seconds": arguments.min_runtime,
        "review_seconds": arguments.review,
        "per_day": arguments.per_day,
    }
    rules = msgspec.structs.replace(
        QueuePreemption(), **{key: value for key, value in given.items() if value is not None}
    )
    return msgspec.structs.replace(rules, within=False, reclaim=False) if arguments.no_preemption else rules


def _nodes(arguments: Namespace) -> tuple[NodeView, ...]:
    if arguments.nodes:
        return openb.read_nodes(expanded(arguments.nodes))
    if arguments.history is None:
        raise InvalidSpec("how large is the pool? give --gpus N, in nodes of 8, or --nodes FILE")
    with Client() as client:
        return history.nodes_of(client.nodes())


def _trace(arguments: Namespace, setup: Setup) -> Trace:
    if arguments.generate:
        load = generate.parse_load(arguments.generate)
        trace = generate.generate(load, arguments.seed, setup.size)
    elif arguments.history is not None:
        since = time.time() - _age(arguments.since) if arguments.since else 0.0
        if arguments.history:
            trace = history.read(expanded(arguments.history), since=since, strict=arguments.strict)
        else:
            with Client() as client:
                trace = history.parse(client.records(), since=since, strict=arguments.strict)
    else:
        trace = sources.read(Path(arguments.trace), strict=arguments.strict)
    trace = parts.part(parts.between(trace, arguments.start, arguments.until), arguments.part)
    trace = replace(trace, jobs=trace.jobs[: arguments.first])
    if arguments.max_runtime is not None:
        trace = generate.limited(trace, arguments.max_runtime, arguments.seed, arguments.restart_cost)
    return trace


def _show(style: str, trace: Trace, results: list[Result]) -> None:
    for result in results:
        if result.report.refused:
            words = (
                f"{_count(result.report.refused, 'job')} left out: larger than the pool of {result.report.gpus} GPUs"
            )
            show.note(words)
            break
    for result in results:
        if result.report.stuck:
            show.note(
                f"{result.setup.policy}: {_count(result.report.stuck, 'job')} never ended: it preempts what has to begin again, or forgets it"
            )
    if style == "json":
        runs = [{**each.report.to_dict(), "checkpointing": each.setup.checkpointing} for each in results]
        show.show_document({"badRows": trace.bad_rows, "jobs": len(trace.jobs), "policies": runs}, "json")
    else:
        show.show_rows(*_table(results), none="no jobs")


def _table(results: list[Result]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return header and lines, with the share of jobs that checkpoint where several are compared."""
    header = HEADER
    lines = [row(each.report) for each in results]
    if any(each.setup.estimates for each in results):
        header = (*HEADER, *ESTIMATES_HEADER)
        lines = [(*line, *estimates_row(each.report)) for line, each in zip(lines, results, strict=True)]
    if len({each.setup.checkpointing for each in results}) == 1:
        return header, lines
    shares = [f"{each.setup.checkpointing:.0%}" for each in results]
    return (header[0], "CHECKPOINT", *header[1:]), [
        (line[0], share, *line[1:]) for line, share in zip(lines, shares, strict=True)
    ]


def _tell(trace: Trace) -> None:
    for note in trace.notes:
        show.note(note)
    if not trace.bad_rows:
        return
    for problem in trace.problems[: min(MOST_TOLD, trace.bad_rows)]:
        show.note(problem)
    show.note(f"left out: {_count(trace.bad_rows, 'bad row')}; --strict refuses such a trace")


def _list(words: str, option: str) -> list[str]:
    found = [word.strip() for word in words.split(",")]
    if len(set(found)) != len(found):
        raise InvalidSpec(f"{option} {words} names something twice")
    return found


def _size(word: str) -> int:
    if not (word.isascii() and word.isdigit()):
        raise InvalidSpec(f"--gpus {shown(word)} is not a whole number")
    return int(word)


def _share(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise InvalidSpec(f"--checkpointing {shown(word)} is not a number from 0 to 1") from None


def _age(words: str) -> float:
    found = re.fullmatch(r"(\d{1,5})([hdw])", words)
    if not found:
        raise InvalidSpec(f"--since {shown(words)} is not like 30d, 12h or 4w")
    return int(found[1]) * _AGE[found[2]]


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
