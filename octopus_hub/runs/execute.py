"""The program of a notebook run: papermill in the task's own environment, with a ledger of what each cell did.

``core.notebook`` sends this text along as ``.octopus/notebook.py`` of the task's folder, beside ``run.json`` (notebook,
output, parameters); so it runs in any environment that has papermill and ipykernel, and must never import octopus_hub.
What happened is told three ways, none of them papermill's metadata (it calls every cell ``completed`` when the kernel
was killed): ``.octopus/cells.jsonl``, one line when a cell starts and one when it ends; the exit code; and one sentence
about a failure in ``.octopus/message`` and on standard error.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

HERE = Path(__file__).absolute().parent
WORK = HERE.parent
LEDGER, MESSAGE, RUN = HERE / "cells.jsonl", HERE / "message", HERE / "run.json"
KERNEL = "octopus-python"
ENGINE = "octopus"
INJECTED = "injected-parameters"
LONGEST_ERROR = 500


class Failure(Exception):
    """The run failed; the argument is one sentence for its user."""


class Ledger:
    """What each cell did. Cells are counted in the notebook as it was submitted; injected parameters are -1.

    Attributes
    ----------
    open : dict or None
        The cell that runs now.
    failed : str
        What to say about the cell that ended the run, "" while none did.
    """

    def __init__(self, notebook: str, cells: int) -> None:
        self.open: dict[str, Any] | None = None
        self.failed = ""
        self._notebook = notebook
        self._cells = cells
        self._file = LEDGER.open("a", encoding="utf-8")

    def start(self, notebook: Any, index: int) -> None:
        """Note that a cell starts; ``index`` is its place in the notebook that runs."""
        self.open = {"index": self._submitted(notebook.cells, index), "status": "running", "started": time.time()}
        self._write(self.open)
        name = "the injected parameters" if self.open["index"] < 0 else f"cell {self.open['index'] + 1}"
        sys.stdout.write(f"[{self._notebook}] {name} of {self._cells}\n")
        sys.stdout.flush()

    def end(self, status: str, error: str = "") -> None:
        """Note how the open cell ended."""
        if self.open is not None:
            entry = {**self.open, "status": status, "ended": time.time()}
            self._write({**entry, "error": error[:LONGEST_ERROR]} if error else entry)
            self.open = None

    def fail(self, what: str, error: str, status: str = "failed") -> None:
        """Note that the open cell failed, and what to say about it."""
        index = self.open["index"] if self.open else -1
        where = f"cell {index + 1} of {self._notebook}" if index >= 0 else f"the parameters given to {self._notebook}"
        self.failed = f"{where} {what}: {error}" if error else f"{where} {what}"
        self.end(status, error)

    def _submitted(self, cells: list[Any], index: int) -> int:
        """Return a cell's place in the notebook as submitted: papermill adds a cell, or replaces an earlier one."""
        if INJECTED in cells[index].metadata.get("tags", []):
            return -1
        added = len(cells) > self._cells
        return index - 1 if added and any(INJECTED in c.metadata.get("tags", []) for c in cells[:index]) else index

    def _write(self, entry: dict[str, Any]) -> None:
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()


