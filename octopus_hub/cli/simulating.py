"""``octopus simulate``: a trace through the scheduler on this machine; asks no service."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from octopus_hub.cli import exits, show
from octopus_hub.model.errors import InvalidSpec
from octopus_hub.simulate import philly
from octopus_hub.simulate.events import simulate as run
from octopus_hub.simulate.jobs import Trace
from octopus_hub.simulate.report import HEADER, report, row
from octopus_hub.simulate.setup import Setup

MOST_TOLD = 5


def simulate(arguments: Namespace) -> int:
    """Run the trace under each policy and print the figures side by side."""
    policies = [name.strip() for name in arguments.policy.split(",")]
    if len(set(policies)) != len(policies):
        raise InvalidSpec(f"--policy {arguments.policy} names a policy twice")
    setups = [Setup(gpus=arguments.gpus, policy=policy) for policy in policies]
    for setup in setups:
        setup.check()  # says what is wrong before the trace is read
    trace = philly.read(Path(arguments.trace), first=arguments.first, strict=arguments.strict)
    _tell_bad_rows(trace)
    if not trace.jobs:
        raise InvalidSpec(f"{arguments.trace} holds no jobs")
    found = [report(run(trace.jobs, setup)) for setup in setups]
    if found[0].refused:
        show.note(f"left out as larger than {arguments.gpus} GPUs: {_count(found[0].refused, 'job')}")
    if arguments.format == "json":
        policies_document = [figures.to_dict() for figures in found]
        show.show_document({"badRows": trace.bad_rows, "policies": policies_document}, "json")
    else:
        show.show_rows(HEADER, [row(figures) for figures in found], none="no jobs")
    return exits.OK


def _tell_bad_rows(trace: Trace) -> None:
    if not trace.bad_rows:
        return
    for problem in trace.problems[: min(MOST_TOLD, trace.bad_rows)]:
        show.note(problem)
    show.note(f"left out: {_count(trace.bad_rows, 'bad row')}; --strict refuses such a trace")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
