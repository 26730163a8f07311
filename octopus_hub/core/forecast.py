"""When waiting gangs start: a range, and what it rests on.

Pure. The queue is played forward (``future``) twice: once with everything ending as early as is likely, once as late. The
late end of something with an enforced maximum runtime is its deadline. Without one it is taken from the run times of
earlier runs (:attr:`Waiting.estimate`), or, where nothing is known, guessed from how long it has run so far: what has
run for an hour is as likely to need an hour more as not (run times have heavy tails), and of many some end far sooner.
What begins to run only later and of which nothing is known is taken to be like what runs now, for a while.

TaskSets that are submitted later are not foreseen, so a queue in which they may go first can be slower than the range.
Too slow for the path of scheduling: ``control.forecasts`` computes it aside, ``explain`` for one gang on demand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import median

from octopus_hub.core.future import Future, Kind, Rest
from octopus_hub.core.plan import Waits
from octopus_hub.core.policies.service import attained
from octopus_hub.core.snapshot import Snapshot, Waiting

STEPS = 300  # cycles of scheduling that are looked ahead at most
LINE = 100  # places of each queue that are played forward at least
HISTORY = 2.0  # runs are at most so much shorter or longer than earlier ones
GUESS = 4.0  # and so much than what is guessed from the time they have run
USUAL_SECONDS = 600.0  # what is expected at most of something that has just begun
LEAST_SECONDS = 60.0  # from less nothing is guessed
HORIZON_SECONDS = 14 * 86400.0  # a start later than that is not worth naming


@dataclass(frozen=True, slots=True)
class Estimate:
    """When a gang starts, in seconds from now.

    Attributes
    ----------
    earliest : float, optional
        None: nothing is known.
    latest : float, optional
        None: nothing bounds it.
    basis : str
        What the range rests on, in words.
    """

    earliest: float | None
    latest: float | None
    basis: str

    @property
    def middle(self) -> float | None:
        """One number for the range: its middle by ratio, since run times differ by factors."""
        if self.earliest is None or self.latest is None:
            return None
        return sqrt((self.earliest + LEAST_SECONDS) * (self.latest + LEAST_SECONDS)) - LEAST_SECONDS


FAR = "more has to end before it than is looked ahead"
UNKNOWN = Estimate(None, None, "nothing bounds what runs: no estimate")


def forecast(
    snapshot: Snapshot,
    waiting: Sequence[Waiting],
    now: float,
    wanted: Collection[str],
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, Estimate]:
    """Return when the ``wanted`` of those that wait (by uid) start; ``stop`` ends it early, with less found."""
    uids = frozenset(wanted)
    typical = _typical(snapshot, now)
    early = Future(snapshot, waiting, now, _early(typical))
    early.run(uids, STEPS, stop)
    late = Future(snapshot, waiting, now, _late(typical))
    late.run(uids, STEPS, stop)
    return {uid: _estimate(uid, now, early, late) for uid in uids}


def in_front(
    waiting: Sequence[Waiting], waits: Mapping[str, Waits], wanted: Collection[str], line: int = LINE
) -> list[Waiting]:
    """Return those that matter for the start of the wanted: the first of each queue, and all before a wanted one."""
    least: dict[str, int] = {}
    for gang in waiting:
        if gang.uid in wanted and gang.uid in waits:
            least[gang.queue] = max(least.get(gang.queue, 0), waits[gang.uid].place)
    return [
        gang
        for gang in waiting
        if (known := waits.get(gang.uid)) is None or known.place <= max(line, least.get(gang.queue, 0))
    ]


def _estimate(uid: str, now: float, early: Future, late: Future) -> Estimate:
    found = [
        future.started[uid] - now
        for future in (early, late)
        if uid in future.started and future.started[uid] - now < HORIZON_SECONDS
    ]
    if not found and uid in early.started:
        return UNKNOWN if not early.seen[uid]["bound"] else Estimate(None, None, FAR)
    if len(found) == 2:
        return Estimate(min(found), max(found), basis_of(early.seen[uid] | late.seen[uid]))
    if found:
        basis = f"{basis_of(early.seen[uid])}; nothing bounds how long it may take"
        return Estimate(found[0], None, basis if late.over else FAR)
    if early.over:
        return UNKNOWN
    return Estimate(early.now - now, None, FAR)


def basis_of(seen: Counter[Kind]) -> str:
    """Say what a range rests on."""
    if seen["guess"]:
        count = seen["guess"]
        who = "1 TaskSet before it has" if count == 1 else f"{count} TaskSets before it have"
        return f"a guess: {who} no maximum runtime, and goes by how long such have run so far"
    if seen["history"]:
        return "by run times of earlier runs" + (" and by maximum runtimes" if seen["bound"] else "")
    if seen["bound"]:
        count = seen["bound"]
        return (
            f"by the maximum runtime{'s' if count > 1 else ''} of {count} TaskSet{'s' if count > 1 else ''} before it"
        )
    return "others are asked to make room, or stop already" if seen["leaving"] else "there is room for it"


def words(estimate: Estimate) -> str:
    """Return a range as people read it: ``in 5 min to 2 h``."""
    if estimate.earliest is None:
        return "at no known time"
    if estimate.latest is None:
        return f"not before {span(estimate.earliest)} from now" if estimate.earliest >= 1 else "at no known time"
    early, late = span(estimate.earliest), span(estimate.latest)
    if estimate.latest < 1:
        return "at once"
    if estimate.earliest < 1:
        return f"within {late}"
    return f"in about {late}" if early == late else f"in {early} to {late}"


def span(seconds: float) -> str:
    """Return a time in one unit with at most two digits, as is fit for an estimate."""
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 1.5 * size or (unit == "min" and seconds >= size):
            count = seconds / size
            return f"{round(count, 1) if count < 10 else round(count):g} {unit}"
    return f"{round(seconds):g} s"


# --- when things end
def _typical(snapshot: Snapshot, now: float) -> float | None:
    """Return for how long what runs has run, half of it for less; None where nothing does."""
    times = [attained(running, now) for running in snapshot.running.values()]
    return median(times) if times else None


class _Draws:
    """Where each gang stands among its like: shares that fill 0 to 1 evenly however many there are, the first 1/2.

    Of many gangs some end far sooner than is to be expected of each, and the first of them makes room.
    """

    def __init__(self) -> None:
        self._known: dict[str, float] = {}

    def of(self, uid: str) -> float:
        found = self._known.get(uid)
        if found is None:
            found = self._known[uid] = _mirrored(len(self._known) + 1)
        return found


def _mirrored(number: int) -> float:
    """Return 1/2, 1/4, 3/4, 1/8, 5/8, ...: the number's binary digits behind the point, backwards."""
    found, digit = 0.0, 0.5
    while number:
        found += digit * (number & 1)
        number >>= 1
        digit /= 2
    return found


