"""Generated loads: jobs of users with habits, drawn from a seed. Pure; the same words and seed give the same jobs.

Users differ in how much they submit (the second most half as much as the first, and so on). Each has a few commands; a
command has a size and a usual duration, and its runs scatter around that, so that history predicts in part. Durations
are log-normal; ``predictable`` is the share of their variance (of the logarithm) that lies between commands. Arrivals
are a Poisson process with a daily wave, over the time that gives the wanted load.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from itertools import accumulate
from math import exp, log, pi, sin, sqrt
from random import Random

from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.problems import near, shown
from octopus_hub.simulate.jobs import Job, Trace

START = 1_767_571_200.0  # a Monday: 2026-01-05 00:00 UTC
DAY = 86400.0
SHORTEST, LONGEST = 1.0, 30 * DAY
MOST_JOBS = 10_000_000

# GPUs -> (share of the jobs, median seconds); the first from the Philly trace (Jeon et al., ATC'19)
SIZES: dict[str, dict[int, tuple[float, float]]] = {
    "philly": {
        1: (0.9317, 830.0),
        2: (0.0221, 940.0),
        4: (0.0227, 940.0),
        8: (0.0200, 15_600.0),
        16: (0.0025, 9_800.0),
        32: (0.0008, 4_200.0),
        64: (0.0002, 4_200.0),
    },
    "small": {1: (0.7, 1_000.0), 2: (0.2, 1_000.0), 4: (0.1, 1_000.0)},
    "large": {1: (0.4, 1_000.0), 8: (0.3, 8_000.0), 16: (0.2, 8_000.0), 32: (0.1, 8_000.0)},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What to generate.

    Attributes
    ----------
    load : float
        GPU-time of the jobs over that of the pool, from the first arrival to the last.
    gpus : int
        Size of the pool that ``load`` is meant for; 0: that of the simulation.
    clusters : int
        Virtual clusters; users belong to one each.
    commands : int
        Of each user.
    sigma : float
        Standard deviation of the logarithm of the durations.
    predictable : float
        Share of its square that lies between commands, 0 to 1.
    wave : float
        How much more (at noon) and less (at midnight) arrives than on average, 0 to 1.
    elastic : float
        Share of the commands that may grow to twice their size.
    """

    jobs: int = 10_000
    load: float = 0.9
    gpus: int = 0
    users: int = 20
    clusters: int = 4
    commands: int = 10
    sigma: float = 2.0
    predictable: float = 0.7
    wave: float = 0.5
    elastic: float = 0.0
    sizes: str = "philly"


@dataclass(frozen=True, slots=True)
class _Command:
    owner: str
    cluster: str
    name: str
    gpus: int
    median: float
    most: int | None


def parse_load(words: str) -> Load:
    """Return what ``jobs=10000,load=0.9,users=20,sizes=philly`` says.

    Raises
    ------
    InvalidSpec
        A word is unknown, or its value can't be.
    """
    kinds: dict[str, Callable[[str], int | float | str]] = {
        each.name: {"int": int, "float": float}.get(str(each.type), str) for each in fields(Load)
    }
    found: dict[str, int | float | str] = {}
    for word in filter(None, (part.strip() for part in words.split(","))):
        name, _, value = word.partition("=")
        if name not in kinds:
            raise InvalidSpec(f"a generated load has no {name!r}; {near(name, list(kinds))}")
        try:
            found[name] = kinds[name](value)
        except ValueError:
            raise InvalidSpec(f"{name} of a generated load is {shown(value)}, not a number") from None
    load = replace(Load(), **found)  # type: ignore[arg-type]
    _check(load)
    return load


def generate(load: Load, seed: int, gpus: int) -> Trace:
    """Return the jobs of a load for a pool of ``gpus``."""
    random = Random(seed)
    commands, weights = _commands(load, random)
    within = load.sigma * sqrt(1 - load.predictable)
    chosen = random.choices(commands, cum_weights=list(accumulate(weights)), k=load.jobs)
    lasts = [min(LONGEST, max(SHORTEST, random.lognormvariate(log(each.median), within))) for each in chosen]
    work = sum(seconds * each.gpus for seconds, each in zip(lasts, chosen, strict=True))
    span = work / (load.load * (load.gpus or gpus))
    arrivals = sorted(_moment(random, span, load.wave) for _ in range(load.jobs))
    digits = len(str(load.jobs))
    jobs = tuple(
        Job(
            uid=f"{at:0{digits}d}",
            submitted=START + arrival,
            duration=round(seconds, 3),
            gpus=each.gpus,
            cluster=each.cluster,
            owner=each.owner,
            command=each.name,
            most=each.most,
        )
        for at, (arrival, seconds, each) in enumerate(zip(arrivals, lasts, chosen, strict=True))
    )
    return Trace(jobs)


