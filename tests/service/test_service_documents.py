"""Bodies of submissions are read strictly: nothing in them is taken silently for something else."""

from __future__ import annotations

import pytest

from tests.service.running import Running

ROLE = '"roles": [{"name": "w", "command": ["x"], "env": {"VERSION": 1.10}}]'


@pytest.mark.parametrize(
    ("case", "body", "detail"),
    [
        ("a key twice", '{"metadata": {"name": "a", "name": "b"}}', "the key 'name' is given twice in one mapping"),
        ("NaN", '{"spec": {"seed": NaN}}', "NaN is not a number that JSON knows; give it as a text"),
        ("too deep", "[" * 100_000, "the document is nested too deeply"),
        ("no object", "[1]", "the body is no JSON object"),
        ("no JSON", "a: 1", "the document is not JSON: line 1, column 1: expecting value"),
    ],
)
async def test_refused(service: Running, case: str, body: str, detail: str) -> None:
    for path in ("tasksets", "tasksets?dryRun=true", "plan"):
        answer = await service.client("alice-token").post(path, content=body)
        assert (answer.status_code, answer.json()["detail"]) == (422, detail)
        assert answer.json()["problems"] == [detail]


async def test_numbers_reach_the_environment_as_written(service: Running) -> None:
    body = f'{{"metadata": {{"name": "a"}}, "spec": {{{ROLE}}}}}'
    answer = await service.client("alice-token").post("tasksets", content=body)
    assert answer.status_code == 201, answer.text
    assert answer.json()["spec"]["roles"][0]["env"] == {"VERSION": "1.10"}
