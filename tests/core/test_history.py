"""What is kept of ends is enough: the seconds at risk of each bin come out as if they were summed one end at a time."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopus_hub.core import history
from octopus_hub.core.history import BINS, FIRST_SECONDS, GROWTH, Chronicle, Counts, Life, Past

EDGES = [0.0, *(FIRST_SECONDS * GROWTH**n for n in range(BINS))]
ages = st.one_of(st.floats(0, 1e7), st.floats(0, 3000), st.sampled_from(EDGES))


@given(st.lists(ages, max_size=30))
def test_counts_give_ends_and_time_at_risk_of_each_bin(ended: list[float]) -> None:
    counts = Counts()
    for age in ended:
        counts = counts.plus(age)
    assert list(counts.bins) == sorted(set(counts.bins)) and sum(counts.ends) == len(ended)
    ((ends, risk),) = zip(*history._spread([counts]), strict=True)
    for low, high, number, seconds in zip(EDGES, EDGES[1:], ends, risk, strict=False):
        at_risk = sum(min(age, high) - low for age in ended if age > low)
        assert seconds == pytest.approx(at_risk, abs=1e-6)
        surely = sum(low + 1e-6 < age < high - 1e-6 for age in ended)  # an edge may fall to either side
        about = sum(low - 1e-6 <= age <= high + 1e-6 or age > high == EDGES[-1] for age in ended)
        assert surely <= number <= about


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 40), st.sampled_from("xyz"), ages), max_size=30))
def test_a_stored_chronicle_goes_on_as_the_one_it_came_from(ended: list[tuple[str, int, str, float]]) -> None:
    lives = [Life(*each) for each in ended]
    whole, half = Chronicle(), Chronicle()
    for life in lives:
        whole.ended(life)
    for life in lives[: len(lives) // 2]:
        half.ended(life)
    half = Chronicle(msgspec.json.decode(msgspec.json.encode(half.past()), type=Past))
    for life in lives[len(lives) // 2 :]:
        half.ended(life)
    assert half.past() == whole.past()


def test_the_kin_whose_last_end_is_longest_ago_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "KINS_KEPT", 2)
    chronicle = Chronicle()
    for kin in ("old", "young", "old", "new"):
        chronicle.ended(Life("anna", 1.0, kin, 60.0))
    assert [kin for kin, _ in chronicle.past().kins] == ["old", "new"]
    assert [(owner, sum(counts.ends)) for owner, _, counts in chronicle.past().classes] == [("anna", 4)]


def test_a_history_does_not_change_with_what_ends_later() -> None:
    chronicle = Chronicle()
    chronicle.ended(Life("anna", 1.0, "train", 60.0))
    before, same = chronicle.history([]), chronicle.history([])
    asked = Life("anna", 1.0, "train", 0.0)
    known = before.rest(asked)
    for _ in range(5):
        chronicle.ended(Life("anna", 1.0, "train", 9e4))
    assert same.rest(asked) == known < chronicle.history([]).rest(asked)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 40), st.sampled_from("xyz"), ages), max_size=30),
    st.sets(st.integers(0, 29)),
)
def test_histories_on_the_way_change_nothing(ended: list[tuple[str, int, str, float]], asked: set[int]) -> None:
    lives = [Life(*each) for each in ended]
    often, once = Chronicle(), Chronicle()
    for number, life in enumerate(lives):
        if number in asked:
            often.history(lives[:number])
        often.ended(life)
        once.ended(life)
    found, truth = often.history(lives[::2]), once.history(lives[::2])
    assert [found.rest(life) for life in lives] == [truth.rest(life) for life in lives]
