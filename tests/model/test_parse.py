"""Users' documents: what is accepted becomes a TaskSet, what is wrong is told all at once, with paths and a way out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.problems import MOST_PROBLEMS
from octopus_hub.model.taskset import ElasticReplicas, TaskSet
from tests.model.cases import ACCEPTED, PLACES, VALUES, WHOLE, W, document, meta, problems_of, spec


def test_a_whole_document() -> None:
    taskset = TaskSet.parse(WHOLE)
    assert taskset.name == "mnist-ddp" and taskset.metadata.labels == {"team": "vision"}
    worker, ps = taskset.spec.roles
    assert worker.replicas == ElasticReplicas(min=2, max=8) and worker.count == 2 and worker.main
    assert worker.env == {"EPOCHS": "3", "RATE": "0.5", "DEBUG": "true"}
    assert (worker.resources.cpu, worker.resources.memory, worker.resources.shm) == ("2", "8Gi", "2Gi")
    assert worker.resources.devices == {"gpu": 1}
    assert (ps.resources.cpu, ps.resources.memory) == ("100m", "256Mi")
    assert ps.completion.min_succeeded is None and ps.must_succeed(ps.count) == 1
    assert taskset.spec.after[0].on == "Completed" and taskset.spec.run is not None
    assert taskset.spec.run.parameters == {"lr": 0.1, "layers": [64, 32], "name": None}


@pytest.mark.parametrize("case", ACCEPTED)
def test_accepted(case: str) -> None:
    taskset = TaskSet.parse(ACCEPTED[case])
    assert TaskSet.parse(taskset.to_dict()) == taskset


def test_all_problems_at_once() -> None:
    given = document(
        meta(name="A", labels={"": "x"}),
        spec(hold="no", after=[{"nam": "x"}], unknown=1),
        replicas="x",
        restart=3,
        volumes=[{"kind": "x"}],
    )
    found = problems_of(given)
    paths = [problem.split(":")[0] for problem in found]
    assert paths == [
        "metadata.name",
        "metadata.labels.",
        f"{W}.replicas",
        f"{W}.restart",
        f"{W}.volumes[0].name",
        f"{W}.volumes[0].mountPath",
        "spec.hold",
        "spec.after[0].nam",
        "spec.after[0].name",
        "spec.unknown",
    ]
    with pytest.raises(InvalidSpec) as caught:
        TaskSet.parse(given)
    assert caught.value.message == "A can't be accepted; 10 things are wrong"
    assert str(caught.value).count("\n") == 10


def test_problems_are_bounded() -> None:
    found = problems_of(document(env={f"{n}A": "x" for n in range(3000)}))
    assert len(found) == MOST_PROBLEMS + 1 and found[-1] == f"and {3000 - MOST_PROBLEMS} more problems"


def test_what_the_service_sets_is_dropped() -> None:
    printed = document(
        meta(
            namespace="alice",
            uid="u",
            createdAt=1.5,
            owner="alice",
            version=3,
            stopRequestedAt=2,
            deletionRequestedAt="whatever",
        ),
        lambda made: made.update(status={"phase": "Running", "new": 1}, resolved=[1], queuePlace=None),
    )
    assert TaskSet.parse(printed) == TaskSet.parse(document())


def test_what_yaml_1_1_readers_make_of_on() -> None:
    given = document(spec(after=[{"name": "x", True: "Failed"}]), events=[{True: "RoleFailed", "do": "Ignore"}])
    taskset = TaskSet.parse(given)
    assert taskset.spec.after[0].on == "Failed" and taskset.spec.roles[0].events[0].on == "RoleFailed"


@pytest.mark.parametrize(
    ("case", "text", "problem"),
    [
        (
            "not JSON",
            "{",
            "the document is not JSON: line 1, column 2: expecting property name enclosed in double quotes",
        ),
        ("not UTF-8", b"\xff", "the document is not UTF-8 text"),
        ("empty", "", "the document is not JSON: line 1, column 1: expecting value"),
        ("a key twice", '{"metadata": {"name": "a", "name": "b"}}', "the key 'name' is given twice in one mapping"),
        ("NaN", '{"spec": NaN}', "NaN is not a number that JSON knows; give it as a text"),
        ("infinite", '{"spec": -Infinity}', "-Infinity is not a number that JSON knows; give it as a text"),
        ("a huge number", '{"spec": ' + "9" * 5000 + "}", "a number of 5000 digits is too large"),
        ("too deep", '{"spec": ' + "[" * 200_000, "the document is nested too deeply"),
        ("a text", '"mnist"', "a TaskSet is a mapping, not the text 'mnist'"),
    ],
)
def test_json_texts_that_are_refused(case: str, text: str | bytes, problem: str) -> None:
    assert problems_of(text) == [problem]


def test_json_texts() -> None:
    text = json.dumps(document(env={"A": "x"}))
    assert TaskSet.parse(text) == TaskSet.parse(text.encode()) == TaskSet.parse(document(env={"A": "x"}))
    assert TaskSet.parse(b"\xef\xbb\xbf" + text.encode()).name == "mnist"
    written = text.replace('"x"', "1.10")
    assert TaskSet.parse(written).spec.roles[0].env == {"A": "1.10"}
    deep: Any = 1
    for _ in range(200):
        deep = {"a": deep}
    assert problems_of(document(template=deep))[0].endswith("is nested deeper than 20 levels")
    assert problems_of('{"metadata":{"name":"a"},"spec":{"seed":1e400}}')[0].startswith("spec.seed: needs a whole")


def test_the_parsed_value_shares_nothing_with_the_document() -> None:
    given = document(template={"a": [1]}, env={"A": "1"})
    taskset = TaskSet.parse(given)
    given["spec"]["roles"][0]["template"]["a"].append(2)
    given["spec"]["roles"][0]["env"]["A"] = "2"
    assert taskset.spec.roles[0].template == {"a": [1]} and taskset.spec.roles[0].env == {"A": "1"}


class Strange(Mapping[str, Any]):
    """A mapping that is no dict."""

    def __init__(self, content: dict[str, Any]) -> None:
        self._content = content

    def __getitem__(self, key: str) -> Any:
        return self._content[key]

    def __iter__(self) -> Any:
        return iter(self._content)

    def __len__(self) -> int:
        return len(self._content)


def test_any_mapping_will_do() -> None:
    assert TaskSet.parse(Strange(document(env=Strange({"A": "x"})))) == TaskSet.parse(document(env={"A": "x"}))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(PLACES), VALUES), min_size=1, max_size=4))
def test_whatever_stands_anywhere_is_a_taskset_or_a_list_of_problems(
    changes: list[tuple[tuple[Any, ...], Any]],
) -> None:
    made = json.loads(json.dumps(WHOLE))
    for place, value in changes:
        target = made
        try:
            for step in place[:-1]:
                target = target[step]
            target[place[-1]] = value
        except (TypeError, KeyError, IndexError):
            continue  # an earlier change took that place away
    try:
        taskset = TaskSet.parse(made)
    except InvalidSpec as error:
        assert error.problems and all(isinstance(each, str) for each in error.problems)
    else:
        assert TaskSet.parse(taskset.to_dict()) == taskset
