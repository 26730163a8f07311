"""How long gangs run, learned from those that ended: for each age, how likely an end is before long.

For each owner and size, and for each kin (gangs that are expected to run alike: one owner's same command), ends and time
at risk are counted in age bins that grow by a quarter. Where little is known, the next wider group speaks: kin, then
owner and size, then size, then everybody, then a heavy-tailed prior; each counts as a fraction of an end. From the
hazards follows the Gittins index of a gang at its age: the best ratio of chance to end and time given, which orders jobs
of unknown length with the least mean completion time (Gittins 1979; Aalto, Ayesta and Righter 2009; used for clusters by
Gu et al., "Tiresias", NSDI'19).

:class:`Chronicle` collects, :class:`History` is a value as of a moment: policies see the latter, and who keeps the
former (``control``, the simulator) makes a new one once per review. No clock, no randomness.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from math import inf, log
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

BINS = 56
FIRST_SECONDS = 30.0
GROWTH = 1.25
GROUP_WEIGHT = 0.1  # of an end: what the next wider group counts for
KIN_WEIGHT = 0.5
PRIOR_SECONDS = 600.0  # a gang of age a is expected to need twice (a + this), where nothing is known at all
KINS_KEPT = 20_000
BURST_SECONDS = 7200.0

Floats = npt.NDArray[np.float64]
_EDGES: Floats = np.concatenate(([0.0], FIRST_SECONDS * GROWTH ** np.arange(BINS)))
_LOW, _HIGH = _EDGES[:-1], _EDGES[1:]
_STEPS = _HIGH - _LOW
_PRIOR = 1.0 / (2.0 * (_LOW + PRIOR_SECONDS))
_SIZES = (1, 2, 4, 8, 16)  # upper bounds of size classes; larger ones are one class
_LEAST_LEFT = 1e-4
_LAST = float(_HIGH[-1])


class Life(NamedTuple):
    """A gang that has not ended: whose, how wide (devices), of which kin, and how many seconds it has run in all."""

    owner: str
    width: float
    kin: str
    age: float


def size_class(width: float) -> int:
    """Return the size class of so many devices."""
    return bisect_left(_SIZES, width)


def age_bin(age: float) -> int:
    """Return the bin of an age in seconds."""
    if age < FIRST_SECONDS:
        return 0
    return min(BINS - 1, 1 + int(log(age / FIRST_SECONDS) / log(GROWTH)))


class Counts(NamedTuple):
    """Ends by age bin, for bins that have any, in order: how many, and their ages in sum. Never changed.

    That is all there is to know: who ended in a bin was at risk for the whole of those before it.
    """

    bins: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()
    ages: tuple[float, ...] = ()

    def plus(self, age: float) -> Counts:
        """Return the counts with one more end."""
        age, found = min(age, _LAST), age_bin(age)
        at = bisect_left(self.bins, found)
        if at < len(self.bins) and self.bins[at] == found:
            ends = (*self.ends[:at], self.ends[at] + 1, *self.ends[at + 1 :])
            return Counts(self.bins, ends, (*self.ages[:at], self.ages[at] + age, *self.ages[at + 1 :]))
        bins, ends = (*self.bins[:at], found, *self.bins[at:]), (*self.ends[:at], 1, *self.ends[at:])
        return Counts(bins, ends, (*self.ages[:at], age, *self.ages[at:]))


_ZEROS: Floats = np.zeros(BINS)
_NOTHING = Counts()
_Class = tuple[str, int]  # (owner, size class)
_Row = tuple[Floats, Floats]  # ends and seconds at risk, by age bin; never changed


class Past(NamedTuple):
    """All that a chronicle has counted, to be stored."""

    classes: Sequence[tuple[str, int, Counts]] = ()  # owner, size class
    kins: Sequence[tuple[str, Counts]] = ()  # the one that ended last is the last


_EMPTY = Past()


class Chronicle:
    """Counts of gangs that ended."""

    def __init__(self, past: Past = _EMPTY) -> None:
        self._classes: dict[_Class, Counts] = {(owner, size): counts for owner, size, counts in past.classes}
        self._kins: OrderedDict[str, Counts] = OrderedDict(past.kins)
        self._rows: dict[_Class, _Row] = {}  # of classes in which nothing ended since the last history
        self._bursts: dict[tuple[str, float], tuple[float, str]] = {}

    def ended(self, life: Life) -> None:
        """Count a gang that ended by itself at its age."""
        group = (life.owner, size_class(life.width))
        self._classes[group] = self._classes.get(group, _NOTHING).plus(life.age)
        self._rows.pop(group, None)
        self._kins[life.kin] = (self._kins.pop(life.kin, None) or _NOTHING).plus(life.age)
        if len(self._kins) > KINS_KEPT:
            self._kins.popitem(last=False)

    def past(self) -> Past:
        """Return what was counted; a chronicle of it goes on as this one does, but for bursts that have not ended."""
        return Past([(*group, counts) for group, counts in self._classes.items()], list(self._kins.items()))

    def burst(self, owner: str, width: float, at: float) -> str:
        """Return a kin for a submission without a known command: those of one owner and size in quick succession."""
        last, kin = self._bursts.get((owner, width), (-inf, ""))
        if at - last > BURST_SECONDS:
            kin = f"{owner}/{width:g}/{at:.0f}"
        self._bursts[owner, width] = (at, kin)
        return kin

    def history(self, living: Sequence[Life]) -> History:
        """Return what is known, with what has not ended yet counted as at risk until now."""
        changed = [group for group in self._classes if group not in self._rows]
        rows = zip(*_spread([self._classes[group] for group in changed]), strict=True)
        self._rows.update(zip(changed, rows, strict=True))
        return History(self._rows, self._kins, living)


class History:
    """What was known at a moment. Asking it changes nothing that can be seen."""

    def __init__(self, classes: dict[_Class, _Row], kins: OrderedDict[str, Counts], living: Sequence[Life]) -> None:
        names = sorted({*classes, *((life.owner, size_class(life.width)) for life in living)})
        self._row = {name: at for at, name in enumerate(names)}
        ends, risk = np.zeros((len(names), BINS)), np.zeros((len(names), BINS))
        for name, (ended, seconds) in classes.items():
            at = self._row[name]
            ends[at], risk[at] = ended, seconds
        self._kins = dict(kins)
        self._at_risk: dict[str, Floats] = {}  # of kins that live
        if living:
            at_risk = _time_at_risk(np.array([life.age for life in living]))
            np.add.at(risk, [self._row[life.owner, size_class(life.width)] for life in living], at_risk)
            for life, seconds in zip(living, at_risk, strict=True):
                known = self._at_risk.get(life.kin)
                self._at_risk[life.kin] = seconds if known is None else known + seconds
        self._sizes, self._hazards = _hazards(ends, risk, [size for _, size in names])
        self._known: dict[tuple[_Class, str, int], float] = {}
        self._learn(
            {((life.owner, size_class(life.width)), life.kin, age_bin(life.age)): None for life in living}.keys()
        )

    def rest(self, life: Life) -> float:
        """Return the Gittins rank of a gang in seconds: the expected time to give it per end, at the best stop."""
        key = ((life.owner, size_class(life.width)), life.kin, age_bin(life.age))
        found = self._known.get(key)
        if found is None:
            self._learn([key])
            found = self._known[key]
        return found

    def _learn(self, keys: Iterable[tuple[_Class, str, int]]) -> None:
        wanted = list(keys)
        if not wanted:
            return
        base = np.array([self._base(group) for group, _, _ in wanted])
        ends, risk = _spread([self._kins.get(kin, _NOTHING) for _, kin, _ in wanted])
        risk += np.array([self._at_risk.get(kin, _ZEROS) for _, kin, _ in wanted])
        hazard = (ends + KIN_WEIGHT) / (risk + KIN_WEIGHT / base)
        ranks = _gittins(hazard, np.array([at for _, _, at in wanted]))
        self._known.update(zip(wanted, ranks.tolist(), strict=True))

    def _base(self, group: _Class) -> Floats:
        at = self._row.get(group)
        hazard: Floats = self._hazards[at] if at is not None else self._sizes[group[1]]
        return hazard


def _spread(groups: Sequence[Counts]) -> tuple[Floats, Floats]:
    """Return the ends and the seconds at risk of each group, by age bin."""
    ends, ages = np.zeros((len(groups), BINS)), np.zeros((len(groups), BINS))
    places = [row * BINS + at for row, counts in enumerate(groups) for at in counts.bins]
    if not places:
        return ends, ages
    ends.put(places, [each for counts in groups for each in counts.ends])
    ages.put(places, [each for counts in groups for each in counts.ages])
    upto = ends.cumsum(axis=1)
    return ends, ages - ends * _LOW + (upto[:, -1:] - upto) * _STEPS


def _time_at_risk(ages: Floats) -> Floats:
    """Return the seconds that gangs of these ages spent in each bin."""
    spent: Floats = np.clip(ages[:, None] - _LOW[None, :], 0.0, _STEPS[None, :])
    return spent


def _hazards(ends: Floats, risk: Floats, sizes: list[int]) -> tuple[Floats, Floats]:
    """Return the hazards per second by size class and by (owner, size class)."""
    everybody = (ends.sum(axis=0) + GROUP_WEIGHT) / (risk.sum(axis=0) + GROUP_WEIGHT / _PRIOR)
    by_size = np.zeros((len(_SIZES) + 1, BINS))
    of_size = np.array(sizes, dtype=int)
    for size in range(len(_SIZES) + 1):
        members = of_size == size
        by_size[size] = (ends[members].sum(axis=0) + GROUP_WEIGHT) / (
            risk[members].sum(axis=0) + GROUP_WEIGHT / everybody
        )
    if not sizes:
        return by_size, np.zeros((0, BINS))
    return by_size, (ends + GROUP_WEIGHT) / (risk + GROUP_WEIGHT / by_size[of_size])


def _gittins(hazard: Floats, start: npt.NDArray[np.int64]) -> Floats:
    """Return, for each row of hazards, the least ratio of time given to chance to end, from a bin on."""
    ends = -np.expm1(-hazard * _STEPS)
    time = ends / hazard
    before = np.arange(BINS)[None, :] < start[:, None]
    ends[before] = 0.0
    time[before] = 0.0
    left = np.ones_like(ends)
    left[:, 1:] = np.cumprod(1.0 - ends[:, :-1], axis=1)
    given = np.cumsum(left * time, axis=1)
    chance = np.cumsum(left * ends, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where((chance > 0) & (left >= _LEAST_LEFT), given / chance, inf)
    best: Floats = ratio.min(axis=1)
    return best