def _early(typical: float | None) -> Rest:
    draws = _Draws()

    def rest(gang: Waiting, had: float, bound: float | None) -> tuple[float | None, Kind]:
        expected, kind = _drawn(gang, had, typical, draws)
        if expected is None:
            return (None, kind) if bound is None else (min(bound, LEAST_SECONDS), "bound")
        soon = expected / (HISTORY if kind == "history" else GUESS)
        return (soon, kind) if bound is None else (min(soon, bound), "bound")

    return rest


def _late(typical: float | None) -> Rest:
    draws = _Draws()

    def rest(gang: Waiting, had: float, bound: float | None) -> tuple[float | None, Kind]:
        if bound is not None:
            return bound, "bound"
        expected, kind = _drawn(gang, had, typical, draws)
        if expected is None:
            return None, kind
        if kind == "history":
            return expected * HISTORY + had * (HISTORY - 1), kind
        return expected * GUESS, kind

    return rest


def _drawn(gang: Waiting, had: float, typical: float | None, draws: _Draws) -> tuple[float | None, Kind]:
    """Return how long a gang goes on at its share of what is to be expected, whose median that is."""
    expected, kind = _expected(gang, had, typical)
    if expected is None:
        return None, kind
    share = draws.of(gang.uid)
    if kind == "history":
        return expected * (0.5 + share), kind
    return expected * share / (1 - share), kind  # P(more than x) = had / (had + x)


def _expected(gang: Waiting, had: float, typical: float | None) -> tuple[float | None, Kind]:
    if gang.estimate is not None and had < gang.estimate:
        return gang.estimate - had, "history"
    if had >= USUAL_SECONDS:
        return had, "guess"
    known = max(had, typical or 0.0)
    return (min(known, USUAL_SECONDS) if known >= LEAST_SECONDS else None), "guess"
