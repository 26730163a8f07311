"""Who borrows and who lends: by example, and as a law over random trees."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from octopus_hub.core.lending import borrowed, lent
from octopus_hub.core.quota import Quotas
from octopus_hub.core.snapshot import Usage
from octopus_hub.model.amounts import Amounts
from octopus_hub.model.queue import Cohort, Queue
from tests.core.quota_builders import Use, trees, uses
from tests.core.scheduling_builders import amounts

Tree = tuple[dict[str, Queue], dict[str, Cohort]]


def quotas(nominal: dict[str, int], used: dict[str, int], cohort: int = 0) -> Quotas:
    queues = {name: Queue(name=name, cohort="lab", nominal=amounts(gpu=count)) for name, count in nominal.items()}
    usage = Usage(queues={name: amounts(gpu=count) for name, count in used.items()})
    return Quotas(queues, {"lab": Cohort(name="lab", nominal=amounts(gpu=cohort))}, usage, {})


def test_what_is_borrowed_comes_from_those_who_leave_it_idle() -> None:
    tree = quotas({"a": 4, "b": 4, "c": 8}, {"a": 7, "b": 1})
    assert borrowed(tree, "a") == {"gpu": 3} and borrowed(tree, "b") == {}
    assert lent(tree) == {"b": {"gpu": 1}, "c": {"gpu": 2}}, "3 and 8 are idle: 0.8 and 2.2"


def test_the_cohorts_own_goes_first() -> None:
    assert lent(quotas({"a": 4, "b": 4}, {"a": 6}, cohort=2)) == {}
    assert lent(quotas({"a": 4, "b": 4}, {"a": 7}, cohort=2)) == {"b": {"gpu": 1}}


def test_what_stays_with_a_queue_is_not_lent() -> None:
    queues = {
        "a": Queue(name="a", cohort="lab", nominal=amounts(gpu=1)),
        "b": Queue(name="b", cohort="lab", nominal=amounts(gpu=4), lend=amounts(gpu=1)),
        "c": Queue(name="c", cohort="lab", nominal=amounts(gpu=4)),
    }
    tree = Quotas(queues, {"lab": Cohort(name="lab")}, Usage(queues={"a": amounts(gpu=6)}), {})
    assert lent(tree) == {"b": {"gpu": 1}, "c": {"gpu": 4}}


@settings(max_examples=120, deadline=None)
@given(trees(holders=False), st.lists(uses(), max_size=10))
def test_law_7_what_is_lent_adds_up_and_nobody_lends_what_he_uses(tree: Tree, wanted: list[Use]) -> None:
    inside = Quotas(*tree, Usage(), {})
    for use in wanted:
        if inside.check(use.gang, use.total) is None:
            inside.charge(use.gang, use.total, 1)
    given_away = lent(inside)
    for name in tree[0]:
        node = inside.node(name)
        assert node is not None
        for resource, amount in given_away.get(name, {}).items():
            bounds = node.bound(resource)
            assert bounds is not None and amount > 0
            assert amount + max(bounds.kept, node.taken.get(resource, 0)) <= bounds.quota
        for resource in node.used:
            members = [each for each in node.root.order if each.is_queue]
            lends = sum(given_away.get(each.name, {}).get(resource, 0) for each in members)
            borrows = sum(borrowed(inside, each.name).get(resource, 0) for each in members)
            assert lends <= borrows, "no more than is borrowed; the rest is the cohorts' own"


def test_nothing_is_lent_where_nothing_is_bounded() -> None:
    queues = {"a": Queue(name="a", cohort="lab"), "b": Queue(name="b", cohort="lab")}
    tree = Quotas(queues, {"lab": Cohort(name="lab")}, Usage(queues={"a": Amounts(devices={"gpu": 3})}), {})
    assert lent(tree) == {} and borrowed(tree, "a") == {}
