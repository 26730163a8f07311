"""Generated files: the same as their sources, complete, and of use to those who read them."""

from __future__ import annotations

import inspect
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from octopus_hub.core import exits, lifecycle, running, stopping, verdict
from octopus_hub.model.task import EndReason
from octopus_hub.plugins.registry import Registry
from tests.docs.pages import ROOT
from tests.engine import RunningEngine, engine
from tools import generate
from tools.generation import fields, frameworks, phases, taskset, typescript

REFERENCE = ROOT / "docs" / "reference"


def test_generated_files_are_those_of_the_sources() -> None:
    done = subprocess.run(
        [sys.executable, "tools/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_difference_is_found_told_and_written_anew(tmp_path: Path) -> None:
    for name in generate.FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "docs/reference/cli.md").write_text("edited by hand")
    (tmp_path / "docs/reference/openapi.json").unlink()
    assert generate.stale(tmp_path) == ["docs/reference/cli.md", "docs/reference/openapi.json"]
    assert generate.write(tmp_path) == ["docs/reference/cli.md", "docs/reference/openapi.json"]
    assert generate.stale(tmp_path) == []


def test_every_field_that_a_user_writes_says_what_it_means() -> None:
    assert taskset.undocumented() == []


def test_comments_and_attributes_are_read_as_they_stand() -> None:
    from octopus_hub.model.queue import Queue
    from octopus_hub.model.status import Phase

    assert fields.documented(Queue)["perUser"] == "The same per owner"
    assert fields.documented(Queue)["allowedGroups"] == "empty: everyone"
    assert set(fields.members(inspect.getsource(Phase))) == {phase.name for phase in Phase}


def test_every_phase_state_and_code_says_what_it_means() -> None:
    page = phases.page()
    tables = page.split("## Ends of tasks")[0]
    empty = [line for line in tables.splitlines() if re.fullmatch(r"\|.*\|\s*\|", line) and not line.startswith("|---")]
    assert empty == []


def test_every_reason_of_the_life_cycle_is_listed() -> None:
    written: set[str] = set()
    for module in (lifecycle, running, stopping, verdict):
        source = inspect.getsource(module)
        written |= set(re.findall(r'(?:enter\(Phase\.\w+, |say\(|(?:withdraw|requeue)\(draft, )"([A-Z]\w+)"', source))
        written |= set(re.findall(r'\(\s*"(?:Succeeded|Failed|Stopped)", "([A-Z]\w+)"', source))
    assert len(written) > 12
    known = set(phases.REASONS) | set(EndReason.__args__)  # type: ignore[attr-defined]
    assert written <= known, written - known


def test_every_end_of_a_task_has_a_class() -> None:
    page = phases.page().split("## Ends of tasks")[1].split("## Errors")[0]
    rows = [line.split("|")[1:5] for line in page.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 30
    assert {row[1].strip() for row in rows} == {"permanent", "transient", "unknown"}
    assert all(f"`{reason}`" in page for reason in EndReason.__args__ if reason)  # type: ignore[attr-defined]
    assert exits.signal_name(9) in page


def examples() -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted((ROOT / "examples").rglob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            if document.get("kind") == "TaskSet" and document["apiVersion"].startswith("octopus-hub.io"):
                yield path, document


def test_the_schema_accepts_the_examples_and_nothing_misspelt() -> None:
    validator = jsonschema.Draft202012Validator(json.loads((REFERENCE / "taskset.schema.json").read_text()))
    found = list(examples())
    assert len(found) > 15
    for path, document in found:
        assert not list(validator.iter_errors(document)), path
        document["spec"]["roles"][0]["replica"] = 3
        assert list(validator.iter_errors(document)), path


@pytest.mark.parametrize("name", sorted(path.name for path in REFERENCE.glob("*.schema.json")))
def test_schemas_are_schemas(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads((REFERENCE / name).read_text()))


def test_references_of_the_openapi_document_exist() -> None:
    text = (REFERENCE / "openapi.json").read_text()
    schemas = json.loads(text)["components"]["schemas"]
    used = set(re.findall(r'"#/components/schemas/(\w+)"', text))
    assert used and used <= set(schemas)


def test_every_packaged_descriptor_is_listed() -> None:
    page, registry = frameworks.page(), Registry.load()
    assert all(f"### {name}\n" in page for name in registry.frameworks)
    assert all(f"| `{name}` |" in page for name in (*registry.devices, *registry.storage))


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    with engine(tmp_path_factory.mktemp("engine")) as started:
        yield started


def test_a_task_finds_exactly_the_variables_that_are_listed(account: RunningEngine) -> None:
    account.octopus("submit", "--name", "env", "--no-workspace", "--replicas", "1..2", "--watch", "--", "env")
    printed = account.octopus("logs", "env").stdout
    found = set(re.findall(r"^(?:\[\S+\] )?(OCTOPUS_\w+)=", printed, re.MULTILINE))
    assert found == set(frameworks.VARIABLES)


def test_typescript_types_are_strict_typescript() -> None:
    compiler = ROOT / "widgets/node_modules/typescript/bin/tsc"
    node = Path(sys.executable).parent / "node"
    if not compiler.exists() or not node.exists():
        pytest.skip("the widgets' packages are not installed")
    options = [
        "--strict",
        "--noEmit",
        "--exactOptionalPropertyTypes",
        "--noUncheckedIndexedAccess",
        "--target",
        "ES2022",
    ]
    done = subprocess.run(
        [str(node), str(compiler), *options, "widgets/src/api.generated.ts"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "null"}]}}, "(string | null)[]"),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "{ [key: string]: number }"),
        ({"type": "object"}, "{ [key: string]: unknown }"),
        ({"enum": ["a", "b"]}, '"a" | "b"'),
        ({"$ref": "#/$defs/Record"}, "RunRecord"),
        ({}, "unknown"),
    ],
)
def test_types(schema: dict[str, Any], expected: str) -> None:
    assert typescript.type_of(schema) == expected
