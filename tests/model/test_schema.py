"""The JSON Schema says what parsing accepts, as far as JSON Schema can."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from octopus_hub.client.documents import load_documents
from octopus_hub.model.errors import InvalidSpec
from octopus_hub.model.schema import KINDS, json_schema
from octopus_hub.model.taskset import TaskSet
from tests.model.cases import ACCEPTED, PLACES, VALUES, WHOLE
from tests.model.documents import documents
from tests.model.test_parse_refused import REFUSED as REFUSED_ABOVE
from tests.model.test_parse_roles import REFUSED_ROLES

SCHEMA = jsonschema.Draft202012Validator(json_schema("TaskSet"))
REFUSED = {**REFUSED_ABOVE, **REFUSED_ROLES}
EXAMPLES = Path(__file__).parents[2] / "examples"

# What only code can say: what must agree with what, totals, amounts in texts, values that are no JSON at all.
BEYOND_SCHEMA = {
    "10,001 tasks of two roles",
    "a label of ours",
    "a part of a part",
    "a part that is not one of n",
    "a quantity that is no number",
    "a role twice",
    "a time that is no number",
    "a variable and a secret",
    "a variable of ours",
    "an empty program",
    "an event twice",
    "half a surrogate pair",
    "min over max",
    "more failures than tasks",
    "more successes than tasks",
    "NUL in a command",
    "no CPU at all",
    "part of a gang",
    "successes and failures",
    "too large a variable",
    "too large an environment",
    "too large parameters",
    "two main roles",
    "two mounts at one place",
    "whole and in parts",
}


def accepts(document: Any) -> bool:
    return bool(SCHEMA.is_valid(document))


def test_it_is_a_schema() -> None:
    for kind in KINDS:
        jsonschema.Draft202012Validator.check_schema(json_schema(kind))
        assert json_schema(kind)["$id"] == f"octopus-hub.io/v1alpha1/{kind}"
    assert json_schema() == json_schema("taskset") == json_schema("TASKSET")


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidSpec) as caught:
        json_schema("Job")
    assert caught.value.message == f"there is no schema of Job; there are {', '.join(sorted(KINDS))}"


@pytest.mark.parametrize("case", ACCEPTED)
def test_what_is_accepted_is_valid(case: str) -> None:
    document = json.loads(json.dumps(ACCEPTED[case]))
    SCHEMA.validate(document)
    SCHEMA.validate(TaskSet.parse(document).to_dict())


@pytest.mark.parametrize("case", sorted(set(REFUSED) - BEYOND_SCHEMA))
def test_what_is_refused_is_invalid(case: str) -> None:
    assert not accepts(REFUSED[case][0])


@pytest.mark.parametrize("case", sorted(BEYOND_SCHEMA))
def test_what_is_beyond_the_schema_is_known(case: str) -> None:
    assert accepts(REFUSED[case][0])


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents())
def test_every_valid_document_is_valid_by_schema(document: dict[str, Any]) -> None:
    SCHEMA.validate(json.loads(json.dumps(TaskSet.parse(document).to_dict())))
    SCHEMA.validate(document)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(PLACES), VALUES)
def test_what_parsing_accepts_the_schema_accepts(place: tuple[Any, ...], value: Any) -> None:
    changed = json.loads(json.dumps(WHOLE))
    target = changed
    for step in place[:-1]:
        target = target[step]
    target[place[-1]] = value
    try:
        TaskSet.parse(changed)
    except InvalidSpec:
        return
    assert accepts(changed)


@pytest.mark.parametrize("file", sorted(EXAMPLES.rglob("*.yaml")), ids=lambda file: str(file.relative_to(EXAMPLES)))
def test_examples(file: Path) -> None:
    found = load_documents(file.read_text(), file.name)
    assert found
    for document in found:
        if document.get("kind") == "TaskSet" and str(document.get("apiVersion")).startswith("octopus-hub.io/"):
            SCHEMA.validate(document)
            TaskSet.parse(document)


def test_what_the_service_sets_is_allowed_and_described() -> None:
    document = {**WHOLE, "status": {"phase": "Running"}, "resolved": 1, "queuePlace": []}
    document["metadata"] = {**WHOLE["metadata"], "uid": "x", "createdAt": 1.5, "stopReason": "asked"}
    SCHEMA.validate(document)
    assert TaskSet.parse(document) == TaskSet.parse(WHOLE)
    assert "ignored" in json_schema()["$defs"]["TaskSet"]["properties"]["status"]["description"]


def test_defaults_are_told() -> None:
    definitions = json_schema()["$defs"]
    assert definitions["Resources"]["properties"]["memory"]["default"] == "256Mi"
    assert definitions["Restart"]["properties"]["scope"] == {
        "enum": ["never", "task", "role", "gang"],
        "default": "never",
    }
    assert definitions["Role"]["required"] == ["name"] and definitions["Spec"]["required"] == ["roles"]
