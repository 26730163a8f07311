"""The command and the files of a notebook run (``spec.run``): a program of ours around papermill, and what it shall run.

Pure; the program's text is read once, at import, as data: ``runs.execute`` is sent along with the task, so that any
environment that has papermill can run it. Called by ``core.expand`` only.
"""

from __future__ import annotations

import json
from importlib.resources import files

from octopus_hub.model.taskset import RunSpec

PROGRAM_FILE = ".octopus/notebook.py"
RUN_FILE = ".octopus/run.json"
_PROGRAM = (files("octopus_hub") / "runs" / "execute.py").read_text(encoding="utf-8")


def notebook_command(working_dir: str = "") -> list[str]:
    """Return the command; the program finds everything from where it stands, whatever the working directory."""
    return ["python", "../" * len(_parts(working_dir)) + PROGRAM_FILE]


def notebook_files(run: RunSpec) -> dict[str, str]:
    """Return the program and what it shall run; the executed notebook is an output of the task."""
    content = {
        "notebook": run.notebook,
        "output": f"outputs/{run.notebook.rsplit('/', 1)[-1]}",
        "parameters": run.parameters,
    }
    return {PROGRAM_FILE: _PROGRAM, RUN_FILE: json.dumps(content)}


def _parts(working_dir: str) -> list[str]:
    """Return the folders below the workspace; ``/workspace`` is the workspace itself."""
    parts = [part for part in working_dir.split("/") if part not in ("", ".")]
    return parts[1:] if working_dir.startswith("/") and parts[:1] == ["workspace"] else parts
