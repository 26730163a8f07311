"""The options of ``octopus simulate``: definitions only, so that building the parser stays cheap."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError


def add(parser: ArgumentParser) -> None:
    """Add what ``octopus simulate`` understands."""
    _sources(parser)
    _world(parser)
    _preemption(parser)
    output = parser.add_argument_group("output")
    output.add_argument(
        "--estimates",
        type=count,
        default=0,
        metavar="N",
        help="estimate the start of every N-th job that has to wait, and tell how good that was",
    )
    output.add_argument("--plot", metavar="FOLDER", help="write pictures there, SVG and PNG; needs matplotlib")
    output.add_argument("--processes", type=count, metavar="N", help="at most so many at once (default: processors)")


def _sources(parser: ArgumentParser) -> None:
    source = parser.add_argument_group("jobs")
    source.add_argument(
        "trace", nargs="?", metavar="TRACE", help="csv like Philly's, or a pod list like Alibaba's openb; or .gz of one"
    )
    source.add_argument(
        "--history",
        nargs="?",
        const="",
        metavar="FOLDER",
        help="what ran before: your records in the service, or the records in a folder",
    )
    source.add_argument("--since", metavar="AGE", help="with --history: only what was submitted in the last 30d, 12h")
    source.add_argument("--generate", metavar="LOAD", help="generated: jobs=10000,load=0.9,users=20,sizes=philly")
    source.add_argument("--seed", type=count, default=1, metavar="N", help="of what is drawn (default: 1)")
    source.add_argument("--from", dest="start", metavar="DATE", help="only jobs submitted from then on")
    source.add_argument("--until", metavar="DATE", help="only jobs submitted before")
    source.add_argument("--part", metavar="K/N", help="only the K-th of N parts, to choose on one and report another")
    source.add_argument("--first", type=count, metavar="N", help="only so many jobs, the earliest")
    source.add_argument("--strict", action="store_true", help="refuse a trace with bad rows")
    source.add_argument(
        "--max-runtime", type=positive, metavar="K", help="give each job a maximum runtime of 1 to K times its duration"
    )


def _world(parser: ArgumentParser) -> None:
    world = parser.add_argument_group("pool and queues")
    world.add_argument("--gpus", metavar="N[,N]", help="size of the pool, in nodes of 8; several are compared")
    world.add_argument("--nodes", metavar="FILE", help="nodes of the pool: a node list like Alibaba's openb")
    world.add_argument(
        "--policy", default="fifo", metavar="NAMES", help="queue policies, with commas; las+reserve adds backfill"
    )
    world.add_argument("--queues", default="one", choices=("one", "cluster"), help="one queue, or one per cluster")
    world.add_argument("--shares", default="use", choices=("use", "equal"), help="nominal shares of those queues")
    world.add_argument("--task-gpus", type=count, default=1, metavar="N", help="gangs are tasks of N GPUs (default: 1)")


def _preemption(parser: ArgumentParser) -> None:
    rules = parser.add_argument_group("preemption")
    rules.add_argument("--notice", type=seconds, default=60.0, metavar="S", help="seconds (default: 60)")
    rules.add_argument("--restart-cost", type=seconds, default=60.0, metavar="S", help="seconds (default: 60)")
    rules.add_argument(
        "--checkpointing", default="1", metavar="SHARE[,SHARE]", help="share of jobs that go on where they were"
    )
    rules.add_argument("--no-preemption", action="store_true", help="queues don't preempt")
    rules.add_argument("--min-runtime", type=seconds, metavar="S", help="the queues' minimum runtime")
    rules.add_argument("--review", type=seconds, metavar="S", help="how often the queues look at run times anew")
    rules.add_argument("--per-day", type=count, metavar="N", help="preemptions of one job within 24 hours")


def count(text: str) -> int:
    """Read a whole number from 0."""
    if not (text.isascii() and text.isdigit()):
        raise ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def seconds(text: str) -> float:
    """Read seconds, from 0."""
    number = _number(text)
    if not 0 <= number < 1e10:
        raise ArgumentTypeError(f"{text!r} is not a number of seconds")
    return number


def positive(text: str) -> float:
    """Read a factor."""
    number = _number(text)
    if not 0 < number < 1e10:
        raise ArgumentTypeError(f"{text!r} is not a positive number")
    return number


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return -1.0