def main() -> int:
    """Run the notebook of ``run.json``; 0 if it ran to its end, 1 otherwise."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        execute(json.loads(RUN.read_text(encoding="utf-8")))
    except Failure as failure:
        MESSAGE.write_text(str(failure), encoding="utf-8")
        sys.stderr.write(f"{failure}\n")
        return 1
    return 0


def execute(run: dict[str, Any]) -> None:
    """Execute the notebook; raises Failure."""
    _check_environment()
    source, target = WORK / run["notebook"], WORK / run["output"]
    notebook, python = _read(source, run["notebook"])
    ledger = Ledger(run["notebook"], len(notebook.cells))
    target.parent.mkdir(parents=True, exist_ok=True)

    import papermill
    from papermill.exceptions import PapermillException

    _own_kernel()
    _register_engine(ledger)
    try:
        papermill.execute_notebook(
            _plain(source),
            _plain(target),
            parameters=run["parameters"],
            engine_name=ENGINE,
            kernel_name=KERNEL if python else None,
            language="python" if python else None,
            progress_bar=False,
            stdout_file=sys.stdout,
            stderr_file=sys.stderr,
        )
    except PapermillException as error:
        if ledger.failed or not isinstance(error, papermill.PapermillExecutionError):
            raise Failure(ledger.failed or f"{run['notebook']} can't be run: {_first_line(error)}") from None
        # an error that a cell may raise (tag raises-exception) is none
    except Exception as error:
        if not ledger.failed:
            logging.getLogger(__name__).exception("%s could not be run", run["notebook"])
            ledger.fail("could not be run", _first_line(error))
        raise Failure(ledger.failed) from error
    if ledger.failed:
        raise Failure(ledger.failed)


def _check_environment() -> None:
    missing = [name for name in ("papermill", "ipykernel") if importlib.util.find_spec(name) is None]
    if missing:
        raise Failure(
            f"the environment {sys.prefix} has no {' and no '.join(missing)}; install papermill and ipykernel there, "
            "or name another image"
        )


def _read(source: Path, name: str) -> tuple[Any, bool]:
    """Return the notebook and whether it is in Python."""
    import nbformat

    try:
        notebook = nbformat.read(source, as_version=4)
    except FileNotFoundError:
        raise Failure(
            f"there is no notebook {name} in the workspace; submit from the folder that holds it, and see that "
            ".octopusignore does not leave it out"
        ) from None
    except Exception as error:
        raise Failure(f"{name} is not a notebook that can be read: {_first_line(error)}") from None
    kernel = notebook.metadata.get("kernelspec", {})
    language = kernel.get("language") or notebook.metadata.get("language_info", {}).get("name") or "python"
    return notebook, language == "python"


def _own_kernel() -> None:
    """Let ``KERNEL`` be this environment's Python, before whatever the account has installed under any name.

    A kernel of the account may belong to another environment than the one that the record names.
    """
    folder = HERE / "jupyter" / "kernels" / KERNEL
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel = {"argv": command, "display_name": "Python of the task", "language": "python"}
    (folder / "kernel.json").write_text(json.dumps(kernel), encoding="utf-8")
    os.environ["JUPYTER_PATH"] = str(HERE / "jupyter")


def _register_engine(ledger: Ledger) -> None:
    """Give papermill an engine that keeps the ledger."""
    from papermill.engines import NBClientEngine, papermill_engines

    client = _client(ledger)

    class Engine(NBClientEngine):  # type: ignore[misc]
        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **options: Any) -> Any:
            _end_when_asked(ledger, nb_man)
            chosen = {name: options[name] for name in ("stdout_file", "stderr_file")}
            log = logging.getLogger("papermill")
            return client(nb_man, kernel_name=kernel_name, timeout=None, log=log, **chosen).execute()

    papermill_engines.register(ENGINE, Engine)


def _client(ledger: Ledger) -> type[Any]:
    """Return papermill's notebook client with our ledger around each code cell."""
    from nbclient.exceptions import CellExecutionError, DeadKernelError
    from papermill.clientwrap import PapermillNotebookClient

    class Client(PapermillNotebookClient):  # type: ignore[misc]
        def execute_cell(self, cell: Any, cell_index: int, *args: Any, **options: Any) -> Any:
            if cell.cell_type != "code" or not cell.source.strip():
                return super().execute_cell(cell, cell_index, *args, **options)
            ledger.start(self.nb, cell_index)
            try:
                done = super().execute_cell(cell, cell_index, *args, **options)
            except CellExecutionError as error:
                if error.ename == "SystemExit" and error.evalue in ("", "0", "None"):
                    ledger.end("exited")
                else:
                    ledger.fail("failed", _first_line(f"{error.ename}: {error.evalue}"))
                raise
            except DeadKernelError as error:
                ledger.fail("lost its kernel", _how_it_died(self.km), "dead kernel")
                # otherwise papermill would call this cell and all that never ran completed
                self.nb_man.cell_exception(cell, cell_index=cell_index, exception=error)
                raise
            ledger.end("completed")
            return done

    return Client


def _end_when_asked(ledger: Ledger, nb_man: Any) -> None:
    """On a stop, keep what was executed so far; the kernel is ended with the task."""

    def end(number: int, frame: object) -> NoReturn:
        ledger.end("interrupted")
        try:
            nb_man.save()
        finally:
            os._exit(128 + number)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)


def _how_it_died(manager: Any) -> str:
    process = getattr(getattr(manager, "provisioner", None), "process", None)
    code = getattr(process, "returncode", None)
    if code is None:
        return "the kernel died"
    if code >= 0:
        return f"the kernel ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    memory = "; often the machine was short of memory" if -code == signal.SIGKILL else ""
    return f"the kernel was ended by {name}{memory}"


def _plain(path: Path) -> str:
    """Return the path as papermill has to get it, for which braces are templates."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _first_line(error: object) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:LONGEST_ERROR]


if __name__ == "__main__":
    sys.exit(main())
