"""Users' files: what YAML stands for, and one sentence with the place for what can't be read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from octopus_hub.client.documents import MOST_VALUES, dump_document, load_documents
from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.taskset import TaskSet

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

SUBMITTED = """
apiVersion: octopus-hub.io/v1alpha1
kind: TaskSet
metadata: {name: mnist}
spec:
  after: [{name: prepare, on: Succeeded}]
  roles:
  - name: worker
    replicas: 3
    command: [python, train.py, --lr, 1e-3, --epochs, 3]
    env: {LR: 1e-3, VERSION: 1.10, MODE: 0755, DEBUG: true, EMPTY: ""}
    resources: {cpu: 0.5, memory: 1.5Gi}
    events:
    - on: RoleSucceeded
      do: SucceedTaskSet
"""


def load(text: str) -> list[dict[str, Any]]:
    return load_documents(text, "f.yaml")


def refused(text: str) -> str:
    with pytest.raises(InvalidSpec) as caught:
        load(text)
    assert caught.value.problems == [caught.value.message] and "\n" not in caught.value.message
    return caught.value.message


def test_a_taskset_as_users_write_it() -> None:
    taskset = TaskSet.parse(load(SUBMITTED)[0])
    role = taskset.role("worker")
    assert taskset.spec.after[0].on == "Succeeded"
    assert role.events[0].on == "RoleSucceeded"
    assert role.command == ["python", "train.py", "--lr", "1e-3", "--epochs", "3"]
    assert role.env == {"LR": "1e-3", "VERSION": "1.10", "MODE": "0755", "DEBUG": "true", "EMPTY": ""}
    assert (role.resources.cpu, role.resources.memory) == ("500m", "1536Mi")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("No", "No"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("1:30", "1:30"),
        ("6006:6006", "6006:6006"),
        ("0777", "0777"),
        ("1_000", "1_000"),
        ("2024-01-01", "2024-01-01"),
        ("12", 12),
        ("-3", -3),
        ("0x1F", 31),
        ("0o17", 15),
        ("1e-3", 0.001),
        ("1.", 1.0),
        (".5", 0.5),
        ("1.5.2", "1.5.2"),
        ("-", None),
        ("=", "="),
        ("'3'", "3"),
        ('"true"', "true"),
        ("!!str 3", "3"),
        ("|\n   two\n   lines", "two\nlines"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: Any) -> None:
    if text == "-":
        assert load("a:\n- ")[0]["a"] == [None]
        return
    found = load(f"a: {text}")[0]["a"]
    assert found == value and isinstance(found, type(value))


@pytest.mark.parametrize("text", ["1.10", "1e-3", "+5", "0x1F", ".inf", "-.INF", ".nan", "12", "1."])
def test_numbers_remember_how_they_were_written(text: str) -> None:
    found = load(f"a: {text}")[0]["a"]
    assert isinstance(found, int | float) and str(found) == text


def test_keys_are_texts_as_written() -> None:
    assert load("on: 1\n1: 2\ntrue: 3\n~: 4\n1.50: 5") == [{"on": 1, "1": 2, "true": 3, "~": 4, "1.50": 5}]


def test_several_documents_and_empty_ones() -> None:
    assert load("---\na: 1\n---\n---\n# nothing\n---\nb: 2\n...\n") == [{"a": 1}, {"b": 2}]
    assert load("") == [] and load("# only a comment") == [] and load("\ufeffa: 1") == [{"a": 1}]


def test_json_with_what_yaml_would_refuse() -> None:
    assert load('{\n\t"a":\t[1, 1.5e3, true, null, "\\u00e9"]}') == [{"a": [1, 1500.0, True, None, "é"]}]
    assert load("{a: 1, b: [x]}") == [{"a": 1, "b": ["x"]}]


def test_anchors_aliases_and_merges() -> None:
    text = "base: &b {a: 1, b: {c: 2}}\nother: &o {z: 9, a: 7}\nuse: *b\nmore: {<<: *b, a: 5}\nboth: {<<: [*b, *o]}"
    found = load(text)[0]
    assert found["use"] == found["base"]
    assert found["more"] == {"a": 5, "b": {"c": 2}}
    assert found["both"] == {"a": 1, "b": {"c": 2}, "z": 9}
    assert load("a: {'<<': x}") == [{"a": {"<<": "x"}}]
    assert load("a: &x 1\n---\nb: 2") == [{"a": 1}, {"b": 2}]


@pytest.mark.parametrize(
    ("case", "text", "message"),
    [
        (
            "a key twice",
            "spec:\n  a: 1\n  b: 2\n  a: 3",
            "f.yaml, line 4, column 3: the key 'a' is given twice; first in line 2",
        ),
        ("a key twice in JSON", '{"a": 1, "a": 2}', "f.yaml: the key 'a' is given twice in one mapping"),
        ("NaN in JSON", '{"a": NaN}', "f.yaml: NaN is not a number that JSON knows; give it as a text"),
        ("a list", "a: 1\n---\n- x", "f.yaml, line 3, column 1: a document is a mapping of names to values"),
        ("a text", "just text", "f.yaml, line 1, column 1: a document is a mapping of names to values"),
        ("not closed", "a: [1,\nb: 2", "f.yaml, line 3"),
        ("tabs", "a:\n\tb: 1", "f.yaml, line 2, column 1: this is not YAML: lines are indented with spaces"),
        ("bad indentation", "a: 1\n  b: 2", "f.yaml, line 2"),
        (
            "an object",
            "a: !!python/object/apply:os.system [x]",
            "f.yaml, line 1, column 4: the tag '!!python/object/apply",
        ),
        ("a date", "a: !!timestamp 2024-01-01", "f.yaml, line 1, column 4: the tag '!!timestamp'"),
        ("an unknown alias", "a: *x", "f.yaml, line 1, column 4: there is no anchor &x before *x"),
        ("an alias of another document", "a: &x 1\n---\nb: *x", "f.yaml, line 3, column 4: there is no anchor &x"),
        ("an alias of itself", "a: &x {b: *x}", "f.yaml, line 1, column 11: *x would contain itself"),
        ("a merge of a text", "a: {<<: x}", "f.yaml, line 1, column 9: << takes a mapping or a list of mappings"),
        ("a list as key", "? [a]\n: b", "f.yaml, line 1, column 3: a key is a text"),
        ("an alias of a list as key", "a: &x [1]\n*x : 2", "f.yaml, line 2, column 1: a key is a text"),
        ("too deep", "a: " + "[" * 70 + "]" * 70, "f.yaml, line 1, column 67: the document is nested deeper than 64"),
        ("very deep", "[" * 200_000, "f.yaml, line 1"),
        ("very deep mappings", '{"a":' * 200_000, "f.yaml, line 1"),
        ("a long number", "a: " + "1" * 5000, "f.yaml, line 1, column 4: a number of 5000 digits is too large"),
        ("a long number in JSON", '{"a": ' + "1" * 5000 + "}", "f.yaml: a number of 5000 digits is too large"),
        ("control characters", "a: \x00", "f.yaml"),
        ("half a surrogate pair", "a: \ud800", "f.yaml: the text holds half a surrogate pair"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_sentence(case: str, text: str, message: str) -> None:
    assert refused(text).startswith(message)


def test_alias_bombs_end_early() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 60)]
    assert f"more than {MOST_VALUES} values, those behind aliases included" in refused("\n".join(lines))
    merges = ["a0: &a0 {k: [x, x, x, x]}"]
    merges += [f"a{n}: &a{n} {{<<: *a{n - 1}, l: *a{n - 1}, m: *a{n - 1}, n: *a{n - 1}}}" for n in range(1, 60)]
    assert "those behind aliases included" in refused("\n".join(merges))
    assert "those behind aliases included" in refused("a: [" + "1, " * (MOST_VALUES + 1) + "]")


_texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12) | st.sampled_from(
    [
        "1e3",
        "0o17",
        "0x1F",
        ".5e3",
        "on",
        "yes",
        "~",
        "null",
        "0777",
        "1:30",
        "<<",
        "=",
        "+1E5",
        "-.inf",
        "1.",
        "",
        "- a",
    ]
)
_plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | _texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4),
    max_leaves=12,
)


@unhurried
@given(st.dictionaries(_texts.filter(bool), _plain, max_size=5))
def test_what_is_printed_reads_back_equal(document: dict[str, Any]) -> None:
    def same(left: Any, right: Any) -> bool:
        if isinstance(left, dict) and isinstance(right, dict):
            return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
        if isinstance(left, list) and isinstance(right, list):
            return len(left) == len(right) and all(map(same, left, right))
        return (bool(left == right) and isinstance(left, type(right))) or (left is None and right is None)

    (found,) = load(dump_document(document))
    assert same(found, document)


def test_what_needs_no_quotes_gets_none() -> None:
    assert dump_document({"memory": "8Gi", "on": "1e3", "at": "12:30", "cpu": "500m"}) == (
        "memory: 8Gi\n'on': '1e3'\nat: '12:30'\ncpu: 500m\n"
    )


@unhurried
@given(st.text(max_size=60))
def test_no_text_raises_anything_else(text: str) -> None:
    try:
        load(text)
    except InvalidSpec as error:
        assert error.message.startswith("f.yaml")
