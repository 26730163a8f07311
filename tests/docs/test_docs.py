"""The documentation is true: links lead somewhere, documents parse, commands exist, programs compile."""

from __future__ import annotations

import ast
import contextlib
import io
from pathlib import Path
from typing import Any

import pytest
import yaml
from traitlets.config import PyFileConfigLoader

import octopus_hub
from octopus_hub.backends.local import config
from octopus_hub.cli import _split_command
from octopus_hub.cli.parser import build_parser
from octopus_hub.model.taskset import API_VERSION, TaskSet
from octopus_hub.plugins.registry import KINDS, Registry
from tests.docs.pages import ROOT, Block, anchors, blocks, commands, links, pages


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for target in links(page):
        file, _, anchor = target.partition("#")
        to = (page.parent / file).resolve() if file else page
        if not to.exists() or (anchor and to.suffix == ".md" and anchor not in anchors(to)):
            broken.append(target)
    assert not broken


def documents() -> list[tuple[Block, dict[str, Any]]]:
    """Return every document of ours in the pages."""
    found = []
    for block in blocks():
        if block.language in ("yaml", "json"):
            for document in yaml.safe_load_all(block.text):
                if isinstance(document, dict) and document.get("apiVersion") == API_VERSION:
                    found.append((block, document))
    return found


def test_every_taskset_shown_is_accepted() -> None:
    shown = [document for _, document in documents() if document.get("kind") == "TaskSet"]
    labelled = [block for block in blocks() if block.label == "taskset"]
    assert len(shown) >= len(labelled) >= 2
    for document in shown:
        TaskSet.parse(document)


def test_every_descriptor_shown_is_accepted(tmp_path: Path) -> None:
    folders = {kind.struct.__name__.removesuffix("Descriptor"): kind.folder for kind in KINDS}
    shown = [(block, document) for block, document in documents() if document.get("kind") in folders]
    assert {document["kind"] for _, document in shown} == set(folders)
    for number, (block, document) in enumerate(shown):
        folder = tmp_path / str(number) / folders[document["kind"]]
        folder.mkdir(parents=True)
        (folder / "shown.yaml").write_text(block.text)
        Registry.load([folder.parent])


def test_every_configuration_shown_is_accepted() -> None:
    shown = [block for block in blocks() if block.label == "octopus.yaml"]
    assert len(shown) >= 2
    for block in shown:
        config.parse(yaml.safe_load(block.text), str(block))


def test_the_reference_shows_every_part_of_the_configuration() -> None:
    from tools.generation.configuration import EXAMPLE

    parts = {"accounts" if name == "separate_accounts" else name for name in config.Config.__struct_fields__}
    assert set(yaml.safe_load(EXAMPLE)) == parts


def test_every_command_shown_is_one() -> None:
    parser = build_parser()
    tried = set()
    for page, words in commands():
        if words[:1] == ["up"]:
            _up(words[1:])
            continue
        own, _ = _split_command(words)
        if any(word == "..." for word in own) or not own:  # `octopus ...` in the text
            continue
        with contextlib.redirect_stderr(io.StringIO()) as said:
            try:
                if len(own) > 1 or own[0] not in parser.format_help():
                    parser.parse_args(_filled(own))
            except SystemExit as ended:
                assert not ended.code, f"{page.relative_to(ROOT)}: octopus {' '.join(words)}: {said.getvalue()}"
        tried.add(own[0])
    assert tried >= {
        "submit",
        "plan",
        "list",
        "describe",
        "logs",
        "events",
        "wait",
        "stop",
        "replay",
        "import",
        "secrets",
    }


def _filled(words: list[str]) -> list[str]:
    """Return a command with its alternatives decided: ``-o json|yaml`` is ``-o json``."""
    return [word.split("|")[0] for word in words]


def _up(words: list[str]) -> None:
    from octopus_hub.app.application import OctopusUp

    if words == ["--help"]:
        return
    app = OctopusUp()
    app.parse_command_line(words)
    assert not app.extra_args, words


def test_every_program_shown_compiles_and_uses_names_that_exist() -> None:
    shown = [block for block in blocks() if block.language == "python"]
    assert len(shown) > 3
    for block in shown:
        for node in ast.walk(ast.parse(block.text, str(block))):
            if isinstance(node, ast.ImportFrom) and node.module == "octopus_hub":
                assert all(alias.name in octopus_hub.__all__ for alias in node.names), str(block)


def test_the_hub_configuration_shown_is_taken_by_configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guide = ROOT / "docs/how-to/configure-the-hub.md"
    shown = next(block for block in blocks() if block.page == guide and block.language == "python")
    (tmp_path / "my_hub.py").write_text(shown.text)
    for name in ("service_token", "stop_token", "proxy_token", "password"):
        (tmp_path / name).write_text("secret")
    monkeypatch.setenv("OCTOPUS_HUB_STATE", str(tmp_path))
    monkeypatch.setenv("OCTOPUS_PASSWORD_FILE", str(tmp_path / "password"))
    monkeypatch.setenv("OCTOPUS_SERVICE_URL", "http://127.0.0.1:10101/services/octopus/")
    monkeypatch.setenv("OCTOPUS_USER", "ada")
    monkeypatch.setenv("OCTOPUS_TASK_ACCOUNTS", "separate")  # the guide says to set both
    c = PyFileConfigLoader("my_hub.py", str(tmp_path)).load_config()
    assert c.JupyterHub.authenticator_class == "pam" and c.Authenticator.allowed_users == {"ada", "grace"}
    assert c.JupyterHub.spawner_class.endswith("OctopusLocalSpawner") and c.OctopusLocalSpawner.separate_accounts
    assert "octopus" in [service["name"] for service in c.JupyterHub.services]


def test_the_readme_is_one_screen_with_two_commands() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) < 50
    assert "make run" in text and "make test" in text and "docs/images/" in text


def test_every_example_is_named_in_their_index() -> None:
    index = (ROOT / "examples" / "README.md").read_text()
    folders = [
        path.name for path in (ROOT / "examples").iterdir() if path.is_dir() and not path.name.startswith(("_", "."))
    ]
    assert folders and all(f"]({name}" in index for name in folders)
