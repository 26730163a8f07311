"""The value-template language: what each placeholder gives, and what is refused when a descriptor is loaded."""

from __future__ import annotations

import json

import pytest

from octopus_hub.core.actions import Member
from octopus_hub.core.template import COLLECTIVE, VALUES, Gang, render
from octopus_hub.model.taskset import ElasticReplicas, TaskSet
from octopus_hub.model.template import NAMES, Placeholder, TemplateError, parse
from tests.core.expand_builders import addresses, framework, placed, role


def gang(**spec: object) -> Gang:
    roles = [role("ps", 2), role("worker", 3, devices={"gpu": 2, "npu": 1})]
    taskset = placed(roles, framework(rank_order=["worker"]), per_node=2, **spec)
    return Gang.of(taskset, addresses(taskset))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", ""),
        ("plain", "plain"),
        ("{taskset}/{namespace}", "job/ada"),
        ("{role} {index} {attempt} {gang_attempt}", "worker 2 4 1"),
        ("{rank} of {world_size}, {replicas} replicas", "2 of 5, 3 replicas"),
        ("{local_rank} of {local_world_size} on {node}", "0 of 1 on n1"),
        ("{device_count}", "3"),
        ("{hostname} {host}:{port} {port:main}", "job-worker-2 127.0.0.1:22040 22040"),
        ("{master.host}:{master.port} {master.port:main}", "127.0.0.1:22000 22000"),
        ("{count:worker} {count:ps,worker} {count:*} {count:chief}", "3 5 5 0"),
        ("{hosts:ps:main}", "127.0.0.1:21000,127.0.0.1:21020"),
        ("{hosts:chief:main}", ""),
        ('{"a": {"b": {rank}}}', '{"a": {"b": 2}}'),
        ("{json:role} {json:rank}", '"worker" 2'),
        ("{json:hosts:ps:main}", '["127.0.0.1:21000", "127.0.0.1:21020"]'),
        ("{open}rank} { rank } {}", "{rank} { rank } {}"),
        ("{seed}", "7"),
        ("{when:distributed}x", "x"),
        ("{sizes}", "5"),
        ("{processes:worker} {processes:*} {processes.least:worker}", "9 11 9"),
        ("{slots:worker} {slots:ps,worker} {slots:chief}", "127.0.0.1:9 127.0.0.1:11 "),
    ],
)
def test_values(text: str, value: str) -> None:
    assert render(text, gang(seed=7), Member("worker", 2, 4)) == value


def test_an_elastic_gang_says_what_it_has_and_what_it_needs_at_least() -> None:
    roles = [role("ps"), role("worker", ElasticReplicas(min=2, max=8), devices={"gpu": 2})]
    taskset = placed(roles, sizes={"worker": 5})
    elastic = Gang.of(taskset, addresses(taskset))

    def text(template: str) -> str | None:
        return render(template, elastic, Member("worker", 4, 1))

    assert text("{sizes} {world_size} {replicas} {count:worker}") == "3:6 6 5 5"
    assert text("{processes:worker} {processes.least:worker} {slots:worker}") == "10 4 127.0.0.1:10"
    assert text("{when:elastic}x") == "x" and render("{when:elastic}x", gang(), Member("worker", 0, 1)) is None
    assert text("{rank}") == "5", "ps 0 is rank 0"


def test_parts_of_devices_are_one_process_since_they_may_lie_on_one_device() -> None:
    taskset = placed([role("worker", 2, devices={"gpu-1of4": 3})])
    parts = Gang.of(taskset, addresses(taskset))
    assert render("{device_count} {processes:worker}", parts, Member("worker", 0, 1)) == "1 2"


def test_hosts_of_all_are_in_rank_order() -> None:
    assert render("{hosts:*:main}", gang(), Member("ps", 0, 1)) == (
        "127.0.0.1:22000,127.0.0.1:22020,127.0.0.1:22040,127.0.0.1:21000,127.0.0.1:21020"
    )


def test_a_cluster_names_only_roles_that_exist() -> None:
    text = render("{cluster:chief,worker,ps:main}", gang(), Member("ps", 0, 1))
    assert text is not None
    assert json.loads(text) == {
        "worker": ["127.0.0.1:22000", "127.0.0.1:22020", "127.0.0.1:22040"],
        "ps": ["127.0.0.1:21000", "127.0.0.1:21020"],
    }
    assert render("{json:cluster:chief,worker,ps:main}", gang(), Member("ps", 0, 1)) == text


def test_local_ranks_count_tasks_of_lower_rank_on_the_node() -> None:
    # n0 holds worker 0, 1 and ps 0, 1; n1 holds worker 2. Ranks start with the workers.
    shared = gang()
    found = {
        (name, index): render("{local_rank}/{local_world_size}", shared, Member(name, index, 1))
        for name, count in (("worker", 3), ("ps", 2))
        for index in range(count)
    }
    assert found == {
        ("worker", 0): "0/4",
        ("worker", 1): "1/4",
        ("ps", 0): "2/4",
        ("ps", 1): "3/4",
        ("worker", 2): "0/1",
    }


def test_nothing_is_distributed_with_one_task() -> None:
    taskset: TaskSet = placed([role("worker")])
    assert render("{when:distributed}x", Gang.of(taskset, addresses(taskset)), Member("worker", 0, 1)) is None


def test_without_a_seed() -> None:
    assert render("{seed}", gang(), Member("worker", 0, 1)) == ""


def test_lists_are_joined_once_for_the_whole_gang() -> None:
    shared = gang()
    for index in range(3):
        render("{hosts:worker:main} {rank}", shared, Member("worker", index, 1))
    assert list(shared.shared) == [Placeholder("hosts", ("worker", "main"))]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{rnak}", r"unknown placeholder \{rnak\}; did you mean \{rank\}"),
        ("{Rank}", "unknown placeholder"),
        ("{quite_other}", r"known are taskset, .*json"),
        ("x{rank", r"'\{rank' is not closed; write \{open\}"),
        ("{rank{index}}", "is not closed"),
        ("{rank:3}", r"\{rank:3\} needs 0 arguments after the name, not 1"),
        ("{hosts:worker}", "needs 2 arguments after the name, not 1"),
        ("{hosts::main}", "needs 2 arguments"),
        ("{port:a:b}", "needs 0 to 1 arguments"),
        ("{json}", "needs a placeholder"),
        ("{json:}", "needs a placeholder|unknown placeholder"),
        ("{json:json:rank}", "needs a placeholder"),
        ("{json:nothing}", "unknown placeholder"),
        ("{when:alone}", "unknown condition 'alone'; known are distributed, elastic"),
    ],
)
def test_what_is_refused(text: str, words: str) -> None:
    with pytest.raises(TemplateError, match=words):
        parse(text)


def test_every_name_of_the_grammar_has_a_value() -> None:
    assert set(NAMES) - {"when"} == set(COLLECTIVE) | set(VALUES)
    assert not set(COLLECTIVE) & set(VALUES)