def limited(trace: Trace, most: float, seed: int, restart: float) -> Trace:
    """Return the jobs with maximum runtimes as users guess them: up to ``most`` times what is needed, evenly drawn.

    A restart's time is allowed for, so that no job is cut off for having been preempted.
    """
    if not most >= 1:
        raise InvalidSpec(f"{most:g} times their duration would cut jobs off; give a number from 1")
    random = Random(seed)
    jobs = tuple(replace(job, max_runtime=restart + job.duration * random.uniform(1, most)) for job in trace.jobs)
    return replace(trace, jobs=jobs)


def _commands(load: Load, random: Random) -> tuple[list[_Command], list[float]]:
    """Return the commands of all users, and how much of the jobs each makes up."""
    between = load.sigma * sqrt(load.predictable)
    count = load.users * load.commands
    order = list(range(count))
    random.shuffle(order)
    weights = [1 / (1 + at // load.commands) / (1 + at % load.commands) for at in range(count)]
    sizes = _spread(sizes_of(load.sizes), weights, order)
    found = []
    for at in range(count):
        gpus, median = sizes[at]
        owner = at // load.commands
        elastic = random.random() < load.elastic
        found.append(
            _Command(
                owner=f"user-{owner:0{len(str(load.users - 1))}d}",
                cluster=f"vc-{owner % load.clusters}",
                name=f"command-{at % load.commands}",
                gpus=gpus,
                median=median * exp(between * random.gauss(0, 1)),
                most=2 * gpus if elastic else None,
            )
        )
    return found, weights


def _spread(
    sizes: Mapping[int, tuple[float, float]], weights: list[float], order: list[int]
) -> list[tuple[int, float]]:
    """Give each command a size so that the jobs of each size make up their share, as nearly as whole commands can."""
    total, parts = sum(weights), sum(share for share, _ in sizes.values())
    left = {gpus: share / parts * total for gpus, (share, _) in sizes.items()}
    found: dict[int, int] = {}
    for at in sorted(order, key=lambda at: -weights[at]):  # those with many jobs first; equal ones in drawn order
        gpus = max(left, key=lambda gpus: (left[gpus], -gpus))
        found[at] = gpus
        left[gpus] -= weights[at]
    return [(found[at], sizes[found[at]][1]) for at in range(len(weights))]


def _moment(random: Random, span: float, wave: float) -> float:
    """Draw a moment of the load, more of them at noon than at midnight."""
    while True:
        moment = random.uniform(0, span)
        if random.uniform(0, 1 + wave) <= 1 + wave * sin(2 * pi * (moment % DAY / DAY - 0.25)):
            return moment


def sizes_of(words: str) -> Mapping[int, tuple[float, float]]:
    """Return GPUs -> (share, median seconds) of a named mix, or of one like ``1:90:600+8:10:7200``."""
    known = SIZES.get(words)
    if known is not None:
        return known
    found: dict[int, tuple[float, float]] = {}
    for part in words.split("+"):
        try:
            gpus, share, median = part.split(":")
            found[int(gpus)] = (float(share), float(median))
        except ValueError:
            hint = near(words, list(SIZES))
            raise InvalidSpec(
                f"there are no sizes {shown(words)}; {hint}, or GPUs:share:median seconds like 1:90:600+8:10:7200"
            ) from None
    if any(gpus < 1 or not share > 0 or not SHORTEST <= median <= LONGEST for gpus, (share, median) in found.items()):
        raise InvalidSpec(f"sizes {shown(words)} can't be: GPUs, shares and seconds are positive")
    return found


def _check(load: Load) -> None:
    sizes_of(load.sizes)
    rules = {
        "jobs": 1 <= load.jobs <= MOST_JOBS,
        "load": 0 < load.load <= 10,
        "gpus": load.gpus >= 0,
        "users": 1 <= load.users <= 1_000_000,
        "clusters": load.clusters >= 1,
        "commands": 1 <= load.commands <= 1_000,
        "sigma": 0 <= load.sigma <= 10,
        "predictable": 0 <= load.predictable <= 1,
        "wave": 0 <= load.wave <= 1,
        "elastic": 0 <= load.elastic <= 1,
    }
    for name, right in rules.items():
        if not right:
            raise InvalidSpec(f"{name} of a generated load can't be {getattr(load, name):g}")
